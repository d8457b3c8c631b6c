//! `start-job`: is the data fit to train on? Then start the AutoML job.
//!
//! The job's name follows from the run, so starting twice is starting once: a
//! job that exists is compared with what would have been created, and adopted
//! or refused. While the account trains as many jobs as it may, the run waits
//! its turn.

use crosspilot_core::bucket::Bucket;
use crosspilot_core::error::{CallError, Code, Coded};
use crosspilot_core::lambda::App;
use crosspilot_core::layout;
use crosspilot_core::policy::Purpose;
use crosspilot_core::polling::Waiting;
use crosspilot_core::registry::{RegistryError, RunRecord, Stop, model_settings};
use crosspilot_core::run::RunRef;
use crosspilot_core::settings::{ModelSettings, OtherHosting};
use crosspilot_preflight::{Finding, Flaw, Rows, Verdict, inspect, sentences};
use crosspilot_training::hold_out::{self, HoldOutPlan};
use crosspilot_training::job_request::{self, JobPlan};
use crosspilot_training::{JobError, RowsError, files_digest, job, words};
use serde::{Deserialize, Serialize};

/// Warnings in the response, which travels through the state machine.
const WARNINGS: usize = 20;

/// A request to start the job of a run.
#[derive(Debug, Clone, Deserialize)]
pub struct Request {
    /// The run, as `assume` gave it.
    pub run: RunRef,
    /// Seconds since the run started, which is how the wait for its turn grows.
    #[serde(default)]
    pub elapsed_seconds: f64,
}

/// The state of the run's job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Response {
    /// The job trains, or has trained already.
    Started(Started),
    /// The account trains as many jobs as it may: ask again later.
    Waiting(Waiting),
}

/// The job that trains for this run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Started {
    /// The job's name.
    pub job: String,
    /// The address of the training data: what was uploaded, or the run's copy without the
    /// rows that were set aside.
    pub training_data: String,
    /// Rows of training data; absent where rows do not count, as of pictures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// `true` if the rows were counted and not estimated.
    pub rows_exact: bool,
    /// Rows that were set aside before, for the evaluation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set_aside: Option<u64>,
    /// Columns besides the target.
    pub features: usize,
    /// The first twenty warnings of the verdict.
    pub warnings: Vec<Finding>,
    /// Warnings beyond these; they are in the verdict.
    pub more_warnings: usize,
    /// The address of the verdict on the data.
    pub preflight_uri: String,
}

/// The reason why no job runs.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data cannot be trained on.
    #[error("{0}")]
    Unfit(Box<Unfit>),
    /// Somebody stopped the run before its job was made.
    #[error("{} stopped the run at {}; no job was started", .0.by, .0.time)]
    Stopped(Stop),
    /// The model could not be deployed as the settings stand.
    #[error(transparent)]
    OtherHosting(#[from] OtherHosting),
    /// The job cannot be made, or is another one's.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The training rows cannot be read, or copied as it was decided.
    #[error(transparent)]
    Rows(#[from] RowsError),
    /// The registry refused or failed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// AWS refused or failed.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl Coded for Error {
    fn code(&self) -> Code {
        match self {
            Error::Unfit(_) => Code::DataUnfit,
            Error::OtherHosting(_) => Code::RequestInvalid,
            Error::Stopped(_) => Code::RunStopped,
            Error::Job(error) => error.code(),
            Error::Rows(RowsError::File { .. } | RowsError::Unfit { .. }) => Code::DataUnfit,
            Error::Rows(RowsError::Call(error)) => error.code(),
            Error::Registry(error) => error.code(),
            Error::Call(error) => error.code(),
        }
    }
}

/// A verdict with errors, and where all of it can be read.
#[derive(Debug, Clone, PartialEq)]
pub struct Unfit {
    /// The verdict.
    pub verdict: Verdict,
    /// The address of the verdict.
    pub preflight_uri: String,
}

impl std::fmt::Display for Unfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (all findings: {})", sentences(&self.verdict), self.preflight_uri)
    }
}

