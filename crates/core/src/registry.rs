//! The tenant registry: JSON documents in one S3 bucket of the SaaS account.
//!
//! ```text
//! tenants/<tenant>.json                    the tenant itself
//! claims/buckets/<account>/<bucket>.json   which tenant a bucket belongs to
//! claims/roles/<account>/<role>.json       which tenant a role belongs to
//! runs/<tenant>/<model>/<run>.json         a run, claimed by one execution
//! serving/<tenant>/<model>.json            the champion that answers predictions
//! ```
//! Every write is conditional, so two writers never lose each other's change
//! and a doubled event ends as a duplicate.

use aws_config::SdkConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{CallError, Code, Coded};
use crate::ids::{AccountId, BucketName, ModelName, TenantId};
use crate::run::{RunRef, Trigger};
use crate::tenant::{ModelSettings, Tenant, TenantStatus};

/// Environment variable that names the registry's bucket.
pub const BUCKET_VARIABLE: &str = "REGISTRY_BUCKET";

/// Why the registry did not answer as hoped.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The function was deployed without its bucket.
    #[error(
        "environment variable {BUCKET_VARIABLE} is not set: deploy the function through infra/saas.yaml"
    )]
    NoBucket,
    /// No such tenant.
    #[error("there is no tenant {0}: register it with `crosspilot tenant add`")]
    UnknownTenant(TenantId),
    /// No tenant owns this bucket.
    #[error(
        "bucket {bucket} of account {account} belongs to no tenant: register it with `crosspilot tenant add`"
    )]
    UnknownBucket {
        /// Owner of the bucket, as AWS says.
        account: AccountId,
        /// The bucket.
        bucket: BucketName,
    },
    /// The tenant may not run or predict now.
    #[error("tenant {tenant} is {}; only an active tenant runs and predicts", status.as_str())]
    Inactive {
        /// The tenant.
        tenant: TenantId,
        /// Its status.
        status: TenantStatus,
    },
    /// The tenant has no such model.
    #[error(
        "tenant {tenant} has no model {model}: set it up with `crosspilot tenant model set {tenant} {model}`"
    )]
    UnknownModel {
        /// The tenant.
        tenant: TenantId,
        /// The model asked for.
        model: ModelName,
    },
    /// A document that is not what it should be.
    #[error(
        "registry document {key} is broken: {reason}; restore an earlier version of it in the registry bucket"
    )]
    Broken {
        /// The document.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Something is claimed by another tenant.
    #[error("{what} belongs to tenant {owner} already; one {what} serves one tenant only")]
    Taken {
        /// A bucket or a role, in words.
        what: String,
        /// Who has it.
        owner: TenantId,
    },
    /// The tenant exists already.
    #[error("tenant {0} exists already; show it with `crosspilot tenant show {0}`")]
    Exists(TenantId),
    /// Others kept changing the document.
    #[error("document {0} kept changing under this write; try again")]
    Contended(String),
    /// S3 refused or failed.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl Coded for RegistryError {
    fn code(&self) -> Code {
        match self {
            RegistryError::NoBucket => Code::Internal,
            RegistryError::UnknownTenant(_) | RegistryError::UnknownBucket { .. } => {
                Code::TenantUnknown
            }
            RegistryError::Inactive { .. } => Code::TenantInactive,
            RegistryError::UnknownModel { .. } => Code::ModelUnknown,
            RegistryError::Broken { .. } => Code::RegistryBroken,
            RegistryError::Taken { .. } | RegistryError::Exists(_) => Code::Conflict,
            RegistryError::Contended(_) => Code::Throttled,
            RegistryError::Call(error) => error.code(),
        }
    }
}

/// A run as the registry keeps it, longer than Step Functions' 90 days.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Which run.
    #[serde(flatten)]
    pub run: RunRef,
    /// ARN of the one execution that may work on it.
    pub execution: String,
    /// What started it.
    pub trigger: Trigger,
    /// Columns of the training data in order, without the target. Known once
    /// the job has been started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
}

