//! The lineup of a name's models: the champion, a challenger on its way to the endpoint, and
//! the predecessor that a rollback returns to.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use crosspilot_table::Booleans;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::own_calls::own_calls_key;
use super::trend::trend_key;
use super::{Registry, RegistryError};
use crate::ids::{ModelName, TenantId};
use crate::run::RunRef;
use crate::settings::HostingKind;

/// A model that a run trained, as its endpoint serves it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Serving {
    /// The run that made it; also the version that answers carry.
    #[serde(flatten)]
    pub run: RunRef,
    /// Name of the AutoML job.
    pub job: String,
    /// Name of the candidate.
    pub candidate: String,
    /// Name of the endpoint.
    pub endpoint: String,
    /// Name of the production variant that it answers as: its run's id, so that
    /// an endpoint says which model answered. Two models share one only if they
    /// take the same columns.
    pub variant: String,
    /// Name of the objective metric, exactly as SageMaker gave it.
    pub metric: Option<String>,
    /// The metric's value on the validation data, in the metric's own unit.
    pub value: Option<f64>,
    /// Columns that a prediction takes, in order.
    pub features: Vec<String>,
    /// The spellings of true and false of those features that hold them, by column.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub booleans: BTreeMap<String, Booleans>,
    /// The features that hold numbers.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub numeric: BTreeSet<String>,
    /// The kind of hosting it runs on; unknown of a model that was deployed before this was
    /// noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosting: Option<HostingKind>,
    /// The column that is predicted.
    pub target: String,
}

/// The models of one name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lineup {
    /// The model that answers predictions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub champion: Option<Serving>,
    /// The model that the endpoint is being moved to. Until it is, either may answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub challenger: Option<Serving>,
    /// The time when the challenger's run last said that the endpoint is its, RFC 3339. The
    /// age of that tells whether it was given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed: Option<String>,
    /// `true` if somebody asked for the challenger's run to stop: it is not promoted any
    /// more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub halted: bool,
    /// The champion before this one, kept for a rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Serving>,
    /// Runs whose models serve no more, not even for a rollback, and are still to
    /// be removed from the customer's account.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retired: Vec<RunRef>,
}

impl Lineup {
    /// Lists its models, the likeliest to answer first.
    pub fn models(&self) -> impl Iterator<Item = &Serving> {
        [&self.champion, &self.challenger, &self.previous].into_iter().flatten()
    }

    /// Tells whether the endpoint is being moved to this run's model.
    pub fn is_challenged_by(&self, run: &RunRef) -> bool {
        self.challenger.as_ref().is_some_and(|challenger| challenger.run == *run)
    }

    /// Tells whether this run's model serves.
    pub fn is_led_by(&self, run: &RunRef) -> bool {
        self.champion.as_ref().is_some_and(|champion| champion.run == *run)
    }

    /// Begins to move the endpoint to this model, which was found better than the champion of
    /// then: `against`. Nothing happens while another run's model is on its way, or once
    /// there is another champion.
    pub fn challenge(&mut self, challenger: Serving, against: Option<&RunRef>) {
        let free = self.challenger.as_ref().is_none_or(|on_way| on_way.run == challenger.run);
        let champion = self.champion.as_ref().map(|champion| &champion.run);
        if free && champion == against && !self.is_led_by(&challenger.run) {
            self.retired.retain(|run| *run != challenger.run);
            if !self.is_challenged_by(&challenger.run) {
                self.claimed = None;
            }
            self.halted = false;
            self.challenger = Some(challenger);
        }
    }

    /// Notes that the challenger's run is at work on the endpoint at this moment.
    pub fn renew(&mut self, run: &RunRef, now: SystemTime) {
        if self.is_challenged_by(run) {
            self.claimed = OffsetDateTime::from(now).format(&Rfc3339).ok();
        }
    }

    /// Gives the time since the challenger's run last said that it is at work; nothing if it
    /// never did.
    pub fn claimed_ago(&self, now: SystemTime) -> Option<Duration> {
        let claimed = OffsetDateTime::parse(self.claimed.as_deref()?, &Rfc3339).ok()?;
        Some(now.duration_since(claimed.into()).unwrap_or_default())
    }

    /// Keeps this run's model from coming to serve. Whether that comes in time is what
    /// [`Lineup::is_led_by`] says then: one document decides, so that a request to stop and a
    /// promotion never both succeed.
    pub fn halt(&mut self, run: &RunRef) {
        if self.is_challenged_by(run) {
            self.halted = true;
        }
    }

