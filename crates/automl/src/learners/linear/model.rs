//! Linear models: ridge, logistic and softmax regression, by one optimiser.

use serde::{Deserialize, Serialize};

use crate::features::inputs::Input;
use crate::learners::fit::{Complexity, Fit, FitContext, Stopping};
use crate::learners::linear::lbfgs::RegularizedLoss;
use crate::learners::link::link;

/// The settings of a linear model's training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct LinearSettings {
    /// Most iterations for each strength of regularisation.
    pub(crate) iterations: usize,
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
    /// Minimises the regularised loss. Held-out rows, if there are any, pick the strength of
    /// the regularisation; without them it is that of earlier fits.
    pub(crate) fn fit(settings: &LinearSettings, context: &FitContext<'_>) -> Fit<Self> {
        let FitContext { data, train, limits, .. } = *context;
        let inputs: Vec<Input> =
            (0..data.bins.width).map(|feature| Input::fit(data, feature, train)).collect();
        let width: usize = inputs.iter().map(Input::width).sum();
        let outputs = data.target.outputs();
        let zero = vec![vec![0.0; width + 1]; outputs];
        let mut model = Self { classes: data.target.classes() as u32, inputs, weights: zero };
        let matrix = model.matrix(data.columns, data.encodings, train);
        let mut loss =
            RegularizedLoss { data, rows: train, matrix: &matrix, width: width + 1, strength: 0.0 };
        let mut point: Vec<f64> = vec![0.0; (width + 1) * outputs];
        let strengths: Vec<f64> = match context.stopping {
            Stopping::Fixed(Complexity::Strength(strength)) => vec![strength],
            _ => [1000.0, 100.0, 10.0, 1.0].iter().map(|s| s / train.len() as f64).collect(),
        };
        let held_out =
            context.held_out().map(|rows| (rows, model.matrix(data.columns, data.encodings, rows)));
        let mut best = (f64::INFINITY, model.weights.clone(), strengths[0]);
        for (number, &strength) in strengths.iter().enumerate() {
            if number > 0 && limits.is_over() {
                break;
            }
            loss.strength = strength;
            loss.minimize(&mut point, settings.iterations, limits);
            let weights: Vec<Vec<f32>> = point
                .chunks(width + 1)
                .map(|output| output.iter().map(|w| *w as f32).collect())
                .collect();
            let held_out_loss = match &held_out {
                Some((rows, matrix)) => {
                    let strength = 0.0;
                    RegularizedLoss { data, rows, matrix, width: width + 1, strength }
                        .evaluate(&point, None)
                }
                None => 0.0,
            };
            if held_out_loss < best.0 {
                best = (held_out_loss, weights, strength);
            } else {
                break;
            }
        }
        model.weights = best.1;
        let (importance, complexity) = (model.importance(), Complexity::Strength(best.2));
        Fit { model, complexity, importance }
    }

    /// The sum of the absolute weights of each feature's inputs.
    fn importance(&self) -> Vec<f64> {
        let mut at = 0;
        let of_input = |input: &Input| {
            let range = at..at + input.width();
            at = range.end;
            let weights = self.weights.iter().flat_map(|output| &output[range.clone()]);
            weights.map(|w| f64::from(w.abs())).sum()
        };
        self.inputs.iter().map(of_input).collect()
    }

    /// Standardised inputs of some rows, each with a 1 at the end.
    fn matrix(&self, columns: &[Vec<f64>], encodings: &[Vec<f64>], rows: &[u32]) -> Vec<f32> {
        let width = self.inputs.iter().map(Input::width).sum::<usize>() + 1;
        let mut matrix = vec![0.0; rows.len() * width];
        for (row, out) in rows.iter().zip(matrix.chunks_exact_mut(width)) {
            self.write(columns, encodings, *row as usize, out);
        }
        matrix
    }

    fn write(&self, columns: &[Vec<f64>], encodings: &[Vec<f64>], row: usize, out: &mut [f32]) {
        let mut at = 0;
        for (input, column) in self.inputs.iter().zip(columns.iter().chain(encodings)) {
            input.write(column[row], &mut out[at..at + input.width()]);
            at += input.width();
        }
        out[at] = 1.0;
    }

    pub(crate) fn predict(&self, columns: &[Vec<f64>], encodings: &[Vec<f64>], out: &mut [f32]) {
        let width = self.inputs.iter().map(Input::width).sum::<usize>() + 1;
        let mut inputs = vec![0.0; width];
        for (row, out) in out.chunks_exact_mut(self.weights.len()).enumerate() {
            inputs.fill(0.0);
            self.write(columns, encodings, row, &mut inputs);
            for (out, weights) in out.iter_mut().zip(&self.weights) {
                *out = weights.iter().zip(&inputs).map(|(w, x)| w * x).sum();
            }
            link(self.classes as usize, out);
        }
    }

    pub(crate) fn is_sound(&self, outputs: usize, classes: usize, width: usize) -> bool {
        let inputs = self.inputs.iter().map(Input::width).sum::<usize>();
        self.classes as usize == classes
            && self.inputs.len() == width
            && self.inputs.iter().all(Input::is_sound)
            && self.weights.len() == outputs
            && self
                .weights
                .iter()
                .all(|output| output.len() == inputs + 1 && output.iter().all(|w| w.is_finite()))
    }
}
