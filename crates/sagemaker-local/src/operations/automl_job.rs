//! The operations on AutoML jobs.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::json;

use crate::autopilot::input;
use crate::autopilot::job::{Finished, Run};
use crate::autopilot::request::AutoMlPlan;
use crate::autopilot::request_v1::v2_of_v1;
use crate::cloud::Cloud;
use crate::operations::model_deployment::deploy;
use crate::records::automl_job::AutoMlJob;
use crate::records::candidate::{Candidate, Unfinished};
use crate::records::resource::Resource;
use crate::wire::call::{Answer, Call, tags_of};
use crate::wire::error::ApiError;
use crate::wire::paging::{ListingSpec, OLDEST_FIRST, page};
use crate::wire::place::Place;

pub(crate) async fn create(cloud: &Arc<Cloud>, call: &Call<'_>) -> Answer {
    let name = call.text(AutoMlJob::NAMED_BY);
    let arn = call.place.arn(AutoMlJob::KIND, name);
    let v1 = call.operation == "CreateAutoMLJob";
    let mut request = if v1 { v2_of_v1(&call.input) } else { call.input.clone() };
    if let Some(members) = request.as_object_mut() {
        members.remove("Tags");
    }
    let plan = AutoMlPlan::read(&request).map_err(ApiError::Validation)?;
    let s3 = input::assume_role(&cloud.emulator, &call.place, &plan.role, &arn).await?;
    input::check_target(&s3, &plan).await?;

    cloud.store.at(&call.place, |here| {
        here.is_free::<AutoMlJob>(&call.place, name)?;
        let running = here.all::<AutoMlJob>().filter(|job| job.status.runs()).count();
        let limit = cloud.options.concurrent_automl_jobs;
        if running >= limit {
            return Err(ApiError::ResourceLimitExceeded(format!(
                "The account-level service limit 'Maximum number of parallel AutoML Jobs' is {limit} AutoMLJobs, with \
                 current utilization of {running} AutoMLJobs and a request delta of 1 AutoMLJobs. Please use AWS \
                 Service Quotas to request an increase for this quota."
            )));
        }
        let job = AutoMlJob::new(name, &arn, request, v1.then(|| call.input.clone()));
        here.add(job, tags_of(&call.input))
    })?;
    cloud.spawn(run(cloud.clone(), call.place.clone(), name.to_owned()));
    Ok(json!({ "AutoMLJobArn": arn }))
}

/// Works on a job until it ends, one way or another.
async fn run(cloud: Arc<Cloud>, place: Place, name: String) {
    let Some(run) = Run::begin(cloud, place, &name) else { return };
    let outcome = match run.work().await {
        Ok(Finished { secondary, deploy: Some(to) }) => deploy(&run, &to).await.map(|()| secondary),
        Ok(Finished { secondary, deploy: None }) => Ok(secondary),
        Err(reason) => Err(reason),
    };
    run.conclude(outcome);
}

/// Starts again, from the beginning, what a restart interrupted.
pub(crate) fn resume(cloud: &Arc<Cloud>) {
    for (place, job) in cloud.store.everywhere::<AutoMlJob>() {
        let restarted = job.status.runs()
            && cloud.store.change(&place, &job.name, AutoMlJob::restart) == Some(true);
        if restarted {
            cloud.spawn(run(cloud.clone(), place, job.name));
        }
    }
}

pub(crate) fn describe(cloud: &Cloud, call: &Call) -> Answer {
    let job = find(cloud, call)?;
    match call.operation {
        "DescribeAutoMLJobV2" => Ok(job.describe()),
        _ => job.describe_v1(),
    }
}

pub(crate) fn stop(cloud: &Cloud, call: &Call) -> Answer {
    let job = find(cloud, call)?;
    if !job.status.runs() {
        return Err(ApiError::Validation(format!(
            "The request was rejected because the AutoML job is in status {}.",
            job.status.name()
        )));
    }
    cloud.store.change(&call.place, &job.name, |job: &mut AutoMlJob| {
        if job.status.runs() {
            job.stop();
        }
    });
    cloud.stop_flag(&job.arn).store(true, Ordering::Release);
    Ok(json!({}))
}

pub(crate) fn list_candidates(cloud: &Cloud, call: &Call) -> Answer {
    let job = find(cloud, call)?;
    let trained = job.candidates.iter().map(Candidate::row);
    let rows = trained.chain(job.unfinished.iter().map(Unfinished::row)).collect();
    page(ListingSpec::new("Candidates", OLDEST_FIRST), &call.input, rows)
}

fn find(cloud: &Cloud, call: &Call) -> Result<AutoMlJob, ApiError> {
    cloud.store.find(&call.place, call.text(AutoMlJob::NAMED_BY))
}
