//! The leftovers of runs in the customer's bucket, by listing it: documents stay, and a run's
//! own copies of rows do not.

use std::collections::{BTreeMap, BTreeSet};

use crosspilot_core::layout;
use crosspilot_core::run::RunRef;
use crosspilot_core::settings::ModelSettings;
use crosspilot_sagemaker_local::{Effect, Fault};
use crosspilot_tests::mishaps::Mishaps as _;
use crosspilot_tests::{Customer, churn, on_local_cloud};
use serde_json::Value;

const DOCUMENTS: [&str; 6] = [
    "decision.json",
    "evaluation.json",
    "predictions.csv",
    "preflight.json",
    "report.html",
    "words.json",
];

/// A customer whose runs set rows aside.
async fn customer(cloud: &'static crosspilot_local::LocalCloud, tenant: &str) -> Customer {
    let customer = Customer::new(cloud, tenant).await;
    set_margin(&customer, -1.0).await;
    customer
}

async fn set_margin(customer: &Customer, margin: f64) {
    let mut settings = ModelSettings::predicting("Churn?");
    settings.gate.margin = margin;
    let vendor = customer.cloud.vendor();
    vendor.set_model(&customer.tenant.tenant, &customer.model, &settings).await.unwrap();
}

/// All objects that runs left, with their texts.
async fn left(customer: &Customer) -> BTreeMap<String, String> {
    let prefix = layout::all_results_prefix(&customer.tenant.prefix);
    let list = customer.s3().list_objects_v2().bucket(customer.tenant.bucket.as_str());
    let list = list.prefix(prefix).send().await.unwrap();
    let mut found = BTreeMap::new();
    for object in list.contents() {
        let get = customer.s3().get_object().bucket(customer.tenant.bucket.as_str());
        let body = get.key(object.key().unwrap()).send().await.unwrap().body.collect().await;
        let text = String::from_utf8_lossy(&body.unwrap().into_bytes()).into_owned();
        found.insert(object.key().unwrap().to_owned(), text);
    }
    found
}

/// Lists what lies under a prefix, by its path from there.
fn under<'a>(left: &'a BTreeMap<String, String>, prefix: &str) -> BTreeSet<&'a str> {
    left.keys().filter_map(|key| key.strip_prefix(prefix)).collect()
}

/// Lists the objects that hold a row of the data. SageMaker's own are not ours to take away:
/// models that serve are among them.
fn with_rows<'a>(left: &'a BTreeMap<String, String>, data: &str) -> Vec<&'a str> {
    let holds = |text: &str| data.lines().skip(1).any(|row| text.contains(row));
    let ours = left.iter().filter(|(key, _)| !key.contains("/automl/"));
    ours.filter(|(_, text)| holds(text)).map(|(key, _)| key.as_str()).collect()
}

fn run_of(output: &Value) -> RunRef {
    serde_json::from_value(output["run"].clone()).unwrap()
}

#[test]
fn a_run_that_ended_well_leaves_documents_and_no_copy_of_rows_but_its_predictions() {
    on_local_cloud(async |cloud| {
        let customer = customer(cloud, "well-left").await;
        let prefix = &customer.tenant.prefix;
        let mut predictions = Vec::new();
        // The first is promoted, the second is kept out.
        for (margin, seed, deploys) in [(-1.0, 1, true), (1.0, 2, false)] {
            set_margin(&customer, margin).await;
            let data = churn(1000, seed);
            let key = "crosspilot/churn/train/data.csv";
            let before = customer.executions().await;
            customer.put(key, data.clone()).await;
            let execution = crosspilot_tests::until("a run starts", async || {
                customer.executions().await.into_iter().find(|arn| !before.contains(arn))
            });
            let output = customer.succeeded(&execution.await).await;
            let run = run_of(&output);
            let lineup = cloud.vendor().registry.lineup(&run.tenant, &run.model).await.unwrap();
            assert_eq!(lineup.is_led_by(&run), deploys, "{output}");
            let left = left(&customer).await;
            let results = layout::results_prefix(prefix, &run);
            let found = under(&left, &results);
            let found: BTreeSet<&str> =
                found.into_iter().filter(|path| !path.starts_with("automl/")).collect();
            assert_eq!(found, BTreeSet::from(DOCUMENTS));
            assert_eq!(under(&left, "crosspilot-results/_rows/"), BTreeSet::new());
            predictions.push(format!("{results}predictions.csv"));
            // Rows of one run may be rows of another's, too.
            let held = with_rows(&left, &data);
            assert!(held.contains(&predictions.last().unwrap().as_str()), "{held:?}");
            assert!(
                held.iter().all(|key| predictions.iter().any(|known| known == key)),
                "{held:?}"
            );
        }
    });
}

