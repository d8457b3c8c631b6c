//! Endpoints: a configuration at work, replaced without a gap.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    Cloud,
    error::ApiError,
    list::{Row, page},
    lock,
    operations::{Answer, Call},
    serving::load,
    store::{Place, now},
    tags,
};

/// Where an endpoint is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Status {
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
    fn in_progress(self) -> bool {
        matches!(self, Self::Creating | Self::Updating | Self::RollingBack | Self::Deleting)
    }

    /// Whether the endpoint answers: it does so all through an update.
    pub(super) fn serves(self) -> bool {
        matches!(self, Self::InService | Self::Updating | Self::RollingBack)
    }
}

/// An endpoint.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Endpoint {
    name: String,
    arn: String,
    created: f64,
    modified: f64,
    pub(super) status: Status,
    failure: Option<String>,
    /// The configuration that serves (or is to serve first).
    config: String,
    /// The configuration that an update is on the way to.
    pending: Option<Pending>,
    /// What serves, as DescribeEndpoint shows it.
    variants: Vec<Value>,
    /// The deployment configuration of the last update.
    deployment: Option<Value>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Pending {
    config: String,
    started: f64,
    deployment: Option<Value>,
}

pub(super) fn create(cloud: &Arc<Cloud>, call: &Call) -> Answer {
    let (name, config) = (call.text("EndpointName"), call.text("EndpointConfigName"));
    let arn = call.place.arn("endpoint", name);
    cloud.store.at(&call.place, |here| {
        if here.endpoints.contains_key(&name.to_lowercase()) {
            return Err(ApiError::Validation(format!(
                "Cannot create already existing endpoint \"{arn}\"."
            )));
        }
        if !here.endpoint_configs.contains_key(&config.to_lowercase()) {
            return Err(no_config(&call.place, config));
        }
        let endpoint = Endpoint {
            name: name.into(),
            arn: arn.clone(),
            created: now(),
            modified: now(),
            status: Status::Creating,
            failure: None,
            config: config.into(),
            pending: None,
            variants: Vec::new(),
            deployment: None,
        };
        here.endpoints.insert(name.to_lowercase(), endpoint);
        tags::put_on(here, &arn, &call.input);
        Ok(())
    })?;
    cloud.spawn(deploy(cloud.clone(), call.place.clone(), name.to_lowercase()));
    Ok(json!({ "EndpointArn": arn }))
}

pub(super) fn update(cloud: &Arc<Cloud>, call: &Call) -> Answer {
    let (name, config) = (call.text("EndpointName"), call.text("EndpointConfigName"));
    let arn = call.place.arn("endpoint", name);
    cloud.store.at(&call.place, |here| {
        let known = |config: &str| here.endpoint_configs.contains_key(&config.to_lowercase());
        let endpoint = here.endpoints.get_mut(&name.to_lowercase()).ok_or_else(|| missing(&arn))?;
        if endpoint.status.in_progress() {
            return Err(ApiError::Validation(format!(
                "Cannot update in-progress endpoint \"{arn}\"."
            )));
        }
        // AWS needs the configuration that it replaces, too.
        for config in [config, &endpoint.config] {
            if !known(config) {
                return Err(no_config(&call.place, config));
            }
        }
        let deployment = call.input.get("DeploymentConfig").cloned();
        endpoint.pending = Some(Pending { config: config.into(), started: now(), deployment });
        endpoint.status = Status::Updating;
        endpoint.failure = None;
        endpoint.modified = now();
        Ok(())
    })?;
    cloud.spawn(deploy(cloud.clone(), call.place.clone(), name.to_lowercase()));
    Ok(json!({ "EndpointArn": arn }))
}

pub(super) fn describe(cloud: &Cloud, call: &Call) -> Answer {
    let endpoint = find(cloud, call)?;
    let mut answer = Map::from_iter([
        ("EndpointName".to_owned(), json!(endpoint.name)),
        ("EndpointArn".to_owned(), json!(endpoint.arn)),
        ("EndpointConfigName".to_owned(), json!(endpoint.config)),
        ("EndpointStatus".to_owned(), json!(endpoint.status.name())),
        ("CreationTime".to_owned(), json!(endpoint.created)),
        ("LastModifiedTime".to_owned(), json!(endpoint.modified)),
    ]);
    if let Some(reason) = endpoint.failure {
        answer.insert("FailureReason".into(), json!(reason));
    }
    if !endpoint.variants.is_empty() {
        answer.insert("ProductionVariants".into(), json!(endpoint.variants));
    }
    if let Some(deployment) = endpoint.deployment {
        answer.insert("LastDeploymentConfig".into(), deployment);
    }
    if let Some(pending) = endpoint.pending {
        let summary = json!({ "EndpointConfigName": pending.config, "StartTime": pending.started });
        answer.insert("PendingDeploymentSummary".into(), summary);
    }
    Ok(Value::Object(answer))
}

