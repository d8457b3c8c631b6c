//! What a caller asks for, and what it gets to see.

use std::time::Duration;

use crosspilot_metrics::{Metric, ProblemType};
use serde::{Deserialize, Serialize};

use crate::model::Model;
use crate::schema::ColumnKind;

/// How to train. All but `target` have sensible defaults.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Name of the column to predict.
    pub target: String,
    /// What kind of answer is wanted; inferred from the target when `None`.
    pub problem_type: Option<ProblemType>,
    /// What candidates are ranked by; the problem type's default when `None`.
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

/// What was found out about the data before training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Analysis {
    /// What kind of answer the model will give.
    pub problem_type: ProblemType,
    /// What candidates are ranked by.
    pub metric: Metric,
    /// Rows to learn from and to measure on; of millions of rows, a random part.
    pub rows: usize,
    /// Rows left out because their target is missing or, for regression, no number.
    pub dropped_rows: usize,
    /// Each label exactly as in the data, sorted, with its number of rows; empty
    /// for regression.
    pub labels: Vec<(String, usize)>,
    /// All columns but the target, in order.
    pub columns: Vec<ColumnSummary>,
}

/// One column, as the engine sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnSummary {
    /// The column's name.
    pub name: String,
    /// What it was taken for.
    pub kind: ColumnKind,
    /// Share of rows without a value, 0 to 1.
    pub missing: f64,
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

/// A trained model and how it did.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Number in the order of the plan, from 1.
    pub number: usize,
    /// The family.
    pub algorithm: Algorithm,
    /// The settings, in words.
    pub description: String,
    /// Value of the metric that candidates are ranked by, on rows that were not
    /// trained on.
    pub objective: f64,
    /// Every metric of the problem type that is defined, on those same rows.
    pub metrics: Vec<(Metric, f64)>,
    /// `confusion[true][predicted]`: numbers of those rows; empty for numbers.
    pub confusion: Vec<Vec<u64>>,
    /// Wall-clock seconds that training and measuring took.
    pub fit_seconds: f64,
    /// Share of each used column in what was learned (gains of splits, sizes of
    /// weights), largest first; the shares add up to 1. It costs nothing, but does
    /// not compare between families: [`Model::importance`] does.
    pub importance: Vec<(String, f64)>,
    /// The model.
    pub model: Model,
}

impl Candidate {
    /// One metric by name, where it is defined.
    pub fn metric(&self, metric: Metric) -> Option<f64> {
        self.metrics.iter().find(|(name, _)| *name == metric).map(|(_, value)| *value)
    }
}

/// What happens while training, in order. Candidates overlap: a second one may
/// start before the first has finished.
#[derive(Debug)]
pub enum Event<'a> {
    /// The data has been looked at; training begins.
    Analyzed(&'a Analysis),
    /// A candidate's training begins.
    Started {
        /// Number in the order of the plan, from 1.
        number: usize,
        /// Its family.
        algorithm: Algorithm,
        /// Its settings, in words.
        description: &'a str,
    },
    /// A candidate is trained and measured.
    Finished(&'a Candidate),
    /// The winner is trained once more, on the held-out rows as well.
    Refitting(&'a Candidate),
}

/// Why training ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// All planned candidates were trained.
    Completed,
    /// The time budget was used up.
    OutOfTime,
    /// The stop flag was set.
    Stopped,
}

/// All trained candidates, by the wanted metric, and which of them wins.
#[derive(Debug, Clone)]
pub struct Leaderboard {
    /// What was found out about the data.
    pub analysis: Analysis,
    /// The candidates, the highest ranked first; never empty.
    pub candidates: Vec<Candidate>,
    /// Number of the candidate that wins, which is not always the first: the ensemble wins
    /// unless a candidate is clearly better, by more than one standard error.
    pub winner: usize,
    /// Why training ended.
    pub ending: Ending,
}

impl Leaderboard {
    /// The candidate that wins; `None` only if a caller took it off the list.
    pub fn best(&self) -> Option<&Candidate> {
        self.candidates.iter().find(|candidate| candidate.number == self.winner)
    }
}
