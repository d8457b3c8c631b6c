//! InvokeEndpoint: records in, predictions out, at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use time::OffsetDateTime;

use crate::cloud::Cloud;
use crate::lock::lock;
use crate::records::endpoint::Endpoint;
use crate::records::resource::Resource;
use crate::serving::capture::Side;
use crate::serving::container::Asked;
use crate::serving::metrics::Answered;
use crate::serving::pipeline::{ContainerAnswer, ContainerError};
use crate::serving::traffic::{Traffic, Variant};
use crate::wire::error::ApiError;
use crate::wire::place::Place;

/// The largest request of an endpoint on instances, and of a serverless one.
const MAX_BODY: usize = 25 << 20;
const MAX_BODY_SERVERLESS: usize = 4 << 20;

/// Headers that ask for what an endpoint of Autopilot's does not have, and how
/// it refuses them. The first text is known from AWS; the others are like it.
pub(crate) const FOREIGN_HEADERS: [(&str, &str); 5] = [
    (
        "x-amzn-sagemaker-target-model",
        "is not a multi-model endpoint and does not support target model header.",
    ),
    (
        "x-amzn-sagemaker-target-container-hostname",
        "is not a multi-container endpoint with direct invocation and does not support target container hostname \
         header.",
    ),
    (
        "x-amzn-sagemaker-inference-component",
        "has no inference components and does not support inference component name header.",
    ),
    (
        "x-amzn-sagemaker-session-id",
        "does not support stateful sessions and does not support session id header.",
    ),
    (
        "x-amzn-sagemaker-enable-explanations",
        "has no explainer and does not support enable explanations header.",
    ),
];

/// A request for predictions.
pub(crate) struct Invocation<'a> {
    pub(crate) endpoint: &'a str,
    pub(crate) content_type: &'a str,
    pub(crate) accept: &'a str,
    /// The variant asked for, or nothing.
    pub(crate) variant: &'a str,
    /// The caller's own name for this request, or nothing.
    pub(crate) inference_id: &'a str,
    /// The reason why the endpoint does not take a header of the request, if there is one.
    pub(crate) foreign: Option<&'static str>,
    pub(crate) body: Vec<u8>,
}

/// Predictions.
pub(crate) struct Predictions {
    pub(crate) body: Vec<u8>,
    pub(crate) content_type: &'static str,
    pub(crate) variant: String,
}

