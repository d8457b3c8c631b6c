//! Looks into the files of one channel without touching anything: it says what
//! to read next, takes what was read, and knows in the end what is there.

use std::io::Read as _;
use std::ops::Range;

use crosspilot_core::layout;
use crosspilot_table::format::{self, Magic, NoText};
use crosspilot_table::shape;

use super::distinct::hash;
use super::header;
use super::parquet::{self, Footer, ParquetColumn};
use super::table::Table;
use super::verdict::{Channel, Finding, Findings, Flaw, Format, Rows, grouped};

/// Heads that are read of all files together, about. Less data is read whole.
const HEADS: u64 = 8 << 20;
/// Head that is read of a file at least, for its header.
const HEAD: u64 = 128 << 10;
/// Text that is unpacked of all gzip files together, about: a few kilobytes each
/// may promise gigabytes.
const UNPACKED: u64 = 64 << 20;
/// Footers that are read of all Parquet files together.
const FOOTERS: u64 = 64 << 20;
/// Files that are looked into. Of more, these are spread evenly.
const FILES: usize = 1000;
/// Pieces that are read from the middle of large files.
const PIECES: u64 = 32;
/// Their size.
const PIECE: u64 = 256 << 10;
/// Tail that is read of a Parquet file: most footers fit.
const TAIL: u64 = 64 << 10;

/// A file that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// The file's name in messages.
    pub name: String,
    /// The key under which the file is read.
    pub key: String,
    /// The file's size in bytes.
    pub size: u64,
    /// `true` if the file must be restored from an archive before it can be read.
    pub archived: bool,
    /// The file's entity tag, which tells whether it is still the file that was listed; empty
    /// outside of S3.
    pub etag: String,
}

/// A key below the folder that holds the data; the name alone of a file that lies
/// in none.
fn inside(key: &str) -> &str {
    let below = |folder: &&str| match key.strip_prefix(folder) {
        Some(below) => Some(below),
        None => key.find(&format!("/{folder}")).map(|at| &key[at + 1 + folder.len()..]),
    };
    let mut folders = ["train/", "validation/", "test/"].iter();
    folders.find_map(below).unwrap_or_else(|| key.rsplit('/').next().unwrap_or_default())
}

/// The flaw of bytes that are no text.
fn flaw(no_text: NoText) -> Flaw {
    match no_text {
        NoText::Wide { .. } => Flaw::WideText,
        NoText::Nul { .. } => Flaw::BinaryData,
        NoText::NotUtf8 { .. } => Flaw::NotUtf8,
    }
}

/// A part of a file that should be read next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Read {
    /// Index of the file.
    pub(super) file: usize,
    pub(super) range: Range<u64>,
    part: Part,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Head,
    Middle,
    /// End of a Parquet file.
    Tail,
    /// A Parquet footer that is longer than the tail.
    Footer,
}

/// Columns that matter by name.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wanted<'a> {
    /// The target, which must be there.
    pub(super) target: Option<&'a str>,
    pub(super) weight: Option<&'a str>,
    /// `true` if a target that is not there is no error.
    pub(super) unlabelled: bool,
}

/// All that is known of a channel.
pub(super) struct Inspection<'a> {
    files: Vec<File>,
    wanted: Wanted<'a>,
    pub(super) findings: Findings,
    round: usize,
    looked_into: Vec<usize>,
    /// Bytes that are read of each of them.
    head: u64,
    /// The file that sets the columns.
    first: Option<usize>,
    pub(super) table: Option<Table>,
    /// Rows that show that the first line names its columns.
    proven: u64,
    pub(super) parquet: Option<Vec<ParquetColumn>>,
    parquet_rows: u64,
    /// `true` if every byte of every file has been seen.
    whole: bool,
    /// Text that may still be unpacked.
    to_unpack: u64,
    /// Bytes of long footers that may still be read.
    to_read: u64,
    /// Stored bytes that the rows seen so far take.
    covered: u64,
    /// A file of each form.
    csv: Option<usize>,
    gzip: Option<usize>,
    plain: Option<usize>,
    tails: Vec<usize>,
    footers: Vec<(usize, Range<u64>)>,
    /// Text files that go on after their head.
    long: Vec<usize>,
}

