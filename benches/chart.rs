//! Charts of ratios: groups of horizontal bars. Each bar has its number beside it.

use std::error::Error;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// The colours of the bars. They differ in lightness too, for readers with colour blindness.
const COLOURS: [RGBColor; 7] = [
    RGBColor(20, 60, 120),
    RGBColor(90, 150, 210),
    RGBColor(220, 120, 40),
    RGBColor(150, 40, 60),
    RGBColor(150, 150, 150),
    RGBColor(60, 120, 60),
    RGBColor(230, 190, 60),
];

const GRID: RGBColor = RGBColor(225, 225, 225);

// All lengths are in pixels.
const MARGIN: i32 = 12;
const PANEL: i32 = 620;
const LINE: i32 = 20;
const TITLE: i32 = 28;
const BAR: i32 = 12;
const GAP: i32 = 12;
const SCALE: i32 = 20;
/// The width of the label of a row.
const LABEL: i32 = 90;
/// The width of the number beside a bar.
const NUMBER: i32 = 34;
/// An upper bound of the average width of a letter.
const LETTER: i32 = 7;

/// A scale is logarithmic if its largest ratio divided by its smallest is more than this.
const SPAN: f64 = 10.0;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn Error>>;

/// A chart with one group of bars for each row. A row is a name and its ratios.
pub struct Panel {
    pub title: &'static str,
    pub rows: Vec<(String, Vec<f64>)>,
}

/// Draws `panels` side by side into an SVG file. The ratios of a row belong to `names`, in the same
/// order.
///
/// # Errors
/// If the file cannot be written.
pub fn draw(path: &Path, names: &[&str], panels: &[Panel]) -> Drawn {
    let width = 2 * MARGIN + PANEL * pixels(panels.len());
    let (legend, top) = lay_out(names, width);
    let rows = panels.iter().map(|panel| panel.rows.len()).max();
    let rows = pixels(rows.unwrap_or(0)) * group_height(names.len());
    let height = top + TITLE + rows + SCALE + MARGIN;
    let size = (width.unsigned_abs(), height.unsigned_abs());
    let root = SVGBackend::new(path, size).into_drawing_area();
    root.fill(&WHITE)?;
    for ((name, at), colour) in names.iter().zip(legend).zip(COLOURS.iter().cycle()) {
        fill(&root, at, (10, 10), *colour)?;
        write(&root, name, (at.0 + 15, at.1 + 5), 13, HPos::Left)?;
    }
    for (number, panel) in panels.iter().enumerate() {
        draw_panel(&root, (MARGIN + PANEL * pixels(number), top), panel)?;
    }
    root.present()?;
    Ok(())
}

/// Returns the position of each name in the legend, and the bottom of the legend. The legend has as
/// many lines as its names need.
fn lay_out(names: &[&str], width: i32) -> (Vec<(i32, i32)>, i32) {
    let (mut x, mut y) = (MARGIN, MARGIN);
    let place = |name: &&str| {
        let length = 35 + LETTER * pixels(name.len());
        if x + length > width {
            (x, y) = (MARGIN, y + LINE);
        }
        let at = (x, y);
        x += length;
        at
    };
    let places = names.iter().map(place).collect();
    (places, y + LINE)
}

fn draw_panel(root: &Area, (left, top): (i32, i32), panel: &Panel) -> Drawn {
    write(root, panel.title, (left, top + TITLE / 3), 15, HPos::Left)?;
    let scale = Scale::of(panel, left);
    let bars = panel.rows.first().map_or(0, |(_, ratios)| ratios.len());
    let top = top + TITLE;
    let bottom = top + group_height(bars) * pixels(panel.rows.len());
    for tick in scale.ticks() {
        let x = scale.place(tick);
        let colour = if is_one(tick) { BLACK } else { GRID };
        root.draw(&PathElement::new([(x, top), (x, bottom)], colour))?;
        let label = ((tick * 100.0).round() / 100.0).to_string();
        write(root, &label, (x, bottom + 9), 11, HPos::Center)?;
    }
    for (number, (name, ratios)) in panel.rows.iter().enumerate() {
        let y = top + GAP / 2 + group_height(bars) * pixels(number);
        let middle = y + BAR * pixels(bars) / 2;
        write(root, name, (left, middle), 13, HPos::Left)?;
        draw_group(root, y, &scale, ratios)?;
    }
    Ok(())
}

fn draw_group(root: &Area, top: i32, scale: &Scale, ratios: &[f64]) -> Drawn {
    for (number, (ratio, colour)) in ratios.iter().zip(COLOURS.iter().cycle()).enumerate() {
        if is_drawable(*ratio) {
            let y = top + BAR * pixels(number);
            draw_bar(root, y, scale, *ratio, *colour)?;
        }
    }
    Ok(())
}