pub(crate) async fn invoke(
    cloud: &Cloud,
    place: &Place,
    request: Invocation<'_>,
) -> Result<Predictions, ApiError> {
    let arn = place.arn(Endpoint::KIND, request.endpoint);
    let endpoint: Option<Endpoint> = cloud.store.get(place, request.endpoint);
    let Some(endpoint) = endpoint.filter(|found| found.status.serves()) else {
        let message =
            format!("Endpoint {} of account {} not found.", request.endpoint, place.account);
        return Err(ApiError::RuntimeValidation(message));
    };
    if let Some(reason) = request.foreign {
        let message = format!("Endpoint {} {reason}", request.endpoint);
        return Err(ApiError::RuntimeValidation(message));
    }
    let traffic = lock(&cloud.serving).get(&arn).cloned();
    // After a restart the containers may still be loading.
    let traffic = traffic.ok_or_else(|| ApiError::Coded {
        code: "ServiceUnavailable".into(),
        message: Some("The endpoint's containers are starting.".into()),
        status: 503,
    })?;
    let variant = choose(&traffic, request.variant).ok_or_else(|| {
        ApiError::RuntimeValidation(format!("Variant {} not found.", request.variant))
    })?;
    let limit = if variant.serverless { MAX_BODY_SERVERLESS } else { MAX_BODY };
    if request.body.len() > limit {
        return Err(ApiError::TooLarge(format!(
            "Request size exceeds the maximum allowed, {limit} bytes."
        )));
    }

    let captured = variant.capture.as_ref().filter(|capture| capture.takes_next());
    let captured = captured.map(|capture| (capture, request.body.clone()));
    let started = Instant::now();
    let answer = {
        let pipeline = variant.pipeline.clone();
        let (content_type, accept) = (request.content_type.to_owned(), request.accept.to_owned());
        let body = request.body;
        let ask = move || pipeline.invoke(&content_type, &accept, Asked::Online, body);
        tokio::task::spawn_blocking(ask)
    };
    let answer = answer.await.map_err(|error| ApiError::Internal(error.to_string()))?;
    cloud.metrics.count(&Answered {
        place,
        endpoint: &endpoint.name,
        variant: &variant.name,
        status: answer.as_ref().map_or_else(|error| error.status, |_| 200),
        latency: started.elapsed(),
        instances: endpoint.current.variant(&variant.name).and_then(|it| it.current_count),
    });
    let answer = answer.map_err(|error| model_error(place, request.endpoint, error))?;
    if let Some((capture, body)) = captured {
        let input = Side { content_type: request.content_type, body: &body };
        let output = Side { content_type: answer.content_type, body: &answer.body };
        let now = OffsetDateTime::now_utc();
        let record = capture.record(&input, &output, request.inference_id, now);
        let destination =
            capture.destination(place, (&endpoint.name, &arn), &variant.name, &variant.role);
        cloud.captured.add(destination, record);
    }
    let ContainerAnswer { body, content_type } = answer;
    Ok(Predictions { body, content_type, variant: variant.name.clone() })
}

/// The variant asked for, or the next by weight. During an update both fleets
/// answer, each to its share of the traffic.
fn choose(traffic: &Traffic, asked: &str) -> Option<Arc<Variant>> {
    static TURN: AtomicU64 = AtomicU64::new(0);
    let mut variants = traffic.weighted();
    variants.retain(|(variant, _)| asked.is_empty() || variant.name == asked);
    let turn = TURN.fetch_add(1, Ordering::Relaxed);
    let chosen = by_weight(variants.iter().map(|(_, weight)| *weight), turn);
    // One that is asked for by name answers without any weight, too.
    let chosen = chosen.or((!asked.is_empty()).then_some(0))?;
    variants.into_iter().nth(chosen).map(|(variant, _)| variant)
}

/// Turns go round in proportion to the weights: the golden ratio spreads them
/// evenly at every length.
fn by_weight(weights: impl Iterator<Item = f64> + Clone, turn: u64) -> Option<usize> {
    let total: f64 = weights.clone().sum();
    let mut at = (turn as f64 * 0.618_033_988_749_895).fract() * total;
    let mut last = None;
    for (i, weight) in weights.enumerate() {
        if weight > 0.0 {
            last = Some(i);
            if at < weight {
                break;
            }
            at -= weight;
        }
    }
    last
}

fn model_error(place: &Place, endpoint: &str, error: ContainerError) -> ApiError {
    let (account, region, status) = (&place.account, &place.region, error.status);
    let kind = if status < 500 { "client" } else { "server" };
    let group = format!("/aws/sagemaker/Endpoints/{endpoint}");
    ApiError::Model {
        message: format!(
            "Received {kind} error ({status}) from {} with message \"{}\". See \
             https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}#logEventViewer:group={group} in \
             account {account} for more information.",
            error.container, error.message
        ),
        original_status: status,
        original_message: error.message,
        log_stream_arn: format!("arn:aws:logs:{region}:{account}:log-group:{group}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn turns_follow_the_weights() {
        let mut counts = [0; 3];
        for turn in 0..1000 {
            counts[by_weight([3.0, 0.0, 1.0].into_iter(), turn).unwrap()] += 1;
        }
        assert!((745..755).contains(&counts[0]) && counts[1] == 0, "{counts:?}");
        assert_eq!(by_weight([0.0].into_iter(), 5), None);
    }
}
