//! The wire: SageMaker's JSON 1.1 and SageMaker Runtime's REST JSON.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{CONNECTION, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::authority::{Check, ReceivedRequest};
use crate::endpoint::invoke;
use crate::faults::{Effect, Fault};
use crate::operations::{Call, authorization, scaling, volume_keys};
use crate::records::store::Place;
use crate::serving::container::media_type;
use crate::wire::error::ApiError;
use crate::wire::shapes;
use crate::{Cloud, doors, operations};

/// More than any body that SageMaker takes; what is larger is not even read.
const MAX_BODY: usize = 32 << 20;
/// Longer than any body takes to arrive on one machine.
const BODY_LIMIT: Duration = Duration::from_secs(20);
/// SageMaker's and SageMaker Runtime's name in signatures.
const SERVICE: &str = "sagemaker";
const JSON_1_1: &str = "application/x-amz-json-1.1";

pub(crate) fn router(cloud: Arc<Cloud>) -> Router {
    doors::without_pages(Router::new().fallback(serve).with_state(cloud))
}

async fn serve(State(cloud): State<Arc<Cloud>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = match tokio::time::timeout(BODY_LIMIT, to_bytes(body, MAX_BODY)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => {
            return refuse_rest(&ApiError::TooLarge(
                "Request size exceeds the maximum allowed.".into(),
            ));
        }
        Err(_) => {
            let late = ApiError::Coded {
                code: "RequestTimeoutException".into(),
                message: Some("The request's body did not arrive in time.".into()),
                status: 408,
            };
            return ([(CONNECTION, "close")], refuse_rest(&late)).into_response();
        }
    };
    let mut response = match (&parts.method, parts.uri.path()) {
        (&Method::POST, "/") => json_call(&cloud, &parts, body).await,
        (&Method::POST, "/_crosspilot/faults") => add_fault(&cloud, &parts.headers, &body),
        (method, path) => match path
            .strip_prefix("/endpoints/")
            .and_then(|rest| rest.strip_suffix("/invocations"))
        {
            Some(name) if method == Method::POST && !name.contains('/') => {
                runtime_call(&cloud, &parts, name, body).await
            }
            _ => {
                let operation = format!("{method} {path}");
                refuse_rest(&ApiError::NotOffered(format!(
                    "{operation} is not offered by the local SageMaker"
                )))
            }
        },
    };
    if let Ok(id) = HeaderValue::from_str(&unique_id()) {
        response.headers_mut().insert("x-amzn-requestid", id);
    }
    response
}

/// `POST /` with the operation in a header.
async fn json_call(cloud: &Arc<Cloud>, parts: &Parts, body: Bytes) -> Response {
    if media_type(text(&parts.headers, "content-type")) != JSON_1_1 {
        return of_another_protocol();
    }
    let target = text(&parts.headers, "x-amz-target");
    let (service, operation) = match target.strip_prefix(scaling::TARGET) {
        Some(operation) => (scaling::SERVICE, operation.to_owned()),
        // What has no prefix is no operation.
        None => (SERVICE, target.strip_prefix("SageMaker.").unwrap_or_default().to_owned()),
    };
    match perform(cloud, service, parts, &operation, body).await {
        Ok(Performed::Struck(response)) => response,
        Ok(Performed::Well(answer)) => {
            (StatusCode::OK, [(CONTENT_TYPE, JSON_1_1)], answer.to_string()).into_response()
        }
        Err(error) => {
            let mut answer = error.body();
            answer["__type"] = json!(error.code().unwrap_or_default());
            (status(&error), [(CONTENT_TYPE, JSON_1_1)], answer.to_string()).into_response()
        }
    }
}

/// Answers what does not say that it is JSON 1.1. The protocol knows one type and ignores
/// its parameters (Smithy, "AWS JSON 1.1 protocol"), and does not say what else gets. Of
/// Kinesis, which speaks it too, this answer is recorded (disneystreaming/smithy4s#167),
/// but not its status: that is a doubt (`control-plane-type`).
fn of_another_protocol() -> Response {
    (StatusCode::NOT_FOUND, "<UnknownOperationException/>\n").into_response()
}

