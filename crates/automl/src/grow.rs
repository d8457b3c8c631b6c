//! Growing one tree of a boosted model, best leaf first, from histograms.
//!
//! Gradient and hessian of a row are whole numbers packed into one `i64`, so
//! that a histogram needs one addition for each value, a sibling is an exact
//! subtraction, and sums do not depend on the order or number of threads.

use crate::encode::{Bins, STRIDE};
use crate::rng::Rng;
use crate::tree::{Slot, Split, Tree};

/// How trees are shaped.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Shape {
    /// Most leaves of a tree.
    pub(crate) leaves: usize,
    /// Most decisions between root and leaf.
    pub(crate) depth: usize,
    /// Fewest rows of a leaf.
    pub(crate) min_rows: f64,
    /// Pulls leaf values to zero.
    pub(crate) l2: f64,
    /// Share of features that a tree may use.
    pub(crate) features: f64,
    /// Try one random limit for each feature instead of all.
    pub(crate) random_limits: bool,
}

/// Smallest sum of hessians in a leaf.
const MIN_HESSIAN: f64 = 1e-3;
/// Extra pull on splits by category, which fit noise more easily.
const CATEGORY_L2: f64 = 10.0;
/// A category needs this many rows to be placed by its own mean.
const CATEGORY_ROWS: f64 = 10.0;
/// Most categories on the smaller side of a split.
const CATEGORY_SIDE: usize = 32;
/// Values in a leaf from which two threads are faster than one.
const PARALLEL: usize = 1 << 19;

/// The half of a packed number that holds the hessian.
const HESSIAN: i64 = 0xffff_ffff;

/// Row gradients as whole numbers, and the numbers' worth.
pub(crate) struct Gradients {
    /// `gradient << 32 + hessian`, for each row of the data.
    pub(crate) packed: Vec<i64>,
    pub(crate) gradient_unit: f64,
    pub(crate) hessian_unit: f64,
}

impl Gradients {
    /// Packs the gradients and hessians of `rows`. The units are chosen so that
    /// no sum over the rows leaves its half of the number.
    pub(crate) fn pack(&mut self, rows: &[u32], pairs: &[(f32, f32)]) {
        let (mut gradients, mut hessians) = (0.0, 0.0);
        for &row in rows {
            let (g, h) = pairs[row as usize];
            gradients += f64::from(g.abs());
            hessians += f64::from(h);
        }
        // Half a unit of rounding for each row has to fit too.
        let room = f64::from(1u32 << 30) - rows.len() as f64;
        self.gradient_unit = (gradients / room).max(f64::MIN_POSITIVE);
        self.hessian_unit = (hessians / (2.0 * room)).max(f64::MIN_POSITIVE);
        let (g_scale, h_scale) = (
            (1.0 / self.gradient_unit) as f32,
            (1.0 / self.hessian_unit) as f32,
        );
        self.packed.resize(pairs.len(), 0);
        for &row in rows {
            let (g, h) = pairs[row as usize];
            // Float to integer casts saturate, so a stray infinity stays in range.
            let (g, h) = ((g * g_scale).round() as i32, (h * h_scale).round() as u32);
            self.packed[row as usize] = (i64::from(g) << 32) + i64::from(h);
        }
    }

    fn sums(&self, packed: i64) -> (f64, f64) {
        (
            (packed >> 32) as f64 * self.gradient_unit,
            (packed & HESSIAN) as f64 * self.hessian_unit,
        )
    }
}

/// What the grower knows of the data, the same for all trees.
pub(crate) struct Grower<'a> {
    pub(crate) bins: &'a Bins,
    pub(crate) is_level: &'a [bool],
    pub(crate) shape: Shape,
}

/// Reusable memory of one thread.
#[derive(Default)]
pub(crate) struct Workspace {
    spare: Vec<Vec<i64>>,
    right: Vec<u32>,
}

/// A grown tree and which rows fell into which leaf.
pub(crate) struct Grown {
    pub(crate) tree: Tree,
    /// Rows from, rows to, and value of each leaf.
    pub(crate) leaves: Vec<(usize, usize, f32)>,
}

struct Leaf {
    slot: Slot,
    from: usize,
    to: usize,
    depth: usize,
    total: i64,
    histogram: Vec<i64>,
    best: Option<Best>,
}

#[derive(Clone, Copy)]
struct Best {
    gain: f64,
    feature: usize,
    split: Split,
    left: i64,
}

