//! Whose turn it is: who still works on a model's runs is asked of Step
//! Functions, what follows is decided in [`crosspilot_core::gathering`].

use crosspilot_core::aws::sfn;
use crosspilot_core::aws::sfn::types::ExecutionStatus;
use crosspilot_core::error::{CallError, Named};
use crosspilot_core::execution::describe;
use crosspilot_core::gathering::{
    DEFAULT_QUIET, Entered, Gathering, LONGEST_QUIET, Moment, Place, SHORTEST_QUIET, Turn, Waiting,
};
use crosspilot_core::ids::ModelName;
use crosspilot_core::lambda::App;
use crosspilot_core::pace;
use crosspilot_core::registry::{RegistryError, model_settings};
use crosspilot_core::run::{RunRef, Trigger};
use crosspilot_core::tenant::Tenant;
use serde::Serialize;
use serde_json::json;

use crate::Error;
use crate::request::Asking;

/// ARN of the state machine that runs are started on.
const MACHINE_VARIABLE: &str = "TRAIN_STATE_MACHINE";
/// Seconds without an upload after which a run trains, unless its model says so.
const QUIET_VARIABLE: &str = "QUIET_SECONDS";
/// Seconds after which nobody works on a run any more that is done by hand: no
/// execution tells of its end.
const LONGEST_BY_HAND: f64 = 86_400.0;
/// Seconds after which an execution shows that was started: to look at one is eventually
/// consistent (Step Functions API reference, `DescribeExecution`).
const SHOWS_WITHIN: f64 = 60.0;

/// Whether a run may train now.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum Answer {
    /// It may: it is the one that trains.
    Go,
    /// Not yet.
    Waiting(pace::Waiting),
}

/// Asks whether a run may train now. Once it may, asking again says so again.
pub(crate) async fn turn(app: &App, asking: Asking) -> Result<Answer, Error> {
    let Asking { run, execution } = asking;
    let tenant = app.registry.active_tenant(&run.tenant).await?;
    let quiet = quiet_seconds(&tenant, &run.model)?;
    let record = app.registry.run(&run).await?;
    if let Some(stop) = record.stop {
        return Err(Error::Stopped(stop));
    }
    let (turn, waited) = app
        .registry
        .change_gathering(&run.tenant, &run.model, async |gathering: &mut Gathering| {
            let now = Moment::now();
            let own = gathering.waiting.as_ref().filter(|own| own.place.run == run.run_id);
            let waited = own.map_or(0.0, |own| now.seconds_since(own.place.since));
            let dead = dead(app, gathering.training.as_ref()).await?;
            let place = Place { run: run.run_id.clone(), execution: execution.clone(), since: now };
            Ok::<_, Error>((gathering.turn(place, quiet, now, |_| !dead), waited))
        })
        .await?;
    let answer = match turn {
        Turn::Go => Answer::Go,
        Turn::Gathering(seconds) => Answer::Waiting(pace::Waiting {
            // What took long to come is looked for less often, as a job is.
            wait_seconds: (waited / 10.0).min(1200.0).max(seconds.ceil()) as u32,
            reason: format!("uploads still come: it trains {quiet} s after the last one"),
        }),
        Turn::Behind(training) => {
            let reason = format!("run {} trains", training.run);
            Answer::Waiting(pace::Waiting::after(waited, reason))
        }
    };
    tracing::info!(tenant = %run.tenant, model = %run.model, run = %run.run_id, ?answer, "its turn?");
    Ok(answer)
}

/// Gives a run a place, unless another one waits that stands for it, too.
pub(crate) async fn enter(
    app: &App,
    run: &RunRef,
    execution: &str,
    trigger: &Trigger,
) -> Result<Entered, Error> {
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
                dead(app, gathering.waiting.as_ref().map(|waiting| &waiting.place)).await?,
                dead(app, gathering.training.as_ref()).await?,
            );
            let waiting = gathering.waiting.as_ref().map(|waiting| waiting.place.run.clone());
            let alive = |place: &Place| {
                if Some(&place.run) == waiting.as_ref() { !waits } else { !trains }
            };
            let (trigger, execution) = (trigger.clone(), execution.to_owned());
            let place = Place { run: run.run_id.clone(), execution, since: Moment::now() };
            Ok(gathering.enter(Waiting { place, trigger, newest_upload, attempt: 1 }, alive))
        })
        .await
}

