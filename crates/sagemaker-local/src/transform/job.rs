//! The work of a transform job.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use flate2::read::MultiGzDecoder;

use crate::cloud::Cloud;
use crate::records::job::JobStatus;
use crate::records::model::Model;
use crate::records::transform_job::TransformJob;
use crate::services::s3::{RoleS3, S3Error};
use crate::serving::container::Asked;
use crate::serving::launch::launch;
use crate::serving::pipeline::Pipeline;
use crate::transform::lines::transform;
use crate::transform::request::TransformPlan;
use crate::wire::ids::now;
use crate::wire::place::Place;

/// Works on a job until it ends, one way or another.
pub(crate) async fn run(cloud: Arc<Cloud>, place: Place, name: String) {
    let Some(job) = cloud.store.get::<TransformJob>(&place, &name) else { return };
    let stop = cloud.stop_flag(&job.arn);
    let change = |change: &dyn Fn(&mut TransformJob)| {
        cloud.store.change(&place, &name, |job| change(job));
    };
    change(&|job| job.started = Some(now()));
    tokio::time::sleep(cloud.options.stage).await;
    let outcome = match TransformPlan::read(&job.request) {
        Ok(plan) => work(&cloud, &place, &job, &plan, &|| stop.load(Ordering::Acquire)).await,
        Err(reason) => Err(reason),
    };
    change(&|job| match &outcome {
        _ if stop.load(Ordering::Acquire) => job.end(JobStatus::Stopped, None),
        Ok(()) => job.end(JobStatus::Completed, None),
        Err(reason) => job.end(JobStatus::Failed, Some(reason)),
    });
    cloud.forget_stop_flag(&job.arn);
}

async fn work(
    cloud: &Arc<Cloud>,
    place: &Place,
    job: &TransformJob,
    plan: &TransformPlan,
    stopped: &(dyn Fn() -> bool + Sync),
) -> Result<(), String> {
    let model: Model = cloud.store.find(place, &plan.model).map_err(|error| error.to_string())?;
    let launched = launch(&cloud.emulator, place, &model, "AllTraffic", &plan.environment).await?;
    let pipeline = Arc::new(launched);
    let s3 = RoleS3::open(&cloud.emulator, place, model.role(), &job.arn)
        .await
        .map_err(|error| format!("ClientError: {error}"))?;
    let failed = |error: S3Error| format!("ClientError: {error}");
    s3.check_volume_key(plan.volume_key.as_deref()).await.map_err(failed)?;
    let s3 = s3.encrypting(plan.output_key.as_deref()).await.map_err(failed)?;
    let objects = s3.list(&plan.input).await.map_err(failed)?;
    if objects.is_empty() {
        return Err(format!("ClientError: No S3 objects found under S3 URL \"{}\".", plan.input));
    }
    for object in objects {
        if stopped() {
            return Ok(());
        }
        let content = s3.get(&object).await.map_err(failed)?;
        let (pipeline, processing, gzip) = (pipeline.clone(), plan.processing.clone(), plan.gzip);
        let (content_type, accept) = (plan.content_type.clone(), plan.accept.clone());
        let transformed = tokio::task::spawn_blocking(move || {
            let pipeline: &Pipeline = &pipeline;
            let content = if gzip { unzip(&content)? } else { content };
            transform(&content, &processing, |body| {
                let answer = pipeline.invoke(&content_type, &accept, Asked::InBatch, body);
                answer.map(|answer| answer.body).map_err(|error| {
                    format!("ClientError: {} answered {}: {error}", error.container, error.status)
                })
            })
        });
        let transformed = transformed.await.map_err(|error| error.to_string())??;
        let accept = if plan.accept.is_empty() { "text/csv" } else { &plan.accept };
        s3.put(&plan.output_of(&object), accept, transformed).await.map_err(failed)?;
    }
    Ok(())
}

fn unzip(content: &[u8]) -> Result<Vec<u8>, String> {
    let mut plain = Vec::new();
    let read = MultiGzDecoder::new(content).read_to_end(&mut plain);
    read.map(|_| plain).map_err(|error| format!("ClientError: the input is not Gzip: {error}"))
}
