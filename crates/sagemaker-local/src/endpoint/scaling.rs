//! Changes weights and sizes of an endpoint's variants under the same configuration.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::cloud::Cloud;
use crate::lock::lock;
use crate::records::endpoint::{Endpoint, EndpointStatus};
use crate::serving::traffic::Variant;
use crate::wire::place::Place;

/// The interval at which it is looked whether an endpoint can change.
const WATCH: Duration = Duration::from_millis(100);

/// Brings the instances of an endpoint's scalable targets within their limits, as soon as
/// the endpoint can change.
pub(crate) async fn scale(cloud: Arc<Cloud>, place: Place, name: String) {
    loop {
        let scaled = cloud.store.at(&place, |here| {
            let limits = here.scaling_limits(&name);
            let Some(endpoint) = here.get_mut::<Endpoint>(&name) else {
                return Some(false);
            };
            if endpoint.status.in_progress() {
                return None;
            }
            let scaled = endpoint.status == EndpointStatus::InService
                && endpoint.current.limit_instances(&limits);
            if scaled {
                endpoint.enter(EndpointStatus::Updating);
            }
            Some(scaled)
        });
        match scaled {
            Some(true) => break,
            Some(false) => return,
            None => sleep(WATCH).await,
        }
    }
    sleep(cloud.options.endpoint_change).await;
    cloud.store.change(&place, &name, Endpoint::settle);
}

/// Lets the variants that serve have the weights and sizes that they are to have.
pub(crate) async fn weigh(cloud: Arc<Cloud>, place: Place, name: String) {
    sleep(cloud.options.endpoint_change).await;
    let changed = cloud.store.change(&place, &name, |endpoint: &mut Endpoint| {
        endpoint.settle();
        endpoint.clone()
    });
    let Some(endpoint) = changed else { return };
    if let Some(traffic) = lock(&cloud.serving).get_mut(&endpoint.arn) {
        for variant in &mut traffic.old {
            if let Some(running) = endpoint.current.variant(&variant.name) {
                let weight = running.current_weight;
                *variant = Arc::new(Variant { weight, ..Variant::clone(variant) });
            }
        }
    }
}
