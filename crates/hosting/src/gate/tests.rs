//! The gate's table.

#![allow(clippy::unwrap_used)]

use crosspilot_core::aws::sagemaker::types::{AutoMlCandidate, FinalAutoMlJobObjectiveMetric};
use crosspilot_core::sagemaker;
use crosspilot_metrics::Direction;
use crosspilot_scripted::{run, serving};

use super::*;
use Basis::{HeldOut, Validation};
use GateVerdict::{Deploy, Keep};

fn champion(metric: Option<&str>, value: Option<f64>) -> Serving {
    Serving { metric: metric.map(str::to_owned), value, ..serving("20260101-0000000000") }
}

fn score(metric: &str, value: f64) -> Score {
    let smaller_is_better = Direction::of_metric(metric) == Direction::Minimize;
    Score { metric: Some(metric.into()), value: Some(value), smaller_is_better }
}

fn compared(metric: &str, challenger: Option<f64>, champion: Option<f64>) -> Comparison {
    Comparison {
        held_out: Some("s3://acme-ml/test.csv".into()),
        rows: 200,
        metric: Some(metric.into()),
        smaller_is_better: (Direction::of_metric(metric) == Direction::Minimize),
        challenger,
        champion,
        unknown_labels: 0,
        baseline: None,
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

const OPEN: Gate = Gate { margin: 0.0, minimum: None, allow_baseline: false };

fn margin(margin: f64) -> Gate {
    Gate { margin, minimum: None, allow_baseline: false }
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
    let floor = |minimum| Gate { margin: 0.0, minimum: Some(minimum), allow_baseline: false };
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
fn a_model_no_better_than_one_answer_does_not_serve_unless_the_settings_allow_it() {
    let constant = |metric, challenger, baseline| Comparison {
        baseline: Some(baseline),
        ..compared(metric, Some(challenger), None)
    };
    let allowing = Gate { allow_baseline: true, ..OPEN };
    for (metric, challenger, baseline, gate, verdict) in [
        ("Accuracy", 0.7, 0.7, OPEN, Keep),
        ("Accuracy", 0.71, 0.7, OPEN, Deploy),
        ("RMSE", 5.0, 4.9, OPEN, Keep),
        ("RMSE", 4.8, 4.9, OPEN, Deploy),
        ("RMSE", 5.0, 4.9, allowing, Deploy),
    ] {
        let comparison = constant(metric, challenger, baseline);
        let decision = decided(&score(metric, challenger), &comparison, None, gate);
        assert_eq!(decision.verdict, verdict, "{}", decision.reason);
        let said = decision.reason.contains("no better than always giving the same answer");
        assert_eq!(said, verdict == Keep, "{}", decision.reason);
    }
    // Of some metrics, it is known also of rows that nobody measured it on.
    let none = Comparison::default();
    let serving = champion(Some("AUC"), Some(0.3));
    for (metric, challenger, champion, gate, verdict) in [
        ("AUC", 0.5, None, OPEN, Keep),
        ("validation:auc", 0.49, None, OPEN, Keep),
        ("AUC", 0.49, Some(&serving), OPEN, Keep),
        ("AUC", 0.51, None, OPEN, Deploy),
        ("R2", -0.1, None, OPEN, Keep),
        ("R2", 0.1, None, OPEN, Deploy),
        ("R2", -0.1, None, allowing, Deploy),
        ("F1", 0.01, None, OPEN, Deploy),
    ] {
        let decision = decided(&score(metric, challenger), &none, champion, gate);
        assert_eq!(decision.verdict, verdict, "{}", decision.reason);
        let said = "on validation data is no better than always giving the same answer";
        assert_eq!(decision.reason.contains(said), verdict == Keep, "{}", decision.reason);
    }
    // A figure of the validation is not held against one of the held-out rows.
    let few = Comparison { rows: 29, ..constant("Accuracy", 0.6, 0.7) };
    let decision = decided(&score("Accuracy", 0.6), &few, None, OPEN);
    assert!(decision.deploys(), "{}", decision.reason);
    assert_eq!(decision.figures.unwrap().basis, Validation);
    assert!(decision.note.unwrap().starts_with("only 29 held-out rows"));
}

#[test]
fn numbers_are_compared_as_they_are_printed() {
    let none = Comparison::default();
    for printed in [0.9, 0.7, 0.95, 0.6, 0.1] {
        let metric = FinalAutoMlJobObjectiveMetric::builder().value(printed as f32).build();
        let candidate = AutoMlCandidate::builder().final_auto_ml_job_objective_metric(metric);
        let value = sagemaker::score(&candidate.build()).value.unwrap();
        let gate = Gate { margin: 0.0, minimum: Some(printed), allow_baseline: false };
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
    let gate = Gate { margin: 0.5, minimum: Some(0.99), allow_baseline: false };
    let contest = Contest {
        run: &own.run,
        gate,
        score: &score,
        comparison: &comparison,
        champion: Some(&own),
    };
    assert!(decide(&contest).deploys());
}
