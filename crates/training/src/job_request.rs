//! The AutoML job that a run asks for, and whether a job found is that one.

use crosspilot_core::aws::sagemaker::Client;
use crosspilot_core::aws::sagemaker::error::BuildError;
use crosspilot_core::aws::sagemaker::operation::create_auto_ml_job_v2::builders::CreateAutoMLJobV2FluentBuilder;
use crosspilot_core::aws::sagemaker::operation::describe_auto_ml_job_v2::DescribeAutoMlJobV2Output;
use crosspilot_core::aws::sagemaker::types::{
    AutoMlChannelType, AutoMlDataSource, AutoMlDataSplitConfig, AutoMlJobChannel,
    AutoMlJobCompletionCriteria, AutoMlJobObjective, AutoMlMetricEnum, AutoMlMode,
    AutoMlOutputDataConfig, AutoMlProblemTypeConfig, AutoMlSecurityConfig, AutoMls3DataSource,
    AutoMls3DataType, CompressionType, ImageClassificationJobConfig, ProblemType, TabularJobConfig,
    Tag, TextClassificationJobConfig, TimeSeriesConfig, TimeSeriesForecastingJobConfig, VpcConfig,
};
use crosspilot_core::layout;
use crosspilot_core::run::RunRef;
use crosspilot_core::settings::{FeatureType, Mode, ModelSettings, Problem, Validation};
use crosspilot_core::tenant::{Network, Tenant};
use crosspilot_preflight::{Channel, Format, Verdict};
use serde_json::{Value, json};

use crate::error::JobError;

/// All that is decided about a job before AWS is asked.
#[derive(Debug, Clone)]
pub struct JobPlan {
    /// The job's name.
    pub name: String,
    /// URI of the training data.
    pub training_data: String,
    role: String,
    channels: Vec<AutoMlJobChannel>,
    output: AutoMlOutputDataConfig,
    problem: AutoMlProblemTypeConfig,
    objective: Option<AutoMlJobObjective>,
    split: Option<AutoMlDataSplitConfig>,
    security: Option<AutoMlSecurityConfig>,
    tags: Vec<(String, String)>,
}

impl JobPlan {
    /// Plans the job for data that was found fit, with the training data under this key
    /// prefix.
    pub fn new(
        tenant: &Tenant,
        settings: &ModelSettings,
        run: &RunRef,
        training: &str,
        verdict: &Verdict,
    ) -> Result<Self, JobError> {
        let place = |prefix: String| layout::uri(tenant, &prefix);
        let training_data = place(training.to_owned());
        let format = verdict.format.unwrap_or(Format::Csv);
        let mut channels =
            vec![channel(AutoMlChannelType::Training, &training_data, format, &verdict.training)];
        if let Some(validation) = &verdict.validation {
            let data = place(layout::validation_prefix(&tenant.prefix, &run.model));
            channels.push(channel(AutoMlChannelType::Validation, &data, format, validation));
        }
        let encryption = tenant.encryption.clone().unwrap_or_default();
        let fraction = match settings.training.validation {
            Some(Validation::Fraction(share)) => Some(share as f32),
            Some(Validation::Channel) | None => None,
        };
        let objective = settings.objective.as_ref().map(|objective| {
            let metric = AutoMlMetricEnum::from(objective.metric.as_str());
            AutoMlJobObjective::builder().metric_name(metric).build()
        });
        let mut tags: Vec<(String, String)> =
            run.tags().map(|(key, value)| (key.to_owned(), value)).into();
        tags.extend(tenant.tags.clone());
        Ok(Self {
            name: run.job_name(),
            role: tenant.execution_role_arn.to_string(),
            training_data,
            channels,
            output: AutoMlOutputDataConfig::builder()
                .s3_output_path(place(layout::automl_prefix(&tenant.prefix, run)))
                .set_kms_key_id(encryption.output_key)
                .build(),
            problem: problem(tenant, settings, run)?,
            objective,
            split: fraction
                .map(|share| AutoMlDataSplitConfig::builder().validation_fraction(share).build()),
            security: security(
                encryption.volume_key,
                encryption.between_containers,
                tenant.network.as_ref(),
            ),
            tags,
        })
    }

