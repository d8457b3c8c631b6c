//! Every operation that the stand-in offers, and the rules they share.

pub(crate) mod authorization;
pub(crate) mod automl_job;
pub(crate) mod child_jobs;
pub(crate) mod endpoint;
pub(crate) mod endpoint_config;
pub(crate) mod model;
pub(crate) mod scaling;
pub(crate) mod scaling_permissions;
pub(crate) mod tags;
pub(crate) mod transform_job;
pub(crate) mod volume_keys;

use std::sync::Arc;

use serde_json::Value;

use crate::Cloud;
use crate::records::store::Place;
use crate::wire::error::ApiError;

/// An authorised request.
pub(crate) struct Call<'a> {
    pub(crate) operation: &'a str,
    pub(crate) place: Place,
    /// Checked against the service model.
    pub(crate) input: Value,
}

impl Call<'_> {
    /// A string member; empty if it is optional and absent.
    pub(crate) fn text(&self, member: &str) -> &str {
        self.input.get(member).and_then(Value::as_str).unwrap_or_default()
    }
}

/// What an operation answers.
pub(crate) type Answer = Result<Value, ApiError>;

/// Do what the call asks.
pub(crate) async fn perform(cloud: &Arc<Cloud>, call: &Call<'_>) -> Answer {
    if let Some(role) = authorization::passed_role(&call.input)
        && role.split(':').nth(4) != Some(call.place.account.as_str())
    {
        return Err(ApiError::Validation(
            "RoleArn: Cross-account pass role is not allowed.".into(),
        ));
    }
    match call.operation {
        "CreateAutoMLJob" | "CreateAutoMLJobV2" => automl_job::create(cloud, call).await,
        "DescribeAutoMLJob" | "DescribeAutoMLJobV2" => automl_job::describe(cloud, call),
        "ListAutoMLJobs" => automl_job::list(cloud, call),
        "ListCandidatesForAutoMLJob" => automl_job::list_candidates(cloud, call),
        "StopAutoMLJob" => automl_job::stop(cloud, call),
        "CreateModel" => model::create(cloud, call).await,
        "DescribeModel" => model::describe(cloud, call),
        "DeleteModel" => model::delete(cloud, call),
        "ListModels" => model::list(cloud, call),
        "CreateEndpointConfig" => endpoint_config::create(cloud, call),
        "DescribeEndpointConfig" => endpoint_config::describe(cloud, call),
        "DeleteEndpointConfig" => endpoint_config::delete(cloud, call),
        "ListEndpointConfigs" => endpoint_config::list(cloud, call),
        "CreateEndpoint" => endpoint::create(cloud, call).await,
        "UpdateEndpoint" => endpoint::update(cloud, call).await,
        "UpdateEndpointWeightsAndCapacities" => endpoint::update_weights(cloud, call),
        "DescribeEndpoint" => endpoint::describe(cloud, call),
        "DeleteEndpoint" => endpoint::delete(cloud, call),
        "ListEndpoints" => endpoint::list(cloud, call),
        "CreateTransformJob" => transform_job::create(cloud, call).await,
        "DescribeTransformJob" => transform_job::describe(cloud, call),
        "StopTransformJob" => transform_job::stop(cloud, call),
        "ListTransformJobs" => transform_job::list(cloud, call),
        "DescribeTrainingJob" => child_jobs::describe_training(cloud, call),
        "ListTrainingJobs" => child_jobs::list_training(cloud, call),
        "DescribeProcessingJob" => child_jobs::describe_processing(cloud, call),
        "ListProcessingJobs" => child_jobs::list_processing(cloud, call),
        "AddTags" => tags::add(cloud, call),
        "ListTags" => tags::list(cloud, call),
        "DeleteTags" => tags::delete(cloud, call),
        other if scaling::OPERATIONS.contains(&other) => scaling::perform(cloud, call),
        other => {
            Err(ApiError::NotOffered(format!("{other} is not offered by the local SageMaker")))
        }
    }
}
