//! Every operation that the stand-in offers, and the rules they share.

use std::sync::Arc;

use serde_json::Value;

use super::{
    Cloud, access, automl_job, autoscaling, endpoint, endpoint_config, error::ApiError, model,
    steps, store::Place, tags, transform_job,
};

/// An authorised request.
pub(super) struct Call<'a> {
    pub(super) operation: &'a str,
    pub(super) place: Place,
    /// Checked against the service model.
    pub(super) input: Value,
}

impl Call<'_> {
    /// A string member; empty if it is optional and absent.
    pub(super) fn text(&self, member: &str) -> &str {
        self.input.get(member).and_then(Value::as_str).unwrap_or_default()
    }
}

/// What an operation answers.
pub(super) type Answer = Result<Value, ApiError>;

/// Do what the call asks.
pub(super) async fn perform(cloud: &Arc<Cloud>, call: &Call<'_>) -> Answer {
    if let Some(role) = access::passed_role(&call.input)
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
        "DescribeTrainingJob" => steps::describe_training(cloud, call),
        "ListTrainingJobs" => steps::list_training(cloud, call),
        "DescribeProcessingJob" => steps::describe_processing(cloud, call),
        "ListProcessingJobs" => steps::list_processing(cloud, call),
        "AddTags" => tags::add(cloud, call),
        "ListTags" => tags::list(cloud, call),
        "DeleteTags" => tags::delete(cloud, call),
        other if autoscaling::OPERATIONS.contains(&other) => autoscaling::perform(cloud, call),
        other => {
            Err(ApiError::NotOffered(format!("{other} is not offered by the local SageMaker")))
        }
    }
}
