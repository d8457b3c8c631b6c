//! Champion or challenger?

use crosspilot_core::aws::sagemaker::types::{AutoMlCandidate, AutoMlJobObjectiveType};
use crosspilot_core::registry::Serving;
use crosspilot_core::run::RunRef;
use serde::Serialize;

/// A candidate's objective metric. Real metric names fall outside SageMaker's
/// own list, so the name is free text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Score {
    /// Such as `F1` or `validation:f1_binary`.
    pub metric: Option<String>,
    /// Absent when SageMaker gave none or no finite number.
    pub value: Option<f64>,
    /// Whether a smaller value is the better one.
    pub smaller_is_better: bool,
}

/// Whether the challenger is deployed, and why.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Decision {
    /// The verdict.
    pub verdict: Verdict,
    /// One sentence with the numbers.
    pub reason: String,
}

/// The two outcomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The challenger is deployed.
    Deploy,
    /// The champion stays.
    Keep,
}

impl Decision {
    /// Whether the challenger is deployed.
    pub fn deploys(&self) -> bool {
        self.verdict == Verdict::Deploy
    }
}

pub(crate) fn score(candidate: &AutoMlCandidate) -> Score {
    let metric = candidate.final_auto_ml_job_objective_metric();
    let name = metric.and_then(|m| m.metric_name()).map(|name| name.as_str().to_owned());
    let declared = metric.and_then(|m| m.r#type());
    let smaller_is_better = match declared {
        Some(AutoMlJobObjectiveType::Minimize) => true,
        Some(AutoMlJobObjectiveType::Maximize) => false,
        // The type may be missing; errors are what one minimises.
        _ => name.as_deref().is_some_and(is_error_metric),
    };
    let value = metric.and_then(|m| m.value()).map(f64::from).filter(|value| value.is_finite());
    Score { metric: name, value, smaller_is_better }
}

fn is_error_metric(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["mse", "mae", "loss", "error"].iter().any(|part| name.contains(part))
}

/// Decides by the same metric only: numbers of different metrics say nothing
/// about each other, so then the champion stays.
pub fn decide(
    challenger: &Score,
    champion: Option<&Serving>,
    run: &RunRef,
    margin: f64,
) -> Decision {
    let deploy = |reason| Decision { verdict: Verdict::Deploy, reason };
    let keep = |reason| Decision { verdict: Verdict::Keep, reason };
    let Some(champion) = champion else {
        return deploy("nothing serves yet: the first model is deployed".to_owned());
    };
    if champion.run == *run {
        return deploy("this run's model serves already".to_owned());
    }
    let Some(metric) = &challenger.metric else {
        return keep("the challenger has no objective metric: the champion stays".to_owned());
    };
    if champion.metric.as_ref() != Some(metric) {
        let other = champion.metric.as_deref().unwrap_or("no metric");
        return keep(format!(
            "the challenger was measured by {metric}, the champion by {other}: the champion stays"
        ));
    }
    let (Some(new), Some(old)) = (challenger.value, champion.value) else {
        return keep(format!("{metric} is not a number for both: the champion stays"));
    };
    let gain = if challenger.smaller_is_better { old - new } else { new - old };
    if gain > margin {
        deploy(format!("{metric} {new:.4} beats the champion's {old:.4} by more than {margin}"))
    } else {
        keep(format!(
            "{metric} {new:.4} does not beat the champion's {old:.4} by more than {margin}: the champion stays"
        ))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn run(id: &str) -> RunRef {
        RunRef {
            tenant: "acme".parse().unwrap(),
            model: "churn".parse().unwrap(),
            run_id: id.parse().unwrap(),
        }
    }

    fn champion(metric: &str, value: f64) -> Serving {
        Serving {
            run: run("20260101-0000000000"),
            job: "j".into(),
            candidate: "c".into(),
            endpoint: "e".into(),
            metric: Some(metric.into()),
            value: Some(value),
            features: vec!["age".into()],
            target: "Churn?".into(),
        }
    }

    fn verdict(metric: &str, value: Option<f64>, champion: &Serving, margin: f64) -> Verdict {
        let smaller_is_better = is_error_metric(metric);
        let score = Score { metric: Some(metric.into()), value, smaller_is_better };
        decide(&score, Some(champion), &run("20260102-0000000000"), margin).verdict
    }

    #[test]
    fn the_first_model_is_deployed() {
        let score = Score { metric: None, value: None, smaller_is_better: false };
        assert!(decide(&score, None, &run("20260102-0000000000"), 0.0).deploys());
    }

    #[test]
    fn a_challenger_must_be_better_by_more_than_the_margin() {
        let f1 = champion("F1", 0.90);
        assert_eq!(verdict("F1", Some(0.93), &f1, 0.01), Verdict::Deploy);
        assert_eq!(verdict("F1", Some(0.905), &f1, 0.01), Verdict::Keep);
        assert_eq!(verdict("F1", Some(0.90), &f1, 0.0), Verdict::Keep);
        let mse = champion("MSE", 10.0);
        assert_eq!(verdict("MSE", Some(8.0), &mse, 1.0), Verdict::Deploy);
        assert_eq!(verdict("MSE", Some(12.0), &mse, 1.0), Verdict::Keep);
    }

    #[test]
    fn what_cannot_be_compared_keeps_the_champion() {
        let f1 = champion("F1", 0.90);
        assert_eq!(verdict("Accuracy", Some(0.99), &f1, 0.0), Verdict::Keep);
        assert_eq!(verdict("F1", None, &f1, 0.0), Verdict::Keep);
    }

    #[test]
    fn a_redriven_run_deploys_its_own_model_again() {
        let score = Score { metric: Some("F1".into()), value: Some(0.9), smaller_is_better: false };
        let own = champion("F1", 0.9);
        assert!(decide(&score, Some(&own), &own.run, 0.5).deploys());
    }
}
