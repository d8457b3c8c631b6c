//! A run's last step. A model that was deployed makes a first prediction and
//! becomes the champion; what was scored is evaluated and reported, also for a
//! model that is kept out.

use std::time::SystemTime;

use crosspilot_core::bucket::Bucket;
use crosspilot_core::error::MODEL_ERROR;
use crosspilot_core::lambda::App;
use crosspilot_core::layout;
use crosspilot_core::policy::Purpose;
use crosspilot_core::registry::{Serving, model_settings};
use crosspilot_core::run::RunRef;
use crosspilot_core::session::CustomerSession;
use crosspilot_core::settings::{ModelSettings, Problem};
use crosspilot_inference::{self as inference, Calls, Endpoint, Prediction, Table, csv_text, kind};

use crate::EvaluationError;
use crate::comparison::Answers;
use crate::data::{self, Source};
use crate::insights::{self, Insights};
use crate::request::{ConcludeRequest, Concluded};
use crate::results::Results;
use crate::scoring::{cells, named};

/// Rows of the first prediction.
const SMOKE_ROWS: usize = 5;
/// The most that two answers of one model may be apart: instances differ in how they round.
const TOLERANCE: f64 = 1e-3;

/// Asks for the first prediction, writes predictions, evaluation and report, then
/// promotes the challenger. Idempotent: done again, it writes the same again.
pub async fn conclude(app: &App, request: ConcludeRequest) -> Result<Concluded, EvaluationError> {
    let run = &request.run;
    let tenant = app.registry.active_tenant(&run.tenant).await?;
    let settings = model_settings(&tenant, &run.model)?;
    let record = app.registry.run(run).await?;
    let deploys = request.decision.deploys();
    let (begun, calls) = (SystemTime::now(), Calls::default());
    if let Some(stop) = record.stop
        && !(deploys && app.registry.lineup(&run.tenant, &run.model).await?.is_led_by(run))
    {
        return Err(EvaluationError::Stopped(stop));
    }
    let session = app.sessions.open(&tenant, Purpose::Conclude(run)).await?;
    let bucket = Bucket { s3: session.s3(), tenant: &tenant };
    let scored = match request.comparison.held_out {
        Some(_) => Some(Answers::read(&bucket, run, settings, &request.score).await?),
        None => None,
    };
    let tabular = settings.problem == Problem::Tabular;
    let scored = if deploys && tabular {
        let columns = named(run, record.features)?;
        let smoke = Smoke {
            app,
            request: &request,
            settings,
            session: &session,
            columns: &columns,
            calls: &calls,
        };
        match scored {
            Some(answers) => {
                smoke.same(&answers).await?;
                answers
            }
            None => {
                let key = layout::first_row_key(&tenant.prefix, run);
                smoke.first(data::first_row(&bucket, &key, &columns).await?).await?
            }
        }
    } else {
        scored.unwrap_or_else(nothing)
    };
    let insights = match tabular {
        true => {
            let smaller = request.score.smaller_is_better;
            insights::of(&session, &bucket, run, &request.job, smaller).await
        }
        false => Insights::default(),
    };
    let results = Results::new(&request, settings, scored, insights)?;

    let place = layout::results_prefix(&tenant.prefix, run);
    let write = async |name: &str, content_type, body| {
        bucket.write(&format!("{place}{name}"), content_type, body).await
    };
    let predictions_uri = match results.predictions_csv() {
        Some(parts) => {
            let key = format!("{place}predictions.csv");
            Some(bucket.write_parts(&key, "text/csv; charset=utf-8", parts).await?)
        }
        None => None,
    };
    let evaluation_uri =
        write("evaluation.json", "application/json", results.evaluation_json()?).await?;
    let (page, media_type) = (results.report_html().into_bytes(), "text/html; charset=utf-8");
    let latest = layout::latest_report_key(&tenant.prefix, &run.model);
    bucket.write(&latest, media_type, page.clone()).await?;
    let report = layout::report_key(&tenant.prefix, run);
    let report_uri = bucket.write(&report, media_type, page).await?;
    if deploys {
        let lineup = app.registry.lineup(&run.tenant, &run.model).await?;
        if let Some(ours) = lineup.models().find(|model| model.run == *run) {
            calls.note(app, run, &ours.variant, begun).await?;
        }
        promote(app, run).await?;
    }
    tracing::info!(tenant = %run.tenant, model = %run.model, run = %run.run_id, "concluded");
    Ok(Concluded {
        evaluation: results.figures(),
        predicted: results.predicted(),
        predictions_uri,
        evaluation_uri,
        report_uri,
    })
}

