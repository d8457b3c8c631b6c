//! Settles the runs that nobody works on any more: their execution died outside
//! its failure path, or the customer's account was out of reach in it.

use crosspilot_core::error::{Code, Coded as _};
use crosspilot_core::execution;
use crosspilot_core::lambda::App;
use crosspilot_core::manage::{Progress, Report};
use crosspilot_core::registry::is_abandoned;
use crosspilot_core::run::{RunId, RunRef};
use crosspilot_core::tenant::{Tenant, TenantStatus};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{done, waiting};
use crate::HostingError;
use crate::settle::{self, Settle, Settled};

/// The seconds that a run may need besides its job.
const MARGIN: f64 = 1800.0;

/// Settles runs, each for itself: the first error is told after all were
/// tried.
pub(super) async fn sweep(
    app: &App,
    tenant: &Tenant,
    only: Option<&RunId>,
) -> Result<Progress, HostingError> {
    let (mut settled, mut waits, mut trouble) = (Vec::new(), None, None);
    let unsettled = app.registry.unsettled(Some(&tenant.tenant)).await?;
    for run in unsettled.into_iter().filter(|run| only.is_none_or(|only| run.run_id == *only)) {
        match sweep_one(app, tenant, &run).await {
            Ok(Swept::Settled) => settled.push(run.run_id),
            Ok(Swept::Waiting(reason)) => waits = Some(reason),
            Ok(Swept::AtWork) => {}
            // It left, and lets nobody in: there is nothing to be alarmed at, and it is tried again
            // in case it lets us in once more.
            Err(error)
                if tenant.status == TenantStatus::Deleted && error.code() == Code::AccessDenied =>
            {
                tracing::warn!(tenant = %tenant.tenant, run = %run.run_id, %error, "a tenant that left lets nobody settle its run");
            }
            Err(error) => trouble = trouble.or(Some(error)),
        }
    }
    match (waits, trouble) {
        (Some(reason), _) => Ok(waiting(reason)),
        (None, Some(error)) => Err(error),
        (None, None) => Ok(done(Report::Swept { settled })),
    }
}

enum Swept {
    Settled,
    Waiting(String),
    AtWork,
}

async fn sweep_one(app: &App, tenant: &Tenant, run: &RunRef) -> Result<Swept, HostingError> {
    let record = app.registry.run(run).await?;
    let execution = execution::life(&app.config, &record.execution).await?;
    let began = OffsetDateTime::parse(record.trigger.time(), &Rfc3339);
    let age = began.map_or(0.0, |began| (OffsetDateTime::now_utc() - began).as_seconds_f64());
    let limit = f64::from(tenant.limits.max_runtime_seconds) + MARGIN;
    if !is_abandoned(&record, execution, age, limit) {
        return Ok(Swept::AtWork);
    }
    let request = Settle { run: run.clone(), elapsed_seconds: 0.0, failed: true, failure: None };
    Ok(match settle::settle(app, request).await? {
        Settled::Settled { .. } => Swept::Settled,
        Settled::Waiting(waiting) => Swept::Waiting(waiting.reason),
    })
}
