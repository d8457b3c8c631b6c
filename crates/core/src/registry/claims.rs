//! Claims on what belongs to one tenant for ever: its role, its bucket and its external ID.
//!
//! A claim counts as long as its owner's document names what is claimed. So no
//! claim is ever given up, which nobody could do safely while others register
//! tenants, too: whoever needs one that does not count takes it over.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{Expect, Registry, RegistryError, Versioned};
use crate::ids::{AccountId, BucketName, TenantId};
use crate::tenant::Tenant;

/// A registration that has not ended after an hour was interrupted: it takes
/// seconds.
const INTERRUPTED_SECONDS: i64 = 3600;

const ROLES: &str = "claims/roles/";
/// Departures of tenants.
const LEFT: &str = "left/";
/// Returns after them, each under the name of its departure.
const BACK: &str = "back/";

/// The tenant that something belongs to.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Owner {
    pub(super) tenant: TenantId,
}

/// A claim: the key of its document, and what is claimed, in words.
struct Claim {
    key: String,
    what: String,
}

/// The state of a claim, to a tenant that may have it.
enum ClaimState {
    Held,
    /// The claim can be had by the write that expects this etag, or nothing.
    Free(Option<String>),
}

impl Registry {
    /// The accounts of all tenants that have not left: those whose role is
    /// claimed. Three lists, however many documents there are.
    pub async fn accounts(&self) -> Result<BTreeSet<AccountId>, RegistryError> {
        let back: BTreeSet<String> = self.keys(BACK).await?.into_iter().collect();
        let departures = self.keys(LEFT).await?;
        let role = |key: &String| {
            let departure = key.strip_prefix(LEFT)?;
            let is_back = back.contains(&format!("{BACK}{departure}"));
            (!is_back).then(|| departure.rsplit_once('/').map(|(role, _)| role.to_owned()))?
        };
        let left: BTreeSet<String> = departures.iter().filter_map(role).collect();
        let stays =
            |key: &&String| key.strip_suffix(".json").is_some_and(|role| !left.contains(role));
        let account = |key: &String| key.strip_prefix(ROLES)?.split('/').next()?.parse().ok();
        Ok(self.keys(ROLES).await?.iter().filter(stays).filter_map(account).collect())
    }

    /// Notes that a tenant leaves: its account is none of those that are heard.
    /// Its claims stay for ever.
    pub async fn leave(&self, tenant: &Tenant) -> Result<(), RegistryError> {
        self.note_way(LEFT, tenant).await
    }

    /// Notes that a tenant comes back after the departure that it made with this
    /// external ID.
    pub(super) async fn come_back(&self, tenant: &Tenant) -> Result<(), RegistryError> {
        self.note_way(BACK, tenant).await
    }

    async fn note_way(&self, way: &str, tenant: &Tenant) -> Result<(), RegistryError> {
        let [role, ..] = claims(tenant);
        let role = role.key.trim_end_matches(".json");
        let key = format!("{way}{role}/{}.json", tenant.external_id.digest());
        let owner = Owner { tenant: tenant.tenant.clone() };
        // Whether now or by an earlier attempt makes no difference.
        self.write(&key, &owner, Expect::Nothing).await?;
        Ok(())
    }

    /// Claims all that is to be a tenant's alone. Everything is looked at before
    /// anything is claimed, so that a refusal leaves nothing behind.
    pub(super) async fn claim_all(&self, tenant: &Tenant) -> Result<(), RegistryError> {
        let mut free = Vec::new();
        for claim in claims(tenant) {
            if let ClaimState::Free(etag) = self.claim_state(&claim, &tenant.tenant).await? {
                free.push((claim, etag));
            }
        }
        let owner = Owner { tenant: tenant.tenant.clone() };
        for (claim, etag) in free {
            let expect = etag.as_deref().map_or(Expect::Nothing, Expect::Etag);
            if self.write(&claim.key, &owner, expect).await? {
                continue;
            }
            // Somebody was faster, or it was this very write and its answer was lost.
            match self.claim_state(&claim, &tenant.tenant).await? {
                ClaimState::Held => {}
                ClaimState::Free(_) => return Err(RegistryError::Contended(claim.key)),
            }
        }
        Ok(())
    }

    async fn claim_state(&self, claim: &Claim, of: &TenantId) -> Result<ClaimState, RegistryError> {
        let Some(found) = self.read::<Owner>(&claim.key).await? else {
            return Ok(ClaimState::Free(None));
        };
        let Versioned { document: Owner { tenant: owner }, etag, modified } = found;
        if owner == *of {
            return Ok(ClaimState::Held);
        }
        let what = claim.what.clone();
        match self.tenant(&owner).await {
            Ok(document) if claims(&document).iter().any(|held| held.key == claim.key) => {
                Err(RegistryError::Taken { what, owner })
            }
            // A broken document may well name it.
            Err(RegistryError::Broken { .. }) => Err(RegistryError::Taken { what, owner }),
            Ok(_) => Ok(ClaimState::Free(Some(etag))),
            Err(RegistryError::UnknownTenant(_)) => {
                let age = OffsetDateTime::now_utc().unix_timestamp() - modified;
                if age > INTERRUPTED_SECONDS {
                    Ok(ClaimState::Free(Some(etag)))
                } else {
                    Err(RegistryError::Unfinished { what, owner })
                }
            }
            Err(error) => Err(error),
        }
    }
}

fn claims(tenant: &Tenant) -> [Claim; 3] {
    let (account, role) = (&tenant.account, &tenant.role_arn);
    [
        Claim {
            key: format!("{ROLES}{account}/{}.json", role.name()),
            what: format!("role {role}"),
        },
        Claim { key: bucket_claim(&tenant.bucket), what: format!("bucket {}", tenant.bucket) },
        // The digest, since names of objects show in access logs.
        Claim {
            key: format!("claims/external-ids/{}.json", tenant.external_id.digest()),
            what: "external ID".to_owned(),
        },
    ]
}

/// The name alone: a bucket's name is one bucket's in all accounts.
pub(super) fn bucket_claim(bucket: &BucketName) -> String {
    format!("claims/buckets/{bucket}.json")
}