    /// Promotes this challenger, which the endpoint serves now. The champion becomes the
    /// predecessor, and the predecessor retires. Whoever is no challenger any more, or was
    /// asked to stop, is not promoted.
    pub fn promote(&mut self, run: &RunRef) {
        if self.halted {
            return;
        }
        let Some(promoted) = self.take_challenger(run) else { return };
        if let Some(former) = self.champion.replace(promoted) {
            self.retired.extend(self.previous.replace(former).map(|retired| retired.run));
        }
        // A model that was rolled back from may come to serve again.
        let serving: Vec<RunRef> = self.models().map(|model| model.run.clone()).collect();
        self.retired.retain(|retired| !serving.contains(retired));
    }

    /// Takes back this run's model, which does not come to serve.
    pub fn withdraw(&mut self, run: &RunRef) {
        self.take_challenger(run);
    }

    fn take_challenger(&mut self, run: &RunRef) -> Option<Serving> {
        let taken = self.challenger.take_if(|challenger| challenger.run == *run)?;
        (self.claimed, self.halted) = (None, false);
        Some(taken)
    }

    /// Takes the champion off, since the endpoint is gone and nothing serves. The champion is
    /// what a rollback returns to, and its predecessor retires.
    pub fn rest(&mut self) {
        if let Some(champion) = self.champion.take() {
            self.retired.extend(self.previous.replace(champion).map(|retired| retired.run));
        }
    }

    /// Lets champion and predecessor change places: the endpoint serves the predecessor
    /// again.
    pub fn roll_back(&mut self) {
        if self.previous.is_some() {
            std::mem::swap(&mut self.champion, &mut self.previous);
        }
    }
}

impl Registry {
    /// Reads the models of a name; none if it never served.
    pub async fn lineup(
        &self,
        tenant: &TenantId,
        model: &ModelName,
    ) -> Result<Lineup, RegistryError> {
        let found = self.read(&lineup_key(tenant, model)).await?;
        Ok(found.map(|versioned| versioned.document).unwrap_or_default())
    }

    /// Changes which models serve. A change that changes nothing writes nothing.
    pub async fn change_lineup(
        &self,
        tenant: &TenantId,
        model: &ModelName,
        change: impl Fn(&mut Lineup),
    ) -> Result<Lineup, RegistryError> {
        self.change(&lineup_key(tenant, model), change).await
    }

    /// Forgets the models of a name, which was removed.
    pub async fn forget_lineup(
        &self,
        tenant: &TenantId,
        model: &ModelName,
    ) -> Result<(), RegistryError> {
        self.release(&own_calls_key(tenant, model)).await?;
        self.release(&trend_key(tenant, model)).await?;
        self.release(&lineup_key(tenant, model)).await
    }
}

