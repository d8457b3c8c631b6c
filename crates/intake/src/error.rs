//! The reasons why an upload starts nothing, or a run may not train.

use crosspilot_core::error::{CallError, Code, Coded};
use crosspilot_core::failure::shown;
use crosspilot_core::ids::{InvalidId, Prefix};
use crosspilot_core::registry::{RegistryError, Stop};
use crosspilot_core::run::BadTriggerTime;

/// The reason why an upload starts nothing, or a run may not train.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// An uploaded key names a model that cannot be one. As the next, it shows the first
    /// 200 characters of the key.
    #[error("the uploaded key {key:?} names no model: {reason}")]
    Key {
        /// The key.
        key: String,
        /// The fault of its model part.
        reason: InvalidId,
    },
    /// An uploaded file lies in no folder that is read.
    #[error(
        "nothing reads the folder of the uploaded key {key:?}: put training data into {prefix}/<model>/train/, held-out rows into {prefix}/<model>/test/, and what is neither outside {prefix}/"
    )]
    Misplaced {
        /// The key.
        key: String,
        /// The prefix of all that the customer gives.
        prefix: Prefix,
    },
    /// The trigger's time cannot be read.
    #[error(transparent)]
    Time(#[from] BadTriggerTime),
    /// Somebody wants the run to stop.
    #[error("{} stopped the run at {}; no job was started", .0.by, .0.time)]
    Stopped(Stop),
    /// The registry refused or failed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// AWS refused or failed.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl IntakeError {
    pub(crate) fn key(key: &str, reason: InvalidId) -> Self {
        Self::Key { key: shown(key), reason }
    }

    pub(crate) fn misplaced(prefix: &Prefix, key: &str) -> Self {
        Self::Misplaced { key: shown(key), prefix: prefix.clone() }
    }
}

impl Coded for IntakeError {
    fn code(&self) -> Code {
        match self {
            IntakeError::Key { .. } | IntakeError::Misplaced { .. } | IntakeError::Time(_) => {
                Code::TriggerInvalid
            }
            IntakeError::Stopped(_) => Code::RunStopped,
            IntakeError::Registry(error) => error.code(),
            IntakeError::Call(error) => error.code(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use crosspilot_core::ids::ModelName;

    use super::*;

    #[test]
    fn a_message_shows_the_beginning_of_a_long_key() {
        let key = format!("p/{}/train/a.csv", "k".repeat(900));
        let reason = "No Name".parse::<ModelName>().unwrap_err();
        let misplaced = IntakeError::misplaced(&"p".parse().unwrap(), &key);
        for error in [IntakeError::key(&key, reason), misplaced] {
            let message = error.to_string();
            assert!(message.contains("p/kkk") && message.chars().count() < 500, "{message}");
        }
    }
}
