//! The challenger is scored on held-out rows before it takes traffic: by a
//! transform job on its model. Then the champion's endpoint is asked about the
//! same rows, and both are measured by the same metric.

use crosspilot_core::aws::sagemaker::Client;
use crosspilot_core::aws::sagemaker::operation::describe_transform_job::DescribeTransformJobOutput;
use crosspilot_core::aws::sagemaker::types::{
    AssemblyType, BatchStrategy, S3DataType, SplitType, Tag, TransformDataSource, TransformInput,
    TransformInstanceType, TransformJobStatus, TransformOutput, TransformResources,
    TransformS3DataSource,
};
use crosspilot_core::decision::{Comparison, Score};
use crosspilot_core::error::CallError;
use crosspilot_core::lambda::App;
use crosspilot_core::layout;
use crosspilot_core::pace;
use crosspilot_core::policy::Purpose;
use crosspilot_core::registry::{Serving, model_settings};
use crosspilot_core::run::RunRef;
use crosspilot_core::session::CustomerSession;
use crosspilot_core::settings::{ModelSettings, Problem};
use crosspilot_core::tenant::{Encryption, Tenant};
use crosspilot_metrics::{Direction, Metric};
use csv::StringRecord;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::answer::{self, Kind, Prediction};
use crate::data::{Bucket, Source};
use crate::endpoint::Endpoint;
use crate::evaluation::{Evaluation, metric_named};
use crate::table::csv_text;

/// What scores. A table of 100,000 rows takes it a minute or two.
const INSTANCE: TransformInstanceType = TransformInstanceType::MlM5Large;
/// Attempts at scoring one run: each failed one keeps its name.
const ATTEMPTS: u8 = 9;
/// How long an account's quota of instances may keep a run waiting.
const QUOTA_SECONDS: f64 = 3600.0;

/// Which model to score.
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

/// How far the scoring is.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum Scored {
    /// A transform job is at it.
    Scoring {
        /// Its name.
        transform: String,
        /// Rows that it scores.
        rows: usize,
    },
    /// There is nothing to score on, and why.
    Unscored {
        /// Says so, and nothing else.
        comparison: Comparison,
    },
    /// The account's quota is used up: ask again.
    Waiting {
        /// What for, as a sentence.
        reason: String,
        /// Seconds until the next attempt.
        wait_seconds: u32,
    },
}

/// Whose answers to compare.
#[derive(Debug, Clone, Deserialize)]
pub struct CompareRequest {
    /// The run.
    pub run: RunRef,
    /// Its candidate's objective metric.
    #[serde(default)]
    pub score: Score,
}

/// Where the rows of a run's scoring lie.
pub(crate) struct Place(String);

impl Place {
    pub(crate) fn of(tenant: &Tenant, run: &RunRef) -> Self {
        Self(layout::scoring_prefix(&tenant.prefix, run))
    }

    /// The held-out rows as they were found.
    pub(crate) fn held_out(&self) -> String {
        format!("{}held-out.csv", self.0)
    }

    /// What the model takes of them: a folder, since Batch Transform takes all
    /// keys that begin with what it is given.
    fn input(&self) -> String {
        format!("{}input/", self.0)
    }

    /// Without its slash, as SageMaker adds one.
    fn output(&self) -> String {
        format!("{}output", self.0)
    }

    fn rows(&self) -> String {
        format!("{}rows.csv", self.input())
    }

    /// What the model answered.
    pub(crate) fn answers(&self) -> String {
        format!("{}/rows.csv.out", self.output())
    }
}

