//! The work of an operator in the SaaS account: tenants, schedules, runs.
//!
//! The CLI calls this on AWS and on the local cloud alike.

mod admission;
mod invitation;
mod management;
mod redrive;
mod schedules;
mod verification;

use std::collections::HashMap;

use crosspilot_core::aws::aws_config::SdkConfig;
use crosspilot_core::aws::sfn::types::ExecutionStatus;
use crosspilot_core::error::{CallError, Code, Coded, Named};
use crosspilot_core::ids::{ExternalId, ModelName, TenantId};
use crosspilot_core::registry::{Change, Registry, RegistryError, Stop};
use crosspilot_core::run::{RunId, RunRef, Trigger};
use crosspilot_core::settings::ModelSettings;
use crosspilot_core::tenant::{Tenant, TenantStatus};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub use invitation::Invitation;
pub use management::{Removal, Removed, Stopping};

/// The reason why an operator's request did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// The stack is there but not what it should be.
    #[error("stack {stack} has no output {output}: deploy infra/saas.yaml under that name")]
    NoOutput {
        /// Name of the stack.
        stack: String,
        /// The output that is missing.
        output: &'static str,
    },
    /// The probes of a tenant's role did not end.
    #[error("the probes gave no verdict; nothing was changed: see execution {0}")]
    NoVerdict(String),
    /// A request about a tenant's models was refused or failed.
    #[error("{code}: {cause}\n       execution {execution}")]
    NotDone {
        /// The reason: a code.
        code: String,
        /// The reason: a sentence.
        cause: String,
        /// ARN of the execution that tried.
        execution: String,
    },
    /// The execution ended in no way that it should.
    #[error("there is no answer; ask again, which goes on where it stopped: see {0}")]
    NoAnswer(String),
    /// The event bus admits as many accounts as its policy has room for.
    #[error(
        "the policy of the event bus has no room for the accounts of {accounts} tenants: ask AWS for a higher quota of Amazon EventBridge (\"Event bus policy size\"), then give the command again, which goes on from here; until then the uploads of the tenants added last start nothing"
    )]
    BusFull {
        /// The number of accounts that the bus should admit.
        accounts: usize,
    },
    /// There is no model to roll back to.
    #[error("model {0} has no predecessor to roll back to: nothing served before its champion")]
    NoPredecessor(ModelName),
    /// A run cannot be redriven while it runs.
    #[error("the run is still going on in execution {0}: wait for it or stop it first")]
    StillRunning(String),
    /// A run that a person stopped is not redriven by the way.
    #[error(
        "{} stopped the run at {}: start a new one, or go on with this one all the same with --force", .0.by, .0.time
    )]
    StoppedByPerson(Stop),
    /// A run that ended well has nothing left to do.
    #[error("the run ended well in execution {0}: start a new one instead")]
    NothingToRedrive(String),
    /// The registry refused or failed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// AWS refused or failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The current time cannot be written.
    #[error("the system clock shows a time that RFC 3339 cannot hold")]
    Clock,
}

impl Coded for OperatorError {
    fn code(&self) -> Code {
        match self {
            OperatorError::NoOutput { .. } => Code::NotFound,
            OperatorError::NoVerdict(_) => Code::TrustUnproven,
            OperatorError::NotDone { .. } | OperatorError::NoAnswer(_) => Code::ResourceFailed,
            OperatorError::BusFull { .. } => Code::QuotaReached,
            OperatorError::NoPredecessor(_) => Code::NotFound,
            OperatorError::StillRunning(_)
            | OperatorError::StoppedByPerson(_)
            | OperatorError::NothingToRedrive(_) => Code::Conflict,
            OperatorError::Registry(error) => error.code(),
            OperatorError::Call(error) => error.code(),
            OperatorError::Clock => Code::Internal,
        }
    }
}

