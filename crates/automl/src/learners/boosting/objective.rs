//! The loss that boosting minimises, of scores on some rows, with gradients and hessians.

use fearless_simd::{Simd, dispatch};

use crate::features::dataset::Data;
use crate::simd::{exp, level, ln};
use crate::table::target::Target;

/// The least probability that a loss is computed from.
const MIN_PROBABILITY: f32 = 1e-7;
/// The least hessian of a loss.
const MIN_HESSIAN: f32 = 1e-7;
/// Losses that are summed in single precision.
const CHUNK: usize = 64;

/// Targets and weights of some rows, side by side.
pub(crate) struct Objective {
    /// The value; with two labels 1 for the second; with more the label's number.
    wanted: Vec<f32>,
    weights: Option<Vec<f32>>,
    classes: usize,
}

impl Objective {
    pub(crate) fn new(data: &Data<'_>, rows: &[u32]) -> Self {
        let wanted = |&row: &u32| match data.target {
            Target::Class { labels, .. } => labels[row as usize] as f32,
            Target::Value(values) => values[row as usize] as f32,
        };
        let weights =
            data.weights.map(|weights| rows.iter().map(|&row| weights[row as usize]).collect());
        Self { wanted: rows.iter().map(wanted).collect(), weights, classes: data.target.classes() }
    }

    pub(crate) fn rows(&self) -> usize {
        self.wanted.len()
    }

    /// Turns the scores of all outputs into what they stand for: a value or
    /// probabilities.
    pub(crate) fn link(&self, scores: &[Vec<f32>], out: &mut Vec<Vec<f32>>) {
        out.resize_with(scores.len(), Vec::new);
        for (out, scores) in out.iter_mut().zip(scores) {
            out.clear();
            out.extend_from_slice(scores);
        }
        dispatch!(level(), simd => link(simd, self.classes, out));
    }

    /// Gradient and hessian of the loss at each row's score of one output, from
    /// what [`Self::link`] made of it.
    pub(crate) fn derivatives(
        &self,
        output: usize,
        linked: &[f32],
        gradients: &mut Vec<f32>,
        hessians: &mut Vec<f32>,
    ) {
        gradients.resize(self.rows(), 0.0);
        hessians.resize(self.rows(), 0.0);
        dispatch!(level(), simd => self.derivatives_in(simd, output, linked, gradients, hessians));
    }

    #[inline(always)]
    fn derivatives_in<S: Simd>(
        &self,
        _: S,
        output: usize,
        linked: &[f32],
        gradients: &mut [f32],
        hessians: &mut [f32],
    ) {
        let rows =
            linked.iter().zip(&self.wanted).zip(gradients.iter_mut().zip(hessians.iter_mut()));
        match self.classes {
            0 => rows.for_each(|((p, wanted), (gradient, hessian))| {
                *gradient = p - wanted;
                *hessian = 1.0;
            }),
            2 => rows.for_each(|((p, wanted), (gradient, hessian))| {
                *gradient = p - wanted;
                *hessian = (p * (1.0 - p)).max(MIN_HESSIAN);
            }),
            _ => {
                // Friedman's correction for scores that may all shift together.
                let factor = self.classes as f32 / (self.classes as f32 - 1.0);
                let output = output as f32;
                rows.for_each(|((p, wanted), (gradient, hessian))| {
                    *gradient = p - if *wanted == output { 1.0 } else { 0.0 };
                    *hessian = (factor * p * (1.0 - p)).max(MIN_HESSIAN);
                });
            }
        }
        if let Some(weights) = &self.weights {
            gradients.iter_mut().zip(weights).for_each(|(gradient, weight)| *gradient *= weight);
            hessians.iter_mut().zip(weights).for_each(|(hessian, weight)| *hessian *= weight);
        }
    }

    /// Mean loss, from what [`Self::link`] made of scores.
    pub(crate) fn loss(&self, linked: &[Vec<f32>]) -> f64 {
        dispatch!(level(), simd => self.loss_in(simd, linked))
    }

