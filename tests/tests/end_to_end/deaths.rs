//! Functions that die, executions that die, accounts out of reach: a run always
//! ends with an event and an outcome, and nothing of it is left that bills.

use std::process::Command;

use crosspilot_core::aws::sagemaker::Client as SageMaker;
use crosspilot_core::registry::Outcome;
use crosspilot_core::run::RunRef;
use crosspilot_core::tenant::{Limits, TenantStatus};
use crosspilot_local::accounts::{REGION, SAAS_ACCOUNT};
use crosspilot_local::{LocalCloud, functions};
use crosspilot_operator::Removal;
use crosspilot_sagemaker_local::{Death, Effect, Fault};
use crosspilot_tests::mishaps::Mishaps as _;
use crosspilot_tests::{
    Customer, TRUST, all, assert_failed, churn, home_of, on_local_cloud, onboarding, refusal, until,
};
use serde_json::{Value, json};

use crate::operations::crosspilot;

/// The request of a state machine to a function in one state: texts of its payload.
struct Step {
    asked: &'static [&'static str],
    /// The death of the function, at each attempt.
    death: Effect,
    /// The stage at which the run then ends; none if it goes on.
    stage: Option<&'static str>,
}

const fn step(asked: &'static [&'static str], death: Effect, stage: Option<&'static str>) -> Step {
    Step { asked, death, stage }
}

/// Each state of a run that asks a function, and a way to die for it: before it
/// did anything, or after it did it all.
const STEPS: &[Step] = &[
    step(&["crosspilot-assume {\"execution\""], Effect::Die(Death::Unknown), Some("assume")),
    step(&["crosspilot-assume {\"execution\""], Effect::Lose, Some("assume")),
    step(&["\"gather\""], Effect::Die(Death::Killed), None),
    step(&["crosspilot-start-job"], Effect::Die(Death::Killed), Some("start-job")),
    step(&["crosspilot-start-job"], Effect::Lose, Some("start-job")),
    step(&["crosspilot-check-status", "\"job\""], Effect::Die(Death::TimedOut), None),
    step(&["\"do\": \"register\""], Effect::Die(Death::Killed), Some("register")),
    step(&["\"do\": \"score\""], Effect::Lose, Some("score")),
    step(&["crosspilot-check-status", "\"transform\""], Effect::Die(Death::Unanswered), None),
    step(&["\"do\": \"compare\""], Effect::Die(Death::Unanswered), Some("compare")),
    step(&["\"do\": \"deploy\""], Effect::Lose, Some("deploy")),
    step(&["crosspilot-check-status", "\"endpoint\""], Effect::Die(Death::Unknown), None),
    step(&["\"do\": \"conclude\""], Effect::Die(Death::TimedOut), Some("predict")),
    step(&["\"do\": \"settle\""], Effect::Die(Death::Unknown), None),
];

/// Tells whether a step is the last, after which nothing of the run's purpose is left.
fn settles(step: &Step) -> bool {
    step.asked[0].contains("settle")
}

/// A function is asked so often before it is given up.
const ATTEMPTS: u32 = 3;
/// The same of a tenant's part in a round, whose execution is an express one.
const IN_A_ROUND: u32 = 2;

fn dies(customer: &Customer, asked: &[&str], death: Effect) -> Fault {
    // An upload is told by its bucket until its tenant has been found.
    let ours = if asked[0].starts_with("crosspilot-assume") {
        format!("\"{}\"", customer.tenant.bucket)
    } else {
        format!("\"tenant\": \"{}\"", customer.tenant.tenant)
    };
    let about = [ours].into_iter().chain(asked.iter().map(|text| (*text).to_owned())).collect();
    Fault { operation: "lambda:Invoke".into(), about, after: 0, times: ATTEMPTS, effect: death }
}

fn sagemaker(customer: &Customer) -> SageMaker {
    customer.cloud.endpoints().sagemaker_of(customer.tenant.account.as_str())
}

