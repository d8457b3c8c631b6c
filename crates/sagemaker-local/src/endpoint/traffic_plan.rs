//! `DeploymentConfig`: how traffic moves from an endpoint's old fleet to its
//! new one, and what calls it back (Developer Guide, "Deployment guardrails").

use std::time::Duration;

use crate::records::deployment_config::{
    BlueGreenUpdatePolicy, CapacitySize, DeploymentConfig, RollingUpdatePolicy,
};
use crate::records::endpoint::Fleet;

/// A part of the traffic that goes to the new fleet, and how long that is
/// watched before the next step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct TrafficStep {
    /// Between 0 and 1.
    pub(crate) share: f64,
    pub(crate) bake: Duration,
}

/// A deployment's course.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TrafficPlan {
    /// The last step's share is 1.
    pub(crate) steps: Vec<TrafficStep>,
    /// The time that the old fleet is kept after the last step.
    pub(crate) termination_wait: Duration,
    /// The time after which a deployment is rolled back.
    pub(crate) timeout: Option<Duration>,
    /// CloudWatch alarms; one that goes off rolls the deployment back.
    pub(crate) alarms: Vec<String>,
}

/// The service model's limit of `MaximumExecutionTimeoutInSeconds`.
const LONGEST: Duration = Duration::from_secs(28_800);

impl Default for TrafficPlan {
    /// All at once, which is also what AWS does when it is told nothing.
    fn default() -> Self {
        Self {
            steps: vec![TrafficStep { share: 1.0, bake: Duration::ZERO }],
            termination_wait: Duration::ZERO,
            timeout: None,
            alarms: Vec::new(),
        }
    }
}

impl TrafficPlan {
    /// Understands a `DeploymentConfig` for a change from `old` (nothing, at the
    /// creation) to `new`; in AWS's place, say why it cannot be done.
    pub(crate) fn read(
        config: &DeploymentConfig,
        old: Option<&Fleet>,
        new: &Fleet,
    ) -> Result<Self, String> {
        if old.is_some_and(|old| !old.serverless) && new.serverless {
            // Developer Guide, "Serverless Inference": the other way round it works,
            // and cannot be undone.
            return Err("A real-time endpoint cannot be updated to a serverless endpoint.".into());
        }
        let (blue_green, rolling) =
            (&config.blue_green_update_policy, &config.rolling_update_policy);
        let deployment = match (blue_green, rolling) {
            (Some(_), Some(_)) => {
                return Err("Only one of BlueGreenUpdatePolicy and RollingUpdatePolicy can be specified in \
                            DeploymentConfig."
                    .into());
            }
            (Some(policy), None) => Self::blue_green(policy, new)?,
            (None, Some(policy)) => Self::rolling(policy, new)?,
            (None, None) => Self::default(),
        };
        let has_policy = blue_green.is_some() || rolling.is_some();
        if has_policy && old.is_some_and(|old| old.variants != new.variants) {
            return Err("The variant names of the new endpoint configuration must be those of the old one for a \
                        deployment with an update policy."
                .into());
        }
        let waits: Duration = deployment.steps.iter().map(|step| step.bake).sum::<Duration>()
            + deployment.termination_wait;
        if deployment.timeout.unwrap_or(LONGEST) <= waits {
            return Err(format!(
                "MaximumExecutionTimeoutInSeconds must be larger than the total waiting time of the deployment, {} \
                 seconds.",
                waits.as_secs()
            ));
        }
        Ok(Self { alarms: config.alarms(), ..deployment })
    }

    fn blue_green(policy: &BlueGreenUpdatePolicy, new: &Fleet) -> Result<Self, String> {
        let routing = &policy.traffic_routing_configuration;
        let kind = routing.kind.as_str();
        let bake = seconds(routing.wait_interval);
        for (size, member, of) in [
            (&routing.canary_size, "CanarySize", "CANARY"),
            (&routing.linear_step_size, "LinearStepSize", "LINEAR"),
        ] {
            if size.is_none() == (kind == of) {
                let verb = if kind == of { "is required" } else { "can only be specified" };
                return Err(format!("{member} {verb} for the traffic routing type {of}."));
            }
        }
        if kind != "ALL_AT_ONCE" && new.serverless {
            return Err(format!(
                "The traffic routing type {kind} is not supported for serverless variants."
            ));
        }
        if kind != "ALL_AT_ONCE" && new.instances < 2 {
            // No part of one instance is at most a half of it.
            return Err(format!(
                "The traffic routing type {kind} needs a variant of at least 2 instances: the size of a step must be \
                 at most 50 % of the variant's total instance count."
            ));
        }
        let shares = match (&routing.canary_size, &routing.linear_step_size) {
            (Some(canary), _) => vec![share(canary, "CanarySize", new, 0.0)?, 1.0],
            (None, Some(step)) => shares(share(step, "LinearStepSize", new, 0.1)?),
            (None, None) => vec![1.0],
        };
        Ok(Self {
            steps: shares.into_iter().map(|share| TrafficStep { share, bake }).collect(),
            termination_wait: seconds(policy.termination_wait),
            timeout: policy.timeout.map(Duration::from_secs),
            alarms: Vec::new(),
        })
    }

