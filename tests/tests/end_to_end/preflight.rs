//! Data is judged before anything costs money, and a job is what the settings
//! say.

use std::io::Write as _;
use std::path::Path;

use crosspilot_core::aws::sagemaker::operation::describe_auto_ml_job_v2::DescribeAutoMlJobV2Output;
use crosspilot_core::aws::sagemaker::types::{AutoMlMetricEnum, AutoMlMode, CompressionType};
use crosspilot_core::error::{Code, Coded};
use crosspilot_core::lambda::App;
use crosspilot_core::polling::Waiting;
use crosspilot_core::registry::{RunRecord, Stop};
use crosspilot_core::run::{RunId, RunRef, Trigger};
use crosspilot_core::settings::{ModelSettings, Validation};
use crosspilot_sagemaker_local::{Effect, Fault};
use crosspilot_tests::mishaps::Mishaps as _;
use crosspilot_tests::{Customer, assert_failed, churn, on_local_cloud, saas_user};
use serde_json::{Value, json};
use start_job::{Request, Response};

use crate::command_line;

const TRAIN: &str = "crosspilot/churn/train/";

async fn set(customer: &Customer, settings: &ModelSettings) {
    let vendor = customer.cloud.vendor();
    vendor.set_model(&customer.tenant.tenant, &customer.model, settings).await.unwrap();
}

/// The verdict on a customer's data.
async fn verdict(customer: &Customer) -> Value {
    serde_json::from_str(&customer.get(&verdict_key(customer).await).await).unwrap()
}

async fn verdict_key(customer: &Customer) -> String {
    let s3 = customer.s3();
    let list = s3.list_objects_v2().bucket(customer.tenant.bucket.as_str());
    let list = list.prefix("crosspilot-results/churn/").send().await.unwrap();
    let key = list.contents().iter().find_map(|object| {
        object.key().filter(|key| key.ends_with("/preflight.json")).map(str::to_owned)
    });
    key.unwrap()
}

async fn jobs(customer: &Customer) -> Vec<String> {
    let account = customer.tenant.account.as_str();
    let sagemaker = customer.cloud.endpoints().sagemaker_of(account);
    let jobs = sagemaker.list_auto_ml_jobs().send().await.unwrap();
    let name = |job: &crosspilot_core::aws::sagemaker::types::AutoMlJobSummary| {
        job.auto_ml_job_name().unwrap().to_owned()
    };
    jobs.auto_ml_job_summaries().iter().map(name).collect()
}

async fn the_job(customer: &Customer) -> DescribeAutoMlJobV2Output {
    let account = customer.tenant.account.as_str();
    let sagemaker = customer.cloud.endpoints().sagemaker_of(account);
    let name = jobs(customer).await.pop().unwrap();
    sagemaker.describe_auto_ml_job_v2().auto_ml_job_name(name).send().await.unwrap()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn unfit_data_ends_the_run_with_every_error_in_the_stored_verdict() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "unfit-all").await;
        let text = churn(100, 1).replacen("State,Calls", "State,State", 1);
        customer.put(&format!("{TRAIN}data.csv"), text).await;
        let failure = customer.failed(&customer.first_execution().await).await;
        assert_failed(&failure, "start-job", "DataUnfit");
        let cause = failure["cause"].as_str().unwrap();
        let file = format!("s3://{}/{TRAIN}data.csv", customer.tenant.bucket);
        let sentence = format!("{file} has the same name for columns 1 and 2 in its header");
        assert!(cause.starts_with(&sentence), "{cause}");
        assert!(cause.contains("preflight.json"), "{cause}");
        let verdict = verdict(&customer).await;
        assert_eq!(verdict["errors"][0]["code"], "DuplicateColumn");
        assert_eq!(verdict["errors"][0]["file"].as_str(), Some(file.as_str()));
        assert_eq!(jobs(&customer).await, Vec::<String>::new());
        // The customer finds the same sentence where a report would be.
        let run = verdict_key(&customer).await.replace("preflight.json", "report.html");
        for key in [run.as_str(), "crosspilot-results/churn/latest/report.html"] {
            let page = customer.get(key).await;
            assert!(page.contains("the same name for columns 1 and 2"), "{key}: {page}");
        }
    });
}

