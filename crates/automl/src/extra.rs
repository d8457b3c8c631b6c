//! Random limits for many features of one node, and what each would bring: a row's
//! features lie side by side and are compared with all limits at once.

use fearless_simd::{Simd, dispatch};

use crate::encode::Bins;
use crate::math::level;

/// Features that are compared at once; rows are padded to a multiple of it.
const LANES: usize = 8;

/// The bins of all rows, padded.
pub(crate) struct Lines {
    stride: usize,
    bytes: Vec<u8>,
}

impl Lines {
    pub(crate) fn new(bins: &Bins) -> Self {
        let stride = bins.width.next_multiple_of(LANES).max(LANES);
        let rows = bins.bytes.len() / bins.width.max(1);
        let mut bytes = vec![0; rows * stride];
        for (to, from) in
            bytes.chunks_exact_mut(stride).zip(bins.bytes.chunks_exact(bins.width.max(1)))
        {
            to[..from.len()].copy_from_slice(from);
        }
        Self { stride, bytes }
    }

    fn row(&self, row: u32) -> &[u8] {
        &self.bytes[row as usize * self.stride..][..self.stride]
    }

    /// Features with padding.
    pub(crate) fn stride(&self) -> usize {
        self.stride
    }

    /// The least and the largest bin of each feature in some rows.
    pub(crate) fn span(&self, rows: &[u32], least: &mut [u8], most: &mut [u8]) {
        dispatch!(level(), simd => self.span_in(simd, rows, least, most));
    }

    #[inline(always)]
    fn span_in<S: Simd>(&self, _: S, rows: &[u32], least: &mut [u8], most: &mut [u8]) {
        least.fill(u8::MAX);
        most.fill(0);
        let (least, most) = (least.as_chunks_mut::<LANES>().0, most.as_chunks_mut::<LANES>().0);
        for &row in rows {
            let bins = self.row(row).as_chunks::<LANES>().0;
            for ((bins, least), most) in bins.iter().zip(&mut *least).zip(&mut *most) {
                for lane in 0..LANES {
                    least[lane] = least[lane].min(bins[lane]);
                    most[lane] = most[lane].max(bins[lane]);
                }
            }
        }
    }

    /// For each feature, the sum of both numbers over the rows whose bin is not
    /// above the feature's limit.
    pub(crate) fn sums(
        &self,
        rows: &[u32],
        limits: &[u8],
        numbers: [&[f32]; 2],
        sums: [&mut [f32]; 2],
    ) {
        dispatch!(level(), simd => self.sums_in(simd, rows, limits, numbers, sums));
    }

    #[inline(always)]
    fn sums_in<S: Simd>(
        &self,
        _: S,
        rows: &[u32],
        limits: &[u8],
        [a, b]: [&[f32]; 2],
        [a_sums, b_sums]: [&mut [f32]; 2],
    ) {
        a_sums.fill(0.0);
        b_sums.fill(0.0);
        let limits = limits.as_chunks::<LANES>().0;
        let (a_sums, b_sums) =
            (a_sums.as_chunks_mut::<LANES>().0, b_sums.as_chunks_mut::<LANES>().0);
        for ((&row, a), b) in rows.iter().zip(a).zip(b) {
            let bins = self.row(row).as_chunks::<LANES>().0.iter().zip(limits);
            for ((bins, limits), (a_sums, b_sums)) in bins.zip(a_sums.iter_mut().zip(&mut *b_sums))
            {
                for lane in 0..LANES {
                    let left = bins[lane] <= limits[lane];
                    a_sums[lane] += if left { *a } else { 0.0 };
                    b_sums[lane] += if left { *b } else { 0.0 };
                }
            }
        }
    }

    /// For each label and feature, the sum of the weights of the label's rows
    /// whose bin is not above the limit. Only labels that occur are written.
    pub(crate) fn label_sums(
        &self,
        rows: &[u32],
        limits: &[u8],
        labels: &[u32],
        weights: &[f32],
        sums: &mut [f32],
    ) {
        for &label in labels {
            sums[label as usize * self.stride..][..self.stride].fill(0.0);
        }
        dispatch!(level(), simd => self.label_sums_in(simd, rows, limits, labels, weights, sums));
    }

    #[inline(always)]
    fn label_sums_in<S: Simd>(
        &self,
        _: S,
        rows: &[u32],
        limits: &[u8],
        labels: &[u32],
        weights: &[f32],
        sums: &mut [f32],
    ) {
        let limits = limits.as_chunks::<LANES>().0;
        for ((&row, &label), weight) in rows.iter().zip(labels).zip(weights) {
            let sums = &mut sums[label as usize * self.stride..][..self.stride];
            let bins = self.row(row).as_chunks::<LANES>().0.iter().zip(limits);
            for ((bins, limits), sums) in bins.zip(sums.as_chunks_mut::<LANES>().0) {
                for lane in 0..LANES {
                    sums[lane] += if bins[lane] <= limits[lane] { *weight } else { 0.0 };
                }
            }
        }
    }
}
