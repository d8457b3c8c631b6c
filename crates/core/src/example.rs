//! The tenant that unit tests of this crate are about. Those of others take it from
//! `crosspilot-scripted`, which is built on this one.
#![allow(clippy::unwrap_used, reason = "only tests use it")]

use serde_json::json;

use crate::tenant::Tenant;

/// An active tenant of this id, with one model.
pub(crate) fn tenant(id: &str) -> Tenant {
    serde_json::from_value(json!({
        "tenant": id, "account": "222222222222", "region": "us-east-1",
        "role_arn": "arn:aws:iam::222222222222:role/customer_trusting_saas",
        "execution_role_arn": "arn:aws:iam::222222222222:role/crosspilot-execution",
        "external_id": "cp-0123", "bucket": "acme-ml", "prefix": "crosspilot",
        "status": "active", "models": {"churn": {"target": "Churn?"}},
    }))
    .unwrap()
}
