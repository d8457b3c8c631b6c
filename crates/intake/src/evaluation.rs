//! Has the champion evaluated on held-out rows that came.
//!
//! Files of one quiet period are one evaluation, on the newest of them: its execution is
//! named after the period and waits until the period has ended before it looks, so that no file
//! is missed and a flood costs one execution a period.

use std::time::{SystemTime, UNIX_EPOCH};

use crosspilot_core::ids::ModelName;
use crosspilot_core::lambda::App;
use crosspilot_core::tenant::Tenant;
use serde_json::json;

use crate::IntakeError;
use crate::executions::start_execution;
use crate::turns::quiet_seconds;

/// ARN of the state machine that evaluates.
const MACHINE_VARIABLE: &str = "EVALUATE_STATE_MACHINE";

/// Starts the execution of the quiet period that it is now, unless there is one.
pub(crate) async fn start(
    app: &App,
    tenant: &Tenant,
    model: &ModelName,
) -> Result<(), IntakeError> {
    let machine = std::env::var(MACHINE_VARIABLE).unwrap_or_default();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (period, end) = period(now, quiet_seconds(tenant, model)?);
    let name = format!("{}-{model}-{period}", tenant.tenant);
    let input = json!({"tenant": tenant.tenant, "model": model, "after": end});
    start_execution(app, &machine, &name, &input.to_string()).await
}

/// The quiet period that a moment lies in, and its end; seconds since 1970.
fn period(now: u64, quiet: u32) -> (u64, u64) {
    let quiet = u64::from(quiet.max(1));
    let period = now / quiet;
    (period * quiet, (period + 1) * quiet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_moments_of_a_period_have_its_name_and_lie_before_its_end() {
        for quiet in [1, 60, 3600] {
            let (name, end) = period(1_769_860_800, quiet);
            for moment in name..end {
                assert_eq!(period(moment, quiet), (name, end));
            }
            assert_eq!(period(end, quiet).0, end);
        }
    }
}
