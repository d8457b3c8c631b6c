//! Removes what serves a model, or all of a tenant's models, and proves by a
//! last look that nothing of it is left.

use std::time::Duration;

use crosspilot_core::aws::sagemaker::Client;
use crosspilot_core::bucket::Bucket;
use crosspilot_core::error::{CallError, Named};
use crosspilot_core::ids::ModelName;
use crosspilot_core::lambda::App;
use crosspilot_core::layout;
use crosspilot_core::manage::{Progress, Report};
use crosspilot_core::policy::Purpose;
use crosspilot_core::sagemaker::found;
use crosspilot_core::tenant::Tenant;

use super::account::{Job, JobKind, Kind, Resource, Search};
use super::{done, open, waiting};
use crate::clear::clear;
use crate::endpoint::{self, Endpoint};
use crate::jobs::unless_ended;
use crate::{HostingError, scaling};

/// The time that one call deletes objects before it lets the state machine ask again: well
/// within the function's time.
const AT_A_TIME: Duration = Duration::from_secs(30);

/// Jobs are told to stop, then endpoints go, then what they are made from, then
/// the artifacts. Only a look that finds nothing is an end.
pub(super) async fn remove(
    app: &App,
    tenant: &Tenant,
    model: Option<&ModelName>,
    artifacts: bool,
) -> Result<Progress, HostingError> {
    let session = open(app, tenant, Purpose::Remove(model)).await?;
    let sagemaker = session.sagemaker();
    let search = Search { sagemaker: &sagemaker, tenant, model };

    let jobs = search.jobs().await?;
    for job in jobs.iter().filter(|job| !job.stopping) {
        stop(&sagemaker, job).await?;
    }
    let (endpoints, parts): (Vec<Resource>, Vec<Resource>) = search
        .everything()
        .await?
        .ours
        .into_iter()
        .partition(|resource| resource.kind == Kind::Endpoint);
    for endpoint in &endpoints {
        take_down(app, tenant, endpoint).await?;
    }
    if let Some(endpoint) = endpoints.first() {
        return Ok(waiting(format!("endpoint {} is being deleted", endpoint.name)));
    }
    for part in &parts {
        delete(&sagemaker, part).await?;
    }
    if let Some(job) = jobs.first() {
        return Ok(waiting(format!("job {} is stopping", job.name)));
    }
    if artifacts {
        let session = open(app, tenant, Purpose::ClearArtifacts(model)).await?;
        let bucket = Bucket { s3: session.s3(), tenant };
        for prefix in layout::artifacts(&tenant.prefix, model) {
            if !clear(&bucket, &prefix, AT_A_TIME).await? {
                return Ok(waiting("artifacts are being deleted"));
            }
        }
    }
    let left = search.everything().await?;
    Ok(match left.ours.first() {
        Some(resource) => waiting(format!("{} {} is still listed", resource.kind, resource.name)),
        None => done(Report::Removed { foreign: left.foreign }),
    })
}

/// Takes an endpoint's scaling off and deletes it. One that is still on its way
/// somewhere is deleted by a later call, as the next look finds it: `false`.
pub(super) async fn take_down(
    app: &App,
    tenant: &Tenant,
    endpoint: &Resource,
) -> Result<bool, HostingError> {
    let Resource { name, model, .. } = endpoint;
    let session = open(app, tenant, Purpose::TakeDown(model)).await?;
    let sagemaker = session.sagemaker();
    let Some(endpoint) = Endpoint::find(&sagemaker, name).await? else { return Ok(true) };
    if endpoint.status == "Deleting" {
        return Ok(true);
    }
    scaling::deregister(&session.auto_scaling(), name, &endpoint.variants).await?;
    Ok(endpoint::delete(&sagemaker, name).await?)
}

async fn stop(sagemaker: &Client, job: &Job) -> Result<(), CallError> {
    let name = &job.name;
    let stopped = match job.kind {
        JobKind::Training => {
            let sent = sagemaker.stop_auto_ml_job().auto_ml_job_name(name).send().await;
            sent.map(drop).named("sagemaker:StopAutoMLJob", name)
        }
        JobKind::Scoring => {
            let sent = sagemaker.stop_transform_job().transform_job_name(name).send().await;
            sent.map(drop).named("sagemaker:StopTransformJob", name)
        }
    };
    // It may have ended between the look and the request.
    unless_ended(stopped)
}

/// Deletes a config or a model.
async fn delete(sagemaker: &Client, resource: &Resource) -> Result<(), CallError> {
    let name = &resource.name;
    let deleted = if resource.kind == Kind::Config {
        let sent = sagemaker.delete_endpoint_config().endpoint_config_name(name).send().await;
        sent.map(drop).named("sagemaker:DeleteEndpointConfig", name)
    } else {
        let sent = sagemaker.delete_model().model_name(name).send().await;
        sent.map(drop).named("sagemaker:DeleteModel", name)
    };
    found(deleted).map(drop)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use crosspilot_core::error::{Code, Coded};
    use crosspilot_scripted::{Answer, Scripted};

    use super::*;

    #[tokio::test]
    async fn a_job_that_ended_meanwhile_keeps_nothing_from_being_removed() {
        for (kind, operation) in
            [(JobKind::Training, "StopAutoMLJob"), (JobKind::Scoring, "StopTransformJob")]
        {
            let job = Job {
                kind,
                name: "j".into(),
                model: "churn".parse().unwrap(),
                created: String::new(),
                stopping: false,
            };
            let told = async |code: &'static str| {
                let aws = Scripted::new(move |_| Answer::refused(400, code, "no"));
                let told = stop(&Client::new(&aws.config()), &job).await;
                assert_eq!(aws.operations(), [operation]);
                told
            };
            assert!(told("ValidationException").await.is_ok());
            assert!(told("ResourceNotFound").await.is_ok());
            let denied = told("AccessDeniedException").await.unwrap_err();
            assert_eq!(denied.code(), Code::AccessDenied);
        }
    }
}
