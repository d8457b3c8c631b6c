//! The state of the Step Functions execution that works on a run.

use aws_config::SdkConfig;
use aws_sdk_sfn::operation::describe_execution::DescribeExecutionOutput;
use aws_sdk_sfn::types::ExecutionStatus;

use crate::error::{CallError, Code, Coded, Named};
use crate::failure::Failure;

/// The state of the execution that has a run, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// The execution works on the run.
    Running,
    /// The execution has ended, however it did.
    Ended,
    /// There is no such execution of Step Functions', or it is not known there any more, or
    /// may not be looked at.
    Unknown,
}

/// Looks at an execution.
pub async fn life(config: &SdkConfig, execution: &str) -> Result<Life, CallError> {
    match status(&aws_sdk_sfn::Client::new(config), execution).await {
        Ok(Some(ExecutionStatus::Running | ExecutionStatus::PendingRedrive)) => Ok(Life::Running),
        Ok(Some(_)) => Ok(Life::Ended),
        Ok(None) => Ok(Life::Unknown),
        Err(error) if error.code() == Code::AccessDenied => Ok(Life::Unknown),
        Err(error) => Err(error),
    }
}

/// The status of an execution; nothing if there is none, or it is older than the
/// 90 days that Step Functions keeps them.
pub async fn status(
    client: &aws_sdk_sfn::Client,
    execution: &str,
) -> Result<Option<ExecutionStatus>, CallError> {
    // What an operator runs by hand has a name, and no ARN.
    if !execution.starts_with("arn:") {
        return Ok(None);
    }
    Ok(describe(client, execution).await?.map(|found| found.status))
}

/// The failure that an execution of a run has told by its cause, as its failure path does; none
/// if it ended outside of that.
pub fn reported(cause: Option<&str>) -> Option<Failure> {
    serde_json::from_str(cause?).ok()
}

/// The failure of an execution that ended outside its failure path: what Step Functions says of
/// it. `stage` is where it was.
pub fn died(
    status: &ExecutionStatus,
    error: Option<&str>,
    cause: Option<&str>,
    stage: &str,
) -> Failure {
    let (error, cause) = (error.unwrap_or_default(), cause.unwrap_or_default());
    let said = Failure::read(stage, error, cause);
    let why = match status {
        ExecutionStatus::Aborted => "somebody stopped its execution in Step Functions",
        ExecutionStatus::TimedOut => "it took longer than its state machine may",
        _ => "it ended outside its failure path",
    };
    let code = if error.is_empty() { status.as_str().to_owned() } else { said.code };
    let cause = if cause.is_empty() { why.to_owned() } else { format!("{why}: {}", said.cause) };
    Failure { stage: said.stage, code, cause }
}

/// An execution as it stands; nothing if there is none. One that was started a
/// moment ago may not show yet: this is eventually consistent (API reference,
/// `DescribeExecution`).
pub async fn describe(
    client: &aws_sdk_sfn::Client,
    execution: &str,
) -> Result<Option<DescribeExecutionOutput>, CallError> {
    let found = client.describe_execution().execution_arn(execution).send().await;
    match found.named("states:DescribeExecution", execution) {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.aws_code(), "ExecutionDoesNotExist" | "InvalidArn") => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
