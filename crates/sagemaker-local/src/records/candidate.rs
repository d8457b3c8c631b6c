//! Candidates of an AutoML job as the API shows them.

use crosspilot_metrics::Metric;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::records::job::JobStatus;
use crate::records::model::ContainerDefinition;
use crate::wire::ids::now;
use crate::wire::paging::Row;

/// A trained candidate.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Candidate {
    pub(crate) name: String,
    pub(crate) created: f64,
    pub(crate) ended: f64,
    pub(crate) objective: Objective,
    pub(crate) containers: Vec<ContainerDefinition>,
    /// On the validation data.
    pub(crate) metrics: Vec<(Metric, f64)>,
    pub(crate) explainability: Option<String>,
    pub(crate) insights: Option<String>,
    pub(crate) steps: Vec<CandidateStep>,
}

/// A candidate that is being trained, or was when its job ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Unfinished {
    pub(crate) name: String,
    pub(crate) created: f64,
    pub(crate) modified: f64,
    pub(crate) status: JobStatus,
}

/// The objective metric of a candidate. Its name is Autopilot's own, which is
/// not always a standard one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Objective {
    pub(crate) name: String,
    pub(crate) standard: Metric,
    pub(crate) value: f64,
}

/// A child job of a candidate.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CandidateStep {
    pub(crate) kind: StepKind,
    pub(crate) arn: String,
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) created: f64,
    #[serde(default)]
    pub(crate) ended: f64,
}

/// The kind of job that a step is, as a `CandidateStepType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum StepKind {
    #[serde(rename = "AWS::SageMaker::ProcessingJob")]
    Processing,
    #[serde(rename = "AWS::SageMaker::TrainingJob")]
    Training,
    #[serde(rename = "AWS::SageMaker::TransformJob")]
    Transform,
}

impl Unfinished {
    /// A candidate that is being trained from now on.
    pub(crate) fn begun(name: String, at: f64) -> Self {
        Self { name, created: at, modified: at, status: JobStatus::InProgress }
    }

    /// Takes over the status of the job.
    pub(crate) fn leave(&mut self, status: JobStatus) {
        self.status = status;
        self.modified = now();
    }

    /// Makes the row of a listing.
    pub(crate) fn row(&self) -> Row {
        Row::new(&self.name, self.created, self.describe())
            .modified(self.modified)
            .status(self.status.name())
    }

    /// No metric and no containers, since there is no model.
    pub(crate) fn describe(&self) -> Value {
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
    /// Makes the row of a listing.
    pub(crate) fn row(&self) -> Row {
        Row::new(&self.name, self.created, self.describe())
            .modified(self.ended)
            .status("Completed")
            .value(self.objective.value)
    }

    pub(crate) fn describe(&self) -> Value {
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
