//! PackedGradients and hessians as whole numbers.
//!
//! Gradient and hessian of a row are packed into one `i64`, so that a histogram
//! needs one addition for each value, a sibling is an exact subtraction, and sums
//! do not depend on the order or number of threads.

use fearless_simd::{Simd, dispatch};

use crate::simd::level;

/// Values that are summed in single precision.
const LANES: usize = 16;

/// Row gradients as whole numbers, and the numbers' units.
#[derive(Default)]
pub(crate) struct PackedGradients {
    /// `gradient << 32 + hessian`, for each row.
    pub(crate) packed: Vec<i64>,
    pub(crate) gradient_unit: f64,
    pub(crate) hessian_unit: f64,
}

/// The two halves of a packed number: neither of a sum over rows needs more
/// than 31 bits.
#[inline(always)]
pub(crate) fn halves(packed: i64) -> (i32, i32) {
    ((packed >> 32) as i32, packed as i32)
}

impl PackedGradients {
    /// Packs the gradients and hessians of all rows. The units are chosen so that
    /// no sum over rows leaves its half of the number.
    pub(crate) fn pack(&mut self, gradients: &[f32], hessians: &[f32]) {
        self.packed.resize(gradients.len(), 0);
        dispatch!(level(), simd => self.pack_in(simd, gradients, hessians));
    }

    #[inline(always)]
    fn pack_in<S: Simd>(&mut self, _: S, gradients: &[f32], hessians: &[f32]) {
        // Half a unit of rounding for each row has to fit too.
        let room = f64::from(1u32 << 30) - gradients.len() as f64;
        self.gradient_unit = (absolute_sum(gradients) / room).max(f64::MIN_POSITIVE);
        self.hessian_unit = (absolute_sum(hessians) / room).max(f64::MIN_POSITIVE);
        let (g_scale, h_scale) =
            ((1.0 / self.gradient_unit) as f32, (1.0 / self.hessian_unit) as f32);
        for (packed, (g, h)) in self.packed.iter_mut().zip(gradients.iter().zip(hessians)) {
            // Float to integer casts saturate, so a stray infinity stays in range.
            let g = (g * g_scale + 0.5f32.copysign(*g)) as i32;
            let h = (h * h_scale + 0.5) as i32;
            *packed = (i64::from(g) << 32) + i64::from(h);
        }
    }

    pub(crate) fn sums(&self, packed: i64) -> (f64, f64) {
        let (g, h) = halves(packed);
        (f64::from(g) * self.gradient_unit, f64::from(h) * self.hessian_unit)
    }
}

/// The sum of absolute values, in double precision but for short runs.
#[inline(always)]
fn absolute_sum(numbers: &[f32]) -> f64 {
    let mut total = 0.0;
    for block in numbers.chunks(64 * LANES) {
        let mut lanes = [0.0f32; LANES];
        let (whole, rest) = block.as_chunks::<LANES>();
        for numbers in whole {
            lanes.iter_mut().zip(numbers).for_each(|(sum, number)| *sum += number.abs());
        }
        total += lanes.iter().chain(rest).map(|number| f64::from(number.abs())).sum::<f64>();
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_packed_numbers_are_sums_of_gradients() {
        let gradients: Vec<f32> = (0..2_000).map(|at| (at as f32 * 0.7).sin()).collect();
        let hessians: Vec<f32> = (0..2_000).map(|at| (at % 10) as f32 / 40.0).collect();
        let mut packed = PackedGradients::default();
        packed.pack(&gradients, &hessians);
        for rows in [0..2_000, 5..7, 100..1_500] {
            let (g, h) = packed.sums(packed.packed[rows.clone()].iter().sum());
            assert!((g - gradients[rows.clone()].iter().sum::<f32>() as f64).abs() < 1e-3);
            assert!((h - hessians[rows].iter().sum::<f32>() as f64).abs() < 1e-3);
        }
    }
}
