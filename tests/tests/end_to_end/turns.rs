//! Two runs of one model, runs that are redriven, runs that are stopped.

use std::collections::BTreeSet;
use std::time::SystemTime;

use crosspilot_core::aws::s3;
use crosspilot_core::manage::{Action, Report};
use crosspilot_core::registry::{Lineup, RunRecord, Serving};
use crosspilot_core::run::{RunId, RunRef};
use crosspilot_core::session::Sessions;
use crosspilot_core::settings::{Hosting, ModelSettings, Traffic};
use crosspilot_local::LocalCloud;
use crosspilot_sagemaker_local::{Effect, Fault};
use crosspilot_tests::mishaps::Mishaps as _;
use crosspilot_tests::{Customer, churn, on_local_cloud, refusal, saas_user, until};
use serde_json::{Value, json};

use crate::deployment::Scene;
use crate::operations::crosspilot;

const TRAIN: &str = "crosspilot/churn/train/data.csv";

fn run_of(output: &Value) -> RunRef {
    serde_json::from_value(output["run"].clone()).unwrap()
}

async fn set(customer: &Customer, change: impl FnOnce(&mut ModelSettings)) {
    let mut settings = crosspilot_tests::predicting("Churn?");
    change(&mut settings);
    let vendor = customer.cloud.vendor();
    vendor.set_model(&customer.tenant.tenant, &customer.model, &settings).await.unwrap();
}

async fn lineup(customer: &Customer) -> Lineup {
    let registry = &customer.cloud.vendor().registry;
    registry.lineup(&customer.tenant.tenant, &customer.model).await.unwrap()
}

/// Uploads training data, which starts a run.
async fn train(customer: &Customer, text: String) -> String {
    let before = customer.executions().await;
    customer.put(TRAIN, text).await;
    until("the upload starts a run", async || {
        customer.executions().await.into_iter().find(|arn| !before.contains(arn))
    })
    .await
}

/// Something that this customer's calls meet once.
async fn inject(customer: &Customer, operation: &str, about: &str, code: &str, status: u16) {
    customer.strike(operation, &[about], 1, refusal(code, status)).await;
}

#[test]
fn a_redriven_run_keeps_the_columns_that_its_job_was_trained_on() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "redriven-later").await;
        let account = customer.tenant.account.as_str();
        inject(&customer, "CreateEndpointConfig", account, "AccessDeniedException", 400).await;
        let first = train(&customer, churn(700, 1)).await;
        assert_eq!(customer.failed(&first).await["stage"], "deploy");
        let registry = &cloud.vendor().registry;
        let runs = registry.runs(&customer.tenant.tenant, &customer.model).await.unwrap();
        let run = runs[0].run.clone();
        assert_eq!(runs[0].features, ["State", "Calls", "Minutes", "Contract"]);

        // What lies there now has its columns in another order, and too few rows.
        let reordered: String = churn(100, 2)
            .lines()
            .map(|line| {
                let (a, b) = line.split_once(',').unwrap();
                let (b, label) = b.rsplit_once(',').unwrap();
                format!("{b},{a},{label}\n")
            })
            .collect();
        let second = train(&customer, reordered).await;
        assert_eq!(customer.failed(&second).await["code"], "DataUnfit");

        let execution = cloud.vendor().redrive(&run, false).await.unwrap();
        let output = customer.succeeded(&execution).await;
        assert_eq!(run_of(&output), run);
        let record = registry.run(&run).await.unwrap();
        assert_eq!(record.features, ["State", "Calls", "Minutes", "Contract"]);
        assert_eq!(lineup(&customer).await.champion.unwrap().features, record.features);
    });
}

