//! Counts rows that stand in the data more than once, by a hash of what their features
//! hold, so that no row has to be kept.

use std::collections::HashMap;

use super::distinct::hash;

/// Different rows that are remembered. What comes beyond them is not compared.
const REMEMBERED: usize = 300_000;

/// The rows of a table.
#[derive(Debug)]
pub(super) struct Repeats {
    /// Odd numbers, one for each column, that follow from their names: the order of the
    /// columns does not matter.
    columns: Vec<u64>,
    rows: HashMap<u64, u32>,
}

impl Repeats {
    pub(super) fn new(names: &[String]) -> Self {
        Self {
            columns: names.iter().map(|name| hash(name.as_bytes()) | 1).collect(),
            rows: HashMap::new(),
        }
    }

    /// Adds a cell of a column to the hash of its row.
    pub(super) fn and(&self, row: u64, column: usize, cell: u64) -> u64 {
        let own = self.columns.get(column).copied().unwrap_or(1);
        row.wrapping_add(cell.wrapping_mul(own))
    }

    pub(super) fn observe(&mut self, row: u64) {
        if self.rows.len() < REMEMBERED || self.rows.contains_key(&row) {
            let count = self.rows.entry(row).or_default();
            *count = count.saturating_add(1);
        }
    }

    /// Rows that were counted.
    pub(super) fn all(&self) -> u64 {
        self.rows.values().map(|count| u64::from(*count)).sum()
    }

    /// Rows that have a twin.
    pub(super) fn repeated(&self) -> u64 {
        self.rows.values().filter(|count| **count > 1).map(|count| u64::from(*count)).sum()
    }

    /// Counts how often the commonest one stands there.
    pub(super) fn most(&self) -> u64 {
        self.rows.values().copied().max().unwrap_or_default().into()
    }

    /// Rows that `other` has, too.
    pub(super) fn also_in(&self, other: &Self) -> u64 {
        let shared = self.rows.iter().filter(|(row, _)| other.rows.contains_key(row));
        shared.map(|(_, count)| u64::from(*count)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: [&str; 2], rows: &[(&str, &str)]) -> Repeats {
        let mut repeats = Repeats::new(&names.map(str::to_owned));
        for (a, b) in rows {
            let row = repeats.and(0, 0, hash(a.as_bytes()));
            repeats.observe(repeats.and(row, 1, hash(b.as_bytes())));
        }
        repeats
    }

    #[test]
    fn rows_are_equal_by_their_columns_and_not_by_their_order() {
        let training = of(["a", "b"], &[("1", "2"), ("1", "2"), ("2", "1"), ("3", "3")]);
        assert_eq!((training.all(), training.repeated(), training.most()), (4, 2, 2));
        let held_out = of(["b", "a"], &[("2", "1"), ("5", "5"), ("1", "3")]);
        assert_eq!(held_out.also_in(&training), 1);
    }
}
