//! `crosspilot tenant model`: a model's settings, from options or a document.

use std::fs;

use crosspilot_core::settings::{
    Deployment, Gate, Hosting, Mode, ModelSettings, Objective, Problem, Traffic, Training,
    Validation,
};
use crosspilot_operator::Vendor;
use serde_json::json;

use crate::args::{ModelCommand, ModelOptions, SettingsOptions};
use crate::failure::Failure;
use crate::{cost, output};

pub(crate) async fn run(vendor: &Vendor, command: ModelCommand) -> Result<(), Failure> {
    match command {
        ModelCommand::Set(options) => {
            let ModelOptions { tenant, model, settings, json } = *options;
            let settings = self::settings(settings)?;
            vendor.set_model(&tenant, &model, &settings).await?;
            if json {
                output::json(&json!({"tenant": tenant, "model": model, "settings": settings}));
            } else {
                let target = &settings.target;
                output::line(&format!(
                    "tenant {tenant} has model {model}, which predicts {target:?}"
                ));
                let limits = vendor.registry.tenant(&tenant).await?.limits;
                output::line(&format!(
                    "estimated cost on AWS: {}",
                    cost::of_settings(&limits, &settings)?
                ));
            }
        }
        ModelCommand::Show { tenant, model, json } => {
            let tenant = vendor.registry.tenant(&tenant).await?;
            let settings = crosspilot_core::registry::model_settings(&tenant, &model)?;
            if json {
                output::json(&serde_json::to_value(settings)?);
            } else {
                let costs = cost::of_settings(&tenant.limits, settings)?;
                print(settings, &costs);
            }
        }
    }
    Ok(())
}

/// The settings that the options ask for: the document's, if one is named, with
/// what else is given in its place. Told to be wrong before anything is written.
pub(crate) fn settings(options: SettingsOptions) -> Result<ModelSettings, Failure> {
    let mut settings = match &options.settings {
        Some(path) => {
            let text =
                fs::read_to_string(path).map_err(|e| Failure::Unreadable(path.clone(), e))?;
            serde_json::from_str(&text).map_err(|e| Failure::NoSettings(path.clone(), e))?
        }
        None => ModelSettings::predicting(""),
    };
    if let Some(target) = options.target {
        settings.target = target;
    }
    if let Some((problem_type, metric)) = options.problem_type.zip(options.metric) {
        settings.objective = Some(Objective { problem_type, metric });
    }
    let training = &mut settings.training;
    training.mode = options.mode.or(training.mode);
    training.max_candidates = options.max_candidates.or(training.max_candidates);
    training.max_runtime_seconds = options.max_runtime.or(training.max_runtime_seconds);
    training.max_trial_seconds = options.max_trial.or(training.max_trial_seconds);
    if let Some(share) = options.validation_fraction {
        training.validation = Some(Validation::Fraction(share));
    } else if options.validation_channel {
        training.validation = Some(Validation::Channel);
    }
    training.hold_out = options.hold_out.or(training.hold_out);
    training.features.extend(options.features);
    training.feature_types.extend(options.feature_types);
    if options.sample_weight.is_some() {
        training.sample_weight = options.sample_weight;
    }
    settings.gate.margin = options.margin.unwrap_or(settings.gate.margin);
    settings.gate.minimum = options.minimum.or(settings.gate.minimum);
    settings.gate.allow_baseline |= options.allow_baseline;
    if let Some(instance_type) = options.instance_type {
        let count = options.instances.unwrap_or(1);
        settings.deployment.hosting = Hosting::Instance { instance_type, count };
    } else if let Some(memory_mb) = options.serverless_memory {
        let max_concurrency = options.serverless_concurrency;
        settings.deployment.hosting = Hosting::Serverless { memory_mb, max_concurrency };
    }
    if options.schedule.is_some() {
        settings.schedule = options.schedule;
    }
    settings.quiet_seconds = options.quiet_seconds.or(settings.quiet_seconds);
    settings.train_on_upload &= !options.no_train_on_upload;
    settings.validate()?;
    Ok(settings)
}

/// Describes what a model runs on, in a few words.
pub(crate) fn hosting(hosting: &Hosting) -> String {
    match hosting {
        Hosting::Instance { instance_type, count: 1 } => instance_type.clone(),
        Hosting::Instance { instance_type, count } => format!("{count} x {instance_type}"),
        Hosting::Serverless { memory_mb, max_concurrency } => {
            format!("serverless, {memory_mb} MB, {max_concurrency} at a time")
        }
    }
}

