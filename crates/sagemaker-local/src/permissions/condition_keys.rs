//! The condition keys that a request sets, for policies that insist on something.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::permissions::resources::arn;
use crate::records::model::Model;
use crate::records::resource::Resource;
use crate::wire::call::tags_of;

/// The tags that a request puts on something.
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
pub(crate) fn own_context(operation: &str, request: &Value) -> BTreeMap<String, Value> {
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
        let each = |member: &str| -> Vec<Value> {
            variants.iter().filter_map(|variant| variant.get(member).cloned()).collect()
        };
        list("sagemaker:InstanceTypes", each("InstanceType"));
        list(
            "sagemaker:ModelArn",
            variants
                .iter()
                .map(|variant| {
                    json!(arn(Model::KIND, variant[Model::NAMED_BY].as_str().unwrap_or_default()))
                })
                .collect(),
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

/// Gives the condition keys of a request's networks and keys, for policies that insist on some;
/// absent where it says nothing.
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
