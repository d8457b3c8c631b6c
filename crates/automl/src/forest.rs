//! Random forests and extremely randomised trees: many deep trees, averaged.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::budget::Limits;
use crate::dataset::Data;
use crate::deep::{Grower, Plan};
use crate::extra::Lines;
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

/// Features that one tree sees where there are more, and rows up to which its own copy of
/// them is small.
const MAX_FEATURES: usize = 128;
const COPIED_ROWS: usize = 50_000;

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
        let rows = data.bins.bytes.len() / width.max(1);
        let ranked = (width > MAX_FEATURES && rows <= COPIED_ROWS)
            .then(|| (rank(data, train), MAX_FEATURES));
        let seen = ranked.as_ref().map_or(width, |(_, count)| *count);
        let tried = match settings.features {
            Some(share) => share * seen as f64,
            None if data.target.classes() == 0 => seen as f64 / 3.0,
            None => (width as f64).sqrt(),
        };
        let floor = train.len().min(MAX_ROWS) * outputs * settings.trees / MAX_VALUES;
        let plan = Plan {
            data,
            tried: (tried.round() as usize).clamp(1, seen.max(1)),
            extra: settings.extra,
            lines: (settings.extra && ranked.is_none()).then(|| Lines::new(data.bins)),
            ranked,
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

/// All features, those first of which one split tells most of the target.
fn rank(data: &Data<'_>, train: &[u32]) -> Vec<u32> {
    let outputs = data.target.outputs();
    let rows = train.len().max(1) as f64;
    let wanted: Vec<Vec<f64>> = (0..outputs)
        .map(|output| {
            let values = || train.iter().map(|&row| data.target.output(row as usize, output));
            let mean = values().sum::<f64>() / rows;
            values().map(|value| value - mean).collect()
        })
        .collect();
    // The sum over all rows is zero: what lies left of a limit says what lies right of it.
    let told = |feature: usize, wanted: &[f64]| {
        let mut bins = [(0.0, 0.0); 256];
        for (&row, value) in train.iter().zip(wanted) {
            let (count, sum) = &mut bins[usize::from(data.bins.row(row as usize)[feature])];
            *count += 1.0;
            *sum += value;
        }
        if data.is_level[feature] {
            bins.sort_by(|a, b| (a.1 / f64::max(a.0, 1.0)).total_cmp(&(b.1 / f64::max(b.0, 1.0))));
        }
        let (mut left, mut sum) = (0.0, 0.0);
        let gains = bins.iter().map(|bin| {
            (left, sum) = (left + bin.0, sum + bin.1);
            if left > 0.0 && left < rows { sum * sum * rows / (left * (rows - left)) } else { 0.0 }
        });
        gains.fold(0.0, f64::max)
    };
    let mut ranked: Vec<(f64, u32)> = (0..data.bins.width)
        .into_par_iter()
        .map(|feature| (wanted.iter().map(|wanted| told(feature, wanted)).sum(), feature as u32))
        .collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    ranked.into_iter().map(|(_, feature)| feature).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::Bins;
    use crate::target::Target;

    #[test]
    fn the_most_telling_features_come_first() {
        // A number with a limit, a category, noise, and a constant.
        let bytes: Vec<u8> = (0..240u32)
            .flat_map(|row| [7, (row * 37 % 11) as u8, (row % 4) as u8, (row / 60) as u8])
            .collect();
        let bins = Bins { width: 4, bytes, counts: vec![12; 4] };
        let values = (0..240u32)
            .map(|row| {
                f64::from(row / 60 > 1) + if [1, 2].contains(&(row % 4)) { 0.6 } else { 0.0 }
            })
            .collect();
        let data = Data {
            bins: &bins,
            is_level: &[false, false, true, false],
            columns: &[],
            extra: &[],
            target: &Target::Value(values),
            weights: None,
        };
        assert_eq!(rank(&data, &(0..240).collect::<Vec<_>>()), [3, 2, 1, 0]);
    }
}
