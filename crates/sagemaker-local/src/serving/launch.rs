//! Starts the containers of a model.

use crate::records::model::{Environment, Model};
use crate::services::emulator::Emulator;
use crate::services::s3::{RoleS3, S3Uri};
use crate::serving::pipeline::Pipeline;
use crate::wire::place::Place;

/// Starts the containers of a model, fetched with its execution role; `more` is added to
/// their environment.
pub(crate) async fn launch(
    emulator: &Emulator,
    place: &Place,
    model: &Model,
    variant: &str,
    more: &Environment,
) -> Result<Pipeline, String> {
    let role = model.role();
    let s3 = RoleS3::open(emulator, place, role, &model.arn).await.map_err(|_| {
        format!(
            "Could not assume role {role}. Please ensure that the role exists and allows principal \
             'sagemaker.amazonaws.com' to assume the role."
        )
    })?;
    let containers = model.containers();
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
