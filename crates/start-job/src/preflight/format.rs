//! What a file is, by its first bytes: never by its name.

use super::verdict::{Finding, Flaw};

/// What a file's first bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Magic {
    /// Nothing special: text, as far as it looks.
    Text,
    Gzip,
    Parquet,
    /// Something that is no table, in words.
    Other(&'static str),
}

/// First bytes of formats that people upload by mistake.
const OTHERS: [(&[u8], &str); 15] = [
    (b"PK\x03\x04", "an Excel workbook or another ZIP archive"),
    (b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1", "an old Excel workbook"),
    (b"%PDF", "a PDF document"),
    (b"BZh", "compressed with bzip2"),
    (b"\x28\xB5\x2F\xFD", "compressed with Zstandard"),
    (b"\xFD7zXZ\x00", "compressed with xz"),
    (b"7z\xBC\xAF\x27\x1C", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"ORC", "an ORC file"),
    (b"Obj\x01", "an Avro file"),
    (b"ARROW1", "an Arrow or Feather file"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"\x89PNG", "a picture"),
    (b"\xFF\xD8\xFF", "a picture"),
    (b"\x80\x04\x95", "a Python pickle"),
];

pub(super) fn recognise(bytes: &[u8]) -> Magic {
    if bytes.starts_with(b"\x1F\x8B") {
        return Magic::Gzip;
    }
    if bytes.starts_with(b"PAR1") {
        return Magic::Parquet;
    }
    if bytes.get(257..262) == Some(b"ustar") {
        return Magic::Other("a tar archive");
    }
    if let Some((_, what)) = OTHERS.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Magic::Other(what);
    }
    match without_mark(bytes).trim_ascii_start().first() {
        Some(b'<') => Magic::Other("a web page or another XML document"),
        Some(b'{' | b'[') => Magic::Other("JSON"),
        _ => Magic::Text,
    }
}

/// The text without a byte order mark of UTF-8.
pub(super) fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes)
}

/// The sample as UTF-8 with line feeds. `whole` says that the file ends here:
/// otherwise its last character may be cut, and is left out.
pub(super) fn text<'a>(file: &str, bytes: &'a [u8], whole: bool) -> Result<&'a [u8], Box<Finding>> {
    let finding = |flaw, message: String| Err(Box::new(Finding::in_file(file, flaw, message)));
    if bytes.starts_with(b"\xFF\xFE") || bytes.starts_with(b"\xFE\xFF") {
        return finding(
            Flaw::WideText,
            "is text in UTF-16, as Excel writes \"Unicode text\": save it as \"CSV UTF-8\"".into(),
        );
    }
    if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
        return if at < 4 && bytes.len() > 8 && bytes[..8].iter().filter(|b| **b == 0).count() >= 3 {
            finding(
                Flaw::WideText,
                "is text in UTF-16 or UTF-32 without a byte order mark: save it as UTF-8".into(),
            )
        } else {
            finding(
                Flaw::BinaryData,
                format!(
                    "contains binary data (a NUL at byte {}): give comma-separated UTF-8 text with a header line",
                    at + 1
                ),
            )
        };
    }
    let bytes = without_mark(bytes);
    let text = match std::str::from_utf8(bytes) {
        Ok(_) => bytes,
        Err(error) if error.error_len().is_none() && !whole => &bytes[..error.valid_up_to()],
        Err(error) => {
            let line = 1 + bytes[..error.valid_up_to()].iter().filter(|b| **b == b'\n').count();
            return finding(
                Flaw::NotUtf8,
                format!(
                    "is not UTF-8 text (line {line}); it may be Latin-1 or Windows-1252: save it as UTF-8"
                ),
            );
        }
    };
    if text.contains(&b'\r') && !text.contains(&b'\n') {
        return finding(
            Flaw::CarriageReturns,
            "ends its lines with carriage returns only, as old Macintosh computers did: save it with line feeds".into(),
        );
    }
    Ok(text)
}

/// Another separator than the comma, if the first lines agree on one better:
/// its name, by which people know it.
pub(super) fn other_separator(text: &[u8], target: Option<&str>) -> Option<&'static str> {
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
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_file_is_what_it_begins_with() {
        assert_eq!(recognise(b"a,b\n1,2\n"), Magic::Text);
        assert_eq!(recognise(b"\x1F\x8B\x08"), Magic::Gzip);
        assert_eq!(recognise(b"PAR1..."), Magic::Parquet);
        assert_eq!(recognise(b"\xEF\xBB\xBF [{\"a\": 1}]"), Magic::Other("JSON"));
        assert_eq!(recognise(b""), Magic::Text);
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
        assert_eq!(text("f", b"a,\xC3", false).unwrap(), b"a,");
        assert_eq!(text("f", b"a,\xC3", true).unwrap_err().code, Flaw::NotUtf8);
    }
}
