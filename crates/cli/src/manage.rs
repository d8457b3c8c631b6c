//! `crosspilot rollback`, `remove` and `idle`: what models need besides training.

use std::io::IsTerminal;
use std::path::Path;

use crosspilot_core::ids::TenantId;
use crosspilot_core::manage::EndpointStock;
use crosspilot_core::tenant::TenantStatus;
use crosspilot_operator::{Removal, Removed, Vendor};
use serde_json::{Value, json};

use crate::args::{
    IdleOptions, ModelAndForm, RemoveCommand, RemoveOptions, RemoveTenant, TenantAndForm,
};
use crate::cost::take_stock;
use crate::failure::Failure;
use crate::output::Steps;
use crate::{connect, output};

pub(crate) async fn roll_back(
    home: &Path,
    aws: Option<String>,
    asked: ModelAndForm,
) -> Result<(), Failure> {
    let vendor = connect::vendor(home, aws).await?;
    let ModelAndForm { tenant, model, json } = asked;
    let before = vendor.registry.lineup(&tenant, &model).await?.champion;
    let steps = Steps::new();
    let done = vendor.roll_back(&tenant, &model, |doing| steps.step(doing)).await;
    steps.done();
    let (run, warning) = done?;
    if let Some(warning) = &warning {
        eprintln!("{warning}");
    }
    if json {
        let before = before.map(|champion| champion.run.run_id);
        output::json(&json!({
            "tenant": tenant, "model": model, "serves": run.run_id, "served": before,
            "warning": warning,
        }));
    } else {
        let before = match before {
            Some(champion) => {
                format!("run {}'s, which a second rollback brings back", champion.run.run_id)
            }
            None => "nothing's".to_owned(),
        };
        output::line(&format!("run {}'s model serves now in place of {before}", run.run_id));
    }
    Ok(())
}

pub(crate) async fn remove(
    home: &Path,
    aws: Option<String>,
    command: RemoveCommand,
) -> Result<(), Failure> {
    let vendor = connect::vendor(home, aws).await?;
    match command {
        RemoveCommand::Tenant(asked) => remove_tenant(&vendor, asked).await,
        RemoveCommand::Model { of: ModelAndForm { tenant, model, json }, how } => {
            let known = vendor.registry.tenant(&tenant).await?.models.contains_key(&model);
            let what = format!("model {model} of tenant {tenant}");
            confirm(how, &what)?;
            let steps = Steps::new();
            let report = |doing: &str| steps.step(doing);
            let removed = vendor.remove_model(&tenant, &model, how.artifacts, report).await;
            steps.done();
            let removed = removed?;
            if json {
                output::json(&json!({
                    "tenant": tenant, "model": model, "was_set_up": known,
                    "artifacts": how.artifacts, "proof": proof(&removed),
                }));
            } else {
                output::line(&if known {
                    format!("{what} is removed")
                } else {
                    format!("{what} was not set up")
                });
                say(&removed, how.artifacts);
            }
            Ok(())
        }
    }
}

pub(crate) async fn remove_tenant(vendor: &Vendor, asked: RemoveTenant) -> Result<(), Failure> {
    let RemoveTenant { of: TenantAndForm { tenant, json }, how, force } = asked;
    vendor.registry.may_become(&tenant, TenantStatus::Offboarding).await.or_else(|error| {
        // An earlier attempt goes on.
        match &error {
            crosspilot_core::registry::RegistryError::Transition {
                from: TenantStatus::Offboarding,
                ..
            } => Ok(()),
            _ => Err(error),
        }
    })?;
    confirm(how, &format!("tenant {tenant} with all its models, for good"))?;
    let steps = Steps::new();
    let removal = Removal { artifacts: how.artifacts, force };
    let done = vendor.remove_tenant(&tenant, removal, |doing| steps.step(doing)).await;
    steps.done();
    let (tenant, removed) = done?;
    if json {
        output::json(&json!({
            "tenant": tenant.tenant, "status": tenant.status,
            "artifacts": how.artifacts, "proof": proof(&removed),
        }));
    } else {
        output::line(&format!(
            "tenant {} is {}: its schedules are gone and its uploads are no longer heard",
            tenant.tenant,
            tenant.status.as_str()
        ));
        say(&removed, how.artifacts);
    }
    Ok(())
}

