//! Growing one deep tree of a forest, node by node.

use std::borrow::Cow;

use crate::dataset::Data;
use crate::extra::{Lines, RandomSearch};
use crate::rng::Rng;
use crate::target::Target;
use crate::tree::{Best, Slot, Split, Tree};

const MAX_DEPTH: usize = 60;

/// What all trees of a forest have in common.
pub(crate) struct Plan<'a> {
    pub(crate) data: &'a Data<'a>,
    /// Features tried at each node.
    pub(crate) tried: usize,
    /// For one random limit for each feature instead of the best: the rows by all
    /// features, unless each tree makes its own.
    pub(crate) extra: bool,
    pub(crate) lines: Option<Lines>,
    /// Of very many features: all, the most telling first, and how many a tree sees.
    pub(crate) ranked: Option<(Vec<u32>, usize)>,
    /// Fewest rows of a leaf.
    pub(crate) min_rows: usize,
}

/// Rows of one bin: their number, weight and sum.
#[derive(Clone, Copy, Default)]
struct Cell {
    rows: u32,
    weight: f32,
    sum: f32,
}

/// Grows one tree; its buffers are used again at every node.
pub(crate) struct Grower<'a> {
    plan: &'a Plan<'a>,
    rng: Rng,
    /// All features, or the places of those that a random tree sees.
    features: Vec<u32>,
    gains: Vec<f64>,
    /// Of the rows of the node at hand: weight, weighted number to split by, bin.
    weights: Vec<f32>,
    values: Vec<f32>,
    bins: Vec<u8>,
    cells: Vec<Cell>,
    order: Vec<u8>,
    /// For three and more labels: (label, weight) of the node's rows by bin.
    sorted: Vec<(u32, f32)>,
    starts: [u32; 256],
    /// A random number for each label, to put categories in an order.
    codes: Vec<f32>,
    left: Vec<f64>,
    right: Vec<f64>,
    random: Option<RandomSearch<'a>>,
}

impl<'a> Grower<'a> {
    pub(crate) fn new(plan: &'a Plan<'a>, mut rng: Rng) -> Self {
        let classes = plan.data.target.classes();
        let several = if classes > 2 { classes } else { 0 };
        let seen = match &plan.ranked {
            None => (0..plan.data.bins.width as u32).collect(),
            // Half of them are the most telling, the others differ from tree to tree.
            Some((ranked, count)) => {
                let (best, others) = ranked.split_at(count / 2);
                [best, &rng.sample(others, count - best.len())].concat()
            }
        };
        let lines = plan.extra.then(|| match &plan.lines {
            Some(lines) => Cow::Borrowed(lines),
            None => Cow::Owned(Lines::of(plan.data.bins, seen.clone())),
        });
        Self {
            plan,
            features: match &lines {
                Some(lines) => (0..lines.width() as u32).collect(),
                None => seen,
            },
            gains: vec![0.0; plan.data.bins.width],
            weights: Vec::new(),
            values: Vec::new(),
            bins: Vec::new(),
            cells: vec![Cell::default(); 256],
            order: Vec::new(),
            sorted: Vec::new(),
            starts: [0; 256],
            codes: (0..several).map(|_| rng.unit() as f32).collect(),
            left: vec![0.0; several],
            right: vec![0.0; several],
            random: lines
                .map(|lines| RandomSearch::new(lines, plan.data, plan.tried, plan.min_rows)),
            rng,
        }
    }

    /// Grows a tree on `rows`; returns the gain of each feature as well.
    pub(crate) fn grow(mut self, mut rows: Vec<u32>) -> (Tree, Vec<f64>) {
        let mut tree = Tree::new(self.plan.data.target.outputs());
        let mut open = vec![(Slot::ROOT, 0, rows.len(), 0)];
        let mut spare = Vec::new();
        while let Some((slot, from, to, depth)) = open.pop() {
            let node = &mut rows[from..to];
            let may_split =
                node.len() >= 2 * self.plan.min_rows && depth < MAX_DEPTH && tree.has_room();
            let Some(best) = may_split.then(|| self.search(node)).flatten() else {
                tree.leaf(slot, &self.leaf(node));
                continue;
            };
            self.gains[best.feature] += best.gain;
            let bins = self.plan.data.bins;
            spare.clear();
            let mut kept = 0;
            for at in 0..node.len() {
                let row = node[at];
                if best.split.is_left(bins.bytes[row as usize * bins.width + best.feature]) {
                    node[kept] = row;
                    kept += 1;
                } else {
                    spare.push(row);
                }
            }
            node[kept..].copy_from_slice(&spare);
            let [left, right] = tree.split(slot, best.feature, best.split);
            open.push((right, from + kept, to, depth + 1));
            open.push((left, from, from + kept, depth + 1));
        }
        (tree, self.gains)
    }

