//! Which permissions a call needs, as AWS's service authorization reference
//! lists them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::authority::Check;
use crate::operations::scaling;
use crate::records::store::Resources;

/// The operations on one kind of resource, by the member that names it.
const ON_RESOURCES: [(&str, &str, &[&str]); 7] = [
    (
        "automl-job",
        "AutoMLJobName",
        &[
            "CreateAutoMLJob",
            "CreateAutoMLJobV2",
            "DescribeAutoMLJob",
            "DescribeAutoMLJobV2",
            "StopAutoMLJob",
        ],
    ),
    ("model", "ModelName", &["CreateModel", "DescribeModel", "DeleteModel"]),
    (
        "endpoint-config",
        "EndpointConfigName",
        &["CreateEndpointConfig", "DescribeEndpointConfig", "DeleteEndpointConfig"],
    ),
    (
        "endpoint",
        "EndpointName",
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
        "transform-job",
        "TransformJobName",
        &["CreateTransformJob", "DescribeTransformJob", "StopTransformJob"],
    ),
    ("training-job", "TrainingJobName", &["DescribeTrainingJob"]),
    ("processing-job", "ProcessingJobName", &["DescribeProcessingJob"]),
];

/// Everything that the caller must be allowed to do for this request.
pub(crate) fn checks(operation: &str, request: &Value) -> Vec<Check> {
    if scaling::OPERATIONS.contains(&operation) {
        return scaling::checks(operation, request);
    }
    let resource = resource(operation, request);
    let mut checks = vec![check(operation, &resource, own_context(operation, request))];
    if matches!(operation, "CreateEndpoint" | "UpdateEndpoint") {
        let config = arn("endpoint-config", request, "EndpointConfigName");
        checks.push(check(operation, &config, BTreeMap::new()));
    }
    if operation.starts_with("Create") {
        if !tags_of(request).is_empty() {
            let mut context = tag_context(request);
            context.insert("sagemaker:TaggingAction".into(), json!(operation));
            checks.push(check("AddTags", &resource, context));
        }
        if let Some(role) = passed_role(request) {
            let context = BTreeMap::from([
                ("iam:PassedToService".to_owned(), json!("sagemaker.amazonaws.com")),
                ("iam:AssociatedResourceArn".to_owned(), json!(resource)),
            ]);
            checks.push(Check { action: "iam:PassRole".into(), resource: role.into(), context });
        }
    }
    checks
}

/// What the sender must be allowed to do besides, which depends on what is there.
pub(crate) fn later_checks(here: &Resources, operation: &str, request: &Value) -> Vec<Check> {
    match operation {
        "DeleteEndpoint" => {
            scaling::deletion_checks(here, request["EndpointName"].as_str().unwrap_or_default())
        }
        _ => scaling::first_time_checks(here, operation),
    }
}

/// The role that a request hands to SageMaker.
pub(crate) fn passed_role(request: &Value) -> Option<&str> {
    request.get("RoleArn").or_else(|| request.get("ExecutionRoleArn")).and_then(Value::as_str)
}

