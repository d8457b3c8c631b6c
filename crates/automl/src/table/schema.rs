//! The kinds of the columns, and the numbers that their text becomes.
//!
//! Nothing here looks at the target: what is learned from it (target
//! encodings, bins) belongs to a training split and lives in [`crate::features`].

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use crosspilot_table::date::{DateOrder, clock, date};
use crosspilot_table::number::{amount, infinite, or_infinite};
use crosspilot_table::{Kind, Profile};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::table::cells::Table;

/// The kind that a column was taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ColumnKind {
    /// Numbers.
    Number,
    /// A limited set of texts.
    Category,
    /// Dates, with or without a time of day, or times alone.
    Date,
    /// Sentences.
    Text,
    /// A different text in (nearly) every row, or a row counter: left out.
    Identifier,
    /// One and the same value in every row: left out.
    Constant,
    /// No value in any row: left out.
    Empty,
    /// The sample weights: left out.
    Weight,
}

impl ColumnKind {
    /// Tells whether the column is learned from.
    pub fn is_used(self) -> bool {
        matches!(self, Self::Number | Self::Category | Self::Date | Self::Text)
    }
}

/// The reading of one column's cells.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Reader {
    Skip,
    Number,
    /// Known texts, sorted; the feature is the position.
    Categories(Vec<String>),
    Date(DateOrder),
    /// Frequent words, sorted; a feature each, then the length.
    Words(Vec<String>),
    /// Numbers in some dress: money, percent, thousands.
    Amount {
        decimal_comma: bool,
    },
    /// Times without a date.
    Clock,
}

/// The columns of the training data without the target, in their order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Schema {
    pub(crate) names: Vec<String>,
    readers: Vec<Reader>,
}

/// One column of numbers made from a column of text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Feature {
    /// Position of the text column in the schema.
    pub(crate) source: usize,
    /// Number of categories when the numbers are positions in a list of texts.
    pub(crate) categories: Option<usize>,
}

/// Cells outside the known categories.
pub(crate) const UNKNOWN: f64 = -1.0;

/// A column looks at this many rows to find out what it is.
const SAMPLE: usize = 20_000;
/// Text columns with more categories keep the most frequent.
const MAX_CATEGORIES: usize = 50_000;
const MAX_WORDS: usize = 60;

impl Schema {
    /// Finds out what each column is. `columns` are positions in `table`, the
    /// target left out; `weight` is one of them.
    pub(crate) fn fit(
        table: &Table,
        columns: &[usize],
        weight: Option<usize>,
    ) -> (Self, Vec<ColumnKind>) {
        let names: Vec<String> = table.names().map(str::to_owned).collect();
        let (kinds, readers) = columns
            .par_iter()
            .map(|&column| match Some(column) == weight {
                true => (ColumnKind::Weight, Reader::Skip),
                false => inspect(table, column),
            })
            .unzip();
        (
            Self { names: columns.iter().map(|&column| names[column].clone()).collect(), readers },
            kinds,
        )
    }

    /// The features that reading yields, in order.
    pub(crate) fn features(&self) -> Vec<Feature> {
        let of = |(source, reader): (usize, &Reader)| {
            let categories = match reader {
                Reader::Categories(categories) => Some(categories.len()),
                _ => None,
            };
            let count = match reader {
                Reader::Skip => 0,
                Reader::Number | Reader::Amount { .. } | Reader::Categories(_) => 1,
                Reader::Date(_) => 4,
                Reader::Clock => 3,
                Reader::Words(words) => words.len() + 1,
            };
            vec![Feature { source, categories }; count]
        };
        self.readers.iter().enumerate().flat_map(of).collect()
    }

    /// Reads some rows: a vector for each feature, NaN where a value is missing.
    /// `columns` are the positions in `table` of the schema's columns.
    pub(crate) fn read(
        &self,
        table: &Table,
        columns: &[usize],
        rows: Range<usize>,
    ) -> Vec<Vec<f64>> {
        let work: Vec<(&Reader, usize)> =
            self.readers.iter().zip(columns.iter().copied()).collect();
        let read = |(reader, column): (&Reader, usize)| reader.read(table, column, rows.clone());
        // A few rows are not worth waking other threads.
        if rows.len() < 2_000 {
            return work.into_iter().flat_map(read).collect();
        }
        work.into_par_iter().flat_map_iter(read).collect()
    }

    /// Tells whether a stored schema holds together.
    pub(crate) fn is_sound(&self) -> bool {
        self.names.len() == self.readers.len()
            && self.readers.iter().all(|reader| match reader {
                Reader::Categories(list) | Reader::Words(list) => list.is_sorted(),
                _ => true,
            })
    }
}

