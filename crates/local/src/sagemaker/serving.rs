//! What runs behind an endpoint, and how it is started.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    Cloud, access,
    container::{Environment, Pipeline},
    endpoint::no_config,
    endpoint_config, model,
    s3::S3Uri,
    store::Place,
};

/// The pipelines behind an endpoint.
pub(super) struct Serving {
    pub(super) variants: Vec<Variant>,
}

/// A production variant at work.
pub(super) struct Variant {
    pub(super) name: String,
    pub(super) weight: f64,
    pub(super) serverless: bool,
    pub(super) pipeline: Pipeline,
}

/// Start every variant of a configuration, and show what was started; why not,
/// in the words of a `FailureReason`.
pub(super) async fn load(
    cloud: &Arc<Cloud>,
    place: &Place,
    config: &str,
) -> Result<(Serving, Vec<Value>), String> {
    let config = cloud
        .store
        .at(place, |here| here.endpoint_configs.get(&config.to_lowercase()).cloned())
        .ok_or_else(|| no_config(place, config).to_string())?;
    let (mut variants, mut shown) = (Vec::new(), Vec::new());
    for variant in endpoint_config::variants(&config.request) {
        let text = |member: &str| variant.get(member).and_then(Value::as_str).unwrap_or_default();
        let name = text("VariantName");
        let pipeline =
            start_model(cloud, place, text("ModelName"), name, &Environment::new()).await?;
        let weight = variant.get("InitialVariantWeight").and_then(Value::as_f64).unwrap_or(1.0);
        let serverless = variant.get("ServerlessConfig");
        let mut summary =
            json!({ "VariantName": name, "CurrentWeight": weight, "DesiredWeight": weight });
        if let Some(count) = variant.get("InitialInstanceCount") {
            summary["CurrentInstanceCount"] = count.clone();
            summary["DesiredInstanceCount"] = count.clone();
        }
        if let Some(serverless) = serverless {
            summary["CurrentServerlessConfig"] = serverless.clone();
        }
        shown.push(summary);
        variants.push(Variant {
            name: name.into(),
            weight,
            serverless: serverless.is_some(),
            pipeline,
        });
    }
    Ok((Serving { variants }, shown))
}

/// The running containers of a model, fetched with the model's execution role;
/// `more` is added to their environment.
pub(super) async fn start_model(
    cloud: &Arc<Cloud>,
    place: &Place,
    model_name: &str,
    variant: &str,
    more: &Environment,
) -> Result<Pipeline, String> {
    let model = cloud.store.at(place, |here| here.models.get(&model_name.to_lowercase()).cloned());
    let model = model
        .ok_or_else(|| format!("Could not find model \"{}\".", place.arn("model", model_name)))?;
    let role = access::passed_role(&model.request).unwrap_or_default();
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
