//! `crosspilot run`: runs by hand, and what became of all runs.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crosspilot_core::ids::{ModelName, TenantId};
use crosspilot_core::run::Trigger;
use crosspilot_core::vendor::Vendor;
use serde_json::{Value, json};

use crate::args::RunCommand;
use crate::failure::Failure;
use crate::show::Steps;
use crate::{place, show, watch};

pub(crate) async fn run(
    home: &Path,
    aws: Option<String>,
    command: RunCommand,
) -> Result<(), Failure> {
    let vendor = place::vendor(home, aws).await?;
    match command {
        RunCommand::Start { tenant, model, request_id, detach, json } => {
            let request = request_id.unwrap_or_else(now);
            let arn = vendor.start_run(&tenant, &model, &request).await?;
            if detach { show_started(&arn, json) } else { follow(&vendor, &arn, json).await? }
        }
        RunCommand::Watch { execution, json } => follow(&vendor, &execution, json).await?,
        RunCommand::List { tenant, model, json } => list(&vendor, &tenant, &model, json).await?,
    }
    Ok(())
}

/// A request id that no earlier request had: nanoseconds since 1970.
fn now() -> String {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().to_string()
}

fn show_started(arn: &str, json: bool) {
    if json { show::json(&json!({"execution": arn})) } else { show::line(arn) }
}

async fn follow(vendor: &Vendor, arn: &str, json: bool) -> Result<(), Failure> {
    let steps = Steps::new();
    let ended = watch::follow(vendor, arn, |now| steps.step(now)).await?;
    steps.done();
    if json {
        show::json(
            &json!({"execution": {"arn": ended.arn, "status": ended.status}, "output": ended.output}),
        );
        return Ok(());
    }
    let part = |pointer: &str| ended.output.pointer(pointer).and_then(Value::as_str);
    let said = match part("/decision") {
        Some("duplicate") => "another execution works on this run already",
        Some("ignored") => "nothing to do: the uploaded object is no training data",
        _ => part("/deployment/decision/reason").unwrap_or("done"),
    };
    let mut pairs = vec![("status", ended.status.as_str()), ("outcome", said)];
    for (name, pointer) in [
        ("candidate", "/deployment/candidate"),
        ("endpoint", "/deployment/endpoint"),
        ("report", "/prediction/report_uri"),
    ] {
        pairs.extend(part(pointer).map(|value| (name, value)));
    }
    show::pairs(&pairs);
    Ok(())
}

async fn list(
    vendor: &Vendor,
    tenant: &TenantId,
    model: &ModelName,
    json: bool,
) -> Result<(), Failure> {
    let serving = vendor.registry.lineup(tenant, model).await?.champion;
    let runs = vendor.registry.runs(tenant, model).await?;
    let mut rows: Vec<(String, &str, String, bool, String)> = runs
        .into_iter()
        .map(|record| {
            let trigger = match record.trigger {
                Trigger::Upload { .. } => "upload",
                Trigger::Schedule { .. } => "schedule",
                Trigger::Manual { .. } => "by hand",
            };
            let serves = serving.as_ref().is_some_and(|serving| serving.run == record.run);
            let time = record.trigger.time().to_owned();
            (record.run.run_id.to_string(), trigger, time, serves, record.execution)
        })
        .collect();
    // The ids only know the day.
    rows.sort_by(|a, b| b.2.cmp(&a.2));
    if json {
        let runs = rows.iter().map(|(run, trigger, time, serves, execution)| {
            json!({"run": run, "trigger": trigger, "time": time, "serves": serves, "execution": execution})
        });
        show::json(&runs.collect());
    } else {
        let rows: Vec<Vec<String>> = rows
            .into_iter()
            .map(|(run, trigger, time, serves, _)| {
                vec![run, trigger.to_owned(), time, if serves { "serves" } else { "" }.to_owned()]
            })
            .collect();
        show::table(&["run", "started by", "time", ""], &rows);
    }
    Ok(())
}
