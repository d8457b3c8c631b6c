//! The answers that faults on demand give.

use std::net::SocketAddr;

use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};

use crate::cloud::Cloud;
use crate::faults::Effect;
use crate::server::answers::{JSON_1_1, header, refuse_rest};
use crate::wire::error::ApiError;

/// The answer that a fault gives, the call having taken effect.
pub(crate) async fn afterwards(
    cloud: &Cloud,
    parts: &Parts,
    effect: Option<&Effect>,
) -> Option<Response> {
    if !matches!(effect?, Effect::Lose | Effect::Kill) {
        return None;
    }
    if effect == Some(&Effect::Kill)
        && let Some(ConnectInfo(sender)) = parts.extensions.get::<ConnectInfo<SocketAddr>>()
        && let Some(Ok(port)) = header(&parts.headers, "host").rsplit(':').next().map(str::parse)
        && let Err(error) = cloud.emulator.authority.kill_sender(sender.port(), port).await
    {
        tracing::error!(%error, %sender, "the sender is not killed");
    }
    let broken = futures_util::stream::once(async { Err::<Bytes, _>("lost") });
    Some(Body::from_stream(broken).into_response())
}

/// The answer that a fault gives in place of the right one.
pub(crate) async fn instead(effect: Option<&Effect>) -> Option<Response> {
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
