//! The verdict on a tenant's trust, as the function `assume` answers it and operators read it.

use serde::{Deserialize, Serialize};

use crate::ids::TenantId;

/// What the probes of one tenant showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
pub enum Verification {
    /// The role takes the right external ID and nothing else.
    Proven {
        /// Whose role it is.
        tenant: TenantId,
    },
    /// It does not. If it still does not in the next round over all tenants, it is
    /// suspended then.
    Refused {
        /// Whose role it is.
        tenant: TenantId,
        /// Why: a code.
        code: String,
        /// Why: a sentence.
        cause: String,
    },
    /// The probes gave no answer: nothing was changed.
    Unproven {
        /// Whose role it is.
        tenant: TenantId,
        /// Why: a code.
        code: String,
        /// Why: a sentence.
        cause: String,
    },
}
