//! Rules that every state machine's definition must keep.

use std::collections::BTreeSet;

use crosspilot_core::stage::Stage;
use serde_json::{Map, Value};

const DEFINITIONS: [(&str, &str); 4] = [
    ("train", include_str!("../../../statemachine/train.asl.json")),
    ("evaluate", include_str!("../../../statemachine/evaluate.asl.json")),
    ("verify", include_str!("../../../statemachine/verify.asl.json")),
    ("manage", include_str!("../../../statemachine/manage.asl.json")),
];

/// States that reach each other, by name: those of a machine, or of a Map in it.
pub(crate) struct Flow {
    pub(crate) name: String,
    pub(crate) start: String,
    pub(crate) states: Map<String, Value>,
    /// Whether each execution of it is an express one, which ends after five minutes.
    pub(crate) express: bool,
}

impl Flow {
    /// A machine's own, and those of the Maps in it.
    fn all_of(name: &str, definition: &Value) -> Vec<Self> {
        let start = definition["StartAt"].as_str().unwrap().to_owned();
        let states = definition["States"].as_object().unwrap().clone();
        let maps = states.iter().filter(|(_, state)| state["Type"] == "Map");
        let inner = maps.flat_map(|(map, state)| {
            Self::all_of(&format!("{name}.{map}"), &state["ItemProcessor"])
        });
        let mut flows: Vec<Self> = inner.collect();
        let express = definition["ProcessorConfig"]["ExecutionType"] == "EXPRESS";
        flows.push(Self { name: name.to_owned(), start, states, express });
        flows
    }
}

/// A machine's first state and all its states.
pub(crate) fn states(machine: &str) -> (String, Map<String, Value>) {
    let flow = flows().into_iter().find(|flow| flow.name == machine).unwrap();
    (flow.start, flow.states)
}

pub(crate) fn flows() -> Vec<Flow> {
    let machines = DEFINITIONS.iter().map(|(name, text)| {
        let machine: Value = serde_json::from_str(text).unwrap();
        assert!(machine["TimeoutSeconds"].is_u64(), "{name} has a timeout");
        Flow::all_of(name, &machine)
    });
    machines.flatten().collect()
}

/// All tasks with names that say where they are.
fn tasks() -> Vec<(String, Value)> {
    let all = flows().into_iter().flat_map(|flow| {
        let named = move |(state, value)| (format!("{}.{state}", flow.name), value);
        flow.states.into_iter().map(named)
    });
    all.filter(|(_, state)| state["Type"] == "Task").collect()
}

/// Lists the states that a state can go to.
pub(crate) fn next(state: &Value) -> Vec<&str> {
    let parts =
        ["Choices", "Catch"].into_iter().filter_map(|list| state[list].as_array()).flatten();
    let named = parts.chain([state]).flat_map(|part| [&part["Next"], &part["Default"]]);
    named.filter_map(Value::as_str).collect()
}

#[test]
fn every_state_is_reachable_and_every_target_exists() {
    for Flow { name: flow, start, states, .. } in flows() {
        let mut reached = BTreeSet::new();
        let mut open = vec![start.as_str()];
        while let Some(name) = open.pop() {
            let state = states.get(name).unwrap_or_else(|| panic!("{flow}.{name} does not exist"));
            if reached.insert(name) {
                open.extend(next(state));
            }
        }
        let all: BTreeSet<&str> = states.keys().map(String::as_str).collect();
        assert_eq!(reached, all, "{flow}");
    }
}

/// The one task that is not retried: what fails in it is found by the next round, and a second
/// attempt would outlive its express execution.
const ONCE: &str = "manage.EachTenant.LookForAll";

#[test]
fn every_task_has_a_timeout_a_bounded_retry_and_a_catch_for_everything() {
    for (name, state) in tasks() {
        assert!(state["TimeoutSeconds"].is_u64(), "{name} has a timeout");
        assert_eq!(state["Retry"].is_array(), name != ONCE, "{name}");
        for retry in state["Retry"].as_array().into_iter().flatten() {
            assert_eq!(retry["JitterStrategy"], "FULL", "{name}");
            assert!(retry["MaxDelaySeconds"].as_u64().unwrap() <= 60, "{name}");
            assert!(retry["MaxAttempts"].as_u64().unwrap() <= 6, "{name}");
        }
        let caught = state["Catch"].as_array().unwrap();
        assert!(caught.iter().any(|c| c["ErrorEquals"][0] == "States.ALL"), "{name} catches all");
    }
}

