//! A run's last step: its model is asked about the held-out rows, the answers
//! are evaluated and reported, and the model becomes the champion.

use crosspilot_core::lambda::App;
use crosspilot_core::layout;
use crosspilot_core::policy::Purpose;
use crosspilot_core::registry::{Serving, model_settings};
use crosspilot_core::run::RunRef;
use crosspilot_core::settings::ModelSettings;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::Error;
use crate::answer::{self, Kind, Prediction};
use crate::data::{Bucket, Source};
use crate::endpoint::Endpoint;
use crate::evaluation::{Evaluation, Summary};
use crate::report::{self, Report};

/// Examples in the response: it travels through the state machine.
const SAMPLES: usize = 5;
/// More labels than this, and an example does not list all probabilities.
const SAMPLE_LABELS: usize = 20;

/// From the state machine, once the endpoint is in service.
#[derive(Debug, Clone, Deserialize)]
pub struct RunRequest {
    /// The run.
    pub run: RunRef,
    /// Name of the candidate that serves.
    pub candidate: String,
    /// Name of the AutoML job.
    pub job: String,
    /// Name of the endpoint.
    pub endpoint: String,
    /// The candidate's objective metric.
    #[serde(default)]
    pub score: Score,
    /// Why it serves.
    #[serde(default)]
    pub decision: Option<Verdict>,
}

/// A candidate's objective metric on the validation data.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Score {
    /// Its name, as SageMaker gave it.
    #[serde(default)]
    pub metric: Option<String>,
    /// Its value.
    #[serde(default)]
    pub value: Option<f64>,
}

/// What `deploy-best` decided.
#[derive(Debug, Clone, Deserialize)]
pub struct Verdict {
    /// `deploy` or `keep`.
    pub verdict: String,
    /// One sentence.
    pub reason: String,
}

/// Where the results are, and the figures that matter.
#[derive(Debug, Clone, Serialize)]
pub struct RunResponse {
    /// How good the predictions are; nothing without held-out labels.
    pub evaluation: Option<Summary>,
    /// Rows that were predicted.
    pub predicted: usize,
    /// The rows with their predictions.
    pub predictions_uri: String,
    /// The evaluation in full.
    pub evaluation_uri: String,
    /// The same for people.
    pub report_uri: String,
    /// The first few predictions.
    pub samples: Vec<Sample>,
}

/// A prediction and what was true.
#[derive(Debug, Clone, Serialize)]
pub struct Sample {
    /// What the model says.
    #[serde(flatten)]
    pub prediction: Prediction,
    /// The target's cell, exactly as in the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actual: Option<String>,
}

/// Scores a run's held-out rows. Doing it again writes the same again.
pub(crate) async fn score(app: &App, request: RunRequest) -> Result<RunResponse, Error> {
    let run = &request.run;
    let tenant = app.registry.active_tenant(&run.tenant).await?;
    let settings = model_settings(&tenant, &run.model)?;
    let features = app.registry.run(run).await?.features;
    if features.is_empty() {
        return Err(Error::NoFeatures {
            run: run.run_id.to_string(),
            model: run.model.to_string(),
        });
    }
    let session = app.sessions.open(&tenant, Purpose::ScoreRun(run)).await?;
    let bucket = Bucket { s3: session.s3(), tenant: &tenant };

    let source = bucket.source(&run.model, &settings.target).await?;
    let columns = source.table.positions(&features)?;
    let endpoint =
        Endpoint { runtime: session.sagemaker_runtime(), name: request.endpoint.clone() };
    let lines = endpoint.ask_all(&source.table.rows, &columns).await?;
    let results = Results::new(&request, settings, source, &lines)?;

    let place = layout::results_prefix(&tenant.prefix, run);
    let write = async |name: &str, content_type, body| {
        bucket.write(&format!("{place}{name}"), content_type, body).await
    };
    let predictions_uri =
        write("predictions.csv", "text/csv; charset=utf-8", results.predictions_csv()?).await?;
    let evaluation_uri =
        write("evaluation.json", "application/json", results.evaluation_json()?).await?;
    let report_uri =
        write("report.html", "text/html; charset=utf-8", results.report_html().into_bytes())
            .await?;

    let evaluation = results.summary();
    let (predicted, samples) = (results.predictions.len(), results.samples());
    if request.decision.as_ref().is_none_or(|decision| decision.verdict != "keep") {
        let champion = serving(&request, settings, features);
        app.registry
            .change_lineup(&run.tenant, &run.model, |lineup| lineup.promote(champion.clone()))
            .await?;
        tracing::info!(tenant = %run.tenant, model = %run.model, run = %run.run_id, "promoted");
    }
    tracing::info!(tenant = %run.tenant, model = %run.model, run = %run.run_id, "scored");
    Ok(RunResponse { evaluation, predicted, predictions_uri, evaluation_uri, report_uri, samples })
}

