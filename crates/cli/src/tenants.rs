//! `crosspilot tenant`: tenants and their models.

use std::path::Path;

use crosspilot_core::ids::{ExternalId, InvalidId, RoleArn, TenantId};
use crosspilot_core::tenant::{
    ACCESS_ROLE, EXECUTION_ROLE, Limits, ModelSettings, Tenant, TenantStatus,
};
use crosspilot_core::vendor::Vendor;
use crosspilot_local::CloudError;
use serde_json::json;

use crate::args::TenantCommand;
use crate::failure::Failure;
use crate::{place, show};

pub(crate) async fn run(
    home: &Path,
    aws: Option<String>,
    command: TenantCommand,
) -> Result<(), Failure> {
    let vendor = place::vendor(home, aws).await?;
    match command {
        TenantCommand::Add { tenant, account, region, bucket, prefix } => {
            let role = |name| -> Result<RoleArn, InvalidId> { RoleArn::new(&account, name) };
            let registered = Tenant {
                role_arn: role(ACCESS_ROLE).map_err(CloudError::from)?,
                execution_role_arn: role(EXECUTION_ROLE).map_err(CloudError::from)?,
                external_id: ExternalId::generate().map_err(|_| CloudError::Random)?,
                status: TenantStatus::Pending,
                limits: Limits::default(),
                models: Default::default(),
                tenant,
                account,
                region,
                bucket,
                prefix,
            };
            vendor.add_tenant(&registered).await?;
            print_invitation(&vendor, &registered);
        }
        TenantCommand::Activate { tenant } => {
            vendor.set_status(&tenant, TenantStatus::Active).await?;
            show::line(&format!(
                "tenant {tenant} is active; its trust is proven at the start of every run"
            ));
        }
        TenantCommand::List { json } => list(&vendor, json).await?,
        TenantCommand::Show { tenant, json } => show_one(&vendor, &tenant, json).await?,
        TenantCommand::Model { tenant, model, target, schedule } => {
            let settings = ModelSettings { schedule, ..ModelSettings::predicting(target) };
            vendor.set_model(&tenant, &model, &settings).await?;
            show::line(&format!(
                "tenant {tenant} has model {model}, which predicts {:?}",
                settings.target
            ));
        }
    }
    Ok(())
}

/// What the customer's administrator needs.
fn print_invitation(vendor: &Vendor, tenant: &Tenant) {
    let saas = vendor.deployment.event_bus.split(':').nth(4).unwrap_or_default();
    show::line(&format!(
        "tenant {} is pending. The customer deploys infra/customer.yaml with:\n",
        tenant.tenant
    ));
    show::pairs(&[
        ("SaasAccountId", saas),
        ("ExternalId", tenant.external_id.as_str()),
        ("VendorEventBusArn", &vendor.deployment.event_bus),
        ("BucketName", tenant.bucket.as_str()),
        ("Prefix", tenant.prefix.as_str()),
    ]);
    show::line(&format!("\nThen: crosspilot tenant activate {}", tenant.tenant));
}

async fn list(vendor: &Vendor, json: bool) -> Result<(), Failure> {
    let mut rows = Vec::new();
    for id in vendor.registry.tenants().await? {
        // A broken document is an error of its tenant, never of the others.
        rows.push(match vendor.registry.tenant(&id).await {
            Ok(tenant) => (
                id,
                tenant.status.as_str().to_owned(),
                tenant.account.to_string(),
                tenant.models.len(),
            ),
            Err(error) => (id, error.to_string(), "-".to_owned(), 0),
        });
    }
    if json {
        let tenants = rows.iter().map(|(id, status, account, models)| {
            json!({"tenant": id, "status": status, "account": account, "models": models})
        });
        show::json(&tenants.collect());
    } else {
        let rows: Vec<Vec<String>> = rows
            .into_iter()
            .map(|(id, status, account, models)| {
                vec![id.to_string(), status, account, models.to_string()]
            })
            .collect();
        show::table(&["tenant", "status", "account", "models"], &rows);
    }
    Ok(())
}

async fn show_one(vendor: &Vendor, id: &TenantId, json: bool) -> Result<(), Failure> {
    let tenant = vendor.registry.tenant(id).await?;
    if json {
        show::json(&serde_json::to_value(&tenant)?);
        return Ok(());
    }
    show::pairs(&[
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
        show::line("");
        let rows: Vec<Vec<String>> = tenant
            .models
            .iter()
            .map(|(name, model)| {
                let schedule = model.schedule.clone().unwrap_or_else(|| "-".into());
                vec![name.to_string(), model.target.clone(), model.instance_type.clone(), schedule]
            })
            .collect();
        show::table(&["model", "target", "instance", "schedule"], &rows);
    }
    Ok(())
}
