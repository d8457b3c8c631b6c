//! One file is enough: rows are set aside before the job, and the model is evaluated
//! on them.

use std::collections::BTreeSet;
use std::io::Write as _;

use crosspilot_core::bucket::Bucket;
use crosspilot_core::layout;
use crosspilot_core::run::RunRef;
use crosspilot_core::settings::ModelSettings;
use crosspilot_sagemaker_local::{Effect, Fault};
use crosspilot_tests::mishaps::Mishaps as _;
use crosspilot_tests::{Customer, churn, on_local_cloud, refusal};
use serde_json::{Value, json};

async fn set(customer: &Customer, change: impl FnOnce(&mut ModelSettings)) {
    let mut settings = ModelSettings::predicting("Churn?");
    settings.gate.margin = -1.0;
    change(&mut settings);
    let vendor = customer.cloud.vendor();
    vendor.set_model(&customer.tenant.tenant, &customer.model, &settings).await.unwrap();
}

/// An object that a run has taken away since: the bucket keeps its versions.
async fn read(customer: &Customer, key: &str) -> String {
    let (s3, bucket) = (customer.s3(), customer.tenant.bucket.as_str());
    let list = s3.list_object_versions().bucket(bucket).prefix(key).send().await.unwrap();
    let version = list.versions()[0].version_id().unwrap();
    let get = s3.get_object().bucket(bucket).key(key).version_id(version);
    let body = get.send().await.unwrap().body.collect().await.unwrap();
    String::from_utf8(body.to_vec()).unwrap()
}

/// The rows that a run trained on, and those that it set aside.
async fn split(customer: &Customer, run: &RunRef) -> (Vec<String>, Vec<String>) {
    let prefix = &customer.tenant.prefix;
    let rows = |text: String| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    let part = format!("{}part-00000.csv", layout::split_training_prefix(prefix, run));
    let held_out = layout::held_out_key(prefix, run);
    (rows(read(customer, &part).await), rows(read(customer, &held_out).await))
}

fn run_of(output: &Value) -> RunRef {
    serde_json::from_value(output["run"].clone()).unwrap()
}

#[test]
fn one_packed_file_gives_a_model_with_an_evaluation_and_the_next_run_the_same_split() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "one-file").await;
        set(&customer, |_| {}).await;
        let text = churn(1500, 1);
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), Default::default());
        packed.write_all(text.as_bytes()).unwrap();
        // A name says nothing.
        let key = "crosspilot/churn/train/data.csv";
        customer.put_bytes(key, packed.finish().unwrap()).await;
        let output = customer.succeeded(&customer.first_execution().await).await;
        let run = run_of(&output);
        let (trained, aside) = split(&customer, &run).await;
        let all: BTreeSet<&str> = text.lines().skip(1).collect();
        let both: BTreeSet<&str> = trained.iter().chain(&aside).map(String::as_str).collect();
        assert_eq!((both, trained.len() + aside.len()), (all, 1500));
        assert!((220..380).contains(&aside.len()), "{}", aside.len());
        assert_eq!(output["prediction"]["evaluation"]["rows"], aside.len(), "{output}");
        assert_eq!(output["deployment"]["decision"]["figures"]["basis"], "held_out", "{output}");
        let record = cloud.vendor().registry.run(&run).await.unwrap();
        assert_eq!(record.set_aside, Some(aside.len() as u64));
        let sagemaker = cloud.endpoints().sagemaker_of(customer.tenant.account.as_str());
        let job = sagemaker.describe_auto_ml_job_v2().auto_ml_job_name(run.job_name());
        let job = job.send().await.unwrap();
        let channels = job.auto_ml_job_input_data_config();
        let source = channels[0].data_source().unwrap().s3_data_source().unwrap().s3_uri();
        assert!(
            source
                .unwrap()
                .ends_with(&layout::split_training_prefix(&customer.tenant.prefix, &run)),
            "{source:?}"
        );
        let results = layout::results_prefix(&customer.tenant.prefix, &run);
        let report = customer.get(&format!("{results}report.html")).await;
        assert!(report.contains("that were set aside before training"));

        // More rows come: what is set aside again is nothing that the champion learned.
        let more = churn(700, 9);
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), Default::default());
        packed.write_all(more.as_bytes()).unwrap();
        let before = customer.executions().await;
        customer.put_bytes("crosspilot/churn/train/more", packed.finish().unwrap()).await;
        let next = crosspilot_tests::until("the next run", async || {
            customer.executions().await.into_iter().find(|arn| !before.contains(arn))
        });
        let output = customer.succeeded(&next.await).await;
        let (_, again) = split(&customer, &run_of(&output)).await;
        let trained: BTreeSet<String> = trained.into_iter().collect();
        assert!(again.iter().all(|row| !trained.contains(row)));
        assert!(again.len() > aside.len());
        let figures = &output["deployment"]["decision"]["figures"];
        assert_eq!(figures["basis"], "held_out", "{output}");
        assert!(figures["champion"].is_f64(), "{output}");
    });
}