/// Judges the data, keeps the verdict and the columns, and starts the job. A job
/// that an earlier attempt made is adopted with the columns that it was trained on,
/// whatever lies in the bucket now.
pub async fn handle(app: App, request: Request) -> Result<Response, Error> {
    let Request { run, elapsed_seconds } = request;
    let tenant = app.registry.active_tenant(&run.tenant).await?;
    let settings = model_settings(&tenant, &run.model)?;
    let record = app.registry.run(&run).await?;
    if let Some(stop) = record.stop {
        return Err(Error::Stopped(stop));
    }
    let session = app.sessions.open(&tenant, Purpose::StartJob(&run)).await?;
    let bucket = Bucket { s3: session.s3(), tenant: &tenant };
    let results = layout::results_prefix(&tenant.prefix, &run);
    let preflight_key = format!("{results}preflight.json");
    // Columns are noted before a job is made: without them, there is none of ours.
    if !record.features.is_empty()
        && let Some(found) = job::find(&session, &run.job_name()).await?
    {
        let training = job_request::training_of(&tenant, &run, &found);
        let files = job_request::files_of(&found);
        let plan = JobPlan::new(&tenant, settings, &run, &training, &files)?;
        job::adopt(&tenant, &plan, &found)?;
        tracing::info!(tenant = %run.tenant, model = %run.model, run = %run.run_id, job = plan.name, "job adopted");
        let kept = bucket.read_json(&layout::kept_verdict_key(&tenant.prefix, &run)).await;
        let (warnings, more_warnings) = told(kept_warnings(kept)?);
        return Ok(Response::Started(Started {
            job: plan.name,
            training_data: plan.training_data,
            rows: None,
            rows_exact: false,
            set_aside: record.set_aside,
            features: record.features.len(),
            warnings,
            more_warnings,
            preflight_uri: bucket.uri(&preflight_key),
        }));
    }

    // What cannot be deployed is not trained.
    let lineup = app.registry.lineup(&run.tenant, &run.model).await?;
    if let Some(from) = lineup.champion.as_ref().and_then(|champion| champion.hosting) {
        settings.deployment.may_follow(&run.endpoint_name(), from)?;
    }
    let (record, mut verdict) = match record.set_aside {
        // While it waits for its turn, or was redriven, a run is asked again: it trains on
        // the copy that it made then, whatever lies in the bucket now.
        Some(_) => {
            let key = layout::kept_verdict_key(&tenant.prefix, &run);
            (record, bucket.read_json(&key).await?)
        }
        None => prepare(&app, &bucket, settings, &record, &preflight_key).await?,
    };
    if let Some(stop) = record.stop {
        return Err(Error::Stopped(stop));
    }
    let set_aside = record.set_aside;
    // What is copied is plain text, whatever it was.
    verdict.training.gzip &= set_aside.is_none();
    let training = match set_aside {
        Some(_) => layout::split_training_prefix(&tenant.prefix, &run),
        None => layout::train_prefix(&tenant.prefix, &run.model),
    };
    let plan = JobPlan::new(&tenant, settings, &run, &training, &verdict)?;
    if let Some(reason) = job::create_or_adopt(&session, &tenant, &plan).await? {
        tracing::info!(tenant = %run.tenant, model = %run.model, run = %run.run_id, reason, "waits its turn");
        return Ok(Response::Waiting(Waiting::after(elapsed_seconds, reason)));
    }
    tracing::info!(tenant = %run.tenant, model = %run.model, run = %run.run_id, job = plan.name, warnings = verdict.warnings.len(), "job started");
    let rows = verdict.training.rows;
    let trained = |rows: Rows| rows.count.saturating_sub(set_aside.unwrap_or_default());
    let (warnings, more_warnings) = told(verdict.warnings);
    Ok(Response::Started(Started {
        job: plan.name,
        training_data: plan.training_data,
        rows: rows.map(trained),
        rows_exact: rows.is_some_and(|rows| rows.exact),
        set_aside,
        features: record.features.len(),
        warnings,
        more_warnings,
        preflight_uri: bucket.uri(&preflight_key),
    }))
}

/// Divides warnings into those that travel and the number of the others.
fn told(mut warnings: Vec<Finding>) -> (Vec<Finding>, usize) {
    let more = warnings.len().saturating_sub(WARNINGS);
    warnings.truncate(WARNINGS);
    (warnings, more)
}

