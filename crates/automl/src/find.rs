//! Finding the best split of one leaf in a histogram.

use crate::gradients::{Gradients, HESSIAN};
use crate::grow::Shape;
use crate::rng::Rng;
use crate::tree::Split;

/// Smallest sum of hessians in a leaf.
const MIN_HESSIAN: f64 = 1e-3;
/// Extra pull on splits by category, which fit noise more easily.
const CATEGORY_L2: f64 = 10.0;
/// A category needs this many rows to be placed by its own mean.
const CATEGORY_ROWS: f64 = 10.0;
/// Most categories on the smaller side of a split.
const CATEGORY_SIDE: usize = 32;

/// Looks for the best split of one leaf. All numbers are in units of the packed
/// gradients, so that nothing is multiplied by them in the inner loop.
pub(crate) struct Finder {
    total: i64,
    l2: f64,
    category_l2: f64,
    min_hessian: i64,
    row_hessian: f64,
    parent: f64,
    /// What one unit of gain is worth in loss.
    worth: f64,
}

/// The loss saved, how, and the packed sum that goes left.
pub(crate) type Found = Option<(f64, Split, i64)>;

impl Finder {
    /// For a leaf of `rows` rows whose packed gradients add up to `total`.
    pub(crate) fn new(gradients: &Gradients, total: i64, rows: f64, shape: &Shape) -> Self {
        let unit = gradients.hessian_unit;
        let (g, h) = ((total >> 32) as f64, (total & HESSIAN) as f64);
        let l2 = shape.l2 / unit;
        Self {
            total,
            l2,
            category_l2: l2 + CATEGORY_L2 / unit,
            // Rows are told from hessians, which saves a count in each bin.
            min_hessian: (MIN_HESSIAN / unit).max(shape.min_rows * h / rows) as i64 + 1,
            row_hessian: h / rows,
            parent: g * g / (h + l2),
            worth: gradients.gradient_unit * gradients.gradient_unit / unit,
        }
    }

    /// The loss that is saved by sending `left` to the left.
    fn gain(&self, left: i64, l2: f64) -> Option<f64> {
        let (hl, hr) = (left & HESSIAN, (self.total - left) & HESSIAN);
        if hl < self.min_hessian || hr < self.min_hessian {
            return None;
        }
        let (gl, gr) = ((left >> 32) as f64, ((self.total - left) >> 32) as f64);
        let (hl, hr) = (hl as f64 + l2, hr as f64 + l2);
        // One division instead of two.
        Some(((gl * gl * hr + gr * gr * hl) / (hl * hr) - self.parent) * self.worth)
    }

    /// The best limit of an ordered feature, or one drawn at random.
    pub(crate) fn limits(&self, table: &[i64], rng: Option<&mut Rng>) -> Found {
        let missing = table[0];
        let first = 1 + table[1..].iter().position(|sum| *sum != 0)?;
        let last = table.iter().rposition(|sum| *sum != 0)?;
        // Missing values against all others is a split as well.
        let to = if missing == 0 { last } else { last + 1 };
        if to == first {
            return None;
        }
        let (from, to, before) = match rng {
            None => (first, to, 0),
            Some(rng) => {
                let limit = first + rng.below(to - first);
                (limit, limit + 1, table[first..limit].iter().sum())
            }
        };
        let mut best = self.scan(table, from..to, before);
        let mut missing_left = false;
        if missing != 0 {
            let other = self.scan(table, from..to, before + missing);
            if other.0 > best.0 {
                (best, missing_left) = (other, true);
            }
        } else {
            // Missing values that come later go to the larger side.
            missing_left = (best.2 & HESSIAN) * 2 >= (self.total & HESSIAN);
        }
        let (gain, limit, left) = best;
        (gain > 0.0).then_some((gain, Split::Below { limit: limit as u8, missing_left }, left))
    }

    /// The best gain, limit and left sum over some limits, with `sum` to the left of all.
    fn scan(
        &self,
        table: &[i64],
        limits: std::ops::Range<usize>,
        mut sum: i64,
    ) -> (f64, usize, i64) {
        let mut best = (f64::NEG_INFINITY, 0, 0);
        let single = limits.len() == 1;
        for (limit, &cell) in limits.clone().zip(&table[limits]) {
            // Where no row lies, the split is the one before.
            if cell == 0 && !single {
                continue;
            }
            sum += cell;
            match self.gain(sum, self.l2) {
                Some(gain) if gain > best.0 => best = (gain, limit, sum),
                None if (self.total - sum) & HESSIAN < self.min_hessian => break,
                _ => {}
            }
        }
        best
    }

    /// The best set of categories: one alone where there are few, else a run of
    /// categories sorted by their mean.
    pub(crate) fn categories(&self, table: &[i64]) -> Found {
        let used: Vec<(usize, i64)> =
            table.iter().copied().enumerate().filter(|(_, sum)| *sum != 0).collect();
        let mut best: Found = None;
        let mut offer = |left: i64, l2: f64, bins: &[(usize, i64)]| {
            if let Some(gain) = self.gain(left, l2)
                && best.is_none_or(|best| gain > best.0)
            {
                let mut set = [0; 4];
                bins.iter().for_each(|(bin, _)| set[bin >> 6] |= 1u64 << (bin & 63));
                best = Some((gain, Split::Among(set), left));
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
                let (g, h) = ((one.1 >> 32) as f64, (one.1 & HESSIAN) as f64);
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
