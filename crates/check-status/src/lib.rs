//! `check-status`: where is the job, the transform or the endpoint now, must it
//! stop, and how long until the next look?

mod poll;

use crosspilot_core::aws::sagemaker::Client;
use crosspilot_core::aws::sagemaker::types::{AutoMlCandidate, EndpointStatus};
use crosspilot_core::error::{CallError, Code, Coded};
use crosspilot_core::lambda::App;
use crosspilot_core::policy::Purpose;
use crosspilot_core::registry::RegistryError;
use crosspilot_core::run::RunRef;
use serde::{Deserialize, Serialize};

pub use poll::{Clock, Order, Phase, can_be_stopped, endpoint_phase, job_phase, transform_phase};

/// What to look at.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Watched {
    /// An AutoML job.
    Job {
        /// Its name.
        name: String,
    },
    /// A transform job, which scores the held-out rows.
    Transform {
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
    /// Seconds since what is watched began, which is how the wait grows.
    #[serde(default)]
    pub elapsed_seconds: f64,
    /// Seconds that it may take. A job that takes longer is stopped.
    #[serde(default)]
    pub limit_seconds: Option<f64>,
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

/// Where it stands, for the state machine (`phase`, `wait_seconds`, `failure`)
/// and for people (the rest).
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
    /// Why the run ends here, where it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Seconds to wait before the next look.
    pub wait_seconds: u32,
}

/// Why a run ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The stable code.
    pub code: String,
    /// One sentence.
    pub cause: String,
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

/// Looks once, and stops the job if it must not go on.
pub async fn handle(app: App, request: Request) -> Result<Response, Error> {
    let run = &request.run;
    let tenant = app.registry.active_tenant(&run.tenant).await?;
    let clock = Clock {
        elapsed: request.elapsed_seconds,
        limit: request.limit_seconds.unwrap_or(f64::INFINITY),
    };
    let stop = app.registry.run(run).await?.stop;
    let order = stop.map(Order::Person).or_else(|| clock.order());
    let session = app.sessions.open(&tenant, Purpose::CheckStatus(run)).await?;
    let look = Look { sagemaker: session.sagemaker(), clock, order };
    let response = match &request.watch {
        Watched::Job { name } => look.job(name).await,
        Watched::Transform { name } => look.transform(name).await,
        Watched::Endpoint { name, config } => look.endpoint(name, config).await,
    }?;
    tracing::info!(tenant = %run.tenant, model = %run.model, run = %run.run_id, status = response.status, "looked");
    Ok(response)
}

/// What one look needs to know.
struct Look {
    sagemaker: Client,
    clock: Clock,
    /// Why a job is to stop, if it is.
    order: Option<Order>,
}

/// What was seen.
struct Seen {
    /// What it is, such as `AutoML job crosspilot-churn-3f9a2c71b0`.
    what: String,
    phase: Phase,
    status: String,
    /// Why it failed, in SageMaker's words.
    reason: Option<String>,
    /// Under which code a failed one ends the run.
    code: Code,
}

impl Look {
    async fn job(&self, name: &str) -> Result<Response, Error> {
        let found = self
            .sagemaker
            .describe_auto_ml_job_v2()
            .auto_ml_job_name(name)
            .send()
            .await
            .map_err(|e| CallError::new("sagemaker:DescribeAutoMLJobV2", name, &e))?;
        let status = found.auto_ml_job_status().map_or("Unknown", |status| status.as_str());
        if self.order.is_some() && can_be_stopped(status) {
            let stopped = self.sagemaker.stop_auto_ml_job().auto_ml_job_name(name).send().await;
            unless_ended(stopped.map_err(|e| CallError::new("sagemaker:StopAutoMLJob", name, &e)))?;
        }
        let best = found.best_candidate().map(best_of);
        let mut reason = found.failure_reason().map(str::to_owned);
        if best.is_none() && status != "Failed" {
            reason = reason.or_else(|| Some("it has no best candidate".to_owned()));
        }
        let seen = Seen {
            what: format!("AutoML job {name}"),
            phase: job_phase(status, best.is_some(), self.order.as_ref()),
            status: status.to_owned(),
            reason,
            code: Code::NoCandidate,
        };
        Ok(Response {
            secondary_status: found.auto_ml_job_secondary_status().map(|s| s.as_str().to_owned()),
            candidates: Some(count_candidates(&self.sagemaker, name).await?),
            best,
            ..self.response(seen)
        })
    }

