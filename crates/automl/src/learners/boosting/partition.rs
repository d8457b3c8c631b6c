//! Partitioning the rows of a leaf by a split.

use crate::features::binning::Bins;
use crate::learners::boosting::tree::Split;

/// Rows from which two threads are faster than one.
const PARALLEL: usize = 1 << 12;

/// Moves the rows that go left to the front, keeping their order, and returns
/// their number. `right` is memory to be used again.
pub(crate) fn partition(
    rows: &mut [u32],
    bins: &Bins,
    feature: usize,
    split: Split,
    right: &mut Vec<u32>,
) -> usize {
    if right.len() < rows.len() {
        right.resize(rows.len(), 0);
    }
    let right = &mut right[..rows.len()];
    let bin = |row: u32| bins.bytes[row as usize * bins.width + feature];
    match split {
        Split::Threshold { bin: threshold, missing_left: true } => {
            halves(rows, right, &|row| bin(row) <= threshold)
        }
        Split::Threshold { bin: threshold, missing_left: false } => {
            halves(rows, right, &|row| bin(row).wrapping_sub(1) < threshold)
        }
        Split::Categories(_) => halves(rows, right, &|row| split.is_left(bin(row))),
    }
}

/// Sorts both halves at once where there are many rows.
fn halves(rows: &mut [u32], right: &mut [u32], is_left: &(impl Fn(u32) -> bool + Sync)) -> usize {
    let middle = rows.len() / 2;
    if rows.len() < PARALLEL || rayon::current_num_threads() == 1 {
        return sort(rows, right, is_left);
    }
    let (first, second) = rows.split_at_mut(middle);
    let (first_right, second_right) = right.split_at_mut(middle);
    let (a, b) = rayon::join(
        || halves(first, first_right, is_left),
        || halves(second, second_right, is_left),
    );
    // What goes right in the first half makes way for what goes left in the second.
    first_right[..middle - a].copy_from_slice(&rows[a..middle]);
    rows.copy_within(middle..middle + b, a);
    rows[a + b..middle + b].copy_from_slice(&first_right[..middle - a]);
    a + b
}

/// Sorts without a branch: where a row goes cannot be guessed.
fn sort(rows: &mut [u32], right: &mut [u32], is_left: &impl Fn(u32) -> bool) -> usize {
    let mut kept = 0;
    for at in 0..rows.len() {
        let row = rows[at];
        let left = usize::from(is_left(row));
        rows[kept] = row;
        right[at - kept] = row;
        kept += left;
    }
    let moved = rows.len() - kept;
    rows[kept..].copy_from_slice(&right[..moved]);
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rows_go_where_the_split_says_and_keep_their_order(
            bytes in proptest::collection::vec(any::<u8>(), 1..300),
            copies in 1usize..400,
            threshold in 1u8..=255,
            missing_left: bool,
            set: [u64; 4],
        ) {
            let count = bytes.len();
            let bins = Bins { width: 1, bytes, counts: vec![256] };
            let rows: Vec<u32> = (0..count * copies).map(|at| (at % count) as u32).collect();
            for split in [Split::Threshold { bin: threshold, missing_left }, Split::Categories(set)] {
                let is_left = |row: &&u32| split.is_left(bins.bytes[**row as usize]);
                let wanted: Vec<u32> = rows.iter().filter(is_left)
                    .chain(rows.iter().filter(|row| !is_left(row))).copied().collect();
                let mut sorted = rows.clone();
                let kept = partition(&mut sorted, &bins, 0, split, &mut Vec::new());
                prop_assert_eq!(kept, rows.iter().filter(is_left).count());
                prop_assert_eq!(sorted, wanted);
            }
        }
    }
}
