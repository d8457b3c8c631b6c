//! The endpoint config: the hosting of an endpoint's model, and the data that it captures.

use crosspilot_core::aws::sagemaker::Client;
use crosspilot_core::aws::sagemaker::operation::describe_endpoint_config::DescribeEndpointConfigOutput;
use crosspilot_core::aws::sagemaker::types::{
    CaptureContentTypeHeader, CaptureMode, CaptureOption, DataCaptureConfig, ProductionVariant,
    ProductionVariantInstanceType, ProductionVariantServerlessConfig,
};
use crosspilot_core::error::{CallError, Named};
use crosspilot_core::layout;
use crosspilot_core::registry::Serving;
use crosspilot_core::sagemaker::{Ensured, ensure, tags};
use crosspilot_core::settings::{Deployment, Hosting, HostingKind};
use crosspilot_core::tenant::Tenant;

use crate::HostingError;

fn kind(variant: &ProductionVariant) -> HostingKind {
    match variant.serverless_config() {
        Some(_) => HostingKind::Serverless,
        None => HostingKind::Instances,
    }
}

/// Reads what endpoints of this config run on.
pub(crate) async fn kind_of(sagemaker: &Client, name: &str) -> Result<HostingKind, CallError> {
    let found = sagemaker.describe_endpoint_config().endpoint_config_name(name).send().await;
    let found = found.named("sagemaker:DescribeEndpointConfig", name)?;
    Ok(found.production_variants().first().map_or(HostingKind::Instances, kind))
}

/// The config of one run's model, named after the run.
pub(crate) struct EndpointConfig<'a> {
    pub(crate) tenant: &'a Tenant,
    pub(crate) deployment: &'a Deployment,
    pub(crate) serving: &'a Serving,
}

impl EndpointConfig<'_> {
    /// Creates it, or adopts it when it exists. `instances` is how many serve now: an
    /// update must not take away what scaling has added. `false` while SageMaker does not
    /// see yet the model that it has just made.
    pub(crate) async fn create(
        &self,
        sagemaker: &Client,
        instances: Option<i32>,
    ) -> Result<bool, HostingError> {
        let run = &self.serving.run;
        let name = run.deployment_name();
        let created = sagemaker
            .create_endpoint_config()
            .endpoint_config_name(&name)
            .production_variants(self.production_variant(&name, instances))
            .set_data_capture_config(self.data_capture())
            .set_kms_key_id(self.volume_key())
            .set_tags(Some(tags(self.tenant, run)))
            .send()
            .await
            .named("sagemaker:CreateEndpointConfig", &name);
        let describe = async || {
            let found = sagemaker.describe_endpoint_config().endpoint_config_name(&name);
            found.send().await.named("sagemaker:DescribeEndpointConfig", &name)
        };
        match ensure(created, describe, |found| self.difference(found, &name)).await {
            Ok(Ensured::Created | Ensured::Adopted(_)) => Ok(true),
            Ok(Ensured::Foreign(what)) => {
                Err(HostingError::Foreign { resource: format!("endpoint config {name}"), what })
            }
            Err(error) if error.is_missing() => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Finds what makes a config found under our name another one, if anything.
    fn difference(&self, found: &DescribeEndpointConfigOutput, name: &str) -> Option<&'static str> {
        let first = found.production_variants().first();
        if first.and_then(ProductionVariant::model_name) != Some(name) {
            Some("model")
        } else if first.and_then(ProductionVariant::variant_name)
            != Some(self.serving.variant.as_str())
        {
            Some("variant name")
        } else if first.map(kind) != Some(self.deployment.hosting.kind()) {
            Some("kind of hosting")
        } else {
            None
        }
    }

    fn production_variant(&self, model: &str, instances: Option<i32>) -> ProductionVariant {
        let variant = ProductionVariant::builder()
            .variant_name(&self.serving.variant)
            .model_name(model)
            .initial_variant_weight(1.0);
        let deployment = self.deployment;
        match &deployment.hosting {
            Hosting::Instance { instance_type, count } => {
                let count = match (deployment.scaling, instances) {
                    (Some(scaling), Some(instances)) => {
                        let least = i32::from(scaling.min.max(1));
                        instances.clamp(least, i32::from(scaling.max).max(least))
                    }
                    _ => i32::from(*count),
                };
                let kind = ProductionVariantInstanceType::from(instance_type.as_str());
                variant.initial_instance_count(count).instance_type(kind).build()
            }
            Hosting::Serverless { memory_mb, max_concurrency } => {
                let serverless = ProductionVariantServerlessConfig::builder()
                    .memory_size_in_mb(i32::from(*memory_mb))
                    .max_concurrency(i32::from(*max_concurrency))
                    .build();
                variant.serverless_config(serverless).build()
            }
        }
    }

    fn data_capture(&self) -> Option<DataCaptureConfig> {
        let percent = self.deployment.data_capture_percent?;
        let place = layout::capture_prefix(&self.tenant.prefix, &self.serving.run.model);
        let modes = [CaptureMode::Input, CaptureMode::Output];
        let modes = modes.map(|mode| CaptureOption::builder().capture_mode(mode).build());
        let readable = CaptureContentTypeHeader::builder().csv_content_types("text/csv").build();
        Some(
            DataCaptureConfig::builder()
                .enable_capture(true)
                .initial_sampling_percentage(i32::from(percent))
                .destination_s3_uri(layout::uri(self.tenant, &place))
                .set_capture_options(Some(modes.into()))
                .capture_content_type_header(readable)
                .set_kms_key_id(self.tenant.encryption.as_ref().and_then(|e| e.output_key.clone()))
                .build(),
        )
    }

    /// The disks of serverless endpoints are AWS's own.
    fn volume_key(&self) -> Option<String> {
        match self.deployment.hosting {
            Hosting::Instance { .. } => self.tenant.encryption.as_ref()?.volume_key.clone(),
            Hosting::Serverless { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use crosspilot_core::error::{Code, Coded};
    use crosspilot_scripted::{Answer, Scripted};
    use serde_json::json;

    use super::*;

    /// Decides what comes of a config that SageMaker refuses so.
    async fn refused(code: &'static str, message: &'static str) -> Result<bool, HostingError> {
        let aws = Scripted::new(move |_| Answer::refused(400, code, message));
        let tenant = serde_json::from_value(crosspilot_scripted::tenant("acme")).unwrap();
        let serving = serde_json::from_value(json!({
            "tenant": "acme", "model": "churn", "run_id": "20260131-3f9a2c71b0", "job": "j",
            "candidate": "c", "endpoint": "e", "variant": "v", "metric": null, "value": null,
            "features": ["plan"], "target": "Churn?",
        }))
        .unwrap();
        let config = EndpointConfig {
            tenant: &tenant,
            deployment: &Deployment::default(),
            serving: &serving,
        };
        config.create(&Client::new(&aws.config()), None).await
    }

    #[tokio::test]
    async fn a_model_that_does_not_show_yet_is_waited_for() {
        let missing = "Could not find model \"crosspilot-churn-3f9a2c71b0\".";
        assert!(!refused("ValidationException", missing).await.unwrap());
        let wrong = refused("ValidationException", "no such instance type").await.unwrap_err();
        assert_eq!(wrong.code(), Code::RequestInvalid);
    }
}
