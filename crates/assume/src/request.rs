//! The ways in, as one request, and what the state machines ask besides.

use crosspilot_core::ids::{AccountId, BucketName, ModelName, TenantId};
use crosspilot_core::registry::Outcome;
use crosspilot_core::run::{RunRef, Trigger};
use serde::Deserialize;
use serde_json::Value;

use crosspilot_trust::Seen;

/// What the function is asked.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Value")]
pub enum Request {
    /// May this run begin?
    Start(Box<Start>),
    /// May this run train now?
    Gather(Box<Asking>),
    /// What do these uploads start?
    Uploads(Vec<Message>),
    /// How did this run end?
    Note(Box<Note>),
    /// Does this tenant's trust hold?
    Verify(TenantId),
    /// What does a round of probes see of this tenant?
    Look(TenantId),
    /// What follows from all that a round saw?
    Judge(Vec<Seen>),
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

/// A message of the queue of uploads, as Lambda reads it. Source: Lambda
/// Developer Guide, "Using Lambda with Amazon SQS".
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// Its id, by which it is given back.
    pub message_id: String,
    /// The event, as EventBridge wrote it.
    pub body: String,
}

/// The run that wants to train, and the execution that works on it.
#[derive(Debug, Clone, Deserialize)]
pub struct Asking {
    /// Which run.
    pub run: RunRef,
    /// ARN of the execution.
    pub execution: String,
}

/// The state machine's input together with the execution it started.
#[derive(Debug, Clone, Deserialize)]
pub struct Start {
    /// ARN of the execution.
    pub execution: String,
    /// What the state machine was started with.
    pub input: Input,
}

/// What starts a run.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Input {
    /// An event of Amazon S3, as EventBridge delivers it. It cannot name its
    /// tenant: what else it holds is not even read. An upload that can start no
    /// run comes so, to be refused where operators look; before uploads went
    /// through a queue, all of them did.
    Upload(UploadEvent),
    /// A schedule, a person, or the upload that leads a run. Only the SaaS
    /// account's own principals can say a tenant's name.
    Named {
        /// Whose run it shall be.
        tenant: TenantId,
        /// Which model.
        model: ModelName,
        /// When and why.
        trigger: Trigger,
    },
}

/// The parts of a `Step Functions Execution Status Change` event that count.
/// Source: Step Functions Developer Guide, "Automating event delivery with
/// EventBridge".
#[derive(Debug, Clone, Deserialize)]
pub struct EndedEvent {
    /// `aws.states`.
    #[serde(rename = "source")]
    _source: States,
    detail: EndedDetail,
}

#[derive(Debug, Clone, Copy, Deserialize)]
enum States {
    #[serde(rename = "aws.states")]
    States,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct EndedDetail {
    execution_arn: String,
    /// What it was started with; left out above 248 KiB.
    #[serde(default)]
    input: Option<String>,
}

impl EndedEvent {
    /// ARN of the execution that ended.
    pub(crate) fn execution(&self) -> &str {
        &self.detail.execution_arn
    }

    /// The tenant and model that it worked for; nothing for an execution that only
    /// refused an upload.
    pub(crate) fn of(&self) -> Option<(TenantId, ModelName)> {
        match serde_json::from_str(self.detail.input.as_deref()?).ok()? {
            Input::Named { tenant, model, .. } => Some((tenant, model)),
            Input::Upload(_) => None,
        }
    }
}

/// The parts of an `Object Created` event that count. Its account is the
/// bucket's owner, set by AWS. Source: S3 User Guide, "EventBridge event
/// message structure".
#[derive(Debug, Clone, Deserialize)]
pub struct UploadEvent {
    /// `aws.s3`.
    source: Source,
    account: AccountId,
    time: String,
    detail: UploadDetail,
}

#[derive(Debug, Clone, Copy, Deserialize)]
enum Source {
    #[serde(rename = "aws.s3")]
    S3,
}

#[derive(Debug, Clone, Deserialize)]
struct UploadDetail {
    bucket: Bucket,
    object: Object,
}

#[derive(Debug, Clone, Deserialize)]
struct Bucket {
    name: BucketName,
}

#[derive(Debug, Clone, Deserialize)]
struct Object {
    key: String,
    #[serde(default)]
    size: Option<u64>,
    #[serde(default)]
    etag: String,
    #[serde(default, rename = "version-id")]
    version_id: Option<String>,
    #[serde(default)]
    sequencer: String,
}

impl UploadEvent {
    /// The event as what is kept of it.
    pub(crate) fn trigger(self) -> Trigger {
        let Source::S3 = self.source;
        Trigger::Upload {
            time: self.time,
            account: self.account,
            bucket: self.detail.bucket.name,
            key: self.detail.object.key,
            etag: self.detail.object.etag,
            version_id: self.detail.object.version_id.unwrap_or_default(),
            sequencer: self.detail.object.sequencer,
        }
    }

