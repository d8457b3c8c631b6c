//! Rules that every state machine's definition must keep.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

const DEFINITIONS: [(&str, &str); 3] = [
    ("train", include_str!("../../../statemachine/train.asl.json")),
    ("verify", include_str!("../../../statemachine/verify.asl.json")),
    ("manage", include_str!("../../../statemachine/manage.asl.json")),
];

/// States that reach each other, by name: those of a machine, or of a Map in it.
struct Flow {
    name: String,
    start: String,
    states: Map<String, Value>,
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
        flows.push(Self { name: name.to_owned(), start, states });
        flows
    }
}

/// A machine's first state and all its states.
pub(crate) fn states(machine: &str) -> (String, Map<String, Value>) {
    let flow = flows().into_iter().find(|flow| flow.name == machine).unwrap();
    (flow.start, flow.states)
}

fn flows() -> Vec<Flow> {
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

/// Where a state can go.
pub(crate) fn next(state: &Value) -> Vec<&str> {
    let parts =
        ["Choices", "Catch"].into_iter().filter_map(|list| state[list].as_array()).flatten();
    let named = parts.chain([state]).flat_map(|part| [&part["Next"], &part["Default"]]);
    named.filter_map(Value::as_str).collect()
}

#[test]
fn every_state_is_reachable_and_every_target_exists() {
    for Flow { name: flow, start, states } in flows() {
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

#[test]
fn every_task_has_a_timeout_a_bounded_retry_and_a_catch_for_everything() {
    for (name, state) in tasks() {
        assert!(state["TimeoutSeconds"].is_u64(), "{name} has a timeout");
        for retry in state["Retry"].as_array().unwrap() {
            assert_eq!(retry["JitterStrategy"], "FULL", "{name}");
            assert!(retry["MaxDelaySeconds"].as_u64().unwrap() <= 60, "{name}");
            assert!(retry["MaxAttempts"].as_u64().unwrap() <= 6, "{name}");
        }
        let caught = state["Catch"].as_array().unwrap();
        assert!(caught.iter().any(|c| c["ErrorEquals"][0] == "States.ALL"), "{name} catches all");
    }
}

#[test]
fn handlers_are_retried_only_for_what_can_heal() {
    let can_heal = [
        "Throttled",
        "Unavailable",
        "Lambda.ServiceException",
        "Lambda.AWSLambdaException",
        "Lambda.SdkClientException",
        "Lambda.TooManyRequestsException",
    ];
    let is_handler = |state: &Value| {
        state["Resource"].as_str().is_some_and(|resource| resource.ends_with("lambda:invoke"))
    };
    let handlers: Vec<_> = tasks().into_iter().filter(|(_, state)| is_handler(state)).collect();
    for (machine, _) in DEFINITIONS {
        assert!(handlers.iter().any(|(name, _)| name.starts_with(machine)), "{machine}");
    }
    for (name, state) in handlers {
        let retried: Vec<&str> = state["Retry"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|retry| retry["ErrorEquals"].as_array().unwrap())
            .filter_map(Value::as_str)
            .collect();
        assert_eq!(retried, can_heal, "{name}");
    }
}
