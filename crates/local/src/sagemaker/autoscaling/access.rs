//! Which permissions Application Auto Scaling's operations need.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    super::{
        access::{tag_context, tags_of},
        store::Resources,
    },
    DIMENSION, LINKED_ROLE, NAMESPACE, Resource, SERVICE,
};
use crate::authority::Check;

/// Everything that the caller must be allowed to do for this request: the
/// operation itself and what it does to endpoints and alarms on the caller's
/// behalf (SageMaker Developer Guide, "Auto scaling prerequisites").
pub(in super::super) fn checks(operation: &str, request: &Value) -> Vec<Check> {
    let text = |member: &str| request.get(member).and_then(Value::as_str).unwrap_or_default();
    let Some(resource) =
        Resource::parse(text("ResourceId")).filter(|_| !operation.starts_with("Describe"))
    else {
        return vec![check(&format!("{SERVICE}:{operation}"), "*".into(), BTreeMap::new())];
    };
    let target =
        format!("arn:aws:{SERVICE}:{{region}}:{{account}}:scalable-target/{}", resource.id());
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
        "RegisterScalableTarget" => {
            let endpoint = resource.endpoint.to_lowercase();
            let endpoint = format!("arn:aws:sagemaker:{{region}}:{{account}}:endpoint/{endpoint}");
            for action in
                ["sagemaker:DescribeEndpoint", "sagemaker:UpdateEndpointWeightsAndCapacities"]
            {
                checks.push(check(action, endpoint.clone(), BTreeMap::new()));
            }
            if !tags_of(request).is_empty() {
                checks.push(check(&format!("{SERVICE}:TagResource"), target, context));
            }
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

/// What the caller must be allowed to do besides, now that it is known where:
/// the first target of an account makes the service-linked role.
pub(in super::super) fn first_time_checks(here: &Resources, operation: &str) -> Vec<Check> {
    if operation != "RegisterScalableTarget" || here.scaled_before {
        return Vec::new();
    }
    let service = json!("sagemaker.application-autoscaling.amazonaws.com");
    let context = BTreeMap::from([("iam:AWSServiceName".to_owned(), service)]);
    let role = format!("arn:aws:iam::{{account}}:{LINKED_ROLE}");
    vec![check("iam:CreateServiceLinkedRole", role, context)]
}

/// What deleting an endpoint with scalable targets needs besides.
pub(in super::super) fn deletion_checks(here: &Resources, endpoint: &str) -> Vec<Check> {
    let targets =
        here.scalable_targets.values().filter_map(|target| Resource::parse(&target.resource));
    let own = targets.filter(|resource| resource.endpoint.eq_ignore_ascii_case(endpoint));
    own.map(|resource| {
        let target =
            format!("arn:aws:{SERVICE}:{{region}}:{{account}}:scalable-target/{}", resource.id());
        let context = BTreeMap::from([
            (format!("{SERVICE}:service-namespace"), json!(NAMESPACE)),
            (format!("{SERVICE}:scalable-dimension"), json!(DIMENSION)),
        ]);
        check(&format!("{SERVICE}:DeregisterScalableTarget"), target, context)
    })
    .collect()
}

fn check(action: &str, resource: String, context: BTreeMap<String, Value>) -> Check {
    Check { action: action.into(), resource, context }
}
