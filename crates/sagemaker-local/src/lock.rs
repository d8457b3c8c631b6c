//! Locks what tasks share.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex, even one whose holder panicked: every change that is made under a lock
/// here is one assignment or insertion, so what a panic leaves is whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
