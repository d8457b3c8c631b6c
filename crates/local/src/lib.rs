//! The local cloud.

pub mod authority;
pub mod sagemaker;
