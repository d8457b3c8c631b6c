//! The request to a run's last step, and its answer.

use crosspilot_core::decision::{Comparison, Decision, Score};
use crosspilot_core::run::RunRef;
use serde::{Deserialize, Serialize};

use crate::evaluation::Summary;

/// From the state machine, once it is known which model serves.
#[derive(Debug, Clone, Deserialize)]
pub struct ConcludeRequest {
    /// The run.
    pub run: RunRef,
    /// Name of the AutoML job.
    pub job: String,
    /// Name of the candidate.
    pub candidate: String,
    /// Name of the endpoint.
    pub endpoint: String,
    /// The candidate's objective metric.
    #[serde(default)]
    pub score: Score,
    /// The comparison of the candidate and the champion on the held-out rows.
    #[serde(default)]
    pub comparison: Comparison,
    /// The decision whether the candidate serves, and why.
    pub decision: Decision,
    /// The warnings of the preflight about the data.
    #[serde(default)]
    pub warnings: Vec<Warned>,
}

/// A finding of the preflight, as it travels: its sentence.
#[derive(Debug, Clone, Deserialize)]
pub struct Warned {
    /// The finding, its place, and what to do next.
    #[serde(default)]
    pub message: String,
}

/// The addresses of the results, and the figures that matter.
#[derive(Debug, Clone, Serialize)]
pub struct Concluded {
    /// The figures of the evaluation; nothing without held-out labels.
    pub evaluation: Option<Summary>,
    /// Rows that were predicted.
    pub predicted: usize,
    /// The rows with their predictions, if there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub predictions_uri: Option<String>,
    /// The evaluation in full.
    pub evaluation_uri: String,
    /// The same for people.
    pub report_uri: String,
}
