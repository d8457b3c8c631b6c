//! The three ways in: upload, schedule, API.

use crosspilot_core::aws::s3;
use crosspilot_core::aws::s3::types::{EventBridgeConfiguration, NotificationConfiguration};
use crosspilot_core::layout;
use crosspilot_core::run::RunRef;
use crosspilot_core::settings::ModelSettings;
use crosspilot_tests::data::{label, marked, request};
use crosspilot_tests::{Customer, churn, on_local_cloud, onboarding, until};
use serde_json::{Value, json};

#[test]
fn an_upload_trains_deploys_evaluates_and_serves() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "by-upload").await;
        customer.put("crosspilot/churn/test/held-out.csv", churn(200, 2)).await;
        customer.put("crosspilot/churn/train/data.csv", churn(700, 1)).await;
        let execution = customer.first_execution().await;
        let output = customer.succeeded(&execution).await;

        let evaluation = &output["prediction"]["evaluation"];
        assert_eq!(evaluation["rows"], 200);
        assert!(evaluation["accuracy"].as_f64().unwrap() > 0.85, "{evaluation}");
        let run: RunRef = serde_json::from_value(output["run"].clone()).unwrap();
        assert_eq!(run.tenant, customer.tenant.tenant);
        let results = layout::results_prefix(&customer.tenant.prefix, &run);
        let predictions = customer.get(&format!("{results}predictions.csv")).await;
        assert_eq!(predictions.lines().count(), 201);
        assert!(customer.get(&format!("{results}report.html")).await.contains("<svg"));

        good_request(&customer, &run).await;
        refusals(&customer).await;

        // All that the run wrote lies beside the prefix: it started no other run.
        assert_eq!(customer.executions().await.len(), 1);
    });
}

async fn good_request(customer: &Customer, run: &RunRef) {
    let records = json!({"records": [
        {"State": marked("CA"), "Calls": 9, "Minutes": 100.5, "Contract": "monthly"},
        {"Calls": 0, "Contract": "yearly", "Minutes": null},
    ]});
    let (status, answer) = customer.ask(&customer.token(), "churn", &records.to_string()).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["version"], run.run_id.as_str());
    let labels: Vec<&Value> =
        answer["predictions"].as_array().unwrap().iter().map(|p| &p["label"]).collect();
    assert_eq!(labels, [&label(true), &label(false)]);
    let probabilities = &answer["predictions"][0]["probabilities"];
    let sum = probabilities.as_object().unwrap().values().filter_map(Value::as_f64).sum::<f64>();
    assert!((sum - 1.0).abs() < 1e-6, "{probabilities}");
    assert_eq!(answer.get("warnings"), None, "{answer}");

    let odd = json!({"records": [
        {"State": marked("CA"), "Calls": 9},
        {"State": marked("a state that training never saw"), "Calls": "many"},
    ]});
    let (status, answer) = customer.ask(&customer.token(), "churn", &odd.to_string()).await;
    let warning = |column, code| json!({"record": 2, "column": column, "code": code});
    let warnings = json!([warning("State", "unseen_word"), warning("Calls", "not_a_number")]);
    assert_eq!((status, &answer["warnings"]), (200, &warnings), "{answer}");
}

async fn refusals(customer: &Customer) {
    let record = request(1);
    let token = customer.token();

    let signer = customer.cloud.signer();
    let wrong_audience =
        signer.token_for(customer.tenant.tenant.as_str(), "another-product").unwrap();
    for wrong in [wrong_audience.as_str(), "not-a-token"] {
        assert_eq!(customer.ask(wrong, "churn", &record).await.0, 401, "{wrong}");
    }
    let unknown_tenant = signer.token("nobody").unwrap();
    assert_eq!(customer.ask(&unknown_tenant, "churn", &record).await.0, 403);

    let (status, problem) = customer.ask(&token, "unknown", &record).await;
    assert_eq!((status, &problem["status"]), (404, &json!(404)), "{problem}");
    let bad = request(1).replace("Calls", "Call");
    let (status, problem) = customer.ask(&token, "churn", &bad).await;
    assert_eq!(status, 400);
    assert!(problem["detail"].as_str().unwrap().contains("Calls"), "{problem}");
}

