//! The rule, event by event, and on a thousand events in any order.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const QUIET: u32 = 60;

fn at(seconds: f64) -> Moment {
    Moment::from_millis((seconds * 1000.0) as i64)
}

fn run(number: usize) -> RunId {
    format!("20260131-{number:010x}").parse().unwrap()
}

fn place(number: usize, since: Moment) -> Place {
    Place { run: run(number), execution: format!("arn:{number}"), since }
}

/// A run as somebody or something asks for it.
fn wanted(number: usize, since: Moment) -> WaitingRun {
    let trigger = Trigger::Manual { time: since.to_string(), request_id: number.to_string() };
    WaitingRun { place: place(number, since), trigger, newest_upload: None, attempt: 1 }
}

fn upload(gathering: &mut Gathering, number: usize, uploaded: f64, now: f64) -> Heard {
    gathering.upload(at(uploaded), || wanted(number, at(now)))
}

fn turn(gathering: &mut Gathering, number: usize, now: f64) -> Turn {
    gathering.turn(place(number, at(now)), QUIET, at(now), |_| true)
}

#[test]
fn moments_are_rfc_3339_in_documents() {
    let moment = Moment::parse("2026-01-31T12:00:00.250Z").unwrap();
    assert_eq!(moment.to_string(), "2026-01-31T12:00:00.25Z");
    assert_eq!(Moment::parse(&moment.to_string()), Some(moment));
    assert_eq!(Moment::parse("2026-01-31T13:00:00+01:00"), Moment::parse("2026-01-31T12:00:00Z"));
    assert_eq!(Moment::parse("yesterday"), None);
}

#[test]
fn uploads_gather_until_none_has_come_for_the_quiet_period() {
    let mut gathering = Gathering::default();
    assert_eq!(upload(&mut gathering, 1, 0.0, 0.5), Heard::Leads);
    assert_eq!(upload(&mut gathering, 2, 50.0, 50.5), Heard::Joins);
    // Doubled, and late: neither counts anew.
    assert_eq!(upload(&mut gathering, 1, 0.0, 59.0), Heard::Joins);
    assert_eq!(upload(&mut gathering, 3, 20.0, 70.0), Heard::Joins);
    assert_eq!(turn(&mut gathering, 1, 60.0), Turn::Gathering(50.0));
    assert_eq!(turn(&mut gathering, 1, 110.0), Turn::Go);
    assert_eq!(turn(&mut gathering, 1, 111.0), Turn::Go);
    // What was uploaded before lay there, heard of before or not.
    for uploaded in [0.0, 20.0, 50.0, 109.0] {
        assert_eq!(upload(&mut gathering, 4, uploaded, 112.0), Heard::Known);
    }
    // In the same second, nobody can say.
    assert_eq!(upload(&mut gathering, 4, 110.0, 112.0), Heard::Leads);
}

#[test]
fn one_trains_one_waits_and_a_third_joins_the_one_that_waits() {
    let mut gathering = Gathering::default();
    let alive = |_: &Place| true;
    assert_eq!(gathering.enter(wanted(1, at(0.0)), alive), Entered::In);
    assert_eq!(turn(&mut gathering, 1, 0.1), Turn::Go);
    assert_eq!(gathering.enter(wanted(2, at(1.0)), alive), Entered::In);
    assert_eq!(turn(&mut gathering, 2, 2.0), Turn::Behind(place(1, at(0.0))));
    assert_eq!(gathering.enter(wanted(3, at(3.0)), alive), Entered::Joins(place(2, at(1.0))));
    // An upload joins it, too, and has it wait for quiet.
    assert_eq!(upload(&mut gathering, 4, 5.0, 5.5), Heard::Joins);
    assert_eq!(gathering.enter(wanted(2, at(6.0)), alive), Entered::In);
    gathering.leave(|place| place.run == run(1));
    assert_eq!(turn(&mut gathering, 2, 10.0), Turn::Gathering(55.0));
    assert_eq!(turn(&mut gathering, 2, 65.0), Turn::Go);
    assert_eq!(gathering.waiting, None);
    assert_eq!(gathering.enter(wanted(5, at(66.0)), alive), Entered::In);
}

#[test]
fn a_person_joins_uploads_that_gather() {
    let mut gathering = Gathering::default();
    upload(&mut gathering, 1, 0.0, 0.5);
    let joined = gathering.enter(wanted(2, at(1.0)), |_| true);
    assert_eq!(joined, Entered::Joins(place(1, at(0.5))));
}

