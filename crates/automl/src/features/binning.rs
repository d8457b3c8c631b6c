//! A byte for each value: numbers by quantile, categories by frequency. Trees read
//! these bins.

use serde::{Deserialize, Serialize};

/// Rows that decide where the edges of a number's bins are.
const EDGE_SAMPLE: usize = 20_000;

/// The most bins that a feature may have, besides that of missing values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct MaxBins {
    pub(crate) numbers: usize,
    pub(crate) categories: usize,
}

/// A byte for each feature of each row, row after row. 0 is missing.
pub(crate) struct Bins {
    pub(crate) width: usize,
    pub(crate) bytes: Vec<u8>,
    /// The number of different bytes that each feature may have.
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

/// The binning of one feature's values.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Binner {
    /// Upper ends of the bins 1, 2 and so on; the last bin has none.
    Edges(Vec<f64>),
    /// The bin of each category: 2 and up; 1 holds rare and unknown ones.
    Categories(Vec<u8>),
}

impl Binner {
    pub(crate) fn bin(&self, value: f64) -> u8 {
        match self {
            _ if value.is_nan() => 0,
            Self::Edges(edges) => 1 + edges.partition_point(|edge| *edge < value) as u8,
            Self::Categories(bins) => {
                bins.get(value as usize).copied().filter(|_| value >= 0.0).unwrap_or(1)
            }
        }
    }

    pub(crate) fn count(&self) -> u16 {
        match self {
            Self::Edges(edges) => edges.len() as u16 + 2,
            Self::Categories(bins) => u16::from(bins.iter().copied().max().unwrap_or(1).max(1)) + 1,
        }
    }
}

/// Gives a bin to each of the most frequent categories, as far as bins go.
pub(crate) fn frequent_categories(
    categories: usize,
    column: &[f64],
    train: &[u32],
    max_bins: usize,
) -> Vec<u8> {
    let mut counts: Vec<(usize, usize)> = (0..categories).map(|category| (0, category)).collect();
    for &row in train {
        let category = column[row as usize];
        if category >= 0.0 {
            counts[category as usize].0 += 1;
        }
    }
    counts.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut bins = vec![1; categories];
    for (bin, (_, category)) in
        counts.iter().take(max_bins - 1).enumerate().filter(|(_, (count, _))| *count > 1)
    {
        bins[*category] = bin as u8 + 2;
    }
    bins
}

/// Finds the edges of at most `max_bins` bins of about equal weight.
pub(crate) fn quantile_edges(column: &[f64], train: &[u32], max_bins: usize) -> Vec<f64> {
    let step = train.len().div_ceil(EDGE_SAMPLE).max(1);
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
    let mut edges = Vec::new();
    let mut rows_left: usize = distinct.iter().map(|(_, count)| count).sum();
    let few = distinct.len() <= max_bins;
    let mut filled = 0;
    for pair in distinct.windows(2) {
        filled += pair[0].1;
        let wanted = rows_left as f64 / (max_bins - edges.len()) as f64;
        if few
            || filled as f64 >= wanted.max(3.0)
            || filled as f64 + 0.5 * pair[1].1 as f64 > wanted.max(3.0)
        {
            // Halfway, unless the two are neighbours in floating point.
            let middle = pair[0].0 + (pair[1].0 - pair[0].0) / 2.0;
            edges.push(if middle < pair[1].0 { middle } else { pair[0].0 });
            rows_left -= filled;
            filled = 0;
            if edges.len() + 1 >= max_bins {
                break;
            }
        }
    }
    edges
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bins_keep_the_order_of_numbers(values in proptest::collection::vec(-1e3f64..1e3, 2..600), max_bins in 2usize..=255) {
            let train: Vec<u32> = (0..values.len() as u32).collect();
            let edges = quantile_edges(&values, &train, max_bins);
            prop_assert!(edges.len() < max_bins && edges.windows(2).all(|pair| pair[0] < pair[1]));
            let binner = Binner::Edges(edges);
            for a in &values {
                for b in values.iter().take(20) {
                    prop_assert!(a > b || binner.bin(*a) <= binner.bin(*b));
                }
            }
        }
    }
}