    /// The request.
    pub fn create(&self, sagemaker: &Client) -> CreateAutoMLJobV2FluentBuilder {
        let tag = |(key, value): &(String, String)| Tag::builder().key(key).value(value).build();
        sagemaker
            .create_auto_ml_job_v2()
            .auto_ml_job_name(&self.name)
            .role_arn(&self.role)
            .set_auto_ml_job_input_data_config(Some(self.channels.clone()))
            .output_data_config(self.output.clone())
            .auto_ml_problem_type_config(self.problem.clone())
            .set_auto_ml_job_objective(self.objective.clone())
            .set_data_split_config(self.split.clone())
            .set_security_config(self.security.clone())
            .set_tags(Some(self.tags.iter().map(tag).collect()))
    }

    /// Finds what makes a job found under our name another one, if anything. What was
    /// not asked for may have been filled in by SageMaker.
    pub fn difference(&self, found: &DescribeAutoMlJobV2Output) -> Option<&'static str> {
        let split = found.data_split_config().and_then(|split| split.validation_fraction());
        let asked_split = self.split.as_ref().and_then(|split| split.validation_fraction());
        let channels = found.auto_ml_job_input_data_config();
        let output = found.output_data_config();
        let differs = [
            ("execution role", found.role_arn() != Some(self.role.as_str())),
            (
                "training or validation data",
                channels.len() != self.channels.len()
                    || self.channels.iter().zip(channels).any(|(a, f)| channel_differs(a, f)),
            ),
            (
                "output location or key",
                output.and_then(|output| output.s3_output_path()) != self.output.s3_output_path()
                    || key(output.and_then(|output| output.kms_key_id()))
                        != key(self.output.kms_key_id()),
            ),
            (
                "objective metric",
                self.objective.is_some()
                    && found.auto_ml_job_objective() != self.objective.as_ref(),
            ),
            ("validation share", differs(asked_split, split)),
            (
                "network or encryption",
                self.security
                    .as_ref()
                    .is_some_and(|asked| security_differs(asked, found.security_config())),
            ),
        ];
        let plain = differs.into_iter().find(|(_, differs)| *differs).map(|(what, _)| what);
        plain.or_else(|| problem_differs(&self.problem, found.auto_ml_problem_type_config()))
    }
}

/// The key prefix of the data that a job of this run trains on: that of the run's own
/// copy if it has made one, and else where all is uploaded.
pub fn training_of(tenant: &Tenant, run: &RunRef, found: &DescribeAutoMlJobV2Output) -> String {
    let own = layout::split_training_prefix(&tenant.prefix, run);
    let channels = found.auto_ml_job_input_data_config().iter();
    let mut places =
        channels.filter_map(|channel| channel.data_source()?.s3_data_source()?.s3_uri());
    if places.any(|place| place == layout::uri(tenant, &own)) {
        own
    } else {
        layout::train_prefix(&tenant.prefix, &run.model)
    }
}

/// Reads what a job's files were when it was made, by its own channels: as much of a
/// verdict as a plan needs.
pub fn files_of(found: &DescribeAutoMlJobV2Output) -> Verdict {
    let mut verdict = Verdict::default();
    for channel in found.auto_ml_job_input_data_config() {
        let gzip = channel.compression_type() == Some(&CompressionType::Gzip);
        let files = Channel { gzip, ..Channel::default() };
        if channel.channel_type() == Some(&AutoMlChannelType::Validation) {
            verdict.validation = Some(files);
        } else {
            verdict.training = files;
            verdict.format = channel.content_type().and_then(Format::of_content_type);
        }
    }
    verdict
}

/// Gives the columns to learn from and the types of columns, as SageMaker reads them (API
/// reference, `FeatureSpecificationS3Uri`); nothing if they are left to it.
pub fn feature_specification(settings: &ModelSettings) -> Option<Value> {
    let training = &settings.training;
    let word = |kind: &FeatureType| match kind {
        FeatureType::Numeric => "numeric",
        FeatureType::Categorical => "categorical",
        FeatureType::Text => "text",
        FeatureType::Datetime => "datetime",
    };
    let types: serde_json::Map<String, Value> = training
        .features
        .iter()
        .chain(&training.feature_types)
        .map(|(name, kind)| (name.clone(), word(kind).into()))
        .collect();
    if types.is_empty() {
        return None;
    }
    let names: Vec<&String> = training.features.keys().collect();
    // Without names all columns are learned from.
    Some(if names.is_empty() {
        json!({"FeatureDataTypes": types})
    } else {
        json!({"FeatureAttributeNames": names, "FeatureDataTypes": types})
    })
}