    /// Whether the object is known to hold nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.detail.object.size == Some(0)
    }

    pub(crate) fn account(&self) -> &AccountId {
        &self.account
    }

    pub(crate) fn bucket(&self) -> &BucketName {
        &self.detail.bucket.name
    }

    pub(crate) fn key(&self) -> &str {
        &self.detail.object.key
    }
}

/// How an execution ended.
#[derive(Debug, Clone, Deserialize)]
pub struct Note {
    /// The run that it worked on; none if it knows of none.
    pub run: Option<RunRef>,
    /// What the execution was started with, from which a run follows that it
    /// has claimed without knowing it: the answer was lost.
    #[serde(default)]
    pub input: Value,
    /// ARN of the execution.
    pub execution: String,
    /// How it ended.
    pub outcome: Outcome,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use serde_json::json;

    fn upload() -> serde_json::Value {
        json!({
            "version": "0", "id": "1", "detail-type": "Object Created", "source": "aws.s3",
            "account": "222222222222", "time": "2026-01-31T12:00:00Z", "region": "us-east-1",
            "resources": ["arn:aws:s3:::acme-ml"],
            "detail": {"version": "0", "bucket": {"name": "acme-ml"},
                       "object": {"key": "crosspilot/churn/train/\"a\".csv", "size": 5, "etag": "e", "sequencer": "1"}},
        })
    }

    #[test]
    fn an_upload_keeps_what_aws_says_of_it() {
        let Ok(Input::Upload(event)) = serde_json::from_value(upload()) else {
            panic!("no upload")
        };
        assert_eq!(event.account().as_str(), "222222222222");
        assert_eq!(event.key(), "crosspilot/churn/train/\"a\".csv");
        let Trigger::Upload { version_id, .. } = event.trigger() else { panic!("no upload") };
        assert_eq!(version_id, "");
    }

    #[test]
    fn an_upload_that_names_a_tenant_is_still_found_by_its_bucket() {
        let mut event = upload();
        event["tenant"] = "globex".into();
        event["model"] = "churn".into();
        event["trigger"] =
            json!({"type": "manual", "time": "2026-01-31T12:00:00Z", "request_id": "r"});
        assert!(matches!(serde_json::from_value(event), Ok(Input::Upload(_))));
    }

    #[test]
    fn what_a_trigger_brings_along_is_never_another_question() {
        let mut event = upload();
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

    #[test]
    fn an_execution_that_ended_names_what_it_worked_for() {
        let input = json!({
            "tenant": "acme", "model": "churn",
            "trigger": {"type": "manual", "time": "2026-01-31T12:00:00Z", "request_id": "r"},
        });
        let mut event = json!({
            "source": "aws.states", "detail-type": "Step Functions Execution Status Change",
            "account": "111111111111", "time": "2026-01-31T12:00:00Z",
            "detail": {"executionArn": "arn:1", "status": "ABORTED", "input": input.to_string(), "cause": null},
        });
        let ended: EndedEvent = serde_json::from_value(event.clone()).unwrap();
        let (tenant, model) = ended.of().unwrap();
        assert_eq!(
            (ended.execution(), tenant.as_str(), model.as_str()),
            ("arn:1", "acme", "churn")
        );
        for input in [upload().to_string().into(), json!(null), json!("{")] {
            event["detail"]["input"] = input;
            assert!(serde_json::from_value::<EndedEvent>(event.clone()).unwrap().of().is_none());
        }
        assert!(serde_json::from_value::<EndedEvent>(upload()).is_err());
    }

    #[test]
    fn a_schedule_names_tenant_and_model() {
        let mut input = json!({
            "tenant": "acme", "model": "churn",
            "trigger": {"type": "schedule", "time": "2026-01-31T12:00:00Z", "execution_id": "r"},
        });
        assert!(matches!(serde_json::from_value(input.clone()), Ok(Input::Named { .. })));
        input["model"] = serde_json::Value::Null;
        assert!(serde_json::from_value::<Input>(input).is_err());
    }
}
