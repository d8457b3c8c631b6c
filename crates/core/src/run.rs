//! A run: one pass from trigger to serving model, and the names it derives.
//!
//! Every name follows from what started the run, so a handler that runs twice,
//! or is redriven, finds what it made the first time.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::ids::{AccountId, BucketName, ModelName, TenantId};

/// The prefix of every name that Crosspilot creates in a customer's account, so that
/// policies can be narrow and removal complete.
pub const NAME_PREFIX: &str = "crosspilot-";

/// Transform jobs that a run makes at most: a name is taken for good.
pub const SCORING_ATTEMPTS: u8 = 9;

/// Names of the tags on everything that a run creates.
pub const TAGS: [&str; 4] = ["ManagedBy", "TenantId", "Model", "RunId"];

/// The trigger that started a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Trigger {
    /// An object was created in the customer's bucket. All fields but the key
    /// are set by AWS; `account` is the bucket's owner.
    Upload {
        /// The time when S3 saw the object, RFC 3339.
        time: String,
        /// Owner of the bucket.
        account: AccountId,
        /// The bucket.
        bucket: BucketName,
        /// The object's key. Written by the uploader: hostile until parsed.
        key: String,
        /// The object's entity tag.
        #[serde(default)]
        etag: String,
        /// The object's version; empty on unversioned buckets.
        #[serde(default)]
        version_id: String,
        /// The event's sequencer, which orders events of one key.
        #[serde(default)]
        sequencer: String,
    },
    /// A schedule of a tenant's model came due.
    Schedule {
        /// The moment it was due, RFC 3339.
        time: String,
        /// EventBridge Scheduler's own id of this firing.
        execution_id: String,
    },
    /// A person asked.
    Manual {
        /// The time when the person asked, RFC 3339.
        time: String,
        /// The id of the request, which makes repeated ones one run.
        request_id: String,
    },
}

impl Trigger {
    /// The moment it happened, as text.
    pub fn time(&self) -> &str {
        match self {
            Trigger::Upload { time, .. }
            | Trigger::Schedule { time, .. }
            | Trigger::Manual { time, .. } => time,
        }
    }

    /// Gives what stays the same when AWS delivers the same trigger twice.
    fn identity(&self) -> String {
        match self {
            Trigger::Upload { bucket, key, etag, version_id, sequencer, .. } => {
                let version = if version_id.is_empty() {
                    format!("{etag}/{sequencer}")
                } else {
                    version_id.clone()
                };
                format!("upload\n{bucket}\n{key}\n{version}")
            }
            Trigger::Schedule { execution_id, .. } => format!("schedule\n{execution_id}"),
            Trigger::Manual { request_id, .. } => format!("manual\n{request_id}"),
        }
    }
}

/// A trigger that cannot start a run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the trigger's time {time:?} is not an RFC 3339 moment such as 2026-01-31T12:00:00Z")]
pub struct BadTriggerTime {
    time: String,
}

/// Names a run: the day of its trigger and a digest of what makes the trigger
/// itself, such as `20260131-3f9a2c71b0`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(String);

/// Digits of the digest that names of models and configs end in: 40 bits, so that a job name
/// stays within 32 characters. Names live in one account, where two equal ones would need about a
/// million runs of one model.
pub const DIGEST_LENGTH: usize = 10;

impl RunId {
    /// The run that `trigger` starts for this tenant and model.
    pub fn derive(
        tenant: &TenantId,
        model: &ModelName,
        trigger: &Trigger,
    ) -> Result<Self, BadTriggerTime> {
        let bad_time = || BadTriggerTime { time: trigger.time().chars().take(40).collect() };
        let time = OffsetDateTime::parse(trigger.time(), &Rfc3339).map_err(|_| bad_time())?;
        let (year, month, day) = time.to_offset(time::UtcOffset::UTC).to_calendar_date();
        let digest = Sha256::digest(format!("{tenant}\n{model}\n{}", trigger.identity()));
        let digest = &crate::ids::hex(&digest)[..DIGEST_LENGTH];
        Ok(Self(format!("{year:04}{:02}{day:02}-{digest}", u8::from(month))))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn digest(&self) -> &str {
        &self.0[self.0.len() - DIGEST_LENGTH..]
    }
}

impl FromStr for RunId {
    type Err = InvalidRunId;

    fn from_str(value: &str) -> Result<Self, InvalidRunId> {
        let valid = value.split_once('-').is_some_and(|(day, digest)| {
            day.len() == 8
                && day.bytes().all(|b| b.is_ascii_digit())
                && digest.len() == DIGEST_LENGTH
                && digest.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        });
        if valid {
            Ok(Self(value.to_owned()))
        } else {
            Err(InvalidRunId(value.chars().take(80).collect()))
        }
    }
}

/// Text that is not a run id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a run id: a day and ten hexadecimal digits, such as 20260131-3f9a2c71b0")]
pub struct InvalidRunId(String);

impl TryFrom<String> for RunId {
    type Error = InvalidRunId;