impl Reader {
    fn read(&self, table: &Table, column: usize, rows: Range<usize>) -> Vec<Vec<f64>> {
        let cells = rows.map(|row| table.cell(row, column));
        match self {
            Self::Skip => Vec::new(),
            Self::Number => {
                let read = |cell: &str| or_infinite(cell.as_bytes());
                vec![cells.map(|cell| cell.and_then(read).unwrap_or(f64::NAN)).collect()]
            }
            Self::Amount { decimal_comma } => {
                let read = |cell: &str| {
                    amount(cell.as_bytes(), *decimal_comma).or_else(|| infinite(cell.as_bytes()))
                };
                vec![cells.map(|cell| cell.and_then(read).unwrap_or(f64::NAN)).collect()]
            }
            Self::Categories(categories) => {
                let position = |cell: &str| {
                    categories
                        .binary_search_by(|category| category.as_str().cmp(cell))
                        .map_or(UNKNOWN, |position| position as f64)
                };
                vec![cells.map(|cell| cell.map_or(f64::NAN, position)).collect()]
            }
            Self::Date(order) => {
                let mut out = vec![Vec::new(); 4];
                for cell in cells {
                    let parts = match cell.and_then(|cell| date(cell, *order)) {
                        Some(at) => [
                            f64::from(at.day) + at.hour / 24.0,
                            f64::from(at.month),
                            f64::from(at.weekday),
                            at.hour,
                        ],
                        None => [f64::NAN; 4],
                    };
                    out.iter_mut().zip(parts).for_each(|(column, part)| column.push(part));
                }
                out
            }
            Self::Clock => {
                // As an amount, and as a place on the dial: midnight is near one to twelve.
                let mut out = vec![Vec::new(); 3];
                for cell in cells {
                    let seconds = cell.and_then(clock).unwrap_or(f64::NAN);
                    let angle = seconds / 86_400.0 * std::f64::consts::TAU;
                    let parts = [seconds, angle.sin(), angle.cos()];
                    out.iter_mut().zip(parts).for_each(|(column, part)| column.push(part));
                }
                out
            }
            Self::Words(vocabulary) => {
                let mut out = vec![vec![0.0; cells.len()]; vocabulary.len() + 1];
                for (row, cell) in cells.enumerate() {
                    let Some(cell) = cell else {
                        out.iter_mut().for_each(|column| column[row] = f64::NAN);
                        continue;
                    };
                    for word in words(cell) {
                        if let Ok(position) = vocabulary.binary_search(&word) {
                            out[position][row] = 1.0;
                        }
                    }
                    out[vocabulary.len()][row] = cell.len() as f64;
                }
                out
            }
        }
    }
}

/// Evenly spaced rows, at most [`SAMPLE`].
fn sample(table: &Table) -> impl Iterator<Item = usize> + use<> {
    let (rows, count) = (table.rows(), table.rows().min(SAMPLE));
    (0..count).map(move |i| i * rows / count)
}

fn inspect(table: &Table, column: usize) -> (ColumnKind, Reader) {
    let cells: Vec<&str> = sample(table).filter_map(|row| table.cell(row, column)).collect();
    let missing = table.rows().min(SAMPLE) - cells.len();
    if cells.is_empty() {
        return (ColumnKind::Empty, Reader::Skip);
    }
    if missing == 0 && cells.iter().all(|cell| *cell == cells[0]) {
        return (ColumnKind::Constant, Reader::Skip);
    }
    let mut profile = Profile::default();
    let numbers: Vec<f64> =
        cells.iter().filter_map(|cell| profile.observe(cell.as_bytes())).collect();
    match profile.kind() {
        Some(Kind::Numeric) if is_row_counter(&numbers, cells.len()) => {
            return (ColumnKind::Identifier, Reader::Skip);
        }
        Some(Kind::Numeric) => return (ColumnKind::Number, Reader::Number),
        _ => {}
    }
    if let Some(decimal_comma) = profile.amounts() {
        return (ColumnKind::Number, Reader::Amount { decimal_comma });
    }
    if let Some(order) = profile.date_order() {
        return (ColumnKind::Date, Reader::Date(order));
    }
    if profile.is_clock() {
        return (ColumnKind::Date, Reader::Clock);
    }
    let distinct: HashSet<&str> = cells.iter().copied().collect();
    let length: usize = cells.iter().map(|cell| cell.split_whitespace().count()).sum();
    let many = distinct.len() as f64 > 0.5 * cells.len() as f64 && distinct.len() > 20;
    if many && length >= 3 * cells.len() {
        return (ColumnKind::Text, Reader::Words(vocabulary(&cells)));
    }
    if many {
        return (ColumnKind::Identifier, Reader::Skip);
    }
    (ColumnKind::Category, Reader::Categories(categories(table, column)))
}

/// Whole numbers that only ever grow by small steps from row to row.
fn is_row_counter(numbers: &[f64], cells: usize) -> bool {
    let (Some(first), Some(last)) = (numbers.first(), numbers.last()) else {
        return false;
    };
    numbers.len() == cells
        && numbers.len() > 50
        && numbers.windows(2).all(|pair| pair[0] < pair[1])
        && numbers.iter().all(|number| number.fract() == 0.0)
        && (last - first) / (numbers.len() as f64) < 3.0
}

