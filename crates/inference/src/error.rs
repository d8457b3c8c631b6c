//! The reasons why an endpoint gave no predictions.

use crosspilot_core::error::{CallError, Code, Coded};

use crate::output::AnswerInvalid;

/// The reason why an endpoint gave no predictions.
#[derive(Debug, thiserror::Error)]
pub enum InferenceError {
    /// The endpoint's answer is not predictions.
    #[error(transparent)]
    Answer(#[from] AnswerInvalid),
    /// A request that cannot be written down.
    #[error("the {what} could not be composed: {reason}; this is a fault in Crosspilot, report it")]
    Compose {
        /// The thing that was to be written.
        what: &'static str,
        /// The error of writing it.
        reason: String,
    },
    /// AWS refused or failed.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl Coded for InferenceError {
    fn code(&self) -> Code {
        match self {
            InferenceError::Answer(_) => Code::PredictionInvalid,
            InferenceError::Compose { .. } => Code::Internal,
            InferenceError::Call(error) => error.code(),
        }
    }
}
