//! A table of held-out rows: read as it is, every cell a raw string.

use std::borrow::Cow;

use crosspilot_table::reader;
use crosspilot_table::shape::{self, Shape};
use csv::{ByteRecord, StringRecord};

/// Rows that are read: more make the figures no truer, only the function slower
/// than it may be.
const MAX_ROWS: usize = 100_000;
/// Cells that are read: of a wide file, fewer rows are.
const MAX_CELLS: usize = 30_000_000;
/// Columns of a file that is no mistake.
const MAX_COLUMNS: usize = 5000;

/// The reason why a held-out file cannot be scored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Not CSV, or not in one shape throughout.
    #[error(
        "{file} is not readable as CSV: {reason}; upload it again as comma-separated UTF-8 text with a header"
    )]
    NotCsv {
        /// Address of the file.
        file: String,
        /// The fault that was found.
        reason: String,
    },
    /// A column that the model needs.
    #[error(
        "{file} has {found} column {column:?}, which the model was trained on: give it the training data's columns, in any order"
    )]
    Column {
        /// Address of the file.
        file: String,
        /// The column.
        column: String,
        /// `no` or `more than one`.
        found: &'static str,
    },
    /// Nothing to score.
    #[error(
        "{file} has no complete row below its header: add rows, or remove the file to go without an evaluation"
    )]
    NoRows {
        /// Address of the file.
        file: String,
    },
    /// Data, but not as text.
    #[error("{file} is {what}: give the held-out rows as CSV with a header, plain or in gzip")]
    NoText {
        /// Address of the file.
        file: String,
        /// The format of the file, as a phrase.
        what: &'static str,
    },
}

/// A file's header and its complete rows, or the first of them. The rows stay the
/// text that they are and are parsed when they are asked for: as records they take
/// many times the room.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    file: String,
    /// The names of its columns.
    pub header: StringRecord,
    /// UTF-8, from the file's beginning to the end of the last row.
    text: Vec<u8>,
    /// The position in `text` at which each row begins.
    starts: Vec<usize>,
    /// `true` if the file has more rows than these.
    pub truncated: bool,
}

impl Table {
    /// Reads the text of `file`. When it is only the file's beginning, the last row
    /// may be cut and is left out.
    pub fn read(file: &str, mut text: Vec<u8>, whole: bool) -> Result<Self, Unfit> {
        let not_csv = |reason: String| Unfit::NotCsv { file: file.to_owned(), reason };
        if let Err(error) = std::str::from_utf8(&text) {
            // The last character may be cut, too.
            if whole || error.error_len().is_some() {
                let before = &text[..error.valid_up_to()];
                let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
                return Err(not_csv(format!("line {line} is not UTF-8")));
            }
            text.truncate(error.valid_up_to());
        }
        let Shape { widest, widest_line, open_quote, .. } = shape::shape(&text);
        if widest > MAX_COLUMNS {
            return Err(not_csv(format!("line {widest_line} has {widest} fields")));
        }
        if let (Some(line), true) = (open_quote, whole) {
            return Err(not_csv(format!("the double quote in line {line} is not closed")));
        }
        let mut reader = reader(&text);
        let mut header = StringRecord::new();
        reader.read_record(&mut header).map_err(|e| not_csv(e.to_string()))?;
        let most = MAX_ROWS.min(MAX_CELLS / header.len().max(1));
        let mut row = ByteRecord::new();
        let mut starts = Vec::new();
        let mut end = reader.position().byte() as usize;
        let mut truncated = !whole;
        loop {
            let more = reader.read_byte_record(&mut row).map_err(|e| not_csv(e.to_string()))?;
            if !more {
                break;
            }
            let (begin, line) = (end, row.position().map_or(0, csv::Position::line));
            end = reader.position().byte() as usize;
            if !whole && end >= text.len() {
                end = begin;
                break;
            }
            if starts.len() == most {
                (end, truncated) = (begin, true);
                break;
            }
            if row.len() != header.len() {
                return Err(not_csv(format!(
                    "line {line} has {} fields, the header has {}",
                    row.len(),
                    header.len()
                )));
            }
            starts.push(begin);
        }
        if starts.is_empty() {
            return Err(Unfit::NoRows { file: file.to_owned() });
        }
        text.truncate(end);
        Ok(Self { file: file.to_owned(), header, text, starts, truncated })
    }

    /// A table without rows, of nowhere.
    pub fn empty() -> Self {
        let (file, header, text, starts) = Default::default();
        Self { file, header, text, starts, truncated: false }
    }

    /// A table of one row without values.
    pub fn blank(columns: &[String]) -> Result<Self, csv::Error> {
        let names: Vec<&str> = columns.iter().map(String::as_str).collect();
        let text = csv_text([names.clone(), vec![""; names.len()]])?;
        let header = StringRecord::from(names);
        let first = csv_text([&header])?.len();
        Ok(Self { file: String::new(), header, text, starts: vec![first], truncated: false })
    }

