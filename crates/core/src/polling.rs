//! Poll intervals: how long to wait before the next look at a job, a transform or an endpoint.

use serde::Serialize;

/// Something has to end first: ask again later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Waiting {
    /// The reason for the wait, as a sentence.
    pub reason: String,
    /// Seconds until the next attempt.
    pub wait_seconds: u32,
}

impl Waiting {
    /// Waits for a tenth of what has passed.
    pub fn after(elapsed_seconds: f64, reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), wait_seconds: wait_seconds(elapsed_seconds) }
    }
}

/// Seconds until the next look: a tenth of what has passed, so that nothing is
/// noticed more than a tenth late, between 5 seconds and an hour. Thirty days then
/// take about 800 looks, and all waits of a run, within the two months that it may
/// take, stay within the 25,000 events of Step Functions' history.
pub fn wait_seconds(elapsed_seconds: f64) -> u32 {
    (elapsed_seconds / 10.0).clamp(5.0, 3600.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The state machine's own time-out, in days.
    const LONGEST: f64 = 61.0;
    /// Waits of a run: for its turn to gather, to start and to deploy, for its job, its
    /// scores and the end of what it left. Each begins with short looks.
    const WAITS: usize = 6;
    /// Events of one look: a choice, a wait and a task, with their ends.
    const EVENTS: usize = 9;
    /// The endpoint is looked at every two minutes, for half a day.
    const ENDPOINT: usize = 43_200 / 120;

    fn looks(seconds: f64) -> usize {
        let (mut elapsed, mut looks) = (0.0, 0);
        while elapsed < seconds {
            elapsed += f64::from(wait_seconds(elapsed));
            looks += 1;
        }
        looks
    }

    #[test]
    fn the_longest_run_fits_the_history() {
        let day = 86_400.0;
        // Until looks are as far apart as they get, each wait takes so many more.
        let short = looks(day) - (looks(2.0 * day) - looks(day));
        let all = looks(LONGEST * day) + WAITS * short + ENDPOINT;
        assert!(all * EVENTS < 25_000, "{all} looks");
    }
}
