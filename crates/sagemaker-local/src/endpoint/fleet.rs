//! Starts the fleet of an endpoint.

use std::sync::Arc;

use crate::cloud::Cloud;
use crate::records::endpoint::Deployed;
use crate::records::endpoint_config::EndpointConfig;
use crate::records::model::{Environment, Model};
use crate::services::s3::RoleS3;
use crate::serving::capture::Capture;
use crate::serving::launch::launch;
use crate::serving::traffic::{Serving, Variant};
use crate::wire::place::Place;

/// Starts every variant; why not, in the words of a `FailureReason`.
pub(crate) async fn start(
    cloud: &Cloud,
    place: &Place,
    deployed: &Deployed,
) -> Result<Serving, String> {
    let config: EndpointConfig =
        cloud.store.find(place, &deployed.config).map_err(|error| error.to_string())?;
    let capture = deployed.capture.as_ref().map(Capture::read).transpose()?.flatten();
    let capture = capture.map(Arc::new);
    let request = config.request();
    let mut serving = Vec::new();
    for (variant, running) in request.production_variants.iter().zip(&deployed.variants) {
        let model: Model =
            cloud.store.find(place, &variant.model_name).map_err(|error| error.to_string())?;
        let name = &variant.variant_name;
        let pipeline = launch(&cloud.emulator, place, &model, name, &Environment::new()).await?;
        let role = model.role().to_owned();
        if request.kms_key_id.is_some() {
            let s3 = RoleS3::open(&cloud.emulator, place, &role, &config.arn).await;
            let s3 = s3.map_err(|error| error.to_string())?;
            let checked = s3.check_volume_key(request.kms_key_id.as_deref()).await;
            checked.map_err(|error| error.to_string())?;
        }
        serving.push(Arc::new(Variant {
            name: name.clone(),
            weight: running.current_weight,
            serverless: variant.serverless_config.is_some(),
            role,
            capture: capture.clone(),
            pipeline: Arc::new(pipeline),
        }));
    }
    Ok(serving)
}
