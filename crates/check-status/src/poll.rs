//! What a status means, and how long to wait for the next.

use serde::Serialize;

/// What the state machine branches on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Look again later.
    InProgress,
    /// It is done and there is something to go on with.
    Succeeded,
    /// It ended with nothing to go on with.
    Failed,
}

/// What an `AutoMLJobStatus` means. A completed job may lack a best candidate,
/// and a stopped one may have one. A status that AWS adds later is waited for:
/// the run's own time limit bounds that.
pub fn job_phase(status: &str, has_best_candidate: bool) -> Phase {
    match status {
        "Completed" | "Stopped" if has_best_candidate => Phase::Succeeded,
        "Completed" | "Stopped" | "Failed" => Phase::Failed,
        _ => Phase::InProgress,
    }
}

/// What an `EndpointStatus` means. After a rollback the endpoint is in service
/// again, but with another config than the one to be deployed.
pub fn endpoint_phase(status: &str, serves_config: bool) -> Phase {
    match status {
        "InService" if serves_config => Phase::Succeeded,
        "InService" => Phase::Failed,
        "Failed" | "OutOfService" | "UpdateRollbackFailed" | "Deleting" => Phase::Failed,
        _ => Phase::InProgress,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_best_candidate_makes_a_job_a_success() {
        assert_eq!(job_phase("Completed", true), Phase::Succeeded);
        assert_eq!(job_phase("Stopped", true), Phase::Succeeded);
        assert_eq!(job_phase("Completed", false), Phase::Failed);
        assert_eq!(job_phase("Failed", false), Phase::Failed);
        assert_eq!(job_phase("Stopping", true), Phase::InProgress);
    }

    #[test]
    fn unknown_statuses_are_waited_for() {
        assert_eq!(job_phase("Hibernating", false), Phase::InProgress);
        assert_eq!(endpoint_phase("Hibernating", true), Phase::InProgress);
    }

    #[test]
    fn every_endpoint_status_has_its_phase() {
        for status in ["Creating", "Updating", "SystemUpdating", "RollingBack"] {
            assert_eq!(endpoint_phase(status, true), Phase::InProgress, "{status}");
        }
        assert_eq!(endpoint_phase("InService", true), Phase::Succeeded);
        assert_eq!(endpoint_phase("InService", false), Phase::Failed);
        for status in ["OutOfService", "Deleting", "Failed", "UpdateRollbackFailed"] {
            assert_eq!(endpoint_phase(status, true), Phase::Failed, "{status}");
        }
    }
}