/// Jobs that have not ended, endpoints, configs and models.
async fn left(customer: &Customer) -> Vec<String> {
    let client = sagemaker(customer);
    let ended = |status: &str| matches!(status, "Completed" | "Failed" | "Stopped");
    let mut left = Vec::new();
    let jobs = client.list_auto_ml_jobs().send().await.unwrap();
    let jobs = jobs.auto_ml_job_summaries().iter();
    let jobs = jobs.filter(|job| !ended(job.auto_ml_job_status().unwrap().as_str()));
    left.extend(jobs.map(|job| job.auto_ml_job_name().unwrap().to_owned()));
    let transforms = client.list_transform_jobs().send().await.unwrap();
    let transforms = transforms.transform_job_summaries().iter();
    let transforms = transforms.filter(|job| !ended(job.transform_job_status().unwrap().as_str()));
    left.extend(transforms.map(|job| job.transform_job_name().unwrap().to_owned()));
    let endpoints = client.list_endpoints().send().await.unwrap();
    left.extend(endpoints.endpoints().iter().map(|e| e.endpoint_name().unwrap().to_owned()));
    let configs = client.list_endpoint_configs().send().await.unwrap();
    let configs = configs.endpoint_configs().iter();
    left.extend(configs.map(|c| c.endpoint_config_name().unwrap().to_owned()));
    let models = client.list_models().send().await.unwrap();
    left.extend(models.models().iter().map(|model| model.model_name().unwrap().to_owned()));
    left
}

/// The one event of this type about an execution or a run.
async fn event(customer: &Customer, detail_type: &str, about: &str) -> Value {
    let events = customer.cloud.authority().events(SAAS_ACCOUNT, REGION).await.unwrap();
    let ours = events.iter().filter(|e| e.detail_type == detail_type && e.detail.contains(about));
    let ours: Vec<_> = ours.collect();
    assert_eq!(ours.len(), 1, "{detail_type} of {about}");
    serde_json::from_str(&ours[0].detail).unwrap()
}

pub(crate) async fn runs(customer: &Customer) -> Vec<crosspilot_core::registry::RunRecord> {
    let registry = &customer.cloud.vendor().registry;
    registry.runs(&customer.tenant.tenant, &customer.model).await.unwrap()
}

async fn unsettled(customer: &Customer) -> Vec<RunRef> {
    let registry = &customer.cloud.vendor().registry;
    registry.unsettled(Some(&customer.tenant.tenant)).await.unwrap()
}

/// The run ended in the failure path, which told everybody.
async fn failed(customer: &Customer, execution: &str) -> Value {
    let failure = customer.failed(execution).await;
    let told = event(customer, "Crosspilot Run Failed", execution).await;
    assert_eq!(told["failure"], failure);
    if let Some(record) = runs(customer).await.pop() {
        let Some(Outcome::Failed { stage, code, cause, .. }) = record.outcome else {
            panic!("{:?} is no failure: {failure}", record.outcome)
        };
        assert_eq!(json!({"stage": stage, "code": code, "cause": cause}), failure);
        assert_eq!(told["run"], serde_json::to_value(&record.run).unwrap());
    }
    failure
}

/// A customer whose uploads start a run that is scored on held-out rows.
async fn with_held_out(cloud: &'static LocalCloud, name: &str) -> Customer {
    let customer = Customer::new(cloud, name).await;
    customer.hold_out(churn(60, 2)).await;
    customer
}

