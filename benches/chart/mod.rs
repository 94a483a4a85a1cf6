//! Ratios, drawn as groups of bars.

#![allow(clippy::cast_precision_loss)] // of a few bars

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;

/// Colours that differ in lightness too, for those who do not tell hues apart.
const COLOURS: [RGBColor; 7] = [
    RGBColor(20, 60, 120),
    RGBColor(90, 150, 210),
    RGBColor(220, 120, 40),
    RGBColor(150, 40, 60),
    RGBColor(150, 150, 150),
    RGBColor(60, 120, 60),
    RGBColor(230, 190, 60),
];

/// Draws a group of bars for each of `rows`, a bar of it for each of `names`, to an SVG file. A bar
/// of more than `limit` ends there, and its number alone says how long it is.
pub fn draw(
    path: &Path,
    title: &str,
    names: &[&str],
    rows: &[(String, Vec<f64>)],
    limit: f64,
) -> Result<(), Box<dyn Error>> {
    let (groups, bars) = (rows.len(), names.len());
    let most = limit.min(
        rows.iter()
            .flat_map(|(_, row)| row)
            .fold(1.0, |a: f64, b| a.max(*b)),
    );
    let root = SVGBackend::new(path, (1200, 480)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(32)
        .y_label_area_size(44)
        .build_cartesian_2d(0.0..groups as f64, 0.0..most * 1.6)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .x_labels(0)
        .y_label_formatter(&|ratio| format!("{ratio:.1}"))
        .draw()?;
    let width = 0.86 / bars as f64;
    for (bar, name) in names.iter().enumerate() {
        let colour = COLOURS[bar % COLOURS.len()];
        let left = |group: usize| group as f64 + 0.07 + bar as f64 * width;
        let heights = || rows.iter().map(|(_, row)| row[bar]).enumerate();
        chart
            .draw_series(heights().map(|(group, height)| {
                let corners = [
                    (left(group), 0.0),
                    (left(group) + width * 0.92, height.min(most)),
                ];
                Rectangle::new(corners, colour.filled())
            }))?
            .label(*name)
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 10, y + 5)], colour.filled()));
        chart.draw_series(heights().map(|(group, height)| {
            let at = (left(group) + width * 0.1, height.min(most) + most * 0.05);
            Text::new(
                format!("{height:.digits$}", digits = usize::from(height < 10.0) * 2),
                at,
                ("sans-serif", 10),
            )
        }))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.filled())
        .label_font(("sans-serif", 12))
        .draw()?;
    for (group, (label, _)) in rows.iter().enumerate() {
        let (x, y) = chart.backend_coord(&(group as f64 + 0.35, 0.0));
        root.draw_text(
            label,
            &("sans-serif", 13).into_text_style(&root),
            (x, y + 8),
        )?;
    }
    root.present()?;
    Ok(())
}
