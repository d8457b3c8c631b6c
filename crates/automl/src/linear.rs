//! Linear models: ridge, logistic and softmax regression, by one optimiser.

use serde::{Deserialize, Serialize};

use crate::boost::link;
use crate::learn::{Data, Limits};
use crate::problem::Problem;

/// How a linear model is trained.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct LinearSettings {
    /// Most iterations for each strength of regularisation.
    pub(crate) iterations: usize,
}

/// A category needs this many training rows for a weight of its own.
const LEVEL_ROWS: usize = 8;
/// Most weights for the categories of one column.
const MAX_LEVELS: usize = 60;
/// Standardised numbers are cut off here: outliers must not rule the answer.
const CLIP: f32 = 6.0;

/// How one feature becomes inputs of the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Input {
    /// (value - mean) x scale, and whether there is an input for "missing".
    Number { mean: f64, scale: f64, missing: bool },
    /// Input of each level; none for the rest.
    Levels { inputs: Vec<Option<u16>>, count: u16, missing: Option<u16> },
}

impl Input {
    fn width(&self) -> usize {
        match self {
            Self::Number { missing, .. } => 1 + usize::from(*missing),
            Self::Levels { count, .. } => usize::from(*count),
        }
    }

    fn write(&self, value: f64, out: &mut [f32]) {
        match self {
            Self::Number { missing: true, .. } if value.is_nan() => out[1] = 1.0,
            Self::Number { .. } if value.is_nan() => {}
            Self::Number { mean, scale, .. } => {
                out[0] = (((value - mean) * scale) as f32).clamp(-CLIP, CLIP)
            }
            Self::Levels { inputs, missing, .. } => {
                let input = match value {
                    _ if value.is_nan() => *missing,
                    _ if value < 0.0 => None,
                    _ => inputs.get(value as usize).copied().flatten(),
                };
                if let Some(input) = input {
                    out[usize::from(input)] = 1.0;
                }
            }
        }
    }
}

/// A trained linear model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Linear {
    classes: u32,
    inputs: Vec<Input>,
    /// For each output: the weights of all inputs, then the constant.
    weights: Vec<Vec<f32>>,
}

impl Linear {
    /// Trains on `train`; `valid` picks the strength of regularisation, or
    /// `strength` gives it. Returns the strength as well.
    pub(crate) fn fit(
        data: &Data<'_>,
        train: &[u32],
        valid: Option<&[u32]>,
        strength: Option<f64>,
        settings: &LinearSettings,
        limits: &Limits<'_>,
        gains: &mut [f64],
    ) -> (Self, f64) {
        let inputs: Vec<Input> =
            (0..data.bins.width).map(|feature| input(data, feature, train)).collect();
        let width: usize = inputs.iter().map(Input::width).sum();
        let outputs = data.target.outputs();
        let zero = vec![vec![0.0; width + 1]; outputs];
        let mut model = Self { classes: data.target.classes() as u32, inputs, weights: zero };
        let matrix = model.matrix(data.columns, data.extra, train);
        let mut problem =
            Problem { data, rows: train, matrix: &matrix, width: width + 1, strength: 0.0 };
        let mut point: Vec<f64> = vec![0.0; (width + 1) * outputs];
        let strengths: Vec<f64> = match strength {
            Some(strength) => vec![strength],
            None => [1000.0, 100.0, 10.0, 1.0].iter().map(|s| s / train.len() as f64).collect(),
        };
        let held_out = valid.map(|rows| (rows, model.matrix(data.columns, data.extra, rows)));
        let mut best = (f64::INFINITY, model.weights.clone(), strengths[0]);
        for (number, &strength) in strengths.iter().enumerate() {
            if number > 0 && limits.is_over() {
                break;
            }
            problem.strength = strength;
            problem.minimise(&mut point, settings.iterations, limits);
            let weights: Vec<Vec<f32>> = point
                .chunks(width + 1)
                .map(|output| output.iter().map(|w| *w as f32).collect())
                .collect();
            let loss = match &held_out {
                Some((rows, matrix)) => {
                    let held_out = Problem { data, rows, matrix, width: width + 1, strength: 0.0 };
                    held_out.evaluate(&point, None)
                }
                None => 0.0,
            };
            if loss < best.0 {
                best = (loss, weights, strength);
            } else {
                break;
            }
        }
        model.weights = best.1;
        let mut at = 0;
        for (gain, input) in gains.iter_mut().zip(&model.inputs) {
            *gain += model
                .weights
                .iter()
                .flat_map(|output| &output[at..at + input.width()])
                .map(|w| f64::from(w.abs()))
                .sum::<f64>();
            at += input.width();
        }
        (model, best.2)
    }

