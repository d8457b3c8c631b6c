//! The permissions that Application Auto Scaling's operations need.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::authority::Check;
use crate::permissions::condition_keys::tag_context;
use crate::permissions::resources::arn;
use crate::records::endpoint::Endpoint;
use crate::records::endpoint_config::EndpointConfig;
use crate::records::resource::Resource;
use crate::records::resources::Resources;
use crate::records::scalable_target::VariantId;
use crate::wire::autoscaling::{DIMENSION, LINKED_ROLE, NAMESPACE, SERVICE};
use crate::wire::call::tags_of;
use crate::wire::ids::unique_id;

/// Everything that the caller must be allowed to do for this request: the
/// operation itself and what it does to alarms on the caller's behalf.
pub(crate) fn checks(operation: &str, request: &Value) -> Vec<Check> {
    let text = |member: &str| request.get(member).and_then(Value::as_str).unwrap_or_default();
    let Some(resource) =
        VariantId::parse(text("ResourceId")).filter(|_| !operation.starts_with("Describe"))
    else {
        return vec![check(&format!("{SERVICE}:{operation}"), "*".into(), BTreeMap::new())];
    };
    let target =
        format!("arn:aws:{SERVICE}:{{region}}:{{account}}:scalable-target/{}", resource.hash());
    let mut context: BTreeMap<String, Value> = BTreeMap::from([
        (format!("{SERVICE}:service-namespace"), json!(text("ServiceNamespace"))),
        (format!("{SERVICE}:scalable-dimension"), json!(text("ScalableDimension"))),
    ]);
    context.extend(tag_context(request));
    let mut checks =
        vec![check(&format!("{SERVICE}:{operation}"), target.clone(), context.clone())];
    let alarms = format!(
        "arn:aws:cloudwatch:{{region}}:{{account}}:alarm:TargetTracking-{}-AlarmHigh",
        resource.text
    );
    match operation {
        "RegisterScalableTarget" if !tags_of(request).is_empty() => {
            checks.push(check(&format!("{SERVICE}:TagResource"), target, context));
        }
        "PutScalingPolicy" => {
            checks.push(check("cloudwatch:PutMetricAlarm", alarms, BTreeMap::new()));
        }
        "DeleteScalingPolicy" => {
            checks.push(check("cloudwatch:DeleteAlarms", alarms, BTreeMap::new()));
        }
        _ => {}
    }
    checks
}

/// Lists the calls that Application Auto Scaling tries as its caller before it takes or lets go
/// of a target, so that it can do its work later (its User Guide, "Permissions validation for
/// API calls on target resources"; SageMaker Developer Guide, "Auto scaling prerequisites").
/// The endpoint config has a name that it invents, as CloudTrail shows
/// (aws-controllers-k8s/community#2110).
pub(crate) fn probes(operation: &str, request: &Value) -> Vec<Check> {
    let resource = request.get("ResourceId").and_then(Value::as_str).and_then(VariantId::parse);
    let Some(resource) = resource
        .filter(|_| matches!(operation, "RegisterScalableTarget" | "DeregisterScalableTarget"))
    else {
        return Vec::new();
    };
    let endpoint = arn(Endpoint::KIND, resource.endpoint);
    let alarm = format!(
        "arn:aws:cloudwatch:{{region}}:{{account}}:alarm:TargetTracking-{}-AlarmHigh-{}",
        resource.text,
        unique_id()
    );
    [
        ("sagemaker:DescribeEndpoint", &endpoint),
        ("sagemaker:DescribeEndpointConfig", &arn(EndpointConfig::KIND, &unique_id())),
        ("sagemaker:UpdateEndpointWeightsAndCapacities", &endpoint),
        ("cloudwatch:PutMetricAlarm", &alarm),
        ("cloudwatch:DescribeAlarms", &alarm),
        ("cloudwatch:DeleteAlarms", &alarm),
    ]
    .map(|(action, resource)| check(action, resource.clone(), BTreeMap::new()))
    .into()
}

/// Lists what the caller must be allowed to do besides, now that it is known where: the first
/// target of an account makes the service-linked role.
pub(crate) fn first_time_checks(here: &Resources, operation: &str) -> Vec<Check> {
    if operation != "RegisterScalableTarget" || here.scaled_before {
        return Vec::new();
    }
    let service = json!("sagemaker.application-autoscaling.amazonaws.com");
    let context = BTreeMap::from([("iam:AWSServiceName".to_owned(), service)]);
    let role = format!("arn:aws:iam::{{account}}:{LINKED_ROLE}");
    vec![check("iam:CreateServiceLinkedRole", role, context)]
}

/// Lists what the deletion of an endpoint with scalable targets needs besides.
pub(crate) fn deletion_checks(here: &Resources, endpoint: &str) -> Vec<Check> {
    let targets = here.scalable_targets_of(endpoint).map(|(resource, _)| {
        let target =
            format!("arn:aws:{SERVICE}:{{region}}:{{account}}:scalable-target/{}", resource.hash());
        let context = BTreeMap::from([
            (format!("{SERVICE}:service-namespace"), json!(NAMESPACE)),
            (format!("{SERVICE}:scalable-dimension"), json!(DIMENSION)),
        ]);
        check(&format!("{SERVICE}:DeregisterScalableTarget"), target, context)
    });
    targets.collect()
}

fn check(action: &str, resource: String, context: BTreeMap<String, Value>) -> Check {
    Check { action: action.into(), resource, context }
}
