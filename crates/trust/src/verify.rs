//! The probes of one tenant's trust before runs and on demand: a proof is good for a while,
//! and a run whose tenant's trust does not hold is refused. Neither suspends anybody, since
//! an operator may be asking, whom the customer's role need not admit.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crosspilot_core::error::Coded;
use crosspilot_core::events;
use crosspilot_core::ids::{ExternalId, RoleArn, TenantId};
use crosspilot_core::lambda::App;
use crosspilot_core::registry::{Change, RegistryError};
use crosspilot_core::session;
use crosspilot_core::tenant::{Tenant, TenantStatus};
use crosspilot_core::verification::Verification;
use serde_json::json;

use crate::VerificationError;
use crate::probe::{self, TrustError};

/// Seconds that a proof is good for, between the runs of one warm function.
const PROOF_VARIABLE: &str = "TRUST_PROOF_SECONDS";
const DEFAULT_PROOF: Duration = Duration::from_secs(300);

/// The subject of a proof: all that a change of the tenant's document would change.
type Proven = (TenantId, RoleArn, ExternalId);

static PROOFS: Mutex<Option<HashMap<Proven, Instant>>> = Mutex::new(None);

/// Proves an active tenant's trust before a run, unless that was done a moment
/// ago. A tenant that refuses is not suspended: the next round judges that.
pub async fn before_run(app: &App, tenant: &Tenant) -> Result<(), VerificationError> {
    let what = (tenant.tenant.clone(), tenant.role_arn.clone(), tenant.external_id.clone());
    let good_for = good_for(std::env::var(PROOF_VARIABLE).ok().as_deref());
    let proven = with_proofs(|proofs| proofs.get(&what).is_some_and(|at| at.elapsed() < good_for));
    if proven {
        return Ok(());
    }
    probe::probe(app, tenant).await?;
    with_proofs(|proofs| {
        proofs.retain(|_, at| at.elapsed() < good_for);
        proofs.insert(what, Instant::now());
    });
    Ok(())
}

/// Probes a tenant's trust because an operator asks. Nothing is changed: only a
/// round over all tenants tells a customer's drift from a fault of the vendor's.
pub async fn verify(app: &App, id: &TenantId) -> Result<Verification, VerificationError> {
    let tenant = app.registry.tenant(id).await?;
    if matches!(tenant.status, TenantStatus::Offboarding | TenantStatus::Deleted) {
        return Err(RegistryError::Inactive { tenant: id.clone(), status: tenant.status }.into());
    }
    let probed = probe::probe(app, &tenant).await;
    let tenant = id.clone();
    match probed {
        Ok(()) => Ok(Verification::Proven { tenant }),
        Err(VerificationError::Trust(error)) => {
            let (code, cause) = (error.code().to_string(), error.to_string());
            Ok(if error.is_drift() {
                Verification::Refused { tenant, code, cause }
            } else {
                Verification::Unproven { tenant, code, cause }
            })
        }
        Err(error) => Err(error),
    }
}

/// Suspends a tenant. It says so first: an event too many does less harm than
/// one too few.
pub(crate) async fn suspend(
    app: &App,
    tenant: &Tenant,
    drift: &TrustError,
) -> Result<(), VerificationError> {
    tracing::warn!(tenant = %tenant.tenant, code = drift.code().as_str(), "suspended: {drift}");
    let detail = json!({
        "tenant": tenant.tenant, "code": drift.code().as_str(), "cause": drift.to_string(),
    });
    events::announce(app, "Crosspilot Tenant Suspended", &detail).await?;
    let by = session::caller(&app.config).await?;
    let action = format!("suspend: {}", drift.code());
    app.registry
        .change_tenant(&tenant.tenant, Change { by: &by, action: &action }, |tenant| {
            // It may have been suspended or removed in the meantime.
            if tenant.status == TenantStatus::Active {
                tenant.status = TenantStatus::Suspended;
            }
        })
        .await?;
    Ok(())
}

fn with_proofs<T>(work: impl FnOnce(&mut HashMap<Proven, Instant>) -> T) -> T {
    let mut proofs = PROOFS.lock().unwrap_or_else(PoisonError::into_inner);
    work(proofs.get_or_insert_default())
}

/// Reads how long a proof is good for, as configured.
fn good_for(configured: Option<&str>) -> Duration {
    configured.and_then(|seconds| seconds.parse().ok()).map_or(DEFAULT_PROOF, Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_good_for_as_long_as_configured() {
        assert_eq!(good_for(Some("0")), Duration::ZERO);
        assert_eq!(good_for(Some("3600")), Duration::from_secs(3600));
        assert_eq!(good_for(Some("soon")), DEFAULT_PROOF);
        assert_eq!(good_for(None), DEFAULT_PROOF);
    }
}
