//! Growing one tree of a boosted model, best leaf first, from histograms.

use fearless_simd::{Simd, dispatch};

use crate::encode::Bins;
use crate::find::{Finder, LANES};
use crate::gradients::Gradients;
use crate::math::level;
use crate::partition::partition;
use crate::rng::Rng;
use crate::tree::{Shape, Slot, Split, Tree};

/// Places that a histogram keeps for each feature: the fewest in which all bins
/// fit, since it then stays in the fastest cache.
const NARROWEST: usize = 16;
const NARROW: usize = 64;
const WIDE: usize = 256;
/// Most features of one tree. Of more, those that split all rows best are kept, up to
/// this many, and some of the others, for so many trees.
const MAX_FEATURES: usize = 200;
const BEST_FEATURES: usize = 150;
const FOCUSED_TREES: usize = 5;
/// Places of 8 bytes in all histograms of one model.
const MAX_PLACES: usize = 32_000_000;
/// Values in a leaf from which two threads are faster than one.
const PARALLEL: usize = 1 << 15;

/// What the grower knows of the data, the same for all trees.
pub(crate) struct Grower<'a> {
    /// Of the rows to learn from, and of those that are only told their leaf.
    bins: &'a Bins,
    others: &'a Bins,
    is_level: &'a [bool],
    shape: Shape,
    stride: usize,
}

/// Rows that a tree is grown on, and rows that are only told their leaf. Growing
/// sorts both by leaf.
#[derive(Default)]
pub(crate) struct Rows {
    pub(crate) learned: Vec<u32>,
    /// More of the rows of the same table.
    pub(crate) unseen: Vec<u32>,
    /// Rows of the other table.
    pub(crate) others: Vec<u32>,
}

/// Reusable memory of one thread.
#[derive(Default)]
pub(crate) struct Workspace {
    spare: Vec<Vec<i64>>,
    right: Vec<u32>,
    /// Of very many features, those at hand, and for how many trees they still are.
    focus: Vec<u32>,
    focused: usize,
}

/// Where each kind of [`Rows`] begins and ends in a leaf.
type Ranges = [(usize, usize); 3];

/// A grown tree and which rows fell into which leaf.
pub(crate) struct Grown {
    pub(crate) tree: Tree,
    leaves: Vec<(Ranges, f32)>,
}

struct Leaf {
    slot: Slot,
    ranges: Ranges,
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

/// How many rows a leaf has to learn from.
fn length(ranges: &Ranges) -> usize {
    ranges[0].1 - ranges[0].0
}

impl Grown {
    /// Adds the tree's answers to the scores of both tables.
    pub(crate) fn add_to(&self, rows: &Rows, scores: &mut [f32], others: &mut [f32]) {
        for &([learned, unseen, other], value) in &self.leaves {
            let known = &rows.learned[learned.0..learned.1];
            for &row in known.iter().chain(&rows.unseen[unseen.0..unseen.1]) {
                scores[row as usize] += value;
            }
            rows.others[other.0..other.1].iter().for_each(|&row| others[row as usize] += value);
        }
    }
}

impl<'a> Grower<'a> {
    /// For trees of which `outputs` grow at once.
    pub(crate) fn new(
        bins: &'a Bins,
        others: &'a Bins,
        is_level: &'a [bool],
        mut shape: Shape,
        outputs: usize,
    ) -> Self {
        let most = bins.counts.iter().copied().max().unwrap_or(0);
        let stride = match usize::from(most) {
            most if most <= NARROWEST => NARROWEST,
            most if most <= NARROW => NARROW,
            _ => WIDE,
        };
        // A leaf keeps a histogram while it is open: bound what all of them take.
        let leaves = MAX_PLACES / (stride * bins.width.max(1) * outputs);
        shape.leaves = shape.leaves.min(leaves.max(4));
        Self { bins, others, is_level, shape, stride }
    }

    /// Places of one histogram.
    fn places(&self) -> usize {
        self.bins.width * self.stride
    }

