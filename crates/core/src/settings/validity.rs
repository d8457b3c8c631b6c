//! The validity of a model's settings beyond their types: the rules of SageMaker's service
//! model, told before anything is written.

use crosspilot_metrics::{Metric, ProblemType};

use super::{
    Deployment, Gate, Hosting, Mode, ModelSettings, Objective, Problem, Scaling, Traffic, Training,
    Update, Validation,
};
use crate::gathering::{LONGEST_QUIET, SHORTEST_QUIET};
use crate::instances::{self, NoInstanceType};
use crate::tenant::{Encryption, Limits};

/// The reason why settings are not taken. Each message says which setting, what it is, and
/// what it could be.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SettingsInvalid {
    /// No target.
    #[error("target is empty: name the column to predict as it stands in the header")]
    NoTarget,
    /// A name that SageMaker does not take.
    #[error("{0} is {1:?}; it must have 1 to 256 characters")]
    Name(&'static str, String),
    /// A problem type that the model's problem does not have.
    #[error("objective.problem_type is {0:?}; for this problem it is one of {1}")]
    ProblemType(String, String),
    /// A metric that the problem type does not have.
    #[error("objective.metric is {0:?}; for {1} it is one of {2}")]
    Metric(String, String, String),
    /// A forecast's frequency.
    #[error(
        "frequency is {0:?}; it is a number and a unit that do not reach the next larger unit, such as 15min, 1H, 1D, 2W or 1M"
    )]
    Frequency(String),
    /// A forecast's horizon.
    #[error("horizon is {0}; it must be 1 to 500 steps")]
    Horizon(u16),
    /// A forecast's quantiles.
    #[error("quantiles are at most 5 different ones from p1 to p99, not {0:?}")]
    Quantiles(Vec<String>),
    /// A forecast's grouping columns.
    #[error("grouping_columns are at most 5 different ones, not {0}")]
    Grouping(usize),
    /// A column in two parts.
    #[error(
        "column {0:?} is used twice; target, item, timestamp, text, weight and grouping columns are different ones"
    )]
    ColumnTwice(String),
    /// A setting that only tables have.
    #[error("{0} is for tables only; leave it out for this problem")]
    TablesOnly(&'static str),
    /// The number of candidates.
    #[error("training.max_candidates is {0}; SageMaker takes 1 to 750")]
    Candidates(u16),
    /// The time that a job may take.
    #[error("training.max_runtime_seconds is {0}; it must be between 300 s and 30 days (2592000)")]
    Runtime(u32),
    /// The time that a candidate may take.
    #[error(
        "training.max_trial_seconds is {0}; it must be at least 1 and no more than the whole job"
    )]
    Trial(u32),
    /// The share that is held back.
    #[error("training.validation.fraction is {0}; it must be more than 0 and less than 1")]
    Fraction(f64),
    /// The share that is set aside.
    #[error("training.hold_out is {0}; it must be between 0 (nothing is set aside) and 0.5")]
    HoldOut(f64),
    /// Weights in another mode.
    #[error("training.sample_weight needs training.mode ensembling")]
    WeightMode,
    /// Two lists of columns with types.
    #[error(
        "training.features and training.feature_types do not go together: features names all columns to learn from with their types, feature_types the types of some while all are learned from"
    )]
    FeaturesTwice,
    /// A number of the gate.
    #[error("gate.{0} is no finite number")]
    Gate(&'static str),
    /// An instance type that endpoints do not run on.
    #[error(
        "instance_type is {0:?}, which SageMaker runs no endpoints on; {meant}", meant = meant(*.1)
    )]
    InstanceType(String, Option<&'static str>),
    /// The number of instances.
    #[error("count is {0}; it must be at least 1")]
    Instances(u16),
    /// Serverless memory.
    #[error("memory_mb is {0}; it must be 1024 to 6144 in steps of 1024")]
    Memory(u16),
    /// Serverless concurrency.
    #[error("max_concurrency is {0}; it must be 1 to 200")]
    Concurrency(u16),
    /// Scaling of what has no instances.
    #[error(
        "scaling is for instances; a serverless endpoint scales by itself up to max_concurrency"
    )]
    ScalingServerless,
    /// The limits of scaling.
    #[error("scaling is from {0} to {1}; min must be at least 1 and max at least min")]
    ScalingLimits(u16, u16),
    /// The invocations that scaling aims at.
    #[error("scaling.invocations_per_instance is 0; it must be at least 1")]
    ScalingGoal,
    /// Data capture.
    #[error("data_capture_percent is {0}; it must be 1 to 100")]
    Capture(u8),
    /// Something that serverless endpoints do not have.
    #[error("{0} is not offered for serverless endpoints; leave it out")]
    NotServerless(&'static str),
    /// A mode that may make models of several containers.
    #[error(
        "training.mode is {0}, which may make models of several containers, and a serverless endpoint serves one; set training.mode to ensembling, or leave it out"
    )]
    ModeServerless(&'static str),
    /// A step of traffic.
    #[error("update.traffic.{0}.percent is {1}; it must be {2}")]
    Percent(&'static str, u8, &'static str),
    /// The wait between steps.
    #[error("update.traffic.{0}.wait_seconds is {1}; it must be 0 to 3600")]
    Wait(&'static str, u16),
    /// Steps of what cannot be parted.
    #[error(
        "update.traffic.{0} needs two instances, since a step is at most half of them; this model may run on one: raise hosting.instance.count and scaling.min to 2, or let traffic move all_at_once"
    )]
    OneInstance(&'static str),
    /// Steps of what has no instances.
    #[error(
        "update.traffic.{0} is for instances; traffic of a serverless endpoint moves all_at_once"
    )]
    StepsServerless(&'static str),
    /// Waits that sum up to too much.
    #[error(
        "the waits of update.traffic.{0} take {1} s together; SageMaker gives an update 8 hours, of which one is for starting instances: make it {most} s or less with larger steps or shorter waits", most = LONGEST_WAITS
    )]
    Waits(&'static str, u32),
    /// Waits beyond what a run may take.
    #[error(
        "the waits of update.traffic take {0} s together, and a run of this tenant may take {1} s: shorten them, or raise the tenant's max_runtime_seconds"
    )]
    WaitsBeyondRun(u32, u32),
    /// A disk that takes no key.
    #[error(
        "instance_type is {0:?}, whose own disk is encrypted by its hardware and not with the tenant's volume key: choose a type without one, such as ml.m5.large, or take the volume key off the tenant"
    )]
    OwnDisk(String),
    /// The alarms.
    #[error("update.alarms are at most 10 different names of 1 to 255 characters")]
    Alarms,
    /// The days until removal.
    #[error("remove_after_idle_days is 0; it must be at least 1")]
    IdleDays,
    /// The schedule, by its form.
    #[error("schedule is {0:?}; it must be rate(...), cron(...) or at(...), such as rate(7 days)")]
    Schedule(String),
    /// The quiet period.
    #[error("quiet_seconds is {0}; it must be 1 to 3600")]
    Quiet(u32),
}

