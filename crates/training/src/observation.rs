//! The meaning of SageMaker's answers for the run.

use std::fmt::Display;

use crosspilot_core::aws::sagemaker::operation::describe_auto_ml_job_v2::DescribeAutoMlJobV2Output;
use crosspilot_core::aws::sagemaker::operation::describe_endpoint::DescribeEndpointOutput;
use crosspilot_core::aws::sagemaker::operation::describe_transform_job::DescribeTransformJobOutput;
use crosspilot_core::aws::sagemaker::types::{AutoMlCandidate, EndpointStatus};
use crosspilot_core::decision::Score;
use crosspilot_core::error::Code;
use crosspilot_core::sagemaker;
use crosspilot_core::said::Said;
use serde::Serialize;

use crate::phase::{
    Clock, Phase, StopReason, can_be_stopped, endpoint_phase, job_phase, transform_phase,
};

/// The best candidate so far.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Best {
    /// The candidate's name.
    pub name: String,
    /// The objective metric's name, exactly as SageMaker gives it.
    pub metric: Option<String>,
    /// The objective metric's value; absent when it is not a finite number.
    pub value: Option<f64>,
}

/// The state of a job or endpoint, for the state machine (`phase`, `wait_seconds`, `failure`)
/// and for people (the rest).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Observation {
    /// The phase that the state machine branches on.
    pub phase: Phase,
    /// AWS's own status.
    pub status: String,
    /// AWS's own secondary status, of a job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secondary_status: Option<String>,
    /// Candidates that have been trained so far, of a job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidates: Option<usize>,
    /// The best of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub best: Option<Best>,
    /// The failure by which the run ends here, where it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<ObservedFailure>,
    /// Seconds to wait before the next look.
    pub wait_seconds: u32,
}

/// The failure by which a run ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ObservedFailure {
    /// The stable code.
    pub code: String,
    /// The cause: one sentence.
    pub cause: String,
}

/// The terms of a job or endpoint: how long it may take, and whether it must stop before
/// that.
pub struct Terms {
    /// The time that there was, and may be.
    pub clock: Clock,
    /// The reason why a job is to stop, if it is.
    pub order: Option<StopReason>,
}

/// The job or endpoint as it was seen.
struct Seen {
    /// The kind and the name, such as `AutoML job crosspilot-churn-3f9a2c71b0`.
    what: String,
    phase: Phase,
    status: String,
    /// The reason why it failed, in words that may leave the customer's account.
    reason: Option<String>,
    /// The code under which a failed one ends the run.
    code: Code,
}

impl Terms {
    /// Tells whether a job of this status must be told to stop.
    pub fn must_stop(&self, status: Option<&impl Display>) -> bool {
        self.order.is_some() && can_be_stopped(&shown(status))
    }

    /// An AutoML job with so many candidates that are trained, if they could be counted.
    pub fn job(
        &self,
        name: &str,
        found: &DescribeAutoMlJobV2Output,
        candidates: Option<usize>,
    ) -> Observation {
        let status = shown(found.auto_ml_job_status());
        let best = found.best_candidate().map(best_of);
        let command = format!("describe-auto-ml-job-v2 --auto-ml-job-name {name}");
        let mut reason = told(found.failure_reason(), command);
        if best.is_none() && status != "Failed" {
            reason = reason.or_else(|| Some("it has no best candidate".to_owned()));
        }
        let seen = Seen {
            what: format!("AutoML job {name}"),
            phase: job_phase(&status, best.is_some(), self.order.as_ref()),
            status,
            reason,
            code: Code::NoCandidate,
        };
        Observation {
            secondary_status: found.auto_ml_job_secondary_status().map(|s| s.as_str().to_owned()),
            candidates,
            best,
            ..self.response(seen)
        }
    }

    /// A transform job.
    pub fn transform(&self, name: &str, found: &DescribeTransformJobOutput) -> Observation {
        let status = shown(found.transform_job_status());
        self.response(Seen {
            what: format!("transform job {name}, which scores the held-out rows,"),
            phase: transform_phase(&status, self.order.as_ref()),
            status,
            reason: told(
                found.failure_reason(),
                format!("describe-transform-job --transform-job-name {name}"),
            ),
            code: Code::ResourceFailed,
        })
    }

