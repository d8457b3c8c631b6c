//! The champion on held-out rows that came while it serves: no training, only whether
//! it is still as good as when it was chosen.

use std::time::SystemTime;

use crosspilot_core::aws::s3::primitives::DateTimeFormat;
use crosspilot_core::aws::s3::types::Object;
use crosspilot_core::bucket::Bucket;
use crosspilot_core::decision::{Comparison, Score};
use crosspilot_core::failure::Failure;
use crosspilot_core::failure_page;
use crosspilot_core::ids::{ModelName, TenantId};
use crosspilot_core::lambda::App;
use crosspilot_core::layout;
use crosspilot_core::policy::Purpose;
use crosspilot_core::registry::{EvaluationId, Measured, Serving, Trend, model_settings};
use crosspilot_core::run::RunId;
use crosspilot_core::session::CustomerSession;
use crosspilot_core::settings::{ModelSettings, Problem};
use crosspilot_core::stage::Stage;
use crosspilot_core::tenant::Tenant;
use crosspilot_inference::{Calls, Unfit};
use crosspilot_metrics::Direction;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::EvaluationError;
use crate::comparison::{answers_of, measure, metric, truth};
use crate::data;
use crate::evaluation::Evaluation;
use crate::insights::Insights;
use crate::report::{self, Described, Occasion, Report};

/// The model whose champion is to be measured, on the newest held-out file.
#[derive(Debug, Clone, Deserialize)]
pub struct EvaluateRequest {
    /// The tenant.
    pub tenant: TenantId,
    /// The model.
    pub model: ModelName,
}

/// The result of the measurement.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum Evaluated {
    /// The champion was measured.
    Evaluated(Told),
    /// There is nothing to measure, or to measure it on.
    Nothing {
        /// The reason, as a sentence's end.
        reason: String,
    },
}

/// The figures and addresses that are told of an evaluation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Told {
    /// The tenant.
    pub tenant: TenantId,
    /// The model.
    pub model: ModelName,
    /// The champion's run.
    pub run_id: RunId,
    /// Rows that were compared.
    pub rows: u64,
    /// Name of the metric.
    pub metric: Option<String>,
    /// The metric's value; none where the rows do not give it.
    pub value: Option<f64>,
    /// `true` if a smaller value is the better one.
    pub smaller_is_better: bool,
    /// The reason why there is no value, as a sentence's end.
    pub reason: Option<String>,
    /// The minimum that any model must reach.
    pub minimum: Option<f64>,
    /// `true` if the champion does not reach the minimum, on rows enough to tell.
    pub below_minimum: bool,
    /// The report, in the customer's bucket.
    pub report_uri: String,
}

/// Measures the champion on the newest held-out file, once.
pub async fn evaluate(app: &App, request: EvaluateRequest) -> Result<Evaluated, EvaluationError> {
    let EvaluateRequest { tenant, model } = request;
    let nothing = |reason: &str| Ok(Evaluated::Nothing { reason: reason.to_owned() });
    let tenant = app.registry.active_tenant(&tenant).await?;
    let settings = model_settings(&tenant, &model)?;
    if settings.problem != Problem::Tabular {
        return nothing("only models of tables are measured on held-out rows");
    }
    let Some(champion) = app.registry.lineup(&tenant.tenant, &model).await?.champion else {
        return nothing("nothing serves yet");
    };
    let session = app.sessions.open(&tenant, Purpose::Evaluate(&champion.run)).await?;
    let bucket = Bucket { s3: session.s3(), tenant: &tenant };
    let Some(file) = bucket.held_out(&model).await? else {
        return nothing("there is no held-out file");
    };
    let job = Job { app, tenant: &tenant, settings, session: &session, champion: &champion };
    let file = HeldOut::of(&file);
    let trend = app.registry.trend(&tenant.tenant, &model).await?;
    if let Some(measured) = trend.find(&champion.run.run_id, &file.evaluation) {
        return Ok(Evaluated::Evaluated(job.told(&bucket, measured)));
    }
    match job.measure(&bucket, &file).await {
        Err(EvaluationError::Unfit(unfit)) => {
            let code = crosspilot_core::error::Code::DataUnfit.as_str().to_owned();
            let failure =
                Failure { stage: Stage::Evaluate.to_string(), code, cause: unfit.to_string() };
            failure_page::of_evaluation(&bucket, &model, &bucket.uri(&file.key), &failure).await?;
            Err(EvaluationError::Unfit(unfit))
        }
        measured => Ok(Evaluated::Evaluated(job.told(&bucket, &measured?))),
    }
}

/// A file of held-out rows, and what its evaluation is called.
struct HeldOut {
    key: String,
    uploaded: String,
    evaluation: EvaluationId,
}

impl HeldOut {
    fn of(file: &Object) -> Self {
        let key = file.key().unwrap_or_default().to_owned();
        let uploaded =
            file.last_modified().and_then(|time| time.fmt(DateTimeFormat::DateTime).ok());
        let uploaded = uploaded.unwrap_or_default();
        let evaluation = EvaluationId::derive(&key, file.e_tag().unwrap_or_default(), &uploaded);
        Self { key, uploaded, evaluation }
    }
}

