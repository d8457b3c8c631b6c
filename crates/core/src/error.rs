//! Errors with stable codes.
//!
//! The state machine matches on the code, people read the message: what
//! happened, to what, and what to do next. Only two codes are worth a retry.

use std::fmt;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::said::Said;

/// The stable name of a failure. The state machines retry the first two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// AWS asked to slow down. Retried.
    Throttled,
    /// A service did not answer, or answered with a server error. Retried.
    Unavailable,
    /// AWS refused the call: a permission, a revoked role or a policy.
    AccessDenied,
    /// The run's trigger is malformed.
    TriggerInvalid,
    /// No tenant of that name, account or bucket.
    TenantUnknown,
    /// The tenant exists but may not run or predict now.
    TenantInactive,
    /// The tenant has no such model.
    ModelUnknown,
    /// A registry document cannot be read.
    RegistryBroken,
    /// The customer's role could be assumed without the right external ID.
    TrustTooOpen,
    /// The trust could not be proven one way or the other.
    TrustUnproven,
    /// The customer's role does not take the tenant's external ID any more: it
    /// was deleted, or its trust policy was changed.
    TrustRefused,
    /// Most tenants refused in one round of probes: the fault is hardly theirs,
    /// and nobody was suspended.
    TrustRoundHeld,
    /// The customer's account does not use this region.
    RegionDenied,
    /// A tenant cannot go from its status to the one asked for.
    TransitionRefused,
    /// A tenant's settings contradict themselves.
    TenantInvalid,
    /// The data cannot be trained on.
    DataUnfit,
    /// A resource of the same name exists and is not ours to adopt.
    Conflict,
    /// A quota of the customer's account is used up.
    QuotaReached,
    /// The AutoML job ended without a usable candidate.
    NoCandidate,
    /// The job or endpoint ended in failure.
    ResourceFailed,
    /// Somebody asked for the run to be stopped.
    RunStopped,
    /// The run took longer than it may.
    RunTimedOut,
    /// The model answered with something that is not a prediction.
    PredictionInvalid,
    /// AWS refused the request itself.
    RequestInvalid,
    /// A resource that should exist does not.
    NotFound,
    /// A function reached its time limit, at each attempt.
    FunctionTimedOut,
    /// A function was killed or crashed, at each attempt.
    FunctionDied,
    /// A fault of ours.
    Internal,
}

impl Code {
    /// The name as the state machine sees it.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::Throttled => "Throttled",
            Code::Unavailable => "Unavailable",
            Code::AccessDenied => "AccessDenied",
            Code::TriggerInvalid => "TriggerInvalid",
            Code::TenantUnknown => "TenantUnknown",
            Code::TenantInactive => "TenantInactive",
            Code::ModelUnknown => "ModelUnknown",
            Code::RegistryBroken => "RegistryBroken",
            Code::TrustTooOpen => "TrustTooOpen",
            Code::TrustUnproven => "TrustUnproven",
            Code::TrustRefused => "TrustRefused",
            Code::TrustRoundHeld => "TrustRoundHeld",
            Code::RegionDenied => "RegionDenied",
            Code::TransitionRefused => "TransitionRefused",
            Code::TenantInvalid => "TenantInvalid",
            Code::DataUnfit => "DataUnfit",
            Code::Conflict => "Conflict",
            Code::QuotaReached => "QuotaReached",
            Code::NoCandidate => "NoCandidate",
            Code::ResourceFailed => "ResourceFailed",
            Code::RunStopped => "RunStopped",
            Code::RunTimedOut => "RunTimedOut",
            Code::PredictionInvalid => "PredictionInvalid",
            Code::RequestInvalid => "RequestInvalid",
            Code::NotFound => "NotFound",
            Code::FunctionTimedOut => "FunctionTimedOut",
            Code::FunctionDied => "FunctionDied",
            Code::Internal => "Internal",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An error that has a stable code.
pub trait Coded: fmt::Display {
    /// The code that the state machine matches on.
    fn code(&self) -> Code;
}

/// An AWS call that did not succeed, reduced to what may be shown: never the
/// request, never credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{operation} on {resource} failed: {aws_code}: {message}{}", advice(*code, operation, message))]
pub struct CallError {
    code: Code,
    operation: &'static str,
    resource: String,
    aws_code: String,
    message: String,
}

fn advice(code: Code, operation: &str, message: &str) -> &'static str {
    match code {
        Code::AccessDenied if message.contains("kms:") => {
            " (the key's policy must let the account's IAM decide, and VolumeKmsKeyArn and OutputKmsKeyArn of infra/customer.yaml must name the tenant's keys)"
        }
        // Source: Amazon S3 API reference, `GetObject`, "Permissions".
        Code::AccessDenied if ["s3:GetObject", "s3:HeadObject"].contains(&operation) => {
            " (either there is no such object, which S3 does not tell to who may not list its place, or the role may not read it: look whether it is there, then compare the role's policies with infra/customer.yaml and infra/saas.yaml)"
        }
        Code::AccessDenied => {
            " (compare the role's policies with infra/customer.yaml and infra/saas.yaml)"
        }
        Code::QuotaReached => " (ask AWS for a higher quota, or make room)",
        Code::Throttled | Code::Unavailable => " (this heals by itself: try again later)",
        _ => "",
    }
}

/// Names an AWS call whose answer failed: what was done, and to what.
pub trait Named<T> {
    /// Turns the SDK's error into a [`CallError`] of `operation` (such as
    /// `sagemaker:CreateModel`) on `resource`.
    fn named(self, operation: &'static str, resource: impl fmt::Display) -> Result<T, CallError>;
}

impl<T, E> Named<T> for Result<T, SdkError<E, HttpResponse>>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    fn named(self, operation: &'static str, resource: impl fmt::Display) -> Result<T, CallError> {
        self.map_err(|error| CallError::new(operation, resource, &error))
    }
}

