//! The rate of the target in each level of a category and for each value of a code:
//! columns made from the target, out of fold, so that no row sees its own answer.

use serde::{Deserialize, Serialize};

use crate::target::Target;

/// With more classes than this the rates would outnumber the features.
const RATED_CLASSES: usize = 8;
/// How many rows of prior knowledge a rate starts from.
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

/// One number for each level of a feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rate {
    pub(crate) feature: u32,
    /// The values of a code, sorted; `None` for levels, which are numbered.
    codes: Option<Vec<f64>>,
    levels: Vec<f32>,
    otherwise: f32,
}

impl Rate {
    pub(crate) fn of(&self, value: f64) -> f64 {
        if value.is_nan() {
            return f64::NAN;
        }
        let level = match &self.codes {
            Some(codes) => place(codes, value),
            None => (value >= 0.0).then_some(value as usize),
        };
        let rate = level.and_then(|level| self.levels.get(level)).unwrap_or(&self.otherwise);
        f64::from(*rate)
    }

    /// Whether a stored rate fits its features and can be looked up.
    pub(crate) fn is_sound(&self, features: usize) -> bool {
        (self.feature as usize) < features
            && self.codes.as_ref().is_none_or(|codes| codes.is_sorted_by(|a, b| a < b))
    }
}

/// Where a value stands among sorted ones.
fn place(sorted: &[f64], value: f64) -> Option<usize> {
    let at = sorted.partition_point(|code| *code < value);
    sorted.get(at).filter(|code| **code == value).map(|_| at)
}

/// A rate and what it is for each row.
type Rated = (Rate, Vec<f64>);

/// The count and the rates of a category.
pub(crate) fn of_levels(
    feature: usize,
    levels: usize,
    column: &[f64],
    target: &Target,
    train: &[u32],
) -> Vec<Rated> {
    let level_of = |row: usize| (column[row] >= 0.0).then(|| column[row] as usize);
    fit(feature, None, levels, column, &level_of, target, train)
}

