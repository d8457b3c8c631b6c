//! Defines what a table's text means: the one truth about data, for whoever judges
//! it (the preflight), learns from it (the local engine), scores it, evaluates it
//! or answers about it (the API). None of them reads a cell in a way of its own,
//! so they cannot disagree.
//!
//! | question | module |
//! |---|---|
//! | what is this file? | [`mod@format`] |
//! | what is its text, as it comes in parts? | [`unpack`] |
//! | how is its text built? | [`shape`] |
//! | what are its rows, as it comes in parts? | [`stream`] |
//! | is there a value? | [`missing`] |
//! | is it a number, or nearly one? | [`number`] |
//! | is it a date? | [`date`] |
//! | is it true or false? | [`boolean`] |
//! | what does a column hold? | [`kind`] |
//! | how many labels can be told apart? | [`label`] |
//! | which words did training see? | [`words`] |

pub mod boolean;
pub mod date;
pub mod format;
pub mod kind;
pub mod label;
pub mod missing;
pub mod number;
pub mod shape;
pub mod stream;
pub mod unpack;
pub mod words;

pub use boolean::Booleans;
pub use kind::{Kind, Profile};
pub use missing::is_missing;
pub use words::Words;

/// Opens a reader of all records, the header among them, whatever their lengths.
pub fn reader(text: &[u8]) -> csv::Reader<&[u8]> {
    csv::ReaderBuilder::new().flexible(true).has_headers(false).from_reader(text)
}
