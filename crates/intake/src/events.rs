//! The events that start runs or tell of their end, as AWS writes them: a message of
//! the queue, an upload, an execution that ended, and the input of an execution.

use crosspilot_core::ids::{AccountId, BucketName, ModelName, TenantId};
use crosspilot_core::run::Trigger;
use serde::Deserialize;

/// A message of the queue of uploads, as Lambda reads it. Source: Lambda
/// Developer Guide, "Using Lambda with Amazon SQS".
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SqsMessage {
    /// The message's id, by which it is given back.
    pub message_id: String,
    /// The event, as EventBridge wrote it.
    pub body: String,
}

/// The input of an execution that starts a run.
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
        /// The tenant whose run it shall be.
        tenant: TenantId,
        /// The tenant's model.
        model: ModelName,
        /// The trigger: when and why.
        trigger: Trigger,
    },
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

    /// Tells whether the object is known to hold nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.detail.object.size == Some(0)
    }

    pub(crate) fn account(&self) -> &AccountId {
        &self.account
    }

    pub(crate) fn bucket(&self) -> &BucketName {
        &self.detail.bucket.name
    }

    /// The key of the object.
    pub fn key(&self) -> &str {
        &self.detail.object.key
    }
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
    /// The input that the execution was started with; left out above 248 KiB.
    #[serde(default)]
    input: Option<String>,
}

impl EndedEvent {
    /// ARN of the execution that ended.
    pub(crate) fn execution(&self) -> &str {
        &self.detail.execution_arn
    }

    /// Reads what the execution was started with, unless the event leaves it out or it is no
    /// input.
    pub(crate) fn input(&self) -> Option<Input> {
        serde_json::from_str(self.detail.input.as_deref()?).ok()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

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
    fn a_schedule_names_tenant_and_model() {
        let mut input = json!({
            "tenant": "acme", "model": "churn",
            "trigger": {"type": "schedule", "time": "2026-01-31T12:00:00Z", "execution_id": "r"},
        });
        assert!(matches!(serde_json::from_value(input.clone()), Ok(Input::Named { .. })));
        input["model"] = serde_json::Value::Null;
        assert!(serde_json::from_value::<Input>(input).is_err());
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
        let Some(Input::Named { tenant, model, .. }) = ended.input() else { panic!("no name") };
        assert_eq!(
            (ended.execution(), tenant.as_str(), model.as_str()),
            ("arn:1", "acme", "churn")
        );
        for input in [upload().to_string().into(), json!(null), json!("{")] {
            event["detail"]["input"] = input;
            let ended = serde_json::from_value::<EndedEvent>(event.clone()).unwrap();
            assert!(!matches!(ended.input(), Some(Input::Named { .. })));
        }
        assert!(serde_json::from_value::<EndedEvent>(upload()).is_err());
    }
}