async fn perform(
    cloud: &Arc<Cloud>,
    service: &'static str,
    parts: &Parts,
    operation: &str,
    body: Bytes,
) -> Result<Performed, ApiError> {
    let received = received(service, parts, &body);
    let input = serde_json::from_slice(&body)
        .map_err(|error| ApiError::Serialization(format!("the body is not JSON: {error}")))
        .and_then(|input| shapes::accept(operation, input));
    let input = match input {
        Ok(input) => input,
        Err(refusal) => {
            // A stranger is told that it is one before it is told its mistakes.
            authorize(cloud, &received, &[]).await?;
            return Err(refusal);
        }
    };
    let place = authorize(cloud, &received, &authorization::checks(operation, &input)).await?;
    let later = cloud.store.at(&place, |here| authorization::later_checks(here, operation, &input));
    if !later.is_empty() {
        authorize(cloud, &received, &later).await?;
    }
    let keys = volume_keys::checks(cloud, &place, operation, &input).await;
    if !keys.is_empty() {
        authorize(cloud, &received, &keys).await?;
    }
    probe(cloud, &received, &scaling::probes(operation, &input)).await?;
    let asked = format!("{} {}", place.account, String::from_utf8_lossy(&body));
    let effect = cloud.faults.strike(operation, &asked);
    if let Some(response) = instead(effect.as_ref()).await {
        return Ok(Performed::Struck(response));
    }
    let mut answer = operations::perform(cloud, &Call { operation, place, input }).await?;
    if let Some(response) = afterwards(cloud, parts, effect.as_ref()).await {
        return Ok(Performed::Struck(response));
    }
    if let (Some(Effect::Answer(members)), Some(answer)) = (effect, answer.as_object_mut()) {
        answer.extend(members);
    }
    shapes::answer_is_sound(operation, &answer).map_err(|wrong| {
        tracing::error!(operation, %wrong, %answer, "an answer that AWS's model does not allow");
        ApiError::Internal(format!("the local SageMaker's own answer is wrong: {wrong}"))
    })?;
    Ok(Performed::Well(answer))
}

/// What became of a call.
enum Performed {
    Well(Value),
    /// A fault on demand gives this answer.
    Struck(Response),
}

/// `POST /endpoints/{name}/invocations`.
async fn runtime_call(cloud: &Arc<Cloud>, parts: &Parts, name: &str, body: Bytes) -> Response {
    let received = received(SERVICE, parts, &body);
    let outcome = match authorize_invocation(cloud, &received, name).await {
        Ok(place) => {
            let asked = format!("{} {name} {}", place.account, String::from_utf8_lossy(&body));
            let effect = cloud.faults.strike("InvokeEndpoint", &asked);
            if let Some(response) = instead(effect.as_ref()).await {
                return response;
            }
            if let Some(response) = afterwards(cloud, parts, effect.as_ref()).await {
                return response;
            }
            let request = invoke::Invocation {
                endpoint: name,
                content_type: text(&parts.headers, "content-type"),
                accept: text(&parts.headers, "accept"),
                variant: text(&parts.headers, "x-amzn-sagemaker-target-variant"),
                inference_id: text(&parts.headers, "x-amzn-sagemaker-inference-id"),
                foreign: invoke::FOREIGN_HEADERS
                    .iter()
                    .find(|(header, _)| parts.headers.contains_key(*header))
                    .map(|(_, reason)| *reason),
                body: body.to_vec(),
            };
            invoke::invoke(cloud, &place, request).await
        }
        Err(error) => Err(error),
    };
    match outcome {
        Ok(answer) => {
            let mut response = ([(CONTENT_TYPE, answer.content_type)], answer.body).into_response();
            if let Ok(variant) = HeaderValue::from_str(&answer.variant) {
                response.headers_mut().insert("x-amzn-invoked-production-variant", variant);
            }
            response
        }
        Err(error) => refuse_rest(&error),
    }
}

async fn authorize_invocation(
    cloud: &Cloud,
    received: &ReceivedRequest,
    name: &str,
) -> Result<Place, ApiError> {
    // Both services have the same rules for the name of an endpoint.
    match shapes::accept("DescribeEndpoint", json!({ "EndpointName": name })) {
        Ok(request) => {
            authorize(cloud, received, &authorization::checks("InvokeEndpoint", &request)).await
        }
        Err(refusal) => {
            authorize(cloud, received, &[]).await?;
            Err(ApiError::RuntimeValidation(refusal.to_string()))
        }
    }
}

