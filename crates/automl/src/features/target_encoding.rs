//! Target encoding: the smoothed mean of the target in each category of a column and for
//! each value of a code. Out of fold, so that no row sees its own target.

use serde::{Deserialize, Serialize};

use crate::table::target::Target;

/// With more classes than this the encodings would outnumber the features.
const ENCODED_CLASSES: usize = 8;
/// Rows that the mean of all rows counts for in the smoothed mean of a category.
const PRIOR_ROWS: f64 = 10.0;
const FOLDS: usize = 5;
/// Whole numbers may be codes if there are so many different ones: fewer are told apart
/// by their bins, and more are identifiers.
const MIN_CODES: usize = 30;
const MAX_CODES: usize = 20_000;
/// And if a code comes in so many rows, on average.
const ROWS_OF_A_CODE: usize = 3;
/// Rows that tell a code from an amount.
const SAMPLE: usize = 20_000;
/// An amount is described as well by this many runs of neighbours as by its values; a code
/// is described worse, by this share of the squared error at least.
const RUNS: usize = 24;
const WORSE: f64 = 0.02;

/// A number for each category of a feature: its frequency, or a mean of the target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TargetEncoding {
    pub(crate) feature: u32,
    /// The values of a code, sorted; `None` for categories, which are numbered.
    codes: Option<Vec<f64>>,
    means: Vec<f32>,
    /// The encoding of unknown categories.
    otherwise: f32,
}

impl TargetEncoding {
    /// Encodes a value of the feature; a missing one stays missing.
    pub(crate) fn of(&self, value: f64) -> f64 {
        if value.is_nan() {
            return f64::NAN;
        }
        let category = match &self.codes {
            Some(codes) => place(codes, value),
            None => (value >= 0.0).then_some(value as usize),
        };
        let mean = category.and_then(|category| self.means.get(category));
        f64::from(*mean.unwrap_or(&self.otherwise))
    }

    /// Tells whether a stored encoding fits its features and can be looked up.
    pub(crate) fn is_sound(&self, features: usize) -> bool {
        (self.feature as usize) < features
            && self.codes.as_ref().is_none_or(|codes| codes.is_sorted_by(|a, b| a < b))
    }
}

/// Finds where a value stands among sorted ones.
fn place(sorted: &[f64], value: f64) -> Option<usize> {
    let at = sorted.partition_point(|code| *code < value);
    sorted.get(at).filter(|code| **code == value).map(|_| at)
}

/// An encoding and its value for each row.
type Encoded = (TargetEncoding, Vec<f64>);

/// Encodes a categorical column: frequencies, then the means of each output.
pub(crate) fn of_categories(
    feature: usize,
    categories: usize,
    column: &[f64],
    target: &Target,
    train: &[u32],
) -> Vec<Encoded> {
    let category_of = |row: usize| (column[row] >= 0.0).then(|| column[row] as usize);
    fit(feature, None, categories, column, &category_of, target, train)
}

/// Encodes a number that is a code, one whose values tell more than their order does:
/// frequencies, then the means of each output. Nothing for other numbers.
pub(crate) fn of_codes(
    feature: usize,
    column: &[f64],
    target: &Target,
    train: &[u32],
) -> Vec<Encoded> {
    if target.outputs() > ENCODED_CLASSES {
        return Vec::new();
    }
    let Some(codes) = codes(column, train) else { return Vec::new() };
    let step = train.len().div_ceil(SAMPLE).max(1);
    let sample: Vec<u32> = train.iter().copied().step_by(step).collect();
    let of_code = |row: usize| place(&codes, column[row]);
    let of_run = runs(&codes, column, &sample);
    let by_run = |row: usize| of_code(row).map(|code| of_run[code]);
    let single = error(codes.len(), &of_code, target, &sample);
    let runs = error(RUNS, &by_run, target, &sample);
    if single > runs * (1.0 - WORSE) {
        return Vec::new();
    }
    let count = codes.len();
    fit(feature, Some(codes.clone()), count, column, &of_code, target, train)
}

/// The different values of a column of whole numbers, sorted, if they may be codes.
fn codes(column: &[f64], train: &[u32]) -> Option<Vec<f64>> {
    let known = || train.iter().map(|&row| column[row as usize]).filter(|value| !value.is_nan());
    if !known().all(|value| value.is_finite() && value.fract() == 0.0) {
        return None;
    }
    let mut codes: Vec<f64> = known().collect();
    let rows = codes.len();
    codes.sort_unstable_by(f64::total_cmp);
    codes.dedup();
    let most = MAX_CODES.min(rows / ROWS_OF_A_CODE);
    (MIN_CODES..=most).contains(&codes.len()).then_some(codes)
}

/// The run that each code falls into, where all runs have about as many rows.
fn runs(codes: &[f64], column: &[f64], rows: &[u32]) -> Vec<usize> {
    let mut counts = vec![0; codes.len()];
    rows.iter()
        .filter_map(|&row| place(codes, column[row as usize]))
        .for_each(|code| counts[code] += 1);
    let total = counts.iter().sum::<usize>().max(1);
    let mut before = 0;
    let run = |count: &usize| {
        let run = (before + count / 2) * RUNS / total;
        before += count;
        run.min(RUNS - 1)
    };
    counts.iter().map(run).collect()
}