    /// Tells whether it has no complete row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Counts its rows.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Iterates over its rows, in order.
    pub fn rows(&self) -> impl Iterator<Item = StringRecord> {
        let begin = self.starts.first().copied().unwrap_or(self.text.len());
        reader(&self.text[begin..]).into_records().filter_map(Result::ok)
    }

    /// Gives one of its rows.
    pub fn row(&self, index: usize) -> StringRecord {
        let begin = self.starts.get(index).copied().unwrap_or(self.text.len());
        reader(&self.text[begin..]).into_records().next().and_then(Result::ok).unwrap_or_default()
    }

    /// The same table as text with its header.
    pub fn into_text(self) -> Vec<u8> {
        self.text
    }

    /// Finds where each of `columns` stands in this file.
    pub fn positions(&self, columns: &[String]) -> Result<Vec<usize>, Unfit> {
        columns
            .iter()
            .map(|column| {
                let missing = |found| Unfit::Column {
                    file: self.file.clone(),
                    column: column.clone(),
                    found,
                };
                let mut found = self.header.iter().enumerate().filter(|(_, name)| name == column);
                match (found.next(), found.next()) {
                    (Some((position, _)), None) => Ok(position),
                    (None, _) => Err(missing("no")),
                    (Some(_), Some(_)) => Err(missing("more than one")),
                }
            })
            .collect()
    }

    /// Finds where a column stands, if it does so once.
    pub fn position(&self, column: &str) -> Option<usize> {
        self.positions(&[column.to_owned()]).ok()?.first().copied()
    }
}

/// Puts a blank in place of each line break: Batch Transform splits its input at every
/// line end, also at those within quotes, so everybody sends cells without any.
pub fn one_line(cell: &str) -> Cow<'_, str> {
    match cell.contains(['\n', '\r']) {
        true => cell.replace(['\n', '\r'], " ").into(),
        false => cell.into(),
    }
}

/// CSV text without a header, as endpoints take it: RFC 4180 quoting, a missing
/// value is an empty field.
pub fn csv_text<'a, Row>(rows: impl IntoIterator<Item = Row>) -> Result<Vec<u8>, csv::Error>
where
    Row: IntoIterator<Item = &'a str>,
{
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        for cell in row {
            writer.write_field(one_line(cell).as_bytes())?;
        }
        writer.write_record(None::<&[u8]>)?;
    }
    end(writer)
}

/// The same of records that are gone once they are written.
pub fn csv_text_of(rows: impl IntoIterator<Item = StringRecord>) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        for cell in &row {
            writer.write_field(one_line(cell).as_bytes())?;
        }
        writer.write_record(None::<&[u8]>)?;
    }
    end(writer)
}

/// Records as text in parts that have so many bytes or more, but for the last, each
/// made when it is asked for. Cells stay as they are.
pub fn csv_parts(
    rows: impl IntoIterator<Item = StringRecord>,
    least: usize,
) -> impl Iterator<Item = Result<Vec<u8>, csv::Error>> {
    let mut rows = rows.into_iter().fuse();
    std::iter::from_fn(move || {
        let mut writer = csv::Writer::from_writer(Vec::new());
        while writer.get_ref().len() < least
            && let Some(row) = rows.next()
        {
            if let Err(error) = writer.write_record(&row) {
                return Some(Err(error));
            }
        }
        Some(end(writer)).filter(|part| !part.as_ref().is_ok_and(Vec::is_empty))
    })
}

