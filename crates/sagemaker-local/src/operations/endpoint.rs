//! The operations on endpoints.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use crate::cloud::Cloud;
use crate::endpoint::traffic_plan::TrafficPlan;
use crate::endpoint::{rollout, scaling};
use crate::records::deployment_config::DeploymentConfig;
use crate::records::endpoint::{Deployed, Endpoint, EndpointStatus, Pending};
use crate::records::endpoint_config::EndpointConfig;
use crate::records::resource::Resource;
use crate::records::running_variant::DesiredWeightAndCapacity;
use crate::wire::call::{Answer, Call, tags_of};
use crate::wire::error::ApiError;
use crate::wire::place::Place;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CreateEndpoint {
    endpoint_name: String,
    endpoint_config_name: String,
    deployment_config: Option<DeploymentConfig>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UpdateEndpoint {
    endpoint_name: String,
    endpoint_config_name: String,
    #[serde(default)]
    retain_all_variant_properties: bool,
    #[serde(default)]
    exclude_retained_variant_properties: Vec<VariantProperty>,
    deployment_config: Option<DeploymentConfig>,
    #[serde(default)]
    retain_deployment_config: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct VariantProperty {
    variant_property_type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UpdateEndpointWeightsAndCapacities {
    endpoint_name: String,
    desired_weights_and_capacities: Vec<DesiredWeightAndCapacity>,
}

pub(crate) async fn create(cloud: &Arc<Cloud>, call: &Call<'_>) -> Answer {
    let request: CreateEndpoint = call.read()?;
    let name = request.endpoint_name;
    let arn = call.place.arn(Endpoint::KIND, &name);
    let current = configured(cloud, &call.place, &request.endpoint_config_name)?;
    let deployment = request.deployment_config;
    check_deployment(cloud, call, &arn, deployment.as_ref(), None, &current).await?;
    let endpoint = Endpoint::new(&name, &arn, current, deployment);
    cloud.store.at(&call.place, |here| here.add(endpoint, tags_of(&call.input)))?;
    cloud.spawn(rollout::start(cloud.clone(), call.place.clone(), name));
    Ok(json!({ "EndpointArn": arn }))
}

pub(crate) async fn update(cloud: &Arc<Cloud>, call: &Call<'_>) -> Answer {
    let request: UpdateEndpoint = call.read()?;
    let name = &request.endpoint_name;
    let endpoint: Endpoint = cloud.store.find(&call.place, name)?;
    let fresh = configured(cloud, &call.place, &request.endpoint_config_name)?;
    // AWS needs the configuration that it replaces, too.
    let replaced = &endpoint.current.config;
    cloud.store.find::<EndpointConfig>(&call.place, replaced)?;
    let target = request.target(&endpoint.current, fresh);
    keeps_scalable_targets(cloud, call, name, &endpoint.current, &target)?;
    let retained = if request.retain_deployment_config { endpoint.deployment } else { None };
    let deployment = request.deployment_config.or(retained);
    let (arn, old) = (&endpoint.arn, Some(&endpoint.current));
    check_deployment(cloud, call, arn, deployment.as_ref(), old, &target).await?;
    cloud.store.try_change(&call.place, name, |endpoint: &mut Endpoint| {
        endpoint.can_change()?;
        endpoint.pending = Some(Pending::new(target, deployment));
        endpoint.failure = None;
        endpoint.enter(EndpointStatus::Updating);
        Ok(())
    })?;
    cloud.spawn(rollout::update(cloud.clone(), call.place.clone(), name.clone()));
    Ok(json!({ "EndpointArn": arn }))
}

/// Gives running variants other weights and sizes, under the same configuration.
pub(crate) fn update_weights(cloud: &Arc<Cloud>, call: &Call) -> Answer {
    let request: UpdateEndpointWeightsAndCapacities = call.read()?;
    let name = request.endpoint_name;
    let arn = cloud.store.try_change(&call.place, &name, |endpoint: &mut Endpoint| {
        endpoint.can_change()?;
        if endpoint.status != EndpointStatus::InService {
            let (arn, status) = (&endpoint.arn, endpoint.status.name());
            let message = format!("Cannot update endpoint \"{arn}\" in status {status}.");
            return Err(ApiError::Validation(message));
        }
        // All or nothing.
        let mut wanted = endpoint.current.clone();
        for change in &request.desired_weights_and_capacities {
            wanted.want(change).map_err(ApiError::Validation)?;
        }
        endpoint.current = wanted;
        endpoint.enter(EndpointStatus::Updating);
        Ok(endpoint.arn.clone())
    })?;
    cloud.spawn(scaling::weigh(cloud.clone(), call.place.clone(), name));
    Ok(json!({ "EndpointArn": arn }))
}

pub(crate) fn delete(cloud: &Arc<Cloud>, call: &Call) -> Answer {
    let name = call.text(Endpoint::NAMED_BY);
    cloud.store.try_change(&call.place, name, |endpoint: &mut Endpoint| {
        endpoint.can_change()?;
        endpoint.enter(EndpointStatus::Deleting);
        Ok(())
    })?;
    cloud.spawn(rollout::remove(cloud.clone(), call.place.clone(), name.to_owned()));
    Ok(json!({}))
}

/// Lets everything have happened to this endpoint so much earlier.
pub(crate) fn age(cloud: &Cloud, place: &Place, name: &str, by: Duration) {
    cloud.store.change(place, name, |endpoint: &mut Endpoint| endpoint.age(by));
}

impl UpdateEndpoint {
    /// Gives what is to run: the new configuration, with the properties of the running variants
    /// that `RetainAllVariantProperties` keeps.
    fn target(&self, running: &Deployed, mut fresh: Deployed) -> Deployed {
        if self.retain_all_variant_properties {
            let excluded = &self.exclude_retained_variant_properties;
            fresh.retain(running, |property| {
                !excluded.iter().any(|excluded| excluded.variant_property_type == property)
            });
        }
        fresh
    }
}

/// Gives what a configuration runs at first.
fn configured(cloud: &Cloud, place: &Place, config: &str) -> Result<Deployed, ApiError> {
    Ok(Deployed::new(config, &cloud.store.find::<EndpointConfig>(place, config)?))
}

/// Refuses an update that takes a scalable target's variant away or changes its instance
/// type.
fn keeps_scalable_targets(
    cloud: &Cloud,
    call: &Call,
    endpoint: &str,
    old: &Deployed,
    new: &Deployed,
) -> Result<(), ApiError> {
    cloud.store.at(&call.place, |here| {
        let instance_type = |deployed: &Deployed, name: &str| -> Result<Option<String>, ApiError> {
            let config: &EndpointConfig = here.find(&call.place, &deployed.config)?;
            let request = config.request();
            Ok(request.variant(name).and_then(|variant| variant.instance_type.clone()))
        };
        for (name, ..) in here.scaling_limits(endpoint) {
            if instance_type(old, &name)? != instance_type(new, &name)? {
                return Err(ApiError::Validation(format!(
                    "The variant(s) \"{name}\" must be deregistered as scalable targets with AWS Auto Scaling before \
                     they can be removed or have their instance type updated."
                )));
            }
        }
        Ok(())
    })
}

/// Refuses a `DeploymentConfig` that cannot be followed from `old` to `new`, or whose alarms
/// cannot be read.
async fn check_deployment(
    cloud: &Cloud,
    call: &Call<'_>,
    arn: &str,
    config: Option<&DeploymentConfig>,
    old: Option<&Deployed>,
    new: &Deployed,
) -> Result<(), ApiError> {
    let none = DeploymentConfig::default();
    let config = config.unwrap_or(&none);
    let old = old.map(Deployed::fleet);
    let course = TrafficPlan::read(config, old.as_ref(), &new.fleet());
    let alarms = course.map_err(ApiError::Validation)?.alarms;
    let alarms = rollout::alarms(cloud, &call.place, arn, new, alarms).await;
    alarms.map(drop).map_err(ApiError::Validation)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::Value;

    use super::*;

    #[test]
    fn an_update_keeps_what_it_is_told_to() {
        let deployed = |count: u64, weight: f64, capture: &str| -> Deployed {
            let variant = json!({ "VariantName": "v", "CurrentInstanceCount": count,
                "DesiredInstanceCount": count, "CurrentWeight": weight, "DesiredWeight": weight });
            let capture = json!({ "DestinationS3Uri": capture });
            let deployed = json!({ "config": "c", "variants": [variant], "capture": capture });
            serde_json::from_value(deployed).unwrap()
        };
        let kept = |more: Value| {
            let mut request = json!({ "EndpointName": "e", "EndpointConfigName": "c" });
            request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let request: UpdateEndpoint = serde_json::from_value(request).unwrap();
            let new = request.target(&deployed(5, 0.5, "old"), deployed(1, 1.0, "new"));
            let variant = &new.variants[0];
            (variant.desired_count, variant.current_weight, new.capture.unwrap().destination)
        };
        assert_eq!(kept(json!({})), (Some(1), 1.0, "new".to_owned()));
        let all = json!({ "RetainAllVariantProperties": true });
        assert_eq!(kept(all.clone()), (Some(5), 0.5, "old".to_owned()));
        let mut some = all;
        some["ExcludeRetainedVariantProperties"] = json!([
            { "VariantPropertyType": "DesiredWeight" }, { "VariantPropertyType": "DataCaptureConfig" }]);
        assert_eq!(kept(some), (Some(5), 1.0, "new".to_owned()));
    }
}
