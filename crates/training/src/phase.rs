//! The meaning of SageMaker's statuses. A status that AWS adds later is waited for: the run's
//! own time limit bounds that.

use crosspilot_core::error::Code;
use crosspilot_core::polling;
use crosspilot_core::registry::Stop;
use serde::Serialize;

/// The phase that the state machine branches on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Look again later.
    InProgress,
    /// The job or endpoint is done and there is something to go on with.
    Succeeded,
    /// The job or endpoint ended with nothing to go on with.
    Failed,
    /// The job was stopped as we wanted: nothing is deployed.
    Stopped,
}

/// Seconds that a stopped job may take to end.
const GRACE_SECONDS: f64 = 1800.0;

/// The reason why a job is to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopReason {
    /// Somebody asked for it.
    Person(Stop),
    /// The job takes longer than it may: this many seconds.
    Limit(u64),
}

/// The time that there was, and may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Clock {
    /// Seconds since what is watched began.
    pub elapsed: f64,
    /// Seconds that it may take.
    pub limit: f64,
}

impl Clock {
    /// Seconds until the next look: not past the limit, and soon after it.
    pub fn wait_seconds(&self) -> u32 {
        let wait = polling::wait_seconds(self.elapsed);
        let left = (self.limit - self.elapsed).ceil();
        if left > 0.0 {
            wait.min(left.min(f64::from(u32::MAX)) as u32).max(1)
        } else {
            wait.min(60)
        }
    }

    /// The order that the limit gives.
    pub fn order(&self) -> Option<StopReason> {
        (self.elapsed > self.limit).then_some(StopReason::Limit(self.limit as u64))
    }

    /// Tells whether even a job that was told to stop should have ended.
    pub fn gives_up(&self) -> bool {
        self.elapsed > self.limit + GRACE_SECONDS
    }
}

impl StopReason {
    /// The code under which a run ends that was stopped by it.
    pub fn code(&self) -> Code {
        match self {
            StopReason::Person(_) => Code::RunStopped,
            StopReason::Limit(_) => Code::RunTimedOut,
        }
    }

    /// Says why, as a sentence's end.
    pub fn reason(&self) -> String {
        match self {
            StopReason::Person(Stop { by, time }) => format!("{by} asked at {time} for it to stop"),
            StopReason::Limit(seconds) => format!(
                "it took longer than the {seconds} s that it may: raise max_runtime_seconds of the tenant or the model, or give it less data"
            ),
        }
    }
}

/// Reads what an `AutoMLJobStatus` means. A completed job may lack a best candidate,
/// and a job that somebody stopped in SageMaker may have one.
pub fn job_phase(status: &str, has_best_candidate: bool, order: Option<&StopReason>) -> Phase {
    match (status, order) {
        ("Completed" | "Stopped", Some(StopReason::Person(_))) => Phase::Stopped,
        ("Stopped", Some(StopReason::Limit(_))) => Phase::Stopped,
        ("Completed" | "Stopped", _) if has_best_candidate => Phase::Succeeded,
        ("Completed" | "Stopped" | "Failed", _) => Phase::Failed,
        _ => Phase::InProgress,
    }
}

/// Reads what a `TransformJobStatus` means. Only a completed one has all answers.
pub fn transform_phase(status: &str, order: Option<&StopReason>) -> Phase {
    match (status, order) {
        ("Completed" | "Stopped", Some(StopReason::Person(_))) => Phase::Stopped,
        ("Stopped", Some(StopReason::Limit(_))) => Phase::Stopped,
        ("Completed", _) => Phase::Succeeded,
        ("Failed" | "Stopped", _) => Phase::Failed,
        _ => Phase::InProgress,
    }
}

/// Reads what an `EndpointStatus` means. After a rollback the endpoint is in service
/// again, but with another config than the one to be deployed.
pub fn endpoint_phase(status: &str, serves_config: bool) -> Phase {
    match status {
        "InService" if serves_config => Phase::Succeeded,
        "InService" => Phase::Failed,
        "Failed" | "OutOfService" | "UpdateRollbackFailed" | "Deleting" => Phase::Failed,
        _ => Phase::InProgress,
    }
}