#[test]
fn whoever_died_is_replaced() {
    let mut gathering = Gathering::default();
    upload(&mut gathering, 1, 0.0, 0.5);
    // The leader: by another execution of the same run.
    gathering.replace(|attempt| format!("arn:1-{attempt}"));
    let waiting = gathering.waiting.clone().unwrap();
    assert_eq!((waiting.place.execution.as_str(), waiting.attempt), ("arn:1-2", 2));
    assert_eq!(waiting.place.run, run(1));
    // Or by whoever wants to begin, who stands for its uploads, too.
    assert_eq!(gathering.enter(wanted(2, at(1.0)), |_| false), Entered::In);
    assert_eq!(turn(&mut gathering, 2, 30.0), Turn::Gathering(30.0));
    assert_eq!(turn(&mut gathering, 2, 60.0), Turn::Go);
    // The one that trains: by the next.
    gathering.enter(wanted(3, at(70.0)), |_| true);
    let next = gathering.turn(place(3, at(80.0)), QUIET, at(80.0), |_| false);
    assert_eq!((next, gathering.training.unwrap().run), (Turn::Go, run(3)));
}

#[test]
fn a_run_that_was_handed_over_takes_its_turn_and_covers_nothing() {
    let mut gathering = Gathering::default();
    gathering.enter(wanted(1, at(0.0)), |_| true);
    assert_eq!(turn(&mut gathering, 9, 1.0), Turn::Behind(place(1, at(0.0))));
    gathering.leave(|place| place.run == run(1));
    let covered = gathering.covered;
    assert_eq!(turn(&mut gathering, 9, 100.0), Turn::Go);
    assert_eq!(gathering.covered, covered);
    assert_eq!(upload(&mut gathering, 2, 50.0, 101.0), Heard::Leads);
}

#[test]
fn uploads_whose_run_failed_before_it_trained_start_nothing_when_heard_of_again() {
    let mut gathering = Gathering::default();
    upload(&mut gathering, 1, 10.0, 10.5);
    gathering.leave(|place| place.run == run(1));
    assert_eq!(upload(&mut gathering, 1, 10.0, 12.0), Heard::Known);
    assert_eq!(upload(&mut gathering, 2, 11.0, 12.0), Heard::Leads);
}

#[test]
fn uploads_without_a_pause_are_trained_on_after_a_day() {
    let mut gathering = Gathering::default();
    let day = f64::from(LONGEST_GATHERING);
    let mut now = 0.0;
    while now < day + 30.0 {
        upload(&mut gathering, 1, now, now);
        now += 30.0;
    }
    assert!(matches!(turn(&mut gathering, 1, day - 1.0), Turn::Gathering(_)));
    assert_eq!(turn(&mut gathering, 1, day), Turn::Go);
}

#[test]
fn the_document_reads_as_it_was_written() {
    let mut gathering = Gathering::default();
    upload(&mut gathering, 1, 0.0, 0.5);
    turn(&mut gathering, 1, 60.0);
    upload(&mut gathering, 2, 70.0, 70.5);
    let text = serde_json::to_string(&gathering).unwrap();
    assert_eq!(serde_json::from_str::<Gathering>(&text).unwrap(), gathering);
    assert_eq!(serde_json::from_str::<Gathering>("{}").unwrap(), Gathering::default());
}

/// An event of one object, as it was uploaded and as it is heard of.
#[derive(Debug, Clone, Copy)]
struct Event {
    /// Milliseconds.
    uploaded: i64,
    heard: i64,
}

impl Event {
    /// Gives the time as S3 says it: whole seconds.
    fn time(self) -> Moment {
        Moment::from_millis(self.uploaded / 1000 * 1000)
    }
}

/// The world of a simulated model: the moments from which runs trained, one after the other.
struct World {
    gathering: Gathering,
    /// Milliseconds that each run trains.
    takes: i64,
    began: Vec<i64>,
    executions: usize,
}

impl World {
    fn new(takes: i64) -> Self {
        Self { gathering: Gathering::default(), takes, began: Vec::new(), executions: 0 }
    }

    /// Lets time go on to `until`: the run that trains ends, the one that waits asks
    /// for its turn every second, as its execution would.
    fn pass(&mut self, from: i64, until: i64) {
        for now in (from..until).step_by(1000) {
            if let Some(training) = self.gathering.training.clone()
                && now >= self.began.last().unwrap() + self.takes
            {
                self.gathering.leave(|place| place.run == training.run);
            }
            let Some(waiting) = self.gathering.waiting.clone() else { continue };
            let now = Moment::from_millis(now);
            let asks = Place { since: now, ..waiting.place };
            let before = self.gathering.training.is_some();
            if self.gathering.turn(asks, QUIET, now, |_| true) == Turn::Go {
                assert!(!before, "two train at once");
                self.began.push(now.0);
            }
        }
    }

