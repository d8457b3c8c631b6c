//! `check-status`: where is the job or the endpoint now, and how long until
//! the next look?

mod poll;

use crosspilot_core::aws::sagemaker::Client;
use crosspilot_core::aws::sagemaker::types::{AutoMlCandidate, EndpointStatus};
use crosspilot_core::error::{CallError, Code, Coded};
use crosspilot_core::lambda::App;
use crosspilot_core::pace::wait_seconds;
use crosspilot_core::policy::Purpose;
use crosspilot_core::registry::RegistryError;
use crosspilot_core::run::RunRef;
use serde::{Deserialize, Serialize};

pub use poll::{Phase, endpoint_phase, job_phase};

/// What to look at.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Watched {
    /// An AutoML job.
    Job {
        /// Its name.
        name: String,
    },
    /// An endpoint.
    Endpoint {
        /// Its name.
        name: String,
        /// The endpoint config that it shall serve.
        config: String,
    },
}

/// Which run asks, and for what.
#[derive(Debug, Clone, Deserialize)]
pub struct Request {
    /// The run, as `assume` gave it.
    pub run: RunRef,
    /// What to look at.
    pub watch: Watched,
    /// Seconds since the run started, which is how the wait grows.
    #[serde(default)]
    pub elapsed_seconds: f64,
}

/// The best candidate so far.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Best {
    /// Its name.
    pub name: String,
    /// The objective metric's name, exactly as SageMaker gives it.
    pub metric: Option<String>,
    /// The objective metric's value; absent when it is not a finite number.
    pub value: Option<f64>,
}

/// Where it stands, for the state machine (`phase`, `wait_seconds`) and for
/// people (the rest).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Response {
    /// What the state machine branches on.
    pub phase: Phase,
    /// AWS's own status.
    pub status: String,
    /// AWS's own secondary status, of a job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secondary_status: Option<String>,
    /// Candidates that have been trained so far, of a job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidates: Option<usize>,
    /// The best of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub best: Option<Best>,
    /// Why it failed, in SageMaker's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_reason: Option<String>,
    /// Seconds to wait before the next look.
    pub wait_seconds: u32,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
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
            Error::Registry(error) => error.code(),
            Error::Call(error) => error.code(),
        }
    }
}

/// Looks once.
pub async fn handle(app: App, request: Request) -> Result<Response, Error> {
    let tenant = app.registry.active_tenant(&request.run.tenant).await?;
    let session = app.sessions.open(&tenant, Purpose::CheckStatus(&request.run)).await?;
    let sagemaker = session.sagemaker();
    let wait_seconds = wait_seconds(request.elapsed_seconds);
    let response = match &request.watch {
        Watched::Job { name } => job(&sagemaker, name, wait_seconds).await,
        Watched::Endpoint { name, config } => {
            endpoint(&sagemaker, name, config, wait_seconds).await
        }
    }?;
    let run = &request.run;
    tracing::info!(tenant = %run.tenant, model = %run.model, run = %run.run_id, status = response.status, "looked");
    Ok(response)
}

async fn job(sagemaker: &Client, name: &str, wait_seconds: u32) -> Result<Response, Error> {
    let found = sagemaker
        .describe_auto_ml_job_v2()
        .auto_ml_job_name(name)
        .send()
        .await
        .map_err(|e| CallError::new("sagemaker:DescribeAutoMLJobV2", name, &e))?;
    let status = found.auto_ml_job_status().map_or("Unknown", |status| status.as_str()).to_owned();
    let best = found.best_candidate().map(best_of);
    Ok(Response {
        phase: job_phase(&status, best.is_some()),
        secondary_status: found.auto_ml_job_secondary_status().map(|s| s.as_str().to_owned()),
        candidates: Some(count_candidates(sagemaker, name).await?),
        best,
        failure_reason: found.failure_reason().map(str::to_owned),
        status,
        wait_seconds,
    })
}

async fn count_candidates(sagemaker: &Client, job: &str) -> Result<usize, Error> {
    let mut pages =
        sagemaker.list_candidates_for_auto_ml_job().auto_ml_job_name(job).into_paginator().send();
    let mut count = 0;
    while let Some(page) = pages.next().await {
        let page =
            page.map_err(|e| CallError::new("sagemaker:ListCandidatesForAutoMLJob", job, &e))?;
        let done = |candidate: &&AutoMlCandidate| {
            candidate.candidate_status().is_some_and(|status| status.as_str() == "Completed")
        };
        count += page.candidates().iter().filter(done).count();
    }
    Ok(count)
}

fn best_of(candidate: &AutoMlCandidate) -> Best {
    let metric = candidate.final_auto_ml_job_objective_metric();
    Best {
        name: candidate.candidate_name().unwrap_or_default().to_owned(),
        metric: metric.and_then(|m| m.metric_name()).map(|name| name.as_str().to_owned()),
        value: metric.and_then(|m| m.value()).map(f64::from).filter(|value| value.is_finite()),
    }
}

async fn endpoint(
    sagemaker: &Client,
    name: &str,
    config: &str,
    wait_seconds: u32,
) -> Result<Response, Error> {
    let found = sagemaker
        .describe_endpoint()
        .endpoint_name(name)
        .send()
        .await
        .map_err(|e| CallError::new("sagemaker:DescribeEndpoint", name, &e))?;
    let status = found.endpoint_status().map_or("Unknown", EndpointStatus::as_str).to_owned();
    let serves_config = found.endpoint_config_name() == Some(config);
    Ok(Response {
        phase: endpoint_phase(&status, serves_config),
        secondary_status: None,
        candidates: None,
        best: None,
        failure_reason: found.failure_reason().map(str::to_owned),
        status,
        wait_seconds,
    })
}
