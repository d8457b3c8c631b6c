//! The shape of CSV text, found out in one pass and in no memory: a reader keeps a whole
//! record, and a record of a few megabytes of commas has millions of fields.

/// The shape of a text, as a pass over it has shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shape {
    /// Fields of the record that has most.
    pub widest: usize,
    /// The line in which that record begins, from 1.
    pub widest_line: u64,
    /// The line in which a quote was opened that nothing closes, from 1.
    pub open_quote: Option<u64>,
    /// The first line that ends with a carriage return alone, from 1: readers differ
    /// on whether a record ends there.
    pub lone_return: Option<u64>,
}

/// The place of the pass within a field, as RFC 4180 has it: a quote means something only at
/// a field's beginning, and within quotes two mean one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Start,
    Plain,
    Quoted,
    /// After a quote within quotes.
    Closing,
}

/// Passes over text, of which the beginning is the beginning of a record.
pub fn shape(text: &[u8]) -> Shape {
    let mut found = Shape::default();
    let (mut at, mut fields, mut line) = (At::Start, 1, 1);
    let (mut begin, mut opened) = (1, 0);
    for (index, &byte) in text.iter().enumerate() {
        if byte == b'\r' && at != At::Quoted && found.lone_return.is_none() {
            let alone = text.get(index + 1).is_some_and(|next| *next != b'\n');
            found.lone_return = alone.then_some(line);
        }
        at = match (at, byte) {
            (At::Quoted, b'"') => At::Closing,
            (At::Quoted, _) => At::Quoted,
            (At::Closing, b'"') => At::Quoted,
            (_, b',') => {
                fields += 1;
                At::Start
            }
            (_, b'\n' | b'\r') => {
                if fields > found.widest {
                    (found.widest, found.widest_line) = (fields, begin);
                }
                fields = 1;
                begin = line + u64::from(byte == b'\n');
                At::Start
            }
            (At::Start, b'"') => {
                opened = line;
                At::Quoted
            }
            _ => At::Plain,
        };
        line += u64::from(byte == b'\n');
    }
    if fields > found.widest {
        (found.widest, found.widest_line) = (fields, begin);
    }
    found.open_quote = (at == At::Quoted).then_some(opened);
    found
}

/// The records of a table of one column, in which an empty line is a record without
/// a value: readers skip it, and so it gets the quotes that say so.
pub fn with_blank_lines(records: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(records.len() + 16);
    let (mut quoted, mut before) = (false, b'\n');
    for (at, &byte) in records.iter().enumerate() {
        let begins = !quoted && before == b'\n';
        let ends = byte == b'\n' || (byte == b'\r' && records.get(at + 1) == Some(&b'\n'));
        if begins && ends {
            text.extend_from_slice(b"\"\"");
        }
        // Two quotes for one that is meant leave it as it was.
        quoted ^= byte == b'"' && (quoted || begins);
        text.push(byte);
        before = byte;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> (usize, u64, Option<u64>) {
        let Shape { widest, widest_line, open_quote, .. } = shape(text.as_bytes());
        (widest, widest_line, open_quote)
    }

    #[test]
    fn commas_within_quotes_separate_nothing() {
        assert_eq!(of("a,b\n1,\"2,3,4\"\n"), (2, 1, None));
        assert_eq!(of("a,b\n1,\"x\"\"y,\",3\n"), (3, 2, None));
        assert_eq!(of("a,5\" pipe,c\n1\n"), (3, 1, None));
        assert_eq!(of("a\r\n\"b\nc\",d\r\n"), (2, 2, None));
        assert_eq!(of(""), (1, 1, None));
    }

    #[test]
    fn a_quote_that_nothing_closes_is_found_where_it_opens() {
        assert_eq!(of("a,b\n1,\"2\n3,4\n"), (2, 1, Some(2)));
        assert_eq!(of("a,b\n1,\"2\"\n").2, None);
        assert_eq!(of("a,b\n1,\"2\"\"").2, Some(2));
    }

    #[test]
    fn a_carriage_return_alone_is_found_outside_of_quotes() {
        let lone = |text: &str| shape(text.as_bytes()).lone_return;
        assert_eq!(lone("a,b\r1,2\r"), Some(1));
        assert_eq!(lone("a,b\n1,2\r3,\"x\ny\"\n"), Some(2));
        assert_eq!(lone("a,b\r\n1,\"x\ry\"\r\n"), None);
        assert_eq!(lone("a,b\r"), None);
    }

    #[test]
    fn an_empty_line_is_a_record_unless_it_is_within_quotes() {
        let filled = |text: &str| String::from_utf8(with_blank_lines(text.as_bytes()));
        for (text, expected) in [
            ("1\n\n2\n", "1\n\"\"\n2\n"),
            ("\r\n1\r\n", "\"\"\r\n1\r\n"),
            ("\"a\n\nb\"\n\n", "\"a\n\nb\"\n\"\"\n"),
            ("5\" pipe\n\n", "5\" pipe\n\"\"\n"),
        ] {
            assert_eq!(filled(text).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn millions_of_fields_take_no_memory() {
        assert_eq!(shape(&vec![b','; 8 << 20]).widest, (8 << 20) + 1);
    }
}