/// Where the request acts, if its sender may do all this.
async fn authorize(
    cloud: &Cloud,
    received: &ReceivedRequest,
    checks: &[Check],
) -> Result<Place, ApiError> {
    // The account is not known yet: the emulator picks the tags of the right one.
    let end = |check: &Check| {
        check.resource.split_once("{account}").map_or(check.resource.clone(), |(_, end)| end.into())
    };
    let tags = checks.iter().flat_map(|check| cloud.store.tags_of(&end(check))).collect();
    let caller = cloud.options.authority.authorize(received, checks, &tags).await?;
    Ok(Place::from(&caller))
}

/// What a service tries as its caller: what is refused, it lists in words of its
/// own.
async fn probe(
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

fn received(service: &'static str, parts: &Parts, body: &[u8]) -> ReceivedRequest {
    // A header is bytes; as Latin-1 each byte is one character, and back.
    let latin_1 =
        |value: &HeaderValue| value.as_bytes().iter().map(|byte| char::from(*byte)).collect();
    let digest = Sha256::digest(body);
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
        body_sha256: hex(&digest),
    }
}

/// The answer that a fault gives, the call having taken effect.
async fn afterwards(cloud: &Cloud, parts: &Parts, effect: Option<&Effect>) -> Option<Response> {
    if !matches!(effect?, Effect::Lose | Effect::Kill) {
        return None;
    }
    if effect == Some(&Effect::Kill)
        && let Some(ConnectInfo(sender)) = parts.extensions.get::<ConnectInfo<SocketAddr>>()
        && let Some(Ok(port)) = text(&parts.headers, "host").rsplit(':').next().map(str::parse)
        && let Err(error) = cloud.options.authority.kill_sender(sender.port(), port).await
    {
        tracing::error!(%error, %sender, "the sender is not killed");
    }
    let broken = futures_util::stream::once(async { Err::<Bytes, _>("lost") });
    Some(Body::from_stream(broken).into_response())
}

/// The answer that a fault gives in place of the right one.
async fn instead(effect: Option<&Effect>) -> Option<Response> {
    let coded = |code: &str, message: Option<&str>, status: u16| {
        let error =
            ApiError::Coded { code: code.into(), message: message.map(str::to_owned), status };
        // Both protocols find their code in this answer.
        refuse_rest(&error)
    };
    Some(match effect? {
        Effect::Throttle => coded("ThrottlingException", None, 400),
        Effect::Fail { code, message, status } => coded(code, Some(message), *status),
        Effect::Lose | Effect::Kill | Effect::Answer(_) => return None,
        // Nothing of SageMaker's is a function.
        Effect::Die(_) => return None,
        effect @ Effect::Delay(_) => {
            tokio::time::sleep(effect.delay()).await;
            return None;
        }
        Effect::Garbage => {
            (StatusCode::OK, [(CONTENT_TYPE, JSON_1_1)], "<html>not what you asked for")
                .into_response()
        }
        Effect::Cut => {
            let broken = futures_util::stream::once(async { Err::<Bytes, _>("cut off") });
            ([("content-length", "1024")], Body::from_stream(broken)).into_response()
        }
    })
}

fn add_fault(cloud: &Cloud, headers: &HeaderMap, body: &[u8]) -> Response {
    if !cloud.options.authority.is_token(text(headers, "x-crosspilot-token")) {
        return StatusCode::FORBIDDEN.into_response();
    }
    match serde_json::from_slice::<Fault>(body) {
        Ok(fault) => {
            cloud.faults.add(fault);
            StatusCode::NO_CONTENT.into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    }
}

fn refuse_rest(error: &ApiError) -> Response {
    let mut answer = error.body();
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(code) = error.code() {
        answer["__type"] = json!(code);
        if let Ok(code) = HeaderValue::from_str(code) {
            headers.insert("x-amzn-errortype", code);
        }
    }
    (status(error), headers, answer.to_string()).into_response()
}

fn status(error: &ApiError) -> StatusCode {
    StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing into a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// An identifier in the form of AWS's, different every time.
pub(crate) fn unique_id() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let seed = (
        std::process::id(),
        crate::records::store::now().to_bits(),
        COUNT.fetch_add(1, Ordering::Relaxed),
    );
    let id = hex(&Sha256::digest(format!("{seed:?}")));
    format!("{}-{}-{}-{}-{}", &id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..32])
}
