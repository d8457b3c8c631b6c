//! Errors of the registry.

use crate::error::{CallError, Code, Coded};
use crate::ids::{AccountId, BucketName, ModelName, TenantId};
use crate::registry::BUCKET_VARIABLE;
use crate::tenant::{TenantInvalid, TenantStatus};

/// An error of the registry.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The function was deployed without its bucket.
    #[error(
        "environment variable {BUCKET_VARIABLE} is not set: deploy the function through infra/saas.yaml"
    )]
    NoBucket,
    /// There is no such bucket.
    #[error(
        "there is no bucket {0}, in which the tenant registry should be: see {BUCKET_VARIABLE} of the functions and the outputs of infra/saas.yaml"
    )]
    BucketGone(String),
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
        /// The tenant's status.
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
        /// The fault of the document.
        reason: String,
    },
    /// Something is claimed by another tenant.
    #[error(
        "{what} belongs to tenant {owner} already, and serves one tenant only: an AWS account is one tenant, in one region, with a bucket of its own"
    )]
    Taken {
        /// A bucket, a role or an external ID, in words.
        what: String,
        /// The tenant that has it.
        owner: TenantId,
    },
    /// Something is claimed by a tenant whose registration has not ended.
    #[error(
        "{what} is being registered for tenant {owner}, which is not there yet: end that with the same `crosspilot tenant add {owner}`; if nobody does, it can be had by others after an hour"
    )]
    Unfinished {
        /// A bucket, a role or an external ID, in words.
        what: String,
        /// The tenant that is being registered.
        owner: TenantId,
    },
    /// The tenant was removed.
    #[error(
        "tenant {0} was removed; its id, role and bucket are nobody else's: take it up again with crosspilot tenant readmit {0}"
    )]
    Gone(TenantId),
    /// A tenant cannot go from one status to the other.
    #[error("tenant {tenant} is {} and cannot become {}{}", from.as_str(), to.as_str(), ways(*from))]
    Transition {
        /// The tenant, which stays as it was.
        tenant: TenantId,
        /// The tenant's status.
        from: TenantStatus,
        /// The status that was asked for.
        to: TenantStatus,
    },
    /// A value that a tenant cannot have; nothing was written.
    #[error("tenant {tenant} stays as it was: {reason}")]
    Unsound {
        /// The tenant.
        tenant: TenantId,
        /// The fault of the value.
        reason: TenantInvalid,
    },
    /// The system gave no clock or no random bytes.
    #[error("the system gave no {0}; nothing was written")]
    System(&'static str),
    /// The tenant exists already and is another than was asked for.
    #[error(
        "tenant {tenant} exists already, with another {what}: show it with `crosspilot tenant show {tenant}`, change what can be changed with `crosspilot tenant set`, or choose another id"
    )]
    Differs {
        /// The tenant, which stays as it was.
        tenant: TenantId,
        /// The difference, in words.
        what: String,
    },
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
            RegistryError::NoBucket | RegistryError::BucketGone(_) => Code::Internal,
            RegistryError::UnknownTenant(_) | RegistryError::UnknownBucket { .. } => {
                Code::TenantUnknown
            }
            RegistryError::Inactive { .. } | RegistryError::Gone(_) => Code::TenantInactive,
            RegistryError::Transition { .. } => Code::TransitionRefused,
            RegistryError::Unsound { .. } => Code::TenantInvalid,
            RegistryError::System(_) => Code::Internal,
            RegistryError::UnknownModel { .. } => Code::ModelUnknown,
            RegistryError::Broken { .. } => Code::RegistryBroken,
            RegistryError::Taken { .. }
            | RegistryError::Unfinished { .. }
            | RegistryError::Differs { .. } => Code::Conflict,
            RegistryError::Contended(_) => Code::Throttled,
            RegistryError::Call(error) => error.code(),
        }
    }
}

/// Lists what the tenant could become instead, for a sentence.
fn ways(from: TenantStatus) -> String {
    let ways: Vec<&str> = from.next().iter().map(|next| next.as_str()).collect();
    match ways.as_slice() {
        [] => String::new(),
        ways => format!("; it can become {}", ways.join(" or ")),
    }
}
