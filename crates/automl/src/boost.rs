//! Gradient boosting: trees that each correct the sum of the ones before.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::encode::STRIDE;
use crate::gradients::Gradients;
use crate::grow::{Grower, Shape, Workspace};
use crate::learn::{Data, Limits};
use crate::rng::Rng;
use crate::target::Target;
use crate::tree::Tree;

/// How a boosted model is trained.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct BoostSettings {
    /// Share of its correction that each tree applies.
    pub(crate) rate: f64,
    /// Most rounds; each adds one tree for each output.
    pub(crate) rounds: usize,
    /// Rounds without a better validation loss after which training ends.
    pub(crate) patience: usize,
    /// Share of the rows that each round sees.
    pub(crate) rows: f64,
    pub(crate) shape: Shape,
}

/// Places of 8 bytes in all histograms of one model.
const MAX_PLACES: usize = 32_000_000;
/// A round has to lower the loss by this share to count as progress.
const WORTHWHILE: f64 = 3e-4;

/// A trained sum of trees.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Boost {
    classes: u32,
    /// Where each output starts.
    base: Vec<f32>,
    /// One tree for each output, round after round.
    trees: Vec<Tree>,
}

impl Boost {
    /// Trains on `train`. With `valid`, keeps the number of rounds that does best
    /// there; without, trains `settings.rounds`. Adds gains to `gains`.
    pub(crate) fn fit(
        data: &Data<'_>,
        train: &[u32],
        valid: Option<&[u32]>,
        settings: &BoostSettings,
        limits: &Limits<'_>,
        seed: u64,
        gains: &mut [f64],
    ) -> (Self, usize) {
        let outputs = data.target.outputs();
        let mut model = Self {
            classes: data.target.classes() as u32,
            base: base(data, train),
            trees: Vec::new(),
        };
        // A leaf keeps a histogram while it is open: bound what all of them take.
        let most = MAX_PLACES / (STRIDE * data.bins.width.max(1) * outputs);
        let mut shape = settings.shape;
        shape.leaves = shape.leaves.min(most.max(4));
        let grower = Grower { bins: data.bins, is_level: data.is_level, shape };
        let mut scores: Vec<Vec<f32>> =
            model.base.iter().map(|base| vec![*base; data.rows()]).collect();
        let mut lanes: Vec<Lane> = (0..outputs).map(|_| Lane::new(data.bins.width)).collect();
        let mut rng = Rng::new(seed, 1);
        let mut best = (f64::INFINITY, 0);
        let mut progress = 0;
        // The last round that a row was drawn in.
        let mut seen_in = vec![usize::MAX; if settings.rows < 1.0 { data.rows() } else { 0 }];
        let sampled = ((train.len() as f64 * settings.rows) as usize).max(1);
        for round in 0..settings.rounds {
            if round > 0 && limits.is_over() {
                break;
            }
            let rows =
                if settings.rows < 1.0 { rng.sample(train, sampled) } else { train.to_vec() };
            let stream = rng.next();
            let norms = normalisers(data, &scores, train);
            let step = |(output, lane): (usize, &mut Lane)| {
                lane.pairs.resize(data.rows(), (0.0, 0.0));
                gradients(data, &scores[output], norms.as_deref(), output, &rows, &mut lane.pairs);
                lane.gradients.pack(&rows, &lane.pairs);
                lane.rows.clear();
                lane.rows.extend_from_slice(&rows);
                let mut rng = Rng::new(stream, output as u64);
                grower.grow(
                    &lane.gradients,
                    &mut lane.rows,
                    settings.rate,
                    &mut rng,
                    &mut lane.work,
                    &mut lane.gains,
                )
            };
            // Outputs are independent within a round; a single one uses threads inside.
            let grown: Vec<_> = match outputs {
                1 => lanes.iter_mut().enumerate().map(step).collect(),
                _ => lanes.par_iter_mut().enumerate().map(step).collect(),
            };
            let unseen: Vec<u32> = match settings.rows < 1.0 {
                true => {
                    rows.iter().for_each(|&row| seen_in[row as usize] = round);
                    train.iter().copied().filter(|&row| seen_in[row as usize] != round).collect()
                }
                false => Vec::new(),
            };
            for ((grown, lane), scores) in grown.into_iter().zip(&lanes).zip(&mut scores) {
                for &(from, to, value) in &grown.leaves {
                    lane.rows[from..to].iter().for_each(|&row| scores[row as usize] += value);
                }
                for &row in unseen.iter().chain(valid.unwrap_or_default()) {
                    scores[row as usize] += grown.tree.values(data.bins.row(row as usize))[0];
                }
                model.trees.push(grown.tree);
            }
            let Some(valid) = valid else { continue };
            let loss = loss(data, &scores, valid);
            if loss < best.0 * (1.0 - WORTHWHILE) {
                progress = round;
            }
            if loss < best.0 {
                best = (loss, round + 1);
            }
            if round >= progress + settings.patience {
                break;
            }
        }
        if valid.is_some() {
            model.trees.truncate(best.1.max(1) * outputs);
        }
        for lane in &lanes {
            gains.iter_mut().zip(&lane.gains).for_each(|(sum, gain)| *sum += gain);
        }
        let rounds = model.trees.len() / outputs;
        (model, rounds)
    }

