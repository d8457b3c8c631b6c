//! Reads a Python list of strings or numbers as `repr` writes it, such as
//! `['False.', "it's"]`. Endpoints put such lists into CSV fields; it looks like
//! JSON and is not.

use std::iter::Peekable;
use std::str::Chars;

/// The items of a list as text: strings unquoted, everything else as it stands.
/// The error is a phrase that says what is wrong.
pub fn list(text: &str) -> Result<Vec<String>, &'static str> {
    let inner = text.trim().strip_prefix('[').ok_or("a list that does not start with [")?;
    let mut chars = inner.chars().peekable();
    let mut items = Vec::new();
    loop {
        skip_space(&mut chars);
        match chars.peek() {
            None => return Err("a list without its end"),
            Some(']') => break,
            Some('\'' | '"') => items.push(string(&mut chars)?),
            Some(_) => items.push(bare(&mut chars)?),
        }
        skip_space(&mut chars);
        match chars.peek() {
            Some(',') => chars.next(),
            Some(']') => break,
            Some(_) => return Err("two items without a comma between them"),
            None => return Err("a list without its end"),
        };
    }
    chars.next();
    skip_space(&mut chars);
    if chars.next().is_some() { Err("text after the list's end") } else { Ok(items) }
}

fn skip_space(chars: &mut Peekable<Chars<'_>>) {
    while chars.next_if(|c| c.is_whitespace()).is_some() {}
}

/// A number or a name such as `True`.
fn bare(chars: &mut Peekable<Chars<'_>>) -> Result<String, &'static str> {
    let mut item = String::new();
    while let Some(c) =
        chars.next_if(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+' | '_'))
    {
        item.push(c);
    }
    if item.is_empty() { Err("an item that is neither a string nor a number") } else { Ok(item) }
}

fn string(chars: &mut Peekable<Chars<'_>>) -> Result<String, &'static str> {
    const OPEN: &str = "a string without its end";
    let quote = chars.next().ok_or(OPEN)?;
    let mut text = String::new();
    loop {
        match chars.next().ok_or(OPEN)? {
            c if c == quote => return Ok(text),
            '\\' => text.push(match chars.next().ok_or(OPEN)? {
                c @ ('\\' | '\'' | '"') => c,
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'x' => code_point(chars, 2)?,
                'u' => code_point(chars, 4)?,
                'U' => code_point(chars, 8)?,
                _ => return Err("an escape that repr does not write"),
            }),
            c => text.push(c),
        }
    }
}

fn code_point(chars: &mut Peekable<Chars<'_>>, digits: usize) -> Result<char, &'static str> {
    let mut code = 0_u32;
    for _ in 0..digits {
        let digit =
            chars.next().and_then(|c| c.to_digit(16)).ok_or("an escape with too few digits")?;
        code = code << 4 | digit;
    }
    char::from_u32(code).ok_or("an escape that is no character")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn strings_numbers_and_names() {
        assert_eq!(list("['False.', 'True.']").unwrap(), ["False.", "True."]);
        assert_eq!(list("[0.09, 9.1e-01]").unwrap(), ["0.09", "9.1e-01"]);
        assert_eq!(list("[0, 1,]").unwrap(), ["0", "1"]);
        assert_eq!(list(" [ ] ").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn both_quotes_and_all_escapes() {
        let text = r#"["it's", 'say "hi"', 'it\'s "both"', ' <=50K', 'a, b]', '\x07\n\\', '\u00e9\U0001f600']"#;
        let expected =
            ["it's", "say \"hi\"", "it's \"both\"", " <=50K", "a, b]", "\u{7}\n\\", "é😀"];
        assert_eq!(list(text).unwrap(), expected);
    }

    #[test]
    fn what_is_not_a_list_is_refused() {
        for text in [
            "",
            "x",
            "[",
            "['a'",
            "['a",
            "['a' 'b']",
            "[1 2]",
            "[1] 2",
            "[,]",
            "[{}]",
            r"['\q']",
            r"['\x4']",
            r"['\ud800']",
        ] {
            assert!(list(text).is_err(), "{text}");
        }
    }

    /// As Python's `repr` does it.
    fn repr(text: &str) -> String {
        let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
        let mut out = String::from(quote);
        for c in text.chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                c if c == quote => out.extend(['\\', c]),
                c if (c as u32) < 0x20 || c as u32 == 0x7f => {
                    out.push_str(&format!("\\x{:02x}", c as u32))
                }
                c => out.push(c),
            }
        }
        out.push(quote);
        out
    }

    proptest! {
        #[test]
        fn what_repr_writes_reads_back(items in proptest::collection::vec(any::<String>(), 0..5)) {
            let text = format!("[{}]", items.iter().map(|item| repr(item)).collect::<Vec<_>>().join(", "));
            prop_assert_eq!(list(&text).unwrap(), items);
        }

        #[test]
        fn nothing_makes_it_panic(text in "\\[?[\\[\\]'\"\\\\,xuU0-9a-z ]{0,40}") {
            let _ = list(&text);
        }
    }
}
