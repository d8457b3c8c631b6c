//! Rounds over all tenants, however many there are.

use crosspilot_core::aws::sfn::types::ExecutionStatus;
use crosspilot_tests::fleet::Fleet;
use crosspilot_tests::on_local_cloud;
use serde_json::json;

/// Ten thousand: `cargo run -p crosspilot-tests --example round_bench 10000`.
const TENANTS: usize = 1000;

#[test]
fn a_round_goes_over_all_tenants_and_none_of_them_ends_it() {
    on_local_cloud(async |cloud| {
        let fleet = Fleet::new(cloud, "444444444441", TENANTS, "").await;
        let round = fleet.round().await;
        assert_eq!(round.status, ExecutionStatus::Succeeded, "{round:?}");
        let expected = json!({"proven": TENANTS - 2, "unproven": 1, "refused": ["t7"]});
        assert_eq!(round.output, expected);
        assert_eq!(round.counts["total"], TENANTS as i64);
        assert_eq!(round.counts["succeeded"], TENANTS as i64);
        assert!((1..=40).contains(&round.at_a_time), "{round:?}");
        // No tenant adds to it: each has a history of its own.
        assert!(round.events < 30, "{round:?}");
    });
}

#[test]
fn a_machine_starts_no_round_that_its_role_does_not_allow() {
    on_local_cloud(async |cloud| {
        for (account, without, error) in [
            ("444444444442", "states:StartExecution", "States.Permissions"),
            ("444444444443", "s3:ListBucket", "States.ItemReaderFailed"),
        ] {
            let round = Fleet::new(cloud, account, 1, without).await.round().await;
            assert_eq!(round.status, ExecutionStatus::Failed, "{round:?}");
            assert_eq!(round.output["error"], error, "{round:?}");
        }
        let round =
            Fleet::new(cloud, "444444444444", 1, "lambda:InvokeFunction").await.round().await;
        assert_eq!(round.output["error"], "Lambda.AWSLambdaException", "{round:?}");
    });
}
