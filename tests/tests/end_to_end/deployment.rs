//! Retrainings: the better one is promoted under load, the worse one is kept
//! out, the broken one goes back; and what else may stand in a deployment's way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use check_status::Watched;
use crosspilot_core::aws::applicationautoscaling::types::ServiceNamespace;
use crosspilot_core::aws::sagemaker::Client as SageMaker;
use crosspilot_core::aws::sagemaker::types::{
    AutoMlChannelType, AutoMlDataSource, AutoMlJobChannel, AutoMlJobCompletionCriteria, AutoMlMode,
    AutoMlOutputDataConfig, AutoMlProblemTypeConfig, AutoMls3DataSource, AutoMls3DataType,
    ContainerDefinition, ProductionVariant, ProductionVariantInstanceType, TabularJobConfig,
};
use crosspilot_core::layout;
use crosspilot_core::registry::{Lineup, Stop};
use crosspilot_core::run::{RunRef, endpoint_name};
use crosspilot_core::session::Sessions;
use crosspilot_core::settings::{Hosting, ModelSettings, Scaling, Traffic};
use crosspilot_core::tenant::Limits;
use crosspilot_local::LocalCloud;
use crosspilot_sagemaker_local::{Effect, Fault};
use crosspilot_tests::data::{label, marked, request};
use crosspilot_tests::mishaps::Mishaps as _;
use crosspilot_tests::{
    Customer, assert_failed, churn, cloudwatch, on_local_cloud, onboarding, saas_user, until,
};
use crosspilot_training::Phase;
use serde_json::{Value, json};

use crate::turns::claim;

/// Customers as [`churn`] makes them, but with their columns in this order, one
/// more column, and this share of the labels turned around.
fn customers(columns: &[&str], rows: usize, seed: u64, wrong: f64) -> String {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut text = format!("{}\n", columns.join(","));
    for _ in 0..rows {
        let (calls, minutes, yearly) = (rng.u32(..10), rng.u32(..300), rng.bool());
        let leaves = f64::from(calls) - if yearly { 4.0 } else { 0.0 } + rng.f64() * 2.0 > 3.0;
        let cells = BTreeMap::from([
            ("Calls", calls.to_string()),
            ("Minutes", minutes.to_string()),
            ("Contract", contract(yearly)),
            ("Visits", rng.u32(..50).to_string()),
            ("Churn?", label(leaves != (rng.f64() < wrong))),
        ]);
        let row: Vec<&str> = columns.iter().map(|column| cells[column].as_str()).collect();
        text.push_str(&format!("{}\n", row.join(",")));
    }
    text
}

fn contract(yearly: bool) -> String {
    marked(if yearly { "yearly" } else { "monthly" })
}

const FIRST: &[&str] = &["Calls", "Minutes", "Contract", "Churn?"];
/// Two numbers change places, and a number stands where another one was: the old
/// order is misread without an error.
const SECOND: &[&str] = &["Minutes", "Calls", "Contract", "Visits", "Churn?"];

/// A customer, and what its administrator and the vendor see.
pub(super) struct Scene {
    pub(super) customer: Customer,
}

impl Scene {
    pub(super) async fn new(cloud: &'static LocalCloud, tenant: &str) -> Self {
        Self { customer: Customer::new(cloud, tenant).await }
    }

    pub(super) fn sagemaker(&self) -> SageMaker {
        self.customer.cloud.endpoints().sagemaker_of(self.customer.tenant.account.as_str())
    }

    pub(super) async fn set(&self, change: impl FnOnce(&mut ModelSettings)) {
        let mut settings = crosspilot_tests::predicting("Churn?");
        change(&mut settings);
        let vendor = self.customer.cloud.vendor();
        let (tenant, model) = (&self.customer.tenant.tenant, &self.customer.model);
        vendor.set_model(tenant, model, &settings).await.unwrap();
    }

    pub(super) async fn hold_out(&self, text: String) {
        self.customer.put("crosspilot/churn/test/held-out.csv", text).await;
    }

    /// Uploads training data in place of what is there, which starts a run.
    pub(super) async fn train(&self, text: String) -> String {
        let before = self.customer.executions().await;
        self.customer.put("crosspilot/churn/train/data.csv", text).await;
        until("the upload starts a run", async || {
            self.customer.executions().await.into_iter().find(|arn| !before.contains(arn))
        })
        .await
    }

