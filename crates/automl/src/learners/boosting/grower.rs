//! Growing one tree of a boosted model, best leaf first, from histograms.

use fearless_simd::{Simd, dispatch};

use crate::features::binning::Bins;
use crate::learners::boosting::gradients::PackedGradients;
use crate::learners::boosting::histogram::Histograms;
use crate::learners::boosting::partition::partition;
use crate::learners::boosting::settings::TreeSettings;
use crate::learners::boosting::split_search::SplitSearch;
use crate::learners::boosting::tree::{Slot, Split, Tree};
use crate::rng::Rng;
use crate::simd::level;

/// Most features of one tree. Of more, those that split all rows best are kept, up to
/// this many, and some of the others, for so many trees.
const MAX_FEATURES: usize = 200;
const BEST_FEATURES: usize = 150;
const FOCUSED_TREES: usize = 5;
/// The data and settings of a tree's growth, the same for all trees.
pub(crate) struct Grower<'a> {
    /// Of the rows to learn from, and of those that are only told their leaf.
    bins: &'a Bins,
    others: &'a Bins,
    is_categorical: &'a [bool],
    settings: TreeSettings,
    histograms: Histograms<'a>,
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
pub(crate) struct Buffers {
    spare: Vec<Vec<i64>>,
    right: Vec<u32>,
    /// Of very many features, those at hand, and for how many trees they still are.
    focus: Vec<u32>,
    focused: usize,
}

/// The bounds of each kind of [`Rows`] in a leaf.
type Ranges = [(usize, usize); 3];