/// Has the challenger scored on the held-out rows.
pub(crate) async fn score(app: &App, request: ScoreRequest) -> Result<Scored, Error> {
    let run = &request.run;
    let tenant = app.registry.active_tenant(&run.tenant).await?;
    let settings = model_settings(&tenant, &run.model)?;
    if settings.problem != Problem::Tabular {
        return Ok(unscored("only models of tables are scored on held-out rows"));
    }
    let features = features(app, run).await?;
    let session = app.sessions.open(&tenant, Purpose::Score(run)).await?;
    let bucket = Bucket { s3: session.s3(), tenant: &tenant };
    let Some(newest) = bucket.newest(&run.model).await? else {
        return Ok(unscored("there is no held-out file"));
    };
    let place = Place::of(&tenant, run);
    bucket.keep_rows(&place.held_out(), &newest).await?;
    let source = bucket.kept_rows(&place.held_out()).await?;
    let columns = source.table.positions(&features)?;
    let lines = source.table.rows.iter().map(|row| one_line(row, &columns));
    let lines: Vec<StringRecord> = lines.collect();
    bucket.write(&place.rows(), "text/csv", csv_text(&lines).map_err(compose)?).await?;

    let job = ScoringJob { tenant: &tenant, run, model: &request.model, place: &place };
    match job.create_or_adopt(&session.sagemaker()).await {
        Ok(transform) => {
            tracing::info!(tenant = %run.tenant, model = %run.model, run = %run.run_id, transform, "scoring");
            Ok(Scored::Scoring { transform, rows: source.table.rows.len() })
        }
        Err(Error::Call(error)) if error.aws_code() == "ResourceLimitExceeded" => {
            let reason =
                format!("the account's quota leaves no instance to score on: {}", error.message());
            if request.elapsed_seconds > QUOTA_SECONDS {
                return Ok(unscored(&reason));
            }
            let wait_seconds = pace::wait_seconds(request.elapsed_seconds);
            Ok(Scored::Waiting { reason, wait_seconds })
        }
        Err(error) => Err(error),
    }
}

fn unscored(reason: &str) -> Scored {
    let comparison = Comparison { reason: Some(reason.to_owned()), ..Comparison::default() };
    Scored::Unscored { comparison }
}

/// The columns that a run trained on, in order.
pub(crate) async fn features(app: &App, run: &RunRef) -> Result<Vec<String>, Error> {
    let features = app.registry.run(run).await?.features;
    if features.is_empty() {
        let (run, model) = (run.run_id.to_string(), run.model.to_string());
        return Err(Error::NoFeatures { run, model });
    }
    Ok(features)
}

/// These cells of a row. Batch Transform splits its input at every line end, also
/// at those within quotes.
pub(crate) fn one_line(row: &StringRecord, columns: &[usize]) -> StringRecord {
    let cell = |&column: &usize| row.get(column).unwrap_or_default().replace(['\n', '\r'], " ");
    columns.iter().map(cell).collect()
}

/// All that is decided about a transform job before AWS is asked.
struct ScoringJob<'a> {
    tenant: &'a Tenant,
    run: &'a RunRef,
    model: &'a str,
    place: &'a Place,
}

impl ScoringJob<'_> {
    /// The job that scores this run: created, or adopted when it exists. One that
    /// failed or was stopped is left behind, and the next one gets the next name.
    async fn create_or_adopt(&self, sagemaker: &Client) -> Result<String, Error> {
        let mut attempt = 1;
        loop {
            let name = self.run.scoring_name(attempt);
            let error = match self.create(sagemaker, &name).await {
                Ok(()) => return Ok(name),
                Err(error) if error.aws_code() == "ResourceInUse" => error,
                Err(error) => return Err(error.into()),
            };
            let found = sagemaker
                .describe_transform_job()
                .transform_job_name(&name)
                .send()
                .await
                .map_err(|e| CallError::new("sagemaker:DescribeTransformJob", &name, &e))?;
            if let Some(what) = self.difference(&found) {
                return Err(Error::Foreign { job: name, what });
            }
            let failed = matches!(
                found.transform_job_status(),
                Some(TransformJobStatus::Failed | TransformJobStatus::Stopped)
            );
            match failed {
                false => return Ok(name),
                true if attempt < ATTEMPTS => attempt += 1,
                true => return Err(error.into()),
            }
        }
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
        let tags = self.tenant.tags_of(self.run).into_iter();
        let tags = tags.map(|(key, value)| Tag::builder().key(key).value(value).build());
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
            .set_tags(Some(tags.collect()))
            .send()
            .await
            .map_err(|e| CallError::new("sagemaker:CreateTransformJob", name, &e))?;
        Ok(())
    }

    /// What makes a job found under our name another one, if anything.
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

