//! The inputs of linear models and neural networks: standardised numbers, beside their
//! ranks where there are outliers, and one-hot categories.

use serde::{Deserialize, Serialize};

use crate::features::dataset::Data;

/// A category needs this many training rows for a weight of its own.
const CATEGORY_ROWS: usize = 8;
/// Most weights for the categories of one column.
const MAX_CATEGORIES: usize = 60;
/// Standardised numbers are cut off here: outliers must not rule the answer.
const CLIP: f32 = 6.0;

/// A number whose fourth moment is larger than this (3 is a normal distribution)
/// has outliers that squeeze the other values together.
const OUTLIERS: f64 = 9.0;
/// Values between which a rank is interpolated, and the fewest that are worth it.
const QUANTILES: usize = 33;
const MIN_QUANTILES: usize = 9;
/// Rows that these are picked from.
const RANK_SAMPLE: usize = 20_000;

/// The inputs of the model that one feature becomes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Input {
    /// (value - mean) x scale; with outliers the rank among `quantiles`, sorted, as
    /// well; and whether there is an input for "missing".
    Standardized { mean: f64, scale: f64, quantiles: Vec<f64>, missing: bool },
    /// The position of the input, of `count`, that is 1 for each category; none for rare ones.
    OneHot { inputs: Vec<Option<u16>>, count: u16, missing: Option<u16> },
}

