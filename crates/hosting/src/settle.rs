//! Leaves the customer's account as the lineup says, however the run ended: the
//! champion serves and scales, and what serves no more is removed.

use std::time::Duration;

use crosspilot_core::bucket::Bucket;
use crosspilot_core::error::{CallError, Code, Coded, Named};
use crosspilot_core::failure::Failure;
use crosspilot_core::failure_page;
use crosspilot_core::lambda::App;
use crosspilot_core::layout;
use crosspilot_core::policy::Purpose;
use crosspilot_core::polling::Waiting;
use crosspilot_core::registry::Serving;
use crosspilot_core::run::RunRef;
use crosspilot_core::sagemaker::tags;
use crosspilot_core::session::CustomerSession;
use crosspilot_core::settings::{HostingKind, ModelSettings};
use crosspilot_core::tenant::Tenant;
use serde::{Deserialize, Serialize};

use crate::clear::clear;
use crate::endpoint::{self, Action, Endpoint};
use crate::jobs::{self, Job};
use crate::mover::{Moved, Target};
use crate::{HostingError, scaling};

/// The seconds in which it is tried to put scaling on while what keeps it off can heal.
const SCALING_SECONDS: f64 = 600.0;
/// The time in which a run's rows are deleted: there are few objects of them.
const CLEARING: Duration = Duration::from_secs(20);

/// The run that has ended.
#[derive(Debug, Clone, Deserialize)]
pub struct Settle {
    /// The run, as `assume` gave it.
    pub run: RunRef,
    /// Seconds since it ended.
    #[serde(default)]
    pub elapsed_seconds: f64,
    /// `true` if the run failed: then its jobs may be at work.
    #[serde(default)]
    pub failed: bool,
    /// The failure, as the state machine carries it.
    #[serde(default)]
    pub failure: Option<serde_json::Value>,
}

/// The state of the customer's account after the run.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum Settled {
    /// All is as the lineup says.
    Settled {
        /// Names of the models and configs that were removed.
        removed: Vec<String>,
        /// The shortcomings that do not keep a model from serving, as sentences.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        warnings: Vec<String>,
    },
    /// The endpoint is on its way back, or a job stops.
    Waiting(Waiting),
}

/// Clears away what a run leaves, and puts back what served before if it failed.
pub async fn settle(app: &App, request: Settle) -> Result<Settled, HostingError> {
    let Settle { run, elapsed_seconds, failed, failure } = request;
    // Of any status: a tenant that may not run any more is to be cleared up after.
    let tenant = app.registry.tenant(&run.tenant).await?;
    let later = |reason: String| {
        let mut waiting = Waiting::after(elapsed_seconds, reason);
        waiting.wait_seconds = waiting.wait_seconds.min(60);
        Ok(Settled::Waiting(waiting))
    };
    // That a job cannot be stopped keeps nothing else from being put back.
    let jobs = if failed { stop_jobs(app, &tenant, &run).await } else { Ok(Vec::new()) };
    // Without them, since its model was removed, it only does not scale.
    let settings = tenant.models.get(&run.model);
    let session = app.sessions.open(&tenant, Purpose::Settle(&run)).await?;
    let scene = EndpointContext { app, tenant: &tenant, settings, session };

    let lineup = app.registry.lineup(&run.tenant, &run.model).await?;
    let to_remove = if lineup.is_led_by(&run) {
        lineup.retired.clone()
    } else {
        if lineup.is_challenged_by(&run)
            && let Some(reason) = scene.put_back(&run, lineup.champion.as_ref()).await?
        {
            return later(reason);
        }
        // A model to roll back to stays, also if its run is redriven and fails.
        if lineup.models().any(|model| model.run == run && !lineup.is_challenged_by(&run)) {
            Vec::new()
        } else {
            vec![run.clone()]
        }
    };
    let mut removed = Vec::new();
    for retired in &to_remove {
        removed.extend(scene.remove(retired).await?);
    }
    let done = |retired: &RunRef| to_remove.contains(retired);
    app.registry
        .change_lineup(&run.tenant, &run.model, |lineup| lineup.retired.retain(|run| !done(run)))
        .await?;
    if let Some(job) = jobs?.iter().find(|job| job.works()) {
        return later(format!("job {} is {}", job.name, job.status));
    }
    // Last, since it can fail by itself: the champion serves, scaled or not. Every
    // run tries it, so that what kept it off once does not do so for good.
    let free = lineup.challenger.as_ref().is_none_or(|challenger| challenger.run == run);
    let champion = lineup.champion.as_ref().filter(|_| free);
    let scaled = match champion {
        Some(champion) => scene.scale(champion).await,
        None => Ok(()),
    };
    let mut warnings = Vec::new();
    if let Err(error) = scaled {
        let heals = matches!(error.code(), Code::Throttled | Code::Unavailable);
        if heals && elapsed_seconds < SCALING_SECONDS {
            return later(format!("scaling is not put on yet: {error}"));
        }
        warnings.push(unscaled(&run.endpoint_name(), &error));
    }
    if let Some(failure) = failure {
        // Nothing of it may be missing for a run to be settled.
        let part = |name| failure.get(name).and_then(|it| it.as_str()).unwrap_or_default();
        let failure = Failure::read(part("stage"), part("code"), part("cause"));
        tell(app, &tenant, &run, &failure).await;
    }
    app.registry.note_settled(&run).await?;
    // Last of all: nothing takes up a run again that ended well and is settled. One that
    // failed may be, and needs them.
    if !failed {
        warnings.extend(clear_rows(app, &tenant, &run).await);
    }
    tracing::info!(tenant = %run.tenant, model = %run.model, run = %run.run_id, ?removed, ?warnings, "settled");
    Ok(Settled::Settled { removed, warnings })
}

