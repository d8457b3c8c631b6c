//! The calls about a tenant's models besides training them. Each call does as much as can be
//! done now and says whether to ask again, so that a call that is repeated, or an execution
//! that is started anew, goes on where it is.

mod account;
mod inventory;
mod removal;
mod rollback;
mod stop;
mod sweep;

use crosspilot_core::error::{Code, Coded};
use crosspilot_core::ids::ModelName;
use crosspilot_core::lambda::App;
use crosspilot_core::manage::{Action, ManageRequest, Progress, Report};
use crosspilot_core::policy::Purpose;
use crosspilot_core::registry::RegistryError;
use crosspilot_core::run::{RunId, RunRef};
use crosspilot_core::session::CustomerSession;
use crosspilot_core::tenant::{Tenant, TenantStatus};

use crate::HostingError;

/// Seconds until the next look at what SageMaker takes minutes for.
const WAIT_SECONDS: u32 = 15;

/// Does what is asked, as far as that goes now. It is done for tenants that may
/// not run any more, too: they are the ones to clear up after.
pub async fn manage(app: &App, ask: ManageRequest) -> Result<Progress, HostingError> {
    let tenant = app.registry.tenant(&ask.tenant).await?;
    // A round comes to those who left, too: what they left may still be at work.
    let rounds = matches!(ask.action, Action::TidyUp { .. } | Action::Sweep { .. });
    if tenant.status == TenantStatus::Deleted && !rounds {
        return Err(RegistryError::Gone(tenant.tenant).into());
    }
    let run = |model: &ModelName, run_id: &RunId| RunRef {
        tenant: tenant.tenant.clone(),
        model: model.clone(),
        run_id: run_id.clone(),
    };
    let progress = match &ask.action {
        Action::Stop { run: id, model } => stop::stop(app, &tenant, &run(model, id)).await?,
        Action::RollBack { model, to } => {
            rollback::roll_back(app, &tenant, &run(model, to), ask.begun).await?
        }
        Action::Remove { model, artifacts } => {
            removal::remove(app, &tenant, model.as_ref(), *artifacts).await?
        }
        Action::TakeStock { days } => inventory::take_stock(app, &tenant, *days).await?,
        Action::TidyUp { days } => inventory::tidy_up(app, &tenant, *days).await?,
        Action::Sweep { run } => sweep::sweep(app, &tenant, run.as_ref()).await?,
    };
    tracing::info!(tenant = %tenant.tenant, ?progress, "managed");
    Ok(progress)
}

/// A session in the tenant's account. A role that cannot be assumed says that
/// the customer has left.
async fn open(
    app: &App,
    tenant: &Tenant,
    purpose: Purpose<'_>,
) -> Result<CustomerSession, HostingError> {
    app.sessions.open(tenant, purpose).await.map_err(|error| match error.code() {
        Code::AccessDenied => HostingError::NoRole(error),
        _ => HostingError::Call(error),
    })
}

fn done(report: Report) -> Progress {
    Progress::Done { report }
}

fn waiting(doing: impl Into<String>) -> Progress {
    Progress::Waiting { wait_seconds: WAIT_SECONDS, doing: doing.into() }
}
