//! Tests of what every request to a customer's bucket carries.

#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Credentials, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;

use super::*;
use crate::example::tenant;

/// A request that goes out.
#[derive(Debug, Clone, PartialEq)]
struct Sent {
    /// The HTTP method, which tells the calls apart.
    method: String,
    /// The account that has to own the bucket.
    owner: Option<String>,
    /// The time limit of one attempt.
    attempt: Option<Duration>,
}

/// Writes down what goes out. Nothing is there to answer it.
#[derive(Debug, Clone, Default)]
struct Watch(Arc<Mutex<Vec<Sent>>>);

impl Intercept for Watch {
    fn name(&self) -> &'static str {
        "watch"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        settings: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request();
        let timeouts = settings.load::<TimeoutConfig>();
        self.0.lock().unwrap().push(Sent {
            method: request.method().to_owned(),
            owner: request.headers().get("x-amz-expected-bucket-owner").map(str::to_owned),
            attempt: timeouts.and_then(TimeoutConfig::operation_attempt_timeout),
        });
        Ok(())
    }
}

/// The bucket of `tenant`, where nobody answers.
fn bucket<'a>(tenant: &'a Tenant, watch: &Watch) -> Bucket<'a> {
    let settings = s3::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("AKIDTEST", "secret", None, None, "a test"))
        .retry_config(RetryConfig::disabled())
        // The discard port: a connection is refused at once.
        .endpoint_url("http://127.0.0.1:9")
        .interceptor(watch.clone());
    Bucket { s3: Client::from_conf(settings.build()), tenant }
}

#[tokio::test]
async fn every_request_says_whose_the_bucket_has_to_be() {
    let (tenant, watch) = (tenant("acme"), Watch::default());
    let bucket = bucket(&tenant, &watch);
    assert!(bucket.list("p/", 1).await.is_err());
    assert!(bucket.get("k").await.is_err());
    assert!(bucket.head("k", 10, 5).await.is_err());
    assert!(bucket.open_listed("k", "e").await.is_err());
    assert!(bucket.write("k", "text/csv", vec![1]).await.is_err());
    assert!(bucket.write_once("k", "text/csv", vec![1]).await.is_err());
    assert!(bucket.keep_held_out("k", "s", false, vec![1]).await.is_err());
    parts::tests::all_calls_of_an_upload(&bucket).await;
    let sent = watch.0.lock().unwrap().clone();
    assert_eq!(sent.len(), 10, "{sent:?}");
    let own = |sent: &Sent| sent.owner.as_deref() == Some("222222222222");
    let others: Vec<&Sent> = sent.iter().filter(|sent| !own(sent)).collect();
    assert!(others.is_empty(), "{others:?}");
}

#[tokio::test]
async fn what_is_large_has_the_time_to_get_there() {
    let (tenant, watch) = (tenant("acme"), Watch::default());
    let bucket = bucket(&tenant, &watch);
    let body = || vec![0; 30 << 20];
    assert!(bucket.write("k", "text/csv", body()).await.is_err());
    assert!(parts::tests::a_part(&bucket, body()).await.is_err());
    let attempts: Vec<_> = watch.0.lock().unwrap().iter().map(|sent| sent.attempt).collect();
    assert_eq!(attempts, [Some(Duration::from_secs(40)); 2]);
}
