//! An AutoML job at work, from its data to its best candidate; the engine is
//! `crosspilot_automl`. Uses what [`crate::endpoint`] uses, and not that.

pub(crate) mod artifacts;
pub(crate) mod job;
pub(crate) mod parquet;
pub(crate) mod reports;
pub(crate) mod request;
pub(crate) mod trainer;
