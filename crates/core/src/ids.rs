//! Identifiers, parsed once into types that cannot be wrong.
//!
//! Each type says its own rule in its error, so a caller never has to explain
//! why a value was refused. All of them serialise as plain strings and refuse a
//! bad one while deserialising.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A value that does not follow its type's rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is not {what}: {rule}")]
pub struct InvalidId {
    /// The kind of value that was expected, with its article: `a tenant id`.
    what: &'static str,
    /// The rule that the value breaks.
    rule: &'static str,
    /// The value, shortened to what fits a sentence.
    value: String,
}

impl InvalidId {
    fn new(what: &'static str, rule: &'static str, value: &str) -> Self {
        let value = value.chars().take(80).collect();
        Self { what, rule, value }
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The value as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(value: &str) -> Result<Self, InvalidId> {
                let valid: fn(&str) -> bool = $valid;
                if valid(value) {
                    Ok(Self(value.to_owned()))
                } else {
                    Err(InvalidId::new($what, $rule, value))
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(value: String) -> Result<Self, InvalidId> {
                value.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }
    };
}

macro_rules! shown {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    )*};
}

/// Lowercase words joined by single hyphens, starting with a letter.
fn is_slug(value: &str) -> bool {
    (2..=20).contains(&value.len())
        && value.starts_with(|c: char| c.is_ascii_lowercase())
        && !value.ends_with('-')
        && !value.contains("--")
        && value.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

id!(
    /// A customer of the vendor. It becomes part of SageMaker names (at most 63
    /// characters) and of the session name in the customer's CloudTrail.
    TenantId,
    "a tenant id",
    "2 to 20 lowercase letters, digits and single hyphens, starting with a letter, and not true, false or null",
    // API Gateway hands a token's claims on as text: true would become a tenant.
    |value| is_slug(value) && !matches!(value, "true" | "false" | "null")
);

id!(
    /// A model: one thing that a tenant predicts, such as `churn`. It becomes part of
    /// SageMaker names and of S3 keys.
    ModelName,
    "a model name",
    "2 to 20 lowercase letters, digits and single hyphens, starting with a letter",
    is_slug
);

id!(
    /// A 12-digit AWS account id.
    AccountId,
    "an AWS account id",
    "exactly 12 digits",
    |value| value.len() == 12 && value.bytes().all(|b| b.is_ascii_digit())
);

id!(
    /// An AWS region, such as `us-east-1`.
    RegionName,
    "an AWS region",
    "lowercase words and a number joined by hyphens, such as us-east-1",
    |value| {
        (9..=25).contains(&value.len())
            && value.split('-').count() >= 3
            && value.split('-').all(|part| !part.is_empty())
            && value.ends_with(|c: char| c.is_ascii_digit())
            && value
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    }
);

id!(
    /// A general purpose S3 bucket. Rules: S3 User Guide, "Bucket naming rules".
    BucketName,
    "an S3 bucket name",
    "3 to 63 lowercase letters, digits, dots and hyphens, starting and ending with a letter or digit",
    |value| {
        let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        (3..=63).contains(&value.len())
            && value.starts_with(edge)
            && value.ends_with(edge)
            && !value.contains("..")
            && value.bytes().all(|b| {
                b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.'
            })
    }
);

id!(
    /// The key prefix under which a tenant's data lies in its bucket, without slashes at
    /// either end.
    Prefix,
    "a key prefix",
    "1 to 100 characters: words of letters, digits, dots, hyphens and underscores joined by single slashes",
    |value| {
        (1..=100).contains(&value.len())
            && value.split('/').all(|part| {
                !part.is_empty()
                    && part != "."
                    && part != ".."
                    && part
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
            })
    }
);

id!(
    /// The guard against the confused deputy: a random value that the vendor
    /// makes, one for each customer, and that the customer's role demands.
    /// AWS does not treat it as a secret, but it stays out of logs: Debug shows
    /// nothing of it and there is no Display. Rule: STS API, `ExternalId`.
    ExternalId,
    "an external ID",
    "2 to 1224 characters of letters, digits and _+=,.@:/-",
    |value| {
        (2..=1224).contains(&value.len())
            && value.bytes().all(|b| {
                b.is_ascii_alphanumeric()
                    || matches!(b, b'_' | b'+' | b'=' | b',' | b'.' | b'@' | b':' | b'/' | b'-')
            })
    }
);

impl RegionName {
    /// The partition of the region, which its ARNs begin with.
    pub fn partition(&self) -> &'static str {
        match self.0.as_str() {
            region if region.starts_with("cn-") => "aws-cn",
            region if region.starts_with("us-gov-") => "aws-us-gov",
            _ => "aws",
        }
    }
}

shown!(TenantId, ModelName, AccountId, RegionName, BucketName, Prefix);

impl fmt::Debug for ExternalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ExternalId(..)")
    }
}

impl ExternalId {
    /// A new one from the operating system's random source: 160 bits as hex.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut bytes = [0_u8; 20];
        getrandom::fill(&mut bytes)?;
        Ok(Self(format!("cp-{}", hex(&bytes))))
    }

    /// A value that differs from this one at its end only: what a trust policy
    /// with a pattern would take, too.
    pub fn near_miss(&self) -> Self {
        let longest = 1223.min(self.0.len());
        Self(format!("{}x", &self.0[..longest]))
    }

    /// Digests it, for comparison where it may not be kept.
    pub fn digest(&self) -> String {
        hex(&Sha256::digest(&self.0))
    }
}

