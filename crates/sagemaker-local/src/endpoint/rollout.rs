//! Brings endpoints up, moves their traffic to a new fleet or back, and takes
//! them down.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::cloud::Cloud;
use crate::endpoint::fleet;
use crate::endpoint::scaling::scale;
use crate::endpoint::traffic_plan::TrafficPlan;
use crate::lock::lock;
use crate::records::deployment_config::DeploymentConfig;
use crate::records::endpoint::{Deployed, Endpoint, EndpointStatus};
use crate::records::endpoint_config::EndpointConfig;
use crate::records::job::failure_reason;
use crate::records::model::Model;
use crate::services::cloudwatch::Alarms;
use crate::services::s3;
use crate::serving::traffic::{Serving, Traffic};
use crate::wire::ids::now;
use crate::wire::place::Place;

/// The interval at which the alarms of a deployment are looked at.
const WATCH: Duration = Duration::from_millis(100);

/// Goes on with what a restart interrupted, and serves again what served.
pub(crate) fn resume(cloud: &Arc<Cloud>) {
    for (place, Endpoint { name, status, pending, .. }) in cloud.store.everywhere() {
        let (all, cloud) = (cloud, cloud.clone());
        match status {
            EndpointStatus::Failed => {}
            EndpointStatus::Deleting => all.spawn(remove(cloud, place, name)),
            EndpointStatus::Updating | EndpointStatus::RollingBack if pending.is_some() => {
                all.spawn(update(cloud, place, name));
            }
            _ => all.spawn(start(cloud, place, name)),
        }
    }
}

/// Starts an endpoint's first fleet, or the one that served before a restart.
pub(crate) async fn start(cloud: Arc<Cloud>, place: Place, name: String) {
    let Some(change) = Change::of(&cloud, place, &name) else {
        return;
    };
    if change.endpoint.status == EndpointStatus::Creating {
        sleep(cloud.options.endpoint_change).await;
    }
    match change.load(&change.endpoint.current).await {
        Ok(serving) => {
            change.route(Traffic::whole(serving));
            change.apply(|endpoint| endpoint.settle());
        }
        Err(reason) => change.apply(|endpoint| {
            endpoint.status = EndpointStatus::Failed;
            endpoint.failure = Some(reason);
        }),
    }
}

/// Moves an endpoint to the configuration that it is to have, or back to the one
/// that it had.
pub(crate) async fn update(cloud: Arc<Cloud>, place: Place, name: String) {
    let Some(change) = Change::of(&cloud, place, &name) else {
        return;
    };
    // After a restart nothing serves meanwhile.
    let serving = lock(&cloud.serving).get(&change.endpoint.arn).map(|now| now.old.clone());
    let old = match serving {
        Some(old) => old,
        None => match change.load(&change.endpoint.current).await {
            Ok(old) => {
                change.route(Traffic::whole(old.clone()));
                old
            }
            Err(_) => Serving::new(),
        },
    };
    let outcome = match &change.endpoint.failure {
        // A rollback that a restart interrupted.
        Some(reason) if change.endpoint.status == EndpointStatus::RollingBack => {
            Err(reason.clone())
        }
        _ => change.forward(&old).await,
    };
    match outcome {
        Ok(new) => {
            change.route(Traffic::whole(new));
            change.apply(|endpoint| endpoint.settle());
            scale(cloud.clone(), change.place.clone(), name.clone()).await;
        }
        Err(reason) => {
            change.route(Traffic::whole(old));
            change.apply(|endpoint| {
                endpoint.status = EndpointStatus::RollingBack;
                endpoint.failure = Some(failure_reason(&reason));
            });
            sleep(cloud.options.endpoint_change).await;
            change.apply(|endpoint| {
                endpoint.status = EndpointStatus::InService;
                endpoint.pending = None;
            });
        }
    }
}

pub(crate) async fn remove(cloud: Arc<Cloud>, place: Place, name: String) {
    sleep(cloud.options.endpoint_change).await;
    cloud.store.at(&place, |here| {
        if let Some(endpoint) = here.remove::<Endpoint>(&name) {
            here.remove_scalable_targets_of(&name);
            lock(&cloud.serving).remove(&endpoint.arn);
        }
    });
}

