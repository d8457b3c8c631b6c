//! The agreement of the state machine and the handlers: what it says to them, and what it takes
//! from their answers, are their own types.

use std::collections::BTreeSet;

use assume::Started;
use crosspilot_core::decision::{Basis, Comparison, Decision, Figures, GateVerdict, Score};
use crosspilot_core::failure;
use crosspilot_core::manage::{self, ManageRequest, Progress, Report};
use crosspilot_core::polling::Waiting;
use crosspilot_core::run::RunRef;
use crosspilot_evaluation::{Concluded, Scored, Summary};
use crosspilot_hosting::{Action, Deployed, Deployment, Registered, Settled};
use crosspilot_intake::Admission;
use crosspilot_training::{Best, ObservedFailure, Phase};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// The states that train.
fn states() -> Map<String, Value> {
    crate::state_machine::states("train").1
}

fn run() -> RunRef {
    let run = json!({"tenant": "acme", "model": "churn", "run_id": "20260131-0123456789"});
    serde_json::from_value(run).unwrap()
}

fn score() -> Score {
    Score { metric: Some("F1".into()), value: Some(0.9), smaller_is_better: false }
}

fn comparison() -> Comparison {
    Comparison {
        held_out: Some("s3://acme-ml/test.csv".into()),
        rows: 200,
        metric: Some("F1".into()),
        unknown_labels: 1,
        smaller_is_better: false,
        challenger: Some(0.9),
        champion: Some(0.8),
        baseline: Some(0.5),
        against: Some("20260101-0123456789".parse().unwrap()),
        reason: Some("none".into()),
    }
}

fn deployment() -> Deployment {
    let figures = Figures {
        basis: Basis::HeldOut,
        metric: "F1".into(),
        smaller_is_better: false,
        challenger: 0.9,
        champion: Some(0.8),
        baseline: Some(0.5),
        margin: 0.0,
        minimum: Some(0.5),
    };
    Deployment {
        decision: Decision {
            verdict: GateVerdict::Deploy,
            reason: "better".into(),
            figures: Some(figures),
            note: Some("none".into()),
        },
        candidate: "c".into(),
        score: score(),
        endpoint: "crosspilot-acme-churn".into(),
        config: Some("crosspilot-acme-churn-0123456789".into()),
        action: Some(Action::Updated),
    }
}

fn value(response: impl serde::Serialize) -> Value {
    serde_json::to_value(response).unwrap()
}

fn waiting() -> Waiting {
    Waiting { reason: "busy".into(), wait_seconds: 5 }
}

fn quota() -> Waiting {
    Waiting { reason: "quota".into(), wait_seconds: 5 }
}