    /// Brings the events in the order in which they are heard of, and then lets
    /// everything come to rest.
    fn hear(mut self, events: &[Event]) -> Self {
        let mut events = events.to_vec();
        events.sort_by_key(|event| event.heard);
        let mut now = 0;
        for event in events {
            let next = event.heard / 1000 * 1000;
            self.pass(now, next);
            now = next;
            let number = self.executions;
            let leader = || wanted(number, Moment::from_millis(event.heard));
            if self.gathering.upload(event.time(), leader) == Heard::Leads {
                self.executions += 1;
            }
        }
        let rest = now + 3 * (self.takes + i64::from(QUIET) * 1000 + 1000);
        self.pass(now, rest);
        assert_eq!((&self.gathering.training, &self.gathering.waiting), (&None, &None));
        self
    }
}

/// The rule in other words, on sets of objects instead of times: an object that
/// is heard of and lay in no run begins a wait; the wait ends once nothing that
/// was heard of is younger than the quiet period and nothing trains; the run then
/// trains on all that lies there.
fn by_the_rule(events: &[Event], takes: i64) -> Vec<i64> {
    let mut heard: Vec<Event> = events.to_vec();
    heard.sort_by_key(|event| event.heard);
    let mut began: Vec<i64> = Vec::new();
    let (mut now, mut next) = (0, 0);
    let mut unseen = BTreeSet::<i64>::new();
    let last = heard.last().map_or(0, |event| event.heard);
    while next < heard.len() || !unseen.is_empty() || now <= last {
        while next < heard.len() && heard[next].heard / 1000 * 1000 <= now {
            let second = heard[next].uploaded / 1000 * 1000;
            let lay_there = began.last().is_some_and(|began| second + 1000 <= *began);
            if !lay_there {
                unseen.insert(second);
            }
            next += 1;
        }
        let trains = began.last().is_some_and(|began| now < began + takes);
        let quiet = unseen.iter().all(|second| second + i64::from(QUIET) * 1000 <= now);
        if !unseen.is_empty() && quiet && !trains {
            began.push(now);
            unseen.clear();
        }
        now += 1000;
    }
    began
}

/// Uploads of up to an hour, each heard of once or more, soon or late.
fn events(most: usize) -> impl Strategy<Value = Vec<Event>> {
    let heard = prop::collection::vec(0i64..200_000, 1..4);
    let upload = (0i64..3_600_000, heard, any::<bool>());
    prop::collection::vec(upload, 1..most).prop_map(|uploads| {
        let events = uploads.into_iter().flat_map(|(uploaded, delays, crowd)| {
            // Half of them come in crowds.
            let uploaded =
                if crowd { uploaded / 600_000 * 600_000 + uploaded % 9000 } else { uploaded };
            delays.into_iter().map(move |delay| Event { uploaded, heard: uploaded + delay })
        });
        events.collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_thousand_events_give_the_runs_that_the_rule_says(
        events in events(500),
        takes in prop::sample::select(vec![1000i64, 30_000, 300_000, 2_000_000]),
    ) {
        let world = World::new(takes).hear(&events);
        prop_assert_eq!(&world.began, &by_the_rule(&events, takes));
        prop_assert_eq!(world.executions, world.began.len());
        // Nothing is lost: whatever was uploaded lay there when some run began.
        let last = *world.began.last().unwrap();
        prop_assert!(events.iter().all(|event| event.uploaded < last));
        // And a flood costs a bounded number of runs.
        for pair in world.began.windows(2) {
            prop_assert!(pair[1] - pair[0] >= i64::from(QUIET) * 1000);
        }
    }

    #[test]
    fn a_crowd_in_any_order_and_multiplicity_is_one_run(
        uploads in prop::collection::vec(0i64..50_000, 1..1000),
        order in any::<prop::sample::Index>(),
        again in prop::collection::vec((any::<prop::sample::Index>(), 0i64..600_000), 0..200),
    ) {
        // All are heard of before any quiet period can have ended, in another order
        // than they were uploaded in; some again, much later.
        let turned = order.index(uploads.len());
        let mut heard: Vec<Event> = uploads.iter().enumerate().map(|(i, uploaded)| Event {
            uploaded: *uploaded,
            heard: 50_000 + ((i + turned) % uploads.len()) as i64,
        }).collect();
        heard.extend(again.iter().map(|(index, later)| {
            let uploaded = *index.get(&uploads);
            Event { uploaded, heard: 51_000 + later }
        }));
        let world = World::new(120_000).hear(&heard);
        let newest = uploads.iter().max().unwrap() / 1000 * 1000;
        prop_assert_eq!(world.executions, 1);
        prop_assert_eq!(world.began.len(), 1);
        prop_assert_eq!(world.began[0], newest + i64::from(QUIET) * 1000);
    }
}