/// The alarms that are to watch a deployment to `target`, read with the
/// execution role of its first model; why they cannot be.
pub(crate) async fn alarms(
    cloud: &Cloud,
    place: &Place,
    arn: &str,
    target: &Deployed,
    names: Vec<String>,
) -> Result<Option<Alarms>, String> {
    if names.is_empty() {
        return Ok(None);
    }
    let role = cloud.store.at(place, |here| {
        let config = here.get::<EndpointConfig>(&target.config)?.request();
        let model = here.get::<Model>(&config.production_variants.first()?.model_name)?;
        Some(model.role().to_owned())
    });
    let session = cloud
        .emulator
        .authority
        .service_session(&role.unwrap_or_default(), s3::SERVICE, &place.account, arn, &place.region)
        .await
        .map_err(|error| error.to_string())?;
    Alarms::open(&cloud.emulator, &session, place, names).await.map(Some)
}

/// A change of one endpoint.
struct Change<'a> {
    cloud: &'a Arc<Cloud>,
    place: Place,
    name: &'a str,
    /// As it was when the change began.
    endpoint: Endpoint,
}

impl<'a> Change<'a> {
    fn of(cloud: &'a Arc<Cloud>, place: Place, name: &'a str) -> Option<Self> {
        let endpoint = cloud.store.get(&place, name)?;
        Some(Self { cloud, place, name, endpoint })
    }

    /// Starts the new fleet and gives it the traffic, step by step. The new fleet,
    /// if it has it all; if not, why.
    async fn forward(&self, old: &Serving) -> Result<Serving, String> {
        let Some(pending) = &self.endpoint.pending else {
            return Err("There is no update to go on with.".into());
        };
        sleep(self.cloud.options.endpoint_change).await;
        let new = self.load(&pending.target).await?;
        let none = DeploymentConfig::default();
        let config = pending.deployment.as_ref().unwrap_or(&none);
        let deployment = TrafficPlan::read(config, None, &pending.target.fleet())?;
        let limit = deployment.timeout.map(|limit| self.scaled(limit));
        let shift = self.shift(old, &new, deployment);
        match limit {
            Some(limit) => timeout(limit, shift).await.unwrap_or_else(|_| {
                Err("The deployment exceeded MaximumExecutionTimeoutInSeconds.".into())
            })?,
            None => shift.await?,
        }
        Ok(new)
    }

    async fn shift(
        &self,
        old: &Serving,
        new: &Serving,
        deployment: TrafficPlan,
    ) -> Result<(), String> {
        let Some(target) = self.endpoint.pending.as_ref().map(|pending| &pending.target) else {
            return Ok(());
        };
        let alarms =
            alarms(self.cloud, &self.place, &self.endpoint.arn, target, deployment.alarms).await?;
        for step in deployment.steps {
            self.stage("ActivatingTraffic");
            self.route(Traffic { old: old.clone(), new: Some((new.clone(), step.share)) });
            self.stage("Baking");
            self.watch(alarms.as_ref(), step.bake).await?;
        }
        // The old fleet has no traffic any more, but could take it back.
        self.watch(alarms.as_ref(), deployment.termination_wait).await
    }

    /// Waits this long, but no longer than until an alarm goes off.
    async fn watch(&self, alarms: Option<&Alarms>, wait: Duration) -> Result<(), String> {
        let end = Instant::now() + self.scaled(wait);
        loop {
            if let Some(alarms) = alarms
                && let ringing = alarms.ringing().await?
                && !ringing.is_empty()
            {
                return Err(format!(
                    "The deployment was rolled back because these CloudWatch alarms went into the state ALARM: {}.",
                    ringing.join(", ")
                ));
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            sleep(left.min(WATCH)).await;
        }
    }

    async fn load(&self, deployed: &Deployed) -> Result<Serving, String> {
        fleet::start(self.cloud, &self.place, deployed).await
    }

    fn route(&self, traffic: Traffic) {
        lock(&self.cloud.serving).insert(self.endpoint.arn.clone(), traffic);
    }

    fn stage(&self, stage: &str) {
        self.apply(|endpoint| {
            if let Some(pending) = &mut endpoint.pending {
                pending.stage = stage.into();
            }
        });
    }

    fn apply(&self, change: impl FnOnce(&mut Endpoint)) {
        self.cloud.store.change(&self.place, self.name, |endpoint: &mut Endpoint| {
            change(endpoint);
            endpoint.modified = now();
        });
    }

    fn scaled(&self, wait: Duration) -> Duration {
        wait.mul_f64(self.cloud.options.wait_scale)
    }
}