/// Whether an execution may work on a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// It may: it claimed the run now or earlier.
    Held,
    /// Another execution has it.
    Duplicate {
        /// ARN of that execution.
        execution: String,
    },
}

/// The champion: what answers predictions for a model now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Serving {
    /// The run that made it; also the version that answers carry.
    #[serde(flatten)]
    pub run: RunRef,
    /// Name of the AutoML job.
    pub job: String,
    /// Name of the candidate.
    pub candidate: String,
    /// Name of the endpoint.
    pub endpoint: String,
    /// Name of the objective metric, exactly as SageMaker gave it.
    pub metric: Option<String>,
    /// Its value on the validation data, in the metric's own unit.
    pub value: Option<f64>,
    /// Columns that a prediction takes, in order.
    pub features: Vec<String>,
    /// The column that is predicted.
    pub target: String,
}

/// The registry.
#[derive(Debug, Clone)]
pub struct Registry {
    s3: Client,
    bucket: String,
}

/// A document together with the entity tag that guards its next write.
struct Versioned<T> {
    document: T,
    etag: String,
}

/// What a conditional write expects to find.
enum Expect<'a> {
    Nothing,
    Etag(&'a str),
}

impl Registry {
    /// The registry in `bucket`.
    pub fn new(config: &SdkConfig, bucket: impl Into<String>) -> Self {
        Self { s3: Client::new(config), bucket: bucket.into() }
    }

    /// The registry that the function's environment names.
    pub fn from_env(config: &SdkConfig) -> Result<Self, RegistryError> {
        let bucket = std::env::var(BUCKET_VARIABLE).map_err(|_| RegistryError::NoBucket)?;
        Ok(Self::new(config, bucket))
    }

    /// A tenant, whatever its status.
    pub async fn tenant(&self, id: &TenantId) -> Result<Tenant, RegistryError> {
        Ok(self.versioned_tenant(id).await?.document)
    }

    /// A tenant that may run and predict.
    pub async fn active_tenant(&self, id: &TenantId) -> Result<Tenant, RegistryError> {
        let tenant = self.tenant(id).await?;
        match tenant.status {
            TenantStatus::Active => Ok(tenant),
            status => Err(RegistryError::Inactive { tenant: id.clone(), status }),
        }
    }

    /// The tenant that owns a bucket. This is how an upload finds its tenant:
    /// by what AWS says of the event, never by what the uploader wrote.
    pub async fn tenant_of_bucket(
        &self,
        account: &AccountId,
        bucket: &BucketName,
    ) -> Result<TenantId, RegistryError> {
        let claim: Option<Versioned<Owner>> = self.read(&bucket_claim(account, bucket)).await?;
        claim.map(|claim| claim.document.tenant).ok_or_else(|| RegistryError::UnknownBucket {
            account: account.clone(),
            bucket: bucket.clone(),
        })
    }

    /// Ids of all tenants, in alphabetical order.
    pub async fn tenants(&self) -> Result<Vec<TenantId>, RegistryError> {
        let id = |key: &String| key.strip_prefix("tenants/")?.strip_suffix(".json")?.parse().ok();
        Ok(self.keys("tenants/").await?.iter().filter_map(id).collect())
    }

    /// Keys under a prefix, in S3's own order.
    async fn keys(&self, prefix: &str) -> Result<Vec<String>, RegistryError> {
        let mut keys = Vec::new();
        let list = self.s3.list_objects_v2().bucket(&self.bucket).prefix(prefix);
        let mut pages = list.into_paginator().send();
        while let Some(page) = pages.next().await {
            let page =
                page.map_err(|e| CallError::new("s3:ListBucket", self.address(prefix), &e))?;
            keys.extend(page.contents().iter().filter_map(|object| Some(object.key()?.to_owned())));
        }
        Ok(keys)
    }

