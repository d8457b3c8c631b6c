//! The wire: SageMaker's JSON 1.1 and SageMaker Runtime's REST JSON.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONNECTION, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::cloud::Cloud;
use crate::endpoint::invoke;
use crate::faults::{Effect, Fault};
use crate::server::answers::{JSON_1_1, header, refuse_rest, status};
use crate::server::authorize::{authorize, authorize_invocation, probe, received};
use crate::server::struck::{afterwards, instead};
use crate::serving::text::media_type;
use crate::wire::call::Call;
use crate::wire::error::ApiError;
use crate::wire::ids::unique_id;
use crate::wire::{autoscaling, shapes};
use crate::{doors, operations, permissions};

/// More than any body that SageMaker takes; what is larger is not even read.
const MAX_BODY: usize = 32 << 20;
/// Longer than any body takes to arrive on one machine.
const BODY_LIMIT: Duration = Duration::from_secs(20);
/// SageMaker's and SageMaker Runtime's name in signatures.
const SERVICE: &str = "sagemaker";

pub(crate) fn router(cloud: Arc<Cloud>) -> Router {
    doors::without_pages(Router::new().fallback(serve).with_state(cloud))
}

async fn serve(State(cloud): State<Arc<Cloud>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = match whole(body, BODY_LIMIT).await {
        Ok(body) => body,
        Err(refusal) => return refusal,
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

/// Reads a body that arrives within a time, or answers why not.
async fn whole(body: Body, limit: Duration) -> Result<Bytes, Response> {
    match tokio::time::timeout(limit, to_bytes(body, MAX_BODY)).await {
        Ok(read) => read.map_err(|_| {
            refuse_rest(&ApiError::TooLarge("Request size exceeds the maximum allowed.".into()))
        }),
        Err(_) => {
            let late = ApiError::Coded {
                code: "RequestTimeoutException".into(),
                message: Some("The request's body did not arrive in time.".into()),
                status: 408,
            };
            Err(([(CONNECTION, "close")], refuse_rest(&late)).into_response())
        }
    }
}

/// `POST /` with the operation in a header.
async fn json_call(cloud: &Arc<Cloud>, parts: &Parts, body: Bytes) -> Response {
    if media_type(header(&parts.headers, "content-type")) != JSON_1_1 {
        return of_another_protocol();
    }
    let target = header(&parts.headers, "x-amz-target");
    let (service, operation) = addressed(target);
    match perform(cloud, service, parts, operation, body).await {
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

/// The service and the operation that a target names. What has no prefix, or another
/// service's, is no operation.
fn addressed(target: &str) -> (&'static str, &str) {
    let (service, operation) = match target.strip_prefix(autoscaling::TARGET) {
        Some(operation) => (autoscaling::SERVICE, operation),
        None => (SERVICE, target.strip_prefix("SageMaker.").unwrap_or_default()),
    };
    let scales = autoscaling::OPERATIONS.contains(&operation);
    (service, if scales == (service == autoscaling::SERVICE) { operation } else { "" })
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
    let own = permissions::checks(operation, &input);
    let place = authorize(cloud, &received, &own).await?;
    let later = permissions::later_checks(cloud, &place, operation, &input);
    if !later.is_empty() {
        authorize(cloud, &received, &later).await?;
    }
    let keys = permissions::key_checks(cloud, &place, operation, &input).await;
    if !keys.is_empty() {
        authorize(cloud, &received, &keys).await?;
    }
    probe(cloud, &received, &permissions::probes(operation, &input)).await?;
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

/// The end of a call that nobody refused.
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
                content_type: header(&parts.headers, "content-type"),
                accept: header(&parts.headers, "accept"),
                variant: header(&parts.headers, "x-amzn-sagemaker-target-variant"),
                inference_id: header(&parts.headers, "x-amzn-sagemaker-inference-id"),
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

fn add_fault(cloud: &Cloud, headers: &HeaderMap, body: &[u8]) -> Response {
    if !cloud.options.authority.is_token(header(headers, "x-crosspilot-token")) {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use futures_util::{StreamExt as _, stream};

    use super::*;

    #[tokio::test]
    async fn a_body_of_which_half_arrives_is_answered_with_408() {
        let moment = Duration::from_millis(20);
        let half = stream::iter([Ok::<_, std::io::Error>("half a bo")]).chain(stream::pending());
        let late = whole(Body::from_stream(half), moment).await.unwrap_err();
        assert_eq!(
            (late.status().as_u16(), &late.headers()[CONNECTION]),
            (408, &HeaderValue::from_static("close"))
        );
        assert_eq!(whole(Body::from("all"), moment).await.unwrap(), "all");
    }

    #[test]
    fn each_service_knows_its_own_operations_alone() {
        for (target, service, operation) in [
            ("SageMaker.ListModels", SERVICE, "ListModels"),
            (
                "AnyScaleFrontendService.RegisterScalableTarget",
                autoscaling::SERVICE,
                "RegisterScalableTarget",
            ),
            ("SageMaker.RegisterScalableTarget", SERVICE, ""),
            ("AnyScaleFrontendService.ListModels", autoscaling::SERVICE, ""),
            ("ListModels", SERVICE, ""),
            ("Foo.ListModels", SERVICE, ""),
            ("", SERVICE, ""),
        ] {
            assert_eq!(addressed(target), (service, operation), "{target}");
        }
    }
}