/// Every kind of answer that a task's handler gives.
fn answers(task: &str) -> Vec<Value> {
    match task {
        "Assume" => vec![
            value(Started::Run {
                run: run(),
                account: "222222222222".parse().unwrap(),
                region: "us-east-1".parse().unwrap(),
                max_runtime_seconds: 900,
            }),
            value(Started::Duplicate { run: run(), execution: "arn".into() }),
            value(Started::Joined { run: run(), execution: "arn".into() }),
            value(Started::Ignored { key: "k".into() }),
        ],
        "Gather" => vec![
            value(Admission::Go),
            value(Admission::Waiting(Waiting {
                wait_seconds: 60,
                reason: "uploads still come".into(),
            })),
        ],
        "StartJob" => vec![
            value(start_job::Response::Started(start_job::Started {
                job: "crosspilot-churn-0123456789".into(),
                training_data: "s3://acme-ml/crosspilot/churn/train/".into(),
                rows: Some(700),
                rows_exact: true,
                set_aside: Some(140),
                features: 4,
                warnings: vec![],
                more_warnings: 0,
                preflight_uri: "s3://acme-ml/crosspilot-results/churn/r/preflight.json".into(),
            })),
            value(start_job::Response::Waiting(quota())),
        ],
        "CheckJob" | "CheckScores" | "CheckEndpoint" => {
            let response = |phase, failure| {
                value(check_status::Response {
                    phase,
                    status: "InProgress".into(),
                    secondary_status: Some("TrainingModels".into()),
                    candidates: Some(2),
                    best: Some(Best { name: "c".into(), metric: None, value: None }),
                    failure,
                    wait_seconds: 5,
                })
            };
            let failure =
                || Some(ObservedFailure { code: "RunStopped".into(), cause: "so".into() });
            vec![
                response(Phase::InProgress, None),
                response(Phase::Succeeded, None),
                response(Phase::Failed, failure()),
                response(Phase::Stopped, failure()),
                // What the catcher of a look that failed puts in its place.
                json!({"phase": "unseen", "code": "Throttled", "cause": "none"}),
            ]
        }
        "RegisterModel" => {
            vec![value(Registered { candidate: "c".into(), score: score(), model: "m".into() })]
        }
        "Score" => vec![
            value(Scored::Scoring { transform: "t".into(), rows: 200 }),
            value(Scored::Unscored { comparison: comparison() }),
            value(Scored::Waiting(quota())),
        ],
        "Compare" => vec![value(comparison())],
        "DeployBest" => vec![
            value(Deployed::Kept(deployment())),
            value(Deployed::Deploying(deployment())),
            value(Deployed::Waiting(waiting())),
            value(Deployed::Outdated),
        ],
        "Conclude" => vec![value(Concluded {
            evaluation: Some(Summary::default()),
            predicted: 200,
            predictions_uri: Some("s3://p".into()),
            evaluation_uri: "s3://e".into(),
            report_uri: "s3://r".into(),
        })],
        "Settle" => vec![
            value(Settled::Settled {
                removed: vec!["model m".into()],
                warnings: vec!["none".into()],
            }),
            value(Settled::Waiting(waiting())),
        ],
        "NoteCompletion" => {
            vec![value(assume::Response::Noted { noted: true, run: Some(run()), failure: None })]
        }
        "NoteFailure" => {
            let failure = Some(failure::Failure::read("train", "NoCandidate", "none"));
            vec![value(assume::Response::Noted { noted: true, run: Some(run()), failure })]
        }
        other => panic!("{other} has no sample"),
    }
}

/// Gives what the machine's variables hold once they are set.
fn variable(name: &str) -> Value {
    match name {
        "run" => value(run()),
        "job" | "transform" => json!("crosspilot-churn-0123456789"),
        "limit" | "since" => json!(2700),
        "remarks" => json!(["none"]),
        "warnings" => json!([{"code": "LeakyColumn", "message": "column \"a\" gives it away"}]),
        "failure" => json!({"stage": "train", "code": "NoCandidate", "cause": "none"}),
        "challenger" => answers("RegisterModel").remove(0),
        "comparison" => value(comparison()),
        "deployment" => value(Deployed::Deploying(deployment())),
        "prediction" => answers("Conclude").remove(0),
        other => panic!("${other} has no sample"),
    }
}

/// An expression as Step Functions would fill it in. Only what the machine uses.
fn evaluate(expression: &str) -> Value {
    let inner = expression.trim_start_matches("{%").trim_end_matches("%}").trim();
    if inner.starts_with("($toMillis($now()) - $since)") {
        return json!(12.5);
    }
    match inner.trim_start_matches('$') {
        "now()" => json!("2026-01-31T12:00:00Z"),
        "failure != null" => json!(true),
        "min([$limit, 43200])" => variable("limit"),
        "states.context.Execution.Input" => evaluate("{% $states.input %}"),
        "states.input.tenant" => json!("acme"),
        "states.input.model" => json!("churn"),
        "states.context.Execution.Id" => json!("arn:aws:states:us-east-1:1:execution:t:x"),
        "states.input" => json!({
            "tenant": "acme", "model": "churn",
            "trigger": {"type": "manual", "time": "2026-01-31T12:00:00Z", "request_id": "r"},
        }),
        path => {
            let (name, fields) = path.split_once('.').unwrap_or((path, ""));
            let fields = fields.split('.').filter(|field| !field.is_empty());
            fields.fold(variable(name), |value, field| {
                assert!(!value[field].is_null(), "{path} does not exist");
                value[field].clone()
            })
        }
    }
}

