//! Application Auto Scaling, as far as it scales the instances of an endpoint's
//! variants. It keeps capacities within their limits and remembers policies; no
//! load ever scales anything here.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::Cloud;
use crate::endpoint::rollout;
use crate::operations::authorization::tags_of;
use crate::operations::{Answer, Call};
use crate::records::store::{Place, Resources, now};
use crate::server::http::hex;
use crate::wire::error::ApiError;
use crate::wire::paging::{Row, page};

pub(crate) use crate::operations::scaling_permissions::{
    checks, deletion_checks, first_time_checks, probes,
};

/// The operations' prefix in `X-Amz-Target`.
pub(crate) const TARGET: &str = "AnyScaleFrontendService.";
/// The service's name in signatures and actions.
pub(crate) const SERVICE: &str = "application-autoscaling";
pub(crate) const NAMESPACE: &str = "sagemaker";
pub(crate) const DIMENSION: &str = "sagemaker:variant:DesiredInstanceCount";
const METRIC: &str = "SageMakerVariantInvocationsPerInstance";
/// What Application Auto Scaling changes capacities with.
pub(crate) const LINKED_ROLE: &str = "role/aws-service-role/sagemaker.application-autoscaling.amazonaws.com/\
                           AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint";

/// The operations of this service.
pub(crate) const OPERATIONS: [&str; 6] = [
    "DeleteScalingPolicy",
    "DeregisterScalableTarget",
    "DescribeScalableTargets",
    "DescribeScalingPolicies",
    "PutScalingPolicy",
    "RegisterScalableTarget",
];

/// A variant that may be scaled.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ScalableTarget {
    pub(crate) resource: String,
    created: f64,
    min: u64,
    max: u64,
    suspended: Value,
    policies: BTreeMap<String, ScalingPolicy>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct ScalingPolicy {
    created: f64,
    config: Value,
}

/// `endpoint/NAME/variant/VARIANT`.
pub(crate) struct Resource<'a> {
    pub(crate) text: &'a str,
    pub(crate) endpoint: &'a str,
    variant: &'a str,
}

impl<'a> Resource<'a> {
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        match text.split('/').collect::<Vec<_>>().as_slice() {
            ["endpoint", endpoint, "variant", variant] => Some(Self { text, endpoint, variant }),
            _ => None,
        }
    }

    /// AWS does not tell endpoints apart by their names' case.
    fn key(&self) -> String {
        format!("{}/{}", self.endpoint.to_lowercase(), self.variant)
    }

    pub(crate) fn id(&self) -> String {
        hex(&Sha256::digest(self.key())).chars().take(34).collect()
    }
}

/// Do what the call asks.
pub(crate) fn perform(cloud: &Arc<Cloud>, call: &Call) -> Answer {
    if call.text("ServiceNamespace") != NAMESPACE {
        return not_offered("ServiceNamespace", NAMESPACE);
    }
    if !matches!(call.text("ScalableDimension"), "" | DIMENSION) {
        return not_offered("ScalableDimension", DIMENSION);
    }
    match call.operation {
        "DescribeScalableTargets" => Ok(describe_targets(cloud, call)?),
        "DescribeScalingPolicies" => Ok(describe_policies(cloud, call)?),
        operation => {
            let text = call.text("ResourceId");
            let resource = Resource::parse(text).ok_or_else(|| {
                ApiError::Validation(format!(
                    "Unsupported service namespace, resource type or scalable dimension: {text}"
                ))
            })?;
            match operation {
                "RegisterScalableTarget" => register(cloud, call, &resource),
                "DeregisterScalableTarget" => deregister(cloud, call, &resource),
                "PutScalingPolicy" => put_policy(cloud, call, &resource),
                _ => delete_policy(cloud, call, &resource),
            }
        }
    }
}

fn not_offered<T>(member: &str, only: &str) -> Result<T, ApiError> {
    Err(ApiError::Validation(format!("The local cloud offers the {member} {only} only.")))
}