    /// Grows a tree on `rows` and adds each split's gain to `gains`. Leaf values
    /// are multiplied by `rate`.
    pub(crate) fn grow(
        &self,
        gradients: &Gradients,
        rows: &mut Rows,
        rate: f64,
        rng: &mut Rng,
        work: &mut Workspace,
        gains: &mut [f64],
    ) -> Grown {
        let all: Vec<u32> = (0..self.bins.width as u32).collect();
        let count =
            ((all.len() as f64 * self.shape.features).ceil() as usize).clamp(1, all.len().max(1));
        let mut tree = Tree::default();
        let total = rows.learned.iter().map(|&row| gradients.packed[row as usize]).sum();
        let mut histogram = work.spare.pop().unwrap_or_else(|| vec![0; self.places()]);
        let features = if count <= MAX_FEATURES {
            rng.sample(&all, count)
        } else {
            if work.focused == 0 {
                let drawn = rng.sample(&all, count);
                self.fill(&mut histogram, gradients, &rows.learned, &drawn);
                let finder = Finder::new(gradients, total, rows.learned.len() as f64, &self.shape);
                work.focus = self.focus(&finder, &histogram, drawn, rng);
                work.focused = FOCUSED_TREES;
            }
            work.focused -= 1;
            work.focus.clone()
        };
        self.fill(&mut histogram, gradients, &rows.learned, &features);
        let ranges = [&rows.learned, &rows.unseen, &rows.others].map(|rows| (0, rows.len()));
        let mut root = Leaf { slot: Slot::ROOT, ranges, depth: 0, total, histogram, best: None };
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
            let [left, right] = self.divide(&leaf, best, rows, work);
            let slots = tree.split(leaf.slot, best.feature, best.split);
            leaves += 1;
            // The smaller child is counted, the larger is what remains.
            let mut small = work.spare.pop().unwrap_or_else(|| vec![0; self.places()]);
            let mut large = leaf.histogram;
            let small_is_left = length(&left) <= length(&right);
            let (from, to) = if small_is_left { left[0] } else { right[0] };
            let depth = leaf.depth + 1;
            let done = leaves >= self.shape.leaves
                || ![left, right].iter().any(|side| self.may_split(side, depth));
            if !done {
                self.fill(&mut small, gradients, &rows.learned[from..to], &features);
                for &feature in &features {
                    let at = self.table(feature as usize);
                    let pairs = large[at.clone()].iter_mut().zip(&small[at]);
                    pairs.for_each(|(all, part)| *all -= part);
                }
            }
            let histograms = if small_is_left { [small, large] } else { [large, small] };
            let totals = [best.left, leaf.total - best.left];
            let sides = slots.into_iter().zip([left, right]).zip(totals).zip(histograms);
            for (((slot, ranges), total), histogram) in sides {
                let mut child = Leaf { slot, ranges, depth, total, histogram, best: None };
                if !done {
                    self.search(&mut child, gradients, &features, rng);
                }
                open.push(child);
            }
        }
        let mut leaves = Vec::with_capacity(open.len());
        for leaf in open {
            let (g, h) = gradients.sums(leaf.total);
            let value = (-rate * g / (h + self.shape.l2).max(1e-12)) as f32;
            tree.leaf(leaf.slot, value);
            leaves.push((leaf.ranges, value));
            work.spare.push(leaf.histogram);
        }
        Grown { tree, leaves }
    }

    /// Of many features, those that split best by `histogram`, and some others.
    fn focus(
        &self,
        finder: &Finder,
        histogram: &[i64],
        features: Vec<u32>,
        rng: &mut Rng,
    ) -> Vec<u32> {
        let gain = |feature: u32| {
            let table = &histogram[self.table(feature as usize)];
            let found = match self.is_level[feature as usize] {
                true => finder.categories(table),
                false => dispatch!(level(), simd => finder.limits(simd, table, 0.0)),
            };
            found.map_or(0.0, |(gain, _, _)| gain)
        };
        let mut ranked: Vec<(f64, u32)> =
            features.into_iter().map(|feature| (gain(feature), feature)).collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut kept: Vec<u32> = ranked.into_iter().map(|(_, feature)| feature).collect();
        let others = kept.split_off(BEST_FEATURES);
        kept.extend(rng.sample(&others, MAX_FEATURES - BEST_FEATURES));
        kept.sort_unstable();
        kept
    }

