//! Application Auto Scaling's own words, as far as it is offered.

/// The operations' prefix in `X-Amz-Target`.
pub(crate) const TARGET: &str = "AnyScaleFrontendService.";
/// The service's name in signatures and actions.
pub(crate) const SERVICE: &str = "application-autoscaling";
/// The namespace of what it scales, and the one dimension of it that is offered.
pub(crate) const NAMESPACE: &str = "sagemaker";
pub(crate) const DIMENSION: &str = "sagemaker:variant:DesiredInstanceCount";
/// The service-linked role as which Application Auto Scaling changes capacities.
pub(crate) const LINKED_ROLE: &str = "role/aws-service-role/sagemaker.application-autoscaling.amazonaws.com/\
                           AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint";

/// The operations of this service.
pub(crate) const OPERATIONS: [&str; 6] = [
    "DeleteScalingPolicy",
    "DeregisterScalableTarget",
    "DescribeScalableTargets",
    "DescribeScalingPolicies",
    "PutScalingPolicy",
    "RegisterScalableTarget",
];