impl<'a> Inspection<'a> {
    /// Begins the inspection of these files, in this order. Folder markers and other empty
    /// leftovers are none.
    pub(super) fn of(files: Vec<File>, wanted: Wanted<'a>) -> Self {
        let mut findings = Findings::default();
        let mut kept = Vec::new();
        for file in files {
            match (file.size, layout::is_leftover(inside(&file.key))) {
                (0, true) => {}
                (0, false) => findings.error(Finding::in_file(&file.name, Flaw::EmptyFile, "is empty: remove it, or upload it again")),
                (_, true) => findings.error(Finding::in_file(&file.name, Flaw::StrayFile, "is a leftover of another program, and SageMaker reads every file there as data: remove it")),
                _ if file.archived => findings.error(Finding::in_file(&file.name, Flaw::Archived, "lies in an archive storage class and cannot be read now: restore it, or upload it again")),
                _ => kept.push(file),
            }
        }
        let step = kept.len().div_ceil(FILES).max(1);
        let mut looked_into: Vec<usize> = (0..kept.len()).step_by(step).collect();
        // The last file is where an upload that goes on would show.
        if let (Some(last), Some(index)) = (looked_into.last_mut(), kept.len().checked_sub(1)) {
            *last = index;
        }
        if looked_into.len() < kept.len() {
            let message = format!(
                "only {} of {} files were looked into: join them into fewer, larger ones to have all of them checked",
                grouped(looked_into.len() as u64),
                grouped(kept.len() as u64)
            );
            findings.warn(Finding::new(Flaw::NotAllFiles, message));
        }
        let whole = looked_into.len() == kept.len();
        let total: u64 = kept.iter().map(|file| file.size).sum();
        let head = if whole && total <= HEADS {
            HEADS
        } else {
            (HEADS / looked_into.len().max(1) as u64).max(HEAD)
        };
        Self {
            whole,
            head,
            files: kept,
            wanted,
            findings,
            round: 0,
            looked_into,
            first: None,
            table: None,
            proven: 0,
            parquet: None,
            parquet_rows: 0,
            to_unpack: UNPACKED,
            to_read: FOOTERS,
            covered: 0,
            csv: None,
            gzip: None,
            plain: None,
            tails: Vec::new(),
            footers: Vec::new(),
            long: Vec::new(),
        }
    }

    pub(super) fn files(&self) -> &[File] {
        &self.files
    }

    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    pub(super) fn first_file(&self) -> Option<&str> {
        self.first.map(|first| self.files[first].name.as_str())
    }

    pub(super) fn names(&self) -> Option<Vec<String>> {
        let parquet = || Some(self.parquet.as_ref()?.iter().map(|c| c.name.clone()).collect());
        self.table.as_ref().map(|table| table.names.clone()).or_else(parquet)
    }

    /// Tells whether the columns' names are surely names, which may be told.
    pub(super) fn lends_names(&self) -> bool {
        self.parquet.is_some() || self.proven >= header::PROOF
    }

    pub(super) fn format(&self) -> Option<Format> {
        let parquet = || self.parquet.as_ref().map(|_| Format::Parquet);
        self.csv.map(|_| Format::Csv).or_else(parquet)
    }

    pub(super) fn is_gzip(&self) -> bool {
        self.gzip.is_some()
    }

    /// Tells whether all rows were seen.
    pub(super) fn is_exact(&self) -> bool {
        self.whole
    }

    pub(super) fn channel(&self) -> Channel {
        Channel {
            files: self.files.len(),
            bytes: self.bytes(),
            gzip: self.is_gzip(),
            rows: self.rows(),
        }
    }

    fn rows(&self) -> Option<Rows> {
        if self.parquet.is_some() {
            let exact = self.looked_into.len() == self.files.len();
            let share = self.files.len() as f64 / self.looked_into.len().max(1) as f64;
            let count = (self.parquet_rows as f64 * share) as u64;
            let count = if exact { self.parquet_rows } else { count };
            return Some(Rows { count, exact, sampled: 0 });
        }
        let table = self.table.as_ref()?;
        Some(Rows { count: self.estimate(table.rows), exact: self.whole, sampled: table.rows })
    }

    /// Scales a count of the sample to all files: rows take about the same
    /// room everywhere.
    pub(super) fn estimate(&self, count: u64) -> u64 {
        if self.whole || self.covered == 0 {
            return count;
        }
        (count as f64 * self.bytes() as f64 / self.covered as f64).round() as u64
    }

