//! Rules that the state machine's definition must keep.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

const DEFINITION: &str = include_str!("../../../statemachine/train.asl.json");

pub(crate) fn states() -> (String, Map<String, Value>) {
    let machine: Value = serde_json::from_str(DEFINITION).unwrap();
    assert!(machine["TimeoutSeconds"].is_u64(), "the machine has a timeout");
    let start = machine["StartAt"].as_str().unwrap().to_owned();
    (start, machine["States"].as_object().unwrap().clone())
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
    let (start, states) = states();
    let mut reached = BTreeSet::new();
    let mut open = vec![start.as_str()];
    while let Some(name) = open.pop() {
        let state = states.get(name).unwrap_or_else(|| panic!("{name} does not exist"));
        if reached.insert(name) {
            open.extend(next(state));
        }
    }
    let all: BTreeSet<&str> = states.keys().map(String::as_str).collect();
    assert_eq!(reached, all);
}

#[test]
fn every_task_has_a_timeout_a_bounded_retry_and_a_catch_for_everything() {
    for (name, state) in states().1.iter().filter(|(_, state)| state["Type"] == "Task") {
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
    let handlers: Vec<_> = states().1.into_iter().filter(|(_, state)| is_handler(state)).collect();
    assert_eq!(handlers.len(), 11);
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
