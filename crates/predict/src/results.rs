//! What a run leaves: its rows with predictions, the evaluation, the report.

use crosspilot_core::settings::ModelSettings;
use serde::Serialize;
use serde_json::json;

use crate::Error;
use crate::answer::Prediction;
use crate::comparison::{Answers, truth};
use crate::conclude::ConcludeRequest;
use crate::data::Source;
use crate::evaluation::{Evaluation, Summary};
use crate::report::{self, Report};

/// Examples in the response: it travels through the state machine.
const SAMPLES: usize = 5;
/// Characters of a cell or a label in the response.
const SHOWN: usize = 200;
/// More labels than this, and an example does not list all probabilities.
const SAMPLE_LABELS: usize = 20;

/// A prediction and what was true.
#[derive(Debug, Clone, Serialize)]
pub struct Sample {
    /// What the model says.
    #[serde(flatten)]
    pub prediction: Prediction,
    /// The target's cell as in the file, cut after 200 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actual: Option<String>,
}

/// All that a run's results are composed of.
pub(crate) struct Results<'a> {
    request: &'a ConcludeRequest,
    target: &'a str,
    source: Source,
    /// The target's cells, where the rows have them.
    truth: Option<Vec<String>>,
    predictions: Vec<Prediction>,
    evaluation: Option<Evaluation>,
}

impl<'a> Results<'a> {
    pub(crate) fn new(
        request: &'a ConcludeRequest,
        settings: &'a ModelSettings,
        answers: Answers,
    ) -> Result<Self, Error> {
        let Answers { source, predictions } = answers;
        let target = &settings.target;
        let truth = truth(&source, target);
        let evaluation = match &truth {
            Some(truth) => Evaluation::new(truth, &predictions).map_err(compose("evaluation"))?,
            None => None,
        };
        Ok(Self { request, target, source, truth, predictions, evaluation })
    }

    pub(crate) fn predicted(&self) -> usize {
        self.predictions.len()
    }

    /// The figures as they travel through the state machine.
    pub(crate) fn brief_summary(&self) -> Option<Summary> {
        let mut summary = self.summary()?;
        summary.positive_label = summary.positive_label.as_deref().map(cut);
        Some(summary)
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
        report::html(&Report {
            request: self.request,
            target: self.target,
            source: &self.source,
            predictions: &self.predictions,
            truth: self.truth.as_deref(),
            evaluation: self.evaluation.as_ref(),
        })
    }

    pub(crate) fn samples(&self) -> Vec<Sample> {
        let actual = |row: usize| {
            self.truth.as_ref().map(|truth| cut(&truth[row])).filter(|cell| !cell.is_empty())
        };
        let first = self.predictions.iter().take(SAMPLES).cloned().enumerate();
        first
            .map(|(row, prediction)| Sample { prediction: brief(prediction), actual: actual(row) })
            .collect()
    }
}

/// What a text is in the state machine's state, which may have 256 KB.
fn cut(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}

/// Keeps the predicted label's probability only, where there are many labels or
/// long ones.
fn brief(prediction: Prediction) -> Prediction {
    match prediction {
        Prediction::Label { ref label, ref labels, .. }
            if labels.len() > SAMPLE_LABELS || labels.iter().any(|label| label.len() > SHOWN) =>
        {
            Prediction::Label {
                probability: prediction.probability_of(label),
                label: cut(label),
                labels: Default::default(),
                probabilities: Vec::new(),
            }
        }
        Prediction::Label { label, probability, labels, probabilities } => {
            Prediction::Label { label: cut(&label), probability, labels, probabilities }
        }
        other => other,
    }
}

fn compose<E: ToString>(what: &'static str) -> impl Fn(E) -> Error {
    move |error| Error::Compose { what, reason: error.to_string() }
}