#[test]
fn a_function_that_dies_at_any_step_ends_the_run_with_an_event_an_outcome_and_nothing_left() {
    on_local_cloud(async |cloud| {
        let steps = STEPS.iter().enumerate().map(|(number, step)| async move {
            let customer = with_held_out(cloud, &format!("dies-{number}")).await;
            let fault = dies(&customer, step.asked, step.death.clone());
            let struck = fault.about[0].clone();
            cloud.inject(fault).await.unwrap();
            customer.give_training_data().await;
            let execution = customer.first_execution().await;
            match step.stage {
                Some(stage) => {
                    let failure = failed(&customer, &execution).await;
                    assert_eq!(failure["stage"], stage, "{failure}");
                    let dead = ["FunctionTimedOut", "FunctionDied"];
                    assert!(dead.contains(&failure["code"].as_str().unwrap()), "{failure}");
                    let cause = failure["cause"].as_str().unwrap();
                    assert!(cause.starts_with("the function ") && !cause.contains('{'), "{cause}");
                }
                None => {
                    let output = customer.succeeded(&execution).await;
                    let run = output["run"]["run_id"].as_str().unwrap();
                    let told = event(&customer, "Crosspilot Run Completed", run).await;
                    assert_eq!(told["run"], output["run"]);
                    let outcome = runs(&customer).await.pop().unwrap().outcome;
                    let Some(Outcome::Completed { warnings, .. }) = outcome else {
                        panic!("{:?}: {outcome:?}", step.asked)
                    };
                    // The model serves: that it could not be cleared up after is a warning.
                    let said = warnings.iter().any(|told| told.contains("could not be settled"));
                    assert_eq!(said, settles(step), "{:?}: {warnings:?}", step.asked);
                }
            }
            assert_eq!(cloud.faults_to_come(&struck).await.unwrap(), 0, "{:?}", step.asked);
            let serves = step.stage.is_none();
            let found = left(&customer).await;
            assert_eq!(found.len(), if serves { 3 } else { 0 }, "{:?}: {found:?}", step.asked);
            // What was not settled, or never known to have begun, is found by the next
            // round.
            if !unsettled(&customer).await.is_empty() {
                assert!(settles(step) || step.stage == Some("assume"), "{:?}", step.asked);
                let _alone = ROUNDS.lock().await;
                sweep(cloud).await;
                assert_eq!(unsettled(&customer).await, []);
                assert_eq!(left(&customer).await, found);
            }
        });
        all(steps).await;
    });
}

/// A round finds what other tests have left to be found: it is held by all whose
/// runs are left unsettled until they have looked.
static ROUNDS: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The hourly round over all tenants with runs that are not settled.
async fn sweep(cloud: &LocalCloud) -> Value {
    let vendor = cloud.vendor();
    let client = vendor.step_functions();
    let machine = &vendor.deployment.manage_state_machine;
    let round = client.start_execution().state_machine_arn(machine);
    let arn = round.input(r#"{"action": "sweep"}"#).send().await.unwrap().execution_arn;
    let output = until("the round ends", async || {
        let found = client.describe_execution().execution_arn(&arn).send().await.unwrap();
        assert_ne!(found.status().as_str(), "FAILED", "{:?}", found.cause());
        found.output
    })
    .await;
    serde_json::from_str(&output).unwrap()
}

/// Gives what a round says of a customer.
fn of<'a>(round: &'a Value, customer: &Customer) -> &'a Value {
    let answers = round["told"].as_array().unwrap();
    let ours = answers.iter().find(|answer| answer["tenant"] == customer.tenant.tenant.as_str());
    ours.unwrap_or_else(|| panic!("nothing about {} in {round}", customer.tenant.tenant))
}

/// A customer whose job takes long, and the run that trains.
async fn training(cloud: &'static LocalCloud, name: &str) -> (Customer, String, RunRef) {
    let mut onboarding = onboarding(name);
    onboarding.limits = Limits { max_candidates: 100, max_runtime_seconds: 600 };
    let customer = Customer::with(cloud, onboarding).await;
    customer.put("crosspilot/churn/train/data.csv", churn(20_000, 1)).await;
    let execution = customer.first_execution().await;
    until("the job trains", async || (!left(&customer).await.is_empty()).then_some(())).await;
    let run = runs(&customer).await.remove(0).run;
    (customer, execution, run)
}

