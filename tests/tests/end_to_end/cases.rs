//! Inputs that once were answered wrongly, or failed once they were paid for. Which test
//! shows that each ends as it should, by the numbers of the list of such cases (`cases` is
//! `crosspilot_preflight::cases`, `preflight` its `tests`):
//!
//! | case | test |
//! |---|---|
//! | 01, 02 | `preflight::a_row_is_kept_for_the_first_prediction_whatever_the_files_are`, `hold_out::one_packed_file_…` |
//! | 03, 04 | [`a_part_without_rows_and_a_first_row_too_long_to_ask_about_fail_no_first_prediction`] |
//! | 05, 06 | `predict`'s `both_ways::a_held_out_file_is_one_whatever_it_is_called_and_leftovers_are_none` |
//! | 07 | `cases::the_end_of_a_large_file_is_read_as_its_beginning_is` |
//! | 10, 11 | `cases::held_out_labels_that_training_does_not_have_are_told`, `both_ways::rows_with_a_label_that_the_model_does_not_know_…` |
//! | 14 to 18 | `cases::what_is_missing_in_the_target_is_left_out_and_a_word_for_it_is_told` |
//! | 19 | `cases::validation_labels_that_training_does_not_have_are_told` |
//! | 21 | `cases::labels_that_differ_in_case_or_blanks_are_told` |
//! | 22, 56, 60 | `cases::what_no_model_can_learn_is_refused_before_the_job` |
//! | 24 | `cases::a_measure_with_words_in_it_is_told_by_their_number` |
//! | 25 to 27, 29, 31 | `preflight::no_finding_shows_a_cell` and the two after it |
//! | 28, 30, 32 | `canaries::no_cell_of_a_customers_data_is_found_on_the_vendors_side` |
//! | 33 | [`categories_of_several_lines_are_the_same_in_the_evaluation_and_for_the_api`] |
//! | 34 | [`true_and_false_are_what_the_column_calls_them`] |
//! | 36, 40 | [`a_number_in_other_words_is_said_to_be_none_and_a_doubled_key_is_refused`] |
//! | 37 | `cases::held_out_categories_that_training_does_not_have_are_told` |
//! | 38 | [`a_word_for_a_missing_number_leaves_the_column_one_of_numbers`] |
//! | 39 | [`every_word_that_is_missing_in_training_is_missing_when_asked`] |
//! | 41, 43, 45, 46, 64 | `cases::csv_is_fit_whatever_it_begins_with_and_however_many_lines_a_cell_has` |
//! | 47, 50 to 52 | `cases::what_programs_write_beside_the_data_is_told_by_its_name` |
//! | 48 | `cases::lines_before_the_header_are_named` |
//! | 55 | `cases::amounts_of_money_are_told_as_such_and_as_no_identifiers`, `automl`'s `reading::amounts_of_money_shares_and_decimal_commas` |
//! | 57 | `automl`'s `schema::columns_are_taken_for_what_they_are` |
//! | 62 | `gathering::sixty_four_files_at_once_are_one_job_on_all_of_them` |
//! | 63 | `gathering::what_can_start_no_run_…`, `preflight::files_that_do_not_go_together_…` |
//! | 68, 70 | `predict`'s `api::records::what_cannot_be_read_says_why` |

use std::collections::BTreeMap;

use crosspilot_local::LocalCloud;
use crosspilot_tests::data::marked;
use crosspilot_tests::{Customer, on_local_cloud, predicting};
use serde_json::{Value, json};

/// Rows below `x,plan,churn`, as `line` makes them of their number.
fn table(rows: std::ops::Range<usize>, line: impl Fn(usize) -> String) -> String {
    let rows = rows.map(|row| line(row) + "\n");
    format!("x,plan,churn\n{}", rows.collect::<String>())
}

/// A number between 18 and 78.
fn x(row: usize) -> usize {
    18 + row * 7919 % 61
}

fn label(yes: bool) -> String {
    marked(if yes { "yes" } else { "no" })
}