    /// Adds a tenant and claims its role and its bucket for it.
    pub async fn add_tenant(&self, tenant: &Tenant) -> Result<(), RegistryError> {
        let key = tenant_key(&tenant.tenant);
        tenant
            .validate()
            .map_err(|e| RegistryError::Broken { key: key.clone(), reason: e.to_string() })?;
        let role = tenant.role_arn.as_str().rsplit('/').next().unwrap_or_default();
        self.claim(
            &format!("claims/roles/{}/{role}.json", tenant.account),
            &format!("role {}", tenant.role_arn),
            &tenant.tenant,
        )
        .await?;
        self.claim(
            &bucket_claim(&tenant.account, &tenant.bucket),
            &format!("bucket {}", tenant.bucket),
            &tenant.tenant,
        )
        .await?;
        if self.write(&key, tenant, Expect::Nothing).await? {
            Ok(())
        } else {
            Err(RegistryError::Exists(tenant.tenant.clone()))
        }
    }

    /// Changes a tenant. `change` may run more than once when others write too.
    pub async fn change_tenant(
        &self,
        id: &TenantId,
        change: impl Fn(&mut Tenant),
    ) -> Result<Tenant, RegistryError> {
        let key = tenant_key(id);
        for _ in 0..5 {
            let Versioned { mut document, etag } = self.versioned_tenant(id).await?;
            change(&mut document);
            document
                .validate()
                .map_err(|e| RegistryError::Broken { key: key.clone(), reason: e.to_string() })?;
            if self.write(&key, &document, Expect::Etag(&etag)).await? {
                return Ok(document);
            }
        }
        Err(RegistryError::Contended(key))
    }

    /// Claims a run for an execution: one conditional write.
    pub async fn claim_run(&self, record: &RunRecord) -> Result<Claim, RegistryError> {
        let key = run_key(&record.run);
        if self.write(&key, record, Expect::Nothing).await? {
            return Ok(Claim::Held);
        }
        let found = self.run(&record.run).await?;
        Ok(if found.execution == record.execution {
            Claim::Held
        } else {
            Claim::Duplicate { execution: found.execution }
        })
    }

    /// All runs of a model that were claimed, newest day first.
    pub async fn runs(
        &self,
        tenant: &TenantId,
        model: &ModelName,
    ) -> Result<Vec<RunRecord>, RegistryError> {
        let prefix = format!("runs/{tenant}/{model}/");
        let mut keys = self.keys(&prefix).await?;
        keys.reverse();
        let mut runs = Vec::new();
        for key in keys {
            if let Some(found) = self.read(&key).await? {
                runs.push(found.document);
            }
        }
        Ok(runs)
    }

    /// A run that was claimed.
    pub async fn run(&self, run: &RunRef) -> Result<RunRecord, RegistryError> {
        let key = run_key(run);
        let found = self.read(&key).await?;
        found.map(|versioned| versioned.document).ok_or(RegistryError::Broken {
            key,
            reason: "it is missing although the run has been claimed".into(),
        })
    }

    /// Notes which columns a run trains on.
    pub async fn note_features(
        &self,
        run: &RunRef,
        features: &[String],
    ) -> Result<(), RegistryError> {
        let key = run_key(run);
        for _ in 0..5 {
            let Some(Versioned { mut document, etag }) = self.read::<RunRecord>(&key).await? else {
                break;
            };
            if document.features == features {
                return Ok(());
            }
            document.features = features.to_vec();
            if self.write(&key, &document, Expect::Etag(&etag)).await? {
                return Ok(());
            }
        }
        Err(RegistryError::Contended(key))
    }

    /// The champion of a model, if one serves.
    pub async fn serving(
        &self,
        tenant: &TenantId,
        model: &ModelName,
    ) -> Result<Option<Serving>, RegistryError> {
        let found = self.read(&serving_key(tenant, model)).await?;
        Ok(found.map(|versioned| versioned.document))
    }

