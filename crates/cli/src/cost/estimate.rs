//! The arithmetic: what a run may cost, and what an endpoint costs.

use std::collections::BTreeMap;
use std::iter::Sum;

use crosspilot_core::settings::{Deployment, Hosting, Mode, ModelSettings, Problem};
use crosspilot_core::tenant::Limits;
use crosspilot_evaluation::SCORING_INSTANCE;
use serde::{Deserialize, Serialize};

/// A month, as AWS's own calculator has it.
pub(super) const HOURS_A_MONTH: f64 = 730.0;
/// Autopilot tunes hyperparameters only above this size if it may choose
/// (SageMaker Developer Guide, "Training modes").
const AUTO_ENSEMBLES_UP_TO: u64 = 100 * 1024 * 1024;

/// The seconds that a stage may take besides the job's own limit, and after that limit until
/// the run gives up on it: `train.asl.json` and `check-status`.
const STAGE_MARGIN: f64 = 1800.0;
const GRACE: f64 = 1800.0;
/// The longest that a run follows a moving endpoint.
const LONGEST_MOVE: f64 = 43_200.0;

/// Prices in US dollars, and what is assumed of training.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Prices {
    /// The source of the prices.
    #[serde(default, rename = "about")]
    _about: String,
    /// The region that they hold for.
    pub(super) region: String,
    /// The date at which the prices were right.
    pub(super) as_of: String,
    instance_hour: BTreeMap<String, f64>,
    /// For each GB of memory, while a request is worked on.
    serverless_gb_second: f64,
    training: TrainingModes,
    /// The minutes that a transform job usually takes, its start included.
    scoring_minutes: f64,
    /// The minutes that an endpoint usually takes to move, besides the waits that are set.
    moving_minutes: f64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct TrainingModes {
    #[serde(default, rename = "about")]
    _about: String,
    ensembling: Machines,
    hyperparameter_tuning: Machines,
}

/// The instances that Autopilot is assumed to train on, and the minutes that it takes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Machines {
    instance_type: String,
    /// The number of instances that work at a time.
    instances: u16,
    /// Analysis and preparation, on one instance.
    base_minutes: f64,
    candidate_minutes: f64,
    candidate_minutes_per_gb: f64,
}

/// The values that a model's costs follow from.
pub(super) struct Plan<'a> {
    pub(super) limits: &'a Limits,
    pub(super) settings: &'a ModelSettings,
    /// Of training data, where it is known.
    pub(super) bytes: Option<u64>,
}

/// Dollars: as such things usually go, and if all takes as long as it may.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Cost {
    pub(super) typical: f64,
    pub(super) most: f64,
}

impl Cost {
    /// So much an hour, for so many hours.
    fn hours(hour: f64, typical: f64, most: f64) -> Self {
        Self { typical: hour * typical.min(most), most: hour * most }
    }
}

impl Sum for Cost {
    fn sum<I: Iterator<Item = Self>>(lines: I) -> Self {
        lines.fold(Self { typical: 0.0, most: 0.0 }, |a, b| Self {
            typical: a.typical + b.typical,
            most: a.most + b.most,
        })
    }
}

/// One thing that costs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Line {
    pub(super) what: &'static str,
    /// None where a price is not known: then no total is, either.
    pub(super) cost: Option<Cost>,
    /// The assumption that the cost rests on, as a sentence.
    pub(super) assumes: String,
}

/// The costs of a model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Estimate {
    /// Of one run.
    pub(super) lines: Vec<Line>,
    /// Of these lines together.
    pub(super) total: Option<Cost>,
    /// Of a month in which the model serves.
    pub(super) month: Line,
}

