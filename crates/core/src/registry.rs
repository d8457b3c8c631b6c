//! The tenant registry: JSON documents in one S3 bucket of the SaaS account.
//!
//! ```text
//! tenants/<tenant>.json                    the tenant itself
//! claims/buckets/<bucket>.json             which tenant a bucket belongs to
//! claims/roles/<account>/<role>.json       which tenant a role belongs to
//! claims/external-ids/<digest>.json        which tenant an external ID was made for
//! left/claims/roles/<account>/<role>/<digest>.json   the tenant has left: its account is not heard
//! back/claims/roles/<account>/<role>/<digest>.json   it came back after that
//! audit/<tenant>/<time>-<random>.json      who changed the tenant, and how
//! runs/<tenant>/<model>/<run>.json         a run, claimed by one execution
//! gathering/<tenant>/<model>.json          the run that trains, and the one that gathers uploads
//! unsettled/<tenant>/<model>/<run>.json    a run that has begun and is not settled yet
//! serving/<tenant>/<model>.json            the champion that answers, its challenger, its predecessor
//! serving/<tenant>/<model>/own-calls.json  what runs asked its endpoint themselves
//! serving/<tenant>/<model>/trend.json      what champions were worth on later held-out rows
//! usage/<tenant>/<minute>/<process>/<calls>-<records>.json   predictions that a process answered
//! ```
//! Every write is conditional, so two writers never lose each other's change
//! and a doubled event ends as a duplicate.

mod claims;
mod error;
mod gathering;
mod lineup;
mod own_calls;
mod standing;
mod tenants;
mod trend;
mod unsettled;
mod usage;

use std::collections::{BTreeMap, BTreeSet};

use aws_config::SdkConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use crosspilot_table::Booleans;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{CONFLICT, CallError, Code, Coded};
use crate::ids::{AccountId, ModelName, TenantId};
use crate::run::{RunRef, Trigger};
use crate::settings::ModelSettings;
use crate::tenant::Tenant;

pub use error::RegistryError;
pub use lineup::{Lineup, Serving};
pub use own_calls::{OwnCall, OwnCalls, seconds};
pub use standing::Standing;
pub use tenants::{AuditEntry, AuditTrail, Change, active};
pub use trend::{EvaluationId, Measured, Trend};
pub use unsettled::is_abandoned;
pub use usage::{Allowance, SHARE_SECONDS, Usage};

/// Environment variable that names the registry's bucket.
pub const BUCKET_VARIABLE: &str = "REGISTRY_BUCKET";

/// A run as the registry keeps it, longer than Step Functions' 90 days.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The run that the record is about.
    #[serde(flatten)]
    pub run: RunRef,
    /// ARN of the one execution that may work on it.
    pub execution: String,
    /// ARNs of the executions that had it before, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<String>,
    /// The trigger of the run.
    pub trigger: Trigger,
    /// Columns of the training data in order, without the target. Known once
    /// the job has been started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
    /// The spellings of true and false of those features that hold them, by column.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub booleans: BTreeMap<String, Booleans>,
    /// The features that hold numbers.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub numeric: BTreeSet<String>,
    /// The digest of the versions of the training files that were read whole for it. While it
    /// waits for its turn, they are not read again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<String>,
    /// Rows of the training data that were set aside for its evaluation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_aside: Option<u64>,
    /// The request to stop the run, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Stop>,
    /// Requests to stop the run before it was redriven all the same, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overruled: Vec<Stop>,
    /// The outcome of the run, if it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
}

/// The outcome of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Outcome {
    /// The run did what it is for: a better model serves, or the champion stays.
    Completed {
        /// The time of the end, RFC 3339.
        time: String,
        /// The reason why the challenger was deployed or not.
        reason: String,
        /// Name of the best candidate.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        candidate: Option<String>,
        /// Address of the report.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        report: Option<String>,
        /// Differences between what serves and its settings.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        warnings: Vec<String>,
    },
    /// The run ended in the failure path.
    Failed {
        /// The time of the end, RFC 3339.
        time: String,
        /// The stage that failed.
        stage: String,
        /// The error code.
        code: String,
        /// The cause: a sentence.
        cause: String,
    },
}