impl Input {
    /// Learns from training rows how a feature enters the model.
    pub(crate) fn fit(data: &Data<'_>, feature: usize, train: &[u32]) -> Self {
        let column = data
            .columns
            .get(feature)
            .unwrap_or_else(|| &data.encodings[feature - data.columns.len()]);
        let values = train.iter().map(|&row| column[row as usize]);
        if !data.is_categorical[feature] {
            let missing = values.clone().any(f64::is_nan);
            let known: Vec<f64> = values.filter(|value| value.is_finite()).collect();
            let count = known.len().max(1) as f64;
            let mean = known.iter().sum::<f64>() / count;
            let deviation =
                (known.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt();
            let usable = mean.is_finite()
                && deviation.is_finite()
                && deviation > 1e-12 * mean.abs().max(1e-300);
            let (mean, scale) = if usable { (mean, 1.0 / deviation) } else { (0.0, 0.0) };
            let fourth = known.iter().map(|value| ((value - mean) * scale).powi(4)).sum::<f64>();
            let quantiles = if fourth / count > OUTLIERS { quantiles(known) } else { Vec::new() };
            return Self::Standardized { mean, scale, quantiles, missing };
        }
        let mut counts: Vec<usize> = Vec::new();
        let mut missing = 0;
        for value in values {
            match value {
                _ if value.is_nan() => missing += 1,
                _ if value < 0.0 => {}
                _ => {
                    let category = value as usize;
                    counts.resize(counts.len().max(category + 1), 0);
                    counts[category] += 1;
                }
            }
        }
        let mut frequent: Vec<usize> =
            (0..counts.len()).filter(|&category| counts[category] >= CATEGORY_ROWS).collect();
        frequent.sort_by(|&a, &b| counts[b].cmp(&counts[a]).then(a.cmp(&b)));
        frequent.truncate(MAX_CATEGORIES);
        let mut inputs = vec![None; counts.len()];
        let mut count = 0;
        for category in frequent {
            inputs[category] = Some(count);
            count += 1;
        }
        let missing = (missing >= CATEGORY_ROWS).then_some(count);
        Self::OneHot { inputs, count: count + u16::from(missing.is_some()), missing }
    }

    /// Counts the inputs of the model that the feature becomes.
    pub(crate) fn width(&self) -> usize {
        match self {
            Self::Standardized { quantiles, missing, .. } => {
                1 + usize::from(!quantiles.is_empty()) + usize::from(*missing)
            }
            Self::OneHot { count, .. } => usize::from(*count),
        }
    }

    /// Writes the inputs of one value into `out`, which must be zero.
    pub(crate) fn write(&self, value: f64, out: &mut [f32]) {
        match self {
            Self::Standardized { missing, .. } if value.is_nan() => {
                if let (true, Some(last)) = (*missing, out.last_mut()) {
                    *last = 1.0;
                }
            }
            Self::Standardized { mean, scale, quantiles, .. } => {
                let value = value.clamp(f64::MIN, f64::MAX);
                out[0] = (((value - mean) * scale) as f32).clamp(-CLIP, CLIP);
                if !quantiles.is_empty() {
                    out[1] = rank(quantiles, value);
                }
            }
            Self::OneHot { .. } => {
                if let Some(input) = self.category(value) {
                    out[usize::from(input)] = 1.0;
                }
            }
        }
    }

    /// The input of a category, if it has one.
    pub(crate) fn category(&self, value: f64) -> Option<u16> {
        let Self::OneHot { inputs, missing, .. } = self else { return None };
        match value {
            _ if value.is_nan() => *missing,
            _ if value < 0.0 => None,
            _ => inputs.get(value as usize).copied().flatten(),
        }
    }

    /// Tells whether no index is beyond the inputs.
    pub(crate) fn is_sound(&self) -> bool {
        match self {
            Self::Standardized { mean, scale, quantiles, .. } => {
                mean.is_finite()
                    && scale.is_finite()
                    && quantiles.iter().all(|quantile| quantile.is_finite())
                    && quantiles.is_sorted_by(|a, b| a < b)
            }
            Self::OneHot { inputs, count, missing } => {
                inputs.iter().chain([missing]).flatten().all(|at| at < count)
            }
        }
    }
}

/// Evenly spaced quantiles, each value once; none if there are too few.
fn quantiles(mut values: Vec<f64>) -> Vec<f64> {
    let step = values.len().div_ceil(RANK_SAMPLE).max(1);
    values = values.into_iter().step_by(step).collect();
    values.sort_unstable_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    let mut quantiles: Vec<f64> =
        (0..QUANTILES).filter_map(|at| values.get(at * last / (QUANTILES - 1)).copied()).collect();
    quantiles.dedup();
    if quantiles.len() < MIN_QUANTILES { Vec::new() } else { quantiles }
}

/// Gives the rank of a value among the quantiles, spread like a standardised number.
fn rank(quantiles: &[f64], value: f64) -> f32 {
    const SPREAD: f64 = 1.732_050_8;
    let above = quantiles.partition_point(|quantile| *quantile < value);
    let place = match (quantiles.get(above.wrapping_sub(1)), quantiles.get(above)) {
        (Some(below), Some(next)) => (above - 1) as f64 + (value - below) / (next - below),
        (None, _) => 0.0,
        (_, None) => (quantiles.len() - 1) as f64,
    };
    (SPREAD * (2.0 * place / (quantiles.len() - 1).max(1) as f64 - 1.0)) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outliers_do_not_squeeze_ranks() {
        let values: Vec<f64> = (0..1_000).map(|at| (f64::from(at) / 60.0).exp()).collect();
        let quantiles = quantiles(values.clone());
        assert_eq!(quantiles.len(), QUANTILES);
        let ranks: Vec<f32> = values.iter().map(|value| rank(&quantiles, *value)).collect();
        assert!(ranks.is_sorted() && (ranks[500] - ranks[250] - 0.866).abs() < 0.06);
        assert_eq!(rank(&quantiles, f64::MIN), -rank(&quantiles, f64::MAX));
        let input = Input::Standardized { mean: 0.0, scale: 1.0, quantiles, missing: true };
        assert!(input.is_sound() && input.width() == 3);
        let mut out = [0.0; 3];
        input.write(f64::NAN, &mut out);
        assert_eq!(out, [0.0, 0.0, 1.0]);
        // Few values are better told apart by themselves.
        assert!(
            super::quantiles(vec![1.0; 900].into_iter().chain([2.0; 100]).collect()).is_empty()
        );
    }
}
