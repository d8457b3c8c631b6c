//! Counts the predictions of a tenant in a minute over all processes, so that one tenant's
//! calls leave room for the others'.
//!
//! Every call is one process's. Each process counts its own, and every few seconds tells
//! the others by a key: `usage/<tenant>/<minute>/<process>/<calls>-<records>.json`. One
//! list of a minute's keys adds them all up. So a call waits for nothing, and a limit is
//! kept but for what all processes answer within [`SHARE_SECONDS`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use sha2::{Digest as _, Sha256};

use super::{Expect, Registry, RegistryError};
use crate::ids::{TenantId, hex};
use crate::tenant::PredictionLimits;

/// Seconds after which a process tells the others what it counted, and asks them.
pub const SHARE_SECONDS: u64 = 5;
/// Seconds for which limits are given.
const WINDOW: u64 = 60;
/// Tenants whose counts a process keeps.
const MOST: usize = 1024;

/// Calls and records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Calls that were let in.
    pub calls: u64,
    /// Records of these calls.
    pub records: u64,
}

impl Usage {
    fn plus(self, other: Usage) -> Usage {
        Usage {
            calls: self.calls.saturating_add(other.calls),
            records: self.records.saturating_add(other.records),
        }
    }
}

/// The place of a call within its tenant's limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// The tenant's limits.
    pub limits: PredictionLimits,
    /// Calls and records that are left in this minute, as far as this process knows.
    pub left: Usage,
    /// Seconds until the next minute begins.
    pub reset_seconds: u64,
    /// `true` if the call is let in.
    pub admitted: bool,
}

/// The counts of one tenant in one minute, as one process knows them.
#[derive(Debug, Clone, Copy, Default)]
struct Window {
    /// Minutes since 1970.
    minute: u64,
    own: Usage,
    /// Those of all other processes, when they were asked last.
    others: Usage,
    /// The second in which the counts were shared last.
    shared: Option<u64>,
}

impl Window {
    /// Counts a call if it is within the limits. `now` is in seconds since 1970.
    fn admit(&mut self, limits: PredictionLimits, records: u64, now: u64) -> Allowance {
        self.turn(now);
        let asked = Usage { calls: 1, records };
        let with_it = self.own.plus(self.others).plus(asked);
        let admitted = with_it.calls <= u64::from(limits.calls_per_minute)
            && with_it.records <= u64::from(limits.records_per_minute);
        if admitted {
            self.own = self.own.plus(asked);
        }
        let used = self.own.plus(self.others);
        let left = Usage {
            calls: u64::from(limits.calls_per_minute).saturating_sub(used.calls),
            records: u64::from(limits.records_per_minute).saturating_sub(used.records),
        };
        Allowance { limits, left, reset_seconds: WINDOW - now % WINDOW, admitted }
    }

    /// Begins anew with each minute.
    fn turn(&mut self, now: u64) {
        if self.minute != now / WINDOW {
            *self = Window { minute: now / WINDOW, ..Window::default() };
        }
    }

    /// Gives what to tell the others, if it is time to.
    fn due(&mut self, now: u64) -> Option<Usage> {
        self.turn(now);
        if self.shared.is_some_and(|shared| now < shared + SHARE_SECONDS) {
            return None;
        }
        self.shared = Some(now);
        Some(self.own)
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Kept {
    windows: Arc<Mutex<BTreeMap<TenantId, Window>>>,
    /// The name of this process.
    process: Arc<OnceLock<String>>,
}

impl Kept {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<TenantId, Window>> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, tenant: &TenantId, act: impl FnOnce(&mut Window) -> T) -> T {
        let mut windows = self.lock();
        if windows.len() >= MOST && !windows.contains_key(tenant) {
            windows.pop_first();
        }
        act(windows.entry(tenant.clone()).or_default())
    }

    /// Names this process by the first request that it shares the count of: no other
    /// process has that.
    fn process(&self, request: &str) -> &str {
        self.process.get_or_init(|| hex(&Sha256::digest(request)[..8]))
    }
}

impl Registry {
    /// Counts a call of so many records if it is within the tenant's limits. `now` is in
    /// seconds since 1970.
    pub fn admit(
        &self,
        tenant: &TenantId,
        limits: PredictionLimits,
        records: u64,
        now: u64,
    ) -> Allowance {
        self.usage.with(tenant, |window| window.admit(limits, records, now))
    }

