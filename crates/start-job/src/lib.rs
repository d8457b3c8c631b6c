//! `start-job`: is the data fit to train on? Then start the AutoML job.
//!
//! The job's name follows from the run, so starting twice is starting once: a
//! job that exists is compared with what would have been created, and adopted
//! or refused.

pub mod preflight;
mod request;
mod training;

use crosspilot_core::error::{CallError, Code, Coded};
use crosspilot_core::lambda::App;
use crosspilot_core::policy::Purpose;
use crosspilot_core::registry::{RegistryError, model_settings};
use crosspilot_core::run::RunRef;
use crosspilot_core::session::CustomerSession;
use crosspilot_core::tenant::Tenant;
use serde::{Deserialize, Serialize};

use preflight::Unfit;
use request::JobPlan;

/// Which run to start the job of.
#[derive(Debug, Clone, Deserialize)]
pub struct Request {
    /// The run, as `assume` gave it.
    pub run: RunRef,
}

/// The job that trains for this run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Response {
    /// Its name.
    pub job: String,
    /// Where the training data lies.
    pub training_data: String,
    /// Rows of training data; an estimate when the data is large.
    pub rows: u64,
    /// Columns that the model learns from.
    pub features: usize,
}

/// Why no job runs.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data cannot be trained on.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// A job of the run's name exists but is not the run's.
    #[error(
        "AutoML job {job} exists in account {account} with another {what}; it is not this run's: rename or remove it, then start the run again"
    )]
    Foreign {
        /// The job.
        job: String,
        /// Where.
        account: String,
        /// What differs.
        what: &'static str,
    },
    /// The registry refused or failed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// AWS refused or failed.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl Coded for Error {
    fn code(&self) -> Code {
        match self {
            Error::Unfit(_) => Code::DataUnfit,
            Error::Foreign { .. } => Code::Conflict,
            Error::Registry(error) => error.code(),
            Error::Call(error) => error.code(),
        }
    }
}

/// Inspects the data, notes its columns, and starts or adopts the job.
pub async fn handle(app: App, request: Request) -> Result<Response, Error> {
    let run = request.run;
    let tenant = app.registry.active_tenant(&run.tenant).await?;
    let settings = model_settings(&tenant, &run.model)?;
    let session = app.sessions.open(&tenant, Purpose::StartJob(&run)).await?;

    let shape = training::inspect(&session.s3(), &tenant, &run.model, &settings.target).await?;
    app.registry.change_run(&run, |record| record.features.clone_from(&shape.features)).await?;

    let plan = JobPlan::new(&tenant, settings, &run);
    create_or_adopt(&session, &tenant, &plan).await?;
    tracing::info!(tenant = %run.tenant, model = %run.model, run = %run.run_id, job = plan.name, "job started");
    Ok(Response {
        job: plan.name,
        training_data: plan.training_data,
        rows: shape.rows,
        features: shape.features.len(),
    })
}

async fn create_or_adopt(
    session: &CustomerSession,
    tenant: &Tenant,
    plan: &JobPlan,
) -> Result<(), Error> {
    let sagemaker = session.sagemaker();
    let created = plan
        .create(&sagemaker)?
        .send()
        .await
        .map_err(|e| CallError::new("sagemaker:CreateAutoMLJobV2", &plan.name, &e));
    match created {
        Ok(_) => Ok(()),
        Err(error) if error.aws_code() == "ResourceInUse" => {
            let found = sagemaker
                .describe_auto_ml_job_v2()
                .auto_ml_job_name(&plan.name)
                .send()
                .await
                .map_err(|e| CallError::new("sagemaker:DescribeAutoMLJobV2", &plan.name, &e))?;
            match plan.difference(&found) {
                None => Ok(()),
                Some(what) => Err(Error::Foreign {
                    job: plan.name.clone(),
                    account: tenant.account.to_string(),
                    what,
                }),
            }
        }
        Err(error) => Err(error.into()),
    }
}
