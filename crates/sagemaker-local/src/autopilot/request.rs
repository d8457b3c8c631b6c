//! What an AutoML job is asked to do, in the form of CreateAutoMLJobV2.

use crosspilot_metrics::{Metric, ProblemType};
use serde_json::{Value, json};

use crate::services::s3::S3Uri;

/// The largest share of rows that the engine holds out.
const MAX_VALIDATION: f64 = 0.5;

/// How candidates are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Ensembling,
    Tuning,
}

/// Where one channel's data is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Channel {
    pub(crate) at: S3Uri,
    pub(crate) manifest: bool,
    pub(crate) content: Content,
}

/// What a channel's files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// CSV with a header.
    Csv,
    /// The same, each file packed with gzip.
    GzippedCsv,
    /// Apache Parquet.
    Parquet,
}

/// An AutoML job's request, understood.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    pub(crate) training: Channel,
    pub(crate) validation: Option<Channel>,
    pub(crate) validation_fraction: f64,
    pub(crate) output: S3Uri,
    /// The KMS key of everything that is written.
    pub(crate) output_key: Option<String>,
    /// The KMS key of the volumes.
    pub(crate) volume_key: Option<String>,
    pub(crate) role: String,
    pub(crate) target: String,
    /// Problem and objective metric: both, or Autopilot decides on both.
    pub(crate) objective: Option<(ProblemType, Metric)>,
    /// `None` is AUTO.
    pub(crate) mode: Option<Mode>,
    pub(crate) max_candidates: Option<u32>,
    pub(crate) max_seconds: Option<u64>,
    pub(crate) max_seconds_per_candidate: Option<u64>,
    /// The column that says how much each row counts.
    pub(crate) weight: Option<String>,
    /// The job ends when it has said which candidates it would try.
    pub(crate) definitions_only: bool,
    /// Deploy the best candidate.
    pub(crate) deploy: Option<Deploy>,
}

/// Which endpoint the best candidate is to serve.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Deploy {
    /// One that is named after the job.
    Named(String),
    Anonymous,
}

impl Deploy {
    /// What a `ModelDeployConfig` asks for.
    fn read(config: &Value) -> Result<Option<Self>, String> {
        let name = config["EndpointName"].as_str();
        match (config["AutoGenerateEndpointName"].as_bool().unwrap_or(false), name) {
            _ if config.is_null() => Ok(None),
            (true, None) => Ok(Some(Self::Anonymous)),
            (false, Some(name)) => Ok(Some(Self::Named(name.to_owned()))),
            (true, Some(_)) => {
                Err("EndpointName cannot be specified if AutoGenerateEndpointName is true.".into())
            }
            (false, None) => {
                Err("EndpointName must be specified if AutoGenerateEndpointName is false.".into())
            }
        }
    }
}

