//! A deployment anew, with other parameters or after a deletion.

use std::collections::BTreeSet;
use std::time::SystemTime;

use crosspilot_core::aws::cloudformation::types::{Capability, Parameter};
use crosspilot_core::aws::sfn::types::{ExecutionListItem, ExecutionStatus};
use crosspilot_core::aws::{cloudformation, s3, scheduler};
use crosspilot_core::verification::Verification;
use crosspilot_local::accounts::SAAS_ACCOUNT;
use crosspilot_local::cloud::{ARTIFACTS, SAAS_STACK};
use crosspilot_local::stacks::{self, StackError, Template};
use crosspilot_local::{LocalCloud, Options};
use crosspilot_operator::Vendor;
use crosspilot_sagemaker_local::{Effect, Fault};
use crosspilot_tests::mishaps::Mishaps as _;
use crosspilot_tests::{churn, home, onboarding, predicting, until, vendor_side};
use serde_json::{Value, json};

/// Deploys the vendor's stack anew, with another value of a parameter.
async fn deploy(cloud: &LocalCloud, parameter: &str, value: u32) {
    let config = cloud.customer(&SAAS_ACCOUNT.parse().unwrap());
    let client = cloudformation::Client::new(&config);
    let kept = ["JwtIssuer", "JwtAudience", "CreateOperators"]
        .map(|key| Parameter::builder().parameter_key(key).use_previous_value(true).build());
    let changed = Parameter::builder().parameter_key(parameter);
    let changed = changed.parameter_value(value.to_string()).build();
    let update = client.update_stack().stack_name(SAAS_STACK).use_previous_template(true);
    let update = update.set_parameters(Some([kept.to_vec(), vec![changed]].concat()));
    let capabilities = [Capability::CapabilityNamedIam, Capability::CapabilityAutoExpand];
    update.set_capabilities(Some(capabilities.to_vec())).send().await.unwrap();
    until("the stack is updated", async || {
        let found = client.describe_stacks().stack_name(SAAS_STACK).send().await.unwrap();
        let status = found.stacks()[0].stack_status().unwrap().as_str().to_owned();
        assert!(!status.contains("ROLLBACK") && !status.contains("FAILED"), "{status}");
        (status == "UPDATE_COMPLETE").then_some(())
    })
    .await;
}

#[test]
fn an_execution_keeps_the_functions_that_it_started_with() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        // A cloud of its own: the one that tests share is not changed under them.
        let cloud = LocalCloud::start(&Options::new(home()), |_| {}).await.unwrap();
        cloud.onboard(&onboarding("upgraded")).await.unwrap();
        let vendor = cloud.vendor();
        let client = vendor.step_functions();
        let machine = &vendor.deployment.verify_state_machine;
        let described = async || {
            client.describe_state_machine().state_machine_arn(machine).send().await.unwrap()
        };
        let calls = |definition: &str, version: u32| {
            definition.contains(&format!(":function:crosspilot-assume:{version}\""))
        };
        let before = described().await;
        assert!(calls(before.definition(), 1), "{}", before.definition());

        // No code has changed, but what the function knows has.
        deploy(&cloud, "TrustProofSeconds", 7).await;
        let after = described().await.definition;
        assert!(calls(&after, 2) && !calls(&after, 1), "{after}");

        // Step Functions runs an execution with the definition that it began with:
        // what that calls is there, and still allowed.
        let former = client.create_state_machine().name("begun-before");
        let former = former.definition(before.definition()).role_arn(before.role_arn());
        let former = former.send().await.unwrap().state_machine_arn;
        let start = client.start_execution().state_machine_arn(former);
        let start = start.input(json!({"tenant": "upgraded"}).to_string());
        let execution = start.send().await.unwrap().execution_arn;
        let ended = until("the execution ends", async || {
            let found = client.describe_execution().execution_arn(&execution).send().await;
            found.ok().filter(|found| found.status != ExecutionStatus::Running)
        })
        .await;
        let output: Value = serde_json::from_str(ended.output().unwrap_or_default()).unwrap();
        assert_eq!(output[0]["verdict"], "proven", "{ended:?}");

        // And back: it is a version of its own again.
        deploy(&cloud, "TrustProofSeconds", 300).await;
        let back = described().await.definition;
        assert!(calls(&back, 3), "{back}");
        cloud.stop().await;
    });
}

