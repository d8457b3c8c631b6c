//! The schedules of tenants' models.

use crosspilot_core::aws::scheduler::types::{
    DeadLetterConfig, FlexibleTimeWindow, FlexibleTimeWindowMode, RetryPolicy, Target,
};
use crosspilot_core::error::{CallError, Code, Named};
use crosspilot_core::ids::{ModelName, TenantId};

use crate::{OperatorError, Vendor};

impl Vendor {
    pub(super) async fn put_schedule(
        &self,
        id: &TenantId,
        model: &ModelName,
        expression: &str,
    ) -> Result<(), OperatorError> {
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
        let scheduler = crosspilot_core::aws::scheduler::Client::new(&self.config);
        let created = scheduler
            .create_schedule()
            .name(&name)
            .group_name(&self.deployment.schedule_group)
            .schedule_expression(expression)
            .flexible_time_window(window.clone())
            .target(target.clone())
            .send()
            .await
            .named("scheduler:CreateSchedule", &name);
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
                    .named("scheduler:UpdateSchedule", &name)?;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    pub(super) async fn delete_schedule(
        &self,
        id: &TenantId,
        model: &ModelName,
    ) -> Result<(), OperatorError> {
        let name = schedule_name(id, model);
        let deleted = crosspilot_core::aws::scheduler::Client::new(&self.config)
            .delete_schedule()
            .name(&name)
            .group_name(&self.deployment.schedule_group)
            .send()
            .await
            .named("scheduler:DeleteSchedule", &name);
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
