//! `crosspilot tenant`: tenants and their models.

use std::path::Path;

use crosspilot_core::ids::{ExternalId, InvalidId, RoleArn, TenantId};
use crosspilot_core::tenant::{
    ACCESS_ROLE, EXECUTION_ROLE, Encryption, Limits, Network, PredictionLimits, Tenant,
    TenantStatus,
};
use crosspilot_core::verification::Verification;
use crosspilot_local::CloudError;
use crosspilot_operator::{Invitation, Vendor};
use futures_util::{StreamExt, stream};
use serde_json::json;

use crate::args::{
    NewTenant, ReadmitTenant, ShowTenant, TenantAndForm, TenantChanges, TenantCommand,
};
use crate::failure::Failure;
use crate::stack::Stack;
use crate::{connect, manage, models, output};

pub(crate) async fn run(
    home: &Path,
    aws: Option<String>,
    command: TenantCommand,
) -> Result<(), Failure> {
    let here = aws.is_none();
    let vendor = connect::vendor(home, aws).await?;
    match command {
        TenantCommand::Add(new) => {
            let (tenant, account) = (new.tenant.clone(), new.account.clone());
            add(&vendor, new).await?;
            if here {
                let running = connect::running(home).await?;
                let profile = running.add_customer(home, tenant.as_str(), account.as_str())?;
                eprintln!("on this local cloud its administrator is the AWS profile {profile}");
            }
            Ok(())
        }
        TenantCommand::Verify(asked) => verify(&vendor, asked).await,
        TenantCommand::List { json } => list(&vendor, json).await,
        TenantCommand::Show(asked) => show_one(&vendor, asked).await,
        TenantCommand::History(asked) => history(&vendor, asked).await,
        TenantCommand::Suspend(asked) => {
            let tenant = vendor.set_status(&asked.tenant, TenantStatus::Suspended).await?;
            print_status(&tenant, asked.json, "it neither runs nor predicts");
            Ok(())
        }
        TenantCommand::Resume(asked) => {
            vendor.registry.may_become(&asked.tenant, TenantStatus::Active).await?;
            activate(&vendor, asked).await
        }
        TenantCommand::Remove(asked) => manage::remove_tenant(&vendor, asked).await,
        TenantCommand::Readmit(asked) => readmit(&vendor, asked).await,
        TenantCommand::Set(changes) => set(&vendor, *changes).await,
        TenantCommand::Model(command) => models::run(&vendor, command).await,
    }
}

async fn add(vendor: &Vendor, new: NewTenant) -> Result<(), Failure> {
    let role =
        |name| -> Result<RoleArn, InvalidId> { RoleArn::new(&new.region, &new.account, name) };
    let default_bucket = || format!("crosspilot-{}-{}", new.tenant, new.account).parse();
    let network = Network { subnets: new.subnets, security_groups: new.security_groups };
    let tenant = Tenant {
        role_arn: role(ACCESS_ROLE).map_err(CloudError::from)?,
        execution_role_arn: role(EXECUTION_ROLE).map_err(CloudError::from)?,
        external_id: ExternalId::generate().map_err(|_| CloudError::Random)?,
        bucket: new.bucket.clone().map_or_else(default_bucket, Ok).map_err(CloudError::from)?,
        bucket_exists: new.bucket_exists,
        network: (!network.subnets.is_empty()).then_some(network),
        encryption: None,
        tags: Default::default(),
        status: TenantStatus::Pending,
        limits: Limits::default(),
        predictions: PredictionLimits::default(),
        models: Default::default(),
        tenant: new.tenant,
        account: new.account,
        region: new.region,
        prefix: new.prefix,
    };
    let tenant = vendor.add_tenant(&tenant).await?;
    invite(vendor, &tenant, new.template_url, new.json);
    Ok(())
}

async fn readmit(vendor: &Vendor, asked: ReadmitTenant) -> Result<(), Failure> {
    let external_id = ExternalId::generate().map_err(|_| CloudError::Random)?;
    let tenant = vendor.readmit_tenant(&asked.of.tenant, &external_id).await?;
    invite(vendor, &tenant, asked.template_url, asked.of.json);
    if !asked.of.json {
        output::line(
            "\nIf its stack is still there, it is updated with that; if it was deleted and its bucket kept, CreateBucket=false takes the bucket up.",
        );
    }
    Ok(())
}