pub(super) fn lineup_key(tenant: &TenantId, model: &ModelName) -> String {
    format!("serving/{tenant}/{model}.json")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn serving(run: &str) -> Serving {
        Serving {
            run: RunRef {
                tenant: "acme".parse().unwrap(),
                model: "churn".parse().unwrap(),
                run_id: format!("20260101-{run}").parse().unwrap(),
            },
            job: "j".into(),
            candidate: "c".into(),
            endpoint: "e".into(),
            variant: format!("20260101-{run}"),
            metric: None,
            value: None,
            features: vec!["age".into()],
            booleans: BTreeMap::new(),
            numeric: BTreeSet::new(),
            hosting: None,
            target: "Churn?".into(),
        }
    }

    /// Moves the endpoint to this model, which arrives.
    fn serve(lineup: &mut Lineup, model: &Serving) {
        let against = lineup.champion.as_ref().map(|champion| champion.run.clone());
        lineup.challenge(model.clone(), against.as_ref());
        lineup.promote(&model.run);
    }

    #[test]
    fn a_promoted_challenger_leaves_its_champion_as_predecessor() {
        let (first, second) = (serving("0000000001"), serving("0000000002"));
        let mut lineup = Lineup::default();
        lineup.challenge(first.clone(), None);
        lineup.promote(&first.run);
        lineup.challenge(second.clone(), Some(&first.run));
        assert_eq!(lineup.challenger, Some(second.clone()));
        for _ in 0..2 {
            lineup.promote(&second.run);
            let expected = Lineup {
                champion: Some(second.clone()),
                previous: Some(first.clone()),
                ..Lineup::default()
            };
            assert_eq!(lineup, expected);
        }
    }

    #[test]
    fn the_last_but_one_retires_unless_it_comes_back() {
        let runs = ["0000000001", "0000000002", "0000000003"].map(serving);
        let mut lineup = Lineup::default();
        for run in &runs {
            serve(&mut lineup, run);
        }
        assert_eq!(lineup.retired, [runs[0].run.clone()]);
        assert_eq!(lineup.previous, Some(runs[1].clone()));
        serve(&mut lineup, &runs[0]);
        assert_eq!(lineup.retired, [runs[1].run.clone()]);
    }

    #[test]
    fn only_a_challenger_is_promoted() {
        let (first, second) = (serving("0000000001"), serving("0000000002"));
        let mut lineup = Lineup::default();
        lineup.promote(&first.run);
        assert_eq!(lineup, Lineup::default());
        lineup.challenge(second.clone(), None);
        lineup.promote(&first.run);
        assert!(lineup.champion.is_none() && lineup.is_challenged_by(&second.run));
    }

    #[test]
    fn a_challenger_takes_the_endpoint_from_no_other_and_from_no_champion_it_never_met() {
        let runs = ["0000000001", "0000000002", "0000000003"].map(serving);
        let mut lineup = Lineup::default();
        lineup.challenge(runs[0].clone(), None);
        lineup.challenge(runs[1].clone(), None);
        assert!(lineup.is_challenged_by(&runs[0].run));
        lineup.promote(&runs[0].run);
        lineup.challenge(runs[1].clone(), None);
        lineup.challenge(runs[1].clone(), Some(&runs[2].run));
        assert_eq!(lineup.challenger, None);
        lineup.challenge(runs[1].clone(), Some(&runs[0].run));
        lineup.challenge(runs[1].clone(), Some(&runs[0].run));
        assert!(lineup.is_challenged_by(&runs[1].run));
    }

    #[test]
    fn a_rollback_and_another_one_end_where_they_began() {
        let mut lineup = Lineup::default();
        lineup.roll_back();
        assert_eq!(lineup, Lineup::default());
        for run in ["0000000001", "0000000002"].map(serving) {
            serve(&mut lineup, &run);
        }
        let before = lineup.clone();
        lineup.roll_back();
        assert_eq!(lineup.champion, before.previous);
        lineup.roll_back();
        assert_eq!(lineup, before);
    }

    #[test]
    fn a_champion_at_rest_comes_back_by_a_rollback() {
        let (first, second) = (serving("0000000001"), serving("0000000002"));
        let retired = vec![first.run.clone()];
        let mut lineup = Lineup::default();
        for run in [&first, &second] {
            serve(&mut lineup, run);
        }
        for _ in 0..2 {
            lineup.rest();
            assert_eq!((&lineup.champion, &lineup.previous), (&None, &Some(second.clone())));
            assert_eq!(lineup.retired, retired);
        }
        lineup.roll_back();
        assert_eq!(lineup, Lineup { champion: Some(second), retired, ..Lineup::default() });
    }

    #[test]
    fn a_challenger_has_an_age_of_its_own() {
        let (first, second) = (serving("0000000001"), serving("0000000002"));
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let mut lineup = Lineup::default();
        lineup.challenge(first.clone(), None);
        assert_eq!(lineup.claimed_ago(at(50)), None);
        lineup.renew(&first.run, at(100));
        lineup.renew(&second.run, at(200));
        assert_eq!(lineup.claimed_ago(at(250)), Some(Duration::from_secs(150)));
        // Clocks of two machines may differ.
        assert_eq!(lineup.claimed_ago(at(90)), Some(Duration::ZERO));
        lineup.challenge(first.clone(), None);
        assert_eq!(lineup.claimed_ago(at(250)), Some(Duration::from_secs(150)));
        lineup.promote(&first.run);
        lineup.challenge(second.clone(), Some(&first.run));
        assert_eq!(lineup.claimed_ago(at(250)), None);
    }

    #[test]
    fn a_request_to_stop_and_a_promotion_never_both_succeed() {
        let (first, second) = (serving("0000000001"), serving("0000000002"));
        let mut stopped = Lineup::default();
        stopped.challenge(first.clone(), None);
        stopped.halt(&first.run);
        stopped.promote(&first.run);
        assert!(stopped.is_challenged_by(&first.run) && stopped.champion.is_none());
        stopped.withdraw(&first.run);
        assert_eq!(stopped, Lineup::default());
        let mut served = Lineup::default();
        serve(&mut served, &first);
        served.halt(&first.run);
        assert!(served.is_led_by(&first.run) && !served.halted);
        // It was another's run, and a run that goes on in spite of it begins anew.
        stopped.challenge(second.clone(), None);
        stopped.halt(&first.run);
        assert!(!stopped.halted);
        stopped.halt(&second.run);
        stopped.challenge(second.clone(), None);
        stopped.promote(&second.run);
        assert!(stopped.is_led_by(&second.run));
    }

    #[test]
    fn only_the_own_run_withdraws_a_challenger() {
        let mut lineup = Lineup::default();
        lineup.challenge(serving("0000000002"), None);
        lineup.withdraw(&serving("0000000001").run);
        assert!(lineup.challenger.is_some());
        lineup.withdraw(&serving("0000000002").run);
        assert!(lineup.challenger.is_none());
    }
}
