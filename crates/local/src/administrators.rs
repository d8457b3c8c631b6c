//! The access keys of accounts' administrators: the local cloud makes them, and
//! the emulator checks their signatures (see `emulator/doors.py`, which makes
//! the same ones).

use aws_lc_rs::hmac;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use crosspilot_core::aws;
use crosspilot_core::aws::HttpClient;
use crosspilot_core::aws::aws_config::{BehaviorVersion, Region, SdkConfig};
use crosspilot_core::aws::s3::config::{Credentials, SharedCredentialsProvider};

use crate::accounts::{AccessKey, REGION};

const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// Makes the key of any account's root out of the local cloud's token, so that
/// none has to be kept, and nobody without the token has one.
#[derive(Clone)]
pub struct Administrators {
    token: String,
    http: HttpClient,
}

/// Nobody's: they are not part of what is written down.
impl Default for Administrators {
    fn default() -> Self {
        Self::of("")
    }
}

impl std::fmt::Debug for Administrators {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Administrators").finish_non_exhaustive()
    }
}

impl Administrators {
    /// The administrators of the local cloud that has this token.
    pub(crate) fn of(token: &str) -> Self {
        Self { token: token.to_owned(), http: aws::http_client() }
    }

    /// A service at this address, asked as an account's administrator. All of them
    /// share their connections.
    pub(crate) fn config(&self, url: &str, account: &str) -> SdkConfig {
        let AccessKey { id, secret } = self.key(account);
        let credentials = Credentials::new(id, secret, None, None, "local administrator");
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(REGION))
            .endpoint_url(url)
            .http_client(self.http.clone())
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .build()
    }

    /// The key of an account's root. As on AWS, its id names the account.
    pub fn key(&self, account: &str) -> AccessKey {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.token.as_bytes());
        let digest = |what: &str| hmac::sign(&key, format!("{what} of {account}").as_bytes());
        let chance =
            digest("key").as_ref().iter().take(5).fold(0, |sum, byte| sum << 8 | u128::from(*byte));
        let number = 1 << 79 | account.parse().unwrap_or(0_u128) << 39 | chance >> 1;
        let letter = |place: u32| char::from(ALPHABET[(number >> (5 * place) & 31) as usize]);
        let mut secret = BASE64_STANDARD.encode(digest("secret"));
        secret.truncate(40);
        AccessKey { id: "AKIA".chars().chain((0..16).rev().map(letter)).collect(), secret }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_accounts_and_the_clouds() {
        // As `doors.administrator("a token", "111111111111")` makes it.
        let key = Administrators::of("a token").key("111111111111");
        assert_eq!(
            (key.id.as_str(), key.secret.as_str()),
            ("AKIARTXV5AHDYMCDR542", "8vQIcnwg5QzaW37vrF7138k+aaJdfvH0/nWFmrKT")
        );
        assert_ne!(key.secret, Administrators::of("a token").key("222222222222").secret);
        assert_ne!(key.id, Administrators::of("another").key("111111111111").id);
    }
}
