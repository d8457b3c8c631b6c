//! Whatever the preflight calls fit trains, is deployed and answers: some of the random tables that
//! `tests/messy.rs` trains on in this process, through the whole product.

use std::cell::Cell;
use std::rc::Rc;

use crosspilot_core::aws::sfn::types::ExecutionStatus;
use crosspilot_core::ids::ModelName;
use crosspilot_tests::data::canary;
use crosspilot_tests::messy::table;
use crosspilot_tests::{Customer, all, on_local_cloud, predicting, until};
use serde_json::{Map, Value, json};

/// Tables: about half of them are refused.
const TABLES: u64 = 24;
/// Tables whose runs are under way at the same time.
const AT_ONCE: u64 = 12;

fn name(seed: u64) -> ModelName {
    format!("messy-{seed}").parse().unwrap()
}

/// A run that ended well has a model that answers, in JSON as in CSV; another one was
/// refused for its data.
async fn is_answered_or_refused(customer: &Customer, seed: u64) -> bool {
    let vendor = customer.cloud.vendor();
    let (id, model) = (&customer.tenant.tenant, name(seed));
    let text = table(seed, canary());
    customer.put_bytes(&format!("crosspilot/{model}/train/data.csv"), text.clone()).await;
    let execution = until("the run starts", async || {
        vendor.registry.runs(id, &model).await.unwrap().pop().map(|run| run.execution)
    })
    .await;
    let ended = customer.ended(&execution).await;
    if *ended.status() == ExecutionStatus::Failed {
        let failure: Value = serde_json::from_str(ended.cause().unwrap()).unwrap();
        assert_eq!(failure["code"], "DataUnfit", "table {seed}: {failure}");
        let cause = failure["cause"].as_str().unwrap();
        assert!(
            (20..2000).contains(&cause.len()) && !cause.contains('\n'),
            "table {seed}: {cause}"
        );
        return false;
    }
    assert_eq!(*ended.status(), ExecutionStatus::Succeeded, "table {seed}: {:?}", ended.cause());

    let mut reader = csv::Reader::from_reader(&text[..]);
    let header = reader.headers().unwrap().clone();
    let features = header.len() - 1;
    let rows: Vec<csv::StringRecord> = reader.records().take(5).map(Result::unwrap).collect();
    let record = |row: &csv::StringRecord| -> Map<String, Value> {
        let cells = header.iter().zip(row).take(features);
        cells.map(|(name, cell)| (name.to_owned(), cell.into())).collect()
    };
    let records: Vec<_> = rows.iter().map(record).collect();
    let mut lines = csv::Writer::from_writer(Vec::new());
    for row in std::iter::once(&header).chain(&rows) {
        lines.write_record(row.iter().take(features)).unwrap();
    }
    let lines = String::from_utf8(lines.into_inner().unwrap()).unwrap();
    let mut answers = Vec::new();
    for (media_type, body) in
        [("application/json", json!({"records": records}).to_string()), ("text/csv", lines)]
    {
        let token = customer.token();
        let (status, answer) = customer.ask_as(&token, model.as_str(), media_type, &body).await;
        assert_eq!(status, 200, "table {seed}, {media_type}: {answer}");
        assert_eq!(answer["predictions"].as_array().unwrap().len(), rows.len(), "table {seed}");
        answers.push(answer["predictions"].clone());
    }
    assert_eq!(answers[0], answers[1], "table {seed}");
    true
}

#[test]
fn what_is_fit_is_deployed_and_answers() {
    on_local_cloud(async |cloud| {
        let customer = Rc::new(Customer::new(cloud, "messy").await);
        let mut settings = predicting("y");
        settings.gate.allow_baseline = true;
        settings.training.max_candidates = Some(1);
        for seed in 0..TABLES {
            let id = &customer.tenant.tenant;
            cloud.vendor().set_model(id, &name(seed), &settings).await.unwrap();
        }
        let fit = Rc::new(Cell::new(0));
        for first in (0..TABLES).step_by(AT_ONCE as usize) {
            let tables = (first..first + AT_ONCE).map(|seed| {
                let (customer, fit) = (customer.clone(), fit.clone());
                async move {
                    if is_answered_or_refused(&customer, seed).await {
                        fit.set(fit.get() + 1);
                    }
                }
            });
            all(tables).await;
        }
        assert!(fit.get() >= 8, "only {} of {TABLES} tables are fit: they show little", fit.get());
    });
}