    async fn transform(&self, name: &str) -> Result<Response, Error> {
        let found = self
            .sagemaker
            .describe_transform_job()
            .transform_job_name(name)
            .send()
            .await
            .map_err(|e| CallError::new("sagemaker:DescribeTransformJob", name, &e))?;
        let status = found.transform_job_status().map_or("Unknown", |status| status.as_str());
        if self.order.is_some() && can_be_stopped(status) {
            let stopped = self.sagemaker.stop_transform_job().transform_job_name(name).send().await;
            unless_ended(
                stopped.map_err(|e| CallError::new("sagemaker:StopTransformJob", name, &e)),
            )?;
        }
        Ok(self.response(Seen {
            what: format!("transform job {name}, which scores the held-out rows,"),
            phase: transform_phase(status, self.order.as_ref()),
            status: status.to_owned(),
            reason: found.failure_reason().map(str::to_owned),
            code: Code::ResourceFailed,
        }))
    }

    /// An endpoint that moves is not stopped: it takes longer to go back than to
    /// arrive.
    async fn endpoint(&self, name: &str, config: &str) -> Result<Response, Error> {
        let found = self
            .sagemaker
            .describe_endpoint()
            .endpoint_name(name)
            .send()
            .await
            .map_err(|e| CallError::new("sagemaker:DescribeEndpoint", name, &e))?;
        let status = found.endpoint_status().map_or("Unknown", EndpointStatus::as_str).to_owned();
        let serving = found.endpoint_config_name().unwrap_or_default();
        let mut reason = found.failure_reason().map(str::to_owned);
        if status == "InService" && serving != config {
            let why = reason.unwrap_or_else(|| "SageMaker gave no reason".to_owned());
            reason = Some(format!("it went back to config {serving}: {why}"));
        }
        Ok(self.response(Seen {
            what: format!("endpoint {name}"),
            phase: endpoint_phase(&status, serving == config),
            status,
            reason,
            code: Code::ResourceFailed,
        }))
    }

    fn response(&self, seen: Seen) -> Response {
        let Seen { what, mut phase, status, reason, code } = seen;
        let gives_up = phase == Phase::InProgress && self.clock.gives_up();
        let reason = reason.map_or(String::new(), |reason| format!(": {reason}"));
        let failure = match (phase, &self.order) {
            (Phase::InProgress, Some(order)) if gives_up => {
                phase = Phase::Failed;
                let cause = format!("{what} is still {status}, although {}", order.reason());
                Some((order.code(), cause))
            }
            (Phase::InProgress | Phase::Succeeded, _) => None,
            (Phase::Stopped, Some(order)) => {
                let cause = format!(
                    "{what} is {status} and nothing was deployed, since {}",
                    order.reason()
                );
                Some((order.code(), cause))
            }
            _ => Some((code, format!("{what} ended as {status}{reason}"))),
        };
        Response {
            phase,
            status,
            secondary_status: None,
            candidates: None,
            best: None,
            failure: failure.map(|(code, cause)| Failure { code: code.to_string(), cause }),
            wait_seconds: self.clock.wait_seconds(),
        }
    }
}

/// A job may end between the look and the request to stop it.
fn unless_ended<T>(stopped: Result<T, CallError>) -> Result<(), CallError> {
    match stopped {
        Err(error) if error.code() != Code::RequestInvalid => Err(error),
        _ => Ok(()),
    }
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
