//! The intake of uploads, and the end of runs: uploads come in by a queue and lead or join a
//! run, each run is given its turn to train, and how it ended is recorded. Which run may
//! train is decided in [`crosspilot_core::gathering`], without AWS.

mod error;
mod evaluation;
mod events;
mod executions;
mod outcome;
mod trigger;
mod turns;
mod uploads;

pub use error::IntakeError;
pub use events::{EndedEvent, Input, SqsMessage, UploadEvent};
pub use outcome::{Recorded, record_outcome};
pub use trigger::identify;
pub use turns::{Admission, enter, leave, turn};
pub use uploads::{BatchResponse, take_uploads};
