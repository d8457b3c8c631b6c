//! Endpoints: a configuration at work, replaced without a gap.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::endpoint::rollout;
use crate::endpoint::traffic_plan::Deployment;
use crate::endpoint::variants::Variant;
use crate::operations::{Answer, Call, endpoint_config, scaling, tags};
use crate::records::store::{Place, now};
use crate::serving::capture;
use crate::wire::error::ApiError;
use crate::wire::paging::{Row, page};
use crate::{Cloud, lock};

/// Where an endpoint is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Status {
    Creating,
    Updating,
    RollingBack,
    InService,
    Deleting,
    Failed,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Self::Creating => "Creating",
            Self::Updating => "Updating",
            Self::RollingBack => "RollingBack",
            Self::InService => "InService",
            Self::Deleting => "Deleting",
            Self::Failed => "Failed",
        }
    }

    /// Whether an update or a deletion has to wait.
    pub(crate) fn in_progress(self) -> bool {
        matches!(self, Self::Creating | Self::Updating | Self::RollingBack | Self::Deleting)
    }

    /// Whether the endpoint answers: it does so all through an update.
    pub(crate) fn serves(self) -> bool {
        matches!(self, Self::InService | Self::Updating | Self::RollingBack)
    }
}

/// An endpoint.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Endpoint {
    pub(crate) name: String,
    pub(crate) arn: String,
    created: f64,
    pub(crate) modified: f64,
    pub(crate) status: Status,
    pub(crate) failure: Option<String>,
    /// What serves (or is to serve first).
    pub(crate) current: Deployed,
    /// What an update is on the way to.
    pub(crate) pending: Option<Pending>,
    /// The deployment configuration of the last creation or update.
    deployment: Option<Value>,
}

/// What an endpoint runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Deployed {
    /// Name of the endpoint configuration.
    pub(crate) config: String,
    /// The variants as DescribeEndpoint shows them. Weights and counts are what
    /// they are now, which may differ from the configuration's.
    pub(crate) variants: Vec<Value>,
    /// The `DataCaptureConfig` in force.
    pub(crate) capture: Option<Value>,
}

/// An update under way.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Pending {
    pub(crate) target: Deployed,
    started: f64,
    /// Its `DeploymentConfig`.
    pub(crate) deployment: Option<Value>,
    /// What its fleet is at, as a `VariantStatus`.
    pub(crate) stage: String,
}

impl Deployed {
    /// Want as many instances of each variant as its limits (least and most)
    /// allow; whether that changes anything.
    pub(crate) fn limit_instances(&mut self, limits: &[(String, u64, u64)]) -> bool {
        let mut changed = false;
        for (name, least, most) in limits {
            let variants = self.variants.iter_mut();
            for variant in variants.filter(|variant| variant["VariantName"] == **name) {
                let Some(count) = variant["DesiredInstanceCount"].as_u64() else { continue };
                let wanted = count.clamp(*least, *most);
                changed |= wanted != count;
                variant["DesiredInstanceCount"] = json!(wanted);
            }
        }
        changed
    }
}

impl Deployed {
    /// What a `DesiredWeightAndCapacity` wants of one variant.
    fn change(&mut self, wanted: &Value) -> Result<(), String> {
        let name = wanted["VariantName"].as_str().unwrap_or_default();
        let variant = self.variants.iter_mut().find(|variant| variant["VariantName"] == name);
        let variant = variant.ok_or_else(|| format!("Could not find variant \"{name}\"."))?;
        if let Some(weight) = wanted.get("DesiredWeight") {
            variant["DesiredWeight"] = weight.clone();
        }
        if let Some(count) = wanted.get("DesiredInstanceCount") {
            if variant.get("DesiredInstanceCount").is_none() {
                return Err(format!("Serverless variant \"{name}\" has no instances."));
            }
            variant["DesiredInstanceCount"] = count.clone();
        }
        if let Some(serverless) = wanted.get("ServerlessUpdateConfig") {
            if serverless.get("ProvisionedConcurrency").is_some() {
                return Err("ProvisionedConcurrency is not offered by the local SageMaker.".into());
            }
            let Some(current) = variant.get_mut("CurrentServerlessConfig") else {
                return Err(format!("Variant \"{name}\" is not serverless."));
            };
            if let Some(concurrency) = serverless.get("MaxConcurrency") {
                current["MaxConcurrency"] = concurrency.clone();
            }
        }
        Ok(())
    }
}

