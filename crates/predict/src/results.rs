//! What a run leaves: its rows with predictions, the evaluation, the report.

use crosspilot_core::settings::ModelSettings;
use serde_json::json;

use crate::Error;
use crate::answer::Prediction;
use crate::comparison::{Answers, truth};
use crate::conclude::ConcludeRequest;
use crate::data::Source;
use crate::evaluation::{Evaluation, Summary};
use crate::insights::Insights;
use crate::report::{self, Described, Occasion, Report};

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
    ) -> Result<Self, Error> {
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

    /// The rows as they came, with what the model says of each; nothing without
    /// predictions.
    pub(crate) fn predictions_csv(&self) -> Result<Option<Vec<u8>>, Error> {
        if self.predictions.is_empty() {
            return Ok(None);
        }
        let labels = self.predictions.first().map(Prediction::labels).unwrap_or_default();
        let of_labels = labels.iter().map(|label| format!("probability_{label}"));
        let added: Vec<String> = match self.predictions.first() {
            Some(Prediction::Value(_)) => vec!["predicted_value".to_owned()],
            _ => std::iter::once("predicted_label".to_owned()).chain(of_labels).collect(),
        };
        let said = |prediction: &Prediction| -> Vec<String> {
            match prediction {
                Prediction::Value(value) => vec![value.to_string()],
                Prediction::Label { label, .. } => {
                    let share = |label| {
                        prediction.probability_of(label).map_or(String::new(), |p| p.to_string())
                    };
                    std::iter::once(label.clone())
                        .chain(labels.iter().map(|label| share(label)))
                        .collect()
                }
            }
        };
        let mut writer = csv::Writer::from_writer(Vec::new());
        let mut write = |cells: &csv::StringRecord, added: &[String]| {
            writer.write_record(cells.iter().chain(added.iter().map(String::as_str)))
        };
        write(&self.source.table.header, &added).map_err(compose("predictions"))?;
        for (row, prediction) in self.source.table.rows().zip(&self.predictions) {
            write(&row, &said(prediction)).map_err(compose("predictions"))?;
        }
        writer.into_inner().map(Some).map_err(compose("predictions"))
    }

    pub(crate) fn evaluation_json(&self) -> Result<Vec<u8>, Error> {
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

fn compose<E: ToString>(what: &'static str) -> impl Fn(E) -> Error {
    move |error| Error::Compose { what, reason: error.to_string() }
}
