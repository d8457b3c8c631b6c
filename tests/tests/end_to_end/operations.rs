//! Operating models: stop, show, roll back, remove, what it costs, what is idle.

use std::process::Command;
use std::time::Duration;

use crosspilot_core::aws::applicationautoscaling;
use crosspilot_core::aws::applicationautoscaling::types::ServiceNamespace;
use crosspilot_core::aws::sagemaker::Client;
use crosspilot_core::aws::sagemaker::types::{ProductionVariant, ProductionVariantInstanceType};
use crosspilot_core::error::{Code, Coded};
use crosspilot_core::manage::{Action, Report};
use crosspilot_core::registry::{Lineup, OwnCalls, RunRecord, Serving};
use crosspilot_core::run::RunRef;
use crosspilot_core::settings::{ModelSettings, Scaling};
use crosspilot_core::tenant::Limits;
use crosspilot_core::verification::Verification;
use crosspilot_local::accounts::{REGION, SAAS_ACCOUNT};
use crosspilot_local::functions;
use crosspilot_operator::{Removal, Removed};
use crosspilot_sagemaker_local::{Effect, Fault};
use crosspilot_tests::data::request;
use crosspilot_tests::mishaps::Mishaps as _;
use crosspilot_tests::{Customer, all, churn, home_of, on_local_cloud, onboarding, refusal, until};
use serde_json::{Value, json};

use crate::turns::claim;

/// The output of a command: its exit code, its answer, its other words.
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) answer: Value,
    pub(crate) errors: String,
}

/// The command line, with an answer in JSON.
pub(crate) async fn crosspilot(customer: &Customer, arguments: &[&str]) -> Said {
    let mut command = Command::new(functions::binaries().unwrap().join("crosspilot"));
    command.arg("--home").arg(home_of(customer.cloud)).args(arguments).arg("--json");
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    Said {
        code: output.status.code(),
        answer: serde_json::from_slice(&output.stdout).unwrap_or_default(),
        errors: String::from_utf8(output.stderr).unwrap(),
    }
}

fn sagemaker(customer: &Customer) -> Client {
    customer.cloud.endpoints().sagemaker_of(customer.tenant.account.as_str())
}

/// The run of an execution that has ended well.
async fn trained(customer: &Customer, execution: &str) -> RunRef {
    let output = customer.succeeded(execution).await;
    assert_eq!(output["deployment"]["decision"]["verdict"], "deploy", "{output}");
    serde_json::from_value(output["run"].clone()).unwrap()
}

/// A customer whose every retraining is deployed.
async fn with_easy_gate(customer: &Customer, change: impl Fn(&mut ModelSettings)) {
    let mut settings = crosspilot_tests::predicting("Churn?");
    settings.gate.margin = -1.0;
    change(&mut settings);
    let id = &customer.tenant.tenant;
    customer.cloud.vendor().set_model(id, &customer.model, &settings).await.unwrap();
}

/// The version that the prediction API answers with.
async fn version(customer: &Customer) -> (u16, Value) {
    let record = request(1);
    let (status, answer) = customer.ask(&customer.token(), "churn", &record).await;
    (status, if status == 200 { answer["version"].clone() } else { answer })
}

/// Step Functions tells of an execution a while after it was started.
#[test]
fn what_was_started_a_moment_ago_need_not_show_yet() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "unseen-yet").await;
        let unseen = async |execution: &str| {
            let effect = refusal("ExecutionDoesNotExist", 400);
            customer.strike("states:DescribeExecution", &[execution], 2, effect).await;
        };
        let vendor = cloud.vendor();
        let tenant = &customer.tenant.tenant;
        for machine in [":execution:crosspilot-verify:", ":execution:crosspilot-manage:"] {
            unseen(machine).await;
        }
        let verdict = vendor.verify(tenant).await.unwrap();
        assert!(matches!(verdict, Verification::Proven { .. }), "{verdict:?}");
        vendor.manage(tenant, Action::TakeStock { days: 1 }, |_| {}).await.unwrap();
        // Nothing is there to train on: it ends soon.
        let run = customer.start("unseen").await;
        // Every test asks once for every execution: not when it is not to be seen.
        customer.first_execution().await;
        unseen(&run).await;
        let said = crosspilot(&customer, &["run", "watch", &run]).await;
        assert!(said.errors.contains("DataUnfit"), "{} {}", said.answer, said.errors);
        for about in [":execution:crosspilot-verify:", ":execution:crosspilot-manage:", &run] {
            assert_eq!(cloud.faults_to_come(about).await.unwrap(), 0, "{about}");
        }
    });
}

