//! The output: aligned, coloured only on a terminal, progress on standard error, results on
//! standard output.
#![allow(clippy::print_stdout, reason = "this is where standard output is written")]

use std::io::IsTerminal;
use std::time::Duration;

use console::style;
use indicatif::{ProgressBar, ProgressStyle};

/// Prints one line on standard output.
pub(crate) fn line(text: &str) {
    println!("{text}");
}

/// Prints one JSON value on standard output.
pub(crate) fn json(value: &serde_json::Value) {
    println!("{}", visible(value));
}

/// JSON whose texts turn nothing around on a terminal: the marks that set a text's
/// direction are escaped, which is the same JSON.
fn visible(value: &serde_json::Value) -> String {
    let json = format!("{value:#}");
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '\u{7f}'..='\u{9f}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}' => text.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => text.push(c),
        }
    }
    text
}

/// A heading on standard output.
pub(crate) fn heading(text: &str) {
    println!("\n{}", style(text).bold());
}

/// Names and values in two columns.
pub(crate) fn pairs(rows: &[(&str, &str)]) {
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    for (name, value) in rows {
        println!("  {}{}  {value}", style(name).dim(), " ".repeat(width - name.chars().count()));
    }
}

/// Columns that every terminal has.
const NARROW: usize = 60;

/// Sentences on standard output, broken so that they fit beside a table.
pub(crate) fn paragraph(text: &str) {
    println!();
    for line in broken(text, NARROW - 2) {
        println!("  {line}");
    }
}

/// A word that is longer than a line has one of its own.
fn broken(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// A table with a header. Columns whose every cell is a number or a sum are aligned
/// right.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) {
    let columns = header.len();
    let width = |column: usize| {
        let cells = rows
            .iter()
            .filter_map(|row| row.get(column))
            .map(|cell| console::measure_text_width(cell));
        cells.chain([console::measure_text_width(header[column])]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let numeric: Vec<bool> = (0..columns)
        .map(|column| {
            rows.iter().filter_map(|row| row.get(column)).all(|cell| cell == "-" || is_number(cell))
        })
        .collect();
    let cell = |text: &str, column: usize| {
        let space = " ".repeat(widths[column].saturating_sub(console::measure_text_width(text)));
        if numeric[column] { format!("{space}{text}") } else { format!("{text}{space}") }
    };
    let titles: Vec<String> = header.iter().enumerate().map(|(i, text)| cell(text, i)).collect();
    println!("  {}", style(titles.join("  ").trim_end()).dim());
    for row in rows {
        let cells: Vec<String> = row.iter().enumerate().map(|(i, text)| cell(text, i)).collect();
        println!("  {}", cells.join("  ").trim_end());
    }
}

fn is_number(cell: &str) -> bool {
    let cell = cell.trim_start_matches(['<', ' ', '$']).trim_end_matches([' ', 's', '%']);
    cell.parse::<f64>().is_ok()
}

/// Progress through named steps: a moving line on a terminal, a line for each
/// step elsewhere.
pub(crate) struct Steps {
    bar: Option<ProgressBar>,
    last: std::sync::Mutex<String>,
}

impl Steps {
    pub(crate) fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            let template = "{spinner:.cyan} {elapsed:>4} {msg}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Self { bar, last: std::sync::Mutex::default() }
    }

    /// Shows what happens now. Saying the same again shows nothing new.
    pub(crate) fn step(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(text.to_owned()),
            None => {
                let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                if *last != text {
                    eprintln!("{text}");
                    text.clone_into(&mut last);
                }
            }
        }
    }

    /// All steps are done.
    pub(crate) fn done(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_fit_beside_a_table_and_lose_no_word() {
        let text = "a second fleet of 12 x ml.m5.24xlarge while the endpoint moves ".repeat(9);
        let lines = broken(&text, 58);
        assert!(lines.iter().all(|line| line.chars().count() <= 58), "{lines:?}");
        assert_eq!(lines.join(" "), text.trim_end());
        let long = "x".repeat(70);
        assert_eq!(broken(&format!("a {long} b"), 58), ["a", &long, "b"]);
    }

    #[test]
    fn json_turns_nothing_around_on_a_terminal_and_stays_the_same_json() {
        let value = serde_json::json!({"cause": "a\u{1b}[2J\u{9b}b\u{202e}c\u{2066}d\u{200f}é"});
        let shown = visible(&value);
        let is_steering =
            |c: char| c.is_control() && c != '\n' || "\u{202e}\u{2066}\u{200f}".contains(c);
        assert!(!shown.contains(is_steering), "{shown:?}");
        assert!(shown.contains('é'), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).ok(), Some(value));
    }

    #[test]
    fn sums_are_numbers() {
        for cell in ["$12.50", "< $0.01", "3.2 s", "7 %", "1"] {
            assert!(is_number(cell), "{cell}");
        }
        assert!(!is_number("3 x ml.m5.large"));
    }
}