fn register(cloud: &Arc<Cloud>, call: &Call, resource: &Resource) -> Answer {
    let bound = |member: &str| match call.input.get(member).and_then(Value::as_i64) {
        None => Ok(None),
        Some(value) => u64::try_from(value).map(Some).map_err(|_| {
            ApiError::Validation(format!("{member} must be greater than or equal to 0."))
        }),
    };
    let (min, max) = (bound("MinCapacity")?, bound("MaxCapacity")?);
    let arn = target_arn(&call.place, resource);
    cloud.store.at(&call.place, |here| {
        let count = here
            .endpoints
            .get(&resource.endpoint.to_lowercase())
            .and_then(|endpoint| endpoint.variant(resource.variant))
            .ok_or_else(|| {
                ApiError::Validation(format!("SageMaker variant doesn't exist: {}", resource.text))
            })?;
        if count.get("DesiredInstanceCount").is_none() {
            return Err(ApiError::Validation(format!(
                "The scalable dimension {DIMENSION} is not supported for {}: the variant has no instances.",
                resource.text
            )));
        }
        let known = here.scalable_targets.get(&resource.key());
        let both = |given: Option<u64>, known: Option<u64>, member: &str| {
            given.or(known).ok_or_else(|| {
                ApiError::Validation(format!(
                    "{member} is required for a new scalable target: {}",
                    resource.text
                ))
            })
        };
        let min = both(min, known.map(|known| known.min), "MinCapacity")?;
        let max = both(max, known.map(|known| known.max), "MaxCapacity")?;
        if max < min {
            return Err(ApiError::Validation(
                "Maximum capacity cannot be less than minimum capacity".into(),
            ));
        }
        let none = json!({ "DynamicScalingInSuspended": false, "DynamicScalingOutSuspended": false,
            "ScheduledScalingSuspended": false });
        let suspended = call.input.get("SuspendedState").cloned();
        let target = ScalableTarget {
            resource: resource.text.to_owned(),
            created: known.map_or_else(now, |known| known.created),
            min,
            max,
            suspended: suspended
                .or_else(|| known.map(|known| known.suspended.clone()))
                .unwrap_or(none),
            policies: known.map(|known| known.policies.clone()).unwrap_or_default(),
        };
        here.scalable_targets.insert(resource.key(), target);
        here.scaled_before = true;
        here.tags.entry(arn.clone()).or_default().extend(tags_of(&call.input));
        Ok(())
    })?;
    let endpoint = resource.endpoint.to_lowercase();
    cloud.spawn(rollout::scale(cloud.clone(), call.place.clone(), endpoint));
    Ok(json!({ "ScalableTargetARN": arn }))
}

fn deregister(cloud: &Cloud, call: &Call, resource: &Resource) -> Answer {
    cloud.store.at(&call.place, |here| {
        here.scalable_targets.remove(&resource.key()).ok_or_else(|| no_target(resource))?;
        here.tags.remove(&target_arn(&call.place, resource));
        Ok(json!({}))
    })
}

fn put_policy(cloud: &Cloud, call: &Call, resource: &Resource) -> Answer {
    let name = call.text("PolicyName");
    if call.text("PolicyType") != "TargetTrackingScaling" {
        return not_offered("PolicyType", "TargetTrackingScaling");
    }
    let config = &call.input["TargetTrackingScalingPolicyConfiguration"];
    if config["PredefinedMetricSpecification"]["PredefinedMetricType"] != METRIC {
        return not_offered("PredefinedMetricType", METRIC);
    }
    if config["TargetValue"].as_f64().is_none_or(|value| value <= 0.0) {
        return Err(ApiError::Validation("TargetValue must be greater than 0.".into()));
    }
    cloud.store.at(&call.place, |here| {
        let target =
            here.scalable_targets.get_mut(&resource.key()).ok_or_else(|| no_target(resource))?;
        let created = target.policies.get(name).map_or_else(now, |known| known.created);
        target.policies.insert(name.to_owned(), ScalingPolicy { created, config: config.clone() });
        Ok(json!({ "PolicyARN": policy_arn(&call.place, resource, name), "Alarms": [] }))
    })
}

fn delete_policy(cloud: &Cloud, call: &Call, resource: &Resource) -> Answer {
    let name = call.text("PolicyName");
    cloud.store.at(&call.place, |here| {
        let target = here.scalable_targets.get_mut(&resource.key());
        target.and_then(|target| target.policies.remove(name)).ok_or_else(|| {
            not_found(format!(
                "No scaling policy found for service namespace: {NAMESPACE}, resource ID: {}, scalable dimension: \
                 {DIMENSION}, policy name: {name}",
                resource.text
            ))
        })?;
        Ok(json!({}))
    })
}