#[test]
fn a_stopped_run_has_its_job_stopped_in_the_customers_account() {
    on_local_cloud(async |cloud| {
        let limits = Limits { max_candidates: 250, max_runtime_seconds: 3600 };
        let customer =
            Customer::with(cloud, crosspilot_local::Onboarding { limits, ..onboarding("stopped") })
                .await;
        customer.give_training_data().await;
        let execution = customer.first_execution().await;
        let sagemaker = sagemaker(&customer);
        let job = until("a job runs", async || {
            let jobs = sagemaker.list_auto_ml_jobs().send().await.unwrap();
            let name = jobs.auto_ml_job_summaries().first()?.auto_ml_job_name()?.to_owned();
            Some(name)
        })
        .await;
        let shown = crosspilot(&customer, &["run", "show", &execution]).await;
        assert_eq!(shown.answer["status"], "running", "{}", shown.errors);
        assert_eq!(shown.answer["job"], job);

        let said = crosspilot(&customer, &["run", "stop", "stopped", "churn"]).await;
        assert_eq!(said.code, Some(0), "{}", said.errors);
        assert_eq!(said.answer["state"], "requested");
        assert_eq!(said.answer["job"]["name"], job);
        // The execution's own look may have read the request and stopped it first.
        let status = said.answer["job"]["status"].as_str();
        assert!(matches!(status, Some("Stopping" | "Stopped")), "{}", said.answer);
        until("the job is stopped", async || {
            let found = sagemaker.describe_auto_ml_job_v2().auto_ml_job_name(&job).send().await;
            (found.unwrap().auto_ml_job_status().unwrap().as_str() == "Stopped").then_some(())
        })
        .await;
        let runs = cloud.vendor().registry.runs(&customer.tenant.tenant, &customer.model).await;
        let record = runs.unwrap().pop().unwrap();
        assert!(record.stop.unwrap().by.contains(":root"));

        assert_eq!(customer.failed(&execution).await["code"], "RunStopped");
        let watched = crosspilot(&customer, &["run", "watch", &execution]).await;
        assert_eq!(watched.code, Some(3), "{}", watched.errors);
        assert_eq!(names(&customer, "crosspilot-stopped-").await, Vec::<String>::new());
        let again = crosspilot(&customer, &["run", "stop", "stopped", "churn"]).await;
        assert_eq!((again.code, &again.answer["state"]), (Some(0), &json!("ended")));
        let nobody = crosspilot(&customer, &["run", "stop", "stopped", "chrun"]).await;
        assert_eq!(nobody.code, Some(1));
        assert!(nobody.errors.contains("has no run yet of model chrun"), "{}", nobody.errors);
        assert_eq!(crosspilot(&customer, &["run", "stop", "stopped"]).await.code, Some(2));
    });
}

