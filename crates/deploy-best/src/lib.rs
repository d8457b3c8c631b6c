//! `deploy-best`: is the best candidate good enough? Then model, endpoint
//! config and endpoint, each under a name that follows from the run, so that
//! doing it twice is doing it once.

mod deployment;
mod gate;
mod handshake;

use crosspilot_core::error::{CallError, Code, Coded};
use crosspilot_core::lambda::App;
use crosspilot_core::policy::Purpose;
use crosspilot_core::registry::{RegistryError, model_settings};
use crosspilot_core::run::RunRef;
use serde::{Deserialize, Serialize};

pub use deployment::Action;
pub use gate::{Decision, Score, decide};
pub use handshake::{Container, RESPONSE_KEYS, shake_hands};

/// Which run's job to deploy from.
#[derive(Debug, Clone, Deserialize)]
pub struct Request {
    /// The run, as `assume` gave it.
    pub run: RunRef,
    /// Name of the AutoML job, as `start-job` gave it.
    pub job: String,
}

/// What was decided and done.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Response {
    /// Whether the challenger is deployed, and why.
    pub decision: Decision,
    /// The job's best candidate.
    pub candidate: String,
    /// Its score.
    pub score: Score,
    /// Name of the endpoint.
    pub endpoint: String,
    /// Name of the endpoint config that shall serve; absent when the champion
    /// stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// What was done to the endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
}

/// Why nothing was deployed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The job has nothing to deploy.
    #[error(
        "AutoML job {job} ended as {status} without {missing}: look at its failure reason in SageMaker"
    )]
    NoCandidate {
        /// The job.
        job: String,
        /// Its status.
        status: String,
        /// What is missing.
        missing: &'static str,
    },
    /// The endpoint cannot be updated as it is.
    #[error("endpoint {endpoint} is {status}: delete it or wait for it, then redrive the run")]
    EndpointBlocked {
        /// The endpoint.
        endpoint: String,
        /// Its status.
        status: String,
    },
    /// A resource of our name is not the run's.
    #[error(
        "{resource} exists already with another {what}; it is not this run's: remove it, then redrive the run"
    )]
    Foreign {
        /// The resource.
        resource: String,
        /// What differs.
        what: &'static str,
    },
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
            Error::NoCandidate { .. } => Code::NoCandidate,
            Error::EndpointBlocked { .. } => Code::ResourceFailed,
            Error::Foreign { .. } => Code::Conflict,
            Error::Registry(error) => error.code(),
            Error::Call(error) => error.code(),
        }
    }
}

/// Compares challenger and champion, and deploys the challenger if it wins.
pub async fn handle(app: App, request: Request) -> Result<Response, Error> {
    let Request { run, job } = request;
    let tenant = app.registry.active_tenant(&run.tenant).await?;
    let settings = model_settings(&tenant, &run.model)?;
    let session = app.sessions.open(&tenant, Purpose::DeployBest(&run)).await?;
    let sagemaker = session.sagemaker();

    let found = sagemaker
        .describe_auto_ml_job_v2()
        .auto_ml_job_name(&job)
        .send()
        .await
        .map_err(|e| CallError::new("sagemaker:DescribeAutoMLJobV2", &job, &e))?;
    let no_candidate = |missing| Error::NoCandidate {
        job: job.clone(),
        status: found.auto_ml_job_status().map_or("Unknown", |s| s.as_str()).to_owned(),
        missing,
    };
    let best = found.best_candidate().ok_or_else(|| no_candidate("a best candidate"))?;
    let containers = handshake::containers(best.inference_containers());
    if containers.is_empty() {
        return Err(no_candidate("inference containers in its best candidate"));
    }
    let candidate = best.candidate_name().unwrap_or_default().to_owned();
    let score = gate::score(best);

    let champion = app.registry.lineup(&run.tenant, &run.model).await?.champion;
    let decision = decide(&score, champion.as_ref(), &run, settings.gate.margin);
    tracing::info!(tenant = %run.tenant, model = %run.model, run = %run.run_id, reason = decision.reason, "decided");
    let endpoint = run.endpoint_name();
    if !decision.deploys() {
        return Ok(Response { decision, candidate, score, endpoint, config: None, action: None });
    }
    let plan = deployment::Plan {
        name: run.deployment_name(),
        endpoint: endpoint.clone(),
        execution_role: tenant.execution_role_arn.to_string(),
        hosting: settings.deployment.hosting.clone(),
        network: tenant.network.clone(),
        containers: shake_hands(containers, &RESPONSE_KEYS),
        tags: run.tags(),
    };
    let action = plan.apply(&sagemaker).await?;
    Ok(Response {
        decision,
        candidate,
        score,
        endpoint,
        config: Some(plan.name),
        action: Some(action),
    })
}
