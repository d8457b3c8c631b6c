//! The permissions that SageMaker's operations need, as AWS's service authorization
//! reference lists them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::authority::Check;
use crate::permissions::condition_keys::{own_context, tag_context};
use crate::permissions::resources::{arn, resource};
use crate::records::endpoint_config::EndpointConfig;
use crate::records::resource::Resource;
use crate::wire::call::{passed_role, tags_of};

/// Everything that the caller must be allowed to do for this request.
pub(crate) fn checks(operation: &str, request: &Value) -> Vec<Check> {
    let resource = resource(operation, request);
    let mut checks = vec![check(operation, &resource, own_context(operation, request))];
    if matches!(operation, "CreateEndpoint" | "UpdateEndpoint") {
        let config = request.get(EndpointConfig::NAMED_BY).and_then(Value::as_str);
        let config = arn(EndpointConfig::KIND, config.unwrap_or_default());
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

fn check(operation: &str, resource: &str, context: BTreeMap<String, Value>) -> Check {
    Check { action: format!("sagemaker:{operation}"), resource: resource.into(), context }
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