/// Writes bytes in lowercase hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The ARN of an IAM role, taken apart.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RoleArn {
    text: String,
    account: AccountId,
}

impl RoleArn {
    /// The role `name` (without a path) in `account`, which uses this region.
    pub fn new(region: &RegionName, account: &AccountId, name: &str) -> Result<Self, InvalidId> {
        format!("arn:{}:iam::{account}:role/{name}", region.partition()).parse()
    }

    /// The ARN as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The account that the role lives in.
    pub fn account(&self) -> &AccountId {
        &self.account
    }

    /// The partition, such as `aws`, which all ARNs of that account share.
    pub fn partition(&self) -> &str {
        self.text.split(':').nth(1).unwrap_or("aws")
    }

    /// The role's name without its path. IAM lets an account have it once.
    pub fn name(&self) -> &str {
        self.text.rsplit('/').next().unwrap_or_default()
    }
}

impl FromStr for RoleArn {
    type Err = InvalidId;

    fn from_str(value: &str) -> Result<Self, InvalidId> {
        let invalid = || {
            InvalidId::new(
                "an IAM role ARN",
                "arn:<partition>:iam::<12-digit account>:role/<path and name>",
                value,
            )
        };
        let mut parts = value.splitn(6, ':');
        let head = (parts.next(), parts.next(), parts.next(), parts.next());
        let (Some("arn"), Some("aws" | "aws-cn" | "aws-us-gov"), Some("iam"), Some("")) = head
        else {
            return Err(invalid());
        };
        let (Some(account), Some(resource)) = (parts.next(), parts.next()) else {
            return Err(invalid());
        };
        let account = account.parse().map_err(|_| invalid())?;
        let path = resource.strip_prefix("role/").ok_or_else(invalid)?;
        let name = path.rsplit('/').next().unwrap_or_default();
        let allowed = |b: u8| {
            b.is_ascii_alphanumeric() || matches!(b, b'+' | b'=' | b',' | b'.' | b'@' | b'_' | b'-')
        };
        if !(1..=64).contains(&name.len())
            || path.len() > 576
            || !path.split('/').all(|part| !part.is_empty() && part.bytes().all(allowed))
        {
            return Err(invalid());
        }
        Ok(Self { text: value.to_owned(), account })
    }
}

impl TryFrom<String> for RoleArn {
    type Error = InvalidId;

    fn try_from(value: String) -> Result<Self, InvalidId> {
        value.parse()
    }
}

impl From<RoleArn> for String {
    fn from(arn: RoleArn) -> String {
        arn.text
    }
}

impl fmt::Display for RoleArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for RoleArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tenant_ids_are_short_lowercase_slugs() {
        for good in ["acme", "a1", "north-wind-2"] {
            assert_eq!(good.parse::<TenantId>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            "a",
            "Acme",
            "1acme",
            "acme-",
            "a--b",
            "../etc",
            "аcme",
            "a\n",
            "x123456789012345678901",
            "true",
            "false",
            "null",
        ] {
            assert!(bad.parse::<TenantId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_error_names_the_value_and_the_rule() {
        let error = "Acme".parse::<TenantId>().unwrap_err().to_string();
        assert!(error.starts_with("\"Acme\" is not a tenant id: 2 to 20 lowercase"), "{error}");
    }

    #[test]
    fn role_arns_are_taken_apart_strictly() {
        let arn: RoleArn =
            "arn:aws:iam::222222222222:role/team/customer_trusting_saas".parse().unwrap();
        assert_eq!(arn.account().as_str(), "222222222222");
        let account: AccountId = "222222222222".parse().unwrap();
        for (region, partition) in
            [("us-east-1", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")]
        {
            let made = RoleArn::new(&region.parse().unwrap(), &account, "r").unwrap();
            assert_eq!(made.as_str(), format!("arn:{partition}:iam::222222222222:role/r"));
        }
        for bad in [
            "arn:aws:iam::222222222222:user/eve",
            "arn:aws:iam::22222222222:role/short-account",
            "arn:aws:iam::222222222222:role/",
            "arn:aws:iam::222222222222:role/a b",
            "arn:aws:iam::222222222222:role/a*",
            "arn:aws:sts::222222222222:assumed-role/a/b",
            "arn:evil:iam::222222222222:role/a",
        ] {
            assert!(bad.parse::<RoleArn>().is_err(), "{bad}");
        }
    }

    #[test]
    fn external_ids_are_random_and_do_not_show_in_debug() {
        let first = ExternalId::generate().unwrap();
        assert_ne!(first, ExternalId::generate().unwrap());
        assert_eq!(first.as_str().len(), 43);
        assert!(!format!("{first:?}").contains(first.as_str()));
        assert!("x".parse::<ExternalId>().is_err());
        assert!("x".repeat(1225).parse::<ExternalId>().is_err());
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_round_trips(text in "\\PC{0,80}") {
            for parsed in [text.parse::<TenantId>().map(String::from), text.parse::<BucketName>().map(String::from),
                           text.parse::<Prefix>().map(String::from), text.parse::<RoleArn>().map(String::from)]
                .into_iter().flatten()
            {
                prop_assert_eq!(&parsed, &text);
            }
        }
    }
}
