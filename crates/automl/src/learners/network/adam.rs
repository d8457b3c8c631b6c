//! The AdamW optimizer: steps that adapt to each parameter, with decoupled weight decay.

use fearless_simd::{Simd, dispatch};

use crate::simd::level;

/// The first and second moments of each parameter's gradient, and how many steps were made.
pub(crate) struct Adam {
    mean: Vec<f32>,
    square: Vec<f32>,
    steps: i32,
}

/// The decay rates of the means of the gradients and of their squares.
const BETA_1: f32 = 0.9;
const BETA_2: f32 = 0.999;

impl Adam {
    pub(crate) fn new(size: usize) -> Self {
        Self { mean: vec![0.0; size], square: vec![0.0; size], steps: 0 }
    }

    pub(crate) fn step(
        &mut self,
        parameters: &mut [f32],
        gradients: &[f32],
        learning_rate: f32,
        weight_decay: f32,
    ) {
        self.steps += 1;
        let corrected_rate = learning_rate / (1.0 - BETA_1.powi(self.steps));
        let scale = 1.0 / (1.0 - BETA_2.powi(self.steps));
        let shrink = 1.0 - learning_rate * weight_decay;
        dispatch!(level(), simd => self.step_in(simd, parameters, gradients, [corrected_rate, scale, shrink]));
    }

    #[inline(always)]
    fn step_in<S: Simd>(
        &mut self,
        _: S,
        parameters: &mut [f32],
        gradients: &[f32],
        [learning_rate, scale, shrink]: [f32; 3],
    ) {
        let moments = self.mean.iter_mut().zip(&mut self.square);
        for ((parameter, gradient), (mean, square)) in
            parameters.iter_mut().zip(gradients).zip(moments)
        {
            *mean = BETA_1 * *mean + (1.0 - BETA_1) * gradient;
            *square = BETA_2 * *square + (1.0 - BETA_2) * gradient * gradient;
            *parameter =
                *parameter * shrink - learning_rate * *mean / ((*square * scale).sqrt() + 1e-8);
        }
    }
}
