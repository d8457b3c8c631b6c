//! Transform jobs: predictions for the files of an S3 prefix.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crosspilot_core::instances;
use flate2::read::MultiGzDecoder;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::Cloud;
use crate::endpoint::variants::start_model;
use crate::operations::automl_job::Status;
use crate::operations::{Answer, Call, authorization, child_jobs, tags};
use crate::records::store::{Place, now};
use crate::services::s3::S3Uri;
use crate::serving::container::{Asked, Environment, Pipeline};
use crate::transform::lines::{Filter, Processing, transform};
use crate::wire::error::ApiError;
use crate::wire::paging::{Row, page};

/// A transform job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct TransformJob {
    name: String,
    arn: String,
    request: Value,
    created: f64,
    started: Option<f64>,
    ended: Option<f64>,
    status: Status,
    failure: Option<String>,
}

/// A transform job's request, understood.
struct Plan {
    model: String,
    input: S3Uri,
    gzip: bool,
    output: S3Uri,
    output_key: Option<String>,
    volume_key: Option<String>,
    content_type: String,
    accept: String,
    environment: Environment,
    processing: Processing,
}

impl Plan {
    fn read(request: &Value) -> Result<Self, String> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let (input, output, data) =
            (&request["TransformInput"], &request["TransformOutput"], &request["DataProcessing"]);
        let source = &input["DataSource"]["S3DataSource"];
        if source["S3DataType"] != "S3Prefix" {
            return Err("The local SageMaker offers the S3DataType S3Prefix only.".into());
        }
        let uri = |value: &Value| {
            let text = text(value).unwrap_or_default();
            S3Uri::parse(&text).ok_or_else(|| format!("{text} is not an S3 location."))
        };
        let filter = |value: &Value| {
            let text = text(value).unwrap_or_default();
            Filter::parse(&text)
                .ok_or_else(|| format!("The filter {text} is not supported for CSV."))
        };
        let by_line = match input["SplitType"].as_str() {
            None | Some("None") => false,
            Some("Line") => true,
            Some(other) => {
                return Err(format!(
                    "The SplitType {other} is not offered by the local SageMaker."
                ));
            }
        };
        let many = match request["BatchStrategy"].as_str() {
            Some("MultiRecord") if !by_line => {
                return Err("BatchStrategy MultiRecord needs a SplitType.".into());
            }
            strategy => strategy != Some("SingleRecord"),
        };
        let megabytes = request["MaxPayloadInMB"].as_u64().unwrap_or(6);
        let concurrent = request["MaxConcurrentTransforms"].as_u64().unwrap_or(1);
        if megabytes * concurrent > 100 {
            return Err(
                "MaxPayloadInMB x MaxConcurrentTransforms cannot be greater than 100 MB.".into()
            );
        }
        let resources = &request["TransformResources"];
        let instance_type = text(&resources["InstanceType"]).unwrap_or_default();
        if !resources["VolumeKmsKeyId"].is_null() && instances::has_local_disk(&instance_type) {
            return Err(format!(
                "VolumeKmsKeyId cannot be specified for the instance type {instance_type}, which has local storage."
            ));
        }
        let join = data["JoinSource"].as_str() == Some("Input");
        let (input_filter, output_filter) =
            (filter(&data["InputFilter"])?, filter(&data["OutputFilter"])?);
        if !by_line && (join || input_filter != Filter::All || output_filter != Filter::All) {
            return Err("DataProcessing needs the SplitType Line.".into());
        }
        let accept = text(&output["Accept"]).unwrap_or_default();
        let answers_csv = !accept.starts_with("application/json");
        if !answers_csv && (join || output_filter != Filter::All) {
            return Err(
                "The local SageMaker joins and filters answers in CSV only: ask for text/csv."
                    .into(),
            );
        }
        Ok(Self {
            model: text(&request["ModelName"]).unwrap_or_default(),
            input: uri(&source["S3Uri"])?,
            gzip: input["CompressionType"].as_str() == Some("Gzip"),
            output: uri(&output["S3OutputPath"])?,
            output_key: text(&output["KmsKeyId"]),
            volume_key: text(&request["TransformResources"]["VolumeKmsKeyId"]),
            content_type: text(&input["ContentType"]).unwrap_or_default(),
            accept,
            environment: serde_json::from_value(request["Environment"].clone()).unwrap_or_default(),
            processing: Processing {
                by_line,
                many,
                max_payload: usize::try_from(megabytes << 20).unwrap_or(usize::MAX),
                input: input_filter,
                output: output_filter,
                join,
                assemble_lines: output["AssembleWith"].as_str() == Some("Line"),
                answers_csv,
            },
        })
    }

    /// Where the output of one input object goes.
    fn output_of(&self, object: &S3Uri) -> S3Uri {
        let rest = object.key.strip_prefix(&self.input.key).unwrap_or_default();
        // A prefix may end in the middle of a name, or be the whole name.
        let relative = if rest.starts_with('/') || self.input.key.ends_with('/') {
            rest.trim_start_matches('/')
        } else {
            let start = self.input.key.rfind('/').map_or(0, |slash| slash + 1);
            object.key.get(start..).unwrap_or_default()
        };
        self.output.join(&format!("{relative}.out"))
    }
}