#[test]
fn a_request_to_stop_while_the_endpoint_moves_deploys_nothing_and_stays_on_record() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "stopped-late").await;
        set(&customer, |settings| {
            settings.gate.margin = -10.0;
            let instance_type = "ml.m5.large".to_owned();
            settings.deployment.hosting = Hosting::Instance { instance_type, count: 2 };
            let traffic = Traffic::Canary { percent: 50, wait_seconds: 30 };
            settings.deployment.update.traffic = traffic;
        })
        .await;
        let first = customer.succeeded(&train(&customer, churn(700, 1)).await).await;
        let first = run_of(&first);
        let execution = train(&customer, churn(700, 2)).await;
        let second = until("the endpoint moves", async || {
            if let Some(end) = customer.end_of(&execution).await {
                panic!("it ended first: {:?} {:?} {:?}", end.status(), end.cause(), end.output());
            }
            lineup(&customer).await.challenger.map(|challenger| challenger.run)
        })
        .await;
        let said = crosspilot(&customer, &["run", "stop", &execution]).await;
        assert_eq!((said.code, &said.answer["state"]), (Some(0), &json!("requested")));

        let failure = customer.failed(&execution).await;
        assert_eq!(failure["code"], "RunStopped", "{failure}");
        let after = lineup(&customer).await;
        assert!(after.is_led_by(&first) && after.challenger.is_none(), "{after:?}");
        let sagemaker = cloud.endpoints().sagemaker_of(customer.tenant.account.as_str());
        let endpoint = sagemaker.describe_endpoint().endpoint_name(first.endpoint_name());
        let endpoint = endpoint.send().await.unwrap();
        assert_eq!(endpoint.endpoint_config_name(), Some(first.deployment_name().as_str()));

        let list = crosspilot(&customer, &["run", "list", "stopped-late", "churn"]).await;
        let listed = list.answer.as_array().unwrap();
        let listed = listed.iter().find(|run| run["run"] == second.run_id.as_str()).unwrap();
        assert_eq!(listed["status"], "stopped");
        // A person stopped it: it does not go on by the way.
        let redrive = ["run", "redrive", &execution];
        let refused = crosspilot(&customer, &redrive).await;
        assert_eq!(refused.code, Some(1), "{}", refused.answer);
        assert!(refused.errors.contains("stopped the run at"), "{}", refused.errors);
        assert!(refused.errors.contains("--force"), "{}", refused.errors);
        let forced = crosspilot(&customer, &[&redrive[..], &["--force"]].concat()).await;
        assert_eq!(forced.code, Some(0), "{}", forced.errors);
        assert!(lineup(&customer).await.is_led_by(&second));
        let record = cloud.vendor().registry.run(&second).await.unwrap();
        assert!(record.stop.is_none() && record.overruled.len() == 1, "{record:?}");
        // Its model serves: a request to stop it comes too late, and is not noted.
        let late = cloud.vendor().stop_run(&second).await.unwrap();
        assert!(matches!(late, crosspilot_operator::Stopping::Ended(_)), "{late:?}");
    });
}

/// A run by hand whose execution is this one.
pub(crate) async fn claim(customer: &Customer, id: &str, execution: &str) -> RunRef {
    let record: RunRecord = serde_json::from_value(json!({
        "tenant": customer.tenant.tenant, "model": customer.model, "run_id": id,
        "execution": execution, "features": ["State", "Calls", "Minutes", "Contract"],
        "trigger": {"type": "manual", "time": "2026-01-31T12:00:00Z", "request_id": id},
    }))
    .unwrap();
    customer.cloud.vendor().registry.claim_run(&record).await.unwrap();
    record.run
}

/// Asks `deploy-best` for the endpoint on behalf of a run that has waited long.
async fn deploy(cloud: &'static LocalCloud, run: &RunRef) -> Value {
    let mut app = cloud.vendor().app();
    app.sessions = Sessions::new(&saas_user(cloud).await);
    let request = json!({
        "do": "deploy", "run": run, "job": "j", "candidate": "c", "elapsed_seconds": 1801,
        "score": {"metric": "F1", "value": 0.99},
    });
    let answer = deploy_best::handle(app, serde_json::from_value(request).unwrap()).await;
    serde_json::to_value(answer.unwrap()).unwrap()
}