#[test]
fn a_run_that_failed_is_shown_with_stage_code_and_cause() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "shown").await;
        customer.put("crosspilot/churn/train/data.csv", churn(100, 1)).await;
        let execution = customer.first_execution().await;
        customer.failed(&execution).await;
        let watched = crosspilot(&customer, &["run", "watch", "shown", "churn"]).await;
        assert_eq!(watched.code, Some(3), "{}", watched.errors);
        let shown = crosspilot(&customer, &["run", "show", "shown", "churn"]).await.answer;
        assert_eq!(shown["status"], "failed");
        assert_eq!(shown["execution"], execution);
        assert_eq!(shown["trigger"]["type"], "upload");
        assert_eq!(
            (&shown["failure"]["stage"], &shown["failure"]["code"]),
            (&json!("start-job"), &json!("DataUnfit"))
        );
        assert!(shown["seconds"]["start-job"].is_f64(), "{shown}");
        assert_eq!(shown["serves_now"], Value::Null);
        let list = crosspilot(&customer, &["run", "list", "shown", "churn"]).await.answer;
        assert_eq!(list[0]["run"], shown["run"]["run_id"]);
        assert_eq!(list[0]["status"], "failed");

        // After 90 days Step Functions has forgotten the execution.
        let run: RunRef = serde_json::from_value(shown["run"].clone()).unwrap();
        let forgotten = format!("{execution}-forgotten");
        let forget = |record: &mut RunRecord| record.execution = forgotten.clone();
        cloud.vendor().registry.change_run(&run, forget).await.unwrap();
        let shown = crosspilot(&customer, &["run", "show", "shown", "churn"]).await.answer;
        assert_eq!(shown["status"], "failed");
        assert_eq!(
            (&shown["outcome"]["stage"], &shown["outcome"]["code"]),
            (&json!("start-job"), &json!("DataUnfit"))
        );
    });
}

#[test]
fn a_rollback_brings_the_predecessor_back_and_another_one_the_champion() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "rolled-back").await;
        let vendor = cloud.vendor();
        let (id, model) = (&customer.tenant.tenant, &customer.model);
        with_easy_gate(&customer, |settings| {
            let scaling = Scaling { min: 1, max: 2, invocations_per_instance: 1000 };
            settings.deployment.scaling = Some(scaling);
        })
        .await;
        customer.give_training_data().await;
        let first = trained(&customer, &customer.first_execution().await).await;
        let refused = crosspilot(&customer, &["rollback", "rolled-back", "churn"]).await;
        assert_eq!(refused.code, Some(1));
        assert!(refused.errors.contains("has no predecessor"), "{}", refused.errors);

        let start = ["run", "start", "rolled-back", "churn", "--detach"];
        let started = crosspilot(&customer, &start).await;
        assert!(started.errors.starts_with("estimated cost on AWS: "), "{}", started.errors);
        let second = trained(&customer, started.answer["execution"].as_str().unwrap()).await;
        let redriven = crosspilot(&customer, &["run", "redrive", "rolled-back", "churn"]).await;
        assert_eq!(redriven.code, Some(1));
        assert!(redriven.errors.contains("the run ended well"), "{}", redriven.errors);
        assert_eq!(version(&customer).await, (200, json!(second.run_id)));
        let back = crosspilot(&customer, &["rollback", "rolled-back", "churn"]).await;
        assert_eq!(back.code, Some(0), "{}", back.errors);
        assert_eq!(back.answer["serves"], json!(first.run_id));
        assert_eq!(back.answer["served"], json!(second.run_id));
        assert_eq!(version(&customer).await, (200, json!(first.run_id)));
        let found = sagemaker(&customer).describe_endpoint();
        let found = found.endpoint_name(first.endpoint_name()).send().await.unwrap();
        assert_eq!(found.endpoint_config_name(), Some(first.deployment_name().as_str()));
        let variant = found.production_variants()[0].variant_name().unwrap();
        let scaled = format!("endpoint/{}/variant/{variant}", first.endpoint_name());
        assert_eq!(scalable(&customer).await, [scaled]);

        // Asked for by name, as a handler is that runs twice, it stays where it is.
        let action = || Action::RollBack { model: model.clone(), to: first.run_id.clone() };
        for _ in 0..2 {
            let report = vendor.manage(id, action(), |_| {}).await.unwrap();
            let serves = first.run_id.clone();
            let endpoint = first.endpoint_name();
            assert_eq!(report, Report::RolledBack { endpoint, serves, warning: None });
        }
        assert_eq!(vendor.roll_back(id, model, |_| {}).await.unwrap(), (second.clone(), None));
        assert_eq!(version(&customer).await, (200, json!(second.run_id)));

        // Its config is gone: nothing is changed, and it says why.
        let sagemaker = sagemaker(&customer);
        let delete = sagemaker.delete_endpoint_config();
        delete.endpoint_config_name(first.deployment_name()).send().await.unwrap();
        let refused = vendor.roll_back(id, model, |_| {}).await.unwrap_err();
        assert_eq!(refused.code(), Code::ResourceFailed);
        assert!(refused.to_string().starts_with("Conflict: endpoint"), "{refused}");
        assert!(refused.to_string().contains("is gone; train again"), "{refused}");
        assert_eq!(version(&customer).await, (200, json!(second.run_id)));

        // What scales must be taken off before its endpoint goes.
        vendor.remove_model(id, model, false, |_| {}).await.unwrap();
        assert_eq!(scalable(&customer).await, Vec::<String>::new());
        assert_eq!(names(&customer, "crosspilot-rolled-back-").await, Vec::<String>::new());
    });
}

