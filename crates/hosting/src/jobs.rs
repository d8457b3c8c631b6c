//! A run's jobs, and how they are stopped, whatever became of the run.

use crosspilot_core::aws::sagemaker::Client;
use crosspilot_core::error::{CallError, Code, Coded, Named};
use crosspilot_core::run::{RunRef, SCORING_ATTEMPTS};
use crosspilot_core::sagemaker;
use crosspilot_core::session::CustomerSession;

/// A job of a run, after it was told to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) name: String,
    /// SageMaker's status of it.
    pub(crate) status: String,
}

impl Job {
    /// Tells whether it has not ended yet.
    pub(crate) fn works(&self) -> bool {
        works(&self.status)
    }
}

/// A status that AWS adds later is one of a job at work.
fn works(status: &str) -> bool {
    !matches!(status, "Completed" | "Failed" | "Stopped")
}

/// Tells a run's jobs to stop, if they are at work. Gives all that it has: the
/// one that trains first, then those that score.
pub(crate) async fn stop(session: &CustomerSession, run: &RunRef) -> Result<Vec<Job>, CallError> {
    let sagemaker = session.sagemaker();
    let mut jobs = Vec::from_iter(stop_training(&sagemaker, run).await?);
    for attempt in 1..=SCORING_ATTEMPTS {
        match stop_scoring(&sagemaker, run, run.scoring_name(attempt)).await? {
            Some(job) => jobs.push(job),
            None => break,
        }
    }
    Ok(jobs)
}

async fn stop_training(sagemaker: &Client, run: &RunRef) -> Result<Option<Job>, CallError> {
    let name = run.job_name();
    let found = sagemaker.describe_auto_ml_job_v2().auto_ml_job_name(&name).send().await;
    let found = found.named("sagemaker:DescribeAutoMLJobV2", &name);
    let Some(found) = sagemaker::found(found)? else { return Ok(None) };
    let status = found.auto_ml_job_status().map_or("Unknown", |status| status.as_str());
    let mut job = Job { name, status: status.to_owned() };
    if must_stop(&job) && is_of(sagemaker, found.auto_ml_job_arn(), run).await? {
        let stopped = sagemaker.stop_auto_ml_job().auto_ml_job_name(&job.name).send().await;
        let error = |e| CallError::new("sagemaker:StopAutoMLJob", &job.name, &e);
        told(stopped.map(drop).map_err(error), &mut job)?;
    }
    Ok(Some(job))
}

async fn stop_scoring(
    sagemaker: &Client,
    run: &RunRef,
    name: String,
) -> Result<Option<Job>, CallError> {
    let found = sagemaker.describe_transform_job().transform_job_name(&name).send().await;
    let found = found.named("sagemaker:DescribeTransformJob", &name);
    let Some(found) = sagemaker::found(found)? else { return Ok(None) };
    let status = found.transform_job_status().map_or("Unknown", |status| status.as_str());
    let mut job = Job { name, status: status.to_owned() };
    if must_stop(&job) && is_of(sagemaker, found.transform_job_arn(), run).await? {
        let stopped = sagemaker.stop_transform_job().transform_job_name(&job.name).send().await;
        let error = |e| CallError::new("sagemaker:StopTransformJob", &job.name, &e);
        told(stopped.map(drop).map_err(error), &mut job)?;
    }
    Ok(Some(job))
}

fn must_stop(job: &Job) -> bool {
    job.works() && job.status != "Stopping"
}

fn told(stopped: Result<(), CallError>, job: &mut Job) -> Result<(), CallError> {
    unless_ended(stopped)?;
    job.status = "Stopping".to_owned();
    Ok(())
}

/// A job may end, or be gone, between the look and the request to stop it: then the
/// next look tells.
pub(crate) fn unless_ended(stopped: Result<(), CallError>) -> Result<(), CallError> {
    match stopped {
        Err(error) if !matches!(error.code(), Code::RequestInvalid | Code::NotFound) => Err(error),
        _ => Ok(()),
    }
}