/// Prints what the customer's administrator deploys with.
fn invite(vendor: &Vendor, tenant: &Tenant, template_url: Option<String>, json: bool) {
    let invitation = Invitation::new(tenant, &vendor.deployment.event_bus);
    let link = template_url.map(|url| invitation.quick_create_link(&url));
    if json {
        output::json(&json!({
            "tenant": tenant.tenant, "status": tenant.status,
            "quick_create_link": link, "command_line": invitation.command_line(),
        }));
        return;
    }
    let id = &tenant.tenant;
    output::line(&format!(
        "tenant {id} is {}. Its administrator deploys the customer template:",
        tenant.status.as_str()
    ));
    output::line("\nin the browser");
    output::line(&link.unwrap_or_else(|| {
        "  (no link: upload infra/customer.yaml to an S3 bucket that your customers can read and name its https address with --template-url)".to_owned()
    }));
    output::line("\nor in a terminal");
    output::line(&invitation.command_line());
    output::line(&format!("\nThen: crosspilot tenant verify {id}"));
}

async fn set(vendor: &Vendor, mut changes: TenantChanges) -> Result<(), Failure> {
    // The customer's stack knows already what was taken from it.
    let told = changes.concern_the_stack();
    if let Some(file) = &changes.stack {
        let text = match file.to_str() {
            Some("-") => std::io::read_to_string(std::io::stdin()),
            _ => std::fs::read_to_string(file),
        };
        let text = text.map_err(|e| Failure::Unreadable(file.clone(), e))?;
        let stack = Stack::read(text.as_bytes())?;
        stack.take(&vendor.registry.tenant(&changes.tenant).await?, &mut changes)?;
    }
    let tenant =
        vendor.change_tenant(&changes.tenant, "set", |tenant| apply(&changes, tenant)).await?;
    if changes.json {
        output::json(&serde_json::to_value(&tenant)?);
    } else {
        let Limits { max_candidates, max_runtime_seconds } = tenant.limits;
        let PredictionLimits { calls_per_minute, records_per_minute } = tenant.predictions;
        output::line(&format!(
            "tenant {}: jobs train {max_candidates} candidates and take {max_runtime_seconds} s at most; {calls_per_minute} calls with {records_per_minute} records a minute; {} tags, {}, {}",
            tenant.tenant,
            tenant.tags.len(),
            if tenant.encryption.is_some() { "keys of its own" } else { "no keys of its own" },
            if tenant.network.is_some() { "in its subnets" } else { "in no subnets of its own" },
        ));
        if told {
            output::line(&format!(
                "the customer's stack has to know of it, too: crosspilot tenant show {} --invitation",
                tenant.tenant
            ));
        }
    }
    Ok(())
}

fn apply(changes: &TenantChanges, tenant: &mut Tenant) {
    let limits = &mut tenant.limits;
    limits.max_candidates = changes.max_candidates.unwrap_or(limits.max_candidates);
    limits.max_runtime_seconds = changes.max_runtime.unwrap_or(limits.max_runtime_seconds);
    let limits = &mut tenant.predictions;
    limits.calls_per_minute = changes.calls_per_minute.unwrap_or(limits.calls_per_minute);
    limits.records_per_minute = changes.records_per_minute.unwrap_or(limits.records_per_minute);
    for (name, value) in &changes.tags {
        if value.is_empty() {
            tenant.tags.remove(name);
        } else {
            tenant.tags.insert(name.clone(), value.clone());
        }
    }
    let mut encryption = tenant.encryption.take().unwrap_or_default();
    let replace = |key: &mut Option<String>, given: &Option<String>| {
        if let Some(given) = given {
            *key = (!given.is_empty()).then(|| given.clone());
        }
    };
    replace(&mut encryption.volume_key, &changes.volume_key);
    replace(&mut encryption.output_key, &changes.output_key);
    encryption.between_containers =
        changes.encrypt_between_containers.unwrap_or(encryption.between_containers);
    tenant.encryption = (encryption != Encryption::default()).then_some(encryption);
    if changes.no_network {
        tenant.network = None;
    } else if !changes.subnets.is_empty() {
        let (subnets, security_groups) = (changes.subnets.clone(), changes.security_groups.clone());
        tenant.network = Some(Network { subnets, security_groups });
    }
}

/// A pending tenant becomes active by its proof; any other stays what it is.
async fn verify(vendor: &Vendor, asked: TenantAndForm) -> Result<(), Failure> {
    let tenant = vendor.registry.tenant(&asked.tenant).await?;
    if !matches!(tenant.status, TenantStatus::Offboarding | TenantStatus::Deleted) {
        vendor.repair(&tenant).await?;
    }
    if tenant.status == TenantStatus::Pending {
        return activate(vendor, asked).await;
    }
    let verdict = vendor.verify(&asked.tenant).await?;
    let tenant = vendor.registry.tenant(&asked.tenant).await?;
    conclude(&verdict, &tenant, asked.json)
}

async fn activate(vendor: &Vendor, asked: TenantAndForm) -> Result<(), Failure> {
    let (verdict, tenant) = vendor.verify_and_activate(&asked.tenant).await?;
    conclude(&verdict, &tenant, asked.json)
}