/// The vendor's side of a deployment: the outputs of `infra/saas.yaml`.
#[derive(Debug, Clone)]
pub struct Deployment {
    /// Bucket of the tenant registry.
    pub registry_bucket: String,
    /// ARN of the training state machine.
    pub state_machine: String,
    /// ARN of the state machine that proves tenants' trust.
    pub verify_state_machine: String,
    /// ARN of the state machine that stops, rolls back, removes and takes stock.
    pub manage_state_machine: String,
    /// ARN of the event bus that customers' uploads reach.
    pub event_bus: String,
    /// URL of the prediction API.
    pub api_url: String,
    /// Group of the tenants' schedules.
    pub schedule_group: String,
    /// Role that the schedules start runs with.
    pub schedule_role: String,
    /// ARN of the queue for what could not be delivered.
    pub dead_letters: String,
}

impl Deployment {
    /// Reads a deployed stack.
    pub async fn of_stack(config: &SdkConfig, stack: &str) -> Result<Self, OperatorError> {
        let answer = crosspilot_core::aws::cloudformation::Client::new(config)
            .describe_stacks()
            .stack_name(stack)
            .send()
            .await
            .named("cloudformation:DescribeStacks", stack)?;
        let outputs = answer.stacks.unwrap_or_default().into_iter().next();
        let mut outputs: HashMap<String, String> = outputs
            .and_then(|stack| stack.outputs)
            .unwrap_or_default()
            .into_iter()
            .filter_map(|output| Some((output.output_key?, output.output_value?)))
            .collect();
        let mut take = |output: &'static str| {
            outputs
                .remove(output)
                .ok_or(OperatorError::NoOutput { stack: stack.to_owned(), output })
        };
        Ok(Self {
            registry_bucket: take("RegistryBucket")?,
            state_machine: take("TrainStateMachine")?,
            verify_state_machine: take("VerifyStateMachine")?,
            manage_state_machine: take("ManageStateMachine")?,
            event_bus: take("EventBus")?,
            api_url: take("ApiUrl")?,
            schedule_group: take("ScheduleGroup")?,
            schedule_role: take("ScheduleRole")?,
            dead_letters: take("DeadLetters")?,
        })
    }
}

/// The SaaS account, as an operator reaches it.
#[derive(Debug, Clone)]
pub struct Vendor {
    config: SdkConfig,
    /// ARN of the operator, for the audit trail.
    operator: String,
    /// The deployment in the account.
    pub deployment: Deployment,
    /// The tenants.
    pub registry: Registry,
}

impl Vendor {
    /// Finds the deployment in the account that `config` reaches.
    pub async fn connect(config: SdkConfig, stack: &str) -> Result<Self, OperatorError> {
        let deployment = Deployment::of_stack(&config, stack).await?;
        let registry = Registry::new(&config, &deployment.registry_bucket);
        let operator = crosspilot_core::session::caller(&config).await?;
        Ok(Self { config, operator, deployment, registry })
    }

    /// Makes what the functions work with, under the operator's own identity.
    pub fn app(&self) -> crosspilot_core::lambda::App {
        crosspilot_core::lambda::App::new(self.config.clone(), self.registry.clone())
    }

    /// Step Functions in the SaaS account.
    pub fn step_functions(&self) -> crosspilot_core::aws::sfn::Client {
        crosspilot_core::aws::sfn::Client::new(&self.config)
    }

    /// Registers a tenant and lets its account send upload events to our bus.
    /// Interrupted anywhere, it is ended by asking again. Gives the tenant as it
    /// is registered.
    pub async fn add_tenant(&self, tenant: &Tenant) -> Result<Tenant, OperatorError> {
        let added = self.registry.add_tenant(tenant, &self.operator).await?;
        self.admit_events().await?;
        Ok(added)
    }

    /// Takes up again a tenant that was removed, and lets its account send upload
    /// events again. Interrupted anywhere, it is ended by asking again. Gives the
    /// tenant as it is registered.
    pub async fn readmit_tenant(
        &self,
        id: &TenantId,
        external_id: &ExternalId,
    ) -> Result<Tenant, OperatorError> {
        let tenant = self.registry.readmit_tenant(id, external_id, &self.operator).await?;
        self.admit_events().await?;
        Ok(tenant)
    }

