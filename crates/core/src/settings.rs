//! The settings of a tenant's model: what it predicts, and how it is trained, judged and
//! served.

mod validity;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use validity::SettingsInvalid;

/// The settings of a tenant's model: what it predicts, and how it is trained, judged and
/// served. Only the target has no default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSettings {
    /// Name of the column to predict, exactly as in the header.
    pub target: String,
    /// The kind of problem that it solves.
    #[serde(default, skip_serializing_if = "is_default")]
    pub problem: Problem,
    /// The problem type and the metric; left out, SageMaker infers both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective: Option<Objective>,
    /// The settings of the search for candidates.
    #[serde(default, skip_serializing_if = "is_default")]
    pub training: Training,
    /// The conditions under which a challenger is good enough.
    #[serde(default, skip_serializing_if = "is_default")]
    pub gate: Gate,
    /// The settings of the endpoint.
    #[serde(default, skip_serializing_if = "is_default")]
    pub deployment: Deployment,
    /// EventBridge Scheduler expression, such as `rate(7 days)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// Seconds without an upload after which those that came are trained on, all
    /// in one run: 1 to 3600. The deployment's own if left out, 60 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet_seconds: Option<u32>,
    /// `true` if uploads start runs. Where they do not, schedules and people do.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub train_on_upload: bool,
}

fn yes() -> bool {
    true
}

fn is_yes(it: &bool) -> bool {
    *it
}

/// The kind of problem that a model solves. Only tables are scored and answered by column
/// name; the others are trained and deployed as SageMaker does it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Problem {
    /// A column of a table from its other columns.
    #[default]
    Tabular,
    /// Future values of the target, for each item.
    TimeSeriesForecasting {
        /// Distance of forecasts, such as `1D`, `15min` or `1M`.
        frequency: String,
        /// Steps to forecast, at least 1.
        horizon: u16,
        /// Column that tells the items apart.
        item_column: String,
        /// Column with the time of a row.
        timestamp_column: String,
        /// Quantiles from `p1` to `p99`, at most 5; SageMaker's own if empty.
        #[serde(default)]
        quantiles: Vec<String>,
        /// Columns that group items, at most 5.
        #[serde(default)]
        grouping_columns: Vec<String>,
    },
    /// The class of a text; the target is the column of labels.
    TextClassification {
        /// Column with the text.
        content_column: String,
    },
    /// The class of an image; folders are the labels.
    ImageClassification,
}

/// A problem type together with its objective metric: SageMaker wants both or
/// neither.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Objective {
    /// The problem type: `BinaryClassification`, `MulticlassClassification` or `Regression`
    /// of a table; `TimeSeriesForecasting`, `TextClassification` or `ImageClassification` of
    /// the other problems.
    pub problem_type: String,
    /// The metric's name, such as `F1`, `Accuracy` or `MSE`.
    pub metric: String,
}

/// The settings of the search for candidates.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// The mode of the search; left out, [`ModelSettings::mode`] decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Candidates at most; the tenant's limit if left out, never above it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_candidates: Option<u16>,
    /// Seconds that the job may take; the tenant's limit if left out, never above it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_runtime_seconds: Option<u32>,
    /// Seconds that one candidate may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_trial_seconds: Option<u32>,
    /// The rows that candidates are validated on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<Validation>,
    /// Share of the rows that are set aside before training, to evaluate the model on,
    /// where no held-out file is given; [`DEFAULT_HOLD_OUT`] if left out, none if 0.
    /// Never more than 10,000 rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_out: Option<f64>,
    /// Columns to learn from with their types; all columns, inferred, if empty.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub features: BTreeMap<String, FeatureType>,
    /// Types of some columns, where all are learned from; the others' are inferred.
    /// Not together with `features`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub feature_types: BTreeMap<String, FeatureType>,
    /// Column that says how much a row counts. Ensembling only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample_weight: Option<String>,
}

/// Share of the rows that a run sets aside unless its settings say otherwise.
pub const DEFAULT_HOLD_OUT: f64 = 0.2;

/// The mode in which Autopilot searches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Ensembling below 100 MB of data, tuning from there on.
    Auto,
    /// Stacked base models: one container.
    Ensembling,
    /// Tuned pipelines: two or three containers.
    HyperparameterTuning,
}

/// The rows that candidates are validated on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Validation {
    /// This share of the training rows, between 0 and 1.
    Fraction(f64),
    /// The files under `<prefix>/<model>/validation/`.
    Channel,
}

