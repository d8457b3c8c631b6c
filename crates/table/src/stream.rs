//! Reads the rows of a file that comes in parts, plain or in gzip, in bounded memory.

use csv_core::ReadRecordResult;

use crate::unpack::{NotUnpacked, Unpack};

/// Bytes of a row beyond which it is no row: an open quote swallows what follows.
const LONGEST_ROW: usize = 16 << 20;

/// The reason why a file's rows cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broken {
    /// The file cannot be unpacked.
    NotUnpacked(NotUnpacked),
    /// A row that does not end.
    LongRow,
}

impl From<NotUnpacked> for Broken {
    fn from(error: NotUnpacked) -> Self {
        Self::NotUnpacked(error)
    }
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Broken::NotUnpacked(error) => error.fmt(f),
            Broken::LongRow => {
                write!(f, "has a row of more than {LONGEST_ROW} bytes; is a quote not closed?")
            }
        }
    }
}

/// A row: its cells as raw bytes, without their quotes.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    text: &'a [u8],
    ends: &'a [usize],
}

impl<'a> Row<'a> {
    /// Counts the cells.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Tells whether it has no cell. The reader gives no such row.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Gives a cell.
    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        let end = *self.ends.get(index)?;
        let begin = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        Some(&self.text[begin..end])
    }

    /// Gives all cells in order.
    pub fn cells(&self) -> impl Iterator<Item = &'a [u8]> {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    /// Counts the bytes of all cells.
    pub fn bytes(&self) -> usize {
        self.text.len()
    }
}

/// A file as its parts come in, whose first row is the header.
#[derive(Default)]
pub struct Stream {
    unpack: Unpack,
    rows: Rows,
}

impl Stream {
    /// Takes the file's next part, and hands on each row that it completes.
    pub fn take(&mut self, part: &[u8], each: &mut impl FnMut(Row<'_>)) -> Result<(), Broken> {
        self.unpack.take(part, &mut |text| self.rows.read(text, each))
    }

    /// Ends the file, and hands on the rows that only its end completes.
    pub fn end(mut self, each: &mut impl FnMut(Row<'_>)) -> Result<(), Broken> {
        self.unpack.end(&mut |text| self.rows.read(text, each))?;
        self.rows.advance(b"", each).map(drop)
    }

    /// Counts the bytes that were read, unpacked.
    pub fn unpacked(&self) -> u64 {
        self.rows.bytes
    }
}

/// The row that is being read.
struct Rows {
    reader: csv_core::Reader,
    text: Vec<u8>,
    text_len: usize,
    ends: Vec<usize>,
    ends_len: usize,
    bytes: u64,
}

impl Default for Rows {
    fn default() -> Self {
        Self {
            reader: csv_core::Reader::new(),
            text: vec![0; 4096],
            text_len: 0,
            ends: vec![0; 64],
            ends_len: 0,
            bytes: 0,
        }
    }
}

impl Rows {
    fn read(&mut self, mut text: &[u8], each: &mut impl FnMut(Row<'_>)) -> Result<(), Broken> {
        self.bytes += text.len() as u64;
        while !text.is_empty() {
            text = self.advance(text, each)?;
        }
        Ok(())
    }

    /// Reads up to the end of a row or of the text; the end of the file is an empty
    /// text. Gives what is left.
    fn advance<'t>(
        &mut self,
        mut text: &'t [u8],
        each: &mut impl FnMut(Row<'_>),
    ) -> Result<&'t [u8], Broken> {
        loop {
            let (result, read, written, ended) = self.reader.read_record(
                text,
                &mut self.text[self.text_len..],
                &mut self.ends[self.ends_len..],
            );
            text = &text[read..];
            self.text_len += written;
            self.ends_len += ended;
            match result {
                ReadRecordResult::InputEmpty | ReadRecordResult::End => return Ok(text),
                ReadRecordResult::OutputFull if self.text.len() >= LONGEST_ROW => {
                    return Err(Broken::LongRow);
                }
                ReadRecordResult::OutputFull => self.text.resize(self.text.len() * 2, 0),
                ReadRecordResult::OutputEndsFull if self.ends.len() >= LONGEST_ROW => {
                    return Err(Broken::LongRow);
                }
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::Record => {
                    let (text_len, ends_len) = (self.text_len, self.ends_len);
                    (self.text_len, self.ends_len) = (0, 0);
                    each(Row { text: &self.text[..text_len], ends: &self.ends[..ends_len] });
                    if text.is_empty() {
                        return Ok(text);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn rows(bytes: &[u8], part: usize) -> Result<Vec<Vec<Vec<u8>>>, Broken> {
        let mut found = Vec::new();
        let mut keep = |row: Row<'_>| found.push(row.cells().map(<[u8]>::to_vec).collect());
        let mut stream = Stream::default();
        for part in bytes.chunks(part) {
            stream.take(part, &mut keep)?;
        }
        stream.end(&mut keep)?;
        Ok(found)
    }

    #[test]
    fn a_packed_file_that_breaks_off_or_is_no_text_says_so() {
        let packed = gzip(&b"a,b\n1,2\n".repeat(1000));
        assert_eq!(rows(&packed, 100).unwrap().len(), 2000);
        assert!(matches!(
            rows(&packed[..packed.len() - 9], 100),
            Err(Broken::NotUnpacked(NotUnpacked::Gzip(_)))
        ));
        // Several members are one file.
        let twice = [gzip(b"a,b\n1,"), gzip(b"2\n")].concat();
        assert_eq!(rows(&twice, 7).unwrap(), [[b"a", b"b"], [b"1", b"2"]]);
        assert_eq!(
            rows(b"PK\x03\x04", 2).unwrap_err().to_string(),
            "is an Excel workbook or another ZIP archive"
        );
        assert_eq!(rows(b"", 1), Ok(vec![]));
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_first_name() {
        let marked = b"\xEF\xBB\xBFa,b\n1,2\n";
        for bytes in [marked.to_vec(), gzip(marked)] {
            assert_eq!(rows(&bytes, 1000).unwrap(), [[b"a", b"b"], [b"1", b"2"]]);
        }
    }

    #[test]
    fn a_row_that_does_not_end_is_refused_and_not_kept() {
        let mut text = b"a,b\n1,\"".to_vec();
        text.resize(2 * LONGEST_ROW, b'x');
        assert_eq!(rows(&text, 1 << 20), Err(Broken::LongRow));
    }

    proptest! {
        #[test]
        fn rows_are_the_same_in_parts_and_at_once(
            text in "[a\",\r\n é0]{0,80}", part in 1_usize..20, packed: bool
        ) {
            let text = format!("h1,h2\n{text}");
            let mut reader = crate::reader(text.as_bytes());
            let whole: Vec<Vec<Vec<u8>>> = reader
                .byte_records()
                .map(|row| row.unwrap().iter().map(<[u8]>::to_vec).collect())
                .collect();
            let bytes = if packed { gzip(text.as_bytes()) } else { text.into_bytes() };
            prop_assert_eq!(rows(&bytes, part).unwrap(), whole);
        }
    }
}
