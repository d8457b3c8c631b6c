//! The resource that an operation's permission is checked on.

use serde_json::Value;

use crate::records::automl_job::AutoMlJob;
use crate::records::endpoint::Endpoint;
use crate::records::endpoint_config::EndpointConfig;
use crate::records::model::Model;
use crate::records::resource::Resource;
use crate::records::transform_job::TransformJob;

/// The operations on one kind of resource, by the member that names it.
const ON_RESOURCES: [(&str, &str, &[&str]); 7] = [
    (
        AutoMlJob::KIND,
        AutoMlJob::NAMED_BY,
        &[
            "CreateAutoMLJob",
            "CreateAutoMLJobV2",
            "DescribeAutoMLJob",
            "DescribeAutoMLJobV2",
            "StopAutoMLJob",
        ],
    ),
    (Model::KIND, Model::NAMED_BY, &["CreateModel", "DescribeModel", "DeleteModel"]),
    (
        EndpointConfig::KIND,
        EndpointConfig::NAMED_BY,
        &["CreateEndpointConfig", "DescribeEndpointConfig", "DeleteEndpointConfig"],
    ),
    (
        Endpoint::KIND,
        Endpoint::NAMED_BY,
        &[
            "CreateEndpoint",
            "UpdateEndpoint",
            "UpdateEndpointWeightsAndCapacities",
            "DescribeEndpoint",
            "DeleteEndpoint",
            "InvokeEndpoint",
        ],
    ),
    (
        TransformJob::KIND,
        TransformJob::NAMED_BY,
        &["CreateTransformJob", "DescribeTransformJob", "StopTransformJob"],
    ),
    ("training-job", "TrainingJobName", &["DescribeTrainingJob"]),
    ("processing-job", "ProcessingJobName", &["DescribeProcessingJob"]),
];

/// The ARN that the permission is checked on. The operations that list things
/// know no resources, so only a policy on `*` allows them: that includes
/// `ListCandidatesForAutoMLJob`, although it names its job.
pub(crate) fn resource(operation: &str, request: &Value) -> String {
    if let Some(arn) = request.get("ResourceArn").and_then(Value::as_str) {
        return arn.to_owned();
    }
    match ON_RESOURCES.iter().find(|(_, _, operations)| operations.contains(&operation)) {
        Some((kind, member, _)) => {
            arn(kind, request.get(member).and_then(Value::as_str).unwrap_or_default())
        }
        None => "*".into(),
    }
}

/// The ARN of a resource of the caller's: the emulator fills in the account and the region.
pub(crate) fn arn(kind: &str, name: &str) -> String {
    format!("arn:aws:sagemaker:{{region}}:{{account}}:{kind}/{}", name.to_lowercase())
}
