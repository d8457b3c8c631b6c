//! The facts about one column that are learnt while rows go by, in bounded memory.

use std::collections::HashMap;

use crosspilot_table::{Kind, Profile, is_missing};

use super::distinct::{Distinct, hash};

/// Classes of the target that a column is held against.
pub(super) const CLASSES: usize = 10;
/// Values of a column that are held against the target's classes: fewer where there
/// are many columns, so that all of them together stay within some ten megabytes.
const VALUES: std::ops::RangeInclusive<usize> = 64..=512;
/// Values of all columns together.
const ALL_VALUES: usize = 100_000;
/// Rows from which something that holds for all of them is no accident.
pub(super) const ENOUGH: u64 = 100;

/// The target's answer in one row.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Answer {
    /// The target's class, by its index among the first classes.
    pub(super) class: Option<usize>,
    /// The target's value, if it is a number.
    pub(super) number: Option<f64>,
}

/// A column of the sample.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) profile: Profile,
    distinct: Distinct,
    /// Rows of each class by value; given up with too many values.
    by_value: Option<HashMap<u64, [u32; CLASSES]>>,
    /// The number of different values at most that are followed.
    most_values: usize,
    /// Smallest and largest number of each class.
    ranges: [(f64, f64); CLASSES],
    in_class: [u64; CLASSES],
    /// Rows of each class without a value, and with one.
    filled: [[u32; CLASSES]; 2],
    line: Line,
    /// A digest of all cells in their order, which equal columns share.
    digest: u64,
}

impl Default for Seen {
    fn default() -> Self {
        Self::among(1)
    }
}

impl Seen {
    /// Begins with nothing seen yet, of one of so many columns.
    pub(super) fn among(columns: usize) -> Self {
        let most_values = (ALL_VALUES / columns.max(1)).clamp(*VALUES.start(), *VALUES.end());
        Self {
            profile: Profile::default(),
            distinct: Distinct::default(),
            by_value: Some(HashMap::new()),
            most_values,
            ranges: [(f64::INFINITY, f64::NEG_INFINITY); CLASSES],
            in_class: [0; CLASSES],
            filled: [[0; CLASSES]; 2],
            line: Line::default(),
            digest: 0,
        }
    }

    /// Takes a cell; gives its hash.
    pub(super) fn observe(&mut self, cell: &[u8], answer: Answer) -> u64 {
        let hash = hash(cell);
        self.hold_against_class(hash, answer);
        self.digest = self.digest.wrapping_mul(0x0100_0000_01b3).wrapping_add(hash);
        let number = self.profile.observe(cell);
        let is_missing = is_missing(cell);
        if let Some(class) = answer.class {
            self.filled[usize::from(!is_missing)][class] += 1;
        }
        if is_missing {
            return hash;
        }
        self.distinct.observe(hash);
        let Some(number) = number else { return hash };
        if let Some(class) = answer.class {
            let (low, high) = &mut self.ranges[class];
            (*low, *high) = (low.min(number), high.max(number));
            self.in_class[class] += 1;
        }
        if let Some(answer) = answer.number {
            self.line.observe(number, answer);
        }
        hash
    }

    /// Digests what all its cells are in their order, as one number.
    pub(super) fn digest(&self) -> u64 {
        self.digest
    }

    /// Rows with a value that `training` has not, where all values of both were counted.
    pub(super) fn unknown_to(&self, training: &Self) -> Option<u64> {
        self.distinct.unknown_to(&training.distinct)
    }

    /// Tells whether a model can learn nothing from it: it has no value, one value only, or
    /// another word in every second row.
    pub(super) fn tells_nothing(&self) -> bool {
        let (values, different) = (self.values(), self.different());
        let names_rows = self.kind() == Some(Kind::Categorical)
            && self.profile.amounts().is_none()
            && different > 20
            && different * 2 > values;
        values == 0
            || different == 1 && self.profile.missing == 0
            || names_rows
            || self.profile.is_row_counter()
    }

