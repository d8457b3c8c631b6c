//! AutoML jobs as the API shows them; [`crate::autopilot::job`] does their work.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crosspilot_metrics::{Metric, ProblemType};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::Cloud;
use crate::autopilot::job;
use crate::autopilot::request::{Plan, v2_of_v1};
use crate::operations::{Answer, Call, tags};
use crate::records::candidate::{Candidate, Step, Unfinished};
use crate::records::store::now;
use crate::wire::error::ApiError;
use crate::wire::paging::{OLDEST_FIRST, Order, Row, page_in};

/// Where a job is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Status {
    InProgress,
    Stopping,
    Stopped,
    Completed,
    Failed,
}

impl Status {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::InProgress => "InProgress",
            Self::Stopping => "Stopping",
            Self::Stopped => "Stopped",
            Self::Completed => "Completed",
            Self::Failed => "Failed",
        }
    }

    pub(crate) fn runs(self) -> bool {
        matches!(self, Self::InProgress | Self::Stopping)
    }
}

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
    pub(crate) status: Status,
    pub(crate) secondary: String,
    failure: Option<String>,
    /// Those that are trained.
    pub(crate) candidates: Vec<Candidate>,
    /// Those that are not, or never will be.
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
    pub(crate) steps: Vec<Step>,
    /// The endpoint that the best candidate was deployed to.
    #[serde(default)]
    pub(crate) deployed: Option<String>,
}

pub(crate) async fn create(cloud: &Arc<Cloud>, call: &Call<'_>) -> Answer {
    let name = call.text("AutoMLJobName");
    let arn = call.place.arn("automl-job", name);
    let v1 = call.operation == "CreateAutoMLJob";
    let mut request = if v1 { v2_of_v1(&call.input) } else { call.input.clone() };
    if let Some(members) = request.as_object_mut() {
        members.remove("Tags");
    }
    let plan = Plan::read(&request).map_err(ApiError::Validation)?;
    let s3 = job::assume_role(cloud, &call.place, &plan.role, &arn).await?;
    job::check_target(&s3, &plan).await?;

    cloud.store.at(&call.place, |here| {
        if here.automl_jobs.contains_key(&name.to_lowercase()) {
            let message = format!("An AutoML job with the name, {name}, already exists. Choose a different name.");
            return Err(ApiError::ResourceInUse(message));
        }
        let running = here.automl_jobs.values().filter(|job| job.status.runs()).count();
        let limit = cloud.options.concurrent_automl_jobs;
        if running >= limit {
            return Err(ApiError::ResourceLimitExceeded(format!(
                "The account-level service limit 'Maximum number of parallel AutoML Jobs' is {limit} AutoMLJobs, with \
                 current utilization of {running} AutoMLJobs and a request delta of 1 AutoMLJobs. Please use AWS \
                 Service Quotas to request an increase for this quota."
            )));
        }
        let job = AutoMlJob::new(name, &arn, request, v1.then(|| call.input.clone()));
        here.automl_jobs.insert(name.to_lowercase(), job);
        tags::put_on(here, &arn, &call.input);
        Ok(())
    })?;
    cloud.spawn(job::run(cloud.clone(), call.place.clone(), name.to_lowercase()));
    Ok(json!({ "AutoMLJobArn": arn }))
}

/// Start again, from the beginning, what a restart interrupted.
pub(crate) fn resume(cloud: &Arc<Cloud>) {
    for place in cloud.store.places() {
        let running: Vec<String> = cloud.store.at(&place, |here| {
            let jobs = here.automl_jobs.iter_mut();
            let running = jobs.filter(|(_, job)| job.status.runs());
            running
                .map(|(name, job)| {
                    job.candidates.clear();
                    job.unfinished.clear();
                    job.steps.clear();
                    if job.status == Status::Stopping {
                        job.end(Status::Stopped, "Stopped", None);
                    }
                    name.clone()
                })
                .collect()
        });
        for name in running {
            cloud.spawn(job::run(cloud.clone(), place.clone(), name));
        }
    }
}

pub(crate) fn describe(cloud: &Cloud, call: &Call) -> Answer {
    let job = find(cloud, call)?;
    if call.operation == "DescribeAutoMLJobV2" {
        return Ok(job.describe_v2());
    }
    match &job.request_v1 {
        Some(request) => Ok(job.describe_v1(request)),
        None => Err(ApiError::Validation(format!(
            "The AutoML job {} was created with CreateAutoMLJobV2. Use DescribeAutoMLJobV2 to describe it.",
            job.name
        ))),
    }
}

