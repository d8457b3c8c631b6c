//! The arithmetic: what a run may cost, and what an endpoint costs.

use std::collections::BTreeMap;

use crosspilot_core::settings::{Hosting, Mode};
use serde::{Deserialize, Serialize};

/// A month, as AWS's own calculator has it.
pub(super) const HOURS_A_MONTH: f64 = 730.0;
/// Autopilot tunes hyperparameters only above this size if it may choose
/// (SageMaker Developer Guide, "Training modes").
const AUTO_ENSEMBLES_UP_TO: u64 = 100 * 1024 * 1024;

/// Prices in US dollars, and what is assumed of training.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Prices {
    /// Where they come from.
    #[serde(default, rename = "about")]
    _about: String,
    /// The region that they hold for.
    pub(super) region: String,
    /// When they were right.
    pub(super) as_of: String,
    instance_hour: BTreeMap<String, f64>,
    /// For each GB of memory, while a request is worked on.
    serverless_gb_second: f64,
    training: TrainingModes,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct TrainingModes {
    #[serde(default, rename = "about")]
    _about: String,
    ensembling: Machines,
    hyperparameter_tuning: Machines,
}

/// What Autopilot is assumed to train on, and how long.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Machines {
    instance_type: String,
    /// How many work at a time.
    instances: u16,
    /// Analysis and preparation, on one instance.
    base_minutes: f64,
    candidate_minutes: f64,
    candidate_minutes_per_gb: f64,
}

/// What bounds a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) mode: Mode,
    pub(super) bytes: u64,
    pub(super) candidates: u16,
    pub(super) runtime_seconds: u32,
}

/// What a run may cost, in dollars.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct RunCost {
    /// With as long as such data usually takes.
    pub(super) typical: f64,
    /// With all machines for all the time that it may take.
    pub(super) most: f64,
    /// What it is assumed to train on.
    pub(super) instance_type: String,
    pub(super) instances: u16,
}

/// What an endpoint costs, in dollars.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "billed_by", rename_all = "lowercase")]
pub(super) enum EndpointCost {
    /// As long as it exists.
    Hour { hour: f64, month: f64 },
    /// By request: so much for each second that one is worked on.
    Request { second: f64 },
}

/// A price that the table does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no price is known for {0}: add it to a file of your own and name that with --prices")]
pub(super) struct NoPrice(pub(super) String);

impl Prices {
    /// The table that comes with the command.
    pub(super) fn built_in() -> Result<Self, serde_json::Error> {
        serde_json::from_str(include_str!("../../prices.json"))
    }

    pub(super) fn run(&self, bounds: Bounds) -> Result<RunCost, NoPrice> {
        let machines = match bounds.mode {
            Mode::Ensembling => &self.training.ensembling,
            Mode::HyperparameterTuning => &self.training.hyperparameter_tuning,
            Mode::Auto if bounds.bytes <= AUTO_ENSEMBLES_UP_TO => &self.training.ensembling,
            Mode::Auto => &self.training.hyperparameter_tuning,
        };
        let hour = self.instance_hour(&machines.instance_type)?;
        let gigabytes = bounds.bytes as f64 / f64::from(1 << 30);
        let each = machines.candidate_minutes + machines.candidate_minutes_per_gb * gigabytes;
        // Instance minutes: working side by side is quicker but no cheaper.
        let minutes = machines.base_minutes + f64::from(bounds.candidates) * each;
        let hours = f64::from(bounds.runtime_seconds) / 3600.0;
        let most = hour * f64::from(machines.instances) * hours;
        Ok(RunCost {
            typical: (hour * minutes / 60.0).min(most),
            most,
            instance_type: machines.instance_type.clone(),
            instances: machines.instances,
        })
    }

    pub(super) fn endpoint(&self, hosting: &Hosting) -> Result<EndpointCost, NoPrice> {
        Ok(match hosting {
            Hosting::Instance { instance_type, count } => {
                let hour = self.instance_hour(instance_type)? * f64::from(*count);
                EndpointCost::Hour { hour, month: hour * HOURS_A_MONTH }
            }
            Hosting::Serverless { memory_mb, .. } => EndpointCost::Request {
                second: self.serverless_gb_second * f64::from(*memory_mb) / 1024.0,
            },
        })
    }

    fn instance_hour(&self, instance_type: &str) -> Result<f64, NoPrice> {
        self.instance_hour
            .get(instance_type)
            .copied()
            .ok_or_else(|| NoPrice(instance_type.to_owned()))
    }
}

/// Dollars, for people.
pub(super) fn dollars(amount: f64) -> String {
    if amount > 0.0 && amount < 0.01 { "< $0.01".to_owned() } else { format!("${amount:.2}") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn bounds(mode: Mode, megabytes: u64, candidates: u16) -> Bounds {
        Bounds { mode, bytes: megabytes << 20, candidates, runtime_seconds: 4 * 3600 }
    }

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn a_run_costs_its_machines_for_its_time_at_most() {
        let prices = Prices::built_in().unwrap();
        let cost = prices.run(bounds(Mode::Ensembling, 0, 10)).unwrap();
        assert!(close(cost.most, 0.922 * 4.0), "{cost:?}");
        assert!(close(cost.typical, 0.922 * 30.0 / 60.0), "{cost:?}");
        let gigabyte = prices.run(bounds(Mode::Ensembling, 1024, 10)).unwrap();
        assert!(close(gigabyte.typical, 0.922 * 80.0 / 60.0), "{gigabyte:?}");
        let tuned = prices.run(bounds(Mode::HyperparameterTuning, 0, 10)).unwrap();
        assert!(close(tuned.most, 0.922 * 10.0 * 4.0), "{tuned:?}");
    }

    #[test]
    fn what_is_typical_is_never_more_than_the_most() {
        let cost = Prices::built_in().unwrap().run(bounds(Mode::Ensembling, 50_000, 750)).unwrap();
        assert_eq!(cost.typical, cost.most);
    }

    #[test]
    fn left_to_autopilot_the_size_decides() {
        let prices = Prices::built_in().unwrap();
        assert_eq!(prices.run(bounds(Mode::Auto, 100, 1)).unwrap().instances, 1);
        assert_eq!(prices.run(bounds(Mode::Auto, 101, 1)).unwrap().instances, 10);
    }

    #[test]
    fn an_endpoint_costs_by_the_hour_or_by_the_second() {
        let prices = Prices::built_in().unwrap();
        let two = Hosting::Instance { instance_type: "ml.m5.large".into(), count: 2 };
        let EndpointCost::Hour { hour, month } = prices.endpoint(&two).unwrap() else {
            panic!("not by the hour")
        };
        assert!(close(hour, 0.23) && close(month, 0.23 * 730.0));
        let serverless = Hosting::Serverless { memory_mb: 2048, max_concurrency: 5 };
        let EndpointCost::Request { second } = prices.endpoint(&serverless).unwrap() else {
            panic!("not by request")
        };
        assert!(close(second, 0.00004));
    }

    #[test]
    fn a_type_without_a_price_gets_none() {
        let prices = Prices::built_in().unwrap();
        let unknown = Hosting::Instance { instance_type: "ml.new.large".into(), count: 1 };
        assert_eq!(prices.endpoint(&unknown), Err(NoPrice("ml.new.large".into())));
    }

    #[test]
    fn small_sums_are_not_nothing() {
        assert_eq!(dollars(0.0), "$0.00");
        assert_eq!(dollars(0.004), "< $0.01");
        assert_eq!(dollars(83.949), "$83.95");
    }
}