    /// Plans what to read now; nothing once all is known. Ranges are never empty.
    pub(super) fn reads(&mut self) -> Vec<Read> {
        self.round += 1;
        match self.round {
            1 => {
                let head = self.head;
                let of = |file: &usize| Read {
                    file: *file,
                    range: 0..head.min(self.files[*file].size),
                    part: Part::Head,
                };
                self.looked_into.iter().map(of).collect()
            }
            2 => {
                let tails = std::mem::take(&mut self.tails);
                let tails = tails.into_iter().map(|file| {
                    let size = self.files[file].size;
                    Read { file, range: size.saturating_sub(TAIL)..size, part: Part::Tail }
                });
                tails.chain(self.pieces()).collect()
            }
            3 => {
                let footers = std::mem::take(&mut self.footers);
                let read = |(file, range)| Read { file, range, part: Part::Footer };
                footers.into_iter().map(read).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Tells whether nothing more will be asked for.
    pub(super) fn is_done(&self) -> bool {
        self.round >= 3
    }

    /// Ends of long files, where it shows what was joined, cut off or appended, and
    /// pieces of what lies between, spread over all of them; the same for the same
    /// files. No byte is read twice.
    fn pieces(&self) -> Vec<Read> {
        if self.findings.has_errors() {
            return Vec::new();
        }
        let middle = |file: usize, range| Read { file, range, part: Part::Middle };
        let end = |file: usize| self.files[file].size.saturating_sub(PIECE).max(self.head);
        let ends = self.long.iter().take(PIECES as usize);
        let mut reads: Vec<Read> =
            ends.map(|&file| middle(file, end(file)..self.files[file].size)).collect();
        let between = |file: usize| end(file) - self.head;
        let total: u64 = self.long.iter().map(|&file| between(file)).sum();
        let count = PIECES.min(total / (2 * PIECE));
        let stride = total / count.max(1);
        for piece in 0..count {
            let room = stride.saturating_sub(PIECE).max(1);
            let mut at = piece * stride + hash(&[piece as u8]) % room;
            for &file in &self.long {
                if at < between(file) {
                    let start = self.head + at;
                    reads.push(middle(file, start..(start + PIECE).min(end(file))));
                    break;
                }
                at -= between(file);
            }
        }
        reads
    }

    /// Takes what was read.
    pub(super) fn take(&mut self, read: &Read, bytes: &[u8]) {
        let index = read.file;
        match read.part {
            Part::Head => self.head(index, bytes),
            // One flaw in the middle is enough, and the others may follow from it.
            Part::Middle if self.findings.has_errors() => {}
            Part::Middle => {
                let File { name, size, .. } = &self.files[index];
                if let Some(table) = &mut self.table {
                    let before = table.bytes;
                    let ends = read.range.end == *size;
                    table.middle(name, bytes, ends, &mut self.findings);
                    self.covered += table.bytes - before;
                }
            }
            Part::Tail => self.tail(index, bytes),
            Part::Footer => self.footer(index, parquet::read(bytes)),
        }
    }

    fn head(&mut self, index: usize, bytes: &[u8]) {
        let size = self.files[index].size;
        let whole = bytes.len() as u64 >= size;
        match format::recognise(bytes) {
            Magic::Other(what) => self.no_table(index, what),
            Magic::Parquet => {
                self.whole = false;
                if whole {
                    self.tail(index, bytes);
                } else {
                    self.tails.push(index);
                }
            }
            Magic::Gzip => {
                self.gzip.get_or_insert(index);
                self.gzipped(index, bytes, whole);
            }
            Magic::Text => {
                self.plain.get_or_insert(index);
                let covered = self.csv(index, bytes, whole);
                self.covered += covered;
                if !whole {
                    self.whole = false;
                    self.long.push(index);
                }
            }
        }
    }

    /// Decompresses no more than is looked at, whatever the file promises.
    fn gzipped(&mut self, index: usize, bytes: &[u8], whole: bool) {
        let limit = self.head.min(self.to_unpack.max(HEAD));
        let mut decoder = flate2::bufread::MultiGzDecoder::new(bytes);
        let mut text = Vec::new();
        let mut buffer = [0; 16 << 10];
        let ended = loop {
            match decoder.read(&mut buffer) {
                Ok(0) => break whole,
                Ok(read) => text.extend_from_slice(&buffer[..read]),
                Err(error) => {
                    let cut = error.kind() == std::io::ErrorKind::UnexpectedEof;
                    if whole || !cut {
                        let what = if cut { "breaks off before its end" } else { "is damaged" };
                        let message = format!("is a gzip file that {what}: upload it again");
                        return self.fault(index, Flaw::BrokenGzip, message);
                    }
                    break false;
                }
            }
            if text.len() as u64 >= limit {
                break false;
            }
        };
        self.to_unpack = self.to_unpack.saturating_sub(text.len() as u64);
        match format::recognise(&text) {
            Magic::Text => {}
            Magic::Gzip => return self.no_table(index, "compressed twice"),
            Magic::Parquet => return self.no_table(index, "a Parquet file within gzip"),
            Magic::Other(what) => return self.no_table(index, what),
        }
        let stored = (bytes.len() - decoder.into_inner().len()) as u64;
        let covered = self.csv(index, &text, ended);
        // The share of the stored bytes that the rows seen take.
        self.covered += (stored as f64 * covered as f64 / text.len().max(1) as f64) as u64;
        self.whole &= ended;
    }

    /// Takes the head of a text file; gives how much of it was seen as rows.
    fn csv(&mut self, index: usize, bytes: &[u8], whole: bool) -> u64 {
        self.csv.get_or_insert(index);
        let file = self.files[index].name.clone();
        let file = file.as_str();
        let text = match format::text(bytes, whole) {
            Ok(text) => text,
            Err(no_text) => {
                self.fault(index, flaw(no_text), no_text);
                return 0;
            }
        };
        let shape = shape::shape(text);
        header::must_be_narrow(file, &shape, &mut self.findings);
        if shape.widest > header::MOST {
            return 0;
        }
        if let Some(line) = shape.lone_return {
            let message = format!(
                "ends line {line} with a carriage return only, as old Macintosh computers did, and readers differ on that: save it with line feeds"
            );
            self.fault(index, Flaw::CarriageReturns, message);
            return 0;
        }
        let mut reader = crosspilot_table::reader(text);
        let mut record = csv::StringRecord::new();
        if !matches!(reader.read_record(&mut record), Ok(true)) {
            self.fault(
                index,
                Flaw::EmptyFile,
                "holds nothing but empty lines: remove it, or upload it again",
            );
            return 0;
        }
        let after_header = reader.position().byte();
        if !whole && after_header as usize >= text.len() {
            self.fault(index, Flaw::LongHeader, "has a first line without an end: check that its lines are separated by line feeds, and that no quote is left open");
            return 0;
        }
        let (target, first) = (self.wanted.target, self.first);
        let Some(names) = header::read(file, &record, text, target, &mut self.findings) else {
            return 0;
        };
        if let (Some(first), Some(table)) = (first, &self.table) {
            let first = self.files[first].name.as_str();
            let known = &table.names;
            let is_same = *known == names;
            if !is_same || self.proven < header::PROOF {
                match header::must_be_no_row(first, known, text, &mut self.findings) {
                    Some(rows) => self.proven += if is_same { rows } else { 0 },
                    None => {
                        (self.first, self.table) = (None, None);
                        return 0;
                    }
                }
            }
            if !is_same {
                let is_believed = self.proven >= header::PROOF;
                let (first, other) = ((first, known.as_slice()), (file, names.as_slice()));
                header::must_equal(first, is_believed, other, &mut self.findings);
                return 0;
            }
        } else {
            if let (Some(target), false) = (target, self.wanted.unlabelled)
                && !header::must_have_target(file, &names, target, &mut self.findings)
            {
                return 0;
            }
            let Some(rows) = header::must_be_no_row(file, &names, text, &mut self.findings) else {
                return 0;
            };
            self.proven = rows;
            if text.len() < bytes.len() && bytes.starts_with(b"\xEF\xBB\xBF") {
                let message = "begins with a byte order mark, which some readers take for a part of the first column's name: save it as UTF-8 without one";
                self.findings.warn(Finding::in_file(file, Flaw::ByteOrderMark, message));
            }
            self.first = Some(index);
            self.table = Some(Table::new(names, target, self.wanted.weight));
        }
        let Some(table) = &mut self.table else { return 0 };
        let before = table.bytes;
        table.head(file, text, whole, &mut self.findings);
        after_header + table.bytes - before
    }

    /// Takes the end of a Parquet file.
    fn tail(&mut self, index: usize, bytes: &[u8]) {
        let size = self.files[index].size;
        let last = &bytes[bytes.len() - bytes.len().min(parquet::TAIL as usize)..];
        let range = match parquet::place(size, last) {
            Ok(range) => range,
            Err(reason) => return self.footer(index, Err(reason)),
        };
        let begins = size - bytes.len() as u64;
        let name = &self.files[index].name;
        let length = range.end - range.start;
        if length > parquet::LARGEST {
            let message =
                "has a footer of more than 4 MB, which is not looked into: write larger row groups";
            self.findings.warn(Finding::in_file(name, Flaw::NotAllFiles, message));
        } else if range.start < begins && length > self.to_read {
            let message = "has a footer that is not looked into, since those of the files before it have 64 MB already: write fewer files or larger row groups";
            self.findings.warn(Finding::in_file(name, Flaw::NotAllFiles, message));
        } else if range.start < begins {
            self.to_read -= length;
            self.footers.push((index, range));
        } else {
            let at = |offset: u64| (offset - begins) as usize;
            self.footer(index, parquet::read(&bytes[at(range.start)..at(range.end)]));
        }
    }

    fn footer(&mut self, index: usize, footer: Result<Footer, parquet::Reason>) {
        let footer = match footer {
            Ok(footer) => footer,
            Err(reason) => {
                let message = format!("is a Parquet file that {reason}: write it again");
                return self.fault(index, Flaw::BrokenParquet, message);
            }
        };
        if footer.nested {
            return self.fault(
                index,
                Flaw::NestedColumns,
                "is a Parquet file with columns inside columns: give each a column of its own",
            );
        }
        self.parquet_rows = self.parquet_rows.saturating_add(footer.rows);
        let names: Vec<String> = footer.columns.iter().map(|column| column.name.clone()).collect();
        let name = self.files[index].name.clone();
        match (&mut self.parquet, self.first) {
            (Some(columns), Some(first)) => {
                let known: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
                let first = self.files[first].name.as_str();
                header::must_equal((first, &known), true, (&name, &names), &mut self.findings);
                if known == names {
                    columns
                        .iter_mut()
                        .zip(footer.columns)
                        .for_each(|(column, more)| column.add(more));
                }
            }
            _ => {
                header::must_have_names(&name, &names, &mut self.findings);
                if let (Some(target), false) = (self.wanted.target, self.wanted.unlabelled) {
                    header::must_have_target(&name, &names, target, &mut self.findings);
                }
                self.first = Some(index);
                self.parquet = Some(footer.columns);
            }
        }
    }

    fn fault(&mut self, index: usize, flaw: Flaw, message: impl std::fmt::Display) {
        self.findings.error(Finding::in_file(&self.files[index].name, flaw, message));
    }

    fn no_table(&mut self, index: usize, what: &str) {
        let message = format!(
            "is {what}: give comma-separated UTF-8 text with a header line, plain or in gzip, or Parquet"
        );
        self.fault(index, Flaw::NotATable, message);
    }

    /// Adds what can only be said of all files together.
    pub(super) fn finish(&mut self) {
        let name = |index: usize| self.files[index].name.as_str();
        let parquet = self.parquet.as_ref().and(self.first);
        let pair = match (self.plain, self.gzip, parquet) {
            (Some(plain), Some(gzip), _) => Some((gzip, "compressed with gzip", plain, "not")),
            (Some(text), _, Some(parquet)) | (None, Some(text), Some(parquet)) => {
                Some((text, "CSV", parquet, "Parquet"))
            }
            _ => None,
        };
        if let Some((one, is, other, other_is)) = pair {
            let message = format!(
                "is {is}, and {} is {other_is}: all files of a model must be of one form",
                name(other)
            );
            let finding = Finding::in_file(name(one), Flaw::MixedFormats, message);
            self.findings.error(finding);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_byte_of_a_large_file_is_read_twice_and_its_end_is_read() {
        for sizes in [vec![9 << 20], vec![20 << 20, 9 << 20], vec![HEADS + 1], vec![3 << 30; 40]] {
            let file = |(index, size): (usize, &u64)| File {
                name: format!("{index}.csv"),
                key: format!("p/m/train/{index}.csv"),
                size: *size,
                archived: false,
                etag: String::new(),
            };
            let files = sizes.iter().enumerate().map(file).collect();
            let mut inspection = Inspection::of(files, Wanted::default());
            let heads = inspection.reads();
            inspection.long = (0..sizes.len()).collect();
            let mut all = [heads, inspection.reads()].concat();
            assert!(all.iter().any(|read| read.range.end == sizes[0]));
            all.sort_by_key(|read| (read.file, read.range.start));
            for pair in all.windows(2) {
                let [one, next] = pair else { continue };
                let apart = one.file != next.file || one.range.end <= next.range.start;
                assert!(apart && !one.range.is_empty(), "{one:?} {next:?}");
            }
        }
    }
}
