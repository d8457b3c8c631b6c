//! The challenger is scored on held-out rows before it takes traffic: by a
//! transform job on its model.

use crosspilot_core::aws::sagemaker::Client;
use crosspilot_core::aws::sagemaker::operation::describe_transform_job::DescribeTransformJobOutput;
use crosspilot_core::aws::sagemaker::types::{
    AssemblyType, BatchStrategy, S3DataType, SplitType, TransformDataSource, TransformInput,
    TransformInstanceType, TransformJobStatus, TransformOutput, TransformResources,
    TransformS3DataSource,
};
use crosspilot_core::bucket::Bucket;
use crosspilot_core::decision::Comparison;
use crosspilot_core::error::{CallError, Named};
use crosspilot_core::lambda::App;
use crosspilot_core::layout;
use crosspilot_core::policy::Purpose;
use crosspilot_core::polling::Waiting;
use crosspilot_core::registry::model_settings;
use crosspilot_core::run::{RunRef, SCORING_ATTEMPTS};
use crosspilot_core::sagemaker::{Ensured, ensure, tags};
use crosspilot_core::settings::Problem;
use crosspilot_core::tenant::{Encryption, Tenant};
use crosspilot_inference::csv_text_of;
use csv::StringRecord;
use serde::{Deserialize, Serialize};

use crate::EvaluationError;
use crate::data;

/// The instance type of the transform job. A table of 100,000 rows takes it a minute or two.
pub const INSTANCE: TransformInstanceType = TransformInstanceType::MlM5Large;
/// The seconds that SageMaker may take to see a model that it has just made.
const LAG_SECONDS: f64 = 300.0;
/// The seconds that an account's quota of instances may keep a run waiting.
const QUOTA_SECONDS: f64 = 3600.0;

/// The model to score.
#[derive(Debug, Clone, Deserialize)]
pub struct ScoreRequest {
    /// The run.
    pub run: RunRef,
    /// Name of its model.
    pub model: String,
    /// Seconds since the first attempt.
    #[serde(default)]
    pub elapsed_seconds: f64,
}

/// The state of the scoring.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum Scored {
    /// A transform job is at it.
    Scoring {
        /// The transform job's name.
        transform: String,
        /// Rows that it scores.
        rows: usize,
    },
    /// There is nothing to score on, and why.
    Unscored {
        /// A comparison that holds only the reason.
        comparison: Comparison,
    },
    /// The account's quota is used up: ask again.
    Waiting(Waiting),
}

/// The keys of the files of a run's scoring.
pub(crate) struct ScoringKeys {
    folder: String,
    held_out: String,
}

impl ScoringKeys {
    pub(crate) fn of(tenant: &Tenant, run: &RunRef) -> Self {
        Self {
            folder: layout::rows_prefix(&tenant.prefix, run),
            held_out: layout::held_out_key(&tenant.prefix, run),
        }
    }

    /// The held-out rows as they were found.
    pub(crate) fn held_out(&self) -> String {
        self.held_out.clone()
    }

    /// Gives the folder of the rows as the model takes them: a folder, since Batch Transform
    /// takes all keys that begin with what it is given.
    fn input(&self) -> String {
        format!("{}input/", self.folder)
    }

    /// Without its slash, as SageMaker adds one.
    fn output(&self) -> String {
        format!("{}output", self.folder)
    }

    fn rows(&self) -> String {
        format!("{}rows.csv", self.input())
    }

    /// Gives the key of the model's answers.
    pub(crate) fn answers(&self) -> String {
        format!("{}/rows.csv.out", self.output())
    }
}

/// Has the challenger scored on the held-out rows.
pub async fn score(app: &App, request: ScoreRequest) -> Result<Scored, EvaluationError> {
    let run = &request.run;
    let tenant = app.registry.active_tenant(&run.tenant).await?;
    let settings = model_settings(&tenant, &run.model)?;
    if settings.problem != Problem::Tabular {
        return Ok(unscored("only models of tables are scored on held-out rows"));
    }
    let record = app.registry.run(run).await?;
    if let Some(stop) = record.stop {
        return Err(EvaluationError::Stopped(stop));
    }
    let set_aside = record.set_aside.is_some();
    let features = named(run, record.features)?;
    let session = app.sessions.open(&tenant, Purpose::Score(run)).await?;
    let bucket = Bucket { s3: session.s3(), tenant: &tenant };
    let place = ScoringKeys::of(&tenant, run);
    // The preflight refuses such a file before anything costs money. What turns out
    // later throws no trained model away.
    let rows = match lay_out(&bucket, run, &place, &features, set_aside).await {
        Ok(Some(rows)) => rows,
        Ok(None) => return Ok(unscored("there is no held-out file")),
        Err(EvaluationError::Unfit(unfit)) => {
            tracing::warn!(tenant = %run.tenant, model = %run.model, run = %run.run_id, "{unfit}");
            return Ok(unscored(&unfit.to_string()));
        }
        Err(error) => return Err(error),
    };

    let job = ScoringJob { tenant: &tenant, run, model: &request.model, place: &place };
    match job.create_or_adopt(&session.sagemaker()).await {
        Ok(None) => {
            let last = run.scoring_name(SCORING_ATTEMPTS);
            Ok(unscored(&format!(
                "transform job {last}, the last of several, ended without scores: look at its failure reason in SageMaker"
            )))
        }
        Ok(Some(transform)) => {
            tracing::info!(tenant = %run.tenant, model = %run.model, run = %run.run_id, transform, "scoring");
            Ok(Scored::Scoring { transform, rows })
        }
        Err(EvaluationError::Call(error)) => Ok(without_a_job(error, request.elapsed_seconds)?),
        Err(error) => Err(error),
    }
}

