//! Proofs of trust that an operator asks for.
//!
//! Customers' roles trust the functions and not the operator, so it is the
//! function `assume` that probes, through the same state machine that probes
//! all active tenants on a schedule.

use std::time::Duration;

use crosspilot_core::aws::sfn::types::ExecutionStatus;
use crosspilot_core::execution;
use crosspilot_core::failure::Failure;
use crosspilot_core::ids::TenantId;
use crosspilot_core::stage::Stage;
use crosspilot_core::tenant::{Tenant, TenantStatus};
use crosspilot_core::verification::Verification;

use crate::{OperatorError, Vendor};

/// The function's own limits end it long before.
const LOOKS: u32 = 600;

impl Vendor {
    /// Probes a tenant's role now.
    pub async fn verify(&self, id: &TenantId) -> Result<Verification, OperatorError> {
        let machine = &self.deployment.verify_state_machine;
        let client = self.step_functions();
        let input = serde_json::json!({"tenant": id}).to_string();
        let execution = self.start(machine, None, &input).await?;
        for _ in 0..LOOKS {
            // It may not show yet.
            let Some(found) = execution::describe(&client, &execution).await? else {
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            };
            match found.status {
                ExecutionStatus::Running => tokio::time::sleep(Duration::from_millis(200)).await,
                ExecutionStatus::Succeeded => {
                    let output: Result<Vec<Verification>, _> =
                        serde_json::from_str(found.output.as_deref().unwrap_or_default());
                    let verdict = output.ok().and_then(|mut verdicts| verdicts.pop());
                    return match verdict {
                        // The state machine hands on an error as it came.
                        Some(Verification::Unproven { tenant, code, cause }) => {
                            let Failure { code, cause, .. } =
                                Failure::read(Stage::Verify.as_str(), &code, &cause);
                            Ok(Verification::Unproven { tenant, code, cause })
                        }
                        Some(verdict) => Ok(verdict),
                        None => Err(OperatorError::NoVerdict(execution)),
                    };
                }
                _ => break,
            }
        }
        Err(OperatorError::NoVerdict(execution))
    }

    /// Probes a tenant's role and, if the trust holds, makes the tenant active:
    /// from pending after its stack was deployed, or from suspended.
    pub async fn verify_and_activate(
        &self,
        id: &TenantId,
    ) -> Result<(Verification, Tenant), OperatorError> {
        let verdict = self.verify(id).await?;
        let tenant = match verdict {
            Verification::Proven { .. } => self.set_status(id, TenantStatus::Active).await?,
            _ => self.registry.tenant(id).await?,
        };
        Ok((verdict, tenant))
    }
}