    #[inline(always)]
    fn loss_in<S: Simd>(&self, _: S, linked: &[Vec<f32>]) -> f64 {
        let (mut sum, mut total) = (0.0, 0.0);
        let mut losses = [0.0f32; CHUNK];
        for from in (0..self.rows()).step_by(CHUNK) {
            let to = (from + CHUNK).min(self.rows());
            let losses = &mut losses[..to - from];
            let wanted = &self.wanted[from..to];
            let first = &linked[0][from..to];
            let rows = losses.iter_mut().zip(wanted.iter().zip(first));
            match self.classes {
                0 => rows.for_each(|(loss, (wanted, p))| *loss = (wanted - p) * (wanted - p)),
                2 => rows.for_each(|(loss, (wanted, p))| {
                    let p = if *wanted == 1.0 { *p } else { 1.0 - *p };
                    *loss = -ln(p.clamp(MIN_PROBABILITY, 1.0));
                }),
                _ => {
                    let picked = (from..to).zip(wanted).map(|(row, k)| linked[*k as usize][row]);
                    losses.iter_mut().zip(picked).for_each(|(loss, p)| *loss = p);
                    losses
                        .iter_mut()
                        .for_each(|loss| *loss = -ln(loss.clamp(MIN_PROBABILITY, 1.0)));
                }
            }
            match &self.weights {
                Some(weights) => {
                    for (loss, weight) in losses.iter().zip(&weights[from..to]) {
                        sum += f64::from(loss * weight);
                        total += f64::from(*weight);
                    }
                }
                None => {
                    sum += losses.iter().map(|loss| f64::from(*loss)).sum::<f64>();
                    total += losses.len() as f64;
                }
            }
        }
        if total > 0.0 { sum / total } else { 0.0 }
    }
}

#[inline(always)]
fn link<S: Simd>(_: S, classes: usize, scores: &mut [Vec<f32>]) {
    match scores {
        [_] if classes == 0 => {}
        [scores] => scores.iter_mut().for_each(|score| *score = 1.0 / (1.0 + exp(-*score))),
        several => {
            let rows = several.first().map_or(0, Vec::len);
            let (mut top, mut sum) = ([0.0f32; CHUNK], [0.0f32; CHUNK]);
            for from in (0..rows).step_by(CHUNK) {
                let range = from..(from + CHUNK).min(rows);
                top.fill(f32::NEG_INFINITY);
                sum.fill(0.0);
                for scores in several.iter() {
                    let scores = &scores[range.clone()];
                    top.iter_mut().zip(scores).for_each(|(top, score)| *top = top.max(*score));
                }
                for scores in several.iter_mut() {
                    let rows = scores[range.clone()].iter_mut().zip(&top).zip(&mut sum);
                    rows.for_each(|((score, top), sum)| {
                        *score = exp(*score - top);
                        *sum += *score;
                    });
                }
                sum.iter_mut().for_each(|sum| *sum = 1.0 / *sum);
                for scores in several.iter_mut() {
                    let rows = scores[range.clone()].iter_mut().zip(&sum);
                    rows.for_each(|(score, share)| *score *= share);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objective(wanted: &[f32], classes: usize) -> Objective {
        Objective { wanted: wanted.to_vec(), weights: None, classes }
    }

    fn loss(objective: &Objective, scores: &[Vec<f32>]) -> f64 {
        let mut linked = Vec::new();
        objective.link(scores, &mut linked);
        objective.loss(&linked)
    }

    #[test]
    fn gradients_are_what_small_steps_of_the_loss_say() {
        // 100 rows, so that there is more than one chunk.
        let row = |at: usize| (at as f32 * 0.37).sin();
        for (classes, outputs) in [(0, 1), (2, 1), (4, 4)] {
            let wanted: Vec<f32> = (0..100).map(|at| (at * 7 % classes.max(3)) as f32).collect();
            let objective = objective(&wanted, classes);
            let scores: Vec<Vec<f32>> =
                (0..outputs).map(|k| (0..100).map(|at| row(at + 31 * k)).collect()).collect();
            let mut linked = Vec::new();
            objective.link(&scores, &mut linked);
            for output in 0..outputs {
                let (mut gradients, mut hessians) = (Vec::new(), Vec::new());
                objective.derivatives(output, &linked[output], &mut gradients, &mut hessians);
                for at in [0, 63, 64, 99] {
                    let moved = |step: f32| {
                        let mut scores = scores.clone();
                        scores[output][at] += step;
                        100.0 * loss(&objective, &scores)
                    };
                    let wanted = (moved(0.02) - moved(-0.02)) / 0.04;
                    let half = if classes == 0 { 2.0 } else { 1.0 };
                    assert!((wanted - half * f64::from(gradients[at])).abs() < 2e-3);
                    assert!(hessians[at] > 0.0);
                }
            }
        }
    }
}
