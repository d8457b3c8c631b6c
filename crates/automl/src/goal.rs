//! What boosting minimises: the loss of scores on some rows, and its slopes.

use fearless_simd::{Simd, dispatch};

use crate::dataset::Data;
use crate::math::{exp, level, ln};
use crate::target::Target;

/// The least probability that a loss is computed from.
const LEAST: f32 = 1e-7;
/// The least curvature of a loss.
const LEAST_CURVE: f32 = 1e-7;
/// Losses that are summed in single precision.
const CHUNK: usize = 64;

/// Targets and weights of some rows, side by side.
pub(crate) struct Goal {
    /// The value; with two labels 1 for the second; with more the label's number.
    wanted: Vec<f32>,
    weights: Option<Vec<f32>>,
    classes: usize,
}

impl Goal {
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

    /// Slope and curvature of the loss at each row's score of one output, from
    /// what [`Self::link`] made of it.
    pub(crate) fn slopes(
        &self,
        output: usize,
        linked: &[f32],
        slopes: &mut Vec<f32>,
        curves: &mut Vec<f32>,
    ) {
        slopes.resize(self.rows(), 0.0);
        curves.resize(self.rows(), 0.0);
        dispatch!(level(), simd => self.slopes_in(simd, output, linked, slopes, curves));
    }

    #[inline(always)]
    fn slopes_in<S: Simd>(
        &self,
        _: S,
        output: usize,
        linked: &[f32],
        slopes: &mut [f32],
        curves: &mut [f32],
    ) {
        let rows = linked.iter().zip(&self.wanted).zip(slopes.iter_mut().zip(curves.iter_mut()));
        match self.classes {
            0 => rows.for_each(|((p, wanted), (slope, curve))| {
                *slope = p - wanted;
                *curve = 1.0;
            }),
            2 => rows.for_each(|((p, wanted), (slope, curve))| {
                *slope = p - wanted;
                *curve = (p * (1.0 - p)).max(LEAST_CURVE);
            }),
            _ => {
                // Friedman's correction for scores that may all shift together.
                let factor = self.classes as f32 / (self.classes as f32 - 1.0);
                let output = output as f32;
                rows.for_each(|((p, wanted), (slope, curve))| {
                    *slope = p - if *wanted == output { 1.0 } else { 0.0 };
                    *curve = (factor * p * (1.0 - p)).max(LEAST_CURVE);
                });
            }
        }
        if let Some(weights) = &self.weights {
            slopes.iter_mut().zip(weights).for_each(|(slope, weight)| *slope *= weight);
            curves.iter_mut().zip(weights).for_each(|(curve, weight)| *curve *= weight);
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
                    *loss = -ln(p.clamp(LEAST, 1.0));
                }),
                _ => {
                    let picked = (from..to).zip(wanted).map(|(row, k)| linked[*k as usize][row]);
                    losses.iter_mut().zip(picked).for_each(|(loss, p)| *loss = p);
                    losses.iter_mut().for_each(|loss| *loss = -ln(loss.clamp(LEAST, 1.0)));
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

    fn goal(wanted: &[f32], classes: usize) -> Goal {
        Goal { wanted: wanted.to_vec(), weights: None, classes }
    }

    fn loss(goal: &Goal, scores: &[Vec<f32>]) -> f64 {
        let mut linked = Vec::new();
        goal.link(scores, &mut linked);
        goal.loss(&linked)
    }

    #[test]
    fn slopes_are_what_small_steps_of_the_loss_say() {
        // 100 rows, so that there is more than one chunk.
        let row = |at: usize| (at as f32 * 0.37).sin();
        for (classes, outputs) in [(0, 1), (2, 1), (4, 4)] {
            let wanted: Vec<f32> = (0..100).map(|at| (at * 7 % classes.max(3)) as f32).collect();
            let goal = goal(&wanted, classes);
            let scores: Vec<Vec<f32>> =
                (0..outputs).map(|k| (0..100).map(|at| row(at + 31 * k)).collect()).collect();
            let mut linked = Vec::new();
            goal.link(&scores, &mut linked);
            for output in 0..outputs {
                let (mut slopes, mut curves) = (Vec::new(), Vec::new());
                goal.slopes(output, &linked[output], &mut slopes, &mut curves);
                for at in [0, 63, 64, 99] {
                    let moved = |step: f32| {
                        let mut scores = scores.clone();
                        scores[output][at] += step;
                        100.0 * loss(&goal, &scores)
                    };
                    let wanted = (moved(0.02) - moved(-0.02)) / 0.04;
                    let half = if classes == 0 { 2.0 } else { 1.0 };
                    assert!((wanted - half * f64::from(slopes[at])).abs() < 2e-3);
                    assert!(curves[at] > 0.0);
                }
            }
        }
    }
}