impl Endpoint {
    /// A change ends: what was wanted serves now.
    pub(crate) fn settle(&mut self) {
        self.status = Status::InService;
        if let Some(done) = self.pending.take() {
            self.current = done.target;
            self.deployment = done.deployment;
        }
        for variant in &mut self.current.variants {
            for (current, desired) in [
                ("CurrentInstanceCount", "DesiredInstanceCount"),
                ("CurrentWeight", "DesiredWeight"),
            ] {
                if let Some(desired) = variant.get(desired).cloned() {
                    variant[current] = desired;
                }
            }
        }
    }

    /// A variant that serves, as DescribeEndpoint shows it.
    pub(crate) fn variant(&self, name: &str) -> Option<&Value> {
        self.current.variants.iter().find(|variant| variant["VariantName"] == name)
    }
}

pub(crate) async fn create(cloud: &Arc<Cloud>, call: &Call<'_>) -> Answer {
    let (name, config) = (call.text("EndpointName"), call.text("EndpointConfigName"));
    let arn = call.place.arn("endpoint", name);
    let request = find_config(cloud, &call.place, config)?;
    let current = Deployed {
        config: config.into(),
        variants: endpoint_config::initial(&request),
        capture: endpoint_config::capture(&request).cloned(),
    };
    let deployment = call.input.get("DeploymentConfig").cloned();
    let course = read_deployment(deployment.as_ref(), None, &current)?;
    rollout::alarms(cloud, &call.place, &arn, &current, course.alarms)
        .await
        .map_err(ApiError::Validation)?;
    cloud.store.at(&call.place, |here| {
        if here.endpoints.contains_key(&name.to_lowercase()) {
            return Err(ApiError::Validation(format!(
                "Cannot create already existing endpoint \"{arn}\"."
            )));
        }
        let endpoint = Endpoint {
            name: name.into(),
            arn: arn.clone(),
            created: now(),
            modified: now(),
            status: Status::Creating,
            failure: None,
            current,
            pending: None,
            deployment,
        };
        here.endpoints.insert(name.to_lowercase(), endpoint);
        tags::put_on(here, &arn, &call.input);
        Ok(())
    })?;
    cloud.spawn(rollout::start(cloud.clone(), call.place.clone(), name.to_lowercase()));
    Ok(json!({ "EndpointArn": arn }))
}

pub(crate) async fn update(cloud: &Arc<Cloud>, call: &Call<'_>) -> Answer {
    let (name, config) = (call.text("EndpointName"), call.text("EndpointConfigName"));
    let arn = call.place.arn("endpoint", name);
    let endpoint = find(cloud, call)?;
    let request = find_config(cloud, &call.place, config)?;
    // AWS needs the configuration that it replaces, too.
    find_config(cloud, &call.place, &endpoint.current.config)?;
    let fresh = Deployed {
        config: config.into(),
        variants: endpoint_config::initial(&request),
        capture: endpoint_config::capture(&request).cloned(),
    };
    let target = retain(&endpoint.current, fresh, &call.input);
    keeps_scalable_targets(cloud, call, &endpoint.current, &target)?;
    let retained = call.input["RetainDeploymentConfig"] == json!(true);
    let deployment = match call.input.get("DeploymentConfig") {
        None if retained => endpoint.deployment.clone(),
        given => given.cloned(),
    };
    let course = read_deployment(deployment.as_ref(), Some(&endpoint.current), &target)?;
    rollout::alarms(cloud, &call.place, &arn, &target, course.alarms)
        .await
        .map_err(ApiError::Validation)?;
    cloud.store.at(&call.place, |here| {
        let endpoint = here.endpoints.get_mut(&name.to_lowercase()).ok_or_else(|| missing(&arn))?;
        if endpoint.status.in_progress() {
            return Err(ApiError::Validation(format!(
                "Cannot update in-progress endpoint \"{arn}\"."
            )));
        }
        let stage = "Creating".into();
        endpoint.pending = Some(Pending { target, started: now(), deployment, stage });
        endpoint.status = Status::Updating;
        endpoint.failure = None;
        endpoint.modified = now();
        Ok(())
    })?;
    cloud.spawn(rollout::update(cloud.clone(), call.place.clone(), name.to_lowercase()));
    Ok(json!({ "EndpointArn": arn }))
}