fn print(settings: &ModelSettings, costs: &str) {
    let ModelSettings {
        target,
        problem,
        objective,
        training,
        gate,
        deployment,
        schedule,
        quiet_seconds,
        train_on_upload,
    } = settings;
    let mut rows = vec![("target", target.clone()), ("problem", kind(problem))];
    let objective = objective.as_ref().map(|o| format!("{} by {}", o.problem_type, o.metric));
    rows.push(("objective", objective.unwrap_or_else(|| "inferred".to_owned())));
    rows.extend(training_rows(training, settings.mode()));
    rows.extend(gate_rows(gate));
    rows.extend(deployment_rows(deployment));
    rows.push(("schedule", schedule.clone().unwrap_or_else(|| "-".to_owned())));
    if !train_on_upload {
        rows.push(("uploads", "start no run".to_owned()));
    }
    if let Some(seconds) = quiet_seconds {
        rows.push(("trains after", format!("{seconds} s without an upload")));
    }
    rows.push(("costs on AWS", costs.to_owned()));
    let rows: Vec<(&str, &str)> =
        rows.iter().map(|(name, value)| (*name, value.as_str())).collect();
    output::pairs(&rows);
}

/// Describes the kind of problem that a model solves, in a few words.
fn kind(problem: &Problem) -> String {
    match problem {
        Problem::Tabular => "a table's column".to_owned(),
        Problem::TimeSeriesForecasting { frequency, horizon, .. } => {
            format!("forecast of {horizon} steps of {frequency}")
        }
        Problem::TextClassification { content_column } => {
            format!("texts of {content_column:?}")
        }
        Problem::ImageClassification => "pictures".to_owned(),
    }
}

/// Describes the settings of the search for candidates.
fn training_rows(training: &Training, mode: Mode) -> Vec<(&'static str, String)> {
    let limit = |value: Option<u32>, unit: &str| match value {
        Some(value) => format!("{value}{unit}"),
        None => "the tenant's limit".to_owned(),
    };
    let mode = match mode {
        Mode::Auto => "by the data's size",
        Mode::Ensembling => "ensembling",
        Mode::HyperparameterTuning => "hyperparameter_tuning",
    };
    let mut rows = vec![
        ("mode", mode.to_owned()),
        ("candidates", limit(training.max_candidates.map(u32::from), " at most")),
        ("job takes", limit(training.max_runtime_seconds, " s at most")),
    ];
    if let Some(seconds) = training.max_trial_seconds {
        rows.push(("candidate takes", format!("{seconds} s at most")));
    }
    rows.push((
        "validated on",
        match training.validation {
            Some(Validation::Fraction(share)) => format!("{:.0} % of the rows", share * 100.0),
            Some(Validation::Channel) => "the files under validation/".to_owned(),
            None => "SageMaker's choice of rows".to_owned(),
        },
    ));
    if let Some(share) = training.hold_out {
        rows.push(("set aside", format!("{:.0} % of the rows", share * 100.0)));
    }
    if !training.features.is_empty() {
        let names: Vec<&str> = training.features.keys().map(String::as_str).collect();
        rows.push(("features", names.join(", ")));
    }
    if !training.feature_types.is_empty() {
        let names: Vec<&str> = training.feature_types.keys().map(String::as_str).collect();
        rows.push(("types set", names.join(", ")));
    }
    if let Some(weight) = &training.sample_weight {
        rows.push(("sample weight", weight.clone()));
    }
    rows
}

/// Describes the conditions under which a challenger is good enough.
fn gate_rows(gate: &Gate) -> Vec<(&'static str, String)> {
    let mut rows = vec![("margin", gate.margin.to_string())];
    if let Some(minimum) = gate.minimum {
        rows.push(("minimum", minimum.to_string()));
    }
    if gate.allow_baseline {
        rows.push(("baseline", "a model that is no better may serve".to_owned()));
    }
    rows
}

/// Describes the settings of the endpoint.
fn deployment_rows(deployment: &Deployment) -> Vec<(&'static str, String)> {
    let mut rows = vec![("hosting", hosting(&deployment.hosting))];
    if let Some(scaling) = deployment.scaling {
        rows.push(("scaling", format!("{} to {} instances", scaling.min, scaling.max)));
    }
    if let Some(percent) = deployment.data_capture_percent {
        rows.push(("captured", format!("{percent} % of requests")));
    }
    rows.push((
        "update",
        match &deployment.update.traffic {
            Traffic::AllAtOnce => "all at once".to_owned(),
            Traffic::Canary { percent, wait_seconds } => {
                format!("{percent} % first, the rest after {wait_seconds} s")
            }
            Traffic::Linear { percent, wait_seconds } => {
                format!("{percent} % every {wait_seconds} s")
            }
        },
    ));
    if !deployment.update.alarms.is_empty() {
        rows.push(("alarms", deployment.update.alarms.join(", ")));
    }
    if let Some(days) = deployment.remove_after_idle_days {
        rows.push(("removed after", format!("{days} idle days")));
    }
    rows
}
