//! The time that an express execution of a round may come to, whatever fails in it: one that is
//! timed out has no catcher, and hence no answer that counts.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::state_machine::{Flow, flows, next};

/// Seconds that an express execution may take (Step Functions Developer Guide, "Choosing workflow
/// type").
const EXPRESS_SECONDS: f64 = 300.0;

/// The seconds that a task takes at most: each attempt until its time-out, and the longest waits
/// between them.
fn longest(task: &Value) -> f64 {
    let number = |value: &Value| value.as_f64().unwrap();
    let timeout = number(&task["TimeoutSeconds"]);
    let again = task["Retry"].as_array().into_iter().flatten().map(|rule| {
        let attempts = rule["MaxAttempts"].as_i64().and_then(|most| i32::try_from(most).ok());
        let delay = |attempt| {
            let backed_off =
                number(&rule["IntervalSeconds"]) * number(&rule["BackoffRate"]).powi(attempt);
            backed_off.min(number(&rule["MaxDelaySeconds"]))
        };
        (0..attempts.unwrap()).map(|attempt| delay(attempt) + timeout).sum::<f64>()
    });
    timeout + again.sum::<f64>()
}

/// The seconds that a state waits at most.
fn longest_wait(name: &str, wait: &Value) -> f64 {
    let capped = wait["Seconds"].as_str().and_then(|text| text.strip_suffix("]) %}"));
    let most = capped.and_then(|text| text.strip_prefix("{% $min([")?.rsplit_once(", "));
    let most = most.and_then(|(_, most)| most.parse::<f64>().ok());
    most.or(wait["Seconds"].as_f64()).unwrap_or_else(|| panic!("{name} waits without a bound"))
}

/// The seconds since the execution's start up to which a choice is taken, if it has such a bound.
fn taken_until(choice: &Value) -> Option<f64> {
    const PASSED: &str = " and $toMillis($states.context.State.EnteredTime) - $toMillis($states.context.Execution.StartTime) < ";
    let (before, bound) = choice["Condition"].as_str()?.split_once(PASSED)?;
    assert!(!before.contains(" or "), "{choice}");
    let millis: f64 = bound.strip_suffix(" %}")?.parse().ok()?;
    Some(millis / 1000.0)
}

/// Asserts of every way through these states that it ends in time.
fn ends_in_time(flow: &Flow, name: &str, begins: f64, latest: &mut BTreeMap<String, f64>) {
    assert!(begins < EXPRESS_SECONDS, "{}.{name} may begin after {begins} s", flow.name);
    // A circle in which time passes comes to the end of it, or to a bound.
    if latest.get(name).is_some_and(|seen| *seen >= begins) {
        return;
    }
    latest.insert(name.to_owned(), begins);
    let state = &flow.states[name];
    let ends = begins
        + match state["Type"].as_str().unwrap() {
            "Task" => longest(state),
            "Wait" => longest_wait(name, state),
            _ => 0.0,
        };
    assert!(ends < EXPRESS_SECONDS, "{}.{name} may end after {ends} s", flow.name);
    for choice in state["Choices"].as_array().into_iter().flatten() {
        let taken = taken_until(choice).map_or(ends, |until| ends.min(until));
        ends_in_time(flow, choice["Next"].as_str().unwrap(), taken, latest);
    }
    let unbounded = Value::from_iter(
        ["Next", "Default", "Catch"].map(|key| (key.to_owned(), state[key].clone())),
    );
    for following in next(&unbounded) {
        ends_in_time(flow, following, ends, latest);
    }
}

#[test]
fn whatever_times_out_in_a_round_is_caught_before_its_express_execution_ends() {
    let rounds: Vec<Flow> = flows().into_iter().filter(|flow| flow.express).collect();
    assert_eq!(rounds.len(), 2);
    for flow in &rounds {
        let mut latest = BTreeMap::new();
        ends_in_time(flow, &flow.start, 0.0, &mut latest);
        assert_eq!(latest.len(), flow.states.len(), "{}: {latest:?}", flow.name);
    }
}