/// Give running variants other weights and sizes, under the same configuration.
pub(crate) fn update_weights(cloud: &Arc<Cloud>, call: &Call) -> Answer {
    let name = call.text("EndpointName").to_lowercase();
    let arn = call.place.arn("endpoint", &name);
    cloud.store.at(&call.place, |here| {
        let endpoint = here.endpoints.get_mut(&name).ok_or_else(|| missing(&arn))?;
        if endpoint.status != Status::InService {
            let status = endpoint.status.name();
            return Err(ApiError::Validation(if endpoint.status.in_progress() {
                format!("Cannot update in-progress endpoint \"{arn}\".")
            } else {
                format!("Cannot update endpoint \"{arn}\" in status {status}.")
            }));
        }
        let changes = call.input["DesiredWeightsAndCapacities"].as_array();
        for change in changes.into_iter().flatten() {
            // All or nothing.
            endpoint.current.clone().change(change).map_err(ApiError::Validation)?;
        }
        for change in changes.into_iter().flatten() {
            endpoint.current.change(change).map_err(ApiError::Validation)?;
        }
        endpoint.status = Status::Updating;
        endpoint.modified = now();
        Ok(())
    })?;
    cloud.spawn(weigh(cloud.clone(), call.place.clone(), name));
    Ok(json!({ "EndpointArn": arn }))
}

/// Let the variants that serve have the weights and sizes that they are to have.
async fn weigh(cloud: Arc<Cloud>, place: Place, name: String) {
    tokio::time::sleep(cloud.options.endpoint_change).await;
    let changed = cloud.store.at(&place, |here| {
        let endpoint = here.endpoints.get_mut(&name)?;
        endpoint.settle();
        endpoint.modified = now();
        Some(endpoint.clone())
    });
    let Some(endpoint) = changed else { return };
    if let Some(traffic) = lock(&cloud.serving).get_mut(&endpoint.arn) {
        for variant in &mut traffic.old {
            let weight = endpoint.variant(&variant.name);
            if let Some(weight) = weight.and_then(|summary| summary["CurrentWeight"].as_f64()) {
                *variant = Arc::new(Variant { weight, ..Variant::clone(variant) });
            }
        }
    }
}

/// Scalable targets keep their variant and its instance type.
fn keeps_scalable_targets(
    cloud: &Cloud,
    call: &Call,
    old: &Deployed,
    new: &Deployed,
) -> Result<(), ApiError> {
    let instance_type = |deployed: &Deployed, name: &str| -> Result<Option<Value>, ApiError> {
        let request = find_config(cloud, &call.place, &deployed.config)?;
        let mut variants = endpoint_config::variants(&request);
        let variant = variants.find(|variant| variant["VariantName"] == name);
        Ok(variant.and_then(|variant| variant.get("InstanceType")).cloned())
    };
    let scaled =
        cloud.store.at(&call.place, |here| scaling::limits(here, call.text("EndpointName")));
    for (name, ..) in scaled {
        if instance_type(old, &name)? != instance_type(new, &name)? {
            return Err(ApiError::Validation(format!(
                "The variant(s) \"{name}\" must be deregistered as scalable targets with AWS Auto Scaling before they \
                 can be removed or have their instance type updated."
            )));
        }
    }
    Ok(())
}

