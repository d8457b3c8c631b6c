//! Settles the runs that nobody works on any more: their execution died outside
//! its failure path, or the customer's account was out of reach in it.

use crosspilot_core::aws::sfn;
use crosspilot_core::aws::sfn::types::ExecutionStatus;
use crosspilot_core::error::{Code, Coded as _};
use crosspilot_core::execution;
use crosspilot_core::failure::Failure;
use crosspilot_core::lambda::App;
use crosspilot_core::manage::{Progress, Report};
use crosspilot_core::registry::{Outcome, RunRecord, is_abandoned};
use crosspilot_core::run::{RunId, RunRef};
use crosspilot_core::tenant::{Tenant, TenantStatus};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{done, waiting};
use crate::HostingError;
use crate::settle::{self, Settle, Settled};

/// The seconds that a run may need besides its job.
const MARGIN: f64 = 1800.0;

/// Settles runs, each for itself: the first error is told after all were
/// tried.
pub(super) async fn sweep(
    app: &App,
    tenant: &Tenant,
    only: Option<&RunId>,
) -> Result<Progress, HostingError> {
    let (mut settled, mut waits, mut trouble) = (Vec::new(), None, None);
    let unsettled = app.registry.unsettled(Some(&tenant.tenant)).await?;
    for run in unsettled.into_iter().filter(|run| only.is_none_or(|only| run.run_id == *only)) {
        match sweep_one(app, tenant, &run).await {
            Ok(Swept::Settled) => settled.push(run.run_id),
            Ok(Swept::Waiting(reason)) => waits = Some(reason),
            Ok(Swept::AtWork) => {}
            // It left, and lets nobody in: there is nothing to be alarmed at, and it is tried again
            // in case it lets us in once more.
            Err(error)
                if tenant.status == TenantStatus::Deleted && error.code() == Code::AccessDenied =>
            {
                tracing::warn!(tenant = %tenant.tenant, run = %run.run_id, %error, "a tenant that left lets nobody settle its run");
            }
            Err(error) => trouble = trouble.or(Some(error)),
        }
    }
    match (waits, trouble) {
        (Some(reason), _) => Ok(waiting(reason)),
        (None, Some(error)) => Err(error),
        (None, None) => Ok(done(Report::Swept { settled })),
    }
}

enum Swept {
    Settled,
    Waiting(String),
    AtWork,
}

async fn sweep_one(app: &App, tenant: &Tenant, run: &RunRef) -> Result<Swept, HostingError> {
    let record = app.registry.run(run).await?;
    let execution = execution::life(&app.config, &record.execution).await?;
    let began = OffsetDateTime::parse(record.trigger.time(), &Rfc3339);
    let age = began.map_or(0.0, |began| (OffsetDateTime::now_utc() - began).as_seconds_f64());
    let limit = f64::from(tenant.limits.max_runtime_seconds) + MARGIN;
    if !is_abandoned(&record, execution, age, limit) {
        return Ok(Swept::AtWork);
    }
    let failure = match is_overtaken(app, &record).await? {
        true => None,
        false => failure(&record, ending(app, &record).await),
    };
    let failure = failure.and_then(|failure| serde_json::to_value(failure).ok());
    let request = Settle { run: run.clone(), elapsed_seconds: 0.0, failed: true, failure };
    Ok(match settle::settle(app, request).await? {
        Settled::Settled { .. } => Swept::Settled,
        Settled::Waiting(waiting) => Swept::Waiting(waiting.reason),
    })
}

/// Tells whether this run's model serves, or a later run's does: then no page about its
/// failure may take the place of the newest report.
async fn is_overtaken(app: &App, record: &RunRecord) -> Result<bool, HostingError> {
    let lineup = app.registry.lineup(&record.run.tenant, &record.run.model).await?;
    let Some(champion) = lineup.champion else { return Ok(false) };
    let leads = champion.run == record.run;
    let later = match leads {
        true => None,
        false => app.registry.find_run(&champion.run).await.ok().flatten(),
    };
    Ok(leads || later.is_some_and(|later| later.trigger.time() > record.trigger.time()))
}

/// The end of an execution, in Step Functions' words.
struct Ending {
    status: ExecutionStatus,
    error: Option<String>,
    cause: Option<String>,
}