fn serving(request: &RunRequest, settings: &ModelSettings, features: Vec<String>) -> Serving {
    Serving {
        run: request.run.clone(),
        job: request.job.clone(),
        candidate: request.candidate.clone(),
        endpoint: request.endpoint.clone(),
        metric: request.score.metric.clone(),
        value: request.score.value,
        features,
        target: settings.target.clone(),
    }
}

/// All that a run's results are composed of.
struct Results<'a> {
    request: &'a RunRequest,
    target: &'a str,
    source: Source,
    predictions: Vec<Prediction>,
    evaluation: Option<Evaluation>,
}

impl<'a> Results<'a> {
    fn new(
        request: &'a RunRequest,
        settings: &'a ModelSettings,
        source: Source,
        lines: &[csv::StringRecord],
    ) -> Result<Self, Error> {
        let problem_type =
            settings.objective.as_ref().map(|objective| objective.problem_type.as_str());
        let kind = Kind::expected(problem_type, request.score.metric.as_deref());
        let predictions = answer::predictions(lines, kind)?;
        let mut results =
            Self { request, target: &settings.target, source, predictions, evaluation: None };
        if let Some(truth) = results.truth() {
            results.evaluation =
                Evaluation::new(&truth, &results.predictions).map_err(compose("evaluation"))?;
        }
        Ok(results)
    }

    /// The target's cells, where the rows have them.
    fn truth(&self) -> Option<Vec<&str>> {
        let position = self.source.table.position(self.target)?;
        Some(
            self.source
                .table
                .rows
                .iter()
                .map(|row| row.get(position).unwrap_or_default())
                .collect(),
        )
    }

    fn summary(&self) -> Option<Summary> {
        self.evaluation.as_ref().map(|evaluation| evaluation.summary(self.source.table.truncated))
    }

    /// The rows as they came, with what the model says of each.
    fn predictions_csv(&self) -> Result<Vec<u8>, Error> {
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
        let mut text = Vec::new();
        let mut writer = csv::Writer::from_writer(&mut text);
        let mut write = |cells: &csv::StringRecord, added: &[String]| {
            writer.write_record(cells.iter().chain(added.iter().map(String::as_str)))
        };
        write(&self.source.table.header, &added).map_err(compose("predictions"))?;
        for (row, prediction) in self.source.table.rows.iter().zip(&self.predictions) {
            write(row, &said(prediction)).map_err(compose("predictions"))?;
        }
        writer.flush().map_err(compose("predictions"))?;
        drop(writer);
        Ok(text)
    }

    fn evaluation_json(&self) -> Result<Vec<u8>, Error> {
        let document = json!({
            "run": self.request.run,
            "job": self.request.job,
            "candidate": self.request.candidate,
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

    fn report_html(&self) -> String {
        report::html(&Report {
            request: self.request,
            target: self.target,
            source: &self.source,
            predictions: &self.predictions,
            truth: self.truth(),
            evaluation: self.evaluation.as_ref(),
        })
    }

    fn samples(&self) -> Vec<Sample> {
        let truth = self.truth();
        let actual = |row: usize| {
            truth.as_ref().map(|truth| truth[row].to_owned()).filter(|cell| !cell.is_empty())
        };
        let first = self.predictions.iter().take(SAMPLES).cloned().enumerate();
        first
            .map(|(row, prediction)| Sample { prediction: brief(prediction), actual: actual(row) })
            .collect()
    }
}

/// Keeps the predicted label's probability only, where there are many.
fn brief(prediction: Prediction) -> Prediction {
    match prediction {
        Prediction::Label { ref label, ref labels, .. } if labels.len() > SAMPLE_LABELS => {
            Prediction::Label {
                probability: prediction.probability_of(label),
                label: label.clone(),
                labels: Default::default(),
                probabilities: Vec::new(),
            }
        }
        other => other,
    }
}

fn compose<E: ToString>(what: &'static str) -> impl Fn(E) -> Error {
    move |error| Error::Compose { what, reason: error.to_string() }
}