/// The course that a `DeploymentConfig` describes.
fn read_deployment(
    deployment: Option<&Value>,
    old: Option<&Deployed>,
    new: &Deployed,
) -> Result<Deployment, ApiError> {
    let old = old.map(|old| endpoint_config::fleet(&old.variants));
    let new = endpoint_config::fleet(&new.variants);
    Deployment::read(deployment.unwrap_or(&Value::Null), old.as_ref(), &new)
        .map_err(ApiError::Validation)
}

/// The new configuration with the properties of the running variants that
/// `RetainAllVariantProperties` keeps.
fn retain(running: &Deployed, mut fresh: Deployed, request: &Value) -> Deployed {
    if request["RetainAllVariantProperties"] != json!(true) {
        return fresh;
    }
    let excluded = request["ExcludeRetainedVariantProperties"].as_array().into_iter().flatten();
    let excluded: Vec<&str> =
        excluded.filter_map(|property| property["VariantPropertyType"].as_str()).collect();
    let keep = |property: &str| !excluded.contains(&property);
    for variant in &mut fresh.variants {
        let Some(old) =
            running.variants.iter().find(|old| old["VariantName"] == variant["VariantName"])
        else {
            continue;
        };
        for (property, members) in [
            ("DesiredInstanceCount", ["CurrentInstanceCount", "DesiredInstanceCount"]),
            ("DesiredWeight", ["CurrentWeight", "DesiredWeight"]),
        ] {
            for member in members.into_iter().filter(|_| keep(property)) {
                // A serverless variant has no instances, and gets none.
                if let (Some(new), Some(old)) = (variant.get_mut(member), old.get(member)) {
                    *new = old.clone();
                }
            }
        }
    }
    if keep("DataCaptureConfig") {
        fresh.capture.clone_from(&running.capture);
    }
    fresh
}

pub(crate) fn describe(cloud: &Cloud, call: &Call) -> Answer {
    let endpoint = find(cloud, call)?;
    let mut answer = Map::from_iter([
        ("EndpointName".to_owned(), json!(endpoint.name)),
        ("EndpointArn".to_owned(), json!(endpoint.arn)),
        ("EndpointConfigName".to_owned(), json!(endpoint.current.config)),
        ("EndpointStatus".to_owned(), json!(endpoint.status.name())),
        ("CreationTime".to_owned(), json!(endpoint.created)),
        ("LastModifiedTime".to_owned(), json!(endpoint.modified)),
    ]);
    if let Some(reason) = endpoint.failure {
        answer.insert("FailureReason".into(), json!(reason));
    }
    // Nothing serves before the first start.
    if endpoint.status.serves() {
        answer.insert("ProductionVariants".into(), json!(endpoint.current.variants));
    }
    if let Some(config) = &endpoint.current.capture {
        answer.insert("DataCaptureConfig".into(), capture::summary(config));
    }
    if let Some(deployment) = endpoint.deployment {
        answer.insert("LastDeploymentConfig".into(), deployment);
    }
    if let Some(pending) = endpoint.pending {
        let status = json!([{ "Status": pending.stage, "StartTime": pending.started }]);
        let variants = pending.target.variants.into_iter().map(|mut variant| {
            variant["VariantStatus"] = status.clone();
            variant
        });
        let summary = json!({
            "EndpointConfigName": pending.target.config,
            "StartTime": pending.started,
            "ProductionVariants": variants.collect::<Vec<_>>(),
        });
        answer.insert("PendingDeploymentSummary".into(), summary);
    }
    Ok(Value::Object(answer))
}

