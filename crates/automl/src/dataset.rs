//! The rows that a learner is fitted to.

use crate::encode::Bins;
use crate::target::Target;

/// The encoded rows and what is known of each.
pub(crate) struct Data<'a> {
    pub(crate) bins: &'a Bins,
    /// Which encoded features are categories.
    pub(crate) is_level: &'a [bool],
    /// The encoded features before binning: of the schema, then rates.
    pub(crate) columns: &'a [Vec<f64>],
    pub(crate) extra: &'a [Vec<f64>],
    pub(crate) target: &'a Target,
    /// How much each row counts; `None` when all count the same.
    pub(crate) weights: Option<&'a [f32]>,
}

impl Data<'_> {
    pub(crate) fn weight(&self, row: u32) -> f64 {
        self.weights.map_or(1.0, |weights| f64::from(weights[row as usize]))
    }
}
