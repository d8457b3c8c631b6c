//! Rows of CSV: read from the heads of files and from pieces of their middle,
//! and added up column by column.

use crosspilot_table::number::number;
use crosspilot_table::shape::shape;
use crosspilot_table::{reader, words};

use super::column::{Answer, Seen};
use super::repeats::Repeats;
use super::target::Labels;
use super::verdict::{Finding, Findings, Flaw};

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
                findings.error(open_quote(file, &format!("line {line}")));
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

    /// Reads the rows of a piece from the middle of a file, or from its end where the file
    /// `ends` with it. Behind a line feed, text begins with a row or goes on within a quoted
    /// cell: a flaw is one only if it is found whichever of the two is believed.
    pub(super) fn middle(&mut self, file: &str, piece: &[u8], ends: bool, findings: &mut Findings) {
        let is_feed = |byte: &u8| *byte == b'\n';
        let (Some(first), Some(last)) =
            (piece.iter().position(is_feed), piece.iter().rposition(is_feed))
        else {
            return;
        };
        // The piece may begin within a character, but not behind a line feed, and end so.
        let text = &piece[first + 1..if ends { piece.len() } else { last + 1 }];
        if text.contains(&0) {
            let message = "contains binary data (a NUL in its middle): give comma-separated UTF-8 text with a header line";
            findings.error(Finding::in_file(file, Flaw::BinaryData, message));
            return;
        }
        if std::str::from_utf8(text).is_err() {
            let message = "is not UTF-8 text in its middle; it may be Latin-1 or Windows-1252: save it as UTF-8";
            findings.error(Finding::in_file(file, Flaw::NotUtf8, message));
            return;
        }
        let outside = self.reading(file, text, false, ends);
        if outside.flaw.is_none() || begins_with_rows(text, self.names.len()) {
            self.take(text, false, outside, findings);
            return;
        }
        let quoted = [b"\"".as_slice(), text].concat();
        let inside = self.reading(file, &quoted, true, ends);
        if inside.flaw.is_none() || inside.rows > outside.rows {
            self.take(&quoted, true, inside, findings);
        } else {
            self.take(text, false, outside, findings);
        }
    }

    /// Reads a piece's rows up to the first flaw, without taking them. `inside` says that its
    /// first row is only the end of one, of which nothing but the length can be judged.
    fn reading(&self, file: &str, text: &[u8], inside: bool, ends: bool) -> Reading {
        let place = "a row of its middle";
        let width = self.names.len();
        let is_open = shape(text).open_quote.is_some();
        let mut reader = reader(text);
        let mut row = csv::StringRecord::new();
        let (mut rows, mut begin, mut is_part) = (0, 0, inside);
        while let Ok(true) = reader.read_record(&mut row) {
            let end = reader.position().byte();
            let is_cut = is_open && end as usize >= text.len();
            if row.iter().any(|cell| swallows_rows(cell, width)) || (is_cut && ends) {
                return Reading { rows, flaw: Some(open_quote(file, place)) };
            }
            if is_cut {
                break;
            }
            if row.len() > width || (row.len() < width && !is_part) {
                let message = ragged(&row, width, &text[begin as usize..end as usize], place);
                let flaw = Finding::in_file(file, Flaw::RaggedRow, message);
                return Reading { rows, flaw: Some(flaw) };
            }
            if row.iter().eq(self.names.iter().map(String::as_str)) {
                let message = "has its header again among its rows: remove that line (files that were joined keep one header only)";
                let flaw = Finding::in_file(file, Flaw::RepeatedHeader, message);
                return Reading { rows, flaw: Some(flaw) };
            }
            rows += u64::from(!is_part);
            is_part = false;
            begin = end;
        }
        Reading { rows, flaw: None }
    }

    /// Takes the rows that a reading found, or its flaw.
    fn take(&mut self, text: &[u8], inside: bool, reading: Reading, findings: &mut Findings) {
        if let Some(flaw) = reading.flaw {
            findings.error(flaw);
            return;
        }
        let mut reader = reader(text);
        let mut row = csv::StringRecord::new();
        let parts = u64::from(inside);
        let mut begin = 0;
        for number in 0..parts + reading.rows {
            if !matches!(reader.read_record(&mut row), Ok(true)) {
                return;
            }
            let end = reader.position().byte();
            if number >= parts {
                self.observe(&row);
                self.bytes += end - begin;
            }
            begin = end;
        }
    }
}