    fn rolling(policy: &RollingUpdatePolicy, new: &Fleet) -> Result<Self, String> {
        if new.serverless || new.variants.len() > 1 {
            return Err("RollingUpdatePolicy is not supported for endpoints that are serverless or have several \
                        variants."
                .into());
        }
        let batch = share(&policy.maximum_batch_size, "MaximumBatchSize", new, 0.05)?;
        let bake = seconds(policy.wait_interval);
        Ok(Self {
            steps: shares(batch).into_iter().map(|share| TrafficStep { share, bake }).collect(),
            termination_wait: Duration::ZERO,
            timeout: policy.timeout.map(Duration::from_secs),
            alarms: Vec::new(),
        })
    }
}

fn seconds(given: Option<u64>) -> Duration {
    Duration::from_secs(given.unwrap_or_default())
}

/// The part of the fleet that a `CapacitySize` stands for: at least `least` and
/// at most a half.
fn share(size: &CapacitySize, member: &str, fleet: &Fleet, least: f64) -> Result<f64, String> {
    const MOST: f64 = 0.5;
    let value = size.value as f64;
    let share = match size.kind.as_str() {
        "CAPACITY_PERCENT" => value / 100.0,
        _ => value / fleet.instances.max(1) as f64,
    };
    if (least..=MOST).contains(&share) && share > 0.0 {
        return Ok(share);
    }
    let least =
        if least > 0.0 { format!("at least {} % and ", least * 100.0) } else { String::new() };
    Err(format!(
        "{member} must be {least}at most {} % of the variant's total instance count.",
        MOST * 100.0
    ))
}

