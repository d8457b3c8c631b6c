//! Watches an execution of the state machine from its own history, which is
//! all that a vendor's operator needs to see.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crosspilot_core::aws::sfn::Client;
use crosspilot_core::aws::sfn::types::{ExecutionStatus, HistoryEvent};
use crosspilot_core::error::{CallError, Named};
use crosspilot_core::execution::{describe, died, reported};
use crosspilot_core::failure::Failure as ReadFailure;
use crosspilot_core::ids::{ModelName, TenantId};
use crosspilot_core::run::RunRef;
use crosspilot_core::stage::Stage;
use crosspilot_operator::Vendor;
use serde_json::{Value, json};

use crate::failure::Failure;

/// Looks, a quarter of a second apart, that may miss an execution.
const UNSEEN: u32 = 40;

/// An execution that has ended well.
pub(crate) struct Ended {
    pub(crate) arn: String,
    pub(crate) status: String,
    pub(crate) output: Value,
    /// Seconds by stage, in the order of the stages.
    pub(crate) seconds: Vec<(&'static str, f64)>,
}

/// Waits for a model's first run and gives its execution: an upload is heard of
/// within seconds, and waits for more of its kind for the model's quiet period.
pub(crate) async fn first_run(
    vendor: &Vendor,
    tenant: &TenantId,
    model: &ModelName,
) -> Result<String, Failure> {
    const LIMIT: Duration = Duration::from_secs(300);
    let started = Instant::now();
    loop {
        if let Some(record) = vendor.registry.runs(tenant, model).await?.pop() {
            return Ok(record.execution);
        }
        if started.elapsed() > LIMIT {
            return Err(Failure::NoRun(LIMIT.as_secs()));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Waits for an execution, started since `since` (seconds since 1970), that
/// `started_by` recognises by its input.
pub(crate) async fn find(
    vendor: &Vendor,
    since: f64,
    started_by: impl Fn(&Value) -> bool,
) -> Result<String, Failure> {
    const LIMIT: u64 = 30;
    let client = vendor.step_functions();
    let machine = &vendor.deployment.state_machine;
    for _ in 0..LIMIT * 5 {
        let list = client.list_executions().state_machine_arn(machine).max_results(20).send().await;
        let list = list.named("states:ListExecutions", machine)?;
        for execution in list.executions().iter().filter(|e| e.start_date().as_secs_f64() >= since)
        {
            let arn = execution.execution_arn();
            let Some(found) = describe(&client, arn).await? else { continue };
            let input = found.input().unwrap_or_default();
            if serde_json::from_str(input).is_ok_and(|input| started_by(&input)) {
                return Ok(arn.to_owned());
            }
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Err(Failure::NoRun(LIMIT))
}

/// The state of an execution.
pub(crate) struct Execution {
    /// The thing that happens now, while the execution runs.
    pub(crate) now: Option<String>,
    /// The execution's output, once it has ended well.
    pub(crate) output: Option<Value>,
    /// Stage, code and cause, once it has ended otherwise.
    pub(crate) failure: Option<Value>,
    /// Seconds by stage, in the order of the stages.
    pub(crate) seconds: Vec<(&'static str, f64)>,
}

/// Looks at an execution. None if Step Functions does not know it any more.
pub(crate) async fn look(vendor: &Vendor, arn: &str) -> Result<Option<Execution>, Failure> {
    let client = vendor.step_functions();
    let Some(found) = describe(&client, arn).await? else { return Ok(None) };
    let mut execution =
        Execution { now: None, output: None, failure: None, seconds: seconds(&client, arn).await? };
    match found.status() {
        ExecutionStatus::Running => execution.now = newest(&client, arn).await?,
        ExecutionStatus::Succeeded => {
            execution.output = Some(serde_json::from_str(found.output().unwrap_or("null"))?);
        }
        status => {
            let last = newest(&client, arn).await?;
            let Ending { stage, code, cause } =
                ending(status, found.error(), found.cause(), last.as_deref());
            execution.failure = Some(
                json!({"status": status.as_str(), "stage": stage, "code": code, "cause": cause}),
            );
        }
    }
    Ok(Some(execution))
}

/// The run that an execution works on; none if it has not begun one.
pub(crate) async fn run_of(vendor: &Vendor, arn: &str) -> Result<Option<RunRef>, Failure> {
    let history = vendor.step_functions().get_execution_history().execution_arn(arn);
    let history = history.max_results(100).send().await;
    let history = history.named("states:GetExecutionHistory", arn)?;
    let exits = history.events().iter().filter_map(|event| event.state_exited_event_details());
    let mut outputs =
        exits.filter_map(|exited| serde_json::from_str::<Value>(exited.output()?).ok());
    Ok(outputs.find_map(|output| serde_json::from_value(output.get("run")?.clone()).ok()))
}

/// The preflight's warnings in the output of an execution, as names and values to print: all
/// that print an output take them from here.
pub(crate) fn warnings(output: &Value) -> impl Iterator<Item = (&'static str, &str)> {
    let warnings = output["warnings"].as_array().into_iter().flatten();
    let texts = warnings.filter_map(|told| told["message"].as_str().or(told.as_str()));
    texts.map(|text| ("warning", text))
}

/// Follows an execution to its end. `report` is told what happens now.
pub(crate) async fn follow(
    vendor: &Vendor,
    arn: &str,
    report: impl Fn(&str),
) -> Result<Ended, Failure> {
    let client = vendor.step_functions();
    let mut unseen = 0;
    loop {
        let Some(found) = describe(&client, arn).await? else {
            // One that was just started may not show yet.
            unseen += 1;
            if unseen > UNSEEN {
                return Err(Failure::UnknownExecution(arn.to_owned()));
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
            continue;
        };
        let status = found.status();
        if *status == ExecutionStatus::Running {
            if let Some(text) = newest(&client, arn).await? {
                report(&text);
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
            continue;
        }
        if *status == ExecutionStatus::Succeeded {
            let output = serde_json::from_str(found.output().unwrap_or("null"))?;
            let seconds = seconds(&client, arn).await?;
            return Ok(Ended {
                arn: arn.to_owned(),
                status: status.as_str().to_owned(),
                output,
                seconds,
            });
        }
        let last = newest(&client, arn).await?;
        let Ending { stage, code, cause } =
            ending(status, found.error(), found.cause(), last.as_deref());
        let (status, arn) = (status.as_str().to_owned(), arn.to_owned());
        return Err(Failure::RunFailed { status, stage, code, cause, arn });
    }
}

/// Describes what happens now.
async fn newest(client: &Client, arn: &str) -> Result<Option<String>, CallError> {
    let history = client
        .get_execution_history()
        .execution_arn(arn)
        .reverse_order(true)
        .max_results(30)
        .send()
        .await
        .named("states:GetExecutionHistory", arn)?;
    Ok(progress(history.events()))
}

/// The end of an execution that did not end well.
struct Ending {
    stage: String,
    code: String,
    cause: String,
}

/// The failure path puts stage, code and cause into the execution's cause. An
/// execution that ended outside of it has what Step Functions says, and where it
/// was at `last`.
fn ending(
    status: &ExecutionStatus,
    error: Option<&str>,
    cause: Option<&str>,
    last: Option<&str>,
) -> Ending {
    if let Some(ReadFailure { stage, code, cause }) = reported(cause) {
        return Ending { stage, code, cause };
    }
    let stage = last.unwrap_or(Stage::Assume.as_str());
    let ReadFailure { stage, code, cause } = died(status, error, cause, stage);
    let cause = format!(
        "{cause}; what it left is stopped and removed within an hour, or at once by `crosspilot run redrive`"
    );
    Ending { stage, code, cause }
}

/// Reads what happens now from the newest events, newest first.
fn progress(events: &[HistoryEvent]) -> Option<String> {
    let now = events
        .iter()
        .filter_map(|event| event.state_entered_event_details())
        .find_map(|entered| Stage::of_state(entered.name()))?;
    let look =
        events.iter().filter_map(|event| event.state_exited_event_details()).find_map(|exited| {
            (Stage::of_state(exited.name()) == Some(now))
                .then(|| serde_json::from_str::<Value>(exited.output().unwrap_or_default()).ok())?
        });
    let Some(look) = look.filter(|_| now != Stage::Predict) else { return Some(now.to_string()) };
    if look.get("state").and_then(Value::as_str) == Some("waiting") {
        let reason = look.get("reason").and_then(Value::as_str).unwrap_or("its turn");
        return Some(format!("{now} · waiting: {reason}"));
    }
    let mut text = now.to_string();
    let status = look.get("secondary_status").or(look.get("status")).and_then(Value::as_str);
    if let Some(status) = status {
        text.push_str(&format!(" · {status}"));
    }
    if let Some(candidates) =
        look.get("candidates").and_then(Value::as_u64).filter(|_| now == Stage::Train)
    {
        let plural = if candidates == 1 { "" } else { "s" };
        text.push_str(&format!(" · {candidates} candidate{plural}"));
    }
    let best = look.get("best");
    let metric = best.and_then(|best| best.get("metric")).and_then(Value::as_str);
    let value = best.and_then(|best| best.get("value")).and_then(Value::as_f64);
    if let (Some(metric), Some(value)) = (metric, value) {
        text.push_str(&format!(" · best {metric} {value:.4}"));
    }
    Some(text)
}

/// Adds up how long each stage took, in the order of the stages.
async fn seconds(client: &Client, arn: &str) -> Result<Vec<(&'static str, f64)>, CallError> {
    let mut entered = Vec::new();
    let mut pages = client.get_execution_history().execution_arn(arn).into_paginator().send();
    while let Some(page) = pages.next().await {
        let page = page.named("states:GetExecutionHistory", arn)?;
        entered.extend(page.events().iter().filter_map(|event| {
            let name = event.state_entered_event_details()?.name();
            Some((Stage::of_state(name), event.timestamp().as_secs_f64()))
        }));
    }
    let mut total = BTreeMap::<Stage, f64>::new();
    for pair in entered.windows(2) {
        if let [(Some(stage), from), (_, to)] = pair {
            *total.entry(*stage).or_default() += to - from;
        }
    }
    Ok(total.into_iter().map(|(stage, seconds)| (stage.as_str(), seconds)).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_execution_that_died_outside_its_failure_path_says_why() {
        let failed =
            |status, error, cause| ending(&status, error, cause, Some("train · InProgress"));
        let known = r#"{"stage":"score","code":"DataUnfit","cause":"no rows"}"#;
        let Ending { stage, code, cause } =
            failed(ExecutionStatus::Failed, Some("DataUnfit"), Some(known));
        assert_eq!(
            (stage.as_str(), code.as_str(), cause.as_str()),
            ("score", "DataUnfit", "no rows")
        );

        let Ending { stage, code, cause } = failed(
            ExecutionStatus::Failed,
            Some("States.DataLimitExceeded"),
            Some("The state/task returned a result with a size exceeding the limit."),
        );
        assert_eq!(
            (stage.as_str(), code.as_str()),
            ("train · InProgress", "States.DataLimitExceeded")
        );
        assert!(cause.contains("outside its failure path: The state/task"), "{cause}");

        let aborted = failed(ExecutionStatus::Aborted, None, None);
        assert_eq!(aborted.code, "ABORTED");
        assert!(aborted.cause.starts_with("somebody stopped its execution"), "{}", aborted.cause);
        let overdue = failed(ExecutionStatus::TimedOut, None, None);
        assert_eq!(overdue.code, "TIMED_OUT");
        assert!(overdue.cause.contains("longer than its state machine"), "{}", overdue.cause);
    }
}
