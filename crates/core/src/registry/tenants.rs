//! Tenants in the registry: who they are, what is theirs alone, and who changed
//! them.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Expect, Registry, RegistryError, Versioned};
use crate::error::CallError;
use crate::ids::{AccountId, BucketName, TenantId};
use crate::listing::Listing;
use crate::tenant::{Tenant, TenantStatus};

/// Who changes a tenant, and what for.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// ARN of who asks, as STS knows it.
    pub by: &'a str,
    /// What is done, such as `set model churn`.
    pub action: &'a str,
}

/// One entry of a tenant's audit trail. It is written before the change, so
/// that no change goes without one; an entry whose `replaces` the registry
/// bucket never had as a version lost a race and changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditEntry {
    /// When, RFC 3339 in UTC.
    pub time: String,
    /// ARN of who asked.
    pub by: String,
    /// What was done.
    pub action: String,
    /// The tenant's status before; none for a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<TenantStatus>,
    /// The tenant's status afterwards.
    pub to: TenantStatus,
    /// Entity tag of the document that the change replaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
}

/// Whom something belongs to.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Owner {
    tenant: TenantId,
}

impl Registry {
    /// A tenant, whatever its status.
    pub async fn tenant(&self, id: &TenantId) -> Result<Tenant, RegistryError> {
        Ok(self.versioned_tenant(id).await?.document)
    }

    /// A tenant that may run and predict.
    pub async fn active_tenant(&self, id: &TenantId) -> Result<Tenant, RegistryError> {
        active(self.tenant(id).await?)
    }

    /// The tenant that owns a bucket. This is how an upload finds its tenant:
    /// by what AWS says of the event, never by what the uploader wrote.
    pub async fn tenant_of_bucket(
        &self,
        account: &AccountId,
        bucket: &BucketName,
    ) -> Result<Tenant, RegistryError> {
        let key = bucket_claim(account, bucket);
        let claim = self.read::<Owner>(&key).await?;
        let id = claim.map(|claim| claim.document.tenant).ok_or_else(|| {
            RegistryError::UnknownBucket { account: account.clone(), bucket: bucket.clone() }
        })?;
        let tenant = self.tenant(&id).await?;
        if tenant.account == *account && tenant.bucket == *bucket {
            Ok(tenant)
        } else {
            let reason = format!("it names tenant {id}, which has another account or bucket");
            Err(RegistryError::Broken { key, reason })
        }
    }

    /// Ids of all tenants, in alphabetical order.
    pub async fn tenants(&self) -> Result<Vec<TenantId>, RegistryError> {
        let id = |key: &String| key.strip_prefix("tenants/")?.strip_suffix(".json")?.parse().ok();
        Ok(self.keys("tenants/").await?.iter().filter_map(id).collect())
    }

    /// Adds a tenant and claims its role, its bucket and its external ID for
    /// it. What is claimed once is never another tenant's, also after removal.
    pub async fn add_tenant(&self, tenant: &Tenant, by: &str) -> Result<(), RegistryError> {
        let id = &tenant.tenant;
        sound(tenant)?;
        match self.tenant(id).await {
            Err(RegistryError::UnknownTenant(_)) => {}
            Ok(found) if found.status == TenantStatus::Deleted => {
                return Err(RegistryError::Gone(id.clone()));
            }
            Ok(_) => return Err(RegistryError::Exists(id.clone())),
            Err(error) => return Err(error),
        }
        let mut made = Vec::new();
        let added = self.claim_all_and_write(tenant, by, &mut made).await;
        if added.is_err() {
            // What this attempt claimed must not stay with a tenant that is not.
            for key in &made {
                self.release(key).await?;
            }
        }
        added
    }

    async fn claim_all_and_write(
        &self,
        tenant: &Tenant,
        by: &str,
        made: &mut Vec<String>,
    ) -> Result<(), RegistryError> {
        let claims = [
            (role_claim(tenant), format!("role {}", tenant.role_arn)),
            (bucket_claim(&tenant.account, &tenant.bucket), format!("bucket {}", tenant.bucket)),
            (external_id_claim(tenant), "external ID".to_owned()),
        ];
        for (key, what) in claims {
            if self.claim(&key, &what, &tenant.tenant).await? {
                made.push(key);
            }
        }
        let change = Change { by, action: "add" };
        self.note(&tenant.tenant, change, None, tenant.status, None).await?;
        if self.write(&tenant_key(&tenant.tenant), tenant, Expect::Nothing).await? {
            Ok(())
        } else {
            Err(RegistryError::Exists(tenant.tenant.clone()))
        }
    }

    /// Changes a tenant, with an entry in its audit trail. `edit` may run more
    /// than once when others write too.
    pub async fn change_tenant(
        &self,
        id: &TenantId,
        change: Change<'_>,
        edit: impl Fn(&mut Tenant),
    ) -> Result<Tenant, RegistryError> {
        let key = tenant_key(id);
        for _ in 0..5 {
            let Versioned { mut document, etag } = self.versioned_tenant(id).await?;
            let before = document.clone();
            edit(&mut document);
            if document == before {
                return Ok(document);
            }
            admissible(&before, &document)?;
            self.note(id, change, Some(before.status), document.status, Some(&etag)).await?;
            if self.write(&key, &document, Expect::Etag(&etag)).await? {
                return Ok(document);
            }
        }
        Err(RegistryError::Contended(key))
    }

