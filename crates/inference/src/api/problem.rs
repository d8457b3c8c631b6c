//! The answers of the API when it cannot predict: RFC 9457 problem documents.
//!
//! The text is always our own: AWS's messages name accounts and ARNs, and stay
//! in the log.

use std::collections::BTreeMap;

use crosspilot_core::error::{CallError, Code, Coded, MODEL_ERROR};
use crosspilot_core::failure::shown;
use crosspilot_core::ids::ModelName;
use crosspilot_core::registry::RegistryError;
use crosspilot_core::tenant::PredictionLimits;
use serde_json::json;

use super::response::HttpResponse;
use crate::InferenceError;

/// The stage of a request in which a call to AWS was made: the same refusal means different
/// things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// On our own side.
    Registry,
    /// Assuming the customer's role.
    Session,
    /// Asking the customer's endpoint.
    Endpoint,
}

/// One answer other than 200.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) status: u16,
    /// Last part of the problem's type.
    name: &'static str,
    pub(super) title: &'static str,
    pub(super) detail: String,
    /// Headers of its own.
    headers: Vec<(&'static str, String)>,
    /// For the log only.
    pub(super) cause: String,
}

impl Problem {
    fn new(
        status: u16,
        name: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            status,
            name,
            title,
            detail: detail.into(),
            headers: Vec::new(),
            cause: String::new(),
        }
    }

    fn retry_after(self, seconds: u64) -> Self {
        self.with_header("retry-after", seconds.to_string())
    }

    pub(super) fn with_header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    fn because(self, cause: impl ToString) -> Self {
        Self { cause: cause.to_string(), ..self }
    }

    /// Refuses records. What the caller sent may be named in `detail`, but not repeated at any
    /// length.
    pub(super) fn bad_request(detail: impl AsRef<str>) -> Self {
        Self::new(400, "bad-request", "The records cannot be read", shown(detail.as_ref()))
    }

    pub(super) fn no_tenant(claim: &str, problem: &str) -> Self {
        let detail =
            format!("the token's claim {claim} {problem}: sign in with an account of a customer");
        Self::new(403, "no-tenant", "The token names no customer", detail)
    }

    pub(super) fn unknown_model() -> Self {
        let detail = "there is no model of this name: check the name in the path";
        Self::new(404, "unknown-model", "No such model", detail)
    }

    pub(super) fn no_such_path() -> Self {
        let detail = "the API has no such path: GET /v1/models lists your models, and POST /v1/models/{model}/predictions predicts";
        Self::new(404, "no-such-path", "No such path", detail)
    }

    /// The path is there, and takes other methods.
    pub(super) fn method(allowed: &[&'static str]) -> Self {
        let allow = allowed.join(", ");
        let detail = format!("the path takes {allow}: use that method");
        Self::new(405, "method-not-allowed", "The path takes another method", detail)
            .with_header("allow", allow)
    }

    pub(super) fn not_ready(model: &ModelName) -> Self {
        let detail = format!(
            "model {model} is set up, but nothing serves it yet: wait for its first training run to complete"
        );
        Self::new(409, "not-ready", "The model does not serve yet", detail)
    }

    /// Says that its endpoint was removed since nobody asked it.
    pub(super) fn at_rest(model: &ModelName) -> Self {
        let detail = format!(
            "the endpoint of model {model} was removed because it was not used: ask whoever runs the service to bring it back"
        );
        Self::new(409, "not-ready", "The model does not serve now", detail)
    }

    /// The endpoint kept changing its model under the request.
    pub(super) fn moving() -> Self {
        let detail = "the model is being replaced at this moment: try again";
        Self::new(503, "unavailable", "Not available now", detail).retry_after(2)
    }

    pub(super) fn too_large(detail: impl Into<String>) -> Self {
        Self::new(413, "too-large", "Too much at once", detail)
    }

    pub(super) fn media_type(found: Option<&str>) -> Self {
        let detail = match found {
            Some(found) => {
                format!("{found:?} is not understood: send application/json or text/csv")
            }
            None => "there is no Content-Type: send application/json or text/csv".to_owned(),
        };
        Self::new(
            415,
            "unsupported-media-type",
            "The body's type is not understood",
            shown(&detail),
        )
    }

    /// Gzip that the gateway took for text.
    pub(super) fn packed_text() -> Self {
        let detail = "gzip of this Content-Type comes damaged through the gateway, which takes it for text: send it as application/json+gzip or application/csv+gzip";
        Self::new(415, "unsupported-media-type", "The body is not what was sent", detail)
    }

    pub(super) fn content_coding(found: &str) -> Self {
        let detail = format!("send gzip or no Content-Encoding: {found:?} is not understood");
        let title = "The body's coding is not understood";
        Self::new(415, "unsupported-media-type", title, shown(&detail))
    }

    pub(super) fn not_acceptable() -> Self {
        let detail = "the answer comes as application/json or as text/csv: accept one of them";
        Self::new(406, "not-acceptable", "No form of the answer is accepted", detail)
    }

    pub(super) fn internal(cause: impl ToString) -> Self {
        let detail = "the fault is ours and has been logged: report the request id if it stays";
        Self::new(500, "internal", "Something is broken here", detail).because(cause)
    }

    pub(super) fn timeout() -> Self {
        let detail = "the model did not answer in time: send fewer records, or try again";
        Self::new(504, "timeout", "No answer in time", detail)
    }

    pub(super) fn of_registry(error: RegistryError) -> Self {
        match &error {
            // The token is good, but its customer may not: which of the two it
            // is concerns nobody outside.
            RegistryError::UnknownTenant(_) | RegistryError::Inactive { .. } => {
                let detail = "this customer may not predict now: ask whoever runs the service";
                Self::new(403, "inactive", "The customer is not active", detail).because(error)
            }
            RegistryError::UnknownModel { .. } => Self::unknown_model().because(error),
            RegistryError::Call(call) => Self::of_call(call, Stage::Registry),
            _ => Self::internal(error),
        }
    }

    pub(super) fn of_endpoint(error: InferenceError) -> Self {
        match &error {
            InferenceError::Call(call) => Self::of_call(call, Stage::Endpoint),
            InferenceError::Answer(_) => {
                let detail = "the model's answer is not one prediction for each record: the model's owner finds more in its log";
                Self::new(502, "prediction-invalid", "The model's answer is not usable", detail)
                    .because(error)
            }
            _ => Self::internal(error),
        }
    }

    pub(super) fn of_call(error: &CallError, stage: Stage) -> Self {
        let problem = match (error.code(), error.aws_code()) {
            (_, MODEL_ERROR) => Self::new(
                424,
                "model-error",
                "The model refused the records",
                "the model could not score these records: check that each value is of the kind that the model was trained on",
            ),
            (_, "Timeout") => Self::timeout(),
            (_, "ModelNotReadyException") => {
                Self::throttled("the model is waking up: try again in a moment").retry_after(10)
            }
            (Code::Throttled, _) => {
                Self::throttled("too many requests at a time: slow down and try again")
            }
            (Code::Unavailable, _) => Self::unavailable(),
            (Code::AccessDenied, _) if stage == Stage::Registry => Self::internal(""),
            (Code::AccessDenied, _) => Self::new(
                502,
                "customer-role",
                "The customer's account refused us",
                "the role in the customer's account does not let us predict: redeploy the customer stack",
            ),
            // An endpoint that does not exist is a ValidationError here.
            (Code::RequestInvalid | Code::NotFound, _)
                if stage == Stage::Endpoint && error.names_missing_endpoint() =>
            {
                Self::new(
                    409,
                    "not-ready",
                    "The model does not serve now",
                    "the model's endpoint is gone: train the model again",
                )
            }
            (Code::RequestInvalid | Code::NotFound | Code::Conflict, _)
                if stage == Stage::Endpoint =>
            {
                Self::new(
                    502,
                    "endpoint-refused",
                    "The endpoint refused the request",
                    "the model's endpoint did not take the request: the model's owner finds more in its log",
                )
            }
            _ => Self::internal(""),
        };
        problem.because(error)
    }

    /// The tenant's limits are reached.
    pub(super) fn limited(limits: PredictionLimits, reset_seconds: u64) -> Self {
        let PredictionLimits { calls_per_minute, records_per_minute } = limits;
        let detail = format!(
            "this customer may make {calls_per_minute} calls with {records_per_minute} records a minute: go on when the next minute begins"
        );
        Self::new(429, "limited", "Too many predictions in this minute", detail)
            .retry_after(reset_seconds)
    }

    fn throttled(detail: &str) -> Self {
        Self::new(429, "throttled", "Too many requests", detail).retry_after(2)
    }

    fn unavailable() -> Self {
        let detail = "a service that we depend on did not answer: try again in a moment";
        Self::new(503, "unavailable", "Not available now", detail).retry_after(5)
    }

    /// The document. `path` is what the caller asked for.
    pub(super) fn response(&self, path: &str, request_id: &str) -> HttpResponse {
        let body = json!({
            "type": format!("urn:crosspilot:problem:{}", self.name),
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": path,
            "request_id": request_id,
        });
        let mut headers = BTreeMap::from([("content-type", "application/problem+json".to_owned())]);
        headers.extend(self.headers.iter().cloned());
        HttpResponse {
            status_code: self.status,
            headers,
            body: body.to_string(),
            is_base64_encoded: false,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const ARN: &str = "User: arn:aws:sts::222222222222:assumed-role/x is not authorized";

    fn call(code: Code, aws_code: &str, message: &str) -> CallError {
        CallError::refused(code, "sagemaker:InvokeEndpoint", "e", aws_code, message)
    }

    #[test]
    fn each_failure_has_its_status() {
        for (code, aws_code, message, stage, status) in [
            (Code::RequestInvalid, "ModelError", ARN, Stage::Endpoint, 424),
            (Code::Unavailable, "Timeout", "", Stage::Endpoint, 504),
            (Code::Throttled, "ThrottlingException", "", Stage::Endpoint, 429),
            (Code::Throttled, "ModelNotReadyException", "", Stage::Endpoint, 429),
            (Code::AccessDenied, "AccessDenied", ARN, Stage::Session, 502),
            (Code::AccessDenied, "AccessDeniedException", ARN, Stage::Endpoint, 502),
            (Code::AccessDenied, "AccessDenied", ARN, Stage::Registry, 500),
            (Code::Unavailable, "InternalFailure", "", Stage::Endpoint, 503),
            (
                Code::RequestInvalid,
                "ValidationError",
                "Endpoint e of account 222222222222 not found.",
                Stage::Endpoint,
                409,
            ),
            (Code::RequestInvalid, "ValidationError", "odd", Stage::Endpoint, 502),
        ] {
            let problem = Problem::of_call(&call(code, aws_code, message), stage);
            assert_eq!(problem.status, status, "{aws_code}");
            let body = problem.response("/", "id").body;
            assert!(!body.contains("arn:") && !body.contains("222222222222"), "{body}");
            let waits = problem.response("/", "id").headers.contains_key("retry-after");
            assert_eq!(waits, matches!(status, 429 | 503));
        }
    }

    #[test]
    fn a_problem_is_a_document_with_its_request() {
        let response = Problem::too_large("x").response("/v1/models/churn/predictions", "id-1");
        assert_eq!(response.headers["content-type"], "application/problem+json");
        let body: serde_json::Value = serde_json::from_str(&response.body).unwrap();
        assert_eq!(
            body,
            json!({
                "type": "urn:crosspilot:problem:too-large", "title": "Too much at once", "status": 413,
                "detail": "x", "instance": "/v1/models/churn/predictions", "request_id": "id-1",
            })
        );
    }
}
