//! Records in a run's record how it ended, so that it is known for longer than
//! Step Functions keeps its execution. A failure is read here, once, from the
//! error as it came.

use crosspilot_core::bucket::Bucket;
use crosspilot_core::error::Code;
use crosspilot_core::failure::Failure;
use crosspilot_core::failure_page;
use crosspilot_core::gathering::Place;
use crosspilot_core::lambda::App;
use crosspilot_core::policy::Purpose;
use crosspilot_core::registry::{Outcome, RegistryError, RunRecord, active};
use crosspilot_core::run::{RunId, RunRef};
use serde_json::Value;

use crate::events::Input;
use crate::trigger::identify;
use crate::{IntakeError, turns};

/// The record of a run's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// The run in whose record it is: only the execution that holds a run
    /// can say how it ended.
    pub run: Option<RunRef>,
    /// The failure of the run, if it failed.
    pub failure: Option<Failure>,
}

/// Records how an execution ended, in the record of the run that it worked on: `run`, or
/// the one that follows from its `input` and that it claimed without knowing it. The next
/// run of the model may train then. A failure is read whether it can be recorded or not.
pub async fn record_outcome(
    app: &App,
    run: Option<RunRef>,
    input: Value,
    execution: &str,
    mut outcome: Outcome,
) -> Result<Recorded, IntakeError> {
    let failure = read(&mut outcome);
    let known = run.is_some();
    let run = match run {
        Some(run) => Some(run),
        None => begun(app, input.clone()).await,
    };
    if let (false, Some(failure)) = (known, &failure) {
        tell(app, input, failure).await;
    }
    let Some(run) = run else { return Ok(Recorded { run: None, failure }) };
    let write = |record: &mut RunRecord| {
        if record.execution == execution {
            record.outcome = Some(outcome.clone());
        }
    };
    let held = match app.registry.change_run(&run, write).await {
        Ok(record) => record.execution == execution,
        // It was never claimed.
        Err(RegistryError::Broken { .. }) if !known => false,
        Err(error) => return Err(error.into()),
    };
    let own = |place: &Place| place.run == run.run_id && (held || place.execution == execution);
    turns::leave(app, &run, own).await?;
    Ok(Recorded { run: held.then_some(run), failure })
}

/// Puts a code and a sentence in place of the error as it came.
fn read(outcome: &mut Outcome) -> Option<Failure> {
    let Outcome::Failed { stage, code, cause, .. } = outcome else { return None };
    let failure = Failure::read(stage, code, cause);
    code.clone_from(&failure.code);
    cause.clone_from(&failure.cause);
    Some(failure)
}

/// Leaves the customer the page that says why an upload can start no run. It is for
/// people: without it, the failure is told where operators look all the same.
async fn tell(app: &App, input: Value, failure: &Failure) {
    let unset = [Code::ModelUnknown.as_str(), Code::TriggerInvalid.as_str()];
    let Ok(Input::Upload(event)) = serde_json::from_value::<Input>(input) else { return };
    if !unset.contains(&failure.code.as_str()) {
        return;
    }
    let told = async {
        let tenant = app.registry.tenant_of_bucket(event.account(), event.bucket()).await?;
        let tenant = active(tenant)?;
        let session = app.sessions.open(&tenant, Purpose::Tell).await?;
        let bucket = Bucket { s3: session.s3(), tenant: &tenant };
        failure_page::of_upload(&bucket, event.key(), failure).await?;
        Ok::<_, IntakeError>(())
    };
    if let Err(error) = told.await {
        tracing::warn!("no page tells of the upload: {error}");
    }
}

/// The run that an input starts, if it can start one.
async fn begun(app: &App, input: Value) -> Option<RunRef> {
    let input = serde_json::from_value::<Input>(input).ok()?;
    let (tenant, model, trigger) = identify(app, input).await.ok()??;
    let run_id = RunId::derive(&tenant.tenant, &model, &trigger).ok()?;
    Some(RunRef { tenant: tenant.tenant, model, run_id })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn an_error_as_it_came_is_noted_as_a_code_and_a_sentence() {
        let raw = json!({
            "result": "failed", "time": "2026-01-31T12:00:00Z", "stage": "score", "code": "Lambda.Unknown",
            "cause": "The cause could not be determined because Lambda did not return an error type. Returned payload: {\"errorMessage\":\"2026-01-31T12:00:00Z 1 Task timed out after 300.10 seconds\"}",
        });
        let mut outcome: Outcome = serde_json::from_value(raw).unwrap();
        let failure = read(&mut outcome).unwrap();
        assert_eq!((failure.stage.as_str(), failure.code.as_str()), ("score", "FunctionTimedOut"));
        let noted = serde_json::to_value(&outcome).unwrap();
        assert_eq!(
            (&noted["code"], &noted["cause"]),
            (&json!(failure.code), &json!(failure.cause))
        );
    }
}
