//! The hyperparameters of gradient boosting.

/// The settings of a boosted model's training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct BoostingSettings {
    /// Share of its correction that each tree applies.
    pub(crate) learning_rate: f64,
    /// Most rounds; each adds one tree for each output.
    pub(crate) rounds: usize,
    /// Rounds without a better held-out loss after which training ends.
    pub(crate) patience: usize,
    /// Share of the rows that each round sees.
    pub(crate) row_share: f64,
    pub(crate) tree: TreeSettings,
}

/// The settings of each tree's growth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct TreeSettings {
    pub(crate) max_leaves: usize,
    pub(crate) max_depth: usize,
    /// Fewest rows of a leaf.
    pub(crate) min_rows: f64,
    /// L2 regularisation of leaf values.
    pub(crate) l2: f64,
    /// Share of the features that a tree may use.
    pub(crate) feature_share: f64,
    /// Try one random threshold for each feature instead of all.
    pub(crate) random_thresholds: bool,
}