    pub(super) async fn lineup(&self) -> Lineup {
        let registry = &self.customer.cloud.vendor().registry;
        registry.lineup(&self.customer.tenant.tenant, &self.customer.model).await.unwrap()
    }

    /// The run that serves.
    pub(super) async fn champion(&self) -> String {
        self.lineup().await.champion.unwrap().run.run_id.to_string()
    }

    /// Names of the models and configs in the customer's account.
    pub(super) async fn left(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        let client = self.sagemaker();
        let models = client.list_models().send().await.unwrap();
        let configs = client.list_endpoint_configs().send().await.unwrap();
        let name = |name: Option<&str>| name.unwrap().to_owned();
        (
            models.models().iter().map(|model| name(model.model_name())).collect(),
            configs.endpoint_configs().iter().map(|c| name(c.endpoint_config_name())).collect(),
        )
    }

    pub(super) fn endpoint(&self) -> String {
        endpoint_name(&self.customer.tenant.tenant, &self.customer.model)
    }

    /// The config that the endpoint serves, and its variant.
    pub(super) async fn serving(&self) -> (String, String) {
        let found = self.sagemaker().describe_endpoint().endpoint_name(self.endpoint());
        let found = found.send().await.unwrap();
        let variant = found.production_variants()[0].variant_name().unwrap().to_owned();
        (found.endpoint_config_name().unwrap().to_owned(), variant)
    }

    pub(super) async fn ask(&self, records: &str) -> (u16, Value) {
        let token = self.customer.token();
        self.customer.ask(&token, "churn", records).await
    }

