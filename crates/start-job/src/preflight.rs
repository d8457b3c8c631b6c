//! Is the data fit to train on? Decided from the head of the data, in seconds
//! and before anything costs money.

use std::collections::{BTreeMap, BTreeSet};

/// Rows below which Autopilot refuses a training set (API reference,
/// `AutoMLJobInputDataConfig`).
pub const MINIMUM_ROWS: u64 = 500;

/// The head of one file.
#[derive(Debug, Clone)]
pub struct Sample {
    /// What to call the file in messages.
    pub name: String,
    /// Its first bytes.
    pub bytes: Vec<u8>,
    /// Its whole size in bytes.
    pub size: u64,
}

impl Sample {
    fn is_whole(&self) -> bool {
        self.bytes.len() as u64 >= self.size
    }
}

/// What fit data looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Columns in order, without the target.
    pub features: Vec<String>,
    /// Rows in all files; an estimate unless the whole data was read.
    pub rows: u64,
}

/// Why data cannot be trained on. Each message says what, where and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Nothing there.
    #[error("there is no training data under {place}: upload a CSV file with a header there")]
    NoFiles {
        /// The prefix.
        place: String,
    },
    /// Not text at all, or text that is no table.
    #[error(
        "{file} is not a CSV file: {reason}; give comma-separated UTF-8 text with a header line"
    )]
    NotCsv {
        /// The file.
        file: String,
        /// Why.
        reason: String,
    },
    /// A column without a name, or two with the same.
    #[error("{file} has {problem} in its header: give every column a name of its own")]
    Header {
        /// The file.
        file: String,
        /// What is wrong.
        problem: String,
    },
    /// The target is not a column.
    #[error("{file} has no column {target:?} to predict; its columns are {columns}")]
    NoTarget {
        /// The file.
        file: String,
        /// The configured target.
        target: String,
        /// What there is.
        columns: String,
    },
    /// Too little to learn from.
    #[error(
        "{file} has {rows} rows with a value in {target:?}; SageMaker Autopilot needs at least {MINIMUM_ROWS}"
    )]
    TooFewRows {
        /// The file.
        file: String,
        /// Usable rows.
        rows: u64,
        /// The target column.
        target: String,
    },
    /// Nothing to tell apart.
    #[error(
        "every row of {file} has {value:?} in {target:?}: at least two different values are needed to learn from"
    )]
    OneClass {
        /// The file.
        file: String,
        /// The only value.
        value: String,
        /// The target column.
        target: String,
    },
    /// Files that do not belong together.
    #[error(
        "{other} has another header than {first}: all files of a model must have the same columns in the same order"
    )]
    Headers {
        /// The file that sets the columns.
        first: String,
        /// The file that differs.
        other: String,
    },
}

/// Judges a training set by the head of its first file. `total` is the size of
/// all files in bytes.
pub fn inspect(sample: &Sample, total: u64, target: &str) -> Result<Shape, Unfit> {
    let text = text(sample)?;
    let mut reader = reader(text);
    let header = header(sample, &mut reader)?;
    let Some(position) = header.iter().position(|column| column == target) else {
        return Err(Unfit::NoTarget {
            file: sample.name.clone(),
            target: target.to_owned(),
            columns: listed(&header),
        });
    };
    let scan = scan(sample, &mut reader, position)?;
    let features: Vec<String> = header
        .into_iter()
        .enumerate()
        .filter(|(i, _)| *i != position)
        .map(|(_, name)| name)
        .collect();

    // A row's length stays about the same through a file, so what was not read
    // is estimated from what was.
    let read_share = total as f64 / scan.bytes.max(1) as f64;
    let estimate = |count: u64| (count as f64 * read_share).round() as u64;
    let (rows, usable) = if total <= scan.bytes {
        (scan.rows, scan.usable)
    } else {
        (estimate(scan.rows), estimate(scan.usable))
    };
    if usable < MINIMUM_ROWS {
        return Err(Unfit::TooFewRows {
            file: sample.name.clone(),
            rows: usable,
            target: target.to_owned(),
        });
    }
    match scan.only_value {
        // A large file may well begin with one class: only a whole read is proof.
        Some(value) if sample.is_whole() && total <= sample.size => {
            Err(Unfit::OneClass { file: sample.name.clone(), value, target: target.to_owned() })
        }
        _ => Ok(Shape { features, rows }),
    }
}

