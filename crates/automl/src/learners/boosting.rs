//! Gradient boosting on histograms, leaf by leaf.

pub(crate) mod booster;
mod gradients;
mod grower;
mod histogram;
mod objective;
mod partition;
pub(crate) mod settings;
mod split_search;
mod tree;
