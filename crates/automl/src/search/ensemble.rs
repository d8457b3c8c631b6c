//! The weights of the ensemble.

use crate::table::target::Target;

/// Rounds of picking one more candidate.
const PICKS: usize = 40;
/// Numbers that picking looks at for each candidate; the rest say the same.
const MAX_NUMBERS: usize = 400_000;

/// Greedy selection with replacement (Caruana 2004): of the candidates'
/// predictions for `rows`, keep adding the one that lowers the mean loss of the
/// average most. Returns a weight for each candidate; they add up to 1.
pub(crate) fn weigh(outputs: &[&[f32]], rows: &[u32], target: &Target) -> Vec<f32> {
    let width = target.outputs();
    let step = (rows.len() * width).div_ceil(MAX_NUMBERS).max(1);
    let sampled: Vec<usize> = (0..rows.len()).step_by(step).collect();
    let mut sum = vec![0.0f32; sampled.len() * width];
    let mut picked = vec![0usize; outputs.len()];
    let mut best_loss = f64::INFINITY;
    let mut best = picked.clone();
    let mut mean = vec![0.0f32; width];
    for round in 1..=PICKS {
        let share = 1.0 / round as f32;
        let mut loss_with = |candidate: &[f32]| {
            let mut loss = 0.0;
            for (slot, &at) in sampled.iter().enumerate() {
                for k in 0..width {
                    mean[k] = (sum[slot * width + k] + candidate[at * width + k]) * share;
                }
                loss += target.loss(rows[at] as usize, &mean);
            }
            loss
        };
        let losses: Vec<f64> = outputs.iter().map(|candidate| loss_with(candidate)).collect();
        let Some(next) = (0..losses.len()).min_by(|&a, &b| losses[a].total_cmp(&losses[b])) else {
            break;
        };
        for (slot, &at) in sampled.iter().enumerate() {
            for k in 0..width {
                sum[slot * width + k] += outputs[next][at * width + k];
            }
        }
        picked[next] += 1;
        if losses[next] < best_loss {
            best_loss = losses[next];
            best = picked.clone();
        }
    }
    // A member costs time at every prediction, so it has to bring something.
    let least = best.iter().sum::<usize>().div_ceil(20);
    best.iter_mut().filter(|count| **count < least).for_each(|count| *count = 0);
    let total = best.iter().sum::<usize>().max(1) as f32;
    best.iter().map(|count| *count as f32 / total).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opposite_errors_share_the_weight_and_noise_gets_none() {
        let target = Target::Value((0..100).map(|row| f64::from(row) / 50.0).collect());
        let rows: Vec<u32> = (0..100).collect();
        let with =
            |error: f32| rows.iter().map(|row| *row as f32 / 50.0 + error).collect::<Vec<f32>>();
        let weights = weigh(&[&with(0.5), &with(-0.5), &with(3.0)], &rows, &target);
        assert_eq!(weights, [0.5, 0.5, 0.0]);
    }
}
