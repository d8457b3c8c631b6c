//! Gradient boosting: trees that each correct the sum of the ones before.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::budget::Limits;
use crate::dataset::Data;
use crate::goal::Goal;
use crate::gradients::Gradients;
use crate::grow::{Grower, Rows, Workspace};
use crate::link::link;
use crate::rng::Rng;
use crate::tree::Shape;
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

/// A round has to lower the loss by this share to count as progress.
const WORTHWHILE: f64 = 3e-4;

/// Rows to predict from which more threads are faster than one, and how many one
/// takes at a time.
const PARALLEL: usize = 8_192;
const BLOCK: usize = 1_024;

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
        let watched = valid.unwrap_or_default();
        let mut seen = Scores::new(data, train, &model.base);
        let mut held_out = Scores::new(data, watched, &model.base);
        // Rows side by side are read much faster than rows here and there.
        let (bins, others) = (data.bins.take(train), data.bins.take(watched));
        let grower = Grower::new(&bins, &others, data.is_level, settings.shape, outputs);
        let mut lanes: Vec<Lane> = (0..outputs).map(|_| Lane::new(data.bins.width)).collect();
        let mut rng = Rng::new(seed, 1);
        let mut best = (f64::INFINITY, 0);
        let mut progress = 0;
        for round in 0..settings.rounds {
            if round > 0 && limits.is_over() {
                break;
            }
            let sample = (settings.rows < 1.0).then(|| draw(train.len(), settings.rows, &mut rng));
            let stream = rng.next();
            seen.goal.link(&seen.scores, &mut seen.linked);
            let step = |(output, lane): (usize, &mut Lane)| {
                let Lane { slopes, curves, gradients, rows, work, gains } = lane;
                seen.goal.slopes(output, &seen.linked[output], slopes, curves);
                gradients.pack(slopes, curves);
                fill(&mut rows.others, 0..held_out.goal.rows() as u32);
                match &sample {
                    Some((learned, unseen)) => {
                        fill(&mut rows.learned, learned.iter().copied());
                        fill(&mut rows.unseen, unseen.iter().copied());
                    }
                    None => fill(&mut rows.learned, 0..train.len() as u32),
                }
                let mut rng = Rng::new(stream, output as u64);
                grower.grow(gradients, rows, settings.rate, &mut rng, work, gains)
            };
            // Outputs are independent within a round; a single one uses threads inside.
            let grown: Vec<_> = match outputs {
                1 => lanes.iter_mut().enumerate().map(step).collect(),
                _ => lanes.par_iter_mut().enumerate().map(step).collect(),
            };
            for (output, (grown, lane)) in grown.into_iter().zip(&lanes).enumerate() {
                grown.add_to(&lane.rows, &mut seen.scores[output], &mut held_out.scores[output]);
                model.trees.push(grown.tree);
            }
            if valid.is_none() {
                continue;
            }
            held_out.goal.link(&held_out.scores, &mut held_out.linked);
            let loss = held_out.goal.loss(&held_out.linked);
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
        let rows = out.len() / self.base.len();
        if rows < PARALLEL || width == 0 {
            return self.predict_block(bins, width, out);
        }
        out.par_chunks_mut(BLOCK * self.base.len())
            .zip(bins.par_chunks(BLOCK * width))
            .for_each(|(out, bins)| self.predict_block(bins, width, out));
    }

    fn predict_block(&self, bins: &[u8], width: usize, out: &mut [f32]) {
        let outputs = self.base.len();
        out.chunks_exact_mut(outputs).for_each(|row| row.copy_from_slice(&self.base));
        for (number, tree) in self.trees.iter().enumerate() {
            let output = number % outputs;
            tree.each(bins, width, |row, value| out[row * outputs + output] += value);
        }
        out.chunks_exact_mut(outputs).for_each(|row| link(self.classes as usize, row));
    }

    pub(crate) fn is_sound(&self, outputs: usize, classes: usize, width: usize) -> bool {
        self.classes as usize == classes
            && self.base.len() == outputs
            && self.trees.len().is_multiple_of(outputs)
            && self.trees.iter().all(|tree| tree.is_sound(width))
    }
}

/// Scores of some rows, row by row and for each output, on their way.
struct Scores {
    goal: Goal,
    scores: Vec<Vec<f32>>,
    /// What the scores stand for.
    linked: Vec<Vec<f32>>,
}

impl Scores {
    fn new(data: &Data<'_>, rows: &[u32], base: &[f32]) -> Self {
        Self {
            goal: Goal::new(data, rows),
            scores: base.iter().map(|base| vec![*base; rows.len()]).collect(),
            linked: Vec::new(),
        }
    }
}

/// What one output needs in each round.
struct Lane {
    slopes: Vec<f32>,
    curves: Vec<f32>,
    gradients: Gradients,
    rows: Rows,
    work: Workspace,
    gains: Vec<f64>,
}

impl Lane {
    fn new(width: usize) -> Self {
        Self {
            slopes: Vec::new(),
            curves: Vec::new(),
            gradients: Gradients::new(),
            rows: Rows::default(),
            work: Workspace::default(),
            gains: vec![0.0; width],
        }
    }
}

/// A share of the rows below `rows`, and those left over.
fn draw(rows: usize, share: f64, rng: &mut Rng) -> (Vec<u32>, Vec<u32>) {
    let mut wanted = ((rows as f64 * share) as usize).max(1);
    let (mut drawn, mut left) = (Vec::with_capacity(wanted), Vec::with_capacity(rows - wanted));
    for row in 0..rows {
        match rng.below(rows - row) < wanted {
            true => {
                drawn.push(row as u32);
                wanted -= 1;
            }
            false => left.push(row as u32),
        }
    }
    (drawn, left)
}

/// Replaces what a list holds.
fn fill(list: &mut Vec<u32>, items: impl Iterator<Item = u32>) {
    list.clear();
    list.extend(items);
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
