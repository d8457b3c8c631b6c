//! Rows of CSV: read from the heads of files and from pieces of their middle,
//! and added up column by column.

use crosspilot_table::number::number;
use crosspilot_table::{reader, words};

use super::column::{Answer, Seen};
use super::repeats::Repeats;
use super::target::Labels;
use super::verdict::{Finding, Findings, Flaw};

/// Line starts that are tried until the middle of a file reads as rows.
const STARTS: usize = 16;
/// Rows in a row that must have the header's number of fields.
const AGREEING: usize = 3;
/// Line feeds in one row from which a quote is believed to have been forgotten.
const LINES_OF_A_ROW: usize = 100;

/// Bytes of a row that a model can be asked about.
const ORDINARY_ROW: usize = 64 << 10;

/// A table's columns, and all that its rows have shown so far.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) names: Vec<String>,
    pub(super) target: Option<usize>,
    weight: Option<usize>,
    pub(super) columns: Vec<Seen>,
    pub(super) labels: Labels,
    /// Rows that were looked at.
    pub(super) rows: u64,
    /// Rows of these that can be learnt from.
    pub(super) usable: u64,
    /// Bytes of the rows that were looked at.
    pub(super) bytes: u64,
    /// Rows whose weight is missing, no number or negative.
    pub(super) bad_weights: u64,
    /// The first row of ordinary length.
    pub(super) first: Option<csv::StringRecord>,
    /// The rows that there are, by what their features hold.
    pub(super) repeats: Repeats,
    /// The words of the columns.
    pub(super) words: words::Gathered,
}

impl Table {
    pub(super) fn new(names: Vec<String>, target: Option<&str>, weight: Option<&str>) -> Self {
        let position = |wanted: Option<&str>| {
            wanted.and_then(|wanted| names.iter().position(|name| name == wanted))
        };
        Self {
            target: position(target),
            weight: position(weight),
            columns: names.iter().map(|_| Seen::among(names.len())).collect(),
            labels: Labels::default(),
            rows: 0,
            usable: 0,
            bytes: 0,
            bad_weights: 0,
            first: None,
            repeats: Repeats::new(&names),
            words: words::Gathered::default(),
            names,
        }
    }

    fn observe(&mut self, row: &csv::StringRecord) {
        self.rows += 1;
        if self.first.is_none() && row.as_slice().len() <= ORDINARY_ROW {
            self.first = Some(row.clone());
        }
        let answer = match self.target.and_then(|target| row.get(target)) {
            Some(cell) => self.labels.observe(cell.as_bytes()),
            None => Some(Answer::default()),
        };
        let mut features = 0;
        for (index, (seen, cell)) in self.columns.iter_mut().zip(row).enumerate() {
            if Some(index) != self.target {
                let hash = seen.observe(cell.as_bytes(), answer.unwrap_or_default());
                features = self.repeats.and(features, index, hash);
            }
            self.words.observe(index, cell.as_bytes());
        }
        self.repeats.observe(features);
        let weight = self.weight.and_then(|weight| row.get(weight));
        let is_weighed =
            weight.is_none_or(|cell| number(cell.as_bytes()).is_some_and(|weight| weight >= 0.0));
        self.bad_weights += u64::from(!is_weighed);
        self.usable += u64::from(answer.is_some() && is_weighed);
    }

    /// Reads the rows at the beginning of a file, after its header. `whole` says
    /// that the file ends here; otherwise the last row may be cut and is left
    /// out.
    pub(super) fn head(&mut self, file: &str, text: &[u8], whole: bool, findings: &mut Findings) {
        let mut reader = reader(text);
        let mut row = csv::StringRecord::new();
        let mut header = csv::StringRecord::new();
        if !matches!(reader.read_record(&mut header), Ok(true)) {
            return;
        }
        let width = header.len();
        let mut start = reader.position().byte();
        while let Ok(true) = reader.read_record(&mut row) {
            let end = reader.position().byte();
            let line = row.position().map_or(0, csv::Position::line);
            let is_last = end as usize >= text.len();
            let opened = row.iter().any(|cell| swallows_rows(cell, width));
            if opened || (row.len() != width && is_last && row.iter().any(|c| c.contains('\n'))) {
                findings.error(open_quote(file, line));
                return;
            }
            if is_last && !whole {
                break;
            }
            if row.len() != width {
                if row.len() < width && header.iter().skip(row.len()).all(str::is_empty) {
                    // The commas at the header's end are told of with its names.
                    return;
                }
                let raw = &text[start as usize..end as usize];
                let message = ragged(&row, width, raw, &format!("line {line}"));
                findings.error(Finding::in_file(file, Flaw::RaggedRow, message));
                return;
            }
            if row == header {
                let message = format!(
                    "has its header again in line {line}, where a row should be: remove that line (files that were joined keep one header only)"
                );
                findings.error(Finding::in_file(file, Flaw::RepeatedHeader, message));
                return;
            }
            self.observe(&row);
            self.bytes += end - start;
            start = end;
        }
    }

