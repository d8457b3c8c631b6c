//! Recognises what a file is by its first bytes, never by its name.

/// The kind of a file, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Magic {
    /// Text, as far as it looks.
    Text,
    /// A file compressed with gzip.
    Gzip,
    /// Apache Parquet.
    Parquet,
    /// Something that is no table, in words.
    Other(&'static str),
}

/// First bytes of formats that people upload by mistake and that no text begins with.
const BINARY: [(&[u8], &str); 9] = [
    (b"PK\x03\x04", "an Excel workbook or another ZIP archive"),
    (b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1", "an old Excel workbook"),
    (b"\x28\xB5\x2F\xFD", "compressed with Zstandard"),
    (b"\xFD7zXZ\x00", "compressed with xz"),
    (b"7z\xBC\xAF\x27\x1C", "a 7-Zip archive"),
    (b"Obj\x01", "an Avro file"),
    (b"\x89PNG", "a picture"),
    (b"\xFF\xD8\xFF", "a picture"),
    (b"\x80\x04\x95", "a Python pickle"),
];

/// First bytes that a column's name may begin with, too: a line of several names tells.
const PRINTABLE: [(&[u8], &str); 5] = [
    (b"BZh", "compressed with bzip2"),
    (b"Rar!", "a RAR archive"),
    (b"ORC", "an ORC file"),
    (b"ARROW1", "an Arrow or Feather file"),
    (b"SQLite format 3", "an SQLite database"),
];

/// Bytes that are looked at to tell text from what only begins like it.
const LOOK: usize = 4 << 10;

/// Recognises a file by its beginning. Valid CSV is text, whatever its first column is
/// called.
pub fn recognise(bytes: &[u8]) -> Magic {
    if bytes.starts_with(b"\x1F\x8B") {
        return Magic::Gzip;
    }
    if bytes.get(257..262) == Some(b"ustar") {
        return Magic::Other("a tar archive");
    }
    let known = |list: &[(&[u8], &'static str)]| {
        list.iter().find(|(magic, _)| bytes.starts_with(magic)).map(|(_, what)| *what)
    };
    if let Some(what) = known(&BINARY) {
        return Magic::Other(what);
    }
    let text = without_mark(bytes).trim_ascii_start();
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let is_header = line.iter().any(|byte| matches!(byte, b',' | b';' | b'\t' | b'|'));
    if !is_header || !is_text(&bytes[..bytes.len().min(LOOK)]) {
        if bytes.starts_with(b"PAR1") {
            return Magic::Parquet;
        }
        if let Some(what) = known(&PRINTABLE) {
            return Magic::Other(what);
        }
    }
    if bytes.starts_with(b"%PDF-") {
        return Magic::Other("a PDF document");
    }
    let after = |skip: usize| text.get(skip..).unwrap_or_default().trim_ascii_start().first();
    match text.first() {
        Some(b'<')
            if matches!(text.get(1), Some(b'!' | b'?'))
                || text.len() >= 5 && text[..5].eq_ignore_ascii_case(b"<html")
                || !is_header =>
        {
            Magic::Other("a web page or another XML document")
        }
        Some(b'{') if matches!(after(1), Some(b'"' | b'}')) => Magic::Other("JSON"),
        Some(b'[') if matches!(after(1), Some(b'{' | b'[' | b'"')) => Magic::Other("JSON"),
        _ => Magic::Text,
    }
}

/// Tells whether bytes are UTF-8 without control characters but the usual ones; the last
/// character may be cut.
fn is_text(bytes: &[u8]) -> bool {
    let valid = match std::str::from_utf8(bytes) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none(),
    };
    valid && !bytes.iter().any(|byte| *byte < 0x20 && !byte.is_ascii_whitespace())
}

/// The text without a byte order mark of UTF-8.
pub fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes)
}

/// The reason why bytes are not the text that a table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoText {
    /// Text of two or four bytes a character.
    Wide {
        /// `true` if a byte order mark says so.
        marked: bool,
    },
    /// A NUL, at this byte, from 1.
    Nul {
        /// The byte's place, from 1.
        at: usize,
    },
    /// Another encoding.
    NotUtf8 {
        /// The line, from 1.
        line: usize,
    },
}

impl std::fmt::Display for NoText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NoText::Wide { marked: true } => f.write_str(
                "is text in UTF-16, as Excel writes \"Unicode text\": save it as \"CSV UTF-8\"",
            ),
            NoText::Wide { marked: false } => f.write_str(
                "is text in UTF-16 or UTF-32 without a byte order mark: save it as UTF-8",
            ),
            NoText::Nul { at } => write!(
                f,
                "contains binary data (a NUL at byte {at}): give comma-separated UTF-8 text with a header line"
            ),
            NoText::NotUtf8 { line } => write!(
                f,
                "is not UTF-8 text (line {line}); it may be Latin-1 or Windows-1252: save it as UTF-8"
            ),
        }
    }
}