/// Gives the key of a run's feature specification.
pub fn feature_specification_key(tenant: &Tenant, run: &RunRef) -> String {
    format!("{}features.json", layout::results_prefix(&tenant.prefix, run))
}

fn channel(
    kind: AutoMlChannelType,
    place: &str,
    format: Format,
    files: &Channel,
) -> AutoMlJobChannel {
    let compression = if files.gzip { CompressionType::Gzip } else { CompressionType::None };
    let source = AutoMls3DataSource::builder()
        .s3_data_type(AutoMls3DataType::S3Prefix)
        .s3_uri(place)
        .build();
    AutoMlJobChannel::builder()
        .channel_type(kind)
        .content_type(format.content_type())
        .compression_type(compression)
        .data_source(AutoMlDataSource::builder().s3_data_source(source).build())
        .build()
}

/// Gives the security settings of a job; nothing if nothing of it is set: SageMaker's own
/// defaults hold then.
fn security(
    volume_key: Option<String>,
    between_containers: bool,
    network: Option<&Network>,
) -> Option<AutoMlSecurityConfig> {
    let network = network.map(|Network { subnets, security_groups }| {
        VpcConfig::builder()
            .set_subnets(Some(subnets.clone()))
            .set_security_group_ids(Some(security_groups.clone()))
            .build()
    });
    if volume_key.is_none() && !between_containers && network.is_none() {
        return None;
    }
    // Within a network of its own a customer expects what crosses it encrypted.
    let encrypt = between_containers || network.is_some();
    let config = AutoMlSecurityConfig::builder()
        .set_volume_kms_key_id(volume_key)
        .enable_inter_container_traffic_encryption(encrypt)
        .set_vpc_config(network);
    Some(config.build())
}

/// The completion criteria are always set, so that no job is unbounded, and
/// never beyond the tenant's limits. Problem type and metric go together or not
/// at all.
fn problem(
    tenant: &Tenant,
    settings: &ModelSettings,
    run: &RunRef,
) -> Result<AutoMlProblemTypeConfig, BuildError> {
    let (limits, training) = (tenant.limits, &settings.training);
    let least = |own: Option<u32>, limit: u32| own.unwrap_or(limit).min(limit);
    let candidates = match settings.problem {
        Problem::Tabular => {
            least(training.max_candidates.map(u32::from), limits.max_candidates.into())
        }
        // The only value that the other problems take (API reference,
        // `AutoMLJobCompletionCriteria`).
        _ => 1,
    };
    let seconds = least(training.max_runtime_seconds, limits.max_runtime_seconds);
    let trial = training.max_trial_seconds.map(|trial| trial.min(seconds));
    let number = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
    let criteria = AutoMlJobCompletionCriteria::builder()
        .max_candidates(number(candidates))
        .max_auto_ml_job_runtime_in_seconds(number(seconds))
        .set_max_runtime_per_training_job_in_seconds(trial.map(number))
        .build();
    let features = feature_specification(settings)
        .map(|_| layout::uri(tenant, &feature_specification_key(tenant, run)));
    Ok(match &settings.problem {
        Problem::Tabular => {
            let objective = settings.objective.as_ref();
            // Always said: SageMaker takes silence for tuning.
            let mode = match settings.mode() {
                Mode::Auto => AutoMlMode::Auto,
                Mode::Ensembling => AutoMlMode::Ensembling,
                Mode::HyperparameterTuning => AutoMlMode::HyperparameterTuning,
            };
            let config = TabularJobConfig::builder()
                .target_attribute_name(&settings.target)
                .completion_criteria(criteria)
                .set_problem_type(objective.map(|o| ProblemType::from(o.problem_type.as_str())))
                .mode(mode)
                .set_feature_specification_s3_uri(features)
                .set_sample_weight_attribute_name(training.sample_weight.clone());
            AutoMlProblemTypeConfig::TabularJobConfig(config.build())
        }
        Problem::TimeSeriesForecasting {
            frequency,
            horizon,
            item_column,
            timestamp_column,
            quantiles,
            grouping_columns,
        } => {
            let some = |list: &Vec<String>| (!list.is_empty()).then(|| list.clone());
            let series = TimeSeriesConfig::builder()
                .target_attribute_name(&settings.target)
                .timestamp_attribute_name(timestamp_column)
                .item_identifier_attribute_name(item_column)
                .set_grouping_attribute_names(some(grouping_columns))
                .build();
            let config = TimeSeriesForecastingJobConfig::builder()
                .completion_criteria(criteria)
                .forecast_frequency(frequency)
                .forecast_horizon((*horizon).into())
                .set_forecast_quantiles(some(quantiles))
                .set_feature_specification_s3_uri(features)
                .time_series_config(series);
            AutoMlProblemTypeConfig::TimeSeriesForecastingJobConfig(config.build())
        }
        Problem::TextClassification { content_column } => {
            let config = TextClassificationJobConfig::builder()
                .completion_criteria(criteria)
                .content_column(content_column)
                .target_label_column(&settings.target);
            AutoMlProblemTypeConfig::TextClassificationJobConfig(config.build())
        }
        Problem::ImageClassification => AutoMlProblemTypeConfig::ImageClassificationJobConfig(
            ImageClassificationJobConfig::builder().completion_criteria(criteria).build(),
        ),
    })
}

