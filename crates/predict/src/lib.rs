//! `predict`: records in, predictions out.
//!
//! Two ways in, told apart by shape. The API sends records of one tenant and
//! gets predictions back; what goes wrong there is an HTTP answer. The state
//! machine has a run's model scored on held-out rows, compared with the champion
//! and, once it serves, asked for a first prediction, reported and promoted; and later
//! has what serves measured on new held-out rows.

use crosspilot_core::decision::Comparison;
use crosspilot_core::lambda::App;
use crosspilot_evaluation::{
    CompareRequest, ConcludeRequest, Concluded, EvaluateRequest, Evaluated, EvaluationError,
    ScoreRequest, Scored,
};
use crosspilot_inference::api::{self, Event, HttpResponse};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The request to the function.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Value")]
pub enum Request {
    /// An API Gateway event: score these records for whoever the token names.
    Api(Box<Event>),
    /// From the state machine.
    Step(RunStep),
}

/// A step of a run.
#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum RunStep {
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

/// The answer of the function.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Response {
    /// To the API, errors included.
    Http(HttpResponse),
    /// The state of the scoring.
    Scored(Scored),
    /// The figures of challenger and champion.
    Compared(Box<Comparison>),
    /// The results of the run.
    Concluded(Box<Concluded>),
    /// The worth of the champion on later rows.
    Evaluated(Evaluated),
}

/// Scores records for the API, or does a run's step.
pub async fn handle(app: App, request: Request) -> Result<Response, EvaluationError> {
    let step = match request {
        Request::Api(event) => return Ok(Response::Http(api::answer(&app, &event).await)),
        Request::Step(step) => step,
    };
    Ok(match step {
        RunStep::Score(request) => {
            Response::Scored(crosspilot_evaluation::score(&app, request).await?)
        }
        RunStep::Compare(request) => {
            Response::Compared(Box::new(crosspilot_evaluation::compare(&app, request).await?))
        }
        RunStep::Evaluate(request) => {
            Response::Evaluated(crosspilot_evaluation::evaluate(&app, request).await?)
        }
        RunStep::Conclude(request) => {
            Response::Concluded(Box::new(crosspilot_evaluation::conclude(&app, *request).await?))
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

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
