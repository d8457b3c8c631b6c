//! The executions of the state machines that work on runs: started under names of their
//! own, so that doing it twice is doing it once, and replaced when they died.

use crosspilot_core::aws::sfn;
use crosspilot_core::aws::sfn::types::ExecutionStatus;
use crosspilot_core::error::{CallError, Named};
use crosspilot_core::execution::describe;
use crosspilot_core::gathering::{Gathering, Moment, Place, WaitingRun};
use crosspilot_core::lambda::App;
use crosspilot_core::run::RunRef;
use serde_json::json;

use crate::IntakeError;

/// ARN of the state machine that runs are started on.
const MACHINE_VARIABLE: &str = "TRAIN_STATE_MACHINE";
/// Seconds after which nobody works on a run any more that is done by hand: no
/// execution tells of its end.
const LONGEST_BY_HAND: f64 = 86_400.0;
/// Seconds after which an execution shows that was started: to look at one is eventually
/// consistent (Step Functions API reference, `DescribeExecution`).
const SHOWS_WITHIN: f64 = 60.0;

/// Gives the run that waits another execution if its own has died, and the run
/// if that execution is to be started.
pub(crate) async fn revive(
    app: &App,
    of: &RunRef,
    gathering: &mut Gathering,
) -> Result<Option<WaitingRun>, IntakeError> {
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
pub(crate) async fn start(app: &App, of: &RunRef, waiting: &WaitingRun) -> Result<(), IntakeError> {
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
) -> Result<(), IntakeError> {
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

/// The state of the execution or the person that works on a run.
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

/// Tells whether nobody works on the run that has this place. One that came to it a moment
/// ago may not show yet.
pub(crate) async fn is_dead(app: &App, place: Option<&Place>) -> Result<bool, CallError> {
    let Some(place) = place else { return Ok(true) };
    Ok(match life(app, place).await? {
        Life::Lives => false,
        Life::Unborn => Moment::now().seconds_since(place.since) > SHOWS_WITHIN,
        Life::Dead => true,
    })
}
