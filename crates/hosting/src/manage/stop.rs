//! Stops a run's jobs, so that they do not bill until the state machine looks,
//! and also when no state machine looks any more.

use crosspilot_core::lambda::App;
use crosspilot_core::manage::{Progress, Report};
use crosspilot_core::policy::Purpose;
use crosspilot_core::run::RunRef;
use crosspilot_core::tenant::Tenant;

use super::{done, open};
use crate::{HostingError, jobs};

/// Stopping twice is stopping once. A run without a job yet has nothing to
/// stop: it finds the request in its record before it makes one.
pub(super) async fn stop(
    app: &App,
    tenant: &Tenant,
    run: &RunRef,
) -> Result<Progress, HostingError> {
    let session = open(app, tenant, Purpose::StopJobs(run)).await?;
    let jobs = jobs::stop(&session, run).await?;
    let at_work = jobs.iter().find(|job| job.works()).or(jobs.first());
    Ok(done(match at_work {
        Some(job) => Report::Stopped { job: job.name.clone(), status: Some(job.status.clone()) },
        None => Report::Stopped { job: run.job_name(), status: None },
    }))
}
