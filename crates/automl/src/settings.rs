//! The settings that a caller gives, and the algorithms there are.

use std::time::Duration;

use crosspilot_metrics::{Metric, ProblemType};
use serde::{Deserialize, Serialize};

/// The settings of training. All but `target` have sensible defaults.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Name of the column to predict.
    pub target: String,
    /// The problem type; inferred from the target when `None`.
    pub problem_type: Option<ProblemType>,
    /// The metric that candidates are ranked by; the problem type's default when `None`.
    pub metric: Option<Metric>,
    /// Most candidates to train, the ensemble included; at least 1. Default 10.
    pub max_candidates: usize,
    /// Wall-clock time for everything. Default 10 minutes.
    pub time_budget: Duration,
    /// Wall-clock time for each candidate; when `None`, a share of what is left of
    /// `time_budget`, so that others get their turn.
    pub trial_budget: Option<Duration>,
    /// Share of the rows held out to measure candidates, above 0 and up to 0.5,
    /// when there is no validation table. Default 0.2. The candidates of small tables
    /// are compared on every row instead, by as many folds as such shares make a whole.
    pub validation_fraction: f64,
    /// The same seed gives the same candidates, unless a budget binds. Default 0.
    pub seed: u64,
    /// Column that says how much each row counts; it is not learned from.
    pub weight_column: Option<String>,
    /// Fewest rows with a target. Default 500, as in Autopilot.
    pub min_rows: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            target: String::new(),
            problem_type: None,
            metric: None,
            max_candidates: 10,
            time_budget: Duration::from_secs(600),
            trial_budget: None,
            validation_fraction: 0.2,
            seed: 0,
            weight_column: None,
            min_rows: 500,
        }
    }
}

/// The family of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// Trees that each correct the ones before.
    GradientBoosting,
    /// Ridge, logistic or softmax regression.
    Linear,
    /// Small networks of two hidden layers, averaged.
    NeuralNetwork,
    /// A weighted mean of other candidates.
    WeightedEnsemble,
}

impl Algorithm {
    /// A short name such as `gradient-boosting`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::GradientBoosting => "gradient-boosting",
            Self::Linear => "linear",
            Self::NeuralNetwork => "neural-network",
            Self::WeightedEnsemble => "weighted-ensemble",
        }
    }
}
