//! Transform jobs as the API shows them; [`crate::transform::job`] does their work.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::records::job::{JobStatus, failure_reason};
use crate::records::resource::Resource;
use crate::wire::error::ApiError;
use crate::wire::ids::now;
use crate::wire::paging::{ListingSpec, NEWEST_FIRST, Row};

/// A transform job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct TransformJob {
    name: String,
    pub(crate) arn: String,
    pub(crate) request: Value,
    created: f64,
    pub(crate) started: Option<f64>,
    ended: Option<f64>,
    pub(crate) status: JobStatus,
    failure: Option<String>,
}

impl TransformJob {
    pub(crate) fn new(name: &str, arn: &str, request: &Value) -> Self {
        Self {
            name: name.into(),
            arn: arn.into(),
            request: request.clone(),
            created: now(),
            started: None,
            ended: None,
            status: JobStatus::InProgress,
            failure: None,
        }
    }

    /// The job is over.
    pub(crate) fn end(&mut self, status: JobStatus, failure: Option<&str>) {
        self.status = status;
        self.ended = Some(now());
        self.failure = failure.map(failure_reason);
    }

    /// Gives the members that a summary and a description have in common.
    fn state(&self) -> Map<String, Value> {
        let mut state = Map::from_iter([
            ("TransformJobName".to_owned(), json!(self.name)),
            ("TransformJobArn".to_owned(), json!(self.arn)),
            ("TransformJobStatus".to_owned(), json!(self.status.name())),
            ("CreationTime".to_owned(), json!(self.created)),
        ]);
        state.extend(
            self.failure.as_ref().map(|reason| ("FailureReason".to_owned(), json!(reason))),
        );
        state
    }
}

impl Resource for TransformJob {
    const KIND: &'static str = "transform-job";
    const NAMED_BY: &'static str = "TransformJobName";
    const LISTING: ListingSpec = ListingSpec::new("TransformJobSummaries", NEWEST_FIRST);

    fn name(&self) -> &str {
        &self.name
    }

    fn arn(&self) -> &str {
        &self.arn
    }

    fn describe(&self) -> Value {
        let mut answer = self.request.as_object().cloned().unwrap_or_default();
        answer.remove("Tags");
        answer.extend(self.state());
        let time = |name: &str, time: Option<f64>| time.map(|time| (name.to_owned(), json!(time)));
        answer.extend(time("TransformStartTime", self.started));
        answer.extend(time("TransformEndTime", self.ended));
        Value::Object(answer)
    }

    fn row(&self) -> Row {
        Row::new(&self.name, self.created, Value::Object(self.state()))
            .modified(self.ended.unwrap_or(self.created))
            .status(self.status.name())
    }

    /// Not ResourceNotFound, as the reference has it: the waiters and AWS's own
    /// controllers count on this code and text.
    fn missing(name: &str, _: &str) -> ApiError {
        ApiError::Validation(format!("Could not find requested job with name: {name}"))
    }

    fn taken(_: &str, arn: &str) -> ApiError {
        ApiError::ResourceInUse(format!(
            "Job name must be unique within an AWS account and region, and a transform job with this name already \
             exists ({arn})"
        ))
    }
}
