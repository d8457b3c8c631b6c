//! Tenants in the registry: who they are, what is theirs alone, and who changed
//! them.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::claims::{Owner, bucket_claim};
use super::{Expect, Registry, RegistryError, Versioned};
use crate::error::Named;
use crate::ids::{AccountId, BucketName, ExternalId, TenantId};
use crate::listing::Listing;
use crate::tenant::{Tenant, TenantStatus};

/// The author of a change to a tenant, and what the change is for.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// ARN of who asks, as STS knows it.
    pub by: &'a str,
    /// The action that is taken, such as `set model churn`.
    pub action: &'a str,
}

/// A tenant's audit trail.
#[derive(Debug, Clone, Default)]
pub struct AuditTrail {
    /// The trail's entries, oldest first.
    pub entries: Vec<AuditEntry>,
    /// Names of the entries that cannot be read, with the reason.
    pub broken: Vec<(String, String)>,
}

/// An entry of a tenant's audit trail. It is written before the change, so
/// that no change goes without one; an entry whose `replaces` the registry
/// bucket never had as a version lost a race and changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditEntry {
    /// The time of the change, RFC 3339 in UTC.
    pub time: String,
    /// ARN of who asked.
    pub by: String,
    /// The action that was taken.
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
        let claim = self.read::<Owner>(&bucket_claim(bucket)).await?;
        let unknown =
            || RegistryError::UnknownBucket { account: account.clone(), bucket: bucket.clone() };
        let owner = claim.ok_or_else(unknown)?.document.tenant;
        let tenant = self.tenant(&owner).await?;
        if tenant.account == *account && tenant.bucket == *bucket {
            Ok(tenant)
        } else {
            Err(unknown())
        }
    }

    /// Ids of all tenants, in alphabetical order.
    pub async fn tenants(&self) -> Result<Vec<TenantId>, RegistryError> {
        let id = |key: &String| key.strip_prefix("tenants/")?.strip_suffix(".json")?.parse().ok();
        Ok(self.keys("tenants/").await?.iter().filter_map(id).collect())
    }

    /// Adds a tenant and claims its role, its bucket and its external ID for
    /// it. What is claimed once is never another tenant's, also after removal; the
    /// same tenant comes back by [`Registry::readmit_tenant`].
    ///
    /// Asked again, by whomever, it goes on where an attempt was interrupted, and
    /// gives the tenant as it is registered: the external ID, which is made anew
    /// for each attempt, is the one that was written first.
    pub async fn add_tenant(&self, tenant: &Tenant, by: &str) -> Result<Tenant, RegistryError> {
        sound(tenant)?;
        let id = &tenant.tenant;
        match self.tenant(id).await {
            Err(RegistryError::UnknownTenant(_)) => {}
            found => return self.complete(found?, tenant).await,
        }
        self.claim_all(tenant).await?;
        let change = Change { by, action: "add" };
        self.note(id, change, None, tenant.status, None).await?;
        if self.write(&tenant_key(id), tenant, Expect::Nothing).await? {
            return Ok(tenant.clone());
        }
        // Somebody was faster, or it was this very write and its answer was lost.
        self.complete(self.tenant(id).await?, tenant).await
    }

    /// Completes what an earlier attempt to add the same tenant left undone.
    async fn complete(&self, found: Tenant, asked: &Tenant) -> Result<Tenant, RegistryError> {
        let (tenant, status) = (found.tenant.clone(), found.status);
        match status {
            TenantStatus::Deleted => return Err(RegistryError::Gone(tenant)),
            TenantStatus::Offboarding => return Err(RegistryError::Inactive { tenant, status }),
            _ => {}
        }
        let what = found.differences(asked).join(", another ");
        if !what.is_empty() {
            return Err(RegistryError::Differs { tenant, what });
        }
        self.claim_all(&found).await?;
        Ok(found)
    }

    /// Takes up again a tenant that was removed: pending, with another external ID
    /// and without models. Its role and its bucket were never anybody else's.
    ///
    /// Asked again, it goes on where an attempt was interrupted, and gives the tenant as
    /// it is registered.
    pub async fn readmit_tenant(
        &self,
        id: &TenantId,
        external_id: &ExternalId,
        by: &str,
    ) -> Result<Tenant, RegistryError> {
        let key = tenant_key(id);
        for _ in 0..5 {
            let Versioned { document: found, etag, .. } = self.versioned_tenant(id).await?;
            match found.status {
                TenantStatus::Pending => {
                    self.claim_all(&found).await?;
                    return Ok(found);
                }
                TenantStatus::Deleted => {}
                from => {
                    let (tenant, to) = (found.tenant, TenantStatus::Pending);
                    return Err(RegistryError::Transition { tenant, from, to });
                }
            }
            let tenant = Tenant {
                external_id: external_id.clone(),
                status: TenantStatus::Pending,
                models: Default::default(),
                ..found.clone()
            };
            self.claim_all(&tenant).await?;
            let change = Change { by, action: "readmit" };
            self.note(id, change, Some(found.status), tenant.status, Some(&etag)).await?;
            self.come_back(&found).await?;
            if self.write(&key, &tenant, Expect::Etag(&etag)).await? {
                return Ok(tenant);
            }
        }
        Err(RegistryError::Contended(key))
    }

    /// Claims again what is a tenant's alone, should a claim be missing.
    pub async fn claim_again(&self, tenant: &Tenant) -> Result<(), RegistryError> {
        self.claim_all(tenant).await
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
            let Versioned { mut document, etag, .. } = self.versioned_tenant(id).await?;
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

    /// Refuses a status that a tenant cannot go to from where it is.
    pub async fn may_become(
        &self,
        id: &TenantId,
        status: TenantStatus,
    ) -> Result<(), RegistryError> {
        let before = self.tenant(id).await?;
        step(&before, status)
    }

    /// A tenant's audit trail, oldest first. An entry that cannot be read hides none of
    /// the others.
    pub async fn audit_trail(&self, id: &TenantId) -> Result<AuditTrail, RegistryError> {
        let (entries, broken) = self.all_under(&format!("audit/{id}/")).await?;
        Ok(AuditTrail { entries, broken })
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

    pub(super) async fn versioned_tenant(
        &self,
        id: &TenantId,
    ) -> Result<Versioned<Tenant>, RegistryError> {
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

    pub(super) async fn release(&self, key: &str) -> Result<(), RegistryError> {
        self.s3
            .delete_object()
            .bucket(&self.bucket)
            .set_expected_bucket_owner(self.owner())
            .key(key)
            .send()
            .await
            .named("s3:DeleteObject", self.address(key))?;
        Ok(())
    }

    /// Keys under a prefix, in S3's own order.
    pub(super) async fn keys(&self, prefix: &str) -> Result<Vec<String>, RegistryError> {
        let mut keys = Vec::new();
        let mut listing = Listing::under(&self.s3, &self.bucket, prefix);
        if let Some(owner) = &self.owner {
            listing = listing.owned_by(owner);
        }
        while let Some(page) = listing.next().await {
            let page = page.named("s3:ListBucket", &self.bucket)?;
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

/// Refuses what no write may store.
fn sound(tenant: &Tenant) -> Result<(), RegistryError> {
    tenant
        .validate()
        .map_err(|reason| RegistryError::Unsound { tenant: tenant.tenant.clone(), reason })
}

/// Tells whether one document may follow the other.
fn admissible(before: &Tenant, after: &Tenant) -> Result<(), RegistryError> {
    if before.status == TenantStatus::Deleted {
        return Err(RegistryError::Gone(before.tenant.clone()));
    }
    if before.status != after.status {
        step(before, after.status)?;
    }
    // What is being removed gets nothing new that would have to be removed, too.
    let is_new = |(model, settings)| before.models.get(model) != Some(settings);
    if before.status == TenantStatus::Offboarding && after.models.iter().any(is_new) {
        let (tenant, status) = (before.tenant.clone(), before.status);
        return Err(RegistryError::Inactive { tenant, status });
    }
    sound(after)
}

/// Tells whether a tenant may take this step.
fn step(before: &Tenant, to: TenantStatus) -> Result<(), RegistryError> {
    if before.status.may_become(to) {
        Ok(())
    } else {
        let from = before.status;
        Err(RegistryError::Transition { tenant: before.tenant.clone(), from, to })
    }
}

pub(super) fn tenant_key(id: &TenantId) -> String {
    format!("tenants/{id}.json")
}