/// All tasks of the functions.
fn handlers() -> Vec<(String, Value)> {
    let is_handler = |state: &Value| {
        state["Resource"].as_str().is_some_and(|resource| resource.ends_with("lambda:invoke"))
    };
    let handlers: Vec<_> = tasks().into_iter().filter(|(_, state)| is_handler(state)).collect();
    for (machine, _) in DEFINITIONS {
        assert!(handlers.iter().any(|(name, _)| name.starts_with(machine)), "{machine}");
    }
    handlers
}

fn errors(rule: &Value) -> Vec<&str> {
    rule["ErrorEquals"].as_array().unwrap().iter().filter_map(Value::as_str).collect()
}

/// The errors that heal by themselves in a moment, and those that a function may die of once.
const HEALS: [&[&str]; 2] = [
    &[
        "Throttled",
        "Unavailable",
        "Lambda.ServiceException",
        "Lambda.AWSLambdaException",
        "Lambda.SdkClientException",
        "Lambda.TooManyRequestsException",
        "Lambda.ClientExecutionTimeoutException",
    ],
    &["Lambda.Unknown", "Sandbox.Timedout", "Runtime.ExitError", "States.Timeout"],
];

fn retried(state: &Value) -> Vec<Vec<&str>> {
    state["Retry"].as_array().unwrap().iter().map(errors).collect()
}

#[test]
fn handlers_are_all_retried_alike_and_only_for_what_can_heal() {
    let express: Vec<String> =
        flows().into_iter().filter(|flow| flow.express).map(|flow| flow.name + ".").collect();
    let (in_rounds, others): (Vec<_>, Vec<_>) = handlers()
        .into_iter()
        .partition(|(name, _)| express.iter().any(|flow| name.starts_with(flow.as_str())));
    for (name, state) in &others {
        assert_eq!(state["Retry"], others[0].1["Retry"], "{name}");
        assert_eq!(retried(state), HEALS, "{name}");
    }
    // Once in all, whichever of them it is: each rule of a list counts for itself.
    let in_rounds: Vec<_> = in_rounds.iter().filter(|(name, _)| name != ONCE).collect();
    assert_eq!(in_rounds.len(), 2, "{in_rounds:?}");
    for (name, state) in &in_rounds {
        assert_eq!(state["Retry"], in_rounds[0].1["Retry"], "{name}");
        assert_eq!(retried(state), [HEALS.concat()], "{name}");
    }
}

#[test]
fn a_look_that_failed_is_a_look_later_and_a_refusal_ends_the_run() {
    for (name, state) in handlers() {
        let looks = state["Arguments"]["FunctionName"] == "${CheckStatusFunctionArn}";
        let caught = state["Catch"].as_array().unwrap();
        let later = caught.iter().find(|rule| errors(rule) == HEALS.concat());
        assert_eq!(later.is_some(), looks || name == "train.Gather", "{name}");
        if let Some(later) = later.filter(|_| !looks) {
            // It may wait for days, and gives up after so many looks in a row that failed.
            assert_eq!(later["Next"], state["Next"], "{name}");
            let counts = "($exists($states.input.unseen) ? $states.input.unseen : 0) + 1";
            assert!(later["Output"]["unseen"].as_str().unwrap().contains(counts), "{name}");
            let phase = &states("train").1[later["Next"].as_str().unwrap()];
            let given_up = &phase["Choices"][0];
            assert!(given_up["Condition"].as_str().unwrap().contains("$states.input.unseen > 60"));
            assert_eq!(given_up["Next"], "Settle", "{name}");
        } else if let Some(later) = later {
            // To where a look that was seen goes, which bounds it.
            assert_eq!(later["Next"], state["Next"], "{name}");
            assert_eq!(later["Output"]["phase"], "unseen", "{name}");
            let phase = &states("train").1[later["Next"].as_str().unwrap()];
            let bounded = phase["Choices"].as_array().unwrap().iter().find(|choice| {
                let condition = choice["Condition"].as_str().unwrap();
                let limits = ["> $limit + 1800", "> $min([$limit, 43200]) + 1800"];
                condition.contains("'unseen'") && limits.iter().any(|it| condition.contains(it))
            });
            assert_eq!(bounded.unwrap()["Next"], "Settle", "{name}");
        }
    }
}

