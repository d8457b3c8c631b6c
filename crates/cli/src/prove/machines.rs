//! Puts every state of every machine through Step Functions' TestState, with
//! mocked results and errors, so that AWS's own interpreter judges the expressions.

use crosspilot_core::aws::sfn;
use crosspilot_core::aws::sfn::types::{
    InspectionLevel, MockErrorOutput, MockInput, MockResponseValidationMode, TestExecutionStatus,
    TestStateConfiguration,
};
use crosspilot_core::error::CallError;
use crosspilot_local::stacks::{DEFINITIONS, ERRORS};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::doubts::{DoubtVerdict, Findings};
use super::site::Site;
use crate::failure::Failure;

/// More attempts than any Retry list makes: what is caught, is caught now.
const RETRIED: i32 = 100;

/// A task's error, as `statemachine/errors.json` has them.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TaskError {
    error: String,
    cause: Option<String>,
    /// The number of times that the cause is repeated: some are long.
    #[serde(default = "once", rename = "times")]
    times: usize,
}

fn once() -> usize {
    1
}

/// A state to test: of which machine, and its definition there.
struct Case {
    machine: &'static str,
    definition: String,
    state: String,
    is_task: bool,
}

/// Judges all machines on AWS; the emulator's TestState evaluates no JSONata.
pub(super) async fn judge(site: &Site<'_>, findings: &mut Findings) -> Result<(), Failure> {
    if site.ground.is_local() {
        let reason = "only on AWS: the emulator's TestState evaluates no JSONata".to_owned();
        findings.note("machines-run", DoubtVerdict::Open(reason));
        return Ok(());
    }
    let client = sfn::Client::new(site.ground.vendor_config());
    let mut tested = 0_u32;
    let mut refused = Vec::new();
    let errors: Vec<TaskError> = serde_json::from_str(ERRORS)?;
    for case in cases()? {
        let errors = errors.iter().filter(|_| case.is_task).map(Some);
        for error in std::iter::once(None).chain(errors) {
            tested += 1;
            if let Some(reason) = test(&client, &case, error).await? {
                let with = error.map_or("its result", |error| error.error.as_str());
                refused.push(format!("{} {} with {with}: {reason}", case.machine, case.state));
            }
        }
    }
    findings.judge(
        "machines-run",
        refused.is_empty(),
        match refused.first() {
            None => format!("{tested} cases"),
            Some(first) => format!("{} of {tested} cases, first {first}", refused.len()),
        },
    );
    Ok(())
}

/// Every state of every machine, those within Maps included.
fn cases() -> Result<Vec<Case>, serde_json::Error> {
    let mut cases = Vec::new();
    for (machine, text) in DEFINITIONS {
        let definition = substituted(text);
        let parsed: Value = serde_json::from_str(&definition)?;
        collect(machine, &definition, &parsed, &mut cases);
    }
    Ok(cases)
}

fn collect(machine: &'static str, definition: &str, machine_or_map: &Value, cases: &mut Vec<Case>) {
    let Some(states) = machine_or_map.get("States").and_then(Value::as_object) else { return };
    for (name, state) in states {
        let kind = state.get("Type").and_then(Value::as_str).unwrap_or_default();
        if let Some(inner) = state.get("ItemProcessor") {
            collect(machine, definition, inner, cases);
        } else {
            cases.push(Case {
                machine,
                definition: definition.to_owned(),
                state: name.clone(),
                is_task: kind == "Task",
            });
        }
    }
}

/// Fills `${Name}` with an ARN: TestState takes no substitutions, and calls nothing
/// that is mocked.
fn substituted(text: &str) -> String {
    let text = text.replace("${Partition}", "aws");
    let mut filled = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once("${") {
        let Some((_, behind)) = after.split_once('}') else { break };
        filled.push_str(before);
        filled.push_str("arn:aws:lambda:us-east-1:111111111111:function:mocked");
        rest = behind;
    }
    filled + rest
}

/// Tests one state. Says what is wrong, if something is: an expression that throws,
/// or an error that is not caught.
async fn test(
    client: &sfn::Client,
    case: &Case,
    error: Option<&TaskError>,
) -> Result<Option<String>, Failure> {
    let mut asked = client
        .test_state()
        .definition(&case.definition)
        .state_name(&case.state)
        .input(everything().to_string())
        .variables(everything().to_string())
        .inspection_level(InspectionLevel::Info);
    if case.is_task {
        let mock = MockInput::builder().field_validation_mode(MockResponseValidationMode::None);
        let mock = match error {
            None => mock.result(json!({"Payload": everything(), "StatusCode": 200}).to_string()),
            Some(TaskError { error, cause, times }) => {
                let cause = cause.as_ref().map(|cause| cause.repeat(*times));
                let output = MockErrorOutput::builder().error(error).set_cause(cause);
                mock.error_output(output.build())
            }
        };
        let retried = TestStateConfiguration::builder().retrier_retry_count(RETRIED).build();
        asked = asked.mock(mock.build()).state_configuration(retried);
    }
    let answer = match asked.send().await {
        Ok(answer) => answer,
        Err(error) => {
            let error = CallError::new("states:TestState", &case.state, &error);
            return match error.aws_code() {
                "InvalidDefinition" | "ValidationException" => Ok(Some(error.to_string())),
                _ => Err(error.into()),
            };
        }
    };
    let said = answer.error().unwrap_or_default();
    let thrown = ["States.QueryEvaluationError", "States.Runtime"].contains(&said);
    let uncaught = error.is_some() && answer.status() == Some(&TestExecutionStatus::Failed);
    Ok((thrown || uncaught).then(|| format!("{said}: {}", answer.cause().unwrap_or_default())))
}

/// A value for every variable and every field that the machines read.
fn everything() -> Value {
    let run = json!({"tenant": "acme", "model": "churn", "run_id": "20260131-0123456789"});
    let failure = json!({"stage": "train", "code": "NoCandidate", "cause": "none"});
    let mut all = Map::new();
    for (name, value) in [
        ("run", run),
        ("failure", failure),
        ("decision", json!("run")),
        ("state", json!("done")),
        ("phase", json!("succeeded")),
        ("tenant", json!("acme")),
        ("tenants", json!(["acme"])),
        ("model", json!("churn")),
        ("job", json!("crosspilot-churn-0123456789")),
        ("transform", json!("crosspilot-churn-0123456789")),
        ("challenger", json!({"model": "m", "candidate": "c"})),
        ("comparison", json!({"reason": "none"})),
        ("deployment", json!({"endpoint": "e", "config": "c"})),
        ("prediction", json!({"report_uri": "s3://b/k"})),
        ("warnings", json!([])),
        ("reason", json!("its turn")),
        ("Error", json!("Internal")),
        ("Cause", json!("none")),
    ] {
        all.insert(name.to_owned(), value);
    }
    for seconds in ["since", "limit", "wait", "wait_seconds", "max_runtime_seconds"] {
        all.insert(seconds.to_owned(), json!(5));
    }
    Value::Object(all)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn every_state_is_a_case_with_nothing_left_to_fill_in() {
        let cases = cases().unwrap();
        for (machine, text) in DEFINITIONS {
            let tasks = text.matches("\"Type\": \"Task\"").count();
            let found = cases.iter().filter(|case| case.machine == machine && case.is_task).count();
            assert_eq!(found, tasks, "{machine}");
        }
        assert!(cases.iter().all(|case| !case.definition.contains("${")));
        let errors: Vec<TaskError> = serde_json::from_str(ERRORS).unwrap();
        assert!(errors.iter().any(|error| error.error == "Lambda.Unknown"));
    }
}
