//! Moves an endpoint to a config, one step at a time: for a deployment, for a challenger
//! that is put back, and for a rollback alike.

use crosspilot_core::aws::sagemaker::types::{DeploymentConfig, Tag};
use crosspilot_core::error::CallError;
use crosspilot_core::session::CustomerSession;

use crate::endpoint::{self, Action, Endpoint, EndpointStep};
use crate::{endpoint_config, scaling};

/// The config that an endpoint is to get to.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    /// Name of the endpoint.
    pub(crate) endpoint: &'a str,
    /// Name of the config that it shall serve, which exists.
    pub(crate) config: &'a str,
    /// `true` if the endpoint may be deleted and made again where SageMaker does not update it.
    pub(crate) may_be_replaced: bool,
    /// The deployment config that guards an update.
    pub(crate) guard: Option<DeploymentConfig>,
    /// Tags of an endpoint that is made.
    pub(crate) tags: Vec<Tag>,
}

/// The state of an endpoint after one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Moved {
    /// The endpoint serves the config, or is on its way there.
    OnItsWay(Action),
    /// Something has to end first: what, as the end of a sentence about the endpoint.
    Waits(String),
    /// The endpoint would have to be replaced, and may not be: nothing was done.
    NotReplaced,
}

impl Target<'_> {
    /// Decides what is to be done with the endpoint as it was found.
    pub(crate) fn step(&self, found: Option<&Endpoint>) -> EndpointStep {
        endpoint::step(found, self.config)
    }

    /// Takes the endpoint, as it was found, one step further. A config that does not show
    /// is an error that [`CallError::is_missing`] tells.
    pub(crate) async fn advance(
        self,
        session: &CustomerSession,
        found: Option<Endpoint>,
    ) -> Result<Moved, CallError> {
        let sagemaker = session.sagemaker();
        let waits = |what: String| Ok(Moved::Waits(what));
        match self.step(found.as_ref()) {
            EndpointStep::Adopt => Ok(Moved::OnItsWay(Action::Adopted)),
            EndpointStep::Wait => {
                let status = found.map(|found| found.status).unwrap_or_default();
                waits(format!("is {status} and has to end that first"))
            }
            EndpointStep::ClearAway => {
                endpoint::delete(&sagemaker, self.endpoint).await?;
                waits("is left of a failed attempt and is being cleared away".to_owned())
            }
            EndpointStep::Create => {
                endpoint::create(&sagemaker, self.endpoint, self.config, self.tags).await?;
                Ok(Moved::OnItsWay(Action::Created))
            }
            EndpointStep::Update => {
                let kind = endpoint_config::kind_of(&sagemaker, self.config).await?;
                let replaced = found.as_ref().is_some_and(|found| found.is_replaced_for(kind));
                if replaced && !self.may_be_replaced {
                    return Ok(Moved::NotReplaced);
                }
                let variants = found.map(|found| found.variants).unwrap_or_default();
                // SageMaker changes no endpoint whose variants may scale.
                scaling::deregister(&session.auto_scaling(), self.endpoint, &variants).await?;
                if replaced {
                    endpoint::delete(&sagemaker, self.endpoint).await?;
                    return waits(format!("is being replaced by one that is {kind}"));
                }
                if endpoint::update(&sagemaker, self.endpoint, self.config, self.guard).await? {
                    Ok(Moved::OnItsWay(Action::Updated))
                } else {
                    waits("has to end first what it is doing".to_owned())
                }
            }
        }
    }
}
