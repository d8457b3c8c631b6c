//! The documents that a job leaves beside its models.

use crosspilot_automl::Analysis;
use serde_json::{Map, Value, json};

use crate::autopilot::trainer::Trained;

/// `analysis.json` where Autopilot's explainability report has it: each
/// column's share in the model's answers.
pub(crate) fn explainability(shares: &[(String, f64)], analysis: &Analysis) -> Value {
    let shares: Map<String, Value> =
        shares.iter().map(|(column, share)| (column.clone(), json!(share))).collect();
    let label = analysis.labels.last().map_or("label0", |(label, _)| label.as_str());
    json!({
        "version": "1.0",
        "method": "mean absolute Shapley values, sampled, over up to 100 records and all classes, as shares of their sum",
        "explanations": { "kernel_shap": { label: { "global_shap_values": shares } } },
    })
}

/// `statistics.json` where Autopilot's model insights have it. Source of its form:
/// SageMaker Developer Guide, "Model quality metrics".
pub(crate) fn insights(best: &Trained, analysis: &Analysis) -> Value {
    let section = match analysis.problem_type.as_str() {
        "Regression" => "regression_metrics",
        "BinaryClassification" => "binary_classification_metrics",
        _ => "multiclass_classification_metrics",
    };
    let mut values: Map<String, Value> = best
        .metrics
        .iter()
        .map(|(metric, value)| (metric.as_str().to_lowercase(), json!({ "value": value })))
        .collect();
    if !best.confusion.is_empty() {
        let labels: Vec<&String> = analysis.labels.iter().map(|(label, _)| label).collect();
        let row = |counts: &Vec<u64>| -> Map<String, Value> {
            labels.iter().zip(counts).map(|(label, rows)| ((*label).clone(), json!(rows))).collect()
        };
        let rows = labels.iter().zip(&best.confusion);
        let matrix: Map<String, Value> =
            rows.map(|(label, counts)| ((*label).clone(), Value::Object(row(counts)))).collect();
        values.insert("confusion_matrix".to_owned(), Value::Object(matrix));
    }
    json!({ "version": 0.0, "dataset": { "item_count": analysis.rows }, section: values })
}

/// The candidate definition notebook of a tuning job: what its candidates are.
pub(crate) fn definitions(job: &str, target: &str, analysis: &Analysis, candidates: u32) -> Value {
    let text = format!(
        "# Candidate definitions of {job}\n\nEach candidate turns the columns into features (`dpp0`), learns \
         `{target}` from them ({}) with one algorithm and one choice of its hyperparameters, and is judged by {}. \
         Up to {candidates} are tried.\n",
        analysis.problem_type, analysis.metric
    );
    notebook(text)
}

/// The data exploration notebook: what each column was taken for.
pub(crate) fn exploration(job: &str, target: &str, analysis: &Analysis) -> Value {
    let mut text = format!(
        "# Data exploration of {job}\n\n{} rows with a value in `{target}`, {} without. {} by {}.\n\n",
        analysis.rows, analysis.dropped_rows, analysis.problem_type, analysis.metric
    );
    text.push_str("| column | taken for | missing |\n|---|---|---|\n");
    for column in &analysis.columns {
        let name = column.name.replace('|', "\\|");
        text.push_str(&format!(
            "| {name} | {:?} | {:.1} % |\n",
            column.kind,
            column.missing * 100.0
        ));
    }
    notebook(text)
}

fn notebook(text: String) -> Value {
    json!({
        "cells": [{ "cell_type": "markdown", "id": "text", "metadata": {}, "source": [text] }],
        "metadata": {}, "nbformat": 4, "nbformat_minor": 5,
    })
}