fn describe_targets(cloud: &Cloud, call: &Call) -> Answer {
    let wanted = call.input["ResourceIds"].as_array();
    let rows = cloud.store.at(&call.place, |here| {
        let targets = here.scalable_targets.values().filter(|target| {
            wanted.is_none_or(|wanted| wanted.iter().any(|id| *id == *target.resource))
        });
        targets
            .filter_map(|target| {
                let resource = Resource::parse(&target.resource)?;
                Some(row(
                    &target.resource,
                    target.created,
                    json!({
                        "ServiceNamespace": NAMESPACE,
                        "ResourceId": target.resource,
                        "ScalableDimension": DIMENSION,
                        "MinCapacity": target.min,
                        "MaxCapacity": target.max,
                        "RoleARN": format!("arn:aws:iam::{}:{LINKED_ROLE}", call.place.account),
                        "CreationTime": target.created,
                        "SuspendedState": target.suspended,
                        "ScalableTargetARN": target_arn(&call.place, &resource),
                    }),
                ))
            })
            .collect()
    });
    page(&paged(&call.input), "ScalableTargets", rows)
}

fn describe_policies(cloud: &Cloud, call: &Call) -> Answer {
    let (wanted, names) = (call.text("ResourceId"), call.input["PolicyNames"].as_array());
    let rows = cloud.store.at(&call.place, |here| {
        let targets = here
            .scalable_targets
            .values()
            .filter(|target| wanted.is_empty() || target.resource == wanted);
        let policies = targets.flat_map(|target| {
            target.policies.iter().map(move |(name, policy)| (target, name, policy))
        });
        policies
            .filter(|(_, name, _)| {
                names.is_none_or(|names| names.iter().any(|wanted| wanted == *name))
            })
            .filter_map(|(target, name, policy)| {
                let resource = Resource::parse(&target.resource)?;
                Some(row(
                    name,
                    policy.created,
                    json!({
                        "PolicyARN": policy_arn(&call.place, &resource, name),
                        "PolicyName": name,
                        "ServiceNamespace": NAMESPACE,
                        "ResourceId": target.resource,
                        "ScalableDimension": DIMENSION,
                        "PolicyType": "TargetTrackingScaling",
                        "TargetTrackingScalingPolicyConfiguration": policy.config,
                        "Alarms": [],
                        "CreationTime": policy.created,
                    }),
                ))
            })
            .collect()
    });
    page(&paged(&call.input), "ScalingPolicies", rows)
}

fn row(name: &str, created: f64, summary: Value) -> Row {
    Row { name: name.into(), created, modified: created, status: None, value: None, summary }
}

/// A page of this service has 50 rows unless asked otherwise.
fn paged(request: &Value) -> Value {
    json!({ "MaxResults": request.get("MaxResults").unwrap_or(&json!(50)), "NextToken": request.get("NextToken") })
}

fn target_arn(place: &Place, resource: &Resource) -> String {
    format!(
        "arn:aws:{SERVICE}:{}:{}:scalable-target/{}",
        place.region,
        place.account,
        resource.id()
    )
}

fn policy_arn(place: &Place, resource: &Resource, name: &str) -> String {
    format!(
        "arn:aws:autoscaling:{}:{}:scalingPolicy:{}:resource/{NAMESPACE}/{}:policyName/{name}",
        place.region,
        place.account,
        resource.id(),
        resource.text
    )
}

fn no_target(resource: &Resource) -> ApiError {
    not_found(format!(
        "No scalable target found for service namespace: {NAMESPACE}, resource ID: {}, scalable dimension: {DIMENSION}",
        resource.text
    ))
}

fn not_found(message: String) -> ApiError {
    ApiError::Coded { code: "ObjectNotFoundException".into(), message: Some(message), status: 400 }
}

/// The variants of an endpoint that are scalable targets, with their limits.
pub(crate) fn limits(here: &Resources, endpoint: &str) -> Vec<(String, u64, u64)> {
    let targets = here.scalable_targets.values().filter_map(|target| {
        let resource = Resource::parse(&target.resource)?;
        let own = resource.endpoint.eq_ignore_ascii_case(endpoint);
        own.then(|| (resource.variant.to_owned(), target.min, target.max))
    });
    targets.collect()
}

/// An endpoint is gone, and its scalable targets with it.
pub(crate) fn forget(here: &mut Resources, endpoint: &str) {
    let prefix = format!("{}/", endpoint.to_lowercase());
    here.scalable_targets.retain(|key, _| !key.starts_with(&prefix));
}