    /// The mean of a node's rows.
    fn leaf(&self, rows: &[u32]) -> Vec<f32> {
        let data = self.plan.data;
        let mut sums = vec![0.0; data.target.outputs()];
        let mut total = 0.0;
        for &row in rows {
            let weight = data.weight(row);
            total += weight;
            match data.target {
                Target::Class { labels, count } if *count > 2 => {
                    sums[labels[row as usize] as usize] += weight
                }
                target => sums[0] += weight * target.output(row as usize, 0),
            }
        }
        let share = if total > 0.0 { 1.0 / total } else { 0.0 };
        sums.iter().map(|sum| (sum * share) as f32).collect()
    }

    /// The best split over some random features that differ within the node.
    fn search(&mut self, rows: &[u32]) -> Option<Best> {
        if self.is_pure(rows) {
            return None;
        }
        self.gather(rows);
        if let Some(random) = &mut self.random {
            let (weights, values) = (&self.weights, &self.values);
            return random.search(rows, weights, values, &mut self.features, &mut self.rng);
        }
        let mut best: Option<Best> = None;
        let (mut tried, mut next) = (0, 0);
        while tried < self.plan.tried && next < self.features.len() {
            let other = next + self.rng.below(self.features.len() - next);
            self.features.swap(next, other);
            let feature = self.features[next] as usize;
            next += 1;
            if let Some(found) = self.try_feature(rows, feature) {
                tried += 1;
                if let Some((gain, split)) = found
                    && gain > best.as_ref().map_or(1e-9, |best| best.gain)
                {
                    best = Some(Best { gain, feature, split });
                }
            }
        }
        best
    }

    fn is_pure(&self, rows: &[u32]) -> bool {
        let same = |a: u32, b: u32| match self.plan.data.target {
            Target::Class { labels, .. } => labels[a as usize] == labels[b as usize],
            Target::Value(values) => values[a as usize] == values[b as usize],
        };
        rows.windows(2).all(|pair| same(pair[0], pair[1]))
    }

    /// Brings together what every feature of a node needs.
    fn gather(&mut self, rows: &[u32]) {
        let data = self.plan.data;
        self.weights.clear();
        self.weights.extend(rows.iter().map(|&row| data.weight(row) as f32));
        let value = |&row: &u32| match data.target {
            Target::Class { labels, count: 2 } => labels[row as usize] as f32,
            Target::Class { labels, .. } => self.codes[labels[row as usize] as usize],
            Target::Value(values) => values[row as usize] as f32,
        };
        self.values.clear();
        self.values.extend(
            rows.iter().map(value).zip(&self.weights).map(|(value, weight)| value * weight),
        );
    }

    /// `None` when the feature is constant here; `Some(None)` when no split of
    /// it leaves enough rows on both sides.
    fn try_feature(&mut self, rows: &[u32], feature: usize) -> Option<Option<(f64, Split)>> {
        let data = self.plan.data;
        self.bins.clear();
        self.bins.extend(
            rows.iter().map(|&row| data.bins.bytes[row as usize * data.bins.width + feature]),
        );
        let (least, most) = self
            .bins
            .iter()
            .fold((u8::MAX, 0), |(least, most), &bin| (least.min(bin), most.max(bin)));
        if least >= most {
            return None;
        }
        let is_level = data.is_level[feature];
        let mut used = [0u64; 4];
        for ((&bin, &weight), &value) in self.bins.iter().zip(&self.weights).zip(&self.values) {
            used[usize::from(bin >> 6)] |= 1 << (bin & 63);
            let cell = &mut self.cells[usize::from(bin)];
            cell.rows += 1;
            cell.weight += weight;
            cell.sum += value;
        }
        self.order.clear();
        for (word, mut bits) in used.into_iter().enumerate() {
            while bits != 0 {
                self.order.push((word * 64) as u8 + bits.trailing_zeros() as u8);
                bits &= bits - 1;
            }
        }
        if is_level {
            let mean = |bin: u8| {
                let cell = self.cells[usize::from(bin)];
                cell.sum / cell.weight.max(1e-12)
            };
            self.order.sort_by(|&a, &b| mean(a).total_cmp(&mean(b)));
        }
        let best = match self.codes.is_empty() {
            true => self.scan_values(rows.len()),
            false => self.scan_labels(rows),
        };
        let found = best.map(|(gain, position)| (gain, self.split(position, is_level)));
        self.order.iter().for_each(|&bin| self.cells[usize::from(bin)] = Cell::default());
        Some(found)
    }

