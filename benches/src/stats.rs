//! Quantiles of one run, medians over runs.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Quantiles of spans of time, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Quantiles {
    pub(crate) p50: u32,
    pub(crate) p99: u32,
    pub(crate) max: u32,
}

impl Quantiles {
    /// Of `micros`, in any order; zeros when there are none.
    pub(crate) fn of(micros: &mut [u32]) -> Self {
        micros.sort_unstable();
        Self {
            p50: nearest_rank(micros, 50),
            p99: nearest_rank(micros, 99),
            max: nearest_rank(micros, 100),
        }
    }
}

/// The smallest value that at least `percent` of 100 values do not exceed.
fn nearest_rank(sorted: &[u32], percent: usize) -> u32 {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or_default()
}

/// What one measure came to over several rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Of one value a round; `None` when there were no rounds.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_unstable_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let upper = values.len() / 2;
        let lower = (values.len() - 1) / 2;
        let median = f64::midpoint(values[lower], values[upper]);
        Some(Self { median, min, max })
    }
}

/// `median (min–max)`, with as many decimals as the precision says; one number where all rounds agree.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = f.precision().unwrap_or(2);
        let Self { median, min, max } = self;
        let text = |value: &f64| format!("{value:.decimals$}");
        if text(min) == text(max) {
            return f.write_str(&text(median));
        }
        write!(f, "{} ({}–{})", text(median), text(min), text(max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_nearest_ranks() {
        let mut micros: Vec<u32> = (1..=200).rev().collect();
        let expected = Quantiles {
            p50: 100,
            p99: 198,
            max: 200,
        };
        assert_eq!(Quantiles::of(&mut micros), expected);
        assert_eq!(Quantiles::of(&mut []), Quantiles::default());
        assert_eq!(Quantiles::of(&mut [7]).p50, 7);
    }

    #[test]
    fn a_spread_shows_the_median_and_the_noise() {
        let text = |values: &[f64]| Spread::of(values.iter().copied()).map(|s| format!("{s:.1}"));
        assert_eq!(text(&[3.0, 1.0, 2.0]).as_deref(), Some("2.0 (1.0–3.0)"));
        assert_eq!(text(&[4.0, 1.0]).as_deref(), Some("2.5 (1.0–4.0)"));
        assert_eq!(text(&[1.01, 1.02]).as_deref(), Some("1.0"));
        assert_eq!(text(&[]), None);
    }
}
