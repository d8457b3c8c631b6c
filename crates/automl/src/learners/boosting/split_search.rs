//! Finding the best split of one leaf in a histogram.

use fearless_simd::Simd;

use crate::learners::boosting::gradients::{PackedGradients, halves};
use crate::learners::boosting::settings::TreeSettings;
use crate::learners::boosting::tree::Split;
use crate::rng::Rng;

/// Smallest sum of hessians in a leaf.
const MIN_HESSIAN: f64 = 1e-3;
/// Extra pull on splits by category, which fit noise more easily.
const CATEGORY_L2: f64 = 10.0;
/// A category needs this many rows to be placed by its own mean.
const CATEGORY_ROWS: f64 = 10.0;
/// Most categories on the smaller side of a split.
const CATEGORY_SIDE: usize = 32;

/// Thresholds that are tried at once, in SIMD lanes. Histograms are multiples of this.
pub(crate) const LANES: usize = 16;

/// Looks for the best split of one leaf. All numbers are in units of the packed
/// gradients, so that nothing is multiplied by them in the inner loop.
pub(crate) struct SplitSearch {
    total: i64,
    l2: f64,
    category_l2: f64,
    min_hessian: i32,
    row_hessian: f64,
    parent: f64,
    /// The loss that one unit of gain saves.
    gain_unit: f64,
}

/// The loss saved, how, and the packed sum that goes left.
pub(crate) type Found = Option<(f64, Split, i64)>;

impl SplitSearch {
    /// For a leaf of `rows` rows whose packed gradients add up to `total`.
    pub(crate) fn new(
        gradients: &PackedGradients,
        total: i64,
        rows: f64,
        settings: &TreeSettings,
    ) -> Self {
        let unit = gradients.hessian_unit;
        let (g, h) = halves(total);
        let (g, h) = (f64::from(g), f64::from(h));
        let l2 = settings.l2 / unit;
        Self {
            total,
            l2,
            category_l2: l2 + CATEGORY_L2 / unit,
            // Rows are told from hessians, which saves a count in each bin.
            min_hessian: (MIN_HESSIAN / unit).max(settings.min_rows * h / rows) as i32 + 1,
            row_hessian: h / rows,
            parent: g * g / (h + l2),
            gain_unit: gradients.gradient_unit * gradients.gradient_unit / unit,
        }
    }

    /// The loss that is saved by sending `left` to the left.
    fn gain(&self, left: i64, l2: f64) -> Option<f64> {
        let ((gl, hl), (gr, hr)) = (halves(left), halves(self.total - left));
        if hl < self.min_hessian || hr < self.min_hessian {
            return None;
        }
        let (gl, gr) = (f64::from(gl), f64::from(gr));
        let (hl, hr) = (f64::from(hl) + l2, f64::from(hr) + l2);
        Some((gl * gl / hl + gr * gr / hr - self.parent) * self.gain_unit)
    }

    /// The best threshold of an ordered feature that saves more than `least`.
    #[inline(always)]
    pub(crate) fn best_threshold<S: Simd>(&self, simd: S, histogram: &[i64], least: f64) -> Found {
        let missing = histogram[0];
        // Single precision finds the threshold, double precision says what it saves.
        let least_squares = ((self.parent + least / self.gain_unit) * (1.0 - 1e-6)) as f32;
        let mut best = self.scan(simd, histogram, 0, least_squares);
        // Missing values that come later go to the larger side.
        let mut missing_left = None;
        if missing != 0 {
            missing_left = Some(false);
            let bar = best.map_or(least_squares, |best| best.0);
            if let Some(other) = self.scan(simd, histogram, missing, bar) {
                (best, missing_left) = (Some(other), Some(true));
            }
        }
        self.offer(histogram, best?.1, missing_left).filter(|found| found.0 > least)
    }

    /// Draws one threshold of an ordered feature at random.
    pub(crate) fn random_threshold(&self, histogram: &[i64], rng: &mut Rng) -> Found {
        let first = 1 + histogram[1..].iter().position(|sum| *sum != 0)?;
        let last = histogram.iter().rposition(|sum| *sum != 0)?;
        // Missing values against all others is a split as well.
        let to = if histogram[0] == 0 { last } else { last + 1 };
        if to == first {
            return None;
        }
        let threshold = first + rng.below(to - first);
        let sides = if histogram[0] == 0 { [None, None] } else { [Some(false), Some(true)] };
        let [right, left] =
            sides.map(|missing_left| self.offer(histogram, threshold, missing_left));
        match (right, left) {
            (Some(right), Some(left)) => Some(if left.0 > right.0 { left } else { right }),
            (right, left) => right.or(left),
        }
    }