impl Grower<'_> {
    /// Grows a tree on `rows`, which it sorts by leaf, and adds each split's
    /// gain to `gains`. Leaf values are multiplied by `rate`.
    pub(crate) fn grow(
        &self,
        gradients: &Gradients,
        rows: &mut [u32],
        rate: f64,
        rng: &mut Rng,
        work: &mut Workspace,
        gains: &mut [f64],
    ) -> Grown {
        let all: Vec<u32> = (0..self.bins.width as u32).collect();
        let count =
            ((all.len() as f64 * self.shape.features).ceil() as usize).clamp(1, all.len().max(1));
        let features = rng.sample(&all, count);
        let mut tree = Tree::new(1);
        let total = rows.iter().map(|&row| gradients.packed[row as usize]).sum();
        let mut histogram = work
            .spare
            .pop()
            .unwrap_or_else(|| vec![0; all.len() * STRIDE]);
        self.fill(&mut histogram, gradients, rows, &features);
        let mut root = Leaf {
            slot: Slot::ROOT,
            from: 0,
            to: rows.len(),
            depth: 0,
            total,
            histogram,
            best: None,
        };
        self.search(&mut root, gradients, &features, rng);
        let mut open = vec![root];
        let mut leaves = 1;
        while leaves < self.shape.leaves && tree.has_room() {
            let gain = |leaf: &Leaf| leaf.best.map_or(0.0, |best| best.gain);
            let Some(at) = (0..open.len())
                .max_by(|&a, &b| gain(&open[a]).total_cmp(&gain(&open[b])).then(b.cmp(&a)))
            else {
                break;
            };
            let Some(best) = open[at].best else { break };
            let leaf = open.swap_remove(at);
            gains[best.feature] += best.gain;
            let middle =
                leaf.from + self.partition(&mut rows[leaf.from..leaf.to], best, &mut work.right);
            let slots = tree.split(leaf.slot, best.feature, best.split);
            let [left_rows, right_rows] = [middle - leaf.from, leaf.to - middle];
            leaves += 1;
            // The smaller child is counted, the larger is what remains.
            let mut small = work
                .spare
                .pop()
                .unwrap_or_else(|| vec![0; all.len() * STRIDE]);
            let mut large = leaf.histogram;
            let small_is_left = left_rows <= right_rows;
            let range = if small_is_left {
                leaf.from..middle
            } else {
                middle..leaf.to
            };
            let last = leaves >= self.shape.leaves;
            if !last {
                self.fill(&mut small, gradients, &rows[range], &features);
                for &feature in &features {
                    let at = self.bins.table(feature as usize);
                    large[at.clone()]
                        .iter_mut()
                        .zip(&small[at])
                        .for_each(|(all, part)| *all -= part);
                }
            }
            let (left, right) = if small_is_left {
                (small, large)
            } else {
                (large, small)
            };
            let depth = leaf.depth + 1;
            let children = [
                Leaf {
                    slot: slots[0],
                    from: leaf.from,
                    to: middle,
                    depth,
                    total: best.left,
                    histogram: left,
                    best: None,
                },
                Leaf {
                    slot: slots[1],
                    from: middle,
                    to: leaf.to,
                    depth,
                    total: leaf.total - best.left,
                    histogram: right,
                    best: None,
                },
            ];
            for mut child in children {
                if !last {
                    self.search(&mut child, gradients, &features, rng);
                }
                open.push(child);
            }
        }
        let mut out = Vec::with_capacity(open.len());
        for leaf in open {
            let (g, h) = gradients.sums(leaf.total);
            let value = (-rate * g / (h + self.shape.l2).max(1e-12)) as f32;
            tree.leaf(leaf.slot, &[value]);
            out.push((leaf.from, leaf.to, value));
            work.spare.push(leaf.histogram);
        }
        Grown { tree, leaves: out }
    }

    /// Sums the packed gradients of each bin of each feature.
    fn fill(&self, histogram: &mut [i64], gradients: &Gradients, rows: &[u32], features: &[u32]) {
        if rows.len() * features.len() >= PARALLEL {
            let (a, b) = rows.split_at(rows.len() / 2);
            let mut other = vec![0; histogram.len()];
            rayon::join(
                || self.fill(histogram, gradients, a, features),
                || self.fill(&mut other, gradients, b, features),
            );
            histogram
                .iter_mut()
                .zip(&other)
                .for_each(|(sum, part)| *sum += part);
            return;
        }
        for &feature in features {
            histogram[self.bins.table(feature as usize)].fill(0);
        }
        let (tables, _) = histogram.as_chunks_mut::<STRIDE>();
        if features.len() == self.bins.width {
            for &row in rows {
                let pair = gradients.packed[row as usize];
                for (table, &bin) in tables.iter_mut().zip(self.bins.row(row as usize)) {
                    table[usize::from(bin)] += pair;
                }
            }
        } else {
            for &row in rows {
                let pair = gradients.packed[row as usize];
                let bins = self.bins.row(row as usize);
                for &feature in features {
                    tables[feature as usize][usize::from(bins[feature as usize])] += pair;
                }
            }
        }
    }

    /// Moves the rows that go left to the front and returns their number.
    fn partition(&self, rows: &mut [u32], best: Best, right: &mut Vec<u32>) -> usize {
        right.clear();
        let mut kept = 0;
        for at in 0..rows.len() {
            let row = rows[at];
            if best
                .split
                .is_left(self.bins.bytes[row as usize * self.bins.width + best.feature])
            {
                rows[kept] = row;
                kept += 1;
            } else {
                right.push(row);
            }
        }
        rows[kept..].copy_from_slice(right);
        kept
    }

    /// Finds the leaf's best split, if any split helps.
    fn search(&self, leaf: &mut Leaf, gradients: &Gradients, features: &[u32], rng: &mut Rng) {
        let rows = (leaf.to - leaf.from) as f64;
        if leaf.depth >= self.shape.depth || rows < 2.0 * self.shape.min_rows {
            return;
        }
        let unit = gradients.hessian_unit;
        let (g, h) = ((leaf.total >> 32) as f64, (leaf.total & HESSIAN) as f64);
        let l2 = self.shape.l2 / unit;
        // Rows are told from hessians, which saves a count in each bin.
        let finder = Finder {
            total: leaf.total,
            l2,
            category_l2: l2 + CATEGORY_L2 / unit,
            min_hessian: (MIN_HESSIAN / unit).max(self.shape.min_rows * h / rows) as i64 + 1,
            row_hessian: h / rows,
            parent: g * g / (h + l2),
        };
        // From gain in those units to the loss.
        let worth = gradients.gradient_unit * gradients.gradient_unit / unit;
        for &feature in features {
            let feature = feature as usize;
            let table = &leaf.histogram[self.bins.table(feature)];
            let found = match (self.is_level[feature], self.shape.random_limits) {
                (true, _) => finder.categories(table),
                (false, false) => finder.limits(table, None),
                (false, true) => finder.limits(table, Some(rng)),
            };
            if let Some((gain, split, left)) =
                found.map(|(gain, split, left)| ((gain - finder.parent) * worth, split, left))
                && gain > leaf.best.map_or(1e-9, |best| best.gain)
            {
                leaf.best = Some(Best {
                    gain,
                    feature,
                    split,
                    left,
                });
            }
        }
    }
}

