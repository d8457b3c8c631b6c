//! Linear models: ridge, logistic and softmax regression, by one optimiser.

use serde::{Deserialize, Serialize};

use crate::budget::Limits;
use crate::dataset::Data;
use crate::inputs::Input;
use crate::link::link;
use crate::problem::Problem;

/// How a linear model is trained.
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
            (0..data.bins.width).map(|feature| Input::fit(data, feature, train)).collect();
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
