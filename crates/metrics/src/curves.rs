//! The curves of scores beyond one label: ROC, calibration and lift of one class.
//!
//! All functions take a score for each row (a probability or any number that
//! grows with it) and whether the row truly is positive. Rows beyond the shorter
//! of the two slices are ignored; NaN scores sort below all others.

use serde::{Deserialize, Serialize};

/// One point of a ROC curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RocPoint {
    /// Rows scored at least this are called positive; the first point, where
    /// none is, carries the largest score.
    pub threshold: f64,
    /// Share of the negative rows called positive, 0 to 1.
    pub false_positive_rate: f64,
    /// Share of the positive rows called positive, 0 to 1.
    pub true_positive_rate: f64,
}

/// Rows of similar predicted probability, and how often they were positive.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CalibrationBin {
    /// Number of rows; never zero.
    pub rows: usize,
    /// Mean predicted probability, 0 to 1.
    pub predicted: f64,
    /// Share of rows that are positive, 0 to 1.
    pub observed: f64,
}

/// The rows of one slice, best scores first, against the whole.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LiftBin {
    /// Number of rows in this slice; never zero.
    pub rows: usize,
    /// Number of positive rows in this slice.
    pub positives: usize,
    /// Positive share of this slice over the positive share of all rows.
    pub lift: f64,
    /// Share of all positive rows found in this and earlier slices, 0 to 1.
    pub captured: f64,
}

/// Counts of (negatives, positives) for each distinct score, best score first.
fn steps(scores: &[f64], positive: &[bool]) -> Vec<(f64, usize, usize)> {
    let mut rows: Vec<(f64, bool)> = scores.iter().copied().zip(positive.iter().copied()).collect();
    for row in &mut rows {
        // Also folds -0 into 0, so that equal scores are equal below.
        row.0 = if row.0.is_nan() { f64::NEG_INFINITY } else { row.0 + 0.0 };
    }
    rows.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    let mut steps: Vec<(f64, usize, usize)> = Vec::new();
    for (score, is_positive) in rows {
        match steps.last_mut() {
            Some(last) if last.0 == score => {
                last.1 += usize::from(!is_positive);
                last.2 += usize::from(is_positive);
            }
            _ => steps.push((score, usize::from(!is_positive), usize::from(is_positive))),
        }
    }
    steps
}

/// Area under the ROC curve, exact: the chance that a random positive row
/// scores above a random negative one, a tie counting half. `None` without both.
pub fn auc(scores: &[f64], positive: &[bool]) -> Option<f64> {
    let (mut above, mut area2) = (0u128, 0u128);
    let (mut negatives, mut positives) = (0u128, 0u128);
    for (_, n, p) in steps(scores, positive) {
        let (n, p) = (n as u128, p as u128);
        area2 += n * (2 * above + p);
        above += p;
        negatives += n;
        positives += p;
    }
    let pairs2 = 2 * negatives * positives;
    (pairs2 > 0).then(|| area2 as f64 / pairs2 as f64)
}

/// The ROC curve from (0, 0) to (1, 1), thinned to at most `max_points` points
/// (at least 2). Empty unless both kinds of rows occur.
pub fn roc_curve(scores: &[f64], positive: &[bool], max_points: usize) -> Vec<RocPoint> {
    let steps = steps(scores, positive);
    let negatives: usize = steps.iter().map(|step| step.1).sum();
    let positives: usize = steps.iter().map(|step| step.2).sum();
    if negatives == 0 || positives == 0 {
        return Vec::new();
    }
    let mut points = Vec::with_capacity(steps.len() + 1);
    points.push(RocPoint {
        threshold: steps[0].0,
        false_positive_rate: 0.0,
        true_positive_rate: 0.0,
    });
    let (mut n, mut p) = (0, 0);
    for step in &steps {
        n += step.1;
        p += step.2;
        points.push(RocPoint {
            threshold: step.0,
            false_positive_rate: n as f64 / negatives as f64,
            true_positive_rate: p as f64 / positives as f64,
        });
    }
    let keep = max_points.max(2);
    if points.len() <= keep {
        return points;
    }
    let last = points.len() - 1;
    (0..keep).map(|i| points[i * last / (keep - 1)]).collect()
}

/// Slices rows by score into `slices` runs of (nearly) equal length.
fn slices(scores: &[f64], positive: &[bool], slices: usize) -> Vec<Vec<(f64, bool)>> {
    let mut rows: Vec<(f64, bool)> = scores.iter().copied().zip(positive.iter().copied()).collect();
    rows.sort_by(|a, b| b.0.total_cmp(&a.0));
    let count = slices.clamp(1, rows.len().max(1));
    (0..count)
        .map(|i| rows[i * rows.len() / count..(i + 1) * rows.len() / count].to_vec())
        .filter(|slice| !slice.is_empty())
        .collect()
}

/// Predicted against observed probability in at most `bins` bins of equal size,
/// lowest probability first.
pub fn calibration(probabilities: &[f64], positive: &[bool], bins: usize) -> Vec<CalibrationBin> {
    let mut bins: Vec<CalibrationBin> = slices(probabilities, positive, bins)
        .iter()
        .map(|slice| CalibrationBin {
            rows: slice.len(),
            predicted: slice.iter().map(|row| row.0).sum::<f64>() / slice.len() as f64,
            observed: slice.iter().filter(|row| row.1).count() as f64 / slice.len() as f64,
        })
        .collect();
    bins.reverse();
    bins
}