/// The squared error of predicting each row by the mean of its category in the other folds.
fn error(
    categories: usize,
    category_of: &impl Fn(usize) -> Option<usize>,
    target: &Target,
    rows: &[u32],
) -> f64 {
    let of_output = |output: usize| {
        let folds = Folds::new(categories, category_of, target, output, rows);
        let wrong = |&row: &u32| {
            let mean = category_of(row as usize)
                .map_or(folds.mean, |category| folds.without(category, fold_of(row)));
            (mean - target.output(row as usize, output)).powi(2)
        };
        rows.iter().map(wrong).sum::<f64>()
    };
    (0..target.outputs()).map(of_output).sum()
}

fn fit(
    feature: usize,
    codes: Option<Vec<f64>>,
    categories: usize,
    column: &[f64],
    category_of: &impl Fn(usize) -> Option<usize>,
    target: &Target,
    train: &[u32],
) -> Vec<Encoded> {
    let encoding = |means: Vec<f32>, otherwise: f32| TargetEncoding {
        feature: feature as u32,
        codes: codes.clone(),
        means,
        otherwise,
    };
    let mut counts = vec![0.0; categories];
    train
        .iter()
        .filter_map(|&row| category_of(row as usize))
        .for_each(|category| counts[category] += 1.0);
    let frequency = encoding(counts, 0.0);
    let encoded = column.iter().map(|value| frequency.of(*value)).collect();
    let mut out = vec![(frequency, encoded)];
    if target.outputs() > ENCODED_CLASSES {
        return out;
    }
    for output in 0..target.outputs() {
        let folds = Folds::new(categories, category_of, target, output, train);
        let all =
            (0..categories).map(|category| folds.smoothed(folds.total(category)) as f32).collect();
        let encoding = encoding(all, folds.mean as f32);
        let mut encoded: Vec<f64> = column.iter().map(|value| encoding.of(*value)).collect();
        for &row in train {
            if let Some(category) = category_of(row as usize) {
                encoded[row as usize] = folds.without(category, fold_of(row));
            }
        }
        out.push((encoding, encoded));
    }
    out
}

/// The sum of one output and the number of rows, of each category in each fold.
struct Folds {
    mean: f64,
    sums: Vec<[(f64, f64); FOLDS]>,
}

fn fold_of(row: u32) -> usize {
    ((u64::from(row).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33) % FOLDS as u64) as usize
}

impl Folds {
    fn new(
        categories: usize,
        category_of: &impl Fn(usize) -> Option<usize>,
        target: &Target,
        output: usize,
        rows: &[u32],
    ) -> Self {
        let value = |row: u32| target.output(row as usize, output);
        let mean = rows.iter().map(|&row| value(row)).sum::<f64>() / rows.len().max(1) as f64;
        let mut sums = vec![[(0.0, 0.0); FOLDS]; categories];
        for &row in rows {
            if let Some(category) = category_of(row as usize) {
                let (sum, count) = &mut sums[category][fold_of(row)];
                *sum += value(row);
                *count += 1.0;
            }
        }
        Self { mean, sums }
    }

    fn total(&self, category: usize) -> (f64, f64) {
        self.sums[category].iter().fold((0.0, 0.0), |all, fold| (all.0 + fold.0, all.1 + fold.1))
    }

    /// The smoothed mean of a sum over so many rows.
    fn smoothed(&self, (sum, count): (f64, f64)) -> f64 {
        (sum + PRIOR_ROWS * self.mean) / (count + PRIOR_ROWS)
    }

    /// The smoothed mean of a category in the folds other than this.
    fn without(&self, category: usize, fold: usize) -> f64 {
        let (all, own) = (self.total(category), self.sums[category][fold]);
        self.smoothed((all.0 - own.0, all.1 - own.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// The encodings of 3,000 rows of a whole number, whose labels are as likely as said.
    fn encoded(values: usize, likely: impl Fn(usize) -> f64) -> Vec<Encoded> {
        let mut rng = Rng::new(8, 1);
        let column: Vec<f64> = (0..3_000).map(|_| 10.0 * rng.below(values) as f64).collect();
        let label = |value: &f64| u32::from(rng.unit() < likely(*value as usize / 10));
        let target = Target::Class { labels: column.iter().map(label).collect(), count: 2 };
        of_codes(4, &column, &target, &(0..2_000).collect::<Vec<_>>())
    }

    #[test]
    fn a_code_is_encoded_and_an_amount_is_not() {
        let scattered = |value: usize| if value * 7_919 % 13 < 6 { 0.85 } else { 0.15 };
        let both = encoded(200, scattered);
        assert_eq!(both.len(), 2);
        let (means, column) = &both[1];
        assert!(means.is_sound(5) && !means.is_sound(4));
        // Rows that were not learned from have the mean of their value.
        assert_eq!(column[2_500], means.of(column_value(2_500)));
        assert_eq!((means.of(5.0), means.of(-10.0)), (means.of(1e9), means.of(1e9)));
        assert!(means.of(f64::NAN).is_nan());
        let right = (0..200)
            .filter(|value| (means.of(10.0 * *value as f64) > 0.5) == (scattered(*value) > 0.5));
        assert!(right.count() > 180);
        assert_eq!(encoded(200, |value| value as f64 / 200.0), []);
        assert_eq!(encoded(20, scattered), []);
        assert_eq!(encoded(2_000, scattered), []);
    }

    fn column_value(row: usize) -> f64 {
        let mut rng = Rng::new(8, 1);
        (0..row).for_each(|_| _ = rng.below(200));
        10.0 * rng.below(200) as f64
    }
}