/// As many steps of this size as it takes.
fn shares(step: f64) -> Vec<f64> {
    // The size is at least 5 %, so there are at most 20; the last is cut to fit.
    let count = (1.0 / step).ceil().max(1.0) as u32;
    (1..=count).map(|i| (step * f64::from(i)).min(1.0)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    fn fleet(instances: u64) -> Fleet {
        Fleet { variants: vec!["AllTraffic".into()], instances, serverless: false }
    }

    fn read(config: &Value, old: Option<&Fleet>, new: &Fleet) -> Result<TrafficPlan, String> {
        TrafficPlan::read(&serde_json::from_value(config.clone()).unwrap(), old, new)
    }

    fn blue_green(routing: Value, fleet: &Fleet) -> Result<Vec<f64>, String> {
        let mut routing = routing;
        routing["WaitIntervalInSeconds"] = json!(60);
        let config = json!({ "BlueGreenUpdatePolicy": { "TrafficRoutingConfiguration": routing } });
        let deployment = read(&config, Some(fleet), fleet)?;
        assert!(deployment.steps.iter().all(|step| step.bake == Duration::from_secs(60)));
        Ok(deployment.steps.iter().map(|step| step.share).collect())
    }

    fn size(kind: &str, value: u64) -> Value {
        json!({ "Type": kind, "Value": value })
    }

    #[test]
    fn traffic_moves_in_the_steps_asked_for() {
        let four = fleet(4);
        assert_eq!(blue_green(json!({ "Type": "ALL_AT_ONCE" }), &four), Ok(vec![1.0]));
        let canary = |size| json!({ "Type": "CANARY", "CanarySize": size });
        assert_eq!(blue_green(canary(size("INSTANCE_COUNT", 1)), &four), Ok(vec![0.25, 1.0]));
        assert_eq!(blue_green(canary(size("CAPACITY_PERCENT", 5)), &four), Ok(vec![0.05, 1.0]));
        let linear = |size| json!({ "Type": "LINEAR", "LinearStepSize": size });
        let thirds = blue_green(linear(size("CAPACITY_PERCENT", 40)), &four).unwrap();
        assert_eq!(thirds, [0.4, 0.8, 1.0]);
    }

    #[test]
    fn sizes_have_limits() {
        let canary = |size| json!({ "Type": "CANARY", "CanarySize": size });
        let linear = |size| json!({ "Type": "LINEAR", "LinearStepSize": size });
        for (routing, instances) in [
            (canary(size("CAPACITY_PERCENT", 51)), 4),
            (canary(size("INSTANCE_COUNT", 1)), 1),
            (linear(size("CAPACITY_PERCENT", 9)), 4),
            (linear(size("INSTANCE_COUNT", 3)), 4),
            (json!({ "Type": "CANARY" }), 4),
            (json!({ "Type": "ALL_AT_ONCE", "CanarySize": size("CAPACITY_PERCENT", 5) }), 4),
        ] {
            assert!(blue_green(routing.clone(), &fleet(instances)).is_err(), "{routing}");
        }
    }

    #[test]
    fn serverless_variants_change_all_at_once() {
        let serverless = Fleet { serverless: true, ..fleet(0) };
        assert!(blue_green(json!({ "Type": "ALL_AT_ONCE" }), &serverless).is_ok());
        let canary = json!({ "Type": "CANARY", "CanarySize": size("CAPACITY_PERCENT", 10) });
        assert!(blue_green(canary, &serverless).unwrap_err().contains("serverless"));
    }

    #[test]
    fn instances_do_not_become_serverless() {
        let serverless = Fleet { serverless: true, ..fleet(0) };
        let refused = read(&json!({}), Some(&fleet(1)), &serverless).unwrap_err();
        assert!(refused.contains("serverless"), "{refused}");
        for (old, new) in [(&serverless, &fleet(1)), (&serverless, &serverless)] {
            assert!(read(&json!({}), Some(old), new).is_ok());
        }
        assert!(read(&json!({}), None, &serverless).is_ok());
    }

    #[test]
    fn no_deployment_takes_longer_than_eight_hours() {
        let linear = |wait: u64| {
            let routing = json!({ "Type": "LINEAR", "LinearStepSize": size("CAPACITY_PERCENT", 10),
                "WaitIntervalInSeconds": wait });
            let config =
                json!({ "BlueGreenUpdatePolicy": { "TrafficRoutingConfiguration": routing } });
            read(&config, None, &fleet(10))
        };
        assert!(linear(2879).is_ok());
        assert!(linear(2880).unwrap_err().contains("28800 seconds"));
    }

    #[test]
    fn an_update_policy_keeps_the_variants_names() {
        let renamed = Fleet { variants: vec!["other".into()], ..fleet(1) };
        let policy = json!({ "BlueGreenUpdatePolicy": { "TrafficRoutingConfiguration":
            { "Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0 } } });
        assert!(read(&policy, Some(&fleet(1)), &renamed).unwrap_err().contains("names"));
        assert!(read(&json!({}), Some(&fleet(1)), &renamed).is_ok());
        assert!(read(&policy, None, &renamed).is_ok());
    }

    #[test]
    fn rolling_goes_in_batches_and_a_timeout_exceeds_the_waits() {
        let rolling = |timeout: u64| {
            json!({ "RollingUpdatePolicy": {
            "MaximumBatchSize": size("INSTANCE_COUNT", 1), "WaitIntervalInSeconds": 600,
            "MaximumExecutionTimeoutInSeconds": timeout } })
        };
        let deployment = read(&rolling(1201), None, &fleet(2)).unwrap();
        assert_eq!(deployment.steps.iter().map(|step| step.share).collect::<Vec<_>>(), [0.5, 1.0]);
        assert!(read(&rolling(1200), None, &fleet(2)).is_err());
        assert!(read(&rolling(1201), None, &fleet(1)).is_err());
        let two = Fleet { variants: vec!["a".into(), "b".into()], ..fleet(2) };
        assert!(read(&rolling(1201), None, &two).is_err());
        let mut both = rolling(1201);
        both["BlueGreenUpdatePolicy"] = json!({});
        assert!(read(&both, None, &fleet(2)).is_err());
    }

    #[test]
    fn alarms_are_named_with_or_without_a_policy() {
        let config =
            json!({ "AutoRollbackConfiguration": { "Alarms": [{ "AlarmName": "errors" }] } });
        let deployment = read(&config, None, &fleet(1)).unwrap();
        assert_eq!(deployment.alarms, ["errors"]);
        assert_eq!(deployment.steps, TrafficPlan::default().steps);
    }
}