fn meant(instance_type: Option<&str>) -> String {
    match instance_type {
        Some(meant) => format!("did you mean {meant}?"),
        None => "such as ml.m5.large".to_owned(),
    }
}

/// Metrics of forecasts (API reference, `AutoMLJobObjective`).
const FORECAST_METRICS: [&str; 5] = ["AverageWeightedQuantileLoss", "MAPE", "MASE", "RMSE", "WAPE"];
/// Longest name of a column where the service model bounds it.
const LONGEST_NAME: usize = 256;
/// The longest `MaximumExecutionTimeoutInSeconds` that SageMaker takes.
const LONGEST_UPDATE: u32 = 28_800;
/// The part of an update's time in which instances are started and stopped.
const STARTING: u32 = 3600;
/// The seconds that are left for waits between the steps of an update.
const LONGEST_WAITS: u32 = LONGEST_UPDATE - STARTING;

impl Update {
    /// Gives the seconds that SageMaker may take for the update, with these seconds of waits
    /// in it, before it rolls it back.
    pub fn timeout_seconds(waits: u32) -> u32 {
        waits.saturating_add(STARTING).min(LONGEST_UPDATE)
    }
}

impl ModelSettings {
    /// Checks what the types of the fields cannot.
    pub fn validate(&self) -> Result<(), SettingsInvalid> {
        if self.target.trim().is_empty() {
            return Err(SettingsInvalid::NoTarget);
        }
        self.problem.validate(&self.target)?;
        if let Some(objective) = &self.objective {
            objective.validate(&self.problem)?;
        }
        self.training.validate(&self.problem, &self.target)?;
        self.gate.validate()?;
        self.deployment.validate()?;
        let possible = SHORTEST_QUIET..=LONGEST_QUIET;
        if let Some(quiet) = self.quiet_seconds.filter(|quiet| !possible.contains(quiet)) {
            return Err(SettingsInvalid::Quiet(quiet));
        }
        self.serves_what_it_trains()?;
        match &self.schedule {
            Some(schedule) if !is_schedule(schedule) => {
                Err(SettingsInvalid::Schedule(schedule.clone()))
            }
            _ => Ok(()),
        }
    }

