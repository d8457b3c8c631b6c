//! A production variant of an endpoint, as DescribeEndpoint shows it.

use serde::{Deserialize, Serialize};

use crate::records::endpoint_config::{ProductionVariant, ServerlessConfig};

/// A variant's weight and size: what they are, and what they are to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RunningVariant {
    #[serde(rename = "VariantName")]
    pub(crate) name: String,
    pub(crate) current_weight: f64,
    pub(crate) desired_weight: f64,
    #[serde(rename = "CurrentInstanceCount", default, skip_serializing_if = "Option::is_none")]
    pub(crate) current_count: Option<u64>,
    #[serde(rename = "DesiredInstanceCount", default, skip_serializing_if = "Option::is_none")]
    pub(crate) desired_count: Option<u64>,
    #[serde(rename = "CurrentServerlessConfig", default, skip_serializing_if = "Option::is_none")]
    pub(crate) serverless: Option<ServerlessConfig>,
}

/// `DesiredWeightAndCapacity`: what a variant is to become.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DesiredWeightAndCapacity {
    pub(crate) variant_name: String,
    desired_weight: Option<f64>,
    desired_instance_count: Option<u64>,
    serverless_update_config: Option<ServerlessUpdateConfig>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ServerlessUpdateConfig {
    max_concurrency: Option<u64>,
    provisioned_concurrency: Option<u64>,
}

impl From<&ProductionVariant> for RunningVariant {
    fn from(variant: &ProductionVariant) -> Self {
        let weight = variant.initial_variant_weight.unwrap_or(1.0);
        Self {
            name: variant.variant_name.clone(),
            current_weight: weight,
            desired_weight: weight,
            current_count: variant.initial_instance_count,
            desired_count: variant.initial_instance_count,
            serverless: variant.serverless_config.clone(),
        }
    }
}

impl RunningVariant {
    /// Reaches the weight and size that it is to have.
    pub(crate) fn settle(&mut self) {
        self.current_weight = self.desired_weight;
        self.current_count = self.desired_count;
    }

    /// Sets the weight and size that it is to have.
    pub(crate) fn want(&mut self, wanted: &DesiredWeightAndCapacity) -> Result<(), String> {
        let name = &self.name;
        if let Some(weight) = wanted.desired_weight {
            self.desired_weight = weight;
        }
        if let Some(count) = wanted.desired_instance_count {
            if self.desired_count.is_none() {
                return Err(format!("Serverless variant \"{name}\" has no instances."));
            }
            self.desired_count = Some(count);
        }
        if let Some(update) = &wanted.serverless_update_config {
            if update.provisioned_concurrency.is_some() {
                return Err("ProvisionedConcurrency is not offered by the local SageMaker.".into());
            }
            let Some(serverless) = &mut self.serverless else {
                return Err(format!("Variant \"{name}\" is not serverless."));
            };
            if let Some(concurrency) = update.max_concurrency {
                serverless.max_concurrency = concurrency;
            }
        }
        Ok(())
    }
}
