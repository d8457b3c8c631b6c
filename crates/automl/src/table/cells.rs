//! A table of text: what a CSV file holds before anything is read into it.

use std::collections::HashSet;
use std::io::Read;

use crosspilot_table::is_missing;

use crate::error::TableError;

/// Named columns of text cells, some of which are missing values.
///
/// Each column is one run of text with the end of each cell: a cell costs its
/// length and four bytes, so a million rows of twenty columns stay near 200 MB.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    columns: Vec<Column>,
    rows: usize,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Column {
    name: String,
    text: String,
    ends: Vec<u32>,
}

impl Column {
    fn get(&self, row: usize) -> Option<&str> {
        let end = *self.ends.get(row)? as usize;
        let start = if row == 0 { 0 } else { self.ends[row - 1] as usize };
        self.text.get(start..end).filter(|cell| !is_missing(cell.as_bytes()))
    }

    fn push(&mut self, cell: &str) -> Result<(), TableError> {
        self.text.push_str(cell);
        let end = u32::try_from(self.text.len())
            .map_err(|_| TableError::TooLarge { name: self.name.clone() })?;
        self.ends.push(end);
        Ok(())
    }
}

impl Table {
    /// An empty table with these columns.
    ///
    /// # Errors
    /// When a name is empty or occurs twice.
    pub fn new<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Result<Self, TableError> {
        let mut table = Self::default();
        let mut seen = HashSet::new();
        for (position, name) in names.into_iter().enumerate() {
            let name: String = name.into();
            if name.is_empty() {
                return Err(TableError::UnnamedColumn { column: position + 1 });
            }
            if !seen.insert(name.clone()) {
                return Err(TableError::DuplicateColumn { name });
            }
            table.columns.push(Column { name, ..Column::default() });
        }
        Ok(table)
    }

    /// Reads CSV (RFC 4180, UTF-8, an optional byte order mark). With `header`
    /// the first record names the columns; otherwise they are `column 1` and so on.
    ///
    /// # Errors
    /// When the input is empty, is not UTF-8, a record's length differs, or one below the
    /// header repeats it; with the line it was found on. A header alone is a table of no rows.
    pub fn read_csv(input: impl Read, header: bool) -> Result<Self, TableError> {
        let mut reader =
            csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(input);
        let mut record = csv::StringRecord::new();
        let mut table = Self::default();
        let mut first = true;
        while reader.read_record(&mut record).map_err(csv_error)? {
            let line = record.position().map_or(0, csv::Position::line);
            if first {
                first = false;
                let names: Vec<String> = match header {
                    true => record.iter().map(str::to_owned).collect(),
                    false => (1..=record.len()).map(|number| format!("column {number}")).collect(),
                };
                table = Self::new(names)?;
                if header {
                    continue;
                }
            }
            if record.len() != table.columns.len() {
                return Err(TableError::Ragged {
                    line,
                    got: record.len(),
                    expected: table.columns.len(),
                });
            }
            if header && record.iter().eq(table.names()) {
                return Err(TableError::RepeatedHeader { line });
            }
            for (column, cell) in table.columns.iter_mut().zip(&record) {
                column.push(cell)?;
            }
            table.rows += 1;
        }
        if first {
            return Err(TableError::Empty);
        }
        for column in &mut table.columns {
            column.text.shrink_to_fit();
            column.ends.shrink_to_fit();
        }
        Ok(table)
    }