/// A piece of a file, read in one of the two ways.
struct Reading {
    /// Whole rows before the first flaw.
    rows: u64,
    flaw: Option<Finding>,
}

/// Tells whether text behind a line feed is surely not within a quoted cell: no quote closes
/// that cell before other text, and most lines up to there have as many fields as a row.
fn begins_with_rows(text: &[u8], width: usize) -> bool {
    let mut quote = text.len();
    let mut bytes = text.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        if *byte != b'"' {
            continue;
        }
        match text.get(at + 1) {
            // Two quotes are one that is meant.
            Some(b'"') => {
                bytes.next();
            }
            None | Some(b',' | b'\r' | b'\n') => return false,
            Some(_) => {
                quote = at;
                break;
            }
        }
    }
    let end = text[..quote].iter().rposition(|byte| *byte == b'\n').unwrap_or_default();
    let (rows, lines) = rows_in(std::str::from_utf8(&text[..end]).unwrap_or_default(), width);
    rows * 2 > lines
}

/// Tells whether a cell is so long, and most of its lines have as many fields as a row, that a
/// quote before it was forgotten.
fn swallows_rows(cell: &str, width: usize) -> bool {
    let (rows, lines) = rows_in(cell, width);
    lines > LINES_OF_A_ROW && rows * 2 > lines
}

/// Counts the lines that have as many fields as a row, and all lines.
fn rows_in(text: &str, width: usize) -> (usize, usize) {
    let rows = text.lines().filter(|line| line.matches(',').count() + 1 == width).count();
    (rows, text.lines().count())
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

fn open_quote(file: &str, place: &str) -> Finding {
    let message = format!(
        "has a double quote in {place} that is not closed there, and swallows the lines after it: close it, or write two for one that is meant"
    );
    Finding::in_file(file, Flaw::OpenQuote, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows whose notes have several lines, with as many commas as a row or fewer, and quotes.
    fn notes() -> String {
        let notes = [
            "\"Dear all, I left, yes\nit was, in the end, time\nso long, and, thanks\nYours\"",
            "none",
            "\"he said \"\"no, never\"\"\nand left\n\"\"now\"\"\"",
            "\"a, b\"",
            "5\" pipe",
            "\"\"",
        ];
        (0..12).map(|row| format!("{row},{},yes\n", notes[row % notes.len()])).collect()
    }

    /// The flaws that a piece shows.
    fn flaws(piece: &str, ends: bool) -> Vec<Flaw> {
        let names = ["x", "note", "churn"].map(str::to_owned).to_vec();
        let mut findings = Findings::default();
        Table::new(names, None, None).middle("a.csv", piece.as_bytes(), ends, &mut findings);
        findings.into_verdict().errors.into_iter().map(|error| error.code).collect()
    }

    #[test]
    fn a_piece_of_a_valid_file_has_no_flaw_wherever_it_begins_and_ends() {
        let text = notes();
        for begin in 0..text.len() / 2 {
            assert_eq!(flaws(&text[begin..], true), [], "{begin}");
            for end in (begin..text.len()).step_by(13) {
                assert_eq!(flaws(&text[begin..end], false), [], "{begin} to {end}");
            }
        }
    }

    #[test]
    fn a_row_of_another_width_after_quoted_cells_is_a_flaw_wherever_the_piece_begins() {
        let text = notes() + "1,2\n" + &notes();
        for begin in 0..text.len() / 4 {
            assert_eq!(flaws(&text[begin..], true).len(), 1, "{begin}");
            assert_eq!(flaws(&text[begin..], false).len(), 1, "{begin}");
        }
        assert_eq!(flaws("\n1,\"a, b\",yes\n1,2\n3,c,no\n", false), [Flaw::RaggedRow]);
    }

    #[test]
    fn a_quote_that_is_open_at_the_files_end_is_a_flaw() {
        let open = "\n1,a,yes\n2,\"b,no\n3,c,no\n";
        assert_eq!(flaws(open, true), [Flaw::OpenQuote]);
        // Elsewhere the piece may only have cut a cell, if not so many rows.
        assert_eq!(flaws(open, false), []);
        let rows = open.to_owned() + &"4,d,yes\n".repeat(LINES_OF_A_ROW);
        assert_eq!(flaws(&rows, false), [Flaw::OpenQuote]);
    }
}
