//! The proof of customers' trust: a customer's role takes the vendor's functions with the
//! tenant's own external ID, and with no other. Proven before runs and in rounds.

mod probe;
mod round;
mod verify;

use crosspilot_core::error::{CallError, Code, Coded};
use crosspilot_core::registry::RegistryError;

pub use probe::{ProbeOutcome, TrustError, judge};
pub use round::{Held, Probed, Round, conclude, judge_round, look};
pub use verify::{before_run, verify};

/// The reason why trust is not proven.
#[derive(Debug, thiserror::Error)]
pub enum VerificationError {
    /// The customer's trust does not hold.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// Most tenants refused at once.
    #[error(transparent)]
    Held(#[from] Held),
    /// The registry refused or failed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// AWS refused or failed.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl Coded for VerificationError {
    fn code(&self) -> Code {
        match self {
            VerificationError::Trust(error) => error.code(),
            VerificationError::Held(_) => Code::TrustRoundHeld,
            VerificationError::Registry(error) => error.code(),
            VerificationError::Call(error) => error.code(),
        }
    }
}
