//! `predict`: records in, predictions out.
//!
//! Two ways in, told apart by shape. The API sends records of one tenant and
//! gets predictions back; what goes wrong there is an HTTP answer. The state
//! machine sends a run whose endpoint is in service; held-out rows are scored,
//! evaluated and reported, and the model becomes the champion.

mod answer;
mod api;
mod data;
mod endpoint;
mod evaluation;
mod python;
mod report;
mod run;
mod table;

use crosspilot_core::error::{CallError, Code, Coded};
use crosspilot_core::lambda::App;
use crosspilot_core::registry::RegistryError;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use answer::{AnswerInvalid, Prediction};
pub use api::{Event, HttpResponse};
pub use evaluation::Summary;
pub use run::{RunRequest, RunResponse, Sample, Score, Verdict};
pub use table::Unfit;

/// What the function is asked for.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Value")]
pub enum Request {
    /// An API Gateway event: score these records for whoever the token names.
    Api(Box<Event>),
    /// From the state machine: score a run's held-out rows.
    Run(Box<RunRequest>),
}

impl TryFrom<Value> for Request {
    type Error = serde_json::Error;

    /// Whatever has a request context came through API Gateway, whatever else
    /// it has: a caller can never pass for the state machine.
    fn try_from(value: Value) -> Result<Self, serde_json::Error> {
        Ok(if value.get("requestContext").is_some() {
            Request::Api(serde_json::from_value(value)?)
        } else {
            Request::Run(serde_json::from_value(value)?)
        })
    }
}

/// What the function answers.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Response {
    /// To the API, errors included.
    Http(HttpResponse),
    /// To the state machine.
    Run(Box<RunResponse>),
}

/// Why a run's rows could not be scored. The API's errors are answers instead.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The held-out file cannot be used.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// The endpoint's answer is not predictions.
    #[error(transparent)]
    Answer(#[from] AnswerInvalid),
    /// The run never noted its columns.
    #[error(
        "run {run} of model {model} has no columns on record: start-job notes them; start the run again"
    )]
    NoFeatures {
        /// The run.
        run: String,
        /// Its model.
        model: String,
    },
    /// Results that cannot be written down.
    #[error("the {what} could not be composed: {reason}; this is a fault in Crosspilot, report it")]
    Compose {
        /// Which result.
        what: &'static str,
        /// What failed.
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
            Error::Unfit(_) => Code::DataUnfit,
            Error::Answer(_) => Code::PredictionInvalid,
            Error::NoFeatures { .. } => Code::RegistryBroken,
            Error::Compose { .. } => Code::Internal,
            Error::Registry(error) => error.code(),
            Error::Call(error) => error.code(),
        }
    }
}

/// Scores records for the API, or held-out rows for a run.
pub async fn handle(app: App, request: Request) -> Result<Response, Error> {
    match request {
        Request::Api(event) => Ok(Response::Http(api::answer(&app, &event).await)),
        Request::Run(request) => Ok(Response::Run(Box::new(run::score(&app, *request).await?))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use serde_json::json;

    fn run() -> Value {
        json!({
            "run": {"tenant": "acme", "model": "churn", "run_id": "20260131-0123456789"},
            "candidate": "c", "job": "j", "endpoint": "e",
        })
    }

    #[test]
    fn an_event_with_a_request_context_is_never_a_run() {
        assert!(matches!(serde_json::from_value(run()).unwrap(), Request::Run(_)));
        let mut disguised = run();
        disguised["requestContext"] = json!({});
        assert!(matches!(serde_json::from_value(disguised).unwrap(), Request::Api(_)));
    }

    #[test]
    fn anything_else_is_an_error() {
        for value in [json!({}), json!([]), json!("x"), json!({"run": {"tenant": "../x"}})] {
            assert!(serde_json::from_value::<Request>(value).is_err());
        }
    }
}
