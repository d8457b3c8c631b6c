//! Makes HTML of hostile text: labels, column names, cells and causes pass through
//! [`text`], and nothing else of them becomes markup.

/// Writes text as HTML, at most so many characters of it. Its own writing direction
/// stays its own.
pub fn text(raw: &str, longest: usize) -> String {
    let mut out = String::from("<bdi>");
    for c in raw.chars().take(longest) {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // They would end a line, or turn the text around that follows.
            c if is_unseen(c) => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    if raw.chars().nth(longest).is_some() {
        out.push('…');
    }
    out.push_str("</bdi>");
    out
}

/// Control characters, and the marks that set a text's direction.
fn is_unseen(c: char) -> bool {
    (c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_or_turns_text_around_is_not_written() {
        for unseen in ['\u{1b}', '\u{7f}', '\u{9b}', '\u{200f}', '\u{202e}', '\u{2066}'] {
            assert_eq!(text(&format!("a{unseen}b"), 9), "<bdi>a\u{fffd}b</bdi>");
        }
        assert_eq!(text("a\nb\tc", 9), "<bdi>a\nb\tc</bdi>");
    }
}