/// Reads the beginning of a file as UTF-8, without its byte order mark. `whole` says
/// that the file ends here: otherwise its last character may be cut, and is left out.
pub fn text(bytes: &[u8], whole: bool) -> Result<&[u8], NoText> {
    if bytes.starts_with(b"\xFF\xFE") || bytes.starts_with(b"\xFE\xFF") {
        return Err(NoText::Wide { marked: true });
    }
    if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
        let wide =
            at < 4 && bytes.len() > 8 && bytes[..8].iter().filter(|byte| **byte == 0).count() >= 3;
        return Err(if wide { NoText::Wide { marked: false } } else { NoText::Nul { at: at + 1 } });
    }
    let bytes = without_mark(bytes);
    match std::str::from_utf8(bytes) {
        Ok(_) => Ok(bytes),
        Err(error) if error.error_len().is_none() && !whole => Ok(&bytes[..error.valid_up_to()]),
        Err(error) => {
            let before = &bytes[..error.valid_up_to()];
            let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
            Err(NoText::NotUtf8 { line })
        }
    }
}

/// Finds another separator than the comma, if the first lines agree on one better: gives
/// its name, by which people know it.
pub fn other_separator(text: &[u8], target: Option<&str>) -> Option<&'static str> {
    let mut lines = text.split(|b| *b == b'\n').filter(|line| !line.trim_ascii().is_empty());
    let header = lines.next()?;
    let row = lines.next();
    let count = |line: &[u8], byte: u8| line.iter().filter(|b| **b == byte).count();
    let commas = count(header, b',');
    let separators = [(b';', "semicolons"), (b'\t', "tabs"), (b'|', "vertical bars")];
    separators.into_iter().find_map(|(byte, name)| {
        let found = count(header, byte);
        let agrees = row.is_none_or(|row| count(row, byte) >= found);
        let names_target = || {
            target.is_some_and(|target| {
                let quoted = format!("\"{target}\"");
                header
                    .split(|b| *b == byte)
                    .map(<[u8]>::trim_ascii)
                    .any(|name| name == target.as_bytes() || name == quoted.as_bytes())
            })
        };
        (found > 0 && agrees && (commas == 0 || names_target())).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_what_it_begins_with() {
        assert_eq!(recognise(b"a,b\n1,2\n"), Magic::Text);
        assert_eq!(recognise(b"\x1F\x8B\x08"), Magic::Gzip);
        assert_eq!(recognise(b"PAR1\x15\x04\x15"), Magic::Parquet);
        assert_eq!(recognise(b"BZh91AY&SY\xBA\x1C\0\x01"), Magic::Other("compressed with bzip2"));
        assert_eq!(recognise(b"<?xml version=\"1.0\"?>"), recognise(b"<!DOCTYPE html>"));
        assert_eq!(recognise(b"<table>\n<tr>a,b</tr>"), recognise(b"<html lang=\"a,b\">"));
        assert_eq!(recognise(b"{\"a\":1,\"b\":2}\n"), Magic::Other("JSON"));
        assert_eq!(recognise(b"\xEF\xBB\xBF [{\"a\": 1}]"), Magic::Other("JSON"));
        assert_eq!(recognise(b""), Magic::Text);
    }

    #[test]
    fn valid_csv_is_text_whatever_its_first_column_is_called() {
        for csv in
            ["<X>,<PLAN>,<UP>", "[x],plan", "BZh_share,plan", "ORC,y", "PAR1,y", "{x},y", "Rar!,y"]
        {
            assert_eq!(recognise(format!("{csv}\n1,2\n").as_bytes()), Magic::Text, "{csv}");
        }
    }

    #[test]
    fn a_separator_is_another_one_only_if_the_lines_agree() {
        assert_eq!(other_separator(b"a;b;y\n1,5;2;3\n", None), Some("semicolons"));
        assert_eq!(other_separator(b"a\tb\n1\t2\n", None), Some("tabs"));
        assert_eq!(other_separator(b"a;b,y\n1,2\n", Some("y")), None);
        assert_eq!(other_separator(b"size, cm;y\n1,5;2\n", Some("y")), Some("semicolons"));
        assert_eq!(other_separator(b"words\nmore: words\n", None), None);
    }

    #[test]
    fn a_character_that_the_sample_cuts_is_left_out() {
        assert_eq!(text(b"a,\xC3", false), Ok(&b"a,"[..]));
        assert_eq!(text(b"a,\xC3", true), Err(NoText::NotUtf8 { line: 1 }));
        assert_eq!(text(b"a,b\n\0", true), Err(NoText::Nul { at: 5 }));
        assert_eq!(text(b"\xFF\xFEa\0", true), Err(NoText::Wide { marked: true }));
    }
}