pub(crate) fn stop(cloud: &Cloud, call: &Call) -> Answer {
    let job = find(cloud, call)?;
    if !job.status.runs() {
        return Err(ApiError::Validation(format!(
            "The request was rejected because the AutoML job is in status {}.",
            job.status.name()
        )));
    }
    cloud.store.at(&call.place, |here| {
        if let Some(job) =
            here.automl_jobs.get_mut(&job.name.to_lowercase()).filter(|job| job.status.runs())
        {
            job.stop();
        }
    });
    cloud.stop_flag(&job.arn).store(true, Ordering::Release);
    Ok(json!({}))
}

pub(crate) fn list(cloud: &Cloud, call: &Call) -> Answer {
    let row = |job: &AutoMlJob| Row {
        name: job.name.clone(),
        created: job.created,
        modified: job.modified,
        status: Some(job.status.name().into()),
        value: None,
        summary: {
            let mut summary = job.state();
            summary.extend([
                ("AutoMLJobName".to_owned(), json!(job.name)),
                ("AutoMLJobArn".to_owned(), json!(job.arn)),
            ]);
            Value::Object(summary)
        },
    };
    let rows = cloud.store.at(&call.place, |here| here.automl_jobs.values().map(row).collect());
    page_in(Order { by: "Name", ascending: false }, &call.input, "AutoMLJobSummaries", rows)
}

pub(crate) fn list_candidates(cloud: &Cloud, call: &Call) -> Answer {
    let job = find(cloud, call)?;
    let row = |candidate: &Candidate| Row {
        name: candidate.name.clone(),
        created: candidate.created,
        modified: candidate.ended,
        status: Some("Completed".into()),
        value: Some(candidate.objective.value),
        summary: candidate.describe(),
    };
    let begun = |candidate: &Unfinished| Row {
        name: candidate.name.clone(),
        created: candidate.created,
        modified: candidate.modified,
        status: Some(candidate.status.name().into()),
        value: None,
        summary: candidate.describe(),
    };
    let rows = job.candidates.iter().map(row).chain(job.unfinished.iter().map(begun));
    page_in(OLDEST_FIRST, &call.input, "Candidates", rows.collect())
}

fn find(cloud: &Cloud, call: &Call) -> Result<AutoMlJob, ApiError> {
    let name = call.text("AutoMLJobName");
    let job =
        cloud.store.at(&call.place, |here| here.automl_jobs.get(&name.to_lowercase()).cloned());
    job.ok_or_else(|| {
        ApiError::ResourceNotFound(format!(
            "Amazon SageMaker can't find an AutoML job called {name}."
        ))
    })
}

impl AutoMlJob {
    /// A job that starts now, by its request in the form of V2.
    fn new(name: &str, arn: &str, request: Value, request_v1: Option<Value>) -> Self {
        Self {
            name: name.into(),
            arn: arn.into(),
            request,
            request_v1,
            created: now(),
            modified: now(),
            ended: None,
            status: Status::InProgress,
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

    /// The job is to end.
    fn stop(&mut self) {
        self.status = Status::Stopping;
        self.secondary = "Stopping".into();
        self.modified = now();
        self.leave_unfinished(Status::Stopping);
    }

    /// A candidate is being trained from now on.
    pub(crate) fn begin(&mut self, name: String, at: f64) {
        self.unfinished.push(Unfinished::begun(name, at));
    }

    /// The candidates under way change with their job.
    fn leave_unfinished(&mut self, status: Status) {
        self.unfinished.iter_mut().for_each(|candidate| candidate.leave(status));
    }

    /// The job is over.
    pub(crate) fn end(&mut self, status: Status, secondary: &str, failure: Option<String>) {
        self.status = status;
        self.secondary = secondary.into();
        self.leave_unfinished(Status::Stopped);
        // The model's limit for a reason.
        self.failure = failure.map(|reason| reason.chars().take(1024).collect());
        self.modified = now();
        self.ended = Some(self.modified);
    }

    /// What a summary and a description have in common.
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
        let best =
            self.candidates.iter().find(|candidate| Some(&candidate.name) == self.best.as_ref());
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
    pub(crate) fn children(&self) -> impl Iterator<Item = (&Step, Option<&Candidate>)> {
        let shared = self.steps.iter().map(|step| (step, None));
        let own = self.candidates.iter().flat_map(|candidate| {
            let own = candidate.steps.iter().filter(|step| step.name == candidate.name);
            own.map(move |step| (step, Some(candidate)))
        });
        shared.chain(own)
    }

    fn describe_v2(&self) -> Value {
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

    fn describe_v1(&self, request: &Value) -> Value {
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
        Value::Object(answer)
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
        job.end(Status::Stopped, "Stopped", None);
        assert_eq!(shown(&job), (json!("Stopped"), json!("Failed"), true));
    }
}
