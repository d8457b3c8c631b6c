//! The stages of a run, and what the other state machines do: one vocabulary for the
//! state machines, failures, events and records, and the command line.

use std::fmt;

/// A stage of a run, or of something else that a state machine does, in which it is or
/// failed; a run comes to its stages in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The tenant is looked up, and its trust is checked.
    Assume,
    /// Uploads gather, and another run trains.
    Gather,
    /// The data is judged, and the job is started.
    StartJob,
    /// The job trains.
    Train,
    /// The best candidate becomes a model.
    Register,
    /// The model answers held-out rows.
    Score,
    /// Challenger and champion are measured.
    Compare,
    /// The gate decides, and the endpoint moves.
    Deploy,
    /// The first prediction is asked, and the report is written.
    Predict,
    /// The leftovers are cleared away.
    Settle,
    /// The end is noted and told.
    Report,
    /// Of no run: the champion is measured on held-out rows that came.
    Evaluate,
    /// Of no run: operators act on a model, or a round settles and measures.
    Manage,
    /// Of no run: trust is proven.
    Verify,
}

impl Stage {
    /// Gives its name, wherever it is told.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Assume => "assume",
            Stage::Gather => "gather",
            Stage::StartJob => "start-job",
            Stage::Train => "train",
            Stage::Register => "register",
            Stage::Score => "score",
            Stage::Compare => "compare",
            Stage::Deploy => "deploy",
            Stage::Predict => "predict",
            Stage::Settle => "settle",
            Stage::Report => "report",
            Stage::Evaluate => "evaluate",
            Stage::Manage => "manage",
            Stage::Verify => "verify",
        }
    }

    /// The stage that a state of `statemachine/train.asl.json` belongs to; none of those in
    /// which an execution ends.
    pub fn of_state(state: &str) -> Option<Self> {
        Some(match state {
            "Assume" | "Decision" => Stage::Assume,
            "Gather" | "GatherState" | "WaitToGather" => Stage::Gather,
            "StartJob" | "JobState" | "WaitForTurn" => Stage::StartJob,
            "WaitForJob" | "CheckJob" | "JobPhase" => Stage::Train,
            "RegisterModel" => Stage::Register,
            "Score" | "ScoreState" | "WaitToScore" | "WaitForScores" | "CheckScores"
            | "ScoresPhase" => Stage::Score,
            "Compare" => Stage::Compare,
            "DeployBest" | "DeployState" | "WaitToDeploy" | "WaitForEndpoint" | "CheckEndpoint"
            | "EndpointPhase" => Stage::Deploy,
            "Conclude" => Stage::Predict,
            "Settle" | "Settled" | "WaitToSettle" => Stage::Settle,
            "NoteFailure" | "ReportFailure" | "NoteCompletion" | "ReportCompletion" => {
                Stage::Report
            }
            _ => return None,
        })
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