    /// Refuses modes whose models serverless endpoints do not take: from 100 MB on, AUTO
    /// tunes pipelines (API reference, `AutoMLJobConfig`, Mode), which those do not
    /// (Developer Guide, "Serverless endpoints: feature exclusions").
    fn serves_what_it_trains(&self) -> Result<(), SettingsInvalid> {
        match (&self.deployment.hosting, self.training.mode) {
            (Hosting::Serverless { .. }, Some(Mode::Auto)) => {
                Err(SettingsInvalid::ModeServerless("auto"))
            }
            (Hosting::Serverless { .. }, Some(Mode::HyperparameterTuning)) => {
                Err(SettingsInvalid::ModeServerless("hyperparameter_tuning"))
            }
            _ => Ok(()),
        }
    }
}

impl ModelSettings {
    /// Checks what depends on the tenant whose model it is.
    pub(crate) fn validate_for(
        &self,
        encryption: Option<&Encryption>,
        limits: Limits,
    ) -> Result<(), SettingsInvalid> {
        self.validate()?;
        let waits = self.deployment.update.traffic.wait_seconds();
        if waits > limits.max_runtime_seconds {
            return Err(SettingsInvalid::WaitsBeyondRun(waits, limits.max_runtime_seconds));
        }
        match &self.deployment.hosting {
            Hosting::Instance { instance_type, .. }
                if encryption.is_some_and(|encryption| encryption.volume_key.is_some())
                    && instances::has_local_disk(instance_type) =>
            {
                Err(SettingsInvalid::OwnDisk(instance_type.clone()))
            }
            _ => Ok(()),
        }
    }
}

impl Problem {
    fn validate(&self, target: &str) -> Result<(), SettingsInvalid> {
        match self {
            Problem::Tabular | Problem::ImageClassification => Ok(()),
            Problem::TextClassification { content_column } => {
                name("content_column", content_column)?;
                name("target", target)?;
                different(&[target, content_column])
            }
            Problem::TimeSeriesForecasting {
                frequency,
                horizon,
                item_column,
                timestamp_column,
                quantiles,
                grouping_columns,
            } => {
                if !is_frequency(frequency) {
                    return Err(SettingsInvalid::Frequency(frequency.clone()));
                }
                if !(1..=500).contains(horizon) {
                    return Err(SettingsInvalid::Horizon(*horizon));
                }
                if quantiles.len() > 5
                    || !quantiles.iter().all(|quantile| is_quantile(quantile))
                    || repeated(quantiles).is_some()
                {
                    return Err(SettingsInvalid::Quantiles(quantiles.clone()));
                }
                if grouping_columns.len() > 5 {
                    return Err(SettingsInvalid::Grouping(grouping_columns.len()));
                }
                name("item_column", item_column)?;
                name("timestamp_column", timestamp_column)?;
                let mut columns = vec![target, item_column, timestamp_column];
                for column in grouping_columns {
                    name("a grouping column", column)?;
                    columns.push(column);
                }
                different(&columns)
            }
        }
    }
}