    /// Asks the prediction API without a pause for as long as `while_` takes.
    /// Gives every answer, in order.
    async fn under_load<T>(
        &self,
        records: &str,
        while_: impl Future<Output = T>,
    ) -> (T, Vec<(u16, Value)>) {
        let done = Arc::new(AtomicBool::new(false));
        let load = async {
            let mut answers = Vec::new();
            while !done.load(Ordering::Acquire) {
                answers.push(self.ask(records).await);
                // The run shares the machine's two cores.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            // At least one after the end.
            answers.push(self.ask(records).await);
            answers
        };
        let work = async {
            let result = while_.await;
            done.store(true, Ordering::Release);
            result
        };
        tokio::join!(work, load)
    }
}

pub(super) fn run_of(output: &Value) -> RunRef {
    serde_json::from_value(output["run"].clone()).unwrap()
}

fn records() -> String {
    json!({"records": [
        {"Calls": 9, "Minutes": 1, "Contract": contract(false)},
        {"Calls": 0, "Minutes": 299, "Contract": contract(true)},
        {"Calls": 1, "Minutes": 250, "Contract": contract(true)},
    ]})
    .to_string()
}

/// No answer failed, and every answer is the one that its version gives.
fn all_good(answers: &[(u16, Value)], of: &BTreeMap<String, Value>) -> Vec<String> {
    let mut versions: Vec<String> = Vec::new();
    for (status, answer) in answers {
        assert_eq!(*status, 200, "{answer}");
        let version = answer["version"].as_str().unwrap().to_owned();
        assert_eq!(Some(&answer["predictions"]), of.get(&version), "{version}");
        if versions.last() != Some(&version) {
            versions.push(version);
        }
    }
    versions
}

#[test]
fn a_better_model_is_promoted_under_load_and_a_worse_one_is_kept_out() {
    on_local_cloud(async |cloud| {
        let scene = Scene::new(cloud, "retrained").await;
        scene.hold_out(customers(SECOND, 400, 2, 0.0)).await;
        let first = scene.train(customers(FIRST, 700, 1, 0.4)).await;
        let output = scene.customer.succeeded(&first).await;
        let first = run_of(&output);
        assert_eq!(output["comparison"]["against"], Value::Null);
        assert_eq!(scene.champion().await, first.run_id.as_str());
        let (_, before) = scene.ask(&records()).await;

        // Better data, in another order and with one more column.
        let second = scene.train(customers(SECOND, 700, 3, 0.0)).await;
        let (output, answers) =
            scene.under_load(&records(), scene.customer.succeeded(&second)).await;
        let second = run_of(&output);
        let decision = &output["deployment"]["decision"];
        assert_eq!(decision["verdict"], "deploy", "{decision}");
        assert_eq!(decision["figures"]["basis"], "held_out");
        let figure = |name: &str| decision["figures"][name].as_f64().unwrap();
        assert!(figure("challenger") > figure("champion"), "{decision}");
        let (_, after) = scene.ask(&records()).await;
        let by_version = BTreeMap::from([
            (first.run_id.to_string(), before["predictions"].clone()),
            (second.run_id.to_string(), after["predictions"].clone()),
        ]);
        assert_ne!(before["predictions"], after["predictions"]);
        let versions = all_good(&answers, &by_version);
        assert_eq!(versions, [first.run_id.to_string(), second.run_id.to_string()]);
        let labels = after["predictions"].as_array().unwrap().iter().map(|p| p["label"].clone());
        assert_eq!(labels.collect::<Vec<_>>(), [true, false, false].map(label));
        let lineup = scene.lineup().await;
        assert_eq!(lineup.previous.map(|previous| previous.run), Some(first.clone()));

        // Worse data: the numbers say so, and nothing of it is left behind.
        let third = scene.train(customers(SECOND, 700, 4, 0.45)).await;
        let output = scene.customer.succeeded(&third).await;
        let decision = &output["deployment"]["decision"];
        assert_eq!(decision["verdict"], "keep", "{decision}");
        let reason = decision["reason"].as_str().unwrap();
        assert!(reason.contains("on the held-out rows does not beat"), "{reason}");
        assert_eq!(scene.champion().await, second.run_id.as_str());
        let names: BTreeSet<String> = [&first, &second].map(RunRef::deployment_name).into();
        assert_eq!(scene.left().await, (names.clone(), names));
        let results = layout::results_prefix(&scene.customer.tenant.prefix, &run_of(&output));
        let noted = scene.customer.get(&format!("{results}decision.json")).await;
        let noted: Value = serde_json::from_str(&noted).unwrap();
        assert_eq!((&noted["decision"], &noted["comparison"]), (decision, &output["comparison"]));
        let report = scene.customer.get(&format!("{results}report.html")).await;
        assert!(report.contains("was kept out and does not serve"));
    });
}

/// As many runs as one likes leave a champion and its predecessor.
#[test]
fn what_neither_serves_nor_can_be_rolled_back_to_is_removed() {
    on_local_cloud(async |cloud| {
        let scene = Scene::new(cloud, "years").await;
        // Whatever it is worth, it is better.
        scene.set(|settings| settings.gate.margin = -10.0).await;
        let mut runs = Vec::new();
        for seed in 1..4 {
            let arn = scene.train(churn(700, seed)).await;
            runs.push(run_of(&scene.customer.succeeded(&arn).await));
        }
        let names: BTreeSet<String> = runs[1..].iter().map(RunRef::deployment_name).collect();
        assert_eq!(scene.left().await, (names.clone(), names));
        assert!(scene.lineup().await.retired.is_empty());
    });
}

#[test]
fn a_model_that_fails_its_first_prediction_goes_back_to_the_champion_under_load() {
    on_local_cloud(async |cloud| {
        let scene = Scene::new(cloud, "smoke").await;
        scene.set(|settings| settings.gate.margin = -10.0).await;
        let first = scene.train(churn(700, 1)).await;
        let first = run_of(&scene.customer.succeeded(&first).await);
        let records = request(9);
        let (_, before) = scene.ask(&records).await;
        // The first prediction is of the first row of the training data, which nobody
        // else asks about.
        let data = churn(700, 2);
        let row = data.lines().nth(1).and_then(|line| line.rsplit_once(',')).unwrap().0;
        let refusal = "no such column".to_owned();
        let effect = Effect::Fail { code: "ModelError".into(), message: refusal, status: 424 };
        let about = vec![scene.customer.tenant.account.to_string(), row.to_owned()];
        let operation = "InvokeEndpoint".to_owned();
        cloud.inject(Fault { operation, about, after: 0, times: 1, effect }).await.unwrap();
        let run = scene.train(data.clone()).await;
        let (failure, answers) = scene.under_load(&records, scene.customer.failed(&run)).await;
        assert_failed(&failure, "predict", "PredictionInvalid");
        assert!(failure["cause"].as_str().unwrap().contains("fails its first prediction"));
        for (status, answer) in &answers {
            assert_eq!(*status, 200, "{answer}");
        }
        assert_eq!(answers.last().unwrap().1["predictions"], before["predictions"]);
        let lineup = scene.lineup().await;
        assert!(lineup.is_led_by(&first) && lineup.challenger.is_none(), "{lineup:?}");
        assert_eq!(scene.serving().await.0, first.deployment_name());
        let names = BTreeSet::from([first.deployment_name()]);
        assert_eq!(scene.left().await, (names.clone(), names));
    });
}

#[test]
fn a_first_model_that_fails_its_first_prediction_leaves_no_endpoint() {
    on_local_cloud(async |cloud| {
        let scene = Scene::new(cloud, "first-smoke").await;
        let effect = Effect::Fail { code: "ModelError".into(), message: "no".into(), status: 424 };
        let about = vec![scene.customer.tenant.account.to_string()];
        let operation = "InvokeEndpoint".to_owned();
        cloud.inject(Fault { operation, about, after: 0, times: 1, effect }).await.unwrap();
        let run = scene.train(churn(700, 1)).await;
        let failure = scene.customer.failed(&run).await;
        assert_eq!(failure["code"], "PredictionInvalid", "{failure}");
        assert_eq!(scene.lineup().await, Lineup::default());
        assert_eq!(scene.left().await, Default::default());
        let endpoints = scene.sagemaker().list_endpoints().send().await.unwrap();
        assert!(endpoints.endpoints().is_empty());
    });
}

/// An alarm of the customer's account, as its administrator sets it.
async fn alarm(scene: &Scene, name: &str, state: &str) {
    let account = scene.customer.tenant.account.as_str();
    let ask = async |query: String| {
        cloudwatch(scene.customer.cloud, account, &format!("{query}&AlarmName={name}")).await
    };
    ask("Action=PutMetricAlarm&Namespace=Test&MetricName=Errors&Statistic=Sum&Period=60&EvaluationPeriods=1&Threshold=1&ComparisonOperator=GreaterThanThreshold".into()).await;
    ask(format!("Action=SetAlarmState&StateValue={state}&StateReason=test")).await;
}

#[test]
fn an_alarm_rolls_a_canary_back_and_without_one_it_arrives() {
    on_local_cloud(async |cloud| {
        let scene = Scene::new(cloud, "canary").await;
        scene
            .set(|settings| {
                settings.gate.margin = -10.0;
                settings.deployment.hosting =
                    Hosting::Instance { instance_type: "ml.m5.large".into(), count: 2 };
                settings.deployment.update.traffic =
                    Traffic::Canary { percent: 50, wait_seconds: 20 };
                settings.deployment.update.alarms = vec!["errors".into()];
            })
            .await;
        alarm(&scene, "errors", "OK").await;
        let first = scene.train(churn(700, 1)).await;
        let first = run_of(&scene.customer.succeeded(&first).await);

        let second = scene.train(churn(700, 2)).await;
        let second = run_of(&scene.customer.succeeded(&second).await);
        // Step by step, both share the variant's name; the config tells them apart.
        let (config, variant) = scene.serving().await;
        assert_eq!((config, variant.as_str()), (second.deployment_name(), first.variant_name()));
        let (_, answer) = scene.ask(&request(9)).await;
        assert_eq!(answer["version"], second.run_id.as_str());

        alarm(&scene, "errors", "ALARM").await;
        let third = scene.train(churn(700, 3)).await;
        let failure = scene.customer.failed(&third).await;
        assert_failed(&failure, "deploy", "ResourceFailed");
        let cause = failure["cause"].as_str().unwrap();
        assert!(
            cause.contains("it went back to config") && cause.contains("alarm went off"),
            "{cause}"
        );
        let lineup = scene.lineup().await;
        assert!(lineup.is_led_by(&second) && lineup.challenger.is_none(), "{lineup:?}");
        let names: BTreeSet<String> = [first, second].map(|run| run.deployment_name()).into();
        assert_eq!(scene.left().await, (names.clone(), names));
    });
}

#[test]
fn scaling_follows_the_model_that_serves() {
    on_local_cloud(async |cloud| {
        let scene = Scene::new(cloud, "scaling").await;
        let scaling = Scaling { min: 2, max: 4, invocations_per_instance: 100 };
        scene
            .set(|settings| {
                settings.gate.margin = -10.0;
                settings.deployment.scaling = Some(scaling);
            })
            .await;
        let targets = async || -> Vec<(String, i32, i32)> {
            let client = auto_scaling(&scene);
            let found = client.describe_scalable_targets();
            let found = found.service_namespace(ServiceNamespace::Sagemaker).send().await.unwrap();
            let target = found.scalable_targets().iter();
            target
                .map(|t| (t.resource_id().to_owned(), t.min_capacity(), t.max_capacity()))
                .collect()
        };
        for seed in 1..3 {
            let run = scene.train(churn(700, seed)).await;
            let run = run_of(&scene.customer.succeeded(&run).await);
            let resource = format!("endpoint/{}/variant/{}", scene.endpoint(), run.variant_name());
            assert_eq!(targets().await, [(resource, 2, 4)]);
        }
    });
}

pub(super) fn auto_scaling(scene: &Scene) -> crosspilot_core::aws::applicationautoscaling::Client {
    let endpoints = scene.customer.cloud.endpoints();
    let config = endpoints.administrator(scene.customer.tenant.account.as_str());
    let config = crosspilot_core::aws::applicationautoscaling::config::Builder::from(&config)
        .endpoint_url(&endpoints.application_auto_scaling)
        .build();
    crosspilot_core::aws::applicationautoscaling::Client::from_conf(config)
}

#[test]
fn a_failed_endpoint_of_an_earlier_attempt_is_cleared_away() {
    on_local_cloud(async |cloud| {
        let scene = Scene::new(cloud, "failed-before").await;
        let (client, name) = (scene.sagemaker(), scene.endpoint());
        let artifact = "crosspilot-results/nowhere/model.tar.gz";
        scene.customer.put(artifact, "no model".to_owned()).await;
        let container = ContainerDefinition::builder()
            .image("763104351884.dkr.ecr.us-east-1.amazonaws.com/autogluon-inference:0.4.3")
            .model_data_url(format!("s3://{}/{artifact}", scene.customer.tenant.bucket))
            .build();
        let role = scene.customer.tenant.execution_role_arn.as_str();
        let model = client.create_model().model_name("broken").execution_role_arn(role);
        model.containers(container).send().await.unwrap();
        let variant = ProductionVariant::builder()
            .variant_name("AllTraffic")
            .model_name("broken")
            .initial_instance_count(1)
            .instance_type(ProductionVariantInstanceType::MlM5Large)
            .build();
        let config = client.create_endpoint_config().endpoint_config_name("broken");
        config.production_variants(variant).send().await.unwrap();
        let endpoint = client.create_endpoint().endpoint_name(&name);
        endpoint.endpoint_config_name("broken").send().await.unwrap();
        until("the endpoint has failed", async || {
            let found = client.describe_endpoint().endpoint_name(&name).send().await.unwrap();
            (found.endpoint_status().unwrap().as_str() == "Failed").then_some(())
        })
        .await;

        let run = scene.train(churn(700, 1)).await;
        let output = scene.customer.succeeded(&run).await;
        assert_eq!(output["deployment"]["action"], "created", "{output}");
        assert_eq!(scene.serving().await.0, run_of(&output).deployment_name());
    });
}

#[test]
fn a_minimum_keeps_the_first_model_out_too() {
    on_local_cloud(async |cloud| {
        let scene = Scene::new(cloud, "minimum").await;
        scene.set(|settings| settings.gate.minimum = Some(1.5)).await;
        let run = scene.train(churn(700, 1)).await;
        let output = scene.customer.succeeded(&run).await;
        let decision = &output["deployment"]["decision"];
        assert_eq!(decision["verdict"], "keep");
        assert!(decision["reason"].as_str().unwrap().contains("misses the minimum of 1.5"));
        assert_eq!(scene.left().await, Default::default());
        let (status, problem) = scene.ask(&request(9)).await;
        assert_eq!(status, 409, "{problem}");
    });
}

#[test]
fn a_quota_of_instances_lets_the_scoring_wait() {
    on_local_cloud(async |cloud| {
        let scene = Scene::new(cloud, "quota").await;
        scene.hold_out(churn(60, 2)).await;
        let message = "The account-level service limit is 1 Instances".to_owned();
        let effect = Effect::Fail { code: "ResourceLimitExceeded".into(), message, status: 400 };
        let about = vec![scene.customer.tenant.account.to_string()];
        let operation = "CreateTransformJob".to_owned();
        cloud.inject(Fault { operation, about, after: 0, times: 2, effect }).await.unwrap();
        let run = scene.train(churn(700, 1)).await;
        let output = scene.customer.succeeded(&run).await;
        assert_eq!(output["comparison"]["rows"], 60);
        assert!(scene.customer.history(&run).await.contains("leaves no instance to score on"));
    });
}

#[test]
fn a_scoring_job_that_fails_throws_no_trained_model_away() {
    on_local_cloud(async |cloud| {
        let scene = Scene::new(cloud, "unscorable").await;
        scene.hold_out(churn(60, 2)).await;
        // Nobody but SageMaker reads what is laid out for it.
        let effect =
            Effect::Fail { code: "AccessDenied".into(), message: "no".into(), status: 403 };
        let rows = "input/rows.csv".to_owned();
        let about = vec![scene.customer.tenant.bucket.to_string(), rows.clone()];
        let operation = "s3:GetObject".to_owned();
        cloud.inject(Fault { operation, about, after: 0, times: 1, effect }).await.unwrap();
        let execution = scene.train(churn(700, 1)).await;
        let output = scene.customer.succeeded(&execution).await;
        assert_eq!(cloud.faults_to_come(&rows).await.unwrap(), 0);
        let run = run_of(&output);
        let job = scene.sagemaker().describe_transform_job();
        let job = job.transform_job_name(run.scoring_name(1)).send().await.unwrap();
        assert_eq!(job.transform_job_status().unwrap().as_str(), "Failed");
        // It says why, and the validation metric decides.
        let comparison = &output["comparison"];
        let reason = comparison["reason"].as_str().unwrap();
        assert!(reason.contains(&run.scoring_name(1)), "{comparison}");
        assert!(reason.contains("ended as Failed"), "{comparison}");
        // SageMaker's own words may quote the data.
        assert!(!reason.contains(job.failure_reason().unwrap()), "{comparison}");
        assert!(reason.contains("aws sagemaker describe-transform-job"), "{comparison}");
        assert!(comparison["rows"].is_null(), "{comparison}");
        let decision = &output["deployment"]["decision"];
        assert_eq!(decision["verdict"], "deploy", "{decision}");
        assert!(output["prediction"]["evaluation"].is_null(), "{output}");
        assert_eq!(scene.champion().await, run.run_id.as_str());
        assert_eq!(scene.serving().await.0, run.deployment_name());
    });
}

/// A customer whose jobs take long enough to be stopped.
async fn slow(cloud: &'static LocalCloud, tenant: &str) -> Scene {
    let mut onboarding = onboarding(tenant);
    onboarding.limits = Limits { max_candidates: 100, max_runtime_seconds: 600 };
    Scene { customer: Customer::with(cloud, onboarding).await }
}

impl Scene {
    async fn job_status(&self, job: &str) -> String {
        let found = self.sagemaker().describe_auto_ml_job_v2().auto_ml_job_name(job);
        found.send().await.unwrap().auto_ml_job_status().unwrap().as_str().to_owned()
    }

