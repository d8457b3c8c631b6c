//! A transform job at work: predictions for the files of an S3 prefix. Uses the
//! [`crate::cloud`] and what that holds.

pub(crate) mod job;
mod lines;
pub(crate) mod request;