/// A request to stop a run: its job is stopped in the customer's account and
/// nothing is deployed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// ARN of who asked.
    pub by: String,
    /// The time of the request, RFC 3339.
    pub time: String,
}

/// The answer to an execution that claims a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// The execution may work on the run: it claimed it now or earlier.
    Held,
    /// Another execution has the run.
    Duplicate {
        /// ARN of that execution.
        execution: String,
    },
}

/// The runs of a model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Runs {
    /// Records that can be read, newest day first.
    pub records: Vec<RunRecord>,
    /// Records that cannot be read: the run's id, and what is wrong with its record.
    pub broken: Vec<(String, String)>,
}

/// The registry.
#[derive(Debug, Clone)]
pub struct Registry {
    s3: Client,
    bucket: String,
    /// The account that the bucket is of, as its name says: a name that its owner gave up is
    /// anybody's, and this one can be guessed.
    owner: Option<AccountId>,
    /// The documents that predictions need, kept while the process lives.
    standings: standing::Kept,
    /// The predictions of this minute, as far as this process knows of them.
    usage: usage::Kept,
}

/// A document together with the entity tag that guards its next write.
struct Versioned<T> {
    document: T,
    etag: String,
    /// The time when the document was written, in seconds since 1970.
    modified: i64,
}

/// The result of reading a document with the entity tag of what is known of it.
enum Found<T> {
    /// There is no document.
    Absent,
    /// The document is still the known one.
    Same,
    /// The document as it is now.
    Document(Versioned<T>),
}

/// Tries to write a document that others write too.
const ATTEMPTS: usize = 5;
/// Tries at reading a document: a body that breaks off is not the SDK's to ask
/// for again, and whoever waits for a prediction has nobody else who would.
const READS: usize = 3;
/// S3's answer to who knows a document already.
const NOT_MODIFIED: u16 = 304;

/// The state of the document that a conditional write expects to find.
enum Expect<'a> {
    Nothing,
    Etag(&'a str),
}

impl Registry {
    /// The registry in `bucket`.
    pub fn new(config: &SdkConfig, bucket: impl Into<String>) -> Self {
        let bucket = bucket.into();
        Self {
            s3: Client::new(config),
            owner: owner(&bucket),
            bucket,
            standings: Default::default(),
            usage: Default::default(),
        }
    }

    /// The registry that the function's environment names.
    pub fn from_env(config: &SdkConfig) -> Result<Self, RegistryError> {
        let bucket = std::env::var(BUCKET_VARIABLE).map_err(|_| RegistryError::NoBucket)?;
        Ok(Self::new(config, bucket))
    }

    /// Claims a run for an execution: one conditional write.
    pub async fn claim_run(&self, record: &RunRecord) -> Result<Claim, RegistryError> {
        let key = run_key(&record.run);
        if self.write(&key, record, Expect::Nothing).await? {
            return Ok(Claim::Held);
        }
        // Whoever wrote it is not done yet if it cannot be read.
        let found = self.read::<RunRecord>(&key).await?;
        let found = found.ok_or(RegistryError::Contended(key))?.document;
        Ok(if found.execution == record.execution {
            Claim::Held
        } else {
            Claim::Duplicate { execution: found.execution }
        })
    }

    /// All runs of a model that were claimed, newest day first. A record that
    /// cannot be read hides no other.
    pub async fn runs(
        &self,
        tenant: &TenantId,
        model: &ModelName,
    ) -> Result<Vec<RunRecord>, RegistryError> {
        let Runs { records, broken } = self.all_runs(tenant, model).await?;
        for (run, reason) in broken {
            tracing::warn!(%tenant, %model, run, reason, "a run's record is broken");
        }
        Ok(records)
    }

    /// All runs of a model that were claimed, and by name those whose record cannot be read.
    pub async fn all_runs(
        &self,
        tenant: &TenantId,
        model: &ModelName,
    ) -> Result<Runs, RegistryError> {
        let prefix = format!("runs/{tenant}/{model}/");
        let (mut records, mut broken) = self.all_under(&prefix).await?;
        records.reverse();
        broken.reverse();
        Ok(Runs { records, broken })
    }

