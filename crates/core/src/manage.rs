//! The actions on a tenant's models besides training them: stop, roll back, remove, take
//! stock. They happen in the customer's account, so it is the function `deploy-best` that
//! does them, through the state machine `crosspilot-manage`, for an operator or on a
//! schedule.

use serde::{Deserialize, Serialize};

use crate::ids::{ModelName, TenantId};
use crate::run::RunId;
use crate::settings::Hosting;

/// A request to act on a tenant's models.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManageRequest {
    /// The tenant whose models they are.
    pub tenant: TenantId,
    /// The action to take.
    #[serde(flatten)]
    pub action: Action,
    /// `true` if an earlier call of the same execution has begun the action.
    #[serde(default)]
    pub begun: bool,
}

/// An action on a tenant's models.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// Stop a run's jobs.
    Stop {
        /// The run whose jobs are stopped.
        run: RunId,
        /// The model that the run is of.
        model: ModelName,
    },
    /// Let the endpoint serve the model of an earlier run again. It names the
    /// run, since asking twice for "the one before" would end where it began.
    RollBack {
        /// The model whose endpoint goes back.
        model: ModelName,
        /// The run whose model shall serve.
        to: RunId,
    },
    /// Remove endpoints, configs and models, and stop what runs.
    Remove {
        /// The model to remove; all of the tenant's if left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<ModelName>,
        /// `true` to delete what runs left in the bucket, too.
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
        /// The run to settle; all of the tenant's if left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run: Option<RunId>,
    },
}

/// The progress of an action.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Progress {
    /// The action is under way: ask again.
    Waiting {
        /// Seconds to wait before asking again.
        wait_seconds: u32,
        /// The thing that is waited for, for people.
        doing: String,
    },
    /// Done.
    Done {
        /// The report of the action.
        report: Report,
    },
}

/// The report of an action that is done.
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
        /// A difference between the settings and what serves.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        warning: Option<String>,
    },
    /// A last look found no endpoint, config or model with our tags, and no such
    /// job at work.
    Removed {
        /// Resources with such a name but without our tags, which were left alone.
        foreign: Vec<String>,
    },
    /// Runs were settled: what was left of them is gone.
    Swept {
        /// The runs that were settled.
        settled: Vec<RunId>,
    },
    /// The stock of the tenant's account.
    Stock(Stock),
    /// Endpoints that nobody asks.
    Idle {
        /// The endpoints that nobody asks.
        endpoints: Vec<Idle>,
    },
}

/// The models and jobs that a tenant has in its account.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Stock {
    /// Models of the tenant that are set up or have an endpoint, by name.
    pub models: Vec<ModelStock>,
    /// Jobs at work.
    pub jobs: Vec<JobStock>,
}

/// The data and the endpoint of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelStock {
    /// The model's name.
    pub model: ModelName,
    /// The model's training data.
    pub training_data: DataStock,
    /// The model's endpoint, if it has one.
    pub endpoint: Option<EndpointStock>,
}

/// Files under a prefix.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataStock {
    /// The number of files.
    pub files: u64,
    /// The bytes of all files together.
    pub bytes: u64,
}

/// An endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EndpointStock {
    /// The endpoint's name.
    pub name: String,
    /// SageMaker's status of it.
    pub status: String,
    /// The instances or serverless capacity that it runs on; none if its config is gone.
    pub hosting: Option<Hosting>,
    /// The time when it was made, RFC 3339.
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
    /// The job's name.
    pub name: String,
    /// The model that it works for.
    pub model: ModelName,
    /// The time when it was made, RFC 3339.
    pub created: String,
}

/// An endpoint that nobody asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Idle {
    /// The model that it serves.
    pub model: ModelName,
    /// The endpoint's name.
    pub endpoint: String,
    /// Days without a prediction, at least.
    pub days: u16,
    /// `true` if it was removed.
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