/// The warnings of the verdict that an earlier attempt kept. A verdict that is not there, as of
/// a run from before it was kept, costs no job that trains.
fn kept_warnings(kept: Result<Verdict, CallError>) -> Result<Vec<Finding>, CallError> {
    match kept {
        Ok(verdict) => Ok(verdict.warnings),
        Err(error) if matches!(error.code(), Code::Throttled | Code::Unavailable) => Err(error),
        Err(error) => {
            tracing::warn!("the warnings of an adopted job's data are not known: {error}");
            Ok(Vec::new())
        }
    }
}

/// Judges the data, sets rows aside of it and keeps what is known of its columns: all
/// that a job needs, and what comes after it.
async fn prepare(
    app: &App,
    bucket: &Bucket<'_>,
    settings: &ModelSettings,
    known: &RunRecord,
    preflight_key: &str,
) -> Result<(RunRecord, Verdict), Error> {
    let run = &known.run;
    let prefix = &bucket.tenant.prefix;
    let (data, mut verdict) = inspect(bucket, &run.model, settings).await?;
    if !verdict.is_fit() {
        let preflight_uri = bucket.write_json(preflight_key, &verdict).await?;
        return Err(Error::Unfit(Box::new(Unfit { verdict, preflight_uri })));
    }
    let digest = files_digest(&data.training);
    let read = known.read.as_ref() == Some(&digest);
    let hold_out = hold_out::decide(bucket, run, settings, &data, &verdict, read).await?;
    if let HoldOutPlan::Keep(Some(why)) = &hold_out {
        let test = bucket.uri(&layout::test_prefix(prefix, &run.model));
        let message = format!(
            "{why}: without a held-out file under {test} the model is judged by Autopilot's own validation alone"
        );
        verdict.warn(Flaw::NothingSetAside, message);
    }
    bucket.write_json(preflight_key, &verdict).await?;
    bucket.write_json(&layout::kept_verdict_key(prefix, run), &verdict).await?;

    let categories = verdict.categories(&settings.target);
    let set_aside = match &hold_out {
        HoldOutPlan::SetAside(split) => {
            Some(hold_out::copy(bucket, run, settings, split, &categories).await?)
        }
        HoldOutPlan::Keep(_) => None,
    };
    if let Some(record) = verdict.first_record(&settings.target) {
        let key = layout::first_row_key(prefix, run);
        bucket.write(&key, "text/csv; charset=utf-8", record).await?;
    }
    // Those of a copy are written with it.
    if set_aside.is_none() && !read {
        words::keep(bucket, run, &data, &mut verdict, &categories).await?;
    }
    if let Some(specification) = job_request::feature_specification(settings) {
        let key = job_request::feature_specification_key(bucket.tenant, run);
        bucket.write_json(&key, &specification).await?;
    }
    // Last, and at once: what is noted is not judged again.
    let note = |record: &mut RunRecord| {
        record.features = verdict.features(&settings.target);
        record.booleans = verdict.booleans(&settings.target);
        record.numeric = verdict.numeric(&settings.target);
        record.set_aside = set_aside;
        record.read = set_aside.is_none().then(|| digest.clone());
    };
    let record = app.registry.change_run(run, note).await?;
    Ok((record, verdict))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_adopted_jobs_warnings_are_those_of_the_kept_verdict_as_far_as_they_can_be_read() {
        let mut verdict = Verdict::default();
        for number in 0..WARNINGS + 3 {
            verdict.warn(Flaw::LongCells, number.to_string());
        }
        let (warnings, more) = told(kept_warnings(Ok(verdict)).unwrap());
        assert_eq!((warnings.len(), more), (WARNINGS, 3));
        assert_eq!(warnings.first().map(|warning| warning.message.as_str()), Some("0"));
        let refused = |code| CallError::refused(code, "s3:GetObject", "k", "c", "no".to_owned());
        assert_eq!(kept_warnings(Err(refused(Code::AccessDenied))), Ok(Vec::new()));
        assert!(kept_warnings(Err(refused(Code::Throttled))).is_err());
    }
}