/// Tells whether a job of that status takes a request to stop.
pub fn can_be_stopped(status: &str) -> bool {
    !matches!(status, "Completed" | "Failed" | "Stopped" | "Stopping")
}

#[cfg(test)]
mod tests {
    use super::*;
    use Phase::{Failed, InProgress, Stopped, Succeeded};

    fn person() -> StopReason {
        StopReason::Person(Stop {
            by: "arn:aws:iam::111111111111:user/eve".into(),
            time: "noon".into(),
        })
    }

    #[test]
    fn every_job_status_has_its_phase() {
        let (person, limit) = (person(), StopReason::Limit(900));
        // Status; with a best candidate, without one; stopped by a person, by the limit.
        for (status, with, without, by_person, by_limit) in [
            ("InProgress", InProgress, InProgress, InProgress, InProgress),
            ("Stopping", InProgress, InProgress, InProgress, InProgress),
            ("Completed", Succeeded, Failed, Stopped, Succeeded),
            ("Stopped", Succeeded, Failed, Stopped, Stopped),
            ("Failed", Failed, Failed, Failed, Failed),
            ("Hibernating", InProgress, InProgress, InProgress, InProgress),
            ("Unknown", InProgress, InProgress, InProgress, InProgress),
        ] {
            assert_eq!(job_phase(status, true, None), with, "{status}");
            assert_eq!(job_phase(status, false, None), without, "{status}");
            assert_eq!(job_phase(status, true, Some(&person)), by_person, "{status}");
            assert_eq!(job_phase(status, true, Some(&limit)), by_limit, "{status}");
        }
    }

    #[test]
    fn every_transform_status_has_its_phase() {
        let (person, limit) = (person(), StopReason::Limit(900));
        for (status, plain, by_person, by_limit) in [
            ("InProgress", InProgress, InProgress, InProgress),
            ("Stopping", InProgress, InProgress, InProgress),
            ("Completed", Succeeded, Stopped, Succeeded),
            ("Stopped", Failed, Stopped, Stopped),
            ("Failed", Failed, Failed, Failed),
            ("Hibernating", InProgress, InProgress, InProgress),
        ] {
            assert_eq!(transform_phase(status, None), plain, "{status}");
            assert_eq!(transform_phase(status, Some(&person)), by_person, "{status}");
            assert_eq!(transform_phase(status, Some(&limit)), by_limit, "{status}");
        }
    }

    #[test]
    fn every_endpoint_status_has_its_phase() {
        for status in ["Creating", "Updating", "SystemUpdating", "RollingBack", "Hibernating"] {
            assert_eq!(endpoint_phase(status, true), InProgress, "{status}");
            assert_eq!(endpoint_phase(status, false), InProgress, "{status}");
        }
        assert_eq!(endpoint_phase("InService", true), Succeeded);
        assert_eq!(endpoint_phase("InService", false), Failed);
        for status in ["OutOfService", "Deleting", "Failed", "UpdateRollbackFailed"] {
            assert_eq!(endpoint_phase(status, true), Failed, "{status}");
        }
    }

    #[test]
    fn only_what_still_runs_is_told_to_stop() {
        for (status, stops) in [
            ("InProgress", true),
            ("Hibernating", true),
            ("Stopping", false),
            ("Stopped", false),
            ("Completed", false),
            ("Failed", false),
        ] {
            assert_eq!(can_be_stopped(status), stops, "{status}");
        }
    }

    #[test]
    fn the_limit_is_looked_at_when_it_comes_and_given_up_half_an_hour_later() {
        let at = |elapsed| Clock { elapsed, limit: 1000.0 };
        assert_eq!(at(500.0).wait_seconds(), 50);
        assert_eq!(at(980.5).wait_seconds(), 20);
        assert_eq!(at(1000.0).order(), None);
        assert_eq!(at(1000.5).order(), Some(StopReason::Limit(1000)));
        assert_eq!(at(2000.0).wait_seconds(), 60);
        assert!(!at(2800.0).gives_up() && at(2801.0).gives_up());
    }

    #[test]
    fn the_longest_run_has_no_limit_that_a_wait_could_pass() {
        let clock = Clock { elapsed: 0.0, limit: f64::INFINITY };
        assert_eq!((clock.wait_seconds(), clock.order(), clock.gives_up()), (5, None, false));
    }
}
