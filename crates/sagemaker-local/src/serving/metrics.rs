//! The metrics that endpoints give CloudWatch: invocations, errors, latencies.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::lock::lock;
use crate::services::emulator::Emulator;
use crate::wire::place::Place;

/// AWS publishes once a minute; a test does not wait that long.
const INTERVAL: Duration = Duration::from_secs(1);
/// Values in one data point of PutMetricData (CloudWatch API Reference).
const MAX_VALUES: usize = 150;

/// One answered request.
pub(crate) struct Answered<'a> {
    pub(crate) place: &'a Place,
    pub(crate) endpoint: &'a str,
    pub(crate) variant: &'a str,
    /// The container's status.
    pub(crate) status: u16,
    pub(crate) latency: Duration,
    /// Instances of the variant; none if it is serverless.
    pub(crate) instances: Option<u64>,
}

/// The counts of what was answered since the last publication.
#[derive(Default)]
pub(crate) struct Metrics(Mutex<BTreeMap<Place, Variants>>);

/// By endpoint and variant.
type Variants = BTreeMap<(String, String), Counts>;

#[derive(Default)]
struct Counts {
    client_errors: u64,
    server_errors: u64,
    /// In microseconds, as AWS has it; one for each invocation.
    latencies: Vec<f64>,
    per_instance: f64,
}

impl Metrics {
    pub(crate) fn count(&self, answered: &Answered) {
        let mut places = lock(&self.0);
        let variant = (answered.endpoint.to_owned(), answered.variant.to_owned());
        let counts = places.entry(answered.place.clone()).or_default().entry(variant).or_default();
        counts.client_errors += u64::from((400..500).contains(&answered.status));
        counts.server_errors += u64::from(answered.status >= 500);
        counts.latencies.push(answered.latency.as_micros() as f64);
        counts.per_instance +=
            answered.instances.map_or(0.0, |instances| 1.0 / instances.max(1) as f64);
    }

    /// The data points of everything counted so far, which is then forgotten.
    fn take(&self) -> BTreeMap<Place, Vec<Value>> {
        let places = std::mem::take(&mut *lock(&self.0));
        let data = |variants: Variants| {
            variants
                .into_iter()
                .flat_map(|((endpoint, variant), counts)| {
                    counts.data(&json!([
                        { "Name": "EndpointName", "Value": endpoint },
                        { "Name": "VariantName", "Value": variant },
                    ]))
                })
                .collect()
        };
        places.into_iter().map(|(place, variants)| (place, data(variants))).collect()
    }
}

impl Counts {
    /// As AWS sends them: errors as 1 or 0 for each invocation, so that their
    /// average is the error rate.
    fn data(self, dimensions: &Value) -> Vec<Value> {
        let invocations = self.latencies.len();
        let set = |metric: &str, sum: f64, low: f64, high: f64| {
            json!({ "MetricName": metric, "Dimensions": dimensions, "Unit": "None", "StatisticValues":
                { "SampleCount": invocations, "Sum": sum, "Minimum": low, "Maximum": high } })
        };
        let flags = |metric: &str, raised: u64| {
            let (low, high) = (raised == invocations as u64, raised > 0);
            set(metric, raised as f64, f64::from(u8::from(low)), f64::from(u8::from(high)))
        };
        let mut data = vec![
            set("Invocations", invocations as f64, 1.0, 1.0),
            flags("Invocation4XXErrors", self.client_errors),
            flags("Invocation5XXErrors", self.server_errors),
        ];
        if self.per_instance > 0.0 {
            let each = self.per_instance / invocations as f64;
            data.push(set("InvocationsPerInstance", self.per_instance, each, each));
        }
        data.extend(self.latencies.chunks(MAX_VALUES).map(|values| {
            json!({ "MetricName": "ModelLatency", "Dimensions": dimensions, "Unit": "Microseconds", "Values": values })
        }));
        data
    }
}

/// Publishes what was counted, again and again.
pub(crate) async fn publish(metrics: Arc<Metrics>, emulator: Emulator) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        for (place, data) in metrics.take() {
            if let Err(error) = emulator.put_metrics(&place, data).await {
                tracing::warn!(%error, "an endpoint's metrics are lost");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn counts_become_one_data_point_a_metric() {
        let metrics = Metrics::default();
        let place = Place { account: "222222222222".into(), region: "us-east-1".into() };
        for status in [200, 200, 424, 500] {
            metrics.count(&Answered {
                place: &place,
                endpoint: "e",
                variant: "v",
                status,
                latency: Duration::from_millis(2),
                instances: Some(2),
            });
        }
        let data = metrics.take().remove(&place).unwrap();
        let of = |name: &str| data.iter().find(|datum| datum["MetricName"] == name).unwrap();
        let sum = |name: &str| of(name)["StatisticValues"]["Sum"].as_f64().unwrap();
        assert_eq!(of("Invocations")["StatisticValues"]["SampleCount"], 4);
        assert_eq!((sum("Invocations"), sum("Invocation4XXErrors")), (4.0, 1.0));
        assert_eq!((sum("Invocation5XXErrors"), sum("InvocationsPerInstance")), (1.0, 2.0));
        assert_eq!(of("ModelLatency")["Values"], json!([2000.0, 2000.0, 2000.0, 2000.0]));
        assert_eq!(of("ModelLatency")["Dimensions"][1]["Value"], "v");
        assert!(metrics.take().is_empty());
    }
}
