//! From feature columns to what learners eat: a byte for each value (trees) or
//! a row of standardised numbers (linear models). Learned on training rows only.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::rates::{self, Rate};
use crate::schema::Feature;
use crate::target::Target;

/// Text columns with more levels than this, or than there are bins, also get the rate of
/// the target in each level, since only the most frequent levels have a bin of their own.
const RATED_LEVELS: usize = 100;
/// Rows that decide where the bins of a number are cut.
const CUT_SAMPLE: usize = 20_000;

/// How many bins a feature may have, besides that of missing values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Fineness {
    pub(crate) numbers: usize,
    pub(crate) levels: usize,
}

/// A byte for each feature of each row, row after row. 0 is missing.
pub(crate) struct Bins {
    pub(crate) width: usize,
    pub(crate) bytes: Vec<u8>,
    /// How many different bytes each feature may have.
    pub(crate) counts: Vec<u16>,
}

impl Bins {
    pub(crate) fn row(&self, row: usize) -> &[u8] {
        &self.bytes[row * self.width..(row + 1) * self.width]
    }

    /// Some of the rows, in the order given.
    pub(crate) fn take(&self, rows: &[u32]) -> Self {
        let mut bytes = Vec::with_capacity(rows.len() * self.width);
        rows.iter().for_each(|&row| bytes.extend_from_slice(self.row(row as usize)));
        Self { width: self.width, bytes, counts: self.counts.clone() }
    }
}

/// Everything that training rows teach about the features.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Encoder {
    /// Number of features that the schema yields.
    inputs: usize,
    /// Columns made from levels, behind the schema's features.
    rates: Vec<Rate>,
    binners: Vec<Binner>,
    /// Position of the text column behind each encoded feature.
    pub(crate) sources: Vec<u32>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum Binner {
    /// Upper ends of the bins 1, 2 and so on; the last bin has none.
    Cuts(Vec<f64>),
    /// The bin of each level: 2 and up; 1 holds rare and unknown ones.
    Levels(Vec<u8>),
}

impl Binner {
    fn bin(&self, value: f64) -> u8 {
        match self {
            _ if value.is_nan() => 0,
            Self::Cuts(cuts) => 1 + cuts.partition_point(|cut| *cut < value) as u8,
            Self::Levels(bins) => {
                bins.get(value as usize).copied().filter(|_| value >= 0.0).unwrap_or(1)
            }
        }
    }

    fn count(&self) -> u16 {
        match self {
            Self::Cuts(cuts) => cuts.len() as u16 + 2,
            Self::Levels(bins) => u16::from(bins.iter().copied().max().unwrap_or(1).max(1)) + 1,
        }
    }
}

impl Encoder {
    /// Learns from the rows `train` of `columns` and encodes all rows. A rate of
    /// a training row leaves out the row's own fold, so that no row sees its own
    /// target.
    pub(crate) fn fit(
        features: &[Feature],
        columns: &[Vec<f64>],
        target: &Target,
        train: &[u32],
        fineness: Fineness,
    ) -> (Self, Vec<Vec<f64>>, Bins) {
        let (mut rates, mut extra) = (Vec::new(), Vec::new());
        let mut sources: Vec<u32> = features.iter().map(|feature| feature.source as u32).collect();
        let rated = |(position, feature): (usize, &Feature)| {
            let column = &columns[position];
            match feature.levels {
                Some(levels) if levels > RATED_LEVELS.min(fineness.levels - 1) => {
                    rates::of_levels(position, levels, column, target, train)
                }
                Some(_) => Vec::new(),
                None => rates::of_codes(position, column, target, train),
            }
        };
        let rated: Vec<_> = features.par_iter().enumerate().map(rated).collect();
        for (feature, rated) in features.iter().zip(rated) {
            for (rate, column) in rated {
                rates.push(rate);
                extra.push(column);
                sources.push(feature.source as u32);
            }
        }
        let binners = (0..features.len() + extra.len())
            .into_par_iter()
            .map(|position| match features.get(position).and_then(|feature| feature.levels) {
                Some(levels) => {
                    Binner::Levels(bin_levels(levels, &columns[position], train, fineness.levels))
                }
                None => {
                    let column =
                        columns.get(position).unwrap_or_else(|| &extra[position - features.len()]);
                    Binner::Cuts(cut(column, train, fineness.numbers))
                }
            })
            .collect();
        let encoder = Self { inputs: features.len(), rates, binners, sources };
        let bins = encoder.bins(columns, &extra);
        (encoder, extra, bins)
    }

    /// The rate columns of rows that were not trained on.
    pub(crate) fn extra(&self, columns: &[Vec<f64>]) -> Vec<Vec<f64>> {
        self.rates
            .iter()
            .map(|rate| {
                columns[rate.feature as usize].iter().map(|value| rate.of(*value)).collect()
            })
            .collect()
    }

    pub(crate) fn bins(&self, columns: &[Vec<f64>], extra: &[Vec<f64>]) -> Bins {
        let width = self.binners.len();
        let rows = columns.first().map_or(0, Vec::len);
        let mut bytes = vec![0u8; rows * width];
        const CHUNK: usize = 4096;
        let fill = |(chunk, bytes): (usize, &mut [u8])| {
            for (position, (binner, column)) in
                self.binners.iter().zip(columns.iter().chain(extra)).enumerate()
            {
                let values = &column[chunk * CHUNK..];
                for (row, value) in bytes.chunks_exact_mut(width).zip(values) {
                    row[position] = binner.bin(*value);
                }
            }
        };
        match rows {
            _ if width == 0 => {}
            0..=CHUNK => fill((0, &mut bytes)),
            _ => bytes.par_chunks_mut(CHUNK * width).enumerate().for_each(fill),
        }
        Bins { width, bytes, counts: self.binners.iter().map(Binner::count).collect() }
    }

