//! `check-status`: where is the job, the transform or the endpoint now, must it
//! stop, and how long until the next look?

use crosspilot_core::aws::sagemaker::Client;
use crosspilot_core::aws::sagemaker::types::AutoMlCandidate;
use crosspilot_core::error::{CallError, Code, Coded, Named};
use crosspilot_core::lambda::App;
use crosspilot_core::policy::Purpose;
use crosspilot_core::registry::RegistryError;
use crosspilot_core::run::RunRef;
use crosspilot_training::{Clock, StopReason, Terms};
use serde::Deserialize;

pub use crosspilot_training::Observation as Response;

/// The job or endpoint to look at.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Watched {
    /// An AutoML job.
    Job {
        /// The job's name.
        name: String,
    },
    /// A transform job, which scores the held-out rows.
    Transform {
        /// The job's name.
        name: String,
    },
    /// An endpoint.
    Endpoint {
        /// The endpoint's name.
        name: String,
        /// The endpoint config that it shall serve.
        config: String,
    },
}

/// A request of a run to look at a job or an endpoint.
#[derive(Debug, Clone, Deserialize)]
pub struct Request {
    /// The run, as `assume` gave it.
    pub run: RunRef,
    /// The job or endpoint to look at.
    pub watch: Watched,
    /// Seconds since what is watched began, which is how the wait grows.
    #[serde(default)]
    pub elapsed_seconds: f64,
    /// Seconds that it may take. A job that takes longer is stopped.
    #[serde(default)]
    pub limit_seconds: Option<f64>,
}

/// The reason why there is no answer.
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
    let order = stop.map(StopReason::Person).or_else(|| clock.order());
    let session = app.sessions.open(&tenant, Purpose::CheckStatus(run)).await?;
    let look = Look { sagemaker: session.sagemaker(), terms: Terms { clock, order } };
    let response = match &request.watch {
        Watched::Job { name } => look.job(name).await,
        Watched::Transform { name } => look.transform(name).await,
        Watched::Endpoint { name, config } => look.endpoint(name, config).await,
    }?;
    tracing::info!(tenant = %run.tenant, model = %run.model, run = %run.run_id, status = response.status, "looked");
    Ok(response)
}

/// The client of a look, and the terms that it is under.
struct Look {
    sagemaker: Client,
    terms: Terms,
}

impl Look {
    async fn job(&self, name: &str) -> Result<Response, Error> {
        let found = self
            .sagemaker
            .describe_auto_ml_job_v2()
            .auto_ml_job_name(name)
            .send()
            .await
            .named("sagemaker:DescribeAutoMLJobV2", name)?;
        if self.terms.must_stop(found.auto_ml_job_status()) {
            let stopped = self.sagemaker.stop_auto_ml_job().auto_ml_job_name(name).send().await;
            unless_ended(stopped.named("sagemaker:StopAutoMLJob", name))?;
        }
        let candidates = match count_candidates(&self.sagemaker, name).await {
            Ok(count) => Some(count),
            Err(error) => {
                tracing::warn!(job = name, "its candidates cannot be counted: {error}");
                None
            }
        };
        Ok(self.terms.job(name, &found, candidates))
    }

    async fn transform(&self, name: &str) -> Result<Response, Error> {
        let found = self
            .sagemaker
            .describe_transform_job()
            .transform_job_name(name)
            .send()
            .await
            .named("sagemaker:DescribeTransformJob", name)?;
        if self.terms.must_stop(found.transform_job_status()) {
            let stopped = self.sagemaker.stop_transform_job().transform_job_name(name).send().await;
            unless_ended(stopped.named("sagemaker:StopTransformJob", name))?;
        }
        Ok(self.terms.transform(name, &found))
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
            .named("sagemaker:DescribeEndpoint", name)?;
        Ok(self.terms.endpoint(name, config, &found))
    }
}

