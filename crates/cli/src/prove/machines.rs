//! Puts every state of every machine through Step Functions' TestState, with
//! mocked results and errors, so that AWS's own interpreter judges the expressions.
//!
//! ```text
//! Task     with its result, and with each of statemachine/errors.json
//! Map      with the items that it reads and the answers that it gets; its own states apart
//! Choice   with each of the choices in statemachine/example.json
//! others   once
//! ```

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

/// The data that the states get, with which `statemachine/check.mjs` sees that no expression
/// of theirs lacks a value.
const EXAMPLE: &str = include_str!("../../../../statemachine/example.json");

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

/// The data of `statemachine/example.json`.
#[derive(Debug, Deserialize)]
struct Example {
    /// A value for every variable and every field that the machines read.
    values: Map<String, Value>,
    /// Changes to the values, so that every rule of every Choice is come to.
    choices: Vec<Change>,
    /// The objects that a Map lists.
    items: Value,
    /// The answers of a Map's executions.
    answers: Value,
}

/// A change to the example's values.
#[derive(Debug, Deserialize)]
struct Change {
    #[serde(default)]
    with: Map<String, Value>,
    #[serde(default)]
    without: Vec<String>,
}

impl Example {
    /// The values that a state of this kind is tested with.
    fn values_for(&self, kind: Kind) -> Vec<Value> {
        let changes = self.choices.iter().filter(|_| kind == Kind::Choice);
        let changed = changes.map(|Change { with, without }| {
            let mut values = self.values.clone();
            values.extend(with.clone());
            values.retain(|name, _| !without.contains(name));
            values
        });
        std::iter::once(self.values.clone()).chain(changed).map(Value::Object).collect()
    }
}

/// The kind of a state, as far as TestState wants to be asked otherwise for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Task,
    Map,
    Choice,
    Other,
}

/// A state to test: of which machine, and its definition there.
struct Case {
    machine: &'static str,
    definition: String,
    state: String,
    kind: Kind,
    /// Whether it reads of the execution that it is in.
    reads_execution: bool,
}

/// What TestState says of a state.
enum Judgement {
    /// It goes on to another state, or ends, as it should.
    Taken,
    /// An expression has no value or throws, an error is not caught, or the definition is
    /// refused.
    Refused(String),
    /// TestState does not take the question.
    Unasked(String),
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
    let (mut refused, mut unasked) = (Vec::new(), Vec::new());
    let errors: Vec<TaskError> = serde_json::from_str(ERRORS)?;
    let example: Example = serde_json::from_str(EXAMPLE)?;
    for case in cases()? {
        let errors = errors.iter().filter(|_| case.kind == Kind::Task).map(Some);
        let results = example.values_for(case.kind).into_iter().map(|values| (values, None));
        let errors = errors.map(|error| (Value::Object(example.values.clone()), error));
        for (values, error) in results.chain(errors) {
            tested += 1;
            let with = error.map_or("its result", |error| error.error.as_str());
            let told =
                |reason: String| format!("{} {} with {with}: {reason}", case.machine, case.state);
            match test(&client, &case, &example, &values, error).await? {
                Judgement::Taken => {}
                Judgement::Refused(reason) => refused.push(told(reason)),
                Judgement::Unasked(reason) => unasked.push(told(reason)),
            }
        }
    }
    findings.note("machines-run", verdict(tested, &refused, &unasked));
    Ok(())
}

/// What could not be asked says nothing for the machines, and nothing against them.
fn verdict(tested: u32, refused: &[String], unasked: &[String]) -> DoubtVerdict {
    match (refused, unasked) {
        ([first, ..], _) => {
            DoubtVerdict::Fails(format!("{} of {tested} cases, first {first}", refused.len()))
        }
        ([], []) => DoubtVerdict::Holds(format!("{tested} cases")),
        ([], [first, ..]) => DoubtVerdict::Open(format!(
            "TestState did not take {} of {tested} cases, first {first}; it found no fault in the others",
            unasked.len()
        )),
    }
}