/// Looks how the run's execution ended; nothing where that cannot be known. What is told of it
/// is for people: without it, the run is settled all the same.
async fn ending(app: &App, record: &RunRecord) -> Option<Ending> {
    // What an operator ran by hand has a name, and no ARN.
    if record.outcome.is_some() || !record.execution.starts_with("arn:") {
        return None;
    }
    let client = sfn::Client::new(&app.config);
    let found = execution::describe(&client, &record.execution).await.ok().flatten()?;
    Some(Ending { status: found.status, error: found.error, cause: found.cause })
}

/// The failure that is known of a run that nobody works on any more: from its record, else from
/// its execution's end, else that there is no answer. None of a run that ended well.
fn failure(record: &RunRecord, ending: Option<Ending>) -> Option<Failure> {
    // Where it was stands in the execution's history, which is not read here.
    const STAGE: &str = "unknown";
    match (&record.outcome, ending) {
        (Some(Outcome::Completed { .. }), _) => None,
        (Some(Outcome::Failed { stage, code, cause, .. }), _) => {
            let (stage, code, cause) = (stage.clone(), code.clone(), cause.clone());
            Some(Failure { stage, code, cause })
        }
        (None, Some(Ending { status: ExecutionStatus::Succeeded, .. })) => None,
        (None, Some(Ending { status, error, cause })) => {
            let cause = cause.as_deref();
            let died = || execution::died(&status, error.as_deref(), cause, STAGE);
            Some(execution::reported(cause).unwrap_or_else(died))
        }
        (None, None) => Some(Failure {
            stage: STAGE.to_owned(),
            code: Code::Internal.to_string(),
            cause: "the run's execution ended without an answer".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn told(outcome: Option<Outcome>, ending: Option<Ending>) -> Option<(String, String, String)> {
        let mut record: RunRecord = serde_json::from_value(json!({
            "tenant": "acme", "model": "churn", "run_id": "20260131-0123456789",
            "execution": "arn",
            "trigger": {"type": "manual", "time": "2026-01-31T12:00:00Z", "request_id": "r"},
        }))
        .unwrap();
        record.outcome = outcome;
        failure(&record, ending).map(|Failure { stage, code, cause }| (stage, code, cause))
    }

    fn ended(status: ExecutionStatus, cause: Option<&str>) -> Option<Ending> {
        Some(Ending { status, error: None, cause: cause.map(str::to_owned) })
    }

    fn is(stage: &str, code: &str, cause: &str) -> Option<(String, String, String)> {
        Some((stage.to_owned(), code.to_owned(), cause.to_owned()))
    }

    #[test]
    fn a_run_that_is_given_up_is_told_by_what_is_known_of_its_failure() {
        let time = || "2026-01-31T13:00:00Z".to_owned();
        let (stage, code, cause) = ("train".into(), "NoCandidate".into(), "none".into());
        let failed = Outcome::Failed { time: time(), stage, code, cause };
        let by_record = told(Some(failed), ended(ExecutionStatus::Failed, None));
        assert_eq!(by_record, is("train", "NoCandidate", "none"));
        let reported = json!({"stage": "score", "code": "DataUnfit", "cause": "so"}).to_string();
        let by_execution = told(None, ended(ExecutionStatus::Failed, Some(&reported)));
        assert_eq!(by_execution, is("score", "DataUnfit", "so"));
        let aborted = told(None, ended(ExecutionStatus::Aborted, None));
        let said = "somebody stopped its execution in Step Functions";
        assert_eq!(aborted, is("unknown", "ABORTED", said));
        let said = "the run's execution ended without an answer";
        assert_eq!(told(None, None), is("unknown", "Internal", said));
    }

    #[test]
    fn a_run_that_ended_well_and_was_not_settled_has_no_failure_to_tell() {
        let completed = Outcome::Completed {
            time: "2026-01-31T13:00:00Z".into(),
            reason: "better".into(),
            candidate: None,
            report: None,
            warnings: Vec::new(),
        };
        assert_eq!(told(Some(completed), None), None);
        assert_eq!(told(None, ended(ExecutionStatus::Succeeded, None)), None);
    }
}
