//! Reports of made-up predictions. With `REPORT_DIR` set, they are written
//! there to be looked at.

#![allow(clippy::unwrap_used)]

use crosspilot_core::decision::Basis;
use crosspilot_core::registry::{EvaluationId, Measured};
use crosspilot_inference::{Prediction, Table};
use crosspilot_metrics::Metric;
use serde_json::json;

use super::{Described, Occasion, Report, html};
use crate::data::Source;
use crate::evaluation::Evaluation;
use crate::insights::{Confusion, Insights};
use crate::request::ConcludeRequest;

const HOSTILE: &str = "<script>alert('x')</script>\" onload=\"x";

/// Numbers from 0 to 1 that look random and never change.
fn noise(seed: usize) -> f64 {
    let mut x = seed as u64 ^ 0x9e37_79b9_7f4a_7c15;
    for _ in 0..3 {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x = x.wrapping_mul(0x2545_f491_4f6c_dd1d);
    }
    (x >> 11) as f64 / (1_u64 << 53) as f64
}

fn request(metric: &str, value: f64) -> ConcludeRequest {
    serde_json::from_value(json!({
        "run": {"tenant": "acme", "model": "churn", "run_id": "20260131-3f9a2c71b0"},
        "candidate": "crosspilot-churn-3f9a2c71b0-trial-t1-1", "job": "crosspilot-churn-3f9a2c71b0",
        "endpoint": "crosspilot-acme-churn", "score": {"metric": metric, "value": value},
        "comparison": {"held_out": "s3://acme-ml/crosspilot/churn/test/held-out-2026-01.csv", "rows": 1000},
        "decision": {
            "verdict": "deploy",
            "reason": "F1 0.9144 on the held-out rows beats the champion's 0.9012 by more than 0.005",
            "figures": {
                "basis": "held_out", "metric": metric, "smaller_is_better": false, "challenger": value,
                "champion": value * 0.98, "margin": 0.005,
            },
        },
    }))
    .unwrap()
}

/// The report of rows `(true cell, prediction)`.
fn page(
    target: &str,
    request: &ConcludeRequest,
    rows: &[(String, Prediction)],
    held_out: bool,
) -> String {
    page_of(target, request, rows, held_out, None)
}

fn page_of(
    target: &str,
    request: &ConcludeRequest,
    rows: &[(String, Prediction)],
    held_out: bool,
    occasion: Option<Occasion<'_>>,
) -> String {
    let mut text = csv::Writer::from_writer(Vec::new());
    text.write_record(["Account Length", "Int'l Plan", HOSTILE, target]).unwrap();
    for (index, (actual, _)) in rows.iter().enumerate() {
        let plan = if noise(index) > 0.8 { "yes" } else { "no" };
        text.write_record([&(index * 7 % 243).to_string(), plan, "K&R <b>", actual]).unwrap();
    }
    let uri = "s3://acme-ml/crosspilot/churn/test/held-out-2026-01.csv";
    let table = Table::read(uri, text.into_inner().unwrap(), true).unwrap();
    let source = Source { uri: uri.into(), held_out, table };
    let truth: Vec<String> = rows.iter().map(|(actual, _)| actual.clone()).collect();
    let predictions: Vec<Prediction> =
        rows.iter().map(|(_, prediction)| prediction.clone()).collect();
    let evaluation = Evaluation::new(&truth, &predictions).unwrap();
    let insights = insights();
    let ConcludeRequest { run, job, candidate, endpoint, score, .. } = request;
    let ConcludeRequest { decision, warnings, comparison, .. } = request;
    html(&Report {
        model: Described { run, job, candidate, endpoint, score },
        occasion: occasion.unwrap_or(Occasion::Run { decision, warnings }),
        comparison,
        target,
        source: &source,
        predictions: &predictions,
        truth: Some(&truth),
        evaluation: evaluation.as_ref().filter(|_| held_out),
        insights: &insights,
    })
}

/// Gives what Autopilot tells of a job, hostile names among it.
fn insights() -> Insights {
    let columns = ["Int'l Plan", HOSTILE, "Account Length"].map(str::to_owned);
    Insights {
        leaderboard: vec![
            ("crosspilot-churn-3f9a2c71b0-trial-t1-1".into(), 0.9144),
            ("crosspilot-churn-3f9a2c71b0-trial-t1-2".into(), 0.9012),
        ],
        importance: columns.into_iter().zip([0.6, 0.3, 0.1]).collect(),
        validation: Some(Confusion {
            labels: vec!["False.".into(), HOSTILE.into()],
            counts: vec![vec![431, 12], vec![20, 61]],
        }),
    }
}

