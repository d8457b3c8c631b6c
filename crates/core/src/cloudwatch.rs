//! A question to Amazon CloudWatch: the sum of a metric.
//!
//! CloudWatch's own SDK crate brings seven more crates into every function
//! (docs/architecture.md, "Built by hand, and why"). This is one call, made of
//! the parts that the SDK crates themselves are made of.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_s3::config::http::{HttpRequest, HttpResponse};
use aws_sdk_s3::error::ErrorMetadata;
use aws_sdk_s3::primitives::SdkBody;
use aws_sdk_sts::config::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_runtime::client::orchestrator::operation::Operation;
use aws_smithy_runtime::client::retries::classifiers::HttpStatusCodeClassifier;
use aws_smithy_runtime_api::client::orchestrator::OrchestratorError;
use serde::Deserialize;
use serde_json::json;

use crate::error::{CallError, Code, Named};

const OPERATION: &str = "cloudwatch:GetMetricStatistics";
/// JSON 1.0 of the CloudWatch API, version 2010-08-01.
const TARGET: &str = "GraniteServiceVersion20100801.GetMetricStatistics";
const DAY: Duration = Duration::from_secs(86_400);

/// A CloudWatch metric, by its name and dimensions.
#[derive(Debug, Clone, Copy)]
pub struct Metric<'a> {
    /// The metric's namespace, such as `AWS/SageMaker`.
    pub namespace: &'a str,
    /// The metric's name, such as `Invocations`.
    pub name: &'a str,
    /// All dimensions that it is kept by: CloudWatch adds nothing up over those
    /// that are left out.
    pub dimensions: &'a [(&'a str, &'a str)],
}

/// Sum of a metric over the last days, at most the 455 that CloudWatch keeps.
pub(crate) async fn sum(
    config: &SdkConfig,
    metric: Metric<'_>,
    days: u16,
) -> Result<f64, CallError> {
    let region = config.region().map(ToString::to_string).unwrap_or_default();
    let endpoint = match config.endpoint_url() {
        Some(url) => url.to_owned(),
        None if region.starts_with("cn-") => {
            format!("https://monitoring.{region}.amazonaws.com.cn")
        }
        None => format!("https://monitoring.{region}.amazonaws.com"),
    };
    let refused = |cause: String| {
        CallError::refused(Code::Internal, OPERATION, metric.name, "BadRequest", cause)
    };
    let credentials = match config.credentials_provider() {
        Some(provider) => {
            use aws_sdk_s3::config::ProvideCredentials;
            provider.provide_credentials().await.map_err(|e| refused(e.to_string()))?
        }
        None => return Err(refused("there are no credentials".to_owned())),
    };
    let body = question(metric, days, SystemTime::now());
    let request = signed(&endpoint, &region, credentials, body).map_err(&refused)?;
    let timeouts = config.timeout_config().cloned().unwrap_or_else(TimeoutConfig::disabled);
    let retries = config.retry_config().cloned().unwrap_or_else(RetryConfig::standard);
    let operation = Operation::builder()
        .service_name("cloudwatch")
        .operation_name("GetMetricStatistics")
        .behavior_version(aws_config::BehaviorVersion::v2026_01_12())
        .endpoint_url(&endpoint)
        .no_auth() // signed already
        .standard_retry(&retries)
        .retry_classifier(HttpStatusCodeClassifier::default())
        .timeout_config(timeouts)
        .serializer(move |(): ()| request.try_clone().ok_or_else(|| "no request".into()))
        .deserializer(|response| read(response).map_err(OrchestratorError::operation))
        .build();
    operation.invoke(()).await.named(OPERATION, metric.name)
}

fn question(metric: Metric<'_>, days: u16, now: SystemTime) -> String {
    let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let dimensions: Vec<_> = metric
        .dimensions
        .iter()
        .map(|(name, value)| json!({"Name": name, "Value": value}))
        .collect();
    json!({
        "Namespace": metric.namespace,
        "MetricName": metric.name,
        "Dimensions": dimensions,
        "StartTime": seconds(now - DAY * u32::from(days)),
        "EndTime": seconds(now),
        "Period": DAY.as_secs(),
        "Statistics": ["Sum"],
    })
    .to_string()
}