/// Lists what scales in the account.
async fn scalable(customer: &Customer) -> Vec<String> {
    let config = customer.cloud.customer(&customer.tenant.account).into_builder();
    let config = config.endpoint_url(&customer.cloud.endpoints().application_auto_scaling).build();
    let client = applicationautoscaling::Client::new(&config);
    let targets = client.describe_scalable_targets();
    let targets = targets.service_namespace(ServiceNamespace::Sagemaker).send().await.unwrap();
    targets.scalable_targets().iter().map(|target| target.resource_id().to_owned()).collect()
}

/// Everything in the account that has such a name.
async fn names(customer: &Customer, part: &str) -> Vec<String> {
    let sagemaker = sagemaker(customer);
    let endpoints = sagemaker.list_endpoints().name_contains(part).send().await.unwrap();
    let configs = sagemaker.list_endpoint_configs().name_contains(part).send().await.unwrap();
    let models = sagemaker.list_models().name_contains(part).send().await.unwrap();
    let endpoints = endpoints.endpoints().iter().map(|e| e.endpoint_name().unwrap());
    let configs = configs.endpoint_configs().iter().map(|c| c.endpoint_config_name().unwrap());
    let models = models.models().iter().map(|m| m.model_name().unwrap());
    endpoints.chain(configs).chain(models).map(str::to_owned).collect()
}

#[test]
fn a_removed_model_leaves_nothing_and_takes_nothing_else_along() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "cleared").await;
        let vendor = cloud.vendor();
        let id = &customer.tenant.tenant;
        customer.give_training_data().await;
        let run = trained(&customer, &customer.first_execution().await).await;
        // A model whose name begins like it, and a config of the customer's own
        // that is named as ours are.
        let other = "churn-eu".parse().unwrap();
        vendor.set_model(id, &other, &crosspilot_tests::predicting("Churn?")).await.unwrap();
        customer.put("crosspilot/churn-eu/train/data.csv", churn(700, 3)).await;
        let execution = until("a second run starts", async || {
            let executions = customer.executions().await;
            (executions.len() == 2).then(|| executions.into_iter().next())?
        })
        .await;
        let kept = trained(&customer, &execution).await;
        let variant = ProductionVariant::builder()
            .variant_name("v")
            .model_name(run.deployment_name())
            .initial_instance_count(1)
            .instance_type(ProductionVariantInstanceType::MlM5Large)
            .build();
        let create = sagemaker(&customer).create_endpoint_config().production_variants(variant);
        let own = "crosspilot-cleared-churn-0000000000";
        create.endpoint_config_name(own).send().await.unwrap();

        let not_yet = crosspilot(&customer, &["remove", "model", "cleared", "churn"]).await;
        assert!(not_yet.errors.contains("nothing was removed"), "{}", not_yet.errors);
        let remove = ["remove", "model", "cleared", "churn", "--artifacts", "--yes"];
        let said = crosspilot(&customer, &remove).await;
        assert_eq!(said.code, Some(0), "{}", said.errors);
        let proof = json!({"nothing_left": true, "foreign": [format!("endpoint config {own}")]});
        assert_eq!(said.answer["proof"], proof);
        assert_eq!(said.answer["was_set_up"], true);

        let mut left = names(&customer, "crosspilot-cleared-").await;
        left.sort();
        let endpoint = kept.endpoint_name();
        let mut expected =
            [own.to_owned(), endpoint, kept.deployment_name(), kept.deployment_name()];
        expected.sort();
        assert_eq!(left, expected);
        let objects = customer.s3().list_objects_v2().bucket(customer.tenant.bucket.as_str());
        let objects = objects.prefix("crosspilot-results/").send().await.unwrap();
        let keys: Vec<&str> = objects.contents().iter().filter_map(|o| o.key()).collect();
        assert!(!keys.is_empty());
        assert!(keys.iter().all(|key| key.starts_with("crosspilot-results/churn-eu/")), "{keys:?}");
        let document = vendor.registry.tenant(id).await.unwrap();
        assert_eq!(document.models.keys().collect::<Vec<_>>(), [&other]);
        assert_eq!(version(&customer).await.0, 404);
        assert!(vendor.registry.lineup(id, &customer.model).await.unwrap().champion.is_none());

        // What is gone already is no failure.
        let again = crosspilot(&customer, &remove).await;
        assert_eq!((again.code, &again.answer["was_set_up"]), (Some(0), &json!(false)));
    });
}