#[test]
fn a_challenger_is_given_up_when_its_run_has_ended_and_not_because_another_waited() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "given-up").await;
        let execution = train(&customer, churn(700, 1)).await;
        let champion = run_of(&customer.succeeded(&execution).await);
        let registry = &cloud.vendor().registry;
        let other = claim(&customer, "20260131-00000000aa", "by hand").await;
        let waits = claim(&customer, "20260131-00000000bb", "by hand").await;
        let serving = lineup(&customer).await.champion.unwrap();
        let challenger = Serving { run: other.clone(), ..serving };
        let claimed = |lineup: &mut Lineup| {
            lineup.challenge(challenger.clone(), Some(&champion));
            lineup.renew(&other, SystemTime::now());
        };
        registry.change_lineup(&other.tenant, &other.model, claimed).await.unwrap();

        // It claimed the endpoint a moment ago, however long the other has waited.
        let third = claim(&customer, "20260131-00000000cc", "by hand").await;
        for run in [&waits, &third, &waits] {
            let answer = deploy(cloud, run).await;
            assert_eq!(answer["state"], "waiting", "{answer}");
            let reason = answer["reason"].as_str().unwrap();
            assert!(reason.contains("00aa is deploying to the same endpoint"), "{answer}");
            assert!(lineup(&customer).await.is_challenged_by(&other));
        }

        // Nobody works on it any more.
        let ended = |record: &mut RunRecord| record.execution.clone_from(&execution);
        registry.change_run(&other, ended).await.unwrap();
        let answer = deploy(cloud, &waits).await;
        assert!(
            answer["reason"].as_str().unwrap().contains("was given up and put back"),
            "{answer}"
        );
        let after = lineup(&customer).await;
        assert!(after.challenger.is_none() && after.is_led_by(&champion), "{after:?}");
    });
}

#[test]
fn of_three_runs_at_once_one_works_one_waits_and_the_third_is_no_run_of_its_own() {
    on_local_cloud(async |cloud| {
        let scene = Scene::new(cloud, "three-at-once").await;
        let customer = &scene.customer;
        scene.hold_out(churn(200, 9)).await;
        scene
            .set(|settings| {
                settings.gate.margin = -10.0;
                let instance_type = "ml.m5.large".to_owned();
                settings.deployment.hosting = Hosting::Instance { instance_type, count: 2 };
                let traffic = Traffic::Canary { percent: 50, wait_seconds: 20 };
                settings.deployment.update.traffic = traffic;
            })
            .await;
        let first = run_of(&customer.succeeded(&scene.train(churn(700, 1)).await).await);
        let second = scene.train(churn(700, 2)).await;
        let moves = until("the endpoint moves", async || {
            if let Some(end) = customer.end_of(&second).await {
                panic!("it ended first: {:?} {:?} {:?}", end.status(), end.cause(), end.output());
            }
            scene.lineup().await.challenger.map(|challenger| challenger.run)
        })
        .await;
        let third = customer.start("third").await;
        let waits = until("the next one waits", async || {
            let registry = &cloud.vendor().registry;
            let gathering = registry.gathering(&moves.tenant, &moves.model).await.unwrap();
            gathering.waiting.map(|waiting| waiting.place.run)
        })
        .await;
        assert!(scene.lineup().await.is_challenged_by(&moves));
        // The data that it would train on is the data that the waiting one trains on.
        let joined = customer.succeeded(&customer.start("fourth").await).await;
        assert_eq!(
            (&joined["decision"], &joined["run"]["run_id"]),
            (&json!("joined"), &json!(waits))
        );

        // Each is measured against the one before, and not against what served when it began.
        let outputs = [customer.succeeded(&second).await, customer.succeeded(&third).await];
        assert_eq!(run_of(&outputs[0]), moves);
        assert_eq!(outputs[0]["comparison"]["against"], json!(first.run_id));
        let last = run_of(&outputs[1]);
        assert_eq!(
            (&last.run_id, &outputs[1]["comparison"]["against"]),
            (&waits, &json!(moves.run_id))
        );
        assert!(scene.lineup().await.retired.is_empty());
        serves(&scene, &last, &moves).await;
        only_these_are_left(&scene, [&last, &moves]).await;
    });
}

