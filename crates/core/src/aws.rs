//! The configuration of every AWS client of Crosspilot: one base, with the time limits that
//! the SDK does not set by itself.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, ConfigLoader, SdkConfig};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_http_client::{Builder, ConnectorBuilder};

pub use aws_config;
pub use aws_sdk_applicationautoscaling as applicationautoscaling;
pub use aws_sdk_cloudformation as cloudformation;
pub use aws_sdk_eventbridge as eventbridge;
pub use aws_sdk_s3 as s3;
pub use aws_sdk_sagemaker as sagemaker;
pub use aws_sdk_sagemakerruntime as sagemakerruntime;
pub use aws_sdk_scheduler as scheduler;
pub use aws_sdk_sfn as sfn;
pub use aws_sdk_sts as sts;
pub use aws_smithy_runtime_api::client::http::SharedHttpClient as HttpClient;

/// Control-plane calls: 10 s an attempt, 25 s for all attempts of a call. The
/// attempt limit also covers pooled sockets that died while the function's
/// sandbox was frozen.
pub fn loader() -> ConfigLoader {
    aws_config::defaults(BehaviorVersion::v2026_01_12())
        .http_client(http_client())
        .retry_config(RetryConfig::standard().with_max_attempts(3))
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(Duration::from_secs(3))
                .operation_attempt_timeout(Duration::from_secs(10))
                .operation_timeout(Duration::from_secs(25))
                .build(),
        )
}

/// Makes the HTTP client of a configuration: all service clients that are built from
/// it, also with other credentials or limits, share its connections and its one
/// reading of the root certificates. Without it, each service client would bring its
/// own. It is the SDK's own default otherwise.
pub fn http_client() -> HttpClient {
    Builder::new().build_with_connector_fn(|settings, components| {
        let mut connector = ConnectorBuilder::default()
            .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
            .proxy_config(ProxyConfig::from_env());
        connector.set_connector_settings(settings.cloned());
        if let Some(components) = components {
            connector.set_sleep_impl(components.sleep_impl());
        }
        connector.build()
    })
}

/// The configuration of the process: credentials, region and endpoints from
/// the environment, limits from [`loader`].
pub async fn config() -> SdkConfig {
    loader().load().await
}

/// Room for a request with a body of so many bytes, which may go around the world:
/// an attempt gets a second for each megabyte besides the usual ten.
pub fn room_for(bytes: usize) -> TimeoutConfig {
    let attempt = Duration::from_secs(10 + (bytes >> 20) as u64);
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(3))
        .operation_attempt_timeout(attempt)
        .operation_timeout(attempt * 2 + Duration::from_secs(5))
        .build()
}

/// Gives the same configuration with room for a prediction: InvokeEndpoint may take
/// 60 s, so an attempt gets 62.
pub fn for_predictions(config: &SdkConfig) -> SdkConfig {
    config
        .clone()
        .into_builder()
        .retry_config(RetryConfig::standard().with_max_attempts(2))
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(Duration::from_secs(3))
                .operation_attempt_timeout(Duration::from_secs(62))
                .build(),
        )
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_body_has_the_time_to_cross_an_ocean() {
        let attempt = |bytes| room_for(bytes).operation_attempt_timeout();
        assert_eq!(attempt(1000), Some(Duration::from_secs(10)));
        assert_eq!(attempt(64 << 20), Some(Duration::from_secs(74)));
    }
}