/// The texts that occur, sorted; the most frequent if there are too many.
fn categories(table: &Table, column: usize) -> Vec<String> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for row in 0..table.rows() {
        if let Some(cell) = table.cell(row, column) {
            *counts.entry(cell).or_default() += 1;
        }
    }
    let mut counts: Vec<(&str, usize)> = counts.into_iter().collect();
    if counts.len() > MAX_CATEGORIES {
        counts.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        counts.truncate(MAX_CATEGORIES);
    }
    let mut categories: Vec<String> =
        counts.into_iter().map(|(category, _)| category.to_owned()).collect();
    categories.sort_unstable();
    categories
}

/// The words of a text, in lower case.
fn words(cell: &str) -> impl Iterator<Item = String> + '_ {
    cell.split(|c: char| !c.is_alphanumeric()).filter(|word| word.len() > 1).map(str::to_lowercase)
}

/// The words that occur in the most cells, but not in nearly all, sorted.
fn vocabulary(cells: &[&str]) -> Vec<String> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for cell in cells {
        for word in words(cell).collect::<HashSet<_>>() {
            *counts.entry(word).or_default() += 1;
        }
    }
    let (least, most) = (cells.len() / 100 + 2, cells.len() * 9 / 10);
    let mut counts: Vec<(String, usize)> =
        counts.into_iter().filter(|(_, count)| (least..=most).contains(count)).collect();
    counts.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let mut words: Vec<String> = counts.into_iter().take(MAX_WORDS).map(|(word, _)| word).collect();
    words.sort_unstable();
    words
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn kind(cell: impl Fn(usize) -> String) -> ColumnKind {
        let mut table = Table::new(["x"]).unwrap();
        (0..600).for_each(|row| table.push_row(&[cell(row)]).unwrap());
        Schema::fit(&table, &[0], None).1[0]
    }

    #[test]
    fn columns_are_taken_for_what_they_are() {
        assert_eq!(kind(|row| format!("{}", row * 7919 % 613)), ColumnKind::Number);
        assert_eq!(
            kind(|row| if row % 9 == 0 { "n/a".into() } else { format!("{}.5", row % 50) }),
            ColumnKind::Number
        );
        assert_eq!(
            kind(|row| if row % 5 == 0 { "\\N".into() } else { (row * 7 % 50).to_string() }),
            ColumnKind::Number
        );
        assert_eq!(kind(|row| format!("${},{:03}.50", row % 7 + 1, row)), ColumnKind::Number);
        assert_eq!(kind(|row| format!("{},5 %", row * 7 % 50)), ColumnKind::Number);
        assert_eq!(
            kind(|row| format!("{}/{}/{:02}", row % 12 + 1, row % 28 + 1, row % 30)),
            ColumnKind::Date
        );
        assert_eq!(kind(|row| format!("s{}", row % 40)), ColumnKind::Category);
        assert_eq!(kind(|row| format!("{:03}-{:04}", row % 900, row)), ColumnKind::Identifier);
        assert_eq!(kind(|row| format!("{}", row + 1)), ColumnKind::Identifier);
        assert_eq!(
            kind(|row| format!("2026-{:02}-{:02}", row % 12 + 1, row % 28 + 1)),
            ColumnKind::Date
        );
        assert_eq!(
            kind(|row| format!("{:02}/{:02}/2026", row % 12 + 1, row % 28 + 1)),
            ColumnKind::Date
        );
        assert_eq!(
            kind(|row| format!("{:02}:{:02}:{:02}", row % 24, row % 60, row * 7 % 60)),
            ColumnKind::Date
        );
        assert_eq!(
            kind(|row| if row % 5 == 0 { "-inf".into() } else { format!("{row}.5") }),
            ColumnKind::Number
        );
        assert_eq!(kind(|row| format!("the phone {row} does not ring")), ColumnKind::Text);
        assert_eq!(kind(|_| "same".into()), ColumnKind::Constant);
        assert_eq!(kind(|_| String::new()), ColumnKind::Empty);
        assert_eq!(
            kind(|row| if row % 2 == 0 { "yes".into() } else { String::new() }),
            ColumnKind::Category
        );
    }

    #[test]
    fn unknown_and_missing_levels_are_told_apart() {
        let mut table = Table::new(["x"]).unwrap();
        (0..60).for_each(|row| table.push_row(&[if row % 2 == 0 { "b" } else { "a" }]).unwrap());
        let (schema, _) = Schema::fit(&table, &[0], None);
        let mut fresh = Table::new(["x"]).unwrap();
        ["a", "b", "c", ""].iter().for_each(|cell| fresh.push_row(&[cell]).unwrap());
        let read = schema.read(&fresh, &[0], 0..4).remove(0);
        assert_eq!(read[..3], [0.0, 1.0, UNKNOWN]);
        assert!(read[3].is_nan());
    }
}