async fn job_status(customer: &Customer, run: &RunRef) -> String {
    let found = sagemaker(customer).describe_auto_ml_job_v2().auto_ml_job_name(run.job_name());
    found.send().await.unwrap().auto_ml_job_status().unwrap().as_str().to_owned()
}

/// An event is tried five times, and then the run ends without it.
const EVENT_ATTEMPTS: u32 = 5;

#[test]
fn a_run_ends_and_stands_on_record_whether_or_not_the_bus_takes_its_event() {
    on_local_cloud(async |cloud| {
        let cases = [
            ("told-late", "Crosspilot Run Completed", EVENT_ATTEMPTS - 1),
            ("told-never", "Crosspilot Run Completed", EVENT_ATTEMPTS),
            ("failed-told-late", "Crosspilot Run Failed", EVENT_ATTEMPTS - 1),
            ("failed-told-never", "Crosspilot Run Failed", EVENT_ATTEMPTS),
        ];
        let cases = cases.map(|(name, event, times)| async move {
            let customer = Customer::new(cloud, name).await;
            let lost = refusal("EventBridge.FailedEntry", 500);
            customer.strike("events:PutEvents", &[name, event], times, lost).await;
            let good = event.ends_with("Completed");
            let rows = if good { 700 } else { 10 };
            customer.put("crosspilot/churn/train/data.csv", churn(rows, 1)).await;
            let execution = customer.first_execution().await;
            if good {
                customer.succeeded(&execution).await;
            } else {
                customer.failed(&execution).await;
            }
            assert_eq!(cloud.faults_to_come(name).await.unwrap(), 0, "{name}");
            let outcome = runs(&customer).await.pop().unwrap().outcome.unwrap();
            assert_eq!(matches!(outcome, Outcome::Completed { .. }), good, "{name}: {outcome:?}");
            assert_eq!(unsettled(&customer).await, [], "{name}");
            let events = cloud.authority().events(SAAS_ACCOUNT, REGION).await.unwrap();
            let told = events.iter().any(|e| e.detail_type == event && e.detail.contains(name));
            assert_eq!(told, times < EVENT_ATTEMPTS, "{name}");
        });
        all(cases).await;
    });
}

#[test]
fn a_tenant_that_is_suspended_while_its_job_trains_has_it_stopped_at_the_next_look() {
    on_local_cloud(async |cloud| {
        let (customer, execution, run) = training(cloud, "suspended-midway").await;
        let id = &customer.tenant.tenant;
        cloud.vendor().set_status(id, TenantStatus::Suspended).await.unwrap();
        let failure = failed(&customer, &execution).await;
        assert_failed(&failure, "train", "TenantInactive");
        assert_eq!(job_status(&customer, &run).await, "Stopped");
        assert_eq!(left(&customer).await, Vec::<String>::new());
        assert_eq!(unsettled(&customer).await, []);
    });
}

#[test]
fn a_job_out_of_reach_is_remembered_and_stopped_when_it_is_in_reach_again() {
    on_local_cloud(async |cloud| {
        let (customer, execution, run) = training(cloud, "out-of-reach").await;
        let no = || Effect::Fail {
            code: "AccessDeniedException".into(),
            message: "not now".into(),
            status: 400,
        };
        let _alone = ROUNDS.lock().await;
        // The look, the settlement, and the first round.
        let fault = Fault {
            operation: "DescribeAutoMLJobV2".into(),
            about: vec![customer.tenant.account.to_string(), run.job_name()],
            after: 0,
            times: 3,
            effect: no(),
        };
        cloud.inject(fault).await.unwrap();
        let failure = failed(&customer, &execution).await;
        assert_failed(&failure, "train", "AccessDenied");
        assert_eq!(unsettled(&customer).await, std::slice::from_ref(&run));
        let first = sweep(cloud).await;
        assert_eq!(of(&first, &customer)["code"], "AccessDenied", "{first}");
        assert_eq!(job_status(&customer, &run).await, "InProgress");
        let second = sweep(cloud).await;
        assert_eq!(of(&second, &customer)["report"]["swept"]["settled"], json!([run.run_id]));
        assert_eq!(job_status(&customer, &run).await, "Stopped");
        assert_eq!(unsettled(&customer).await, []);
    });
}