    /// The run that trains now.
    async fn training(&self) -> RunRef {
        until("the job runs", async || {
            let jobs = self.sagemaker().list_auto_ml_jobs().send().await.unwrap();
            let running = jobs.auto_ml_job_summaries().iter();
            let running =
                running.filter(|job| job.auto_ml_job_status().unwrap().as_str() == "InProgress");
            running.count().ge(&1).then_some(())
        })
        .await;
        let registry = &self.customer.cloud.vendor().registry;
        let runs = registry.runs(&self.customer.tenant.tenant, &self.customer.model).await;
        runs.unwrap().remove(0).run
    }
}

#[test]
fn a_request_to_stop_stops_the_job_and_deploys_nothing() {
    on_local_cloud(async |cloud| {
        let scene = slow(cloud, "stop-asked").await;
        let execution = scene.train(churn(4000, 1)).await;
        let run = scene.training().await;
        let stop = Stop { by: "arn:aws:iam::111111111111:user/eve".into(), time: "noon".into() };
        let registry = &cloud.vendor().registry;
        registry.change_run(&run, |record| record.stop = Some(stop.clone())).await.unwrap();
        let failure = scene.customer.failed(&execution).await;
        assert_failed(&failure, "train", "RunStopped");
        assert!(failure["cause"].as_str().unwrap().contains("user/eve asked at noon"), "{failure}");
        assert_eq!(scene.job_status(&run.job_name()).await, "Stopped");
        assert_eq!(scene.left().await, Default::default());
    });
}

#[test]
fn a_job_over_its_limit_is_stopped_in_the_customers_account() {
    on_local_cloud(async |cloud| {
        let scene = slow(cloud, "overdue").await;
        let execution = scene.train(churn(4000, 1)).await;
        let run = scene.training().await;
        let mut app = cloud.vendor().app();
        app.sessions = Sessions::new(&saas_user(cloud).await);
        let look = async || {
            let request = check_status::Request {
                run: run.clone(),
                watch: Watched::Job { name: run.job_name() },
                elapsed_seconds: 60.0,
                limit_seconds: Some(50.0),
            };
            check_status::handle(app.clone(), request).await.unwrap()
        };
        let first = look().await;
        assert_eq!(first.phase, Phase::InProgress);
        let last = until("the job has stopped", async || {
            let found = look().await;
            (found.phase != Phase::InProgress).then_some(found)
        })
        .await;
        assert_eq!(last.phase, Phase::Stopped);
        let failure = last.failure.unwrap();
        assert_eq!(failure.code, "RunTimedOut");
        assert!(failure.cause.contains("longer than the 50 s"), "{}", failure.cause);
        assert_eq!(scene.job_status(&run.job_name()).await, "Stopped");
        // To the state machine, whose limit is not over, somebody else stopped it.
        scene.customer.ended(&execution).await;
    });
}

#[test]
fn a_serverless_endpoint_serves_one_container_and_a_pipeline_is_refused() {
    on_local_cloud(async |cloud| {
        let scene = Scene::new(cloud, "serverless").await;
        let hosting = Hosting::Serverless { memory_mb: 2048, max_concurrency: 5 };
        scene.set(|settings| settings.deployment.hosting = hosting).await;
        let run = scene.train(churn(700, 1)).await;
        let run = run_of(&scene.customer.succeeded(&run).await);
        let config = scene.sagemaker().describe_endpoint_config();
        let config = config.endpoint_config_name(run.deployment_name()).send().await.unwrap();
        let serverless = config.production_variants()[0].serverless_config().unwrap();
        assert_eq!(serverless.memory_size_in_mb(), Some(2048));
        let (status, answer) = scene.ask(&request(9)).await;
        assert_eq!((status, answer["version"].as_str()), (200, Some(run.run_id.as_str())));

        // A job of the other mode: three containers.
        let run = claim(&scene.customer, "20260101-0000000000", "by hand").await;
        scene.tune(&run.job_name()).await;
        let request = json!({"do": "register", "run": run, "job": run.job_name()});
        let error = scene.by_hand(request).await.unwrap_err();
        assert!(error.contains("takes no pipelines of several containers"), "{error}");
        assert!(error.contains("set training.mode of the model to ensembling"), "{error}");
    });
}

impl Scene {
    /// Trains a pipeline on the data that is there.
    async fn tune(&self, job: &str) {
        let (client, tenant) = (self.sagemaker(), &self.customer.tenant);
        let source = AutoMls3DataSource::builder()
            .s3_data_type(AutoMls3DataType::S3Prefix)
            .s3_uri(format!("s3://{}/crosspilot/churn/train/", tenant.bucket));
        let channel = AutoMlJobChannel::builder()
            .channel_type(AutoMlChannelType::Training)
            .data_source(AutoMlDataSource::builder().s3_data_source(source.build()).build());
        let output = format!("s3://{}/crosspilot-results/tuned", tenant.bucket);
        let tabular = TabularJobConfig::builder()
            .target_attribute_name("Churn?")
            .mode(AutoMlMode::HyperparameterTuning)
            .completion_criteria(AutoMlJobCompletionCriteria::builder().max_candidates(1).build());
        client
            .create_auto_ml_job_v2()
            .auto_ml_job_name(job)
            .auto_ml_job_input_data_config(channel.build())
            .output_data_config(AutoMlOutputDataConfig::builder().s3_output_path(output).build())
            .auto_ml_problem_type_config(AutoMlProblemTypeConfig::TabularJobConfig(tabular.build()))
            .role_arn(tenant.execution_role_arn.as_str())
            .send()
            .await
            .unwrap();
        until("the pipeline is trained", async || {
            (self.job_status(job).await == "Completed").then_some(())
        })
        .await;
    }