    /// An endpoint that shall serve this config.
    pub fn endpoint(
        &self,
        name: &str,
        config: &str,
        found: &DescribeEndpointOutput,
    ) -> Observation {
        let status = shown(found.endpoint_status());
        let serving = found.endpoint_config_name().unwrap_or_default();
        let command = format!("describe-endpoint --endpoint-name {name}");
        let mut reason = told(found.failure_reason(), command);
        if status == EndpointStatus::InService.as_str() && serving != config {
            let why = reason.unwrap_or_else(|| "SageMaker gave no reason".to_owned());
            reason = Some(format!("it went back to config {serving}: {why}"));
        }
        self.response(Seen {
            what: format!("endpoint {name}"),
            phase: endpoint_phase(&status, serving == config),
            status,
            reason,
            code: Code::ResourceFailed,
        })
    }

    fn response(&self, seen: Seen) -> Observation {
        let Seen { what, mut phase, status, reason, code } = seen;
        let gives_up = phase == Phase::InProgress && self.clock.gives_up();
        let reason = reason.map_or(String::new(), |reason| format!(": {reason}"));
        let failure = match (phase, &self.order) {
            (Phase::InProgress, Some(order)) if gives_up => {
                phase = Phase::Failed;
                let cause = format!("{what} is still {status}, although {}", order.reason());
                Some((order.code(), cause))
            }
            (Phase::InProgress | Phase::Succeeded, _) => None,
            (Phase::Stopped, Some(order)) => {
                let cause = format!(
                    "{what} is {status} and nothing was deployed, since {}",
                    order.reason()
                );
                Some((order.code(), cause))
            }
            _ => Some((code, format!("{what} ended as {status}{reason}"))),
        };
        Observation {
            phase,
            status,
            secondary_status: None,
            candidates: None,
            best: None,
            failure: failure.map(|(code, cause)| ObservedFailure { code: code.to_string(), cause }),
            wait_seconds: self.clock.wait_seconds(),
        }
    }
}

/// Gives what may be told of a `FailureReason`, which this command reads whole.
fn told(reason: Option<&str>, command: String) -> Option<String> {
    reason.map(|reason| Said::new(reason).reason(command))
}

/// The status in SageMaker's own word.
fn shown(status: Option<&impl Display>) -> String {
    status.map_or_else(|| "Unknown".to_owned(), ToString::to_string)
}