#[test]
fn a_job_of_a_tenant_that_was_let_go_of_is_stopped_once_its_account_is_in_reach_again() {
    on_local_cloud(async |cloud| {
        let (customer, execution, run) = training(cloud, "let-go").await;
        let account = customer.tenant.account.as_str();
        let denied = || refusal("AccessDeniedException", 400);
        let _alone = ROUNDS.lock().await;
        // The look and the settlement, and then the removal's look.
        customer.strike("DescribeAutoMLJobV2", &[account, &run.job_name()], 2, denied()).await;
        failed(&customer, &execution).await;
        customer.strike("ListAutoMLJobs", &[account], 1, denied()).await;
        let (vendor, id) = (cloud.vendor(), &customer.tenant.tenant);
        let by_force = Removal { force: true, ..Removal::default() };
        let (tenant, _) = vendor.remove_tenant(id, by_force, |_| {}).await.unwrap();
        assert_eq!(tenant.status.as_str(), "deleted");
        assert_eq!(job_status(&customer, &run).await, "InProgress");

        // Who lets nobody in any more is no alarm's.
        customer.strike("DescribeAutoMLJobV2", &[account, &run.job_name()], 1, denied()).await;
        let round = sweep(cloud).await;
        assert_eq!(of(&round, &customer)["state"], "done", "{round}");
        assert_eq!(unsettled(&customer).await, std::slice::from_ref(&run));
        sweep(cloud).await;
        assert_eq!(job_status(&customer, &run).await, "Stopped");
        assert_eq!(unsettled(&customer).await, []);
    });
}

#[test]
fn an_execution_that_was_aborted_says_so_and_its_job_is_stopped_by_hand_or_by_the_next_round() {
    on_local_cloud(async |cloud| {
        let (first, execution, run) = training(cloud, "aborted-one").await;
        let (second, other, other_run) = training(cloud, "aborted-two").await;
        let _alone = ROUNDS.lock().await;
        let client = cloud.vendor().step_functions();
        for arn in [&execution, &other] {
            client.stop_execution().execution_arn(arn).send().await.unwrap();
        }
        let shown = crosspilot(&first, &["run", "show", "aborted-one", "churn"]).await;
        let failure = &shown.answer["failure"];
        assert_eq!((&failure["status"], &failure["code"]), (&json!("ABORTED"), &json!("ABORTED")));
        let cause = failure["cause"].as_str().unwrap();
        assert!(cause.starts_with("somebody stopped its execution"), "{cause}");
        let stopped = crosspilot(&first, &["run", "stop", "aborted-one", "churn"]).await;
        assert_eq!(stopped.answer["state"], "requested", "{} {}", stopped.answer, stopped.errors);
        until("the job has stopped", async || {
            (job_status(&first, &run).await == "Stopped").then_some(())
        })
        .await;
        let stopped = crosspilot(&first, &["run", "stop", "aborted-one", "churn"]).await;
        assert_eq!(stopped.answer["state"], "ended", "{}", stopped.answer);

        // The first one's function dies: the round goes on for the other.
        let fault = dies(&first, &["crosspilot-deploy-best"], Effect::Die(Death::Unknown));
        cloud.inject(Fault { times: IN_A_ROUND, ..fault }).await.unwrap();
        let round = sweep(cloud).await;
        assert_eq!(of(&round, &first)["code"], "Lambda.Unknown", "{round}");
        assert_eq!(of(&round, &second)["state"], "done", "{round}");
        assert_eq!(job_status(&second, &other_run).await, "Stopped");
        sweep(cloud).await;
        assert_eq!(unsettled(&first).await, []);
        assert_eq!(left(&first).await, Vec::<String>::new());
    });
}

