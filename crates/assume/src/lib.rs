//! `assume`: which tenant is this run for, does its trust still hold, is the run
//! ours, and is it its turn? It never returns credentials: every later handler
//! assumes the customer's role itself. Uploads before a run and its end after it are
//! [`crosspilot_intake`]'s; whether a tenant's trust holds, and what follows from a
//! round over all of them, is [`crosspilot_trust`]'s.

mod request;

use crosspilot_core::error::{Code, Coded};
use crosspilot_core::failure::Failure;
use crosspilot_core::gathering::{Entered, Place};
use crosspilot_core::ids::{AccountId, RegionName};
use crosspilot_core::lambda::App;
use crosspilot_core::registry::{self, Claim, RegistryError, RunRecord, model_settings};
use crosspilot_core::run::{BadTriggerTime, RunId, RunRef, Trigger};
use crosspilot_core::tenant::Tenant;
use crosspilot_core::verification::Verification;
use crosspilot_intake::{Admission, BatchResponse, Input, Recorded};
use crosspilot_trust::{Probed, Round};
use serde::Serialize;

pub use request::{Asking, Note, Request, Start};

/// The answer that the state machine goes on with.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Response {
    /// The answer to a run that wants to begin.
    Started(Started),
    /// The answer to a run that asks whether it may train now.
    Turn(Admission),
    /// The messages that the queue of uploads keeps.
    Taken(BatchResponse),
    /// The verdict on a tenant's trust.
    Verified(Verification),
    /// The result of a round of probes for one tenant.
    Probed(Probed),
    /// The result of a round of probes.
    Judged(Round),
    /// The answer to the end of a run.
    Noted {
        /// `true` if the end was noted.
        noted: bool,
        /// The run in whose record it was.
        #[serde(skip_serializing_if = "Option::is_none")]
        run: Option<RunRef>,
        /// The failure of the run, for people, if it failed.
        #[serde(skip_serializing_if = "Option::is_none")]
        failure: Option<Failure>,
    },
}

/// The answer to a run that wants to begin.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "decision", rename_all = "lowercase")]
pub enum Started {
    /// The run is ours: go on.
    Run {
        /// The run; all later handlers take it.
        run: RunRef,
        /// The customer's account, for people.
        account: AccountId,
        /// The customer's region, for people.
        region: RegionName,
        /// Seconds that the run's job may take.
        max_runtime_seconds: u32,
    },
    /// Another execution works on this run already.
    Duplicate {
        /// The run.
        run: RunRef,
        /// ARN of that execution.
        execution: String,
    },
    /// Another run waits to train, and will see all that this one would have:
    /// one trains and one waits, not more.
    Joined {
        /// The run that waits.
        run: RunRef,
        /// ARN of its execution.
        execution: String,
    },
    /// The uploaded object is not training data.
    Ignored {
        /// The object's key.
        key: String,
    },
}

/// The reason why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The trigger's time cannot be read.
    #[error(transparent)]
    Time(#[from] BadTriggerTime),
    /// The upload starts nothing, or the run may not train.
    #[error(transparent)]
    Intake(#[from] crosspilot_intake::IntakeError),
    /// The customer's trust does not hold, or it could not be told.
    #[error(transparent)]
    Trust(#[from] crosspilot_trust::VerificationError),
    /// The registry refused or failed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl Coded for Error {
    fn code(&self) -> Code {
        match self {
            Error::Time(_) => Code::TriggerInvalid,
            Error::Intake(error) => error.code(),
            Error::Trust(error) => error.code(),
            Error::Registry(error) => error.code(),
        }
    }
}

/// Begins a run, or answers what else is asked.
pub async fn handle(app: App, request: Request) -> Result<Response, Error> {
    Ok(match request {
        Request::Start(start) => Response::Started(begin(&app, *start).await?),
        Request::Gather(asking) => {
            Response::Turn(crosspilot_intake::turn(&app, &asking.run, &asking.execution).await?)
        }
        Request::Uploads(messages) => {
            Response::Taken(crosspilot_intake::take_uploads(&app, &messages).await)
        }
        Request::Verify(tenant) => {
            Response::Verified(crosspilot_trust::verify(&app, &tenant).await?)
        }
        Request::Look(tenant) => Response::Probed(crosspilot_trust::look(&app, &tenant).await?),
        Request::Judge(seen) => Response::Judged(crosspilot_trust::conclude(&app, &seen).await?),
        Request::Note(note) => {
            let Note { run, input, execution, outcome } = *note;
            let Recorded { run, failure } =
                crosspilot_intake::record_outcome(&app, run, input, &execution, outcome).await?;
            Response::Noted { noted: run.is_some(), run, failure }
        }
    })
}

/// Finds the tenant, proves the trust, takes a place, claims the run.
async fn begin(app: &App, request: Start) -> Result<Started, Error> {
    let key = match &request.input {
        Input::Upload(event) => event.key().to_owned(),
        Input::Named { .. } => String::new(),
    };
    // Before all else, so that a run that may not begin gives its place back.
    let Some((tenant, model, trigger)) = crosspilot_intake::identify(app, request.input).await?
    else {
        return Ok(Started::Ignored { key });
    };
    let run_id = RunId::derive(&tenant.tenant, &model, &trigger)?;
    let run = RunRef { tenant: tenant.tenant.clone(), model, run_id };
    let begun = begin_run(app, tenant, &run, &request.execution, trigger).await;
    let own = |place: &Place| place.run == run.run_id && place.execution == request.execution;
    if let Err(error) = &begun
        && !matches!(error.code(), Code::Throttled | Code::Unavailable)
        && let Err(error) = crosspilot_intake::leave(app, &run, own).await
    {
        tracing::warn!(tenant = %run.tenant, model = %run.model, "its place is kept: {error}");
    }
    begun
}

async fn begin_run(
    app: &App,
    tenant: Tenant,
    run: &RunRef,
    execution: &str,
    trigger: Trigger,
) -> Result<Started, Error> {
    let tenant = registry::active(tenant)?;
    let own_limit = model_settings(&tenant, &run.model)?.training.max_runtime_seconds;
    crosspilot_trust::before_run(app, &tenant).await?;

    // A run that was claimed before is a duplicate, or was handed over.
    if app.registry.find_run(run).await?.is_none()
        && let Entered::Joins(place) =
            crosspilot_intake::enter(app, run, execution, &trigger).await?
    {
        tracing::info!(tenant = %run.tenant, model = %run.model, run = %place.run, "joined");
        let run = RunRef { run_id: place.run, ..run.clone() };
        return Ok(Started::Joined { run, execution: place.execution });
    }
    let record = RunRecord {
        run: run.clone(),
        execution: execution.to_owned(),
        earlier: Vec::new(),
        trigger,
        features: Vec::new(),
        booleans: Default::default(),
        numeric: Default::default(),
        read: None,
        set_aside: None,
        stop: None,
        overruled: Vec::new(),
        outcome: None,
    };
    let claim = app.registry.claim_run(&record).await?;
    if claim == Claim::Held {
        app.registry.note_unsettled(run).await?;
    }
    tracing::info!(tenant = %run.tenant, model = %run.model, run = %run.run_id, ?claim, "trust proven");
    Ok(match claim {
        Claim::Held => Started::Run {
            run: run.clone(),
            account: tenant.account,
            region: tenant.region,
            max_runtime_seconds: own_limit
                .unwrap_or(u32::MAX)
                .min(tenant.limits.max_runtime_seconds),
        },
        Claim::Duplicate { execution } => Started::Duplicate { run: run.clone(), execution },
    })
}
