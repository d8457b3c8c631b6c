//! Gathers the words that category columns hold, so that a word which training never
//! saw can be told from those that it did.
//!
//! The words are the customer's data: they are kept in the customer's bucket, and
//! nothing but a column's name is told of them.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::{Deserialize, Serialize};

use crate::is_missing;

/// Words of a column. What has more is no set of words.
const MOST_WORDS: usize = 512;
/// Bytes of a word.
const LONGEST: usize = 256;
/// Bytes of all words together, in a document and in the memory of who keeps it.
const MOST_BYTES: usize = 256 << 10;

/// All words that columns held in training. A column that is not in it may hold any.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Words {
    columns: BTreeMap<String, BTreeSet<String>>,
    /// Names of the columns that were given up: nobody knows what they held.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    given_up: BTreeSet<String>,
}

impl Words {
    /// Tells whether a cell holds a word that this column did not hold in training.
    pub fn lack(&self, column: &str, cell: &str) -> bool {
        let known = self.columns.get(column);
        known.is_some_and(|known| !is_missing(cell.as_bytes()) && !known.contains(cell))
    }

    /// Tells whether this column's words were given up, so that it lacks none.
    pub fn gave_up(&self, column: &str) -> bool {
        self.given_up.contains(column)
    }

    /// The words of these columns alone.
    pub fn of(mut self, columns: &BTreeSet<String>) -> Self {
        self.columns.retain(|name, _| columns.contains(name));
        self.given_up.retain(|name| columns.contains(name));
        self
    }
}

/// Gathers words cell by cell, in bounded memory: a column with too many is given up.
#[derive(Debug, Default)]
pub struct Gathered {
    columns: Vec<Option<HashSet<Box<[u8]>>>>,
    bytes: usize,
}

impl Gathered {
    /// Takes a cell of the column at this position.
    pub fn observe(&mut self, position: usize, cell: &[u8]) {
        if self.columns.len() <= position {
            self.columns.resize_with(position + 1, || Some(HashSet::new()));
        }
        let Some(words) = &mut self.columns[position] else { return };
        if words.contains(cell) || is_missing(cell) {
            return;
        }
        if words.len() == MOST_WORDS || cell.len() > LONGEST || self.bytes + cell.len() > MOST_BYTES
        {
            self.bytes -= words.iter().map(|word| word.len()).sum::<usize>();
            self.columns[position] = None;
            return;
        }
        self.bytes += cell.len();
        words.insert(cell.into());
    }

    /// The words of the columns that have these names, in order.
    pub fn named<'a>(self, names: impl Iterator<Item = &'a str>) -> Words {
        let text = |word: &[u8]| String::from_utf8_lossy(word).into_owned();
        let mut named = Words::default();
        for (name, words) in names.zip(self.columns) {
            let name = name.to_owned();
            match words {
                Some(words) => {
                    let words = words.iter().map(|word| text(word)).collect();
                    named.columns.insert(name, words);
                }
                None => {
                    named.given_up.insert(name);
                }
            }
        }
        named
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(cells: impl Iterator<Item = String>) -> Words {
        let mut gathered = Gathered::default();
        cells.for_each(|cell| gathered.observe(0, cell.as_bytes()));
        gathered.named(["plan"].into_iter())
    }

    #[test]
    fn a_word_that_no_row_held_is_told_and_a_missing_one_is_none() {
        let words = of(["basic", "plus", "", "basic"].map(str::to_owned).into_iter());
        for (cell, lacks) in [("basic", false), ("Basic", true), ("", false), ("NA", false)] {
            assert_eq!(words.lack("plan", cell), lacks, "{cell}");
        }
        assert!(!words.lack("another column", "gold"));
        assert!(!words.of(&BTreeSet::new()).lack("plan", "gold"));
    }

    #[test]
    fn a_column_of_too_many_or_too_long_words_may_hold_any() {
        assert!(of((0..MOST_WORDS).map(|n| format!("w{n}"))).lack("plan", "gold"));
        assert!(!of((0..=MOST_WORDS).map(|n| format!("w{n}"))).lack("plan", "gold"));
        assert!(!of(std::iter::once("w".repeat(LONGEST + 1))).lack("plan", "gold"));
    }

    #[test]
    fn a_column_that_was_given_up_is_named() {
        let many = of((0..=MOST_WORDS).map(|n| format!("w{n}")));
        assert!(many.gave_up("plan") && !many.gave_up("another column"));
        assert!(!many.of(&BTreeSet::new()).gave_up("plan"));
        assert!(of(std::iter::once("w".repeat(LONGEST + 1))).gave_up("plan"));
        assert!(!of(std::iter::once("basic".to_owned())).gave_up("plan"));
    }

    #[test]
    fn memory_is_bounded_and_columns_of_few_words_stay() {
        let mut gathered = Gathered::default();
        for row in 0..400 {
            gathered.observe(0, ["a", "b"][row % 2].as_bytes());
            for column in 1..50 {
                gathered.observe(column, format!("{row} {}", "x".repeat(100)).as_bytes());
                assert!(gathered.bytes <= MOST_BYTES);
            }
        }
        let names: Vec<String> = (0..50).map(|n| n.to_string()).collect();
        let words = gathered.named(names.iter().map(String::as_str));
        assert!(words.lack("0", "c") && !words.lack("0", "a"));
        // Of each that is not known, the name is.
        assert!(names.iter().all(|name| words.gave_up(name) != words.lack(name, "c")));
        assert!(names.iter().any(|name| words.gave_up(name)));
    }
}