    fn hold_against_class(&mut self, value: u64, answer: Answer) {
        let (Some(table), Some(class)) = (&mut self.by_value, answer.class) else { return };
        if table.len() >= self.most_values && !table.contains_key(&value) {
            self.by_value = None;
            return;
        }
        table.entry(value).or_default()[class] += 1;
    }

    pub(super) fn values(&self) -> u64 {
        self.profile.values()
    }

    /// Different values, about.
    pub(super) fn different(&self) -> u64 {
        if self.distinct.all_once() {
            self.values()
        } else {
            self.distinct.estimate().min(self.values())
        }
    }

    /// Infers what it seems to hold; nothing without a value.
    pub(super) fn kind(&self) -> Option<Kind> {
        self.profile.kind()
    }

    /// Tells whether it has another value in every row, as identifiers do and as
    /// measures and moments do without meaning anything by it.
    pub(super) fn is_identifier(&self) -> bool {
        let values = self.values();
        values >= ENOUGH
            && values * 2 > self.profile.rows
            && self.distinct.all_once()
            && self.kind() != Some(Kind::Datetime)
            && self.kind() != Some(Kind::Text)
            && (self.profile.numbers == 0 || self.profile.integers == self.profile.numbers)
            && self.profile.dressed * 2 <= self.profile.words()
    }

    /// Tells whether it gives the answer away: its value tells the class in all but a
    /// fiftieth of the rows where guessing the most frequent class errs
    /// (Goodman and Kruskal's lambda), its numbers fall into a range of their own
    /// for each class, or they lie on a line with a numeric target.
    pub(super) fn tells_the_target(&self) -> bool {
        self.values_tell() || self.filling_tells() || self.ranges_tell() || self.line.is_straight()
    }

    fn values_tell(&self) -> bool {
        self.by_value.as_ref().is_some_and(|table| self.tell(table.len(), table.values()))
    }

    /// Tells whether having a value or not gives the class away.
    fn filling_tells(&self) -> bool {
        self.tell(2, self.filled.iter())
    }

    /// Tells whether these groups of rows, so many, tell the class.
    fn tell<'a>(&self, groups: usize, counts: impl Iterator<Item = &'a [u32; CLASSES]>) -> bool {
        let mut classes = [0_u64; CLASSES];
        let mut right = 0;
        for counts in counts {
            right += u64::from(counts.iter().copied().max().unwrap_or_default());
            classes.iter_mut().zip(counts).for_each(|(sum, count)| *sum += u64::from(*count));
        }
        let rows: u64 = classes.iter().sum();
        let guessed = classes.into_iter().max().unwrap_or_default();
        self.covers(rows)
            && groups > 1
            && groups as u64 * 10 <= rows
            && rows - guessed >= 10
            && (right - guessed) as f64 >= (rows - guessed) as f64 * 0.98
    }

    /// Tells whether so many rows speak for nearly all: only the first classes are
    /// looked at.
    fn covers(&self, rows: u64) -> bool {
        rows >= ENOUGH && rows * 10 >= self.profile.rows * 9
    }

    fn ranges_tell(&self) -> bool {
        let mut ranges: Vec<(f64, f64)> = (0..CLASSES)
            .filter(|class| self.in_class[*class] > 0)
            .map(|class| self.ranges[class])
            .collect();
        ranges.sort_by(|a, b| a.0.total_cmp(&b.0));
        let counted: u64 = self.in_class.iter().sum();
        ranges.len() > 1
            && self.covers(counted)
            && self.in_class.iter().all(|count| *count == 0 || *count >= 10)
            && ranges.windows(2).all(|pair| pair[0].1 < pair[1].0)
    }
}

/// The fit of two numbers to one line (Welford's way of summing).
#[derive(Debug, Default)]
struct Line {
    count: f64,
    mean: (f64, f64),
    /// Sums of squared distances from the means, and of their products.
    spread: (f64, f64, f64),
}