/// Checks that another file of the same training set has the same header.
pub fn same_header(first: &Sample, other: &Sample) -> Result<(), Unfit> {
    let columns = |sample: &Sample| -> Result<Vec<String>, Unfit> {
        header(sample, &mut reader(text(sample)?))
    };
    if columns(first)? == columns(other)? {
        Ok(())
    } else {
        Err(Unfit::Headers { first: first.name.clone(), other: other.name.clone() })
    }
}

/// The sample as text, without the character that its end may have cut.
fn text(sample: &Sample) -> Result<&[u8], Unfit> {
    let not_csv = |reason: &str| Unfit::NotCsv { file: sample.name.clone(), reason: reason.into() };
    let bytes = sample.bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&sample.bytes);
    if bytes.is_empty() {
        return Err(not_csv("it is empty"));
    }
    if bytes.contains(&0) {
        return Err(not_csv("it contains binary data"));
    }
    match std::str::from_utf8(bytes) {
        Ok(_) => Ok(bytes),
        Err(error) if error.error_len().is_none() && !sample.is_whole() => {
            Ok(&bytes[..error.valid_up_to()])
        }
        Err(error) => Err(not_csv(&format!("its byte {} is not UTF-8", error.valid_up_to() + 1))),
    }
}

fn reader(text: &[u8]) -> csv::Reader<&[u8]> {
    csv::ReaderBuilder::new().flexible(true).from_reader(text)
}

fn header(sample: &Sample, reader: &mut csv::Reader<&[u8]>) -> Result<Vec<String>, Unfit> {
    let not_csv = |reason: String| Unfit::NotCsv { file: sample.name.clone(), reason };
    let header = reader.headers().map_err(|e| not_csv(e.to_string()))?;
    if header.len() < 2 {
        return Err(not_csv("its first line has no comma".into()));
    }
    let mut seen = BTreeSet::new();
    for (index, column) in header.iter().enumerate() {
        let problem = if column.trim().is_empty() {
            format!("no name for column {}", index + 1)
        } else if !seen.insert(column) {
            format!("the name {column:?} twice")
        } else {
            continue;
        };
        return Err(Unfit::Header { file: sample.name.clone(), problem });
    }
    Ok(header.iter().map(str::to_owned).collect())
}

/// What a pass over the sample's rows found.
struct Scan {
    /// Bytes up to the end of the last complete row.
    bytes: u64,
    rows: u64,
    /// Rows with a value in the target column.
    usable: u64,
    /// The target's value, if all rows have the same.
    only_value: Option<String>,
}

fn scan(sample: &Sample, reader: &mut csv::Reader<&[u8]>, position: usize) -> Result<Scan, Unfit> {
    let columns = reader.headers().map(csv::StringRecord::len).unwrap_or_default();
    let whole = sample.is_whole();
    let mut scan = Scan { bytes: 0, rows: 0, usable: 0, only_value: None };
    let mut values = BTreeMap::<String, ()>::new();
    let mut record = csv::StringRecord::new();
    let mut pending: Option<csv::StringRecord> = None;
    loop {
        let end = reader.position().byte();
        let more = reader
            .read_record(&mut record)
            .map_err(|e| Unfit::NotCsv { file: sample.name.clone(), reason: e.to_string() })?;
        // The last record of a partial sample may be cut: it is left out.
        if let Some(row) = pending.take()
            && (more || whole)
        {
            if row.len() != columns {
                let line = row.position().map_or(0, csv::Position::line);
                return Err(Unfit::NotCsv {
                    file: sample.name.clone(),
                    reason: format!(
                        "line {line} has {} fields, the header has {columns}",
                        row.len()
                    ),
                });
            }
            scan.rows += 1;
            scan.bytes = end;
            let value = row.get(position).unwrap_or_default();
            if !value.is_empty() {
                scan.usable += 1;
                if values.len() < 2 {
                    values.insert(value.to_owned(), ());
                }
            }
        }
        if !more {
            break;
        }
        pending = Some(record.clone());
    }
    if whole {
        scan.bytes = sample.size;
    }
    if values.len() == 1 {
        scan.only_value = values.into_keys().next();
    }
    Ok(scan)
}

