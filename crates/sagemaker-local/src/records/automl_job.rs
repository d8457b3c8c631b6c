//! AutoML jobs as the API shows them; [`crate::autopilot::job`] does their work.

use crosspilot_metrics::{Metric, ProblemType};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::records::candidate::{Candidate, CandidateStep, Unfinished};
use crate::records::job::{JobStatus, failure_reason};
use crate::records::resource::Resource;
use crate::wire::error::ApiError;
use crate::wire::ids::now;
use crate::wire::paging::{ListingSpec, Order, Row};

/// An AutoML job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AutoMlJob {
    pub(crate) name: String,
    pub(crate) arn: String,
    /// The request in the form of V2, and as it was sent if that was V1.
    pub(crate) request: Value,
    request_v1: Option<Value>,
    created: f64,
    pub(crate) modified: f64,
    ended: Option<f64>,
    pub(crate) status: JobStatus,
    pub(crate) secondary: String,
    failure: Option<String>,
    /// The candidates that are trained.
    pub(crate) candidates: Vec<Candidate>,
    /// The candidates that are not trained, or never will be.
    pub(crate) unfinished: Vec<Unfinished>,
    /// The name of the best candidate, once it is settled.
    pub(crate) best: Option<String>,
    /// Problem type and objective metric, once they are known.
    pub(crate) resolved: Option<(ProblemType, Metric)>,
    pub(crate) notebook: Option<String>,
    /// The notebook of a tuning job that says which candidates it tries.
    #[serde(default)]
    pub(crate) definitions: Option<String>,
    /// The child jobs that all candidates of a tuning job have in common.
    #[serde(default)]
    pub(crate) steps: Vec<CandidateStep>,
    /// The endpoint that the best candidate was deployed to.
    #[serde(default)]
    pub(crate) deployed: Option<String>,
}

impl AutoMlJob {
    /// A job that starts now, by its request in the form of V2.
    pub(crate) fn new(name: &str, arn: &str, request: Value, request_v1: Option<Value>) -> Self {
        Self {
            name: name.into(),
            arn: arn.into(),
            request,
            request_v1,
            created: now(),
            modified: now(),
            ended: None,
            status: JobStatus::InProgress,
            secondary: "Starting".into(),
            failure: None,
            candidates: Vec::new(),
            unfinished: Vec::new(),
            best: None,
            resolved: None,
            notebook: None,
            definitions: None,
            steps: Vec::new(),
            deployed: None,
        }
    }

    /// Goes back to the beginning after a restart; whether there is anything left to do.
    pub(crate) fn restart(&mut self) -> bool {
        self.candidates.clear();
        self.unfinished.clear();
        self.steps.clear();
        if self.status == JobStatus::Stopping {
            self.end(JobStatus::Stopped, "Stopped", None);
        }
        self.status.runs()
    }

    /// The candidate that is the best so far.
    pub(crate) fn best_candidate(&self) -> Option<&Candidate> {
        let best = self.best.as_ref()?;
        self.candidates.iter().find(|candidate| candidate.name == *best)
    }

    /// The job is to end.
    pub(crate) fn stop(&mut self) {
        self.status = JobStatus::Stopping;
        self.secondary = "Stopping".into();
        self.modified = now();
        self.leave_unfinished(JobStatus::Stopping);
    }

    /// A candidate is being trained from now on.
    pub(crate) fn begin(&mut self, name: String, at: f64) {
        self.unfinished.push(Unfinished::begun(name, at));
    }

    /// The candidates under way change with their job.
    fn leave_unfinished(&mut self, status: JobStatus) {
        self.unfinished.iter_mut().for_each(|candidate| candidate.leave(status));
    }

    /// The job is over.
    pub(crate) fn end(&mut self, status: JobStatus, secondary: &str, failure: Option<String>) {
        self.status = status;
        self.secondary = secondary.into();
        self.leave_unfinished(JobStatus::Stopped);
        self.failure = failure.as_deref().map(failure_reason);
        self.modified = now();
        self.ended = Some(self.modified);
    }

    /// Gives the members that a summary and a description have in common.
    fn state(&self) -> Map<String, Value> {
        let mut state = Map::from_iter([
            ("AutoMLJobStatus".to_owned(), json!(self.status.name())),
            ("AutoMLJobSecondaryStatus".to_owned(), json!(self.secondary)),
            ("CreationTime".to_owned(), json!(self.created)),
            ("LastModifiedTime".to_owned(), json!(self.modified)),
        ]);
        state.extend(self.ended.map(|ended| ("EndTime".to_owned(), json!(ended))));
        state.extend(
            self.failure.as_ref().map(|reason| ("FailureReason".to_owned(), json!(reason))),
        );
        state
    }

    fn description(&self, request: &Value) -> Map<String, Value> {
        let mut answer = request.as_object().cloned().unwrap_or_default();
        answer.remove("Tags");
        answer.insert("AutoMLJobName".into(), json!(self.name));
        answer.insert("AutoMLJobArn".into(), json!(self.arn));
        answer.extend(self.state());
        let best = self.best_candidate();
        answer.extend(best.map(|best| ("BestCandidate".to_owned(), best.describe())));
        let mut artifacts = Map::new();
        let notebook =
            |name: &str, at: &Option<String>| at.as_ref().map(|at| (name.to_owned(), json!(at)));
        artifacts.extend(notebook("DataExplorationNotebookLocation", &self.notebook));
        artifacts.extend(notebook("CandidateDefinitionNotebookLocation", &self.definitions));
        if !artifacts.is_empty() {
            answer.insert("AutoMLJobArtifacts".into(), Value::Object(artifacts));
        }
        if let Some(endpoint) = &self.deployed {
            answer.insert("ModelDeployResult".into(), json!({ "EndpointName": endpoint }));
        }
        answer
    }