impl Objective {
    fn validate(&self, problem: &Problem) -> Result<(), SettingsInvalid> {
        let (kinds, metrics): (Vec<&str>, Vec<&str>) = match problem {
            Problem::Tabular => {
                let kinds = ProblemType::ALL.iter().map(|kind| kind.as_str()).collect();
                let metrics = self.problem_type.parse().map(ProblemType::objectives);
                (kinds, metrics.unwrap_or_default().iter().map(|m: &Metric| m.as_str()).collect())
            }
            Problem::TimeSeriesForecasting { .. } => {
                (vec!["TimeSeriesForecasting"], FORECAST_METRICS.to_vec())
            }
            Problem::TextClassification { .. } => (vec!["TextClassification"], vec!["Accuracy"]),
            Problem::ImageClassification => (vec!["ImageClassification"], vec!["Accuracy"]),
        };
        if !kinds.contains(&self.problem_type.as_str()) {
            return Err(SettingsInvalid::ProblemType(self.problem_type.clone(), kinds.join(", ")));
        }
        if !metrics.contains(&self.metric.as_str()) {
            let metric = self.metric.clone();
            return Err(SettingsInvalid::Metric(
                metric,
                self.problem_type.clone(),
                metrics.join(", "),
            ));
        }
        Ok(())
    }
}

impl Training {
    fn validate(&self, problem: &Problem, target: &str) -> Result<(), SettingsInvalid> {
        if let Some(count) = self.max_candidates
            && !(1..=750).contains(&count)
        {
            return Err(SettingsInvalid::Candidates(count));
        }
        if let Some(seconds) = self.max_runtime_seconds
            && !(300..=2_592_000).contains(&seconds)
        {
            return Err(SettingsInvalid::Runtime(seconds));
        }
        if let Some(seconds) = self.max_trial_seconds
            && (seconds == 0 || self.max_runtime_seconds.is_some_and(|whole| seconds > whole))
        {
            return Err(SettingsInvalid::Trial(seconds));
        }
        if let Some(Validation::Fraction(share)) = self.validation
            && !(share > 0.0 && share < 1.0)
        {
            return Err(SettingsInvalid::Fraction(share));
        }
        if let Some(share) = self.hold_out
            && !(0.0..=0.5).contains(&share)
        {
            return Err(SettingsInvalid::HoldOut(share));
        }
        self.tables_only(problem)?;
        if let Some(weight) = &self.sample_weight {
            if self.mode != Some(Mode::Ensembling) {
                return Err(SettingsInvalid::WeightMode);
            }
            name("training.sample_weight", weight)?;
            different(&[target, weight])?;
        }
        if !self.features.is_empty() && !self.feature_types.is_empty() {
            return Err(SettingsInvalid::FeaturesTwice);
        }
        for feature in self.features.keys().chain(self.feature_types.keys()) {
            name("a column of training.features or training.feature_types", feature)?;
            different(&[target, self.sample_weight.as_deref().unwrap_or_default(), feature])?;
        }
        Ok(())
    }

    /// Forecasts, texts and pictures are trained in one way (API reference,
    /// `AutoMLProblemTypeConfig`); forecasts take one channel only.
    fn tables_only(&self, problem: &Problem) -> Result<(), SettingsInvalid> {
        let forecast = matches!(problem, Problem::TimeSeriesForecasting { .. });
        let only = match problem {
            Problem::Tabular => None,
            _ if self.mode.is_some() => Some("training.mode"),
            _ if self.sample_weight.is_some() => Some("training.sample_weight"),
            _ if self.max_candidates.is_some_and(|count| count > 1) => {
                Some("training.max_candidates above 1")
            }
            _ if !forecast && !self.features.is_empty() => Some("training.features"),
            _ if !forecast && !self.feature_types.is_empty() => Some("training.feature_types"),
            _ if forecast && self.validation.is_some() => Some("training.validation"),
            _ if self.hold_out.is_some_and(|share| share > 0.0) => Some("training.hold_out"),
            _ => None,
        };
        only.map_or(Ok(()), |setting| Err(SettingsInvalid::TablesOnly(setting)))
    }
}

