//! The folds: rows to train on and rows that are held out.

use crate::features::binning::{Bins, MaxBins};
use crate::features::dataset::Data;
use crate::features::encoder::Encoder;
use crate::rng::Rng;
use crate::table::schema::Feature;
use crate::table::target::Target;

/// Tables of up to this many numbers to predict are measured by folds: on more,
/// a part of the rows tells candidates apart as well, at a fraction of the cost.
const FOLD_NUMBERS: usize = 1_500;
/// Folds of tables with many features, which cost as much as many rows.
const FOLDS_OF_WIDE: usize = 3;
/// Bins of a feature: more of them cost more than they bring, unless there are very many
/// rows, or many labels to tell apart.
const BINS: usize = 63;
const MOST_BINS: usize = 255;
const VERY_MANY_ROWS: usize = 250_000;
const MANY_OUTPUTS: usize = 20;
/// From this many rows on, held-out ones among them, finer bins of numbers pay. Those of
/// categories do not: the rare ones mislead, and target encodings say the same.
const MANY_ROWS: usize = 4_500;
/// Bins among this many features, when rows are not many: all features together tell more
/// than fine bins of each, and histograms stay in the cache.
const BINS_OF_WIDE: usize = 15;
const WIDE: usize = 400;

/// Training rows, held-out rows, and the encoding learned from the former.
pub(crate) struct Fold {
    pub(crate) train: Vec<u32>,
    pub(crate) valid: Vec<u32>,
    pub(crate) encoder: Encoder,
    is_categorical: Vec<bool>,
    encodings: Vec<Vec<f64>>,
    bins: Bins,
    /// The held-out rows on their own, to be predicted like any others.
    pub(crate) valid_columns: Vec<Vec<f64>>,
    pub(crate) valid_encodings: Vec<Vec<f64>>,
    pub(crate) valid_bins: Bins,
}

impl Fold {
    pub(crate) fn new(
        features: &[Feature],
        columns: &[Vec<f64>],
        target: &Target,
        train: Vec<u32>,
        valid: Vec<u32>,
    ) -> Self {
        // Held-out rows count, so that a last fit on all rows tells features apart likewise.
        let rows = train.len() + valid.len();
        let max_bins = max_bins(rows, features.len(), target.outputs());
        let (encoder, encodings, bins) = Encoder::fit(features, columns, target, &train, max_bins);
        let gather = |columns: &[Vec<f64>]| -> Vec<Vec<f64>> {
            columns
                .iter()
                .map(|column| valid.iter().map(|&row| column[row as usize]).collect())
                .collect()
        };
        let (valid_columns, valid_encodings) = (gather(columns), gather(&encodings));
        let valid_bins = bins.take(&valid);
        let is_categorical = encoder.is_categorical();
        Self {
            train,
            valid,
            encoder,
            is_categorical,
            encodings,
            bins,
            valid_columns,
            valid_encodings,
            valid_bins,
        }
    }

    pub(crate) fn data<'a>(
        &'a self,
        columns: &'a [Vec<f64>],
        target: &'a Target,
        weights: Option<&'a [f32]>,
    ) -> Data<'a> {
        Data {
            bins: &self.bins,
            is_categorical: &self.is_categorical,
            columns,
            encodings: &self.encodings,
            target,
            weights,
        }
    }
}

/// Counts the bins of the features.
fn max_bins(rows: usize, features: usize, outputs: usize) -> MaxBins {
    if rows >= VERY_MANY_ROWS || outputs >= MANY_OUTPUTS {
        return MaxBins { numbers: MOST_BINS, categories: MOST_BINS };
    }
    match (rows >= MANY_ROWS, features >= WIDE) {
        (true, _) => MaxBins { numbers: MOST_BINS, categories: BINS },
        (false, true) => MaxBins { numbers: BINS_OF_WIDE, categories: BINS_OF_WIDE },
        (false, false) => MaxBins { numbers: BINS, categories: BINS },
    }
}

/// Splits rows into training rows and held-out rows, stratified by label: `fraction` of the rows
/// is held out or, where there are few rows and `folds` are wanted, every row once.
pub(crate) fn stratify(
    target: &Target,
    rows: usize,
    features: usize,
    fraction: f64,
    folds: bool,
    seed: u64,
) -> Vec<(Vec<u32>, Vec<u32>)> {
    let mut order: Vec<u32> = (0..rows as u32).collect();
    Rng::new(seed, 2).shuffle(&mut order);
    if let Target::Class { labels, .. } = target {
        // Stable: rows stay shuffled within their label.
        order.sort_by_key(|&row| labels[row as usize]);
    }
    let cut = |is_valid: &dyn Fn(usize) -> bool| {
        let (mut train, mut valid) = (Vec::new(), Vec::new());
        for (position, &row) in order.iter().enumerate() {
            if is_valid(position) { valid.push(row) } else { train.push(row) }
        }
        train.sort_unstable();
        valid.sort_unstable();
        (train, valid)
    };
    if folds && rows * target.outputs() <= FOLD_NUMBERS {
        let most = if features >= WIDE { FOLDS_OF_WIDE } else { 10 };
        let folds = ((1.0 / fraction).round() as usize).clamp(2, most);
        return (0..folds).map(|fold| cut(&|position| position % folds == fold)).collect();
    }
    // Every position at which the running share passes a whole number.
    let share = |position: usize| (position as f64 * fraction) as usize;
    vec![cut(&|position| share(position + 1) > share(position))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_hold_out_every_row_once_and_keep_the_shares() {
        let labels: Vec<u32> = (0..1_000).map(|row| u32::from(row % 10 == 0)).collect();
        let target = Target::Class { labels: labels.clone(), count: 2 };
        let splits = stratify(&target, 1_000, 20, 0.2, true, 4);
        assert_eq!(splits.len(), 5);
        let mut seen: Vec<u32> = splits.iter().flat_map(|(_, valid)| valid.clone()).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..1_000).collect::<Vec<u32>>());
        for (train, valid) in &splits {
            assert_eq!(train.len(), 800);
            assert_eq!(valid.iter().filter(|row| labels[**row as usize] == 1).count(), 20);
        }
    }

    #[test]
    fn many_rows_have_finer_numbers_and_many_features_coarser_ones() {
        let fine = |rows, features, outputs| {
            let MaxBins { numbers, categories } = max_bins(rows, features, outputs);
            (numbers, categories)
        };
        assert_eq!(fine(1_000, 20, 1), (63, 63));
        assert_eq!(fine(5_000, 20, 1), (255, 63));
        assert_eq!(fine(5_000, 2_000, 1), (255, 63));
        assert_eq!(fine(600, 2_000, 1), (15, 15));
        assert_eq!(fine(600, 20, 30), (255, 255));
    }

    #[test]
    fn tables_of_many_features_have_fewer_folds() {
        let target = Target::Value(vec![0.0; 600]);
        assert_eq!(stratify(&target, 600, 2_000, 0.2, true, 4).len(), 3);
        assert_eq!(stratify(&target, 600, 2_000, 0.5, true, 4).len(), 2);
    }

    #[test]
    fn large_tables_hold_out_the_wanted_share() {
        let target = Target::Value(vec![0.0; 20_000]);
        let splits = stratify(&target, 20_000, 20, 0.15, true, 4);
        assert_eq!((splits.len(), splits[0].1.len()), (1, 3_000));
    }
}
