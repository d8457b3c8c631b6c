//! Refusals as HTTP has them.

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::wire::error::ApiError;

/// The type of SageMaker's and Application Auto Scaling's answers.
pub(crate) const JSON_1_1: &str = "application/x-amz-json-1.1";

/// Answers a refusal as the runtime and the REST services do.
pub(crate) fn refuse_rest(error: &ApiError) -> Response {
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

pub(crate) fn status(error: &ApiError) -> StatusCode {
    StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Reads a header; empty if there is none.
pub(crate) fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}
