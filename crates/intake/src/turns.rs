//! Whose turn it is: who still works on a model's runs is asked of Step
//! Functions, what follows is decided in [`crosspilot_core::gathering`].

use crosspilot_core::gathering::{
    DEFAULT_QUIET, Entered, Gathering, LONGEST_QUIET, Moment, Place, SHORTEST_QUIET, Turn,
    WaitingRun,
};
use crosspilot_core::ids::ModelName;
use crosspilot_core::lambda::App;
use crosspilot_core::polling;
use crosspilot_core::registry::{RegistryError, model_settings};
use crosspilot_core::run::{RunRef, Trigger};
use crosspilot_core::tenant::Tenant;
use serde::Serialize;

use crate::IntakeError;
use crate::executions::{self, is_dead};

/// Seconds without an upload after which a run trains, unless its model says so.
const QUIET_VARIABLE: &str = "QUIET_SECONDS";

/// The answer to a run that asks for its turn to train.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum Admission {
    /// The run may train: it is the one that does.
    Go,
    /// The run has to wait.
    Waiting(polling::Waiting),
}

/// Gives a run its turn to train, or says what it waits for. Once it may train, asking
/// again says so again.
pub async fn turn(app: &App, run: &RunRef, execution: &str) -> Result<Admission, IntakeError> {
    let tenant = app.registry.active_tenant(&run.tenant).await?;
    let quiet = quiet_seconds(&tenant, &run.model)?;
    let record = app.registry.run(run).await?;
    if let Some(stop) = record.stop {
        return Err(IntakeError::Stopped(stop));
    }
    let (turn, waited) = app
        .registry
        .change_gathering(&run.tenant, &run.model, async |gathering: &mut Gathering| {
            let now = Moment::now();
            let own = gathering.waiting.as_ref().filter(|own| own.place.run == run.run_id);
            let waited = own.map_or(0.0, |own| now.seconds_since(own.place.since));
            let dead = is_dead(app, gathering.training.as_ref()).await?;
            let place =
                Place { run: run.run_id.clone(), execution: execution.to_owned(), since: now };
            Ok::<_, IntakeError>((gathering.turn(place, quiet, now, |_| !dead), waited))
        })
        .await?;
    let answer = match turn {
        Turn::Go => Admission::Go,
        Turn::Gathering(seconds) => Admission::Waiting(polling::Waiting {
            // What took long to come is looked for less often, as a job is.
            wait_seconds: (waited / 10.0).min(1200.0).max(seconds.ceil()) as u32,
            reason: format!("uploads still come: it trains {quiet} s after the last one"),
        }),
        Turn::Behind(training) => {
            let reason = format!("run {} trains", training.run);
            Admission::Waiting(polling::Waiting::after(waited, reason))
        }
    };
    tracing::info!(tenant = %run.tenant, model = %run.model, run = %run.run_id, ?answer, "its turn?");
    Ok(answer)
}

/// Gives a run a place, unless another one waits that stands for it, too.
pub async fn enter(
    app: &App,
    run: &RunRef,
    execution: &str,
    trigger: &Trigger,
) -> Result<Entered, IntakeError> {
    let newest_upload = match trigger {
        Trigger::Upload { time, .. } => Moment::parse(time),
        Trigger::Schedule { .. } | Trigger::Manual { .. } => None,
    };
    app.registry
        .change_gathering(&run.tenant, &run.model, async |gathering: &mut Gathering| {
            if gathering.has(&run.run_id) {
                return Ok(Entered::In);
            }
            let (waits, trains) = (
                is_dead(app, gathering.waiting.as_ref().map(|waiting| &waiting.place)).await?,
                is_dead(app, gathering.training.as_ref()).await?,
            );
            let waiting = gathering.waiting.as_ref().map(|waiting| waiting.place.run.clone());
            let alive = |place: &Place| {
                if Some(&place.run) == waiting.as_ref() { !waits } else { !trains }
            };
            let (trigger, execution) = (trigger.clone(), execution.to_owned());
            let place = Place { run: run.run_id.clone(), execution, since: Moment::now() };
            Ok(gathering.enter(WaitingRun { place, trigger, newest_upload, attempt: 1 }, alive))
        })
        .await
}

/// A run gives the place that is its `own` back: the next one may train. One that
/// waits and died meanwhile is given a new execution.
pub async fn leave(
    app: &App,
    run: &RunRef,
    own: impl Fn(&Place) -> bool,
) -> Result<(), IntakeError> {
    let replaced = app
        .registry
        .change_gathering(&run.tenant, &run.model, async |gathering: &mut Gathering| {
            gathering.leave(&own);
            executions::revive(app, run, gathering).await
        })
        .await?;
    match replaced {
        Some(waiting) => executions::start(app, run, &waiting).await,
        None => Ok(()),
    }
}

/// Seconds without an upload after which a model's run trains.
pub(crate) fn quiet_seconds(tenant: &Tenant, model: &ModelName) -> Result<u32, RegistryError> {
    let own = model_settings(tenant, model)?.quiet_seconds;
    let deployed = || std::env::var(QUIET_VARIABLE).ok()?.parse().ok();
    let seconds = own.or_else(deployed).unwrap_or(DEFAULT_QUIET);
    Ok(seconds.clamp(SHORTEST_QUIET, LONGEST_QUIET))
}
