//! A customer's bucket, through a session in its account. Every call says which
//! account the bucket belongs to: a name that its owner gave up is anybody's.

use aws_sdk_s3::Client;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::Object;
use serde::Serialize;

use crate::error::{CallError, Code};
use crate::ids::ModelName;
use crate::layout;
use crate::tenant::Tenant;

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
        let request = self.s3.list_objects_v2().bucket(self.tenant.bucket.as_str()).prefix(prefix);
        let request = request.expected_bucket_owner(self.tenant.account.as_str());
        let mut pages = request.into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| CallError::new("s3:ListBucket", self.uri(prefix), &e))?;
            objects.extend(page.contents.unwrap_or_default());
            if objects.len() > most {
                break;
            }
        }
        Ok(objects)
    }

    /// The held-out file of a model: the newest CSV file with content that lies
    /// where such files do. The key decides between files of one second.
    pub async fn held_out(&self, model: &ModelName) -> Result<Option<Object>, CallError> {
        let prefix = layout::test_prefix(&self.tenant.prefix, model);
        let objects = self.list(&prefix, usize::MAX).await?;
        let age = |object: &Object| {
            let time = object.last_modified();
            (time.map(|time| (time.secs(), time.subsec_nanos())), object.key().map(str::to_owned))
        };
        Ok(objects.into_iter().filter(is_csv).max_by_key(age))
    }

    /// A whole object, with what S3 says of it.
    pub async fn get(&self, key: &str) -> Result<(Vec<u8>, GetObjectOutput), CallError> {
        self.read(key, None).await
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
        let (uri, bucket) = (self.uri(key), self.tenant.bucket.as_str());
        let get = self.s3.get_object().bucket(bucket).key(key).set_range(range);
        let get = get.expected_bucket_owner(self.tenant.account.as_str()).send().await;
        let mut object = get.map_err(|e| CallError::new("s3:GetObject", &uri, &e))?;
        let body = std::mem::replace(&mut object.body, ByteStream::from_static(b""));
        let body = body.collect().await.map_err(|e| {
            CallError::refused(Code::Unavailable, "s3:GetObject", &uri, "BadAnswer", e.to_string())
        })?;
        Ok((body.into_bytes().to_vec(), object))
    }

    /// Writes a JSON document and gives its address.
    pub async fn write_json(
        &self,
        key: &str,
        document: &impl Serialize,
    ) -> Result<String, CallError> {
        let body = serde_json::to_vec_pretty(document).map_err(|e| {
            let uri = self.uri(key);
            CallError::refused(Code::Internal, "s3:PutObject", uri, "NoJson", e.to_string())
        })?;
        self.write(key, "application/json", body).await
    }

    /// Writes an object and gives its address.
    pub async fn write(
        &self,
        key: &str,
        content_type: &str,
        body: Vec<u8>,
    ) -> Result<String, CallError> {
        let uri = self.uri(key);
        self.s3
            .put_object()
            .bucket(self.tenant.bucket.as_str())
            .expected_bucket_owner(self.tenant.account.as_str())
            .key(key)
            .content_type(content_type)
            .body(ByteStream::from(body))
            .send()
            .await
            .map_err(|e| CallError::new("s3:PutObject", &uri, &e))?;
        Ok(uri)
    }
}

/// Whether an object has content and is called a CSV file.
pub fn is_csv(object: &Object) -> bool {
    object.key().is_some_and(|key| key.to_ascii_lowercase().ends_with(".csv"))
        && object.size() > Some(0)
}