    /// Adds one row.
    ///
    /// # Errors
    /// When the number of cells is not the number of columns; the table is then unchanged.
    pub fn push_row<S: AsRef<str>>(&mut self, cells: &[S]) -> Result<(), TableError> {
        if cells.len() != self.columns.len() {
            let line = self.rows as u64 + 1;
            return Err(TableError::Ragged {
                line,
                got: cells.len(),
                expected: self.columns.len(),
            });
        }
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            column.push(cell.as_ref())?;
        }
        self.rows += 1;
        Ok(())
    }

    /// Adds all rows of another table with the same columns in the same order.
    ///
    /// # Errors
    /// When the columns differ, naming the first that does; this table is then unchanged.
    pub fn append(&mut self, other: &Self) -> Result<(), TableError> {
        let width = self.columns.len().max(other.columns.len());
        for position in 0..width {
            let name = |table: &Self| {
                table.columns.get(position).map_or(String::new(), |column| column.name.clone())
            };
            let (got, expected) = (name(other), name(self));
            if got != expected {
                return Err(TableError::HeaderMismatch { column: position + 1, got, expected });
            }
        }
        for (column, more) in self.columns.iter().zip(&other.columns) {
            if column.text.len() + more.text.len() > u32::MAX as usize {
                return Err(TableError::TooLarge { name: column.name.clone() });
            }
        }
        for (column, more) in self.columns.iter_mut().zip(&other.columns) {
            let base = column.text.len() as u32;
            column.text.push_str(&more.text);
            column.ends.extend(more.ends.iter().map(|end| base + end));
        }
        self.rows += other.rows;
        Ok(())
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn width(&self) -> usize {
        self.columns.len()
    }

    /// The names of the columns, in order.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.columns.iter().map(|column| column.name.as_str())
    }

    /// The position of a column, counted from 0.
    ///
    /// # Errors
    /// When there is none of that exact name; the error lists names like it.
    pub fn position(&self, name: &str) -> Result<usize, TableError> {
        self.columns.iter().position(|column| column.name == name).ok_or_else(|| {
            TableError::NoSuchColumn { name: name.to_owned(), near: near_names(name, self.names()) }
        })
    }

    /// Gives one cell, by row and column position from 0; `None` when it is missing
    /// (empty) or outside the table.
    pub fn cell(&self, row: usize, column: usize) -> Option<&str> {
        self.columns.get(column)?.get(row)
    }

    /// A new table with only these columns, in this order.
    ///
    /// # Errors
    /// When a column does not exist.
    pub fn select<S: AsRef<str>>(&self, names: &[S]) -> Result<Self, TableError> {
        let columns = names
            .iter()
            .map(|name| Ok(self.columns[self.position(name.as_ref())?].clone()))
            .collect::<Result<_, TableError>>()?;
        Ok(Self { columns, rows: self.rows })
    }

    /// A new table with only these rows, in this order; rows beyond the end are left out.
    pub fn take(&self, rows: &[usize]) -> Self {
        let rows: Vec<usize> = rows.iter().copied().filter(|&row| row < self.rows).collect();
        let columns = self.columns.iter().map(|column| {
            let mut taken = Column { name: column.name.clone(), ..Column::default() };
            for &row in &rows {
                taken.text.push_str(column.get(row).unwrap_or_default());
                // Repeated rows could in theory pass 4 GiB: cells then read as missing.
                taken.ends.push(u32::try_from(taken.text.len()).unwrap_or(u32::MAX));
            }
            taken
        });
        Self { columns: columns.collect(), rows: rows.len() }
    }
}

fn csv_error(error: csv::Error) -> TableError {
    let line = error.position().map_or(0, csv::Position::line);
    match error.into_kind() {
        csv::ErrorKind::Utf8 { pos, .. } => {
            TableError::NotUtf8 { line: pos.map_or(line, |pos| pos.line()) }
        }
        csv::ErrorKind::Io(error) => TableError::Io(error),
        other => TableError::Io(std::io::Error::other(format!("{other:?}"))),
    }
}

