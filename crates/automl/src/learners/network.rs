//! Multilayer perceptrons.

mod adam;
mod layers;
mod matrix;
pub(crate) mod model;
