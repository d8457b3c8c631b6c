//! The requests of an operator about a tenant's models. Customers' roles trust the functions
//! and not the operator, so they go through the state machine `crosspilot-manage`.

use std::time::Duration;

use crosspilot_core::aws::sfn::types::ExecutionStatus;
use crosspilot_core::error::Named;
use crosspilot_core::execution;
use crosspilot_core::failure::Failure;
use crosspilot_core::ids::{ModelName, TenantId};
use crosspilot_core::manage::{Action, ManageRequest, Progress, Report};
use crosspilot_core::registry::{Change, Stop};
use crosspilot_core::run::RunRef;
use crosspilot_core::tenant::{Tenant, TenantStatus};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::{OperatorError, Vendor};

/// The result of a request to stop a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stopping {
    /// The run had ended already, with this status of its execution, and no job of it is at
    /// work.
    Ended(ExecutionStatus),
    /// The run's model serves: the request came too late.
    TooLate,
    /// The run ends without a job, since there is none yet.
    BeforeItsJob,
    /// The run's job is told to stop, or has ended, with this status of the job.
    Job {
        /// Name of the job.
        job: String,
        /// SageMaker's status of it.
        status: String,
    },
}

/// The result of a request to remove a tenant or a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// Nothing with our tags is left in the customer's account.
    Proven {
        /// The resources that have such a name without our tags, and so were left alone.
        foreign: Vec<String>,
    },
    /// The tenant was never active: nothing was ever made in its account.
    NeverUsed,
    /// The customer's account could not be looked at, for this reason.
    Unchecked(String),
}

/// The options of a removal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removal {
    /// Delete what runs left in the bucket, too.
    pub artifacts: bool,
    /// Go on although the customer's account cannot be reached.
    pub force: bool,
}

/// Looks, half a second apart, that may miss an execution that was just started.
const UNSEEN: u32 = 20;

