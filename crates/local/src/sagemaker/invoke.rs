//! InvokeEndpoint: records in, predictions out, at once.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::{
    Cloud,
    error::ApiError,
    lock,
    serving::{Serving, Variant},
    store::Place,
};

/// The largest request of an endpoint on instances, and of a serverless one.
const MAX_BODY: usize = 25 << 20;
const MAX_BODY_SERVERLESS: usize = 4 << 20;

/// A request for predictions.
pub(super) struct Invocation<'a> {
    pub(super) endpoint: &'a str,
    pub(super) content_type: &'a str,
    pub(super) accept: &'a str,
    /// The variant asked for, or nothing.
    pub(super) variant: &'a str,
    pub(super) body: Vec<u8>,
}

/// Predictions.
pub(super) struct Predictions {
    pub(super) body: Vec<u8>,
    pub(super) variant: String,
}

pub(super) async fn invoke(
    cloud: &Cloud,
    place: &Place,
    request: Invocation<'_>,
) -> Result<Predictions, ApiError> {
    let name = request.endpoint.to_lowercase();
    let arn = place.arn("endpoint", &name);
    let serves = cloud
        .store
        .at(place, |here| here.endpoints.get(&name).is_some_and(|found| found.status.serves()));
    if !serves {
        let message =
            format!("Endpoint {} of account {} not found.", request.endpoint, place.account);
        return Err(ApiError::RuntimeValidation(message));
    }
    let serving = lock(&cloud.serving).get(&arn).cloned();
    // After a restart the containers may still be loading.
    let serving = serving.ok_or_else(|| ApiError::Coded {
        code: "ServiceUnavailable".into(),
        message: Some("The endpoint's containers are starting.".into()),
        status: 503,
    })?;
    let index = choose(&serving, request.variant).ok_or_else(|| {
        ApiError::RuntimeValidation(format!("Variant {} not found.", request.variant))
    })?;
    let variant = &serving.variants[index];
    let limit = if variant.serverless { MAX_BODY_SERVERLESS } else { MAX_BODY };
    if request.body.len() > limit {
        return Err(ApiError::TooLarge(format!(
            "Request size exceeds the maximum allowed, {limit} bytes."
        )));
    }

    let name = variant.name.clone();
    let (content_type, accept) = (request.content_type.to_owned(), request.accept.to_owned());
    let body = request.body;
    let answer = tokio::task::spawn_blocking(move || {
        let serving: Arc<Serving> = serving;
        serving.variants[index].pipeline.invoke(&content_type, &accept, body)
    });
    let answer = answer.await.map_err(|error| ApiError::Internal(error.to_string()))?;
    let answer = answer.map_err(|error| model_error(place, request.endpoint, error))?;
    Ok(Predictions { body: answer, variant: name })
}

/// The variant asked for, or the next by weight.
fn choose(serving: &Serving, asked: &str) -> Option<usize> {
    static TURN: AtomicU64 = AtomicU64::new(0);
    let variants = &serving.variants;
    if !asked.is_empty() {
        return variants.iter().position(|variant| variant.name == asked);
    }
    let turn = TURN.fetch_add(1, Ordering::Relaxed);
    by_weight(variants.iter().map(|variant: &Variant| variant.weight), turn)
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

fn model_error(place: &Place, endpoint: &str, error: super::container::ContainerError) -> ApiError {
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
