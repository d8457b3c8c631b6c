//! A transform job at work: predictions for the files of an S3 prefix. Uses what
//! [`crate::endpoint`] uses, and not that.

pub(crate) mod lines;
