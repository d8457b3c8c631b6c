//! Notes in a run's record how it ended, so that it is known for longer than
//! Step Functions keeps its execution.

use crosspilot_core::lambda::App;
use crosspilot_core::registry::Outcome;
use crosspilot_core::run::RunRef;
use serde::Deserialize;

use crate::{Error, gather};

/// How an execution ended.
#[derive(Debug, Clone, Deserialize)]
pub struct Note {
    /// The run that it worked on; none if it never began one.
    pub run: Option<RunRef>,
    /// ARN of the execution.
    pub execution: String,
    /// How it ended.
    pub outcome: Outcome,
}

/// Whether it was noted: only the execution that holds the run can say so. The
/// next run of the model may train then.
pub(crate) async fn note(app: &App, note: Note) -> Result<bool, Error> {
    let Some(run) = &note.run else { return Ok(false) };
    let write = |record: &mut crosspilot_core::registry::RunRecord| {
        if record.execution == note.execution {
            record.outcome = Some(note.outcome.clone());
        }
    };
    let noted = app.registry.change_run(run, write).await?.execution == note.execution;
    if noted {
        gather::leave(app, run, |place| place.run == run.run_id).await?;
    }
    Ok(noted)
}
