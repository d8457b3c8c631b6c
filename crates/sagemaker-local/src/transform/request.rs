//! The request for a transform job.

use crosspilot_core::instances;
use serde::Deserialize;
use serde_json::Value;

use crate::records::model::Environment;
use crate::services::s3::S3Uri;
use crate::transform::lines::{Filter, Processing};
use crate::wire::data_source::{DataSource, OutputDataConfig};

/// `CreateTransformJob`, as far as anything depends on it.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct CreateTransformJob {
    model_name: String,
    transform_input: TransformInput,
    transform_output: TransformOutput,
    transform_resources: TransformResources,
    data_processing: DataProcessing,
    batch_strategy: Option<String>,
    #[serde(rename = "MaxPayloadInMB")]
    max_payload_in_mb: Option<u64>,
    max_concurrent_transforms: Option<u64>,
    environment: Environment,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct TransformInput {
    data_source: DataSource,
    content_type: String,
    compression_type: String,
    split_type: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct TransformOutput {
    #[serde(flatten)]
    to: OutputDataConfig,
    accept: String,
    assemble_with: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct TransformResources {
    instance_type: String,
    volume_kms_key_id: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct DataProcessing {
    input_filter: String,
    output_filter: String,
    join_source: String,
}

/// A transform job's request, understood.
pub(crate) struct TransformPlan {
    pub(crate) model: String,
    pub(crate) input: S3Uri,
    pub(crate) gzip: bool,
    pub(crate) output: S3Uri,
    pub(crate) output_key: Option<String>,
    pub(crate) volume_key: Option<String>,
    pub(crate) content_type: String,
    pub(crate) accept: String,
    pub(crate) environment: Environment,
    pub(crate) processing: Processing,
}

impl TransformPlan {
    /// Understands a request; in AWS's place, says why it cannot be done.
    pub(crate) fn read(request: &Value) -> Result<Self, String> {
        let request =
            CreateTransformJob::deserialize(request).map_err(|error| error.to_string())?;
        let (input, output) = (request.transform_input, request.transform_output);
        let source = input.data_source.s3_data_source;
        if source.s3_data_type != "S3Prefix" {
            return Err("The local SageMaker offers the S3DataType S3Prefix only.".into());
        }
        let by_line = match input.split_type.as_deref() {
            None | Some("None") => false,
            Some("Line") => true,
            Some(other) => {
                return Err(format!(
                    "The SplitType {other} is not offered by the local SageMaker."
                ));
            }
        };
        let many = match request.batch_strategy.as_deref() {
            Some("MultiRecord") if !by_line => {
                return Err("BatchStrategy MultiRecord needs a SplitType.".into());
            }
            strategy => strategy != Some("SingleRecord"),
        };
        let megabytes = request.max_payload_in_mb.unwrap_or(6);
        if megabytes * request.max_concurrent_transforms.unwrap_or(1) > 100 {
            return Err(
                "MaxPayloadInMB x MaxConcurrentTransforms cannot be greater than 100 MB.".into()
            );
        }
        let TransformResources { instance_type, volume_kms_key_id } = request.transform_resources;
        if volume_kms_key_id.is_some() && instances::has_local_disk(&instance_type) {
            return Err(format!(
                "VolumeKmsKeyId cannot be specified for the instance type {instance_type}, which has local storage."
            ));
        }
        let data = request.data_processing;
        let join = data.join_source == "Input";
        let (input_filter, output_filter) =
            (filter(&data.input_filter)?, filter(&data.output_filter)?);
        if !by_line && (join || input_filter != Filter::All || output_filter != Filter::All) {
            return Err("DataProcessing needs the SplitType Line.".into());
        }
        let answers_csv = !output.accept.starts_with("application/json");
        if !answers_csv && (join || output_filter != Filter::All) {
            return Err(
                "The local SageMaker joins and filters answers in CSV only: ask for text/csv."
                    .into(),
            );
        }
        Ok(Self {
            model: request.model_name,
            input: location(&source.s3_uri)?,
            gzip: input.compression_type == "Gzip",
            output: location(&output.to.s3_output_path)?,
            output_key: output.to.kms_key_id,
            volume_key: volume_kms_key_id,
            content_type: input.content_type,
            accept: output.accept,
            environment: request.environment,
            processing: Processing {
                by_line,
                many,
                max_payload: usize::try_from(megabytes << 20).unwrap_or(usize::MAX),
                input: input_filter,
                output: output_filter,
                join,
                assemble_lines: output.assemble_with == "Line",
                answers_csv,
            },
        })
    }

    /// Gives the key that the output of one input object goes to.
    pub(crate) fn output_of(&self, object: &S3Uri) -> S3Uri {
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

fn location(uri: &str) -> Result<S3Uri, String> {
    S3Uri::parse(uri).ok_or_else(|| format!("{uri} is not an S3 location."))
}

fn filter(text: &str) -> Result<Filter, String> {
    Filter::parse(text).ok_or_else(|| format!("The filter {text} is not supported for CSV."))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

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
                TransformPlan::read(&request(prefix)).unwrap().output_of(&object).to_string(),
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
            TransformPlan::read(&request).map(drop)
        };
        assert!(with("ml.m5.large").is_ok());
        assert!(with("ml.g5.xlarge").unwrap_err().contains("local storage"));
    }

    #[test]
    fn rules_of_batch_transform_hold() {
        let mut big = request("s3://b/in");
        big["MaxPayloadInMB"] = json!(50);
        big["MaxConcurrentTransforms"] = json!(4);
        assert!(TransformPlan::read(&big).is_err());
        let mut join = request("s3://b/in");
        join["DataProcessing"] = json!({ "JoinSource": "Input", "InputFilter": "$[1:]" });
        assert!(TransformPlan::read(&join).is_ok());
        join["TransformOutput"]["Accept"] = json!("application/jsonlines");
        assert!(TransformPlan::read(&join).is_err());
        join["TransformOutput"]["Accept"] = json!("text/csv");
        join["TransformInput"]["SplitType"] = json!("None");
        assert!(TransformPlan::read(&join).is_err());
    }
}