/// Looks for the best split of one leaf. All numbers are in units of the packed
/// gradients, so that nothing is multiplied by them in the inner loop.
struct Finder {
    total: i64,
    l2: f64,
    category_l2: f64,
    min_hessian: i64,
    row_hessian: f64,
    parent: f64,
}

type Found = Option<(f64, Split, i64)>;

impl Finder {
    /// The loss that is saved by sending `left` to the left.
    fn gain(&self, left: i64, l2: f64) -> Option<f64> {
        let (hl, hr) = (left & HESSIAN, (self.total - left) & HESSIAN);
        if hl < self.min_hessian || hr < self.min_hessian {
            return None;
        }
        let (gl, gr) = ((left >> 32) as f64, ((self.total - left) >> 32) as f64);
        let (hl, hr) = (hl as f64 + l2, hr as f64 + l2);
        // One division instead of two.
        Some((gl * gl * hr + gr * gr * hl) / (hl * hr))
    }

    /// The best limit of an ordered feature, or one drawn at random.
    fn limits(&self, table: &[i64], rng: Option<&mut Rng>) -> Found {
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
        (gain > self.parent).then_some((
            gain,
            Split::Below {
                limit: limit as u8,
                missing_left,
            },
            left,
        ))
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
    fn categories(&self, table: &[i64]) -> Found {
        let used: Vec<(usize, i64)> = table
            .iter()
            .copied()
            .enumerate()
            .filter(|(_, sum)| *sum != 0)
            .collect();
        let mut best: Found = None;
        let mut offer = |left: i64, l2: f64, bins: &[(usize, i64)]| {
            if let Some(gain) = self.gain(left, l2)
                && best.is_none_or(|best| gain > best.0)
            {
                let mut set = [0; 4];
                bins.iter()
                    .for_each(|(bin, _)| set[bin >> 6] |= 1u64 << (bin & 63));
                best = Some((gain, Split::Among(set), left));
            }
        };
        if used.len() <= 4 {
            used.iter()
                .for_each(|one| offer(one.1, self.l2, std::slice::from_ref(one)));
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
