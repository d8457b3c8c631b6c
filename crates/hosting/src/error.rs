//! The reasons why nothing was done to a model or an endpoint.

use crosspilot_core::error::{CallError, Code, Coded};
use crosspilot_core::registry::{RegistryError, Stop};
use crosspilot_core::run::RunId;
use crosspilot_core::settings::OtherHosting;

/// The reason why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum HostingError {
    /// The job has nothing to deploy.
    #[error(
        "AutoML job {job} ended as {status} without {missing}: look at its failure reason in SageMaker"
    )]
    NoCandidate {
        /// The job.
        job: String,
        /// The job's status.
        status: String,
        /// The thing that is missing.
        missing: &'static str,
    },
    /// The model cannot be served without instances.
    #[error(
        "candidate {candidate} cannot be served by a serverless endpoint, which takes no {what}: {remedy}, or set deployment.hosting to an instance; then start a new run"
    )]
    Serverless {
        /// The candidate.
        candidate: String,
        /// The feature that serverless endpoints do not take.
        what: &'static str,
        /// The change to make instead.
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
        /// The property that differs.
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
        /// The thing that is in the way, and what to do.
        reason: String,
    },
    /// The registry refused or failed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// AWS refused or failed.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl Coded for HostingError {
    fn code(&self) -> Code {
        match self {
            HostingError::NoCandidate { .. } => Code::NoCandidate,
            HostingError::Serverless { .. } | HostingError::OtherHosting(_) => Code::RequestInvalid,
            HostingError::Stopped(_) => Code::RunStopped,
            HostingError::Foreign { .. } | HostingError::NoWayBack { .. } => Code::Conflict,
            HostingError::NoRole(_) => Code::TrustRefused,
            HostingError::Registry(error) => error.code(),
            HostingError::Call(error) => error.code(),
        }
    }
}
