//! Tells what a column holds from its cells.

use serde::{Deserialize, Serialize};

use crate::boolean::Booleans;
use crate::date::{DateOrder, clock, date};
use crate::missing::{LooksMissing, is_missing, looks_missing};
use crate::number::{Dress, dressed, number};

/// Share of a column's values that must be of one kind to make the column so.
const NEARLY_ALL: f64 = 0.95;
/// Mean length in bytes from which words are language.
const TEXT_LENGTH: u64 = 30;
/// Different words for a missing value that are told.
const WORDS: usize = 8;

/// The kind of a column's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Numbers.
    Numeric,
    /// A limited set of words.
    Categorical,
    /// Points in time, or times of day.
    Datetime,
    /// Language.
    Text,
}

impl Kind {
    /// Names it as settings, documents and messages do.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Numeric => "numeric",
            Kind::Categorical => "categorical",
            Kind::Datetime => "datetime",
            Kind::Text => "text",
        }
    }
}

/// Counts that a column's cells add up to, in bounded memory.
#[derive(Debug, Clone, Default)]
pub struct Profile {
    /// Cells.
    pub rows: u64,
    /// Cells without a value.
    pub missing: u64,
    /// Values that are numbers.
    pub numbers: u64,
    /// Numbers without a fraction.
    pub integers: u64,
    /// Numbers below zero.
    pub negative: u64,
    /// Values that are numbers but for their dress.
    pub dressed: u64,
    /// The dress of these numbers, and how many wear it.
    pub dress: Vec<(Dress, u64)>,
    /// Values that look like missing ones, by word; the first few.
    pub looks_missing: Vec<(LooksMissing, u64)>,
    /// The number of values that look missing, in all.
    pub look_missing: u64,
    /// Values with a blank before or behind, other than those.
    pub padded: u64,
    /// Values of several lines.
    pub lines: u64,
    /// Bytes of the longest value.
    pub longest: usize,
    day_first: u64,
    month_first: u64,
    clocks: u64,
    length: u64,
    spaced: u64,
    spelled: Spelled,
    counter: Counter,
}

/// The state of telling whether whole numbers only ever grow by small steps from row to row.
#[derive(Debug, Clone, Copy, Default)]
enum Counter {
    #[default]
    Unseen,
    From {
        first: f64,
        last: f64,
    },
    Not,
}

impl Counter {
    fn and(self, number: f64) -> Self {
        match self {
            _ if number.fract() != 0.0 => Counter::Not,
            Counter::Unseen => Counter::From { first: number, last: number },
            Counter::From { first, last } if number > last => Counter::From { first, last: number },
            _ => Counter::Not,
        }
    }
}

/// Rows from which numbers that grow are no accident.
const COUNTED: u64 = 50;

/// The spelling of true and false in the values so far.
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

impl Profile {
    /// Tells whether it numbers the rows: whole numbers that only ever grow by small steps.
    pub fn is_row_counter(&self) -> bool {
        let Counter::From { first, last } = self.counter else { return false };
        self.numbers == self.values()
            && self.numbers > COUNTED
            && (last - first) / (self.numbers as f64) < 3.0
    }

    /// Takes a cell; gives the number that it is.
    pub fn observe(&mut self, cell: &[u8]) -> Option<f64> {
        self.rows += 1;
        if is_missing(cell) {
            self.missing += 1;
            return None;
        }
        self.spelled = self.spelled.and(cell);
        self.longest = self.longest.max(cell.len());
        self.length += cell.len() as u64;
        if let Some(number) = number(cell) {
            self.numbers += 1;
            self.counter = self.counter.and(number);
            self.integers += u64::from(number.fract() == 0.0);
            self.negative += u64::from(number < 0.0);
            return Some(number);
        }
        if let Some(looks) = looks_missing(cell) {
            self.look_missing += 1;
            let room = self.looks_missing.len() < WORDS;
            match self.looks_missing.iter_mut().find(|(known, _)| *known == looks) {
                Some((_, count)) => *count += 1,
                None if room => self.looks_missing.push((looks, 1)),
                None => {}
            }
            return None;
        }
        self.padded += u64::from(cell.trim_ascii().len() < cell.len());
        self.lines += u64::from(cell.iter().any(|byte| matches!(byte, b'\n' | b'\r')));
        if let Some(dressed) = dressed(cell) {
            self.dressed += 1;
            for dress in dressed.dress {
                match self.dress.iter_mut().find(|(known, _)| *known == dress) {
                    Some((_, count)) => *count += 1,
                    None => self.dress.push((dress, 1)),
                }
            }
        }
        if cell.len() <= 40 && cell.trim_ascii().first().is_some_and(u8::is_ascii_digit) {
            let text = std::str::from_utf8(cell).unwrap_or_default();
            self.day_first += u64::from(date(text, DateOrder::DayFirst).is_some());
            self.month_first += u64::from(date(text, DateOrder::MonthFirst).is_some());
            self.clocks += u64::from(clock(text).is_some());
        }
        self.spaced += u64::from(cell.trim_ascii().contains(&b' '));
        None
    }