#[test]
fn what_autopilot_tells_stands_in_the_report_and_its_matrix_where_there_is_no_other() {
    let rows = binary(200, ["False.", "True."]);
    let evaluated = page("Churn?", &request("F1", 0.9144), &rows, true);
    let unevaluated = page("Churn?", &request("F1", 0.9144), &rows, false);
    for page in [&evaluated, &unevaluated] {
        assert!(page.contains("What moves its answers") && page.contains("What else was tried"));
        assert!(page.contains("✓ this model") && !page.contains("<script"));
    }
    let chosen = "by which this model was chosen";
    assert!(unevaluated.contains(chosen) && unevaluated.contains("431"));
    assert!(!evaluated.contains(chosen));
}

fn labelled(labels: &[&str], probabilities: Vec<f64>) -> Prediction {
    let best =
        (0..labels.len()).max_by(|a, b| probabilities[*a].total_cmp(&probabilities[*b])).unwrap();
    let names: Vec<String> = labels.iter().map(|label| (*label).to_owned()).collect();
    Prediction::Label {
        label: names[best].clone(),
        probability: None,
        labels: names.into(),
        probabilities,
    }
}

/// Like the churn data: one case in seven is positive.
fn binary(rows: usize, labels: [&str; 2]) -> Vec<(String, Prediction)> {
    let row = |i: usize| {
        let positive = noise(i) < 0.145;
        let z =
            if positive { 1.6 } else { -3.0 } + 4.2 * (noise(i + 10_000) + noise(i + 20_000) - 1.0);
        let p = 1.0 / (1.0 + f64::exp(-z));
        (labels[usize::from(positive)].to_owned(), labelled(&labels, vec![1.0 - p, p]))
    };
    (0..rows).map(row).collect()
}

fn multiclass(rows: usize, labels: &[&str]) -> Vec<(String, Prediction)> {
    let row = |i: usize| {
        let truth = ((noise(i).powi(2)) * labels.len() as f64) as usize;
        let weights: Vec<f64> = (0..labels.len())
            .map(|k| {
                f64::exp(3.0 * noise(i * 97 + k * 13 + 1) + if k == truth { 1.9 } else { 0.0 })
            })
            .collect();
        let total: f64 = weights.iter().sum();
        (labels[truth].to_owned(), labelled(labels, weights.iter().map(|w| w / total).collect()))
    };
    (0..rows).map(row).collect()
}

fn regression(rows: usize) -> Vec<(String, Prediction)> {
    let row = |i: usize| {
        let truth = 80_000.0 + 420_000.0 * noise(i).powi(2);
        let error = (noise(i + 5_000) + noise(i + 6_000) + noise(i + 7_000) - 1.5) * 0.22 * truth;
        (format!("{truth:.0}"), Prediction::Value(truth * 0.97 + 6_000.0 + error))
    };
    (0..rows).map(row).collect()
}

fn keep(name: &str, page: &str) {
    if let Ok(place) = std::env::var("REPORT_DIR") {
        std::fs::write(format!("{place}/{name}.html"), page).unwrap();
    }
}

#[test]
fn a_binary_report_shows_all_its_charts() {
    let page = page("Churn?", &request("F1", 0.9144), &binary(1000, ["False.", "True."]), true);
    for part in [
        "ROC curve",
        "Calibration",
        "Distribution of scores",
        "truly ↓",
        "Its surest mistakes",
        "Always answering",
        "Champion or challenger?",
        "beats the champion",
    ] {
        assert!(page.contains(part), "{part}");
    }
    keep("binary", &page);
}

#[test]
fn a_multiclass_report_lists_its_answers() {
    let labels = ["bronze", "gold", "none", "platinum", "silver"];
    let page = page("Tier", &request("Accuracy", 0.71), &multiclass(1500, &labels), true);
    assert!(page.contains("Answer by answer") && !page.contains("ROC curve"));
    keep("multiclass", &page);
}

#[test]
fn a_regression_report_shows_errors() {
    let page = page("Price", &request("validation:rmse", 31_500.0), &regression(2000), true);
    assert!(page.contains("Predicted against true values") && page.contains("R²"));
    keep("regression", &page);
}

#[test]
fn what_the_preflight_found_strange_stands_beside_the_figures() {
    let mut request = request("Accuracy", 0.9);
    let rows = [("7".to_owned(), Prediction::Value(7.0))];
    assert!(!page("Price", &request, &rows, true).contains("What is strange of the data"));
    let told = json!([{"code": "LeakyColumn", "message": "column \"<b>\" gives \"Price\" away"}]);
    request.warnings = serde_json::from_value(told).unwrap();
    let page = page("Price", &request, &rows, true);
    assert!(page.contains("What is strange of the data"));
    assert!(page.contains("column &quot;&lt;b&gt;&quot; gives"), "{page}");
}