fn draw_bar(root: &Area, y: i32, scale: &Scale, ratio: f64, colour: RGBColor) -> Drawn {
    let (from, to) = (scale.base(), scale.place(ratio));
    let bar = ((to - from).abs(), BAR - 2);
    fill(root, (from.min(to), y), bar, colour)?;
    let (x, side) = if to < from {
        (to - 4, HPos::Right)
    } else {
        // The white background hides the line of 1 behind the number.
        fill(root, (to + 3, y), (NUMBER - 8, BAR - 2), WHITE)?;
        (to + 4, HPos::Left)
    };
    write(root, &shown(ratio), (x, y + BAR / 2 - 1), 11, side)
}

fn shown(ratio: f64) -> String {
    let digits = match ratio {
        ..0.0995 => 3,
        ..9.995 => 2,
        _ => 0,
    };
    format!("{ratio:.digits$}")
}

fn fill(root: &Area, (x, y): (i32, i32), size: (i32, i32), colour: RGBColor) -> Drawn {
    let corners = [(x, y), (x + size.0, y + size.1)];
    root.draw(&Rectangle::new(corners, colour.filled()))?;
    Ok(())
}

/// Writes `text`. The point `at` is at its vertical centre, and horizontally at its `side`.
fn write(root: &Area, text: &str, at: (i32, i32), height: i32, side: HPos) -> Drawn {
    let style = ("sans-serif", height).into_text_style(root);
    root.draw_text(text, &style.pos(Pos::new(side, VPos::Center)), at)?;
    Ok(())
}

fn group_height(bars: usize) -> i32 {
    BAR * pixels(bars) + GAP
}

fn pixels(count: usize) -> i32 {
    i32::try_from(count).expect("a count fits into an i32")
}

/// Returns whether `ratio` was measured: otherwise it is zero, infinite or not a number.
fn is_drawable(ratio: f64) -> bool {
    ratio.is_finite() && ratio > 0.0
}

fn is_one(ratio: f64) -> bool {
    (ratio - 1.0).abs() < 1e-9
}

/// The horizontal scale of a panel.
struct Scale {
    left: i32,
    least: f64,
    most: f64,
    is_logarithmic: bool,
}

impl Scale {
    /// Returns a scale that includes all ratios of `panel`, and 1.
    fn of(panel: &Panel, left: i32) -> Self {
        let ratios = panel.rows.iter().flat_map(|(_, ratios)| ratios);
        let ratios = ratios.copied().filter(|ratio| is_drawable(*ratio));
        let (least, most) = ratios.fold((1.0, 1.0), |(least, most): (f64, f64), ratio| {
            (least.min(ratio), most.max(ratio))
        });
        let is_logarithmic = most / least > SPAN;
        Self {
            left: left + LABEL,
            least: if is_logarithmic { least } else { 0.0 },
            most,
            is_logarithmic,
        }
    }

    /// Returns where bars begin: at 0, or at 1 on a logarithmic scale, which has no 0.
    fn base(&self) -> i32 {
        self.place(if self.is_logarithmic { 1.0 } else { 0.0 })
    }

    /// Returns the x coordinate of `ratio`.
    fn place(&self, ratio: f64) -> i32 {
        let part = if self.is_logarithmic {
            (ratio / self.least).ln() / (self.most / self.least).ln()
        } else {
            ratio / self.most
        };
        // On a logarithmic scale, a bar below 1 has its number on its left.
        let before = if self.is_logarithmic { NUMBER } else { 0 };
        let width = PANEL - LABEL - before - NUMBER - MARGIN;
        #[expect(clippy::cast_possible_truncation)]
        let offset = (part * f64::from(width)).round() as i32;
        self.left + before + offset
    }

    /// Returns the ratios that have a grid line.
    fn ticks(&self) -> Vec<f64> {
        let ticks: Vec<f64> = if self.is_logarithmic {
            let powers = [0.01, 0.1, 1.0, 10.0, 100.0];
            powers.iter().flat_map(|p| [*p, 2.0 * p, 5.0 * p]).collect()
        } else {
            let steps = [0.1, 0.2, 0.25, 0.5, 1.0, 2.0];
            let step = steps.iter().find(|step| self.most / **step < 10.0);
            let step = step.expect("a linear scale ends at 10 at most");
            (0..10).map(|number| f64::from(number) * step).collect()
        };
        let on_scale = |tick: &f64| *tick >= self.least && *tick <= self.most;
        ticks.into_iter().filter(on_scale).collect()
    }
}