impl Vendor {
    /// Has something done, and tells `report` what is waited for meanwhile.
    pub async fn manage(
        &self,
        tenant: &TenantId,
        action: Action,
        report: impl Fn(&str),
    ) -> Result<Report, OperatorError> {
        let machine = &self.deployment.manage_state_machine;
        let ask = ManageRequest { tenant: tenant.clone(), action, begun: false };
        let unreadable = |execution: &str| OperatorError::NoAnswer(execution.to_owned());
        let input = serde_json::to_string(&ask).map_err(|_| unreadable(machine))?;
        let execution = self.start(machine, None, &input).await?;
        let client = self.step_functions();
        let mut unseen = 0;
        loop {
            let Some(found) = execution::describe(&client, &execution).await? else {
                // It may not show yet, but it was started.
                unseen += 1;
                if unseen > UNSEEN {
                    return Err(unreadable(&execution));
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
                continue;
            };
            match found.status {
                ExecutionStatus::Running => {
                    if let Some(doing) = self.doing(&execution).await? {
                        report(&doing);
                    }
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
                ExecutionStatus::Succeeded => {
                    let output: Result<Vec<Progress>, _> =
                        serde_json::from_str(found.output.as_deref().unwrap_or_default());
                    return match output.ok().and_then(|mut answers| answers.pop()) {
                        Some(Progress::Done { report }) => Ok(report),
                        _ => Err(unreadable(&execution)),
                    };
                }
                _ => {
                    let failed = serde_json::from_str(found.cause.as_deref().unwrap_or_default());
                    return Err(match failed {
                        Ok(Failure { stage, code, cause }) => {
                            // The state machine hands on the error as it came.
                            let Failure { code, cause, .. } = Failure::read(&stage, &code, &cause);
                            OperatorError::NotDone { code, cause, execution }
                        }
                        Err(_) => unreadable(&execution),
                    });
                }
            }
        }
    }

    /// Reads what the newest answer of the function waits for.
    async fn doing(&self, execution: &str) -> Result<Option<String>, OperatorError> {
        let history = self
            .step_functions()
            .get_execution_history()
            .execution_arn(execution)
            .reverse_order(true)
            .max_results(10)
            .send()
            .await
            .named("states:GetExecutionHistory", execution)?;
        let outputs = history.events().iter().filter_map(|event| {
            serde_json::from_str(event.state_exited_event_details()?.output()?).ok()
        });
        Ok(outputs.into_iter().find_map(|progress| match progress {
            Progress::Waiting { doing, .. } => Some(doing),
            Progress::Done { .. } => None,
        }))
    }

    /// Stops a run: its record says so to every handler that is asked next, and
    /// its jobs are told at once, also if its execution has ended, however it
    /// did. Asking twice changes nothing more.
    pub async fn stop_run(&self, run: &RunRef) -> Result<Stopping, OperatorError> {
        let record = self.registry.run(run).await?;
        let ended = match self.status_of(&record.execution).await? {
            // Not of the state machine's, or not known any more.
            None | Some(ExecutionStatus::Running | ExecutionStatus::PendingRedrive) => None,
            Some(status) => Some(status),
        };
        if ended.is_none() && !self.request_stop(run).await? {
            return Ok(Stopping::TooLate);
        }
        let action = Action::Stop { run: run.run_id.clone(), model: run.model.clone() };
        let report = self.manage(&run.tenant, action, |_| {}).await?;
        let Report::Stopped { job, status } = report else {
            return Err(OperatorError::NoAnswer(self.deployment.manage_state_machine.clone()));
        };
        Ok(match (status, ended) {
            (Some(status), _) if status == "Stopping" => Stopping::Job { job, status },
            (_, Some(ended)) => Stopping::Ended(ended),
            (Some(status), None) => Stopping::Job { job, status },
            (None, None) => Stopping::BeforeItsJob,
        })
    }

    /// Notes that a run shall stop, and who says so; `false` if its model serves
    /// already. From the moment that this is `true`, its model is not promoted.
    async fn request_stop(&self, run: &RunRef) -> Result<bool, OperatorError> {
        let lineup = self.registry.lineup(&run.tenant, &run.model).await?;
        if lineup.is_led_by(run) {
            return Ok(false);
        }
        let time = OffsetDateTime::now_utc().format(&Rfc3339).map_err(|_| OperatorError::Clock)?;
        let stop = Stop { by: self.operator.clone(), time };
        let note = |record: &mut crosspilot_core::registry::RunRecord| {
            record.stop.get_or_insert_with(|| stop.clone());
        };
        self.registry.change_run(run, note).await?;
        let halt = |lineup: &mut crosspilot_core::registry::Lineup| lineup.halt(run);
        let lineup = self.registry.change_lineup(&run.tenant, &run.model, halt).await?;
        Ok(!lineup.is_led_by(run))
    }

    /// Lets a model's endpoint serve the champion's predecessor again. Gives the
    /// run that serves then, and a warning if it does not do so as it is set.
    pub async fn roll_back(
        &self,
        tenant: &TenantId,
        model: &ModelName,
        report: impl Fn(&str),
    ) -> Result<(RunRef, Option<String>), OperatorError> {
        let lineup = self.registry.lineup(tenant, model).await?;
        let Some(previous) = lineup.previous else {
            return Err(OperatorError::NoPredecessor(model.clone()));
        };
        let to = previous.run;
        let action = Action::RollBack { model: model.clone(), to: to.run_id.clone() };
        match self.manage(tenant, action, report).await? {
            Report::RolledBack { warning, .. } => Ok((to, warning)),
            _ => Err(OperatorError::NoAnswer(self.deployment.manage_state_machine.clone())),
        }
    }

    /// Removes a model: its settings first, so that nothing new begins, then what
    /// serves it. Doing it again goes on where an earlier attempt stopped.
    pub async fn remove_model(
        &self,
        tenant: &TenantId,
        model: &ModelName,
        artifacts: bool,
        report: impl Fn(&str),
    ) -> Result<Removed, OperatorError> {
        let action = format!("remove model {model}");
        let by = Change { by: &self.operator, action: &action };
        let forget = |tenant: &mut Tenant| drop(tenant.models.remove(model));
        self.registry.change_tenant(tenant, by, forget).await?;
        self.delete_schedule(tenant, model).await?;
        self.retire(tenant, model).await?;
        let action = Action::Remove { model: Some(model.clone()), artifacts };
        self.removed(self.manage(tenant, action, report).await?)
    }

    /// Removes a tenant: nothing starts for it any more, what serves its models
    /// is deleted in its account, it is no longer heard, and its document stays
    /// as a tombstone. Doing it again goes on where an earlier attempt stopped.
    ///
    /// A tenant whose account cannot be looked at stays offboarding, since
    /// something of it may bill, unless `force` says otherwise.
    pub async fn remove_tenant(
        &self,
        id: &TenantId,
        removal: Removal,
        report: impl Fn(&str),
    ) -> Result<(Tenant, Removed), OperatorError> {
        let tenant = self.set_status(id, TenantStatus::Offboarding).await?;
        for model in tenant.models.keys() {
            self.delete_schedule(id, model).await?;
            self.retire(id, model).await?;
        }
        let trail = self.registry.audit_trail(id).await?;
        // What cannot be read may say so.
        let was_active = !trail.broken.is_empty()
            || trail.entries.iter().any(|entry| entry.to == TenantStatus::Active);
        let removed = if was_active {
            let action = Action::Remove { model: None, artifacts: removal.artifacts };
            match self.manage(id, action, report).await {
                Ok(report) => self.removed(report)?,
                Err(OperatorError::NotDone { cause, .. }) if removal.force => {
                    Removed::Unchecked(cause)
                }
                Err(error) => return Err(error),
            }
        } else {
            Removed::NeverUsed
        };
        self.registry.leave(&tenant).await?;
        self.admit_events().await?;
        Ok((self.set_status(id, TenantStatus::Deleted).await?, removed))
    }

    fn removed(&self, report: Report) -> Result<Removed, OperatorError> {
        match report {
            Report::Removed { foreign } => Ok(Removed::Proven { foreign }),
            _ => Err(OperatorError::NoAnswer(self.deployment.manage_state_machine.clone())),
        }
    }

    /// Notes in every run that still goes on that it shall stop; their jobs are
    /// stopped by what follows. Without a lineup, none of them puts a champion's
    /// endpoint back when it ends.
    async fn retire(&self, tenant: &TenantId, model: &ModelName) -> Result<(), OperatorError> {
        for record in self.registry.runs(tenant, model).await? {
            let goes_on = match self.status_of(&record.execution).await? {
                Some(status) => status == ExecutionStatus::Running,
                // An operator does it by hand.
                None => record.outcome.is_none(),
            };
            if goes_on {
                self.request_stop(&record.run).await?;
            }
        }
        Ok(self.registry.forget_lineup(tenant, model).await?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use crosspilot_core::registry::Registry;
    use crosspilot_scripted::{Answer, Scripted};
    use serde_json::{Value, json};

    use super::*;
    use crate::Deployment;

    const RECORD: &str = "/registry/runs/acme/churn/20260131-3f9a2c71b0.json";

    /// Gives what is written into the record of a run that an operator does by hand when its
    /// model is removed.
    async fn noted(outcome: Option<Value>) -> Vec<Value> {
        let record = json!({
            "tenant": "acme", "model": "churn", "run_id": "20260131-3f9a2c71b0",
            "execution": "crosspilot operate",
            "trigger": {"type": "manual", "time": "2026-01-31T00:00:00Z", "request_id": "r"},
            "outcome": outcome,
        });
        let aws = Scripted::new(move |call| match call.operation.split_once(' ') {
            Some(("GET", RECORD)) => Answer::json(&record),
            Some(("GET", "/registry/" | "/registry")) => {
                let key = RECORD.strip_prefix("/registry/").unwrap();
                Answer::good(format!(
                    "<ListBucketResult><Contents><Key>{key}</Key></Contents></ListBucketResult>"
                ))
            }
            Some(("GET", _)) => Answer::refused_by_s3(404, "NoSuchKey"),
            Some(_) => Answer::good(""),
            None => Answer::refused(400, "InvalidArn", "no execution"),
        });
        let config = aws.config();
        let vendor = Vendor {
            registry: Registry::new(&config, "registry"),
            operator: "arn:aws:iam::111111111111:user/jo".into(),
            deployment: Deployment {
                registry_bucket: "registry".into(),
                state_machine: String::new(),
                verify_state_machine: String::new(),
                manage_state_machine: String::new(),
                event_bus: String::new(),
                api_url: String::new(),
                schedule_group: String::new(),
                schedule_role: String::new(),
                dead_letters: String::new(),
            },
            config,
        };
        vendor.retire(&"acme".parse().unwrap(), &"churn".parse().unwrap()).await.unwrap();
        let written = aws.calls().into_iter();
        let written = written.filter(|call| call.operation == format!("PUT {RECORD}"));
        written.map(|call| serde_json::from_str(&call.body).unwrap()).collect()
    }

    #[tokio::test]
    async fn a_run_by_hand_is_told_to_stop_when_its_model_is_removed_unless_it_has_ended() {
        let written = noted(None).await;
        assert_eq!(written.len(), 1, "{written:?}");
        assert_eq!(written[0]["stop"]["by"], "arn:aws:iam::111111111111:user/jo");
        let ended = json!({
            "result": "failed", "time": "2026-01-31T00:00:00Z", "stage": "s", "code": "c", "cause": "x",
        });
        assert_eq!(noted(Some(ended)).await, Vec::<Value>::new());
    }
}
