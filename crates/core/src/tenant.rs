//! A tenant: one document in the registry.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::{
    AccountId, BucketName, ExternalId, ModelName, Prefix, RegionName, RoleArn, TenantId,
};
use crate::run::{RunRef, TAGS};
use crate::settings::{ModelSettings, SettingsInvalid};

/// Name of the role in the customer's account that the vendor assumes.
pub const ACCESS_ROLE: &str = "customer_trusting_saas";
/// Name of the role in the customer's account that only SageMaker assumes.
pub const EXECUTION_ROLE: &str = "crosspilot-execution";

/// The status of a tenant: only an active one may run and predict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TenantStatus {
    /// Registered; its trust is not proven yet.
    Pending,
    /// Runs and predicts.
    Active,
    /// Stopped for now, by an operator or because its trust drifted.
    Suspended,
    /// Being removed.
    Offboarding,
    /// Removed. The document stays so that the external ID is never reused.
    Deleted,
}

impl TenantStatus {
    /// Lists the statuses that may follow: pending to active, active to suspended and back, all of
    /// them to offboarding, and from there to deleted for good.
    pub fn next(self) -> &'static [TenantStatus] {
        use TenantStatus::{Active, Deleted, Offboarding, Pending, Suspended};
        match self {
            Pending => &[Active, Offboarding],
            Active => &[Suspended, Offboarding],
            Suspended => &[Active, Offboarding],
            Offboarding => &[Deleted],
            Deleted => &[],
        }
    }

    /// Tells whether that may follow.
    pub fn may_become(self, next: TenantStatus) -> bool {
        self.next().contains(&next)
    }

    /// The status as it stands in the document.
    pub fn as_str(self) -> &'static str {
        match self {
            TenantStatus::Pending => "pending",
            TenantStatus::Active => "active",
            TenantStatus::Suspended => "suspended",
            TenantStatus::Offboarding => "offboarding",
            TenantStatus::Deleted => "deleted",
        }
    }
}

/// The limits of a run. Always set: a job without these bounds is never started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Candidates that an AutoML job may train (1 to 750).
    pub max_candidates: u16,
    /// Seconds that a run may take from its start to its end.
    pub max_runtime_seconds: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_candidates: 10, max_runtime_seconds: 4 * 3600 }
    }
}

/// The predictions that a tenant's users may ask for in a minute, over all its models, so
/// that one tenant leaves room for the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PredictionLimits {
    /// Calls of the prediction API.
    pub calls_per_minute: u32,
    /// Records of these calls.
    pub records_per_minute: u32,
}

impl PredictionLimits {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for PredictionLimits {
    /// A fifth of the 100 calls a second that the API takes in all.
    fn default() -> Self {
        Self { calls_per_minute: 1200, records_per_minute: 600_000 }
    }
}

/// The part of the customer's VPC in which jobs and endpoints run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Ids of subnets, at least one.
    pub subnets: Vec<String>,
    /// Ids of security groups, at least one.
    pub security_groups: Vec<String>,
}

/// Keys of the customer's own, and encryption between containers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Encryption {
    /// KMS key, by id or ARN, of the disks that train and serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_key: Option<String>,
    /// KMS key, by id or ARN, of what training writes to the bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_key: Option<String>,
    /// `true` if containers that train together encrypt what they tell each other.
    #[serde(default)]
    pub between_containers: bool,
}

/// A customer of the vendor, as the registry knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tenant {
    /// The tenant's id; also the document's name.
    pub tenant: TenantId,
    /// The customer's AWS account.
    pub account: AccountId,
    /// The region in which the customer's data lies and its models run.
    pub region: RegionName,
    /// The role that the vendor assumes. In the customer's account.
    pub role_arn: RoleArn,
    /// The role that SageMaker assumes. In the customer's account too, since
    /// iam:PassRole cannot cross accounts.
    pub execution_role_arn: RoleArn,
    /// The external ID that the customer's role demands of the vendor.
    pub external_id: ExternalId,
    /// The customer's data bucket.
    pub bucket: BucketName,
    /// `true` if the bucket was there before, so that the customer's stack does not make it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bucket_exists: bool,
    /// The key prefix under which the data lies in the bucket.
    pub prefix: Prefix,
    /// The customer's subnets, if its jobs and endpoints run in them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// Keys of the customer's own, if it has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
    /// Tags on everything that its runs create, besides our own four.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// The tenant's status.
    pub status: TenantStatus,
    /// The limits of its runs.
    #[serde(default)]
    pub limits: Limits,
    /// The limits of its predictions.
    #[serde(default, skip_serializing_if = "PredictionLimits::is_default")]
    pub predictions: PredictionLimits,
    /// The tenant's models by name.
    #[serde(default)]
    pub models: BTreeMap<ModelName, ModelSettings>,
}

