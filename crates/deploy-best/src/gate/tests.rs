//! The gate's table.

#![allow(clippy::unwrap_used)]

use super::*;
use Basis::{HeldOut, Validation};
use Verdict::{Deploy, Keep};

fn run(id: &str) -> RunRef {
    RunRef {
        tenant: "acme".parse().unwrap(),
        model: "churn".parse().unwrap(),
        run_id: id.parse().unwrap(),
    }
}

fn champion(metric: Option<&str>, value: Option<f64>) -> Serving {
    Serving {
        run: run("20260101-0000000000"),
        job: "j".into(),
        candidate: "c".into(),
        endpoint: "e".into(),
        variant: "20260101-0000000000".into(),
        metric: metric.map(str::to_owned),
        value,
        features: vec!["age".into()],
        booleans: Default::default(),
        target: "Churn?".into(),
    }
}

fn score(metric: &str, value: f64) -> Score {
    let smaller_is_better = is_error_metric(metric);
    Score { metric: Some(metric.into()), value: Some(value), smaller_is_better }
}

fn compared(metric: &str, challenger: Option<f64>, champion: Option<f64>) -> Comparison {
    Comparison {
        held_out: Some("s3://acme-ml/test.csv".into()),
        rows: 200,
        metric: Some(metric.into()),
        instead_of: None,
        smaller_is_better: is_error_metric(metric),
        challenger,
        champion,
        against: None,
        reason: champion.is_none().then(|| "the champion did not answer".into()),
    }
}

fn decided(
    score: &Score,
    comparison: &Comparison,
    champion: Option<&Serving>,
    gate: Gate,
) -> Decision {
    decide(&Contest { run: &run("20260102-0000000000"), gate, score, comparison, champion })
}

const OPEN: Gate = Gate { margin: 0.0, minimum: None };

fn margin(margin: f64) -> Gate {
    Gate { margin, minimum: None }
}

#[test]
fn without_held_out_rows_validation_decides_by_metric_direction_and_margin() {
    let none =
        Comparison { reason: Some("there is no held-out file".into()), ..Default::default() };
    for (metric, old, new, gate, verdict) in [
        ("F1", 0.90, 0.93, margin(0.01), Deploy),
        ("F1", 0.90, 0.905, margin(0.01), Keep),
        ("F1", 0.90, 0.90, OPEN, Keep),
        ("F1", 0.90, 0.80, OPEN, Keep),
        ("MSE", 10.0, 8.0, margin(1.0), Deploy),
        ("MSE", 10.0, 9.5, margin(1.0), Keep),
        ("MSE", 10.0, 12.0, margin(1.0), Keep),
        ("validation:binary_logloss", 0.3, 0.2, OPEN, Deploy),
        // Below zero, the newer may be a little worse.
        ("F1", 0.90, 0.89, margin(-0.02), Deploy),
        ("F1", 0.90, 0.87, margin(-0.02), Keep),
        ("MSE", 10.0, 10.5, margin(-1.0), Deploy),
        ("MSE", 10.0, 11.5, margin(-1.0), Keep),
    ] {
        let champion = champion(Some(metric), Some(old));
        let decision = decided(&score(metric, new), &none, Some(&champion), gate);
        assert_eq!(decision.verdict, verdict, "{metric} {old} {new}");
        let figures = decision.figures.unwrap();
        assert_eq!((figures.basis, figures.champion), (Validation, Some(old)));
        assert_eq!(decision.note.as_deref(), Some("there is no held-out file"));
    }
}

#[test]
fn held_out_rows_decide_when_both_were_scored_on_them() {
    // By their validation metrics, each would end the other way.
    for (metric, old, new, validation, verdict) in [
        ("F1", 0.80, 0.85, 0.70, Deploy),
        ("F1", 0.85, 0.80, 0.99, Keep),
        ("RMSE", 5.0, 4.0, 9.0, Deploy),
        ("RMSE", 4.0, 5.0, 1.0, Keep),
    ] {
        let champion = champion(Some(metric), Some(if metric == "F1" { 0.9 } else { 3.0 }));
        let comparison = compared(metric, Some(new), Some(old));
        let decision = decided(&score(metric, validation), &comparison, Some(&champion), OPEN);
        assert_eq!(decision.verdict, verdict, "{metric} {old} {new}");
        let figures = decision.figures.unwrap();
        assert_eq!((figures.basis, figures.challenger), (HeldOut, new));
        assert_eq!((figures.champion, decision.note), (Some(old), None));
        assert!(decision.reason.contains("on the held-out rows"), "{}", decision.reason);
    }
}

#[test]
fn a_champion_without_a_held_out_figure_is_compared_by_validation_and_that_is_said() {
    for missing in [None, Some(f64::NAN)] {
        let comparison = Comparison { champion: missing, ..compared("F1", Some(0.5), None) };
        let champion = champion(Some("F1"), Some(0.9));
        let decision = decided(&score("F1", 0.95), &comparison, Some(&champion), OPEN);
        assert!(decision.deploys(), "{}", decision.reason);
        assert_eq!(decision.figures.unwrap().basis, Validation);
        assert_eq!(decision.note.as_deref(), Some("the champion did not answer"));
    }
}

#[test]
fn held_out_rows_decide_also_where_sagemaker_gave_no_metric() {
    let comparison = compared("F1", Some(0.9), Some(0.8));
    let champion = champion(None, None);
    let decision = decided(&Score::default(), &comparison, Some(&champion), OPEN);
    assert!(decision.deploys(), "{}", decision.reason);
}