/// Makes the challenger the champion. One that another run has taken the endpoint
/// from is not, nor one that somebody stopped meanwhile.
async fn promote(app: &App, run: &RunRef) -> Result<(), EvaluationError> {
    let changed =
        app.registry.change_lineup(&run.tenant, &run.model, |lineup| lineup.promote(run)).await?;
    if changed.is_led_by(run) {
        return Ok(());
    }
    Err(match app.registry.run(run).await?.stop {
        Some(stop) => EvaluationError::Stopped(stop),
        None => EvaluationError::Overtaken,
    })
}

/// Without rows there are no predictions.
fn nothing() -> Answers {
    let source = Source { uri: String::new(), held_out: false, table: Table::empty() };
    Answers { source, predictions: Vec::new() }
}

/// The first prediction of a model that was just deployed.
struct Smoke<'a> {
    app: &'a App,
    request: &'a ConcludeRequest,
    settings: &'a ModelSettings,
    session: &'a CustomerSession,
    /// The columns that the model takes.
    columns: &'a [String],
    calls: &'a Calls,
}

impl Smoke<'_> {
    /// Asks the endpoint about some of the rows that the model was scored on: it
    /// must answer the same.
    async fn same(&self, answers: &Answers) -> Result<(), EvaluationError> {
        let count = answers.predictions.len();
        let picked: Vec<usize> =
            (0..count.min(SMOKE_ROWS)).map(|n| n * count / count.min(SMOKE_ROWS)).collect();
        let predictions = self.ask(&answers.source, &picked).await?;
        let differs = |(row, prediction): &(&usize, &Prediction)| {
            !prediction.agrees_with(&answers.predictions[**row], TOLERANCE)
        };
        match picked.iter().zip(&predictions).find(differs) {
            None => Ok(()),
            Some((row, _)) => Err(EvaluationError::Smoke {
                endpoint: self.request.endpoint.clone(),
                problem: format!("its answer for held-out row {} is not the model's", row + 1),
            }),
        }
    }

    /// Asks the endpoint about one row.
    async fn first(&self, source: Source) -> Result<Answers, EvaluationError> {
        let predictions = self.ask(&source, &[0]).await?;
        Ok(Answers { source, predictions })
    }

    async fn ask(
        &self,
        source: &Source,
        rows: &[usize],
    ) -> Result<Vec<Prediction>, EvaluationError> {
        let ConcludeRequest { run, endpoint: name, score, .. } = self.request;
        let columns = source.table.positions(self.columns)?;
        let records: Vec<csv::StringRecord> =
            rows.iter().map(|&row| cells(&source.table.row(row), &columns)).collect();
        let body = csv_text(&records).map_err(|e| EvaluationError::Compose {
            what: "first prediction",
            reason: e.to_string(),
        })?;
        let runtime = self.session.sagemaker_runtime();
        let endpoint =
            Endpoint { runtime, name: name.clone(), variant: None, calls: self.calls.clone() };
        let smoke = |problem: String| EvaluationError::Smoke { endpoint: name.clone(), problem };
        let answered = match endpoint.ask(body, records.len()).await {
            // The model's own refusal; all else may heal or says more by itself.
            Err(inference::InferenceError::Call(error)) if error.aws_code() == MODEL_ERROR => {
                return Err(smoke(error.message().to_owned()));
            }
            Err(inference::InferenceError::Answer(error)) => return Err(smoke(error.to_string())),
            answered => answered?,
        };
        let lineup = self.app.registry.lineup(&run.tenant, &run.model).await?;
        let ours = lineup.models().find(|model| model.run == *run);
        if let (Some(Serving { variant, .. }), Some(answered)) = (ours, &answered.variant)
            && answered != variant
        {
            return Err(smoke(format!("variant {answered} answers instead of {variant}")));
        }
        let kind = kind(self.settings, score.metric.as_deref());
        inference::predictions(&[answered.answer], kind).map_err(|error| smoke(error.to_string()))
    }
}
