//! The endpoint of a model: how it stands, and how it gets to a config.

use crosspilot_core::aws::sagemaker::Client;
use crosspilot_core::aws::sagemaker::operation::describe_endpoint::DescribeEndpointOutput;
use crosspilot_core::aws::sagemaker::types::{
    Alarm, AutoRollbackConfig, BlueGreenUpdatePolicy, CapacitySize, CapacitySizeType,
    DeploymentConfig, EndpointStatus, ProductionVariantSummary, Tag, TrafficRoutingConfig,
    TrafficRoutingConfigType,
};
use crosspilot_core::error::{CallError, Named};
use crosspilot_core::sagemaker;
use crosspilot_core::settings::{Deployment, Hosting, HostingKind, Traffic, Update};
use serde::Serialize;

/// The time that SageMaker watches the alarms after all traffic has moved at once.
const BAKING_SECONDS: i32 = 300;

/// The change that was made to the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// The endpoint did not exist.
    Created,
    /// The endpoint served another model and now moves to this one.
    Updated,
    /// The endpoint had been created or updated by an earlier attempt of this run.
    Adopted,
}

/// The state of an endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// AWS's own status.
    pub status: String,
    /// The config that serves.
    pub config: String,
    /// The config that it is being moved to.
    pub pending: Option<String>,
    /// The endpoint's variants with the number of their instances.
    pub variants: Vec<(String, Option<i32>)>,
    /// The kind of hosting that the endpoint runs on; none before it has served.
    pub kind: Option<HostingKind>,
}

impl Endpoint {
    /// Looks at it; nothing if there is none.
    pub(crate) async fn find(sagemaker: &Client, name: &str) -> Result<Option<Self>, CallError> {
        let found = sagemaker.describe_endpoint().endpoint_name(name).send().await;
        let found = sagemaker::found(found.named("sagemaker:DescribeEndpoint", name))?;
        Ok(found.as_ref().map(Self::of))
    }

    fn of(found: &DescribeEndpointOutput) -> Self {
        let pending = found.pending_deployment_summary();
        let variant = |variant: &ProductionVariantSummary| {
            Some((variant.variant_name()?.to_owned(), variant.desired_instance_count()))
        };
        let serverless = |variant: &ProductionVariantSummary| {
            variant.current_serverless_config().or(variant.desired_serverless_config()).is_some()
        };
        let kind = found.production_variants().first().map(|variant| {
            if serverless(variant) { HostingKind::Serverless } else { HostingKind::Instances }
        });
        Self {
            kind,
            status: found.endpoint_status().map_or("Unknown", EndpointStatus::as_str).to_owned(),
            config: found.endpoint_config_name().unwrap_or_default().to_owned(),
            pending: pending.and_then(|p| p.endpoint_config_name()).map(str::to_owned),
            variants: found.production_variants().iter().filter_map(variant).collect(),
        }
    }

    /// Counts the instances of its variant with the most of them; none without instances.
    pub(crate) fn instances(&self) -> Option<i32> {
        self.variants.iter().filter_map(|(_, instances)| *instances).max()
    }

    /// Tells whether it answers requests.
    pub fn serves(&self) -> bool {
        !matches!(self.status.as_str(), "Failed" | "OutOfService" | "Creating" | "Deleting")
    }

    /// Tells whether it runs on something else than this.
    pub fn changes_to(&self, kind: HostingKind) -> bool {
        self.serves() && self.kind.is_some_and(|serving| serving != kind)
    }

    /// Tells whether it has to be deleted and created again to run on this: SageMaker
    /// updates no endpoint from instances to serverless.
    pub fn is_replaced_for(&self, kind: HostingKind) -> bool {
        kind == HostingKind::Serverless && self.changes_to(kind)
    }
}

/// The next step on an endpoint's way to a config.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointStep {
    /// There is none yet.
    Create,
    /// An endpoint that an earlier attempt left blocks the name and answers nobody.
    ClearAway,
    /// The endpoint has to end first what it is doing.
    Wait,
    /// The endpoint has the config, or is on its way there.
    Adopt,
    /// The endpoint serves another config.
    Update,
}

/// Decides what to do with the endpoint as it stands, so that it serves `config`. A
/// status that AWS adds later is waited for.
pub fn step(found: Option<&Endpoint>, config: &str) -> EndpointStep {
    let Some(Endpoint { status, config: serving, pending, .. }) = found else {
        return EndpointStep::Create;
    };
    let ours = pending.as_deref().unwrap_or(serving) == config;
    match status.as_str() {
        "Failed" | "OutOfService" => EndpointStep::ClearAway,
        "InService" if serving == config => EndpointStep::Adopt,
        "InService" | "UpdateRollbackFailed" => EndpointStep::Update,
        "Creating" | "Updating" | "SystemUpdating" if ours => EndpointStep::Adopt,
        _ => EndpointStep::Wait,
    }
}

