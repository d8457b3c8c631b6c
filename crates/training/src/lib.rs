//! An AutoML job: the rows that it trains on and those that it never sees, its request,
//! and what SageMaker's answers about it mean for the run.

mod error;
pub mod hold_out;
pub mod job;
pub mod job_request;
mod observation;
mod phase;
mod rows;
pub mod words;

pub use error::JobError;
pub use observation::{Best, Observation, ObservedFailure, Terms};
pub use phase::{Clock, Phase, StopReason};
pub use rows::{RowsError, files_digest};