/// The `Tags` of a request, as pairs: SageMaker lists them, Application Auto
/// Scaling maps them.
pub(crate) fn tags_of(request: &Value) -> BTreeMap<String, String> {
    if let Some(Value::Object(tags)) = request.get("Tags") {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        return tags.iter().map(|(key, value)| (key.clone(), text(value))).collect();
    }
    let tags = request.get("Tags").and_then(Value::as_array).into_iter().flatten();
    let text = |tag: &Value, member: &str| {
        tag.get(member).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    tags.map(|tag| (text(tag, "Key"), text(tag, "Value"))).collect()
}

/// The ARN that the permission is checked on. The operations that list things
/// know no resources, so only a policy on `*` allows them: that includes
/// `ListCandidatesForAutoMLJob`, although it names its job.
fn resource(operation: &str, request: &Value) -> String {
    if let Some(arn) = request.get("ResourceArn").and_then(Value::as_str) {
        return arn.to_owned();
    }
    match ON_RESOURCES.iter().find(|(_, _, operations)| operations.contains(&operation)) {
        Some((kind, member, _)) => arn(kind, request, member),
        None => "*".into(),
    }
}

fn arn(kind: &str, request: &Value, member: &str) -> String {
    let name = request.get(member).and_then(Value::as_str).unwrap_or_default().to_lowercase();
    format!("arn:aws:sagemaker:{{region}}:{{account}}:{kind}/{name}")
}

fn check(operation: &str, resource: &str, context: BTreeMap<String, Value>) -> Check {
    Check { action: format!("sagemaker:{operation}"), resource: resource.into(), context }
}

pub(crate) fn tag_context(request: &Value) -> BTreeMap<String, Value> {
    let tags = tags_of(request);
    let mut context: BTreeMap<_, _> =
        tags.iter().map(|(key, value)| (format!("aws:RequestTag/{key}"), json!(value))).collect();
    if !tags.is_empty() {
        context.insert("aws:TagKeys".into(), json!(tags.keys().collect::<Vec<_>>()));
    }
    context
}

/// The condition keys of the operation itself.
fn own_context(operation: &str, request: &Value) -> BTreeMap<String, Value> {
    let mut context = tag_context(request);
    if let Some(keys) = request.get("TagKeys") {
        context.insert("aws:TagKeys".into(), keys.clone());
    }
    context.extend(protection_context(operation, request));
    if operation == "CreateEndpointConfig" {
        let variants =
            request.get("ProductionVariants").and_then(Value::as_array).into_iter().flatten();
        let variants: Vec<&Value> = variants.collect();
        let mut list = |key: &str, values: Vec<Value>| {
            if !values.is_empty() {
                context.insert(key.to_owned(), Value::Array(values));
            }
        };
        let each = |member: &str| {
            variants.iter().filter_map(|variant| variant.get(member).cloned()).collect()
        };
        list("sagemaker:InstanceTypes", each("InstanceType"));
        list(
            "sagemaker:ModelArn",
            variants.iter().map(|variant| json!(arn("model", variant, "ModelName"))).collect(),
        );
        let serverless = |member: &str| {
            variants
                .iter()
                .filter_map(|variant| variant.get("ServerlessConfig")?.get(member).cloned())
                .collect()
        };
        list("sagemaker:ServerlessMemorySize", serverless("MemorySizeInMB"));
        list("sagemaker:ServerlessMaxConcurrency", serverless("MaxConcurrency"));
    }
    context
}

/// What a request says about networks and keys, for policies that insist on
/// some; absent where it says nothing.
fn protection_context(operation: &str, request: &Value) -> BTreeMap<String, Value> {
    let (network, members): (&Value, &[(&str, &Value)]) = match operation {
        "CreateAutoMLJob" | "CreateAutoMLJobV2" => {
            let security = match operation {
                "CreateAutoMLJob" => &request["AutoMLJobConfig"]["SecurityConfig"],
                _ => &request["SecurityConfig"],
            };
            let encrypted = &security["EnableInterContainerTrafficEncryption"];
            (
                &security["VpcConfig"],
                &[
                    ("sagemaker:InterContainerTrafficEncryption", encrypted),
                    ("sagemaker:VolumeKmsKey", &security["VolumeKmsKeyId"]),
                    ("sagemaker:OutputKmsKey", &request["OutputDataConfig"]["KmsKeyId"]),
                ],
            )
        }
        "CreateModel" => (
            &request["VpcConfig"],
            &[("sagemaker:NetworkIsolation", &request["EnableNetworkIsolation"])],
        ),
        "CreateEndpointConfig" => {
            (&Value::Null, &[("sagemaker:VolumeKmsKey", &request["KmsKeyId"])])
        }
        "CreateTransformJob" => (
            &Value::Null,
            &[
                ("sagemaker:VolumeKmsKey", &request["TransformResources"]["VolumeKmsKeyId"]),
                ("sagemaker:OutputKmsKey", &request["TransformOutput"]["KmsKeyId"]),
            ],
        ),
        _ => (&Value::Null, &[]),
    };
    let networks = [
        ("sagemaker:VpcSubnets", &network["Subnets"]),
        ("sagemaker:VpcSecurityGroupIds", &network["SecurityGroupIds"]),
    ];
    let all = members.iter().copied().chain(networks);
    all.filter(|(_, value)| !value.is_null())
        .map(|(key, value)| {
            // IAM's conditions compare texts.
            let text = value.as_bool().map(|flag| json!(flag.to_string()));
            (key.to_owned(), text.unwrap_or_else(|| value.clone()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn asked(operation: &str, request: Value) -> Vec<(String, String)> {
        checks(operation, &request)
            .into_iter()
            .map(|check| (check.action, check.resource))
            .collect()
    }

    fn pair(action: &str, resource: &str) -> (String, String) {
        let resource = resource.replace("LOCAL", "arn:aws:sagemaker:{region}:{account}");
        (action.into(), resource)
    }

    #[test]
    fn a_job_needs_itself_its_tags_and_its_role() {
        let role = "arn:aws:iam::222222222222:role/exec";
        let request = json!({ "AutoMLJobName": "Job-A", "RoleArn": role, "Tags": [{ "Key": "k", "Value": "v" }] });
        assert_eq!(
            asked("CreateAutoMLJobV2", request.clone()),
            [
                pair("sagemaker:CreateAutoMLJobV2", "LOCAL:automl-job/job-a"),
                pair("sagemaker:AddTags", "LOCAL:automl-job/job-a"),
                pair("iam:PassRole", role),
            ]
        );
        let context = &checks("CreateAutoMLJobV2", &request)[0].context;
        assert_eq!(context["aws:RequestTag/k"], "v");
        assert_eq!(context["aws:TagKeys"], json!(["k"]));
    }

    #[test]
    fn an_endpoint_needs_its_config_too() {
        assert_eq!(
            asked("UpdateEndpoint", json!({ "EndpointName": "e", "EndpointConfigName": "C" })),
            [
                pair("sagemaker:UpdateEndpoint", "LOCAL:endpoint/e"),
                pair("sagemaker:UpdateEndpoint", "LOCAL:endpoint-config/c"),
            ]
        );
    }

    #[test]
    fn listing_knows_no_resources() {
        assert_eq!(asked("ListEndpoints", json!({})), [pair("sagemaker:ListEndpoints", "*")]);
        assert_eq!(
            asked("ListCandidatesForAutoMLJob", json!({ "AutoMLJobName": "j" })),
            [pair("sagemaker:ListCandidatesForAutoMLJob", "*")]
        );
    }

    #[test]
    fn tags_are_checked_on_what_they_are_put() {
        let arn = "arn:aws:sagemaker:us-east-1:222222222222:model/m";
        assert_eq!(
            asked("AddTags", json!({ "ResourceArn": arn })),
            [pair("sagemaker:AddTags", arn)]
        );
    }
    #[test]
    fn networks_and_keys_are_condition_keys() {
        let network = json!({ "Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"] });
        let security = json!({ "VpcConfig": network, "EnableInterContainerTrafficEncryption": true,
            "VolumeKmsKeyId": "volume" });
        let v2 = json!({ "AutoMLJobName": "j", "SecurityConfig": security,
            "OutputDataConfig": { "KmsKeyId": "output" } });
        let v1 = json!({ "AutoMLJobName": "j", "AutoMLJobConfig": { "SecurityConfig": security },
            "OutputDataConfig": { "KmsKeyId": "output" } });
        let context =
            |operation: &str, request: &Value| checks(operation, request)[0].context.clone();
        let expected: BTreeMap<String, Value> = serde_json::from_value(json!({
            "sagemaker:VpcSubnets": ["subnet-1"], "sagemaker:VpcSecurityGroupIds": ["sg-1"],
            "sagemaker:InterContainerTrafficEncryption": "true",
            "sagemaker:VolumeKmsKey": "volume", "sagemaker:OutputKmsKey": "output",
        }))
        .unwrap();
        assert_eq!(context("CreateAutoMLJobV2", &v2), expected);
        assert_eq!(context("CreateAutoMLJob", &v1), expected);
        let model =
            json!({ "ModelName": "m", "VpcConfig": network, "EnableNetworkIsolation": false });
        assert_eq!(context("CreateModel", &model)["sagemaker:VpcSubnets"], json!(["subnet-1"]));
        assert_eq!(context("CreateModel", &model)["sagemaker:NetworkIsolation"], "false");
        // A policy can tell what is not there.
        assert!(context("CreateModel", &json!({ "ModelName": "m" })).is_empty());
    }
}