#[test]
fn a_function_that_dies_for_one_tenant_leaves_the_round_of_proofs_to_the_others() {
    on_local_cloud(async |cloud| {
        let _alone = TRUST.lock().await;
        let sick = Customer::new(cloud, "probe-dies").await;
        // What the round says of its neighbour shows in what becomes of it.
        let condition =
            "              StringEquals:\n                sts:ExternalId: !Ref ExternalId\n";
        let mut onboarding = onboarding("probe-shows");
        assert_eq!(onboarding.template.matches(condition).count(), 1);
        onboarding.template = onboarding.template.replace(condition, "");
        let neighbour = Customer::with(cloud, onboarding).await;
        let (sick, neighbour) = (&sick.tenant.tenant, &neighbour.tenant.tenant);
        let vendor = cloud.vendor();
        let probed = format!("crosspilot-assume {{\"look\": \"{sick}\"}}");
        for death in [Death::Unknown, Death::Unanswered] {
            vendor.set_status(neighbour, TenantStatus::Active).await.unwrap();
            cloud
                .inject(Fault {
                    operation: "lambda:Invoke".into(),
                    about: vec![probed.clone()],
                    after: 0,
                    times: IN_A_ROUND,
                    effect: Effect::Die(death),
                })
                .await
                .unwrap();
            let round = crate::trust::round(cloud).await;
            assert_eq!(cloud.faults_to_come(&probed).await.unwrap(), 0);
            assert!(round.suspended.contains(neighbour), "{round:?}");
            let status = vendor.registry.tenant(sick).await.unwrap().status;
            assert_eq!(status, TenantStatus::Active);
        }
    });
}

#[test]
fn an_operators_run_that_fails_while_it_trains_has_its_job_stopped_and_its_outcome_noted() {
    on_local_cloud(async |cloud| {
        let mut onboarding = onboarding("unfinished");
        onboarding.limits = Limits { max_candidates: 100, max_runtime_seconds: 600 };
        let customer = Customer::with(cloud, onboarding).await;
        let id = &customer.tenant.tenant;
        // The upload's own run must not train.
        cloud.vendor().set_status(id, TenantStatus::Suspended).await.unwrap();
        customer.put("crosspilot/churn/train/data.csv", churn(30_000, 1)).await;
        customer.failed(&customer.first_execution().await).await;
        cloud.vendor().set_status(id, TenantStatus::Active).await.unwrap();
        let fault = Fault {
            operation: "DescribeAutoMLJobV2".into(),
            about: vec![customer.tenant.account.to_string()],
            after: 1,
            times: 1,
            effect: Effect::Fail {
                code: "AccessDeniedException".into(),
                message: "not now".into(),
                status: 400,
            },
        };
        cloud.inject(fault).await.unwrap();
        let home = home_of(cloud);
        let mut command = Command::new(functions::binaries().unwrap().join("crosspilot"));
        command.args(["--profile", "saas_user", "operate", "unfinished", "churn"]);
        command.env("AWS_CONFIG_FILE", home.join("aws/config"));
        command.env("AWS_SHARED_CREDENTIALS_FILE", home.join("aws/credentials"));
        let ended = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let errors = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{errors}");
        assert!(errors.contains("AccessDenied"), "{errors}");
        let record = runs(&customer).await.pop().unwrap();
        let Some(Outcome::Failed { stage, code, .. }) = &record.outcome else {
            panic!("{:?}: {errors}", record.outcome)
        };
        assert_eq!((stage.as_str(), code.as_str()), ("train", "AccessDenied"));
        assert_eq!(job_status(&customer, &record.run).await, "Stopped", "{errors}");
        assert_eq!(left(&customer).await, Vec::<String>::new());
        assert_eq!(unsettled(&customer).await, []);
    });
}