#[test]
fn what_cannot_be_compared_keeps_the_champion() {
    let none = Comparison::default();
    let f1 = champion(Some("F1"), Some(0.90));
    let nameless = champion(None, None);
    let unknown = champion(Some("F1"), None);
    let infinite = Score { value: Some(f64::INFINITY), ..score("F1", 0.0) };
    let valueless = Score { value: None, ..score("F1", 0.0) };
    for (score, champion, part) in [
        (score("Accuracy", 0.99), &f1, "measured by Accuracy, the champion by F1"),
        (score("F1", 0.99), &nameless, "the champion by no metric"),
        (score("F1", 0.99), &unknown, "not a number for both"),
        (valueless, &f1, "has no objective metric"),
        (infinite, &f1, "has no objective metric"),
        (Score::default(), &f1, "has no objective metric"),
    ] {
        let decision = decided(&score, &none, Some(champion), OPEN);
        assert_eq!(decision.verdict, Keep);
        assert!(decision.reason.contains(part), "{}", decision.reason);
    }
}

#[test]
fn the_minimum_holds_for_every_model_also_the_first() {
    let none = Comparison::default();
    let floor = |minimum| Gate { margin: 0.0, minimum: Some(minimum) };
    let champion = champion(Some("F1"), Some(0.5));
    for (score, comparison, champion, gate, verdict) in [
        (score("F1", 0.8), &none, None, floor(0.7), Deploy),
        (score("F1", 0.7), &none, None, floor(0.7), Deploy),
        (score("F1", 0.6), &none, None, floor(0.7), Keep),
        (score("F1", 0.6), &none, Some(&champion), floor(0.7), Keep),
        (score("MSE", 6.0), &none, None, floor(5.0), Keep),
        (score("MSE", 4.0), &none, None, floor(5.0), Deploy),
        // The held-out rows count, not what training saw.
        (score("F1", 0.9), &compared("F1", Some(0.6), None), None, floor(0.7), Keep),
        (score("F1", 0.6), &compared("F1", Some(0.9), None), None, floor(0.7), Deploy),
        (Score::default(), &none, None, floor(0.7), Keep),
        (Score::default(), &none, None, OPEN, Deploy),
    ] {
        let decision = decided(&score, comparison, champion, gate);
        assert_eq!(decision.verdict, verdict, "{}", decision.reason);
    }
}

#[test]
fn a_metric_that_stands_in_for_the_objective_is_held_against_no_threshold_of_it() {
    let fallback = Comparison {
        instead_of: Some("F1".into()),
        ..compared("Accuracy", Some(0.8667), Some(0.9))
    };
    let champion = champion(Some("F1"), Some(0.80));
    let floor = Gate { margin: 0.0, minimum: Some(0.84) };
    // Accuracy 0.8667 is no F1 of 0.84; neither is a difference of accuracies a margin.
    for (gate, validation, verdict) in [
        (floor, 0.83, Keep),
        (floor, 0.85, Deploy),
        (margin(0.02), 0.81, Keep),
        (margin(0.02), 0.83, Deploy),
    ] {
        let decision = decided(&score("F1", validation), &fallback, Some(&champion), gate);
        assert_eq!(decision.verdict, verdict, "{}", decision.reason);
        assert_eq!(decision.figures.unwrap().basis, Validation);
        let note = decision.note.unwrap();
        assert!(
            note.contains("not be measured by F1") && note.contains("only by Accuracy"),
            "{note}"
        );
    }
    // Without thresholds, it compares both on the same rows.
    let decision = decided(&score("F1", 0.99), &fallback, Some(&champion), OPEN);
    assert_eq!((decision.verdict, decision.figures.unwrap().basis), (Keep, HeldOut));
}

#[test]
fn numbers_are_compared_as_they_are_printed() {
    let none = Comparison::default();
    for printed in [0.9, 0.7, 0.95, 0.6, 0.1] {
        let value = as_printed(printed as f32);
        let gate = Gate { margin: 0.0, minimum: Some(printed) };
        let decision = decided(&score("F1", value), &none, None, gate);
        assert!(decision.deploys(), "{}", decision.reason);
    }
    // 0.8 beats 0.7 by 0.1 and not by more, also where 0.8 - 0.7 is 0.10000000000000009.
    let champion = champion(Some("F1"), Some(0.7));
    let by = |value| decided(&score("F1", value), &none, Some(&champion), margin(0.1)).deploys();
    assert!(!by(0.8) && by(0.800_001));
    assert_eq!(difference((1e15, 1.0)), 1e15 - 1.0);
    assert_eq!((difference((0.0, 0.0)), difference((3.0, 3.0))), (0.0, 0.0));
}

#[test]
fn a_redriven_run_deploys_its_own_model_again() {
    let own = champion(Some("F1"), Some(0.9));
    let (score, comparison) = (score("F1", 0.1), Comparison::default());
    let gate = Gate { margin: 0.5, minimum: Some(0.99) };
    let contest = Contest {
        run: &own.run,
        gate,
        score: &score,
        comparison: &comparison,
        champion: Some(&own),
    };
    assert!(decide(&contest).deploys());
}

#[test]
fn a_metric_without_a_type_is_told_by_its_name() {
    for (name, smaller) in [("MSE", true), ("validation:mae", true), ("F1", false), ("AUC", false)]
    {
        assert_eq!(is_error_metric(name), smaller, "{name}");
    }
}
