//! The spellings of true and false in a column.

use serde::{Deserialize, Serialize};

/// The spelling of true and false in a column: programs differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Booleans {
    /// `true` and `false`.
    Lower,
    /// `True` and `False`.
    Title,
    /// `TRUE` and `FALSE`.
    Upper,
}

impl Booleans {
    /// Recognises how a cell is written, if it says true or false.
    pub fn of(cell: &[u8]) -> Option<Self> {
        match cell {
            b"true" | b"false" => Some(Booleans::Lower),
            b"True" | b"False" => Some(Booleans::Title),
            b"TRUE" | b"FALSE" => Some(Booleans::Upper),
            _ => None,
        }
    }

    /// Writes it.
    pub fn text(self, flag: bool) -> &'static str {
        match (self, flag) {
            (Booleans::Lower, true) => "true",
            (Booleans::Lower, false) => "false",
            (Booleans::Title, true) => "True",
            (Booleans::Title, false) => "False",
            (Booleans::Upper, true) => "TRUE",
            (Booleans::Upper, false) => "FALSE",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_true_is_written_as_the_column_writes_it() {
        for booleans in [Booleans::Lower, Booleans::Title, Booleans::Upper] {
            for flag in [true, false] {
                assert_eq!(Booleans::of(booleans.text(flag).as_bytes()), Some(booleans));
            }
        }
        assert_eq!(Booleans::of(b"True."), None);
    }
}
