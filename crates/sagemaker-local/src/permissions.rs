//! The permissions that the sender of a request must have for it. Uses [`crate::wire`],
//! [`crate::records`] and, for keys and roles, the [`crate::cloud`].

mod condition_keys;
mod resources;
mod sagemaker;
mod scaling;
mod volume_keys;

pub(crate) use scaling::probes;
pub(crate) use volume_keys::checks as key_checks;

use serde_json::Value;

use crate::authority::Check;
use crate::cloud::Cloud;
use crate::wire::autoscaling;
use crate::wire::place::Place;

/// Lists what the request itself says that the sender must be allowed to do.
pub(crate) fn checks(operation: &str, request: &Value) -> Vec<Check> {
    match autoscaling::OPERATIONS.contains(&operation) {
        true => scaling::checks(operation, request),
        false => sagemaker::checks(operation, request),
    }
}

/// Lists what the sender must be allowed to do besides, now that it is known where: it depends on
/// what is there.
pub(crate) fn later_checks(
    cloud: &Cloud,
    place: &Place,
    operation: &str,
    request: &Value,
) -> Vec<Check> {
    cloud.store.at(place, |here| match operation {
        "DeleteEndpoint" => {
            let endpoint = request["EndpointName"].as_str().unwrap_or_default();
            scaling::deletion_checks(here, endpoint)
        }
        _ => scaling::first_time_checks(here, operation),
    })
}
