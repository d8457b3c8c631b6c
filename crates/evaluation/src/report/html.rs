//! HTML in small pieces. Labels, column names and cells are hostile text: they
//! pass through [`text`] or [`quoted`], and nothing else makes markup of them.

use crosspilot_core::html;

/// Longer texts are cut: a cell may hold a novel.
const LONGEST: usize = 80;
/// Sentences may hold names and AWS's own words.
const LONGEST_SENTENCE: usize = 600;

/// Text as HTML. Its own writing direction stays its own.
pub(super) fn text(raw: &str) -> String {
    html::text(raw, LONGEST)
}

/// The same for what may be a few sentences.
pub(super) fn sentence(raw: &str) -> String {
    html::text(raw, LONGEST_SENTENCE)
}

/// Text in quotation marks, so that its spaces show.
pub(super) fn quoted(raw: &str) -> String {
    format!("“{}”", text(raw))
}

/// A figure with its name and what it means. The first is set off.
pub(super) struct Tile {
    pub(super) value: String,
    pub(super) name: &'static str,
    pub(super) meaning: String,
}

/// A row of tiles.
pub(super) fn tiles(tiles: &[Tile]) -> String {
    let tile = |(index, tile): (usize, &Tile)| {
        let class = if index == 0 { "tile first" } else { "tile" };
        format!(
            "<div class=\"{class}\"><b>{}</b><span>{}</span><small>{}</small></div>",
            tile.value, tile.name, tile.meaning
        )
    };
    let tiles: String = tiles.iter().enumerate().map(tile).collect();
    format!("<section class=\"tiles\">{tiles}</section>")
}

/// A card with a title, a sentence and something to see.
pub(super) fn card(wide: bool, title: &str, sentence: &str, content: &str) -> String {
    let class = if wide { "card wide" } else { "card" };
    format!("<section class=\"{class}\"><h2>{title}</h2><p>{sentence}</p>{content}</section>")
}

/// A table of ready cells under escaped heads.
pub(super) fn table(heads: &[String], rows: &[Vec<String>]) -> String {
    let heads: String = heads.iter().map(|head| format!("<th>{head}</th>")).collect();
    let row = |row: &Vec<String>| {
        let cells: String = row.iter().map(|cell| format!("<td>{cell}</td>")).collect();
        format!("<tr>{cells}</tr>")
    };
    let rows: String = rows.iter().map(row).collect();
    format!(
        "<div class=\"scroll\"><table class=\"plain\"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
    )
}

/// A share with a bar before it.
pub(super) fn bar(share: f64) -> String {
    let width = (share * 100.0).clamp(0.0, 100.0);
    format!("<span class=\"bar\"><i style=\"width:{width:.0}%\"></i></span>{}", percent(share))
}

/// Writes what the two groups of a chart stand for.
pub(super) fn key(first: &str, second: &str) -> String {
    format!(
        "<div class=\"key\"><span><i class=\"b\"></i>{first}</span><span><i class=\"a\"></i>{second}</span></div>"
    )
}

/// A share as people read it.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1}%", share * 100.0)
}

/// A number with as many digits as matter.
pub(super) fn figure(value: f64) -> String {
    let size = value.abs();
    if size >= 1e12 || (size < 1e-4 && size > 0.0) {
        return format!("{value:.2e}");
    }
    let decimals = match size {
        _ if value.fract() == 0.0 => 0,
        _ if size >= 1000.0 => 0,
        _ if size >= 100.0 => 1,
        _ if size >= 1.0 => 2,
        _ => 4,
    };
    let plain = format!("{value:.decimals$}");
    let (whole, fraction) = plain.split_once('.').unwrap_or((&plain, ""));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("−", digits));
    let mut out = String::from(sign);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if !fraction.is_empty() {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

/// A whole number as people read it.
pub(super) fn count(value: u64) -> String {
    figure(value as f64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn figures_have_the_digits_that_matter() {
        for (value, text) in [
            (0.0, "0"),
            (0.91437, "0.9144"),
            (-12.345, "−12.35"),
            (123.456, "123.5"),
            (1234567.8, "1,234,568"),
            (5000.0, "5,000"),
            (-100.0, "−100"),
            (0.000012, "1.20e-5"),
        ] {
            assert_eq!(figure(value), text);
        }
    }

    #[test]
    fn long_texts_are_cut() {
        assert!(text(&"x".repeat(500)).len() < 120);
        assert_eq!(quoted(" <=50K"), "“<bdi> &lt;=50K</bdi>”");
    }

    proptest! {
        #[test]
        fn no_text_becomes_markup(raw in any::<String>()) {
            let escaped = text(&raw);
            let inner = escaped.strip_prefix("<bdi>").and_then(|rest| rest.strip_suffix("</bdi>")).unwrap_or("<");
            prop_assert!(!inner.contains(['<', '>', '"', '\'']));
        }

        #[test]
        fn every_number_is_a_figure(value in any::<f64>()) {
            prop_assert!(!figure(value).is_empty());
        }
    }
}
