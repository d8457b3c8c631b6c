//! The report: one HTML file for people, with nothing to load and no scripts.

mod chart;
mod html;
mod sections;
mod words;

use crate::answer::Prediction;
use crate::conclude::ConcludeRequest;
use crate::data::Source;
use crate::evaluation::Evaluation;

const STYLE: &str = include_str!("report/page.css");

/// What a report tells about.
pub(crate) struct Report<'a> {
    pub(crate) request: &'a ConcludeRequest,
    pub(crate) target: &'a str,
    pub(crate) source: &'a Source,
    /// One for each row of the source.
    pub(crate) predictions: &'a [Prediction],
    /// The target's raw cells, one for each row of the source.
    pub(crate) truth: Option<&'a [String]>,
    pub(crate) evaluation: Option<&'a Evaluation>,
}

/// The whole page. The same report is always the same text.
pub(crate) fn html(report: &Report<'_>) -> String {
    let words = words::words(report);
    let model = html::text(report.request.run.model.as_str());
    let run = html::text(report.request.run.run_id.as_str());
    let warning =
        words.warning.map_or(String::new(), |warning| format!("<p class=\"notice\">{warning}</p>"));
    let tiles = report
        .evaluation
        .map_or(String::new(), |evaluation| html::tiles(&words::tiles(report, evaluation)));
    let charts = report.evaluation.map_or(String::new(), sections::charts);
    let examples = sections::examples(report);
    let mistakes = sections::surest_mistakes(report).unwrap_or_default();
    let decision = sections::decision(report);
    let about = sections::about(report);
    let data = sections::data(report);
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
{examples}
{mistakes}
{decision}
{data}
{about}
</div>
<footer>Made by Crosspilot. This page loads nothing and runs nothing.</footer>
</main>
</body>
</html>
"#,
        name = report.request.run.model,
        id = report.request.run.run_id,
        headline = words.headline,
        lead = words.lead,
    )
}

#[cfg(test)]
mod tests;