#[test]
fn an_error_is_carried_as_it_came_and_bounded() {
    for (machine, text) in DEFINITIONS {
        for reader in ["$parse", "$eval", "errorMessage"] {
            assert!(!text.contains(reader), "{machine} reads errors by {reader}");
        }
        let causes = text.matches("$states.errorOutput.Cause").count();
        let bounded = text.matches("$substring($states.errorOutput.Cause & '', 0, 8000)").count();
        assert!(causes > 0 && causes == bounded, "{machine}: {bounded} of {causes} are bounded");
        let errors = text.matches("$states.errorOutput.Error").count();
        assert_eq!(errors, text.matches("$states.errorOutput.Error & ''").count(), "{machine}");
    }
}

#[test]
fn whatever_ends_a_run_that_has_begun_goes_through_settle_to_the_failure_path() {
    let (_, states) = states("train");
    let ways = |state: &Value| -> Vec<String> {
        let lists = ["Choices", "Catch"].into_iter().filter_map(|list| state[list].as_array());
        let failing = |way: &&Value| !way["Assign"]["failure"].is_null();
        lists
            .flatten()
            .filter(failing)
            .map(|way| way["Next"].as_str().unwrap().to_owned())
            .collect()
    };
    let mut seen = 0;
    for (name, state) in &states {
        for way in ways(state) {
            let expected = if name == "Assume" { "NoteFailure" } else { "Settle" };
            assert_eq!(way, expected, "{name}");
            seen += 1;
        }
    }
    assert!(seen > 15, "{seen}");
    // What cannot be settled changes nothing of what the run came to.
    assert!(next(&states["Settle"]).iter().all(|next| *next == "Settled"));
    for (from, to) in [("NoteFailure", "ReportFailure"), ("ReportFailure", "Failed")] {
        assert!(next(&states[from]).iter().all(|next| *next == to), "{from}");
    }
}

#[test]
fn what_a_machine_measures_an_alarm_watches() {
    const TEMPLATE: &str = include_str!("../../../infra/saas.yaml");
    let mut seen = 0;
    for (name, state) in tasks() {
        let asked = &state["Arguments"];
        for metric in asked["MetricData"].as_array().into_iter().flatten() {
            let (namespace, metric) = (&asked["Namespace"], &metric["MetricName"]);
            let (namespace, metric) = (namespace.as_str().unwrap(), metric.as_str().unwrap());
            let watched = format!("      Namespace: {namespace}\n      MetricName: {metric}\n");
            assert!(TEMPLATE.contains(&watched), "{name} measures {metric}");
            seen += 1;
        }
    }
    assert!(seen > 0);
}

/// As `crosspilot_core::pace` counts on it: the history of an execution ends at 25,000
/// events.
#[test]
fn the_endpoint_is_looked_at_for_half_a_day_every_two_minutes() {
    let (_, states) = states("train");
    let check = &states["CheckEndpoint"];
    assert_eq!(check["Arguments"]["Payload"]["limit_seconds"], "{% $min([$limit, 43200]) %}");
    let wait = "{% $min([$states.result.Payload.wait_seconds, 120]) %}";
    assert_eq!(check["Assign"]["wait"], wait);
    assert_eq!(check["Catch"][0]["Assign"]["wait"], 120);
}