/// The count and the rates of a number that is a code: one whose values tell more than
/// their order does. None of other numbers.
pub(crate) fn of_codes(
    feature: usize,
    column: &[f64],
    target: &Target,
    train: &[u32],
) -> Vec<Rated> {
    if target.outputs() > RATED_CLASSES {
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

/// The squared error of telling each row by the rate of its level in the other folds.
fn error(
    levels: usize,
    level_of: &impl Fn(usize) -> Option<usize>,
    target: &Target,
    rows: &[u32],
) -> f64 {
    let of_output = |output: usize| {
        let folds = Folds::new(levels, level_of, target, output, rows);
        let wrong = |&row: &u32| {
            let rate = level_of(row as usize)
                .map_or(folds.mean, |level| folds.without(level, fold_of(row)));
            (rate - target.output(row as usize, output)).powi(2)
        };
        rows.iter().map(wrong).sum::<f64>()
    };
    (0..target.outputs()).map(of_output).sum()
}

fn fit(
    feature: usize,
    codes: Option<Vec<f64>>,
    levels: usize,
    column: &[f64],
    level_of: &impl Fn(usize) -> Option<usize>,
    target: &Target,
    train: &[u32],
) -> Vec<Rated> {
    let rate = |levels: Vec<f32>, otherwise: f32| Rate {
        feature: feature as u32,
        codes: codes.clone(),
        levels,
        otherwise,
    };
    let mut counts = vec![0.0; levels];
    train.iter().filter_map(|&row| level_of(row as usize)).for_each(|level| counts[level] += 1.0);
    let frequency = rate(counts, 0.0);
    let encoded = column.iter().map(|value| frequency.of(*value)).collect();
    let mut out = vec![(frequency, encoded)];
    if target.outputs() > RATED_CLASSES {
        return out;
    }
    for output in 0..target.outputs() {
        let folds = Folds::new(levels, level_of, target, output, train);
        let all = (0..levels).map(|level| folds.rate(folds.total(level)) as f32).collect();
        let rate = rate(all, folds.mean as f32);
        let mut encoded: Vec<f64> = column.iter().map(|value| rate.of(*value)).collect();
        for &row in train {
            if let Some(level) = level_of(row as usize) {
                encoded[row as usize] = folds.without(level, fold_of(row));
            }
        }
        out.push((rate, encoded));
    }
    out
}

/// The sum of one output and the number of rows, of each level in each fold.
struct Folds {
    mean: f64,
    sums: Vec<[(f64, f64); FOLDS]>,
}

fn fold_of(row: u32) -> usize {
    ((u64::from(row).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33) % FOLDS as u64) as usize
}

impl Folds {
    fn new(
        levels: usize,
        level_of: &impl Fn(usize) -> Option<usize>,
        target: &Target,
        output: usize,
        rows: &[u32],
    ) -> Self {
        let value = |row: u32| target.output(row as usize, output);
        let mean = rows.iter().map(|&row| value(row)).sum::<f64>() / rows.len().max(1) as f64;
        let mut sums = vec![[(0.0, 0.0); FOLDS]; levels];
        for &row in rows {
            if let Some(level) = level_of(row as usize) {
                let (sum, count) = &mut sums[level][fold_of(row)];
                *sum += value(row);
                *count += 1.0;
            }
        }
        Self { mean, sums }
    }

    fn total(&self, level: usize) -> (f64, f64) {
        self.sums[level].iter().fold((0.0, 0.0), |all, fold| (all.0 + fold.0, all.1 + fold.1))
    }

    /// The rate of so much in so many rows.
    fn rate(&self, (sum, count): (f64, f64)) -> f64 {
        (sum + PRIOR_ROWS * self.mean) / (count + PRIOR_ROWS)
    }

    /// The rate of a level in the folds other than this.
    fn without(&self, level: usize, fold: usize) -> f64 {
        let (all, own) = (self.total(level), self.sums[level][fold]);
        self.rate((all.0 - own.0, all.1 - own.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// The rates of 3,000 rows of a whole number, whose labels are as likely as said.
    fn rated(values: usize, likely: impl Fn(usize) -> f64) -> Vec<Rated> {
        let mut rng = Rng::new(8, 1);
        let column: Vec<f64> = (0..3_000).map(|_| 10.0 * rng.below(values) as f64).collect();
        let label = |value: &f64| u32::from(rng.unit() < likely(*value as usize / 10));
        let target = Target::Class { labels: column.iter().map(label).collect(), count: 2 };
        of_codes(4, &column, &target, &(0..2_000).collect::<Vec<_>>())
    }

    #[test]
    fn a_code_has_rates_and_an_amount_has_none() {
        let scattered = |value: usize| if value * 7_919 % 13 < 6 { 0.85 } else { 0.15 };
        let rates = rated(200, scattered);
        assert_eq!(rates.len(), 2);
        let (rate, column) = &rates[1];
        assert!(rate.is_sound(5) && !rate.is_sound(4));
        // Rows that were not learned from are told by the rate of their value.
        assert_eq!(column[2_500], rate.of(column_value(2_500)));
        assert_eq!((rate.of(5.0), rate.of(-10.0)), (rate.of(1e9), rate.of(1e9)));
        assert!(rate.of(f64::NAN).is_nan());
        let right = (0..200)
            .filter(|value| (rate.of(10.0 * *value as f64) > 0.5) == (scattered(*value) > 0.5));
        assert!(right.count() > 180);
        assert_eq!(rated(200, |value| value as f64 / 200.0), []);
        assert_eq!(rated(20, scattered), []);
        assert_eq!(rated(2_000, scattered), []);
    }

    fn column_value(row: usize) -> f64 {
        let mut rng = Rng::new(8, 1);
        (0..row).for_each(|_| _ = rng.below(200));
        10.0 * rng.below(200) as f64
    }
}
