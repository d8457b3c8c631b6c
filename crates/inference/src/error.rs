//! Why an endpoint gave no predictions.

use crosspilot_core::error::{CallError, Code, Coded};

use crate::output::AnswerInvalid;

/// Why an endpoint gave no predictions.
#[derive(Debug, thiserror::Error)]
pub enum InferenceError {
    /// The endpoint's answer is not predictions.
    #[error(transparent)]
    Answer(#[from] AnswerInvalid),
    /// A request that cannot be written down.
    #[error("the {what} could not be composed: {reason}; this is a fault in Crosspilot, report it")]
    Compose {
        /// What was to be written.
        what: &'static str,
        /// What failed.
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
