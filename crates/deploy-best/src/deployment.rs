//! Model, endpoint config, endpoint: created, or adopted when they exist.

use crosspilot_core::aws::sagemaker::Client;
use crosspilot_core::aws::sagemaker::types::{
    ContainerDefinition, ProductionVariant, ProductionVariantInstanceType,
    ProductionVariantServerlessConfig, Tag, VpcConfig,
};
use crosspilot_core::error::{CallError, Code, Coded};
use crosspilot_core::settings::Hosting;
use crosspilot_core::tenant::Network;
use serde::Serialize;

use crate::Error;
use crate::handshake::Container;

/// What was done to the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It did not exist.
    Created,
    /// It served another model and now moves to this one.
    Updated,
    /// It had been created or updated by an earlier attempt of this run.
    Adopted,
}

/// All that is decided about a deployment before AWS is asked.
pub(crate) struct Plan {
    /// Name of the model and of the endpoint config.
    pub(crate) name: String,
    pub(crate) endpoint: String,
    pub(crate) execution_role: String,
    pub(crate) hosting: Hosting,
    pub(crate) network: Option<Network>,
    pub(crate) containers: Vec<Container>,
    pub(crate) tags: [(&'static str, String); 4],
}

impl Plan {
    pub(crate) async fn apply(&self, sagemaker: &Client) -> Result<Action, Error> {
        self.model(sagemaker).await?;
        self.config(sagemaker).await?;
        self.endpoint(sagemaker).await
    }

    fn tags(&self) -> Vec<Tag> {
        self.tags.iter().map(|(key, value)| Tag::builder().key(*key).value(value).build()).collect()
    }

    async fn model(&self, sagemaker: &Client) -> Result<(), Error> {
        let containers = self.containers.iter().map(|container| {
            ContainerDefinition::builder()
                .image(&container.image)
                .set_model_data_url(container.model_data.clone())
                .set_environment(Some(container.environment.clone()))
                .build()
        });
        let created = sagemaker
            .create_model()
            .model_name(&self.name)
            .execution_role_arn(&self.execution_role)
            .set_containers(Some(containers.collect()))
            .set_vpc_config(self.network.as_ref().map(vpc))
            .set_tags(Some(self.tags()))
            .send()
            .await
            .map_err(|e| CallError::new("sagemaker:CreateModel", &self.name, &e));
        let Some(_) = exists(created)? else { return Ok(()) };
        let found = sagemaker
            .describe_model()
            .model_name(&self.name)
            .send()
            .await
            .map_err(|e| CallError::new("sagemaker:DescribeModel", &self.name, &e))?;
        let same_data = found
            .containers()
            .iter()
            .map(ContainerDefinition::model_data_url)
            .eq(self.containers.iter().map(|container| container.model_data.as_deref()));
        if same_data { Ok(()) } else { Err(self.foreign("model", "model data")) }
    }

    async fn config(&self, sagemaker: &Client) -> Result<(), Error> {
        let variant = ProductionVariant::builder()
            .variant_name("AllTraffic")
            .model_name(&self.name)
            .initial_variant_weight(1.0);
        let variant = match &self.hosting {
            Hosting::Instance { instance_type, count } => variant
                .initial_instance_count(i32::from(*count))
                .instance_type(ProductionVariantInstanceType::from(instance_type.as_str())),
            Hosting::Serverless { memory_mb, max_concurrency } => variant.serverless_config(
                ProductionVariantServerlessConfig::builder()
                    .memory_size_in_mb(i32::from(*memory_mb))
                    .max_concurrency(i32::from(*max_concurrency))
                    .build(),
            ),
        };
        let created = sagemaker
            .create_endpoint_config()
            .endpoint_config_name(&self.name)
            .production_variants(variant.build())
            .set_tags(Some(self.tags()))
            .send()
            .await
            .map_err(|e| CallError::new("sagemaker:CreateEndpointConfig", &self.name, &e));
        let Some(_) = exists(created)? else { return Ok(()) };
        let found = sagemaker
            .describe_endpoint_config()
            .endpoint_config_name(&self.name)
            .send()
            .await
            .map_err(|e| CallError::new("sagemaker:DescribeEndpointConfig", &self.name, &e))?;
        let model = found.production_variants().first().and_then(ProductionVariant::model_name);
        if model == Some(self.name.as_str()) {
            Ok(())
        } else {
            Err(self.foreign("endpoint config", "model"))
        }
    }

    async fn endpoint(&self, sagemaker: &Client) -> Result<Action, Error> {
        let created = sagemaker
            .create_endpoint()
            .endpoint_name(&self.endpoint)
            .endpoint_config_name(&self.name)
            .set_tags(Some(self.tags()))
            .send()
            .await
            .map_err(|e| CallError::new("sagemaker:CreateEndpoint", &self.endpoint, &e));
        let Some(_) = exists(created)? else { return Ok(Action::Created) };
        let found = sagemaker
            .describe_endpoint()
            .endpoint_name(&self.endpoint)
            .send()
            .await
            .map_err(|e| CallError::new("sagemaker:DescribeEndpoint", &self.endpoint, &e))?;
        let status = found.endpoint_status().map_or("Unknown", |status| status.as_str());
        if status == "Failed" {
            // A failed endpoint blocks its name until it is deleted.
            return Err(self.blocked(status));
        }
        if found.endpoint_config_name() == Some(self.name.as_str()) {
            return Ok(Action::Adopted);
        }
        let updated = sagemaker
            .update_endpoint()
            .endpoint_name(&self.endpoint)
            .endpoint_config_name(&self.name)
            .send()
            .await
            .map_err(|e| CallError::new("sagemaker:UpdateEndpoint", &self.endpoint, &e));
        match updated {
            Ok(_) => Ok(Action::Updated),
            // SageMaker refuses to update what is still moving.
            Err(error) if error.code() == Code::RequestInvalid && status != "InService" => {
                Err(self.blocked(status))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn blocked(&self, status: &str) -> Error {
        Error::EndpointBlocked { endpoint: self.endpoint.clone(), status: status.to_owned() }
    }

    fn foreign(&self, kind: &str, what: &'static str) -> Error {
        Error::Foreign { resource: format!("{kind} {}", self.name), what }
    }
}

fn vpc(network: &Network) -> VpcConfig {
    VpcConfig::builder()
        .set_subnets(Some(network.subnets.clone()))
        .set_security_group_ids(Some(network.security_groups.clone()))
        .build()
}

/// `Some` when the resource existed before. SageMaker says so with a
/// ValidationException "Cannot create already existing ...".
fn exists<T>(created: Result<T, CallError>) -> Result<Option<()>, Error> {
    match created {
        Ok(_) => Ok(None),
        Err(error) if error.message().contains("already existing") => Ok(Some(())),
        Err(error) => Err(error.into()),
    }
}
