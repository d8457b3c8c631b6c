//! Creates the AutoML job of a run, or adopts the one that an earlier attempt made.

use crosspilot_core::aws::sagemaker::operation::describe_auto_ml_job_v2::DescribeAutoMlJobV2Output;
use crosspilot_core::error::{CallError, Code, Coded, Named};
use crosspilot_core::session::CustomerSession;
use crosspilot_core::tenant::Tenant;

use crate::error::JobError;
use crate::job_request::JobPlan;

/// The job of this name, if there is one.
pub async fn find(
    session: &CustomerSession,
    name: &str,
) -> Result<Option<DescribeAutoMlJobV2Output>, CallError> {
    let found = session.sagemaker().describe_auto_ml_job_v2().auto_ml_job_name(name).send().await;
    match found.named("sagemaker:DescribeAutoMLJobV2", name) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.code() == Code::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// That a job of our name is the one that was planned.
pub fn adopt(
    tenant: &Tenant,
    plan: &JobPlan,
    found: &DescribeAutoMlJobV2Output,
) -> Result<(), JobError> {
    match plan.difference(found) {
        None => Ok(()),
        Some(what) => Err(JobError::Foreign {
            job: plan.name.clone(),
            account: tenant.account.to_string(),
            what,
        }),
    }
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
    let error = match created {
        Ok(_) => return Ok(None),
        Err(error) => error,
    };
    match error.aws_code() {
        // "Target attribute name y does not exist in header."
        "ValidationException" if error.message().contains("does not exist in header") => {
            Err(JobError::NoTarget {
                data: plan.training_data.clone(),
                said: error.message().chars().take(200).collect(),
            })
        }
        // The quota of concurrent jobs frees itself.
        "ResourceLimitExceeded" => Ok(Some(error.message().to_owned())),
        "ResourceInUse" => match find(session, &plan.name).await? {
            Some(found) => adopt(tenant, plan, &found).map(|()| None),
            None => Err(error.into()),
        },
        _ => Err(error.into()),
    }
}
