//! Temperature scaling: means of models say too rarely that they are sure, long boosting
//! too often. One number, learned from held-out rows, puts that right and leaves the
//! order of the answers as it is.
//!
//! The number is the inverse temperature, since probabilities are raised to it.

use crate::table::target::Target;

/// Probabilities closer to 0 than this count as this.
const MIN_PROBABILITY: f64 = 1e-6;
/// Numbers that are looked at; the rest say the same.
const MAX_NUMBERS: usize = 400_000;
/// The number of rows that the belief is worth that no change is needed.
const PRIOR_ROWS: f64 = 5.0;
/// The held-out loss has to fall by this share.
const WORTHWHILE: f64 = 0.002;
/// Most that the logarithm of the number may be, up or down.
const MAX_CHANGE: f64 = 1.1;

/// Raises probabilities to the inverse temperature and lets them add up to 1 again.
/// `outputs` is one row: the probability of the second of two labels, or one for each label.
pub(crate) fn scale(outputs: &mut [f64], inverse_temperature: f64) {
    if inverse_temperature == 1.0 {
        return;
    }
    if let [positive] = outputs {
        let p = positive.clamp(MIN_PROBABILITY, 1.0 - MIN_PROBABILITY);
        *positive = 1.0 / (1.0 + ((1.0 - p) / p).powf(inverse_temperature));
        return;
    }
    outputs.iter_mut().for_each(|p| *p = p.max(MIN_PROBABILITY).powf(inverse_temperature));
    let sum: f64 = outputs.iter().sum();
    outputs.iter_mut().for_each(|p| *p /= sum);
}

/// Finds the inverse temperature that gives held-out `outputs` the least log loss; 1
/// where there is nothing to gain, and for values.
pub(crate) fn fit(outputs: &[f32], rows: &[u32], target: &Target, weights: Option<&[f32]>) -> f64 {
    let Target::Class { labels, .. } = target else {
        return 1.0;
    };
    let width = target.outputs();
    let step = (rows.len() * width).div_ceil(MAX_NUMBERS).max(1);
    let log = |p: f64| p.max(MIN_PROBABILITY).ln();
    // A row's weight and the logarithms of its probabilities, its own label's first.
    let logs: Vec<(f64, Vec<f64>)> = rows
        .iter()
        .zip(outputs.chunks_exact(width))
        .step_by(step)
        .map(|(&row, outputs)| {
            let label = labels[row as usize] as usize;
            let mut logs: Vec<f64> = match *outputs {
                [positive] => vec![log(1.0 - f64::from(positive)), log(f64::from(positive))],
                _ => outputs.iter().map(|p| log(f64::from(*p))).collect(),
            };
            logs.swap(0, label);
            (weights.map_or(1.0, |weights| f64::from(weights[row as usize])), logs)
        })
        .collect();
    let loss = |change: f64| {
        let inverse_temperature = change.exp();
        let row = |(weight, logs): &(f64, Vec<f64>)| {
            let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = logs.iter().map(|log| (inverse_temperature * (log - top)).exp()).sum();
            weight * (sum.ln() - inverse_temperature * (logs[0] - top))
        };
        logs.iter().map(row).sum::<f64>() + PRIOR_ROWS * change * change
    };
    // The loss has one valley; each round leaves 62 % of where it may be.
    let (mut low, mut high) = (-MAX_CHANGE, MAX_CHANGE);
    for _ in 0..16 {
        let third = 0.381_966 * (high - low);
        if loss(low + third) < loss(high - third) {
            high -= third;
        } else {
            low += third;
        }
    }
    let best = (low + high) / 2.0;
    if loss(best) < loss(0.0) * (1.0 - WORTHWHILE) { best.exp() } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shy_probabilities_are_made_bold_and_honest_ones_stay() {
        // Of 100 rows at 0.6, 90 have the label.
        let labels: Vec<u32> = (0..1_000).map(|row| u32::from(row % 10 != 0)).collect();
        let target = Target::Class { labels, count: 2 };
        let rows: Vec<u32> = (0..1_000).collect();
        let found = fit(&[0.6; 1_000], &rows, &target, None);
        assert!((2.9..3.1).contains(&found), "{found}");
        assert_eq!(fit(&[0.9; 1_000], &rows, &target, None), 1.0);
        assert_eq!(fit(&[0.9; 1_000], &rows, &Target::Value(vec![0.0; 1_000]), None), 1.0);
        let mut bold = [0.6];
        scale(&mut bold, 3.0);
        assert!((bold[0] - 0.771_43).abs() < 1e-4);
    }

    #[test]
    fn two_labels_and_many_are_scaled_alike() {
        let (mut two, mut many) = ([0.3], [0.7, 0.3, 0.0]);
        scale(&mut two, 1.7);
        scale(&mut many, 1.7);
        assert!((two[0] - many[1]).abs() < 1e-6);
        assert!((many.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }
}