    /// Reads the rows of a piece from the middle of a file, as far as it can be
    /// told where one begins: line feeds inside quotes make that uncertain.
    pub(super) fn middle(&mut self, file: &str, piece: &[u8], findings: &mut Findings) {
        let Some(last) = piece.iter().rposition(|b| *b == b'\n') else { return };
        let piece = &piece[..=last];
        // It may begin within a character, but not behind a line feed.
        let whole = piece.iter().position(|b| *b == b'\n').map_or(piece, |at| &piece[at + 1..]);
        if whole.contains(&0) {
            let message = "contains binary data (a NUL in its middle): give comma-separated UTF-8 text with a header line";
            findings.error(Finding::in_file(file, Flaw::BinaryData, message));
            return;
        }
        if std::str::from_utf8(whole).is_err() {
            let message = "is not UTF-8 text in its middle; it may be Latin-1 or Windows-1252: save it as UTF-8";
            findings.error(Finding::in_file(file, Flaw::NotUtf8, message));
            return;
        }
        let plain = !piece.contains(&b'"');
        let starts = piece.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(at, _)| at + 1);
        let tries = if plain { 1 } else { STARTS };
        let Some(start) = starts.take(tries).find(|at| plain || self.reads_as_rows(&piece[*at..]))
        else {
            return;
        };
        let text = &piece[start..];
        let mut reader = reader(text);
        let mut row = csv::StringRecord::new();
        let mut begin = 0;
        while let Ok(true) = reader.read_record(&mut row) {
            let end = reader.position().byte();
            if row.len() == self.names.len() {
                if row.iter().eq(self.names.iter().map(String::as_str)) {
                    let message = "has its header again among its rows: remove that line (files that were joined keep one header only)";
                    findings.error(Finding::in_file(file, Flaw::RepeatedHeader, message));
                    return;
                }
                self.observe(&row);
            } else if plain {
                let raw = &text[begin as usize..end as usize];
                let message = ragged(&row, self.names.len(), raw, "a row of its middle");
                findings.error(Finding::in_file(file, Flaw::RaggedRow, message));
                return;
            }
            self.bytes += end - begin;
            begin = end;
        }
    }

    fn reads_as_rows(&self, text: &[u8]) -> bool {
        let mut reader = reader(text);
        let mut row = csv::StringRecord::new();
        (0..AGREEING).all(|_| {
            matches!(reader.read_record(&mut row), Ok(true)) && row.len() == self.names.len()
        })
    }
}

/// Tells whether a cell is so long, and most of its lines have as many fields as a row, that a
/// quote before it was forgotten.
fn swallows_rows(cell: &str, width: usize) -> bool {
    let rows = cell.lines().filter(|line| line.matches(',').count() + 1 == width).count();
    let lines = cell.lines().count();
    lines > LINES_OF_A_ROW && rows * 2 > lines
}

/// Says what is wrong with a row that has another number of fields than the header.
fn ragged(row: &csv::StringRecord, width: usize, raw: &[u8], place: &str) -> String {
    let remedy = if raw.windows(2).any(|pair| pair == b"\\\"") {
        "it escapes quotes with a backslash: write two double quotes for one that is meant"
    } else if row.len() > width && row.iter().skip(width).all(str::is_empty) {
        "it ends with a comma: leave that out"
    } else {
        "put values that hold commas in double quotes"
    };
    format!("has {} fields in {place}, and its header has {width}: {remedy}", row.len())
}

fn open_quote(file: &str, line: u64) -> Finding {
    let message = format!(
        "has a double quote in line {line} that is not closed there, and swallows the lines after it: close it, or write two for one that is meant"
    );
    Finding::in_file(file, Flaw::OpenQuote, message)
}
