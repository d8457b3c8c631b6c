//! What can be asked of a tenant's models besides training them: stop, roll
//! back, remove, take stock. It happens in the customer's account, so it is the
//! function `deploy-best` that does it, through the state machine
//! `crosspilot-manage`, for an operator or on a schedule.

use serde::{Deserialize, Serialize};

use crate::ids::{ModelName, TenantId};
use crate::run::RunId;
use crate::settings::Hosting;

/// A request to act on a tenant's models.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManageRequest {
    /// Whose models.
    pub tenant: TenantId,
    /// What shall be done.
    #[serde(flatten)]
    pub action: Action,
    /// Whether an earlier call of the same execution has begun it.
    #[serde(default)]
    pub begun: bool,
}

/// What shall be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// Stop a run's jobs.
    Stop {
        /// Which run's.
        run: RunId,
        /// Of which model.
        model: ModelName,
    },
    /// Let the endpoint serve the model of an earlier run again. It names the
    /// run, since asking twice for "the one before" would end where it began.
    RollBack {
        /// Which model.
        model: ModelName,
        /// The run whose model shall serve.
        to: RunId,
    },
    /// Remove endpoints, configs and models, and stop what runs.
    Remove {
        /// Which model; all of the tenant's if left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<ModelName>,
        /// Whether to delete what runs left in the bucket, too.
        #[serde(default)]
        artifacts: bool,
    },
    /// Say what there is and what it does.
    TakeStock {
        /// Days to count predictions in.
        days: u16,
    },
    /// Report endpoints that nobody asks, and remove those whose model says so.
    TidyUp {
        /// Days without a prediction from which an endpoint is reported.
        days: u16,
    },
    /// Settle runs that nobody works on any more: stop their jobs, and remove
    /// what they made and what does not serve.
    Sweep {
        /// Which; all of the tenant's if left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run: Option<RunId>,
    },
}

/// How far it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Progress {
    /// Under way: ask again.
    Waiting {
        /// Seconds to wait before.
        wait_seconds: u32,
        /// What is waited for, for people.
        doing: String,
    },
    /// Done.
    Done {
        /// What came of it.
        report: Report,
    },
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// The run's job is told to stop, or needs not be.
    Stopped {
        /// Name of the job.
        job: String,
        /// SageMaker's status of it; none if there is no such job yet.
        status: Option<String>,
    },
    /// The earlier model serves.
    RolledBack {
        /// The endpoint.
        endpoint: String,
        /// The run whose model serves now.
        serves: RunId,
        /// What is not as it is set, though it serves.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        warning: Option<String>,
    },
    /// A last look found no endpoint, config or model with our tags, and no such
    /// job at work.
    Removed {
        /// What has such a name without our tags, and so was left alone.
        foreign: Vec<String>,
    },
    /// What was left of runs is gone.
    Swept {
        /// These runs.
        settled: Vec<RunId>,
    },
    /// What there is.
    Stock(Stock),
    /// Endpoints that nobody asks.
    Idle {
        /// Each of them.
        endpoints: Vec<Idle>,
    },
}

/// What a tenant has in its account.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Stock {
    /// Its models that are set up or have an endpoint, by name.
    pub models: Vec<ModelStock>,
    /// Jobs at work.
    pub jobs: Vec<JobStock>,
}

/// What a model has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelStock {
    /// Its name.
    pub model: ModelName,
    /// Its training data.
    pub training_data: DataStock,
    /// Its endpoint, if it has one.
    pub endpoint: Option<EndpointStock>,
}

/// Files under a prefix.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataStock {
    /// How many.
    pub files: u64,
    /// Their bytes together.
    pub bytes: u64,
}

/// An endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EndpointStock {
    /// Its name.
    pub name: String,
    /// SageMaker's status of it.
    pub status: String,
    /// What it runs on; none if its config is gone.
    pub hosting: Option<Hosting>,
    /// When it was made, RFC 3339.
    pub created: String,
    /// Full days since it was last changed.
    pub unchanged_days: u64,
    /// Full days over which all predictions can be counted that it was asked for.
    #[serde(default)]
    pub counted_days: u64,
    /// Predictions that it was asked for in these days, without those that runs ask
    /// for themselves.
    pub invocations: u64,
    /// The days that they were counted in.
    pub days: u16,
}

/// A job at work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobStock {
    /// Its name.
    pub name: String,
    /// The model that it works for.
    pub model: ModelName,
    /// When it was made, RFC 3339.
    pub created: String,
}

/// An endpoint that nobody asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Idle {
    /// Its model.
    pub model: ModelName,
    /// Its name.
    pub endpoint: String,
    /// Days without a prediction, at least.
    pub days: u16,
    /// Whether it was removed.
    pub removed: bool,
}

impl EndpointStock {
    /// Tells whether nobody has asked it in the days that were counted. What was made
    /// meanwhile has not had its chance yet, and what does not serve cannot be
    /// asked. That runs bring it new models changes nothing about that, nor that its
    /// removal has begun.
    pub fn is_idle(&self) -> bool {
        matches!(self.status.as_str(), "InService" | "Deleting")
            && self.invocations == 0
            && self.counted_days >= u64::from(self.days)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn an_ask_reads_as_the_state_machine_composes_it() {
        let ask: ManageRequest = serde_json::from_value(
            json!({"tenant": "acme", "action": "remove", "model": "churn", "begun": true}),
        )
        .unwrap();
        let model = Some("churn".parse().unwrap());
        assert_eq!(ask.action, Action::Remove { model, artifacts: false });
        assert!(ask.begun);
        for wrong in [json!({"tenant": "acme"}), json!({"tenant": "*", "action": "take_stock"})] {
            assert!(serde_json::from_value::<ManageRequest>(wrong).is_err());
        }
    }

    #[test]
    fn only_what_serves_unasked_for_long_enough_is_idle() {
        let idle = EndpointStock {
            name: "e".into(),
            status: "InService".into(),
            hosting: None,
            created: "2026-01-01T00:00:00Z".into(),
            unchanged_days: 3,
            counted_days: 14,
            invocations: 0,
            days: 14,
        };
        assert!(idle.is_idle());
        assert!(!EndpointStock { invocations: 1, ..idle.clone() }.is_idle());
        assert!(!EndpointStock { counted_days: 13, ..idle.clone() }.is_idle());
        assert!(EndpointStock { status: "Deleting".into(), ..idle.clone() }.is_idle());
        assert!(!EndpointStock { status: "Updating".into(), ..idle }.is_idle());
    }
}