/// A run that has read that it may go on makes something after the proof that
/// nothing is left: what it made goes with its own end.
#[test]
fn what_a_run_makes_while_its_model_is_removed_goes_with_the_run() {
    on_local_cloud(async |cloud| {
        let steps = [
            ("CreateModel", "outrun-model"),
            ("CreateEndpointConfig", "outrun-config"),
            ("CreateEndpoint", "outrun-endpoint"),
        ];
        let each = steps.map(|(operation, tenant)| async move {
            let customer = Customer::new(cloud, tenant).await;
            let account = customer.tenant.account.to_string();
            let fault = Fault {
                operation: operation.into(),
                about: vec![account.clone()],
                after: 0,
                times: 1,
                effect: Effect::Delay(8_000),
            };
            cloud.inject(fault).await.unwrap();
            customer.give_training_data().await;
            let execution = customer.first_execution().await;
            until("the run makes it", async || {
                (cloud.faults_to_come(&account).await.unwrap() == 0).then_some(())
            })
            .await;
            let (id, model) = (&customer.tenant.tenant, &customer.model);
            let vendor = cloud.vendor();
            let removed = vendor.remove_model(id, model, false, |_| {}).await.unwrap();
            assert!(matches!(removed, Removed::Proven { .. }), "{operation}: {removed:?}");
            let failure = customer.failed(&execution).await;
            let part = format!("crosspilot-{tenant}-");
            assert_eq!(names(&customer, &part).await, Vec::<String>::new(), "{failure}");
            let lineup = vendor.registry.lineup(id, model).await.unwrap();
            assert!(lineup.models().next().is_none(), "{operation}: {lineup:?}");
            assert_eq!(vendor.registry.unsettled(Some(id)).await.unwrap(), [], "{failure}");
        });
        all(each).await;
    });
}

#[test]
fn a_tenant_is_not_let_go_of_while_something_of_it_bills() {
    on_local_cloud(async |cloud| {
        let limits = Limits { max_candidates: 250, max_runtime_seconds: 3600 };
        let customer =
            Customer::with(cloud, crosspilot_local::Onboarding { limits, ..onboarding("leaving") })
                .await;
        let vendor = cloud.vendor();
        let id = &customer.tenant.tenant;
        customer.give_training_data().await;
        let execution = customer.first_execution().await;
        let sagemaker = sagemaker(&customer);
        let running = async || {
            let list = sagemaker.list_auto_ml_jobs().send().await.unwrap();
            let jobs = list.auto_ml_job_summaries().iter();
            jobs.filter(|job| job.auto_ml_job_status().unwrap().as_str() == "InProgress").count()
        };
        until("a job runs", async || (running().await == 1).then_some(())).await;
        let (tenant, removed) = vendor.remove_tenant(id, Removal::default(), |_| {}).await.unwrap();
        assert_eq!(tenant.status.as_str(), "deleted");
        assert_eq!(removed, Removed::Proven { foreign: Vec::new() });
        assert_eq!(running().await, 0);
        assert_eq!(names(&customer, "crosspilot-leaving-").await, Vec::<String>::new());
        // Its run ends by itself, and nothing new was made on its way out.
        customer.ended(&execution).await;
        assert_eq!(names(&customer, "crosspilot-leaving-").await, Vec::<String>::new());
    });
}