/// Creates it. One that an invocation in parallel created is as good.
pub(crate) async fn create(
    sagemaker: &Client,
    name: &str,
    config: &str,
    tags: Vec<Tag>,
) -> Result<(), CallError> {
    let created = sagemaker
        .create_endpoint()
        .endpoint_name(name)
        .endpoint_config_name(config)
        .set_tags(Some(tags))
        .send()
        .await
        .named("sagemaker:CreateEndpoint", name);
    match created {
        Err(error) if error.exists_already() => Ok(()),
        created => created.map(drop),
    }
}

/// Moves it to another config. `false` if it is busy.
pub(crate) async fn update(
    sagemaker: &Client,
    name: &str,
    config: &str,
    guard: Option<DeploymentConfig>,
) -> Result<bool, CallError> {
    let updated = sagemaker
        .update_endpoint()
        .endpoint_name(name)
        .endpoint_config_name(config)
        .set_deployment_config(guard)
        .send()
        .await
        .named("sagemaker:UpdateEndpoint", name);
    unless_busy(updated)
}

/// Deletes it, which takes a while. `false` if it is busy.
pub(crate) async fn delete(sagemaker: &Client, name: &str) -> Result<bool, CallError> {
    let deleted = sagemaker.delete_endpoint().endpoint_name(name).send().await;
    match deleted.named("sagemaker:DeleteEndpoint", name) {
        Err(error) if error.is_missing() => Ok(true),
        deleted => unless_busy(deleted),
    }
}