/// Tells whether something that was asked for is not what was found.
fn differs<T: PartialEq>(asked: Option<T>, found: Option<T>) -> bool {
    asked.is_some() && asked != found
}

/// A key that is none may be shown as an empty one.
fn key(key: Option<&str>) -> Option<&str> {
    key.filter(|key| !key.is_empty())
}

fn channel_differs(asked: &AutoMlJobChannel, found: &AutoMlJobChannel) -> bool {
    let source = |channel: &AutoMlJobChannel| {
        channel.data_source().and_then(|source| source.s3_data_source()).cloned()
    };
    differs(asked.channel_type(), found.channel_type())
        || differs(asked.content_type(), found.content_type())
        // None is what is meant where nothing is said.
        || asked.compression_type().unwrap_or(&CompressionType::None)
            != found.compression_type().unwrap_or(&CompressionType::None)
        || source(asked) != source(found)
}

fn security_differs(asked: &AutoMlSecurityConfig, found: Option<&AutoMlSecurityConfig>) -> bool {
    let encrypts = |security: &AutoMlSecurityConfig| {
        security.enable_inter_container_traffic_encryption().unwrap_or(false)
    };
    let sorted = |ids: &[String]| {
        let mut ids = ids.to_vec();
        ids.sort();
        ids
    };
    let network = |security: &AutoMlSecurityConfig| {
        let network = security.vpc_config()?;
        Some((sorted(network.subnets()), sorted(network.security_group_ids())))
    };
    found.is_none_or(|found| {
        key(asked.volume_kms_key_id()) != key(found.volume_kms_key_id())
            || encrypts(asked) != encrypts(found)
            || network(asked) != network(found)
    })
}

fn criteria_differ(
    asked: Option<&AutoMlJobCompletionCriteria>,
    found: Option<&AutoMlJobCompletionCriteria>,
) -> bool {
    let Some(asked) = asked else { return false };
    found.is_none_or(|found| {
        differs(asked.max_candidates(), found.max_candidates())
            || differs(
                asked.max_auto_ml_job_runtime_in_seconds(),
                found.max_auto_ml_job_runtime_in_seconds(),
            )
            || differs(
                asked.max_runtime_per_training_job_in_seconds(),
                found.max_runtime_per_training_job_in_seconds(),
            )
    })
}

fn series_differ(
    asked: &TimeSeriesForecastingJobConfig,
    found: &TimeSeriesForecastingJobConfig,
) -> bool {
    let some = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
    let columns = |config: &TimeSeriesForecastingJobConfig| {
        config.time_series_config().map(|series| {
            [
                series.target_attribute_name(),
                series.timestamp_attribute_name(),
                series.item_identifier_attribute_name(),
            ]
            .map(|name| name.map(str::to_owned))
        })
    };
    let groups = |config: &TimeSeriesForecastingJobConfig| {
        some(config.time_series_config()?.grouping_attribute_names())
    };
    asked.forecast_frequency() != found.forecast_frequency()
        || asked.forecast_horizon() != found.forecast_horizon()
        || differs(some(asked.forecast_quantiles()), some(found.forecast_quantiles()))
        || asked.feature_specification_s3_uri() != found.feature_specification_s3_uri()
        || columns(asked) != columns(found)
        || differs(groups(asked), groups(found))
        || criteria_differ(asked.completion_criteria(), found.completion_criteria())
}