#[test]
fn the_cost_of_a_run_and_of_what_serves_is_told() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "billed").await;
        customer.give_training_data().await;
        let before = crosspilot(&customer, &["cost", "billed", "churn"]).await;
        assert_eq!(before.code, Some(0), "{}", before.errors);
        let data = &before.answer["models"][0]["training_data"];
        assert_eq!((&data["files"], &data["bytes"]), (&json!(1), &json!(churn(700, 1).len())));
        // The job, its scores and the endpoint's way there and back, each for 600 seconds
        // and an hour at most; the fleet that scores and the one that serves are alike.
        let run = &before.answer["models"][0]["run"];
        let lines: Vec<&str> = run["lines"]
            .as_array()
            .unwrap()
            .iter()
            .map(|line| line["what"].as_str().unwrap())
            .collect();
        assert_eq!(lines, ["training", "scoring", "second fleet"]);
        let most = run["total"]["most"].as_f64().unwrap();
        let hours = 4200.0 / 3600.0;
        assert!((most - (0.922 + 3.0 * 0.115) * hours).abs() < 1e-9, "{most}");
        let month = &before.answer["models"][0]["month"]["cost"];
        assert_eq!(month["most"], 0.115 * 730.0);
        trained(&customer, &customer.first_execution().await).await;
        let shown = crosspilot(&customer, &["run", "show", "billed", "churn"]).await.answer;
        assert_eq!(shown["outcome"]["result"], "completed", "{shown}");
        assert_eq!(shown["serves_now"], shown["run"]["run_id"]);
        let after = crosspilot(&customer, &["cost", "billed"]).await.answer;
        assert_eq!(after["now"]["hour"], 0.115, "{after}");
        let serving = &after["models"][0]["serving"];
        assert_eq!(serving["endpoint"]["hosting"]["instance"]["instance_type"], "ml.m5.large");
        assert_eq!(serving["cost"]["month"], 0.115 * 730.0);
        let mut command = Command::new(functions::binaries().unwrap().join("crosspilot"));
        command.arg("--home").arg(home_of(customer.cloud)).args(["cost", "billed"]);
        let shown = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let shown = String::from_utf8(shown.stdout).unwrap();
        assert!(shown.contains("1 x ml.m5.large") && shown.contains("second fleet"), "{shown}");
        assert!(shown.lines().all(|line| line.chars().count() <= 60), "{shown}");
        let unknown = crosspilot(&customer, &["cost", "billed", "chrun"]).await;
        assert_eq!(unknown.code, Some(1));
    });
}

