//! The gathering of a model's uploads, schedules and people's requests into runs: one trains
//! at a time, at most one more waits, and uploads gather in the one that waits.
//!
//! The rule, as plain transitions of one document for each model:
//!
//! - The first upload **leads** a run. Later ones **join** it, until none has come
//!   for the model's quiet period. Then it trains on what lies there.
//! - Whoever comes while a run trains leads or joins the one that waits.
//! - A schedule or a person begins at once if nothing trains or waits, else waits,
//!   else joins the run that waits: that one will see all there is now.
//!
//! **Nothing is remembered of single files.** An upload is told by its time alone:
//! what was uploaded before a run began to train lay there when it did
//! ([`Gathering::covered`]), and the quiet period counts from the newest upload,
//! whichever is heard of last. So events that come twice, late or in any order
//! change nothing, and the document stays small however many files there are.
//! S3's events know the second only: an upload counts as covered from the next
//! second on, which is why a quiet period is never shorter ([`SHORTEST_QUIET`]).

use std::fmt;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::run::{RunId, Trigger};

/// Seconds without an upload after which a run trains, unless its model or the
/// deployment says otherwise.
pub const DEFAULT_QUIET: u32 = 60;
/// The shortest quiet period, in seconds: the resolution of an upload's time.
pub const SHORTEST_QUIET: u32 = 1;
/// The longest quiet period, in seconds.
pub const LONGEST_QUIET: u32 = 3600;
/// Seconds that a run gathers at most: uploads that never pause are trained on
/// once a day.
const LONGEST_GATHERING: u32 = 86_400;
/// The time, in milliseconds, by which an upload's stamp may lie before the upload itself.
const RESOLUTION: i64 = 1000;

/// A moment, to the millisecond; RFC 3339 in documents.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Moment(i64);

impl Moment {
    /// The moment at which this is asked.
    pub fn now() -> Self {
        Self::of(OffsetDateTime::now_utc())
    }

    /// Makes the moment so many milliseconds after 1970 began.
    pub fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    fn of(time: OffsetDateTime) -> Self {
        Self((time.unix_timestamp_nanos() / 1_000_000) as i64)
    }

    /// Reads RFC 3339.
    pub fn parse(text: &str) -> Option<Self> {
        OffsetDateTime::parse(text, &Rfc3339).ok().map(Self::of)
    }

    /// Gives the moment so many seconds later.
    pub fn plus_seconds(self, seconds: u32) -> Self {
        Self(self.0 + i64::from(seconds) * 1000)
    }

    /// Seconds from an earlier moment; none if it is not earlier.
    pub fn seconds_since(self, earlier: Self) -> f64 {
        (self.0 - earlier.0).max(0) as f64 / 1000.0
    }
}

impl TryFrom<String> for Moment {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("{text:?} is no RFC 3339 moment"))
    }
}

impl From<Moment> for String {
    fn from(moment: Moment) -> String {
        moment.to_string()
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000);
        let text = time.ok().and_then(|time| time.format(&Rfc3339).ok());
        f.write_str(text.as_deref().unwrap_or("a moment out of range"))
    }
}

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A run's place: the only one that trains, or the only one that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The run.
    pub run: RunId,
    /// ARN of the execution that works on the run, or the name of who does it by hand.
    pub execution: String,
    /// The moment when the run came to this place.
    pub since: Moment,
}

/// The run that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingRun {
    /// The run, and the execution that works on it.
    #[serde(flatten)]
    pub place: Place,
    /// The trigger of the run, so that its execution can be started again.
    pub trigger: Trigger,
    /// The newest upload that the run stands for; none has to be waited for if it stands for
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest_upload: Option<Moment>,
    /// Executions that were started for the run, with this one.
    #[serde(default = "first")]
    pub attempt: u32,
}

fn first() -> u32 {
    1
}

/// The runs of one model that train and wait.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gathering {
    /// The moment when the newest run began to train: what was uploaded before lay there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub covered: Option<Moment>,
    /// The run that trains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<Place>,
    /// The run that gathers uploads, or waits for the one that trains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<WaitingRun>,
}

/// The answer to an upload that is heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// A run has seen the upload already.
    Known,
    /// The upload leads a run, whose execution has to be started.
    Leads,
    /// The upload is a matter of the run that waits.
    Joins,
}

/// The answer to a run that wants to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entered {
    /// The run has a place.
    In,
    /// Another run waits already, and stands for this one, too.
    Joins(Place),
}

/// The answer to a run that asks whether it may train now.
#[derive(Debug, Clone, PartialEq)]
pub enum Turn {
    /// The run trains from now on.
    Go,
    /// Uploads still come: it is too early by so many seconds.
    Gathering(f64),
    /// Another run trains: this one.
    Behind(Place),
}

