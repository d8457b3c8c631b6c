//! What a transform job is asked to do.

use crosspilot_core::instances;
use serde_json::Value;

use crate::records::model::Environment;
use crate::services::s3::S3Uri;
use crate::transform::lines::{Filter, Processing};

/// A transform job's request, understood.
pub(crate) struct Plan {
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

impl Plan {
    pub(crate) fn read(request: &Value) -> Result<Self, String> {
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
