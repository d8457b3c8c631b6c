//! Faults on demand, so that tests can show what a client does about them.
//!
//! The emulator has the same ones for what it serves (`emulator/faults.py`).

use std::sync::Mutex;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::lock::lock;

/// Calls that go wrong.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Fault {
    /// The operation: `CreateEndpoint` of SageMaker, `s3:GetObject` of the
    /// emulator, `lambda:Invoke` of a state machine.
    pub operation: String,
    /// The texts that a call's question must all hold to be struck. The question to SageMaker
    /// is the caller's account and the request, to others the ARN of the session, path, query
    /// and body.
    #[serde(default)]
    pub about: Vec<String>,
    /// The number of calls that still succeed before the fault.
    #[serde(default)]
    pub after: u32,
    /// The number of calls that then fail.
    #[serde(default = "once")]
    pub times: u32,
    /// The effect on these calls.
    pub effect: Effect,
}

fn once() -> u32 {
    1
}

/// The effect of a fault on a call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// `ThrottlingException`, with the null message that AWS sometimes sends.
    Throttle,
    /// An error of this code, message and status, and nothing else.
    Fail {
        /// The error's code.
        code: String,
        /// The error's message.
        message: String,
        /// The HTTP status.
        status: u16,
    },
    /// The right answer, this many milliseconds late.
    Delay(u64),
    /// The connection ends in the middle of the answer.
    Cut,
    /// Status 200 and a body that is not JSON.
    Garbage,
    /// The call takes effect, and its answer is lost with the connection.
    Lose,
    /// The call takes effect, and the process that made it is killed before the
    /// answer arrives.
    Kill,
    /// Of an invocation of a function (`lambda:Invoke`): it does nothing and ends
    /// like this.
    Die(Death),
    /// Of SageMaker: the right answer, but with these members as AWS may give them
    /// and the local cloud never does.
    Answer(Map<String, Value>),
}

/// The end of a function without an answer, in Step Functions' eyes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Death {
    /// The function takes too long: `Lambda.Unknown` with a sentence as cause.
    Unknown,
    /// The function takes too long: `Sandbox.Timedout`, as newer runtimes say.
    TimedOut,
    /// The function needs too much memory: `Runtime.ExitError`.
    Killed,
    /// Nothing is heard of it while the task may take: `States.Timeout`.
    Unanswered,
}

impl Effect {
    pub(crate) fn delay(&self) -> Duration {
        match self {
            Self::Delay(milliseconds) => Duration::from_millis(*milliseconds),
            _ => Duration::ZERO,
        }
    }
}

/// The faults that are still to come.
#[derive(Default)]
pub(crate) struct Faults(Mutex<Vec<Fault>>);

impl Faults {
    pub(crate) fn add(&self, fault: Fault) {
        lock(&self.0).push(fault);
    }

    /// Counts the faults about this that have not struck yet.
    pub(crate) fn to_come(&self, about: &str) -> u32 {
        let faults = lock(&self.0);
        let about = faults.iter().filter(|fault| fault.about.iter().any(|text| text == about));
        about.map(|fault| fault.times).sum()
    }

    /// Decides what happens to this call of an operation, if anything.
    pub(crate) fn strike(&self, operation: &str, asked: &str) -> Option<Effect> {
        let mut faults = lock(&self.0);
        let is_about = |fault: &Fault| fault.about.iter().all(|text| asked.contains(text.as_str()));
        let fault =
            faults.iter_mut().find(|fault| fault.operation == operation && is_about(fault))?;
        if fault.after > 0 {
            fault.after -= 1;
            return None;
        }
        fault.times -= 1;
        let effect = fault.effect.clone();
        faults.retain(|fault| fault.times > 0);
        Some(effect)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn fault(about: &str, after: u32, times: u32, effect: Effect) -> Fault {
        Fault { operation: "A".into(), about: vec![about.to_owned()], after, times, effect }
    }

    #[test]
    fn strikes_the_calls_it_is_told_to() {
        let faults = Faults::default();
        faults.add(fault("", 1, 2, Effect::Throttle));
        faults.add(fault("", 0, 1, Effect::Cut));
        let struck: Vec<_> = (0..5).map(|_| faults.strike("A", "1")).collect();
        assert_eq!(
            struck,
            [None, Some(Effect::Throttle), Some(Effect::Throttle), Some(Effect::Cut), None]
        );
        assert_eq!(faults.strike("B", "1"), None);
    }

    #[test]
    fn strikes_only_whom_it_is_told_to() {
        let faults = Faults::default();
        faults.add(fault("2", 0, 1, Effect::Cut));
        assert_eq!(faults.strike("A", "1 x"), None);
        assert_eq!(faults.strike("A", "2 x"), Some(Effect::Cut));
    }
}
