//! Models, endpoint configs and endpoints in a customer's account: made or adopted,
//! moved, scaled, rolled back, removed. Each thing goes under a name that follows from
//! its run, so that doing it twice is doing it once.

mod clear;
mod deploy;
mod endpoint;
mod endpoint_config;
mod error;
mod gate;
mod jobs;
mod manage;
mod register;
mod response_keys;
mod scaling;
mod settle;

use crosspilot_core::aws::sagemaker::types::Tag;
use crosspilot_core::error::CallError;
use crosspilot_core::run::RunRef;
use crosspilot_core::tenant::Tenant;
use serde::Serialize;

pub use deploy::{Deploy, Deployed, Deployment, deploy};
pub use endpoint::{Action, Endpoint, Step, step};
pub use error::Error;
pub use gate::{Contest, decide};
pub use manage::manage;
pub use register::{Register, Registered, register};
pub use response_keys::{Container, RESPONSE_KEYS, shake_hands};
pub use settle::{Settle, Settled, settle};

/// Something in the customer's account has to end first: ask again later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Waiting {
    /// What for, as a sentence.
    pub reason: String,
    /// Seconds until the next attempt.
    pub wait_seconds: u32,
}

fn tags(tenant: &Tenant, run: &RunRef) -> Vec<Tag> {
    let tags = tenant.tags_of(run).into_iter();
    tags.map(|(key, value)| Tag::builder().key(key).value(value).build()).collect()
}

/// Whether the resource existed before. SageMaker says so with a
/// ValidationException "Cannot create already existing ...".
fn existed<T>(created: Result<T, CallError>) -> Result<bool, CallError> {
    match created {
        Ok(_) => Ok(false),
        Err(error) if error.message().contains("already existing") => Ok(true),
        Err(error) => Err(error),
    }
}

/// `None` for what does not exist in the customer's account.
fn found<T>(answer: Result<T, CallError>) -> Result<Option<T>, CallError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error),
    }
}
