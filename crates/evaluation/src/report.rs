//! The report: one HTML file for people, with nothing to load and no scripts.

mod chart;
mod html;
mod insights;
mod narrative;
mod sections;

use crosspilot_core::decision::{Comparison, Decision, Score};
use crosspilot_core::registry::Measured;
use crosspilot_core::run::RunRef;
use crosspilot_inference::Prediction;

use crate::data::Source;
use crate::evaluation::Evaluation;
use crate::insights::Insights;
use crate::request::Warned;

const STYLE: &str = include_str!("report/page.css");

/// The subject of a report, with all its figures.
pub(crate) struct Report<'a> {
    pub(crate) model: Described<'a>,
    pub(crate) occasion: Occasion<'a>,
    /// The worth of the model by the metric that decides, and of one answer for all.
    pub(crate) comparison: &'a Comparison,
    pub(crate) target: &'a str,
    pub(crate) source: &'a Source,
    /// The predictions, one for each row of the source.
    pub(crate) predictions: &'a [Prediction],
    /// The target's raw cells, one for each row of the source.
    pub(crate) truth: Option<&'a [String]>,
    pub(crate) evaluation: Option<&'a Evaluation>,
    /// The insights that Autopilot itself gives.
    pub(crate) insights: &'a Insights,
}

/// The model that a report is about.
pub(crate) struct Described<'a> {
    pub(crate) run: &'a RunRef,
    pub(crate) job: &'a str,
    pub(crate) candidate: &'a str,
    pub(crate) endpoint: &'a str,
    /// The score that it was chosen by.
    pub(crate) score: &'a Score,
}

/// The occasion of a report.
pub(crate) enum Occasion<'a> {
    /// A run has made the model.
    Run { decision: &'a Decision, warnings: &'a [Warned] },
    /// Held-out rows came while the model serves: what it was worth on them and on those
    /// before, and on any at least.
    Upload { trend: &'a [&'a Measured], minimum: Option<f64> },
}

impl Occasion<'_> {
    /// Tells whether the model serves.
    fn serves(&self) -> bool {
        match self {
            Occasion::Run { decision, .. } => decision.deploys(),
            Occasion::Upload { .. } => true,
        }
    }
}

/// The whole page. The same report is always the same text.
pub(crate) fn html(report: &Report<'_>) -> String {
    let words = narrative::words(report);
    let model = html::text(report.model.run.model.as_str());
    let run = html::text(report.model.run.run_id.as_str());
    let warning =
        words.warning.map_or(String::new(), |warning| format!("<p class=\"notice\">{warning}</p>"));
    let tiles = report
        .evaluation
        .map_or(String::new(), |evaluation| html::tiles(&narrative::tiles(report, evaluation)));
    let charts = match report.evaluation {
        Some(evaluation) => sections::charts(evaluation),
        None => insights::validation(report.insights),
    };
    let Described { score, candidate, .. } = &report.model;
    let tried = insights::cards(report.insights, score.metric.as_deref(), candidate);
    let examples = sections::examples(report);
    let mistakes = sections::surest_mistakes(report).unwrap_or_default();
    let (verdict, data) = match &report.occasion {
        Occasion::Run { decision, warnings } => {
            (sections::decision(decision, report.comparison), sections::data(warnings))
        }
        Occasion::Upload { trend, minimum } => (sections::trend(trend, *minimum), String::new()),
    };
    let about = sections::about(report);
    format!(
        r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{name} {id}</title>
<style>
{STYLE}</style>
</head>
<body>
<main>
<p class="eyebrow">{model} · {run}</p>
<h1>{headline}</h1>
<p class="lead">{lead}</p>
{warning}
{tiles}
<div class="cards">
{charts}
{tried}
{examples}
{mistakes}
{verdict}
{data}
{about}
</div>
<footer>Made by Crosspilot. This page loads nothing and runs nothing.</footer>
</main>
</body>
</html>
"#,
        name = report.model.run.model,
        id = report.model.run.run_id,
        headline = words.headline,
        lead = words.lead,
    )
}

#[cfg(test)]
mod tests;