#[test]
fn gzipped_data_with_a_validation_channel_trains_as_the_settings_say() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "as-set").await;
        let id = &customer.tenant.tenant;
        cloud
            .vendor()
            .change_tenant(id, "set", |tenant| {
                tenant.tags.insert("CostCenter".into(), "42".into());
            })
            .await
            .unwrap();
        let settings: ModelSettings = serde_json::from_value(json!({
            "target": "Churn?",
            "objective": {"problem_type": "BinaryClassification", "metric": "AUC"},
            "training": {
                "mode": "ensembling", "max_candidates": 1, "max_runtime_seconds": 500,
                "max_trial_seconds": 60, "validation": "channel", "hold_out": 0,
            },
        }))
        .unwrap();
        assert_eq!(settings.training.validation, Some(Validation::Channel));
        set(&customer, &settings).await;
        customer.put("crosspilot/churn/validation/v.csv", churn(200, 2)).await;
        // No name says what it is, and nothing is held out.
        customer.put_bytes(&format!("{TRAIN}part-0000"), gzip(&churn(700, 1))).await;
        let output = customer.succeeded(&customer.first_execution().await).await;
        // The first prediction is of the row that the preflight kept.
        assert_eq!(output["prediction"]["predicted"], 1, "{output}");

        let job = the_job(&customer).await;
        let channels = job.auto_ml_job_input_data_config();
        let compression: Vec<_> = channels.iter().map(|c| c.compression_type().unwrap()).collect();
        assert_eq!(compression, [&CompressionType::Gzip, &CompressionType::None]);
        let tabular = job.auto_ml_problem_type_config().unwrap().as_tabular_job_config().unwrap();
        assert_eq!(tabular.mode(), Some(&AutoMlMode::Ensembling));
        let criteria = tabular.completion_criteria().unwrap();
        assert_eq!(criteria.max_candidates(), Some(1));
        assert_eq!(criteria.max_auto_ml_job_runtime_in_seconds(), Some(500));
        assert_eq!(criteria.max_runtime_per_training_job_in_seconds(), Some(60));
        let metric = job.auto_ml_job_objective().unwrap().metric_name();
        assert_eq!(metric, Some(&AutoMlMetricEnum::Auc));
        let account = customer.tenant.account.as_str();
        let sagemaker = cloud.endpoints().sagemaker_of(account);
        let tags = sagemaker.list_tags().resource_arn(job.auto_ml_job_arn().unwrap());
        let tags = tags.send().await.unwrap();
        assert!(tags.tags().iter().any(|tag| tag.value() == Some("42")));
        let verdict = verdict(&customer).await;
        assert_eq!(
            verdict["training"],
            json!({
                "files": 1, "bytes": verdict["training"]["bytes"], "gzip": true,
                "rows": {"count": 700, "exact": true, "sampled": 700},
            })
        );
        assert_eq!(verdict["validation"]["rows"]["count"], 200);
    });
}

#[test]
fn what_the_local_cloud_does_not_train_it_says_plainly() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "not-here").await;
        let cases = [
            (
                json!({"target": "Churn?", "training": {"features": {"Calls": "numeric"}}}),
                "FeatureSpecificationS3Uri is not offered by the local SageMaker",
            ),
            (
                json!({"target": "Calls", "problem": {"time_series_forecasting": {
                    "frequency": "1D", "horizon": 3, "item_column": "State", "timestamp_column": "Minutes",
                }}}),
                "TimeSeriesForecastingJobConfig is not offered by the local SageMaker, which trains on tables only",
            ),
            (
                json!({"target": "Churn?", "problem": {"text_classification": {"content_column": "State"}}}),
                "TextClassificationJobConfig is not offered by the local SageMaker, which trains on tables only",
            ),
        ];
        customer.put(&format!("{TRAIN}data.csv"), churn(700, 1)).await;
        customer.succeeded(&customer.first_execution().await).await;
        for (number, (settings, sentence)) in cases.into_iter().enumerate() {
            set(&customer, &serde_json::from_value(settings).unwrap()).await;
            let failure = customer.failed(&customer.start(&number.to_string()).await).await;
            assert_eq!(failure["stage"], "start-job");
            assert!(failure["cause"].as_str().unwrap().contains(sentence), "{failure}");
        }
    });
}

/// A run by hand, claimed as `assume` would, and the function as an operator
/// runs it.
async fn claimed(customer: &Customer, stop: Option<Stop>) -> (App, RunRef) {
    let vendor = customer.cloud.vendor();
    let app = App::new(saas_user(customer.cloud).await, vendor.registry.clone());
    let time = "2026-01-31T12:00:00Z".to_owned();
    let trigger = Trigger::Manual { time, request_id: "x".to_owned() };
    let (tenant, model) = (customer.tenant.tenant.clone(), customer.model.clone());
    let run_id = RunId::derive(&tenant, &model, &trigger).unwrap();
    let run = RunRef { tenant, model, run_id };
    let record = json!({"tenant": run.tenant, "model": run.model, "run_id": run.run_id, "execution": "by hand", "trigger": trigger});
    let record = RunRecord { stop, ..serde_json::from_value(record).unwrap() };
    vendor.registry.claim_run(&record).await.unwrap();
    (app, run)
}