/// Compares what was asked for; SageMaker may have filled in the rest.
fn problem_differs(
    asked: &AutoMlProblemTypeConfig,
    found: Option<&AutoMlProblemTypeConfig>,
) -> Option<&'static str> {
    use AutoMlProblemTypeConfig::{
        ImageClassificationJobConfig as Image, TabularJobConfig as Tabular,
        TextClassificationJobConfig as Text, TimeSeriesForecastingJobConfig as Series,
    };
    let other = |differs: bool| differs.then_some("problem");
    let (asked, found) = match (asked, found) {
        (Tabular(asked), Some(Tabular(found))) => (asked, found),
        (Series(asked), Some(Series(found))) => return other(series_differ(asked, found)),
        (Text(asked), Some(Text(found))) => {
            return other(
                asked.content_column() != found.content_column()
                    || asked.target_label_column() != found.target_label_column()
                    || criteria_differ(asked.completion_criteria(), found.completion_criteria()),
            );
        }
        (Image(asked), Some(Image(found))) => {
            return other(criteria_differ(
                asked.completion_criteria(),
                found.completion_criteria(),
            ));
        }
        _ => return Some("problem"),
    };
    let differs = [
        ("target column", found.target_attribute_name() != asked.target_attribute_name()),
        (
            "problem type",
            asked.problem_type().is_some() && found.problem_type() != asked.problem_type(),
        ),
        // AUTO may be shown as what it came to.
        ("mode", asked.mode() != Some(&AutoMlMode::Auto) && found.mode() != asked.mode()),
        ("limits", criteria_differ(asked.completion_criteria(), found.completion_criteria())),
        (
            "feature types",
            found.feature_specification_s3_uri() != asked.feature_specification_s3_uri(),
        ),
        (
            "sample weight",
            found.sample_weight_attribute_name() != asked.sample_weight_attribute_name(),
        ),
    ];
    differs.into_iter().find(|(_, differs)| *differs).map(|(what, _)| what)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn tenant(changes: Value) -> Tenant {
        let mut document = json!({
            "tenant": "acme", "account": "222222222222", "region": "us-east-1",
            "role_arn": "arn:aws:iam::222222222222:role/customer_trusting_saas",
            "execution_role_arn": "arn:aws:iam::222222222222:role/crosspilot-execution",
            "external_id": "cp-0123", "bucket": "acme-ml", "prefix": "p", "status": "active",
            "limits": {"max_candidates": 10, "max_runtime_seconds": 3600},
        });
        document.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let tenant: Tenant = serde_json::from_value(document).unwrap();
        tenant.validate().unwrap();
        tenant
    }

    fn plan(tenant: &Tenant, model: Value, verdict: &Verdict) -> JobPlan {
        let settings: ModelSettings = serde_json::from_value(model).unwrap();
        settings.validate().unwrap();
        let run = RunRef {
            tenant: "acme".parse().unwrap(),
            model: "churn".parse().unwrap(),
            run_id: "20260131-0123456789".parse().unwrap(),
        };
        let training = layout::train_prefix(&tenant.prefix, &run.model);
        JobPlan::new(tenant, &settings, &run, &training, verdict).unwrap()
    }

    fn tabular(plan: &JobPlan) -> &TabularJobConfig {
        plan.problem.as_tabular_job_config().unwrap()
    }

    fn csv() -> Verdict {
        Verdict { format: Some(Format::Csv), ..Verdict::default() }
    }

    #[test]
    fn the_least_of_the_tenants_and_the_models_limits_is_sent() {
        // tenant's candidates, model's, sent; tenant's seconds, model's, sent
        let cases = [
            (10, None, 10, 3600, None, 3600),
            (10, Some(5), 5, 3600, Some(1800), 1800),
            (10, Some(50), 10, 3600, Some(7200), 3600),
        ];
        for (limit, own, sent, seconds, own_seconds, sent_seconds) in cases {
            let tenant = tenant(
                json!({"limits": {"max_candidates": limit, "max_runtime_seconds": seconds}}),
            );
            let model = json!({"target": "y", "training": {"max_candidates": own, "max_runtime_seconds": own_seconds}});
            let plan = plan(&tenant, model, &csv());
            let criteria = tabular(&plan).completion_criteria().unwrap();
            assert_eq!(criteria.max_candidates(), Some(sent));
            assert_eq!(criteria.max_auto_ml_job_runtime_in_seconds(), Some(sent_seconds));
            assert_eq!(criteria.max_runtime_per_training_job_in_seconds(), None);
        }
    }

    #[test]
    fn nothing_that_is_not_set_is_sent() {
        let plan = plan(&tenant(json!({})), json!({"target": "Churn?"}), &csv());
        assert_eq!(plan.objective, None);
        assert_eq!(plan.split, None);
        assert_eq!(plan.security, None);
        assert_eq!(plan.output.kms_key_id(), None);
        let tabular = tabular(&plan);
        assert_eq!(tabular.problem_type(), None);
        assert_eq!(tabular.feature_specification_s3_uri(), None);
        assert_eq!(plan.channels.len(), 1);
        assert_eq!(plan.channels[0].content_type(), Some("text/csv;header=present"));
        assert_eq!(plan.channels[0].compression_type(), Some(&CompressionType::None));
        assert_eq!(plan.tags.len(), 4);
    }

    #[test]
    fn the_mode_is_always_sent() {
        let serverless =
            json!({"hosting": {"serverless": {"memory_mb": 2048, "max_concurrency": 5}}});
        for (model, sent) in [
            (json!({"target": "y"}), AutoMlMode::Auto),
            (json!({"target": "y", "deployment": serverless}), AutoMlMode::Ensembling),
            (
                json!({"target": "y", "training": {"mode": "hyperparameter_tuning"}}),
                AutoMlMode::HyperparameterTuning,
            ),
        ] {
            let plan = plan(&tenant(json!({})), model, &csv());
            assert_eq!(tabular(&plan).mode(), Some(&sent));
        }
    }

    #[test]
    fn everything_that_is_set_is_sent() {
        let tenant = tenant(json!({
            "tags": {"CostCenter": "42"},
            "encryption": {"volume_key": "alias/disks", "output_key": "alias/out", "between_containers": true},
            "network": {"subnets": ["subnet-0123abcd"], "security_groups": ["sg-0123abcd"]},
        }));
        let model = json!({
            "target": "y",
            "objective": {"problem_type": "BinaryClassification", "metric": "F1"},
            "training": {
                "mode": "ensembling", "max_trial_seconds": 600, "validation": {"fraction": 0.25},
                "features": {"age": "numeric"}, "sample_weight": "w",
            },
        });
        let plan = plan(&tenant, model, &csv());
        let tabular = tabular(&plan);
        assert_eq!(tabular.mode(), Some(&AutoMlMode::Ensembling));
        assert_eq!(tabular.problem_type(), Some(&ProblemType::BinaryClassification));
        assert_eq!(tabular.sample_weight_attribute_name(), Some("w"));
        assert_eq!(
            tabular.feature_specification_s3_uri(),
            Some("s3://acme-ml/p-results/churn/20260131-0123456789/features.json")
        );
        let criteria = tabular.completion_criteria().unwrap();
        assert_eq!(criteria.max_runtime_per_training_job_in_seconds(), Some(600));
        let objective = plan.objective.as_ref().unwrap();
        assert_eq!(objective.metric_name(), Some(&AutoMlMetricEnum::F1));
        assert_eq!(plan.split.as_ref().unwrap().validation_fraction(), Some(0.25));
        assert_eq!(plan.output.kms_key_id(), Some("alias/out"));
        let security = plan.security.as_ref().unwrap();
        assert_eq!(security.volume_kms_key_id(), Some("alias/disks"));
        assert_eq!(security.enable_inter_container_traffic_encryption(), Some(true));
        assert_eq!(security.vpc_config().unwrap().subnets(), ["subnet-0123abcd"]);
        assert!(plan.tags.contains(&("CostCenter".into(), "42".into())));
    }

    #[test]
    fn the_channels_are_as_the_files_are() {
        let gzip = |gzip| Channel { gzip, ..Channel::default() };
        let mut verdict = Verdict { training: gzip(true), ..csv() };
        verdict.validation = Some(gzip(false));
        let model = json!({"target": "y", "training": {"validation": "channel"}});
        let channels = plan(&tenant(json!({})), model, &verdict).channels;
        assert_eq!(channels[0].compression_type(), Some(&CompressionType::Gzip));
        assert_eq!(channels[1].compression_type(), Some(&CompressionType::None));
        assert_eq!(channels[1].channel_type(), Some(&AutoMlChannelType::Validation));
        let source = channels[1].data_source().unwrap().s3_data_source().unwrap();
        assert_eq!(source.s3_uri(), Some("s3://acme-ml/p/churn/validation/"));
        let parquet = Verdict { format: Some(Format::Parquet), ..Verdict::default() };
        let channels = plan(&tenant(json!({})), json!({"target": "y"}), &parquet).channels;
        assert_eq!(channels[0].content_type(), Some("x-application/vnd.amazon+parquet"));
    }

    #[test]
    fn other_problems_have_one_candidate_and_their_own_form() {
        let series = json!({"target": "demand", "problem": {"time_series_forecasting": {
            "frequency": "1D", "horizon": 14, "item_column": "sku", "timestamp_column": "day",
            "quantiles": ["p50"], "grouping_columns": ["store"],
        }}, "objective": {"problem_type": "TimeSeriesForecasting", "metric": "WAPE"}});
        let plan_of = |model| plan(&tenant(json!({})), model, &csv());
        let forecast = plan_of(series);
        let config = forecast.problem.as_time_series_forecasting_job_config().unwrap();
        assert_eq!(config.completion_criteria().unwrap().max_candidates(), Some(1));
        assert_eq!(
            (config.forecast_frequency(), config.forecast_horizon()),
            (Some("1D"), Some(14))
        );
        assert_eq!(config.forecast_quantiles(), ["p50"]);
        let columns = config.time_series_config().unwrap();
        assert_eq!(columns.item_identifier_attribute_name(), Some("sku"));
        assert_eq!(columns.grouping_attribute_names(), ["store"]);
        let text = plan_of(
            json!({"target": "topic", "problem": {"text_classification": {"content_column": "body"}}}),
        );
        let config = text.problem.as_text_classification_job_config().unwrap();
        assert_eq!(
            (config.content_column(), config.target_label_column()),
            (Some("body"), Some("topic"))
        );
        let image = plan_of(json!({"target": "label", "problem": "image_classification"}));
        assert!(image.problem.is_image_classification_job_config());
    }

    /// The job as SageMaker would describe it, were it ours.
    fn described(plan: &JobPlan) -> DescribeAutoMlJobV2Output {
        DescribeAutoMlJobV2Output::builder()
            .auto_ml_job_name(&plan.name)
            .role_arn(&plan.role)
            .set_auto_ml_job_input_data_config(Some(plan.channels.clone()))
            .output_data_config(plan.output.clone())
            .auto_ml_problem_type_config(plan.problem.clone())
            .set_auto_ml_job_objective(plan.objective.clone())
            .set_security_config(plan.security.clone())
            .set_data_split_config(plan.split.clone())
            .build()
    }

    #[test]
    fn a_job_is_found_again_whatever_its_files_are_now() {
        let gzip = Channel { gzip: true, ..Channel::default() };
        let parquet = Verdict { format: Some(Format::Parquet), ..Verdict::default() };
        let both = Verdict { training: gzip, validation: Some(Channel::default()), ..csv() };
        for verdict in [csv(), parquet, both] {
            let job = described(&plan(&tenant(json!({})), json!({"target": "y"}), &verdict));
            let again = plan(&tenant(json!({})), json!({"target": "y"}), &files_of(&job));
            assert_eq!(again.difference(&job), None);
        }
    }

    #[test]
    fn a_job_that_differs_in_anything_is_told_by_what() {
        let ours = plan(
            &tenant(json!({})),
            json!({"target": "y", "training": {"mode": "ensembling"}}),
            &csv(),
        );
        assert_eq!(ours.difference(&described(&ours)), None);
        let other = |tenant_changes: Value, model: Value, verdict: &Verdict| {
            ours.difference(&described(&plan(&tenant(tenant_changes), model, verdict)))
        };
        let model = |training: Value| json!({"target": "y", "training": training});
        let same = model(json!({"mode": "ensembling"}));
        let role = json!({"execution_role_arn": "arn:aws:iam::222222222222:role/other"});
        assert_eq!(other(role, same.clone(), &csv()), Some("execution role"));
        let bucket = json!({"bucket": "other-ml"});
        assert_eq!(other(bucket, same.clone(), &csv()), Some("training or validation data"));
        let key = json!({"encryption": {"output_key": "k"}});
        assert_eq!(other(key, same, &csv()), Some("output location or key"));
        let target = json!({"target": "z", "training": {"mode": "ensembling"}});
        assert_eq!(other(json!({}), target, &csv()), Some("target column"));
        let mode = model(json!({"mode": "hyperparameter_tuning"}));
        assert_eq!(other(json!({}), mode, &csv()), Some("mode"));
        let limits = model(json!({"mode": "ensembling", "max_candidates": 3}));
        assert_eq!(other(json!({}), limits, &csv()), Some("limits"));
        let weight = model(json!({"mode": "ensembling", "sample_weight": "w"}));
        assert_eq!(other(json!({}), weight, &csv()), Some("sample weight"));
    }

    #[test]
    fn a_job_in_auto_mode_may_be_shown_in_the_mode_that_it_came_to() {
        let model = |mode: &str| json!({"target": "y", "training": {"mode": mode}});
        let auto = plan(&tenant(json!({})), model("auto"), &csv());
        let shown = described(&plan(&tenant(json!({})), model("ensembling"), &csv()));
        assert_eq!(auto.difference(&shown), None);
    }

    #[test]
    fn what_sagemaker_fills_in_makes_no_other_job() {
        let tenant = tenant(json!({
            "encryption": {"volume_key": "alias/disks"},
            "network": {"subnets": ["subnet-0123abcd", "subnet-0123abce"], "security_groups": ["sg-0123abcd"]},
        }));
        let series = json!({"target": "demand", "problem": {"time_series_forecasting": {
            "frequency": "1D", "horizon": 14, "item_column": "sku", "timestamp_column": "day",
        }}});
        let ours = plan(&tenant, series, &csv());
        let mut filled = described(&ours);
        filled.output_data_config = Some(
            AutoMlOutputDataConfig::builder()
                .s3_output_path(ours.output.s3_output_path().unwrap())
                .kms_key_id("")
                .build(),
        );
        let mut channel = ours.channels[0].clone();
        channel.compression_type = None;
        filled.auto_ml_job_input_data_config = Some(vec![channel]);
        let security = filled.security_config.as_mut().unwrap();
        security.vpc_config.as_mut().unwrap().subnets.as_mut().unwrap().reverse();
        let mut config = ours.problem.as_time_series_forecasting_job_config().unwrap().clone();
        config.forecast_quantiles = Some(vec!["p10".into(), "p50".into(), "p90".into()]);
        config.completion_criteria.as_mut().unwrap().max_runtime_per_training_job_in_seconds =
            Some(3600);
        let set = |config: &TimeSeriesForecastingJobConfig| {
            Some(AutoMlProblemTypeConfig::TimeSeriesForecastingJobConfig(config.clone()))
        };
        filled.auto_ml_problem_type_config = set(&config);
        assert_eq!(ours.difference(&filled), None);
        // What was asked for is still compared.
        config.forecast_horizon = Some(7);
        filled.auto_ml_problem_type_config = set(&config);
        assert_eq!(ours.difference(&filled), Some("problem"));
        filled.security_config.as_mut().unwrap().volume_kms_key_id = Some("alias/other".into());
        assert_eq!(ours.difference(&filled), Some("network or encryption"));
    }

    #[test]
    fn the_feature_specification_names_columns_and_types() {
        let settings: ModelSettings = serde_json::from_value(
            json!({"target": "y", "training": {"features": {"b": "text", "a": "numeric"}}}),
        )
        .unwrap();
        assert_eq!(
            feature_specification(&settings),
            Some(json!({
                "FeatureAttributeNames": ["a", "b"],
                "FeatureDataTypes": {"a": "numeric", "b": "text"},
            }))
        );
        assert_eq!(feature_specification(&ModelSettings::predicting("y")), None);
    }

    #[test]
    fn a_type_alone_leaves_all_columns_to_learn_from() {
        let settings: ModelSettings = serde_json::from_value(
            json!({"target": "y", "training": {"feature_types": {"zip": "categorical"}}}),
        )
        .unwrap();
        let specification = json!({"FeatureDataTypes": {"zip": "categorical"}});
        assert_eq!(feature_specification(&settings), Some(specification));
    }
}
