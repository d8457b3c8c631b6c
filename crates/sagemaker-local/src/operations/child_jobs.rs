//! The child jobs of AutoML jobs, as the operations on training, processing and
//! transform jobs show them.

use serde_json::{Map, Value, json};

use crate::cloud::Cloud;
use crate::records::automl_job::AutoMlJob;
use crate::records::candidate::{Candidate, CandidateStep, StepKind};
use crate::records::resources::Resources;
use crate::wire::call::{Answer, Call};
use crate::wire::error::ApiError;
use crate::wire::paging::{ListingSpec, OLDEST_FIRST, Row, page};

/// The instance type of child jobs. AWS does not publish what Autopilot takes.
const INSTANCE_TYPE: &str = "ml.m5.4xlarge";
const VOLUME_GB: u64 = 50;
/// The longest that a child job may take, unless its AutoML job says so.
const LONGEST_SECONDS: u64 = 86_400;

pub(crate) fn describe_training(cloud: &Cloud, call: &Call) -> Answer {
    let name = call.text("TrainingJobName");
    find(cloud, call, StepKind::Training, name, training)
        .ok_or_else(|| ApiError::Validation("Requested resource not found.".into()))
}

pub(crate) fn describe_processing(cloud: &Cloud, call: &Call) -> Answer {
    let name = call.text("ProcessingJobName");
    find(cloud, call, StepKind::Processing, name, |job, step, _| processing(job, step)).ok_or_else(
        || ApiError::Validation(format!("Could not find requested job with name: {name}")),
    )
}

/// A transform job that is a step of an AutoML job.
pub(crate) fn describe_transform(cloud: &Cloud, call: &Call) -> Option<Value> {
    let name = call.text("TransformJobName");
    find(cloud, call, StepKind::Transform, name, |job, step, _| transform(job, step))
}

pub(crate) fn list_training(cloud: &Cloud, call: &Call) -> Answer {
    let rows = cloud.store.at(&call.place, |here| rows(here, StepKind::Training, "TrainingJob"));
    page(ListingSpec::new("TrainingJobSummaries", OLDEST_FIRST), &call.input, rows)
}

pub(crate) fn list_processing(cloud: &Cloud, call: &Call) -> Answer {
    let rows =
        cloud.store.at(&call.place, |here| rows(here, StepKind::Processing, "ProcessingJob"));
    page(ListingSpec::new("ProcessingJobSummaries", OLDEST_FIRST), &call.input, rows)
}

/// The transform jobs that are steps of AutoML jobs, for the list of all.
pub(crate) fn transform_rows(here: &Resources) -> Vec<Row> {
    rows(here, StepKind::Transform, "TransformJob")
}

fn find(
    cloud: &Cloud,
    call: &Call,
    kind: StepKind,
    name: &str,
    describe: impl Fn(&AutoMlJob, &CandidateStep, Option<&Candidate>) -> Value,
) -> Option<Value> {
    cloud.store.at(&call.place, |here| {
        here.all().find_map(|job: &AutoMlJob| {
            let mut children = job.children();
            let (step, candidate) = children.find(|(step, _)| {
                step.kind == kind && step.name.to_lowercase() == name.to_lowercase()
            })?;
            Some(describe(job, step, candidate))
        })
    })
}

/// Children are shown once they have done their work.
fn rows(here: &Resources, kind: StepKind, prefix: &str) -> Vec<Row> {
    let children = here.all().flat_map(AutoMlJob::children);
    let row = |(step, _): (&CandidateStep, Option<&Candidate>)| {
        Row::new(&step.name, step.created, Value::Object(state(step, prefix)))
            .modified(step.ended)
            .status("Completed")
    };
    children.filter(|(step, _)| step.kind == kind).map(row).collect()
}

/// Gives the members that summaries and descriptions have in common.
fn state(step: &CandidateStep, prefix: &str) -> Map<String, Value> {
    let mut state = Map::from_iter([
        (format!("{prefix}Name"), json!(step.name)),
        (format!("{prefix}Arn"), json!(step.arn)),
        (format!("{prefix}Status"), json!("Completed")),
        ("CreationTime".to_owned(), json!(step.created)),
    ]);
    let kind = prefix.trim_end_matches("Job");
    state.insert(format!("{kind}EndTime"), json!(step.ended));
    state
}

