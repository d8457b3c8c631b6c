//! The local cloud itself: what it refuses as AWS does, and what it keeps for its
//! next start.

use std::path::Path;

use crosspilot_core::aws::sagemaker::error::ProvideErrorMetadata;
use crosspilot_core::registry::Change;
use crosspilot_core::tenant::Network;
use crosspilot_tests::{Customer, home, home_of, on_local_cloud, onboarding};
use serde_json::{Value, json};

use crate::command_line::{crosspilot, link_emulator};

/// Runs a command that has to succeed. Gives what it printed.
fn run(home: &Path, arguments: &[&str]) -> String {
    let output = crosspilot(home).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn json_of(home: &Path, arguments: &[&str]) -> Value {
    serde_json::from_str(&run(home, arguments)).unwrap()
}

/// The prediction API's answer to one of the demo's customers.
fn ask(endpoints: &Value, token: &str) -> (u16, Value) {
    let url = format!("{}/v1/models/churn/predictions", endpoints["api"].as_str().unwrap());
    let body = json!({ "records": [{ "Tenure": 12, "CustServ Calls": 5 }] });
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let request = crosspilot_tests::http().post(url).bearer_auth(token.trim());
        let answer = request.json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    })
}

#[test]
fn with_subnets_given_everything_runs_in_them_or_not_at_all() {
    on_local_cloud(async |cloud| {
        let network = |subnet: &str| Network {
            subnets: vec![subnet.into()],
            security_groups: vec!["sg-0123abcd".into()],
        };
        let mut onboarding = onboarding("in-subnets");
        onboarding.network = Some(network("subnet-0123abcd"));
        let customer = Customer::with(cloud, onboarding).await;
        customer.give_training_data().await;
        let output = customer.succeeded(&customer.first_execution().await).await;
        assert_eq!(output["deployment"]["decision"]["verdict"], "deploy");

        // A vendor that goes elsewhere is stopped by the customer's template.
        for elsewhere in [None, Some(network("subnet-4567abcd"))] {
            let change = Change { by: "test", action: "network" };
            let registry = &cloud.vendor().registry;
            let edit = |tenant: &mut crosspilot_core::tenant::Tenant| {
                tenant.network.clone_from(&elsewhere);
            };
            registry.change_tenant(&customer.tenant.tenant, change, edit).await.unwrap();
            let request = if elsewhere.is_some() { "elsewhere" } else { "nowhere" };
            let failure = customer.failed(&customer.start(request).await).await;
            assert_eq!(failure["stage"], "start-job", "{failure}");
            assert!(failure["cause"].as_str().unwrap().contains("explicit deny"), "{failure}");
        }
    });
}

#[test]
fn whoever_has_the_state_file_can_make_calls_go_wrong() {
    on_local_cloud(async |cloud| {
        let home = home_of(cloud);
        let state = std::fs::read_to_string(home.join("local/state.json")).unwrap();
        let state: Value = serde_json::from_str(&state).unwrap();
        let endpoint = state["endpoints"]["sagemaker"].as_str().unwrap();
        let fault = json!({ "operation": "ListTransformJobs", "times": 3, "effect": "throttle" });
        let inject = async |token: &str| {
            let request = crosspilot_tests::http().post(format!("{endpoint}/_crosspilot/faults"));
            let request = request.header("x-crosspilot-token", token).json(&fault);
            request.send().await.unwrap().status().as_u16()
        };
        assert_eq!(inject("another").await, 403);
        assert_eq!(inject(state["token"].as_str().unwrap()).await, 204);
        let sagemaker = cloud.endpoints().sagemaker_of("555555555555");
        let refused = sagemaker.list_transform_jobs().send().await.unwrap_err();
        assert_eq!(refused.code(), Some("ThrottlingException"), "{refused:?}");
        sagemaker.list_transform_jobs().send().await.unwrap();
    });
}

#[test]
fn a_kept_cloud_goes_on_where_it_was() {
    let home = home().join("keeping");
    let _ = std::fs::remove_dir_all(&home);
    link_emulator(&home);
    let up = ["local", "up", "--detach", "--keep-state"];
    run(&home, &up);
    let first = json_of(&home, &["demo", "--json"]);
    let token = run(&home, &["local", "token"]);
    let endpoints = json_of(&home, &["local", "status", "--json"])["endpoints"].clone();
    let (_, before) = ask(&endpoints, &token);
    run(&home, &["local", "down"]);

    run(&home, &up);
    let again = json_of(&home, &["local", "status", "--json"])["endpoints"].clone();
    assert_eq!(again, endpoints);
    // Without training again, and with the token of then.
    let (status, after) = ask(&endpoints, &token);
    assert_eq!(status, 200, "{after}");
    assert_eq!(after["predictions"], before["predictions"]);
    assert_eq!(after["version"], before["version"]);
    assert_eq!(json_of(&home, &["tenant", "show", "acme", "--json"])["status"], "active");

    // And it trains again: the event, the functions and the state machine are there.
    let second = json_of(&home, &["demo", "--json"]);
    assert_eq!(second["execution"]["status"], "SUCCEEDED");
    assert_ne!(second["execution"]["arn"], first["execution"]["arn"]);
    let runs = json_of(&home, &["run", "list", "acme", "churn", "--json"]);
    assert_eq!(runs.as_array().unwrap().len(), 2, "{runs}");
    run(&home, &["local", "down"]);
    std::fs::remove_dir_all(&home).unwrap();
}

#[test]
fn a_kept_cloud_that_cannot_go_on_says_why() {
    let home = home().join("keeping-not");
    let _ = std::fs::remove_dir_all(&home);
    let kept = home.join("kept");
    std::fs::create_dir_all(&kept).unwrap();
    let refusal = |text: &str| {
        std::fs::write(kept.join("kept.json"), text).unwrap();
        let up = crosspilot(&home).args(["local", "up", "--keep-state", "--port", "4"]).output();
        let output = up.unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(refusal("not JSON").contains("kept.json"));
    let other = r#"{"ports": {"emulator": 1, "sagemaker": 2, "identity": 3}, "release": "0",
        "signer": {"issuer": "", "key": ""}}"#;
    let other = refusal(other);
    assert!(other.contains("another release") && other.contains("remove the directory"), "{other}");
    std::fs::remove_dir_all(&home).unwrap();
}
