//! A customer's bucket, through a session in its account. Every call says which
//! account the bucket belongs to: a name that its owner gave up is anybody's.

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::get_object::builders::GetObjectFluentBuilder;
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::Object;
use aws_sdk_s3::{self as s3, Client};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::aws;
use crate::error::{CallError, Code, Named};
use crate::ids::ModelName;
use crate::layout;
use crate::listing::Listing;
use crate::tenant::Tenant;

mod parts;

/// Metadata keys of a copy of held-out rows: the address that the rows come from, as base64
/// since metadata is ASCII, and whether there are more of them.
const SOURCE: &str = "source";
const TRUNCATED: &str = "truncated";

/// A tenant's bucket.
#[derive(Debug)]
pub struct Bucket<'a> {
    /// S3, with a session that may do what is asked of it.
    pub s3: Client,
    /// Whose bucket it is.
    pub tenant: &'a Tenant,
}

impl Bucket<'_> {
    /// `s3://bucket/key`.
    pub fn uri(&self, key: &str) -> String {
        layout::uri(self.tenant, key)
    }

    /// The objects under a prefix in S3's own order. It stops listing once there
    /// are more than `most`, so that there may be up to a page more.
    pub async fn list(&self, prefix: &str, most: usize) -> Result<Vec<Object>, CallError> {
        let mut objects = Vec::new();
        let listing = Listing::under(&self.s3, self.tenant.bucket.as_str(), prefix);
        let mut listing = listing.owned_by(&self.tenant.account);
        while let Some(page) = listing.next().await {
            let page = page.named("s3:ListBucket", self.uri(prefix))?;
            objects.extend(page);
            if objects.len() > most {
                break;
            }
        }
        Ok(objects)
    }

    /// The held-out file of a model: the newest file with content that lies where
    /// such files do, whatever it is called. The key decides between files of one
    /// second.
    pub async fn held_out(&self, model: &ModelName) -> Result<Option<Object>, CallError> {
        let prefix = layout::test_prefix(&self.tenant.prefix, model);
        let objects = self.list(&prefix, usize::MAX).await?;
        let age = |object: &Object| {
            let time = object.last_modified();
            (time.map(|time| (time.secs(), time.subsec_nanos())), object.key().map(str::to_owned))
        };
        let is_data = |object: &Object| {
            let name = object.key().and_then(|key| key.strip_prefix(&prefix)).unwrap_or_default();
            object.size() > Some(0) && !layout::is_leftover(name)
        };
        Ok(objects.into_iter().filter(is_data).max_by_key(age))
    }

    /// A whole object, with what S3 says of it.
    pub async fn get(&self, key: &str) -> Result<(Vec<u8>, GetObjectOutput), CallError> {
        self.read(key, None).await
    }

    /// A whole object of at most so many bytes, or how many it has.
    pub async fn get_up_to(&self, key: &str, most: u64) -> Result<Result<Vec<u8>, u64>, CallError> {
        let object = self.open(key, None).await?;
        let size = object.content_length().and_then(|size| u64::try_from(size).ok());
        match size.filter(|size| *size > most) {
            Some(size) => Ok(Err(size)),
            None => Ok(Ok(self.collect(key, object).await?.0)),
        }
    }

    /// The first bytes of an object, no more than `limit`, of an object of `size`.
    pub async fn head(&self, key: &str, size: u64, limit: u64) -> Result<Vec<u8>, CallError> {
        let range = format!("bytes=0-{}", size.min(limit).saturating_sub(1));
        Ok(self.read(key, Some(range)).await?.0)
    }

    async fn read(
        &self,
        key: &str,
        range: Option<String>,
    ) -> Result<(Vec<u8>, GetObjectOutput), CallError> {
        let object = self.open(key, range).await?;
        self.collect(key, object).await
    }

    async fn collect(
        &self,
        key: &str,
        mut object: GetObjectOutput,
    ) -> Result<(Vec<u8>, GetObjectOutput), CallError> {
        let mut body = std::mem::replace(&mut object.body, ByteStream::from_static(b""));
        // Once, and not once more to join the parts.
        let size = object.content_length().and_then(|size| usize::try_from(size).ok());
        let mut bytes = Vec::with_capacity(size.unwrap_or_default());
        while let Some(part) = body.next().await {
            let part = part.map_err(|e| CallError::broken_off("s3:GetObject", self.uri(key), e))?;
            bytes.extend_from_slice(&part);
        }
        Ok((bytes, object))
    }

    /// An object whose body is still to be read, or the part of it in a range such
    /// as `bytes=0-9`.
    pub async fn open(
        &self,
        key: &str,
        range: Option<String>,
    ) -> Result<GetObjectOutput, CallError> {
        let got = self.asking(key).set_range(range).send().await;
        got.named("s3:GetObject", self.uri(key))
    }

    /// An object as it was listed with this entity tag, whose body is still to be read.
    /// Another one is refused by S3 with `PreconditionFailed`.
    pub async fn open_listed(&self, key: &str, etag: &str) -> Result<GetObjectOutput, CallError> {
        let got = self.asking(key).if_match(etag).send().await;
        got.named("s3:GetObject", self.uri(key))
    }

    fn asking(&self, key: &str) -> GetObjectFluentBuilder {
        let owner = self.tenant.account.as_str();
        let bucket = self.tenant.bucket.as_str();
        self.s3.get_object().bucket(bucket).expected_bucket_owner(owner).key(key)
    }

    /// Keeps the held-out rows of a run, unless they are kept already: all steps judge
    /// by the same rows. `source` is where they come from; `truncated` says that there
    /// are more of them.
    pub async fn keep_held_out(
        &self,
        key: &str,
        source: &str,
        truncated: bool,
        text: Vec<u8>,
    ) -> Result<(), CallError> {
        let said = |put: PutObjectFluentBuilder| {
            put.if_none_match("*")
                .metadata(SOURCE, STANDARD.encode(source))
                .metadata(TRUNCATED, truncated.to_string())
        };
        self.put(key, "text/csv; charset=utf-8", text, said).await.map(drop)
    }

    /// The held-out rows that were kept: their text, where they come from, and whether
    /// there are more of them.
    pub async fn kept_held_out(&self, key: &str) -> Result<(Vec<u8>, String, bool), CallError> {
        let (text, object) = self.get(key).await?;
        let said = |name| object.metadata().and_then(|said| said.get(name)).cloned();
        let source = said(SOURCE)
            .and_then(|text| String::from_utf8(STANDARD.decode(text).ok()?).ok())
            .unwrap_or_else(|| self.uri(key));
        Ok((text, source, said(TRUNCATED).is_some_and(|text| text == "true")))
    }

    /// Writes a JSON document unless there is one. Gives what lies there then.
    pub async fn write_json_once<T: Serialize + DeserializeOwned>(
        &self,
        key: &str,
        document: T,
    ) -> Result<T, CallError> {
        let body = serde_json::to_vec(&document);
        let body = body.map_err(|error| self.no_json("s3:PutObject", key, &error))?;
        if self.write_once(key, "application/json", body).await? {
            return Ok(document);
        }
        self.read_json(key).await
    }

    /// Reads a JSON document that was written here before.
    pub async fn read_json<T: DeserializeOwned>(&self, key: &str) -> Result<T, CallError> {
        let (text, _) = self.get(key).await?;
        serde_json::from_slice(&text).map_err(|error| self.no_json("s3:GetObject", key, &error))
    }

    /// Writes a JSON document and gives its address.
    pub async fn write_json(
        &self,
        key: &str,
        document: &impl Serialize,
    ) -> Result<String, CallError> {
        let body = serde_json::to_vec_pretty(document);
        let body = body.map_err(|error| self.no_json("s3:PutObject", key, &error))?;
        self.write(key, "application/json", body).await
    }

    /// Says where the JSON breaks off, and not what stands there: that may be data.
    fn no_json(&self, operation: &'static str, key: &str, error: &serde_json::Error) -> CallError {
        let (line, column) = (error.line(), error.column());
        let message = format!("it is no such JSON document as ours: line {line}, column {column}");
        CallError::refused(Code::Internal, operation, self.uri(key), "NoJson", message)
    }

    /// Writes an object unless there is one. Tells whether it was written.
    pub async fn write_once(
        &self,
        key: &str,
        content_type: &str,
        body: Vec<u8>,
    ) -> Result<bool, CallError> {
        self.put(key, content_type, body, |put| put.if_none_match("*")).await
    }

    /// Writes an object and gives its address.
    pub async fn write(
        &self,
        key: &str,
        content_type: &str,
        body: Vec<u8>,
    ) -> Result<String, CallError> {
        self.put(key, content_type, body, |put| put).await?;
        Ok(self.uri(key))
    }

    /// Writes an object, on the conditions that `how` adds. `false` if one is there
    /// that it may not replace.
    async fn put(
        &self,
        key: &str,
        content_type: &str,
        body: Vec<u8>,
        how: impl FnOnce(PutObjectFluentBuilder) -> PutObjectFluentBuilder,
    ) -> Result<bool, CallError> {
        let timeouts = s3::config::Builder::new().timeout_config(aws::room_for(body.len()));
        let put = self
            .s3
            .put_object()
            .bucket(self.tenant.bucket.as_str())
            .expected_bucket_owner(self.tenant.account.as_str())
            .key(key)
            .content_type(content_type)
            // Given away: there is never more than one copy here.
            .body(ByteStream::from(body));
        let done = how(put).customize().config_override(timeouts).send().await;
        match done.named("s3:PutObject", self.uri(key)) {
            Ok(_) => Ok(true),
            Err(error) if error.aws_code() == "PreconditionFailed" => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