pub(super) fn delete(cloud: &Arc<Cloud>, call: &Call) -> Answer {
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
    cloud.spawn(remove(cloud.clone(), call.place.clone(), name));
    Ok(json!({}))
}

pub(super) fn list(cloud: &Cloud, call: &Call) -> Answer {
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

/// Go on with what a restart interrupted, and serve again what served.
pub(super) fn resume(cloud: &Arc<Cloud>) {
    for place in cloud.store.places() {
        let endpoints: Vec<_> = cloud.store.at(&place, |here| {
            here.endpoints.iter().map(|(name, endpoint)| (name.clone(), endpoint.status)).collect()
        });
        for (name, status) in endpoints {
            match status {
                Status::Failed => {}
                Status::Deleting => cloud.spawn(remove(cloud.clone(), place.clone(), name)),
                _ => cloud.spawn(deploy(cloud.clone(), place.clone(), name)),
            }
        }
    }
}

fn find(cloud: &Cloud, call: &Call) -> Result<Endpoint, ApiError> {
    let name = call.text("EndpointName");
    let endpoint =
        cloud.store.at(&call.place, |here| here.endpoints.get(&name.to_lowercase()).cloned());
    endpoint.ok_or_else(|| missing(&call.place.arn("endpoint", name)))
}

fn missing(arn: &str) -> ApiError {
    ApiError::Validation(format!("Could not find endpoint \"{arn}\"."))
}

pub(super) fn no_config(place: &Place, name: &str) -> ApiError {
    let arn = place.arn("endpoint-config", name);
    ApiError::Validation(format!("Could not find endpoint configuration \"{arn}\"."))
}

/// Bring an endpoint to the configuration that it is to have.
async fn deploy(cloud: Arc<Cloud>, place: Place, name: String) {
    let Some(endpoint) = cloud.store.at(&place, |here| here.endpoints.get(&name).cloned()) else {
        return;
    };
    // After a restart an update has nothing left that serves meanwhile.
    let serving_now = lock(&cloud.serving).contains_key(&endpoint.arn);
    if let Some(pending) = endpoint.pending.as_ref().filter(|_| !serving_now)
        && let Ok((serving, _)) = load(&cloud, &place, &endpoint.config).await
    {
        tracing::debug!(
            endpoint = endpoint.arn,
            config = pending.config,
            "serving again before the update goes on"
        );
        lock(&cloud.serving).insert(endpoint.arn.clone(), Arc::new(serving));
    }
    if endpoint.status != Status::InService {
        tokio::time::sleep(cloud.options.endpoint_change).await;
    }
    let target =
        endpoint.pending.as_ref().map_or(&endpoint.config, |pending| &pending.config).clone();
    let outcome = load(&cloud, &place, &target).await;
    let update = endpoint.pending.is_some();
    let change = |change: &dyn Fn(&mut Endpoint)| {
        cloud.store.at(&place, |here| {
            if let Some(endpoint) = here.endpoints.get_mut(&name) {
                change(endpoint);
                endpoint.modified = now();
            }
        });
    };
    match outcome {
        Ok((serving, variants)) => {
            lock(&cloud.serving).insert(endpoint.arn.clone(), Arc::new(serving));
            change(&|endpoint| {
                endpoint.status = Status::InService;
                endpoint.variants = variants.clone();
                if let Some(done) = endpoint.pending.take() {
                    endpoint.config = done.config;
                    endpoint.deployment = done.deployment;
                }
            });
        }
        Err(reason) if update => {
            change(&|endpoint| {
                endpoint.status = Status::RollingBack;
                endpoint.failure = Some(reason.clone());
            });
            tokio::time::sleep(cloud.options.endpoint_change).await;
            change(&|endpoint| {
                endpoint.status = Status::InService;
                endpoint.pending = None;
            });
        }
        Err(reason) => change(&|endpoint| {
            endpoint.status = Status::Failed;
            endpoint.failure = Some(reason.clone());
        }),
    }
}

async fn remove(cloud: Arc<Cloud>, place: Place, name: String) {
    tokio::time::sleep(cloud.options.endpoint_change).await;
    cloud.store.at(&place, |here| {
        if let Some(endpoint) = here.endpoints.remove(&name) {
            here.tags.remove(&endpoint.arn);
            lock(&cloud.serving).remove(&endpoint.arn);
        }
    });
}