/// A customer whose model was trained on these files, and the run's output.
async fn trained(
    cloud: &'static LocalCloud,
    tenant: &str,
    files: &[(&str, String)],
) -> (Customer, Value) {
    let customer = Customer::new(cloud, tenant).await;
    let mut settings = predicting("churn");
    settings.training.max_candidates = Some(1);
    settings.gate.allow_baseline = true;
    let (id, model) = (&customer.tenant.tenant, &customer.model);
    cloud.vendor().set_model(id, model, &settings).await.unwrap();
    for (name, text) in files {
        customer.put(&format!("crosspilot/churn/{name}"), text.clone()).await;
    }
    let output = customer.succeeded(&customer.first_execution().await).await;
    (customer, output)
}

/// The API's answer about these records.
async fn ask(customer: &Customer, records: Value) -> Value {
    let body = json!({ "records": records }).to_string();
    let (status, answer) = customer.ask(&customer.token(), "churn", &body).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

#[test]
fn a_part_without_rows_and_a_first_row_too_long_to_ask_about_fail_no_first_prediction() {
    on_local_cloud(async |cloud| {
        let empty = table(0..0, |_| String::new());
        let long = table(0..600, |row| match row {
            0 => format!("30,{},{}", marked(&"n".repeat(1_100_000)), label(true)),
            _ => format!("{},{},{}", x(row), marked("pro"), label(x(row) > 48)),
        });
        let files = [("train/a.csv", empty), ("train/b.csv", long)];
        let (_, output) = trained(cloud, "no-first-row", &files).await;
        assert_eq!(output["prediction"]["predicted"], 1, "{output}");
    });
}

#[test]
fn categories_of_several_lines_are_the_same_in_the_evaluation_and_for_the_api() {
    on_local_cloud(async |cloud| {
        let plan = |row: usize| marked(["basic\nplan", "pro\nplan", "plus"][row % 3]);
        let line = |row| format!("{},\"{}\",{}", x(row), plan(row), label(row % 3 == 0));
        let files = [("test/h.csv", table(600..660, line)), ("train/a.csv", table(0..600, line))];
        let (customer, output) = trained(cloud, "several-lines", &files).await;
        // They are blanks at both, which the model never saw: the preflight says so.
        let warnings = output["warnings"].as_array().unwrap();
        assert!(warnings.iter().any(|warning| warning["code"] == "LineBreaks"), "{output}");
        let key = output["prediction"]["predictions_uri"].as_str().unwrap();
        let key = key.split_once(&format!("{}/", customer.tenant.bucket)).unwrap().1;
        let scored = customer.get(key).await;
        let mut scored = csv::Reader::from_reader(scored.as_bytes());
        let scored: Vec<BTreeMap<String, String>> =
            scored.deserialize().map(Result::unwrap).collect();
        assert_eq!(scored.len(), 60);
        let records = (600..660).map(|row| json!({"x": x(row), "plan": plan(row)})).collect();
        let answer = ask(&customer, records).await;
        for (scored, asked) in scored.iter().zip(answer["predictions"].as_array().unwrap()) {
            assert_eq!(asked["label"], scored["predicted_label"], "{scored:?} {asked}");
        }
    });
}

#[test]
fn true_and_false_are_what_the_column_calls_them() {
    on_local_cloud(async |cloud| {
        let line = |row: usize| {
            let autopay = row.is_multiple_of(3);
            let flag = if autopay { "True" } else { "False" };
            format!("{},{flag},{}", x(row), label(autopay))
        };
        let text = table(0..600, line).replacen("plan", "autopay", 1);
        let (customer, _) = trained(cloud, "true-or-false", &[("train/a.csv", text)]).await;
        let flags = [json!(true), json!("True"), json!(false), json!("False")];
        let records = flags.map(|flag| json!({"x": 30, "autopay": flag})).into();
        let predictions = ask(&customer, records).await["predictions"].take();
        assert_eq!(predictions[0], predictions[1], "{predictions}");
        assert_eq!(predictions[2], predictions[3], "{predictions}");
        assert_eq!(predictions[0]["label"], label(true), "{predictions}");
        assert_eq!(predictions[2]["label"], label(false), "{predictions}");
    });
}

#[test]
fn a_number_in_other_words_is_said_to_be_none_and_a_doubled_key_is_refused() {
    on_local_cloud(async |cloud| {
        let line = |row| format!("{},{},{}", x(row), marked("pro"), label(x(row) > 48));
        let files = [("train/a.csv", table(0..600, line))];
        let (customer, _) = trained(cloud, "in-other-words", &files).await;
        let values = [json!(70), json!("$70"), json!("1,234.50"), json!("seventy"), json!("70.0")];
        let records = values.map(|value| json!({"x": value, "plan": marked("pro")})).into();
        let answer = ask(&customer, records).await;
        assert_eq!(answer["predictions"][0]["label"], label(true), "{answer}");
        assert_eq!(answer["predictions"][0], answer["predictions"][4], "{answer}");
        let warning =
            |record: usize| json!({"record": record, "column": "x", "code": "not_a_number"});
        assert_eq!(answer["warnings"], json!([warning(2), warning(3), warning(4)]), "{answer}");

        let twice =
            format!(r#"{{"records": [{{"plan": "{}", "x": 30, "x": 60}}]}}"#, marked("pro"));
        let (status, problem) = customer.ask(&customer.token(), "churn", &twice).await;
        assert_eq!(status, 400, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains("is there twice"), "{problem}");
    });
}

#[test]
fn a_word_for_a_missing_number_leaves_the_column_one_of_numbers() {
    on_local_cloud(async |cloud| {
        let line = |row: usize| {
            let number = if row.is_multiple_of(5) { "\\N".into() } else { x(row).to_string() };
            format!("{number},{},{}", marked("pro"), label(x(row) > 48))
        };
        let files = [("train/a.csv", table(0..600, line))];
        let (customer, output) = trained(cloud, "word-for-none", &files).await;
        let warned = output["warnings"].to_string();
        assert!(warned.contains("120 of 600 values that look like missing ones"), "{warned}");
        let values = [json!(30), json!("30.0"), json!("\\N"), Value::Null, json!(81)];
        let records = values.map(|value| json!({"x": value, "plan": marked("pro")})).into();
        let answer = ask(&customer, records).await;
        let predictions = &answer["predictions"];
        assert_eq!(predictions[0], predictions[1], "{answer}");
        assert_eq!(predictions[2], predictions[3], "{answer}");
        // Above all that was seen is above, and not unknown.
        assert_eq!(predictions[4]["label"], label(true), "{answer}");
        assert_eq!(answer["warnings"].as_array().unwrap().len(), 1, "{answer}");
        assert_eq!(answer["warnings"][0]["record"], 3, "{answer}");
    });
}

#[test]
fn every_word_that_is_missing_in_training_is_missing_when_asked() {
    on_local_cloud(async |cloud| {
        let line = |row: usize| {
            let missing = row.is_multiple_of(4);
            let plan = if missing { String::new() } else { marked(["pro", "basic"][row % 2]) };
            format!("{},{plan},{}", x(row), label(missing))
        };
        let files = [("train/a.csv", table(0..600, line))];
        let (customer, _) = trained(cloud, "missing-words", &files).await;
        let mut records = vec![json!({"x": 30})];
        let words = [Value::Null, json!(""), json!("NA"), json!("None"), json!("null")];
        records.extend(words.map(|word| json!({"x": 30, "plan": word})));
        let answer = ask(&customer, records.into()).await;
        let predictions = answer["predictions"].as_array().unwrap();
        assert_eq!(predictions[0]["label"], label(true), "{answer}");
        assert!(predictions.iter().all(|other| *other == predictions[0]), "{answer}");
    });
}
