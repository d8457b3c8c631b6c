//! Champion or challenger: the figures and the verdict, as they travel between
//! the functions and lie beside a run's results.

use serde::{Deserialize, Serialize};

use crate::run::RunId;

/// Held-out rows below which chance decides: of fewer, no figure has a say.
pub const FEWEST_ROWS: u64 = 30;

/// A candidate's objective metric on its validation data. Real metric names
/// fall outside SageMaker's own list, so the name is free text.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The metric's name, such as `F1` or `validation:f1_binary`.
    #[serde(default)]
    pub metric: Option<String>,
    /// The value of the metric; absent when SageMaker gave none or no finite number.
    #[serde(default)]
    pub value: Option<f64>,
    /// `true` if a smaller value is the better one.
    #[serde(default)]
    pub smaller_is_better: bool,
}

/// The figures of champion and challenger on the same held-out rows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Address of the rows; none if the challenger was not scored on any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out: Option<String>,
    /// Rows with a true value, all of them compared.
    #[serde(default)]
    pub rows: u64,
    /// Name of the metric that both are measured by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// Rows whose label is none that the model was trained on. They are left out.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unknown_labels: u64,
    /// `true` if a smaller value is the better one.
    #[serde(default)]
    pub smaller_is_better: bool,
    /// The challenger's figure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub challenger: Option<f64>,
    /// The champion's figure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub champion: Option<f64>,
    /// The figure of always giving the same answer on the same rows: the label that does best
    /// by the metric, with the shares of all, or the mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<f64>,
    /// The champion's run: its figure says nothing about a later champion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against: Option<RunId>,
    /// The reason why a figure is missing, as a sentence's end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// The gate's decision: whether the challenger is deployed, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// The verdict.
    pub verdict: GateVerdict,
    /// The reason: one sentence with the numbers.
    pub reason: String,
    /// The figures that the verdict rests on, as far as there are numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub figures: Option<Figures>,
    /// The reason why the held-out rows do not decide, as a sentence's end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// The two outcomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GateVerdict {
    /// The challenger is deployed.
    Deploy,
    /// The champion stays.
    Keep,
}

/// The numbers of a decision, in the metric's own unit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// The rows that they were measured on.
    pub basis: Basis,
    /// Name of the metric.
    pub metric: String,
    /// `true` if a smaller value is the better one.
    pub smaller_is_better: bool,
    /// The challenger's figure.
    pub challenger: f64,
    /// The champion's figure; none if nothing serves yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub champion: Option<f64>,
    /// The figure of always giving the same answer, where it was measured or the metric tells
    /// it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<f64>,
    /// The margin by which the challenger must be better.
    pub margin: f64,
    /// The worst figure with which any model may serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum: Option<f64>,
}

/// The rows that a figure was measured on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// The same held-out rows for both.
    HeldOut,
    /// The rows that each job set aside for itself.
    Validation,
}

impl Decision {
    /// Tells whether the challenger is deployed.
    pub fn deploys(&self) -> bool {
        self.verdict == GateVerdict::Deploy
    }
}
