//! Growing one tree of a boosted model, best leaf first, from histograms.

use crate::encode::{Bins, STRIDE};
use crate::find::Finder;
use crate::gradients::Gradients;
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

/// Values in a leaf from which two threads are faster than one.
const PARALLEL: usize = 1 << 19;

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
        let mut histogram = work.spare.pop().unwrap_or_else(|| vec![0; all.len() * STRIDE]);
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
            let mut small = work.spare.pop().unwrap_or_else(|| vec![0; all.len() * STRIDE]);
            let mut large = leaf.histogram;
            let small_is_left = left_rows <= right_rows;
            let range = if small_is_left { leaf.from..middle } else { middle..leaf.to };
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
            let (left, right) = if small_is_left { (small, large) } else { (large, small) };
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
            histogram.iter_mut().zip(&other).for_each(|(sum, part)| *sum += part);
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
            if best.split.is_left(self.bins.bytes[row as usize * self.bins.width + best.feature]) {
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
        let finder = Finder::new(gradients, leaf.total, rows, &self.shape);
        for &feature in features {
            let feature = feature as usize;
            let table = &leaf.histogram[self.bins.table(feature)];
            let found = match (self.is_level[feature], self.shape.random_limits) {
                (true, _) => finder.categories(table),
                (false, false) => finder.limits(table, None),
                (false, true) => finder.limits(table, Some(rng)),
            };
            if let Some((gain, split, left)) = found
                && gain > leaf.best.map_or(1e-9, |best| best.gain)
            {
                leaf.best = Some(Best { gain, feature, split, left });
            }
        }
    }
}