    fn split(&self, position: usize, is_level: bool) -> Split {
        if !is_level {
            // Missing values are bin 0 and so lie to the left.
            return Split::Below { limit: self.order[position], missing_left: true };
        }
        let mut set = [0u64; 4];
        self.order[..=position]
            .iter()
            .for_each(|&bin| set[usize::from(bin >> 6)] |= 1 << (bin & 63));
        Split::Among(set)
    }

    /// Best position in `order` to cut after, by variance.
    fn scan_values(&self, rows: usize) -> Option<(f64, usize)> {
        let cells = self.order.iter().map(|&bin| self.cells[usize::from(bin)]);
        let (total, sum) = cells.clone().fold((0.0, 0.0), |all, cell| {
            (all.0 + f64::from(cell.weight), all.1 + f64::from(cell.sum))
        });
        let parent = sum * sum / total.max(1e-12);
        let (mut count, mut weight, mut part) = (0, 0.0, 0.0);
        let mut best = None;
        for (position, cell) in cells.enumerate().take(self.order.len() - 1) {
            count += cell.rows as usize;
            weight += f64::from(cell.weight);
            part += f64::from(cell.sum);
            if count < self.plan.min_rows || rows - count < self.plan.min_rows {
                continue;
            }
            let rest = sum - part;
            let gain = part * part / weight.max(1e-12) + rest * rest / (total - weight).max(1e-12)
                - parent;
            if best.is_none_or(|(most, _)| gain > most) {
                best = Some((gain, position));
            }
        }
        best
    }

    /// Best position in `order` to cut after, by Gini impurity. Rows are put in
    /// order of their bins, so that the cost does not grow with the labels.
    fn scan_labels(&mut self, rows: &[u32]) -> Option<(f64, usize)> {
        let Target::Class { labels, .. } = self.plan.data.target else {
            return None;
        };
        let mut start = 0;
        for &bin in &self.order {
            self.starts[usize::from(bin)] = start;
            start += self.cells[usize::from(bin)].rows;
        }
        self.sorted.resize(rows.len(), (0, 0.0));
        self.left.fill(0.0);
        self.right.fill(0.0);
        let mut total = 0.0;
        for ((&row, &bin), &weight) in rows.iter().zip(&self.bins).zip(&self.weights) {
            let at = &mut self.starts[usize::from(bin)];
            let label = labels[row as usize];
            self.sorted[*at as usize] = (label, weight);
            self.right[label as usize] += f64::from(weight);
            total += f64::from(weight);
            *at += 1;
        }
        let mut right_square: f64 = self.right.iter().map(|sum| sum * sum).sum();
        let parent = right_square / total.max(1e-12);
        let (mut left_square, mut weight, mut at) = (0.0, 0.0, 0);
        let mut best = None;
        for (position, &bin) in self.order.iter().enumerate().take(self.order.len() - 1) {
            let end = at + self.cells[usize::from(bin)].rows as usize;
            for &(label, w) in &self.sorted[at..end] {
                let w = f64::from(w);
                let (left, right) =
                    (&mut self.left[label as usize], &mut self.right[label as usize]);
                left_square += w * (2.0 * *left + w);
                right_square -= w * (2.0 * *right - w);
                *left += w;
                *right -= w;
                weight += w;
            }
            at = end;
            if at < self.plan.min_rows || rows.len() - at < self.plan.min_rows {
                continue;
            }
            let gain = left_square / weight.max(1e-12) + right_square / (total - weight).max(1e-12)
                - parent;
            if best.is_none_or(|(most, _)| gain > most) {
                best = Some((gain, position));
            }
        }
        best
    }
}
