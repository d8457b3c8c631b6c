//! A round of probes over all active tenants, judged as a whole: a tenant whose
//! trust drifted is suspended, but a round in which most tenants refuse at once
//! tells more of the vendor than of its customers, and suspends nobody.

use crosspilot_core::error::Coded;
use crosspilot_core::events;
use crosspilot_core::ids::TenantId;
use crosspilot_core::lambda::App;
use crosspilot_core::registry::RegistryError;
use crosspilot_core::tenant::TenantStatus;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{VerificationError, probe, verify};

/// Refusals, and silences, that customers may well come to on their own between two rounds,
/// however few tenants there are.
const FEW: usize = 3;
/// Suspensions of one round: each takes a second or two of one function's
/// minute. Further ones are left to the next round.
const SUSPENSIONS: usize = 20;

/// The result of a round for one tenant, as short as can be: the results of ten thousand must
/// fit into one state of Step Functions, 256 KB.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Probed {
    /// The tenant's role takes its external ID, and none of the others that were tried.
    Proven,
    /// The tenant's trust does not hold.
    Refused(TenantId),
    /// The probes gave no answer.
    Unproven,
    /// The tenant is not active, so that its role was not asked.
    Skipped,
}

/// The result of a round.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Round {
    /// Tenants whose role gave an answer.
    pub answered: usize,
    /// Tenants that were suspended now.
    pub suspended: Vec<TenantId>,
    /// Tenants that refused and were not suspended: their trust was proven when
    /// they were asked again, or the next round asks them.
    pub spared: Vec<TenantId>,
}

/// The reason why a round suspends nobody: what most tenants came to at once tells more of
/// the vendor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Held {
    /// Most of those that answered refused.
    #[error(
        "{refused} of {answered} tenants refuse at once, which so many customers do not come to on their own: nobody was suspended; see that the stack of infra/saas.yaml and its five roles crosspilot-* are whole, then run `crosspilot tenant verify` for one of them"
    )]
    Refused {
        /// Tenants that refused.
        refused: usize,
        /// Tenants whose role gave an answer.
        answered: usize,
    },
    /// Most of those that were asked gave no answer.
    #[error(
        "{silent} of {asked} tenants gave no answer: their trust is not proven, and nobody was suspended; see the log /crosspilot/assume, then run `crosspilot tenant verify` for one of them"
    )]
    Silent {
        /// Tenants about which there was no answer.
        silent: usize,
        /// Active tenants.
        asked: usize,
    },
}

/// Decides which tenants to ask again, and to suspend if they refuse again.
pub fn judge_round(seen: &[Probed]) -> Result<Vec<TenantId>, Held> {
    let refused: Vec<TenantId> = seen
        .iter()
        .filter_map(|seen| match seen {
            Probed::Refused(tenant) => Some(tenant.clone()),
            _ => None,
        })
        .collect();
    let answered = answered(seen);
    let silent = seen.iter().filter(|seen| **seen == Probed::Unproven).count();
    let asked = answered + silent;
    if is_most(refused.len(), answered) {
        Err(Held::Refused { refused: refused.len(), answered })
    } else if is_most(silent, asked) {
        Err(Held::Silent { silent, asked })
    } else {
        Ok(refused)
    }
}

/// Tells whether so many are more than a few, and more than half.
fn is_most(some: usize, all: usize) -> bool {
    some > FEW && some * 2 > all
}

/// A question without an answer tells nothing of either side.
fn answered(seen: &[Probed]) -> usize {
    seen.iter().filter(|seen| matches!(seen, Probed::Proven | Probed::Refused(_))).count()
}

/// Looks at one tenant of a round. Nothing is changed.
pub async fn look(app: &App, id: &TenantId) -> Result<Probed, VerificationError> {
    let tenant = match app.registry.tenant(id).await {
        Ok(tenant) if tenant.status == TenantStatus::Active => tenant,
        Ok(_) => return Ok(Probed::Skipped),
        // A broken document is its own tenant's fault, never the others'.
        Err(error @ RegistryError::Broken { .. }) => {
            tracing::warn!(tenant = %id, code = error.code().as_str(), "{error}");
            return Ok(Probed::Skipped);
        }
        Err(error) => return Err(error.into()),
    };
    match probe::probe(app, &tenant).await {
        Ok(()) => Ok(Probed::Proven),
        Err(VerificationError::Trust(error)) => {
            tracing::warn!(tenant = %id, code = error.code().as_str(), "{error}");
            Ok(if error.is_drift() { Probed::Refused(id.clone()) } else { Probed::Unproven })
        }
        Err(error) => Err(error),
    }
}

