//! The calls that runs themselves made to a model's endpoint: a champion about the held-out
//! rows, a new model for its first prediction. CloudWatch counts these like anybody's, so
//! they are noted, and an endpoint that nobody else asks is known.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::{Registry, RegistryError};
use crate::ids::{ModelName, TenantId};

/// Notes that are kept of a model; the oldest go first.
const MOST: usize = 200;
/// Seconds from an end of a window within which a note is not certain to be counted in it:
/// CloudWatch hears of a call minutes later, and rounds times to the hour at most.
const EDGE: u64 = 3600;

/// The calls of one step of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnCall {
    /// The production variant that answered, or that has come to serve.
    pub variant: String,
    /// The time before the first call, in seconds since 1970.
    pub begun: u64,
    /// The time after the last call, in seconds since 1970.
    pub ended: u64,
    /// Calls that reached the model; none are noted for what only came to serve.
    pub calls: u64,
}

/// The calls that runs made to a model's endpoint, oldest first. Whatever comes to serve is
/// noted, too, so that all variants are known that served since the first note.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnCalls {
    /// The last notes.
    pub notes: Vec<OwnCall>,
}

impl OwnCalls {
    /// Adds a note. A write whose answer was lost is done again: the same note
    /// twice is one.
    pub fn note(&mut self, note: OwnCall) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
            self.notes.sort_by_key(|note| note.ended);
            self.notes.drain(..self.notes.len().saturating_sub(MOST));
        }
    }

    /// Gives the time from which on it is known which variants served, in seconds since 1970.
    pub fn since(&self) -> Option<u64> {
        self.notes.first().map(|note| note.ended)
    }

    /// The variants that served at `start` or later.
    pub fn variants_since(&self, start: u64) -> BTreeSet<&str> {
        let later = self.notes.partition_point(|note| note.ended <= start);
        self.notes[later.saturating_sub(1)..].iter().map(|note| note.variant.as_str()).collect()
    }

    /// Counts which of the calls of a variant within a window were others'. Only what
    /// lies in it for certain is taken off: rather an endpoint is kept for longer
    /// than that somebody's prediction is taken for ours.
    pub fn others(&self, counted: u64, variant: &str, window: &Range<u64>) -> u64 {
        let inside = |note: &&OwnCall| {
            note.variant == variant
                && note.begun >= window.start.saturating_add(EDGE)
                && note.ended <= window.end.saturating_sub(EDGE)
        };
        let own = self.notes.iter().filter(inside).map(|note| note.calls);
        counted.saturating_sub(own.fold(0, u64::saturating_add))
    }
}

/// Gives a moment as notes have it, in seconds since 1970.
pub fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

impl Registry {
    /// Reads what runs asked a model's endpoint themselves.
    pub async fn own_calls(
        &self,
        tenant: &TenantId,
        model: &ModelName,
    ) -> Result<OwnCalls, RegistryError> {
        let found = self.read(&own_calls_key(tenant, model)).await?;
        Ok(found.map(|versioned| versioned.document).unwrap_or_default())
    }

    /// Changes what is noted of that. A change that changes nothing writes nothing.
    pub async fn change_own_calls(
        &self,
        tenant: &TenantId,
        model: &ModelName,
        change: impl Fn(&mut OwnCalls),
    ) -> Result<(), RegistryError> {
        self.change(&own_calls_key(tenant, model), change).await.map(drop)
    }
}

pub(super) fn own_calls_key(tenant: &TenantId, model: &ModelName) -> String {
    format!("serving/{tenant}/{model}/own-calls.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;

    fn note(variant: &str, time: u64, calls: u64) -> OwnCall {
        OwnCall { variant: variant.into(), begun: time, ended: time + 60, calls }
    }

    fn noted(notes: impl IntoIterator<Item = OwnCall>) -> OwnCalls {
        let mut own = OwnCalls::default();
        notes.into_iter().for_each(|note| own.note(note));
        own
    }

    #[test]
    fn own_calls_are_taken_off_a_variants_and_never_more_than_there_are() {
        let own = noted([note("a", 2 * DAY, 3), note("a", 3 * DAY, 4), note("b", 3 * DAY, 5)]);
        let window = DAY..9 * DAY;
        for (counted, variant, others) in
            [(7, "a", 0), (9, "a", 2), (6, "a", 0), (6, "b", 1), (2, "c", 2), (0, "a", 0)]
        {
            assert_eq!(own.others(counted, variant, &window), others, "{counted} {variant}");
        }
    }

    #[test]
    fn a_note_counts_only_if_it_is_certainly_inside() {
        let window = 10 * DAY..20 * DAY;
        let (first, last) = (window.start + EDGE, window.end - EDGE - 60);
        for (time, others) in [
            (first - 1, 3),
            (first, 0),
            (last, 0),
            // It may not have come to CloudWatch's ears.
            (last + 1, 3),
            (window.end, 3),
            (window.start - DAY, 3),
        ] {
            assert_eq!(noted([note("a", time, 3)]).others(3, "a", &window), others, "{time}");
        }
        // A clock that is wrong, or a window shorter than its edges.
        assert_eq!(noted([note("a", 0, 3)]).others(3, "a", &(0..0)), 3);
    }

    #[test]
    fn the_same_note_twice_is_one_and_the_oldest_go_first() {
        let own = noted([note("a", DAY, 3), note("a", DAY, 3)]);
        assert_eq!(own.notes.len(), 1);
        let own = noted((0..=MOST as u64).rev().map(|day| note("a", day * DAY, 1)));
        assert_eq!((own.notes.len(), own.since()), (MOST, Some(DAY + 60)));
    }

    #[test]
    fn what_served_when_a_window_began_is_known_by_the_last_note_before_it() {
        let own = noted([note("a", DAY, 1), note("b", 2 * DAY, 1), note("c", 5 * DAY, 1)]);
        let since = |start| own.variants_since(start).into_iter().collect::<Vec<_>>();
        assert_eq!(since(3 * DAY), ["b", "c"]);
        assert_eq!(since(6 * DAY), ["c"]);
        assert_eq!(since(0), ["a", "b", "c"]);
        assert!(OwnCalls::default().variants_since(DAY).is_empty());
    }
}