#[test]
fn a_run_that_failed_keeps_its_rows_for_a_redrive_where_a_rule_of_the_bucket_takes_them() {
    on_local_cloud(async |cloud| {
        let customer = customer(cloud, "badly-left").await;
        let no = Effect::Fail {
            code: "AccessDeniedException".into(),
            message: "not now".into(),
            status: 400,
        };
        // The job and the scoring are done by then.
        let (about, operation) =
            (vec![customer.tenant.account.to_string()], "CreateEndpointConfig");
        let operation = operation.to_owned();
        cloud.inject(Fault { operation, about, after: 0, times: 1, effect: no }).await.unwrap();
        let data = churn(1000, 1);
        customer.put("crosspilot/churn/train/data.csv", data.clone()).await;
        let execution = customer.first_execution().await;
        assert_eq!(customer.failed(&execution).await["stage"], "deploy");

        let vendor = cloud.vendor();
        let runs = vendor.registry.runs(&customer.tenant.tenant, &customer.model).await.unwrap();
        let [record] = runs.as_slice() else { panic!("{runs:?}") };
        let found = left(&customer).await;
        let rows = layout::rows_prefix(&customer.tenant.prefix, &record.run);
        let copies = [
            "first-row.csv",
            "held-out.csv",
            "input/rows.csv",
            "output/rows.csv.out",
            "plan.json",
            "train/part-00000.csv",
            "verdict.json",
        ];
        assert_eq!(under(&found, &rows), BTreeSet::from(copies));
        let held = with_rows(&found, &data);
        assert!(held.len() == 2 && held.iter().all(|key| key.starts_with(&rows)), "{held:?}");
        let rules = customer.s3().get_bucket_lifecycle_configuration();
        let rules = rules.bucket(customer.tenant.bucket.as_str()).send().await.unwrap();
        let rule = rules.rules().iter().find(|rule| rule.expiration().is_some()).unwrap();
        let prefix = rule.filter().and_then(|filter| filter.prefix()).unwrap();
        assert!(rows.starts_with(prefix) && !"crosspilot-results/churn/".starts_with(prefix));
        // No run takes longer than two months.
        assert!(rule.expiration().unwrap().days() > Some(61), "{rule:?}");
        let earlier = rule.noncurrent_version_expiration().unwrap();
        assert_eq!(earlier.noncurrent_days(), Some(1));

        let redriven = vendor.redrive(&record.run, false).await.unwrap();
        let output = customer.succeeded(&redriven).await;
        assert_eq!(run_of(&output), record.run);
        assert!(output["prediction"]["evaluation"]["rows"].as_u64() > Some(50), "{output}");
        assert_eq!(under(&left(&customer).await, &rows), BTreeSet::new());
    });
}

#[test]
fn rows_that_cannot_be_deleted_are_a_warning_of_a_run_that_ended_well() {
    on_local_cloud(async |cloud| {
        let customer = customer(cloud, "rows-stay").await;
        let effect =
            Effect::Fail { code: "AccessDenied".into(), message: "no".into(), status: 403 };
        let about = vec![customer.tenant.bucket.to_string(), "_rows/churn/".into()];
        let operation = "s3:DeleteObject".to_owned();
        cloud.inject(Fault { operation, about, after: 0, times: 1, effect }).await.unwrap();
        customer.put("crosspilot/churn/train/data.csv", churn(1000, 1)).await;
        let output = customer.succeeded(&customer.first_execution().await).await;
        let record = cloud.vendor().registry.run(&run_of(&output)).await.unwrap();
        let told = serde_json::to_string(&record.outcome).unwrap();
        assert!(told.contains("the rows that the run copied stay under s3://"), "{told}");
    });
}
