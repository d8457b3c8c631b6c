//! Products of matrices, for networks: the inner loops over neighbouring numbers
//! are vector instructions.

use fearless_simd::{Simd, SimdBase, SimdFloat, f32x8};

/// Widths of matrices are multiples of this.
pub(crate) const LANES: usize = 8;
/// Rows that are multiplied as one; their number is a multiple of it.
pub(crate) const BLOCK: usize = 4;

/// Adds to `sum` (rows of `width` numbers) the product of `left` (as many rows,
/// of `inner` numbers) and `right` (`inner` rows of `width` numbers).
#[inline(always)]
pub(crate) fn multiply<S: Simd>(
    simd: S,
    sum: &mut [f32],
    width: usize,
    left: &[f32],
    inner: usize,
    right: &[f32],
) {
    if inner == 0 {
        return;
    }
    let right = &right[..inner * width];
    for (sum, left) in sum.chunks_exact_mut(BLOCK * width).zip(left.chunks_exact(BLOCK * inner)) {
        let (a, rest) = left.split_at(inner);
        let (b, rest) = rest.split_at(inner);
        let (c, d) = rest.split_at(inner);
        let d = &d[..inner];
        block(simd, sum, width, right, |at| [a[at], b[at], c[at], d[at]]);
    }
}

/// Adds to `sum` (rows of `width` numbers) the product of the transpose of `left`
/// (rows of `height` numbers) and `right` (as many rows, of `width` numbers).
#[inline(always)]
pub(crate) fn multiply_transposed<S: Simd>(
    simd: S,
    sum: &mut [f32],
    width: usize,
    left: &[f32],
    height: usize,
    right: &[f32],
) {
    for (number, sum) in sum.chunks_exact_mut(BLOCK * width).enumerate() {
        let from = number * BLOCK;
        block(simd, sum, width, right, |at| {
            let at = at * height + from;
            left[at..at + BLOCK].first_chunk().copied().unwrap_or_default()
        });
    }
}

/// One block of rows, from left to right.
#[inline(always)]
fn block<S: Simd>(
    simd: S,
    sum: &mut [f32],
    width: usize,
    right: &[f32],
    left: impl Fn(usize) -> [f32; BLOCK],
) {
    let mut at = 0;
    while at + 2 * S::f32s::LEN <= width {
        tile::<S, S::f32s, 2>(simd, sum, width, at, right, &left);
        at += 2 * S::f32s::LEN;
    }
    while at + LANES <= width {
        tile::<S, f32x8<S>, 1>(simd, sum, width, at, right, &left);
        at += LANES;
    }
}

/// `COUNT` vectors of each row of a block: few enough to stay in registers.
#[inline(always)]
fn tile<S: Simd, V: SimdFloat<S, Element = f32>, const COUNT: usize>(
    simd: S,
    sum: &mut [f32],
    width: usize,
    at: usize,
    right: &[f32],
    left: &impl Fn(usize) -> [f32; BLOCK],
) {
    let mut sums = [[V::splat(simd, 0.0); COUNT]; BLOCK];
    for (number, right) in right.chunks_exact(width).enumerate() {
        let right = &right[at..at + COUNT * V::LEN];
        let left = left(number);
        for (part, right) in right.chunks_exact(V::LEN).enumerate() {
            let right = V::from_slice(simd, right);
            for row in 0..BLOCK {
                let left = V::splat(simd, left[row]);
                sums[row][part] = left.mul_add(right, sums[row][part]);
            }
        }
    }
    for (sum, sums) in sum.chunks_exact_mut(width).zip(&sums) {
        let sum = &mut sum[at..at + COUNT * V::LEN];
        for (sum, more) in sum.chunks_exact_mut(V::LEN).zip(sums) {
            (V::from_slice(simd, sum) + *more).store_slice(sum);
        }
    }
}

#[inline(always)]
pub(crate) fn add(sum: &mut [f32], more: &[f32]) {
    sum.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
}

/// Transposes rows of `width` numbers.
#[inline(always)]
pub(crate) fn transpose(from: &[f32], width: usize, to: &mut Vec<f32>) {
    let rows = from.len() / width.max(1);
    to.resize(from.len(), 0.0);
    for (column, to) in to.chunks_exact_mut(rows.max(1)).enumerate() {
        to.iter_mut().zip(from[column..].iter().step_by(width)).for_each(|(to, from)| *to = *from);
    }
}

#[cfg(test)]
mod tests {
    use fearless_simd::dispatch;

    use super::*;
    use crate::simd::level;

    #[test]
    fn products_are_what_the_definition_says() {
        let number = |at: usize| ((at * 37 % 101) as f32 - 50.0) / 25.0;
        for (rows, inner, width) in [(4, 1, 8), (8, 5, 24), (4, 30, 72), (12, 16, 128)] {
            let left: Vec<f32> = (0..rows * inner).map(number).collect();
            let right: Vec<f32> = (0..inner * width).map(|at| number(at + 7)).collect();
            let mut transposed = Vec::new();
            transpose(&left, inner, &mut transposed);
            let (mut sum, mut other) = (vec![1.0; rows * width], vec![1.0; rows * width]);
            dispatch!(level(), simd => multiply(simd, &mut sum, width, &left, inner, &right));
            dispatch!(level(), simd => multiply_transposed(simd, &mut other, width, &transposed, rows, &right));
            assert_eq!(sum, other);
            for row in 0..rows {
                for column in 0..width {
                    let terms = (0..inner)
                        .map(|k| f64::from(left[row * inner + k] * right[k * width + column]));
                    let wanted = 1.0 + terms.sum::<f64>();
                    assert!((f64::from(sum[row * width + column]) - wanted).abs() < 1e-4);
                }
            }
        }
    }
}