/// The costs of an endpoint, in dollars.
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

    /// Lists what a model costs, line by line, so that nothing that bills is left out.
    pub(super) fn estimate(&self, plan: &Plan) -> Estimate {
        let mut lines = vec![self.training_line(plan)];
        // Only tables are scored. Whether a held-out file comes is not known here.
        if plan.settings.problem == Problem::Tabular {
            lines.push(self.scoring_line(plan));
        }
        lines.push(self.moving_line(plan));
        let total = lines.iter().map(|line| line.cost).sum();
        Estimate { lines, total, month: self.month(&plan.settings.deployment) }
    }

    fn training_line(&self, plan: &Plan) -> Line {
        let bytes = plan.bytes.unwrap_or(u64::MAX);
        let machines = match plan.settings.mode() {
            Mode::Ensembling => &self.training.ensembling,
            Mode::HyperparameterTuning => &self.training.hyperparameter_tuning,
            Mode::Auto if bytes <= AUTO_ENSEMBLES_UP_TO => &self.training.ensembling,
            Mode::Auto => &self.training.hyperparameter_tuning,
        };
        let gigabytes = plan.bytes.unwrap_or_default() as f64 / f64::from(1 << 30);
        let each = machines.candidate_minutes + machines.candidate_minutes_per_gb * gigabytes;
        // Instance minutes: working side by side is quicker but no cheaper.
        let minutes = machines.base_minutes + f64::from(plan.candidates()) * each;
        let instances = f64::from(machines.instances);
        let cost = |hour| Cost::hours(hour, minutes / 60.0, instances * plan.longest_job());
        let assumes = format!(
            "{} of {}; AWS does not say what Autopilot trains on",
            count(machines.instances, "instance"),
            machines.instance_type,
        );
        self.line("training", &machines.instance_type, cost, assumes)
    }

    fn scoring_line(&self, plan: &Plan) -> Line {
        let instance = SCORING_INSTANCE.as_str();
        let cost = |hour| Cost::hours(hour, self.scoring_minutes / 60.0, plan.longest_job());
        let assumes = format!("one transform job on one instance of {instance}");
        self.line("scoring", instance, cost, assumes)
    }

    /// Until all traffic has moved, the old fleet bills beside the new one. An update
    /// that does not succeed is followed by the way back.
    fn moving_line(&self, plan: &Plan) -> Line {
        const WHAT: &str = "second fleet";
        let Deployment { hosting, scaling, update, .. } = &plan.settings.deployment;
        let Hosting::Instance { instance_type, count: few } = hosting else {
            let cost = Some(Cost { typical: 0.0, most: 0.0 });
            return Line { what: WHAT, cost, assumes: "a serverless endpoint has no fleet".into() };
        };
        let many = scaling.map_or(*few, |scaling| scaling.max.max(*few));
        let typical =
            self.moving_minutes / 60.0 + f64::from(update.traffic.wait_seconds()) / 3600.0;
        let most = 2.0 * plan.longest_move() * f64::from(many);
        let cost = |hour| Cost::hours(hour, typical * f64::from(*few), most);
        let assumes = format!(
            "{} of {instance_type} while the endpoint moves; at most {many}, there and back",
            count(*few, "instance"),
        );
        self.line(WHAT, instance_type, cost, assumes)
    }

    /// A month of serving by these settings.
    pub(super) fn month(&self, deployment: &Deployment) -> Line {
        const WHAT: &str = "serving a month";
        match &deployment.hosting {
            Hosting::Instance { instance_type, count: few } => {
                let many = deployment.scaling.map_or(*few, |scaling| scaling.max.max(*few));
                let fleet = |count: u16| f64::from(count) * HOURS_A_MONTH;
                let cost = |hour| Cost { typical: hour * fleet(*few), most: hour * fleet(many) };
                let grows =
                    if many > *few { format!(", scaling to {many}") } else { String::new() };
                let hour = self.instance_hour(instance_type);
                let hour = hour
                    .map_or_else(|_| String::new(), |hour| format!(", ${hour:.3} an hour each"));
                let assumes =
                    format!("{} of {instance_type}{grows}{hour}", count(*few, "instance"));
                self.line(WHAT, instance_type, cost, assumes)
            }
            Hosting::Serverless { memory_mb, max_concurrency } => {
                let second = self.serverless_second(*memory_mb);
                let most = second * 3600.0 * HOURS_A_MONTH * f64::from(*max_concurrency);
                let assumes = format!(
                    "${second:.6} a second of work; nothing unless it is asked, and all month {max_concurrency} requests at a time at most"
                );
                Line { what: WHAT, cost: Some(Cost { typical: 0.0, most }), assumes }
            }
        }
    }

    fn line(
        &self,
        what: &'static str,
        instance_type: &str,
        cost: impl Fn(f64) -> Cost,
        assumes: String,
    ) -> Line {
        match self.instance_hour(instance_type) {
            Ok(hour) => Line { what, cost: Some(cost(hour)), assumes },
            Err(unknown) => Line { what, cost: None, assumes: format!("{assumes}; {unknown}") },
        }
    }

    fn serverless_second(&self, memory_mb: u16) -> f64 {
        self.serverless_gb_second * f64::from(memory_mb) / 1024.0
    }

    pub(super) fn endpoint(&self, hosting: &Hosting) -> Result<EndpointCost, NoPrice> {
        Ok(match hosting {
            Hosting::Instance { instance_type, count } => {
                let hour = self.instance_hour(instance_type)? * f64::from(*count);
                EndpointCost::Hour { hour, month: hour * HOURS_A_MONTH }
            }
            Hosting::Serverless { memory_mb, .. } => {
                EndpointCost::Request { second: self.serverless_second(*memory_mb) }
            }
        })
    }

    fn instance_hour(&self, instance_type: &str) -> Result<f64, NoPrice> {
        self.instance_hour
            .get(instance_type)
            .copied()
            .ok_or_else(|| NoPrice(instance_type.to_owned()))
    }
}

