//! Candidates of an AutoML job as the API shows them.

use crosspilot_metrics::Metric;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{automl_job::Status, container::ContainerDefinition, store::now};

/// A trained candidate.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Candidate {
    pub(super) name: String,
    pub(super) created: f64,
    pub(super) ended: f64,
    pub(super) objective: Objective,
    pub(super) containers: Vec<ContainerDefinition>,
    /// On the validation data.
    pub(super) metrics: Vec<(Metric, f64)>,
    pub(super) explainability: Option<String>,
    pub(super) insights: Option<String>,
    pub(super) steps: Vec<Step>,
}

/// A candidate that is being trained, or was when its job ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Unfinished {
    pub(super) name: String,
    pub(super) created: f64,
    pub(super) modified: f64,
    pub(super) status: Status,
}

/// The objective metric of a candidate. Its name is Autopilot's own, which is
/// not always a standard one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Objective {
    pub(super) name: String,
    pub(super) standard: Metric,
    pub(super) value: f64,
}

/// A child job of a candidate.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Step {
    pub(super) kind: Child,
    pub(super) arn: String,
    pub(super) name: String,
    #[serde(default)]
    pub(super) created: f64,
    #[serde(default)]
    pub(super) ended: f64,
}

/// What kind of job a step is, as a `CandidateStepType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Child {
    #[serde(rename = "AWS::SageMaker::ProcessingJob")]
    Processing,
    #[serde(rename = "AWS::SageMaker::TrainingJob")]
    Training,
    #[serde(rename = "AWS::SageMaker::TransformJob")]
    Transform,
}

impl Unfinished {
    /// A candidate that is being trained from now on.
    pub(super) fn begun(name: String, at: f64) -> Self {
        Self { name, created: at, modified: at, status: Status::InProgress }
    }

    /// It changes with its job.
    pub(super) fn leave(&mut self, status: Status) {
        self.status = status;
        self.modified = now();
    }

    /// No metric and no containers, since there is no model.
    pub(super) fn describe(&self) -> Value {
        let objective = if self.status.runs() { "Pending" } else { "Failed" };
        let mut answer = json!({
            "CandidateName": self.name,
            "CandidateStatus": self.status.name(),
            "ObjectiveStatus": objective,
            "CandidateSteps": [],
            "CreationTime": self.created,
            "LastModifiedTime": self.modified,
        });
        if !self.status.runs() {
            answer["EndTime"] = json!(self.modified);
        }
        answer
    }
}

impl Candidate {
    pub(super) fn describe(&self) -> Value {
        let objective = &self.objective;
        let metric = |(metric, value): &(Metric, f64)| {
            let mut datum =
                json!({ "StandardMetricName": metric, "Value": value, "Set": "Validation" });
            // LogLoss is no objective: it has a standard name only.
            if *metric != Metric::LogLoss {
                datum["MetricName"] = json!(metric);
            }
            datum
        };
        let mut properties =
            json!({ "CandidateMetrics": self.metrics.iter().map(metric).collect::<Vec<_>>() });
        let mut locations = Map::new();
        locations.extend(
            self.explainability.as_ref().map(|at| ("Explainability".to_owned(), json!(at))),
        );
        locations.extend(self.insights.as_ref().map(|at| ("ModelInsights".to_owned(), json!(at))));
        if locations.contains_key("Explainability") {
            properties["CandidateArtifactLocations"] = Value::Object(locations);
        }
        let steps = self.steps.iter().map(|step| {
            json!({ "CandidateStepType": step.kind, "CandidateStepArn": step.arn, "CandidateStepName": step.name })
        });
        json!({
            "CandidateName": self.name,
            "CandidateStatus": "Completed",
            "ObjectiveStatus": "Succeeded",
            "FinalAutoMLJobObjectiveMetric": {
                "Type": objective.standard.direction().as_str(),
                "MetricName": objective.name,
                "StandardMetricName": objective.standard,
                "Value": objective.value,
            },
            "CandidateSteps": steps.collect::<Vec<_>>(),
            "InferenceContainers": self.containers,
            "CreationTime": self.created,
            "EndTime": self.ended,
            "LastModifiedTime": self.ended,
            "CandidateProperties": properties,
        })
    }
}