    /// Which encoded features are categories, whose bins have no order.
    pub(crate) fn is_level(&self) -> Vec<bool> {
        self.binners.iter().map(|binner| matches!(binner, Binner::Levels(_))).collect()
    }

    pub(crate) fn width(&self) -> usize {
        self.binners.len()
    }

    /// Whether a stored encoder holds together and fits the schema's features.
    pub(crate) fn is_sound(&self, features: &[Feature], sources: usize) -> bool {
        self.inputs == features.len()
            && self.binners.len() == self.inputs + self.rates.len()
            && self.sources.len() == self.binners.len()
            && self.sources.iter().all(|source| (*source as usize) < sources)
            && self.rates.iter().all(|rate| rate.is_sound(self.inputs))
            && self.binners.iter().all(|binner| match binner {
                Binner::Cuts(cuts) => cuts.len() <= 254 && cuts.is_sorted(),
                Binner::Levels(_) => true,
            })
    }
}

/// A bin for each of the most frequent levels, as far as bins go.
fn bin_levels(levels: usize, column: &[f64], train: &[u32], max_bins: usize) -> Vec<u8> {
    let mut counts: Vec<(usize, usize)> = (0..levels).map(|level| (0, level)).collect();
    for &row in train {
        let level = column[row as usize];
        if level >= 0.0 {
            counts[level as usize].0 += 1;
        }
    }
    counts.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut bins = vec![1; levels];
    for (bin, (_, level)) in
        counts.iter().take(max_bins - 1).enumerate().filter(|(_, (count, _))| *count > 1)
    {
        bins[*level] = bin as u8 + 2;
    }
    bins
}

/// Where to cut a number into at most `max_bins` bins of about equal weight.
fn cut(column: &[f64], train: &[u32], max_bins: usize) -> Vec<f64> {
    let step = train.len().div_ceil(CUT_SAMPLE).max(1);
    let mut values: Vec<f64> = train
        .iter()
        .step_by(step)
        .map(|&row| column[row as usize])
        .filter(|value| !value.is_nan())
        .collect();
    values.sort_unstable_by(f64::total_cmp);
    let mut distinct: Vec<(f64, usize)> = Vec::new();
    for value in values {
        match distinct.last_mut() {
            Some((last, count)) if *last == value => *count += 1,
            _ => distinct.push((value, 1)),
        }
    }
    let mut cuts = Vec::new();
    let mut rows_left: usize = distinct.iter().map(|(_, count)| count).sum();
    let few = distinct.len() <= max_bins;
    let mut filled = 0;
    for pair in distinct.windows(2) {
        filled += pair[0].1;
        let wanted = rows_left as f64 / (max_bins - cuts.len()) as f64;
        if few
            || filled as f64 >= wanted.max(3.0)
            || filled as f64 + 0.5 * pair[1].1 as f64 > wanted.max(3.0)
        {
            // Halfway, unless the two are neighbours in floating point.
            let middle = pair[0].0 + (pair[1].0 - pair[0].0) / 2.0;
            cuts.push(if middle < pair[1].0 { middle } else { pair[0].0 });
            rows_left -= filled;
            filled = 0;
            if cuts.len() + 1 >= max_bins {
                break;
            }
        }
    }
    cuts
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const FINE: Fineness = Fineness { numbers: 255, levels: 255 };

    #[test]
    fn rates_of_training_rows_do_not_see_their_own_target() {
        // Every level occurs once: a rate that saw its own row would know the target.
        let column: Vec<f64> = (0..400).map(f64::from).collect();
        let labels: Vec<u32> = (0..400).map(|row| row % 2).collect();
        let target = Target::Class { labels, count: 2 };
        let train: Vec<u32> = (0..400).collect();
        let feature = Feature { source: 0, levels: Some(400) };
        let (encoder, extra, bins) = Encoder::fit(&[feature], &[column], &target, &train, FINE);
        assert_eq!(encoder.width(), 3);
        assert!(extra[1].iter().all(|rate| *rate == 0.5));
        // Levels seen once share the bin of the rare ones.
        assert!(bins.bytes.chunks(3).all(|row| row[0] == 1));
    }

    #[test]
    fn missing_has_a_bin_of_its_own() {
        let column = vec![1.0, f64::NAN, 2.0, 3.0];
        let target = Target::Value(vec![0.0; 4]);
        let feature = Feature { source: 0, levels: None };
        let (_, _, bins) = Encoder::fit(&[feature], &[column], &target, &[0, 1, 2, 3], FINE);
        assert_eq!(bins.bytes, [1, 0, 2, 3]);
    }

    proptest! {
        #[test]
        fn bins_keep_the_order_of_numbers(values in proptest::collection::vec(-1e3f64..1e3, 2..600), max_bins in 2usize..=255) {
            let train: Vec<u32> = (0..values.len() as u32).collect();
            let cuts = cut(&values, &train, max_bins);
            prop_assert!(cuts.len() < max_bins && cuts.windows(2).all(|pair| pair[0] < pair[1]));
            let binner = Binner::Cuts(cuts);
            for a in &values {
                for b in values.iter().take(20) {
                    prop_assert!(a > b || binner.bin(*a) <= binner.bin(*b));
                }
            }
        }
    }
}