    /// Every child job, with the candidate that it belongs to if it is one's own.
    pub(crate) fn children(&self) -> impl Iterator<Item = (&CandidateStep, Option<&Candidate>)> {
        let shared = self.steps.iter().map(|step| (step, None));
        let own = self.candidates.iter().flat_map(|candidate| {
            let own = candidate.steps.iter().filter(|step| step.name == candidate.name);
            own.map(move |step| (step, Some(candidate)))
        });
        shared.chain(own)
    }

    /// Answers in the form of V1, for a job that was created in it.
    pub(crate) fn describe_v1(&self) -> Result<Value, ApiError> {
        let Some(request) = &self.request_v1 else {
            return Err(ApiError::Validation(format!(
                "The AutoML job {} was created with CreateAutoMLJobV2. Use DescribeAutoMLJobV2 to describe it.",
                self.name
            )));
        };
        let mut answer = self.description(request);
        fill_in(answer.get_mut("InputDataConfig"));
        if let Some((problem, metric)) = &self.resolved {
            let mut resolved =
                json!({ "AutoMLJobObjective": { "MetricName": metric }, "ProblemType": problem });
            let criteria = &request["AutoMLJobConfig"]["CompletionCriteria"];
            if !criteria.is_null() {
                resolved["CompletionCriteria"] = criteria.clone();
            }
            answer.insert("ResolvedAttributes".into(), resolved);
        }
        Ok(Value::Object(answer))
    }
}

impl Resource for AutoMlJob {
    const KIND: &'static str = "automl-job";
    const NAMED_BY: &'static str = "AutoMLJobName";
    const LISTING: ListingSpec =
        ListingSpec::new("AutoMLJobSummaries", Order { by: "Name", ascending: false });

    fn name(&self) -> &str {
        &self.name
    }

    fn arn(&self) -> &str {
        &self.arn
    }

    /// Answers in the form of V2.
    fn describe(&self) -> Value {
        let mut answer = self.description(&self.request);
        fill_in(answer.get_mut("AutoMLJobInputDataConfig"));
        answer.insert("AutoMLProblemTypeConfigName".into(), json!("Tabular"));
        if let Some((problem, metric)) = &self.resolved {
            let tabular = json!({ "TabularResolvedAttributes": { "ProblemType": problem } });
            let mut resolved = json!({ "AutoMLJobObjective": { "MetricName": metric }, "AutoMLProblemTypeResolvedAttributes": tabular });
            let criteria =
                &self.request["AutoMLProblemTypeConfig"]["TabularJobConfig"]["CompletionCriteria"];
            if !criteria.is_null() {
                resolved["CompletionCriteria"] = criteria.clone();
            }
            answer.insert("ResolvedAttributes".into(), resolved);
        }
        Value::Object(answer)
    }

    fn row(&self) -> Row {
        let mut summary = self.state();
        summary.extend([
            ("AutoMLJobName".to_owned(), json!(self.name)),
            ("AutoMLJobArn".to_owned(), json!(self.arn)),
        ]);
        Row::new(&self.name, self.created, Value::Object(summary))
            .modified(self.modified)
            .status(self.status.name())
    }

    fn missing(name: &str, _: &str) -> ApiError {
        let message = format!("Amazon SageMaker can't find an AutoML job called {name}.");
        ApiError::ResourceNotFound(message)
    }

    fn taken(name: &str, _: &str) -> ApiError {
        ApiError::ResourceInUse(format!(
            "An AutoML job with the name, {name}, already exists. Choose a different name."
        ))
    }
}

/// A description says what channels were taken for that did not say it (API
/// Reference, `AutoMLChannel`; what is there was seen by the SDK's tests).
fn fill_in(channels: Option<&mut Value>) {
    for channel in channels.and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(channel) = channel.as_object_mut() {
            channel.entry("ContentType").or_insert(json!("text/csv;header=present"));
            channel.entry("ChannelType").or_insert(json!("training"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_under_way_change_with_their_job() {
        let mut job = AutoMlJob::new("j", "arn", json!({}), None);
        job.begin("j-1".into(), 1.0);
        let shown = |job: &AutoMlJob| {
            let shown = job.unfinished[0].describe();
            (
                shown["CandidateStatus"].clone(),
                shown["ObjectiveStatus"].clone(),
                shown["EndTime"].is_f64(),
            )
        };
        assert_eq!(shown(&job), (json!("InProgress"), json!("Pending"), false));
        job.stop();
        assert_eq!(shown(&job), (json!("Stopping"), json!("Pending"), false));
        job.end(JobStatus::Stopped, "Stopped", None);
        assert_eq!(shown(&job), (json!("Stopped"), json!("Failed"), true));
    }

    #[test]
    fn a_job_that_was_being_stopped_does_not_begin_again() {
        let mut job = AutoMlJob::new("j", "arn", json!({}), None);
        job.begin("j-1".into(), 1.0);
        assert!(job.restart() && job.unfinished.is_empty());
        job.stop();
        assert!(!job.restart());
        assert_eq!(job.status, JobStatus::Stopped);
    }
}
