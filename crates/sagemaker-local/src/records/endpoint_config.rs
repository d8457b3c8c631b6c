//! Endpoint configurations: which model runs on what.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::records::capture_config::DataCaptureConfig;
use crate::records::resource::{Resource, as_asked};
use crate::wire::error::ApiError;
use crate::wire::ids::now;
use crate::wire::paging::{ListingSpec, NEWEST_FIRST, Row};

/// An endpoint configuration: what its creator said, unchanged.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct EndpointConfig {
    name: String,
    pub(crate) arn: String,
    created: f64,
    request: Value,
}

/// A configuration's request, as far as anything depends on it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct EndpointConfigRequest {
    pub(crate) production_variants: Vec<ProductionVariant>,
    pub(crate) data_capture_config: Option<DataCaptureConfig>,
    /// The key of the disks.
    pub(crate) kms_key_id: Option<String>,
}

/// A `ProductionVariant`, as far as anything depends on it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ProductionVariant {
    pub(crate) variant_name: String,
    pub(crate) model_name: String,
    pub(crate) instance_type: Option<String>,
    pub(crate) initial_instance_count: Option<u64>,
    pub(crate) initial_variant_weight: Option<f64>,
    pub(crate) serverless_config: Option<ServerlessConfig>,
}

/// `ProductionVariantServerlessConfig`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ServerlessConfig {
    #[serde(rename = "MemorySizeInMB")]
    pub(crate) memory_size_in_mb: u64,
    pub(crate) max_concurrency: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) provisioned_concurrency: Option<u64>,
}

impl EndpointConfig {
    pub(crate) fn new(name: &str, arn: &str, request: &Value) -> Self {
        Self { name: name.into(), arn: arn.into(), created: now(), request: request.clone() }
    }

    /// The request that made it, which was read when it did.
    pub(crate) fn request(&self) -> EndpointConfigRequest {
        EndpointConfigRequest::deserialize(&self.request).unwrap_or_default()
    }
}

impl EndpointConfigRequest {
    /// The variant of this name.
    pub(crate) fn variant(&self, name: &str) -> Option<&ProductionVariant> {
        self.production_variants.iter().find(|variant| variant.variant_name == name)
    }

    /// Refuses what serverless endpoints do not have (Developer Guide, "Deploy models with
    /// Amazon SageMaker Serverless Inference", feature exclusions).
    pub(crate) fn check_serverless(&self) -> Result<(), String> {
        let variants = &self.production_variants;
        if !variants.iter().any(|variant| variant.serverless_config.is_some()) {
            return Ok(());
        }
        if variants.len() > 1 {
            return Err(
                "Serverless inference does not support multiple production variants.".into()
            );
        }
        if self.data_capture_config.is_some() {
            return Err("Serverless inference does not support data capture.".into());
        }
        Ok(())
    }
}

impl ProductionVariant {
    /// Refuses a variant that runs neither on instances nor serverless, or on both, and a
    /// pipeline of several containers that is to run serverless.
    pub(crate) fn check(&self, containers: usize) -> Result<(), String> {
        let name = &self.variant_name;
        let instances = self.instance_type.is_some() || self.initial_instance_count.is_some();
        match &self.serverless_config {
            Some(_) if instances => Err(format!(
                "Production variant {name} has both a ServerlessConfig and an InstanceType or InitialInstanceCount."
            )),
            Some(_) if containers > 1 => {
                Err("Serverless inference does not support models with multiple containers.".into())
            }
            Some(serverless) if serverless.memory_size_in_mb.is_multiple_of(1024) => Ok(()),
            Some(_) => {
                Err("MemorySizeInMB must be one of 1024, 2048, 3072, 4096, 5120 or 6144.".into())
            }
            None if self.instance_type.is_none() => Err(format!(
                "Production variant {name} needs an InstanceType or a ServerlessConfig."
            )),
            None if self.initial_instance_count.is_none() => {
                Err(format!("Production variant {name} needs an InitialInstanceCount."))
            }
            None => Ok(()),
        }
    }
}

impl Resource for EndpointConfig {
    const KIND: &'static str = "endpoint-config";
    const NAMED_BY: &'static str = "EndpointConfigName";
    const LISTING: ListingSpec = ListingSpec::new("EndpointConfigs", NEWEST_FIRST);

    fn name(&self) -> &str {
        &self.name
    }

    fn arn(&self) -> &str {
        &self.arn
    }

    fn describe(&self) -> Value {
        as_asked(&self.request, "EndpointConfigArn", &self.arn, self.created).into()
    }

    fn row(&self) -> Row {
        let summary = json!({
            "EndpointConfigName": self.name, "EndpointConfigArn": self.arn, "CreationTime": self.created,
        });
        Row::new(&self.name, self.created, summary)
    }

    fn missing(_: &str, arn: &str) -> ApiError {
        ApiError::Validation(format!("Could not find endpoint configuration \"{arn}\"."))
    }

    fn taken(_: &str, arn: &str) -> ApiError {
        ApiError::Validation(format!(
            "Cannot create already existing endpoint configuration \"{arn}\"."
        ))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_variant_runs_on_instances_or_serverless() {
        let check = |variant: &Value, containers: usize| {
            ProductionVariant::deserialize(variant).unwrap().check(containers)
        };
        let instances =
            json!({ "VariantName": "v", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1 });
        let serverless = |memory: u64| json!({ "VariantName": "v", "ServerlessConfig": { "MemorySizeInMB": memory, "MaxConcurrency": 5 } });
        assert_eq!(check(&instances, 3), Ok(()));
        assert_eq!(check(&serverless(2048), 1), Ok(()));
        assert!(check(&serverless(2048), 3).unwrap_err().contains("multiple containers"));
        assert!(check(&serverless(1500), 1).is_err());
        assert!(check(&json!({ "VariantName": "v" }), 1).is_err());
        let mut both = serverless(2048);
        both["InstanceType"] = json!("ml.m5.large");
        assert!(check(&both, 1).is_err());
    }
}
