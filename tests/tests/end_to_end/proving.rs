//! The proof that is meant for real accounts, rehearsed on a local cloud of its own.

use crosspilot_tests::home;
use serde_json::Value;

use crate::command_line::crosspilot;

#[test]
fn the_proof_settles_each_doubt_and_leaves_nothing() {
    let proof = crosspilot(&home()).args(["prove", "--json"]).output().unwrap();
    let said = String::from_utf8_lossy(&proof.stderr);
    let found: Value = serde_json::from_slice(&proof.stdout).expect(&said);
    let doubts = found["doubts"].as_array().unwrap();
    let with = |verdict: &str| -> Vec<&str> {
        let of = doubts.iter().filter(|doubt| doubt["verdict"] == verdict);
        of.filter_map(|doubt| doubt["doubt"].as_str()).collect()
    };
    assert_eq!(with("fails"), Vec::<&str>::new(), "{found:#}");
    // What the local cloud cannot show is said to be open, never to hold.
    let open = [
        "machines-run",
        "denied-probes",
        "training-metrics",
        "volume-key",
        "one-instance-canary",
        "function-time-out",
        "failed-children",
        "dead-run-event",
        "bus-principals",
        "insights-form",
        "throttled-api",
        "gzip-body",
        "untyped-request",
        "control-plane-type",
        "unknown-account",
        "results-key-kms",
        "weighted-columns",
        "missing-data",
    ];
    assert_eq!(with("open"), open, "{found:#}");
    assert_eq!(found["left"], serde_json::json!([]), "{found:#}");
    assert!(proof.status.success(), "{said}");
}

#[test]
fn a_proof_on_aws_wants_a_yes() {
    let mut asked = crosspilot(&home());
    let asked = asked.args(["prove", "--profile", "nobody"]).stdin(std::process::Stdio::null());
    let refused = asked.output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("trains twice") && said.contains("nothing was"), "{said}");
}
