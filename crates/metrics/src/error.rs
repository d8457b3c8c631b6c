//! The reasons why predictions could not be evaluated.

use std::fmt;

/// The reason why predictions could not be evaluated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetricsError {
    /// There are no rows to compare.
    Empty,
    /// Two columns that belong together have different lengths.
    Length {
        /// The column that has the wrong length.
        what: &'static str,
        /// The column's length.
        got: usize,
        /// The number of true values.
        expected: usize,
    },
    /// A label that is not in the list of labels.
    UnknownLabel(String),
    /// A label number beyond the list of labels.
    LabelIndex {
        /// The number.
        index: usize,
        /// The number of labels.
        labels: usize,
    },
    /// A number that is infinite or not a number.
    NotFinite {
        /// The row it was found in, counted from 0.
        row: usize,
    },
}

impl MetricsError {
    pub(crate) fn check_lengths(
        expected: usize,
        what: &'static str,
        got: usize,
    ) -> Result<(), Self> {
        match expected {
            0 => Err(Self::Empty),
            _ if got != expected => Err(Self::Length { what, got, expected }),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for MetricsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "there are no rows to evaluate; give at least one"),
            Self::Length { what, got, expected } => {
                write!(f, "{got} {what} for {expected} true values; give one for each row")
            }
            // The label is data, and not shown.
            Self::UnknownLabel(_) => {
                write!(
                    f,
                    "a label is not in the list of labels; labels are compared exactly, spaces included"
                )
            }
            Self::LabelIndex { index, labels } => {
                write!(f, "label number {index} of a list of {labels} labels")
            }
            Self::NotFinite { row } => {
                write!(f, "row {row} (from 0) is not a finite number; leave it out")
            }
        }
    }
}

impl std::error::Error for MetricsError {}
