//! A table of held-out rows: read as it is, every cell a raw string.

use csv::StringRecord;

/// Rows that are read: more make the figures no truer, only the function slower
/// than it may be.
const MAX_ROWS: usize = 100_000;

/// Why a held-out file cannot be scored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Not CSV, or not in one shape throughout.
    #[error(
        "{file} is not readable as CSV: {reason}; upload it again as comma-separated UTF-8 text with a header"
    )]
    NotCsv {
        /// Address of the file.
        file: String,
        /// What was found.
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
    /// Neither held-out nor training data.
    #[error(
        "there is no .csv file at {place} to make a first prediction with: upload the training data again"
    )]
    NoFiles {
        /// Where was looked last.
        place: String,
    },
}

/// A file's header and its complete rows, or the first of them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Table {
    file: String,
    pub(crate) header: StringRecord,
    pub(crate) rows: Vec<StringRecord>,
    /// Whether the file has more rows than these.
    pub(crate) truncated: bool,
}

impl Table {
    /// Reads `bytes` of `file`. When they are only the file's beginning, the
    /// last row may be cut and is left out.
    pub(crate) fn read(file: &str, bytes: &[u8], whole: bool) -> Result<Self, Unfit> {
        let not_csv = |reason: String| Unfit::NotCsv { file: file.to_owned(), reason };
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(bytes);
        let header = reader.headers().map_err(|e| not_csv(e.to_string()))?.clone();
        let mut rows: Vec<StringRecord> = Vec::new();
        for row in reader.records().take(MAX_ROWS + 1) {
            match row {
                Ok(row) => rows.push(row),
                // A character may be cut too.
                Err(_) if !whole && rows.len() > 1 => break,
                Err(error) => return Err(not_csv(error.to_string())),
            }
        }
        let truncated = !whole || rows.len() > MAX_ROWS;
        if truncated {
            rows.pop();
        }
        if let Some(row) = rows.iter().find(|row| row.len() != header.len()) {
            let line = row.position().map_or(0, csv::Position::line);
            return Err(not_csv(format!(
                "line {line} has {} fields, the header has {}",
                row.len(),
                header.len()
            )));
        }
        if rows.is_empty() {
            return Err(Unfit::NoRows { file: file.to_owned() });
        }
        Ok(Self { file: file.to_owned(), header, rows, truncated })
    }

    /// A table without rows, of nowhere.
    pub(crate) fn empty() -> Self {
        let (file, header, rows) = Default::default();
        Self { file, header, rows, truncated: false }
    }

    /// The same table as CSV text with its header.
    pub(crate) fn csv(&self) -> Result<Vec<u8>, csv::Error> {
        csv_text(std::iter::once(&self.header).chain(&self.rows))
    }

    /// Where each of `columns` stands in this file.
    pub(crate) fn positions(&self, columns: &[String]) -> Result<Vec<usize>, Unfit> {
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

    /// Where a column stands, if it does so once.
    pub(crate) fn position(&self, column: &str) -> Option<usize> {
        self.positions(&[column.to_owned()]).ok()?.first().copied()
    }

    /// Keeps the first row and leaves out a column.
    pub(crate) fn first_row_without(mut self, column: &str) -> Self {
        self.rows.truncate(1);
        self.truncated = false;
        if let Some(position) = self.position(column) {
            for record in self.rows.iter_mut().chain([&mut self.header]) {
                *record = record
                    .iter()
                    .enumerate()
                    .filter(|(index, _)| *index != position)
                    .map(|(_, cell)| cell)
                    .collect();
            }
        }
        self
    }
}

/// CSV text without a header, as endpoints take it: RFC 4180 quoting, a missing
/// value is an empty field.
pub(crate) fn csv_text<'a, Row>(rows: impl IntoIterator<Item = Row>) -> Result<Vec<u8>, csv::Error>
where
    Row: IntoIterator<Item = &'a str>,
{
    let mut text = Vec::new();
    let mut writer = csv::Writer::from_writer(&mut text);
    for row in rows {
        writer.write_record(row)?;
    }
    writer.flush()?;
    drop(writer);
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use proptest::prelude::*;

    fn table(text: &str) -> Result<Table, Unfit> {
        Table::read("t.csv", text.as_bytes(), true)
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
    fn a_cut_end_is_left_out() {
        let cut = Table::read("t.csv", b"a,b\n1,2\n3,4\n5,\xc3", false).unwrap();
        assert_eq!((cut.rows.len(), cut.truncated), (1, true));
        assert!(Table::read("t.csv", b"a,b\n1,2\n3,4\n5,\xc3", true).is_err());
    }

    #[test]
    fn of_a_long_file_the_first_rows_speak_for_all() {
        let short = table(&format!("a,b\n{}", "1,2\n".repeat(MAX_ROWS))).unwrap();
        assert_eq!((short.rows.len(), short.truncated), (MAX_ROWS, false));
        let long = table(&format!("a,b\n{}", "1,2\n".repeat(MAX_ROWS + 5))).unwrap();
        assert_eq!((long.rows.len(), long.truncated), (MAX_ROWS, true));
    }

    #[test]
    fn unfit_files_say_why() {
        assert_eq!(table("a,b\n"), Err(Unfit::NoRows { file: "t.csv".into() }));
        assert!(
            table("a,b\n1,2\n3\n")
                .unwrap_err()
                .to_string()
                .contains("line 3 has 1 fields, the header has 2")
        );
    }

    #[test]
    fn a_first_prediction_does_not_know_the_answer() {
        let table = table("a,y,b\n1,yes,2\n3,no,4\n").unwrap().first_row_without("y");
        assert_eq!(table.header, vec!["a", "b"]);
        assert_eq!(table.rows, [vec!["1", "2"]]);
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
            let _ = Table::read("t.csv", &bytes, whole).map(|table| table.first_row_without("a"));
        }
    }
}
