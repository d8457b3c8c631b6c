//! The operations on transform jobs.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::json;

use crate::cloud::Cloud;
use crate::operations::{child_jobs, resource};
use crate::records::job::JobStatus;
use crate::records::model::Model;
use crate::records::resource::Resource;
use crate::records::transform_job::TransformJob;
use crate::transform::job::run;
use crate::transform::request::TransformPlan;
use crate::wire::call::{Answer, Call, tags_of};
use crate::wire::error::ApiError;

pub(crate) async fn create(cloud: &Arc<Cloud>, call: &Call<'_>) -> Answer {
    let name = call.text(TransformJob::NAMED_BY);
    let arn = call.place.arn(TransformJob::KIND, name);
    TransformPlan::read(&call.input).map_err(ApiError::Validation)?;
    cloud.store.at(&call.place, |here| {
        here.find::<Model>(&call.place, call.text(Model::NAMED_BY))?;
        here.add(TransformJob::new(name, &arn, &call.input), tags_of(&call.input))
    })?;
    cloud.spawn(run(cloud.clone(), call.place.clone(), name.to_owned()));
    Ok(json!({ "TransformJobArn": arn }))
}

/// Describes a transform job of a caller's or of an AutoML job's.
pub(crate) fn describe(cloud: &Cloud, call: &Call) -> Answer {
    match child_jobs::describe_transform(cloud, call) {
        Some(child) => Ok(child),
        None => resource::describe::<TransformJob>(cloud, call),
    }
}

pub(crate) fn stop(cloud: &Cloud, call: &Call) -> Answer {
    let job: TransformJob = cloud.store.find(&call.place, call.text(TransformJob::NAMED_BY))?;
    if !job.status.runs() {
        let status = job.status.name();
        let message =
            format!("The request was rejected because the transform job is in status {status}.");
        return Err(ApiError::Validation(message));
    }
    cloud.store.change(&call.place, job.name(), |job: &mut TransformJob| {
        job.status = JobStatus::Stopping;
    });
    cloud.stop_flag(&job.arn).store(true, Ordering::Release);
    Ok(json!({}))
}

/// Lists the transform jobs of callers and of AutoML jobs.
pub(crate) fn list(cloud: &Cloud, call: &Call) -> Answer {
    resource::list_with::<TransformJob>(cloud, call, child_jobs::transform_rows)
}

/// Starts again what a restart interrupted.
pub(crate) fn resume(cloud: &Arc<Cloud>) {
    for (place, job) in cloud.store.everywhere::<TransformJob>() {
        if job.status.runs() {
            cloud.spawn(run(cloud.clone(), place, job.name().to_owned()));
        }
    }
}
