//! SIMD: the instructions of this machine, and functions that loops may apply to many
//! numbers at once.
//!
//! Loops inside [`fearless_simd::dispatch`] are compiled for several kinds of
//! processors, and the best one for this machine runs. The functions here have
//! neither branches nor calls, so that such loops become vector instructions; they
//! give the same answers on all of them.

use std::sync::LazyLock;

use fearless_simd::Level;

/// Detects the vector instructions of this machine.
pub(crate) fn level() -> Level {
    // Finding out takes longer than a short loop.
    static LEVEL: LazyLock<Level> = LazyLock::new(Level::new);
    *LEVEL
}

/// e to the power of `x`, within 2 units of the last place; limits are far
/// beyond what a probability can show.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // Adding this leaves a whole number in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-86.0, 87.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    // The logarithm of 2 in two parts, so that nothing is lost.
    let x = (x - whole * 0.693_359_4) + whole * 2.121_944_4e-4;
    let mut sum = 1.987_569_1e-4;
    for factor in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        sum = sum * x + factor;
    }
    let part = sum * x * x + x + 1.0;
    f32::from_bits(part.to_bits().wrapping_add(shifted.to_bits() << 23))
}

/// The natural logarithm of a positive, normal `x`, within 2 units of the last place.
#[inline(always)]
pub(crate) fn ln(x: f32) -> f32 {
    // From sqrt(1/2) up to sqrt(2), times a power of 2.
    let shifted = x.to_bits().wrapping_sub(0x3f35_04f3);
    let whole = (shifted as i32 >> 23) as f32;
    let x = f32::from_bits((shifted & 0x007f_ffff).wrapping_add(0x3f35_04f3)) - 1.0;
    let mut sum = 7.037_683_6e-2;
    for factor in [
        -1.151_461e-1,
        1.167_699_9e-1,
        -1.242_014_1e-1,
        1.424_932_3e-1,
        -1.666_805_8e-1,
        2.000_071_5e-1,
        -2.499_999_4e-1,
        3.333_333e-1,
    ] {
        sum = sum * x + factor;
    }
    let part = sum * x * x * x - whole * 2.121_944_4e-4 - 0.5 * x * x;
    x + part + whole * 0.693_359_4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_and_logarithms_are_exact_to_single_precision() {
        for step in -8_000..8_000 {
            let x = step as f32 / 100.0;
            let wanted = f64::from(x).exp();
            assert!((f64::from(exp(x)) / wanted - 1.0).abs() < 3e-7, "exp {x}");
            let positive = wanted as f32;
            let error = f64::from(ln(positive)) - f64::from(positive).ln();
            assert!(error.abs() < 3e-7 * f64::from(x).abs().max(0.5), "ln {positive}");
        }
        assert_eq!((exp(0.0), ln(1.0)), (1.0, 0.0));
        assert!(exp(-1e9) < 1e-36 && exp(1e9) > 1e37);
    }
}