impl Gate {
    fn validate(&self) -> Result<(), SettingsInvalid> {
        if !self.margin.is_finite() {
            Err(SettingsInvalid::Gate("margin"))
        } else if self.minimum.is_some_and(|minimum| !minimum.is_finite()) {
            Err(SettingsInvalid::Gate("minimum"))
        } else {
            Ok(())
        }
    }
}

impl Deployment {
    fn validate(&self) -> Result<(), SettingsInvalid> {
        self.hosting.validate()?;
        let serverless = matches!(self.hosting, Hosting::Serverless { .. });
        if let Some(Scaling { min, max, invocations_per_instance }) = self.scaling {
            if serverless {
                return Err(SettingsInvalid::ScalingServerless);
            }
            if min == 0 || max < min {
                return Err(SettingsInvalid::ScalingLimits(min, max));
            }
            if invocations_per_instance == 0 {
                return Err(SettingsInvalid::ScalingGoal);
            }
        }
        match self.data_capture_percent {
            Some(percent) if !(1..=100).contains(&percent) => {
                return Err(SettingsInvalid::Capture(percent));
            }
            // SageMaker Developer Guide, "Serverless endpoints: feature exclusions".
            Some(_) if serverless => {
                return Err(SettingsInvalid::NotServerless("data_capture_percent"));
            }
            _ => {}
        }
        let traffic = match self.update.traffic {
            Traffic::AllAtOnce => None,
            Traffic::Canary { percent, wait_seconds } => {
                Some(("canary", percent, wait_seconds, 1..=50, "1 to 50"))
            }
            Traffic::Linear { percent, wait_seconds } => {
                Some(("linear", percent, wait_seconds, 10..=50, "10 to 50"))
            }
        };
        if let Some((kind, percent, wait, range, words)) = traffic {
            if !range.contains(&percent) {
                return Err(SettingsInvalid::Percent(kind, percent, words));
            }
            if wait > 3600 {
                return Err(SettingsInvalid::Wait(kind, wait));
            }
            let Hosting::Instance { count, .. } = self.hosting else {
                return Err(SettingsInvalid::StepsServerless(kind));
            };
            if count.min(self.scaling.map_or(count, |scaling| scaling.min)) < 2 {
                return Err(SettingsInvalid::OneInstance(kind));
            }
            let waits = self.update.traffic.wait_seconds();
            if waits > LONGEST_WAITS {
                return Err(SettingsInvalid::Waits(kind, waits));
            }
        }
        let alarms = &self.update.alarms;
        let is_alarm = |alarm: &String| (1..=255).contains(&alarm.trim().chars().count());
        if alarms.len() > 10 || !alarms.iter().all(is_alarm) || repeated(alarms).is_some() {
            return Err(SettingsInvalid::Alarms);
        }
        if self.remove_after_idle_days == Some(0) {
            return Err(SettingsInvalid::IdleDays);
        }
        Ok(())
    }
}

impl Hosting {
    fn validate(&self) -> Result<(), SettingsInvalid> {
        match self {
            Hosting::Instance { count: 0, .. } => Err(SettingsInvalid::Instances(0)),
            Hosting::Instance { instance_type, .. } => {
                instances::check(instance_type).map_err(|NoInstanceType { meant }| {
                    SettingsInvalid::InstanceType(instance_type.chars().take(40).collect(), meant)
                })
            }
            Hosting::Serverless { memory_mb, .. }
                if !((1024..=6144).contains(memory_mb) && memory_mb.is_multiple_of(1024)) =>
            {
                Err(SettingsInvalid::Memory(*memory_mb))
            }
            Hosting::Serverless { max_concurrency, .. } if !(1..=200).contains(max_concurrency) => {
                Err(SettingsInvalid::Concurrency(*max_concurrency))
            }
            _ => Ok(()),
        }
    }
}

