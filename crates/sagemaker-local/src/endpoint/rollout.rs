//! Brings endpoints up, moves their traffic to a new fleet or back, and takes
//! them down.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::endpoint::traffic_plan::Deployment;
use crate::endpoint::variants::{Serving, Target, Traffic, load};
use crate::operations::endpoint::{Deployed, Endpoint, Status};
use crate::operations::{endpoint_config, model, scaling};
use crate::records::store::{Place, now};
use crate::services::emulator::Alarms;
use crate::services::s3;
use crate::{Cloud, lock};

/// How often the alarms of a deployment are looked at.
const WATCH: Duration = Duration::from_millis(100);

/// Go on with what a restart interrupted, and serve again what served.
pub(crate) fn resume(cloud: &Arc<Cloud>) {
    for place in cloud.store.places() {
        let endpoints: Vec<_> = cloud.store.at(&place, |here| {
            let endpoints = here.endpoints.iter();
            endpoints
                .map(|(name, endpoint)| (name.clone(), endpoint.status, endpoint.pending.is_some()))
                .collect()
        });
        for (name, status, pending) in endpoints {
            let (cloud, place) = (cloud.clone(), place.clone());
            match status {
                Status::Failed => {}
                Status::Deleting => cloud.clone().spawn(remove(cloud, place, name)),
                Status::Updating | Status::RollingBack if pending => {
                    cloud.clone().spawn(update(cloud, place, name));
                }
                _ => cloud.clone().spawn(start(cloud, place, name)),
            }
        }
    }
}

/// Start an endpoint's first fleet, or the one that served before a restart.
pub(crate) async fn start(cloud: Arc<Cloud>, place: Place, name: String) {
    let Some(change) = Change::of(&cloud, place, &name) else {
        return;
    };
    if change.endpoint.status == Status::Creating {
        sleep(cloud.options.endpoint_change).await;
    }
    match change.load(&change.endpoint.current).await {
        Ok(serving) => {
            change.route(Traffic::whole(serving));
            change.apply(|endpoint| endpoint.settle());
        }
        Err(reason) => change.apply(|endpoint| {
            endpoint.status = Status::Failed;
            endpoint.failure = Some(reason);
        }),
    }
}

/// Move an endpoint to the configuration that it is to have, or back to the one
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
        Some(reason) if change.endpoint.status == Status::RollingBack => Err(reason.clone()),
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
                endpoint.status = Status::RollingBack;
                // The model's limit for a reason.
                endpoint.failure = Some(reason.chars().take(1024).collect());
            });
            sleep(cloud.options.endpoint_change).await;
            change.apply(|endpoint| {
                endpoint.status = Status::InService;
                endpoint.pending = None;
            });
        }
    }
}

pub(crate) async fn remove(cloud: Arc<Cloud>, place: Place, name: String) {
    sleep(cloud.options.endpoint_change).await;
    cloud.store.at(&place, |here| {
        if let Some(endpoint) = here.endpoints.remove(&name) {
            here.tags.remove(&endpoint.arn);
            scaling::forget(here, &name);
            lock(&cloud.serving).remove(&endpoint.arn);
        }
    });
}

/// Bring the instances of an endpoint's scalable targets within their limits, as
/// soon as the endpoint can change.
pub(crate) async fn scale(cloud: Arc<Cloud>, place: Place, name: String) {
    loop {
        let scaled = cloud.store.at(&place, |here| {
            let limits = scaling::limits(here, &name);
            let Some(endpoint) = here.endpoints.get_mut(&name) else {
                return Some(false);
            };
            if endpoint.status.in_progress() {
                return None;
            }
            let scaled =
                endpoint.status == Status::InService && endpoint.current.limit_instances(&limits);
            if scaled {
                endpoint.status = Status::Updating;
                endpoint.modified = now();
            }
            Some(scaled)
        });
        match scaled {
            Some(true) => break,
            Some(false) => return,
            None => sleep(WATCH).await,
        }
    }
    sleep(cloud.options.endpoint_change).await;
    cloud.store.at(&place, |here| {
        if let Some(endpoint) = here.endpoints.get_mut(&name) {
            endpoint.settle();
            endpoint.modified = now();
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
    let model = cloud.store.at(place, |here| {
        let config = here.endpoint_configs.get(&target.config.to_lowercase())?;
        let variant = endpoint_config::variants(&config.request).next()?;
        variant["ModelName"].as_str().map(str::to_owned)
    });
    let role = model.and_then(|model| model::role(cloud, place, &model)).unwrap_or_default();
    let authority = &cloud.options.authority;
    let session = authority
        .service_session(&role, s3::SERVICE, &place.account, arn, &place.region)
        .await
        .map_err(|error| error.to_string())?;
    Alarms::open(&cloud.neighbours, authority, &session, place, names).await.map(Some)
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
        let endpoint = cloud.store.at(&place, |here| here.endpoints.get(name).cloned())?;
        Some(Self { cloud, place, name, endpoint })
    }

    /// Start the new fleet and give it the traffic, step by step. The new fleet,
    /// if it has it all; if not, why.
    async fn forward(&self, old: &Serving) -> Result<Serving, String> {
        let Some(pending) = &self.endpoint.pending else {
            return Err("There is no update to go on with.".into());
        };
        sleep(self.cloud.options.endpoint_change).await;
        let new = self.load(&pending.target).await?;
        let deployment = match &pending.deployment {
            Some(config) => {
                let fleet = endpoint_config::fleet(&pending.target.variants);
                Deployment::read(config, None, &fleet)?
            }
            None => Deployment::default(),
        };
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
        deployment: Deployment,
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

    /// Wait this long, but no longer than until an alarm goes off.
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
        let Deployed { config, variants, capture } = deployed;
        let target = Target { place: &self.place, config, variants, capture: capture.as_ref() };
        load(self.cloud, target).await
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
        self.cloud.store.at(&self.place, |here| {
            if let Some(endpoint) = here.endpoints.get_mut(self.name) {
                change(endpoint);
                endpoint.modified = now();
            }
        });
    }

    fn scaled(&self, wait: Duration) -> Duration {
        wait.mul_f64(self.cloud.options.wait_scale)
    }
}