/// A tenant document that contradicts itself.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TenantInvalid {
    /// A role lives in another account than the tenant.
    #[error("role {role} is not in the declared account {account}")]
    ForeignRole {
        /// The role.
        role: RoleArn,
        /// The declared account.
        account: AccountId,
    },
    /// The limits are outside what SageMaker takes.
    #[error("max_candidates is {0}; SageMaker takes 1 to 750")]
    Candidates(u16),
    /// The runtime is outside what SageMaker takes.
    #[error("max_runtime_seconds is {0}; it must be between 300 s and 30 days (2592000)")]
    Runtime(u32),
    /// Limits of predictions that let none through.
    #[error("{0} is 0; it must be at least 1: suspend a tenant that may not predict at all")]
    NoPredictions(&'static str),
    /// A network that SageMaker would not take.
    #[error("the network must name 1 to 16 subnets and 1 to 5 security groups by their ids")]
    Network,
    /// A key that is none.
    #[error("encryption.{0} is {1:?}; it must be the id, alias or ARN of a KMS key")]
    Key(&'static str, String),
    /// More tags than SageMaker takes beside ours.
    #[error("there are {0} tags; SageMaker takes 50, and 4 are set by every run")]
    Tags(usize),
    /// A tag that AWS does not take, or that is set by every run.
    #[error("tag {0:?} is not taken: {1}")]
    Tag(String, &'static str),
    /// A model's settings.
    #[error("model {model}: {reason}")]
    Model {
        /// The model.
        model: ModelName,
        /// The fault of the model's settings.
        reason: SettingsInvalid,
    },
}

impl Tenant {
    /// The tags on what a run creates: the tenant's, and our own four.
    pub fn tags_of(&self, run: &RunRef) -> BTreeMap<String, String> {
        let ours = run.tags().map(|(key, value)| (key.to_owned(), value));
        self.tags.clone().into_iter().chain(ours).collect()
    }

    /// Notes what a customer with keys of its own may not expect, if it is so here.
    pub fn note_on_keys(&self) -> Option<String> {
        let keys = self.encryption.as_ref();
        if keys.is_some_and(|keys| keys.output_key.is_some()) {
            return None;
        }
        Some(format!(
            "SageMaker encrypts what it writes with the account's default key for Amazon S3, whatever key the bucket has; if it shall be a key of the customer's, its stack names it as OutputKmsKeyArn, and `crosspilot tenant set {} --output-key ARN` the same one here",
            self.tenant
        ))
    }

    /// Lists what differs from another registration under the same id, in words: of
    /// all that is said when a tenant is added, and that is kept.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        [
            ("account", self.account != other.account),
            ("region", self.region != other.region),
            ("role", self.role_arn != other.role_arn),
            ("execution role", self.execution_role_arn != other.execution_role_arn),
            ("bucket", self.bucket != other.bucket),
            ("bucket that exists already or not", self.bucket_exists != other.bucket_exists),
            ("prefix", self.prefix != other.prefix),
            ("network", self.network != other.network),
        ]
        .into_iter()
        .filter_map(|(what, differs)| differs.then_some(what))
        .collect()
    }

    /// Checks what the types of the fields cannot.
    pub fn validate(&self) -> Result<(), TenantInvalid> {
        for role in [&self.role_arn, &self.execution_role_arn] {
            if role.account() != &self.account {
                return Err(TenantInvalid::ForeignRole {
                    role: role.clone(),
                    account: self.account.clone(),
                });
            }
        }
        if !(1..=750).contains(&self.limits.max_candidates) {
            return Err(TenantInvalid::Candidates(self.limits.max_candidates));
        }
        if !(300..=2_592_000).contains(&self.limits.max_runtime_seconds) {
            return Err(TenantInvalid::Runtime(self.limits.max_runtime_seconds));
        }
        let PredictionLimits { calls_per_minute, records_per_minute } = self.predictions;
        for (name, limit) in
            [("calls_per_minute", calls_per_minute), ("records_per_minute", records_per_minute)]
        {
            if limit == 0 {
                return Err(TenantInvalid::NoPredictions(name));
            }
        }
        if let Some(Network { subnets, security_groups }) = &self.network
            && !(of_kind(subnets, "subnet-", 16) && of_kind(security_groups, "sg-", 5))
        {
            return Err(TenantInvalid::Network);
        }
        let encryption = self.encryption.clone().unwrap_or_default();
        for (name, key) in
            [("volume_key", encryption.volume_key), ("output_key", encryption.output_key)]
        {
            if let Some(key) = key.filter(|key| !is_key(key)) {
                return Err(TenantInvalid::Key(name, key));
            }
        }
        if self.tags.len() > 50 - TAGS.len() {
            return Err(TenantInvalid::Tags(self.tags.len()));
        }
        for (key, value) in &self.tags {
            tag(key, value).map_err(|why| TenantInvalid::Tag(key.clone(), why))?;
        }
        for (model, settings) in &self.models {
            settings
                .validate_for(self.encryption.as_ref(), self.limits)
                .map_err(|reason| TenantInvalid::Model { model: model.clone(), reason })?;
        }
        Ok(())
    }
}