#[test]
fn a_schedule_starts_a_run() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "schedule").await;
        // Trained by the upload first: the schedule then trains on the same data.
        customer.give_training_data().await;
        let by_upload = customer.first_execution().await;
        customer.succeeded(&by_upload).await;

        let moment = cloud_time_in(2);
        let settings = ModelSettings {
            schedule: Some(format!("at({moment})")),
            ..crosspilot_tests::predicting("Churn?")
        };
        cloud
            .vendor()
            .set_model(&customer.tenant.tenant, &customer.model, &settings)
            .await
            .unwrap();
        let by_schedule = until("the schedule fires", async || {
            customer.executions().await.into_iter().find(|arn| *arn != by_upload)
        })
        .await;
        let output = customer.succeeded(&by_schedule).await;
        assert_eq!(output["run"]["tenant"], "schedule");
        // The same data gives the same model: the champion stays.
        assert_eq!(output["deployment"]["decision"]["verdict"], "keep");
    });
}

/// A moment so many seconds from now, as EventBridge Scheduler writes it.
fn cloud_time_in(seconds: u64) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let moment =
        crosspilot_core::aws::s3::primitives::DateTime::from_secs((now.as_secs() + seconds) as i64);
    let text = moment.fmt(crosspilot_core::aws::s3::primitives::DateTimeFormat::DateTime).unwrap();
    text.trim_end_matches('Z').to_owned()
}

#[test]
fn what_is_no_training_data_starts_nothing_and_a_doubled_request_is_one_run() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "asked-twice").await;
        customer.put("crosspilot/churn/test/held-out.csv", churn(50, 2)).await;
        customer.put("crosspilot-results/churn/x/automl/train/chunk.csv", churn(50, 2)).await;
        customer.put("elsewhere/churn/train/data.csv", churn(50, 2)).await;
        customer.give_training_data().await;
        let execution = customer.first_execution().await;
        customer.succeeded(&execution).await;
        assert_eq!(customer.executions().await.len(), 1);

        let first = customer.start("one").await;
        let second = customer.start("one").await;
        let outputs = [customer.succeeded(&first).await, customer.succeeded(&second).await];
        let duplicates = outputs.iter().filter(|output| output["decision"] == "duplicate").count();
        assert_eq!(duplicates, 1, "{outputs:?}");
    });
}

#[test]
fn a_bucket_that_exists_and_a_permissions_boundary_serve_as_well() {
    on_local_cloud(async |cloud| {
        let mut onboarding = onboarding("own-bucket");
        let parameters = [
            (
                "or uploads start nothing.\n    AllowedValues: [\"true\", \"false\"]\n    Default: ",
                "true",
                "false",
            ),
            (
                "if your organisation demands one.\n    Default: ",
                "",
                "arn:aws:iam::aws:policy/AdministratorAccess",
            ),
        ];
        for (parameter, default, value) in parameters {
            let from = format!("{parameter}\"{default}\"\n");
            assert!(onboarding.template.contains(&from), "{parameter}");
            let to = format!("{parameter}\"{value}\"\n");
            onboarding.template = onboarding.template.replacen(&from, &to, 1);
        }
        let s3 = s3::Client::new(&cloud.customer(&onboarding.account));
        let bucket = onboarding.bucket.as_str();
        s3.create_bucket().bucket(bucket).send().await.unwrap();
        let events = NotificationConfiguration::builder()
            .event_bridge_configuration(EventBridgeConfiguration::builder().build())
            .build();
        let notify = s3.put_bucket_notification_configuration().bucket(bucket);
        notify.notification_configuration(events).send().await.unwrap();

        let customer = Customer::with(cloud, onboarding).await;
        customer.give_training_data().await;
        let output = customer.succeeded(&customer.first_execution().await).await;
        assert_eq!(output["deployment"]["decision"]["verdict"], "deploy");
    });
}
