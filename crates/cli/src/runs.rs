//! `crosspilot run`: runs by hand, and what became of all runs.

mod list;
mod one;

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crosspilot_core::registry::RunRecord;
use crosspilot_core::run::RunRef;
use crosspilot_operator::{Stopping, Vendor};
use serde_json::{Value, json};

use crate::args::{RunAndForm, RunCommand, TenantOrExecution};
use crate::failure::Failure;
use crate::output::Steps;
use crate::{connect, cost, output, watch};

pub(crate) async fn run(
    home: &Path,
    aws: Option<String>,
    command: RunCommand,
) -> Result<(), Failure> {
    let vendor = connect::vendor(home, aws).await?;
    match command {
        RunCommand::Start { tenant, model, request_id, detach, json } => {
            let request = request_id.unwrap_or_else(now);
            cost::announce(&vendor, &tenant, &model).await;
            let arn = vendor.start_run(&tenant, &model, &request).await?;
            started(&vendor, &arn, detach, json).await
        }
        RunCommand::Watch(asked) => {
            let arn = match asked.of {
                // It may not have begun its run yet.
                TenantOrExecution::Execution(arn) => arn,
                TenantOrExecution::Tenant(_) => find(&vendor, &asked).await?.execution,
            };
            follow(&vendor, &arn, asked.json).await
        }
        RunCommand::Stop(asked) => {
            let run = find(&vendor, &asked).await?.run;
            stop(&vendor, &run, asked.json).await
        }
        RunCommand::Show(asked) => {
            let record = find(&vendor, &asked).await?;
            one::show(&vendor, record, asked.json).await
        }
        RunCommand::Redrive { run: asked, detach, force } => {
            let run = find(&vendor, &asked).await?.run;
            let arn = vendor.redrive(&run, force).await?;
            started(&vendor, &arn, detach, asked.json).await
        }
        RunCommand::List { tenant, model, limit, json } => {
            list::list(&vendor, &tenant, &model, limit, json).await
        }
    }
}

/// A request id that no earlier request had: nanoseconds since 1970.
fn now() -> String {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().to_string()
}

/// The run that is asked for.
async fn find(vendor: &Vendor, asked: &RunAndForm) -> Result<RunRecord, Failure> {
    let tenant = match &asked.of {
        TenantOrExecution::Execution(arn) => {
            let run = watch::run_of(vendor, arn).await?;
            let run = run.ok_or_else(|| Failure::NotBegun(arn.clone()))?;
            return Ok(vendor.registry.run(&run).await?);
        }
        TenantOrExecution::Tenant(tenant) => tenant.clone(),
    };
    let Some(model) = asked.model.clone() else {
        return Err(Failure::NoModel(tenant));
    };
    let runs = vendor.registry.all_runs(&tenant, &model).await?;
    let found = match &asked.run {
        Some(id) if runs.broken.iter().any(|(broken, _)| broken == id.as_str()) => {
            // Says what is wrong with it.
            let run = RunRef { tenant, model, run_id: id.clone() };
            return Ok(vendor.registry.run(&run).await?);
        }
        Some(id) => runs.records.into_iter().find(|record| record.run.run_id == *id),
        None => runs.records.into_iter().max_by_key(|record| record.trigger.time().to_owned()),
    };
    found.ok_or(Failure::UnknownRun { tenant, model, run: asked.run.clone() })
}

async fn started(vendor: &Vendor, arn: &str, detach: bool, json: bool) -> Result<(), Failure> {
    match (detach, json) {
        (false, _) => return follow(vendor, arn, json).await,
        (true, true) => output::json(&json!({"execution": arn})),
        (true, false) => output::line(arn),
    }
    Ok(())
}

async fn follow(vendor: &Vendor, arn: &str, json: bool) -> Result<(), Failure> {
    let steps = Steps::new();
    let ended = watch::follow(vendor, arn, |now| steps.step(now)).await?;
    steps.done();
    if json {
        output::json(
            &json!({"execution": {"arn": ended.arn, "status": ended.status}, "output": ended.output}),
        );
        return Ok(());
    }
    output::pairs(&told(&ended.status, &ended.output));
    Ok(())
}

/// What became of an execution that has ended well, as names and values to print.
fn told<'a>(status: &'a str, output: &'a Value) -> Vec<(&'static str, &'a str)> {
    let part = |pointer: &str| output.pointer(pointer).and_then(Value::as_str);
    let said = match part("/decision") {
        Some("duplicate") => "another execution works on this run already",
        Some("joined") => "another run waits to train and will see all the data that is there now",
        Some("ignored") => "nothing to do: the uploaded object is no training data",
        _ => part("/deployment/decision/reason").unwrap_or("done"),
    };
    let mut pairs = vec![("status", status), ("outcome", said)];
    for (name, pointer) in [
        ("run", "/run/run_id"),
        ("candidate", "/deployment/candidate"),
        ("endpoint", "/deployment/endpoint"),
        ("report", "/prediction/report_uri"),
    ] {
        pairs.extend(part(pointer).map(|value| (name, value)));
    }
    pairs.extend(watch::warnings(output));
    pairs
}

async fn stop(vendor: &Vendor, run: &RunRef, json: bool) -> Result<(), Failure> {
    let stopping = vendor.stop_run(run).await?;
    let id = &run.run_id;
    let (state, job, said) = match &stopping {
        Stopping::Ended(status) => {
            ("ended", None, format!("run {id} has ended already: {}", status.as_str()))
        }
        Stopping::TooLate => (
            "too_late",
            None,
            format!(
                "the request came too late: run {id}'s model serves already; to go back: crosspilot rollback {} {}",
                run.tenant, run.model
            ),
        ),
        Stopping::BeforeItsJob => {
            ("requested", None, format!("run {id} has no job yet and will not get one"))
        }
        Stopping::Job { job, status } => (
            "requested",
            Some(json!({"name": job, "status": status})),
            format!(
                "run {id} stops: its job {job} is {status}, and nothing will be deployed. Its execution ends when it looks next: crosspilot run watch {} {} {id}",
                run.tenant, run.model
            ),
        ),
    };
    if json {
        output::json(&json!({"run": run, "state": state, "job": job}));
    } else {
        output::line(&said);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_is_followed_tells_all_warnings_of_its_data() {
        let output = json!({
            "run": {"run_id": "20260131-0000000000"},
            "warnings": [
                {"code": "ConstantColumn", "message": "column \"a\" says nothing"},
                {"code": "NothingSetAside", "message": "too few rows"},
            ],
        });
        let expected = [
            ("status", "SUCCEEDED"),
            ("outcome", "done"),
            ("run", "20260131-0000000000"),
            ("warning", "column \"a\" says nothing"),
            ("warning", "too few rows"),
        ];
        assert_eq!(told("SUCCEEDED", &output), expected);
    }
}
