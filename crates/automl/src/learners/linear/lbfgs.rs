//! The regularised loss of a linear model, and L-BFGS, which minimises it.

use std::collections::VecDeque;

use rayon::prelude::*;

use crate::features::dataset::Data;
use crate::learners::limits::Limits;
use crate::learners::link::link;
use crate::table::target::Target;

/// Rows that are summed as one, in any number of threads: sums stay the same.
const CHUNK: usize = 1024;

/// Mean loss plus regularisation, as a function of all weights.
pub(crate) struct RegularizedLoss<'a> {
    pub(crate) data: &'a Data<'a>,
    pub(crate) rows: &'a [u32],
    pub(crate) matrix: &'a [f32],
    pub(crate) width: usize,
    pub(crate) strength: f64,
}

impl RegularizedLoss<'_> {
    /// The loss at a point and, if asked for, its gradient.
    pub(crate) fn evaluate(&self, point: &[f64], gradient: Option<&mut [f64]>) -> f64 {
        let weights: Vec<f32> = point.iter().map(|w| *w as f32).collect();
        let wanted = gradient.is_some();
        let chunk = |(rows, matrix): (&[u32], &[f32])| self.chunk(rows, matrix, &weights, wanted);
        let pairs = || self.rows.chunks(CHUNK).zip(self.matrix.chunks(CHUNK * self.width));
        let parts: Vec<(f64, f64, Vec<f32>)> = match self.matrix.len() < 100_000 {
            true => pairs().map(chunk).collect(),
            false => pairs().collect::<Vec<_>>().into_par_iter().map(chunk).collect(),
        };
        let total: f64 = parts.iter().map(|part| part.1).sum::<f64>().max(1e-12);
        let mut loss = parts.iter().map(|part| part.0).sum::<f64>() / total;
        // The constant at the end of each output is free.
        let is_free = |at: usize| (at + 1).is_multiple_of(self.width);
        loss += point
            .iter()
            .enumerate()
            .filter(|(at, _)| !is_free(*at))
            .map(|(_, w)| 0.5 * self.strength * w * w)
            .sum::<f64>();
        if let Some(gradient) = gradient {
            gradient.fill(0.0);
            for part in &parts {
                gradient.iter_mut().zip(&part.2).for_each(|(sum, g)| *sum += f64::from(*g));
            }
            for (at, (g, w)) in gradient.iter_mut().zip(point).enumerate() {
                *g = *g / total + if is_free(at) { 0.0 } else { self.strength * w };
            }
        }
        loss
    }

    /// Sum of losses, of weights, and of gradients of some rows.
    fn chunk(
        &self,
        rows: &[u32],
        matrix: &[f32],
        weights: &[f32],
        wanted: bool,
    ) -> (f64, f64, Vec<f32>) {
        let outputs = weights.len() / self.width;
        let mut gradient = vec![0.0f32; if wanted { weights.len() } else { 0 }];
        let mut out = vec![0.0f32; outputs];
        let (mut loss, mut total) = (0.0, 0.0);
        for (&row, x) in rows.iter().zip(matrix.chunks_exact(self.width)) {
            for (out, weights) in out.iter_mut().zip(weights.chunks_exact(self.width)) {
                *out = dot(weights, x);
            }
            link(self.data.target.classes(), &mut out);
            let weight = self.data.weight(row);
            total += weight;
            let row = row as usize;
            // Half the squared error, so that the gradient is the plain error.
            let half = if matches!(self.data.target, Target::Value(_)) { 0.5 } else { 1.0 };
            loss += half * weight * self.data.target.loss(row, &out);
            if wanted {
                for (output, gradient) in gradient.chunks_exact_mut(self.width).enumerate() {
                    let error =
                        weight as f32 * (out[output] - self.data.target.output(row, output) as f32);
                    gradient.iter_mut().zip(x).for_each(|(g, x)| *g += error * x);
                }
            }
        }
        (loss, total, gradient)
    }

    /// L-BFGS with a backtracking line search, from `point` on.
    pub(crate) fn minimize(&self, point: &mut Vec<f64>, iterations: usize, limits: Limits<'_>) {
        let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let mut gradient = vec![0.0; point.len()];
        let mut loss = self.evaluate(point, Some(&mut gradient));
        let mut memory: VecDeque<(Vec<f64>, Vec<f64>, f64)> = VecDeque::new();
        for iteration in 0..iterations {
            if iteration > 0 && limits.is_over() {
                return;
            }
            let mut direction: Vec<f64> = gradient.iter().map(|g| -g).collect();
            let mut alphas = Vec::with_capacity(memory.len());
            for (s, y, rho) in memory.iter().rev() {
                let alpha = rho * product(s, &direction);
                direction.iter_mut().zip(y).for_each(|(d, y)| *d -= alpha * y);
                alphas.push(alpha);
            }
            if let Some((_, y, rho)) = memory.back() {
                let scale = 1.0 / (rho * product(y, y));
                direction.iter_mut().for_each(|d| *d *= scale);
            }
            for ((s, y, rho), alpha) in memory.iter().zip(alphas.iter().rev()) {
                let beta = rho * product(y, &direction);
                direction.iter_mut().zip(s).for_each(|(d, s)| *d += (alpha - beta) * s);
            }
            let slope = product(&direction, &gradient);
            if slope >= -1e-12 {
                return;
            }
            let mut step = if memory.is_empty() {
                1.0 / product(&gradient, &gradient).sqrt().max(1.0)
            } else {
                1.0
            };
            let mut next = point.clone();
            let mut next_gradient = vec![0.0; point.len()];
            let next_loss = loop {
                next.iter_mut()
                    .zip(point.iter().zip(&direction))
                    .for_each(|(n, (p, d))| *n = p + step * d);
                let value = self.evaluate(&next, Some(&mut next_gradient));
                if value <= loss + 1e-4 * step * slope {
                    break value;
                }
                step *= 0.4;
                if step < 1e-8 {
                    return;
                }
            };
            let s: Vec<f64> = next.iter().zip(point.iter()).map(|(n, p)| n - p).collect();
            let y: Vec<f64> = next_gradient.iter().zip(&gradient).map(|(n, g)| n - g).collect();
            let curvature = product(&s, &y);
            if curvature > 1e-12 {
                memory.push_back((s, y, 1.0 / curvature));
                if memory.len() > 10 {
                    memory.pop_front();
                }
            }
            let gained = loss - next_loss;
            *point = next;
            gradient = next_gradient;
            loss = next_loss;
            if gained < 1e-7 * loss.abs().max(1e-6) {
                return;
            }
        }
    }
}

/// A dot product in eight lanes, which a plain sum of floats may not use.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 8];
    let (a8, a_rest) = a.as_chunks::<8>();
    let (b8, b_rest) = b.as_chunks::<8>();
    for (a, b) in a8.iter().zip(b8) {
        for lane in 0..8 {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    lanes.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}
