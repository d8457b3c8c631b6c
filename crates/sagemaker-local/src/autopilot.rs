//! An AutoML job at work, from its data to its best candidate; the engine is
//! `crosspilot_automl`. Uses the [`crate::cloud`] and what that holds.

mod artifacts;
mod channels;
pub(crate) mod input;
pub(crate) mod job;
mod parquet;
mod reports;
pub(crate) mod request;
pub(crate) mod request_v1;
mod trainer;
