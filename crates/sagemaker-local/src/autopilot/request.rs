//! The request for an AutoML job, in the form of CreateAutoMLJobV2.

use std::collections::BTreeMap;

use crosspilot_metrics::{Metric, ProblemType};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::autopilot::channels::{AutoMlJobChannel, Channel, channels};
use crate::services::s3::S3Uri;
use crate::wire::data_source::OutputDataConfig;

/// The largest share of rows that the engine holds out.
const MAX_VALIDATION: f64 = 0.5;

/// `CreateAutoMLJobV2`, as far as anything depends on it.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct CreateAutoMlJobV2 {
    role_arn: String,
    #[serde(rename = "AutoMLJobInputDataConfig")]
    input: Vec<AutoMlJobChannel>,
    output_data_config: OutputDataConfig,
    /// By the name of the kind of problem.
    #[serde(rename = "AutoMLProblemTypeConfig")]
    problem: BTreeMap<String, Value>,
    #[serde(rename = "AutoMLJobObjective")]
    objective: AutoMlJobObjective,
    security_config: SecurityConfig,
    data_split_config: DataSplitConfig,
    model_deploy_config: Option<ModelDeployConfig>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct TabularJobConfig {
    target_attribute_name: String,
    problem_type: Option<String>,
    mode: Option<String>,
    sample_weight_attribute_name: Option<String>,
    generate_candidate_definitions_only: bool,
    completion_criteria: CompletionCriteria,
    #[serde(rename = "FeatureSpecificationS3Uri")]
    feature_specification: Option<IgnoredAny>,
    candidate_generation_config: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct CompletionCriteria {
    max_candidates: Option<u32>,
    #[serde(rename = "MaxAutoMLJobRuntimeInSeconds")]
    max_job_seconds: Option<u64>,
    #[serde(rename = "MaxRuntimePerTrainingJobInSeconds")]
    max_training_seconds: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct AutoMlJobObjective {
    metric_name: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct SecurityConfig {
    volume_kms_key_id: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct DataSplitConfig {
    validation_fraction: Option<f64>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ModelDeployConfig {
    auto_generate_endpoint_name: bool,
    endpoint_name: Option<String>,
}

/// The training mode: how candidates are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Ensembling,
    Tuning,
}

/// An AutoML job's request, understood.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AutoMlPlan {
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
    /// The endpoint that the best candidate is to get.
    pub(crate) deploy: Option<Deploy>,
}

/// The endpoint that the best candidate is to serve.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Deploy {
    /// An endpoint of this name.
    Named(String),
    Anonymous,
}

impl ModelDeployConfig {
    fn read(self) -> Result<Deploy, String> {
        match (self.auto_generate_endpoint_name, self.endpoint_name) {
            (true, None) => Ok(Deploy::Anonymous),
            (false, Some(name)) => Ok(Deploy::Named(name)),
            (true, Some(_)) => {
                Err("EndpointName cannot be specified if AutoGenerateEndpointName is true.".into())
            }
            (false, None) => {
                Err("EndpointName must be specified if AutoGenerateEndpointName is false.".into())
            }
        }
    }
}

impl AutoMlPlan {
    /// Understands a V2 request; in AWS's place, says why it cannot be done.
    pub(crate) fn read(request: &Value) -> Result<Self, String> {
        let request = CreateAutoMlJobV2::deserialize(request).map_err(|error| error.to_string())?;
        let tabular = tabular(&request.problem)?;
        let objective = objective(tabular.problem_type, request.objective.metric_name)?;
        // Documented is AUTO where it is chosen; jobs without a mode are tuned:
        // AWS's notebooks and its SDK's tests expect three containers of them.
        let mode = match tabular.mode.as_deref() {
            Some("ENSEMBLING") => Some(Mode::Ensembling),
            Some("AUTO") => None,
            _ => Some(Mode::Tuning),
        };
        let weight = tabular.sample_weight_attribute_name;
        if weight.is_some() && mode != Some(Mode::Ensembling) {
            return Err("SampleWeightAttributeName is supported in ENSEMBLING mode only.".into());
        }
        let definitions_only = tabular.generate_candidate_definitions_only;
        if definitions_only && mode != Some(Mode::Tuning) {
            return Err(
                "GenerateCandidateDefinitionsOnly needs the mode HYPERPARAMETER_TUNING: ensembling has no candidate \
                 definitions."
                    .into(),
            );
        }
        let (training, validation) = channels(&request.input)?;
        let fraction = request.data_split_config.validation_fraction;
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
        let OutputDataConfig { s3_output_path: output, kms_key_id: output_key } =
            request.output_data_config;
        Ok(Self {
            training,
            validation,
            validation_fraction: fraction.unwrap_or(0.2),
            output: S3Uri::parse(&output)
                .ok_or_else(|| format!("S3OutputPath {output} is not an S3 location."))?,
            output_key,
            volume_key: request.security_config.volume_kms_key_id,
            role: request.role_arn,
            target: tabular.target_attribute_name,
            objective,
            mode,
            max_candidates: tabular.completion_criteria.max_candidates,
            max_seconds: tabular.completion_criteria.max_job_seconds,
            max_seconds_per_candidate: tabular.completion_criteria.max_training_seconds,
            weight,
            definitions_only,
            deploy: request.model_deploy_config.map(ModelDeployConfig::read).transpose()?,
        })
    }
}

/// Reads the configuration of a tabular job. Nothing is taken and then left out: what the
/// stand-in cannot do, it refuses.
fn tabular(problem: &BTreeMap<String, Value>) -> Result<TabularJobConfig, String> {
    let (1, Some((kind, config))) = (problem.len(), problem.first_key_value()) else {
        return Err(
            "Exactly one problem type configuration must be given in AutoMLProblemTypeConfig."
                .into(),
        );
    };
    if kind != "TabularJobConfig" {
        return Err(format!(
            "{kind} is not offered by the local SageMaker, which trains on tables only: use TabularJobConfig."
        ));
    }
    let config = TabularJobConfig::deserialize(config).map_err(|error| error.to_string())?;
    let not_offered = if config.feature_specification.is_some() {
        "FeatureSpecificationS3Uri"
    } else if config.candidate_generation_config.is_some() {
        "CandidateGenerationConfig"
    } else {
        return Ok(config);
    };
    Err(format!("{not_offered} is not offered by the local SageMaker."))
}

/// Reads the kind of problem and its objective: both are given, or Autopilot decides on both.
fn objective(
    problem: Option<String>,
    metric: Option<String>,
) -> Result<Option<(ProblemType, Metric)>, String> {
    let (problem, metric) = match (problem, metric) {
        (None, None) => return Ok(None),
        (Some(problem), Some(metric)) => (problem, metric),
        _ => {
            return Err(
                "You must provide both ProblemType and AutoMLJobObjective, or neither of them."
                    .into(),
            );
        }
    };
    let problem: ProblemType =
        problem.parse().map_err(|_| format!("Unknown ProblemType {problem}."))?;
    let metric = metric.parse().ok().filter(|metric| problem.objectives().contains(metric));
    let metric = metric.ok_or_else(|| {
        let supported: Vec<&str> =
            problem.objectives().iter().map(|metric| metric.as_str()).collect();
        let supported = supported.join(", ");
        format!("The objective metric is not supported for problem type {problem}; use one of {supported}.")
    })?;
    Ok(Some((problem, metric)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

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
        assert!(AutoMlPlan::read(&both).unwrap_err().contains("both"));
        both["AutoMLJobObjective"] = json!({ "MetricName": "AUC" });
        assert_eq!(
            AutoMlPlan::read(&both).unwrap().objective,
            Some((ProblemType::BinaryClassification, Metric::Auc))
        );
        both["AutoMLJobObjective"] = json!({ "MetricName": "RMSE" });
        assert!(AutoMlPlan::read(&both).unwrap_err().contains("objective metric"));
        let mut objective_only = request(json!({ "TargetAttributeName": "y" }));
        objective_only["AutoMLJobObjective"] = json!({ "MetricName": "AUC" });
        assert!(AutoMlPlan::read(&objective_only).is_err());
    }

    #[test]
    fn a_second_channel_is_for_validation_and_excludes_a_split() {
        let mut two = request(json!({ "TargetAttributeName": "y" }));
        let validation = json!({ "ChannelType": "validation", "DataSource": { "S3DataSource": { "S3DataType": "S3Prefix", "S3Uri": "s3://b/val" } } });
        two["AutoMLJobInputDataConfig"].as_array_mut().unwrap().push(validation.clone());
        assert_eq!(AutoMlPlan::read(&two).unwrap().validation.unwrap().at.key, "val");
        two["DataSplitConfig"] = json!({ "ValidationFraction": 0.3 });
        assert!(AutoMlPlan::read(&two).is_err());
        two["AutoMLJobInputDataConfig"] = json!([validation]);
        assert!(AutoMlPlan::read(&two).unwrap_err().contains("training channel"));
    }

    #[test]
    fn nothing_is_silently_left_out() {
        for member in ["FeatureSpecificationS3Uri", "CandidateGenerationConfig"] {
            let mut tabular = json!({ "TargetAttributeName": "y" });
            tabular[member] = json!("s3://b/x");
            assert!(AutoMlPlan::read(&request(tabular)).unwrap_err().contains(member));
        }
        let mut other = request(json!({}));
        other["AutoMLProblemTypeConfig"] = json!({ "TextGenerationJobConfig": {} });
        assert!(AutoMlPlan::read(&other).is_err());
    }

    #[test]
    fn an_endpoint_is_named_or_made_up() {
        let deploy = |config: Value| {
            let mut request = request(json!({ "TargetAttributeName": "y" }));
            request["ModelDeployConfig"] = config;
            AutoMlPlan::read(&request).map(|plan| plan.deploy)
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
            AutoMlPlan::read(&request(json!({
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
            assert_eq!(AutoMlPlan::read(&request(tabular)).unwrap().mode, meant);
        }
    }
}
