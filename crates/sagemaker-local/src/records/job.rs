//! The status and the failure that jobs of every kind have in common.

use serde::{Deserialize, Serialize};

/// The status of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum JobStatus {
    InProgress,
    Stopping,
    Stopped,
    Completed,
    Failed,
}

impl JobStatus {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::InProgress => "InProgress",
            Self::Stopping => "Stopping",
            Self::Stopped => "Stopped",
            Self::Completed => "Completed",
            Self::Failed => "Failed",
        }
    }

    pub(crate) fn runs(self) -> bool {
        matches!(self, Self::InProgress | Self::Stopping)
    }
}

/// Cuts a `FailureReason` to the service model's limit.
pub(crate) fn failure_reason(reason: &str) -> String {
    const LONGEST: usize = 1024;
    reason.chars().take(LONGEST).collect()
}
