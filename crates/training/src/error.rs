//! The reasons why a run has no job.

use crosspilot_core::aws::sagemaker::error::BuildError;
use crosspilot_core::error::{CallError, Code, Coded};

/// The reason why a run has no job.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// A job of the run's name exists but is not the run's.
    #[error(
        "AutoML job {job} exists in account {account} with another {what}; it is not this run's: rename or remove it, then start the run again"
    )]
    Foreign {
        /// The job.
        job: String,
        /// The account that the job is in.
        account: String,
        /// The property that differs.
        what: &'static str,
    },
    /// SageMaker does not find the column to predict, although the preflight did.
    #[error(
        "SageMaker refuses the data under {data}: {said} See that every file there begins with a header that has the target, or correct the model's target, then start the run again"
    )]
    NoTarget {
        /// The address of the training data.
        data: String,
        /// SageMaker's own words.
        said: String,
    },
    /// The request lacks something; a fault of ours.
    #[error("the job's request is not complete: {0}")]
    Request(#[from] BuildError),
    /// AWS refused or failed.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl Coded for JobError {
    fn code(&self) -> Code {
        match self {
            JobError::Foreign { .. } => Code::Conflict,
            JobError::NoTarget { .. } => Code::DataUnfit,
            JobError::Request(_) => Code::Internal,
            JobError::Call(error) => error.code(),
        }
    }
}