/// Decides what becomes of a run whose transform job was refused so many seconds after the
/// first attempt.
fn without_a_job(error: CallError, elapsed_seconds: f64) -> Result<Scored, CallError> {
    let waiting = |reason| Ok(Scored::Waiting(Waiting::after(elapsed_seconds, reason)));
    // SageMaker may not see yet what it has just made.
    if error.is_missing() && elapsed_seconds < LAG_SECONDS {
        return waiting(format!("the model does not show yet: {}", error.message()));
    }
    if !error.is_over_quota() {
        return Err(error);
    }
    let reason = format!("the account's quota leaves no instance to score on: {}", error.message());
    match elapsed_seconds > QUOTA_SECONDS {
        true => Ok(unscored(&reason)),
        false => waiting(reason),
    }
}

/// Lays the rows that were set aside, or else the newest held-out ones, where the
/// transform job finds them; gives their number, if there are any.
///
/// Reading a table and writing what the model takes of it had a peak of 105 MB of
/// resident memory with 257 features and 100,000 rows, a file of 52 MB (measured
/// without S3): the text once as it is and once as it is written.
async fn lay_out(
    bucket: &Bucket<'_>,
    run: &RunRef,
    place: &ScoringKeys,
    features: &[String],
    set_aside: bool,
) -> Result<Option<usize>, EvaluationError> {
    let source = if set_aside {
        data::kept_rows(bucket, &place.held_out()).await?
    } else {
        let Some(newest) = data::newest(bucket, &run.model).await? else { return Ok(None) };
        // Before they are kept for good.
        newest.table.positions(features)?;
        data::keep_rows(bucket, &place.held_out(), newest).await?
    };
    let columns = source.table.positions(features)?;
    let lines = source.table.rows().map(|row| cells(&row, &columns));
    let text = csv_text_of(lines).map_err(compose)?;
    bucket.write(&place.rows(), "text/csv", text).await?;
    Ok(Some(source.table.len()))
}

fn unscored(reason: &str) -> Scored {
    let comparison = Comparison { reason: Some(reason.to_owned()), ..Comparison::default() };
    Scored::Unscored { comparison }
}

/// The columns that a run trained on, in order.
pub(crate) fn named(run: &RunRef, features: Vec<String>) -> Result<Vec<String>, EvaluationError> {
    if features.is_empty() {
        let (run, model) = (run.run_id.to_string(), run.model.to_string());
        return Err(EvaluationError::NoFeatures { run, model });
    }
    Ok(features)
}

/// Takes these cells of a row.
pub(crate) fn cells(row: &StringRecord, columns: &[usize]) -> StringRecord {
    columns.iter().map(|&column| row.get(column).unwrap_or_default()).collect()
}

/// All that is decided about a transform job before AWS is asked.
struct ScoringJob<'a> {
    tenant: &'a Tenant,
    run: &'a RunRef,
    model: &'a str,
    place: &'a ScoringKeys,
}

