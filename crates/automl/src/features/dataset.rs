//! The rows that a learner is fitted to.

use crate::features::binning::Bins;
use crate::table::target::Target;

/// The encoded rows and what is known of each.
pub(crate) struct Data<'a> {
    pub(crate) bins: &'a Bins,
    /// `true` for each encoded feature that is a category.
    pub(crate) is_categorical: &'a [bool],
    /// The features before binning: those of the schema, then target encodings.
    pub(crate) columns: &'a [Vec<f64>],
    pub(crate) encodings: &'a [Vec<f64>],
    pub(crate) target: &'a Target,
    /// The weight of each row; `None` when all count the same.
    pub(crate) weights: Option<&'a [f32]>,
}

impl Data<'_> {
    pub(crate) fn weight(&self, row: u32) -> f64 {
        self.weights.map_or(1.0, |weights| f64::from(weights[row as usize]))
    }
}