fn filled(template: &Value) -> Value {
    match template {
        Value::String(text) if text.starts_with("{%") => evaluate(text),
        Value::Object(map) => {
            Value::Object(map.iter().map(|(key, value)| (key.clone(), filled(value))).collect())
        }
        other => other.clone(),
    }
}

fn handlers() -> Vec<(String, Value)> {
    let is_handler = |state: &Value| {
        state["Resource"].as_str().is_some_and(|resource| resource.ends_with("lambda:invoke"))
    };
    states().into_iter().filter(|(_, state)| is_handler(state)).collect()
}

/// All texts of a value, keys left out.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(map) => map.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

/// The paths that follow `prefix` in an expression.
fn paths(expression: &str, prefix: &str) -> Vec<String> {
    let end = |c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.');
    let after = expression.split(prefix).skip(1);
    let path = after.map(|rest| rest.split(end).next().unwrap_or_default().to_owned());
    path.filter(|path| !path.is_empty()).collect()
}

fn exists(value: &Value, path: &str) -> bool {
    path.split('.').try_fold(value, |value, field| value.get(field)).is_some()
}

fn read<T: DeserializeOwned>(name: &str, payload: Value) -> T {
    serde_json::from_value(payload.clone())
        .unwrap_or_else(|error| panic!("{name}: {error}: {payload}"))
}

#[test]
fn every_request_is_read_by_its_handler() {
    for (name, state) in handlers() {
        let payload = filled(&state["Arguments"]["Payload"]);
        match state["Arguments"]["FunctionName"].as_str().unwrap() {
            "${AssumeFunctionArn}" => drop(read::<assume::Request>(&name, payload)),
            "${StartJobFunctionArn}" => drop(read::<start_job::Request>(&name, payload)),
            "${CheckStatusFunctionArn}" => drop(read::<check_status::Request>(&name, payload)),
            "${DeployBestFunctionArn}" => drop(read::<deploy_best::Request>(&name, payload)),
            "${PredictFunctionArn}" => {
                let request = read::<predict::Request>(&name, payload);
                assert!(!matches!(request, predict::Request::Api(_)), "{name}");
            }
            other => panic!("{name} calls {other}"),
        }
    }
}

#[test]
fn whatever_is_taken_from_an_answer_is_in_it() {
    let all = states();
    for (name, state) in handlers() {
        let mut answers = answers(&name);
        // A catcher answers in the task's place.
        let caught = state["Catch"].as_array().into_iter().flatten();
        answers.extend(caught.map(|rule| rule["Output"].clone()));
        // What the task takes itself, and what the states after it take of its output
        // before another task gives its own.
        let mut taken: BTreeSet<String> =
            texts(&state).iter().flat_map(|text| paths(text, "$states.result.Payload.")).collect();
        let mut open = vec![state["Next"].as_str().unwrap().to_owned()];
        let mut seen = BTreeSet::new();
        while let Some(next) = open.pop() {
            let state = &all[&next];
            let is_task = state["Type"] == "Task";
            if is_task || !seen.insert(next) {
                continue;
            }
            taken.extend(texts(state).iter().flat_map(|text| paths(text, "$states.input.")));
            open.extend(crate::state_machine::next(state).into_iter().map(str::to_owned));
        }
        for path in taken {
            assert!(answers.iter().any(|answer| exists(answer, &path)), "{name}: {path}");
        }
    }
}