const NO_ROOM: &str = "The account-level service limit is reached.";

/// The account's quota of concurrent jobs, used up once.
fn no_room(customer: &Customer) -> Fault {
    refusal(customer, "ResourceLimitExceeded", NO_ROOM)
}

/// Refuses the creation of one job.
fn refusal(customer: &Customer, code: &str, message: &str) -> Fault {
    let (code, message) = (code.to_owned(), message.to_owned());
    Fault {
        operation: "CreateAutoMLJobV2".into(),
        about: vec![customer.tenant.account.to_string()],
        after: 0,
        times: 1,
        effect: Effect::Fail { code, message, status: 400 },
    }
}

#[test]
fn a_run_without_room_for_its_job_succeeds_later() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "later").await;
        cloud.inject(no_room(&customer)).await.unwrap();
        customer.give_training_data().await;
        let execution = customer.first_execution().await;
        customer.succeeded(&execution).await;
        let history = customer.history(&execution).await;
        assert!(history.contains("WaitForTurn") && history.contains(NO_ROOM));
        assert_eq!(jobs(&customer).await.len(), 1);
    });
}

#[test]
fn a_target_that_sagemaker_does_not_find_is_unfit_data() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "no-target").await;
        let said = "Target attribute name Churn? does not exist in header.";
        cloud.inject(refusal(&customer, "ValidationException", said)).await.unwrap();
        customer.give_training_data().await;
        let failure = customer.failed(&customer.first_execution().await).await;
        assert_failed(&failure, "start-job", "DataUnfit");
        let cause = failure["cause"].as_str().unwrap();
        assert!(cause.contains(said) && cause.contains("correct the model's target"), "{cause}");
        assert!(jobs(&customer).await.is_empty());
    });
}

#[test]
fn a_run_waits_its_turn_while_the_account_trains_as_much_as_it_may() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "its-turn").await;
        customer.put(&format!("{TRAIN}data.csv"), churn(700, 1)).await;
        customer.succeeded(&customer.first_execution().await).await;
        let (app, run) = claimed(&customer, None).await;
        cloud.inject(no_room(&customer)).await.unwrap();
        let ask = async |elapsed_seconds| {
            let request = Request { run: run.clone(), elapsed_seconds };
            start_job::handle(app.clone(), request).await.unwrap()
        };
        let waiting = Response::Waiting(Waiting { reason: NO_ROOM.into(), wait_seconds: 30 });
        assert_eq!(ask(300.0).await, waiting);
        assert!(!jobs(&customer).await.contains(&run.job_name()));
        let Response::Started(started) = ask(330.0).await else { panic!("it still waits") };
        assert_eq!((started.job, started.rows), (run.job_name(), Some(700)));
        // And asking once more finds the same job.
        assert!(matches!(ask(360.0).await, Response::Started(_)));
    });
}

#[test]
fn a_run_that_was_stopped_gets_no_job() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "stopped-early").await;
        customer.put(&format!("{TRAIN}data.csv"), churn(700, 1)).await;
        customer.succeeded(&customer.first_execution().await).await;
        let stop = Stop { by: "arn:of:somebody".into(), time: "2026-01-31T12:01:00Z".into() };
        let (app, run) = claimed(&customer, Some(stop)).await;
        let request = Request { run: run.clone(), elapsed_seconds: 0.0 };
        let error = start_job::handle(app, request).await.unwrap_err();
        assert_eq!(error.code(), Code::RunStopped);
        assert_eq!(
            error.to_string(),
            "arn:of:somebody stopped the run at 2026-01-31T12:01:00Z; no job was started"
        );
        assert!(!jobs(&customer).await.contains(&run.job_name()));
    });
}

/// Runs the command line; gives its exit code and both its outputs.
async fn crosspilot(home: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = command_line::crosspilot(home);
    command.args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn files_are_judged_on_this_machine_before_they_are_uploaded() {
    let home = crosspilot_tests::home();
    std::fs::create_dir_all(&home).unwrap();
    let path = |name: &str| home.join(name).to_str().unwrap().to_owned();
    let (good, bad) = (path("judged-good.csv.gz"), path("judged-bad.csv"));
    std::fs::write(&good, gzip(&churn(700, 1))).unwrap();
    std::fs::write(&bad, churn(700, 1).replace(',', ";")).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let judge = async |files: &[&str]| {
            let options = ["preflight", "--target", "Churn?", "--json"];
            crosspilot(&home, &[&options, files].concat()).await
        };
        let (code, verdict, _) = judge(&[&good]).await;
        let verdict: Value = serde_json::from_str(&verdict).unwrap();
        assert_eq!((code, &verdict["errors"]), (Some(0), &json!([])));
        assert_eq!(verdict["training"]["rows"]["count"], 700);
        let (code, verdict, error) = judge(&[&bad, "--held-out", &good]).await;
        let verdict: Value = serde_json::from_str(&verdict).unwrap();
        assert_eq!(verdict["errors"][0]["code"], "WrongSeparator");
        assert_eq!(code, Some(1));
        assert_eq!(error, "error: this data cannot be trained on: see above\n");
        let (code, shown, _) = crosspilot(&home, &["preflight", &good, "--target", "Churn?"]).await;
        assert_eq!(code, Some(0));
        assert!(shown.contains("Contract  categorical        0          2"), "{shown}");
        assert!(!shown.contains('\u{1b}'), "no colours off a terminal: {shown}");
    });
}

