//! Rounds over all tenants, however many there are.

use crosspilot_core::aws::sfn::types::ExecutionStatus;
use crosspilot_tests::fleet::Fleet;
use crosspilot_tests::{on_local_cloud, until};
use serde_json::json;

/// Ten thousand: `cargo run -p crosspilot-tests --example round_bench 10000`.
const TENANTS: usize = 1000;

#[test]
fn a_round_goes_over_all_tenants_and_none_of_them_ends_it() {
    on_local_cloud(async |cloud| {
        let fleet = Fleet::new(cloud, "444444444441", TENANTS, "").await;
        let round = fleet.verify().await;
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
fn a_look_for_idle_endpoints_goes_over_all_tenants_and_fails_if_most_do() {
    on_local_cloud(async |cloud| {
        let fleet = Fleet::new(cloud, "444444444445", 50, "").await;
        let round = fleet.tidy_up(14).await;
        assert_eq!(round.status, ExecutionStatus::Succeeded, "{round:?}");
        let counted = (&round.output["tenants"], &round.output["failed"]);
        assert_eq!(counted, (&json!(50), &json!(1)), "{round:?}");
        let told = round.output["told"].as_array().unwrap();
        assert_eq!(told.len(), 1, "{round:?}");
        assert_eq!(told[0]["tenant"], "t13", "{round:?}");
        assert!(round.events < 30, "{round:?}");
        let round = fleet.tidy_up(0).await;
        assert_eq!(round.status, ExecutionStatus::Failed, "{round:?}");
        assert_eq!(round.output["error"], "RoundFailed", "{round:?}");
    });
}

#[test]
fn a_run_that_is_left_unsettled_again_is_measured_and_ends_no_round() {
    on_local_cloud(async |cloud| {
        let fleet = Fleet::new(cloud, "444444444446", 1, "").await;
        assert_eq!(fleet.measured(cloud, "RunsLeftUnsettled").await, None);
        let well = fleet.sweep(&["t1", "t14"]).await;
        assert_eq!(well.status, ExecutionStatus::Succeeded, "{well:?}");
        let counted = ["tenants", "failed", "waiting"].map(|name| &well.output[name]);
        assert_eq!(counted, [&json!(2), &json!(0), &json!(0)], "{well:?}");
        assert_eq!(fleet.measured(cloud, "RunsLeftUnsettled").await, Some(0.0));
        let round = fleet.sweep(&["t13"]).await;
        assert_eq!(round.status, ExecutionStatus::Succeeded, "{round:?}");
        assert_eq!((&round.output["tenants"], &round.output["failed"]), (&json!(3), &json!(1)));
        assert_eq!(fleet.measured(cloud, "RunsLeftUnsettled").await, Some(1.0));

        let mute = Fleet::new(cloud, "444444444447", 1, "cloudwatch:PutMetricData").await;
        let round = mute.sweep(&["t1"]).await;
        assert_eq!(round.output["error"], "CloudWatch.CloudWatchException", "{round:?}");
    });
}

#[test]
fn nothing_but_a_look_is_done_for_all_tenants_at_once() {
    on_local_cloud(async |cloud| {
        let vendor = cloud.vendor();
        let machine = &vendor.deployment.manage_state_machine;
        let client = vendor.step_functions();
        let ended = async |input: serde_json::Value| {
            let start = client.start_execution().state_machine_arn(machine);
            let execution = start.input(input.to_string()).send().await.unwrap().execution_arn;
            until("the round ends", async || {
                let found = client.describe_execution().execution_arn(&execution).send().await;
                found.ok().filter(|found| found.status != ExecutionStatus::Running)
            })
            .await
        };
        let refused = ended(json!({"action": "remove"})).await;
        assert_eq!(refused.error(), Some("RequestInvalid"), "{refused:?}");
        // The vendor's own role allows what a round needs. Other tests may have broken
        // the trust of most of their tenants.
        let looked = ended(json!({"action": "tidy_up", "days": 14})).await;
        let rounded = looked.status == ExecutionStatus::Succeeded;
        assert!(rounded || looked.error() == Some("RoundFailed"), "{looked:?}");
    });
}

#[test]
fn a_machine_starts_no_round_that_its_role_does_not_allow() {
    on_local_cloud(async |cloud| {
        for (account, without, error) in [
            ("444444444442", "states:StartExecution", "States.Permissions"),
            ("444444444443", "s3:ListBucket", "States.ItemReaderFailed"),
        ] {
            let round = Fleet::new(cloud, account, 1, without).await.verify().await;
            assert_eq!(round.status, ExecutionStatus::Failed, "{round:?}");
            assert_eq!(round.output["error"], error, "{round:?}");
        }
        let round =
            Fleet::new(cloud, "444444444444", 1, "lambda:InvokeFunction").await.verify().await;
        assert_eq!(round.output["error"], "Lambda.AWSLambdaException", "{round:?}");
    });
}
