//! Words of AWS's or a container's own, which may quote data.
//!
//! A container that cannot read a value names it, and SageMaker hands its words on:
//! in a `FailureReason`, in a `ModelError`. They lie in the customer's account, and
//! stay there. Outside go the kind of what they say, as far as AWS has a word for
//! it, and where they can be read.

use std::fmt;

/// Words that may quote a customer's data. There is no way to show them: they have
/// no `Display`, are not serialized, and `Debug` does not tell them either.
#[derive(Clone, PartialEq, Eq)]
pub struct Said(String);

/// Words that AWS begins with, and what they mean, as public threads and the local
/// cloud have them: no page of AWS's lists them all. What is missing here only loses
/// its kind.
const BEGINNINGS: &[(&str, &str)] = &[
    ("AlgorithmError", "AlgorithmError: a container gave up on the data"),
    ("ClientError", "ClientError: the data or the request cannot be used"),
    ("InternalServerError", "InternalServerError: a fault of SageMaker's, start it again"),
    ("CapacityError", "CapacityError: AWS has no such instances now, try again later"),
    ("ResourceLimitExceeded", "ResourceLimitExceeded: ask AWS for a higher quota, or make room"),
];

/// Words that stand somewhere in what AWS says, and what they mean.
const PHRASES: &[(&str, &str)] = &[
    ("InsufficientInstanceCapacity", "AWS has no such instances now, try again later"),
    ("Unable to provision requested ML compute", "AWS has no such instances now, try again later"),
    ("ResourceLimitExceeded", "a quota is used up, ask AWS for a higher one or make room"),
    ("AccessDenied", "a role may not do what is needed, compare it with infra/customer.yaml"),
    (
        "is not authorized to perform",
        "a role may not do what is needed, compare it with infra/customer.yaml",
    ),
    (
        "assume role",
        "SageMaker may not assume the execution role, compare it with infra/customer.yaml",
    ),
    (
        "Failed to download model data",
        "the model's files cannot be downloaded, see that they are there and that the execution role may read them",
    ),
    ("ping health check", "a container did not pass the ping health check"),
    ("CloudWatch alarms", "a CloudWatch alarm went off"),
];

impl Said {
    /// Takes words as they come.
    pub fn new(words: impl Into<String>) -> Self {
        Self(words.into())
    }

    /// The kind of what is said, where AWS has a word for it.
    pub fn kind(&self) -> Option<&'static str> {
        let begins = |(word, _): &&(&str, _)| self.0.starts_with(word);
        let holds = |(phrase, _): &&(&str, _)| self.0.contains(phrase);
        let found = BEGINNINGS.iter().find(begins).or_else(|| PHRASES.iter().find(holds));
        found.map(|(_, kind)| *kind)
    }

    /// Gives what may be told of a `FailureReason`. `command` of the AWS command line
    /// reads all of it in the customer's account.
    pub fn reason(&self, command: impl fmt::Display) -> String {
        let kind = self.kind().map(|kind| format!("{kind}; ")).unwrap_or_default();
        format!(
            "{kind}SageMaker's own words may quote the data and stay in the customer's account: read them there with `aws sagemaker {command}`"
        )
    }

    /// Gives what may be told of a `ModelError` of this endpoint.
    pub fn model_error(&self, endpoint: impl fmt::Display) -> String {
        let status = match self.status() {
            Some(status) => format!(" with status {status}"),
            None => String::new(),
        };
        format!(
            "the model's container refused the request{status}; its own words may quote the records and stay in the customer's account: read them there in log group /aws/sagemaker/Endpoints/{endpoint}"
        )
    }

    /// The container's HTTP status: "Received client error (400) from primary with
    /// message ...".
    fn status(&self) -> Option<u16> {
        let (_, rest) = self.0.strip_prefix("Received ")?.split_once(" error (")?;
        rest.split_once(')')?.0.parse().ok()
    }
}

impl fmt::Debug for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Said(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CELL: &str = "Jane Roe 555-0100";

    #[test]
    fn a_reason_is_told_by_its_kind_and_never_quoted() {
        for (words, kind) in [
            ("AlgorithmError: ValueError('could not convert', exit code: 1", "AlgorithmError"),
            ("CapacityError: Unable to provision requested ML compute capacity.", "CapacityError"),
            ("Unable to provision requested ML compute capacity due to", "no such instances now"),
            ("An error occurred (AccessDenied) when calling GetObject", "a role may not"),
            (
                "The primary container for production variant v did not pass the ping health check.",
                "ping health check",
            ),
            ("something new", "SageMaker's own words"),
        ] {
            let said = Said::new(format!("{words} {CELL}"));
            let reason = said.reason("describe-endpoint --endpoint-name e");
            assert!(reason.starts_with(kind) || reason.contains(kind), "{reason}");
            assert!(reason.ends_with("`aws sagemaker describe-endpoint --endpoint-name e`"));
            assert!(!reason.contains(CELL) && !format!("{said:?}").contains(CELL), "{reason}");
        }
        assert_eq!(Said::new(CELL).kind(), None);
    }

    #[test]
    fn of_a_models_refusal_its_status_is_told() {
        let words = format!("Received client error (400) from primary with message \"{CELL}\".");
        for (words, status) in [(words.as_str(), " with status 400;"), (CELL, "the request;")] {
            let told = Said::new(words).model_error("e");
            assert!(
                told.contains(status) && told.ends_with("/aws/sagemaker/Endpoints/e"),
                "{told}"
            );
            assert!(!told.contains(CELL), "{told}");
        }
    }
}