/// All that an evaluation needs to know besides the rows.
struct Job<'a> {
    app: &'a App,
    tenant: &'a Tenant,
    settings: &'a ModelSettings,
    session: &'a CustomerSession,
    champion: &'a Serving,
}

impl Job<'_> {
    fn told(&self, bucket: &Bucket<'_>, measured: &Measured) -> Told {
        let (run, minimum) = (&self.champion.run, self.settings.gate.minimum);
        let Measured { rows, metric, value, smaller_is_better, reason, .. } = measured.clone();
        let below_minimum = measured.is_below(minimum);
        let place = layout::evaluation_prefix(&self.tenant.prefix, run, &measured.evaluation);
        Told {
            tenant: run.tenant.clone(),
            model: run.model.clone(),
            run_id: run.run_id.clone(),
            rows,
            metric,
            value,
            smaller_is_better,
            reason,
            minimum,
            below_minimum,
            report_uri: bucket.uri(&format!("{place}report.html")),
        }
    }

    /// Asks the champion about the rows, writes down what it is worth, and notes the
    /// figure last: what died before is done again, and writes the same.
    async fn measure(
        &self,
        bucket: &Bucket<'_>,
        file: &HeldOut,
    ) -> Result<Measured, EvaluationError> {
        let Self { app, settings, session, champion, .. } = self;
        let (run, target) = (&champion.run, &champion.target);
        let source = data::held_out(bucket, &file.key).await?;
        let Some(truth) = truth(&source, target) else {
            let (file, column) = (source.uri, target.clone());
            return Err(Unfit::Column { file, column, found: "no" }.into());
        };
        let (begun, calls) = (SystemTime::now(), Calls::default());
        let predictions = answers_of(session, settings, champion, &source, &calls).await;
        calls.note(app, run, &champion.variant, begun).await?;
        let predictions = predictions?;
        let evaluation = Evaluation::new(&truth, &predictions).map_err(measure)?;
        let score = Score {
            metric: champion.metric.clone(),
            value: champion.value,
            smaller_is_better: false,
        };
        let comparison = compared(evaluation.as_ref(), &score);
        let measured = Measured {
            evaluation: file.evaluation.clone(),
            run: run.run_id.clone(),
            uploaded: file.uploaded.clone(),
            rows: comparison.rows,
            metric: comparison.metric.clone(),
            value: comparison.challenger,
            smaller_is_better: comparison.smaller_is_better,
            reason: comparison.reason.clone(),
        };
        let mut trend: Trend = app.registry.trend(&run.tenant, &run.model).await?;
        trend.note(measured.clone());
        let trend: Vec<&Measured> = trend.of(&run.run_id).collect();

        let page = report::html(&Report {
            model: Described {
                run,
                job: &champion.job,
                candidate: &champion.candidate,
                endpoint: &champion.endpoint,
                score: &score,
            },
            occasion: Occasion::Upload { trend: &trend, minimum: settings.gate.minimum },
            comparison: &comparison,
            target,
            source: &source,
            predictions: &predictions,
            truth: Some(&truth),
            evaluation: evaluation.as_ref(),
            insights: &Insights::default(),
        });
        let document = json!({
            "run": run,
            "measured": measured,
            "minimum": settings.gate.minimum,
            "baseline": comparison.baseline,
            "source": {"uri": source.uri, "rows": predictions.len(), "truncated": source.table.truncated},
            "evaluation": evaluation.as_ref().map(|e| e.summary(source.table.truncated)),
            "details": evaluation.as_ref().map(Evaluation::details),
        });
        let document = serde_json::to_vec_pretty(&document).map_err(measure)?;
        let place = layout::evaluation_prefix(&self.tenant.prefix, run, &file.evaluation);
        let (page, media_type) = (page.into_bytes(), "text/html; charset=utf-8");
        bucket.write(&format!("{place}evaluation.json"), "application/json", document).await?;
        bucket.write(&format!("{place}report.html"), media_type, page.clone()).await?;
        let latest = layout::latest_report_key(&self.tenant.prefix, &run.model);
        bucket.write(&latest, media_type, page).await?;
        app.registry.note_measured(&run.tenant, &run.model, &measured).await?;
        tracing::info!(tenant = %run.tenant, model = %run.model, run = %run.run_id, ?measured, "evaluated");
        Ok(measured)
    }
}

/// The champion's figure by the metric that it was chosen by, or why there is none.
fn compared(evaluation: Option<&Evaluation>, score: &Score) -> Comparison {
    let Some(evaluation) = evaluation else {
        let reason = "no held-out row has a true value that the model was trained on".to_owned();
        return Comparison { reason: Some(reason), ..Comparison::default() };
    };
    let summary = evaluation.summary(false);
    let rows = Comparison {
        rows: summary.rows,
        unknown_labels: summary.unknown_labels as u64,
        ..Comparison::default()
    };
    match metric(evaluation, score) {
        Ok(metric) => Comparison {
            metric: Some(metric.as_str().to_owned()),
            smaller_is_better: metric.direction() == Direction::Minimize,
            challenger: evaluation.get(metric),
            baseline: evaluation.baseline(metric),
            ..rows
        },
        Err(reason) => Comparison { reason: Some(reason), ..rows },
    }
}