    fn try_from(value: String) -> Result<Self, InvalidRunId> {
        value.parse()
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> String {
        id.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A run that a handler works for. Carried through the state machine; all that grants
/// anything (role, external ID, bucket) is looked up in the registry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RunRef {
    /// The tenant whose run it is.
    pub tenant: TenantId,
    /// The tenant's model that the run trains.
    pub model: ModelName,
    /// The run itself.
    pub run_id: RunId,
}

impl RunRef {
    /// Name of the execution that an upload's run is started with at this attempt
    /// (from 1): at most 80 characters. Starting one twice is starting it once.
    pub fn execution_name(&self, attempt: u32) -> String {
        let name = format!("{}-{}-{}", self.tenant, self.model, self.run_id);
        match attempt {
            1 => name,
            later => format!("{name}-{later}"),
        }
    }

    /// Name of the AutoML job: at most 32 characters.
    pub fn job_name(&self) -> String {
        format!("{}{}", job_prefix(&self.model), self.run_id.digest())
    }

    /// Name of the model and of its endpoint config: at most 63 characters.
    pub fn deployment_name(&self) -> String {
        format!("{}-{}", endpoint_name(&self.tenant, &self.model), self.run_id.digest())
    }

    /// Name of the transform job that scores the model on held-out rows, at this
    /// attempt (from 1): a name is taken for good, also by a job that failed.
    pub fn scoring_name(&self, attempt: u8) -> String {
        match attempt {
            1 => self.job_name(),
            later => format!("{}-{later}", self.job_name()),
        }
    }

    /// Name of the production variant, unless it shares its predecessor's: an
    /// endpoint says which variant answered, and so which run's model.
    pub fn variant_name(&self) -> &str {
        self.run_id.as_str()
    }

    /// Name of the endpoint, the same for all runs of a model.
    pub fn endpoint_name(&self) -> String {
        endpoint_name(&self.tenant, &self.model)
    }

    /// The tags on everything the run creates.
    pub fn tags(&self) -> [(&'static str, String); 4] {
        let [managed_by, tenant, model, run] = TAGS;
        [
            (managed_by, "crosspilot".to_owned()),
            (tenant, self.tenant.to_string()),
            (model, self.model.to_string()),
            (run, self.run_id.to_string()),
        ]
    }
}

/// Gives the prefix of the names of a model's jobs.
pub fn job_prefix(model: &ModelName) -> String {
    let model = model.as_str();
    let model = model[..model.len().min(10)].trim_end_matches('-');
    format!("{NAME_PREFIX}{model}-")
}

/// Name of the endpoint that serves a tenant's model.
pub fn endpoint_name(tenant: &TenantId, model: &ModelName) -> String {
    format!("{NAME_PREFIX}{tenant}-{model}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn upload(key: &str, version: &str, time: &str) -> Trigger {
        Trigger::Upload {
            time: time.into(),
            account: "222222222222".parse().unwrap(),
            bucket: "acme-ml".parse().unwrap(),
            key: key.into(),
            etag: "e".into(),
            version_id: version.into(),
            sequencer: "1".into(),
        }
    }

    fn run(trigger: &Trigger) -> RunRef {
        let tenant: TenantId = "acme".parse().unwrap();
        let model: ModelName = "churn".parse().unwrap();
        let run_id = RunId::derive(&tenant, &model, trigger).unwrap();
        RunRef { tenant, model, run_id }
    }

    #[test]
    fn the_same_object_version_is_the_same_run() {
        let first = upload("crosspilot/churn/train/a.csv", "v1", "2026-01-31T12:00:00Z");
        assert_eq!(run(&first), run(&first.clone()));
        let second = upload("crosspilot/churn/train/a.csv", "v2", "2026-01-31T12:00:00Z");
        assert_ne!(run(&first), run(&second));
    }

    #[test]
    fn a_run_id_starts_with_the_day_in_utc() {
        let late = upload("k", "v", "2026-01-31T23:30:00-02:00");
        assert!(run(&late).run_id.as_str().starts_with("20260201-"));
        let error = RunId::derive(
            &"acme".parse().unwrap(),
            &"churn".parse().unwrap(),
            &upload("k", "v", "yesterday"),
        );
        assert!(error.unwrap_err().to_string().contains("\"yesterday\""));
    }

    proptest! {
        #[test]
        fn names_fit_sagemaker(tenant in "[a-z][a-z0-9]{1,18}[a-z0-9]", model in "[a-z]([a-z0-9]|-[a-z0-9]){1,9}", id in "\\PC{0,40}") {
            let tenant: TenantId = tenant.parse().unwrap();
            let model: ModelName = model.parse().unwrap();
            let trigger = Trigger::Manual { time: "2026-01-31T12:00:00Z".into(), request_id: id };
            let run_id = RunId::derive(&tenant, &model, &trigger).unwrap();
            prop_assert_eq!(&run_id.as_str().parse::<RunId>().unwrap(), &run_id);
            let run = RunRef { tenant, model, run_id };
            for (name, limit) in [(run.execution_name(u32::MAX), 80), (run.job_name(), 32), (run.deployment_name(), 63), (run.endpoint_name(), 63)] {
                prop_assert!(name.len() <= limit, "{name}");
                prop_assert!(!name.contains("--") && !name.ends_with('-'), "{name}");
            }
        }
    }
}
