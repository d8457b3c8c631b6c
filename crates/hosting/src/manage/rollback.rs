//! Lets an endpoint serve the predecessor of its champion again, from the
//! config that was kept for it.

use std::time::SystemTime;

use crosspilot_core::lambda::App;
use crosspilot_core::manage::{Progress, Report};
use crosspilot_core::policy::Purpose;
use crosspilot_core::registry::{Lineup, OwnCall, OwnCalls, Serving, model_settings, seconds};
use crosspilot_core::run::RunRef;
use crosspilot_core::sagemaker::tags;
use crosspilot_core::tenant::Tenant;

use super::{done, open, waiting};
use crate::HostingError;
use crate::deploy::nobody_works_on;
use crate::endpoint::{self, Endpoint, EndpointStep};
use crate::mover::{Moved, Target};
use crate::settle::{EndpointContext, unscaled};

/// Moves the endpoint and then the lineup. Done again, it finds it done. A
/// challenger that nobody works on any more is put back before.
pub(super) async fn roll_back(
    app: &App,
    tenant: &Tenant,
    to: &RunRef,
    mut begun: bool,
) -> Result<Progress, HostingError> {
    let (name, config) = (to.endpoint_name(), to.deployment_name());
    let no_way = |reason: String| HostingError::NoWayBack {
        endpoint: name.clone(),
        to: to.run_id.clone(),
        reason,
    };
    let mut lineup = app.registry.lineup(&to.tenant, &to.model).await?;
    let settings = model_settings(tenant, &to.model)?;
    if let Some(stuck) = &lineup.challenger
        && nobody_works_on(app, stuck, &lineup, settings).await?
    {
        let session = open(app, tenant, Purpose::Settle(&stuck.run)).await?;
        let scene = EndpointContext { app, tenant, settings: Some(settings), session };
        if let Some(reason) = scene.put_back(&stuck.run, lineup.champion.as_ref()).await? {
            return Ok(waiting(reason));
        }
        lineup = app.registry.lineup(&to.tenant, &to.model).await?;
        // Until here, the endpoint was on its way back to the champion.
        begun = false;
    }
    let serving = known(&lineup, to).map_err(no_way)?;
    let session = open(app, tenant, Purpose::Settle(to)).await?;
    let scene = EndpointContext { app, tenant, settings: Some(settings), session };
    let sagemaker = scene.session.sagemaker();

    let found = Endpoint::find(&sagemaker, &name).await?;
    let step = next(found.as_ref(), &config, begun).map_err(no_way)?;
    if step == EndpointStep::Adopt
        && found.as_ref().is_some_and(|found| found.status == "InService")
    {
        return Ok(done(conclude(&scene, &lineup, serving).await?));
    }
    let may_be_replaced = settings.deployment.replace_endpoint;
    let tags = tags(tenant, to);
    let back = Target { endpoint: &name, config: &config, may_be_replaced, guard: None, tags };
    match back.advance(&scene.session, found).await {
        Ok(Moved::OnItsWay(_) | Moved::Waits(_)) => {
            Ok(waiting(format!("endpoint {name} is moving to {config}")))
        }
        Ok(Moved::NotReplaced) => Err(no_way(
            "it runs on instances, that model is serverless, and SageMaker updates no endpoint so: set deployment.replace_endpoint to true if it may be gone for some minutes, then roll back again, or train again with `crosspilot run start`".to_owned(),
        )),
        // The endpoint was there a moment ago.
        Err(error) if error.is_missing() => Err(no_way(format!(
            "its endpoint config {config} is gone; train again with `crosspilot run start`"
        ))),
        Err(error) => Err(error.into()),
    }
}

/// Notes that the model serves again, and lets it scale.
async fn conclude(
    scene: &EndpointContext<'_>,
    lineup: &Lineup,
    serving: &Serving,
) -> Result<Report, HostingError> {
    let (registry, run) = (&scene.app.registry, &serving.run);
    if !lineup.is_led_by(run) {
        let now = seconds(SystemTime::now());
        let variant = serving.variant.clone();
        let back = OwnCall { variant, begun: now, ended: now, calls: 0 };
        let note = |own: &mut OwnCalls| own.note(back.clone());
        registry.change_own_calls(&run.tenant, &run.model, note).await?;
    }
    registry
        .change_lineup(&run.tenant, &run.model, |lineup| {
            if lineup.previous.as_ref().is_some_and(|previous| previous.run == *run) {
                lineup.roll_back();
            }
        })
        .await?;
    // It serves, scaled or not.
    let endpoint = run.endpoint_name();
    let warning = scene.scale(serving).await.err().map(|error| unscaled(&endpoint, &error));
    Ok(Report::RolledBack { endpoint, serves: run.run_id.clone(), warning })
}