/// Seconds that each function may take, as `infra/saas.yaml` sets them.
fn function_timeouts() -> std::collections::BTreeMap<String, u64> {
    const TEMPLATE: &str = include_str!("../../../infra/saas.yaml");
    let (globals, resources) = TEMPLATE.split_once("\nResources:\n").unwrap();
    let seconds = |text: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix("Timeout: "));
        line.map(|seconds| seconds.parse().unwrap())
    };
    let default: u64 = seconds(globals).unwrap();
    let mut found = std::collections::BTreeMap::new();
    for (at, _) in resources.match_indices("Function:\n    Type: AWS::Serverless::Function\n") {
        let name = resources[..at].rsplit(char::is_whitespace).next().unwrap();
        let rest = &resources[at + 1..];
        // Up to the next resource.
        let body: String = rest
            .lines()
            .skip(1)
            .take_while(|line| line.is_empty() || line.starts_with("    "))
            .map(|line| format!("{line}\n"))
            .collect();
        found.insert(format!("{name}FunctionArn"), seconds(&body).unwrap_or(default));
    }
    assert_eq!(found.len(), 5, "{found:?}");
    found
}

#[test]
fn a_task_gives_its_function_the_time_that_it_may_take() {
    let timeouts = function_timeouts();
    for (name, state) in handlers() {
        let function = state["Arguments"]["FunctionName"].as_str().unwrap();
        let may = timeouts[function.trim_start_matches("${").trim_end_matches('}')];
        let waits = state["TimeoutSeconds"].as_u64().unwrap();
        assert!(waits > may, "{name} waits {waits} s for a function that may take {may} s");
    }
}

/// Runs a script with the emulator's Python.
fn python(script: &str, argument: &str) {
    let python =
        crosspilot_local::install::emulator_python(&crosspilot_tests::home(), |_| {}).unwrap();
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = std::process::Command::new(python);
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    let ended = command.arg(here.join(script)).arg(here.join(argument)).output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
}

#[test]
fn every_expression_has_a_value_whatever_error_is_caught() {
    python("tests/end_to_end/expressions.py", "../statemachine");
}

#[test]
fn a_failure_is_named_by_the_stage_of_its_state_as_everywhere() {
    let machine: Value = serde_json::from_str(DEFINITIONS[0].1).unwrap();
    let mut named = 0;
    for (name, state) in machine["States"].as_object().unwrap() {
        let stage = Stage::of_state(name).map(Stage::as_str);
        let routes = ["Catch", "Choices"].into_iter().filter_map(|key| state[key].as_array());
        for route in routes.flatten() {
            let failure = &route["Assign"]["failure"];
            if let Some(told) = failure["stage"].as_str() {
                named += 1;
                assert_eq!(Some(told), stage, "{name}");
            }
        }
        let ends = matches!(state["Type"].as_str().unwrap(), "Succeed" | "Fail");
        assert_eq!(stage.is_none(), ends, "{name} has no stage");
    }
    assert!(named > 15, "{named}");
}

#[test]
fn what_is_no_run_fails_at_the_stage_of_its_machine() {
    fn stages<'a>(value: &'a Value, found: &mut Vec<&'a Value>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("failure").and_then(|failure| failure.get("stage")));
                fields.values().for_each(|field| stages(field, found));
            }
            Value::Array(items) => items.iter().for_each(|item| stages(item, found)),
            _ => {}
        }
    }
    // `verify` hands an error on as it came: who reads it names the stage.
    for (name, stage, routes) in [
        ("evaluate", Stage::Evaluate, 1),
        ("manage", Stage::Manage, 3),
        ("verify", Stage::Verify, 0),
    ] {
        let (_, text) = DEFINITIONS.iter().find(|(machine, _)| *machine == name).unwrap();
        let machine: Value = serde_json::from_str(text).unwrap();
        let mut found = Vec::new();
        stages(&machine, &mut found);
        // What is told of a failure on the bus is what a catcher assigned.
        found.retain(|told| *told != "{% $failure.stage %}");
        assert_eq!(found, vec![&Value::from(stage.as_str()); routes], "{name}");
    }
}

#[test]
fn the_local_cloud_tells_a_dead_function_as_aws_does() {
    python("../crates/local/emulator/failures_test.py", "");
}