#[test]
fn settings_are_set_shown_and_refused_on_the_command_line() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "by-options").await;
        let home = crosspilot_tests::home_of(cloud);
        let run = async |arguments: &[&str]| {
            let (code, output, errors) =
                crosspilot(&home, &[&["tenant"], arguments, &["--json"]].concat()).await;
            (code, serde_json::from_str::<Value>(&output).unwrap_or_default(), errors)
        };
        let set = ["model", "set", "by-options", "churn"];
        let options = [
            "--target",
            "Churn?",
            "--problem-type",
            "BinaryClassification",
            "--metric",
            "F1",
            "--mode",
            "ensembling",
            "--max-candidates",
            "3",
            "--validation-fraction",
            "0.25",
            "--feature",
            "Calls=numeric",
            "--sample-weight",
            "Minutes",
            "--minimum",
            "0.6",
            "--serverless-memory",
            "2048",
        ];
        let (code, _, errors) = run(&[&set[..], &options].concat()).await;
        assert_eq!(code, Some(0), "{errors}");
        let (_, shown, _) = run(&["model", "show", "by-options", "churn"]).await;
        let expected = json!({
            "target": "Churn?",
            "objective": {"problem_type": "BinaryClassification", "metric": "F1"},
            "training": {
                "mode": "ensembling", "max_candidates": 3, "validation": {"fraction": 0.25},
                "features": {"Calls": "numeric"}, "sample_weight": "Minutes",
            },
            "gate": {"margin": 0.0, "minimum": 0.6},
            "deployment": {"hosting": {"serverless": {"memory_mb": 2048, "max_concurrency": 5}}},
        });
        assert_eq!(shown, expected);

        // What is shown can be given back, with an option in its place.
        let file = home.join("settings.json");
        std::fs::write(&file, shown.to_string()).unwrap();
        let file = file.to_str().unwrap();
        let (_, again, _) =
            run(&[&set[..], &["--settings", file, "--max-candidates", "4"]].concat()).await;
        assert_eq!(again["settings"]["training"]["max_candidates"], 4);
        assert_eq!(again["settings"]["objective"], expected["objective"]);

        let (code, _, errors) =
            run(&[&set[..], &["--settings", file, "--validation-fraction", "1.5"]].concat()).await;
        assert_eq!(code, Some(1));
        assert_eq!(
            errors,
            "error: the settings are not taken: training.validation.fraction is 1.5; it must be more than 0 and less than 1\n"
        );

        let changes = [
            "set",
            "by-options",
            "--max-candidates",
            "5",
            "--tag",
            "CostCenter=42",
            "--volume-key",
            "alias/disks",
            "--subnet",
            "subnet-0123abcd",
            "--security-group",
            "sg-0123abcd",
        ];
        let (code, tenant, errors) = run(&changes).await;
        assert_eq!(code, Some(0), "{errors}");
        assert_eq!(tenant["limits"]["max_candidates"], 5);
        assert_eq!(tenant["tags"], json!({"CostCenter": "42"}));
        assert_eq!(tenant["encryption"]["volume_key"], "alias/disks");
        assert_eq!(tenant["network"]["subnets"], json!(["subnet-0123abcd"]));
        let undo =
            ["set", "by-options", "--tag", "CostCenter=", "--volume-key", "", "--no-network"];
        let (_, tenant, _) = run(&undo).await;
        let left = [&tenant["tags"], &tenant["encryption"], &tenant["network"]];
        assert!(left.iter().all(|part| part.is_null()), "{tenant}");
        let (code, _, errors) = run(&["set", "by-options", "--tag", "aws:x=1"]).await;
        assert_eq!(code, Some(1));
        assert!(errors.contains("names that begin with aws: belong to AWS"), "{errors}");
        let stored = cloud.vendor().registry.tenant(&customer.tenant.tenant).await.unwrap();
        assert!(stored.tags.is_empty());
    });
}
