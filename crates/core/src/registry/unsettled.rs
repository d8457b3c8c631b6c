//! Runs that have begun and whose customer's account has not been settled
//! since: a job of theirs may be at work, and an endpoint on its way. A run is
//! noted here when it is claimed, and taken out when it is settled, so that
//! whatever became of its execution is found again.

use super::{Expect, Registry, RegistryError, RunRecord};
use crate::execution::Life;
use crate::ids::TenantId;
use crate::run::RunRef;

/// A run has so many stages, each of which may take as long as its job may.
const STAGES: f64 = 4.0;

/// Tells whether a run that is still unsettled is nobody's any more: the next round
/// settles it. A stage may take `limit` seconds; the run began `age` seconds ago.
pub fn is_abandoned(record: &RunRecord, life: Life, age: f64, limit: f64) -> bool {
    match life {
        Life::Running => false,
        Life::Ended => true,
        Life::Unknown => record.outcome.is_some() || age > STAGES * limit,
    }
}

impl Registry {
    /// Notes that a run has begun. Noting it twice is noting it once.
    pub async fn note_unsettled(&self, run: &RunRef) -> Result<(), RegistryError> {
        self.write(&key(run), run, Expect::Nothing).await.map(drop)
    }

    /// Notes that nothing of a run is left but what serves.
    pub async fn note_settled(&self, run: &RunRef) -> Result<(), RegistryError> {
        self.release(&key(run)).await
    }

    /// The runs of a tenant, or of all, that have begun and are not settled.
    pub async fn unsettled(&self, tenant: Option<&TenantId>) -> Result<Vec<RunRef>, RegistryError> {
        let prefix =
            tenant.map_or_else(|| FOLDER.to_owned(), |tenant| format!("{FOLDER}{tenant}/"));
        Ok(self.keys(&prefix).await?.iter().filter_map(|key| run(key)).collect())
    }
}

const FOLDER: &str = "unsettled/";

fn key(run: &RunRef) -> String {
    format!("{FOLDER}{}/{}/{}.json", run.tenant, run.model, run.run_id)
}

fn run(key: &str) -> Option<RunRef> {
    let mut parts = key.strip_prefix(FOLDER)?.strip_suffix(".json")?.split('/');
    let (tenant, model, run_id) = (parts.next()?, parts.next()?, parts.next()?);
    Some(RunRef {
        tenant: tenant.parse().ok()?,
        model: model.parse().ok()?,
        run_id: run_id.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;
    use crate::registry::Outcome;

    fn record(ended: bool) -> RunRecord {
        let mut record: RunRecord = serde_json::from_value(json!({
            "tenant": "acme", "model": "churn", "run_id": "20260131-0123456789",
            "execution": "arn",
            "trigger": {"type": "manual", "time": "2026-01-31T12:00:00Z", "request_id": "r"},
        }))
        .unwrap();
        record.outcome = ended.then(|| Outcome::Failed {
            time: "2026-01-31T13:00:00Z".into(),
            stage: "train".into(),
            code: "TenantInactive".into(),
            cause: "so".into(),
        });
        record
    }

    #[test]
    fn a_run_is_abandoned_once_nobody_works_on_it() {
        use Life::{Ended, Running, Unknown};
        // Whether it has an outcome; its age in limits.
        for (execution, ended, age, expected) in [
            // Redriven: the outcome may be of the execution before.
            (Running, true, 9.0, false),
            (Running, false, 9.0, false),
            // Died outside its failure path, or could not be settled in it.
            (Ended, false, 0.0, true),
            (Ended, true, 0.0, true),
            // Handed over a moment ago, or done by hand.
            (Unknown, false, 1.0, false),
            (Unknown, false, 5.0, true),
            (Unknown, true, 0.0, true),
        ] {
            let found = is_abandoned(&record(ended), execution, age * 900.0, 900.0);
            assert_eq!(found, expected, "{execution:?} {ended} {age}");
        }
    }

    #[test]
    fn a_key_names_its_run() {
        let known = record(false).run;
        assert_eq!(key(&known), "unsettled/acme/churn/20260131-0123456789.json");
        assert_eq!(run(&key(&known)), Some(known));
        assert_eq!(run("unsettled/acme/churn.json"), None);
    }
}
