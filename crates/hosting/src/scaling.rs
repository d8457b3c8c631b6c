//! The number of an endpoint's instances: Application Auto Scaling.
//!
//! A variant is registered by name, and SageMaker refuses to replace one that is
//! (Developer Guide, "Delete a scaling policy"), so that scaling is taken off
//! before an update and put on again once it is known which model serves.

use crosspilot_core::aws::applicationautoscaling::Client;
use crosspilot_core::aws::applicationautoscaling::types::{
    MetricType, PolicyType, PredefinedMetricSpecification, ScalableDimension, ServiceNamespace,
    TargetTrackingScalingPolicyConfiguration,
};
use crosspilot_core::error::{CallError, Named};
use crosspilot_core::settings::Scaling;

const NAMESPACE: ServiceNamespace = ServiceNamespace::Sagemaker;
const DIMENSION: ScalableDimension = ScalableDimension::SageMakerVariantDesiredInstanceCount;
const POLICY: &str = "crosspilot-invocations";

fn resource(endpoint: &str, variant: &str) -> String {
    format!("endpoint/{endpoint}/variant/{variant}")
}

/// Lets a variant scale. Doing it again changes nothing.
pub(crate) async fn register(
    scaling: &Client,
    endpoint: &str,
    variant: &str,
    wanted: Scaling,
) -> Result<(), CallError> {
    let resource = resource(endpoint, variant);
    scaling
        .register_scalable_target()
        .service_namespace(NAMESPACE)
        .scalable_dimension(DIMENSION)
        .resource_id(&resource)
        .min_capacity(i32::from(wanted.min))
        .max_capacity(i32::from(wanted.max))
        .send()
        .await
        .named("application-autoscaling:RegisterScalableTarget", &resource)?;
    let metric = PredefinedMetricSpecification::builder()
        .predefined_metric_type(MetricType::SageMakerVariantInvocationsPerInstance)
        .build()
        .ok();
    let tracking = TargetTrackingScalingPolicyConfiguration::builder()
        .target_value(f64::from(wanted.invocations_per_instance))
        .set_predefined_metric_specification(metric)
        .build()
        .ok();
    scaling
        .put_scaling_policy()
        .policy_name(POLICY)
        .service_namespace(NAMESPACE)
        .scalable_dimension(DIMENSION)
        .resource_id(&resource)
        .policy_type(PolicyType::TargetTrackingScaling)
        .set_target_tracking_scaling_policy_configuration(tracking)
        .send()
        .await
        .named("application-autoscaling:PutScalingPolicy", &resource)?;
    Ok(())
}

/// Keeps these variants at as many instances as they have now.
pub(crate) async fn deregister(
    scaling: &Client,
    endpoint: &str,
    variants: &[(String, Option<i32>)],
) -> Result<(), CallError> {
    // Serverless variants have no instances, and so no target.
    let resources: Vec<String> = variants
        .iter()
        .filter(|(_, instances)| instances.is_some())
        .map(|(variant, _)| resource(endpoint, variant))
        .collect();
    if resources.is_empty() {
        return Ok(());
    }
    let found = scaling
        .describe_scalable_targets()
        .service_namespace(NAMESPACE)
        .scalable_dimension(DIMENSION)
        .set_resource_ids(Some(resources))
        .send()
        .await
        .named("application-autoscaling:DescribeScalableTargets", endpoint)?;
    for target in found.scalable_targets() {
        let resource = target.resource_id();
        let gone = scaling
            .deregister_scalable_target()
            .service_namespace(NAMESPACE)
            .scalable_dimension(DIMENSION)
            .resource_id(resource)
            .send()
            .await
            .named("application-autoscaling:DeregisterScalableTarget", resource);
        match gone {
            // An invocation in parallel was quicker.
            Err(error) if error.aws_code() == "ObjectNotFoundException" => {}
            gone => drop(gone?),
        }
    }
    Ok(())
}
