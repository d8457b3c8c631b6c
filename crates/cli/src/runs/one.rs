//! Everything about one run: from its record, which stays, and from Step
//! Functions, which knows it for 90 days.

use crosspilot_core::layout;
use crosspilot_core::registry::{Measured, Outcome, RunRecord};
use crosspilot_operator::Vendor;
use serde_json::{Value, json};

use super::list::{status, way_in};
use crate::failure::Failure;
use crate::output;
use crate::watch::{self, Execution};

pub(super) async fn show(vendor: &Vendor, record: RunRecord, json: bool) -> Result<(), Failure> {
    let run = &record.run;
    let tenant = vendor.registry.tenant(&run.tenant).await?;
    let lineup = vendor.registry.lineup(&run.tenant, &run.model).await?;
    let trend = vendor.registry.trend(&run.tenant, &run.model).await?;
    let later: Vec<&Measured> = trend.of(&run.run_id).collect();
    let execution = watch::look(vendor, &record.execution).await?;
    let status = status(vendor, &record).await?;
    let serves = lineup.champion.as_ref().map(|champion| &champion.run.run_id);
    let results = layout::uri(&tenant, &layout::results_prefix(&tenant.prefix, run));
    if json {
        let seconds: serde_json::Map<String, Value> = execution
            .iter()
            .flat_map(|execution| &execution.seconds)
            .map(|(stage, seconds)| ((*stage).to_owned(), json!(seconds)))
            .collect();
        output::json(&json!({
            "run": run, "status": status, "trigger": record.trigger,
            "execution": record.execution, "earlier_executions": record.earlier,
            "stop": record.stop, "overruled_stops": record.overruled, "outcome": record.outcome,
            "now": execution.as_ref().and_then(|execution| execution.now.clone()),
            "seconds": seconds,
            "failure": execution.as_ref().and_then(|execution| execution.failure.clone()),
            "output": execution.as_ref().and_then(|execution| execution.output.clone()),
            "job": run.job_name(), "endpoint": run.endpoint_name(), "results": results,
            "serves_now": serves, "previous": lineup.previous.map(|previous| previous.run.run_id),
            "measured_later": later,
        }));
        return Ok(());
    }
    let mut pairs = vec![
        ("run", run.run_id.to_string()),
        ("model", format!("{} of {}", run.model, run.tenant)),
        ("status", status),
        ("started by", format!("{}, {}", way_in(&record.trigger), record.trigger.time())),
    ];
    if let Some(stop) = &record.stop {
        pairs.push(("stopped by", format!("{}, {}", stop.by, stop.time)));
    }
    for stop in &record.overruled {
        pairs.push(("redriven although stopped by", format!("{}, {}", stop.by, stop.time)));
    }
    pairs.extend(what_happened(execution.as_ref(), record.outcome.as_ref()));
    pairs.push(("job", run.job_name()));
    pairs.push(("results", results));
    let serves = match serves {
        Some(serving) if *serving == run.run_id => "this run's model".to_owned(),
        Some(serving) => format!("run {serving}'s model"),
        None => "nothing".to_owned(),
    };
    pairs.push(("serves now", serves));
    pairs.push(("execution", record.execution.clone()));
    pairs.extend(record.earlier.iter().map(|earlier| ("before that", earlier.clone())));
    let pairs: Vec<(&str, &str)> =
        pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
    output::pairs(&pairs);
    if let Some(execution) = execution.filter(|execution| !execution.seconds.is_empty()) {
        output::line("");
        let rows: Vec<Vec<String>> = execution
            .seconds
            .iter()
            .map(|(stage, seconds)| vec![(*stage).to_owned(), format!("{seconds:.1} s")])
            .collect();
        output::table(&["stage", "took"], &rows);
    }
    if !later.is_empty() {
        output::line("");
        let rows: Vec<Vec<String>> = later.into_iter().map(later_row).collect();
        output::table(&["held-out rows of", "rows", "metric", "value"], &rows);
    }
    Ok(())
}

/// Writes what the model was worth on one file of held-out rows that came while it served.
fn later_row(measured: &Measured) -> Vec<String> {
    let metric = measured.metric.clone().unwrap_or_else(|| "-".to_owned());
    let value = measured.value.map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"));
    vec![measured.uploaded.clone(), measured.rows.to_string(), metric, value]
}

/// The execution's own words while Step Functions has them, else the record's.
fn what_happened(
    execution: Option<&Execution>,
    outcome: Option<&Outcome>,
) -> Vec<(&'static str, String)> {
    let mut pairs = Vec::new();
    if let Some(execution) = execution {
        pairs.extend(execution.now.clone().map(|now| ("now", now)));
        let output = execution.output.as_ref();
        let part = |pointer: &str| output?.pointer(pointer)?.as_str().map(str::to_owned);
        for (name, pointer) in [
            ("decision", "/deployment/decision/reason"),
            ("candidate", "/deployment/candidate"),
            ("report", "/prediction/report_uri"),
        ] {
            pairs.extend(part(pointer).map(|value| (name, value)));
        }
        let warnings = output.into_iter().flat_map(watch::warnings);
        pairs.extend(warnings.map(|(name, warning)| (name, warning.to_owned())));
        if let Some(evaluation) = output.and_then(|output| output.pointer("/prediction/evaluation"))
            && let Some(figures) = evaluation.as_object()
        {
            let figures: Vec<String> = figures
                .iter()
                .filter(|(_, value)| value.is_number())
                .map(|(name, value)| format!("{name} {value}"))
                .collect();
            pairs.push(("evaluation", figures.join(", ")));
        }
        if let Some(failure) = &execution.failure {
            let part = |name: &str| failure[name].as_str().unwrap_or("-");
            pairs.push((
                "failed at",
                format!("{}: {}: {}", part("stage"), part("code"), part("cause")),
            ));
        }
        return pairs;
    }
    match outcome {
        Some(Outcome::Completed { time, reason, candidate, report, warnings }) => {
            pairs.push(("ended", time.clone()));
            pairs.push(("decision", reason.clone()));
            pairs.extend(candidate.clone().map(|candidate| ("candidate", candidate)));
            pairs.extend(report.clone().map(|report| ("report", report)));
            pairs.extend(warnings.iter().map(|warning| ("warning", warning.clone())));
        }
        Some(Outcome::Failed { time, stage, code, cause }) => {
            pairs.push(("ended", time.clone()));
            pairs.push(("failed at", format!("{stage}: {code}: {cause}")));
        }
        None => {}
    }
    pairs
}
