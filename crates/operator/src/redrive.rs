//! A run that failed goes on where it stopped.
//!
//! Not by `RedriveExecution`: a run that fails ends in the state machine's Fail
//! state, and a redrive would only enter that state again (Step Functions
//! Developer Guide, "Redrive behavior of individual states"). It would also keep
//! the definition that failed, and be possible for 14 days only. So the run is
//! handed over to a new execution with the same trigger: since every name
//! follows from the run, each handler finds what the earlier execution made.

use crosspilot_core::aws::sfn::types::ExecutionStatus;
use crosspilot_core::registry::RunRecord;
use crosspilot_core::run::RunRef;

use crate::{OperatorError, Vendor};

impl Vendor {
    /// Hands a run over to a new execution, and gives that one's ARN. A run that a
    /// person stopped only goes on by `force`.
    pub async fn redrive(&self, run: &RunRef, force: bool) -> Result<String, OperatorError> {
        let record = self.registry.run(run).await?;
        let stopped = record.stop.clone().filter(|_| !force);
        let execution = match self.status_of(&record.execution).await? {
            Some(ExecutionStatus::Running | ExecutionStatus::PendingRedrive) => {
                return Err(OperatorError::StillRunning(record.execution));
            }
            Some(ExecutionStatus::Succeeded) => {
                return Err(OperatorError::NothingToRedrive(record.execution));
            }
            // Handed over by an attempt that died before it started the execution.
            None if !record.earlier.is_empty() => record.execution.clone(),
            _ => {
                if let Some(stop) = stopped {
                    return Err(OperatorError::StoppedByPerson(stop));
                }
                let next = self.execution_arn(run, record.earlier.len() + 1);
                self.registry.hand_over(run, &record.execution, &next).await?;
                next
            }
        };
        let name = execution.rsplit(':').next().unwrap_or_default();
        self.start(&self.deployment.state_machine, Some(name), &input(&record).to_string()).await
    }

    /// Derives the ARN of an execution before it starts: the state machine's and the name.
    fn execution_arn(&self, run: &RunRef, attempt: usize) -> String {
        let machine = self.deployment.state_machine.replacen(":stateMachine:", ":execution:", 1);
        format!("{machine}:redrive-{}-{attempt}", run.run_id)
    }
}

/// Makes the input that starts the same run again, whatever started it first.
fn input(record: &RunRecord) -> serde_json::Value {
    let RunRecord { run, trigger, .. } = record;
    serde_json::json!({"tenant": run.tenant, "model": run.model, "trigger": trigger})
}
