//! What is learnt about one column while rows go by, in bounded memory.

use std::collections::HashMap;

use crosspilot_core::cell::{Booleans, is_missing};

use super::distinct::{Distinct, hash};
use super::verdict::Kind;

/// Classes of the target that a column is held against.
pub(super) const CLASSES: usize = 10;
/// Values of a column that are held against the target's classes.
const VALUES: usize = 64;
/// Rows from which something that holds for all of them is no accident.
pub(super) const ENOUGH: u64 = 100;
/// Share of a column's values that must be of one kind to make the column so.
const NEARLY_ALL: f64 = 0.95;
/// Mean length from which words are language.
const TEXT_LENGTH: u64 = 30;

/// What the target says in one row.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Answer {
    /// Which of the first classes it is.
    pub(super) class: Option<usize>,
    /// Its value, if it is a number.
    pub(super) number: Option<f64>,
}

/// One column of the sample.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) rows: u64,
    pub(super) missing: u64,
    pub(super) numbers: u64,
    pub(super) integers: u64,
    pub(super) negative: u64,
    pub(super) dates: u64,
    pub(super) longest: usize,
    length: u64,
    spaced: u64,
    distinct: Distinct,
    /// Rows of each class by value; given up with too many values.
    by_value: Option<HashMap<u64, [u32; CLASSES]>>,
    /// Smallest and largest number of each class.
    ranges: [(f64, f64); CLASSES],
    in_class: [u64; CLASSES],
    line: Line,
    spelled: Spelled,
}

/// How the values so far write what is true and what is false.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
enum Spelled {
    #[default]
    Unseen,
    As(Booleans),
    /// There are other values, or several ways.
    Otherwise,
}

impl Spelled {
    fn and(self, cell: &[u8]) -> Self {
        match (self, Booleans::of(cell)) {
            (Spelled::Unseen, Some(booleans)) => Spelled::As(booleans),
            (Spelled::As(so_far), Some(booleans)) if so_far == booleans => self,
            _ => Spelled::Otherwise,
        }
    }
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            rows: 0,
            missing: 0,
            numbers: 0,
            integers: 0,
            negative: 0,
            dates: 0,
            longest: 0,
            length: 0,
            spaced: 0,
            distinct: Distinct::default(),
            by_value: Some(HashMap::new()),
            ranges: [(f64::INFINITY, f64::NEG_INFINITY); CLASSES],
            in_class: [0; CLASSES],
            line: Line::default(),
            spelled: Spelled::Unseen,
        }
    }
}

impl Seen {
    pub(super) fn observe(&mut self, cell: &[u8], answer: Answer) {
        self.rows += 1;
        let hash = hash(cell);
        self.hold_against_class(hash, answer);
        if is_missing(cell) {
            self.missing += 1;
            return;
        }
        self.spelled = self.spelled.and(cell);
        self.longest = self.longest.max(cell.len());
        self.length += cell.len() as u64;
        self.distinct.observe(hash);
        let Some(number) = number(cell) else {
            self.dates += u64::from(is_date(cell));
            self.spaced += u64::from(cell.trim_ascii().contains(&b' '));
            return;
        };
        self.numbers += 1;
        self.integers += u64::from(number.fract() == 0.0);
        self.negative += u64::from(number < 0.0);
        if let Some(class) = answer.class {
            let (low, high) = &mut self.ranges[class];
            (*low, *high) = (low.min(number), high.max(number));
            self.in_class[class] += 1;
        }
        if let Some(answer) = answer.number {
            self.line.observe(number, answer);
        }
    }

    fn hold_against_class(&mut self, value: u64, answer: Answer) {
        let (Some(table), Some(class)) = (&mut self.by_value, answer.class) else { return };
        if table.len() >= VALUES && !table.contains_key(&value) {
            self.by_value = None;
            return;
        }
        table.entry(value).or_default()[class] += 1;
    }

    pub(super) fn values(&self) -> u64 {
        self.rows - self.missing
    }

    /// How it writes what is true and what is false, if that is all it says.
    pub(super) fn booleans(&self) -> Option<Booleans> {
        match self.spelled {
            Spelled::As(booleans) => Some(booleans),
            Spelled::Unseen | Spelled::Otherwise => None,
        }
    }

    /// Different values, about.
    pub(super) fn different(&self) -> u64 {
        if self.distinct.all_once() {
            self.values()
        } else {
            self.distinct.estimate().min(self.values())
        }
    }

    /// What it seems to hold; nothing without a value.
    pub(super) fn kind(&self) -> Option<Kind> {
        let values = self.values();
        let nearly_all = |count: u64| count as f64 >= values as f64 * NEARLY_ALL;
        if values == 0 {
            None
        } else if nearly_all(self.numbers) {
            Some(Kind::Numeric)
        } else if nearly_all(self.dates) {
            Some(Kind::Datetime)
        } else if self.length / values >= TEXT_LENGTH && self.spaced * 2 > values {
            Some(Kind::Text)
        } else {
            Some(Kind::Categorical)
        }
    }

