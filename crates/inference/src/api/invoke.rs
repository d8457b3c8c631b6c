//! Asks an endpoint that may be moving from one model to another.
//!
//! Each model takes its own columns, and an endpoint says only with its answer
//! which model that was. So an answer counts only if the model that gave it takes
//! the columns that were sent; otherwise that model is asked again, with its own.

use crosspilot_core::error::{Code, Coded, MODEL_ERROR};
use crosspilot_core::lambda::App;
use crosspilot_core::registry::{Lineup, Serving};
use crosspilot_core::session::CustomerSession;
use crosspilot_core::tenant::Tenant;

use super::event::Event;
use super::problem::Problem;
use super::records::{self, Id, Records, Remarks};
use super::words;
use crate::InferenceError;
use crate::endpoint::{Answered, Calls, Endpoint};
use crate::output::Answer;

/// Requests at most for one answer. An endpoint moves from one model to one
/// other, so that the second request nearly always ends it.
const ATTEMPTS: usize = 6;

pub(super) struct Switch<'a> {
    pub(super) app: &'a App,
    pub(super) event: &'a Event,
    pub(super) session: CustomerSession,
    pub(super) tenant: &'a Tenant,
}

/// Records that were scored.
pub(super) struct Scored {
    /// The endpoint's answer.
    pub(super) answer: Answer,
    /// The model that gave it.
    pub(super) by: Serving,
    pub(super) remarks: Remarks,
    /// The callers' ids of the records.
    pub(super) ids: Vec<Option<Id>>,
}

/// The variant that a request goes to.
#[derive(Debug, Clone, PartialEq)]
enum Route {
    /// Whoever gets the traffic; this model's columns are sent.
    Anyone(Serving),
    /// The variant of this model, by its name.
    Only(Serving),
}

impl Route {
    fn model(&self) -> &Serving {
        match self {
            Route::Anyone(model) | Route::Only(model) => model,
        }
    }
}

/// The judgement of an answer.
#[derive(Debug, PartialEq)]
enum Routed {
    /// An answer of this model to its own columns.
    Good(Serving),
    /// No answer: ask this one.
    Again(Route),
}

/// Judges who answered, and whether it was asked with its own columns. Where models
/// share a variant, they share their columns too, and the likeliest one counts.
fn judge(ask: &Route, variant: Option<&str>, lineup: &Lineup) -> Routed {
    let asked = ask.model();
    let answered = lineup.models().find(|model| Some(model.variant.as_str()) == variant);
    match (answered, ask) {
        (Some(model), _) if same_columns(model, asked) => Routed::Good(model.clone()),
        (Some(model), _) => Routed::Again(Route::Only(model.clone())),
        // Asked by name, it is the one that answered, also if it serves no more.
        (None, Route::Only(_)) => Routed::Good(asked.clone()),
        (None, Route::Anyone(_)) => Routed::Again(Route::Only(asked.clone())),
    }
}

fn same_columns(one: &Serving, other: &Serving) -> bool {
    one.features == other.features && one.target == other.target
}