/// The registry outlives its stack: the tenants, whose external IDs nobody else knows.
#[test]
fn a_vendors_stack_that_is_made_anew_takes_up_the_registry_of_the_one_before() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let cloud = LocalCloud::start(&Options::new(home()), |_| {}).await.unwrap();
        let tenant = cloud.onboard(&onboarding("outlives")).await.unwrap();
        let mut settings = predicting("Churn?");
        settings.schedule = Some("rate(7 days)".into());
        let model = "churn".parse().unwrap();
        cloud.vendor().set_model(&tenant.tenant, &model, &settings).await.unwrap();

        let saas = cloud.customer(&SAAS_ACCOUNT.parse().unwrap());
        // The local cloud's own stack, with the key of the user that it deletes.
        for stack in ["operator-key", SAAS_STACK] {
            stacks::delete(&saas, stack).await.unwrap();
        }
        let url = format!("https://s3.us-east-1.amazonaws.com/{ARTIFACTS}/saas.yaml");
        let made = async |adopt: &str| {
            let issuer = cloud.signer().issuer().to_owned();
            let parameters =
                [("JwtIssuer", issuer.as_str()), ("JwtAudience", "a"), ("AdoptRegistry", adopt)];
            stacks::deploy(&saas, SAAS_STACK, Template::Url(&url), &parameters).await
        };
        // Nothing is made beside the registry that is there.
        let refused = made("false").await.unwrap_err();
        assert!(matches!(refused, StackError::Failed { .. }), "{refused}");
        stacks::delete(&saas, SAAS_STACK).await.unwrap();
        made("true").await.unwrap();

        let vendor = Vendor::connect(saas.clone(), SAAS_STACK).await.unwrap();
        let kept = vendor.registry.tenant(&tenant.tenant).await.unwrap();
        assert_eq!(kept.external_id.as_str(), tenant.external_id.as_str());
        // What is not in the registry is made again from it.
        let schedules = async || {
            let client = scheduler::Client::new(&saas);
            let list = client.list_schedules().group_name(&vendor.deployment.schedule_group);
            let list = list.send().await.unwrap();
            let names = list.schedules().iter().filter_map(|schedule| schedule.name());
            names.filter(|name| name.contains("outlives")).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(schedules().await, Vec::<String>::new());
        vendor.repair(&kept).await.unwrap();
        assert_eq!(schedules().await.len(), 1);
        let verdict = vendor.verify(&tenant.tenant).await.unwrap();
        assert!(matches!(verdict, Verification::Proven { .. }), "{verdict:?}");
        // The new bus hears the customer's bucket, once its rule leads there.
        let s3 = s3::Client::new(&cloud.customer(&tenant.account));
        let put = s3.put_object().bucket(tenant.bucket.as_str());
        let put = put.key("crosspilot/churn/train/a.csv").body(churn(100, 1).into_bytes().into());
        put.send().await.unwrap();
        let client = vendor.step_functions();
        until("the upload starts a run", async || {
            let list = client.list_executions();
            let list = list.state_machine_arn(&vendor.deployment.state_machine).send().await;
            let list = list.unwrap().executions;
            let ended =
                |execution: &ExecutionListItem| *execution.status() != ExecutionStatus::Running;
            (!list.is_empty() && list.iter().all(ended)).then_some(())
        })
        .await;
        // Nothing of what was uploaded stands in this vendor's account, either.
        let found = vendor_side::since(&cloud, SystemTime::UNIX_EPOCH).await;
        assert_eq!(vendor_side::cells(&found), BTreeSet::new());
        cloud.stop().await;
    });
}

#[test]
fn predictions_above_what_is_reserved_for_them_are_turned_away_and_everything_else_goes_on() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        // A cloud of its own, of which nothing else asks predictions.
        let cloud = LocalCloud::start(&Options::new(home()), |_| {}).await.unwrap();
        let tenant = cloud.onboard(&onboarding("crowded")).await.unwrap();
        deploy(&cloud, "PredictConcurrency", 1).await;
        let url = format!("{}/v1/models/churn/predictions", cloud.endpoints().api);
        let token = cloud.signer().token("crowded").unwrap();
        let ask = || {
            let request = crosspilot_tests::http().post(&url).bearer_auth(&token);
            let request = request.header("content-type", "application/json");
            let answer = request.body(json!({"records": [{"a": 1}]}).to_string()).send();
            async { answer.await.unwrap() }
        };
        // Whoever is let in is at it for a while.
        let slow = Fault {
            operation: "s3:GetObject".into(),
            about: vec!["tenants/crowded.json".into()],
            after: 0,
            times: 1,
            effect: Effect::Delay(8000),
        };
        cloud.inject(slow).await.unwrap();
        let first = tokio::spawn(ask());
        until("one is at work", async || {
            (cloud.faults_to_come("tenants/crowded.json").await.unwrap() == 0).then_some(())
        })
        .await;
        let turned_away = ask().await;
        assert_eq!(turned_away.status(), 503);
        assert_eq!(turned_away.text().await.unwrap(), r#"{"message":"Service Unavailable"}"#);
        // The functions of runs and rounds have what they had.
        let verdict = cloud.vendor().verify(&tenant.tenant).await.unwrap();
        assert!(matches!(verdict, Verification::Proven { .. }), "{verdict:?}");
        assert!(!first.is_finished(), "it was at work all the time");
        // There is no such model: the function has said so.
        assert_eq!(first.await.unwrap().status(), 404);
        assert_eq!(ask().await.status(), 404);
        cloud.stop().await;
    });
}
