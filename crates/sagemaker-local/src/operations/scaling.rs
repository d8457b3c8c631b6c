//! Application Auto Scaling, as far as it scales the instances of an endpoint's
//! variants. It keeps capacities within their limits and remembers policies; no
//! load ever scales anything here.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::cloud::Cloud;
use crate::endpoint::scaling::scale;
use crate::records::endpoint::Endpoint;
use crate::records::scalable_target::{ScalableTarget, ScalingPolicy, VariantId};
use crate::wire::autoscaling::{DIMENSION, LINKED_ROLE, NAMESPACE, SERVICE};
use crate::wire::call::{Answer, Call, tags_of};
use crate::wire::error::ApiError;
use crate::wire::ids::now;
use crate::wire::paging::{ListingSpec, NEWEST_FIRST, Row, page};
use crate::wire::place::Place;

const METRIC: &str = "SageMakerVariantInvocationsPerInstance";

/// Does what the call asks.
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
            let resource = VariantId::parse(text).ok_or_else(|| {
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

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RegisterScalableTarget {
    min_capacity: Option<i64>,
    max_capacity: Option<i64>,
    suspended_state: Option<Value>,
}

fn register(cloud: &Arc<Cloud>, call: &Call, resource: &VariantId) -> Answer {
    let request: RegisterScalableTarget = call.read()?;
    let bound = |member: &str, given: Option<i64>| {
        let bound = given.map(u64::try_from).transpose();
        bound.map_err(|_| {
            ApiError::Validation(format!("{member} must be greater than or equal to 0."))
        })
    };
    let min = bound("MinCapacity", request.min_capacity)?;
    let max = bound("MaxCapacity", request.max_capacity)?;
    let arn = target_arn(&call.place, resource);
    cloud.store.at(&call.place, |here| {
        let endpoint = here.get::<Endpoint>(resource.endpoint);
        let variant = endpoint
            .and_then(|endpoint| endpoint.current.variant(resource.variant))
            .ok_or_else(|| {
                ApiError::Validation(format!("SageMaker variant doesn't exist: {}", resource.text))
            })?;
        if variant.desired_count.is_none() {
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
        let suspended = request.suspended_state;
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
    cloud.spawn(scale(cloud.clone(), call.place.clone(), resource.endpoint.to_owned()));
    Ok(json!({ "ScalableTargetARN": arn }))
}

fn deregister(cloud: &Cloud, call: &Call, resource: &VariantId) -> Answer {
    cloud.store.at(&call.place, |here| {
        here.scalable_targets.remove(&resource.key()).ok_or_else(|| no_target(resource))?;
        here.tags.remove(&target_arn(&call.place, resource));
        Ok(json!({}))
    })
}

fn put_policy(cloud: &Cloud, call: &Call, resource: &VariantId) -> Answer {
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

fn delete_policy(cloud: &Cloud, call: &Call, resource: &VariantId) -> Answer {
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
                let resource = VariantId::parse(&target.resource)?;
                Some(Row::new(
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
    page(listing("ScalableTargets"), &call.input, rows)
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
                let resource = VariantId::parse(&target.resource)?;
                Some(Row::new(
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
    page(listing("ScalingPolicies"), &call.input, rows)
}

/// A page of this service has 50 rows unless asked otherwise.
fn listing(member: &'static str) -> ListingSpec {
    ListingSpec { member, order: NEWEST_FIRST, page: 50 }
}

fn target_arn(place: &Place, resource: &VariantId) -> String {
    format!(
        "arn:aws:{SERVICE}:{}:{}:scalable-target/{}",
        place.region,
        place.account,
        resource.hash()
    )
}

fn policy_arn(place: &Place, resource: &VariantId, name: &str) -> String {
    format!(
        "arn:aws:autoscaling:{}:{}:scalingPolicy:{}:resource/{NAMESPACE}/{}:policyName/{name}",
        place.region,
        place.account,
        resource.hash(),
        resource.text
    )
}

fn no_target(resource: &VariantId) -> ApiError {
    not_found(format!(
        "No scalable target found for service namespace: {NAMESPACE}, resource ID: {}, scalable dimension: {DIMENSION}",
        resource.text
    ))
}

fn not_found(message: String) -> ApiError {
    ApiError::Coded { code: "ObjectNotFoundException".into(), message: Some(message), status: 400 }
}