/// Lift and captured share in at most `bins` slices of equal size, best scores
/// first. Empty when no row is positive.
pub fn lift(scores: &[f64], positive: &[bool], bins: usize) -> Vec<LiftBin> {
    let slices = slices(scores, positive, bins);
    let rows: usize = slices.iter().map(Vec::len).sum();
    let total = slices.iter().flatten().filter(|row| row.1).count();
    if total == 0 {
        return Vec::new();
    }
    let mut captured = 0;
    slices
        .iter()
        .map(|slice| {
            let positives = slice.iter().filter(|row| row.1).count();
            captured += positives;
            LiftBin {
                rows: slice.len(),
                positives,
                lift: (positives as f64 / slice.len() as f64) / (total as f64 / rows as f64),
                captured: captured as f64 / total as f64,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn auc_counts_ties_half() {
        assert_eq!(auc(&[0.5, 0.5, 0.5], &[true, false, true]), Some(0.5));
        assert_eq!(auc(&[0.1, 0.4, 0.35, 0.8], &[false, false, true, true]), Some(0.75));
        assert_eq!(auc(&[0.0, -0.0], &[true, false]), Some(0.5));
    }

    #[test]
    fn one_class_has_no_auc_and_no_curve() {
        assert_eq!(auc(&[0.1, 0.2], &[true, true]), None);
        assert_eq!(auc(&[], &[]), None);
        assert!(roc_curve(&[0.1], &[true], 10).is_empty());
        assert!(lift(&[0.1], &[false], 10).is_empty());
    }

    #[test]
    fn lift_of_a_perfect_ranking() {
        let bins = lift(&[0.9, 0.8, 0.2, 0.1], &[true, true, false, false], 2);
        assert_eq!((bins[0].lift, bins[0].captured), (2.0, 1.0));
        assert_eq!(bins[1].positives, 0);
    }

    #[test]
    fn calibration_of_known_rows() {
        let bins = calibration(&[0.9, 0.1, 0.8, 0.3], &[true, false, false, true], 2);
        assert_eq!(bins.len(), 2);
        assert!((bins[0].predicted - 0.2).abs() < 1e-12 && bins[0].observed == 0.5);
        assert!((bins[1].predicted - 0.85).abs() < 1e-12 && bins[1].observed == 0.5);
        assert_eq!((bins[0].rows, bins[1].rows), (2, 2));
    }

    proptest! {
        #[test]
        fn shares_are_shares_and_nothing_is_counted_twice(rows in proptest::collection::vec((0.0..=1.0_f64, any::<bool>()), 1..80), n in 1usize..20) {
            let scores: Vec<f64> = rows.iter().map(|row| row.0).collect();
            let positive: Vec<bool> = rows.iter().map(|row| row.1).collect();
            let total = positive.iter().filter(|positive| **positive).count();
            for bin in calibration(&scores, &positive, n) {
                prop_assert!((0.0..=1.0 + 1e-12).contains(&bin.predicted) && (0.0..=1.0).contains(&bin.observed));
            }
            let bins = lift(&scores, &positive, n);
            prop_assert_eq!(bins.is_empty(), total == 0);
            prop_assert_eq!(bins.iter().map(|bin| bin.positives).sum::<usize>(), total);
            prop_assert!(bins.windows(2).all(|pair| pair[0].captured <= pair[1].captured));
            prop_assert!(bins.last().is_none_or(|last| last.captured == 1.0 && last.lift >= 0.0));
        }

        #[test]
        fn auc_is_the_share_of_pairs_in_order(rows in proptest::collection::vec((0u8..6, any::<bool>()), 0..60)) {
            let scores: Vec<f64> = rows.iter().map(|row| f64::from(row.0)).collect();
            let positive: Vec<bool> = rows.iter().map(|row| row.1).collect();
            let (mut won, mut pairs) = (0.0, 0.0);
            for a in rows.iter().filter(|row| row.1) {
                for b in rows.iter().filter(|row| !row.1) {
                    pairs += 1.0;
                    won += if a.0 > b.0 { 1.0 } else if a.0 == b.0 { 0.5 } else { 0.0 };
                }
            }
            let expected = (pairs > 0.0).then(|| won / pairs);
            prop_assert_eq!(auc(&scores, &positive).is_some(), expected.is_some());
            if let (Some(a), Some(b)) = (auc(&scores, &positive), expected) {
                prop_assert!((a - b).abs() < 1e-12);
            }
        }

        #[test]
        fn curves_stay_in_bounds(rows in proptest::collection::vec((any::<f64>(), any::<bool>()), 0..80), n in 0usize..20) {
            let scores: Vec<f64> = rows.iter().map(|row| row.0).collect();
            let positive: Vec<bool> = rows.iter().map(|row| row.1).collect();
            let roc = roc_curve(&scores, &positive, n);
            prop_assert!(roc.len() <= n.max(2));
            prop_assert!(roc.windows(2).all(|w| w[0].false_positive_rate <= w[1].false_positive_rate));
            if let Some(last) = roc.last() {
                prop_assert_eq!((last.false_positive_rate, last.true_positive_rate), (1.0, 1.0));
            }
            let counted: usize = calibration(&scores, &positive, n).iter().map(|bin| bin.rows).sum();
            prop_assert_eq!(counted, rows.len());
        }
    }
}