#[test]
fn without_held_out_rows_it_says_how_to_get_an_evaluation() {
    let rows = [(String::new(), binary(1, ["False.", "True."])[0].1.clone())];
    let page = page("Churn?", &request("F1", 0.9144), &rows, false);
    assert!(page.contains("in service and answers") && page.contains("test folder"));
    keep("smoke", &page);
}

#[test]
fn a_model_that_guesses_is_no_better_than_one_answer_in_the_headline() {
    let labels = ["False.", "True."];
    let guess = |i: usize| if noise(i + 50_000) < 0.05 { 0.9 } else { 0.1 };
    let rows: Vec<(String, Prediction)> = binary(1000, labels)
        .into_iter()
        .enumerate()
        .map(|(i, (truth, _))| (truth, labelled(&labels, vec![1.0 - guess(i), guess(i)])))
        .collect();
    let (truth, predictions): (Vec<String>, Vec<Prediction>) = rows.iter().cloned().unzip();
    let evaluation = Evaluation::new(&truth, &predictions).unwrap().unwrap();
    let mut request = request("F1", 0.9144);
    request.comparison.metric = Some("F1".into());
    request.comparison.challenger = evaluation.get(Metric::F1);
    request.comparison.baseline = evaluation.baseline(Metric::F1);
    // Some are right by chance: more than always saying no.
    assert!(request.comparison.challenger > Some(0.0));
    let said = "It is no better than always giving the same answer: F1";
    assert!(page("Churn?", &request, &rows, true).contains(said));
}

#[test]
fn a_model_whose_validation_shows_no_more_than_chance_says_so_in_the_headline() {
    let rows = [(String::new(), binary(1, ["False.", "True."])[0].1.clone())];
    let said = "It is no better than always giving the same answer: AUC";
    for (auc, says) in [(0.49, true), (0.9, false)] {
        let mut request = request("AUC", auc);
        let figures = request.decision.figures.as_mut().unwrap();
        (figures.basis, figures.baseline) = (Basis::Validation, Some(0.5));
        assert_eq!(page("Churn?", &request, &rows, false).contains(said), says, "{auc}");
    }
}

#[test]
fn hostile_text_stays_text() {
    let page = page(HOSTILE, &request(HOSTILE, 0.5), &binary(40, [HOSTILE, "&<b>"]), true);
    assert!(
        !page.contains("<script") && !page.contains("onload=\"") && !page.contains("<b> "),
        "{page}"
    );
    assert!(page.contains("&lt;script&gt;") && page.contains("40 held-out rows"));
    keep("hostile", &page);
}

#[test]
fn the_same_report_is_the_same_text() {
    let make = || page("Churn?", &request("F1", 0.9), &binary(200, ["no", "yes"]), true);
    assert_eq!(make(), make());
}

#[test]
fn a_model_that_was_kept_out_cannot_be_taken_for_the_one_that_serves() {
    let mut request = request("F1", 0.9144);
    request.decision.verdict = crosspilot_core::decision::GateVerdict::Keep;
    request.decision.reason = "F1 0.9144 does not beat the champion's 0.95".into();
    let page = page("Churn?", &request, &binary(200, ["False.", "True."]), true);
    assert!(page.contains("was kept out and does not serve: <bdi>F1 0.9144 does not beat"));
    assert!(page.contains("✗ kept out"));
    keep("kept-out", &page);
}

#[test]
fn on_later_rows_it_shows_the_trend_and_says_when_it_is_below_the_minimum() {
    let measured = |uploaded: &str, value: f64| Measured {
        evaluation: EvaluationId::derive("crosspilot/churn/test/a.csv", "e", uploaded),
        run: "20260131-3f9a2c71b0".parse().unwrap(),
        uploaded: uploaded.to_owned(),
        rows: 200,
        metric: Some("F1".into()),
        value: Some(value),
        smaller_is_better: false,
        reason: None,
    };
    let (first, second) =
        (measured("2026-02-01T12:00:00Z", 0.91), measured("2026-03-01T12:00:00Z", 0.62));
    let page = |trend: &[&Measured]| {
        let occasion = Occasion::Upload { trend, minimum: Some(0.7) };
        let rows = binary(200, ["False.", "True."]);
        page_of("Churn?", &request("F1", 0.9144), &rows, true, Some(occasion))
    };
    let still_good = page(&[&first]);
    assert!(still_good.contains("Is it still as good?"));
    assert!(!still_good.contains("below the minimum") && !still_good.contains("✗ 0.91"));
    assert!(!still_good.contains("Champion or challenger?"));
    let no_more = page(&[&first, &second]);
    assert!(no_more.contains("is below the minimum of 0.7000: 0.6200"), "{no_more}");
    assert!(no_more.contains("2026-02-01T12:00:00Z") && no_more.contains("✗ "));
    keep("later", &no_more);
}