    /// Says so if a tenant cannot go to that status from where it is.
    pub async fn may_become(
        &self,
        id: &TenantId,
        status: TenantStatus,
    ) -> Result<(), RegistryError> {
        let before = self.tenant(id).await?;
        step(&before, status)
    }

    /// A tenant's audit trail, oldest first.
    pub async fn audit_trail(&self, id: &TenantId) -> Result<Vec<AuditEntry>, RegistryError> {
        let mut entries = Vec::new();
        for key in self.keys(&format!("audit/{id}/")).await? {
            if let Some(entry) = self.read::<AuditEntry>(&key).await? {
                entries.push(entry.document);
            }
        }
        Ok(entries)
    }

    async fn note(
        &self,
        id: &TenantId,
        change: Change<'_>,
        from: Option<TenantStatus>,
        to: TenantStatus,
        replaces: Option<&str>,
    ) -> Result<(), RegistryError> {
        let now = OffsetDateTime::now_utc();
        let time = now.format(&Rfc3339).map_err(|_| RegistryError::System("clock"))?;
        let mut random = [0_u8; 6];
        getrandom::fill(&mut random).map_err(|_| RegistryError::System("random bytes"))?;
        // Of one width, so that keys sort as moments do.
        let stamp = format!(
            "{:04}{:02}{:02}T{:02}{:02}{:02}.{:03}Z",
            now.year(),
            u8::from(now.month()),
            now.day(),
            now.hour(),
            now.minute(),
            now.second(),
            now.millisecond()
        );
        let key = format!("audit/{id}/{stamp}-{}.json", crate::ids::hex(&random));
        let entry = AuditEntry {
            time,
            by: change.by.to_owned(),
            action: change.action.to_owned(),
            from,
            to,
            replaces: replaces.map(str::to_owned),
        };
        if self.write(&key, &entry, Expect::Nothing).await? {
            Ok(())
        } else {
            Err(RegistryError::Contended(key))
        }
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

    /// Whether the claim was made now and not before.
    async fn claim(&self, key: &str, what: &str, tenant: &TenantId) -> Result<bool, RegistryError> {
        let owner = Owner { tenant: tenant.clone() };
        if self.write(key, &owner, Expect::Nothing).await? {
            return Ok(true);
        }
        match self.read::<Owner>(key).await? {
            Some(found) if found.document.tenant == *tenant => Ok(false),
            Some(found) => {
                Err(RegistryError::Taken { what: what.to_owned(), owner: found.document.tenant })
            }
            None => Err(RegistryError::Contended(key.to_owned())),
        }
    }

    pub(super) async fn release(&self, key: &str) -> Result<(), RegistryError> {
        self.s3
            .delete_object()
            .bucket(&self.bucket)
            .key(key)
            .send()
            .await
            .map_err(|e| CallError::new("s3:DeleteObject", self.address(key), &e))?;
        Ok(())
    }

    /// Keys under a prefix, in S3's own order.
    pub(super) async fn keys(&self, prefix: &str) -> Result<Vec<String>, RegistryError> {
        let mut keys = Vec::new();
        let request = self.s3.list_objects_v2().bucket(&self.bucket).prefix(prefix);
        let mut listing = Listing::of(request);
        while let Some(page) = listing.next().await {
            let page = page.map_err(|e| CallError::new("s3:ListBucket", &self.bucket, &e))?;
            keys.extend(page.into_iter().filter_map(|object| object.key));
        }
        Ok(keys)
    }
}

/// Lets nobody but an active tenant run and predict.
pub fn active(tenant: Tenant) -> Result<Tenant, RegistryError> {
    match tenant.status {
        TenantStatus::Active => Ok(tenant),
        status => Err(RegistryError::Inactive { tenant: tenant.tenant, status }),
    }
}

/// What no write may store.
fn sound(tenant: &Tenant) -> Result<(), RegistryError> {
    tenant
        .validate()
        .map_err(|reason| RegistryError::Unsound { tenant: tenant.tenant.clone(), reason })
}

/// Whether one document may follow the other.
fn admissible(before: &Tenant, after: &Tenant) -> Result<(), RegistryError> {
    if before.status == TenantStatus::Deleted {
        return Err(RegistryError::Gone(before.tenant.clone()));
    }
    if before.status != after.status {
        step(before, after.status)?;
    }
    sound(after)
}

/// Whether a tenant may take this step.
fn step(before: &Tenant, to: TenantStatus) -> Result<(), RegistryError> {
    if before.status.may_become(to) {
        Ok(())
    } else {
        let from = before.status;
        Err(RegistryError::Transition { tenant: before.tenant.clone(), from, to })
    }
}

fn tenant_key(id: &TenantId) -> String {
    format!("tenants/{id}.json")
}

fn role_claim(tenant: &Tenant) -> String {
    format!("claims/roles/{}/{}.json", tenant.account, tenant.role_arn.name())
}

fn bucket_claim(account: &AccountId, bucket: &BucketName) -> String {
    format!("claims/buckets/{account}/{bucket}.json")
}

/// The digest, since names of objects show in access logs.
fn external_id_claim(tenant: &Tenant) -> String {
    format!("claims/external-ids/{}.json", tenant.external_id.digest())
}
