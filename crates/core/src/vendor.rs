//! What an operator does in the SaaS account: tenants, schedules, runs.
//!
//! The CLI calls this on AWS and on the local cloud alike.

use std::collections::HashMap;

use aws_config::SdkConfig;
use aws_sdk_scheduler::types::{
    DeadLetterConfig, FlexibleTimeWindow, FlexibleTimeWindowMode, RetryPolicy, Target,
};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::error::{CallError, Code, Coded};
use crate::ids::{AccountId, ModelName, TenantId};
use crate::registry::{Registry, RegistryError};
use crate::run::Trigger;
use crate::tenant::{ModelSettings, Tenant, TenantStatus};

/// Why an operator's request did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum VendorError {
    /// The stack is there but not what it should be.
    #[error("stack {stack} has no output {output}: deploy infra/saas.yaml under that name")]
    NoOutput {
        /// Name of the stack.
        stack: String,
        /// The output that is missing.
        output: &'static str,
    },
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

impl Coded for VendorError {
    fn code(&self) -> Code {
        match self {
            VendorError::NoOutput { .. } => Code::NotFound,
            VendorError::Registry(error) => error.code(),
            VendorError::Call(error) => error.code(),
            VendorError::Clock => Code::Internal,
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
    pub async fn of_stack(config: &SdkConfig, stack: &str) -> Result<Self, VendorError> {
        let answer = aws_sdk_cloudformation::Client::new(config)
            .describe_stacks()
            .stack_name(stack)
            .send()
            .await
            .map_err(|e| CallError::new("cloudformation:DescribeStacks", stack, &e))?;
        let outputs = answer.stacks.unwrap_or_default().into_iter().next();
        let mut outputs: HashMap<String, String> = outputs
            .and_then(|stack| stack.outputs)
            .unwrap_or_default()
            .into_iter()
            .filter_map(|output| Some((output.output_key?, output.output_value?)))
            .collect();
        let mut take = |output: &'static str| {
            outputs.remove(output).ok_or(VendorError::NoOutput { stack: stack.to_owned(), output })
        };
        Ok(Self {
            registry_bucket: take("RegistryBucket")?,
            state_machine: take("TrainStateMachine")?,
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
    /// What is deployed there.
    pub deployment: Deployment,
    /// The tenants.
    pub registry: Registry,
}

impl Vendor {
    /// Finds the deployment in the account that `config` reaches.
    pub async fn connect(config: SdkConfig, stack: &str) -> Result<Self, VendorError> {
        let deployment = Deployment::of_stack(&config, stack).await?;
        let registry = Registry::new(&config, &deployment.registry_bucket);
        Ok(Self { config, deployment, registry })
    }

    /// Step Functions in the SaaS account.
    pub fn step_functions(&self) -> aws_sdk_sfn::Client {
        aws_sdk_sfn::Client::new(&self.config)
    }

    /// Registers a tenant and lets its account send upload events to our bus.
    pub async fn add_tenant(&self, tenant: &Tenant) -> Result<(), VendorError> {
        self.registry.add_tenant(tenant).await?;
        self.admit_events(&tenant.account).await
    }

    /// Sets a tenant's status.
    pub async fn set_status(
        &self,
        id: &TenantId,
        status: TenantStatus,
    ) -> Result<Tenant, VendorError> {
        Ok(self.registry.change_tenant(id, |tenant| tenant.status = status).await?)
    }

    /// Sets up one of a tenant's models, with its schedule if it has one.
    pub async fn set_model(
        &self,
        id: &TenantId,
        model: &ModelName,
        settings: &ModelSettings,
    ) -> Result<(), VendorError> {
        let change = |tenant: &mut Tenant| {
            tenant.models.insert(model.clone(), settings.clone());
        };
        self.registry.change_tenant(id, change).await?;
        match &settings.schedule {
            Some(expression) => self.put_schedule(id, model, expression).await,
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
    ) -> Result<String, VendorError> {
        let time = OffsetDateTime::now_utc().format(&Rfc3339).map_err(|_| VendorError::Clock)?;
        let trigger = Trigger::Manual { time, request_id: request_id.to_owned() };
        let input = serde_json::json!({"tenant": id, "model": model, "trigger": trigger});
        let answer = self
            .step_functions()
            .start_execution()
            .state_machine_arn(&self.deployment.state_machine)
            .input(input.to_string())
            .send()
            .await
            .map_err(|e| {
                CallError::new("states:StartExecution", &self.deployment.state_machine, &e)
            })?;
        Ok(answer.execution_arn)
    }

    /// Customers' accounts may put events on our bus one by one, never all.
    /// What they send is narrowed again by the bus's rule.
    async fn admit_events(&self, account: &AccountId) -> Result<(), VendorError> {
        let bus = bus_name(&self.deployment.event_bus);
        aws_sdk_eventbridge::Client::new(&self.config)
            .put_permission()
            .event_bus_name(bus)
            .statement_id(format!("customer-{account}"))
            .action("events:PutEvents")
            .principal(account.as_str())
            .send()
            .await
            .map_err(|e| CallError::new("events:PutPermission", bus, &e))?;
        Ok(())
    }

    async fn put_schedule(
        &self,
        id: &TenantId,
        model: &ModelName,
        expression: &str,
    ) -> Result<(), VendorError> {
        let name = schedule_name(id, model);
        let invalid = |message: String| {
            CallError::refused(
                Code::RequestInvalid,
                "scheduler:CreateSchedule",
                &name,
                "Invalid",
                message,
            )
        };
        let window = FlexibleTimeWindow::builder()
            .mode(FlexibleTimeWindowMode::Flexible)
            .maximum_window_in_minutes(15)
            .build()
            .map_err(|e| invalid(e.to_string()))?;
        let target = Target::builder()
            .arn(&self.deployment.state_machine)
            .role_arn(&self.deployment.schedule_role)
            .input(schedule_input(id, model))
            .dead_letter_config(
                DeadLetterConfig::builder().arn(&self.deployment.dead_letters).build(),
            )
            .retry_policy(RetryPolicy::builder().maximum_retry_attempts(10).build())
            .build()
            .map_err(|e| invalid(e.to_string()))?;
        let scheduler = aws_sdk_scheduler::Client::new(&self.config);
        let created = scheduler
            .create_schedule()
            .name(&name)
            .group_name(&self.deployment.schedule_group)
            .schedule_expression(expression)
            .flexible_time_window(window.clone())
            .target(target.clone())
            .send()
            .await
            .map_err(|e| CallError::new("scheduler:CreateSchedule", &name, &e));
        match created {
            Ok(_) => Ok(()),
            Err(error) if error.aws_code() == "ConflictException" => {
                scheduler
                    .update_schedule()
                    .name(&name)
                    .group_name(&self.deployment.schedule_group)
                    .schedule_expression(expression)
                    .flexible_time_window(window)
                    .target(target)
                    .send()
                    .await
                    .map_err(|e| CallError::new("scheduler:UpdateSchedule", &name, &e))?;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn delete_schedule(&self, id: &TenantId, model: &ModelName) -> Result<(), VendorError> {
        let name = schedule_name(id, model);
        let deleted = aws_sdk_scheduler::Client::new(&self.config)
            .delete_schedule()
            .name(&name)
            .group_name(&self.deployment.schedule_group)
            .send()
            .await
            .map_err(|e| CallError::new("scheduler:DeleteSchedule", &name, &e));
        match deleted {
            Err(error) if error.aws_code() != "ResourceNotFoundException" => Err(error.into()),
            _ => Ok(()),
        }
    }
}

fn schedule_name(id: &TenantId, model: &ModelName) -> String {
    format!("{id}.{model}")
}

/// EventBridge Scheduler replaces the two attributes at each firing.
fn schedule_input(id: &TenantId, model: &ModelName) -> String {
    serde_json::json!({
        "tenant": id,
        "model": model,
        "trigger": {
            "type": "schedule",
            "time": "<aws.scheduler.scheduled-time>",
            "execution_id": "<aws.scheduler.execution-id>",
        },
    })
    .to_string()
}

fn bus_name(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}