pub(crate) fn delete(cloud: &Arc<Cloud>, call: &Call) -> Answer {
    let name = call.text("EndpointName").to_lowercase();
    let arn = call.place.arn("endpoint", &name);
    cloud.store.at(&call.place, |here| {
        let endpoint = here.endpoints.get_mut(&name).ok_or_else(|| missing(&arn))?;
        if endpoint.status.in_progress() {
            return Err(ApiError::Validation(format!(
                "Cannot update in-progress endpoint \"{arn}\"."
            )));
        }
        endpoint.status = Status::Deleting;
        endpoint.modified = now();
        Ok(())
    })?;
    cloud.spawn(rollout::remove(cloud.clone(), call.place.clone(), name));
    Ok(json!({}))
}

pub(crate) fn list(cloud: &Cloud, call: &Call) -> Answer {
    let row = |endpoint: &Endpoint| Row {
        name: endpoint.name.clone(),
        created: endpoint.created,
        modified: endpoint.modified,
        status: Some(endpoint.status.name().into()),
        value: None,
        summary: json!({
            "EndpointName": endpoint.name, "EndpointArn": endpoint.arn, "EndpointStatus": endpoint.status.name(),
            "CreationTime": endpoint.created, "LastModifiedTime": endpoint.modified,
        }),
    };
    let rows = cloud.store.at(&call.place, |here| here.endpoints.values().map(row).collect());
    page(&call.input, "Endpoints", rows)
}

/// Everything has happened to this endpoint so much earlier.
pub(crate) fn age(cloud: &Cloud, place: &Place, name: &str, by: Duration) {
    cloud.store.at(place, |here| {
        if let Some(endpoint) = here.endpoints.get_mut(&name.to_lowercase()) {
            endpoint.created -= by.as_secs_f64();
            endpoint.modified -= by.as_secs_f64();
        }
    });
}

fn find(cloud: &Cloud, call: &Call) -> Result<Endpoint, ApiError> {
    let name = call.text("EndpointName");
    let endpoint =
        cloud.store.at(&call.place, |here| here.endpoints.get(&name.to_lowercase()).cloned());
    endpoint.ok_or_else(|| missing(&call.place.arn("endpoint", name)))
}

/// The request that made a configuration.
fn find_config(cloud: &Cloud, place: &Place, name: &str) -> Result<Value, ApiError> {
    let config =
        cloud.store.at(place, |here| here.endpoint_configs.get(&name.to_lowercase()).cloned());
    config.map(|config| config.request).ok_or_else(|| no_config(place, name))
}

fn missing(arn: &str) -> ApiError {
    ApiError::Validation(format!("Could not find endpoint \"{arn}\"."))
}

pub(crate) fn no_config(place: &Place, name: &str) -> ApiError {
    let arn = place.arn("endpoint-config", name);
    ApiError::Validation(format!("Could not find endpoint configuration \"{arn}\"."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_keeps_what_it_is_told_to() {
        let deployed = |count: u64, weight: f64, capture: Value| Deployed {
            config: "c".into(),
            variants: vec![json!({ "VariantName": "v", "CurrentInstanceCount": count,
                "DesiredInstanceCount": count, "CurrentWeight": weight, "DesiredWeight": weight })],
            capture: Some(capture),
        };
        let kept = |request: Value| {
            let new =
                retain(&deployed(5, 0.5, json!("old")), deployed(1, 1.0, json!("new")), &request);
            let variant = &new.variants[0];
            (variant["DesiredInstanceCount"].clone(), variant["CurrentWeight"].clone(), new.capture)
        };
        let (old, new) = (Some(json!("old")), Some(json!("new")));
        assert_eq!(kept(json!({})), (json!(1), json!(1.0), new.clone()));
        let all = json!({ "RetainAllVariantProperties": true });
        assert_eq!(kept(all.clone()), (json!(5), json!(0.5), old));
        let mut some = all;
        some["ExcludeRetainedVariantProperties"] = json!([
            { "VariantPropertyType": "DesiredWeight" }, { "VariantPropertyType": "DataCaptureConfig" }]);
        assert_eq!(kept(some), (json!(5), json!(1.0), new));
    }
}
