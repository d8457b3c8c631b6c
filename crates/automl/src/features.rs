//! The features that learners read: binned for trees, dense inputs for linear models and
//! networks. All of it is learned from training rows only.

pub(crate) mod binning;
pub(crate) mod dataset;
pub(crate) mod encoder;
pub(crate) mod inputs;
pub(crate) mod target_encoding;
