//! Defines a missing value: what pandas reads as one by default, since that is what
//! Autopilot reads files with (`STR_NA_VALUES` in `pandas/_libs/parsers.pyx`,
//! <https://github.com/pandas-dev/pandas>). No kinder than that: a word that a
//! person means so and pandas does not know trains as a value of its own.

/// Words by which people and programs mean a missing value and pandas reads a value,
/// in lower case and without blanks around them.
const MEANT: [&str; 32] = [
    "",
    "#n/a",
    "#n/a n/a",
    "#na",
    "-nan",
    "<na>",
    "n/a",
    "na",
    "null",
    "nan",
    "none",
    "?",
    "??",
    "-",
    "--",
    "---",
    ".",
    "..",
    "\\n",
    "nat",
    "nil",
    "n.a.",
    "n.a",
    "(null)",
    "<null>",
    "[null]",
    "missing",
    "undefined",
    "#value!",
    "#ref!",
    "#div/0!",
    "#null!",
];

/// Tells whether a cell has no value, as it stands: neither case nor blanks are forgiven.
pub fn is_missing(cell: &[u8]) -> bool {
    matches!(
        cell,
        b"" | b"#N/A"
            | b"#N/A N/A"
            | b"#NA"
            | b"-1.#IND"
            | b"-1.#QNAN"
            | b"-NaN"
            | b"-nan"
            | b"1.#IND"
            | b"1.#QNAN"
            | b"<NA>"
            | b"N/A"
            | b"NA"
            | b"NULL"
            | b"NaN"
            | b"None"
            | b"n/a"
            | b"nan"
            | b"null"
    )
}

/// A value that looks like a missing one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LooksMissing {
    /// The word, in lower case, from a list that is fixed: never a customer's text.
    pub word: &'static str,
    /// `true` if blanks stand around it, without which pandas would know it.
    pub padded: bool,
}

impl std::fmt::Display for LooksMissing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.word, self.padded) {
            ("", _) => write!(f, "blanks only"),
            (word, true) => write!(f, "{word:?} between blanks"),
            ("\\n", false) => write!(f, "\"\\N\""),
            (word, false) => write!(f, "{word:?}"),
        }
    }
}

/// Recognises a value that a person would call missing and pandas does not.
pub fn looks_missing(cell: &[u8]) -> Option<LooksMissing> {
    let word = cell.trim_ascii();
    if word.len() > 8 || is_missing(cell) {
        return None;
    }
    let known = MEANT.iter().find(|known| known.as_bytes().eq_ignore_ascii_case(word))?;
    Some(LooksMissing { word: known, padded: word.len() < cell.len() && is_missing(word) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_pandas_reads_as_missing_is_missing() {
        for cell in ["", "NA", "NaN", "nan", "null", "NULL", "None", "n/a", "N/A", "<NA>", "#N/A"] {
            assert!(is_missing(cell.as_bytes()), "{cell:?}");
            assert_eq!(looks_missing(cell.as_bytes()), None);
        }
        for cell in ["0", "no", "None.", "False.", "na", "none", " ", " NA", "?", "\\N", "NaT"] {
            assert!(!is_missing(cell.as_bytes()), "{cell:?}");
        }
    }

    #[test]
    fn what_only_people_call_missing_is_a_value_that_looks_so() {
        for (cell, said) in [
            (" ", "blanks only"),
            (" NA ", "\"na\" between blanks"),
            ("\\N", "\"\\N\""),
            ("?", "\"?\""),
            ("none", "\"none\""),
            ("NaT", "\"nat\""),
        ] {
            assert_eq!(
                looks_missing(cell.as_bytes()).map(|l| l.to_string()),
                Some(said.to_owned())
            );
        }
        for cell in ["0", "-1", "no", "nothing", "n"] {
            assert_eq!(looks_missing(cell.as_bytes()), None, "{cell:?}");
        }
    }

    proptest! {
        #[test]
        fn a_cell_is_missing_or_looks_so_and_never_both(cell in "[ -~]{0,9}") {
            let cell = cell.as_bytes();
            prop_assert!(!(is_missing(cell) && looks_missing(cell).is_some()));
        }
    }
}
