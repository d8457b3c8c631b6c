//! Stops a run's job, so that it does not bill until the state machine looks.

use crosspilot_core::error::CallError;
use crosspilot_core::lambda::App;
use crosspilot_core::manage::{Progress, Report};
use crosspilot_core::policy::Purpose;
use crosspilot_core::run::RunRef;
use crosspilot_core::tenant::Tenant;

use super::{done, found, open};
use crate::Error;

/// Stopping twice is stopping once. A run without a job yet has nothing to
/// stop: it finds the request in its record before it makes one.
pub(super) async fn stop(app: &App, tenant: &Tenant, run: &RunRef) -> Result<Progress, Error> {
    let sagemaker = open(app, tenant, Purpose::CheckStatus(run)).await?.sagemaker();
    let job = run.job_name();
    let described = sagemaker
        .describe_auto_ml_job_v2()
        .auto_ml_job_name(&job)
        .send()
        .await
        .map_err(|e| CallError::new("sagemaker:DescribeAutoMLJobV2", &job, &e));
    let Some(described) = found(described)? else {
        return Ok(done(Report::Stopped { job, status: None }));
    };
    let mut status = described.auto_ml_job_status().map_or("Unknown", |status| status.as_str());
    if status == "InProgress" {
        let stopped = sagemaker
            .stop_auto_ml_job()
            .auto_ml_job_name(&job)
            .send()
            .await
            .map_err(|e| CallError::new("sagemaker:StopAutoMLJob", &job, &e));
        found(stopped)?;
        status = "Stopping";
    }
    Ok(done(Report::Stopped { job, status: Some(status.to_owned()) }))
}
