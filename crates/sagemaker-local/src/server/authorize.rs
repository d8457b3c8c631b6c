//! Asks the emulator who sent a request, and whether it may.

use axum::http::HeaderValue;
use axum::http::request::Parts;
use serde_json::json;

use crate::authority::{Check, ReceivedRequest};
use crate::cloud::Cloud;
use crate::permissions;
use crate::wire::error::ApiError;
use crate::wire::ids::sha256;
use crate::wire::place::Place;
use crate::wire::shapes;

/// Gives the place that an invocation acts in, if its sender may make it.
pub(crate) async fn authorize_invocation(
    cloud: &Cloud,
    received: &ReceivedRequest,
    name: &str,
) -> Result<Place, ApiError> {
    // Both services have the same rules for the name of an endpoint.
    match shapes::accept("DescribeEndpoint", json!({ "EndpointName": name })) {
        Ok(request) => {
            authorize(cloud, received, &permissions::checks("InvokeEndpoint", &request)).await
        }
        Err(refusal) => {
            authorize(cloud, received, &[]).await?;
            Err(ApiError::RuntimeValidation(refusal.to_string()))
        }
    }
}

/// Gives the place that a request acts in, if its sender may do all this.
pub(crate) async fn authorize(
    cloud: &Cloud,
    received: &ReceivedRequest,
    checks: &[Check],
) -> Result<Place, ApiError> {
    // The account is not known yet: the emulator picks the tags of the right one.
    let end = |check: &Check| {
        check.resource.split_once("{account}").map_or(check.resource.clone(), |(_, end)| end.into())
    };
    let tags = checks.iter().flat_map(|check| cloud.store.tags_of(&end(check))).collect();
    let caller = cloud.emulator.authority.authorize(received, checks, &tags).await?;
    Ok(Place { account: caller.account, region: caller.region })
}

/// Tries what a service tries as its caller: what is refused, it lists in words of its own.
pub(crate) async fn probe(
    cloud: &Cloud,
    received: &ReceivedRequest,
    probes: &[Check],
) -> Result<(), ApiError> {
    let mut missing = Vec::new();
    for probe in probes {
        match authorize(cloud, received, std::slice::from_ref(probe)).await {
            Ok(_) => {}
            Err(ApiError::Coded { code, .. }) if code == "AccessDeniedException" => {
                missing.push(probe.action.as_str());
            }
            Err(error) => return Err(error),
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let missing = missing.join(", ");
    Err(ApiError::Validation(format!("User is missing the following permissions: {missing}")))
}

/// Gives what the emulator has to see of a request.
pub(crate) fn received(service: &'static str, parts: &Parts, body: &[u8]) -> ReceivedRequest {
    // A header is bytes; as Latin-1 each byte is one character, and back.
    let latin_1 =
        |value: &HeaderValue| value.as_bytes().iter().map(|byte| char::from(*byte)).collect();
    ReceivedRequest {
        service,
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), latin_1(value)))
            .collect(),
        body_sha256: sha256(body),
    }
}
