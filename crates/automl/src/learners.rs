//! The algorithms, and what a fit of any of them is given and leaves behind.

pub(crate) mod boosting;
pub(crate) mod fit;
pub(crate) mod learner;
pub(crate) mod limits;
pub(crate) mod linear;
pub(crate) mod link;
pub(crate) mod network;
