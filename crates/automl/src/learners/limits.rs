//! Time limits of a fit.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// The time at which a learner has to come to an end, and the flag that stops it before.
#[derive(Clone, Copy)]
pub(crate) struct Limits<'a> {
    pub(crate) deadline: Option<Instant>,
    pub(crate) stop: &'a AtomicBool,
}

impl Limits<'_> {
    pub(crate) fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
            || self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }
}
