//! The report.
use crate::answer::Prediction;
use crate::data::Source;
use crate::evaluation::Evaluation;
use crate::run::RunRequest;

/// What a report tells about.
pub(crate) struct Report<'a> {
    pub(crate) request: &'a RunRequest,
    pub(crate) target: &'a str,
    pub(crate) source: &'a Source,
    pub(crate) predictions: &'a [Prediction],
    /// The target's raw cells.
    pub(crate) truth: Option<Vec<&'a str>>,
    pub(crate) evaluation: Option<&'a Evaluation>,
}

pub(crate) fn html(report: &Report<'_>) -> String {
    format!("<!doctype html><title>{}</title>", report.request.run.model)
}
