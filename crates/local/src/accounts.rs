//! The two accounts of the local cloud, and what an access key is.

use serde::{Deserialize, Serialize};

/// The SaaS account.
pub const SAAS_ACCOUNT: &str = "111111111111";
/// Account of the customer that is registered as tenant `acme`.
pub const CUSTOMER_ACCOUNT: &str = "222222222222";
/// The one region.
pub const REGION: &str = "us-east-1";

/// A long-lived access key.
#[derive(Clone, Serialize, Deserialize)]
pub struct AccessKey {
    /// The key's id.
    pub id: String,
    /// The key's secret.
    pub secret: String,
}

impl std::fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessKey").field("id", &self.id).finish_non_exhaustive()
    }
}