    /// Standardised inputs of some rows, each with a 1 at the end.
    fn matrix(&self, columns: &[Vec<f64>], extra: &[Vec<f64>], rows: &[u32]) -> Vec<f32> {
        let width = self.inputs.iter().map(Input::width).sum::<usize>() + 1;
        let mut matrix = vec![0.0; rows.len() * width];
        for (row, out) in rows.iter().zip(matrix.chunks_exact_mut(width)) {
            self.write(columns, extra, *row as usize, out);
        }
        matrix
    }

    fn write(&self, columns: &[Vec<f64>], extra: &[Vec<f64>], row: usize, out: &mut [f32]) {
        let mut at = 0;
        for (input, column) in self.inputs.iter().zip(columns.iter().chain(extra)) {
            input.write(column[row], &mut out[at..at + input.width()]);
            at += input.width();
        }
        out[at] = 1.0;
    }

    pub(crate) fn predict(&self, columns: &[Vec<f64>], extra: &[Vec<f64>], out: &mut [f32]) {
        let width = self.inputs.iter().map(Input::width).sum::<usize>() + 1;
        let mut inputs = vec![0.0; width];
        for (row, out) in out.chunks_exact_mut(self.weights.len()).enumerate() {
            inputs.fill(0.0);
            self.write(columns, extra, row, &mut inputs);
            for (out, weights) in out.iter_mut().zip(&self.weights) {
                *out = weights.iter().zip(&inputs).map(|(w, x)| w * x).sum();
            }
            link(self.classes as usize, out);
        }
    }

    pub(crate) fn is_sound(&self, outputs: usize, classes: usize, width: usize) -> bool {
        let inputs = self.inputs.iter().map(Input::width).sum::<usize>();
        let level = |input: &Input| match input {
            Input::Number { mean, scale, .. } => mean.is_finite() && scale.is_finite(),
            Input::Levels { inputs, count, missing } => {
                inputs.iter().chain([missing]).flatten().all(|at| at < count)
            }
        };
        self.classes as usize == classes
            && self.inputs.len() == width
            && self.inputs.iter().all(level)
            && self.weights.len() == outputs
            && self
                .weights
                .iter()
                .all(|output| output.len() == inputs + 1 && output.iter().all(|w| w.is_finite()))
    }
}

/// Learns from training rows how a feature enters the model.
fn input(data: &Data<'_>, feature: usize, train: &[u32]) -> Input {
    let column =
        data.columns.get(feature).unwrap_or_else(|| &data.extra[feature - data.columns.len()]);
    let values = train.iter().map(|&row| column[row as usize]);
    if !data.is_level[feature] {
        let known: Vec<f64> = values.filter(|value| !value.is_nan()).collect();
        let count = known.len().max(1) as f64;
        let mean = known.iter().sum::<f64>() / count;
        let deviation =
            (known.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt();
        let usable =
            mean.is_finite() && deviation.is_finite() && deviation > 1e-12 * mean.abs().max(1e-300);
        let (mean, scale) = if usable { (mean, 1.0 / deviation) } else { (0.0, 0.0) };
        return Input::Number { mean, scale, missing: known.len() < train.len() };
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
    Input::Levels { inputs, count: count + u16::from(missing.is_some()), missing }
}