    /// Makes `serving` the champion of its model.
    pub async fn promote(&self, serving: &Serving) -> Result<(), RegistryError> {
        let key = serving_key(&serving.run.tenant, &serving.run.model);
        for _ in 0..5 {
            let current = self.read::<Serving>(&key).await?;
            let expect = match &current {
                Some(versioned) => Expect::Etag(&versioned.etag),
                None => Expect::Nothing,
            };
            if self.write(&key, serving, expect).await? {
                return Ok(());
            }
        }
        Err(RegistryError::Contended(key))
    }

    async fn versioned_tenant(&self, id: &TenantId) -> Result<Versioned<Tenant>, RegistryError> {
        let key = tenant_key(id);
        let found: Versioned<Tenant> =
            self.read(&key).await?.ok_or_else(|| RegistryError::UnknownTenant(id.clone()))?;
        let broken = |reason: String| RegistryError::Broken { key: key.clone(), reason };
        found.document.validate().map_err(|e| broken(e.to_string()))?;
        if found.document.tenant == *id {
            Ok(found)
        } else {
            Err(broken(format!("it is about tenant {}", found.document.tenant)))
        }
    }

    async fn claim(&self, key: &str, what: &str, tenant: &TenantId) -> Result<(), RegistryError> {
        let owner = Owner { tenant: tenant.clone() };
        if self.write(key, &owner, Expect::Nothing).await? {
            return Ok(());
        }
        match self.read::<Owner>(key).await? {
            Some(found) if found.document.tenant == *tenant => Ok(()),
            Some(found) => {
                Err(RegistryError::Taken { what: what.to_owned(), owner: found.document.tenant })
            }
            None => Err(RegistryError::Contended(key.to_owned())),
        }
    }

    async fn read<T: DeserializeOwned>(
        &self,
        key: &str,
    ) -> Result<Option<Versioned<T>>, RegistryError> {
        let answer = self.s3.get_object().bucket(&self.bucket).key(key).send().await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                let error = CallError::new("s3:GetObject", self.address(key), &error);
                return if error.code() == Code::NotFound { Ok(None) } else { Err(error.into()) };
            }
        };
        let etag = answer.e_tag().unwrap_or_default().to_owned();
        let broken = |reason: String| RegistryError::Broken { key: key.to_owned(), reason };
        let body = answer.body.collect().await.map_err(|e| broken(e.to_string()))?.into_bytes();
        let document = serde_json::from_slice(&body).map_err(|e| broken(e.to_string()))?;
        Ok(Some(Versioned { document, etag }))
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
        let put = self
            .s3
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .content_type("application/json")
            .body(ByteStream::from(body));
        let put = match expect {
            Expect::Nothing => put.if_none_match("*"),
            Expect::Etag(etag) => put.if_match(etag),
        };
        match put.send().await {
            Ok(_) => Ok(true),
            Err(error) => {
                let error = CallError::new("s3:PutObject", self.address(key), &error);
                match error.aws_code() {
                    "PreconditionFailed" | "ConditionalRequestConflict" => Ok(false),
                    _ => Err(error.into()),
                }
            }
        }
    }

    fn address(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.bucket)
    }
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

#[derive(Debug, Serialize, Deserialize)]
struct Owner {
    tenant: TenantId,
}

fn tenant_key(id: &TenantId) -> String {
    format!("tenants/{id}.json")
}

fn bucket_claim(account: &AccountId, bucket: &BucketName) -> String {
    format!("claims/buckets/{account}/{bucket}.json")
}

fn run_key(run: &RunRef) -> String {
    format!("runs/{}/{}/{}.json", run.tenant, run.model, run.run_id)
}

fn serving_key(tenant: &TenantId, model: &ModelName) -> String {
    format!("serving/{tenant}/{model}.json")
}
