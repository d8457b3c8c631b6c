//! Customer data, read and written as SageMaker does it: with a session of the
//! execution role, so that the role's own permissions count.

use std::collections::BTreeMap;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region, RequestChecksumCalculation};
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::RequestId;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ServerSideEncryption;
use crosspilot_core::listing::Listing;
use serde_json::{Value, json};

use crate::authority::{AuthorityError, Check, ServiceSession};
use crate::services::emulator::Emulator;
use crate::wire::place::Place;

/// The service that execution roles trust.
pub(crate) const SERVICE: &str = "sagemaker.amazonaws.com";

/// `s3://bucket/key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct S3Uri {
    pub(crate) bucket: String,
    pub(crate) key: String,
}

impl S3Uri {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (bucket, key) = match text.strip_prefix("s3://")?.split_once('/') {
            Some((bucket, key)) => (bucket, key),
            None => (text.strip_prefix("s3://")?, ""),
        };
        (!bucket.is_empty()).then(|| Self { bucket: bucket.into(), key: key.into() })
    }

    /// Gives this location with one more path element, however it ends.
    pub(crate) fn join(&self, more: &str) -> Self {
        let key = self.key.trim_end_matches('/');
        let key = if key.is_empty() { more.to_owned() } else { format!("{key}/{more}") };
        Self { bucket: self.bucket.clone(), key }
    }
}

impl std::fmt::Display for S3Uri {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.key)
    }
}

/// The reason why S3 did not do as asked.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum S3Error {
    #[error("Access denied (403 Forbidden) to {0}")]
    AccessDenied(String),
    #[error("{0} does not exist")]
    Missing(String),
    #[error("S3 failed for {at}: {message}")]
    Other { at: String, message: String },
}

/// S3 as an execution role sees it.
pub(crate) struct RoleS3 {
    client: Client,
    emulator: Emulator,
    place: Place,
    session: ServiceSession,
    /// The ARN of the key that objects are written with.
    key: Option<String>,
}

