//! The gate, and a better model's way to the endpoint.

use std::time::{Duration, SystemTime};

use crosspilot_core::bucket::Bucket;
use crosspilot_core::decision::{Comparison, Decision, Score};
use crosspilot_core::execution::{self, Life};
use crosspilot_core::lambda::App;
use crosspilot_core::layout;
use crosspilot_core::policy::Purpose;
use crosspilot_core::polling::Waiting;
use crosspilot_core::registry::{Lineup, RegistryError, Serving, model_settings};
use crosspilot_core::run::RunRef;
use crosspilot_core::sagemaker::tags;
use crosspilot_core::session::CustomerSession;
use crosspilot_core::settings::{HostingKind, ModelSettings, OtherHosting, Traffic};
use crosspilot_core::tenant::Tenant;
use serde::{Deserialize, Serialize};

use crate::HostingError;
use crate::endpoint::{self, Action, Endpoint, EndpointStep};
use crate::endpoint_config::EndpointConfig;
use crate::gate::{Contest, decide};
use crate::mover::{Moved, Target};
use crate::settle::EndpointContext;

/// The time that a challenger may be on its way before it counts as given up, if it cannot be
/// told whether its run still works on it, and besides the time that its traffic takes to move.
const ON_ITS_WAY: Duration = Duration::from_secs(1800);

/// The challenger to deploy, and what is known about it.
#[derive(Debug, Clone, Deserialize)]
pub struct Deploy {
    /// The run, as `assume` gave it.
    pub run: RunRef,
    /// Name of the AutoML job.
    pub job: String,
    /// Name of the candidate whose model it is.
    pub candidate: String,
    /// The model's score on the validation data.
    pub score: Score,
    /// The comparison of the model and the champion on the held-out rows.
    #[serde(default)]
    pub comparison: Option<Comparison>,
    /// Seconds since the first attempt.
    #[serde(default)]
    pub elapsed_seconds: f64,
}

/// The state of the deployment.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum Deployed {
    /// The champion stays.
    Kept(Deployment),
    /// The endpoint is on its way to the model.
    Deploying(Deployment),
    /// Something has to end first: ask again.
    Waiting(Waiting),
    /// Another model has become the champion: compare again.
    Outdated,
}

/// A decision and what follows from it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Deployment {
    /// The decision whether the challenger is deployed, and why.
    pub decision: Decision,
    /// The job's best candidate.
    pub candidate: String,
    /// The candidate's score.
    pub score: Score,
    /// Name of the endpoint.
    pub endpoint: String,
    /// Name of the endpoint config that shall serve; absent when the champion
    /// stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// The change that was made to the endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
}

/// Moves the endpoint to the run's model if the gate lets it: as far as that goes now.
pub async fn deploy(app: &App, request: Deploy) -> Result<Deployed, HostingError> {
    let run = &request.run;
    let tenant = app.registry.active_tenant(&run.tenant).await?;
    let settings = model_settings(&tenant, &run.model)?;
    let record = app.registry.run(run).await?;
    if let Some(stop) = record.stop {
        return Err(HostingError::Stopped(stop));
    }
    let lineup = app.registry.lineup(&run.tenant, &run.model).await?;
    if let Some(other) = lineup.challenger.as_ref().filter(|challenger| challenger.run != *run) {
        return after_other(app, &tenant, settings, &request, other, &lineup).await;
    }
    let session = app.sessions.open(&tenant, Purpose::Deploy(run)).await?;
    let sagemaker = session.sagemaker();
    let name = run.endpoint_name();
    let found = Endpoint::find(&sagemaker, &name).await?;

    // A champion whose endpoint is gone is none, unless this run is replacing it.
    let serves = found.as_ref().is_some_and(Endpoint::serves);
    let replacing = lineup.is_challenged_by(run);
    let champion =
        lineup.champion.as_ref().filter(|champion| serves || replacing || champion.run == *run);
    let comparison = request.comparison.clone().unwrap_or_default();
    if comparison.held_out.is_some()
        && champion.is_some_and(|champion| {
            champion.run != *run && comparison.against.as_ref() != Some(&champion.run.run_id)
        })
    {
        return Ok(Deployed::Outdated);
    }
    let score = &request.score;
    let contest = Contest { run, gate: settings.gate, score, comparison: &comparison, champion };
    let decision = decide(&contest);
    tracing::info!(tenant = %run.tenant, model = %run.model, run = %run.run_id, reason = decision.reason, "decided");
    if !lineup.is_led_by(run) {
        note_down(&session, &tenant, run, &decision, &comparison).await?;
    }
    let mut deployment = Deployment {
        decision,
        candidate: request.candidate.clone(),
        score: request.score.clone(),
        endpoint: name.clone(),
        config: None,
        action: None,
    };
    if !deployment.decision.deploys() {
        return Ok(Deployed::Kept(deployment));
    }
    // Known before the job was paid for, but for settings that were changed since.
    let to = settings.deployment.hosting.kind();
    if let Some(from) = found.as_ref().filter(|found| found.changes_to(to)).and_then(|e| e.kind) {
        settings.deployment.may_follow(&name, from)?;
    }
    let challenger = Serving {
        run: run.clone(),
        job: request.job.clone(),
        candidate: request.candidate.clone(),
        endpoint: name.clone(),
        variant: variant(run, settings, champion, &record.features),
        metric: request.score.metric.clone(),
        value: request.score.value,
        features: record.features,
        booleans: record.booleans,
        numeric: record.numeric,
        hosting: Some(settings.deployment.hosting.kind()),
        target: settings.target.clone(),
    };
    let against = lineup.champion.as_ref().map(|champion| &champion.run);
    let plan = Plan { app, tenant: &tenant, settings, session, challenger, against };
    match plan.advance(found, champion).await? {
        Moved::OnItsWay(action) => {
            deployment.config = Some(run.deployment_name());
            deployment.action = Some(action);
            Ok(Deployed::Deploying(deployment))
        }
        Moved::Waits(what) => {
            Ok(waiting(format!("endpoint {name} {what}"), request.elapsed_seconds))
        }
        Moved::NotReplaced => {
            let (from, to) = (HostingKind::Instances, HostingKind::Serverless);
            Err(OtherHosting { endpoint: name, from, to }.into())
        }
    }
}