/// Every state of every machine, Maps and those within them included.
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
        cases.push(Case {
            machine,
            definition: definition.to_owned(),
            state: name.clone(),
            kind: match state.get("Type").and_then(Value::as_str) {
                Some("Task") => Kind::Task,
                Some("Map") => Kind::Map,
                Some("Choice") => Kind::Choice,
                _ => Kind::Other,
            },
            reads_execution: state.to_string().contains("$states.context.Execution"),
        });
        if let Some(inner) = state.get("ItemProcessor") {
            collect(machine, definition, inner, cases);
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

/// Tests one state with these values as its input, its variables and its result.
async fn test(
    client: &sfn::Client,
    case: &Case,
    example: &Example,
    values: &Value,
    error: Option<&TaskError>,
) -> Result<Judgement, Failure> {
    let mut asked = client
        .test_state()
        .definition(&case.definition)
        .state_name(&case.state)
        .input(values.to_string())
        .variables(values.to_string())
        .inspection_level(InspectionLevel::Info);
    let mock = MockInput::builder().field_validation_mode(MockResponseValidationMode::None);
    match case.kind {
        Kind::Task => {
            let mock = match error {
                None => mock.result(json!({"Payload": values, "StatusCode": 200}).to_string()),
                Some(TaskError { error, cause, times }) => {
                    let cause = cause.as_ref().map(|cause| cause.repeat(*times));
                    let output = MockErrorOutput::builder().error(error).set_cause(cause);
                    mock.error_output(output.build())
                }
            };
            let retried = TestStateConfiguration::builder().retrier_retry_count(RETRIED).build();
            asked = asked.mock(mock.build()).state_configuration(retried);
        }
        // "Testing Map and Parallel states" of the Developer Guide has a Map's result mocked and
        // shows how it selects items. Of what an ItemReader reads it says to give it in the
        // input; the API reference has `mapItemReaderData` for it, "as found in its original
        // source". Neither shows that of listObjectsV2: it is given as that call lists objects.
        Kind::Map => {
            let read = TestStateConfiguration::builder();
            let read = read.map_item_reader_data(example.items.to_string()).build();
            let mock = mock.result(example.answers.to_string()).build();
            asked = asked.mock(mock).state_configuration(read);
        }
        Kind::Choice | Kind::Other => {}
    }
    // Only with a mock (API reference, TestState, `context`). Without, a Choice sees TestState's
    // own values, and within a Map those of an item of its own.
    if case.kind == Kind::Task && case.reads_execution {
        asked = asked.context(context(case, values).to_string());
    }
    let answer = match asked.send().await {
        Ok(answer) => answer,
        Err(error) => {
            let error = CallError::new("states:TestState", &case.state, &error);
            return match (error.aws_code(), case.kind) {
                ("ValidationException", Kind::Map) => Ok(Judgement::Unasked(error.to_string())),
                ("InvalidDefinition" | "ValidationException", _) => {
                    Ok(Judgement::Refused(error.to_string()))
                }
                _ => Err(error.into()),
            };
        }
    };
    let said = answer.error().unwrap_or_default();
    let failed = answer.status() == Some(&TestExecutionStatus::Failed);
    let told = format!("{said}: {}", answer.cause().unwrap_or_default());
    Ok(if ["States.QueryEvaluationError", "States.Runtime"].contains(&said) {
        Judgement::Refused(told)
    } else if failed && case.kind == Kind::Map {
        // Such as States.ItemReaderFailed: the items are not in the form that it reads.
        Judgement::Unasked(told)
    } else if failed && error.is_some() {
        Judgement::Refused(told)
    } else {
        Judgement::Taken
    })
}

/// The context of an execution that this state is in.
fn context(case: &Case, input: &Value) -> Value {
    const ID: &str = "arn:aws:states:us-east-1:111111111111:execution:mocked:mocked";
    const TIME: &str = "2026-01-31T12:00:00.000Z";
    json!({
        "Execution": {"Id": ID, "Name": "mocked", "StartTime": TIME, "Input": input},
        "State": {"Name": case.state, "EnteredTime": TIME},
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn every_state_is_a_case_with_nothing_left_to_fill_in() {
        let cases = cases().unwrap();
        for (machine, text) in DEFINITIONS {
            for (kind, word) in [(Kind::Task, "Task"), (Kind::Map, "Map"), (Kind::Choice, "Choice")]
            {
                let states = text.matches(&format!("\"Type\": \"{word}\"")).count();
                let found = |case: &&Case| case.machine == machine && case.kind == kind;
                assert_eq!(cases.iter().filter(found).count(), states, "{machine}: {word}");
            }
        }
        assert!(cases.iter().any(|case| case.kind == Kind::Map));
        assert!(cases.iter().all(|case| !case.definition.contains("${")));
        let errors: Vec<TaskError> = serde_json::from_str(ERRORS).unwrap();
        assert!(errors.iter().any(|error| error.error == "Lambda.Unknown"));
    }

    #[test]
    fn a_choice_is_tried_with_each_of_the_examples_choices() {
        let example: Example = serde_json::from_str(EXAMPLE).unwrap();
        let all = example.values_for(Kind::Choice);
        assert_eq!(all.len(), 1 + example.choices.len());
        assert!(all.iter().any(|values| values["state"] == "waiting"));
        assert!(all.iter().any(|values| values.get("tenant").is_none()));
        let once = example.values_for(Kind::Task);
        assert_eq!(once, [Value::Object(example.values.clone())]);
    }

    #[test]
    fn what_test_state_does_not_take_is_open() {
        let reason = ["manage EachTenant with its result: no such items".to_owned()];
        assert_eq!(verdict(3, &[], &[]), DoubtVerdict::Holds("3 cases".into()));
        assert!(
            matches!(verdict(3, &[], &reason), DoubtVerdict::Open(text) if text.contains("1 of 3"))
        );
        assert!(
            matches!(verdict(3, &reason, &reason), DoubtVerdict::Fails(text) if text.contains("1 of 3"))
        );
    }
}