/// Asks on a terminal. Elsewhere, who says nothing has not said yes.
fn confirm(how: RemoveOptions, what: &str) -> Result<(), Failure> {
    if how.yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::NotConfirmed);
    }
    let artifacts =
        if how.artifacts { " and all its results in the customer's bucket" } else { "" };
    eprint!("Remove {what}{artifacts}? Type yes: ");
    let mut answer = String::new();
    match std::io::stdin().read_line(&mut answer) {
        Ok(_) if answer.trim() == "yes" => Ok(()),
        _ => Err(Failure::NotConfirmed),
    }
}

fn proof(removed: &Removed) -> Value {
    match removed {
        Removed::Proven { foreign } => json!({"nothing_left": true, "foreign": foreign}),
        Removed::NeverUsed => {
            json!({"nothing_left": true, "reason": "the tenant was never active"})
        }
        Removed::Unchecked(reason) => json!({"nothing_left": null, "reason": reason}),
    }
}

fn say(removed: &Removed, artifacts: bool) {
    match removed {
        Removed::Proven { foreign } => {
            output::line(
                "In the customer's account, no endpoint, endpoint config or model with our tags is left, and no job of ours runs. Ended jobs stay in SageMaker's list: AWS deletes none, and they cost nothing",
            );
            if !artifacts {
                output::line("What runs left in the bucket stays; --artifacts removes that, too");
            }
            for name in foreign {
                output::line(&format!("left alone, since it does not carry our tags: {name}"));
            }
        }
        Removed::NeverUsed => {
            output::line("It was never active: nothing was ever made in its account");
        }
        Removed::Unchecked(reason) => {
            output::line(&format!("Its account could not be looked at: {reason}"));
            output::line("Endpoints named crosspilot-* cost there until the customer deletes them");
        }
    }
}

pub(crate) async fn idle(
    home: &Path,
    aws: Option<String>,
    options: IdleOptions,
) -> Result<(), Failure> {
    let vendor = connect::vendor(home, aws).await?;
    let tenants = match &options.tenant {
        Some(tenant) => vec![tenant.clone()],
        None => active_tenants(&vendor).await?,
    };
    let steps = Steps::new();
    let mut rows = Vec::new();
    for tenant in tenants {
        steps.step(&format!("looking at tenant {tenant}"));
        let document = vendor.registry.tenant(&tenant).await?;
        let stock = match take_stock(&vendor, &tenant, options.days).await {
            Ok(stock) => stock,
            // One tenant's trouble is not the others'.
            Err(error) if options.tenant.is_none() => {
                eprintln!("tenant {tenant}: {error}");
                continue;
            }
            Err(error) => return Err(error),
        };
        for model in stock.models {
            let Some(endpoint) = model.endpoint.filter(EndpointStock::is_idle) else { continue };
            let settings = document.models.get(&model.model);
            let limit = settings.and_then(|settings| settings.deployment.remove_after_idle_days);
            rows.push((tenant.clone(), model.model, endpoint, limit));
        }
    }
    steps.done();
    if options.json {
        let idle = rows.iter().map(|(tenant, model, endpoint, limit)| {
            json!({
                "tenant": tenant, "model": model, "endpoint": endpoint,
                "removed_after_days": limit,
            })
        });
        output::json(&idle.collect());
        return Ok(());
    }
    if rows.is_empty() {
        output::line(&format!("no endpoint went without a prediction for {} days", options.days));
        return Ok(());
    }
    let rows: Vec<Vec<String>> = rows
        .into_iter()
        .map(|(tenant, model, endpoint, limit)| {
            let removal = match limit {
                Some(days) => format!("removed after {days} days"),
                None => format!("crosspilot remove model {tenant} {model}"),
            };
            let since = format!("{} days", endpoint.unchanged_days);
            vec![tenant.to_string(), model.to_string(), endpoint.name, since, removal]
        })
        .collect();
    output::table(&["tenant", "model", "idle endpoint", "unchanged for", "what to do"], &rows);
    Ok(())
}

async fn active_tenants(vendor: &Vendor) -> Result<Vec<TenantId>, Failure> {
    let mut active = Vec::new();
    for id in vendor.registry.tenants().await? {
        // A broken document is an error of its tenant, never of the others.
        match vendor.registry.tenant(&id).await {
            Ok(tenant) if tenant.status == TenantStatus::Active => active.push(id),
            Ok(_) => {}
            Err(error) => eprintln!("tenant {id}: {error}"),
        }
    }
    Ok(active)
}
