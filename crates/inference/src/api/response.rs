//! An answer of the API, as API Gateway takes it.

use std::collections::BTreeMap;

use serde::Serialize;

/// An answer as API Gateway takes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpResponse {
    /// The HTTP status.
    pub status_code: u16,
    /// The response headers.
    pub headers: BTreeMap<&'static str, String>,
    /// The response body: JSON or CSV.
    pub body: String,
    /// Never: the body is text.
    pub is_base64_encoded: bool,
}

impl HttpResponse {
    /// The response 200 with a body of this media type.
    pub(super) fn good(media_type: &str, body: String) -> Self {
        let headers = BTreeMap::from([("content-type", media_type.to_owned())]);
        Self { status_code: 200, headers, body, is_base64_encoded: false }
    }

    /// The same with a header.
    pub(super) fn with_header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(name, value.to_owned());
        self
    }
}