impl Line {
    fn observe(&mut self, x: f64, y: f64) {
        self.count += 1.0;
        let (dx, dy) = (x - self.mean.0, y - self.mean.1);
        self.mean.0 += dx / self.count;
        self.mean.1 += dy / self.count;
        self.spread.0 += dx * (x - self.mean.0);
        self.spread.1 += dy * (y - self.mean.1);
        self.spread.2 += dx * (y - self.mean.1);
    }

    fn is_straight(&self) -> bool {
        let (xx, yy, xy) = self.spread;
        let correlation = xy / (xx.sqrt() * yy.sqrt());
        self.count >= ENOUGH as f64 && correlation.is_finite() && correlation.abs() >= 0.9999
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn seen(cells: impl Iterator<Item = (String, Answer)>) -> Seen {
        let mut seen = Seen::default();
        cells.for_each(|(cell, answer)| {
            seen.observe(cell.as_bytes(), answer);
        });
        seen
    }

    fn class(class: usize) -> Answer {
        Answer { class: Some(class), number: None }
    }

    #[test]
    fn identifiers_are_unique_but_measures_and_moments_are_not_called_so() {
        let unique = |cell: fn(u32) -> String| {
            seen((0..5000).map(|row| (cell(row), Answer::default()))).is_identifier()
        };
        assert!(unique(|row| row.to_string()));
        assert!(unique(|row| format!("C-{row}")));
        assert!(!unique(|row| (row / 2).to_string()));
        assert!(!unique(|row| format!("{row}.5")));
        assert!(!unique(|row| format!("{}-01-31", 2000 + row)));
    }

    #[test]
    fn a_column_that_tells_the_class_is_found_by_value_and_by_range() {
        let by_value = (0..500).map(|row| {
            (["left", "stayed", ""][row % 3].to_owned(), class(usize::from(row % 3 == 0)))
        });
        assert!(seen(by_value).tells_the_target());
        let by_range = (0..500).map(|row| {
            let leaves = row % 2;
            ((row + 1000 * leaves).to_string(), class(leaves))
        });
        assert!(seen(by_range).tells_the_target());
        let hint = (0..500).map(|row| {
            (["a", "b"][row % 2].to_owned(), class(usize::from(row % 2 == 0 || row % 10 == 1)))
        });
        assert!(!seen(hint).tells_the_target());
    }

    #[test]
    fn whether_it_is_filled_may_tell_and_so_may_many_values() {
        let filled = (0..500).map(|row| {
            let left = row % 2 == 0;
            (if left { format!("reason {row}") } else { String::new() }, class(usize::from(left)))
        });
        assert!(seen(filled).tells_the_target());
        let codes = (0..5000).map(|row| (format!("c{}", row % 200), class(row % 200 % 3)));
        assert!(seen(codes).tells_the_target());
    }

    #[test]
    fn what_a_model_can_learn_nothing_from() {
        let of = |cell: fn(usize) -> String| {
            seen((0..500).map(|row| (cell(row), Answer::default()))).tells_nothing()
        };
        assert!(of(|_| String::new()) && of(|_| "same".into()));
        assert!(of(|row| format!("C-{row}")) && of(|row| row.to_string()));
        assert!(!of(|row| (row * 7919 % 613).to_string()) && !of(|row| format!("c{}", row % 9)));
        assert!(!of(|row| format!("${row}.50")));
    }

    #[test]
    fn a_constant_does_not_tell_a_rare_class() {
        let rows = (0..5000).map(|row| ("x".to_owned(), class(usize::from(row % 1000 == 0))));
        assert!(!seen(rows).tells_the_target());
    }

    #[test]
    fn a_line_with_the_target_gives_it_away() {
        let rows = |noise: f64| {
            seen((0..500).map(|row| {
                let x = f64::from(row);
                let y = 3.0 * x + 7.0 + noise * f64::from(row * 7919 % 101);
                (x.to_string(), Answer { class: None, number: Some(y) })
            }))
        };
        assert!(rows(0.0).tells_the_target());
        assert!(!rows(10.0).tells_the_target());
    }
}
