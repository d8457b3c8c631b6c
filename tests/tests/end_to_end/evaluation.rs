//! Held-out rows that are uploaded while a model serves: it is evaluated on them.

use crosspilot_core::layout;
use crosspilot_core::registry::Measured;
use crosspilot_core::run::RunRef;
use crosspilot_local::accounts::{REGION, SAAS_ACCOUNT};
use crosspilot_tests::{Customer, churn, on_local_cloud, until};
use serde_json::Value;

use crate::operations::crosspilot;

/// The events of a kind about a customer.
async fn told(customer: &Customer, detail_type: &str) -> Vec<Value> {
    let events = customer.cloud.authority().events(SAAS_ACCOUNT, REGION).await.unwrap();
    let tenant = format!("\"tenant\":\"{}\"", customer.tenant.tenant);
    let ours = events.iter().filter(|event| event.detail_type == detail_type);
    let ours = ours.filter(|event| event.detail.replace(": ", ":").contains(&tenant));
    ours.map(|event| serde_json::from_str(&event.detail).unwrap()).collect()
}

/// Waits until the champion was evaluated so many times.
async fn measured(customer: &Customer, times: usize) -> Vec<Measured> {
    let registry = &customer.cloud.vendor().registry;
    until("the champion is evaluated", async || {
        let trend = registry.trend(&customer.tenant.tenant, &customer.model).await.unwrap();
        (trend.measured.len() >= times).then_some(trend.measured)
    })
    .await
}

async fn trained(customer: &Customer, minimum: f64) -> RunRef {
    let mut settings = crosspilot_tests::predicting("Churn?");
    settings.gate.minimum = Some(minimum);
    let vendor = customer.cloud.vendor();
    vendor.set_model(&customer.tenant.tenant, &customer.model, &settings).await.unwrap();
    customer.put("crosspilot/churn/train/data.csv", churn(700, 1)).await;
    let execution = customer.first_execution().await;
    let output = customer.succeeded(&execution).await;
    serde_json::from_value(output["run"].clone()).unwrap()
}

/// Rows whose labels say the opposite.
fn reversed(rows: usize, seed: u64) -> String {
    let text = churn(rows, seed).replace("True.", "x").replace("False.", "True.");
    text.replace(",x", ",False.")
}

#[test]
fn new_held_out_rows_evaluate_the_champion_and_train_nothing() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "evaluated").await;
        let run = trained(&customer, 0.5).await;
        let own_calls = async || {
            let (registry, id) = (&cloud.vendor().registry, &customer.tenant.tenant);
            let notes = registry.own_calls(id, &customer.model).await.unwrap().notes;
            notes.iter().map(|note| note.calls).sum::<u64>()
        };
        let of_the_run = own_calls().await;
        customer.put("crosspilot/churn/test/february.csv", churn(200, 2)).await;
        let first = measured(&customer, 1).await.remove(0);
        // Who looks for idle endpoints has to know that no customer asked.
        assert_eq!(own_calls().await, of_the_run + 1);
        assert_eq!((first.run.clone(), first.rows), (run.run_id.clone(), 200));
        assert!(first.value.unwrap() > 0.8, "{first:?}");
        let good = until("it is told", async || {
            told(&customer, "Crosspilot Champion Evaluated").await.pop()
        })
        .await;
        assert_eq!(good["below_minimum"], false, "{good}");

        customer.put("crosspilot/churn/test/march.csv", reversed(200, 3)).await;
        let second = measured(&customer, 2).await.remove(1);
        assert!(second.value.unwrap() < 0.5, "{second:?}");
        let below = until("it is told", async || {
            told(&customer, "Crosspilot Champion Below Minimum").await.pop()
        })
        .await;
        assert_eq!(below["minimum"], 0.5, "{below}");
        let report = below["report_uri"].as_str().unwrap();
        let key = report.split_once(&format!("{}/", customer.tenant.bucket)).unwrap().1;
        let page = customer.get(key).await;
        assert!(page.contains("is below the minimum of 0.5"), "{page}");
        for uploaded in [&first.uploaded, &second.uploaded] {
            assert!(page.contains(uploaded.as_str()), "{uploaded}");
        }
        let latest = layout::latest_report_key(&customer.tenant.prefix, &customer.model);
        assert_eq!(customer.get(&latest).await, page);

        let shown = crosspilot(&customer, &["run", "show", "evaluated", "churn"]).await.answer;
        let later = serde_json::to_value([&first, &second]).unwrap();
        assert_eq!(shown["measured_later"], later, "{shown}");

        // Nothing was trained, and what serves goes on serving.
        assert_eq!(customer.executions().await.len(), 1);
        let registry = &cloud.vendor().registry;
        let lineup = registry.lineup(&customer.tenant.tenant, &customer.model).await.unwrap();
        assert!(lineup.is_led_by(&run));
    });
}

#[test]
fn of_files_that_come_one_after_the_other_none_is_missed() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "evaluated-often").await;
        trained(&customer, 0.5).await;
        for file in 1..=12 {
            let key = format!("crosspilot/churn/test/{file}.csv");
            customer.put(&key, churn(40, file as u64)).await;
            measured(&customer, file).await;
        }
    });
}

#[test]
fn held_out_rows_that_cannot_be_used_say_why_where_the_report_would_be() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "unevaluated").await;
        trained(&customer, 0.5).await;
        let without: String = churn(100, 2).replace("Minutes", "Hours");
        customer.put("crosspilot/churn/test/april.csv", without).await;
        let failed = until("it is told", async || {
            told(&customer, "Crosspilot Evaluation Failed").await.pop()
        })
        .await;
        let cause = failed["failure"]["cause"].as_str().unwrap();
        assert!(cause.contains("no column") && cause.contains("Minutes"), "{failed}");
        let latest = layout::latest_report_key(&customer.tenant.prefix, &customer.model);
        let page = customer.get(&latest).await;
        assert!(page.contains("The new held-out rows could not be used."), "{page}");
        assert!(page.contains("Minutes"), "{page}");
    });
}

#[test]
fn held_out_rows_before_anything_serves_start_nothing_that_fails() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "evaluated-early").await;
        customer.hold_out(churn(100, 2)).await;
        assert!(told(&customer, "Crosspilot Champion Evaluated").await.is_empty());
    });
}