/// Judges what a round saw. Who refused is asked once more before it is
/// suspended.
pub async fn conclude(app: &App, seen: &[Probed]) -> Result<Round, VerificationError> {
    let refused = match judge_round(seen) {
        Ok(refused) => refused,
        Err(held) => {
            let mut detail = match held {
                Held::Refused { refused, answered } => {
                    json!({"refused": refused, "answered": answered})
                }
                Held::Silent { silent, asked } => json!({"silent": silent, "asked": asked}),
            };
            detail["cause"] = json!(held.to_string());
            events::announce(app, "Crosspilot Trust Round Held", &detail).await?;
            return Err(held.into());
        }
    };
    let mut round = Round { answered: answered(seen), ..Round::default() };
    for id in refused {
        let suspended = if round.suspended.len() < SUSPENSIONS {
            confirm(app, &id).await.unwrap_or_else(|error| {
                // One tenant's trouble is never another's; the next round asks again.
                tracing::warn!(tenant = %id, code = error.code().as_str(), "not suspended: {error}");
                false
            })
        } else {
            false
        };
        if suspended { &mut round.suspended } else { &mut round.spared }.push(id);
    }
    Ok(round)
}

/// Tells whether a tenant that refused does so again, and is suspended now.
async fn confirm(app: &App, id: &TenantId) -> Result<bool, VerificationError> {
    let tenant = app.registry.tenant(id).await?;
    if tenant.status != TenantStatus::Active {
        return Ok(false);
    }
    match probe::probe(app, &tenant).await {
        Err(VerificationError::Trust(drift)) if drift.is_drift() => {
            verify::suspend(app, &tenant, &drift).await?;
            Ok(true)
        }
        Ok(()) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn id(number: usize) -> TenantId {
        format!("t{number}").parse().unwrap()
    }

    fn round(refused: usize, proven: usize, others: usize) -> Vec<Probed> {
        let refused = (0..refused).map(|number| Probed::Refused(id(number + 10)));
        let proven = std::iter::repeat_n(Probed::Proven, proven);
        let others = std::iter::repeat_n([Probed::Unproven, Probed::Skipped], others).flatten();
        refused.chain(proven).chain(others).collect()
    }

    #[test]
    fn a_round_in_which_most_refuse_suspends_nobody() {
        for (refused, proven, others, held) in [
            (0, 0, 0, false),
            (0, 5, 5, false),
            // A few, although they are all there are.
            (1, 0, 0, false),
            (3, 0, 0, false),
            (3, 0, 3, false),
            // More than a few, and most of those that gave an answer.
            (4, 0, 0, true),
            (4, 3, 0, true),
            (4, 4, 0, false),
            (4, 0, 9, true),
            (600, 599, 0, true),
            (10_000, 0, 0, true),
            // More than a few, but not most.
            (49, 51, 0, false),
        ] {
            let found = judge_round(&round(refused, proven, others));
            let expected = if held {
                Err(Held::Refused { refused, answered: refused + proven })
            } else {
                Ok((0..refused).map(|number| id(number + 10)).collect())
            };
            assert_eq!(found, expected, "{refused} {proven} {others}");
        }
    }

    #[test]
    fn a_round_in_which_most_give_no_answer_proves_nothing_and_says_so() {
        for (refused, proven, silent, held) in [
            (0, 0, 3, false),
            (0, 0, 4, true),
            (0, 3, 4, true),
            (0, 4, 4, false),
            // Nor is anybody suspended on its word.
            (3, 0, 9, true),
            (1, 9, 9, false),
        ] {
            let found = judge_round(&round(refused, proven, silent));
            let asked = refused + proven + silent;
            let expected = if held {
                Err(Held::Silent { silent, asked })
            } else {
                Ok((0..refused).map(|number| id(number + 10)).collect())
            };
            assert_eq!(found, expected, "{refused} {proven} {silent}");
        }
    }

    #[test]
    fn ten_thousand_results_fit_into_one_state() {
        let longest: TenantId = "x1234567890123456789".parse().unwrap();
        let mut seen = vec![Probed::Proven; 10_000];
        assert!(serde_json::to_string(&seen).unwrap().len() < 262_144 / 2);
        seen.truncate(6_000);
        seen.extend(vec![Probed::Refused(longest); 4_000]);
        assert!(serde_json::to_string(&seen).unwrap().len() < 262_144);
        let text = serde_json::to_string(&[Probed::Proven, Probed::Refused(id(1))]).unwrap();
        assert_eq!(text, r#"["proven",{"refused":"t1"}]"#);
    }
}
