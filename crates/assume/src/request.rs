//! The ways in, as one request, and what the state machines ask besides.

use crosspilot_core::ids::TenantId;
use crosspilot_core::registry::Outcome;
use crosspilot_core::run::RunRef;
use crosspilot_intake::{Input, SqsMessage};
use crosspilot_trust::Probed;
use serde::Deserialize;
use serde_json::Value;

/// The request to the function.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Value")]
pub enum Request {
    /// The question whether this run may begin.
    Start(Box<Start>),
    /// The question whether this run may train now.
    Gather(Box<Asking>),
    /// The question what these uploads start.
    Uploads(Vec<SqsMessage>),
    /// The note of how this run ended.
    Note(Box<Note>),
    /// The question whether this tenant's trust holds.
    Verify(TenantId),
    /// The question what a round of probes sees of this tenant.
    Look(TenantId),
    /// The question what follows from all that a round saw.
    Judge(Vec<Probed>),
}

impl TryFrom<Value> for Request {
    type Error = serde_json::Error;

    /// The state machines and the queue compose the request: a key at its top is
    /// never anything that a trigger brought along, which lies under `input` or,
    /// as text, in a message's body.
    fn try_from(value: Value) -> Result<Self, serde_json::Error> {
        if let Some(messages) = value.get("Records") {
            Vec::deserialize(messages).map(Request::Uploads)
        } else if let Some(asking) = value.get("gather") {
            Asking::deserialize(asking).map(|asking| Request::Gather(Box::new(asking)))
        } else if let Some(tenant) = value.get("verify") {
            TenantId::deserialize(tenant).map(Request::Verify)
        } else if let Some(tenant) = value.get("look") {
            TenantId::deserialize(tenant).map(Request::Look)
        } else if let Some(seen) = value.get("judge") {
            Vec::deserialize(seen).map(Request::Judge)
        } else if let Some(note) = value.get("note") {
            Note::deserialize(note).map(|note| Request::Note(Box::new(note)))
        } else {
            Start::deserialize(value).map(|start| Request::Start(Box::new(start)))
        }
    }
}

/// The run that wants to train, and the execution that works on it.
#[derive(Debug, Clone, Deserialize)]
pub struct Asking {
    /// The run.
    pub run: RunRef,
    /// ARN of the execution.
    pub execution: String,
}

/// The state machine's input together with the execution it started.
#[derive(Debug, Clone, Deserialize)]
pub struct Start {
    /// ARN of the execution.
    pub execution: String,
    /// The input that the state machine was started with.
    pub input: Input,
}

/// The note of how an execution ended.
#[derive(Debug, Clone, Deserialize)]
pub struct Note {
    /// The run that it worked on; none if it knows of none.
    pub run: Option<RunRef>,
    /// The input that the execution was started with, from which a run follows that it has
    /// claimed without knowing it: the answer was lost.
    #[serde(default)]
    pub input: Value,
    /// ARN of the execution.
    pub execution: String,
    /// The outcome of the execution.
    pub outcome: Outcome,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_trigger_brings_along_is_never_another_question() {
        let mut event = json!({
            "source": "aws.s3", "account": "222222222222", "time": "2026-01-31T12:00:00Z",
            "detail": {"bucket": {"name": "acme-ml"}, "object": {"key": "crosspilot/churn/train/a.csv"}},
        });
        event["verify"] = "globex".into();
        event["Records"] = json!([]);
        let start = json!({"execution": "arn", "input": event});
        assert!(matches!(serde_json::from_value(start), Ok(Request::Start(_))));
        let batch =
            json!({"Records": [{"messageId": "1", "body": "{}", "eventSource": "aws:sqs"}]});
        assert!(matches!(serde_json::from_value(batch), Ok(Request::Uploads(_))));
        let verify = json!({"verify": "acme"});
        assert!(matches!(serde_json::from_value(verify), Ok(Request::Verify(_))));
        let look = json!({"look": "acme"});
        assert!(matches!(serde_json::from_value(look), Ok(Request::Look(_))));
        let judge = json!({"judge": ["proven", {"refused": "acme"}, "unproven", "skipped"]});
        let Ok(Request::Judge(seen)) = serde_json::from_value(judge) else { panic!("no round") };
        assert_eq!(seen.len(), 4);
        for bad in [
            json!({"verify": "../acme"}),
            json!({"list": "all"}),
            json!({"judge": "x"}),
            json!({}),
            json!([]),
        ] {
            assert!(serde_json::from_value::<Request>(bad.clone()).is_err(), "{bad}");
        }
    }
}
