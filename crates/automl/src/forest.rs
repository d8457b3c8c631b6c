//! Random forests and extremely randomised trees: many deep trees, averaged.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::deep::{Grower, Plan};
use crate::extra::Lines;
use crate::learn::{Data, Limits};
use crate::rng::Rng;
use crate::tree::Tree;

/// How a forest is grown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ForestSettings {
    pub(crate) trees: usize,
    /// One random limit for each feature, and no bootstrap.
    pub(crate) extra: bool,
    /// Share of the features tried at each node; `None` is the square root of
    /// their number for labels and a third of them for values.
    pub(crate) features: Option<f64>,
    /// Fewest rows of a leaf.
    pub(crate) min_rows: usize,
}

/// Numbers that all leaves of a forest may hold, so that a model stays small.
const MAX_VALUES: usize = 2_000_000;

/// Rows that one tree sees: what one does not see, others do.
const MAX_ROWS: usize = 16_384;

/// A trained forest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Forest {
    outputs: u32,
    trees: Vec<Tree>,
}

impl Forest {
    pub(crate) fn fit(
        data: &Data<'_>,
        train: &[u32],
        settings: &ForestSettings,
        limits: &Limits<'_>,
        seed: u64,
        gains: &mut [f64],
    ) -> Self {
        let outputs = data.target.outputs();
        let width = data.bins.width;
        let tried = match settings.features {
            Some(share) => share * width as f64,
            None if data.target.classes() == 0 => width as f64 / 3.0,
            None => (width as f64).sqrt(),
        };
        let floor = train.len().min(MAX_ROWS) * outputs * settings.trees / MAX_VALUES;
        let plan = Plan {
            data,
            tried: (tried.round() as usize).clamp(1, width.max(1)),
            extra: settings.extra.then(|| Lines::new(data.bins)),
            min_rows: settings.min_rows.max(floor).max(1),
        };
        let grown: Vec<(Tree, Vec<f64>)> = (0..settings.trees)
            .into_par_iter()
            .filter_map(|number| {
                if number > 0 && limits.is_over() {
                    return None;
                }
                let mut rng = Rng::new(seed, 100 + number as u64);
                let count = train.len().min(MAX_ROWS);
                let rows = match settings.extra {
                    true => rng.sample(train, count),
                    false => (0..count).map(|_| train[rng.below(train.len())]).collect(),
                };
                Some(Grower::new(&plan, rng).grow(rows))
            })
            .collect();
        let mut trees = Vec::with_capacity(grown.len());
        for (tree, more) in grown {
            gains.iter_mut().zip(more).for_each(|(sum, gain)| *sum += gain);
            trees.push(tree);
        }
        Self { outputs: outputs as u32, trees }
    }

    pub(crate) fn predict(&self, bins: &[u8], width: usize, out: &mut [f32]) {
        let outputs = self.outputs as usize;
        out.fill(0.0);
        for tree in &self.trees {
            tree.each(bins, width, |row, values| {
                let out = &mut out[row * outputs..(row + 1) * outputs];
                out.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
            });
        }
        let share = 1.0 / self.trees.len() as f32;
        out.iter_mut().for_each(|value| *value *= share);
    }

    pub(crate) fn is_sound(&self, outputs: usize, width: usize) -> bool {
        self.outputs as usize == outputs
            && !self.trees.is_empty()
            && self.trees.iter().all(|tree| tree.is_sound(outputs, width))
    }
}