/// A run gives the place that is its `own` back: the next one may train. One that
/// waits and died meanwhile is given a new execution.
pub(crate) async fn leave(
    app: &App,
    run: &RunRef,
    own: impl Fn(&Place) -> bool,
) -> Result<(), Error> {
    let replaced = app
        .registry
        .change_gathering(&run.tenant, &run.model, async |gathering: &mut Gathering| {
            gathering.leave(&own);
            revive(app, run, gathering).await
        })
        .await?;
    match replaced {
        Some(waiting) => start(app, run, &waiting).await,
        None => Ok(()),
    }
}

/// Gives the run that waits another execution if its own has died, and the run
/// if that execution is to be started.
pub(crate) async fn revive(
    app: &App,
    of: &RunRef,
    gathering: &mut Gathering,
) -> Result<Option<Waiting>, Error> {
    let Some(waiting) = &gathering.waiting else { return Ok(None) };
    let run = RunRef { run_id: waiting.place.run.clone(), ..of.clone() };
    match life(app, &waiting.place).await? {
        Life::Lives => return Ok(None),
        // Whoever put it there has not come to start it.
        Life::Unborn => {}
        Life::Dead => {
            gathering.replace(|attempt| execution(&run, attempt));
        }
    }
    Ok(gathering.waiting.clone())
}

/// Starts the execution of a run that waits; an execution that goes on already is
/// not started twice.
pub(crate) async fn start(app: &App, of: &RunRef, waiting: &Waiting) -> Result<(), Error> {
    let run = RunRef { run_id: waiting.place.run.clone(), ..of.clone() };
    if waiting.attempt > 1
        && let Some(record) = app.registry.find_run(&run).await?
        && record.execution != waiting.place.execution
    {
        app.registry.hand_over(&run, &record.execution, &waiting.place.execution).await?;
    }
    let input = json!({"tenant": run.tenant, "model": run.model, "trigger": waiting.trigger});
    let name = run.execution_name(waiting.attempt);
    start_execution(app, &machine(), &name, &input.to_string()).await
}

/// Starts an execution under a name of its own: whoever started it, once is enough.
pub(crate) async fn start_execution(
    app: &App,
    machine: &str,
    name: &str,
    input: &str,
) -> Result<(), Error> {
    let started = sfn::Client::new(&app.config)
        .start_execution()
        .state_machine_arn(machine)
        .name(name)
        .input(input)
        .send()
        .await
        .named("states:StartExecution", name);
    match started {
        Err(error) if error.aws_code() != "ExecutionAlreadyExists" => Err(error.into()),
        _ => Ok(()),
    }
}

/// ARN of the execution of a run at this attempt.
pub(crate) fn execution(run: &RunRef, attempt: u32) -> String {
    let machine = machine().replacen(":stateMachine:", ":execution:", 1);
    format!("{machine}:{}", run.execution_name(attempt))
}

/// ARN of the state machine that trains.
pub(crate) fn machine() -> String {
    std::env::var(MACHINE_VARIABLE).unwrap_or_default()
}

/// Seconds without an upload after which a model's run trains.
pub(crate) fn quiet_seconds(tenant: &Tenant, model: &ModelName) -> Result<u32, RegistryError> {
    let own = model_settings(tenant, model)?.quiet_seconds;
    let deployed = || std::env::var(QUIET_VARIABLE).ok()?.parse().ok();
    let seconds = own.or_else(deployed).unwrap_or(DEFAULT_QUIET);
    Ok(seconds.clamp(SHORTEST_QUIET, LONGEST_QUIET))
}

/// What has become of those who work on a run.
enum Life {
    Lives,
    /// There is no such execution, or not yet.
    Unborn,
    Dead,
}

async fn life(app: &App, place: &Place) -> Result<Life, CallError> {
    let arn = &place.execution;
    if !arn.starts_with("arn:") {
        let old = Moment::now().seconds_since(place.since) > LONGEST_BY_HAND;
        return Ok(if old { Life::Dead } else { Life::Lives });
    }
    let found = describe(&sfn::Client::new(&app.config), arn).await?;
    Ok(match found.map(|found| found.status) {
        None => Life::Unborn,
        Some(ExecutionStatus::Running | ExecutionStatus::PendingRedrive) => Life::Lives,
        Some(_) => Life::Dead,
    })
}

/// Whether nobody works on the run that has this place. One that came to it a moment
/// ago may not show yet.
async fn dead(app: &App, place: Option<&Place>) -> Result<bool, CallError> {
    let Some(place) = place else { return Ok(true) };
    Ok(match life(app, place).await? {
        Life::Lives => false,
        Life::Unborn => Moment::now().seconds_since(place.since) > SHOWS_WITHIN,
        Life::Dead => true,
    })
}