impl Plan {
    /// Understand a V2 request; in AWS's place, say why it cannot be done.
    pub(crate) fn read(request: &Value) -> Result<Self, String> {
        let problem_config =
            request["AutoMLProblemTypeConfig"].as_object().cloned().unwrap_or_default();
        if problem_config.len() != 1 {
            return Err(
                "Exactly one problem type configuration must be given in AutoMLProblemTypeConfig."
                    .into(),
            );
        }
        let Some(tabular) = problem_config.get("TabularJobConfig") else {
            let given = problem_config.keys().next().map(String::as_str).unwrap_or_default();
            return Err(format!(
                "{given} is not offered by the local SageMaker, which trains on tables only: use TabularJobConfig."
            ));
        };
        refuse_what_is_not_offered(tabular)?;

        let text = |from: &Value, member: &str| {
            from.get(member).and_then(Value::as_str).map(str::to_owned)
        };
        let objective = match (
            text(tabular, "ProblemType"),
            text(&request["AutoMLJobObjective"], "MetricName"),
        ) {
            (None, None) => None,
            (Some(problem), Some(metric)) => {
                let problem: ProblemType =
                    problem.parse().map_err(|_| format!("Unknown ProblemType {problem}."))?;
                let metric =
                    metric.parse().ok().filter(|metric| problem.objectives().contains(metric));
                let metric = metric.ok_or_else(|| {
                    let supported: Vec<&str> = problem.objectives().iter().map(|metric| metric.as_str()).collect();
                    let supported = supported.join(", ");
                    format!("The objective metric is not supported for problem type {problem}; use one of {supported}.")
                })?;
                Some((problem, metric))
            }
            _ => {
                return Err(
                    "You must provide both ProblemType and AutoMLJobObjective, or neither of them."
                        .into(),
                );
            }
        };
        // Documented is AUTO where it is chosen; jobs without a mode are tuned:
        // AWS's notebooks and its SDK's tests expect three containers of them.
        let mode = match text(tabular, "Mode").as_deref() {
            Some("ENSEMBLING") => Some(Mode::Ensembling),
            Some("AUTO") => None,
            _ => Some(Mode::Tuning),
        };
        let weight = text(tabular, "SampleWeightAttributeName");
        if weight.is_some() && mode != Some(Mode::Ensembling) {
            return Err("SampleWeightAttributeName is supported in ENSEMBLING mode only.".into());
        }
        let definitions_only = tabular["GenerateCandidateDefinitionsOnly"] == json!(true);
        if definitions_only && mode != Some(Mode::Tuning) {
            return Err(
                "GenerateCandidateDefinitionsOnly needs the mode HYPERPARAMETER_TUNING: ensembling has no candidate \
                 definitions."
                    .into(),
            );
        }
        let (training, validation) = channels(&request["AutoMLJobInputDataConfig"])?;
        let fraction = request["DataSplitConfig"]["ValidationFraction"].as_f64();
        if fraction.is_some_and(|fraction| fraction <= 0.0 || fraction >= 1.0) {
            return Err("ValidationFraction must be greater than 0 and less than 1.".into());
        }
        if fraction.is_some_and(|fraction| fraction > MAX_VALIDATION) {
            return Err(format!(
                "The local SageMaker learns from at least half of the rows: {MAX_VALIDATION} at most."
            ));
        }
        if fraction.is_some() && validation.is_some() {
            return Err(
                "ValidationFraction cannot be given together with a validation channel.".into()
            );
        }
        let criteria = &tabular["CompletionCriteria"];
        let output = text(&request["OutputDataConfig"], "S3OutputPath").unwrap_or_default();
        Ok(Self {
            training,
            validation,
            validation_fraction: fraction.unwrap_or(0.2),
            output: S3Uri::parse(&output)
                .ok_or_else(|| format!("S3OutputPath {output} is not an S3 location."))?,
            output_key: text(&request["OutputDataConfig"], "KmsKeyId"),
            volume_key: text(&request["SecurityConfig"], "VolumeKmsKeyId"),
            role: text(request, "RoleArn").unwrap_or_default(),
            target: text(tabular, "TargetAttributeName").unwrap_or_default(),
            objective,
            mode,
            max_candidates: criteria["MaxCandidates"]
                .as_u64()
                .and_then(|count| u32::try_from(count).ok()),
            max_seconds: criteria["MaxAutoMLJobRuntimeInSeconds"].as_u64(),
            max_seconds_per_candidate: criteria["MaxRuntimePerTrainingJobInSeconds"].as_u64(),
            weight,
            definitions_only,
            deploy: Deploy::read(&request["ModelDeployConfig"])?,
        })
    }
}

/// Nothing is taken and then left out: what the stand-in cannot do, it refuses.
fn refuse_what_is_not_offered(tabular: &Value) -> Result<(), String> {
    let not_offered = ["FeatureSpecificationS3Uri", "CandidateGenerationConfig"];
    match not_offered.iter().find(|member| tabular.get(**member).is_some()) {
        Some(member) => Err(format!("{member} is not offered by the local SageMaker.")),
        None => Ok(()),
    }
}

