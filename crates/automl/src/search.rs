//! The search: which candidates are trained, on which rows they are measured, how they
//! are combined, and which one wins.

mod candidates;
mod ensemble;
mod evaluation;
mod folds;
mod ranking;
pub(crate) mod train;
mod trials;