/// What a transform job answered about the held-out rows.
pub(crate) struct Answers {
    pub(crate) source: Source,
    pub(crate) predictions: Vec<Prediction>,
}

impl Answers {
    pub(crate) async fn read(
        bucket: &Bucket<'_>,
        run: &RunRef,
        settings: &ModelSettings,
        score: &Score,
    ) -> Result<Self, Error> {
        let place = Place::of(bucket.tenant, run);
        let source = bucket.kept_rows(&place.held_out()).await?;
        let answers = bucket.get(&place.answers()).await?;
        let lines = answer::lines(&answers, source.table.rows.len())?;
        let predictions = answer::predictions(&lines, kind(settings, score.metric.as_deref()))?;
        Ok(Self { source, predictions })
    }
}

/// Whether a model answers labels or numbers, as far as its settings and its
/// metric tell.
pub(crate) fn kind(settings: &ModelSettings, metric: Option<&str>) -> Option<Kind> {
    let problem = settings.objective.as_ref().map(|objective| objective.problem_type.as_str());
    Kind::expected(problem, metric)
}

/// Measures challenger and champion on the same rows.
pub(crate) async fn compare(app: &App, request: CompareRequest) -> Result<Comparison, Error> {
    let CompareRequest { run, score } = &request;
    let tenant = app.registry.active_tenant(&run.tenant).await?;
    let settings = model_settings(&tenant, &run.model)?;
    let session = app.sessions.open(&tenant, Purpose::Score(run)).await?;
    let bucket = Bucket { s3: session.s3(), tenant: &tenant };
    let Answers { source, predictions } = Answers::read(&bucket, run, settings, score).await?;

    let held_out = Some(source.uri.clone());
    let unmeasured = |reason: &str| Comparison {
        held_out: held_out.clone(),
        reason: Some(reason.to_owned()),
        ..Comparison::default()
    };
    let lineup = app.registry.lineup(&run.tenant, &run.model).await?;
    let champion = lineup.champion.filter(|champion| champion.run != *run);
    let against = champion.as_ref().map(|champion| champion.run.run_id.clone());
    let Some(truth) = truth(&source, &settings.target) else {
        let reason = format!("the held-out file has no column {:?}", settings.target);
        return Ok(Comparison { against, ..unmeasured(&reason) });
    };
    let evaluation = Evaluation::new(&truth, &predictions).map_err(measure)?;
    let Some((evaluation, metric)) =
        evaluation.and_then(|evaluation| metric(&evaluation, score).map(|m| (evaluation, m)))
    else {
        return Ok(Comparison { against, ..unmeasured("no held-out row has a true value") });
    };
    let mut comparison = Comparison {
        rows: evaluation.summary(false).rows,
        metric: Some(metric.as_str().to_owned()),
        smaller_is_better: metric.direction() == Direction::Minimize,
        challenger: evaluation.get(metric),
        against,
        reason: None,
        ..unmeasured("")
    };
    if let Some(champion) = champion {
        match of_champion(&session, settings, &champion, &source, &truth, metric).await {
            Ok(value) => comparison.champion = Some(value),
            Err(reason) => comparison.reason = Some(reason),
        }
    }
    tracing::info!(tenant = %run.tenant, model = %run.model, run = %run.run_id, ?comparison, "compared");
    Ok(comparison)
}

fn measure(reason: impl ToString) -> Error {
    Error::Compose { what: "evaluation", reason: reason.to_string() }
}

