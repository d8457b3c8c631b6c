//! Creates the AutoML job of a run, or adopts the one that an earlier attempt made.

use crosspilot_core::aws::sagemaker::operation::describe_auto_ml_job_v2::DescribeAutoMlJobV2Output;
use crosspilot_core::error::{CallError, Named};
use crosspilot_core::failure::shown;
use crosspilot_core::sagemaker::{Ensured, ensure, found};
use crosspilot_core::session::CustomerSession;
use crosspilot_core::tenant::Tenant;

use crate::error::JobError;
use crate::job_request::JobPlan;

async fn describe(
    session: &CustomerSession,
    name: &str,
) -> Result<DescribeAutoMlJobV2Output, CallError> {
    let found = session.sagemaker().describe_auto_ml_job_v2().auto_ml_job_name(name).send().await;
    found.named("sagemaker:DescribeAutoMLJobV2", name)
}

/// The job of this name, if there is one.
pub async fn find(
    session: &CustomerSession,
    name: &str,
) -> Result<Option<DescribeAutoMlJobV2Output>, CallError> {
    found(describe(session, name).await)
}

/// Checks that a job of our name is the one that was planned.
pub fn adopt(
    tenant: &Tenant,
    plan: &JobPlan,
    found: &DescribeAutoMlJobV2Output,
) -> Result<(), JobError> {
    plan.difference(found).map_or(Ok(()), |what| Err(foreign(tenant, plan, what)))
}

fn foreign(tenant: &Tenant, plan: &JobPlan, what: &'static str) -> JobError {
    JobError::Foreign { job: plan.name.clone(), account: tenant.account.to_string(), what }
}

/// Makes sure that the job exists; if there is no room for it now, says why.
pub async fn create_or_adopt(
    session: &CustomerSession,
    tenant: &Tenant,
    plan: &JobPlan,
) -> Result<Option<String>, JobError> {
    let created = plan
        .create(&session.sagemaker())
        .send()
        .await
        .named("sagemaker:CreateAutoMLJobV2", &plan.name);
    let describe = async || describe(session, &plan.name).await;
    match ensure(created, describe, |found| plan.difference(found)).await {
        Ok(Ensured::Created | Ensured::Adopted(_)) => Ok(None),
        Ok(Ensured::Foreign(what)) => Err(foreign(tenant, plan, what)),
        // The quota of concurrent jobs frees itself.
        Err(error) if error.is_over_quota() => Ok(Some(error.message().to_owned())),
        Err(error) if error.lacks_target() => Err(JobError::NoTarget {
            data: plan.training_data.clone(),
            said: shown(error.message()),
        }),
        Err(error) => Err(error.into()),
    }
}
