//! The runs of a model, newest first.

use crosspilot_core::aws::sfn::types::ExecutionStatus;
use crosspilot_core::ids::{ModelName, TenantId};
use crosspilot_core::registry::{Outcome, RunRecord, Runs};
use crosspilot_core::run::Trigger;
use crosspilot_operator::Vendor;
use serde_json::json;

use crate::failure::Failure;
use crate::output;

pub(super) async fn list(
    vendor: &Vendor,
    tenant: &TenantId,
    model: &ModelName,
    limit: usize,
    json: bool,
) -> Result<(), Failure> {
    let serving = vendor.registry.lineup(tenant, model).await?.champion;
    let Runs { records: mut runs, broken } = vendor.registry.all_runs(tenant, model).await?;
    // The ids only know the day.
    runs.sort_by(|a, b| b.trigger.time().cmp(a.trigger.time()));
    runs.truncate(limit);
    let mut rows = Vec::new();
    for record in runs {
        let status = status(vendor, &record).await?;
        let serves = serving.as_ref().is_some_and(|serving| serving.run == record.run);
        rows.push((record, status, serves));
    }
    if json {
        let runs = rows.iter().map(|(record, status, serves)| {
            json!({
                "run": record.run.run_id, "trigger": way_in(&record.trigger),
                "time": record.trigger.time(), "status": status, "serves": serves,
                "execution": record.execution,
            })
        });
        let broken = broken.iter().map(|(run, reason)| json!({"run": run, "broken": reason}));
        output::json(&runs.chain(broken).collect());
        return Ok(());
    }
    let rows: Vec<Vec<String>> = rows
        .into_iter()
        .map(|(record, status, serves)| {
            let serves = if serves { "serves" } else { "" };
            let trigger = &record.trigger;
            vec![
                record.run.run_id.to_string(),
                way_in(trigger).to_owned(),
                trigger.time().to_owned(),
                status,
                serves.to_owned(),
            ]
        })
        .collect();
    output::table(&["run", "started by", "time", "status", ""], &rows);
    for (run, reason) in broken {
        output::line(&format!("run {run} is not shown, since its record is broken: {reason}"));
    }
    Ok(())
}

/// Names what started it, for people.
pub(super) fn way_in(trigger: &Trigger) -> &'static str {
    match trigger {
        Trigger::Upload { .. } => "upload",
        Trigger::Schedule { .. } => "schedule",
        Trigger::Manual { .. } => "by hand",
    }
}

/// From Step Functions, which knows it for 90 days; then from the run's record.
pub(super) async fn status(vendor: &Vendor, record: &RunRecord) -> Result<String, Failure> {
    let known = vendor.status_of(&record.execution).await?;
    let stopped = record.stop.is_some();
    Ok(match (known, &record.outcome) {
        (Some(ExecutionStatus::Failed), _) | (None, Some(Outcome::Failed { .. })) if stopped => {
            "stopped".to_owned()
        }
        (Some(status), _) => status.as_str().to_lowercase(),
        (None, Some(Outcome::Completed { .. })) => "succeeded".to_owned(),
        (None, Some(Outcome::Failed { .. })) => "failed".to_owned(),
        (None, None) => "unknown".to_owned(),
    })
}
