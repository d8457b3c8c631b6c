//! The standing of a model, which a prediction needs of the registry: the tenant, and which
//! models serve.
//!
//! A warm process keeps it, and asks S3 with each prediction whether it still holds:
//! at the same time as the endpoint, and not before. So a prediction takes as long as
//! its slowest call, and a suspension or a promotion counts from that moment on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::lineup::lineup_key;
use super::tenants::tenant_key;
use super::{Found, Lineup, Registry, RegistryError, active};
use crate::ids::{ModelName, TenantId};
use crate::tenant::Tenant;

/// Models that a process keeps this of.
const MOST: usize = 256;

/// An active tenant and the models that serve under one of its names, as the registry
/// showed them at a moment.
#[derive(Debug)]
pub struct Standing {
    /// The tenant.
    pub tenant: Tenant,
    /// The champion, challenger and predecessor of the model.
    pub lineup: Lineup,
    model: ModelName,
    tenant_etag: String,
    /// The lineup's entity tag; none if there is no lineup yet.
    lineup_etag: Option<String>,
}

type Standings = BTreeMap<(TenantId, ModelName), Arc<Standing>>;

#[derive(Debug, Clone, Default)]
pub(super) struct Kept(Arc<Mutex<Standings>>);

impl Kept {
    fn lock(&self) -> MutexGuard<'_, Standings> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registry {
    /// Gives how a tenant's model stood when it was read last; nothing if it was not.
    pub fn kept_standing(&self, tenant: &TenantId, model: &ModelName) -> Option<Arc<Standing>> {
        self.standings.lock().get(&(tenant.clone(), model.clone())).cloned()
    }

    /// Reads how a tenant's model stands, and keeps it. Refuses a tenant that is not
    /// active.
    pub async fn standing(
        &self,
        id: &TenantId,
        model: &ModelName,
    ) -> Result<Arc<Standing>, RegistryError> {
        let of = (id.clone(), model.clone());
        self.standings.lock().remove(&of);
        let lineup_key = lineup_key(id, model);
        let (tenant, lineup) =
            tokio::join!(self.versioned_tenant(id), self.read::<Lineup>(&lineup_key));
        let tenant = tenant?;
        let (active, lineup) = (active(tenant.document)?, lineup?);
        let standing = Arc::new(Standing {
            tenant: active,
            model: model.clone(),
            tenant_etag: tenant.etag,
            lineup_etag: lineup.as_ref().map(|found| found.etag.clone()),
            lineup: lineup.map(|found| found.document).unwrap_or_default(),
        });
        let mut kept = self.standings.lock();
        if kept.len() >= MOST {
            kept.pop_first();
        }
        kept.insert(of, standing.clone());
        Ok(standing)
    }

    /// Reads how a tenant's model stands now, if that is another way than this one.
    pub async fn changed_since(
        &self,
        known: &Standing,
    ) -> Result<Option<Arc<Standing>>, RegistryError> {
        let (id, model) = (&known.tenant.tenant, &known.model);
        let (tenant_key, lineup_key) = (tenant_key(id), lineup_key(id, model));
        let (tenant, lineup) = tokio::join!(
            self.read_unless::<Tenant>(&tenant_key, Some(&known.tenant_etag)),
            self.read_unless::<Lineup>(&lineup_key, known.lineup_etag.as_deref()),
        );
        let holds = matches!(tenant?, Found::Same)
            && match lineup? {
                Found::Same => true,
                Found::Absent => known.lineup_etag.is_none(),
                Found::Document(_) => false,
            };
        if holds { Ok(None) } else { self.standing(id, model).await.map(Some) }
    }
}