    /// Cells that hold a value.
    pub fn values(&self) -> u64 {
        self.rows - self.missing
    }

    /// Values that are no numbers and do not only stand for a missing one.
    pub fn words(&self) -> u64 {
        self.values() - self.numbers - self.look_missing
    }

    /// Tells whether nearly all values are numbers, some of them in a dress; then says whether
    /// fractions stand after a comma.
    pub fn amounts(&self) -> Option<bool> {
        let meant = (self.values() - self.look_missing) as f64;
        let comma = self.dress.iter().any(|(dress, _)| *dress == Dress::DecimalComma);
        let numbers = self.numbers + self.dressed;
        (self.dressed > 0 && numbers as f64 >= meant * NEARLY_ALL).then_some(comma)
    }

    /// The order in which nearly all values are dates.
    pub fn date_order(&self) -> Option<DateOrder> {
        let meant = self.values() - self.look_missing;
        let all = |count: u64| count > 0 && count as f64 >= meant as f64 * NEARLY_ALL;
        if all(self.day_first) && self.day_first >= self.month_first {
            Some(DateOrder::DayFirst)
        } else {
            all(self.month_first).then_some(DateOrder::MonthFirst)
        }
    }

    /// Tells whether nearly all values are times without a date.
    pub fn is_clock(&self) -> bool {
        let meant = self.values() - self.look_missing;
        self.clocks > 0 && self.clocks as f64 >= meant as f64 * NEARLY_ALL
    }

    /// Tells how it writes what is true and what is false, if that is all it says.
    pub fn booleans(&self) -> Option<Booleans> {
        match self.spelled {
            Spelled::As(booleans) => Some(booleans),
            Spelled::Unseen | Spelled::Otherwise => None,
        }
    }

    /// Tells what the column holds: what nearly all its values are, those aside that
    /// only stand for a missing one. `None` without a value.
    pub fn kind(&self) -> Option<Kind> {
        let values = self.values();
        let meant = (values - self.look_missing) as f64;
        if values == 0 {
            None
        } else if self.numbers > 0 && self.numbers as f64 >= meant * NEARLY_ALL {
            Some(Kind::Numeric)
        } else if self.date_order().is_some() || self.is_clock() {
            Some(Kind::Datetime)
        } else if self.length / values >= TEXT_LENGTH && self.spaced * 2 > values {
            Some(Kind::Text)
        } else {
            Some(Kind::Categorical)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(cells: &[&str]) -> Profile {
        let mut profile = Profile::default();
        cells.iter().for_each(|cell| {
            profile.observe(cell.as_bytes());
        });
        profile
    }

    #[test]
    fn a_kind_is_what_nearly_all_values_are() {
        let kind = |cell: &str| of(&[cell; 100]).kind();
        assert_eq!(kind("-1.5e3"), Some(Kind::Numeric));
        assert_eq!(kind("2026-01-31T12:00:00Z"), Some(Kind::Datetime));
        assert_eq!(kind("1/31/2026"), Some(Kind::Datetime));
        assert_eq!(kind("1/31/26"), Some(Kind::Datetime));
        assert_eq!(kind("23:59:01"), Some(Kind::Datetime));
        assert_eq!(kind("415-0199"), Some(Kind::Categorical));
        assert_eq!(kind("infinity"), Some(Kind::Categorical));
        assert_eq!(kind("the parcel arrived a day late and open"), Some(Kind::Text));
        assert_eq!(kind("NA"), None);
    }

    #[test]
    fn words_for_a_missing_value_make_no_column_of_words() {
        let mixed = of(&["1", "\\N", "?", "2", "\\N", "3"]);
        assert_eq!((mixed.kind(), mixed.words(), mixed.look_missing), (Some(Kind::Numeric), 0, 3));
        assert_eq!(
            mixed.looks_missing.first().map(|(word, count)| (word.word, *count)),
            Some(("\\n", 2))
        );
        assert_eq!(of(&["?", "-"]).kind(), Some(Kind::Categorical));
        assert_eq!(of(&["2026-01-31", "NaT", "2026-02-01"]).kind(), Some(Kind::Datetime));
    }

    #[test]
    fn dress_is_counted() {
        let money = of(&["$1,000", "$70", "$8", "x"]);
        assert_eq!((money.dressed, money.kind()), (3, Some(Kind::Categorical)));
        assert_eq!(money.dress, [(Dress::Currency, 3), (Dress::Thousands, 1)]);
        assert_eq!(of(&["1,5", "2", "1,234"]).amounts(), Some(true));
        assert_eq!(of(&["$1.50", "2"]).amounts(), Some(false));
        assert_eq!(of(&["1.5", "2"]).amounts(), None);
    }

    #[test]
    fn a_column_says_true_and_false_in_one_way_or_in_none() {
        assert_eq!(of(&["True", "", "False"]).booleans(), Some(Booleans::Title));
        assert_eq!(of(&["TRUE", "True"]).booleans(), None);
        assert_eq!(of(&["true", "maybe", "true"]).booleans(), None);
        assert_eq!(of(&["", "NA"]).booleans(), None);
    }
}
