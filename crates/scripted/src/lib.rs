//! Answers calls to AWS by a test's script and remembers them: for unit tests of what
//! is called, and when. How AWS behaves is shown on the local cloud, and not here.
#![allow(clippy::unwrap_used, reason = "only tests use it")]

mod served;

use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex};

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::shared::IntoShared;
use crosspilot_core::aws::aws_config::retry::RetryConfig;
use crosspilot_core::aws::aws_config::{BehaviorVersion, Region, SdkConfig};
use crosspilot_core::aws::s3::config::{Credentials, SharedCredentialsProvider};
use crosspilot_core::aws::s3::primitives::SdkBody;
use crosspilot_core::registry::Serving;
use crosspilot_core::run::RunRef;
use serde_json::{Value, json};

pub use served::Served;

/// A call that was made to AWS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The operation's name, or the method and the path of services that have no
    /// operation in their requests: `StopTransformJob`, `GET /bucket/key`.
    pub operation: String,
    /// The body of the request.
    pub body: String,
    /// The entity tag of what is known already, if that is said.
    pub known: Option<String>,
}

impl Call {
    fn of(request: &HttpRequest) -> Self {
        let uri = request.uri();
        let path = uri.split_once("://").map_or(uri, |(_, rest)| rest);
        let path = path.find('/').map_or("", |at| &path[at..]);
        let body = request.body().bytes().unwrap_or_default();
        Self::new(request.method(), path, |name| request.headers().get(name), body)
    }

    pub(crate) fn new<'a>(
        method: &str,
        path: &str,
        header: impl Fn(&'static str) -> Option<&'a str>,
        body: &[u8],
    ) -> Self {
        let body = String::from_utf8_lossy(body).into_owned();
        let target = header("x-amz-target").and_then(|target| target.rsplit('.').next());
        let action = body.strip_prefix("Action=").and_then(|action| action.split('&').next());
        let path = path.split('?').next().unwrap_or_default();
        let operation = target.or(action).map_or_else(|| format!("{method} {path}"), str::to_owned);
        Self { operation, body, known: header("if-none-match").map(str::to_owned) }
    }
}

/// An answer to a call.
#[derive(Debug, Clone)]
pub struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Answer {
    /// Answers that it went well.
    pub fn good(body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, headers: Vec::new(), body: body.into() }
    }

    /// Answers that it went well, and this came of it.
    pub fn json(body: &Value) -> Self {
        Self::good(body.to_string())
    }

    /// Refuses as services say it that speak JSON.
    pub fn refused(status: u16, code: &str, message: &str) -> Self {
        let body = json!({"__type": code, "message": message}).to_string();
        Self { status, ..Self::good(body) }
    }

    /// Refuses as S3 does.
    pub fn refused_by_s3(status: u16, code: &str) -> Self {
        Self { status, ..Self::good(format!("<Error><Code>{code}</Code></Error>")) }
    }

    /// Gives the same answer with a header.
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

type Script = dyn Fn(&Call) -> Answer + Send + Sync;

/// AWS as a test wants it.
#[derive(Clone)]
pub struct Scripted {
    script: Arc<Script>,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl fmt::Debug for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scripted").finish_non_exhaustive()
    }
}

impl Scripted {
    /// Answers as `script` says; where that is what the caller knows already, with 304
    /// alone, as S3 does. Roles may always be assumed: that call is remembered like others
    /// and not asked of the script.
    pub fn new(script: impl Fn(&Call) -> Answer + Send + Sync + 'static) -> Self {
        Self { script: Arc::new(script), calls: Arc::default() }
    }

    /// The configuration of clients that are answered so. Nothing is tried twice.
    pub fn config(&self) -> SdkConfig {
        let credentials = Credentials::new("AKIDTEST", "secret", None, None, "a test");
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new("us-east-1"))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .retry_config(RetryConfig::disabled())
            // With a number for a host, S3's buckets stand in the path.
            .endpoint_url("http://127.0.0.1")
            .http_client(self.clone())
            .build()
    }

    /// The operations that were called, in order.
    pub fn operations(&self) -> Vec<String> {
        self.calls().into_iter().map(|call| call.operation).collect()
    }

    /// All that was called, in order.
    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }
}

impl Scripted {
    /// The answer to a call, which is remembered.
    pub(crate) fn answer(&self, call: Call) -> Answer {
        self.calls.lock().unwrap().push(call.clone());
        let mut answer = match call.operation.as_str() {
            "AssumeRole" => Answer::good(ASSUMED),
            _ => (self.script)(&call),
        };
        let mut hasher = DefaultHasher::new();
        answer.body.hash(&mut hasher);
        let etag = format!("\"{:016x}\"", hasher.finish());
        if answer.status == 200 && call.known.as_ref() == Some(&etag) {
            answer = Answer { status: 304, headers: Vec::new(), body: Vec::new() };
        }
        answer.with("etag", &etag)
    }
}

impl HttpConnector for Scripted {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let Answer { status, headers, body } = self.answer(Call::of(&request));
        let mut response = HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body));
        for (name, value) in headers {
            response.headers_mut().insert(name, value);
        }
        HttpConnectorFuture::ready(Ok(response))
    }
}

impl HttpClient for Scripted {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        self.clone().into_shared()
    }
}

const ASSUMED: &str = "<AssumeRoleResponse><AssumeRoleResult><Credentials>\
    <AccessKeyId>ASIATEST</AccessKeyId><SecretAccessKey>secret</SecretAccessKey>\
    <SessionToken>token</SessionToken><Expiration>2126-01-01T00:00:00Z</Expiration>\
    </Credentials></AssumeRoleResult></AssumeRoleResponse>";

/// A run of model `churn` of tenant `acme`.
pub fn run(id: &str) -> RunRef {
    RunRef {
        tenant: "acme".parse().unwrap(),
        model: "churn".parse().unwrap(),
        run_id: id.parse().unwrap(),
    }
}

/// The model that this run trained, as it serves: of columns `plan` and `age`, under a
/// variant that is called after the run.
pub fn serving(id: &str) -> Serving {
    Serving {
        run: run(id),
        job: "j".into(),
        candidate: "c".into(),
        endpoint: "e".into(),
        variant: id.into(),
        metric: None,
        value: None,
        features: ["plan", "age"].map(str::to_owned).to_vec(),
        booleans: Default::default(),
        numeric: Default::default(),
        hosting: None,
        target: "Churn?".into(),
    }
}

/// A tenant of this id as the registry keeps it, with one model.
pub fn tenant(id: &str) -> Value {
    json!({
        "tenant": id, "account": "222222222222", "region": "us-east-1",
        "role_arn": "arn:aws:iam::222222222222:role/customer_trusting_saas",
        "execution_role_arn": "arn:aws:iam::222222222222:role/crosspilot-execution",
        "external_id": "cp-0123", "bucket": "acme-ml", "prefix": "crosspilot",
        "status": "active", "models": {"churn": {"target": "Churn?"}},
    })
}