impl Gathering {
    /// Hears of an upload at this time, which would lead the run of `leader`.
    pub fn upload(&mut self, uploaded: Moment, leader: impl FnOnce() -> WaitingRun) -> Heard {
        let seen_from = Moment(uploaded.0 + RESOLUTION);
        if self.covered.is_some_and(|covered| seen_from <= covered) {
            return Heard::Known;
        }
        match &mut self.waiting {
            Some(waiting) => {
                waiting.newest_upload = waiting.newest_upload.max(Some(uploaded));
                Heard::Joins
            }
            None => {
                let leader = WaitingRun { newest_upload: Some(uploaded), ..leader() };
                self.waiting = Some(leader);
                Heard::Leads
            }
        }
    }

    /// The run that waits gets another execution, since its own has died.
    pub fn replace(&mut self, execution: impl FnOnce(u32) -> String) {
        if let Some(waiting) = &mut self.waiting {
            waiting.attempt += 1;
            waiting.place.execution = execution(waiting.attempt);
        }
    }

    /// Lets a run begin. `alive` says whether somebody still works on what has a
    /// place; a run that stands for uploads gathers, any other trains at once if
    /// it can.
    pub fn enter(&mut self, entering: WaitingRun, alive: impl Fn(&Place) -> bool) -> Entered {
        if self.has(&entering.place.run) {
            return Entered::In;
        }
        let dead = match &self.waiting {
            Some(waiting) if alive(&waiting.place) => return Entered::Joins(waiting.place.clone()),
            dead => dead.as_ref().and_then(|waiting| waiting.newest_upload),
        };
        // It stands for the uploads of the one that died, too.
        let newest_upload = entering.newest_upload.max(dead);
        let entering = WaitingRun { newest_upload, ..entering };
        if newest_upload.is_none() && !self.training.as_ref().is_some_and(alive) {
            self.waiting = None;
            self.begin(entering.place);
        } else {
            self.waiting = Some(entering);
        }
        Entered::In
    }

    /// Asks whether a run may train now, after so many seconds of quiet; `alive`
    /// says whether somebody still works on the run that trains.
    ///
    /// A run without a place was handed over to a new execution: it gets its turn
    /// beside the one that waits.
    pub fn turn(
        &mut self,
        place: Place,
        quiet: u32,
        now: Moment,
        alive: impl Fn(&Place) -> bool,
    ) -> Turn {
        if let Some(training) = self.training.as_mut().filter(|own| own.run == place.run) {
            training.execution = place.execution;
            return Turn::Go;
        }
        let own = self.waiting.as_mut().filter(|waiting| waiting.place.run == place.run);
        let gathers = own.is_some();
        if let Some(waiting) = own {
            waiting.place.execution.clone_from(&place.execution);
            let since = waiting.place.since;
            let latest = since.plus_seconds(LONGEST_GATHERING);
            let quiet_at = waiting
                .newest_upload
                .map(|newest| newest.plus_seconds(quiet.max(SHORTEST_QUIET)).min(latest));
            if let Some(quiet_at) = quiet_at.filter(|at| *at > now) {
                return Turn::Gathering(quiet_at.seconds_since(now));
            }
        }
        if let Some(training) = self.training.as_ref().filter(|training| alive(training)) {
            return Turn::Behind(training.clone());
        }
        let place = Place { since: now, ..place };
        if gathers {
            self.waiting = None;
            self.begin(place);
        } else {
            // Its job may be of earlier: it covers nothing new.
            self.training = Some(place);
        }
        Turn::Go
    }

    /// A run has ended, however it did. Uploads that a run stood for which never
    /// trained are told of by its failure: they start nothing when heard of again.
    pub fn leave(&mut self, own: impl Fn(&Place) -> bool) {
        self.training.take_if(|training| own(training));
        let left = self.waiting.take_if(|waiting| own(&waiting.place));
        if let Some(newest) = left.and_then(|waiting| waiting.newest_upload) {
            self.covered = self.covered.max(Some(Moment(newest.0 + RESOLUTION)));
        }
    }

    /// Tells whether this run trains or waits.
    pub fn has(&self, run: &RunId) -> bool {
        self.training.as_ref().is_some_and(|training| training.run == *run)
            || self.waiting.as_ref().is_some_and(|waiting| waiting.place.run == *run)
    }

    fn begin(&mut self, place: Place) {
        self.covered = self.covered.max(Some(place.since));
        self.training = Some(place);
    }
}

#[cfg(test)]
mod tests;
