//! The best of some random splits of one node of an extremely randomised tree.
//! A row's features lie side by side and are compared with all limits at once.

use std::borrow::Cow;

use fearless_simd::{Simd, dispatch};

use crate::dataset::Data;
use crate::encode::Bins;
use crate::math::level;
use crate::rng::Rng;
use crate::target::Target;
use crate::tree::Best;
use crate::tree::Split;

/// Features that are compared at once; rows are padded to a multiple of it.
const LANES: usize = 8;

/// The bins of all rows, of all features or of some, padded.
#[derive(Clone)]
pub(crate) struct Lines {
    stride: usize,
    bytes: Vec<u8>,
    /// Which feature stands at each place.
    features: Vec<u32>,
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
        Self { stride, bytes, features: (0..bins.width as u32).collect() }
    }

    /// Of some features only.
    pub(crate) fn of(bins: &Bins, features: Vec<u32>) -> Self {
        let stride = features.len().next_multiple_of(LANES).max(LANES);
        let rows = bins.bytes.len() / bins.width.max(1);
        let mut bytes = vec![0; rows * stride];
        for (to, from) in
            bytes.chunks_exact_mut(stride).zip(bins.bytes.chunks_exact(bins.width.max(1)))
        {
            to.iter_mut().zip(&features).for_each(|(to, &feature)| *to = from[feature as usize]);
        }
        Self { stride, bytes, features }
    }

    /// How many features there are.
    pub(crate) fn width(&self) -> usize {
        self.features.len()
    }

    fn row(&self, row: u32) -> &[u8] {
        &self.bytes[row as usize * self.stride..][..self.stride]
    }

    /// The least and the largest bin of each feature in some rows.
    fn span(&self, rows: &[u32], least: &mut [u8], most: &mut [u8]) {
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
    fn sums(&self, rows: &[u32], limits: &[u8], numbers: [&[f32]; 2], sums: [&mut [f32]; 2]) {
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
    fn label_sums(
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

/// Searches node after node with the same memory.
pub(crate) struct RandomSearch<'a> {
    lines: Cow<'a, Lines>,
    data: &'a Data<'a>,
    /// Features tried at each node.
    tried: usize,
    /// Fewest rows of a leaf; here they count by weight.
    min_rows: f64,
    /// Of each feature: its bins in the node, its limit, and what lies below that.
    least: Vec<u8>,
    most: Vec<u8>,
    limits: Vec<u8>,
    weights: Vec<f32>,
    values: Vec<f32>,
    /// Features with a limit.
    drawn: Vec<usize>,
    labels: Labels,
}

/// For three and more labels: the weight of each, in the node and below limits.
#[derive(Default)]
struct Labels {
    of_rows: Vec<u32>,
    /// The labels that occur, once each.
    present: Vec<u32>,
    below: Vec<f32>,
    left: Vec<f64>,
    all: Vec<f64>,
}

impl<'a> RandomSearch<'a> {
    pub(crate) fn new(
        lines: Cow<'a, Lines>,
        data: &'a Data<'a>,
        tried: usize,
        min_rows: usize,
    ) -> Self {
        let several = if data.target.classes() > 2 { data.target.classes() } else { 0 };
        let labels = Labels {
            below: vec![0.0; several * lines.stride],
            left: vec![0.0; several],
            all: vec![0.0; several],
            ..Labels::default()
        };
        Self {
            data,
            tried,
            min_rows: min_rows as f64,
            least: vec![0; lines.stride],
            most: vec![0; lines.stride],
            limits: vec![0; lines.stride],
            weights: vec![0.0; lines.stride],
            values: vec![0.0; lines.stride],
            lines,
            drawn: Vec::new(),
            labels,
        }
    }

    /// The best of one random split of each of some features that differ within `rows`,
    /// drawn from `places` of the lines. `values` are weighted numbers to split by.
    pub(crate) fn search(
        &mut self,
        rows: &[u32],
        weights: &[f32],
        values: &[f32],
        places: &mut [u32],
        rng: &mut Rng,
    ) -> Option<Best> {
        let best = self.search_places(rows, weights, values, places, rng)?;
        Some(Best { feature: self.lines.features[best.feature] as usize, ..best })
    }

    fn search_places(
        &mut self,
        rows: &[u32],
        weights: &[f32],
        values: &[f32],
        features: &mut [u32],
        rng: &mut Rng,
    ) -> Option<Best> {
        self.lines.span(rows, &mut self.least, &mut self.most);
        self.limits.fill(0);
        self.drawn.clear();
        self.labels.read(self.data.target, rows, weights);
        let mut best: Option<Best> = None;
        let mut offer = |gain: Option<f64>, feature: usize, split: Split| {
            if let Some(gain) = gain
                && gain > best.as_ref().map_or(1e-9, |best| best.gain)
            {
                best = Some(Best { gain, feature, split });
            }
        };
        let (mut tried, mut next) = (0, 0);
        while tried < self.tried && next < features.len() {
            let other = next + rng.below(features.len() - next);
            features.swap(next, other);
            let feature = features[next] as usize;
            next += 1;
            let (least, most) = (self.least[feature], self.most[feature]);
            if least >= most {
                continue;
            }
            tried += 1;
            if self.data.is_level[self.lines.features[feature] as usize] {
                let split = Split::Among([(); 4].map(|()| rng.next()));
                offer(self.gain_among(rows, weights, values, feature, split), feature, split);
            } else {
                self.limits[feature] = least + rng.below(usize::from(most - least)) as u8;
                self.drawn.push(feature);
            }
        }
        if self.drawn.is_empty() {
            return best;
        }
        let Self { lines, limits, labels, .. } = self;
        let several = !labels.all.is_empty();
        if several {
            lines.label_sums(rows, limits, &labels.of_rows, weights, &mut labels.below);
        } else {
            let sums = [&mut *self.weights, &mut *self.values];
            lines.sums(rows, limits, [weights, values], sums);
        }
        let totals = [weights, values].map(sum);
        for &feature in &self.drawn {
            let gain = if several {
                let Labels { present, below, left, .. } = &mut self.labels;
                for &label in &*present {
                    let at = label as usize * self.lines.stride + feature;
                    left[label as usize] = f64::from(below[at]);
                }
                self.labels.gain(self.min_rows)
            } else {
                let left = [self.weights[feature], self.values[feature]].map(f64::from);
                gain(left, totals, self.min_rows)
            };
            let split = Split::Below { limit: self.limits[feature], missing_left: true };
            offer(gain, feature, split);
        }
        best
    }

    /// What a split of a category brings.
    fn gain_among(
        &mut self,
        rows: &[u32],
        weights: &[f32],
        values: &[f32],
        feature: usize,
        split: Split,
    ) -> Option<f64> {
        let is_left = |row: u32| split.is_left(self.lines.row(row)[feature]);
        if !self.labels.all.is_empty() {
            let Labels { of_rows, present, left, .. } = &mut self.labels;
            present.iter().for_each(|label| left[*label as usize] = 0.0);
            for ((&row, &label), &weight) in rows.iter().zip(&*of_rows).zip(weights) {
                left[label as usize] += if is_left(row) { f64::from(weight) } else { 0.0 };
            }
            return self.labels.gain(self.min_rows);
        }
        let mut left = [0.0, 0.0];
        for ((&row, &weight), &value) in rows.iter().zip(weights).zip(values) {
            if is_left(row) {
                left[0] += f64::from(weight);
                left[1] += f64::from(value);
            }
        }
        gain(left, [weights, values].map(sum), self.min_rows)
    }
}

impl Labels {
    /// Notes the labels of a node's rows, if there are three and more.
    fn read(&mut self, target: &Target, rows: &[u32], weights: &[f32]) {
        let Target::Class { labels, .. } = target else { return };
        if self.all.is_empty() {
            return;
        }
        self.present.drain(..).for_each(|label| self.all[label as usize] = 0.0);
        self.of_rows.clear();
        self.of_rows.extend(rows.iter().map(|&row| labels[row as usize]));
        for (&label, &weight) in self.of_rows.iter().zip(weights) {
            let all = &mut self.all[label as usize];
            if *all == 0.0 {
                self.present.push(label);
            }
            // A row without weight still makes its label present, and only once.
            *all += f64::from(weight).max(f64::MIN_POSITIVE);
        }
    }

    /// How much the Gini impurity falls.
    fn gain(&self, min_rows: f64) -> Option<f64> {
        let (mut squares, mut weight, mut total) = ([0.0; 3], 0.0, 0.0);
        for &label in &self.present {
            let (left, all) = (self.left[label as usize], self.all[label as usize]);
            squares[0] += left * left;
            squares[1] += (all - left) * (all - left);
            squares[2] += all * all;
            weight += left;
            total += all;
        }
        let rest = total - weight;
        (weight >= min_rows && rest >= min_rows).then(|| {
            squares[0] / weight.max(1e-12) + squares[1] / rest.max(1e-12)
                - squares[2] / total.max(1e-12)
        })
    }
}

fn sum(numbers: &[f32]) -> f64 {
    numbers.iter().map(|number| f64::from(*number)).sum()
}

/// How much the variance falls, from the weight and the sum of what goes left
/// and of all.
fn gain([weight, part]: [f64; 2], [total, all]: [f64; 2], min_rows: f64) -> Option<f64> {
    let (rest, other) = (total - weight, all - part);
    (weight >= min_rows && rest >= min_rows).then(|| {
        part * part / weight.max(1e-12) + other * other / rest.max(1e-12)
            - all * all / total.max(1e-12)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_among_some_features_names_the_feature() {
        // Only the ninth of twelve features differs, and tells the target.
        let bytes = (0..40 * 12u32).map(|at| u8::from(at % 12 == 8 && at / 12 % 2 == 0)).collect();
        let bins = Bins { width: 12, bytes, counts: vec![2; 12] };
        let target = Target::Value((0..40).map(|row| f64::from(row % 2)).collect());
        let data = Data {
            bins: &bins,
            is_level: &[false; 12],
            columns: &[],
            extra: &[],
            target: &target,
            weights: None,
        };
        let lines = Lines::of(&bins, vec![11, 3, 8]);
        assert_eq!(lines.width(), 3);
        let rows: Vec<u32> = (0..40).collect();
        let values: Vec<f32> = rows.iter().map(|row| (row % 2) as f32).collect();
        let mut search = RandomSearch::new(Cow::Owned(lines), &data, 3, 1);
        let places = &mut [0, 1, 2];
        let best = search.search(&rows, &[1.0; 40], &values, places, &mut Rng::new(1, 1));
        assert!(best.is_some_and(|best| best.feature == 8 && best.gain > 9.0));
    }

    #[test]
    fn sums_below_limits_are_those_of_single_rows() {
        // Ten features, so that there is padding.
        let bytes: Vec<u8> = (0..50 * 10u32).map(|at| (at * 37 % 251) as u8).collect();
        let bins = Bins { width: 10, bytes, counts: vec![256; 10] };
        let lines = Lines::new(&bins);
        let rows: Vec<u32> = (0..50).filter(|row| row % 3 != 0).collect();
        let limits: Vec<u8> = (0..lines.stride as u8).map(|feature| 20 * feature).collect();
        let number = |row: &u32| (row % 7) as f32;
        let (a, b): (Vec<f32>, Vec<f32>) = rows.iter().map(|row| (number(row), 1.0)).unzip();
        let (mut least, mut most) = (vec![0; lines.stride], vec![0; lines.stride]);
        lines.span(&rows, &mut least, &mut most);
        let (mut a_sums, mut b_sums) = (vec![9.0; lines.stride], vec![9.0; lines.stride]);
        lines.sums(&rows, &limits, [&a, &b], [&mut a_sums, &mut b_sums]);
        let labels: Vec<u32> = rows.iter().map(|row| row % 2).collect();
        let mut by_label = vec![9.0; 2 * lines.stride];
        lines.label_sums(&rows, &limits, &labels, &a, &mut by_label);
        for feature in 0..10 {
            let bin = |row: &&u32| bins.row(**row as usize)[feature];
            let below = || rows.iter().filter(|row| bin(row) <= limits[feature]);
            assert_eq!(a_sums[feature], below().map(number).sum::<f32>());
            assert_eq!(b_sums[feature], below().count() as f32);
            for label in 0..2 {
                let wanted: f32 = below().filter(|row| **row % 2 == label).map(number).sum();
                assert_eq!(by_label[label as usize * lines.stride + feature], wanted);
            }
            let bins = || rows.iter().map(|row| bin(&row));
            assert_eq!((bins().min(), bins().max()), (Some(least[feature]), Some(most[feature])));
        }
    }
}