fn name(setting: &'static str, value: &str) -> Result<(), SettingsInvalid> {
    if value.trim().is_empty() || value.chars().count() > LONGEST_NAME {
        let shown = value.chars().take(40).collect();
        return Err(SettingsInvalid::Name(setting, shown));
    }
    Ok(())
}

fn different(columns: &[&str]) -> Result<(), SettingsInvalid> {
    match repeated(columns) {
        Some(column) => Err(SettingsInvalid::ColumnTwice((*column).to_owned())),
        None => Ok(()),
    }
}

fn repeated<T: PartialEq>(values: &[T]) -> Option<&T> {
    values.iter().enumerate().find(|(i, value)| values[..*i].contains(value)).map(|(_, v)| v)
}

/// `1Y`, 1 to 11 `M`, 1 to 4 `W`, 1 to 6 `D`, 1 to 23 `H`, 1 to 59 `min`; the
/// number may be left out where it is 1, but not before `min`.
fn is_frequency(text: &str) -> bool {
    let unit = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit);
    let most = match unit {
        "Y" => 1,
        "M" => 11,
        "W" => 4,
        "D" => 6,
        "H" => 23,
        "min" => 59,
        _ => return false,
    };
    match number {
        "" => unit != "min",
        number => !number.starts_with('0') && number.parse().is_ok_and(|n: u32| n <= most),
    }
}

/// `p1` to `p99`.
fn is_quantile(text: &str) -> bool {
    text.strip_prefix('p').is_some_and(|digits| {
        digits.len() <= 2
            && !digits.starts_with('0')
            && !digits.is_empty()
            && digits.bytes().all(|b| b.is_ascii_digit())
    })
}