/// Tells whether a job carries the run's tags. One that somebody else gave such a name
/// is left alone.
async fn is_of(sagemaker: &Client, arn: Option<&str>, run: &RunRef) -> Result<bool, CallError> {
    let arn = arn.unwrap_or_default();
    let mut wanted = Vec::from(run.tags());
    let mut pages = sagemaker.list_tags().resource_arn(arn).into_paginator().send();
    while let Some(page) = pages.next().await {
        let page = page.named("sagemaker:ListTags", arn);
        let Some(page) = sagemaker::found(page)? else { return Ok(false) };
        for tag in page.tags() {
            wanted.retain(|(key, value)| tag.key() != Some(key) || tag.value() != Some(value));
        }
    }
    Ok(wanted.is_empty())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use crosspilot_core::policy::Purpose;
    use crosspilot_core::session::Sessions;
    use crosspilot_scripted::{Answer, Scripted};
    use serde_json::{Value, json};

    use super::*;

    fn run() -> RunRef {
        crosspilot_scripted::run("20260131-3f9a2c71b0")
    }

    /// Stops the jobs of a run whose second attempt to score is at work, and has these
    /// tags.
    async fn stopped(tags: Vec<(&'static str, String)>) -> (Vec<String>, Vec<Job>) {
        let tags: Vec<Value> =
            tags.into_iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect();
        let aws = Scripted::new(move |call| match call.operation.as_str() {
            "DescribeAutoMLJobV2" => Answer::json(&json!({"AutoMLJobStatus": "Completed"})),
            "DescribeTransformJob"
                if call.body.contains(&format!("\"{}\"", run().scoring_name(1))) =>
            {
                Answer::json(&json!({"TransformJobStatus": "Failed"}))
            }
            "DescribeTransformJob"
                if call.body.contains(&format!("\"{}\"", run().scoring_name(2))) =>
            {
                Answer::json(&json!({"TransformJobStatus": "InProgress", "TransformJobArn": "arn"}))
            }
            "DescribeTransformJob" => {
                Answer::refused(400, "ValidationException", "Could not find requested job")
            }
            "ListTags" => Answer::json(&json!({"Tags": tags})),
            "StopTransformJob" => Answer::json(&json!({})),
            other => panic!("{other}"),
        });
        let tenant = serde_json::from_value(crosspilot_scripted::tenant("acme")).unwrap();
        let sessions = Sessions::new(&aws.config());
        let session = sessions.open(&tenant, Purpose::StopJobs(&run())).await.unwrap();
        let jobs = stop(&session, &run()).await.unwrap();
        (aws.operations(), jobs)
    }

    #[tokio::test]
    async fn a_job_that_scores_is_told_to_stop_if_it_is_the_runs() {
        let (calls, jobs) = stopped(run().tags().into()).await;
        assert_eq!(calls.iter().filter(|call| *call == "StopTransformJob").count(), 1);
        let statuses: Vec<&str> = jobs.iter().map(|job| job.status.as_str()).collect();
        assert_eq!(statuses, ["Completed", "Failed", "Stopping"]);
        let (calls, jobs) = stopped(Vec::new()).await;
        assert!(!calls.contains(&"StopTransformJob".to_owned()), "{calls:?}");
        assert_eq!(jobs[2].status, "InProgress");
    }

    #[test]
    fn what_has_not_ended_is_told_to_stop_once() {
        for (status, works, must) in [
            ("InProgress", true, true),
            ("Stopping", true, false),
            ("Hibernating", true, true),
            ("Completed", false, false),
            ("Failed", false, false),
            ("Stopped", false, false),
        ] {
            let job = Job { name: "j".into(), status: status.into() };
            assert_eq!((job.works(), must_stop(&job)), (works, must), "{status}");
        }
    }

    #[test]
    fn a_job_that_ended_meanwhile_needs_no_stop() {
        let refused =
            |code| Err(CallError::refused(code, "sagemaker:StopAutoMLJob", "j", "x", "y"));
        let mut job = Job { name: "j".into(), status: "InProgress".into() };
        assert!(told(refused(Code::AccessDenied), &mut job).is_err());
        assert_eq!(job.status, "InProgress");
        assert!(told(refused(Code::RequestInvalid), &mut job).is_ok());
        assert_eq!(job.status, "Stopping");
        assert!(unless_ended(refused(Code::NotFound)).is_ok());
        assert!(unless_ended(refused(Code::Throttled)).is_err());
    }
}
