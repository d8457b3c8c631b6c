//! The link from scores to what they stand for.

use crate::simd::exp;

/// Turns scores into a value or probabilities, in place.
pub(crate) fn link(classes: usize, row: &mut [f32]) {
    match classes {
        0 => {}
        2 => row[0] = 1.0 / (1.0 + exp(-row[0])),
        _ => {
            let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            row.iter_mut().for_each(|score| *score = exp(*score - top));
            let sum: f32 = row.iter().sum();
            row.iter_mut().for_each(|score| *score /= sum);
        }
    }
}