#[test]
fn an_endpoint_that_nobody_asks_is_reported_and_removed_if_its_model_says_so() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "idling").await;
        let id = &customer.tenant.tenant;
        with_easy_gate(&customer, |settings| {
            settings.deployment.remove_after_idle_days = Some(20);
        })
        .await;
        customer.give_training_data().await;
        let run = trained(&customer, &customer.first_execution().await).await;
        let fresh = crosspilot(&customer, &["idle", "idling"]).await;
        assert_eq!((fresh.code, fresh.answer), (Some(0), json!([])), "{}", fresh.errors);
        let age = async |days: u64| {
            let by = Duration::from_secs(days * 86_400);
            let account = &customer.tenant.account;
            cloud.age_endpoint(account, &run.endpoint_name(), by).await.unwrap();
        };
        // CloudWatch is told once a second.
        let asked = async || {
            until("predictions are counted", async || {
                let action = Action::TakeStock { days: 14 };
                let report = cloud.vendor().manage(id, action, |_| {}).await.unwrap();
                let Report::Stock(stock) = report else { panic!("{report:?}") };
                (stock.models[0].endpoint.as_ref()?.invocations > 0).then_some(())
            })
            .await;
        };
        let tidy_up = async || {
            let action = Action::TidyUp { days: 14 };
            match cloud.vendor().manage(id, action, |_| {}).await.unwrap() {
                Report::Idle { endpoints } => endpoints,
                other => panic!("{other:?}"),
            }
        };

        // The run itself asked it; then nobody did.
        asked().await;
        age(15).await;
        let idle = crosspilot(&customer, &["idle", "idling"]).await.answer;
        assert_eq!(idle[0]["endpoint"]["name"], run.endpoint_name());
        assert_eq!(idle[0]["removed_after_days"], 20);
        let found = tidy_up().await;
        assert_eq!((found[0].days, found[0].removed), (14, false));
        // Somebody does.
        assert_eq!(version(&customer).await.0, 200);
        asked().await;
        assert_eq!(tidy_up().await, []);
        age(21).await;
        let found = tidy_up().await;
        assert_eq!((found[0].days, found[0].removed), (20, true));
        until("the endpoint is gone", async || {
            let names = names(&customer, &run.endpoint_name()).await;
            (!names.contains(&run.endpoint_name())).then_some(())
        })
        .await;
        let events = cloud.authority().events(SAAS_ACCOUNT, REGION).await.unwrap();
        let ours = events.iter().filter(|event| {
            event.detail_type == "Crosspilot Endpoint Idle" && event.detail.contains("\"idling\"")
        });
        assert_eq!(ours.count(), 2);
        let (status, problem) = version(&customer).await;
        assert_eq!((status, &problem["title"]), (409, &json!("The model does not serve now")));

        // Nothing was trained again: its config and its model were kept.
        let back = crosspilot(&customer, &["rollback", "idling", "churn"]).await;
        assert_eq!(back.code, Some(0), "{}", back.errors);
        assert_eq!(version(&customer).await, (200, json!(run.run_id)));
    });
}

#[test]
fn what_could_not_be_removed_yet_serves_on_and_is_not_told_as_removed() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "busy-idle").await;
        let id = &customer.tenant.tenant;
        with_easy_gate(&customer, |settings| {
            settings.deployment.remove_after_idle_days = Some(14);
        })
        .await;
        customer.give_training_data().await;
        let run = trained(&customer, &customer.first_execution().await).await;
        // The run's own question is too fresh to be told from others'.
        until("its predictions are counted", async || {
            let action = Action::TakeStock { days: 14 };
            let report = cloud.vendor().manage(id, action, |_| {}).await.unwrap();
            let Report::Stock(stock) = report else { panic!("{report:?}") };
            (stock.models[0].endpoint.as_ref()?.invocations > 0).then_some(())
        })
        .await;
        let by = Duration::from_secs(15 * 86_400);
        cloud.age_endpoint(&customer.tenant.account, &run.endpoint_name(), by).await.unwrap();
        let tidy_up = async || {
            let action = Action::TidyUp { days: 14 };
            match cloud.vendor().manage(id, action, |_| {}).await.unwrap() {
                Report::Idle { endpoints } => endpoints,
                other => panic!("{other:?}"),
            }
        };
        let told = async || -> Vec<bool> {
            let events = cloud.authority().events(SAAS_ACCOUNT, REGION).await.unwrap();
            let ours = events.iter().filter(|event| {
                event.detail_type == "Crosspilot Endpoint Idle"
                    && event.detail.contains("\"busy-idle\"")
            });
            let detail = ours.map(|event| serde_json::from_str::<Value>(&event.detail).unwrap());
            detail.map(|detail| detail["endpoints"][0]["removed"].as_bool().unwrap()).collect()
        };

        // A run is about to take it.
        let registry = &cloud.vendor().registry;
        let champion = registry.lineup(id, &customer.model).await.unwrap().champion.unwrap();
        let coming = claim(&customer, "20260131-00000000dd", "by hand").await;
        let challenger = Serving { run: coming.clone(), ..champion };
        let comes = |lineup: &mut Lineup| lineup.challenge(challenger.clone(), Some(&run));
        registry.change_lineup(id, &customer.model, comes).await.unwrap();
        assert!(!tidy_up().await[0].removed);
        let goes = |lineup: &mut Lineup| lineup.withdraw(&coming);
        registry.change_lineup(id, &customer.model, goes).await.unwrap();

        // SageMaker does not let go of it.
        let code = "ValidationException".to_owned();
        let message = "Cannot update in-progress endpoint".to_owned();
        let effect = Effect::Fail { code, message, status: 400 };
        let about = vec![run.endpoint_name()];
        let operation = "DeleteEndpoint".to_owned();
        cloud.inject(Fault { operation, about, after: 0, times: 1, effect }).await.unwrap();
        assert!(!tidy_up().await[0].removed);
        assert_eq!(told().await, [false, false]);
        assert!(registry.lineup(id, &customer.model).await.unwrap().is_led_by(&run));

        assert!(tidy_up().await[0].removed);
        assert_eq!(told().await, [false, false, true]);
        assert!(registry.lineup(id, &customer.model).await.unwrap().champion.is_none());
    });
}