/// Leaves the page that says why the run failed. It is for people: without it, the run
/// is settled all the same.
async fn tell(app: &App, tenant: &Tenant, run: &RunRef, failure: &Failure) {
    let written = match app.sessions.open(tenant, Purpose::Conclude(run)).await {
        Ok(session) => {
            let bucket = Bucket { s3: session.s3(), tenant };
            failure_page::of_run(&bucket, run, failure).await
        }
        Err(error) => Err(error),
    };
    if let Err(error) = written {
        tracing::warn!(tenant = %run.tenant, model = %run.model, run = %run.run_id, "no page tells of the failure: {error}");
    }
}

/// Words the warning that a model serves and does not scale.
pub(crate) fn unscaled(endpoint: &str, error: &CallError) -> String {
    format!(
        "endpoint {endpoint} serves, but does not scale, and keeps the instances that it has: {error}; compare the customer's stack with infra/customer.yaml: the next run tries again"
    )
}

/// Takes away the rows that the run copied. A sentence where they stay.
async fn clear_rows(app: &App, tenant: &Tenant, run: &RunRef) -> Option<String> {
    let prefix = layout::rows_prefix(&tenant.prefix, run);
    let cleared = match app.sessions.open(tenant, Purpose::ClearRows(run)).await {
        Ok(session) => clear(&Bucket { s3: session.s3(), tenant }, &prefix, CLEARING).await,
        Err(error) => Err(error),
    };
    let why = match cleared {
        Ok(true) => return None,
        Ok(false) => "deleting them takes too long".to_owned(),
        Err(error) => error.to_string(),
    };
    let place = layout::uri(tenant, &prefix);
    Some(format!(
        "the rows that the run copied stay under {place}: {why}; the rule of infra/customer.yaml takes them away, in a bucket that has it"
    ))
}

async fn stop_jobs(app: &App, tenant: &Tenant, run: &RunRef) -> Result<Vec<Job>, CallError> {
    let session = app.sessions.open(tenant, Purpose::StopJobs(run)).await?;
    jobs::stop(&session, run).await
}

/// One model's endpoint in a customer's account.
pub(crate) struct EndpointContext<'a> {
    pub(crate) app: &'a App,
    pub(crate) tenant: &'a Tenant,
    /// None if the model was removed.
    pub(crate) settings: Option<&'a ModelSettings>,
    /// Opened to settle a run of this model.
    pub(crate) session: CustomerSession,
}

impl EndpointContext<'_> {
    /// Takes the endpoint back from a challenger to the champion, or away if there
    /// is none, and withdraws the challenger. A sentence while that takes.
    pub(crate) async fn put_back(
        &self,
        challenger: &RunRef,
        champion: Option<&Serving>,
    ) -> Result<Option<String>, HostingError> {
        let sagemaker = self.session.sagemaker();
        let name = challenger.endpoint_name();
        let found = Endpoint::find(&sagemaker, &name).await?;
        let moving = |what: &str| Ok(Some(format!("endpoint {name} {what}")));
        let Some(champion) = champion else {
            if found.is_some() {
                endpoint::delete(&sagemaker, &name).await?;
                return moving("is being removed: it never served a model that passed");
            }
            self.withdraw(challenger).await?;
            return Ok(None);
        };
        let config = champion.run.deployment_name();
        let serves = found.as_ref().is_some_and(|found| found.status == "InService");
        let tags = tags(self.tenant, &champion.run);
        // Whatever the settings say: no model that did not pass goes on serving.
        let may_be_replaced = true;
        let back = Target { endpoint: &name, config: &config, may_be_replaced, guard: None, tags };
        if let Moved::OnItsWay(Action::Adopted) = back.advance(&self.session, found).await?
            && serves
        {
            self.withdraw(challenger).await?;
            return Ok(None);
        }
        moving(&format!("is going back to run {}", champion.run.run_id))
    }

    async fn withdraw(&self, challenger: &RunRef) -> Result<(), HostingError> {
        self.app
            .registry
            .change_lineup(&challenger.tenant, &challenger.model, |lineup| {
                lineup.withdraw(challenger);
            })
            .await?;
        Ok(())
    }

    /// Lets the model that serves scale, if it is set so and has instances: what
    /// was rolled back to may have none.
    pub(crate) async fn scale(&self, serving: &Serving) -> Result<(), CallError> {
        let wanted = self.settings.and_then(|settings| settings.deployment.scaling);
        let Some(wanted) = wanted else { return Ok(()) };
        let Serving { endpoint, variant, .. } = serving;
        let found = Endpoint::find(&self.session.sagemaker(), endpoint).await?;
        if found.is_some_and(|found| found.kind == Some(HostingKind::Instances)) {
            let client = self.session.auto_scaling();
            scaling::register(&client, endpoint, variant, wanted).await?;
        }
        Ok(())
    }

    /// Removes what a run made that serves no more. Gives the names.
    async fn remove(&self, run: &RunRef) -> Result<Vec<String>, CallError> {
        let sagemaker = self.session.sagemaker();
        let name = run.deployment_name();
        let config = sagemaker.delete_endpoint_config().endpoint_config_name(&name).send().await;
        let config = config.named("sagemaker:DeleteEndpointConfig", &name);
        let model = sagemaker.delete_model().model_name(&name).send().await;
        let model = model.named("sagemaker:DeleteModel", &name);
        let mut removed = Vec::new();
        for (kind, deleted) in [("endpoint config", config.map(drop)), ("model", model.map(drop))] {
            match deleted {
                Ok(()) => removed.push(format!("{kind} {name}")),
                Err(error) if error.is_missing() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(removed)
    }
}