/// The type of a column's values, in SageMaker's feature specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeatureType {
    /// Numbers.
    Numeric,
    /// One of some values.
    Categorical,
    /// Language.
    Text,
    /// Moments.
    Datetime,
}

/// The conditions under which a challenger is good enough.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// The margin by which a challenger must be better than the champion, in the metric's own
    /// unit. Below zero, a newer model is preferred even when it is worse by up to that much.
    #[serde(default)]
    pub margin: f64,
    /// The worst figure with which any model may serve, in the metric's own unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum: Option<f64>,
    /// `true` if a model may serve that is no better than always giving the same answer: the
    /// label that does best, or the mean.
    #[serde(default, skip_serializing_if = "is_default")]
    pub allow_baseline: bool,
}

/// The settings of a model's endpoint.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployment {
    /// The instances or the serverless capacity that it runs on.
    #[serde(default)]
    pub hosting: Hosting,
    /// The numbers of instances between which it scales; always as many as it starts with if
    /// left out. Not serverless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling: Option<Scaling>,
    /// Share of requests (1 to 100 %) that SageMaker keeps under
    /// `<prefix>-results/<model>/capture/`; none if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_capture_percent: Option<u8>,
    /// The settings of the move of traffic to a new model.
    #[serde(default, skip_serializing_if = "is_default")]
    pub update: Update,
    /// `true` if the endpoint may be replaced, which leaves it gone for some minutes, when
    /// the model changes between instances and serverless: SageMaker updates no endpoint from
    /// instances to serverless, so that neither such a change nor the way back from the
    /// opposite one is possible without.
    #[serde(default, skip_serializing_if = "is_default")]
    pub replace_endpoint: bool,
    /// Days without a prediction after which the endpoint is removed; never if
    /// left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remove_after_idle_days: Option<u16>,
}

/// The instances or the serverless capacity that an endpoint runs on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Hosting {
    /// Instances of its own, billed by the hour.
    Instance {
        /// The type of the instances, such as `ml.m5.large`.
        instance_type: String,
        /// The number of instances to begin with.
        #[serde(default = "one")]
        count: u16,
    },
    /// Capacity billed by request. SageMaker takes no models of several containers there.
    Serverless {
        /// The memory in MB: 1024 to 6144, in steps of 1024.
        memory_mb: u16,
        /// Requests at a time, 1 to 200.
        max_concurrency: u16,
    },
}

impl Default for Hosting {
    fn default() -> Self {
        Hosting::Instance { instance_type: "ml.m5.large".to_owned(), count: 1 }
    }
}

/// The numbers of instances between which an endpoint scales.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scaling {
    /// Instances at least.
    pub min: u16,
    /// Instances at most.
    pub max: u16,
    /// Invocations a minute that one instance shall get.
    pub invocations_per_instance: u32,
}

/// The settings of the move of traffic to a new model, and of what makes it go back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Update {
    /// The steps in which traffic moves.
    #[serde(default)]
    pub traffic: Traffic,
    /// CloudWatch alarms of the customer's account, at most 10; one that goes off
    /// while traffic moves rolls the update back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alarms: Vec<String>,
}

impl Traffic {
    /// Gives the number of steps, and the seconds for which the alarms are watched after
    /// each.
    fn steps(&self) -> (u32, u16) {
        match *self {
            Traffic::AllAtOnce => (0, 0),
            Traffic::Canary { wait_seconds, .. } => (2, wait_seconds),
            Traffic::Linear { percent, wait_seconds } => {
                (100_u32.div_ceil(u32::from(percent.max(1))), wait_seconds)
            }
        }
    }

    /// Seconds that all its waits take together.
    pub fn wait_seconds(&self) -> u32 {
        let (steps, wait) = self.steps();
        steps * u32::from(wait)
    }
}

/// The steps in which traffic moves to the new instances.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Traffic {
    /// All of it, once the new instances are up.
    #[default]
    AllAtOnce,
    /// A part of it first, then the rest. Needs two instances.
    Canary {
        /// The part that moves first, in percent: 1 to 50.
        percent: u8,
        /// The seconds for which the alarms are watched before the rest follows, and once
        /// more after that.
        wait_seconds: u16,
    },
    /// The same part again and again. Needs two instances.
    Linear {
        /// The part that moves with each step, in percent: 10 to 50.
        percent: u8,
        /// The seconds for which the alarms are watched after each step.
        wait_seconds: u16,
    },
}