fn best_of(candidate: &AutoMlCandidate) -> Best {
    let Score { metric, value, .. } = sagemaker::score(candidate);
    Best { name: candidate.candidate_name().unwrap_or_default().to_owned(), metric, value }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use crosspilot_core::aws::sagemaker::types::{
        AutoMlJobSecondaryStatus, AutoMlJobStatus, AutoMlMetricEnum, FinalAutoMlJobObjectiveMetric,
        TransformJobStatus,
    };

    use super::*;
    use Phase::{Failed, InProgress, Succeeded};

    fn terms() -> Terms {
        Terms { clock: Clock { elapsed: 60.0, limit: 3600.0 }, order: None }
    }

    /// The values that AWS documents today, and one of tomorrow's.
    fn with_a_new_one<'a>(values: &[&'a str], count: usize) -> Vec<&'a str> {
        assert_eq!(values.len(), count, "AWS has changed the values: {values:?}");
        [values, &["Hibernating"]].concat()
    }

    fn job(status: &str, secondary: &str, best: bool) -> DescribeAutoMlJobV2Output {
        let candidate = AutoMlCandidate::builder().candidate_name("best").build();
        DescribeAutoMlJobV2Output::builder()
            .auto_ml_job_status(AutoMlJobStatus::from(status))
            .auto_ml_job_secondary_status(AutoMlJobSecondaryStatus::from(secondary))
            .set_best_candidate(best.then_some(candidate))
            .build()
    }

    #[test]
    fn a_secondary_status_is_shown_and_decides_nothing() {
        let mut seen = 0;
        for status in with_a_new_one(AutoMlJobStatus::values(), 5) {
            for secondary in with_a_new_one(AutoMlJobSecondaryStatus::values(), 19) {
                for best in [true, false] {
                    let response = terms().job("j", &job(status, secondary, best), Some(3));
                    let expected = match (status, best) {
                        ("Completed" | "Stopped", true) => Succeeded,
                        ("Completed" | "Stopped", false) | ("Failed", _) => Failed,
                        _ => InProgress,
                    };
                    assert_eq!(response.phase, expected, "{status} {secondary} {best}");
                    assert_eq!(response.failure.is_some(), expected == Failed);
                    assert_eq!(response.status, status);
                    assert_eq!(response.secondary_status.as_deref(), Some(secondary));
                    seen += 1;
                }
            }
        }
        assert_eq!(seen, 6 * 20 * 2);
    }

    #[test]
    fn a_failed_job_says_why_and_one_without_a_candidate_that_it_has_none() {
        let mut failed = job("Failed", "ModelInsightsError", false);
        failed.failure_reason = Some("AlgorithmError: 'Jane Roe' is no number".into());
        let cause = |found| terms().job("j", found, None).failure.unwrap();
        assert_eq!(
            cause(&failed),
            ObservedFailure {
                code: "NoCandidate".into(),
                cause: "AutoML job j ended as Failed: AlgorithmError: a container gave up on the data; SageMaker's own words may quote the data and stay in the customer's account: read them there with `aws sagemaker describe-auto-ml-job-v2 --auto-ml-job-name j`".into()
            }
        );
        let empty = cause(&job("Completed", "MaxAutoMLJobRuntimeReached", false));
        assert_eq!(empty.cause, "AutoML job j ended as Completed: it has no best candidate");
    }

    #[test]
    fn the_best_candidates_figure_is_the_one_that_sagemaker_prints() {
        let metric = FinalAutoMlJobObjectiveMetric::builder()
            .metric_name(AutoMlMetricEnum::F1)
            .value(0.9_f32)
            .build();
        let mut found = job("Completed", "Completed", true);
        let best = AutoMlCandidate::builder().candidate_name("best");
        found.best_candidate = Some(best.final_auto_ml_job_objective_metric(metric).build());
        let best = terms().job("j", &found, None).best.unwrap();
        assert_eq!((best.metric.as_deref(), best.value), (Some("F1"), Some(0.9)));
    }

    #[test]
    fn an_endpoint_arrives_only_with_the_config_it_shall_serve() {
        for status in with_a_new_one(EndpointStatus::values(), 9) {
            for serves in [true, false] {
                let config = if serves { "new" } else { "old" };
                let found = DescribeEndpointOutput::builder()
                    .endpoint_status(EndpointStatus::from(status))
                    .endpoint_config_name(config)
                    .failure_reason("Jane Roe does not answer")
                    .build();
                let response = terms().endpoint("e", "new", &found);
                let expected = match status {
                    "InService" if serves => Succeeded,
                    "InService"
                    | "OutOfService"
                    | "Failed"
                    | "Deleting"
                    | "UpdateRollbackFailed" => Failed,
                    _ => InProgress,
                };
                assert_eq!(response.phase, expected, "{status} {serves}");
                let cause = response.failure.map(|failure| failure.cause).unwrap_or_default();
                assert!(!cause.contains("Jane Roe"), "{cause}");
                let told = cause.contains("describe-endpoint --endpoint-name e");
                assert_eq!(told, expected == Failed, "{cause}");
                let back = cause.contains("it went back to config old");
                assert_eq!(back, status == "InService" && !serves, "{cause}");
            }
        }
    }

    #[test]
    fn a_transform_succeeds_only_when_it_completed() {
        for status in with_a_new_one(TransformJobStatus::values(), 5) {
            let found = DescribeTransformJobOutput::builder()
                .transform_job_status(TransformJobStatus::from(status))
                .build();
            let expected = match status {
                "Completed" => Succeeded,
                "Failed" | "Stopped" => Failed,
                _ => InProgress,
            };
            assert_eq!(terms().transform("t", &found).phase, expected, "{status}");
        }
    }

    #[test]
    fn what_does_not_end_when_told_to_is_given_up() {
        let clock = Clock { elapsed: 3000.0, limit: 1000.0 };
        let overdue = Terms { order: clock.order(), clock };
        let response = overdue.job("j", &job("Stopping", "Stopping", true), Some(1));
        assert_eq!(response.phase, Failed);
        let failure = response.failure.unwrap();
        assert_eq!(failure.code, "RunTimedOut");
        assert!(failure.cause.contains("still Stopping"), "{}", failure.cause);
    }
}