#[test]
fn whatever_is_taken_from_a_variable_is_in_it() {
    let names = ["challenger", "deployment", "prediction", "comparison"];
    for (name, state) in states() {
        for text in texts(&state) {
            for variable_name in names {
                for path in paths(&text, &format!("${variable_name}.")) {
                    assert!(exists(&variable(variable_name), &path), "{name}: {path}");
                }
            }
        }
    }
}

#[test]
fn every_state_that_an_answer_names_is_told_apart() {
    let all = states();
    for (name, state) in handlers() {
        let choice = &all[state["Next"].as_str().unwrap()];
        let conditions: Map<String, Value> = match choice["Choices"].as_array() {
            Some(rules) => {
                rules.iter().map(|r| (r["Condition"].to_string(), Value::Null)).collect()
            }
            None => continue,
        };
        for answer in answers(&name) {
            let Some(kind) = ["state", "phase"].iter().find_map(|key| answer[*key].as_str()) else {
                continue;
            };
            let named = conditions.keys().any(|condition| condition.contains(&format!("'{kind}'")));
            // One kind may be what is left.
            let left = matches!(
                (name.as_str(), kind),
                ("Gather", "go")
                    | ("StartJob", "started")
                    | ("Score", "waiting")
                    | ("DeployBest", "waiting")
                    | ("Settle", "settled")
                    | (_, "in_progress")
                    | ("CheckEndpoint", "stopped")
            );
            assert!(named || left, "{name} answers {kind}");
        }
    }
}