pub(crate) async fn create(cloud: &Arc<Cloud>, call: &Call<'_>) -> Answer {
    let name = call.text("TransformJobName");
    let arn = call.place.arn("transform-job", name);
    Plan::read(&call.input).map_err(ApiError::Validation)?;
    cloud.store.at(&call.place, |here| {
        let model = call.text("ModelName");
        if !here.models.contains_key(&model.to_lowercase()) {
            let model = call.place.arn("model", model);
            return Err(ApiError::Validation(format!("Could not find model \"{model}\".")));
        }
        if here.transform_jobs.contains_key(&name.to_lowercase()) {
            return Err(ApiError::ResourceInUse(format!(
                "Job name must be unique within an AWS account and region, and a transform job with this name already \
                 exists ({arn})"
            )));
        }
        let job = TransformJob {
            name: name.into(),
            arn: arn.clone(),
            request: call.input.clone(),
            created: now(),
            started: None,
            ended: None,
            status: Status::InProgress,
            failure: None,
        };
        here.transform_jobs.insert(name.to_lowercase(), job);
        tags::put_on(here, &arn, &call.input);
        Ok(())
    })?;
    cloud.spawn(run(cloud.clone(), call.place.clone(), name.to_lowercase()));
    Ok(json!({ "TransformJobArn": arn }))
}

pub(crate) fn describe(cloud: &Cloud, call: &Call) -> Answer {
    if let Some(step) = child_jobs::describe_transform(cloud, call) {
        return Ok(step);
    }
    let job = find(cloud, call)?;
    let mut answer = job.request.as_object().cloned().unwrap_or_default();
    answer.remove("Tags");
    answer.extend(job.state());
    let time = |name: &str, time: Option<f64>| time.map(|time| (name.to_owned(), json!(time)));
    answer.extend(time("TransformStartTime", job.started));
    answer.extend(time("TransformEndTime", job.ended));
    Ok(Value::Object(answer))
}

pub(crate) fn stop(cloud: &Cloud, call: &Call) -> Answer {
    let job = find(cloud, call)?;
    if !job.status.runs() {
        let status = job.status.name();
        let message =
            format!("The request was rejected because the transform job is in status {status}.");
        return Err(ApiError::Validation(message));
    }
    change(cloud, &call.place, &job.name.to_lowercase(), |job| job.status = Status::Stopping);
    cloud.stop_flag(&job.arn).store(true, Ordering::Release);
    Ok(json!({}))
}

pub(crate) fn list(cloud: &Cloud, call: &Call) -> Answer {
    let row = |job: &TransformJob| Row {
        name: job.name.clone(),
        created: job.created,
        modified: job.ended.unwrap_or(job.created),
        status: Some(job.status.name().into()),
        value: None,
        summary: Value::Object(job.state()),
    };
    let rows = cloud.store.at(&call.place, |here| {
        let own = here.transform_jobs.values().map(row);
        own.chain(child_jobs::transform_rows(here)).collect()
    });
    page(&call.input, "TransformJobSummaries", rows)
}

/// Start again what a restart interrupted.
pub(crate) fn resume(cloud: &Arc<Cloud>) {
    for place in cloud.store.places() {
        let running: Vec<String> = cloud.store.at(&place, |here| {
            let running = here.transform_jobs.iter().filter(|(_, job)| job.status.runs());
            running.map(|(name, _)| name.clone()).collect()
        });
        for name in running {
            cloud.spawn(run(cloud.clone(), place.clone(), name));
        }
    }
}

impl TransformJob {
    fn state(&self) -> Map<String, Value> {
        let mut state = Map::from_iter([
            ("TransformJobName".to_owned(), json!(self.name)),
            ("TransformJobArn".to_owned(), json!(self.arn)),
            ("TransformJobStatus".to_owned(), json!(self.status.name())),
            ("CreationTime".to_owned(), json!(self.created)),
        ]);
        state.extend(
            self.failure.as_ref().map(|reason| ("FailureReason".to_owned(), json!(reason))),
        );
        state
    }
}