fn waiting(reason: String, elapsed_seconds: f64) -> Deployed {
    Deployed::Waiting(Waiting::after(elapsed_seconds, reason))
}

/// Another run moves the endpoint. It gets its time; if it was given up, the
/// endpoint goes back to the champion, so that no more than two models ever answer
/// at a time.
async fn after_other(
    app: &App,
    tenant: &Tenant,
    settings: &ModelSettings,
    request: &Deploy,
    other: &Serving,
    lineup: &Lineup,
) -> Result<Deployed, HostingError> {
    let other_run = &other.run.run_id;
    let mut reason = format!("run {other_run} is deploying to the same endpoint");
    if nobody_works_on(app, other, lineup, settings).await? {
        let session = app.sessions.open(tenant, Purpose::Settle(&other.run)).await?;
        let scene = EndpointContext { app, tenant, settings: Some(settings), session };
        let back = scene.put_back(&other.run, lineup.champion.as_ref()).await?;
        reason = back.unwrap_or_else(|| format!("run {other_run} was given up and put back"));
    }
    Ok(waiting(reason, request.elapsed_seconds))
}

/// Tells whether nobody works any more on the challenger that has the endpoint.
pub(crate) async fn nobody_works_on(
    app: &App,
    challenger: &Serving,
    lineup: &Lineup,
    settings: &ModelSettings,
) -> Result<bool, HostingError> {
    let RunRef { tenant, model, run_id } = &challenger.run;
    let life = match app.registry.run(&challenger.run).await {
        Ok(record) => execution::life(&app.config, &record.execution).await?,
        Err(RegistryError::Broken { .. }) => Life::Unknown,
        Err(error) => return Err(error.into()),
    };
    let age = lineup.claimed_ago(SystemTime::now());
    let given_up = is_given_up(life, age, &settings.deployment.update.traffic);
    if given_up {
        tracing::warn!(%tenant, %model, run = %run_id, ?life, ?age, "given up");
    }
    Ok(given_up)
}

/// Tells whether nobody works on a challenger any more. A run whose execution goes on
/// ends by its own limits and puts its challenger back itself; one whose execution
/// has ended does nothing more. Where that is not known, the challenger's own age
/// decides, however long anybody has waited for it.
fn is_given_up(life: Life, age: Option<Duration>, traffic: &Traffic) -> bool {
    match life {
        Life::Running => false,
        Life::Ended => true,
        Life::Unknown => age.is_none_or(|age| {
            age > ON_ITS_WAY + Duration::from_secs(traffic.wait_seconds().into())
        }),
    }
}

/// The variant's name says which model answered, so each has its own. But
/// traffic moves step by step only between configs of one variant name
/// (Developer Guide, "Deployment guardrails: exclusions"), which is harmless
/// between models that take the same columns. With other columns, all traffic
/// moves at once.
fn variant(
    run: &RunRef,
    settings: &ModelSettings,
    champion: Option<&Serving>,
    features: &[String],
) -> String {
    match champion {
        Some(champion)
            if endpoint::guard(&settings.deployment).is_some()
                && champion.features == features
                && champion.target == settings.target =>
        {
            champion.variant.clone()
        }
        _ => run.variant_name().to_owned(),
    }
}

/// Writes the decision with all its numbers beside the run's results.
async fn note_down(
    session: &CustomerSession,
    tenant: &Tenant,
    run: &RunRef,
    decision: &Decision,
    comparison: &Comparison,
) -> Result<(), HostingError> {
    let key = format!("{}decision.json", layout::results_prefix(&tenant.prefix, run));
    let document = serde_json::json!({"run": run, "decision": decision, "comparison": comparison});
    Bucket { s3: session.s3(), tenant }.write_json(&key, &document).await?;
    Ok(())
}