impl RoleS3 {
    /// S3 with a fresh session of `role_arn`, on behalf of the resource `arn`.
    pub(crate) async fn open(
        emulator: &Emulator,
        place: &Place,
        role_arn: &str,
        arn: &str,
    ) -> Result<Self, AuthorityError> {
        let session = emulator
            .authority
            .service_session(role_arn, SERVICE, &place.account, arn, &place.region)
            .await?;
        let credentials = Credentials::new(
            &session.access_key_id,
            &session.secret_access_key,
            Some(session.session_token.clone()),
            None,
            "execution-role",
        );
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(place.region.clone()))
            .credentials_provider(credentials)
            .endpoint_url(&emulator.url)
            .force_path_style(true)
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .retry_config(RetryConfig::standard().with_max_attempts(2))
            .build();
        Ok(Self {
            client: Client::from_conf(config),
            emulator: emulator.clone(),
            place: place.clone(),
            session,
            key: None,
        })
    }

    /// The same, writing everything under this KMS key (id, ARN or alias).
    pub(crate) async fn encrypting(self, key: Option<&str>) -> Result<Self, S3Error> {
        let Some(key) = key else {
            return Ok(self);
        };
        let at = format!("the KMS key {key}");
        let arn = self.emulator.key_arn(&self.place, key).await;
        let arn =
            arn.map_err(|error| S3Error::Other { at: at.clone(), message: error.to_string() })?;
        // The role needs this beside what Amazon S3 asks for (Developer Guide,
        // "CreateAutoMLJob API: execution role permissions").
        self.use_key("kms:Encrypt", &arn, &at, BTreeMap::new()).await?;
        Ok(Self { key: Some(arn), ..self })
    }

    /// Tells whether the role may let volumes be encrypted with this key, if there is
    /// one: that takes a grant (API Reference, `VolumeKmsKeyId`).
    pub(crate) async fn check_volume_key(&self, key: Option<&str>) -> Result<(), S3Error> {
        let Some(key) = key else {
            return Ok(());
        };
        let at = format!("the KMS key {key}");
        let arn = self.emulator.key_arn(&self.place, key).await;
        let arn =
            arn.map_err(|error| S3Error::Other { at: at.clone(), message: error.to_string() })?;
        let context = [("kms:GrantIsForAWSResource".to_owned(), json!("true"))];
        self.use_key("kms:CreateGrant", &arn, &at, context.into()).await
    }

    /// S3 uses a key on behalf of the caller, who needs the permission as well.
    async fn use_key_for(&self, action: &str, key: &str, at: &S3Uri) -> Result<(), S3Error> {
        let object = format!("arn:aws:s3:::{}/{}", at.bucket, at.key);
        let context = [
            ("kms:ViaService".to_owned(), json!(format!("s3.{}.amazonaws.com", self.place.region))),
            ("kms:EncryptionContext:aws:s3:arn".to_owned(), json!(object)),
        ];
        self.use_key(action, key, &at.to_string(), context.into()).await
    }

    async fn use_key(
        &self,
        action: &str,
        key: &str,
        at: &str,
        mut context: BTreeMap<String, Value>,
    ) -> Result<(), S3Error> {
        context.insert("kms:CallerAccount".into(), json!(self.place.account));
        let check = Check { action: action.into(), resource: key.into(), context };
        let region = &self.place.region;
        let allowed = self.emulator.authority.session_may(&self.session, region, &[check]).await;
        allowed.map_err(|error| match error {
            AuthorityError::Refused { .. } => {
                S3Error::AccessDenied(format!("{at}: {action} on {key} is not allowed"))
            }
            AuthorityError::Unavailable(message) => S3Error::Other { at: at.into(), message },
        })
    }

    pub(crate) async fn get(&self, at: &S3Uri) -> Result<Vec<u8>, S3Error> {
        self.read(at, None).await
    }

    /// The first bytes of an object, or all if it is shorter.
    pub(crate) async fn beginning(&self, at: &S3Uri, bytes: usize) -> Result<Vec<u8>, S3Error> {
        self.read(at, Some(format!("bytes=0-{}", bytes.saturating_sub(1)))).await
    }

    async fn read(&self, at: &S3Uri, range: Option<String>) -> Result<Vec<u8>, S3Error> {
        let get = self.client.get_object().bucket(&at.bucket).key(&at.key).set_range(range);
        let object = get.send().await.map_err(|error| explain(at, error))?;
        if let Some(key) = object.ssekms_key_id() {
            self.use_key_for("kms:Decrypt", key, at).await?;
        }
        let bytes = object.body.collect().await;
        let bytes = bytes
            .map_err(|error| S3Error::Other { at: at.to_string(), message: error.to_string() })?;
        Ok(bytes.to_vec())
    }

    pub(crate) async fn head(&self, at: &S3Uri) -> Result<(), S3Error> {
        let head = self.client.head_object().bucket(&at.bucket).key(&at.key).send().await;
        head.map(|_| ()).map_err(|error| explain(at, error))
    }

    pub(crate) async fn put(
        &self,
        at: &S3Uri,
        content_type: &str,
        body: Vec<u8>,
    ) -> Result<(), S3Error> {
        let mut put =
            self.client.put_object().bucket(&at.bucket).key(&at.key).content_type(content_type);
        if let Some(key) = &self.key {
            self.use_key_for("kms:GenerateDataKey", key, at).await?;
            put = put.server_side_encryption(ServerSideEncryption::AwsKms).ssekms_key_id(key);
        }
        let written = put.body(ByteStream::from(body)).send().await;
        let written = written.map_err(|error| explain(at, error))?;
        match written.ssekms_key_id() {
            // The bucket's own key, which only its answer tells.
            Some(key) if self.key.is_none() => {
                self.use_key_for("kms:GenerateDataKey", key, at).await
            }
            _ => Ok(()),
        }
    }

    /// The objects under a prefix, in key order, without folder markers.
    pub(crate) async fn list(&self, prefix: &S3Uri) -> Result<Vec<S3Uri>, S3Error> {
        let mut found = Vec::new();
        let mut listing = Listing::under(&self.client, &prefix.bucket, &prefix.key);
        while let Some(page) = listing.next().await {
            let page = page.map_err(|error| explain(prefix, error))?;
            let keys = page.into_iter().filter_map(|object| object.key);
            let files = keys.filter(|key| !key.ends_with('/'));
            found.extend(files.map(|key| S3Uri { bucket: prefix.bucket.clone(), key }));
        }
        Ok(found)
    }
}

fn explain<E>(at: &S3Uri, error: SdkError<E>) -> S3Error
where
    E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
    SdkError<E>: RequestId,
{
    let status = error.raw_response().map(|response| response.status().as_u16());
    match (error.code(), status) {
        (Some("AccessDenied"), _) | (_, Some(403)) => S3Error::AccessDenied(at.to_string()),
        (Some("NoSuchKey" | "NoSuchBucket"), _) | (_, Some(404)) => {
            S3Error::Missing(at.to_string())
        }
        (Some(code), _) => S3Error::Other { at: at.to_string(), message: code.to_owned() },
        _ => S3Error::Other { at: at.to_string(), message: DisplayErrorContext(error).to_string() },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn uris_parse_and_join() {
        let uri = S3Uri::parse("s3://acme-ml/churn/output/").unwrap();
        assert_eq!(
            uri.join("job/model.tar.gz").to_string(),
            "s3://acme-ml/churn/output/job/model.tar.gz"
        );
        assert_eq!(S3Uri::parse("s3://acme-ml").unwrap().join("x").to_string(), "s3://acme-ml/x");
        for bad in ["acme-ml/x", "s3://", "s3:///key", "https://acme-ml/x", ""] {
            assert_eq!(S3Uri::parse(bad), None, "{bad}");
        }
    }
}
