//! Which models answer for a name: the champion, a challenger on its way to the
//! endpoint, and the predecessor that a rollback returns to.

use serde::{Deserialize, Serialize};

use super::{ATTEMPTS, Expect, Registry, RegistryError, Versioned};
use crate::ids::{ModelName, TenantId};
use crate::run::RunRef;

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
    /// Name of the objective metric, exactly as SageMaker gave it.
    pub metric: Option<String>,
    /// Its value on the validation data, in the metric's own unit.
    pub value: Option<f64>,
    /// Columns that a prediction takes, in order.
    pub features: Vec<String>,
    /// The column that is predicted.
    pub target: String,
}

/// The models of one name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lineup {
    /// What answers predictions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub champion: Option<Serving>,
    /// What the endpoint is being moved to. Until it is, either may answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub challenger: Option<Serving>,
    /// The champion before this one, kept for a rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Serving>,
}

impl Lineup {
    /// The endpoint begins to move to this model.
    pub fn challenge(&mut self, challenger: Serving) {
        if self.champion.as_ref().is_none_or(|champion| champion.run != challenger.run) {
            self.challenger = Some(challenger);
        }
    }

    /// The endpoint serves this model now.
    pub fn promote(&mut self, champion: Serving) {
        self.withdraw(&champion.run);
        match &mut self.champion {
            Some(current) if current.run == champion.run => *current = champion,
            current => {
                // A model that was rolled back from is no predecessor of itself.
                self.previous = current.take();
                self.champion = Some(champion);
            }
        }
    }

    /// This run's model does not come to serve.
    pub fn withdraw(&mut self, run: &RunRef) {
        self.challenger.take_if(|challenger| challenger.run == *run);
    }

    /// The endpoint serves the predecessor again: champion and predecessor change places.
    pub fn roll_back(&mut self) {
        if self.previous.is_some() {
            std::mem::swap(&mut self.champion, &mut self.previous);
        }
    }
}

impl Registry {
    /// The models of a name; none if it never served.
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
        let key = lineup_key(tenant, model);
        for _ in 0..ATTEMPTS {
            let found = self.read::<Lineup>(&key).await?;
            let (before, expect) = match &found {
                Some(Versioned { document, etag }) => (document.clone(), Expect::Etag(etag)),
                None => (Lineup::default(), Expect::Nothing),
            };
            let mut after = before.clone();
            change(&mut after);
            if after == before || self.write(&key, &after, expect).await? {
                return Ok(after);
            }
        }
        Err(RegistryError::Contended(key))
    }
}

fn lineup_key(tenant: &TenantId, model: &ModelName) -> String {
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
            metric: None,
            value: None,
            features: vec!["age".into()],
            target: "Churn?".into(),
        }
    }

    #[test]
    fn a_promoted_challenger_leaves_its_champion_as_predecessor() {
        let (first, second) = (serving("0000000001"), serving("0000000002"));
        let mut lineup = Lineup::default();
        lineup.promote(first.clone());
        lineup.challenge(second.clone());
        assert_eq!(lineup.challenger, Some(second.clone()));
        for _ in 0..2 {
            lineup.promote(second.clone());
            let expected = Lineup {
                champion: Some(second.clone()),
                challenger: None,
                previous: Some(first.clone()),
            };
            assert_eq!(lineup, expected);
        }
    }

    #[test]
    fn a_rollback_and_another_one_end_where_they_began() {
        let mut lineup = Lineup::default();
        lineup.roll_back();
        assert_eq!(lineup, Lineup::default());
        lineup.promote(serving("0000000001"));
        lineup.promote(serving("0000000002"));
        let before = lineup.clone();
        lineup.roll_back();
        assert_eq!(lineup.champion, before.previous);
        lineup.roll_back();
        assert_eq!(lineup, before);
    }

    #[test]
    fn only_the_own_run_withdraws_a_challenger() {
        let mut lineup = Lineup::default();
        lineup.challenge(serving("0000000002"));
        lineup.withdraw(&serving("0000000001").run);
        assert!(lineup.challenger.is_some());
        lineup.withdraw(&serving("0000000002").run);
        assert!(lineup.challenger.is_none());
    }
}
