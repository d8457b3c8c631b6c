//! The results that a run leaves: its rows with predictions, the evaluation, the report.

use crosspilot_core::settings::ModelSettings;
use crosspilot_inference::Prediction;
use crosspilot_inference::csv_parts;
use csv::StringRecord;
use serde_json::json;

use crate::EvaluationError;
use crate::comparison::{Answers, truth};
use crate::data::Source;
use crate::evaluation::{Evaluation, Summary};
use crate::insights::Insights;
use crate::report::{self, Described, Occasion, Report};
use crate::request::ConcludeRequest;

/// Bytes of a part of the predictions, of which S3 wants 5 MB at least: a run with many
/// labels writes some 30 of them.
const PART: usize = 8 << 20;

/// All that a run's results are composed of.
pub(crate) struct Results<'a> {
    request: &'a ConcludeRequest,
    target: &'a str,
    source: Source,
    /// The target's cells, where the rows have them.
    truth: Option<Vec<String>>,
    predictions: Vec<Prediction>,
    evaluation: Option<Evaluation>,
    insights: Insights,
}

impl<'a> Results<'a> {
    pub(crate) fn new(
        request: &'a ConcludeRequest,
        settings: &'a ModelSettings,
        answers: Answers,
        insights: Insights,
    ) -> Result<Self, EvaluationError> {
        let Answers { source, predictions } = answers;
        let target = &settings.target;
        let truth = truth(&source, target);
        let evaluation = match &truth {
            Some(truth) => Evaluation::new(truth, &predictions).map_err(compose("evaluation"))?,
            None => None,
        };
        Ok(Self { request, target, source, truth, predictions, evaluation, insights })
    }

    pub(crate) fn predicted(&self) -> usize {
        self.predictions.len()
    }

    /// The figures as they travel through the state machine: nothing that a cell of
    /// the customer's says, so that it stays in the customer's account and no label
    /// is too long for the state.
    pub(crate) fn figures(&self) -> Option<Summary> {
        Some(Summary { positive_label: None, ..self.summary()? })
    }

    fn summary(&self) -> Option<Summary> {
        self.evaluation.as_ref().map(|evaluation| evaluation.summary(self.source.table.truncated))
    }

    /// The rows as they came, with what the model says of each, in parts that are made
    /// as they are asked for: with many labels, the text is several times as large as the
    /// rows. Nothing without predictions.
    pub(crate) fn predictions_csv(
        &self,
    ) -> Option<impl Iterator<Item = Result<Vec<u8>, EvaluationError>> + use<'_>> {
        let first = self.predictions.first()?;
        let labels = first.labels();
        let names: Vec<String> = match first {
            Prediction::Value(_) => vec!["predicted_value".to_owned()],
            Prediction::Label { .. } => {
                let of_labels = labels.iter().map(|label| format!("probability_{label}"));
                std::iter::once("predicted_label".to_owned()).chain(of_labels).collect()
            }
        };
        let mut header = self.source.table.header.clone();
        header.extend(&names);
        let lines = self.source.table.rows().zip(&self.predictions);
        let lines = lines.map(|(row, prediction)| with_answer(row, prediction, labels));
        let text = csv_parts(std::iter::once(header).chain(lines), PART);
        Some(text.map(|part| part.map_err(compose("predictions"))))
    }

    pub(crate) fn evaluation_json(&self) -> Result<Vec<u8>, EvaluationError> {
        let document = json!({
            "run": self.request.run,
            "job": self.request.job,
            "candidate": self.request.candidate,
            "decision": self.request.decision,
            "comparison": self.request.comparison,
            "objective": {"metric": self.request.score.metric, "value": self.request.score.value},
            "source": {
                "uri": self.source.uri,
                "held_out": self.source.held_out,
                "rows": self.predictions.len(),
                "truncated": self.source.table.truncated,
            },
            "evaluation": self.summary(),
            "details": self.evaluation.as_ref().map(Evaluation::details),
        });
        serde_json::to_vec_pretty(&document).map_err(compose("evaluation"))
    }

    pub(crate) fn report_html(&self) -> String {
        let ConcludeRequest { run, job, candidate, endpoint, score, .. } = self.request;
        let ConcludeRequest { decision, warnings, comparison, .. } = self.request;
        report::html(&Report {
            model: Described { run, job, candidate, endpoint, score },
            occasion: Occasion::Run { decision, warnings },
            comparison,
            target: self.target,
            source: &self.source,
            predictions: &self.predictions,
            truth: self.truth.as_deref(),
            evaluation: self.evaluation.as_ref(),
            insights: &self.insights,
        })
    }
}

/// A row and what the model says of it: its value, or its label and the probability of
/// each of these.
fn with_answer(mut row: StringRecord, prediction: &Prediction, labels: &[String]) -> StringRecord {
    match prediction {
        Prediction::Value(value) => row.push_field(&value.to_string()),
        Prediction::Label { label, .. } => {
            row.push_field(label);
            for label in labels {
                let probability = prediction.probability_of(label);
                row.push_field(&probability.map_or(String::new(), |p| p.to_string()));
            }
        }
    }
    row
}

fn compose<E: ToString>(what: &'static str) -> impl Fn(E) -> EvaluationError {
    move |error| EvaluationError::Compose { what, reason: error.to_string() }
}
