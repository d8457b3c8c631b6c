//! Histograms: the sum of the packed gradients in each bin of each feature.

use std::ops::Range;

use crate::features::binning::Bins;
use crate::learners::boosting::gradients::PackedGradients;
use crate::learners::boosting::split_search::LANES;

/// Sums that a histogram keeps for each feature: the fewest in which all bins
/// fit, since it then stays in the fastest cache.
const NARROWEST: usize = 16;
const NARROW: usize = 64;
const WIDE: usize = 256;
/// Sums of 8 bytes in all histograms of one model.
const MAX_SUMS: usize = 32_000_000;
/// Values in a leaf from which two threads are faster than one.
const PARALLEL: usize = 1 << 15;

/// The layout of the histograms of some rows.
pub(crate) struct Histograms<'a> {
    bins: &'a Bins,
    /// Sums that each feature has room for.
    stride: usize,
}

impl<'a> Histograms<'a> {
    pub(crate) fn new(bins: &'a Bins) -> Self {
        let most = bins.counts.iter().copied().max().unwrap_or(0);
        let stride = match usize::from(most) {
            most if most <= NARROWEST => NARROWEST,
            most if most <= NARROW => NARROW,
            _ => WIDE,
        };
        Self { bins, stride }
    }

    /// An empty histogram.
    pub(crate) fn empty(&self) -> Vec<i64> {
        vec![0; self.bins.width * self.stride]
    }

    /// Gives the number of leaves that may be open at once in each of `outputs` trees: each
    /// keeps its histogram.
    pub(crate) fn max_leaves(&self, outputs: usize) -> usize {
        (MAX_SUMS / (self.stride * self.bins.width.max(1) * outputs)).max(4)
    }

    /// Finds the sums of a feature in a histogram.
    pub(crate) fn range(&self, feature: usize) -> Range<usize> {
        let from = feature * self.stride;
        from..from + usize::from(self.bins.counts[feature]).next_multiple_of(LANES)
    }

    /// Subtracts a child's histogram from its parent's: what remains is the sibling's.
    pub(crate) fn subtract(&self, parent: &mut [i64], child: &[i64], features: &[u32]) {
        for &feature in features {
            let at = self.range(feature as usize);
            let pairs = parent[at.clone()].iter_mut().zip(&child[at]);
            pairs.for_each(|(all, part)| *all -= part);
        }
    }

    /// Sums the packed gradients of each bin of each feature.
    pub(crate) fn fill(
        &self,
        histogram: &mut [i64],
        gradients: &PackedGradients,
        rows: &[u32],
        features: &[u32],
    ) {
        if rows.len() * features.len() >= PARALLEL && rayon::current_num_threads() > 1 {
            let (a, b) = rows.split_at(rows.len() / 2);
            let mut other = vec![0; histogram.len()];
            rayon::join(
                || self.fill(histogram, gradients, a, features),
                || self.fill(&mut other, gradients, b, features),
            );
            histogram.iter_mut().zip(&other).for_each(|(sum, part)| *sum += part);
            return;
        }
        for &feature in features {
            histogram[self.range(feature as usize)].fill(0);
        }
        match self.stride {
            NARROWEST => self.count::<NARROWEST>(histogram, gradients, rows, features),
            NARROW => self.count::<NARROW>(histogram, gradients, rows, features),
            _ => self.count::<WIDE>(histogram, gradients, rows, features),
        }
    }

    fn count<const STRIDE: usize>(
        &self,
        histogram: &mut [i64],
        gradients: &PackedGradients,
        rows: &[u32],
        features: &[u32],
    ) {
        let (all_sums, _) = histogram.as_chunks_mut::<STRIDE>();
        let all = features.len() == self.bins.width;
        for &row in rows {
            let pair = gradients.packed[row as usize];
            let bins = self.bins.row(row as usize);
            if all {
                for (sums, &bin) in all_sums.iter_mut().zip(bins) {
                    sums[usize::from(bin) % STRIDE] += pair;
                }
            } else {
                for &feature in features {
                    let bin = bins[feature as usize];
                    all_sums[feature as usize][usize::from(bin) % STRIDE] += pair;
                }
            }
        }
    }
}