/// Column names for a message: at most twenty.
fn listed(columns: &[String]) -> String {
    let mut text = columns.iter().take(20).map(|c| format!("{c:?}")).collect::<Vec<_>>().join(", ");
    if columns.len() > 20 {
        text.push_str(&format!(" and {} more", columns.len() - 20));
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use proptest::prelude::*;

    fn sample(text: impl Into<Vec<u8>>) -> Sample {
        let bytes = text.into();
        Sample { name: "data.csv".into(), size: bytes.len() as u64, bytes }
    }

    fn table(rows: usize) -> String {
        let mut text = String::from("age,plan,Churn?\n");
        for row in 0..rows {
            text.push_str(&format!(
                "{row},basic,{}\n",
                if row % 2 == 0 { "True." } else { "False." }
            ));
        }
        text
    }

    fn verdict(text: impl Into<Vec<u8>>) -> Result<Shape, Unfit> {
        let sample = sample(text);
        inspect(&sample, sample.size, "Churn?")
    }

    #[test]
    fn a_fit_table_tells_its_features_and_rows() {
        let shape = verdict(table(600)).unwrap();
        assert_eq!(shape, Shape { features: vec!["age".into(), "plan".into()], rows: 600 });
    }

    #[test]
    fn each_unfit_table_has_its_own_sentence() {
        let one_class = table(600).replace("False.", "True.");
        let unlabelled = table(600).replace("True.", "");
        let cases: [(Vec<u8>, &str); 9] = [
            (vec![], "it is empty"),
            (b"PK\x03\x04\x00\x00".to_vec(), "binary data"),
            (b"a,b\n\xff\xfe,1\n".to_vec(), "byte 5 is not UTF-8"),
            (b"just some words\nand more\n".to_vec(), "its first line has no comma"),
            (table(600).replace("age", "plan").into(), "the name \"plan\" twice in its header"),
            (
                table(600).replace("Churn?", "Left").into(),
                "no column \"Churn?\" to predict; its columns are \"age\", \"plan\", \"Left\"",
            ),
            (table(499).into(), "499 rows"),
            (unlabelled.into(), "300 rows"),
            (one_class.into(), "every row of data.csv has \"True.\""),
        ];
        for (text, sentence) in cases {
            let error = verdict(text).unwrap_err().to_string();
            assert!(error.contains(sentence), "{error}");
        }
    }

    #[test]
    fn a_ragged_row_is_named_by_its_line() {
        let error = verdict(format!("{}1,basic\n", table(600))).unwrap_err().to_string();
        assert!(error.contains("line 602 has 2 fields, the header has 3"), "{error}");
    }

    #[test]
    fn a_partial_sample_estimates_the_rows_and_ignores_its_cut_end() {
        let text = table(4000);
        let mut head = sample(&text.as_bytes()[..20_000]);
        head.size = text.len() as u64;
        let shape = inspect(&head, head.size, "Churn?").unwrap();
        assert!((3600..4400).contains(&shape.rows), "{}", shape.rows);
    }

    #[test]
    fn files_of_one_set_need_one_header() {
        let first = sample(table(3));
        assert_eq!(same_header(&first, &sample(table(9))), Ok(()));
        let other = Sample { name: "b.csv".into(), ..sample("plan,age,Churn?\n") };
        let error = same_header(&first, &other).unwrap_err().to_string();
        assert!(error.starts_with("b.csv has another header than data.csv"), "{error}");
    }

    proptest! {
        #[test]
        fn no_input_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in 0_u64..3) {
            let mut sample = sample(bytes);
            sample.size += cut;
            let _ = inspect(&sample, sample.size, "Churn?");
        }
    }
}