#[test]
fn a_rollback_first_puts_back_a_challenger_that_nobody_works_on() {
    on_local_cloud(async |cloud| {
        let scene = Scene::new(cloud, "stuck").await;
        let customer = &scene.customer;
        scene.set(|settings| settings.gate.margin = -10.0).await;
        let execution = scene.train(churn(700, 1)).await;
        let first = run_of(&customer.succeeded(&execution).await);
        let second = run_of(&customer.succeeded(&scene.train(churn(700, 2)).await).await);

        // A third run's model serves, but the run has not come so far as to promote it.
        let third = claim(customer, "20260131-00000000cc", "by hand").await;
        let registry = &cloud.vendor().registry;
        registry.note_unsettled(&third).await.unwrap();
        let champion = scene.lineup().await.champion.unwrap();
        let challenger = Serving { run: third.clone(), ..champion };
        let claimed = |lineup: &mut Lineup| {
            lineup.challenge(challenger.clone(), Some(&second));
            lineup.renew(&third, SystemTime::now());
        };
        registry.change_lineup(&third.tenant, &third.model, claimed).await.unwrap();
        let sagemaker = scene.sagemaker();
        let served = sagemaker.describe_endpoint_config();
        let served = served.endpoint_config_name(second.deployment_name()).send().await.unwrap();
        sagemaker
            .create_endpoint_config()
            .endpoint_config_name(third.deployment_name())
            .set_production_variants(served.production_variants)
            .send()
            .await
            .unwrap();
        let update = sagemaker.update_endpoint().endpoint_name(scene.endpoint());
        update.endpoint_config_name(third.deployment_name()).send().await.unwrap();
        until("it serves", async || {
            let found = sagemaker.describe_endpoint().endpoint_name(scene.endpoint());
            let found = found.send().await.unwrap();
            let serves = found.endpoint_config_name() == Some(third.deployment_name().as_str());
            (serves && found.endpoint_status().unwrap().as_str() == "InService").then_some(())
        })
        .await;

        // Somebody may be at work on it.
        let rollback = ["rollback", "stuck", "churn"];
        let refused = crosspilot(customer, &rollback).await;
        assert_eq!(refused.code, Some(1), "{}", refused.answer);
        assert!(
            refused.errors.contains("is being deployed; wait for its end"),
            "{}",
            refused.errors
        );
        assert!(scene.lineup().await.is_challenged_by(&third));

        // Nobody is any more.
        let ended = |record: &mut RunRecord| record.execution.clone_from(&execution);
        registry.change_run(&third, ended).await.unwrap();
        let back = crosspilot(customer, &rollback).await;
        assert_eq!(back.code, Some(0), "{}", back.errors);
        assert_eq!(back.answer["serves"], json!(first.run_id));
        serves(&scene, &first, &second).await;

        // What it left goes with the next round.
        let swept = cloud.vendor().manage(&third.tenant, Action::Sweep { run: None }, |_| {});
        assert_eq!(swept.await.unwrap(), Report::Swept { settled: vec![third.run_id] });
        only_these_are_left(&scene, [&first, &second]).await;
    });
}

/// Asserts that one run's model serves, that another's is what a rollback returns to, and that
/// none is on its way.
async fn serves(scene: &Scene, champion: &RunRef, previous: &RunRef) {
    let lineup = scene.lineup().await;
    assert!(lineup.is_led_by(champion) && lineup.challenger.is_none(), "{lineup:?}");
    assert_eq!(lineup.previous.unwrap().run, *previous);
    assert_eq!(scene.serving().await.0, champion.deployment_name());
}

