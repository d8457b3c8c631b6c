//! The caller's own name for a record, which comes back with its prediction and goes nowhere
//! else: not to the endpoint, and into no log.

use serde::Serialize;

use crate::api::problem::Problem;

/// The field or column that holds it, unless the model has a column of this name.
pub(super) const NAME: &str = "id";
/// Characters of an id.
const LONGEST: usize = 200;

/// A caller's id of a record, as it was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(in crate::api) enum Id {
    /// A text.
    Text(String),
    /// A whole number.
    Number(serde_json::Number),
}

impl Id {
    /// Reads the id of a record that was sent as CSV. An empty cell is none.
    pub(super) fn of_field(field: &str, record: usize) -> Result<Option<Self>, Problem> {
        match field {
            "" => Ok(None),
            _ => Self::of_text(field.to_owned(), record).map(Some),
        }
    }

    /// The id that is this text, if it is short enough.
    pub(super) fn of_text(text: String, record: usize) -> Result<Self, Problem> {
        if text.chars().nth(LONGEST).is_some() {
            return Err(bad(record, "has more than 200 characters: send a shorter one"));
        }
        Ok(Id::Text(text))
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Id::Text(text) => f.write_str(text),
            Id::Number(number) => number.fmt(f),
        }
    }
}

/// Says what is wrong with an id, which itself is not repeated.
pub(super) fn bad(record: usize, what: &str) -> Problem {
    Problem::bad_request(format!("the id of record {record} {what}"))
}
