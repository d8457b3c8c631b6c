//! The evaluation of a model: it is scored on held-out rows, compared with the champion, and
//! once it serves asked for a first prediction, reported and promoted; later, what serves is
//! measured on new held-out rows.

mod champion;
mod comparison;
mod conclude;
mod data;
mod error;
mod evaluation;
mod insights;
mod report;
mod request;
mod results;
mod scoring;

pub use champion::{EvaluateRequest, Evaluated, Told, evaluate};
pub use comparison::{CompareRequest, compare};
pub use conclude::conclude;
pub use error::EvaluationError;
pub use evaluation::Summary;
pub use request::{ConcludeRequest, Concluded};
pub use scoring::{INSTANCE as SCORING_INSTANCE, ScoreRequest, Scored, score};
