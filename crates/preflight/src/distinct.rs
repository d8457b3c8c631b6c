//! Counts different values in little memory.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};

/// Hashes that are kept.
const KEPT: usize = 512;

/// A sample of values in which each value counts the same, however often it
/// comes: a value is kept if its hash ends in enough zeros, and how many zeros
/// are enough grows with the number of values (Wegman's adaptive sampling). The
/// estimate is exact up to 512 values and some 5 % off beyond.
#[derive(Debug, Default)]
pub(super) struct Distinct {
    /// Hashes that are kept, and how often each came.
    kept: HashMap<u64, u32>,
    /// Bits of a hash that must be zero.
    mask: u64,
}

impl Distinct {
    pub(super) fn observe(&mut self, hash: u64) {
        if hash & self.mask != 0 {
            return;
        }
        let count = self.kept.entry(hash).or_insert(0);
        *count = count.saturating_add(1);
        while self.kept.len() > KEPT {
            self.mask = self.mask << 1 | 1;
            let mask = self.mask;
            self.kept.retain(|hash, _| hash & mask == 0);
        }
    }

    /// Different values, about.
    pub(super) fn estimate(&self) -> u64 {
        (self.kept.len() as u64).saturating_mul(self.mask.saturating_add(1))
    }

    /// Rows with a value that `known` has not, where both have counted every value.
    pub(super) fn unknown_to(&self, known: &Self) -> Option<u64> {
        let rows = |(hash, rows): (&u64, &u32)| {
            if known.kept.contains_key(hash) { 0 } else { u64::from(*rows) }
        };
        (self.mask == 0 && known.mask == 0).then(|| self.kept.iter().map(rows).sum())
    }

    /// Tells whether no value that was kept came twice.
    pub(super) fn all_once(&self) -> bool {
        self.kept.values().all(|count| *count == 1)
    }
}

/// The hash of a cell.
pub(super) fn hash(cell: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(cell);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: impl Iterator<Item = u64>) -> Distinct {
        let mut distinct = Distinct::default();
        values.for_each(|value| distinct.observe(hash(&value.to_le_bytes())));
        distinct
    }

    #[test]
    fn few_values_are_counted_exactly() {
        assert_eq!(of((0..50_000).map(|n| n % 500)).estimate(), 500);
        assert!(!of((0..50_000).map(|n| n % 500)).all_once());
    }

    #[test]
    fn values_that_come_once_are_told_from_those_that_come_again() {
        assert!(of(0..50_000).all_once());
        assert!(!of((0..50_000).map(|n| n / 2)).all_once());
    }

    proptest! {
        #[test]
        fn many_values_are_estimated(count in 2000_u64..40_000) {
            let estimate = of(0..count).estimate() as f64;
            prop_assert!((estimate / count as f64 - 1.0).abs() < 0.35, "{estimate} for {count}");
        }

        #[test]
        fn memory_is_bounded(values in proptest::collection::vec(any::<u64>(), 0..5000)) {
            prop_assert!(of(values.into_iter()).kept.len() <= KEPT);
        }
    }
}