    /// Whether it has another value in every row, as identifiers do and as
    /// measures and moments do without meaning anything by it.
    pub(super) fn is_identifier(&self) -> bool {
        let values = self.values();
        values >= ENOUGH
            && values * 2 > self.rows
            && self.distinct.all_once()
            && self.kind() != Some(Kind::Datetime)
            && self.kind() != Some(Kind::Text)
            && (self.numbers == 0 || self.integers == self.numbers)
    }

    /// Whether it gives the answer away: its value tells the class in all but a
    /// fiftieth of the rows where guessing the most frequent class errs
    /// (Goodman and Kruskal's lambda), its numbers fall into a range of their own
    /// for each class, or they lie on a line with a numeric target.
    pub(super) fn tells_the_target(&self) -> bool {
        self.values_tell() || self.ranges_tell() || self.line.is_straight()
    }

    fn values_tell(&self) -> bool {
        let Some(table) = &self.by_value else { return false };
        let mut classes = [0_u64; CLASSES];
        let mut right = 0;
        for counts in table.values() {
            right += u64::from(counts.iter().copied().max().unwrap_or_default());
            classes.iter_mut().zip(counts).for_each(|(sum, count)| *sum += u64::from(*count));
        }
        let rows: u64 = classes.iter().sum();
        let guessed = classes.into_iter().max().unwrap_or_default();
        self.covers(rows)
            && table.len() > 1
            && table.len() as u64 * 10 <= rows
            && rows - guessed >= 10
            && (right - guessed) as f64 >= (rows - guessed) as f64 * 0.98
    }

    /// Whether so many rows speak for nearly all: only the first classes are
    /// looked at.
    fn covers(&self, rows: u64) -> bool {
        rows >= ENOUGH && rows * 10 >= self.rows * 9
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

/// How well two numbers lie on one line (Welford's way of summing).
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

/// The finite number that a cell is.
pub(super) fn number(cell: &[u8]) -> Option<f64> {
    let cell = cell.trim_ascii();
    let first = *cell.first()?;
    if !(first.is_ascii_digit() || matches!(first, b'+' | b'-' | b'.')) {
        return None;
    }
    std::str::from_utf8(cell).ok()?.parse().ok().filter(|number: &f64| number.is_finite())
}

/// Whether a cell begins like a day: `2026-01-31`, `31.1.2026` or `1/31/26`.
fn is_date(cell: &[u8]) -> bool {
    let day = cell.trim_ascii().split(|b| matches!(b, b'T' | b' ')).next().unwrap_or_default();
    let separator = |b: &u8| matches!(b, b'-' | b'/' | b'.');
    let digits = |part: &[u8]| (1..=4).contains(&part.len()) && part.iter().all(u8::is_ascii_digit);
    (6..=10).contains(&day.len())
        && day.split(separator).count() == 3
        && day.split(separator).all(digits)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn seen(cells: impl Iterator<Item = (String, Answer)>) -> Seen {
        let mut seen = Seen::default();
        cells.for_each(|(cell, answer)| seen.observe(cell.as_bytes(), answer));
        seen
    }

    fn class(class: usize) -> Answer {
        Answer { class: Some(class), number: None }
    }

    #[test]
    fn a_kind_is_what_nearly_all_values_are() {
        let kind = |cell: &str| seen((0..100).map(|_| (cell.into(), Answer::default()))).kind();
        assert_eq!(kind("-1.5e3"), Some(Kind::Numeric));
        assert_eq!(kind("2026-01-31T12:00:00Z"), Some(Kind::Datetime));
        assert_eq!(kind("1/31/2026"), Some(Kind::Datetime));
        assert_eq!(kind("415-0199"), Some(Kind::Categorical));
        assert_eq!(kind("infinity"), Some(Kind::Categorical));
        assert_eq!(kind("the parcel arrived a day late and open"), Some(Kind::Text));
        assert_eq!(kind(" "), None);
    }

    #[test]
    fn a_column_says_true_and_false_in_one_way_or_in_none() {
        let of = |cells: &[&str]| {
            let cells: Vec<String> = cells.iter().map(|cell| (*cell).to_owned()).collect();
            seen(cells.into_iter().map(|cell| (cell, Answer::default()))).booleans()
        };
        assert_eq!(of(&["True", "", "False"]), Some(Booleans::Title));
        assert_eq!(of(&["TRUE", "True"]), None);
        assert_eq!(of(&["true", "maybe", "true"]), None);
        assert_eq!(of(&["", "NA"]), None);
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