/// SageMaker refuses to change what is still moving.
fn unless_busy<T>(changed: Result<T, CallError>) -> Result<bool, CallError> {
    match changed {
        Ok(_) => Ok(true),
        Err(error) if error.is_busy() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes the guard of an update; not at all if the settings leave everything to
/// their defaults. Serverless endpoints have no guards (Developer Guide,
/// "Deployment guardrails").
pub(crate) fn guard(deployment: &Deployment) -> Option<DeploymentConfig> {
    let Update { traffic, alarms } = &deployment.update;
    let serverless = matches!(deployment.hosting, Hosting::Serverless { .. });
    if serverless || (*traffic == Traffic::AllAtOnce && alarms.is_empty()) {
        return None;
    }
    let size = |percent: u8| {
        CapacitySize::builder()
            .r#type(CapacitySizeType::CapacityPercent)
            .value(i32::from(percent))
            .build()
    };
    let routing = TrafficRoutingConfig::builder();
    let (routing, baking) = match traffic {
        Traffic::AllAtOnce => {
            let routing = routing.r#type(TrafficRoutingConfigType::AllAtOnce);
            (routing.wait_interval_in_seconds(0), Some(BAKING_SECONDS))
        }
        Traffic::Canary { percent, wait_seconds } => {
            let routing = routing.r#type(TrafficRoutingConfigType::Canary);
            let routing = routing.wait_interval_in_seconds(i32::from(*wait_seconds));
            (routing.canary_size(size(*percent)), None)
        }
        Traffic::Linear { percent, wait_seconds } => {
            let routing = routing.r#type(TrafficRoutingConfigType::Linear);
            let routing = routing.wait_interval_in_seconds(i32::from(*wait_seconds));
            (routing.linear_step_size(size(*percent)), None)
        }
    };
    let waits = traffic.wait_seconds() + baking.map_or(0, i32::unsigned_abs);
    let timeout = i32::try_from(Update::timeout_seconds(waits)).ok();
    let policy = BlueGreenUpdatePolicy::builder()
        .traffic_routing_configuration(routing.build())
        .set_termination_wait_in_seconds(baking)
        .set_maximum_execution_timeout_in_seconds(timeout)
        .build();
    let alarms = alarms.iter().map(|alarm| Alarm::builder().alarm_name(alarm).build());
    let rollback = AutoRollbackConfig::builder().set_alarms(Some(alarms.collect())).build();
    let rollback = Some(rollback).filter(|rollback| !rollback.alarms().is_empty());
    Some(
        DeploymentConfig::builder()
            .blue_green_update_policy(policy)
            .set_auto_rollback_configuration(rollback)
            .build(),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn endpoint(status: &str, config: &str, pending: Option<&str>) -> Endpoint {
        Endpoint {
            status: status.into(),
            config: config.into(),
            pending: pending.map(str::to_owned),
            variants: Vec::new(),
            kind: Some(HostingKind::Instances),
        }
    }

    #[test]
    fn only_from_instances_to_serverless_an_endpoint_is_replaced() {
        use HostingKind::{Instances, Serverless};
        for (serving, kind, changes, replaced) in [
            (Some(Instances), Instances, false, false),
            (Some(Instances), Serverless, true, true),
            (Some(Serverless), Instances, true, false),
            (Some(Serverless), Serverless, false, false),
            (None, Serverless, false, false),
        ] {
            let found = Endpoint { kind: serving, ..endpoint("InService", "old", None) };
            assert_eq!(found.changes_to(kind), changes, "{serving:?} {kind:?}");
            assert_eq!(found.is_replaced_for(kind), replaced, "{serving:?} {kind:?}");
        }
        // What does not serve is cleared away or made anew in any case.
        assert!(!endpoint("Failed", "old", None).changes_to(Serverless));
    }

    #[test]
    fn every_status_has_its_step() {
        assert_eq!(step(None, "new"), EndpointStep::Create);
        // Status; when it serves the config, another one, and is on its way to it.
        for (status, same, other, pending) in [
            ("InService", EndpointStep::Adopt, EndpointStep::Update, EndpointStep::Update),
            ("Creating", EndpointStep::Adopt, EndpointStep::Wait, EndpointStep::Adopt),
            ("Updating", EndpointStep::Adopt, EndpointStep::Wait, EndpointStep::Adopt),
            ("SystemUpdating", EndpointStep::Adopt, EndpointStep::Wait, EndpointStep::Adopt),
            ("RollingBack", EndpointStep::Wait, EndpointStep::Wait, EndpointStep::Wait),
            ("Deleting", EndpointStep::Wait, EndpointStep::Wait, EndpointStep::Wait),
            (
                "OutOfService",
                EndpointStep::ClearAway,
                EndpointStep::ClearAway,
                EndpointStep::ClearAway,
            ),
            ("Failed", EndpointStep::ClearAway, EndpointStep::ClearAway, EndpointStep::ClearAway),
            (
                "UpdateRollbackFailed",
                EndpointStep::Update,
                EndpointStep::Update,
                EndpointStep::Update,
            ),
            ("Hibernating", EndpointStep::Wait, EndpointStep::Wait, EndpointStep::Wait),
        ] {
            assert_eq!(step(Some(&endpoint(status, "new", None)), "new"), same, "{status}");
            assert_eq!(step(Some(&endpoint(status, "old", None)), "new"), other, "{status}");
            let moving = endpoint(status, "old", Some("new"));
            assert_eq!(step(Some(&moving), "new"), pending, "{status}");
        }
        // On its way elsewhere, it has to arrive first.
        assert_eq!(
            step(Some(&endpoint("Updating", "new", Some("other"))), "new"),
            EndpointStep::Wait
        );
    }

    fn deployment(traffic: Traffic, alarms: &[&str]) -> Deployment {
        let alarms = alarms.iter().map(|alarm| (*alarm).to_owned()).collect();
        Deployment { update: Update { traffic, alarms }, ..Deployment::default() }
    }

    #[test]
    fn traffic_and_alarms_become_a_guard() {
        assert_eq!(guard(&Deployment::default()), None);
        let canary = Traffic::Canary { percent: 10, wait_seconds: 300 };
        let guarded = guard(&deployment(canary.clone(), &["errors"])).unwrap();
        let policy = guarded.blue_green_update_policy().unwrap();
        let routing = policy.traffic_routing_configuration().unwrap();
        assert_eq!(routing.r#type(), Some(&TrafficRoutingConfigType::Canary));
        assert_eq!(routing.wait_interval_in_seconds(), Some(300));
        assert_eq!(routing.canary_size().unwrap().value(), Some(10));
        assert_eq!(policy.maximum_execution_timeout_in_seconds(), Some(2 * 300 + 3600));
        let alarms = guarded.auto_rollback_configuration().unwrap().alarms();
        assert_eq!(alarms[0].alarm_name(), Some("errors"));

        let linear = guard(&deployment(Traffic::Linear { percent: 25, wait_seconds: 60 }, &[]));
        let linear = linear.unwrap();
        assert!(linear.auto_rollback_configuration().is_none());
        let policy = linear.blue_green_update_policy().unwrap();
        let routing = policy.traffic_routing_configuration().unwrap();
        assert_eq!(routing.linear_step_size().unwrap().value(), Some(25));
        assert_eq!(policy.maximum_execution_timeout_in_seconds(), Some(4 * 60 + 3600));

        let watched = guard(&deployment(Traffic::AllAtOnce, &["errors"])).unwrap();
        let policy = watched.blue_green_update_policy().unwrap();
        assert_eq!(policy.termination_wait_in_seconds(), Some(BAKING_SECONDS));
        assert_eq!(policy.maximum_execution_timeout_in_seconds(), Some(BAKING_SECONDS + 3600));

        let hosting = Hosting::Serverless { memory_mb: 2048, max_concurrency: 5 };
        assert_eq!(guard(&Deployment { hosting, ..deployment(canary, &[]) }), None);
    }
}