#[test]
fn the_machines_over_all_tenants_speak_their_handlers_language() {
    let acme = || "acme".parse().unwrap();
    let of_action = "{% $states.input.action = 'sweep' ? 'unsettled/' : 'tenants/' %}";
    for (machine, prefix) in [("verify", "tenants/"), ("manage", of_action)] {
        let (_, states) = crate::state_machine::states(machine);
        let each = &states["EachTenant"];
        let reader = json!({
            "Resource": "arn:${Partition}:states:::s3:listObjectsV2",
            "Arguments": {"Bucket": "${RegistryBucketName}", "Prefix": prefix},
        });
        assert_eq!(each["ItemReader"], reader, "{machine}");
        assert_eq!(each["ItemProcessor"]["ProcessorConfig"]["Mode"], "DISTRIBUTED", "{machine}");
        assert!(each["MaxConcurrency"].as_u64().is_some_and(|most| most > 0), "{machine}");
        assert_eq!(each["ToleratedFailurePercentage"], 100, "{machine}");
    }

    let (_, verify) = crate::state_machine::states("verify");
    let payload = &verify["ProbeOne"]["Arguments"]["Payload"];
    assert_eq!(payload, &json!({"verify": "{% $states.input.tenant %}"}));
    let request = read("verify", json!({"verify": "acme"}));
    assert!(matches!(request, assume::Request::Verify(tenant) if tenant == acme()));
    let (_, probe) = crate::state_machine::states("verify.EachTenant");
    let payload = &probe["Probe"]["Arguments"]["Payload"];
    assert_eq!(payload, &json!({"look": "{% $states.input.tenant %}"}));
    let request = read("verify", json!({"look": "acme"}));
    assert!(matches!(request, assume::Request::Look(tenant) if tenant == acme()));
    // What the probes answer, and what is noted for one without an answer.
    let payload = &verify["Judge"]["Arguments"]["Payload"];
    assert_eq!(payload, &json!({"judge": "{% $states.input %}"}));
    let seen =
        [value(crosspilot_trust::Probed::Proven), value(crosspilot_trust::Probed::Refused(acme()))];
    let unproven = &probe["Probe"]["Catch"][0]["Output"];
    let request = read("verify", json!({"judge": [seen[0], seen[1], unproven]}));
    assert!(matches!(request, assume::Request::Judge(seen) if seen.len() == 3));

    let (_, manage) = crate::state_machine::states("manage");
    let (_, each) = crate::state_machine::states("manage.EachTenant");
    for act in [&manage["Act"], &each["ActForAll"], &each["LookForAll"]] {
        let payload = act["Arguments"]["Payload"].as_str().unwrap();
        assert!(payload.contains("[$states.input, {'do': 'manage', 'begun': "), "{payload}");
    }
    let selected = manage["EachTenant"]["ItemSelector"].as_str().unwrap();
    assert!(selected.contains("[$states.input, {'tenant': "), "{selected}");
    assert!(selected.contains("'run': "), "{selected}");
    let (model, run_id) = (run().model, run().run_id);
    for action in [
        manage::Action::Stop { run: run_id.clone(), model: model.clone() },
        manage::Action::RollBack { model: model.clone(), to: run_id },
        manage::Action::Remove { model: Some(model), artifacts: true },
        manage::Action::TakeStock { days: 14 },
        manage::Action::TidyUp { days: 14 },
        manage::Action::Sweep { run: Some(run().run_id) },
    ] {
        let mut ask = value(ManageRequest { tenant: acme(), action, begun: false });
        let expected: ManageRequest = serde_json::from_value(ask.clone()).unwrap();
        // The schedule names no tenant.
        ask.as_object_mut().unwrap().retain(|key, _| !["tenant", "begun"].contains(&key.as_str()));
        ask["do"] = json!("manage");
        ask["tenant"] = json!("acme");
        ask["begun"] = json!(false);
        let request = read("manage", ask);
        assert!(matches!(request, deploy_best::Request::Manage(ask) if ask == expected));
    }
    let waiting = Progress::Waiting { wait_seconds: 5, doing: "it is removed".into() };
    let idle = Progress::Done { report: Report::Idle { endpoints: vec![] } };
    let swept = Progress::Done { report: Report::Swept { settled: vec![] } };
    let given = json!({"tenant": "acme", "action": "tidy_up", "days": 14});
    let counted = json!({"tenants": 2, "failed": 1, "waiting": 0, "told": []});
    let answers = [value(waiting), value(idle), value(swept), given, counted];
    for (name, state) in each.iter().chain(&manage) {
        for path in texts(state).iter().flat_map(|text| paths(text, "$states.input.")) {
            assert!(answers.iter().any(|answer| exists(answer, &path)), "{name}: {path}");
        }
    }
    assert_eq!(answers[0]["state"], "waiting");
}

#[test]
fn the_machine_that_evaluates_speaks_its_handlers_language() {
    let (_, states) = crate::state_machine::states("evaluate");
    let payload = filled(&states["Evaluate"]["Arguments"]["Payload"]);
    let request = read::<predict::Request>("Evaluate", payload);
    assert!(
        matches!(request, predict::Request::Step(predict::RunStep::Evaluate(_))),
        "{request:?}"
    );
    let told = crosspilot_evaluation::Told {
        tenant: run().tenant,
        model: run().model,
        run_id: run().run_id,
        rows: 200,
        metric: Some("F1".into()),
        value: Some(0.6),
        smaller_is_better: false,
        reason: None,
        minimum: Some(0.7),
        below_minimum: true,
        report_uri: "s3://r".into(),
    };
    let evaluated = value(crosspilot_evaluation::Evaluated::Evaluated(told));
    assert_eq!(evaluated["state"], "evaluated");
    let nothing =
        value(crosspilot_evaluation::Evaluated::Nothing { reason: "nothing serves yet".into() });
    // What an upload starts it with.
    let input = json!({"tenant": "acme", "model": "churn", "after": 1_769_860_800});
    for (name, state) in states {
        for path in texts(&state).iter().flat_map(|text| paths(text, "$states.input.")) {
            let known =
                [&evaluated, &nothing, &input].into_iter().any(|answer| exists(answer, &path));
            assert!(known, "{name}: {path}");
        }
    }
}