impl Switch<'_> {
    /// Asks about the records, which the champion's columns were read by, until the model
    /// that answers was asked with its own.
    pub(super) async fn ask(
        &self,
        mut lineup: Lineup,
        champion: Serving,
        records: Records,
    ) -> Result<Scored, Problem> {
        let order = champion.features.clone();
        let mut ask = Route::Anyone(champion);
        let mut gone = Vec::new();
        let mut read = Some(records);
        for _ in 0..ATTEMPTS {
            let mut records = match read.take() {
                Some(records) => records,
                None => records::body(self.event, ask.model(), &order)?,
            };
            let (answered, remarks) = self.send(&ask, &mut records).await?;
            match answered {
                Ok(Answered { answer, variant }) => {
                    let known = |lineup: &Lineup| {
                        lineup.models().any(|model| Some(&model.variant) == variant.as_ref())
                    };
                    if !known(&lineup) {
                        lineup = self.lineup(ask.model()).await?;
                    }
                    match judge(&ask, variant.as_deref(), &lineup) {
                        Routed::Good(by) => {
                            return Ok(Scored { answer, by, remarks, ids: records.ids });
                        }
                        Routed::Again(next) => ask = next,
                    }
                }
                Err(error) => {
                    let next = match &ask {
                        // Another model may have refused this one's columns.
                        Route::Anyone(model) if is_refusal(&error) => lineup
                            .models()
                            .any(|other| !same_columns(other, model))
                            .then(|| model.clone()),
                        // No such variant any more: another model serves.
                        Route::Only(model)
                            if error.code() == Code::RequestInvalid && !is_refusal(&error) =>
                        {
                            gone.push(model.variant.clone());
                            lineup = self.lineup(model).await?;
                            let left = lineup.models().find(|model| !gone.contains(&model.variant));
                            left.cloned()
                        }
                        _ => None,
                    };
                    ask = Route::Only(next.ok_or_else(|| Problem::of_endpoint(error))?);
                }
            }
        }
        Err(Problem::moving())
    }

    /// Sends the records as that model takes them. Those with warnings are a problem of the
    /// caller's if the caller wants none.
    async fn send(
        &self,
        ask: &Route,
        records: &mut Records,
    ) -> Result<(Result<Answered, InferenceError>, Remarks), Problem> {
        let model = ask.model();
        let text = std::mem::take(&mut records.text);
        let words = words::of(&self.session, self.tenant, &model.run);
        let endpoint = Endpoint {
            runtime: self.session.sagemaker_runtime(),
            name: model.endpoint.clone(),
            variant: match ask {
                Route::Anyone(_) => None,
                Route::Only(model) => Some(model.variant.clone()),
            },
            calls: Calls::default(),
        };
        if self.event.is_strict() {
            let remarks = records.remarks(model, words.await.as_deref());
            return match remarks.warnings.first() {
                Some(warning) => Err(warning.problem()),
                None => Ok((endpoint.ask(text, records.count).await, remarks)),
            };
        }
        let (answered, words) = tokio::join!(endpoint.ask(text, records.count), words);
        Ok((answered, records.remarks(model, words.as_deref())))
    }

    async fn lineup(&self, of: &Serving) -> Result<Lineup, Problem> {
        let lineup = self.app.registry.lineup(&of.run.tenant, &of.run.model).await;
        lineup.map_err(Problem::of_registry)
    }
}

/// Tells whether the model itself refused the records.
fn is_refusal(error: &InferenceError) -> bool {
    matches!(error, InferenceError::Call(call) if call.aws_code() == MODEL_ERROR)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn model(run: &str, variant: &str, features: &[&str]) -> Serving {
        let features = features.iter().map(|name| (*name).to_owned()).collect();
        let serving = crosspilot_scripted::serving(&format!("20260131-{run}"));
        Serving { variant: variant.into(), features, ..serving }
    }

    #[test]
    fn an_answer_counts_only_from_a_model_that_takes_what_was_sent() {
        let old = model("0000000001", "v1", &["a", "b"]);
        let new = model("0000000002", "v2", &["b", "a"]);
        let alike = model("0000000003", "v3", &["a", "b"]);
        let lineup = Lineup {
            champion: Some(old.clone()),
            challenger: Some(new.clone()),
            previous: Some(alike.clone()),
            ..Lineup::default()
        };
        let (anyone, only) = (Route::Anyone(old.clone()), Route::Only(old.clone()));
        let again = |model: &Serving| Routed::Again(Route::Only(model.clone()));
        for (ask, variant, expected) in [
            (&anyone, Some("v1"), Routed::Good(old.clone())),
            (&anyone, Some("v2"), again(&new)),
            (&anyone, Some("v3"), Routed::Good(alike.clone())),
            (&anyone, Some("unheard of"), again(&old)),
            (&anyone, None, again(&old)),
            (&only, None, Routed::Good(old.clone())),
            (&only, Some("v1"), Routed::Good(old.clone())),
            (&only, Some("v2"), again(&new)),
        ] {
            assert_eq!(judge(ask, variant, &lineup), expected, "{ask:?} {variant:?}");
        }
    }

    #[test]
    fn of_models_with_one_variant_the_champion_counts() {
        let old = model("0000000001", "v1", &["a"]);
        let new = model("0000000002", "v1", &["a"]);
        let mut lineup = Lineup { champion: Some(old.clone()), ..Lineup::default() };
        lineup.challenge(new.clone(), Some(&old.run));
        let ask = Route::Anyone(old.clone());
        assert_eq!(judge(&ask, Some("v1"), &lineup), Routed::Good(old));
        lineup.promote(&new.run);
        assert_eq!(judge(&ask, Some("v1"), &lineup), Routed::Good(new));
    }
}
