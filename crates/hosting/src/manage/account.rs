//! The resources of ours in a customer's account, found by name and told from what is not ours
//! by their tags.

use std::collections::HashMap;
use std::fmt;

use crosspilot_core::aws::sagemaker::Client;
use crosspilot_core::aws::sagemaker::primitives::{DateTime, DateTimeFormat};
use crosspilot_core::aws::sagemaker::types::{AutoMlJobStatus, TransformJobStatus};
use crosspilot_core::error::{CallError, Named};
use crosspilot_core::ids::ModelName;
use crosspilot_core::run::{DIGEST_LENGTH, NAME_PREFIX, endpoint_name, job_prefix};
use crosspilot_core::sagemaker::found;
use crosspilot_core::tenant::Tenant;

/// The kind of a resource that serves a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Endpoint,
    Config,
    Model,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Endpoint => "endpoint",
            Kind::Config => "endpoint config",
            Kind::Model => "model",
        })
    }
}

/// The kind of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JobKind {
    Training,
    Scoring,
}

/// A resource of ours.
#[derive(Debug, Clone)]
pub(super) struct Resource {
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) model: ModelName,
}

/// All that has such a name.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) ours: Vec<Resource>,
    /// The resources that do not carry our tags.
    pub(super) foreign: Vec<String>,
}

/// A job at work.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) kind: JobKind,
    pub(super) name: String,
    pub(super) model: ModelName,
    pub(super) created: String,
    pub(super) stopping: bool,
}

/// A name as a list gives it.
struct Listed {
    kind: Kind,
    name: String,
    arn: String,
}

/// The owner of the resources that are looked for: a tenant, or one of its models.
#[derive(Clone, Copy)]
pub(super) struct Search<'a> {
    pub(super) sagemaker: &'a Client,
    pub(super) tenant: &'a Tenant,
    pub(super) model: Option<&'a ModelName>,
}

