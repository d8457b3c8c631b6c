//! Endpoints: a configuration at work, replaced without a gap.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::records::capture_config::DataCaptureConfig;
use crate::records::deployment_config::DeploymentConfig;
use crate::records::endpoint_config::EndpointConfig;
use crate::records::resource::Resource;
use crate::records::running_variant::{DesiredWeightAndCapacity, RunningVariant};
use crate::wire::error::ApiError;
use crate::wire::ids::now;
use crate::wire::paging::{ListingSpec, NEWEST_FIRST, Row};

/// The status of an endpoint, as an `EndpointStatus`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum EndpointStatus {
    Creating,
    Updating,
    RollingBack,
    InService,
    Deleting,
    Failed,
}

impl EndpointStatus {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Creating => "Creating",
            Self::Updating => "Updating",
            Self::RollingBack => "RollingBack",
            Self::InService => "InService",
            Self::Deleting => "Deleting",
            Self::Failed => "Failed",
        }
    }

    /// Tells whether an update or a deletion has to wait.
    pub(crate) fn in_progress(self) -> bool {
        matches!(self, Self::Creating | Self::Updating | Self::RollingBack | Self::Deleting)
    }

    /// Tells whether the endpoint answers: it does so all through an update.
    pub(crate) fn serves(self) -> bool {
        matches!(self, Self::InService | Self::Updating | Self::RollingBack)
    }
}

/// An endpoint.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Endpoint {
    pub(crate) name: String,
    pub(crate) arn: String,
    created: f64,
    pub(crate) modified: f64,
    pub(crate) status: EndpointStatus,
    pub(crate) failure: Option<String>,
    /// The variants that serve (or are to serve first).
    pub(crate) current: Deployed,
    /// The update under way.
    pub(crate) pending: Option<Pending>,
    /// The deployment configuration of the last creation or update.
    pub(crate) deployment: Option<DeploymentConfig>,
}

/// The configuration that an endpoint runs, as its variants are now.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Deployed {
    /// Name of the endpoint configuration.
    pub(crate) config: String,
    /// Weights and counts are what they are now, which may differ from the
    /// configuration's.
    pub(crate) variants: Vec<RunningVariant>,
    /// The `DataCaptureConfig` in force.
    pub(crate) capture: Option<DataCaptureConfig>,
}

/// An update under way.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Pending {
    pub(crate) target: Deployed,
    started: f64,
    /// The update's `DeploymentConfig`.
    pub(crate) deployment: Option<DeploymentConfig>,
    /// The stage of the new fleet, as a `VariantStatus`.
    pub(crate) stage: String,
}

/// A fleet, as far as rules for deployments look at it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fleet {
    /// The variants' names, in order.
    pub(crate) variants: Vec<String>,
    /// Of all variants together.
    pub(crate) instances: u64,
    pub(crate) serverless: bool,
}

impl Deployed {
    /// Gives what a configuration runs at first.
    pub(crate) fn new(name: &str, config: &EndpointConfig) -> Self {
        let request = config.request();
        Self {
            config: name.into(),
            variants: request.production_variants.iter().map(RunningVariant::from).collect(),
            capture: request.data_capture_config,
        }
    }

    pub(crate) fn variant(&self, name: &str) -> Option<&RunningVariant> {
        self.variants.iter().find(|variant| variant.name == name)
    }

    fn variant_mut(&mut self, name: &str) -> Option<&mut RunningVariant> {
        self.variants.iter_mut().find(|variant| variant.name == name)
    }

    /// Sets the weight and size that a variant is to have.
    pub(crate) fn want(&mut self, wanted: &DesiredWeightAndCapacity) -> Result<(), String> {
        let name = &wanted.variant_name;
        let variant = self.variant_mut(name);
        variant.ok_or_else(|| format!("Could not find variant \"{name}\"."))?.want(wanted)
    }

    /// The fleet of these variants.
    pub(crate) fn fleet(&self) -> Fleet {
        let variants = &self.variants;
        Fleet {
            variants: variants.iter().map(|variant| variant.name.clone()).collect(),
            instances: variants.iter().filter_map(|variant| variant.desired_count).sum(),
            serverless: variants.iter().any(|variant| variant.serverless.is_some()),
        }
    }

    /// Wants as many instances of each variant as its limits (least and most) allow; whether
    /// that changes anything.
    pub(crate) fn limit_instances(&mut self, limits: &[(String, u64, u64)]) -> bool {
        let mut changed = false;
        for (name, least, most) in limits {
            let variant = self.variant_mut(name);
            let Some(count) = variant.and_then(|variant| variant.desired_count.as_mut()) else {
                continue;
            };
            let wanted = (*count).clamp(*least, *most);
            changed |= wanted != *count;
            *count = wanted;
        }
        changed
    }

