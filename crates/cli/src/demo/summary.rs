//! The summary that a demo shows at its end.

use console::style;
use crosspilot_core::run::endpoint_name;
use serde_json::{Map, Value, json};

use super::samples::Sample;
use super::{Candidate, Outcome};
use crate::{output, watch};

/// Best first, by the objective metric.
fn ranked(outcome: &Outcome) -> Vec<&Candidate> {
    let smaller_is_better = outcome
        .ended
        .output
        .pointer("/deployment/score/smaller_is_better")
        .and_then(Value::as_bool)
        .unwrap_or(false);
    let mut candidates: Vec<&Candidate> = outcome.seen.candidates.iter().collect();
    candidates.sort_by(|a, b| {
        let value = |c: &Candidate| {
            c.value.unwrap_or(f64::NAN) * if smaller_is_better { 1.0 } else { -1.0 }
        };
        value(a).total_cmp(&value(b))
    });
    candidates
}

/// The one that the job has chosen, which need not be the first: it serves.
fn chosen(outcome: &Outcome) -> Option<&Candidate> {
    let name = text(&outcome.ended.output, "/deployment/candidate");
    outcome.seen.candidates.iter().find(|candidate| candidate.name == name)
}

fn as_json(candidate: &Candidate) -> Value {
    let Candidate { name, algorithm, metric, value, seconds } = candidate;
    json!({"name": name, "algorithm": algorithm, "metric": metric, "value": value, "seconds": seconds})
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or("-")
}

/// Prints one JSON object on standard output.
pub(super) fn print_json(outcome: &Outcome) {
    let candidates: Vec<Value> = ranked(outcome).into_iter().map(as_json).collect();
    let seconds: Map<String, Value> =
        outcome.seconds.iter().map(|(stage, s)| (stage.replace(' ', "_"), json!(s))).collect();
    output::json(&json!({
        "tenant": outcome.tenant.tenant,
        "model": outcome.model,
        "execution": {"status": outcome.ended.status, "arn": outcome.ended.arn},
        "job": {
            "name": outcome.job,
            "status": outcome.seen.job_status,
            "best": chosen(outcome).map(as_json),
            "candidates": candidates,
        },
        "endpoint": {
            "name": endpoint_name(&outcome.tenant.tenant, &outcome.model),
            "status": outcome.seen.endpoint_status,
        },
        "set_aside": outcome.set_aside,
        "evaluation": outcome.prediction.get("evaluation"),
        "predictions_uri": outcome.prediction.get("predictions_uri"),
        "report_uri": outcome.prediction.get("report_uri"),
        "api": outcome.answer,
        "files": outcome.files,
        "cost_on_aws": outcome.cost.as_json(),
        "seconds": seconds,
    }));
}

/// The summary for people.
pub(super) fn print(outcome: &Outcome, kept: bool) {
    let data = &outcome.data;
    let set_aside = outcome.set_aside.unwrap_or_default();
    output::heading("Trained");
    let rows = format!(
        "{}: {} rows to train on, {set_aside} set aside",
        data.name,
        data.rows as u64 - set_aside
    );
    let mut pairs = vec![
        ("data", rows.as_str()),
        ("in account", outcome.tenant.account.as_str()),
        ("AutoML job", &outcome.job),
    ];
    pairs.extend(watch::warnings(&outcome.ended.output));
    output::pairs(&pairs);
    output::line("");
    let metric =
        outcome.seen.candidates.iter().find_map(|c| c.metric.as_deref()).unwrap_or("metric");
    let rows: Vec<Vec<String>> = ranked(outcome)
        .into_iter()
        .enumerate()
        .map(|(place, c)| {
            vec![
                (place + 1).to_string(),
                c.algorithm.clone().unwrap_or_else(|| c.name.clone()),
                number(c.value),
                c.seconds.map_or("-".to_owned(), |s| format!("{s:.1} s")),
            ]
        })
        .collect();
    output::table(&["#", "candidate", metric, "time"], &rows);

    output::heading("Deployed");
    let endpoint = endpoint_name(&outcome.tenant.tenant, &outcome.model);
    let model = chosen(outcome).map_or("-", |c| c.algorithm.as_deref().unwrap_or(&c.name));
    output::pairs(&[
        ("model", model),
        ("endpoint", &format!("{endpoint} ({})", outcome.seen.endpoint_status)),
        ("why", text(&outcome.ended.output, "/deployment/decision/reason")),
    ]);

    output::heading("Evaluated on rows it has never seen");
    print_evaluation(&outcome.prediction);
    print_samples(&outcome.samples);

    output::heading("Asked through the prediction API");
    print_answer(outcome);

    if let Some(files) = &outcome.files {
        output::heading("Results");
        output::pairs(&[
            ("predictions", text(&outcome.prediction, "/predictions_uri")),
            ("report", text(&outcome.prediction, "/report_uri")),
            ("copies", &format!("{}  (open report.html)", files.display())),
        ]);
    }

    output::heading("What this would cost on AWS");
    outcome.cost.print();

    output::heading("Time");
    let rows: Vec<Vec<String>> = outcome
        .seconds
        .iter()
        .map(|(stage, seconds)| vec![(*stage).to_owned(), format!("{seconds:.1} s")])
        .collect();
    output::table(&["stage", "seconds"], &rows);
    if kept {
        output::line(
            "\nThe local cloud stays up: `crosspilot local status` shows it, `crosspilot local down` ends it.",
        );
    }
}