/// A grown tree and which rows fell into which leaf.
pub(crate) struct Grown {
    pub(crate) tree: Tree,
    leaves: Vec<(Ranges, f32)>,
    /// The feature and the gain of each split.
    pub(crate) gains: Vec<(usize, f64)>,
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

/// Counts the rows that a leaf has to learn from.
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
        is_categorical: &'a [bool],
        mut settings: TreeSettings,
        outputs: usize,
    ) -> Self {
        let histograms = Histograms::new(bins);
        settings.max_leaves = settings.max_leaves.min(histograms.max_leaves(outputs));
        Self { bins, others, is_categorical, settings, histograms }
    }

    /// Grows a tree on `rows`. Leaf values are multiplied by the learning rate.
    pub(crate) fn grow(
        &self,
        gradients: &PackedGradients,
        rows: &mut Rows,
        learning_rate: f64,
        rng: &mut Rng,
        buffers: &mut Buffers,
    ) -> Grown {
        let all: Vec<u32> = (0..self.bins.width as u32).collect();
        let count = ((all.len() as f64 * self.settings.feature_share).ceil() as usize)
            .clamp(1, all.len().max(1));
        let mut tree = Tree::default();
        let total = rows.learned.iter().map(|&row| gradients.packed[row as usize]).sum();
        let mut histogram = buffers.spare.pop().unwrap_or_else(|| self.histograms.empty());
        let features = if count <= MAX_FEATURES {
            rng.sample(&all, count)
        } else {
            if buffers.focused == 0 {
                let drawn = rng.sample(&all, count);
                self.histograms.fill(&mut histogram, gradients, &rows.learned, &drawn);
                let search =
                    SplitSearch::new(gradients, total, rows.learned.len() as f64, &self.settings);
                buffers.focus = self.focus(&search, &histogram, drawn, rng);
                buffers.focused = FOCUSED_TREES;
            }
            buffers.focused -= 1;
            buffers.focus.clone()
        };
        self.histograms.fill(&mut histogram, gradients, &rows.learned, &features);
        let ranges = [&rows.learned, &rows.unseen, &rows.others].map(|rows| (0, rows.len()));
        let mut root = Leaf { slot: Slot::ROOT, ranges, depth: 0, total, histogram, best: None };
        self.find_split(&mut root, gradients, &features, rng);
        let mut open = vec![root];
        let (mut leaves, mut gains) = (1, Vec::new());
        while leaves < self.settings.max_leaves && tree.has_room() {
            let gain = |leaf: &Leaf| leaf.best.map_or(0.0, |best| best.gain);
            let Some(at) = (0..open.len())
                .max_by(|&a, &b| gain(&open[a]).total_cmp(&gain(&open[b])).then(b.cmp(&a)))
            else {
                break;
            };
            let Some(best) = open[at].best else { break };
            let leaf = open.swap_remove(at);
            gains.push((best.feature, best.gain));
            let [left, right] = self.divide(&leaf, best, rows, buffers);
            let slots = tree.split(leaf.slot, best.feature, best.split);
            leaves += 1;
            // The smaller child is counted, the larger is what remains.
            let mut small = buffers.spare.pop().unwrap_or_else(|| self.histograms.empty());
            let mut large = leaf.histogram;
            let small_is_left = length(&left) <= length(&right);
            let (from, to) = if small_is_left { left[0] } else { right[0] };
            let depth = leaf.depth + 1;
            let done = leaves >= self.settings.max_leaves
                || ![left, right].iter().any(|side| self.may_split(side, depth));
            if !done {
                self.histograms.fill(&mut small, gradients, &rows.learned[from..to], &features);
                self.histograms.subtract(&mut large, &small, &features);
            }
            let histograms = if small_is_left { [small, large] } else { [large, small] };
            let totals = [best.left, leaf.total - best.left];
            let sides = slots.into_iter().zip([left, right]).zip(totals).zip(histograms);
            for (((slot, ranges), total), histogram) in sides {
                let mut child = Leaf { slot, ranges, depth, total, histogram, best: None };
                if !done {
                    self.find_split(&mut child, gradients, &features, rng);
                }
                open.push(child);
            }
        }
        let mut leaves = Vec::with_capacity(open.len());
        for leaf in open {
            let (g, h) = gradients.sums(leaf.total);
            let value = (-learning_rate * g / (h + self.settings.l2).max(1e-12)) as f32;
            tree.leaf(leaf.slot, value);
            leaves.push((leaf.ranges, value));
            buffers.spare.push(leaf.histogram);
        }
        Grown { tree, leaves, gains }
    }

    /// Of many features, those that split best by `histogram`, and some others.
    fn focus(
        &self,
        search: &SplitSearch,
        histogram: &[i64],
        features: Vec<u32>,
        rng: &mut Rng,
    ) -> Vec<u32> {
        let gain = |feature: u32| {
            let bins = &histogram[self.histograms.range(feature as usize)];
            let found = match self.is_categorical[feature as usize] {
                true => search.best_categories(bins),
                false => dispatch!(level(), simd => search.best_threshold(simd, bins, 0.0)),
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

    /// Sorts the rows of a leaf into its children; returns where these lie.
    fn divide(
        &self,
        leaf: &Leaf,
        best: Best,
        rows: &mut Rows,
        buffers: &mut Buffers,
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
            let middle = from + partition(rows, bins, best.feature, best.split, &mut buffers.right);
            sides[0][kind].1 = middle;
            sides[1][kind].0 = middle;
        }
        sides
    }

    /// Tells whether a leaf with these rows is large enough.
    fn may_split(&self, ranges: &Ranges, depth: usize) -> bool {
        depth < self.settings.max_depth && length(ranges) as f64 >= 2.0 * self.settings.min_rows
    }

    /// Finds the leaf's best split, if any split helps.
    fn find_split(
        &self,
        leaf: &mut Leaf,
        gradients: &PackedGradients,
        features: &[u32],
        rng: &mut Rng,
    ) {
        if !self.may_split(&leaf.ranges, leaf.depth) {
            return;
        }
        let rows = length(&leaf.ranges) as f64;
        let search = SplitSearch::new(gradients, leaf.total, rows, &self.settings);
        dispatch!(level(), simd => self.find_split_in(simd, &search, leaf, features, rng));
    }

    #[inline(always)]
    fn find_split_in<S: Simd>(
        &self,
        simd: S,
        search: &SplitSearch,
        leaf: &mut Leaf,
        features: &[u32],
        rng: &mut Rng,
    ) {
        let mut least = 1e-9;
        for &feature in features {
            let feature = feature as usize;
            let bins = &leaf.histogram[self.histograms.range(feature)];
            let found = match (self.is_categorical[feature], self.settings.random_thresholds) {
                (true, _) => search.best_categories(bins),
                (false, false) => search.best_threshold(simd, bins, least),
                (false, true) => search.random_threshold(bins, rng),
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