    /// Tells other processes what this one has counted in this minute, and asks them, if
    /// it is time to. `request` is the id of the request at hand.
    ///
    /// # Errors
    /// What S3 refuses. Calls then are counted by each process alone.
    pub async fn share_usage(
        &self,
        tenant: &TenantId,
        request: &str,
        now: u64,
    ) -> Result<(), RegistryError> {
        let Some(own) = self.usage.with(tenant, |window| window.due(now)) else { return Ok(()) };
        let process = self.usage.process(request);
        let prefix = format!("usage/{tenant}/{}/", now / WINDOW);
        let key = format!("{prefix}{process}/{}-{}.json", own.calls, own.records);
        let (written, keys) =
            tokio::join!(self.write(&key, &(), Expect::Nothing), self.keys(&prefix));
        written?;
        let others = others(&keys?, &prefix, process);
        self.usage.with(tenant, |window| {
            if window.minute == now / WINDOW {
                window.others = others;
            }
        });
        Ok(())
    }
}

/// Adds up the newest counts of all processes but this one. Counts only grow.
fn others(keys: &[String], prefix: &str, own: &str) -> Usage {
    let mut newest: BTreeMap<&str, Usage> = BTreeMap::new();
    for key in keys {
        let Some((process, counts)) = key.strip_prefix(prefix).and_then(|key| key.split_once('/'))
        else {
            continue;
        };
        let counts = counts.strip_suffix(".json").and_then(|counts| counts.split_once('-'));
        let parse = |text: &str| text.parse::<u64>().ok();
        let counts = counts.and_then(|(calls, records)| Some((parse(calls)?, parse(records)?)));
        if let Some((calls, records)) = counts.filter(|_| process != own) {
            let known = newest.entry(process).or_default();
            *known = Usage { calls: known.calls.max(calls), records: known.records.max(records) };
        }
    }
    newest.into_values().fold(Usage::default(), Usage::plus)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: PredictionLimits =
        PredictionLimits { calls_per_minute: 3, records_per_minute: 100 };
    /// The begin of a minute.
    const NOW: u64 = 1_700_000_040;

    #[test]
    fn calls_and_records_beyond_the_limit_wait_for_the_next_minute() {
        let mut window = Window::default();
        for (records, now, admitted, calls_left, records_left, reset) in [
            (1, NOW, true, 2, 99, 60),
            (98, NOW + 1, true, 1, 1, 59),
            // Too many records: what was refused counts for nothing.
            (2, NOW + 2, false, 1, 1, 58),
            (1, NOW + 3, true, 0, 0, 57),
            (0, NOW + 59, false, 0, 0, 1),
            (100, NOW + 60, true, 2, 0, 60),
        ] {
            let allowance = window.admit(LIMITS, records, now);
            assert_eq!(allowance.admitted, admitted, "{now}");
            assert_eq!(allowance.left, Usage { calls: calls_left, records: records_left });
            assert_eq!(allowance.reset_seconds, reset);
        }
    }

    #[test]
    fn what_other_processes_let_in_counts_too_and_ends_with_the_minute() {
        let mut window = Window::default();
        window.admit(LIMITS, 1, NOW);
        window.others = Usage { calls: 2, records: 2 };
        assert!(!window.admit(LIMITS, 1, NOW + 1).admitted);
        assert!(window.admit(LIMITS, 1, NOW + 60).admitted);
    }

    #[test]
    fn counts_are_shared_with_the_first_call_of_a_minute_and_then_every_few_seconds() {
        let mut window = Window::default();
        window.admit(LIMITS, 7, NOW);
        assert_eq!(window.due(NOW), Some(Usage { calls: 1, records: 7 }));
        assert_eq!(window.due(NOW + SHARE_SECONDS - 1), None);
        assert!(window.due(NOW + SHARE_SECONDS).is_some());
        assert_eq!(window.due(NOW + 60), Some(Usage::default()));
    }

    #[test]
    fn the_newest_counts_of_the_others_are_added_and_odd_keys_are_passed_over() {
        let keys = [
            "usage/acme/1/me/9-9.json",
            "usage/acme/1/one/10-200.json",
            "usage/acme/1/one/9-150.json",
            "usage/acme/1/two/1-5.json",
            "usage/acme/1/two/x-5.json",
            "usage/acme/1/odd.json",
        ]
        .map(str::to_owned);
        assert_eq!(others(&keys, "usage/acme/1/", "me"), Usage { calls: 11, records: 205 });
    }
}
