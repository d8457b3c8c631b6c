//! AWS's own refusals.

use serde_json::{Value, json};

use crate::authority::AuthorityError;

/// A refusal in SageMaker's or SageMaker Runtime's terms.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum ApiError {
    /// A request that breaks the service's rules.
    #[error("{0}")]
    Validation(String),
    /// The same, in SageMaker Runtime's spelling.
    #[error("{0}")]
    RuntimeValidation(String),
    #[error("{0}")]
    ResourceNotFound(String),
    #[error("{0}")]
    ResourceInUse(String),
    #[error("{0}")]
    ResourceLimitExceeded(String),
    /// A body that is not JSON, or a value of the wrong type.
    #[error("{0}")]
    Serialization(String),
    /// A request for something that the stand-in does not offer.
    #[error("{0}")]
    NotOffered(String),
    /// A body that the service does not accept at that size.
    #[error("{0}")]
    TooLarge(String),
    /// The container behind an endpoint answered with an error.
    #[error("{message}")]
    Model {
        message: String,
        original_status: u16,
        original_message: String,
        log_stream_arn: String,
    },
    /// A refusal with AWS's own code: authentication, authorisation, faults.
    #[error("{}", message.as_deref().unwrap_or(code))]
    Coded { code: String, message: Option<String>, status: u16 },
    /// The stand-in itself failed.
    #[error("{0}")]
    Internal(String),
}

impl ApiError {
    /// AWS's error code; none where AWS answers with a bare status.
    pub(crate) fn code(&self) -> Option<&str> {
        Some(match self {
            Self::Validation(_) => "ValidationException",
            Self::RuntimeValidation(_) => "ValidationError",
            Self::ResourceNotFound(_) => "ResourceNotFound",
            Self::ResourceInUse(_) => "ResourceInUse",
            Self::ResourceLimitExceeded(_) => "ResourceLimitExceeded",
            Self::Serialization(_) => "SerializationException",
            Self::NotOffered(_) => "UnknownOperationException",
            Self::TooLarge(_) => return None,
            Self::Model { .. } => "ModelError",
            Self::Coded { code, .. } => code,
            Self::Internal(_) => "InternalFailure",
        })
    }

    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::TooLarge(_) => 413,
            Self::Model { .. } => 424,
            Self::Coded { status, .. } => *status,
            Self::Internal(_) => 500,
            _ => 400,
        }
    }

    /// The members of the answer beside its code.
    pub(crate) fn body(&self) -> Value {
        match self {
            Self::ResourceNotFound(message)
            | Self::ResourceInUse(message)
            | Self::ResourceLimitExceeded(message) => {
                json!({ "Message": message })
            }
            Self::Model { message, original_status, original_message, log_stream_arn } => json!({
                "Message": message,
                "OriginalStatusCode": original_status,
                "OriginalMessage": original_message,
                "LogStreamArn": log_stream_arn,
            }),
            Self::Coded { message, .. } => json!({ "message": message }),
            _ => json!({ "message": self.to_string() }),
        }
    }
}

impl ApiError {
    /// Refuses a request with a member that the stand-in has no counterpart
    /// for: nothing is taken and then left out.
    pub(crate) fn unless_offered(request: &Value, not_offered: &[&str]) -> Result<(), Self> {
        match not_offered.iter().find(|member| request.get(**member).is_some()) {
            Some(member) => {
                Err(Self::Validation(format!("{member} is not offered by the local SageMaker.")))
            }
            None => Ok(()),
        }
    }
}

impl From<AuthorityError> for ApiError {
    fn from(error: AuthorityError) -> Self {
        match error {
            AuthorityError::Refused { code, message, status } => {
                Self::Coded { code, message: Some(message), status }
            }
            AuthorityError::Unavailable(message) => Self::Internal(message),
        }
    }
}
