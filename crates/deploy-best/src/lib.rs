//! `deploy-best`: the model of the best candidate, the gate, the endpoint, and
//! what is left when a run has ended. Each thing goes under a name that follows
//! from the run, so that doing it twice is doing it once.

mod clear;
mod config;
mod deploy;
mod endpoint;
mod gate;
mod handshake;
mod jobs;
pub mod manage;
mod register;
mod scaling;
mod settle;

use crosspilot_core::aws::sagemaker::types::Tag;
use crosspilot_core::error::{CallError, Code, Coded};
use crosspilot_core::lambda::App;
use crosspilot_core::manage::{Ask, Progress};
use crosspilot_core::registry::{RegistryError, Stop};
use crosspilot_core::run::{RunId, RunRef};
use crosspilot_core::settings::OtherHosting;
use crosspilot_core::tenant::Tenant;
use serde::{Deserialize, Serialize};

pub use deploy::{Deploy, Deployed, Deployment};
pub use endpoint::{Action, Endpoint, Step, step};
pub use gate::{Contest, decide};
pub use handshake::{Container, RESPONSE_KEYS, shake_hands};
pub use register::{Register, Registered};
pub use settle::{Settle, Settled};

/// What the function is asked for.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Request {
    /// Make a model of the job's best candidate.
    Register(Register),
    /// Deploy the model if it is good enough.
    Deploy(Box<Deploy>),
    /// Leave the account as the lineup says.
    Settle(Settle),
    /// What a tenant's models need besides.
    Manage(Ask),
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Response {
    /// The model.
    Registered(Registered),
    /// The decision and the endpoint.
    Deployed(Box<Deployed>),
    /// What is left.
    Settled(Settled),
    /// How far it is.
    Managed(Progress),
}

/// Something in the customer's account has to end first: ask again later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Waiting {
    /// What for, as a sentence.
    pub reason: String,
    /// Seconds until the next attempt.
    pub wait_seconds: u32,
}

/// Why nothing was done.
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
    /// The model cannot be served without instances.
    #[error(
        "candidate {candidate} cannot be served by a serverless endpoint, which takes no {what}: {remedy}, or set deployment.hosting to an instance; then start a new run"
    )]
    Serverless {
        /// The candidate.
        candidate: String,
        /// What serverless endpoints do not take.
        what: &'static str,
        /// What to change instead.
        remedy: &'static str,
    },
    /// The endpoint would have to be replaced, which the settings do not allow.
    #[error(transparent)]
    OtherHosting(#[from] OtherHosting),
    /// Somebody asked for the run to be stopped.
    #[error("nothing was deployed, since {} asked at {} for the run to stop", .0.by, .0.time)]
    Stopped(Stop),
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
    /// The customer's role cannot be assumed any more.
    #[error("{0}; the tenant's stack was deleted or its trust policy was changed")]
    NoRole(CallError),
    /// There is nothing to go back to.
    #[error("endpoint {endpoint} cannot serve run {to} again: {reason}")]
    NoWayBack {
        /// The endpoint.
        endpoint: String,
        /// The run whose model was to serve.
        to: RunId,
        /// What is in the way, and what to do.
        reason: String,
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
            Error::Serverless { .. } | Error::OtherHosting(_) => Code::RequestInvalid,
            Error::Stopped(_) => Code::RunStopped,
            Error::Foreign { .. } | Error::NoWayBack { .. } => Code::Conflict,
            Error::NoRole(_) => Code::TrustRefused,
            Error::Registry(error) => error.code(),
            Error::Call(error) => error.code(),
        }
    }
}

/// Does what is asked.
pub async fn handle(app: App, request: Request) -> Result<Response, Error> {
    Ok(match request {
        Request::Register(request) => {
            Response::Registered(register::register(&app, request).await?)
        }
        Request::Deploy(request) => {
            Response::Deployed(Box::new(deploy::deploy(&app, *request).await?))
        }
        Request::Settle(request) => Response::Settled(settle::settle(&app, request).await?),
        Request::Manage(ask) => Response::Managed(manage::manage(&app, ask).await?),
    })
}

fn tags(tenant: &Tenant, run: &RunRef) -> Vec<Tag> {
    let tags = tenant.tags_of(run).into_iter();
    tags.map(|(key, value)| Tag::builder().key(key).value(value).build()).collect()
}

/// Whether the resource existed before. SageMaker says so with a
/// ValidationException "Cannot create already existing ...".
fn existed<T>(created: Result<T, CallError>) -> Result<bool, CallError> {
    match created {
        Ok(_) => Ok(false),
        Err(error) if error.message().contains("already existing") => Ok(true),
        Err(error) => Err(error),
    }
}