/// Up to three names that a person may have meant.
fn near_names<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let key = |text: &str| -> String {
        text.chars()
            .filter(|c| c.is_alphanumeric())
            .flat_map(char::to_lowercase)
            .take(100)
            .collect()
    };
    let wanted = key(wanted);
    let mut near: Vec<(usize, &str)> = names
        .filter_map(|name| {
            let other = key(name);
            let distance = strsim::levenshtein(&wanted, &other);
            let contained = !wanted.is_empty()
                && !other.is_empty()
                && (other.contains(&wanted) || wanted.contains(&other));
            (distance <= 1 + wanted.len() / 4 || contained).then_some((distance, name))
        })
        .collect();
    near.sort();
    near.into_iter().take(3).map(|(_, name)| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Table, TableError> {
        Table::read_csv(text.as_bytes(), true)
    }

    #[test]
    fn cells_keep_their_text_and_empty_is_missing() {
        let table = read("a,b\n <=50K,\n\"x,\"\"y\",2\n").unwrap();
        assert_eq!(table.cell(0, 0), Some(" <=50K"));
        assert_eq!(table.cell(0, 1), None);
        assert_eq!(table.cell(1, 0), Some("x,\"y"));
        assert_eq!(table.cell(9, 9), None);
    }

    #[test]
    fn a_byte_order_mark_is_not_part_of_the_first_name() {
        assert_eq!(read("\u{feff}a,b\n1,2\n").unwrap().names().next(), Some("a"));
    }

    #[test]
    fn bad_files_are_refused_with_their_line() {
        assert!(matches!(read(""), Err(TableError::Empty)));
        assert!(matches!(
            read("a,b\n1,2\n3\n"),
            Err(TableError::Ragged { line: 3, got: 1, expected: 2 })
        ));
        assert!(matches!(read("a,a\n1,2\n"), Err(TableError::DuplicateColumn { .. })));
        assert!(matches!(read("a,\n1,2\n"), Err(TableError::UnnamedColumn { column: 2 })));
        let bytes: &[u8] = b"a,b\n1,2\n\xff,3\n";
        assert!(matches!(Table::read_csv(bytes, true), Err(TableError::NotUtf8 { line: 3 })));
    }

    #[test]
    fn a_row_that_repeats_the_header_is_refused_with_its_line() {
        let error = read("a,b\n1,\"2\n3\"\na,b\n4,5\n").unwrap_err();
        assert!(matches!(error, TableError::RepeatedHeader { line: 4 }), "{error}");
        assert_eq!(read("a,b\nb,a\na,\n").unwrap().rows(), 2);
        // Without a header, such rows are rows.
        assert_eq!(Table::read_csv("a,b\na,b\n".as_bytes(), false).unwrap().rows(), 2);
    }

    #[test]
    fn without_a_header_columns_are_numbered() {
        let table = Table::read_csv("1,2\n3,4\n".as_bytes(), false).unwrap();
        assert_eq!((table.rows(), table.names().last()), (2, Some("column 2")));
    }

    #[test]
    fn a_wrong_name_suggests_the_right_one() {
        let table = read("State,Churn?,Day Mins\n").unwrap();
        let message = table.position("churn").unwrap_err().to_string();
        assert_eq!(message, "there is no column `churn`; did you mean `Churn?`?");
    }

    #[test]
    fn tables_append_only_with_equal_headers() {
        let mut table = read("a,b\n1,2\n").unwrap();
        table.append(&read("a,b\n3,4\n").unwrap()).unwrap();
        assert_eq!(table.cell(1, 1), Some("4"));
        assert!(matches!(
            table.append(&read("a,c\n3,4\n").unwrap()),
            Err(TableError::HeaderMismatch { column: 2, .. })
        ));
        assert_eq!(table.rows(), 2);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300), header: bool) {
            let _ = Table::read_csv(bytes.as_slice(), header);
        }

        #[test]
        fn csv_round_trips(rows in proptest::collection::vec(proptest::collection::vec(".{0,12}", 3), 1..20)) {
            let mut writer = csv::Writer::from_writer(Vec::new());
            writer.write_record(["a", "b", "c"]).unwrap();
            for row in &rows {
                writer.write_record(row).unwrap();
            }
            let table = Table::read_csv(writer.into_inner().unwrap().as_slice(), true).unwrap();
            prop_assert_eq!(table.rows(), rows.len());
            for (r, row) in rows.iter().enumerate() {
                for (c, cell) in row.iter().enumerate() {
                    prop_assert_eq!(table.cell(r, c).unwrap_or_default(), cell);
                }
            }
        }
    }
}