    /// Predicts rows of `width` bins each into rows of outputs.
    pub(crate) fn predict(&self, bins: &[u8], width: usize, out: &mut [f32]) {
        let outputs = self.base.len();
        out.chunks_exact_mut(outputs).for_each(|row| row.copy_from_slice(&self.base));
        for (number, tree) in self.trees.iter().enumerate() {
            let output = number % outputs;
            tree.each(bins, width, |row, values| out[row * outputs + output] += values[0]);
        }
        out.chunks_exact_mut(outputs).for_each(|row| link(self.classes as usize, row));
    }

    pub(crate) fn is_sound(&self, outputs: usize, classes: usize, width: usize) -> bool {
        self.classes as usize == classes
            && self.base.len() == outputs
            && self.trees.len().is_multiple_of(outputs)
            && self.trees.iter().all(|tree| tree.is_sound(1, width))
    }
}

/// What one output needs in each round.
struct Lane {
    pairs: Vec<(f32, f32)>,
    gradients: Gradients,
    rows: Vec<u32>,
    work: Workspace,
    gains: Vec<f64>,
}

impl Lane {
    fn new(width: usize) -> Self {
        Self {
            pairs: Vec::new(),
            gradients: Gradients { packed: Vec::new(), gradient_unit: 1.0, hessian_unit: 1.0 },
            rows: Vec::new(),
            work: Workspace::default(),
            gains: vec![0.0; width],
        }
    }
}

/// Turns scores into a value or probabilities, in place.
pub(crate) fn link(classes: usize, row: &mut [f32]) {
    match classes {
        0 => {}
        2 => row[0] = 1.0 / (1.0 + (-row[0]).exp()),
        _ => {
            let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            row.iter_mut().for_each(|score| *score = (*score - top).exp());
            let sum: f32 = row.iter().sum();
            row.iter_mut().for_each(|score| *score /= sum);
        }
    }
}

/// The best constant score of each output.
fn base(data: &Data<'_>, train: &[u32]) -> Vec<f32> {
    let total: f64 = train.iter().map(|&row| data.weight(row)).sum::<f64>().max(1e-12);
    (0..data.target.outputs())
        .map(|output| {
            let sum: f64 = train
                .iter()
                .map(|&row| data.weight(row) * data.target.output(row as usize, output))
                .sum();
            let mean = sum / total;
            let share = mean.clamp(1e-6, 1.0 - 1e-6);
            match data.target.classes() {
                0 => mean as f32,
                2 => (share / (1.0 - share)).ln() as f32,
                _ => share.ln() as f32,
            }
        })
        .collect()
}

/// For three and more labels: the logarithm of each row's sum of exponentials.
fn normalisers(data: &Data<'_>, scores: &[Vec<f32>], rows: &[u32]) -> Option<Vec<f32>> {
    if data.target.classes() <= 2 {
        return None;
    }
    let mut norms = vec![0.0; data.rows()];
    for &row in rows {
        let row = row as usize;
        let top = scores.iter().map(|score| score[row]).fold(f32::NEG_INFINITY, f32::max);
        norms[row] = top + scores.iter().map(|score| (score[row] - top).exp()).sum::<f32>().ln();
    }
    Some(norms)
}

/// Gradient and hessian of the loss at each row's score.
fn gradients(
    data: &Data<'_>,
    scores: &[f32],
    norms: Option<&[f32]>,
    output: usize,
    rows: &[u32],
    pairs: &mut [(f32, f32)],
) {
    let classes = data.target.classes();
    // Friedman's correction for scores that may all shift together.
    let factor = if classes > 2 { classes as f32 / (classes as f32 - 1.0) } else { 1.0 };
    for &row in rows {
        let at = row as usize;
        let weight = data.weight(row) as f32;
        let (g, h) = match data.target {
            Target::Value(values) => (scores[at] - values[at] as f32, 1.0),
            Target::Class { labels, .. } => {
                let (p, is) = match norms {
                    None => (1.0 / (1.0 + (-scores[at]).exp()), labels[at] == 1),
                    Some(norms) => ((scores[at] - norms[at]).exp(), labels[at] as usize == output),
                };
                (p - f32::from(u8::from(is)), (factor * p * (1.0 - p)).max(1e-7))
            }
        };
        pairs[at] = (weight * g, weight * h);
    }
}

/// Mean loss of scores on some rows.
fn loss(data: &Data<'_>, scores: &[Vec<f32>], rows: &[u32]) -> f64 {
    let mut out = vec![0.0; scores.len()];
    let (mut sum, mut total) = (0.0, 0.0);
    for &row in rows {
        out.iter_mut().zip(scores).for_each(|(out, score)| *out = score[row as usize]);
        link(data.target.classes(), &mut out);
        sum += data.weight(row) * data.target.loss(row as usize, &out);
        total += data.weight(row);
    }
    if total > 0.0 { sum / total } else { 0.0 }
}
