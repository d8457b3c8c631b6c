//! `predict`: records in, predictions out.
//!
//! Two ways in, told apart by shape. The API sends records of one tenant and
//! gets predictions back; what goes wrong there is an HTTP answer. The state
//! machine has a run's model scored on held-out rows, compared with the champion
//! and, once it serves, asked for a first prediction, reported and promoted; and later
//! has what serves measured on new held-out rows.

mod answer;
mod api;
mod comparison;
mod conclude;
mod data;
mod endpoint;
mod evaluate;
mod evaluation;
mod insights;
mod python;
mod report;
mod results;
mod scoring;
mod table;

use crosspilot_core::decision::Comparison;
use crosspilot_core::error::{CallError, Code, Coded};
use crosspilot_core::lambda::App;
use crosspilot_core::registry::{RegistryError, Stop};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use answer::{AnswerInvalid, Prediction};
pub use api::{Event, HttpResponse};
pub use comparison::CompareRequest;
pub use conclude::{ConcludeRequest, Concluded};
pub use evaluate::{EvaluateRequest, Evaluated, Told};
pub use evaluation::Summary;
pub use scoring::{INSTANCE as SCORING_INSTANCE, ScoreRequest, Scored};
pub use table::Unfit;

/// What the function is asked for.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Value")]
pub enum Request {
    /// An API Gateway event: score these records for whoever the token names.
    Api(Box<Event>),
    /// From the state machine.
    Step(Step),
}

/// A step of a run.
#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Step {
    /// Have the model scored on the held-out rows.
    Score(ScoreRequest),
    /// Measure it and the champion on them.
    Compare(CompareRequest),
    /// Make a first prediction, write the results, promote.
    Conclude(Box<ConcludeRequest>),
    /// Measure the champion on held-out rows that came while it serves.
    Evaluate(EvaluateRequest),
}

impl TryFrom<Value> for Request {
    type Error = serde_json::Error;

    /// Whatever has a request context came through API Gateway, whatever else
    /// it has: a caller can never pass for the state machine.
    fn try_from(value: Value) -> Result<Self, serde_json::Error> {
        Ok(if value.get("requestContext").is_some() {
            Request::Api(serde_json::from_value(value)?)
        } else {
            Request::Step(serde_json::from_value(value)?)
        })
    }
}

/// What the function answers.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Response {
    /// To the API, errors included.
    Http(HttpResponse),
    /// How far the scoring is.
    Scored(Scored),
    /// The figures of challenger and champion.
    Compared(Box<Comparison>),
    /// What the run leaves.
    Concluded(Box<Concluded>),
    /// What the champion is worth on later rows.
    Evaluated(Evaluated),
}

/// Why a run's step did not succeed. The API's errors are answers instead.
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
    /// A transform job of the run's name exists but is not the run's.
    #[error(
        "transform job {job} exists already with another {what}; it is not this run's: wait for a run of another name"
    )]
    Foreign {
        /// The job.
        job: String,
        /// What differs.
        what: &'static str,
    },
    /// The model was deployed, but does not answer as it should.
    #[error(
        "endpoint {endpoint} is in service but fails its first prediction: {problem}; it goes back to what served before"
    )]
    Smoke {
        /// The endpoint.
        endpoint: String,
        /// What is wrong.
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
            Error::Foreign { .. } | Error::Overtaken => Code::Conflict,
            Error::Stopped(_) => Code::RunStopped,
            Error::Smoke { .. } => Code::PredictionInvalid,
            Error::Compose { .. } => Code::Internal,
            Error::Registry(error) => error.code(),
            Error::Call(error) => error.code(),
        }
    }
}

/// Scores records for the API, or does a run's step.
pub async fn handle(app: App, request: Request) -> Result<Response, Error> {
    let step = match request {
        Request::Api(event) => return Ok(Response::Http(api::answer(&app, &event).await)),
        Request::Step(step) => step,
    };
    Ok(match step {
        Step::Score(request) => Response::Scored(scoring::score(&app, request).await?),
        Step::Compare(request) => {
            Response::Compared(Box::new(comparison::compare(&app, request).await?))
        }
        Step::Evaluate(request) => Response::Evaluated(evaluate::evaluate(&app, request).await?),
        Step::Conclude(request) => {
            Response::Concluded(Box::new(conclude::conclude(&app, *request).await?))
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use serde_json::json;

    fn run() -> Value {
        json!({
            "do": "score", "model": "m",
            "run": {"tenant": "acme", "model": "churn", "run_id": "20260131-0123456789"},
        })
    }

    #[test]
    fn an_event_with_a_request_context_is_never_a_run() {
        assert!(matches!(serde_json::from_value(run()).unwrap(), Request::Step(_)));
        let mut disguised = run();
        disguised["requestContext"] = json!({});
        assert!(matches!(serde_json::from_value(disguised).unwrap(), Request::Api(_)));
    }

    #[test]
    fn anything_else_is_an_error() {
        for value in [
            json!({}),
            json!([]),
            json!("x"),
            json!({"do": "score", "model": "m", "run": {"tenant": "../x"}}),
        ] {
            assert!(serde_json::from_value::<Request>(value).is_err());
        }
    }
}