/// Reads the channels.
fn channels(config: &Value) -> Result<(Channel, Option<Channel>), String> {
    let mut training = None;
    let mut validation = None;
    for given in config.as_array().into_iter().flatten() {
        let source = &given["DataSource"]["S3DataSource"];
        let uri = source["S3Uri"].as_str().unwrap_or_default();
        let content_type = given["ContentType"].as_str().unwrap_or("text/csv;header=present");
        let gzip = given["CompressionType"].as_str() == Some("Gzip");
        let content = match (content_type.replace(' ', "").as_str(), gzip) {
            ("text/csv;header=present" | "text/csv", false) => Content::Csv,
            ("text/csv;header=present" | "text/csv", true) => Content::GzippedCsv,
            ("x-application/vnd.amazon+parquet", false) => Content::Parquet,
            // Its own pages are compressed.
            ("x-application/vnd.amazon+parquet", true) => {
                return Err(
                    "Parquet files packed with gzip are not offered by the local SageMaker.".into(),
                );
            }
            _ => {
                return Err(format!(
                    "The content type {content_type} is not offered by the local SageMaker."
                ));
            }
        };
        let manifest = match source["S3DataType"].as_str() {
            Some("ManifestFile") => true,
            Some("AugmentedManifestFile") => {
                return Err("AugmentedManifestFile is not supported for tabular data.".into());
            }
            _ => false,
        };
        let channel = Channel {
            at: S3Uri::parse(uri).ok_or_else(|| format!("{uri} is not an S3 location."))?,
            manifest,
            content,
        };
        let kind = if given["ChannelType"].as_str() == Some("validation") {
            &mut validation
        } else {
            &mut training
        };
        if kind.replace(channel).is_some() {
            return Err("Each channel type can be given once.".into());
        }
    }
    training
        .map(|training| (training, validation))
        .ok_or_else(|| "A training channel is required.".into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn request(tabular: Value) -> Value {
        json!({
            "AutoMLJobInputDataConfig": [{ "DataSource": { "S3DataSource": { "S3DataType": "S3Prefix", "S3Uri": "s3://b/train.csv" } } }],
            "OutputDataConfig": { "S3OutputPath": "s3://b/out" },
            "RoleArn": "arn:aws:iam::222222222222:role/exec",
            "AutoMLProblemTypeConfig": { "TabularJobConfig": tabular },
        })
    }

    #[test]
    fn problem_and_objective_go_together() {
        let mut both =
            request(json!({ "TargetAttributeName": "y", "ProblemType": "BinaryClassification" }));
        assert!(Plan::read(&both).unwrap_err().contains("both"));
        both["AutoMLJobObjective"] = json!({ "MetricName": "AUC" });
        assert_eq!(
            Plan::read(&both).unwrap().objective,
            Some((ProblemType::BinaryClassification, Metric::Auc))
        );
        both["AutoMLJobObjective"] = json!({ "MetricName": "RMSE" });
        assert!(Plan::read(&both).unwrap_err().contains("objective metric"));
        let mut objective_only = request(json!({ "TargetAttributeName": "y" }));
        objective_only["AutoMLJobObjective"] = json!({ "MetricName": "AUC" });
        assert!(Plan::read(&objective_only).is_err());
    }

    #[test]
    fn a_second_channel_is_for_validation_and_excludes_a_split() {
        let mut two = request(json!({ "TargetAttributeName": "y" }));
        let validation = json!({ "ChannelType": "validation", "DataSource": { "S3DataSource": { "S3DataType": "S3Prefix", "S3Uri": "s3://b/val" } } });
        two["AutoMLJobInputDataConfig"].as_array_mut().unwrap().push(validation.clone());
        assert_eq!(Plan::read(&two).unwrap().validation.unwrap().at.key, "val");
        two["DataSplitConfig"] = json!({ "ValidationFraction": 0.3 });
        assert!(Plan::read(&two).is_err());
        two["AutoMLJobInputDataConfig"] = json!([validation]);
        assert!(Plan::read(&two).unwrap_err().contains("training channel"));
    }

    #[test]
    fn nothing_is_silently_left_out() {
        for member in ["FeatureSpecificationS3Uri", "CandidateGenerationConfig"] {
            let mut tabular = json!({ "TargetAttributeName": "y" });
            tabular[member] = json!("s3://b/x");
            assert!(Plan::read(&request(tabular)).unwrap_err().contains(member));
        }
        let mut other = request(json!({}));
        other["AutoMLProblemTypeConfig"] = json!({ "TextGenerationJobConfig": {} });
        assert!(Plan::read(&other).is_err());
    }

    #[test]
    fn an_endpoint_is_named_or_made_up() {
        let deploy = |config: Value| {
            let mut request = request(json!({ "TargetAttributeName": "y" }));
            request["ModelDeployConfig"] = config;
            Plan::read(&request).map(|plan| plan.deploy)
        };
        assert_eq!(deploy(json!(null)), Ok(None));
        assert_eq!(
            deploy(json!({ "AutoGenerateEndpointName": true })),
            Ok(Some(Deploy::Anonymous))
        );
        assert_eq!(deploy(json!({ "EndpointName": "e" })), Ok(Some(Deploy::Named("e".into()))));
        assert!(deploy(json!({ "AutoGenerateEndpointName": true, "EndpointName": "e" })).is_err());
        assert!(deploy(json!({})).is_err());
    }

    #[test]
    fn only_tuning_has_candidate_definitions() {
        let only = |mode: &str| {
            Plan::read(&request(json!({
                "TargetAttributeName": "y", "GenerateCandidateDefinitionsOnly": true, "Mode": mode,
            })))
        };
        assert!(only("HYPERPARAMETER_TUNING").unwrap().definitions_only);
        assert!(only("ENSEMBLING").is_err() && only("AUTO").is_err());
    }

    #[test]
    fn a_job_without_a_mode_is_tuned() {
        for (mode, meant) in [
            (json!(null), Some(Mode::Tuning)),
            (json!("HYPERPARAMETER_TUNING"), Some(Mode::Tuning)),
            (json!("ENSEMBLING"), Some(Mode::Ensembling)),
            (json!("AUTO"), None),
        ] {
            let tabular = json!({ "TargetAttributeName": "y", "Mode": mode });
            assert_eq!(Plan::read(&request(tabular)).unwrap().mode, meant);
        }
    }
}