impl ScoringJob<'_> {
    /// The job that scores this run: created, or adopted when it exists. One that
    /// failed or was stopped is left behind, and the next one gets the next name; none
    /// once there were so many.
    async fn create_or_adopt(&self, sagemaker: &Client) -> Result<Option<String>, EvaluationError> {
        for attempt in 1..=SCORING_ATTEMPTS {
            let name = self.run.scoring_name(attempt);
            let describe = async || {
                let found = sagemaker.describe_transform_job().transform_job_name(&name);
                found.send().await.named("sagemaker:DescribeTransformJob", &name)
            };
            let created = self.create(sagemaker, &name).await;
            let found = match ensure(created, describe, |found| self.difference(found)).await? {
                Ensured::Created => return Ok(Some(name)),
                Ensured::Adopted(found) => found,
                Ensured::Foreign(what) => return Err(EvaluationError::Foreign { job: name, what }),
            };
            let failed = matches!(
                found.transform_job_status(),
                Some(TransformJobStatus::Failed | TransformJobStatus::Stopped)
            );
            if !failed {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    async fn create(&self, sagemaker: &Client, name: &str) -> Result<(), CallError> {
        let uri = |key: &str| layout::uri(self.tenant, key);
        let keys = self.tenant.encryption.clone().unwrap_or_default();
        let Encryption { volume_key, output_key, .. } = keys;
        let source = TransformS3DataSource::builder()
            .s3_data_type(S3DataType::S3Prefix)
            .s3_uri(uri(&self.place.input()))
            .build();
        let input = TransformInput::builder()
            .data_source(TransformDataSource::builder().s3_data_source(source).build())
            .content_type("text/csv")
            .split_type(SplitType::Line)
            .build();
        let output = TransformOutput::builder()
            .s3_output_path(uri(&self.place.output()))
            .accept("text/csv")
            .assemble_with(AssemblyType::Line)
            .set_kms_key_id(output_key)
            .build();
        let resources = TransformResources::builder()
            .instance_type(INSTANCE)
            .instance_count(1)
            .set_volume_kms_key_id(volume_key)
            .build();
        sagemaker
            .create_transform_job()
            .transform_job_name(name)
            .model_name(self.model)
            .batch_strategy(BatchStrategy::MultiRecord)
            // Together at most 100 MB, as SageMaker wants it.
            .max_payload_in_mb(6)
            .max_concurrent_transforms(4)
            .transform_input(input)
            .transform_output(output)
            .transform_resources(resources)
            .set_tags(Some(tags(self.tenant, self.run)))
            .send()
            .await
            .named("sagemaker:CreateTransformJob", name)?;
        Ok(())
    }

    /// Finds what makes a job found under our name another one, if anything.
    fn difference(&self, found: &DescribeTransformJobOutput) -> Option<&'static str> {
        let input = found
            .transform_input()
            .and_then(|input| input.data_source())
            .and_then(|source| source.s3_data_source())
            .and_then(|source| source.s3_uri());
        if found.model_name() != Some(self.model) {
            Some("model")
        } else if input != Some(layout::uri(self.tenant, &self.place.input()).as_str()) {
            Some("input")
        } else {
            None
        }
    }
}

fn compose(reason: csv::Error) -> EvaluationError {
    EvaluationError::Compose { what: "rows to score", reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use crosspilot_core::error::{Code, Coded};
    use crosspilot_inference::csv_text;

    use super::*;

    fn refused(aws_code: &str, message: &str) -> CallError {
        let operation = "sagemaker:CreateTransformJob";
        CallError::refused(Code::RequestInvalid, operation, "t", aws_code, message)
    }

    #[test]
    fn a_model_just_registered_may_take_a_while_to_be_found() {
        let missing = || refused("ValidationException", "Could not find model \"m\".");
        for elapsed in [0.0, LAG_SECONDS - 1.0] {
            let Scored::Waiting(Waiting { reason, wait_seconds }) =
                without_a_job(missing(), elapsed).unwrap()
            else {
                panic!("{elapsed}")
            };
            assert!(reason.contains("Could not find model"), "{reason}");
            assert!(wait_seconds > 0);
        }
        let error = without_a_job(missing(), LAG_SECONDS).unwrap_err();
        assert_eq!(error.code(), Code::RequestInvalid);
    }

    #[test]
    fn a_quota_is_waited_for_and_what_is_wrong_is_not() {
        let full = || refused("ResourceLimitExceeded", "0 of 0 ml.m5.large");
        let waits = without_a_job(full(), QUOTA_SECONDS).unwrap();
        assert!(matches!(waits, Scored::Waiting(_)), "{waits:?}");
        let gives_up = without_a_job(full(), QUOTA_SECONDS + 1.0).unwrap();
        assert!(matches!(gives_up, Scored::Unscored { .. }), "{gives_up:?}");
        assert!(without_a_job(refused("ValidationException", "no such type"), 0.0).is_err());
    }

    #[test]
    fn a_record_is_one_line_whatever_its_cells_hold() {
        let row = cells(&StringRecord::from(vec!["a\r\nb", "skipped", "c,\"d\""]), &[2, 0, 9]);
        let once = csv_text([&row]).unwrap();
        assert_eq!(once, b"\"c,\"\"d\"\"\",a  b,\n");
        assert_eq!(csv_text_of([row]).unwrap(), once);
    }
}