    /// The places of a feature that are used in a histogram.
    fn table(&self, feature: usize) -> std::ops::Range<usize> {
        let from = feature * self.stride;
        from..from + usize::from(self.bins.counts[feature]).next_multiple_of(LANES)
    }

    /// Sums the packed gradients of each bin of each feature.
    fn fill(&self, histogram: &mut [i64], gradients: &Gradients, rows: &[u32], features: &[u32]) {
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
            histogram[self.table(feature as usize)].fill(0);
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
        gradients: &Gradients,
        rows: &[u32],
        features: &[u32],
    ) {
        let (tables, _) = histogram.as_chunks_mut::<STRIDE>();
        let all = features.len() == self.bins.width;
        for &row in rows {
            let pair = gradients.packed[row as usize];
            let bins = self.bins.row(row as usize);
            if all {
                for (table, &bin) in tables.iter_mut().zip(bins) {
                    table[usize::from(bin) % STRIDE] += pair;
                }
            } else {
                for &feature in features {
                    let bin = bins[feature as usize];
                    tables[feature as usize][usize::from(bin) % STRIDE] += pair;
                }
            }
        }
    }

    /// Sorts the rows of a leaf into its children; returns where these lie.
    fn divide(
        &self,
        leaf: &Leaf,
        best: Best,
        rows: &mut Rows,
        work: &mut Workspace,
    ) -> [Ranges; 2] {
        let mut sides = [leaf.ranges; 2];
        let kinds = [
            (&mut rows.learned, self.bins),
            (&mut rows.unseen, self.bins),
            (&mut rows.others, self.others),
        ];
        for (kind, (rows, bins)) in kinds.into_iter().enumerate() {
            let (from, to) = leaf.ranges[kind];
            let rows = &mut rows[from..to];
            let middle = from + partition(rows, bins, best.feature, best.split, &mut work.right);
            sides[0][kind].1 = middle;
            sides[1][kind].0 = middle;
        }
        sides
    }

    /// Whether a leaf with these rows is large enough.
    fn may_split(&self, ranges: &Ranges, depth: usize) -> bool {
        depth < self.shape.depth && length(ranges) as f64 >= 2.0 * self.shape.min_rows
    }

    /// Finds the leaf's best split, if any split helps.
    fn search(&self, leaf: &mut Leaf, gradients: &Gradients, features: &[u32], rng: &mut Rng) {
        if !self.may_split(&leaf.ranges, leaf.depth) {
            return;
        }
        let rows = length(&leaf.ranges) as f64;
        let finder = Finder::new(gradients, leaf.total, rows, &self.shape);
        dispatch!(level(), simd => self.search_in(simd, &finder, leaf, features, rng));
    }

    #[inline(always)]
    fn search_in<S: Simd>(
        &self,
        simd: S,
        finder: &Finder,
        leaf: &mut Leaf,
        features: &[u32],
        rng: &mut Rng,
    ) {
        let mut least = 1e-9;
        for &feature in features {
            let feature = feature as usize;
            let table = &leaf.histogram[self.table(feature)];
            let found = match (self.is_level[feature], self.shape.random_limits) {
                (true, _) => finder.categories(table),
                (false, false) => finder.limits(simd, table, least),
                (false, true) => finder.random_limit(table, rng),
            };
            if let Some((gain, split, left)) = found
                && gain > least
            {
                least = gain;
                leaf.best = Some(Best { gain, feature, split, left });
            }
        }
    }
}