    /// Measures what a threshold saves, if anything.
    fn offer(&self, histogram: &[i64], threshold: usize, missing_left: Option<bool>) -> Found {
        let from = usize::from(missing_left != Some(true));
        let left: i64 = histogram[from..=threshold].iter().sum();
        let gain = self.gain(left, self.l2).filter(|gain| *gain > 0.0)?;
        let missing_left = missing_left
            .unwrap_or(2 * i64::from(halves(left).1) >= i64::from(halves(self.total).1));
        Some((gain, Split::Threshold { bin: threshold as u8, missing_left }, left))
    }

    /// The best sum of squares and its threshold, if it is above `bar`; `sum` lies to
    /// the left of all.
    #[inline(always)]
    fn scan<S: Simd>(
        &self,
        _: S,
        histogram: &[i64],
        mut sum: i64,
        bar: f32,
    ) -> Option<(f32, usize)> {
        let (g, h) = halves(self.total);
        let (g, h, l2) = (g as f32, h as f32, self.l2 as f32);
        let least = self.min_hessian as f32;
        let mut best = [f32::NEG_INFINITY; LANES];
        let mut block_of = [0u32; LANES];
        sum -= histogram[0];
        for (block, cells) in histogram.as_chunks::<LANES>().0.iter().enumerate() {
            let mut sums = [0i64; LANES];
            for (at, cell) in sums.iter_mut().zip(cells) {
                sum += cell;
                *at = sum;
            }
            for lane in 0..LANES {
                let (gl, hl) = halves(sums[lane]);
                let (gl, hl) = (gl as f32, hl as f32);
                let (gr, hr) = (g - gl, h - hl);
                let side = if hl < hr { hl } else { hr };
                let (hl, hr) = (hl + l2, hr + l2);
                // One division instead of two.
                let gain = (gl * gl * hr + gr * gr * hl) / (hl * hr);
                let gain = if side >= least { gain } else { f32::NEG_INFINITY };
                let better = gain > best[lane];
                best[lane] = if better { gain } else { best[lane] };
                block_of[lane] = if better { block as u32 } else { block_of[lane] };
            }
        }
        // Few features come this far: the search for the lane is not vectorised.
        let mut most = best;
        for half in [8, 4, 2, 1] {
            for lane in 0..half {
                let other = most[lane + half];
                most[lane] = if other > most[lane] { other } else { most[lane] };
            }
        }
        if most[0] <= bar {
            return None;
        }
        // Of equal thresholds the first, as where no row lies, the split is the one before.
        (0..LANES)
            .filter(|lane| best[*lane] == most[0])
            .map(|lane| block_of[lane] as usize * LANES + lane)
            .min()
            .map(|threshold| (most[0], threshold))
    }

    /// The best set of categories: one alone where there are few, else a run of
    /// categories sorted by their mean.
    pub(crate) fn best_categories(&self, histogram: &[i64]) -> Found {
        let used: Vec<(usize, i64)> =
            histogram.iter().copied().enumerate().filter(|(_, sum)| *sum != 0).collect();
        let mut best: Found = None;
        let mut offer = |left: i64, l2: f64, bins: &[(usize, i64)]| {
            if let Some(gain) = self.gain(left, l2)
                && best.is_none_or(|best| gain > best.0)
            {
                let mut set = [0; 4];
                bins.iter().for_each(|(bin, _)| set[bin >> 6] |= 1u64 << (bin & 63));
                best = Some((gain, Split::Categories(set), left));
            }
        };
        if used.len() <= 4 {
            used.iter().for_each(|one| offer(one.1, self.l2, std::slice::from_ref(one)));
            return best;
        }
        let least = CATEGORY_ROWS * self.row_hessian;
        let mut sorted: Vec<(f64, (usize, i64))> = used
            .into_iter()
            .filter_map(|one| {
                let (g, h) = halves(one.1);
                let (g, h) = (f64::from(g), f64::from(h));
                (h >= least).then_some((g / (h + least), one))
            })
            .collect();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut bins: Vec<(usize, i64)> = sorted.into_iter().map(|(_, one)| one).collect();
        for _ in 0..2 {
            let mut left = 0;
            for count in 1..=bins.len().saturating_sub(1).min(CATEGORY_SIDE) {
                left += bins[count - 1].1;
                offer(left, self.category_l2, &bins[..count]);
            }
            bins.reverse();
        }
        best
    }
}