/// A job may end between the look and the request to stop it.
fn unless_ended<T>(stopped: Result<T, CallError>) -> Result<(), CallError> {
    match stopped {
        Err(error) if error.code() != Code::RequestInvalid => Err(error),
        _ => Ok(()),
    }
}

/// Counts a job's trained candidates: a figure for people to watch, which no look
/// fails for.
async fn count_candidates(sagemaker: &Client, job: &str) -> Result<usize, CallError> {
    let mut pages = sagemaker
        .list_candidates_for_auto_ml_job()
        .auto_ml_job_name(job)
        .max_results(100)
        .into_paginator()
        .send();
    let mut count = 0;
    while let Some(page) = pages.next().await {
        let page = page.named("sagemaker:ListCandidatesForAutoMLJob", job)?;
        let done = |candidate: &&AutoMlCandidate| {
            candidate.candidate_status().is_some_and(|status| status.as_str() == "Completed")
        };
        count += page.candidates().iter().filter(done).count();
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use crosspilot_core::registry::Stop;
    use crosspilot_scripted::{Answer, Scripted};
    use serde_json::json;

    use super::*;

    /// Looks at a transform job of this status when somebody wants the run to stop.
    /// Gives what was called, and what came of it.
    async fn looked(
        status: &'static str,
        stopped: fn() -> Answer,
    ) -> (Vec<String>, Result<Response, Error>) {
        let aws = Scripted::new(move |call| match call.operation.as_str() {
            "DescribeTransformJob" => Answer::json(&json!({"TransformJobStatus": status})),
            _ => stopped(),
        });
        let clock = Clock { elapsed: 60.0, limit: 3600.0 };
        let stop = Stop { by: "somebody".into(), time: "2026-01-31T00:00:00Z".into() };
        let terms = Terms { clock, order: Some(StopReason::Person(stop)) };
        let look = Look { sagemaker: Client::new(&aws.config()), terms };
        let seen = look.transform("t").await;
        (aws.operations(), seen)
    }

    #[tokio::test]
    async fn a_job_that_scores_is_stopped_with_its_run() {
        let (calls, seen) = looked("InProgress", || Answer::json(&json!({}))).await;
        assert_eq!(calls, ["DescribeTransformJob", "StopTransformJob"]);
        assert_eq!(seen.unwrap().status, "InProgress");
        let ended = || Answer::refused(400, "ValidationException", "it is Completed");
        assert!(looked("InProgress", ended).await.1.is_ok());
        let denied = || Answer::refused(400, "AccessDeniedException", "no");
        assert_eq!(looked("InProgress", denied).await.1.unwrap_err().code(), Code::AccessDenied);
        for status in ["Stopping", "Stopped", "Completed", "Failed"] {
            assert_eq!(looked(status, denied).await.0, ["DescribeTransformJob"], "{status}");
        }
    }

    #[tokio::test]
    async fn candidates_are_counted_in_the_largest_pages() {
        let aws = Scripted::new(|call| {
            let asked: serde_json::Value = serde_json::from_str(&call.body).unwrap();
            assert_eq!(asked["MaxResults"], 100, "{asked}");
            let candidate = |status| json!({"CandidateStatus": status});
            let more = asked.get("NextToken").is_none().then_some("more");
            Answer::json(&json!({
                "Candidates": [candidate("Completed"), candidate("InProgress")],
                "NextToken": more,
            }))
        });
        assert_eq!(count_candidates(&Client::new(&aws.config()), "j").await.unwrap(), 2);
    }

    #[test]
    fn a_job_that_ended_between_the_look_and_the_stop_is_stopped() {
        let refused = |code| -> Result<(), CallError> {
            Err(CallError::refused(code, "sagemaker:StopAutoMLJob", "j", "x", "y"))
        };
        assert!(unless_ended(Ok(())).is_ok());
        assert!(unless_ended(refused(Code::RequestInvalid)).is_ok());
        for code in [Code::AccessDenied, Code::Throttled, Code::Unavailable] {
            assert_eq!(unless_ended(refused(code)).unwrap_err().code(), code);
        }
    }
}