impl Search<'_> {
    /// Endpoints, configs and models.
    pub(super) async fn everything(self) -> Result<Found, CallError> {
        let mut listed = self.list_endpoints().await?;
        listed.extend(self.list_configs().await?);
        listed.extend(self.list_models().await?);
        self.sort_out(listed).await
    }

    /// Endpoints.
    pub(super) async fn endpoints(self) -> Result<Found, CallError> {
        self.sort_out(self.list_endpoints().await?).await
    }

    /// AutoML and transform jobs that are at work or stopping.
    pub(super) async fn jobs(self) -> Result<Vec<Job>, CallError> {
        let (mut jobs, prefix) = (Vec::new(), self.job_prefix());
        for stopping in [false, true] {
            for (kind, listed) in [
                (JobKind::Training, self.training_jobs(stopping).await?),
                (JobKind::Scoring, self.scoring_jobs(stopping).await?),
            ] {
                // Lists look for a name's part anywhere in it.
                let ours = listed.into_iter().filter(|[name, ..]| name.starts_with(&prefix));
                for [name, arn, created] in ours {
                    let Some(tags) = self.tags(&arn).await? else { continue };
                    if let Some(model) = self.ours(&tags).filter(|model| self.wants(model)) {
                        jobs.push(Job { kind, name, model, created, stopping });
                    }
                }
            }
        }
        Ok(jobs)
    }

    /// Name, ARN and moment of each.
    async fn training_jobs(self, stopping: bool) -> Result<Vec<[String; 3]>, CallError> {
        let status = if stopping { AutoMlJobStatus::Stopping } else { AutoMlJobStatus::InProgress };
        let list = self.sagemaker.list_auto_ml_jobs().name_contains(self.job_prefix());
        let mut pages = list.status_equals(status).into_paginator().send();
        let mut listed = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.named("sagemaker:ListAutoMLJobs", "*")?;
            listed.extend(page.auto_ml_job_summaries().iter().map(|job| {
                let name = job.auto_ml_job_name().unwrap_or_default().to_owned();
                let arn = job.auto_ml_job_arn().unwrap_or_default().to_owned();
                [name, arn, moment(job.creation_time())]
            }));
        }
        Ok(listed)
    }

    /// Name, ARN and moment of each.
    async fn scoring_jobs(self, stopping: bool) -> Result<Vec<[String; 3]>, CallError> {
        let status =
            if stopping { TransformJobStatus::Stopping } else { TransformJobStatus::InProgress };
        let list = self.sagemaker.list_transform_jobs().name_contains(self.job_prefix());
        let mut pages = list.status_equals(status).into_paginator().send();
        let mut listed = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.named("sagemaker:ListTransformJobs", "*")?;
            listed.extend(page.transform_job_summaries().iter().map(|job| {
                let name = job.transform_job_name().unwrap_or_default().to_owned();
                let arn = job.transform_job_arn().unwrap_or_default().to_owned();
                [name, arn, moment(job.creation_time())]
            }));
        }
        Ok(listed)
    }

    /// Gives the prefix that all names of jobs have: other models' may have it, too.
    fn job_prefix(self) -> String {
        self.model.map_or(NAME_PREFIX.to_owned(), job_prefix)
    }

    /// Gives the prefix that all names have.
    fn name(self) -> String {
        let tenant = &self.tenant.tenant;
        match self.model {
            Some(model) => endpoint_name(tenant, model),
            None => format!("{NAME_PREFIX}{tenant}-"),
        }
    }

    /// Tells whether the name can be one that was looked for: lists look anywhere in it.
    fn named_so(self, kind: Kind, name: &str) -> bool {
        match (self.model, kind) {
            (Some(_), Kind::Endpoint) => name == self.name(),
            // Another model's name may begin like this one's: the session does not
            // reach what is named after that.
            (Some(_), _) => {
                let digest =
                    name.strip_prefix(&self.name()).and_then(|rest| rest.strip_prefix('-'));
                digest.is_some_and(|digest| digest.len() == DIGEST_LENGTH)
            }
            (None, _) => name.starts_with(&self.name()),
        }
    }

    async fn sort_out(self, listed: Vec<Listed>) -> Result<Found, CallError> {
        let mut all = Found::default();
        for Listed { kind, name, arn } in listed {
            if !self.named_so(kind, &name) {
                continue;
            }
            let Some(tags) = self.tags(&arn).await? else { continue };
            match self.ours(&tags) {
                Some(model) if self.wants(&model) => {
                    all.ours.push(Resource { kind, name, model });
                }
                // Another model whose name begins like this one's.
                Some(_) => {}
                None => all.foreign.push(format!("{kind} {name}")),
            }
        }
        Ok(all)
    }

    fn wants(self, model: &ModelName) -> bool {
        self.model.is_none_or(|wanted| wanted == model)
    }

    /// The model that it belongs to, if its tags say that it is the tenant's.
    fn ours(self, tags: &HashMap<String, String>) -> Option<ModelName> {
        let has = |key: &str, value: &str| tags.get(key).is_some_and(|found| found == value);
        (has("ManagedBy", "crosspilot") && has("TenantId", self.tenant.tenant.as_str()))
            .then(|| tags.get("Model")?.parse().ok())?
    }

    /// None if it is gone meanwhile.
    async fn tags(self, arn: &str) -> Result<Option<HashMap<String, String>>, CallError> {
        let mut tags = HashMap::new();
        let mut pages = self.sagemaker.list_tags().resource_arn(arn).into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.named("sagemaker:ListTags", arn);
            let Some(page) = found(page)? else { return Ok(None) };
            let pair = |tag: &crosspilot_core::aws::sagemaker::types::Tag| {
                Some((tag.key()?.to_owned(), tag.value()?.to_owned()))
            };
            tags.extend(page.tags().iter().filter_map(pair));
        }
        Ok(Some(tags))
    }

    async fn list_endpoints(self) -> Result<Vec<Listed>, CallError> {
        let mut listed = Vec::new();
        let list = self.sagemaker.list_endpoints().name_contains(self.name());
        let mut pages = list.into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.named("sagemaker:ListEndpoints", "*")?;
            listed.extend(page.endpoints().iter().map(|endpoint| Listed {
                kind: Kind::Endpoint,
                name: endpoint.endpoint_name().unwrap_or_default().to_owned(),
                arn: endpoint.endpoint_arn().unwrap_or_default().to_owned(),
            }));
        }
        Ok(listed)
    }

    async fn list_configs(self) -> Result<Vec<Listed>, CallError> {
        let mut listed = Vec::new();
        let list = self.sagemaker.list_endpoint_configs().name_contains(self.name());
        let mut pages = list.into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.named("sagemaker:ListEndpointConfigs", "*")?;
            listed.extend(page.endpoint_configs().iter().map(|config| Listed {
                kind: Kind::Config,
                name: config.endpoint_config_name().unwrap_or_default().to_owned(),
                arn: config.endpoint_config_arn().unwrap_or_default().to_owned(),
            }));
        }
        Ok(listed)
    }

    async fn list_models(self) -> Result<Vec<Listed>, CallError> {
        let mut listed = Vec::new();
        let list = self.sagemaker.list_models().name_contains(self.name());
        let mut pages = list.into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.named("sagemaker:ListModels", "*")?;
            listed.extend(page.models().iter().map(|model| Listed {
                kind: Kind::Model,
                name: model.model_name().unwrap_or_default().to_owned(),
                arn: model.model_arn().unwrap_or_default().to_owned(),
            }));
        }
        Ok(listed)
    }
}

/// A moment of AWS's, RFC 3339.
pub(super) fn moment(time: Option<&DateTime>) -> String {
    time.and_then(|time| time.fmt(DateTimeFormat::DateTime).ok()).unwrap_or_default()
}
