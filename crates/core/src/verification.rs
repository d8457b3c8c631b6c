//! The verdict on a tenant's trust, as the function `assume` answers it and operators read it.

use serde::{Deserialize, Serialize};

use crate::ids::TenantId;

/// The result of the probes of one tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
pub enum Verification {
    /// The role takes the right external ID and nothing else.
    Proven {
        /// The tenant whose role it is.
        tenant: TenantId,
    },
    /// The tenant's trust does not hold. If it still does not in the next round over all
    /// tenants, the tenant is suspended then.
    Refused {
        /// The tenant whose role it is.
        tenant: TenantId,
        /// The error code.
        code: String,
        /// The cause: a sentence.
        cause: String,
    },
    /// The probes gave no answer: nothing was changed.
    Unproven {
        /// The tenant whose role it is.
        tenant: TenantId,
        /// The error code.
        code: String,
        /// The cause: a sentence.
        cause: String,
    },
}