fn signed(
    endpoint: &str,
    region: &str,
    credentials: Credentials,
    body: String,
) -> Result<HttpRequest, String> {
    let mut request = HttpRequest::new(SdkBody::from(body.as_str()));
    request.set_method("POST").map_err(|e| e.to_string())?;
    request.set_uri(format!("{endpoint}/")).map_err(|e| e.to_string())?;
    let headers = [("content-type", "application/x-amz-json-1.0"), ("x-amz-target", TARGET)];
    let identity = credentials.into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("monitoring")
        .time(SystemTime::now())
        .settings(SigningSettings::default())
        .build()
        .map_err(|e| e.to_string())?
        .into();
    let uri = request.uri().to_owned();
    let signable = SignableRequest::new(
        "POST",
        &uri,
        headers.into_iter(),
        SignableBody::Bytes(body.as_bytes()),
    )
    .map_err(|e| e.to_string())?;
    let (instructions, _) = sign(signable, &parameters).map_err(|e| e.to_string())?.into_parts();
    for (name, value) in headers {
        request.headers_mut().insert(name, value);
    }
    for (name, value) in instructions.headers() {
        request.headers_mut().insert(name.to_owned(), value.to_owned());
    }
    Ok(request)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Statistics {
    datapoints: Vec<Datapoint>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Datapoint {
    sum: f64,
}

#[derive(Deserialize, Default)]
struct Refusal {
    #[serde(default, rename = "__type")]
    kind: String,
    #[serde(default, alias = "Message")]
    message: String,
}

fn read(response: &HttpResponse) -> Result<f64, ErrorMetadata> {
    let body = response.body().bytes().unwrap_or_default();
    if response.status().is_success() {
        let statistics: Statistics = serde_json::from_slice(body).map_err(|e| {
            ErrorMetadata::builder().code("BadAnswer").message(e.to_string()).build()
        })?;
        return Ok(statistics.datapoints.iter().map(|point| point.sum).sum());
    }
    let refusal: Refusal = serde_json::from_slice(body).unwrap_or_default();
    // `com.amazonaws.cloudwatch#InvalidParameterValue`, with or without the first part.
    let code = refusal.kind.rsplit('#').next().unwrap_or_default();
    Err(ErrorMetadata::builder().code(code).message(refusal.message).build())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn answer(status: u16, body: &'static str) -> Result<f64, ErrorMetadata> {
        read(&HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body)))
    }

    #[test]
    fn days_are_added_up_and_no_day_is_nothing() {
        let two = r#"{"Label": "Invocations", "Datapoints": [{"Timestamp": 1, "Sum": 3.0, "Unit": "None"}, {"Sum": 4.0}]}"#;
        assert_eq!(answer(200, two).unwrap(), 7.0);
        assert_eq!(answer(200, r#"{"Datapoints": []}"#).unwrap(), 0.0);
    }

    #[test]
    fn a_refusal_keeps_its_code() {
        let error =
            answer(400, r#"{"__type": "com.amazonaws.cloudwatch#Throttling", "message": "slow"}"#);
        assert_eq!(error.unwrap_err().code(), Some("Throttling"));
        assert_eq!(answer(200, "<xml>").unwrap_err().code(), Some("BadAnswer"));
    }

    #[test]
    fn the_question_spans_whole_days() {
        let metric = Metric {
            namespace: "AWS/SageMaker",
            name: "Invocations",
            dimensions: &[("EndpointName", "e")],
        };
        let now = UNIX_EPOCH + DAY * 20;
        let question: serde_json::Value =
            serde_json::from_str(&super::question(metric, 14, now)).unwrap();
        assert_eq!(question["StartTime"], DAY.as_secs() * 6);
        assert_eq!(question["EndTime"], DAY.as_secs() * 20);
        assert_eq!(question["Dimensions"], json!([{"Name": "EndpointName", "Value": "e"}]));
    }
}