/// Models and endpoint configs of these runs, and of no other, are left.
async fn only_these_are_left(scene: &Scene, runs: [&RunRef; 2]) {
    let names = BTreeSet::from(runs.map(RunRef::deployment_name));
    assert_eq!(scene.left().await, (names.clone(), names));
}

#[test]
fn a_request_that_is_repeated_past_midnight_is_the_same_run() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "midnight").await;
        let trigger = json!({
            "type": "manual", "time": "2026-01-31T23:59:59Z", "request_id": "nightly",
        });
        let (tenant, model) = (customer.tenant.tenant.clone(), customer.model.clone());
        let of = serde_json::from_value(trigger.clone()).unwrap();
        let run_id = RunId::derive(&tenant, &model, &of).unwrap();
        let record = json!({
            "tenant": tenant, "model": model, "run_id": run_id, "execution": "by hand",
            "trigger": trigger,
        });
        let record: RunRecord = serde_json::from_value(record).unwrap();
        cloud.vendor().registry.claim_run(&record).await.unwrap();
        let output = customer.succeeded(&customer.start("nightly").await).await;
        assert_eq!(output["decision"], "duplicate", "{output}");
    });
}

#[test]
fn a_broken_record_hides_no_other_run() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "broken-record").await;
        let run = claim(&customer, "20260131-00000000aa", "by hand").await;
        let broken = "20260101-0000000000";
        s3::Client::new(&saas_user(cloud).await)
            .put_object()
            .bucket(&cloud.vendor().deployment.registry_bucket)
            .key(format!("runs/broken-record/churn/{broken}.json"))
            .body(b"{}".to_vec().into())
            .send()
            .await
            .unwrap();
        let list = crosspilot(&customer, &["run", "list", "broken-record", "churn"]).await;
        assert_eq!(list.code, Some(0), "{}", list.errors);
        assert_eq!(list.answer[0]["run"], run.run_id.as_str());
        assert_eq!(list.answer[1]["run"], broken);
        let reason = list.answer[1]["broken"].as_str().unwrap();
        assert!(reason.contains("missing field"), "{reason}");
        let shown = crosspilot(&customer, &["run", "show", "broken-record", "churn"]).await;
        assert_eq!(shown.answer["run"]["run_id"], run.run_id.as_str(), "{}", shown.errors);
        let shown = crosspilot(&customer, &["run", "show", "broken-record", "churn", broken]).await;
        assert_eq!(shown.code, Some(1));
        assert!(shown.errors.contains("is broken: missing field"), "{}", shown.errors);
    });
}

/// S3 cannot tell yet which of two writes at once counts.
#[test]
fn a_conflict_of_two_writes_is_tried_again_everywhere() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "conflicts").await;
        customer.hold_out(churn(60, 2)).await;
        let code = "ConditionalRequestConflict";
        let rows = format!("{}/crosspilot-results/_rows/churn/", customer.tenant.bucket);
        for about in ["runs/conflicts/churn/", "serving/conflicts/churn.json"] {
            inject(&customer, "s3:PutObject", about, code, 409).await;
        }
        let effect = Effect::Fail { code: code.into(), message: "on demand".into(), status: 409 };
        let about = vec![rows.clone(), "/held-out.csv".to_owned()];
        let fault = Fault { operation: "s3:PutObject".into(), about, after: 0, times: 1, effect };
        cloud.inject(fault).await.unwrap();
        let output = customer.succeeded(&train(&customer, churn(700, 1)).await).await;
        assert_eq!(output["comparison"]["rows"], 60);
        let about = ["runs/conflicts/churn/", "serving/conflicts/churn.json", &rows];
        for about in about {
            assert_eq!(cloud.faults_to_come(about).await.unwrap(), 0, "{about}");
        }
    });
}
