//! The AutoML job that a run asks for, and whether a job found is that one.

use crosspilot_core::aws::sagemaker::Client;
use crosspilot_core::aws::sagemaker::operation::create_auto_ml_job_v2::builders::CreateAutoMLJobV2FluentBuilder;
use crosspilot_core::aws::sagemaker::operation::describe_auto_ml_job_v2::DescribeAutoMlJobV2Output;
use crosspilot_core::aws::sagemaker::types::{
    AutoMlChannelType, AutoMlDataSource, AutoMlJobChannel, AutoMlJobCompletionCriteria,
    AutoMlJobObjective, AutoMlMetricEnum, AutoMlOutputDataConfig, AutoMlProblemTypeConfig,
    AutoMlSecurityConfig, AutoMls3DataSource, AutoMls3DataType, ProblemType, TabularJobConfig, Tag,
    VpcConfig,
};
use crosspilot_core::error::{CallError, Code};
use crosspilot_core::layout;
use crosspilot_core::run::RunRef;
use crosspilot_core::settings::{ModelSettings, Objective};
use crosspilot_core::tenant::{Limits, Network, Tenant};

/// All that is decided about a job before AWS is asked.
pub(crate) struct JobPlan {
    pub(crate) name: String,
    pub(crate) training_data: String,
    output: String,
    role: String,
    target: String,
    objective: Option<Objective>,
    limits: Limits,
    network: Option<Network>,
    tags: [(&'static str, String); 4],
}

impl JobPlan {
    pub(crate) fn new(tenant: &Tenant, settings: &ModelSettings, run: &RunRef) -> Self {
        Self {
            name: run.job_name(),
            training_data: layout::uri(tenant, &layout::train_prefix(&tenant.prefix, &run.model)),
            output: layout::uri(tenant, &layout::automl_prefix(&tenant.prefix, run)),
            role: tenant.execution_role_arn.to_string(),
            target: settings.target.clone(),
            objective: settings.objective.clone(),
            limits: tenant.limits,
            network: tenant.network.clone(),
            tags: run.tags(),
        }
    }

    /// The request. Problem type and metric go together or not at all; the
    /// completion criteria are always set, so that no job is unbounded.
    pub(crate) fn create(
        &self,
        sagemaker: &Client,
    ) -> Result<CreateAutoMLJobV2FluentBuilder, CallError> {
        let invalid = |reason: String| {
            CallError::refused(
                Code::RequestInvalid,
                "sagemaker:CreateAutoMLJobV2",
                &self.name,
                "Invalid",
                reason,
            )
        };
        let source = AutoMls3DataSource::builder()
            .s3_data_type(AutoMls3DataType::S3Prefix)
            .s3_uri(&self.training_data)
            .build();
        let channel = AutoMlJobChannel::builder()
            .channel_type(AutoMlChannelType::Training)
            .content_type("text/csv;header=present")
            .data_source(AutoMlDataSource::builder().s3_data_source(source).build())
            .build();
        let criteria = AutoMlJobCompletionCriteria::builder()
            .max_candidates(i32::from(self.limits.max_candidates))
            .max_auto_ml_job_runtime_in_seconds(
                i32::try_from(self.limits.max_runtime_seconds).unwrap_or(i32::MAX),
            )
            .build();
        let objective = self.objective.as_ref();
        let tabular = TabularJobConfig::builder()
            .target_attribute_name(&self.target)
            .completion_criteria(criteria)
            .set_problem_type(objective.map(|o| ProblemType::from(o.problem_type.as_str())))
            .build();
        let mut request = sagemaker
            .create_auto_ml_job_v2()
            .auto_ml_job_name(&self.name)
            .auto_ml_job_input_data_config(channel)
            .output_data_config(
                AutoMlOutputDataConfig::builder().s3_output_path(&self.output).build(),
            )
            .auto_ml_problem_type_config(AutoMlProblemTypeConfig::TabularJobConfig(tabular))
            .role_arn(&self.role);
        if let Some(objective) = objective {
            request = request.auto_ml_job_objective(
                AutoMlJobObjective::builder()
                    .metric_name(AutoMlMetricEnum::from(objective.metric.as_str()))
                    .build(),
            );
        }
        if let Some(Network { subnets, security_groups }) = &self.network {
            let network = VpcConfig::builder()
                .set_subnets(Some(subnets.clone()))
                .set_security_group_ids(Some(security_groups.clone()))
                .build();
            request = request.security_config(
                AutoMlSecurityConfig::builder()
                    .vpc_config(network)
                    .enable_inter_container_traffic_encryption(true)
                    .build(),
            );
        }
        for (key, value) in &self.tags {
            let tag = Tag::builder().key(*key).value(value);
            request = request.tags(tag.build());
        }
        if self.target.is_empty() {
            return Err(invalid("the model has no target column".into()));
        }
        Ok(request)
    }

    /// What makes a job found under our name another one, if anything.
    pub(crate) fn difference(&self, found: &DescribeAutoMlJobV2Output) -> Option<&'static str> {
        let input = found
            .auto_ml_job_input_data_config()
            .first()
            .and_then(|channel| channel.data_source())
            .and_then(|source| source.s3_data_source())
            .and_then(|source| source.s3_uri());
        let output = found.output_data_config().and_then(|config| config.s3_output_path());
        let target = match found.auto_ml_problem_type_config() {
            Some(AutoMlProblemTypeConfig::TabularJobConfig(tabular)) => {
                tabular.target_attribute_name()
            }
            _ => None,
        };
        if found.role_arn() != Some(self.role.as_str()) {
            Some("execution role")
        } else if input != Some(self.training_data.as_str()) {
            Some("training data location")
        } else if output != Some(self.output.as_str()) {
            Some("output location")
        } else if target != Some(self.target.as_str()) {
            Some("target column")
        } else {
            None
        }
    }
}
