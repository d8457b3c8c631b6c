//! Gradient boosting: trees that each correct the sum of the ones before.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::features::dataset::Data;
use crate::learners::boosting::gradients::PackedGradients;
use crate::learners::boosting::grower::{Buffers, Grower, Rows};
use crate::learners::boosting::objective::Objective;
use crate::learners::boosting::settings::BoostingSettings;
use crate::learners::boosting::tree::Tree;
use crate::learners::fit::{Complexity, Fit, FitContext, Stopping};
use crate::learners::link::link;
use crate::rng::Rng;

/// A round has to lower the loss by this share to count as progress.
const WORTHWHILE: f64 = 3e-4;

/// Rows to predict from which more threads are faster than one, and how many one
/// takes at a time.
const PARALLEL: usize = 8_192;
const BLOCK: usize = 1_024;

/// A trained sum of trees.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Booster {
    classes: u32,
    /// The base score of each output.
    base: Vec<f32>,
    /// The trees: one for each output, round after round.
    trees: Vec<Tree>,
}

impl Booster {
    /// Adds trees round by round. Held-out rows, if there are any, tell how many do best;
    /// without them there are as many rounds as in earlier fits.
    pub(crate) fn fit(settings: &BoostingSettings, context: &FitContext<'_>) -> Fit<Self> {
        let FitContext { data, train, limits, .. } = *context;
        let outputs = data.target.outputs();
        let mut model = Self {
            classes: data.target.classes() as u32,
            base: base(data, train),
            trees: Vec::new(),
        };
        let rounds = match context.stopping {
            Stopping::Fixed(Complexity::Rounds(rounds)) => (rounds.round() as usize).max(1),
            _ => settings.rounds,
        };
        let watched = context.held_out().unwrap_or_default();
        let mut seen = Scores::new(data, train, &model.base);
        let mut held_out = Scores::new(data, watched, &model.base);
        // Rows side by side are read much faster than rows here and there.
        let (bins, others) = (data.bins.take(train), data.bins.take(watched));
        let grower = Grower::new(&bins, &others, data.is_categorical, settings.tree, outputs);
        let mut states: Vec<OutputState> = (0..outputs).map(|_| OutputState::default()).collect();
        let mut importance = vec![0.0; data.bins.width];
        let mut rng = Rng::new(context.seed, 1);
        let mut best = (f64::INFINITY, 0);
        let mut progress = 0;
        for round in 0..rounds {
            if round > 0 && limits.is_over() {
                break;
            }
            let sample =
                (settings.row_share < 1.0).then(|| draw(train.len(), settings.row_share, &mut rng));
            let stream = rng.next();
            seen.objective.link(&seen.scores, &mut seen.linked);
            let step = |(output, state): (usize, &mut OutputState)| {
                let OutputState { gradients, hessians, packed, rows, buffers } = state;
                seen.objective.derivatives(output, &seen.linked[output], gradients, hessians);
                packed.pack(gradients, hessians);
                fill(&mut rows.others, 0..held_out.objective.rows() as u32);
                match &sample {
                    Some((learned, unseen)) => {
                        fill(&mut rows.learned, learned.iter().copied());
                        fill(&mut rows.unseen, unseen.iter().copied());
                    }
                    None => fill(&mut rows.learned, 0..train.len() as u32),
                }
                let mut rng = Rng::new(stream, output as u64);
                grower.grow(packed, rows, settings.learning_rate, &mut rng, buffers)
            };
            // Outputs are independent within a round; a single one uses threads inside.
            let grown: Vec<_> = match outputs {
                1 => states.iter_mut().enumerate().map(step).collect(),
                _ => states.par_iter_mut().enumerate().map(step).collect(),
            };
            for (output, (grown, state)) in grown.into_iter().zip(&states).enumerate() {
                grown.add_to(&state.rows, &mut seen.scores[output], &mut held_out.scores[output]);
                grown.gains.iter().for_each(|(feature, gain)| importance[*feature] += gain);
                model.trees.push(grown.tree);
            }
            if context.held_out().is_none() {
                continue;
            }
            held_out.objective.link(&held_out.scores, &mut held_out.linked);
            let loss = held_out.objective.loss(&held_out.linked);
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
        if context.held_out().is_some() {
            model.trees.truncate(best.1.max(1) * outputs);
        }
        let rounds = model.trees.len() / outputs;
        Fit { model, complexity: Complexity::Rounds(rounds as f64), importance }
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
    objective: Objective,
    scores: Vec<Vec<f32>>,
    /// The predictions that the scores stand for.
    linked: Vec<Vec<f32>>,
}

impl Scores {
    fn new(data: &Data<'_>, rows: &[u32], base: &[f32]) -> Self {
        Self {
            objective: Objective::new(data, rows),
            scores: base.iter().map(|base| vec![*base; rows.len()]).collect(),
            linked: Vec::new(),
        }
    }
}

/// The memory that one output needs in each round.
#[derive(Default)]
struct OutputState {
    gradients: Vec<f32>,
    hessians: Vec<f32>,
    packed: PackedGradients,
    rows: Rows,
    buffers: Buffers,
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
