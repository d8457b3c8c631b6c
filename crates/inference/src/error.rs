//! Why an endpoint gave no predictions.

use crosspilot_core::error::{CallError, Code, Coded};

use crate::output::AnswerInvalid;

/// Why an endpoint gave no predictions.
#[derive(Debug, thiserror::Error)]
pub enum Error {
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

impl Coded for Error {
    fn code(&self) -> Code {
        match self {
            Error::Answer(_) => Code::PredictionInvalid,
            Error::Compose { .. } => Code::Internal,
            Error::Call(error) => error.code(),
        }
    }
}
