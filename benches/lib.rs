//! What the benchmarks share: the median and the charts.

pub mod chart;

/// Returns the median of `values`. If their number is even, this is the upper of the middle two.
///
/// # Panics
/// If there are no values.
#[must_use]
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