#[test]
fn an_endpoint_that_only_runs_ask_is_idle_however_often_they_bring_a_new_model() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "self-asked").await;
        let (id, model) = (&customer.tenant.tenant, &customer.model);
        let registry = &cloud.vendor().registry;
        with_easy_gate(&customer, |_| {}).await;
        customer.put("crosspilot/churn/test/held-out.csv", churn(60, 2)).await;
        customer.give_training_data().await;
        let first = trained(&customer, &customer.first_execution().await).await;
        let age = async |days: u64| {
            let by = Duration::from_secs(days * 86_400);
            let account = &customer.tenant.account;
            cloud.age_endpoint(account, &first.endpoint_name(), by).await.unwrap();
            let earlier = |own: &mut OwnCalls| {
                for note in &mut own.notes {
                    (note.begun, note.ended) =
                        (note.begun - by.as_secs(), note.ended - by.as_secs());
                }
            };
            registry.change_own_calls(id, model, earlier).await.unwrap();
        };
        let endpoint = async || {
            let action = Action::TakeStock { days: 14 };
            let report = cloud.vendor().manage(id, action, |_| {}).await.unwrap();
            let Report::Stock(mut stock) = report else { panic!("{report:?}") };
            stock.models.remove(0).endpoint.unwrap()
        };
        // What is noted now is not taken off yet: CloudWatch may not know of it.
        let counted = async |calls: u64| {
            until("the calls are counted", async || {
                (endpoint().await.invocations == calls).then_some(())
            })
            .await;
        };
        let idle = async || crosspilot(&customer, &["idle", "self-asked"]).await.answer;

        counted(1).await;
        age(10).await;
        let start = ["run", "start", "self-asked", "churn", "--detach"];
        let started = crosspilot(&customer, &start).await;
        let second = trained(&customer, started.answer["execution"].as_str().unwrap()).await;
        let own = registry.own_calls(id, model).await.unwrap().notes;
        let variants: Vec<&str> = own.iter().map(|note| note.variant.as_str()).collect();
        // The first's first prediction, its comparison with the second, the second's own.
        let (old, new) = (first.variant_name(), second.variant_name());
        assert_eq!(variants, [old, old, new], "{own:?}");
        assert!(own.iter().all(|note| note.calls == 1), "{own:?}");
        counted(1).await;
        assert_eq!(idle().await, json!([]));
        age(5).await;
        let found = endpoint().await;
        assert_eq!((found.unchanged_days, found.counted_days, found.invocations), (5, 15, 0));
        assert_eq!(idle().await[0]["endpoint"]["name"], first.endpoint_name());

        // Somebody asks, and a third model takes over: that was still somebody.
        assert_eq!(version(&customer).await, (200, json!(second.run_id)));
        counted(1).await;
        let started = crosspilot(&customer, &start).await;
        trained(&customer, started.answer["execution"].as_str().unwrap()).await;
        until("the calls are counted", async || (endpoint().await.invocations >= 3).then_some(()))
            .await;
        age(1).await;
        assert_eq!(endpoint().await.invocations, 1);
        assert_eq!(idle().await, json!([]));
    });
}