impl CallError {
    /// Describes the failure of `operation` (such as `sagemaker:CreateModel`)
    /// on `resource`.
    pub fn new<E>(
        operation: &'static str,
        resource: impl fmt::Display,
        error: &SdkError<E, HttpResponse>,
    ) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let status = error.raw_response().map(|response| response.status().as_u16());
        let (aws_code, message) = match error {
            // A success that cannot be read is no answer.
            SdkError::ServiceError(service)
                if service.err().code().is_none()
                    && status.is_some_and(|status| (200..300).contains(&status)) =>
            {
                ("BadAnswer".into(), root_cause(error))
            }
            SdkError::ServiceError(service) if service.err().code() == Some(MODEL_ERROR) => {
                let said = Said::new(service.err().message().unwrap_or_default());
                (MODEL_ERROR.into(), said.model_error(&resource))
            }
            SdkError::ServiceError(service) => (
                service.err().code().unwrap_or("Unknown").to_owned(),
                service.err().message().unwrap_or("AWS gave no message").to_owned(),
            ),
            SdkError::TimeoutError(_) => ("Timeout".into(), "no answer in time".into()),
            SdkError::DispatchFailure(failure) if failure.is_user() => {
                ("BadRequest".into(), "the request could not be built".into())
            }
            SdkError::DispatchFailure(failure) => {
                let cause = failure.as_connector_error().map(ToString::to_string);
                // Credentials are fetched before the connection is made: without a
                // connector error, it was the customer's role that was not assumed.
                ("Unreachable".into(), cause.unwrap_or_else(|| root_cause(error)))
            }
            _ => ("BadAnswer".into(), root_cause(error)),
        };
        let code = classify(&aws_code, status);
        Self { code, operation, resource: resource.to_string(), aws_code, message }
    }

    /// The AWS error code, such as `ValidationException`.
    pub fn aws_code(&self) -> &str {
        &self.aws_code
    }

    /// AWS's own message; ours where AWS hands on a container's.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The answer to `operation` on `resource` began well and broke off.
    pub fn broken_off(
        operation: &'static str,
        resource: impl fmt::Display,
        error: impl fmt::Display,
    ) -> Self {
        Self::refused(Code::Unavailable, operation, resource, "BadAnswer", error.to_string())
    }

    /// A call refused before it was sent, under the same form.
    pub fn refused(
        code: Code,
        operation: &'static str,
        resource: impl fmt::Display,
        aws_code: &str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            code,
            operation,
            resource: resource.to_string(),
            aws_code: aws_code.to_owned(),
            message: message.into(),
        }
    }
}

impl Coded for CallError {
    fn code(&self) -> Code {
        self.code
    }
}

/// The innermost cause: outer layers only say "dispatch failure".
fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// SageMaker's error code if a model's container refused a request.
pub const MODEL_ERROR: &str = "ModelError";

/// S3's error code for a conditional write while another one of the same object is under way:
/// the write may be tried again.
pub const CONFLICT: &str = "ConditionalRequestConflict";

/// Sorts AWS's codes into ours. The status decides what the code does not:
/// throttling can come as a 400 without a message, denials as 400 or 403.
fn classify(aws_code: &str, status: Option<u16>) -> Code {
    match aws_code {
        "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "TooManyRequestsException"
        | "RequestLimitExceeded"
        | "SlowDown"
        | CONFLICT
        | "ModelNotReadyException" => Code::Throttled,
        "Timeout" | "Unreachable" | "BadAnswer" | "RequestTimeout" => Code::Unavailable,
        // The next attempt opens a session anew.
        "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" => Code::Unavailable,
        code if code.contains("AccessDenied") || code.contains("UnauthorizedOperation") => {
            Code::AccessDenied
        }
        "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "SignatureDoesNotMatch"
        | "AllAccessDisabled" => Code::AccessDenied,
        "ResourceNotFound" | "NoSuchKey" | "NoSuchBucket" => Code::NotFound,
        "RegionDisabledException" => Code::RegionDenied,
        "ResourceInUse" => Code::Conflict,
        "ResourceLimitExceeded" => Code::QuotaReached,
        _ => match status {
            Some(429) => Code::Throttled,
            Some(403) => Code::AccessDenied,
            Some(500..) => Code::Unavailable,
            _ => Code::RequestInvalid,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_read_may_be_of_an_object_that_is_not_there() {
        let denied = |operation| {
            let (on, said) = ("s3://acme-ml/p/a.csv", "Access Denied");
            CallError::refused(Code::AccessDenied, operation, on, "AccessDenied", said).to_string()
        };
        assert!(denied("s3:GetObject").contains("either there is no such object"));
        assert!(!denied("s3:PutObject").contains("no such object"));
    }

    #[test]
    fn only_what_can_heal_is_retried() {
        assert_eq!(classify("ThrottlingException", Some(400)), Code::Throttled);
        assert_eq!(classify(CONFLICT, Some(409)), Code::Throttled);
        assert_eq!(classify("InternalFailure", Some(500)), Code::Unavailable);
        assert_eq!(classify("Timeout", None), Code::Unavailable);
        assert_eq!(classify("ExpiredTokenException", Some(400)), Code::Unavailable);
        assert_eq!(classify("AccessDeniedException", Some(400)), Code::AccessDenied);
        assert_eq!(classify("ValidationException", Some(400)), Code::RequestInvalid);
        assert_eq!(classify("SomethingNew", Some(403)), Code::AccessDenied);
        assert_eq!(classify("ResourceLimitExceeded", Some(400)), Code::QuotaReached);
    }
}