    /// Does again what makes a tenant's runs start, should any of it be missing: its
    /// claims, its schedules, and that our bus hears its account.
    pub async fn repair(&self, tenant: &Tenant) -> Result<(), OperatorError> {
        self.registry.claim_again(tenant).await?;
        for (model, settings) in &tenant.models {
            self.keep_schedule(&tenant.tenant, model, settings).await?;
        }
        self.admit_events().await
    }

    /// Sets a tenant's status, if that may follow the one it has.
    pub async fn set_status(
        &self,
        id: &TenantId,
        status: TenantStatus,
    ) -> Result<Tenant, OperatorError> {
        self.change_tenant(id, status.as_str(), |tenant| tenant.status = status).await
    }

    /// Changes what a tenant is set to; nothing is written that is not sound.
    pub async fn change_tenant(
        &self,
        id: &TenantId,
        action: &str,
        edit: impl Fn(&mut Tenant),
    ) -> Result<Tenant, OperatorError> {
        let change = Change { by: &self.operator, action };
        Ok(self.registry.change_tenant(id, change, edit).await?)
    }

    /// Sets up one of a tenant's models, with its schedule if it has one.
    pub async fn set_model(
        &self,
        id: &TenantId,
        model: &ModelName,
        settings: &ModelSettings,
    ) -> Result<(), OperatorError> {
        let change = |tenant: &mut Tenant| {
            tenant.models.insert(model.clone(), settings.clone());
        };
        self.change_tenant(id, &format!("set model {model}"), change).await?;
        self.keep_schedule(id, model, settings).await
    }

    /// Puts the schedule that a model is set to, or deletes the one that it had.
    async fn keep_schedule(
        &self,
        id: &TenantId,
        model: &ModelName,
        settings: &ModelSettings,
    ) -> Result<(), OperatorError> {
        match &settings.schedule {
            Some(expression) => {
                self.put_schedule(id, model, expression).await?;
                // It may have been removed meanwhile: no schedule outlives its model.
                let now = self.registry.tenant(id).await?;
                let left = [TenantStatus::Offboarding, TenantStatus::Deleted];
                if left.contains(&now.status) || !now.models.contains_key(model) {
                    self.delete_schedule(id, model).await?;
                }
                Ok(())
            }
            None => self.delete_schedule(id, model).await,
        }
    }

    /// Starts a run by hand. Repeating a `request_id` does not start another.
    /// Gives the ARN of the execution.
    pub async fn start_run(
        &self,
        id: &TenantId,
        model: &ModelName,
        request_id: &str,
    ) -> Result<String, OperatorError> {
        let time = OffsetDateTime::now_utc().format(&Rfc3339).map_err(|_| OperatorError::Clock)?;
        let mut trigger = Trigger::Manual { time, request_id: request_id.to_owned() };
        // A run's id holds its day: past midnight, the same request would be another.
        if let Ok(run_id) = RunId::derive(id, model, &trigger) {
            let run = RunRef { tenant: id.clone(), model: model.clone(), run_id };
            if let Some(earlier) = self.registry.same_request(&run).await? {
                trigger = earlier.trigger;
            }
        }
        let input = serde_json::json!({"tenant": id, "model": model, "trigger": trigger});
        self.start(&self.deployment.state_machine, None, &input.to_string()).await
    }

    /// Starts an execution. Gives its ARN.
    async fn start(
        &self,
        machine: &str,
        name: Option<&str>,
        input: &str,
    ) -> Result<String, OperatorError> {
        let started = self
            .step_functions()
            .start_execution()
            .state_machine_arn(machine)
            .set_name(name.map(str::to_owned))
            .input(input)
            .send()
            .await
            .named("states:StartExecution", machine)?;
        Ok(started.execution_arn)
    }

    /// The status of an execution; nothing if there is none, or it is older
    /// than the 90 days that Step Functions keeps them.
    pub async fn status_of(
        &self,
        execution: &str,
    ) -> Result<Option<ExecutionStatus>, OperatorError> {
        Ok(crosspilot_core::execution::status(&self.step_functions(), execution).await?)
    }
}
