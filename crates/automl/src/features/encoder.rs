//! From the features of the schema to those that learners read: target encodings behind
//! them, and bins of all. Learned from training rows only.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::features::binning::{Binner, Bins, MaxBins, frequent_categories, quantile_edges};
use crate::features::target_encoding::{self, TargetEncoding};
use crate::table::schema::Feature;
use crate::table::target::Target;

/// Text columns with more categories than this, or than there are bins, are target-encoded
/// as well, since only the most frequent categories have a bin of their own.
const MANY_CATEGORIES: usize = 100;

/// Everything that training rows teach about the features.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Encoder {
    /// Number of features that the schema yields.
    inputs: usize,
    /// Columns made from the target, behind the schema's features.
    target_encodings: Vec<TargetEncoding>,
    binners: Vec<Binner>,
    /// Position of the text column behind each encoded feature.
    pub(crate) sources: Vec<u32>,
}

impl Encoder {
    /// Learns from the rows `train` of `columns` and encodes all rows. The target encoding
    /// of a training row leaves out the row's own fold, so that no row sees its own target.
    pub(crate) fn fit(
        features: &[Feature],
        columns: &[Vec<f64>],
        target: &Target,
        train: &[u32],
        max_bins: MaxBins,
    ) -> (Self, Vec<Vec<f64>>, Bins) {
        let (mut target_encodings, mut encodings) = (Vec::new(), Vec::new());
        let mut sources: Vec<u32> = features.iter().map(|feature| feature.source as u32).collect();
        let encode = |(position, feature): (usize, &Feature)| {
            let column = &columns[position];
            match feature.categories {
                Some(categories) if categories > MANY_CATEGORIES.min(max_bins.categories - 1) => {
                    target_encoding::of_categories(position, categories, column, target, train)
                }
                Some(_) => Vec::new(),
                None => target_encoding::of_codes(position, column, target, train),
            }
        };
        let encoded: Vec<_> = features.par_iter().enumerate().map(encode).collect();
        for (feature, encoded) in features.iter().zip(encoded) {
            for (encoding, column) in encoded {
                target_encodings.push(encoding);
                encodings.push(column);
                sources.push(feature.source as u32);
            }
        }
        let binners = (0..features.len() + encodings.len())
            .into_par_iter()
            .map(|position| match features.get(position).and_then(|feature| feature.categories) {
                Some(categories) => Binner::Categories(frequent_categories(
                    categories,
                    &columns[position],
                    train,
                    max_bins.categories,
                )),
                None => {
                    let column = columns
                        .get(position)
                        .unwrap_or_else(|| &encodings[position - features.len()]);
                    Binner::Edges(quantile_edges(column, train, max_bins.numbers))
                }
            })
            .collect();
        let encoder = Self { inputs: features.len(), target_encodings, binners, sources };
        let bins = encoder.bins(columns, &encodings);
        (encoder, encodings, bins)
    }

    /// Target-encodes rows that were not trained on.
    pub(crate) fn encodings(&self, columns: &[Vec<f64>]) -> Vec<Vec<f64>> {
        self.target_encodings
            .iter()
            .map(|encoding| {
                let column = &columns[encoding.feature as usize];
                column.iter().map(|value| encoding.of(*value)).collect()
            })
            .collect()
    }

    /// Bins all features, target encodings among them.
    pub(crate) fn bins(&self, columns: &[Vec<f64>], encodings: &[Vec<f64>]) -> Bins {
        let width = self.binners.len();
        let rows = columns.first().map_or(0, Vec::len);
        let mut bytes = vec![0u8; rows * width];
        const CHUNK: usize = 4096;
        let fill = |(chunk, bytes): (usize, &mut [u8])| {
            for (position, (binner, column)) in
                self.binners.iter().zip(columns.iter().chain(encodings)).enumerate()
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

    /// Tells of each encoded feature whether it is a category, whose bins have no order.
    pub(crate) fn is_categorical(&self) -> Vec<bool> {
        self.binners.iter().map(|binner| matches!(binner, Binner::Categories(_))).collect()
    }

    pub(crate) fn width(&self) -> usize {
        self.binners.len()
    }

    /// Tells whether a stored encoder holds together and fits the schema's features.
    pub(crate) fn is_sound(&self, features: &[Feature], sources: usize) -> bool {
        self.inputs == features.len()
            && self.binners.len() == self.inputs + self.target_encodings.len()
            && self.sources.len() == self.binners.len()
            && self.sources.iter().all(|source| (*source as usize) < sources)
            && self.target_encodings.iter().all(|encoding| encoding.is_sound(self.inputs))
            && self.binners.iter().all(|binner| match binner {
                Binner::Edges(edges) => edges.len() <= 254 && edges.is_sorted(),
                Binner::Categories(_) => true,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINE: MaxBins = MaxBins { numbers: 255, categories: 255 };

    #[test]
    fn target_encodings_of_training_rows_do_not_see_their_own_target() {
        // Every category occurs once: an encoding that saw its own row would know the target.
        let column: Vec<f64> = (0..400).map(f64::from).collect();
        let labels: Vec<u32> = (0..400).map(|row| row % 2).collect();
        let target = Target::Class { labels, count: 2 };
        let train: Vec<u32> = (0..400).collect();
        let feature = Feature { source: 0, categories: Some(400) };
        let (encoder, encodings, bins) = Encoder::fit(&[feature], &[column], &target, &train, FINE);
        assert_eq!(encoder.width(), 3);
        assert!(encodings[1].iter().all(|mean| *mean == 0.5));
        // Categories seen once share the bin of the rare ones.
        assert!(bins.bytes.chunks(3).all(|row| row[0] == 1));
    }

    #[test]
    fn missing_has_a_bin_of_its_own() {
        let column = vec![1.0, f64::NAN, 2.0, 3.0];
        let target = Target::Value(vec![0.0; 4]);
        let feature = Feature { source: 0, categories: None };
        let (_, _, bins) = Encoder::fit(&[feature], &[column], &target, &[0, 1, 2, 3], FINE);
        assert_eq!(bins.bytes, [1, 0, 2, 3]);
    }
}