    /// Asks `deploy-best` as an operator who runs it by hand.
    async fn by_hand(&self, request: Value) -> Result<Value, String> {
        let mut app = self.customer.cloud.vendor().app();
        app.sessions = Sessions::new(&saas_user(self.customer.cloud).await);
        let answer = deploy_best::handle(app, serde_json::from_value(request).unwrap()).await;
        answer.map(|a| serde_json::to_value(a).unwrap()).map_err(|error| error.to_string())
    }
}

#[test]
fn data_capture_keeps_requests_beside_the_results() {
    on_local_cloud(async |cloud| {
        let scene = Scene::new(cloud, "captured").await;
        scene.set(|settings| settings.deployment.data_capture_percent = Some(100)).await;
        let run = scene.train(churn(700, 1)).await;
        scene.customer.succeeded(&run).await;
        scene.ask(&request(9)).await;
        let prefix = layout::capture_prefix(&scene.customer.tenant.prefix, &scene.customer.model);
        until("the request is captured", async || {
            let list = scene.customer.s3().list_objects_v2();
            let list = list.bucket(scene.customer.tenant.bucket.as_str()).prefix(&prefix);
            for object in list.send().await.unwrap().contents() {
                let text = scene.customer.get(object.key().unwrap()).await;
                if text.contains(&format!("{},9", marked("CA"))) {
                    return Some(());
                }
            }
            None
        })
        .await;
    });
}

#[test]
fn two_runs_at_once_take_turns() {
    on_local_cloud(async |cloud| {
        let scene = Scene::new(cloud, "turns").await;
        scene.hold_out(churn(200, 9)).await;
        scene.set(|settings| settings.gate.margin = -10.0).await;
        let first = scene.train(churn(700, 1)).await;
        scene.customer.succeeded(&first).await;
        let (second, third) = (scene.customer.start("2").await, scene.customer.start("3").await);
        let outputs =
            tokio::join!(scene.customer.succeeded(&second), scene.customer.succeeded(&third));
        let runs = [run_of(&outputs.0), run_of(&outputs.1)];
        let lineup = scene.lineup().await;
        let served =
            [lineup.champion.clone(), lineup.previous.clone()].map(|model| model.unwrap().run);
        assert!(runs.iter().all(|run| served.contains(run)), "{lineup:?}");
        assert!(lineup.challenger.is_none());
        // Whoever came later was measured against the other, and not against the first.
        let later = if served[0] == runs[0] { &outputs.0 } else { &outputs.1 };
        assert_eq!(later["comparison"]["against"], served[1].run_id.as_str());
        assert_eq!(scene.serving().await.0, served[0].deployment_name());
    });
}

#[test]
fn steps_that_are_done_again_change_nothing() {
    on_local_cloud(async |cloud| {
        let scene = Scene::new(cloud, "again").await;
        let execution = scene.train(churn(700, 1)).await;
        let output = scene.customer.succeeded(&execution).await;
        let run = run_of(&output);
        let (lineup, left, serving) =
            (scene.lineup().await, scene.left().await, scene.serving().await);
        let deployment = &output["deployment"];
        let requests = [
            json!({"do": "register", "run": run, "job": output["job"]}),
            json!({
                "do": "deploy", "run": run, "job": output["job"], "score": deployment["score"],
                "candidate": deployment["candidate"], "comparison": output["comparison"],
            }),
            json!({"do": "settle", "run": run}),
        ];
        for request in requests {
            let (one, two) =
                tokio::join!(scene.by_hand(request.clone()), scene.by_hand(request.clone()));
            assert_eq!(one.unwrap(), two.unwrap(), "{request}");
            assert_eq!(scene.lineup().await, lineup, "{request}");
            assert_eq!(scene.left().await, left, "{request}");
            assert_eq!(scene.serving().await, serving, "{request}");
        }
    });
}