#[test]
fn a_split_whose_answer_was_lost_is_made_again_as_it_was() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "split-twice").await;
        set(&customer, |_| {}).await;
        cloud
            .inject(Fault {
                operation: "lambda:Invoke".into(),
                about: vec!["\"tenant\": \"split-twice\"".into(), "crosspilot-start-job".into()],
                after: 0,
                times: 2,
                effect: Effect::Lose,
            })
            .await
            .unwrap();
        customer.put("crosspilot/churn/train/data.csv", churn(1000, 1)).await;
        let output = customer.succeeded(&customer.first_execution().await).await;
        let (trained, aside) = split(&customer, &run_of(&output)).await;
        assert_eq!(trained.len() + aside.len(), 1000);
        assert_eq!(output["prediction"]["evaluation"]["rows"], aside.len(), "{output}");
    });
}

#[test]
fn a_run_that_waits_for_the_accounts_quota_copies_its_rows_once() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "waits-aside").await;
        set(&customer, |_| {}).await;
        cloud
            .inject(Fault {
                operation: "CreateAutoMLJobV2".into(),
                about: vec![customer.tenant.account.to_string()],
                after: 0,
                times: 2,
                effect: Effect::Fail {
                    code: "ResourceLimitExceeded".into(),
                    message: "1 of 1 jobs".into(),
                    status: 400,
                },
            })
            .await
            .unwrap();
        customer.put("crosspilot/churn/train/data.csv", churn(1000, 1)).await;
        let output = customer.succeeded(&customer.first_execution().await).await;
        let run = run_of(&output);
        let (trained, aside) = split(&customer, &run).await;
        assert_eq!(trained.len() + aside.len(), 1000);
        assert_eq!(output["prediction"]["evaluation"]["rows"], aside.len(), "{output}");
        let prefix = layout::split_training_prefix(&customer.tenant.prefix, &run);
        let s3 = customer.s3();
        let list = s3.list_object_versions().bucket(customer.tenant.bucket.as_str());
        let list = list.prefix(prefix).send().await.unwrap();
        assert_eq!(list.versions().len(), 1, "{list:?}");
    });
}

#[test]
fn a_redriven_run_trains_on_its_copy_whatever_lies_in_the_bucket_now() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "copied-then").await;
        set(&customer, |settings| settings.train_on_upload = false).await;
        let key = "crosspilot/churn/train/data.csv";
        customer.put(key, churn(1000, 1)).await;
        let account = customer.tenant.account.as_str();
        let denied = refusal("AccessDeniedException", 400);
        customer.strike("CreateAutoMLJobV2", &[account], 1, denied).await;
        let failure = customer.failed(&customer.start("first").await).await;
        assert_eq!(failure["code"], "AccessDenied", "{failure}");
        let registry = &cloud.vendor().registry;
        let runs = registry.runs(&customer.tenant.tenant, &customer.model).await.unwrap();
        let noted = runs[0].clone();
        assert_eq!(noted.features, ["State", "Calls", "Minutes", "Contract"]);
        assert!(noted.set_aside.is_some());

        // Its columns in another order, and too few rows to learn from.
        let reordered: String = churn(100, 2)
            .lines()
            .map(|line| {
                let (first, others) = line.split_once(',').unwrap();
                let (others, label) = others.rsplit_once(',').unwrap();
                format!("{others},{first},{label}\n")
            })
            .collect();
        customer.put(key, reordered).await;
        let execution = cloud.vendor().redrive(&noted.run, false).await.unwrap();
        let output = customer.succeeded(&execution).await;
        let record = registry.run(&noted.run).await.unwrap();
        assert_eq!((&record.features, record.set_aside), (&noted.features, noted.set_aside));
        let (trained, aside) = split(&customer, &noted.run).await;
        assert_eq!(trained.len() + aside.len(), 1000);
        assert_eq!(output["prediction"]["evaluation"]["rows"], aside.len(), "{output}");
    });
}

