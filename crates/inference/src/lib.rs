//! The requests that an endpoint takes and the answers that it gives, whoever asks it: the
//! prediction API for a caller's records, or a run for held-out rows.

pub mod api;
mod endpoint;
mod error;
mod output;
mod python_repr;
mod table;

pub use endpoint::{Calls, Endpoint};
pub use error::InferenceError;
pub use output::{Answer, AnswerInvalid, Prediction, kind, predictions};
pub use table::{Table, Unfit, csv_parts, csv_text, csv_text_of};
