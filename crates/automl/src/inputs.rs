//! How features become inputs of linear models and neural networks.

use serde::{Deserialize, Serialize};

use crate::learn::Data;

/// A category needs this many training rows for a weight of its own.
const LEVEL_ROWS: usize = 8;
/// Most weights for the categories of one column.
const MAX_LEVELS: usize = 60;
/// Standardised numbers are cut off here: outliers must not rule the answer.
const CLIP: f32 = 6.0;

/// How one feature becomes inputs of the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Input {
    /// (value - mean) x scale, and whether there is an input for "missing".
    Number { mean: f64, scale: f64, missing: bool },
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
            let known: Vec<f64> = values.filter(|value| !value.is_nan()).collect();
            let count = known.len().max(1) as f64;
            let mean = known.iter().sum::<f64>() / count;
            let deviation =
                (known.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt();
            let usable = mean.is_finite()
                && deviation.is_finite()
                && deviation > 1e-12 * mean.abs().max(1e-300);
            let (mean, scale) = if usable { (mean, 1.0 / deviation) } else { (0.0, 0.0) };
            return Self::Number { mean, scale, missing: known.len() < train.len() };
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
            Self::Number { missing, .. } => 1 + usize::from(*missing),
            Self::Levels { count, .. } => usize::from(*count),
        }
    }

    /// Writes the inputs of one value into `out`, which must be zero.
    pub(crate) fn write(&self, value: f64, out: &mut [f32]) {
        match self {
            Self::Number { missing: true, .. } if value.is_nan() => out[1] = 1.0,
            Self::Number { .. } if value.is_nan() => {}
            Self::Number { mean, scale, .. } => {
                out[0] = (((value - mean) * scale) as f32).clamp(-CLIP, CLIP)
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
            Self::Number { mean, scale, .. } => mean.is_finite() && scale.is_finite(),
            Self::Levels { inputs, count, missing } => {
                inputs.iter().chain([missing]).flatten().all(|at| at < count)
            }
        }
    }
}