    /// All documents under a prefix, by key, and those that cannot be read: their names
    /// below it, with the reason. One of them hides no other.
    async fn all_under<T: DeserializeOwned>(
        &self,
        prefix: &str,
    ) -> Result<(Vec<T>, Vec<(String, String)>), RegistryError> {
        let (mut documents, mut broken) = (Vec::new(), Vec::new());
        for key in self.keys(prefix).await? {
            match self.read(&key).await {
                Ok(found) => documents.extend(found.map(|found| found.document)),
                Err(RegistryError::Broken { key, reason }) => {
                    let name = key.strip_prefix(prefix).unwrap_or(&key);
                    let name = name.strip_suffix(".json").unwrap_or(name);
                    broken.push((name.to_owned(), reason));
                }
                Err(error) => return Err(error),
            }
        }
        Ok((documents, broken))
    }

    /// The run that an earlier request under the same id started, on whichever day.
    pub async fn same_request(&self, run: &RunRef) -> Result<Option<RunRecord>, RegistryError> {
        let prefix = format!("runs/{}/{}/", run.tenant, run.model);
        let end = format!("{}.json", &run.run_id.as_str()["20260131".len()..]);
        let keys = self.keys(&prefix).await?;
        match keys.iter().find(|key| key.ends_with(&end)) {
            Some(key) => Ok(self.read(key).await?.map(|found| found.document)),
            None => Ok(None),
        }
    }

    /// A run that was claimed.
    pub async fn run(&self, run: &RunRef) -> Result<RunRecord, RegistryError> {
        self.find_run(run).await?.ok_or_else(|| RegistryError::Broken {
            key: run_key(run),
            reason: "it is missing although the run has been claimed".into(),
        })
    }

    /// A run, if it was claimed.
    pub async fn find_run(&self, run: &RunRef) -> Result<Option<RunRecord>, RegistryError> {
        Ok(self.read(&run_key(run)).await?.map(|versioned| versioned.document))
    }

    /// Hands a run over from one execution, which has ended, to another. A
    /// request to stop it holds no longer, but stays on record.
    pub async fn hand_over(&self, run: &RunRef, from: &str, to: &str) -> Result<(), RegistryError> {
        let take = |record: &mut RunRecord| {
            if record.execution == from {
                record.earlier.push(std::mem::replace(&mut record.execution, to.to_owned()));
                record.overruled.extend(record.stop.take());
                record.outcome = None;
            }
        };
        // Two operators at once: one of them takes it.
        if self.change_run(run, take).await?.execution == to {
            Ok(())
        } else {
            Err(RegistryError::Contended(run_key(run)))
        }
    }

    /// Changes a run's record, and gives it as it is then. A change that changes
    /// nothing writes nothing.
    pub async fn change_run(
        &self,
        run: &RunRef,
        change: impl Fn(&mut RunRecord),
    ) -> Result<RunRecord, RegistryError> {
        let key = run_key(run);
        for _ in 0..ATTEMPTS {
            let Some(Versioned { mut document, etag, .. }) = self.read::<RunRecord>(&key).await?
            else {
                return Err(RegistryError::Broken {
                    key,
                    reason: "it is missing although the run has been claimed".into(),
                });
            };
            let before = document.clone();
            change(&mut document);
            if document == before || self.write(&key, &document, Expect::Etag(&etag)).await? {
                return Ok(document);
            }
        }
        Err(RegistryError::Contended(key))
    }

    /// Changes a document, which is empty if there is none yet; gives what it is then.
    /// A change that changes nothing writes nothing.
    async fn change<T: Serialize + DeserializeOwned + Default + Clone + PartialEq>(
        &self,
        key: &str,
        change: impl Fn(&mut T),
    ) -> Result<T, RegistryError> {
        for _ in 0..ATTEMPTS {
            let found = self.read::<T>(key).await?;
            let (before, expect) = match &found {
                Some(Versioned { document, etag, .. }) => (document.clone(), Expect::Etag(etag)),
                None => (T::default(), Expect::Nothing),
            };
            let mut after = before.clone();
            change(&mut after);
            if after == before || self.write(key, &after, expect).await? {
                return Ok(after);
            }
        }
        Err(RegistryError::Contended(key.to_owned()))
    }