impl ModelSettings {
    /// Settings that leave everything but the target to their defaults.
    pub fn predicting(target: impl Into<String>) -> Self {
        Self {
            target: target.into(),
            problem: Problem::default(),
            objective: None,
            training: Training::default(),
            gate: Gate::default(),
            deployment: Deployment::default(),
            schedule: None,
            quiet_seconds: None,
            train_on_upload: true,
        }
    }

    /// Gives the mode in which candidates of a table are found. Left out, that follows from how the
    /// model is served: a serverless endpoint takes models of one container,
    /// which only ensembling makes for sure; otherwise the data's size decides.
    pub fn mode(&self) -> Mode {
        self.training.mode.unwrap_or(match self.deployment.hosting {
            Hosting::Serverless { .. } => Mode::Ensembling,
            Hosting::Instance { .. } => Mode::Auto,
        })
    }
}

impl Hosting {
    /// Names the kind of hosting that it is.
    pub fn kind(&self) -> HostingKind {
        match self {
            Hosting::Instance { .. } => HostingKind::Instances,
            Hosting::Serverless { .. } => HostingKind::Serverless,
        }
    }
}

/// The kind of an endpoint's hosting. SageMaker updates an endpoint that runs on instances to
/// nothing else (Developer Guide, "Serverless Inference").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostingKind {
    /// Instances of its own.
    Instances,
    /// Capacity by request.
    Serverless,
}

impl std::fmt::Display for HostingKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            HostingKind::Instances => "instances",
            HostingKind::Serverless => "serverless",
        })
    }
}

/// The endpoint would have to be replaced, which the settings do not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "endpoint {endpoint} runs on {from} and the model is set to {to}: SageMaker updates no endpoint from instances to serverless, so that such a change, or the way back from it, replaces the endpoint, which is gone for some minutes; set deployment.replace_endpoint to true if it may be, or deployment.hosting back, then redrive the run"
)]
pub struct OtherHosting {
    /// The endpoint.
    pub endpoint: String,
    /// The kind of hosting that it runs on.
    pub from: HostingKind,
    /// The kind of hosting that it would run on.
    pub to: HostingKind,
}

impl Deployment {
    /// Refuses to follow what runs on another kind of hosting unless the endpoint may be
    /// gone meanwhile: not even where an update would do, since a bad challenger could
    /// not be put back without.
    pub fn may_follow(&self, endpoint: &str, from: HostingKind) -> Result<(), OtherHosting> {
        let to = self.hosting.kind();
        if from == to || self.replace_endpoint {
            return Ok(());
        }
        Err(OtherHosting { endpoint: endpoint.to_owned(), from, to })
    }
}

fn one() -> u16 {
    1
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_differs_from_the_defaults_is_written() {
        let settings = ModelSettings::predicting("Churn?");
        assert_eq!(serde_json::to_value(&settings).unwrap(), json!({"target": "Churn?"}));
        assert_eq!(
            serde_json::from_value::<ModelSettings>(json!({"target": "Churn?"})).unwrap(),
            settings
        );
    }

    #[test]
    fn every_part_reads_as_it_is_documented() {
        let document = json!({
            "target": "demand",
            "problem": {"time_series_forecasting": {
                "frequency": "1D", "horizon": 14, "item_column": "sku", "timestamp_column": "day",
                "quantiles": ["p50"], "grouping_columns": [],
            }},
            "training": {
                "mode": "ensembling", "max_candidates": 5, "validation": {"fraction": 0.3},
                "features": {"age": "numeric"}, "sample_weight": "weight",
            },
            "gate": {"margin": 0.01, "minimum": 0.7},
            "deployment": {
                "hosting": {"serverless": {"memory_mb": 2048, "max_concurrency": 5}},
                "data_capture_percent": 10,
                "update": {"traffic": {"canary": {"percent": 10, "wait_seconds": 300}}, "alarms": ["errors"]},
                "remove_after_idle_days": 30,
            },
            "schedule": "rate(7 days)",
            "quiet_seconds": 300,
        });
        let settings: ModelSettings = serde_json::from_value(document.clone()).unwrap();
        assert_eq!(serde_json::to_value(settings).unwrap(), document);
        assert!(
            serde_json::from_value::<ModelSettings>(json!({"target": "y", "traget": "x"})).is_err()
        );
    }
}