fn find(cloud: &Cloud, call: &Call) -> Result<TransformJob, ApiError> {
    let name = call.text("TransformJobName");
    let job =
        cloud.store.at(&call.place, |here| here.transform_jobs.get(&name.to_lowercase()).cloned());
    // Not ResourceNotFound, as the reference has it: the waiters and AWS's own
    // controllers count on this code and text.
    job.ok_or_else(|| {
        ApiError::Validation(format!("Could not find requested job with name: {name}"))
    })
}

fn change(cloud: &Cloud, place: &Place, key: &str, change: impl FnOnce(&mut TransformJob)) {
    cloud.store.at(place, |here| here.transform_jobs.get_mut(key).map(change));
}

async fn run(cloud: Arc<Cloud>, place: Place, key: String) {
    let Some(job) = cloud.store.at(&place, |here| here.transform_jobs.get(&key).cloned()) else {
        return;
    };
    let stop = cloud.stop_flag(&job.arn);
    change(&cloud, &place, &key, |job| job.started = Some(now()));
    tokio::time::sleep(cloud.options.stage).await;
    let outcome = match Plan::read(&job.request) {
        Ok(plan) => work(&cloud, &place, &job, &plan, &|| stop.load(Ordering::Acquire)).await,
        Err(reason) => Err(reason),
    };
    change(&cloud, &place, &key, |job| {
        job.ended = Some(now());
        (job.status, job.failure) = match outcome {
            _ if stop.load(Ordering::Acquire) => (Status::Stopped, None),
            Ok(()) => (Status::Completed, None),
            Err(reason) => (Status::Failed, Some(reason.chars().take(1024).collect())),
        };
    });
    cloud.forget_stop_flag(&job.arn);
}

async fn work(
    cloud: &Arc<Cloud>,
    place: &Place,
    job: &TransformJob,
    plan: &Plan,
    stopped: &(dyn Fn() -> bool + Sync),
) -> Result<(), String> {
    let pipeline =
        Arc::new(start_model(cloud, place, &plan.model, "AllTraffic", &plan.environment).await?);
    let model = cloud.store.at(place, |here| here.models.get(&plan.model.to_lowercase()).cloned());
    let request = model.map(|model| model.request).unwrap_or_default();
    let role = authorization::passed_role(&request).unwrap_or_default();
    let s3 = cloud
        .role_s3(place, role, &job.arn)
        .await
        .map_err(|error| format!("ClientError: {error}"))?;
    let failed = |error: crate::services::s3::S3Error| format!("ClientError: {error}");
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn request(uri: &str) -> Value {
        json!({
            "TransformJobName": "t", "ModelName": "m",
            "TransformInput": { "DataSource": { "S3DataSource": { "S3DataType": "S3Prefix", "S3Uri": uri } }, "SplitType": "Line" },
            "TransformOutput": { "S3OutputPath": "s3://b/out" },
        })
    }

    #[test]
    fn outputs_mirror_their_inputs() {
        for (prefix, object, output) in [
            ("s3://b/in/data.csv", "in/data.csv", "s3://b/out/data.csv.out"),
            ("s3://b/in/", "in/one/data.csv", "s3://b/out/one/data.csv.out"),
            ("s3://b/in", "in/one/data.csv", "s3://b/out/one/data.csv.out"),
            ("s3://b/in/da", "in/data.csv", "s3://b/out/data.csv.out"),
        ] {
            let object = S3Uri { bucket: "b".into(), key: object.into() };
            assert_eq!(
                Plan::read(&request(prefix)).unwrap().output_of(&object).to_string(),
                output
            );
        }
    }

    #[test]
    fn disks_that_encrypt_themselves_take_no_key() {
        let with = |instance_type: &str| {
            let mut request = request("s3://b/in");
            request["TransformResources"] =
                json!({ "InstanceType": instance_type, "VolumeKmsKeyId": "alias/disks" });
            Plan::read(&request).map(drop)
        };
        assert!(with("ml.m5.large").is_ok());
        assert!(with("ml.g5.xlarge").unwrap_err().contains("local storage"));
    }

    #[test]
    fn rules_of_batch_transform_hold() {
        let mut big = request("s3://b/in");
        big["MaxPayloadInMB"] = json!(50);
        big["MaxConcurrentTransforms"] = json!(4);
        assert!(Plan::read(&big).is_err());
        let mut join = request("s3://b/in");
        join["DataProcessing"] = json!({ "JoinSource": "Input", "InputFilter": "$[1:]" });
        assert!(Plan::read(&join).is_ok());
        join["TransformOutput"]["Accept"] = json!("application/jsonlines");
        assert!(Plan::read(&join).is_err());
        join["TransformOutput"]["Accept"] = json!("text/csv");
        join["TransformInput"]["SplitType"] = json!("None");
        assert!(Plan::read(&join).is_err());
    }
}
