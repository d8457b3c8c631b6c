//! Every operation that the stand-in offers, a file for each kind of resource. Uses all
//! below: the workers [`crate::endpoint`], [`crate::autopilot`] and [`crate::transform`],
//! and what they use.

pub(crate) mod automl_job;
mod child_jobs;
pub(crate) mod endpoint;
mod endpoint_config;
mod model;
mod model_deployment;
mod resource;
mod scaling;
mod tags;
pub(crate) mod transform_job;

use std::sync::Arc;

use crate::cloud::Cloud;
use crate::operations::resource::{delete, describe, list};
use crate::records::automl_job::AutoMlJob;
use crate::records::endpoint::Endpoint;
use crate::records::endpoint_config::EndpointConfig;
use crate::records::model::Model;
use crate::wire::autoscaling;
use crate::wire::call::{Answer, Call, passed_role};
use crate::wire::error::ApiError;

/// Does what the call asks.
pub(crate) async fn perform(cloud: &Arc<Cloud>, call: &Call<'_>) -> Answer {
    if let Some(role) = passed_role(&call.input)
        && role.split(':').nth(4) != Some(call.place.account.as_str())
    {
        return Err(ApiError::Validation(
            "RoleArn: Cross-account pass role is not allowed.".into(),
        ));
    }
    match call.operation {
        "CreateAutoMLJob" | "CreateAutoMLJobV2" => automl_job::create(cloud, call).await,
        "DescribeAutoMLJob" | "DescribeAutoMLJobV2" => automl_job::describe(cloud, call),
        "ListAutoMLJobs" => list::<AutoMlJob>(cloud, call),
        "ListCandidatesForAutoMLJob" => automl_job::list_candidates(cloud, call),
        "StopAutoMLJob" => automl_job::stop(cloud, call),
        "CreateModel" => model::create(cloud, call).await,
        "DescribeModel" => describe::<Model>(cloud, call),
        "DeleteModel" => delete::<Model>(cloud, call),
        "ListModels" => list::<Model>(cloud, call),
        "CreateEndpointConfig" => endpoint_config::create(cloud, call),
        "DescribeEndpointConfig" => describe::<EndpointConfig>(cloud, call),
        "DeleteEndpointConfig" => delete::<EndpointConfig>(cloud, call),
        "ListEndpointConfigs" => list::<EndpointConfig>(cloud, call),
        "CreateEndpoint" => endpoint::create(cloud, call).await,
        "UpdateEndpoint" => endpoint::update(cloud, call).await,
        "UpdateEndpointWeightsAndCapacities" => endpoint::update_weights(cloud, call),
        "DescribeEndpoint" => describe::<Endpoint>(cloud, call),
        "DeleteEndpoint" => endpoint::delete(cloud, call),
        "ListEndpoints" => list::<Endpoint>(cloud, call),
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
        other if autoscaling::OPERATIONS.contains(&other) => scaling::perform(cloud, call),
        other => {
            Err(ApiError::NotOffered(format!("{other} is not offered by the local SageMaker")))
        }
    }
}