#[test]
fn a_file_that_was_replaced_since_it_was_listed_is_not_read() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "replaced").await;
        let key = "elsewhere/a.csv";
        let bucket = Bucket { s3: customer.s3(), tenant: &customer.tenant };
        customer.put(key, "a,b\n1,2\n".into()).await;
        let listed = bucket.list(key, 1).await.unwrap();
        let etag = listed[0].e_tag().unwrap();
        assert!(bucket.open_listed(key, etag).await.is_ok());
        customer.put(key, "a,b\n3,4\n".into()).await;
        let refused = bucket.open_listed(key, etag).await.unwrap_err();
        assert_eq!(refused.aws_code(), "PreconditionFailed");
    });
}

#[test]
fn without_enough_rows_nothing_is_set_aside_and_the_run_says_so() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "too-few-aside").await;
        set(&customer, |_| {}).await;
        customer.put("crosspilot/churn/train/data.csv", churn(520, 1)).await;
        let output = customer.succeeded(&customer.first_execution().await).await;
        assert_eq!(output["prediction"]["evaluation"], Value::Null, "{output}");
        let warnings = output["warnings"].as_array().unwrap();
        let said = warnings.iter().find(|w| w["code"] == "NothingSetAside").unwrap();
        assert!(said["message"].as_str().unwrap().contains("/test/"), "{said}");
        // Autopilot's own measures stand in its place.
        let report = customer.get("crosspilot-results/churn/latest/report.html").await;
        for card in ["by which this model was chosen", "What moves its answers"] {
            assert!(report.contains(card), "{card}: {report}");
        }
    });
}

#[test]
fn the_words_of_a_large_file_are_known_where_no_rows_are_set_aside() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "large-words").await;
        set(&customer, |settings| settings.training.hold_out = Some(0.0)).await;
        // More than the preflight reads; in its last rows stands a word of their own.
        let mut text = String::new();
        for (row, line) in churn(1500, 1).lines().enumerate() {
            let line = if row > 1450 { line.replace("yearly", "weekly") } else { line.to_owned() };
            let note = if row == 0 { "Note".to_owned() } else { "n".repeat(6000) };
            text.push_str(&format!("{note},{line}\n"));
        }
        assert!(text.len() > 8 << 20);
        // It waits for its turn, and looks at the same file again.
        let full = refusal("ResourceLimitExceeded", 400);
        customer.strike("CreateAutoMLJobV2", &[customer.tenant.account.as_str()], 1, full).await;
        customer.put("crosspilot/churn/train/data.csv", text).await;
        customer.succeeded(&customer.first_execution().await).await;
        let results = layout::model_results_prefix(&customer.tenant.prefix, &customer.model);
        let list = customer.s3().list_object_versions().bucket(customer.tenant.bucket.as_str());
        let list = list.prefix(results).send().await.unwrap();
        let written = |name: &str| {
            let keys = list.versions().iter().filter_map(|version| version.key());
            keys.filter(|key| key.ends_with(name)).count()
        };
        assert_eq!((written("/preflight.json"), written("/words.json")), (2, 1));

        let contracts = ["yearly", "weekly", "daily"].map(|word| json!({"Contract": word}));
        let asked = json!({"records": contracts}).to_string();
        let (status, answer) = customer.ask(&customer.token(), "churn", &asked).await;
        let unseen = json!([{"record": 3, "column": "Contract", "code": "unseen_word"}]);
        assert_eq!((status, &answer["warnings"]), (200, &unseen), "{answer}");
    });
}