/// An expression of EventBridge Scheduler, by its form; what is within, AWS
/// checks.
fn is_schedule(text: &str) -> bool {
    ["rate(", "cron(", "at("].into_iter().any(|begin| {
        let inside = text.strip_prefix(begin).and_then(|rest| rest.strip_suffix(')'));
        inside.is_some_and(|inside| !inside.trim().is_empty())
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    /// The message for settings that differ from sound ones in one place.
    fn refused(changes: Value) -> String {
        let mut document = json!({"target": "y"});
        document.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let settings: ModelSettings = serde_json::from_value(document).unwrap();
        settings.validate().unwrap_err().to_string()
    }

    fn forecast(changes: Value) -> Value {
        let mut forecast =
            json!({"frequency": "1D", "horizon": 7, "item_column": "i", "timestamp_column": "t"});
        forecast.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        json!({"problem": {"time_series_forecasting": forecast}})
    }

    #[test]
    fn every_rule_has_a_message_of_its_own() {
        let two = json!({"instance": {"instance_type": "ml.m5.large", "count": 2}});
        let cases = [
            (
                json!({"target": " "}),
                "target is empty: name the column to predict as it stands in the header",
            ),
            (
                json!({"objective": {"problem_type": "Clustering", "metric": "F1"}}),
                "objective.problem_type is \"Clustering\"; for this problem it is one of BinaryClassification, MulticlassClassification, Regression",
            ),
            (
                json!({"objective": {"problem_type": "Regression", "metric": "F1"}}),
                "objective.metric is \"F1\"; for Regression it is one of MAE, MSE, R2, RMSE",
            ),
            (
                json!({"training": {"max_candidates": 0}}),
                "training.max_candidates is 0; SageMaker takes 1 to 750",
            ),
            (
                json!({"training": {"max_runtime_seconds": 60}}),
                "training.max_runtime_seconds is 60; it must be between 300 s and 30 days (2592000)",
            ),
            (
                json!({"training": {"max_runtime_seconds": 600, "max_trial_seconds": 601}}),
                "training.max_trial_seconds is 601; it must be at least 1 and no more than the whole job",
            ),
            (
                json!({"training": {"validation": {"fraction": 1.0}}}),
                "training.validation.fraction is 1; it must be more than 0 and less than 1",
            ),
            (
                json!({"training": {"hold_out": 0.6}}),
                "training.hold_out is 0.6; it must be between 0 (nothing is set aside) and 0.5",
            ),
            (
                json!({"training": {"sample_weight": "w"}}),
                "training.sample_weight needs training.mode ensembling",
            ),
            (
                json!({"training": {"sample_weight": "y", "mode": "ensembling"}}),
                "column \"y\" is used twice; target, item, timestamp, text, weight and grouping columns are different ones",
            ),
            (
                json!({"training": {"features": {"a": "numeric"}, "feature_types": {"b": "text"}}}),
                "training.features and training.feature_types do not go together: features names all columns to learn from with their types, feature_types the types of some while all are learned from",
            ),
            (
                json!({"training": {"feature_types": {"y": "numeric"}}}),
                "column \"y\" is used twice; target, item, timestamp, text, weight and grouping columns are different ones",
            ),
            (
                json!({"training": {"features": {"y": "numeric"}}}),
                "column \"y\" is used twice; target, item, timestamp, text, weight and grouping columns are different ones",
            ),
            (
                forecast(json!({"frequency": "60min"})),
                "frequency is \"60min\"; it is a number and a unit that do not reach the next larger unit, such as 15min, 1H, 1D, 2W or 1M",
            ),
            (forecast(json!({"horizon": 0})), "horizon is 0; it must be 1 to 500 steps"),
            (
                forecast(json!({"quantiles": ["p0"]})),
                "quantiles are at most 5 different ones from p1 to p99, not [\"p0\"]",
            ),
            (
                forecast(json!({"grouping_columns": ["a", "b", "c", "d", "e", "f"]})),
                "grouping_columns are at most 5 different ones, not 6",
            ),
            (
                forecast(json!({"item_column": ""})),
                "item_column is \"\"; it must have 1 to 256 characters",
            ),
            (
                forecast(json!({"item_column": "t"})),
                "column \"t\" is used twice; target, item, timestamp, text, weight and grouping columns are different ones",
            ),
            (
                json!({"problem": "image_classification", "training": {"mode": "ensembling"}}),
                "training.mode is for tables only; leave it out for this problem",
            ),
            (
                json!({"deployment": {"hosting": {"instance": {"instance_type": "m5.large"}}}}),
                "instance_type is \"m5.large\", which SageMaker runs no endpoints on; did you mean ml.m5.large?",
            ),
            (
                json!({"deployment": {"update": {"traffic": {"canary": {"percent": 10, "wait_seconds": 1}}}}}),
                "update.traffic.canary needs two instances, since a step is at most half of them; this model may run on one: raise hosting.instance.count and scaling.min to 2, or let traffic move all_at_once",
            ),
            (
                json!({"deployment": {"hosting": two, "scaling": {"min": 1, "max": 2, "invocations_per_instance": 9}, "update": {"traffic": {"linear": {"percent": 10, "wait_seconds": 1}}}}}),
                "update.traffic.linear needs two instances, since a step is at most half of them; this model may run on one: raise hosting.instance.count and scaling.min to 2, or let traffic move all_at_once",
            ),
            (
                json!({"deployment": {"hosting": {"serverless": {"memory_mb": 1024, "max_concurrency": 1}}, "update": {"traffic": {"canary": {"percent": 10, "wait_seconds": 1}}}}}),
                "update.traffic.canary is for instances; traffic of a serverless endpoint moves all_at_once",
            ),
            (
                json!({"deployment": {"hosting": two, "update": {"traffic": {"linear": {"percent": 10, "wait_seconds": 3600}}}}}),
                "the waits of update.traffic.linear take 36000 s together; SageMaker gives an update 8 hours, of which one is for starting instances: make it 25200 s or less with larger steps or shorter waits",
            ),
            (
                json!({"deployment": {"hosting": {"instance": {"instance_type": "ml.m5.large", "count": 0}}}}),
                "count is 0; it must be at least 1",
            ),
            (
                json!({"deployment": {"hosting": {"serverless": {"memory_mb": 1500, "max_concurrency": 1}}}}),
                "memory_mb is 1500; it must be 1024 to 6144 in steps of 1024",
            ),
            (
                json!({"deployment": {"hosting": {"serverless": {"memory_mb": 1024, "max_concurrency": 201}}}}),
                "max_concurrency is 201; it must be 1 to 200",
            ),
            (
                json!({"deployment": {"hosting": {"serverless": {"memory_mb": 1024, "max_concurrency": 1}}, "scaling": {"min": 1, "max": 2, "invocations_per_instance": 9}}}),
                "scaling is for instances; a serverless endpoint scales by itself up to max_concurrency",
            ),
            (
                json!({"deployment": {"hosting": {"serverless": {"memory_mb": 1024, "max_concurrency": 1}}, "data_capture_percent": 5}}),
                "data_capture_percent is not offered for serverless endpoints; leave it out",
            ),
            (
                json!({"training": {"mode": "auto"}, "deployment": {"hosting": {"serverless": {"memory_mb": 1024, "max_concurrency": 1}}}}),
                "training.mode is auto, which may make models of several containers, and a serverless endpoint serves one; set training.mode to ensembling, or leave it out",
            ),
            (
                json!({"deployment": {"scaling": {"min": 3, "max": 2, "invocations_per_instance": 9}}}),
                "scaling is from 3 to 2; min must be at least 1 and max at least min",
            ),
            (
                json!({"deployment": {"scaling": {"min": 1, "max": 2, "invocations_per_instance": 0}}}),
                "scaling.invocations_per_instance is 0; it must be at least 1",
            ),
            (
                json!({"deployment": {"data_capture_percent": 0}}),
                "data_capture_percent is 0; it must be 1 to 100",
            ),
            (
                json!({"deployment": {"update": {"traffic": {"canary": {"percent": 51, "wait_seconds": 1}}}}}),
                "update.traffic.canary.percent is 51; it must be 1 to 50",
            ),
            (
                json!({"deployment": {"update": {"traffic": {"linear": {"percent": 9, "wait_seconds": 1}}}}}),
                "update.traffic.linear.percent is 9; it must be 10 to 50",
            ),
            (
                json!({"deployment": {"update": {"traffic": {"linear": {"percent": 10, "wait_seconds": 3601}}}}}),
                "update.traffic.linear.wait_seconds is 3601; it must be 0 to 3600",
            ),
            (
                json!({"deployment": {"update": {"alarms": [""]}}}),
                "update.alarms are at most 10 different names of 1 to 255 characters",
            ),
            (
                json!({"deployment": {"remove_after_idle_days": 0}}),
                "remove_after_idle_days is 0; it must be at least 1",
            ),
            (
                json!({"schedule": "weekly"}),
                "schedule is \"weekly\"; it must be rate(...), cron(...) or at(...), such as rate(7 days)",
            ),
            (json!({"quiet_seconds": 0}), "quiet_seconds is 0; it must be 1 to 3600"),
            (json!({"quiet_seconds": 3601}), "quiet_seconds is 3601; it must be 1 to 3600"),
        ];
        for (changes, sentence) in cases {
            assert_eq!(refused(changes.clone()), sentence, "{changes}");
        }
    }

    #[test]
    fn numbers_that_are_none_are_refused_in_the_gate() {
        let mut settings = ModelSettings::predicting("y");
        settings.gate.margin = f64::NAN;
        assert_eq!(settings.validate(), Err(SettingsInvalid::Gate("margin")));
        settings.gate = Gate { minimum: Some(f64::INFINITY), ..Gate::default() };
        assert_eq!(settings.validate(), Err(SettingsInvalid::Gate("minimum")));
    }

    #[test]
    fn frequencies_are_those_of_the_service_model() {
        for good in ["1Y", "Y", "11M", "M", "4W", "D", "6D", "23H", "59min", "1min"] {
            assert!(is_frequency(good), "{good}");
        }
        for bad in ["2Y", "12M", "5W", "7D", "24H", "60min", "min", "0D", "01D", "1d", "", "1"] {
            assert!(!is_frequency(bad), "{bad}");
        }
    }
}
