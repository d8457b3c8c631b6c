//! The reasons why a run's scoring, comparison or report did not succeed.

use crosspilot_core::error::{CallError, Code, Coded};
use crosspilot_core::registry::{RegistryError, Stop};
use crosspilot_inference::{AnswerInvalid, Unfit};

/// The reason why a run's step did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum EvaluationError {
    /// The held-out file cannot be used.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// The endpoint gave no predictions.
    #[error(transparent)]
    Inference(#[from] crosspilot_inference::InferenceError),
    /// The run never noted its columns.
    #[error(
        "run {run} of model {model} has no columns on record: start-job notes them; start the run again"
    )]
    NoFeatures {
        /// The run.
        run: String,
        /// The run's model.
        model: String,
    },
    /// A transform job of the run's name exists but is not the run's.
    #[error(
        "transform job {job} exists already with another {what}; it is not this run's: wait for a run of another name"
    )]
    Foreign {
        /// The job.
        job: String,
        /// The property that differs.
        what: &'static str,
    },
    /// The model was deployed, but does not answer as it should.
    #[error(
        "endpoint {endpoint} is in service but fails its first prediction: {problem}; it goes back to what served before"
    )]
    Smoke {
        /// The endpoint.
        endpoint: String,
        /// The fault of the prediction.
        problem: String,
    },
    /// Somebody asked for the run to be stopped.
    #[error("nothing comes to serve, since {} asked at {} for the run to stop", .0.by, .0.time)]
    Stopped(Stop),
    /// Another run took the endpoint.
    #[error("another run has taken the endpoint from this one: start a new run")]
    Overtaken,
    /// Results that cannot be written down.
    #[error("the {what} could not be composed: {reason}; this is a fault in Crosspilot, report it")]
    Compose {
        /// The name of the result.
        what: &'static str,
        /// The error of writing it.
        reason: String,
    },
    /// The registry refused or failed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// AWS refused or failed.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl From<AnswerInvalid> for EvaluationError {
    fn from(error: AnswerInvalid) -> Self {
        EvaluationError::Inference(error.into())
    }
}

impl Coded for EvaluationError {
    fn code(&self) -> Code {
        match self {
            EvaluationError::Unfit(_) => Code::DataUnfit,
            EvaluationError::Inference(error) => error.code(),
            EvaluationError::NoFeatures { .. } => Code::RegistryBroken,
            EvaluationError::Foreign { .. } | EvaluationError::Overtaken => Code::Conflict,
            EvaluationError::Stopped(_) => Code::RunStopped,
            EvaluationError::Smoke { .. } => Code::PredictionInvalid,
            EvaluationError::Compose { .. } => Code::Internal,
            EvaluationError::Registry(error) => error.code(),
            EvaluationError::Call(error) => error.code(),
        }
    }
}