fn end(writer: csv::Writer<Vec<u8>>) -> Result<Vec<u8>, csv::Error> {
    writer.into_inner().map_err(|e| csv::Error::from(e.into_error()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn table(text: &str) -> Result<Table, Unfit> {
        Table::read("t.csv", text.as_bytes().to_vec(), true)
    }

    fn rows(table: &Table) -> Vec<Vec<String>> {
        table.rows().map(|row| row.iter().map(str::to_owned).collect()).collect()
    }

    #[test]
    fn columns_are_found_by_name_in_any_order() {
        let table = table("\u{feff}plan,Churn?,age\nbasic,True.,7\n").unwrap();
        assert_eq!(table.positions(&["age".into(), "plan".into()]).unwrap(), [2, 0]);
        let error = table.positions(&["Age".into()]).unwrap_err().to_string();
        assert!(error.starts_with("t.csv has no column \"Age\""), "{error}");
    }

    #[test]
    fn a_column_that_stands_twice_is_refused() {
        let error = table("a,a\n1,2\n").unwrap().positions(&["a".into()]).unwrap_err();
        assert!(error.to_string().contains("more than one column \"a\""));
    }

    #[test]
    fn rows_are_read_one_by_one_and_all_in_order() {
        let table = table("\u{feff}a,b\r\n1,\"x\ny\"\r\n\r\n\"2\"\"\",\r\n").unwrap();
        assert_eq!(rows(&table), [["1", "x\ny"], ["2\"", ""]]);
        assert_eq!((table.len(), table.row(1)), (2, StringRecord::from(vec!["2\"", ""])));
        let copy = Table::read("t.csv", table.clone().into_text(), true).unwrap();
        assert_eq!(copy, table);
    }

    #[test]
    fn a_cut_end_is_left_out() {
        let read = |text: &[u8], whole| Table::read("t.csv", text.to_vec(), whole);
        for cut in [&b"a,b\n1,2\n3,4\n5,\xc3"[..], b"a,b\n1,2\n3,4\n5,6\n", b"a,b\n1,2\n3,4\n\"5"] {
            let table = read(cut, false).unwrap();
            assert!(table.truncated && rows(&table)[0] == ["1", "2"], "{table:?}");
            assert_eq!(table.into_text(), b"a,b\n1,2\n3,4\n");
        }
        assert!(read(b"a,b\n1,2\n3,4\n5,\xc3", true).is_err());
        assert!(read(b"a,b\n1,\xe9\n3,4\n", false).is_err());
    }

    #[test]
    fn of_a_long_or_wide_file_the_first_rows_speak_for_all() {
        let short = table(&format!("a,b\n{}", "1,2\n".repeat(MAX_ROWS))).unwrap();
        assert_eq!((short.len(), short.truncated), (MAX_ROWS, false));
        let long = table(&format!("a,b\n{}", "1,2\n".repeat(MAX_ROWS + 5))).unwrap();
        assert_eq!((long.len(), long.truncated), (MAX_ROWS, true));
        let line = format!("1{}\n", ",1".repeat(MAX_COLUMNS - 1));
        let wide = table(&line.repeat(7000)).unwrap();
        assert_eq!((wide.len(), wide.truncated), (MAX_CELLS / MAX_COLUMNS, true));
    }

    #[test]
    fn parts_of_a_text_are_large_enough_and_together_the_whole() {
        let rows = || {
            let row = |n: usize| StringRecord::from(vec![n.to_string(), "x\n\"y".repeat(9000)]);
            (0..50).map(row)
        };
        let parts =
            |least| -> Vec<Vec<u8>> { csv_parts(rows(), least).map(Result::unwrap).collect() };
        let whole = parts(usize::MAX);
        let least = whole[0].len() / 3;
        let some = parts(least);
        assert_eq!((whole.len(), some.concat()), (1, whole.concat()));
        let (last, before) = some.split_last().unwrap();
        assert!(before.len() >= 2 && before.iter().all(|part| part.len() >= least));
        assert!(!last.is_empty());
        assert_eq!(parts(whole[0].len()).len(), 1);
        assert_eq!(csv_parts([], least).count(), 0);
    }

    #[test]
    fn unfit_files_say_why() {
        assert_eq!(table("a,b\n"), Err(Unfit::NoRows { file: "t.csv".into() }));
        for (text, part) in [
            ("a,b\n1,2\n3\n".to_owned(), "line 3 has 1 fields, the header has 2"),
            (format!("a,b\n1{}\n", ",".repeat(1 << 22)), "line 2 has 4194305 fields"),
            ("a,b\n1,\"2\n3,4\n".to_owned(), "the double quote in line 2 is not closed"),
        ] {
            let error = table(&text).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_blank_row_has_every_column_and_no_value() {
        for columns in [vec!["a".to_owned()], vec!["a,1".to_owned(), "b".to_owned()]] {
            let table = Table::blank(&columns).unwrap();
            assert_eq!(rows(&table), [vec![""; columns.len()]]);
            assert_eq!(table.positions(&columns).unwrap().len(), columns.len());
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(rows in proptest::collection::vec(proptest::collection::vec(any::<String>(), 2), 1..5)) {
            let text = csv_text(rows.iter().map(|row| row.iter().map(String::as_str))).unwrap();
            let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(&text[..]);
            let back: Vec<Vec<String>> = reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect();
            // A byte order mark at the very start is no data.
            prop_assume!(!rows[0][0].starts_with('\u{feff}'));
            prop_assert_eq!(back, rows);
        }

        #[test]
        fn no_file_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), whole in any::<bool>()) {
            if let Ok(table) = Table::read("t.csv", bytes, whole) {
                prop_assert_eq!(table.rows().count(), table.len());
                prop_assert_eq!(table.rows().last(), Some(table.row(table.len() - 1)));
            }
        }
    }
}
