//! Fetches the words that training saw from the customer's bucket, and keeps them in
//! memory: those of a model never change.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crosspilot_core::bucket::Bucket;
use crosspilot_core::error::{Code, Coded};
use crosspilot_core::layout;
use crosspilot_core::run::RunRef;
use crosspilot_core::session::CustomerSession;
use crosspilot_core::tenant::Tenant;
use crosspilot_table::Words;

/// Models whose words are kept: with all their words, 16 MB.
const KEPT: usize = 64;
/// The time that an answer waits for words.
const PATIENCE: Duration = Duration::from_secs(2);

static WORDS: Mutex<BTreeMap<RunRef, Option<Arc<Words>>>> = Mutex::new(BTreeMap::new());

/// The words that a run's training rows held; nothing if they were not written down, or
/// cannot be had now: a warning that is not given is better than an answer that is not.
pub(super) async fn of(
    session: &CustomerSession,
    tenant: &Tenant,
    run: &RunRef,
) -> Option<Arc<Words>> {
    let kept = || WORDS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(words) = kept().get(run) {
        return words.clone();
    }
    let words = match tokio::time::timeout(PATIENCE, read(session, tenant, run)).await {
        Ok(Some(words)) => words.map(Arc::new),
        Ok(None) | Err(_) => return None,
    };
    let mut kept = kept();
    if kept.len() >= KEPT {
        kept.pop_first();
    }
    kept.insert(run.clone(), words.clone());
    words
}

/// Reads them, if they were written down; nothing if it may be another time.
async fn read(session: &CustomerSession, tenant: &Tenant, run: &RunRef) -> Option<Option<Words>> {
    let bucket = Bucket { s3: session.s3(), tenant };
    match bucket.get(&layout::words_key(&tenant.prefix, run)).await {
        // What was changed there by hand is no truth about training.
        Ok((text, _)) => Some(serde_json::from_slice(&text).unwrap_or_default()),
        // Who may not list is told so of a key that is not there.
        Err(error) if matches!(error.code(), Code::NotFound | Code::AccessDenied) => Some(None),
        Err(error) => {
            tracing::warn!(tenant = %run.tenant, model = %run.model, code = error.code().as_str(), "unseen words are not told");
            None
        }
    }
}
