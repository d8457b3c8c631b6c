//! How features become inputs of linear models and neural networks.

use serde::{Deserialize, Serialize};

use crate::dataset::Data;

/// A category needs this many training rows for a weight of its own.
const LEVEL_ROWS: usize = 8;
/// Most weights for the categories of one column.
const MAX_LEVELS: usize = 60;
/// Standardised numbers are cut off here: outliers must not rule the answer.
const CLIP: f32 = 6.0;

/// A number whose fourth moment is larger than this (3 is a normal distribution)
/// has outliers that squeeze the other values together.
const OUTLIERS: f64 = 9.0;
/// Values between which a rank is interpolated, and the fewest that are worth it.
const KNOTS: usize = 33;
const MIN_KNOTS: usize = 9;
/// Rows that these are picked from.
const RANK_SAMPLE: usize = 20_000;

/// How one feature becomes inputs of the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Input {
    /// (value - mean) x scale; with outliers the rank among `knots`, sorted, as
    /// well; and whether there is an input for "missing".
    Number { mean: f64, scale: f64, knots: Vec<f64>, missing: bool },
    /// Input of each level; none for the rest.
    Levels { inputs: Vec<Option<u16>>, count: u16, missing: Option<u16> },
}

impl Input {
    /// Learns from training rows how a feature enters the model.
    pub(crate) fn fit(data: &Data<'_>, feature: usize, train: &[u32]) -> Self {
        let column =
            data.columns.get(feature).unwrap_or_else(|| &data.extra[feature - data.columns.len()]);
        let values = train.iter().map(|&row| column[row as usize]);
        if !data.is_level[feature] {
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
            let knots = if fourth / count > OUTLIERS { knots(known) } else { Vec::new() };
            return Self::Number { mean, scale, knots, missing };
        }
        let mut counts: Vec<usize> = Vec::new();
        let mut missing = 0;
        for value in values {
            match value {
                _ if value.is_nan() => missing += 1,
                _ if value < 0.0 => {}
                _ => {
                    let level = value as usize;
                    counts.resize(counts.len().max(level + 1), 0);
                    counts[level] += 1;
                }
            }
        }
        let mut frequent: Vec<usize> =
            (0..counts.len()).filter(|&level| counts[level] >= LEVEL_ROWS).collect();
        frequent.sort_by(|&a, &b| counts[b].cmp(&counts[a]).then(a.cmp(&b)));
        frequent.truncate(MAX_LEVELS);
        let mut inputs = vec![None; counts.len()];
        let mut count = 0;
        for level in frequent {
            inputs[level] = Some(count);
            count += 1;
        }
        let missing = (missing >= LEVEL_ROWS).then_some(count);
        Self::Levels { inputs, count: count + u16::from(missing.is_some()), missing }
    }

    /// How many inputs of the model the feature becomes.
    pub(crate) fn width(&self) -> usize {
        match self {
            Self::Number { knots, missing, .. } => {
                1 + usize::from(!knots.is_empty()) + usize::from(*missing)
            }
            Self::Levels { count, .. } => usize::from(*count),
        }
    }

    /// Writes the inputs of one value into `out`, which must be zero.
    pub(crate) fn write(&self, value: f64, out: &mut [f32]) {
        match self {
            Self::Number { missing, .. } if value.is_nan() => {
                if let (true, Some(last)) = (*missing, out.last_mut()) {
                    *last = 1.0;
                }
            }
            Self::Number { mean, scale, knots, .. } => {
                let value = value.clamp(f64::MIN, f64::MAX);
                out[0] = (((value - mean) * scale) as f32).clamp(-CLIP, CLIP);
                if !knots.is_empty() {
                    out[1] = rank(knots, value);
                }
            }
            Self::Levels { .. } => {
                if let Some(input) = self.level(value) {
                    out[usize::from(input)] = 1.0;
                }
            }
        }
    }

    /// The input of a level, if it has one.
    pub(crate) fn level(&self, value: f64) -> Option<u16> {
        let Self::Levels { inputs, missing, .. } = self else { return None };
        match value {
            _ if value.is_nan() => *missing,
            _ if value < 0.0 => None,
            _ => inputs.get(value as usize).copied().flatten(),
        }
    }

    /// Whether no index is beyond the inputs.
    pub(crate) fn is_sound(&self) -> bool {
        match self {
            Self::Number { mean, scale, knots, .. } => {
                mean.is_finite()
                    && scale.is_finite()
                    && knots.iter().all(|knot| knot.is_finite())
                    && knots.is_sorted_by(|a, b| a < b)
            }
            Self::Levels { inputs, count, missing } => {
                inputs.iter().chain([missing]).flatten().all(|at| at < count)
            }
        }
    }
}

/// Evenly spaced quantiles, each value once; none if there are too few.
fn knots(mut values: Vec<f64>) -> Vec<f64> {
    let step = values.len().div_ceil(RANK_SAMPLE).max(1);
    values = values.into_iter().step_by(step).collect();
    values.sort_unstable_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    let mut knots: Vec<f64> =
        (0..KNOTS).filter_map(|at| values.get(at * last / (KNOTS - 1)).copied()).collect();
    knots.dedup();
    if knots.len() < MIN_KNOTS { Vec::new() } else { knots }
}

/// Where a value lies among the knots, spread like a standardised number.
fn rank(knots: &[f64], value: f64) -> f32 {
    const SPREAD: f64 = 1.732_050_8;
    let above = knots.partition_point(|knot| *knot < value);
    let place = match (knots.get(above.wrapping_sub(1)), knots.get(above)) {
        (Some(below), Some(next)) => (above - 1) as f64 + (value - below) / (next - below),
        (None, _) => 0.0,
        (_, None) => (knots.len() - 1) as f64,
    };
    (SPREAD * (2.0 * place / (knots.len() - 1).max(1) as f64 - 1.0)) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outliers_do_not_squeeze_ranks() {
        let values: Vec<f64> = (0..1_000).map(|at| (f64::from(at) / 60.0).exp()).collect();
        let knots = knots(values.clone());
        assert_eq!(knots.len(), KNOTS);
        let ranks: Vec<f32> = values.iter().map(|value| rank(&knots, *value)).collect();
        assert!(ranks.is_sorted() && (ranks[500] - ranks[250] - 0.866).abs() < 0.06);
        assert_eq!(rank(&knots, f64::MIN), -rank(&knots, f64::MAX));
        let input = Input::Number { mean: 0.0, scale: 1.0, knots, missing: true };
        assert!(input.is_sound() && input.width() == 3);
        let mut out = [0.0; 3];
        input.write(f64::NAN, &mut out);
        assert_eq!(out, [0.0, 0.0, 1.0]);
        // Few values are better told apart by themselves.
        assert!(super::knots(vec![1.0; 900].into_iter().chain([2.0; 100]).collect()).is_empty());
    }
}