fn training(job: &AutoMlJob, step: &CandidateStep, candidate: Option<&Candidate>) -> Value {
    let mut answer = state(step, "TrainingJob");
    let container = candidate.and_then(|candidate| match &candidate.containers[..] {
        [only] => Some(only),
        // Before it is the data processing, after it the way back to labels.
        [_, algorithm, ..] => Some(algorithm),
        [] => None,
    });
    let processor = || job.candidates.first().and_then(|candidate| candidate.containers.first());
    let container = container.or_else(processor);
    let request = &job.request;
    let channels = request["AutoMLJobInputDataConfig"].as_array().into_iter().flatten();
    let channel = |channel: &Value| {
        json!({
            "ChannelName": channel["ChannelType"].as_str().unwrap_or("training"),
            "ContentType": channel["ContentType"].as_str().unwrap_or("text/csv;header=present"),
            "CompressionType": channel["CompressionType"].as_str().unwrap_or("None"),
            "DataSource": { "S3DataSource": {
                "S3DataType": channel["DataSource"]["S3DataSource"]["S3DataType"],
                "S3Uri": channel["DataSource"]["S3DataSource"]["S3Uri"],
                "S3DataDistributionType": "FullyReplicated",
            }},
        })
    };
    answer.extend(members(json!({
        "AutoMLJobArn": job.arn,
        "RoleArn": request["RoleArn"],
        "SecondaryStatus": "Completed",
        "InputDataConfig": channels.map(channel).collect::<Vec<_>>(),
        "OutputDataConfig": { "S3OutputPath": request["OutputDataConfig"]["S3OutputPath"] },
        "ResourceConfig": {
            "InstanceType": INSTANCE_TYPE, "InstanceCount": 1, "VolumeSizeInGB": VOLUME_GB,
        },
        "StoppingCondition": { "MaxRuntimeInSeconds": limit(job) },
        "TrainingStartTime": step.created,
        "LastModifiedTime": step.ended,
        "ModelArtifacts": {
            "S3ModelArtifacts":
                container.and_then(|container| container.model_data_url.as_deref()).unwrap_or_default(),
        },
    })));
    if let Some(image) = container.and_then(|container| container.image.as_ref()) {
        let algorithm = json!({ "TrainingImage": image, "TrainingInputMode": "File" });
        answer.insert("AlgorithmSpecification".into(), algorithm);
    }
    if let Some(Candidate { objective, ended, .. }) = candidate {
        let metric =
            json!({ "MetricName": objective.name, "Value": objective.value, "Timestamp": ended });
        answer.insert("FinalMetricDataList".into(), json!([metric]));
    }
    Value::Object(answer)
}

fn processing(job: &AutoMlJob, step: &CandidateStep) -> Value {
    let mut answer = state(step, "ProcessingJob");
    answer.extend(members(json!({
        "AutoMLJobArn": job.arn,
        "RoleArn": job.request["RoleArn"],
        "ProcessingResources": { "ClusterConfig": {
            "InstanceType": INSTANCE_TYPE, "InstanceCount": 1, "VolumeSizeInGB": VOLUME_GB,
        }},
        "StoppingCondition": { "MaxRuntimeInSeconds": limit(job) },
        "AppSpecification": { "ImageUri": image_of(job) },
        "ProcessingStartTime": step.created,
        "LastModifiedTime": step.ended,
    })));
    Value::Object(answer)
}

fn transform(job: &AutoMlJob, step: &CandidateStep) -> Value {
    let mut answer = state(step, "TransformJob");
    let source = &job.request["AutoMLJobInputDataConfig"][0]["DataSource"]["S3DataSource"];
    answer.extend(members(json!({
        "AutoMLJobArn": job.arn,
        "ModelName": step.name,
        "TransformInput": {
            "DataSource": { "S3DataSource": { "S3DataType": source["S3DataType"], "S3Uri": source["S3Uri"] } },
            "ContentType": "text/csv", "SplitType": "Line",
        },
        "TransformOutput": { "S3OutputPath": job.request["OutputDataConfig"]["S3OutputPath"] },
        "TransformResources": { "InstanceType": INSTANCE_TYPE, "InstanceCount": 1 },
        "TransformStartTime": step.created,
    })));
    Value::Object(answer)
}

fn members(document: Value) -> Map<String, Value> {
    match document {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

fn limit(job: &AutoMlJob) -> u64 {
    let criteria =
        &job.request["AutoMLProblemTypeConfig"]["TabularJobConfig"]["CompletionCriteria"];
    criteria["MaxRuntimePerTrainingJobInSeconds"].as_u64().unwrap_or(LONGEST_SECONDS)
}

/// The image that prepares the data.
fn image_of(job: &AutoMlJob) -> String {
    let first = job.candidates.first().and_then(|candidate| candidate.containers.first());
    let image = first.and_then(|container| container.image.clone());
    image.unwrap_or_else(|| "sagemaker-sklearn-automl:2.5-1-cpu-py3".into())
}
