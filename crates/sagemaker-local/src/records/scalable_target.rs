//! The records of Application Auto Scaling: the variants that it may scale, and how.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::wire::ids::sha256;

/// A variant that may be scaled.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ScalableTarget {
    pub(crate) resource: String,
    pub(crate) created: f64,
    pub(crate) min: u64,
    pub(crate) max: u64,
    pub(crate) suspended: Value,
    pub(crate) policies: BTreeMap<String, ScalingPolicy>,
}

/// A target tracking policy of a scalable target.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ScalingPolicy {
    pub(crate) created: f64,
    pub(crate) config: Value,
}

/// The resource ID of a variant, `endpoint/NAME/variant/VARIANT`.
pub(crate) struct VariantId<'a> {
    pub(crate) text: &'a str,
    pub(crate) endpoint: &'a str,
    pub(crate) variant: &'a str,
}

impl<'a> VariantId<'a> {
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        match text.split('/').collect::<Vec<_>>().as_slice() {
            ["endpoint", endpoint, "variant", variant] => Some(Self { text, endpoint, variant }),
            _ => None,
        }
    }

    /// Gives the key of the target: AWS does not tell endpoints apart by their names' case.
    pub(crate) fn key(&self) -> String {
        format!("{}/{}", self.endpoint.to_lowercase(), self.variant)
    }

    /// The last part of the target's ARN.
    pub(crate) fn hash(&self) -> String {
        sha256(self.key()).chars().take(34).collect()
    }
}
