//! The results that a caller gets to see: candidates as they come, and the leaderboard of all.

use crosspilot_metrics::Metric;
use serde::{Deserialize, Serialize};

use crate::model::Model;
use crate::settings::Algorithm;
use crate::table::analysis::Analysis;

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
    /// Gives one metric by name, where it is defined.
    pub fn metric(&self, metric: Metric) -> Option<f64> {
        self.metrics.iter().find(|(name, _)| *name == metric).map(|(_, value)| *value)
    }
}

/// An event of training. Candidates overlap: a second one may start before the first has
/// finished.
#[derive(Debug)]
pub enum Event<'a> {
    /// The data has been looked at; training begins.
    Analyzed(&'a Analysis),
    /// A candidate's training begins.
    Started {
        /// Number in the order of the plan, from 1.
        number: usize,
        /// The candidate's family.
        algorithm: Algorithm,
        /// The candidate's settings, in words.
        description: &'a str,
    },
    /// A candidate is trained and measured.
    Finished(&'a Candidate),
    /// The winner is trained once more, on the held-out rows as well.
    Refitting(&'a Candidate),
}

/// The reason why training ended.
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
    /// The analysis of the data before training.
    pub analysis: Analysis,
    /// The candidates, the highest ranked first; never empty.
    pub candidates: Vec<Candidate>,
    /// Number of the candidate that wins, which is not always the first: the ensemble wins
    /// unless a candidate is clearly better, by more than one standard error.
    pub winner: usize,
    /// The reason why training ended.
    pub ending: Ending,
}

impl Leaderboard {
    /// The candidate that wins; `None` only if a caller took it off the list.
    pub fn best(&self) -> Option<&Candidate> {
        self.candidates.iter().find(|candidate| candidate.number == self.winner)
    }
}