fn print_evaluation(prediction: &Value) {
    let Some(evaluation) = prediction.get("evaluation").filter(|e| e.is_object()) else {
        output::line("  nothing: the champion stays, or the held-out rows have no labels");
        return;
    };
    let shown = [
        ("accuracy", "accuracy"),
        ("f1", "F1"),
        ("auc", "AUC"),
        ("rmse", "RMSE"),
        ("mae", "MAE"),
        ("r2", "R2"),
    ];
    let rows: Vec<(&str, String)> = shown
        .iter()
        .filter_map(|(key, name)| Some((*name, format!("{:.4}", evaluation.get(key)?.as_f64()?))))
        .collect();
    let count = evaluation.get("rows").and_then(Value::as_u64).unwrap_or_default().to_string();
    let mut pairs: Vec<(&str, &str)> = vec![("rows", &count)];
    pairs.extend(rows.iter().map(|(name, value)| (*name, value.as_str())));
    output::pairs(&pairs);
}

/// A few of the held-out rows: what the model says and what was true.
fn print_samples(samples: &[Sample]) {
    if samples.is_empty() {
        return;
    }
    let rows: Vec<Vec<String>> = samples
        .iter()
        .map(|Sample { predicted, probability, actual }| match probability {
            Some(probability) => {
                let right = predicted == actual;
                let mark = if right { style("✓").green() } else { style("✗").red() };
                let actual = format!("{actual} {mark}");
                vec![predicted.clone(), format!("{probability:.3}"), actual]
            }
            None => vec![number(predicted.parse().ok()), "-".into(), actual.clone()],
        })
        .collect();
    output::line("");
    output::table(&["predicted", "probability", "in truth"], &rows);
}

/// The probability that a prediction gives its own label.
fn probability(prediction: &Value, label: &str) -> String {
    let value = prediction.get("probabilities").and_then(|p| p.get(label)).and_then(Value::as_f64);
    value.map_or("-".to_owned(), |p| format!("{p:.3}"))
}

fn number(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |v| format!("{v:.4}"))
}

fn print_answer(outcome: &Outcome) {
    let target = &outcome.data.target;
    let actual = outcome.example.iter().find(|(name, _)| name == target);
    let actual = actual.map_or("-", |(_, cell)| cell.as_str());
    let prediction = outcome.answer.pointer("/predictions/0").cloned().unwrap_or_default();
    let predicted = match prediction.get("label").and_then(Value::as_str) {
        Some(label) => {
            let probability = probability(&prediction, label);
            format!("{} with probability {probability}", style(label).green())
        }
        None => prediction.get("value").map_or("-".to_owned(), Value::to_string),
    };
    output::pairs(&[
        ("predicted", &format!("{target} = {predicted}")),
        ("in truth", &format!("{target} = {actual}")),
    ]);
}