fn conclude(verdict: &Verification, tenant: &Tenant, json: bool) -> Result<(), Failure> {
    if json {
        let mut answer = serde_json::to_value(verdict)?;
        answer["status"] = json!(tenant.status);
        output::json(&answer);
    }
    match verdict {
        Verification::Proven { .. } => {
            if let Some(note) = tenant.note_on_keys() {
                eprintln!("{note}");
            }
            if !json {
                print_status(
                    tenant,
                    false,
                    "its role takes its external ID; none, a random and a similar one are refused",
                );
            }
            Ok(())
        }
        Verification::Refused { code, cause, .. } | Verification::Unproven { code, cause, .. } => {
            Err(Failure::Trust {
                tenant: tenant.tenant.clone(),
                status: tenant.status.as_str(),
                code: code.clone(),
                cause: cause.clone(),
            })
        }
    }
}

fn print_status(tenant: &Tenant, json: bool, what: &str) {
    if json {
        output::json(&json!({"tenant": tenant.tenant, "status": tenant.status}));
    } else {
        output::line(&format!("tenant {} is {}: {what}", tenant.tenant, tenant.status.as_str()));
    }
}

/// The number of tenants that a list reads at once: one read of S3 after the other takes a
/// minute for a few thousand tenants.
const READ_AT_ONCE: usize = 32;

async fn list(vendor: &Vendor, json: bool) -> Result<(), Failure> {
    // A broken document is an error of its tenant, never of the others.
    let read = async |id: TenantId| match vendor.registry.tenant(&id).await {
        Ok(tenant) => {
            let status = tenant.status.as_str().to_owned();
            (id, status, tenant.account.to_string(), tenant.models.len())
        }
        Err(error) => (id, error.to_string(), "-".to_owned(), 0),
    };
    let ids = vendor.registry.tenants().await?;
    let rows: Vec<_> = stream::iter(ids).map(read).buffered(READ_AT_ONCE).collect().await;
    if json {
        let tenants = rows.iter().map(|(id, status, account, models)| {
            json!({"tenant": id, "status": status, "account": account, "models": models})
        });
        output::json(&tenants.collect());
    } else {
        let rows: Vec<Vec<String>> = rows
            .into_iter()
            .map(|(id, status, account, models)| {
                vec![id.to_string(), status, account, models.to_string()]
            })
            .collect();
        output::table(&["tenant", "status", "account", "models"], &rows);
    }
    Ok(())
}

async fn history(vendor: &Vendor, asked: TenantAndForm) -> Result<(), Failure> {
    let TenantAndForm { tenant, json } = asked;
    vendor.registry.tenant(&tenant).await?;
    let trail = vendor.registry.audit_trail(&tenant).await?;
    for (name, reason) in &trail.broken {
        eprintln!("entry {name} of the audit trail cannot be read: {reason}");
    }
    if json {
        output::json(&serde_json::to_value(&trail.entries)?);
        return Ok(());
    }
    let rows: Vec<Vec<String>> = trail
        .entries
        .into_iter()
        .map(|entry| vec![entry.time, entry.action, entry.to.as_str().to_owned(), entry.by])
        .collect();
    output::table(&["time", "action", "status", "by"], &rows);
    Ok(())
}

async fn show_one(vendor: &Vendor, asked: ShowTenant) -> Result<(), Failure> {
    let ShowTenant { of: TenantAndForm { tenant, json }, invitation, template_url } = asked;
    let tenant = vendor.registry.tenant(&tenant).await?;
    if invitation {
        invite(vendor, &tenant, template_url, json);
        return Ok(());
    }
    if json {
        output::json(&serde_json::to_value(&tenant)?);
        return Ok(());
    }
    output::pairs(&[
        ("tenant", tenant.tenant.as_str()),
        ("status", tenant.status.as_str()),
        ("account", tenant.account.as_str()),
        ("region", tenant.region.as_str()),
        ("role", tenant.role_arn.as_str()),
        ("execution role", tenant.execution_role_arn.as_str()),
        ("bucket", tenant.bucket.as_str()),
        ("prefix", tenant.prefix.as_str()),
    ]);
    if !tenant.models.is_empty() {
        output::line("");
        let rows: Vec<Vec<String>> = tenant
            .models
            .iter()
            .map(|(name, model)| {
                let schedule = model.schedule.clone().unwrap_or_else(|| "-".into());
                let hosting = models::hosting(&model.deployment.hosting);
                vec![name.to_string(), model.target.clone(), hosting, schedule]
            })
            .collect();
        output::table(&["model", "target", "hosting", "schedule"], &rows);
    }
    Ok(())
}