/// Only the champion's predecessor can come back, or the champion that is back.
fn known<'a>(lineup: &'a Lineup, to: &RunRef) -> Result<&'a Serving, String> {
    if let Some(challenger) = &lineup.challenger {
        return Err(format!(
            "run {} is being deployed; wait for its end or stop it with `crosspilot run stop`",
            challenger.run.run_id
        ));
    }
    lineup.models().find(|serving| serving.run == *to).ok_or_else(|| {
        "it is neither the champion nor its predecessor; see `crosspilot run list`".to_owned()
    })
}

/// The endpoint's next step, unless it is at work for something else, or SageMaker
/// has taken back what was begun here.
fn next(found: Option<&Endpoint>, config: &str, begun: bool) -> Result<EndpointStep, String> {
    let step = endpoint::step(found, config);
    let status = found.map_or("gone", |found| found.status.as_str());
    match step {
        EndpointStep::Wait if !begun && status != "Deleting" => Err(format!(
            "it is {status} on behalf of something else; try again when it is InService"
        )),
        EndpointStep::Update | EndpointStep::ClearAway if begun => Err(format!(
            "SageMaker took it back, and it is {status}; look at its failure reason in SageMaker"
        )),
        step => Ok(step),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn endpoint(status: &str, config: &str, pending: Option<&str>) -> Endpoint {
        Endpoint {
            status: status.into(),
            config: config.into(),
            pending: pending.map(str::to_owned),
            ..Endpoint::default()
        }
    }

    #[test]
    fn an_endpoint_goes_back_once() {
        let serving = endpoint("InService", "new", None);
        assert_eq!(next(Some(&serving), "old", false), Ok(EndpointStep::Update));
        let moving = endpoint("Updating", "new", Some("old"));
        assert_eq!(next(Some(&moving), "old", true), Ok(EndpointStep::Adopt));
        for begun in [true, false] {
            let back = endpoint("InService", "old", None);
            assert_eq!(next(Some(&back), "old", begun), Ok(EndpointStep::Adopt));
        }
    }

    #[test]
    fn one_that_was_removed_or_failed_is_made_anew() {
        assert_eq!(next(None, "old", true), Ok(EndpointStep::Create));
        let failed = endpoint("Failed", "new", None);
        assert_eq!(next(Some(&failed), "old", false), Ok(EndpointStep::ClearAway));
        let deleting = endpoint("Deleting", "new", None);
        assert_eq!(next(Some(&deleting), "old", false), Ok(EndpointStep::Wait));
    }

    #[test]
    fn it_never_gets_in_the_way_of_another_update() {
        let other = endpoint("Updating", "old", Some("newest"));
        let reason = next(Some(&other), "old", false).unwrap_err();
        assert!(reason.starts_with("it is Updating on behalf of something else"), "{reason}");
    }

    #[test]
    fn what_sagemaker_took_back_is_told_and_not_tried_again() {
        let back = endpoint("InService", "new", None);
        let reason = next(Some(&back), "old", true).unwrap_err();
        assert!(reason.starts_with("SageMaker took it back"), "{reason}");
        let rolling = endpoint("RollingBack", "new", Some("old"));
        assert_eq!(next(Some(&rolling), "old", true), Ok(EndpointStep::Wait));
    }

    #[test]
    fn only_the_predecessor_comes_back() {
        let run = |id: &str| crosspilot_scripted::run(&format!("20260101-{id}"));
        let serving = |id: &str| crosspilot_scripted::serving(&format!("20260101-{id}"));
        let mut lineup = Lineup {
            champion: Some(serving("0000000002")),
            previous: Some(serving("0000000001")),
            ..Lineup::default()
        };
        for id in ["0000000001", "0000000002"] {
            assert_eq!(known(&lineup, &run(id)).unwrap().run, run(id));
        }
        assert!(known(&lineup, &run("0000000003")).is_err());
        lineup.challenger = Some(serving("0000000003"));
        assert!(known(&lineup, &run("0000000001")).unwrap_err().contains("being deployed"));
    }
}