impl Plan<'_> {
    fn candidates(&self) -> u16 {
        let own = self.settings.training.max_candidates;
        own.map_or(self.limits.max_candidates, |own| own.min(self.limits.max_candidates))
    }

    /// Seconds that `train.asl.json` gives each stage.
    fn stage(&self) -> f64 {
        let own = self.settings.training.max_runtime_seconds;
        let limit = self.limits.max_runtime_seconds;
        f64::from(own.map_or(limit, |own| own.min(limit))) + STAGE_MARGIN
    }

    /// Hours until a job that takes too long has surely been told to stop, and has.
    fn longest_job(&self) -> f64 {
        (self.stage() + GRACE) / 3600.0
    }

    /// The same, of an endpoint that moves.
    fn longest_move(&self) -> f64 {
        (self.stage().min(LONGEST_MOVE) + GRACE) / 3600.0
    }
}

fn count(number: u16, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Dollars, for people.
pub(super) fn dollars(amount: f64) -> String {
    if amount > 0.0 && amount < 0.01 { "< $0.01".to_owned() } else { format!("${amount:.2}") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use crosspilot_core::settings::Scaling;

    use super::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    fn mode(mode: Mode) -> ModelSettings {
        let mut settings = ModelSettings::predicting("y");
        settings.training.mode = Some(mode);
        settings
    }

    fn estimate(settings: &ModelSettings, megabytes: u64) -> Estimate {
        let limits = Limits { max_candidates: 10, max_runtime_seconds: 4 * 3600 };
        let plan = Plan { limits: &limits, settings, bytes: Some(megabytes << 20) };
        Prices::built_in().unwrap().estimate(&plan)
    }

    fn costs(estimate: &Estimate) -> Vec<(&'static str, Cost)> {
        estimate.lines.iter().map(|line| (line.what, line.cost.unwrap())).collect()
    }

    #[test]
    fn every_machine_of_a_run_has_its_line_for_all_the_time_that_it_may_take() {
        let found = costs(&estimate(&mode(Mode::Ensembling), 0));
        // A job may take four hours, is stopped half an hour later, and given half an hour
        // to end; an endpoint moves there and back.
        for ((what, cost), (expected, hour, typical, most)) in found.iter().zip([
            ("training", 0.922, 0.5, 5.0),
            ("scoring", 0.115, 0.1, 5.0),
            ("second fleet", 0.115, 0.25, 10.0),
        ]) {
            assert_eq!(*what, expected);
            assert!(close(cost.typical, hour * typical), "{what} {cost:?}");
            assert!(close(cost.most, hour * most), "{what} {cost:?}");
        }
        assert_eq!(found.len(), 3);
    }

    #[test]
    fn more_data_and_more_machines_cost_more() {
        let training = |estimate: &Estimate| costs(estimate)[0].1;
        let gigabyte = training(&estimate(&mode(Mode::Ensembling), 1024));
        assert!(close(gigabyte.typical, 0.922 * 80.0 / 60.0), "{gigabyte:?}");
        let tuned = training(&estimate(&mode(Mode::HyperparameterTuning), 0));
        assert!(close(tuned.most, 0.922 * 10.0 * 5.0), "{tuned:?}");
    }

    #[test]
    fn the_total_is_all_of_its_lines() {
        let estimate = estimate(&mode(Mode::Ensembling), 10);
        let total = estimate.total.unwrap();
        let lines = costs(&estimate);
        assert!(close(total.most, lines.iter().map(|(_, cost)| cost.most).sum()));
        assert!(close(total.typical, lines.iter().map(|(_, cost)| cost.typical).sum()));
    }

    #[test]
    fn where_a_price_is_missing_there_is_no_total() {
        let mut settings = mode(Mode::Ensembling);
        settings.deployment.hosting =
            Hosting::Instance { instance_type: "ml.new.large".into(), count: 1 };
        let estimate = estimate(&settings, 0);
        assert_eq!(estimate.total, None);
        assert!(estimate.lines[0].cost.is_some());
        assert!(estimate.lines[2].assumes.contains("no price is known for ml.new.large"));
        assert_eq!(estimate.month.cost, None);
    }

    #[test]
    fn what_scales_is_counted_at_its_largest() {
        let mut settings = mode(Mode::Ensembling);
        settings.deployment.scaling =
            Some(Scaling { min: 1, max: 4, invocations_per_instance: 100 });
        let estimate = estimate(&settings, 0);
        assert!(close(costs(&estimate)[2].1.most, 0.115 * 10.0 * 4.0));
        let month = estimate.month.cost.unwrap();
        assert!(close(month.typical, 0.115 * 730.0) && close(month.most, 4.0 * 0.115 * 730.0));
    }

    #[test]
    fn serverless_costs_nothing_unless_it_is_asked() {
        let mut settings = mode(Mode::Ensembling);
        settings.deployment.hosting = Hosting::Serverless { memory_mb: 2048, max_concurrency: 5 };
        let estimate = estimate(&settings, 0);
        assert_eq!(costs(&estimate)[2].1, Cost { typical: 0.0, most: 0.0 });
        let month = estimate.month.cost.unwrap();
        assert_eq!(month.typical, 0.0);
        assert!(close(month.most, 0.00004 * 5.0 * 730.0 * 3600.0), "{month:?}");
    }

    #[test]
    fn only_tables_are_scored() {
        let mut settings = mode(Mode::Ensembling);
        settings.problem = Problem::ImageClassification;
        let lines = costs(&estimate(&settings, 0));
        assert_eq!(
            lines.iter().map(|(what, _)| *what).collect::<Vec<_>>(),
            ["training", "second fleet"]
        );
    }

    #[test]
    fn what_is_typical_is_never_more_than_the_most() {
        let estimate = estimate(&mode(Mode::Ensembling), 50_000_000);
        let Cost { typical, most } = costs(&estimate)[0].1;
        assert_eq!(typical, most);
    }

    #[test]
    fn left_to_autopilot_the_size_decides_and_without_one_the_dearer_is_taken() {
        let prices = Prices::built_in().unwrap();
        let (settings, limits) = (mode(Mode::Auto), Limits::default());
        for (bytes, machines) in [(Some(100 << 20), 1.0), (Some(101 << 20), 10.0), (None, 10.0)] {
            let estimate = prices.estimate(&Plan { limits: &limits, settings: &settings, bytes });
            assert!(close(costs(&estimate)[0].1.most, 0.922 * machines * 5.0), "{bytes:?}");
        }
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