/// All that is known about a deployment that has been decided.
struct Plan<'a> {
    app: &'a App,
    tenant: &'a Tenant,
    settings: &'a ModelSettings,
    session: CustomerSession,
    challenger: Serving,
    /// The champion that the lineup named when it was decided.
    against: Option<&'a RunRef>,
}

impl Plan<'_> {
    /// Takes the endpoint one step further. Tells what was done, or what it waits
    /// for.
    async fn advance(
        &self,
        found: Option<Endpoint>,
        champion: Option<&Serving>,
    ) -> Result<Moved, HostingError> {
        let Serving { run, endpoint: name, variant, .. } = &self.challenger;
        let config = run.deployment_name();
        let waits = |what: &str| Ok(Moved::Waits(what.to_owned()));
        let guard = endpoint::guard(&self.settings.deployment)
            .filter(|_| champion.is_some_and(|champion| champion.variant == *variant));
        let tags = tags(self.tenant, run);
        let may_be_replaced = self.settings.deployment.replace_endpoint;
        let target = Target { endpoint: name, config: &config, may_be_replaced, guard, tags };
        let step = target.step(found.as_ref());
        if matches!(step, EndpointStep::Adopt | EndpointStep::Create | EndpointStep::Update)
            && !self.challenge().await?
        {
            return waits("was just taken by another run");
        }
        if matches!(step, EndpointStep::Create | EndpointStep::Update) {
            let instances = found.as_ref().and_then(Endpoint::instances);
            if !self.config().create(&self.session.sagemaker(), instances).await? {
                return waits("waits for its new model to show");
            }
        }
        match target.advance(&self.session, found).await {
            // SageMaker may not see yet what it has just made.
            Err(error) if error.is_missing() => waits("waits for its new config to show"),
            moved => Ok(moved?),
        }
    }

    fn config(&self) -> EndpointConfig<'_> {
        let Self { tenant, settings, challenger, .. } = self;
        EndpointConfig { tenant, deployment: &settings.deployment, serving: challenger }
    }

    /// Claims the endpoint, unless another run was quicker. From here on, either
    /// model may answer.
    async fn challenge(&self) -> Result<bool, HostingError> {
        let run = &self.challenger.run;
        let claim = |lineup: &mut Lineup| {
            lineup.challenge(self.challenger.clone(), self.against);
            lineup.renew(run, SystemTime::now());
        };
        let lineup = self.app.registry.change_lineup(&run.tenant, &run.model, claim).await?;
        Ok(lineup.is_challenged_by(run) || lineup.is_led_by(run))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use crosspilot_core::settings::Traffic;
    use crosspilot_scripted::{run, serving};

    use super::*;

    fn champion(features: &[&str]) -> Serving {
        let features = features.iter().map(|name| (*name).to_owned()).collect();
        Serving { features, target: "y".into(), ..serving("20260101-0000000000") }
    }

    #[test]
    fn a_challenger_is_given_up_by_its_own_age_and_never_while_its_run_goes_on() {
        let hour = Some(Duration::from_secs(3600));
        let minute = Some(Duration::from_secs(60));
        let at_once = Traffic::AllAtOnce;
        let slow = Traffic::Linear { percent: 10, wait_seconds: 3600 };
        for (life, age, traffic, expected) in [
            (Life::Running, hour, &at_once, false),
            (Life::Running, None, &at_once, false),
            (Life::Ended, minute, &slow, true),
            (Life::Ended, None, &at_once, true),
            (Life::Unknown, minute, &at_once, false),
            (Life::Unknown, hour, &at_once, true),
            (Life::Unknown, None, &at_once, true),
            // Ten steps of an hour.
            (Life::Unknown, hour, &slow, false),
            (Life::Unknown, Some(Duration::from_secs(11 * 3600)), &slow, true),
        ] {
            assert_eq!(is_given_up(life, age, traffic), expected, "{life:?} {age:?} {traffic:?}");
        }
        // The alarms are watched once more when all traffic has moved.
        assert_eq!(Traffic::Canary { percent: 10, wait_seconds: 900 }.wait_seconds(), 1800);
        assert_eq!(Traffic::Linear { percent: 30, wait_seconds: 60 }.wait_seconds(), 240);
    }

    #[test]
    fn a_variant_is_shared_only_step_by_step_and_between_equal_columns() {
        let (challenger, champion) = (run("20260102-0000000000"), champion(&["a", "b"]));
        let columns = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let plain = ModelSettings::predicting("y");
        let mut careful = plain.clone();
        careful.deployment.update.traffic = Traffic::Canary { percent: 10, wait_seconds: 60 };
        let own = challenger.variant_name();
        for (settings, former, features, expected) in [
            (&plain, Some(&champion), columns(&["a", "b"]), own),
            (&careful, Some(&champion), columns(&["a", "b"]), champion.variant.as_str()),
            (&careful, Some(&champion), columns(&["b", "a"]), own),
            (&careful, None, columns(&["a", "b"]), own),
        ] {
            assert_eq!(variant(&challenger, settings, former, &features), expected);
        }
    }
}