/// The target's cells, where the rows have them.
pub(crate) fn truth<'a>(source: &'a Source, target: &str) -> Option<Vec<&'a str>> {
    let position = source.table.position(target)?;
    let cells = source.table.rows.iter().map(|row| row.get(position).unwrap_or_default());
    Some(cells.collect())
}

/// What to measure by: the objective that the candidate was chosen by, or what
/// Autopilot would have chosen.
fn metric(evaluation: &Evaluation, score: &Score) -> Option<Metric> {
    let objective = score.metric.as_deref().and_then(metric_named);
    let others = [Metric::F1, Metric::Accuracy, Metric::Mse];
    objective.into_iter().chain(others).find(|metric| evaluation.get(*metric).is_some())
}

/// The champion's figure, from its endpoint; or why there is none. It is asked
/// for its own columns, which may not be the challenger's.
async fn of_champion(
    session: &CustomerSession,
    settings: &ModelSettings,
    champion: &Serving,
    source: &Source,
    truth: &[&str],
    metric: Metric,
) -> Result<f64, String> {
    let Serving { run, target, features, endpoint, variant, .. } = champion;
    if *target != settings.target {
        return Err(format!("the champion, run {}, predicts {target:?}", run.run_id));
    }
    let unanswered = |reason: String| {
        format!(
            "the champion, run {}, could not be asked about the held-out rows: {reason}",
            run.run_id
        )
    };
    let columns = source.table.positions(features).map_err(|e| unanswered(e.to_string()))?;
    let endpoint = Endpoint {
        runtime: session.sagemaker_runtime(),
        name: endpoint.clone(),
        variant: Some(variant.clone()),
    };
    let lines = endpoint.ask_all(&source.table.rows, &columns).await;
    let lines = lines.map_err(|e| unanswered(e.to_string()))?;
    let predictions = answer::predictions(&lines, kind(settings, champion.metric.as_deref()));
    let predictions = predictions.map_err(|e| unanswered(e.to_string()))?;
    let evaluation = Evaluation::new(truth, &predictions).map_err(|e| unanswered(e.to_string()))?;
    evaluation
        .and_then(|evaluation| evaluation.get(metric))
        .ok_or_else(|| format!("{} is not defined for the champion's answers", metric.as_str()))
}

fn compose(reason: csv::Error) -> Error {
    Error::Compose { what: "rows to score", reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_line_whatever_its_cells_hold() {
        let row = StringRecord::from(vec!["a\r\nb", "skipped", "c,\"d\""]);
        assert_eq!(one_line(&row, &[2, 0, 9]), vec!["c,\"d\"", "a  b", ""]);
    }

    #[test]
    fn what_is_measured_by_is_the_objective_where_it_is_defined() {
        let label = |label: &str| Prediction::Label {
            label: label.into(),
            probability: None,
            labels: Default::default(),
            probabilities: Vec::new(),
        };
        let evaluated = |truth: &[&str], predicted: &[Prediction]| {
            Evaluation::new(truth, predicted).ok().flatten()
        };
        let by = |name: &str| Score { metric: Some(name.to_owned()), ..Score::default() };
        let binary = evaluated(&["a", "b"], &[label("a"), label("a")]);
        let numbers = evaluated(&["1", "2"], &[Prediction::Value(1.0), Prediction::Value(3.0)]);
        for (evaluation, name, expected) in [
            (&binary, "validation:f1_binary", Metric::F1),
            (&binary, "Accuracy", Metric::Accuracy),
            // No probabilities, no AUC.
            (&binary, "AUC", Metric::F1),
            (&numbers, "validation:rmse", Metric::Rmse),
            (&numbers, "unheard of", Metric::Mse),
        ] {
            let found = evaluation.as_ref().and_then(|evaluation| metric(evaluation, &by(name)));
            assert_eq!(found, Some(expected), "{name}");
        }
    }
}
