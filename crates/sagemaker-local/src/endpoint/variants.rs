//! What runs behind an endpoint, and how it is started.

use std::sync::Arc;

use serde_json::Value;

use crate::Cloud;
use crate::operations::endpoint::no_config;
use crate::operations::{authorization, endpoint_config, model};
use crate::records::store::Place;
use crate::services::s3::S3Uri;
use crate::serving::capture::Capture;
use crate::serving::container::{Environment, Pipeline};

/// The variants that one configuration of an endpoint runs.
pub(crate) type Serving = Vec<Arc<Variant>>;

/// A production variant at work.
#[derive(Clone)]
pub(crate) struct Variant {
    pub(crate) name: String,
    pub(crate) weight: f64,
    pub(crate) serverless: bool,
    /// The model's execution role.
    pub(crate) role: String,
    pub(crate) capture: Option<Arc<Capture>>,
    pub(crate) pipeline: Arc<Pipeline>,
}

/// What answers for an endpoint: one fleet or, during an update, two.
#[derive(Clone)]
pub(crate) struct Traffic {
    pub(crate) old: Serving,
    /// The new fleet and its share of the traffic, between 0 and 1.
    pub(crate) new: Option<(Serving, f64)>,
}

impl Traffic {
    /// One fleet gets everything.
    pub(crate) fn whole(serving: Serving) -> Self {
        Self { old: serving, new: None }
    }

    /// Every variant of both fleets with its part of the traffic.
    pub(crate) fn weighted(&self) -> Vec<(Arc<Variant>, f64)> {
        let (new, share) = self.new.as_ref().map_or((&[][..], 0.0), |(new, share)| (new, *share));
        let part = |fleet: &[Arc<Variant>], share: f64| {
            let total: f64 = fleet.iter().map(|variant| variant.weight).sum();
            let weight = |weight: f64| if total > 0.0 { weight / total * share } else { 0.0 };
            fleet
                .iter()
                .map(|variant| (variant.clone(), weight(variant.weight)))
                .collect::<Vec<_>>()
        };
        let mut all = part(&self.old, 1.0 - share);
        all.extend(part(new, share));
        all
    }
}

/// What an endpoint is to run.
pub(crate) struct Target<'a> {
    pub(crate) place: &'a Place,
    /// Name of the configuration.
    pub(crate) config: &'a str,
    /// The variants as DescribeEndpoint shows them: weights and counts may
    /// differ from the configuration's.
    pub(crate) variants: &'a [Value],
    pub(crate) capture: Option<&'a Value>,
}

/// Start every variant; why not, in the words of a `FailureReason`.
pub(crate) async fn load(cloud: &Arc<Cloud>, target: Target<'_>) -> Result<Serving, String> {
    let Target { place, config, variants, capture } = target;
    let config = cloud
        .store
        .at(place, |here| here.endpoint_configs.get(&config.to_lowercase()).cloned())
        .ok_or_else(|| no_config(place, config).to_string())?;
    let capture = capture.map(Capture::read).transpose()?.flatten().map(Arc::new);
    let volume_key = config.request.get("KmsKeyId").and_then(Value::as_str);
    let mut serving = Vec::new();
    for (variant, summary) in endpoint_config::variants(&config.request).zip(variants) {
        let text = |member: &str| variant.get(member).and_then(Value::as_str).unwrap_or_default();
        let (name, model) = (text("VariantName"), text("ModelName"));
        let pipeline = start_model(cloud, place, model, name, &Environment::new()).await?;
        let role = model::role(cloud, place, model).unwrap_or_default();
        if volume_key.is_some() {
            let s3 = cloud.role_s3(place, &role, &config.arn).await;
            let s3 = s3.map_err(|error| error.to_string())?;
            s3.check_volume_key(volume_key).await.map_err(|error| error.to_string())?;
        }
        serving.push(Arc::new(Variant {
            name: name.into(),
            weight: summary["CurrentWeight"].as_f64().unwrap_or(1.0),
            serverless: variant.get("ServerlessConfig").is_some(),
            role,
            capture: capture.clone(),
            pipeline: Arc::new(pipeline),
        }));
    }
    Ok(serving)
}

/// The running containers of a model, fetched with the model's execution role;
/// `more` is added to their environment.
pub(crate) async fn start_model(
    cloud: &Arc<Cloud>,
    place: &Place,
    model_name: &str,
    variant: &str,
    more: &Environment,
) -> Result<Pipeline, String> {
    let model = cloud.store.at(place, |here| here.models.get(&model_name.to_lowercase()).cloned());
    let model = model
        .ok_or_else(|| format!("Could not find model \"{}\".", place.arn("model", model_name)))?;
    let role = authorization::passed_role(&model.request).unwrap_or_default();
    let s3 = cloud.role_s3(place, role, &model.arn).await.map_err(|_| {
        format!(
            "Could not assume role {role}. Please ensure that the role exists and allows principal \
             'sagemaker.amazonaws.com' to assume the role."
        )
    })?;
    let containers = model::containers(&model.request);
    let several = containers.len() > 1;
    let mut started = Vec::new();
    for (i, mut container) in containers.into_iter().enumerate() {
        container.environment.extend(more.clone());
        let url = container.model_data_url.clone().unwrap_or_default();
        let label = if several { format!("container_{}", i + 1) } else { "primary".into() };
        let fetch = async { s3.get(&S3Uri::parse(&url)?).await.ok() };
        let archive = fetch.await.ok_or_else(|| {
            format!(
                "Failed to download model data for container \"{label}\" from URL: \"{url}\". Please ensure that \
                 there is an object located at the URL and that the role passed to CreateModel has permissions to \
                 download the object."
            )
        })?;
        started.push((container, archive));
    }
    let started = tokio::task::spawn_blocking(move || Pipeline::start(started)).await;
    started.map_err(|error| error.to_string())?.map_err(|error| {
        tracing::warn!(model = model.arn, %error, "a container does not start");
        format!(
            "The primary container for production variant {variant} did not pass the ping health check. Please check \
             CloudWatch logs for this endpoint."
        )
    })
}