    async fn read<T: DeserializeOwned>(
        &self,
        key: &str,
    ) -> Result<Option<Versioned<T>>, RegistryError> {
        Ok(match self.read_unless(key, None).await? {
            Found::Document(found) => Some(found),
            Found::Absent | Found::Same => None,
        })
    }

    /// Reads a document unless it is still the one of this entity tag.
    async fn read_unless<T: DeserializeOwned>(
        &self,
        key: &str,
        known: Option<&str>,
    ) -> Result<Found<T>, RegistryError> {
        let mut broken_off = None;
        for _ in 0..READS {
            let get = self.s3.get_object().bucket(&self.bucket).key(key);
            let get = get.set_expected_bucket_owner(self.owner());
            let answer = match get.set_if_none_match(known.map(str::to_owned)).send().await {
                Ok(answer) => answer,
                Err(error) => {
                    if error.raw_response().is_some_and(|raw| raw.status().as_u16() == NOT_MODIFIED)
                    {
                        return Ok(Found::Same);
                    }
                    let error = CallError::new("s3:GetObject", self.address(key), &error);
                    if error.aws_code() == "NoSuchBucket" {
                        return Err(RegistryError::BucketGone(self.bucket.clone()));
                    }
                    let missing = error.code() == Code::NotFound;
                    return if missing { Ok(Found::Absent) } else { Err(error.into()) };
                }
            };
            let etag = answer.e_tag().unwrap_or_default().to_owned();
            let modified = answer.last_modified().map_or(0, |time| time.secs());
            let body = match answer.body.collect().await {
                Ok(body) => body.into_bytes(),
                Err(error) => {
                    broken_off = Some(error);
                    continue;
                }
            };
            let document = serde_json::from_slice(&body).map_err(|e| RegistryError::Broken {
                key: key.to_owned(),
                reason: e.to_string(),
            })?;
            return Ok(Found::Document(Versioned { document, etag, modified }));
        }
        let why = broken_off.map_or_else(String::new, |error| error.to_string());
        Err(CallError::broken_off("s3:GetObject", self.address(key), why).into())
    }

    /// Writes a document if what is there is what was expected; `false` if not.
    async fn write<T: Serialize>(
        &self,
        key: &str,
        document: &T,
        expect: Expect<'_>,
    ) -> Result<bool, RegistryError> {
        let body = serde_json::to_vec_pretty(document)
            .map_err(|e| RegistryError::Broken { key: key.to_owned(), reason: e.to_string() })?;
        for _ in 0..ATTEMPTS {
            let put = self
                .s3
                .put_object()
                .bucket(&self.bucket)
                .key(key)
                .set_expected_bucket_owner(self.owner())
                .content_type("application/json")
                .body(ByteStream::from(body.clone()));
            let put = match expect {
                Expect::Nothing => put.if_none_match("*"),
                Expect::Etag(etag) => put.if_match(etag),
            };
            let Err(error) = put.send().await else { return Ok(true) };
            let error = CallError::new("s3:PutObject", self.address(key), &error);
            match error.aws_code() {
                "PreconditionFailed" => return Ok(false),
                // Another write is under way, and nobody knows yet which of them counts
                // (S3 User Guide, "Conditional writes").
                CONFLICT => {}
                _ => return Err(error.into()),
            }
        }
        Err(RegistryError::Contended(key.to_owned()))
    }

    fn owner(&self) -> Option<String> {
        self.owner.as_ref().map(AccountId::to_string)
    }

    fn address(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.bucket)
    }
}

/// Reads the account in the name of a registry's bucket, as infra/saas.yaml gives it:
/// `crosspilot-registry-<account>-<region>`.
fn owner(bucket: &str) -> Option<AccountId> {
    bucket.strip_prefix("crosspilot-registry-")?.split('-').next()?.parse().ok()
}

/// The settings of one of the tenant's models.
pub fn model_settings<'a>(
    tenant: &'a Tenant,
    model: &ModelName,
) -> Result<&'a ModelSettings, RegistryError> {
    tenant.models.get(model).ok_or_else(|| RegistryError::UnknownModel {
        tenant: tenant.tenant.clone(),
        model: model.clone(),
    })
}

fn run_key(run: &RunRef) -> String {
    format!("runs/{}/{}/{}.json", run.tenant, run.model, run.run_id)
}