/// Tells whether it is what SageMaker's service model takes as `KmsKeyId`.
fn is_key(key: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b':' | b'/' | b'_' | b'-');
    (1..=2048).contains(&key.len()) && key.bytes().all(plain)
}

/// Tells whether a tag is one that may be set (service model, `Tag`).
fn tag(key: &str, value: &str) -> Result<(), &'static str> {
    let plain = |text: &str| {
        text.chars().all(|c| {
            c.is_alphanumeric()
                || c == ' '
                || matches!(c, '_' | '.' | ':' | '/' | '=' | '+' | '-' | '@')
        })
    };
    if key.is_empty() || key.chars().count() > 128 {
        Err("its name must have 1 to 128 characters")
    } else if value.chars().count() > 256 {
        Err("its value must have at most 256 characters")
    } else if !plain(key) || !plain(value) {
        Err("letters, digits, spaces and _ . : / = + - @ are allowed")
    } else if key.to_ascii_lowercase().starts_with("aws:") {
        Err("names that begin with aws: belong to AWS")
    } else if TAGS.contains(&key) {
        Err("every run sets it itself")
    } else {
        Ok(())
    }
}

/// Tells whether these are ids of EC2 with this prefix, as many as SageMaker takes.
fn of_kind(ids: &[String], prefix: &str, most: usize) -> bool {
    let is_one = |id: &String| {
        id.strip_prefix(prefix).is_some_and(|rest| {
            (8..=17).contains(&rest.len()) && rest.bytes().all(|b| b.is_ascii_hexdigit())
        })
    };
    (1..=most).contains(&ids.len()) && ids.iter().all(is_one)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn acme() -> Tenant {
        crate::example::tenant("acme")
    }

    #[test]
    fn a_minimal_document_gets_bounded_defaults() {
        let tenant = acme();
        assert_eq!(tenant.validate(), Ok(()));
        assert_eq!(tenant.limits.max_candidates, 10);
        let churn = tenant.models.values().next().unwrap();
        assert_eq!(churn, &ModelSettings::predicting("Churn?"));
    }

    #[test]
    fn a_network_has_subnets_and_security_groups() {
        let mut tenant = acme();
        let network = |subnet: &str, group: &str| {
            Some(Network { subnets: vec![subnet.into()], security_groups: vec![group.into()] })
        };
        tenant.network = network("subnet-0123456789abcdef0", "sg-01234567");
        assert_eq!(tenant.validate(), Ok(()));
        for (subnet, group) in [("subnet-x", "sg-01234567"), ("subnet-01234567", "vpc-01234567")] {
            tenant.network = network(subnet, group);
            assert_eq!(tenant.validate(), Err(TenantInvalid::Network));
        }
    }

    #[test]
    fn keys_and_tags_are_those_that_aws_takes() {
        let mut tenant = acme();
        tenant.encryption = Some(Encryption {
            volume_key: Some("arn:aws:kms:us-east-1:222222222222:key/0123-4567".into()),
            ..Encryption::default()
        });
        tenant.tags = BTreeMap::from([("CostCenter".into(), "a b/42".into())]);
        assert_eq!(tenant.validate(), Ok(()));
        let refused = |tags: &[(&str, &str)], key: Option<&str>| {
            let mut tenant = tenant.clone();
            let tags = tags.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
            tenant.tags = tags.collect();
            tenant.encryption =
                Some(Encryption { output_key: key.map(str::to_owned), ..Default::default() });
            tenant.validate().unwrap_err().to_string()
        };
        type Case<'a> = (&'a [(&'a str, &'a str)], Option<&'a str>, &'a str);
        let cases: [Case<'_>; 6] = [
            (
                &[("aws:x", "")],
                None,
                "tag \"aws:x\" is not taken: names that begin with aws: belong to AWS",
            ),
            (&[("RunId", "")], None, "tag \"RunId\" is not taken: every run sets it itself"),
            (
                &[("a", "<b>")],
                None,
                "tag \"a\" is not taken: letters, digits, spaces and _ . : / = + - @ are allowed",
            ),
            (&[("", "")], None, "tag \"\" is not taken: its name must have 1 to 128 characters"),
            (
                &[("a", "b")],
                Some("key one"),
                "encryption.output_key is \"key one\"; it must be the id, alias or ARN of a KMS key",
            ),
            (
                &[("a", "b")],
                Some(""),
                "encryption.output_key is \"\"; it must be the id, alias or ARN of a KMS key",
            ),
        ];
        for (tags, key, sentence) in cases {
            assert_eq!(refused(tags, key), sentence);
        }
        tenant.tags = (0..47).map(|n| (n.to_string(), String::new())).collect();
        assert_eq!(tenant.validate(), Err(TenantInvalid::Tags(47)));
    }

    #[test]
    fn it_is_told_which_key_results_are_under_unless_that_is_set() {
        let mut tenant = acme();
        let note = tenant.note_on_keys().unwrap();
        assert!(note.contains("`crosspilot tenant set acme --output-key ARN`"), "{note}");
        tenant.encryption =
            Some(Encryption { output_key: Some("alias/out".into()), ..Encryption::default() });
        assert_eq!(tenant.note_on_keys(), None);
    }

    #[test]
    fn what_a_model_may_depends_on_its_tenant() {
        let mut tenant = acme();
        let settings = |deployment: serde_json::Value| -> ModelSettings {
            serde_json::from_value(serde_json::json!({"target": "y", "deployment": deployment}))
                .unwrap()
        };
        let own_disk = serde_json::json!({"instance_type": "ml.g4dn.xlarge", "count": 2});
        let update =
            serde_json::json!({"traffic": {"canary": {"percent": 10, "wait_seconds": 200}}});
        let model =
            settings(serde_json::json!({"hosting": {"instance": own_disk}, "update": update}));
        tenant.models.insert("churn".parse().unwrap(), model);
        assert_eq!(tenant.validate(), Ok(()));
        tenant.limits.max_runtime_seconds = 300;
        assert_eq!(
            tenant.validate().unwrap_err().to_string(),
            "model churn: the waits of update.traffic take 400 s together, and a run of this tenant may take 300 s: shorten them, or raise the tenant's max_runtime_seconds"
        );
        tenant.limits = Limits::default();
        tenant.encryption =
            Some(Encryption { volume_key: Some("alias/disks".into()), ..Encryption::default() });
        assert_eq!(
            tenant.validate().unwrap_err().to_string(),
            "model churn: instance_type is \"ml.g4dn.xlarge\", whose own disk is encrypted by its hardware and not with the tenant's volume key: choose a type without one, such as ml.m5.large, or take the volume key off the tenant"
        );
    }

    #[test]
    fn the_same_registration_is_told_from_another_by_what_is_said_at_first() {
        let (one, mut other) = (acme(), acme());
        other.external_id = "cp-4567".parse().unwrap();
        other.status = TenantStatus::Pending;
        other.models.clear();
        assert_eq!(one.differences(&other), Vec::<&str>::new());
        other.bucket = "acme-data".parse().unwrap();
        other.region = "eu-central-1".parse().unwrap();
        assert_eq!(one.differences(&other), ["region", "bucket"]);
    }

    #[test]
    fn a_role_of_another_account_is_refused() {
        let mut tenant = acme();
        tenant.role_arn = "arn:aws:iam::333333333333:role/x".parse().unwrap();
        let error = tenant.validate().unwrap_err().to_string();
        assert_eq!(
            error,
            "role arn:aws:iam::333333333333:role/x is not in the declared account 222222222222"
        );
    }

    #[test]
    fn a_status_follows_only_where_it_may() {
        use TenantStatus::{Active, Deleted, Offboarding, Pending, Suspended};
        let all = [Pending, Active, Suspended, Offboarding, Deleted];
        let allowed = [
            (Pending, Active),
            (Pending, Offboarding),
            (Active, Suspended),
            (Active, Offboarding),
            (Suspended, Active),
            (Suspended, Offboarding),
            (Offboarding, Deleted),
        ];
        for from in all {
            for to in all {
                assert_eq!(from.may_become(to), allowed.contains(&(from, to)), "{from:?} {to:?}");
            }
        }
    }

    #[test]
    fn unknown_fields_are_an_error_not_a_surprise() {
        let mut value = serde_json::to_value(acme()).unwrap();
        value["extenal_id"] = "typo".into();
        assert!(serde_json::from_value::<Tenant>(value).is_err());
    }

    #[test]
    fn debug_does_not_show_the_external_id() {
        assert!(!format!("{:?}", acme()).contains("cp-0123"));
    }
}
