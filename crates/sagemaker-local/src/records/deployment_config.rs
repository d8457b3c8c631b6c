//! `DeploymentConfig`, as requests have it and an endpoint shows it. What it means is told
//! by [`crate::endpoint::traffic_plan`].

use serde::{Deserialize, Serialize};

/// The way in which an endpoint's traffic moves to a new fleet.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeploymentConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) blue_green_update_policy: Option<BlueGreenUpdatePolicy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rolling_update_policy: Option<RollingUpdatePolicy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) auto_rollback_configuration: Option<AutoRollbackConfig>,
}

/// A second fleet stands beside the first, and takes its traffic.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct BlueGreenUpdatePolicy {
    #[serde(default)]
    pub(crate) traffic_routing_configuration: TrafficRoutingConfig,
    #[serde(rename = "TerminationWaitInSeconds", skip_serializing_if = "Option::is_none")]
    pub(crate) termination_wait: Option<u64>,
    #[serde(rename = "MaximumExecutionTimeoutInSeconds", skip_serializing_if = "Option::is_none")]
    pub(crate) timeout: Option<u64>,
}

/// The steps in which traffic moves.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct TrafficRoutingConfig {
    #[serde(rename = "Type", default)]
    pub(crate) kind: String,
    #[serde(rename = "WaitIntervalInSeconds", skip_serializing_if = "Option::is_none")]
    pub(crate) wait_interval: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) canary_size: Option<CapacitySize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) linear_step_size: Option<CapacitySize>,
}

/// The instances of the fleet are replaced in batches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RollingUpdatePolicy {
    pub(crate) maximum_batch_size: CapacitySize,
    #[serde(rename = "WaitIntervalInSeconds", skip_serializing_if = "Option::is_none")]
    pub(crate) wait_interval: Option<u64>,
    #[serde(rename = "MaximumExecutionTimeoutInSeconds", skip_serializing_if = "Option::is_none")]
    pub(crate) timeout: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rollback_maximum_batch_size: Option<CapacitySize>,
}

/// A part of a fleet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CapacitySize {
    #[serde(rename = "Type")]
    pub(crate) kind: String,
    pub(crate) value: u64,
}

/// The CloudWatch alarms that roll a deployment back.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct AutoRollbackConfig {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) alarms: Vec<Alarm>,
}

/// A CloudWatch alarm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Alarm {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) alarm_name: Option<String>,
}

impl DeploymentConfig {
    /// The names of the alarms.
    pub(crate) fn alarms(&self) -> Vec<String> {
        let alarms = self.auto_rollback_configuration.iter().flat_map(|rollback| &rollback.alarms);
        alarms.filter_map(|alarm| alarm.alarm_name.clone()).collect()
    }
}
