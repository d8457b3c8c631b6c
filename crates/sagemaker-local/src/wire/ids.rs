//! Identifiers, digests and times as AWS writes them.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};

/// Tells the time as AWS writes it: seconds since 1970, with milliseconds.
pub(crate) fn now() -> f64 {
    (time::OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000) as f64 / 1000.0
}

/// Digests bytes with SHA-256, in hex.
pub(crate) fn sha256(bytes: impl AsRef<[u8]>) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        // Writing into a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Makes up an identifier in the form of AWS's, different every time.
pub(crate) fn unique_id() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let seed = (std::process::id(), now().to_bits(), COUNT.fetch_add(1, Ordering::Relaxed));
    let id = sha256(format!("{seed:?}"));
    format!("{}-{}-{}-{}-{}", &id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..32])
}
