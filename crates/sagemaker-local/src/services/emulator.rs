//! The emulator, as one AWS service asks another: behind the customer's back, but with no
//! more than the execution role allows.

use serde_json::Value;

use crate::authority::Authority;
use crate::wire::place::Place;

/// CloudWatch, KMS and S3 of every account.
#[derive(Debug, Clone)]
pub(crate) struct Emulator {
    client: reqwest::Client,
    pub(crate) url: String,
    pub(crate) authority: Authority,
}

/// A service that did not answer as it should.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{service} failed: {reason}")]
pub(crate) struct ServiceError {
    pub(crate) service: &'static str,
    /// The service's own error code, if it gave one.
    pub(crate) code: Option<String>,
    pub(crate) reason: String,
}

impl Emulator {
    pub(crate) fn new(url: &str, authority: Authority) -> Self {
        Self { client: reqwest::Client::new(), url: url.to_owned(), authority }
    }

    /// With the local cloud's token, an account's number is its root's key.
    pub(crate) async fn call(
        &self,
        place: &Place,
        service: &'static str,
        target: &str,
        body: &Value,
    ) -> Result<Value, ServiceError> {
        let failed = |code, reason: String| ServiceError { service, code, reason };
        let scope = format!("{}/20260101/{}/{service}/aws4_request", place.account, place.region);
        let answer = self
            .client
            .post(&self.url)
            .header("x-crosspilot-token", self.authority.token())
            .header(
                "authorization",
                format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=none"),
            )
            .header("x-amz-target", target)
            .header("content-type", "application/x-amz-json-1.1")
            .body(body.to_string())
            .send()
            .await
            .map_err(|error| failed(None, error.to_string()))?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| failed(None, error.to_string()))?;
        let answer: Value = serde_json::from_str(&text).unwrap_or_default();
        if status.is_success() {
            return Ok(answer);
        }
        let code = answer["__type"].as_str().map(str::to_owned);
        Err(failed(code, format!("{status} {text}")))
    }
}