    /// Takes over the properties of the running variants that are to be kept, each by its
    /// `VariantPropertyType`.
    pub(crate) fn retain(&mut self, running: &Self, keep: impl Fn(&str) -> bool) {
        for variant in &mut self.variants {
            let Some(old) = running.variant(&variant.name) else { continue };
            // A serverless variant has no instances, and gets none.
            if keep("DesiredInstanceCount")
                && variant.desired_count.is_some()
                && old.desired_count.is_some()
            {
                variant.current_count = old.current_count;
                variant.desired_count = old.desired_count;
            }
            if keep("DesiredWeight") {
                variant.current_weight = old.current_weight;
                variant.desired_weight = old.desired_weight;
            }
        }
        if keep("DataCaptureConfig") {
            self.capture.clone_from(&running.capture);
        }
    }
}

impl Pending {
    pub(crate) fn new(target: Deployed, deployment: Option<DeploymentConfig>) -> Self {
        Self { target, started: now(), deployment, stage: "Creating".into() }
    }

    fn summary(&self) -> Value {
        let status = json!([{ "Status": self.stage, "StartTime": self.started }]);
        let variants = self.target.variants.iter().map(|variant| {
            let mut variant = json!(variant);
            variant["VariantStatus"] = status.clone();
            variant
        });
        json!({
            "EndpointConfigName": self.target.config,
            "StartTime": self.started,
            "ProductionVariants": variants.collect::<Vec<_>>(),
        })
    }
}

impl Endpoint {
    /// An endpoint that is being created from now on.
    pub(crate) fn new(
        name: &str,
        arn: &str,
        current: Deployed,
        deployment: Option<DeploymentConfig>,
    ) -> Self {
        Self {
            name: name.into(),
            arn: arn.into(),
            created: now(),
            modified: now(),
            status: EndpointStatus::Creating,
            failure: None,
            current,
            pending: None,
            deployment,
        }
    }

    /// Enters another status.
    pub(crate) fn enter(&mut self, status: EndpointStatus) {
        self.status = status;
        self.modified = now();
    }

    /// Refuses a change while another one is under way.
    pub(crate) fn can_change(&self) -> Result<(), ApiError> {
        if self.status.in_progress() {
            let message = format!("Cannot update in-progress endpoint \"{}\".", self.arn);
            return Err(ApiError::Validation(message));
        }
        Ok(())
    }

    /// Ends a change: what was wanted serves now.
    pub(crate) fn settle(&mut self) {
        self.enter(EndpointStatus::InService);
        if let Some(done) = self.pending.take() {
            self.current = done.target;
            self.deployment = done.deployment;
        }
        self.current.variants.iter_mut().for_each(RunningVariant::settle);
    }

    /// Lets everything have happened so much earlier.
    pub(crate) fn age(&mut self, by: Duration) {
        self.created -= by.as_secs_f64();
        self.modified -= by.as_secs_f64();
    }

    fn state(&self) -> Value {
        json!({
            "EndpointName": self.name, "EndpointArn": self.arn, "EndpointStatus": self.status.name(),
            "CreationTime": self.created, "LastModifiedTime": self.modified,
        })
    }
}

impl Resource for Endpoint {
    const KIND: &'static str = "endpoint";
    const NAMED_BY: &'static str = "EndpointName";
    const LISTING: ListingSpec = ListingSpec::new("Endpoints", NEWEST_FIRST);

    fn name(&self) -> &str {
        &self.name
    }

    fn arn(&self) -> &str {
        &self.arn
    }

    fn describe(&self) -> Value {
        let mut answer = self.state();
        answer["EndpointConfigName"] = json!(self.current.config);
        if let Some(reason) = &self.failure {
            answer["FailureReason"] = json!(reason);
        }
        // Nothing serves before the first start.
        if self.status.serves() {
            answer["ProductionVariants"] = json!(self.current.variants);
        }
        if let Some(capture) = &self.current.capture {
            answer["DataCaptureConfig"] = capture.summary();
        }
        if let Some(deployment) = &self.deployment {
            answer["LastDeploymentConfig"] = json!(deployment);
        }
        if let Some(pending) = &self.pending {
            answer["PendingDeploymentSummary"] = pending.summary();
        }
        answer
    }

    fn row(&self) -> Row {
        Row::new(&self.name, self.created, self.state())
            .modified(self.modified)
            .status(self.status.name())
    }

    fn missing(_: &str, arn: &str) -> ApiError {
        ApiError::Validation(format!("Could not find endpoint \"{arn}\"."))
    }

    fn taken(_: &str, arn: &str) -> ApiError {
        ApiError::Validation(format!("Cannot create already existing endpoint \"{arn}\"."))
    }
}
