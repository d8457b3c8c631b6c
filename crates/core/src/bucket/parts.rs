//! Objects that are written as their bytes come, so that no more than a part or two of
//! them is in memory.

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use aws_sdk_s3::{self as s3};

use super::Bucket;
use crate::aws;
use crate::error::{CallError, Code, Named};

impl Bucket<'_> {
    /// Writes an object whose text comes in parts, and gives its address. All parts but
    /// the last have 5 MB or more, as S3 wants it; one part alone is one request.
    ///
    /// It is there as a whole or not at all. What S3 has of it when something fails is
    /// not given up by a call, which a function that was killed could not make anyway:
    /// a rule of the bucket takes it away (`infra/customer.yaml`), and no session needs
    /// a permission for it.
    pub async fn write_parts<E: From<CallError>>(
        &self,
        key: &str,
        content_type: &str,
        parts: impl IntoIterator<Item = Result<Vec<u8>, E>>,
    ) -> Result<String, E> {
        let mut parts = parts.into_iter();
        let first = parts.next().transpose()?.unwrap_or_default();
        let Some(second) = parts.next() else {
            return Ok(self.write(key, content_type, first).await?);
        };
        let upload = Upload { bucket: self, key, id: self.begin(key, content_type).await? };
        let mut sent = vec![upload.send(1, first).await?];
        for (number, part) in (2..).zip(std::iter::once(second).chain(parts)) {
            sent.push(upload.send(number, part?).await?);
        }
        Ok(upload.complete(sent).await?)
    }

    /// Gives the id of a new upload.
    async fn begin(&self, key: &str, content_type: &str) -> Result<String, CallError> {
        let begun = self
            .s3
            .create_multipart_upload()
            .bucket(self.tenant.bucket.as_str())
            .expected_bucket_owner(self.tenant.account.as_str())
            .key(key)
            .content_type(content_type)
            // Of each part, and of the whole by those.
            .checksum_algorithm(ChecksumAlgorithm::Crc32)
            .send()
            .await;
        let begun = begun.named(PUT, self.uri(key))?;
        begun.upload_id.ok_or_else(|| {
            let uri = self.uri(key);
            CallError::refused(Code::Unavailable, PUT, uri, "NoUploadId", "S3 gave no upload id")
        })
    }
}

/// The IAM action that every request of an upload in parts needs.
const PUT: &str = "s3:PutObject";

/// An object of which S3 has some parts.
struct Upload<'a> {
    bucket: &'a Bucket<'a>,
    key: &'a str,
    id: String,
}

impl Upload<'_> {
    async fn send(&self, number: i32, body: Vec<u8>) -> Result<CompletedPart, CallError> {
        let Self { bucket, key, id } = self;
        let timeouts = s3::config::Builder::new().timeout_config(aws::room_for(body.len()));
        let sent = bucket
            .s3
            .upload_part()
            .bucket(bucket.tenant.bucket.as_str())
            .expected_bucket_owner(bucket.tenant.account.as_str())
            .key(*key)
            .upload_id(id)
            .part_number(number)
            .checksum_algorithm(ChecksumAlgorithm::Crc32)
            .body(ByteStream::from(body));
        let sent = sent.customize().config_override(timeouts).send().await;
        let sent = sent.named(PUT, bucket.uri(key))?;
        Ok(CompletedPart::builder()
            .part_number(number)
            .set_e_tag(sent.e_tag)
            .set_checksum_crc32(sent.checksum_crc32)
            .build())
    }

    async fn complete(&self, parts: Vec<CompletedPart>) -> Result<String, CallError> {
        let Self { bucket, key, id } = self;
        let all = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let completed = bucket
            .s3
            .complete_multipart_upload()
            .bucket(bucket.tenant.bucket.as_str())
            .expected_bucket_owner(bucket.tenant.account.as_str())
            .key(*key)
            .upload_id(id)
            .multipart_upload(all)
            .send()
            .await;
        completed.named(PUT, bucket.uri(key))?;
        Ok(bucket.uri(key))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn upload<'a>(bucket: &'a Bucket<'_>) -> Upload<'a> {
        Upload { bucket, key: "k", id: "u".into() }
    }

    /// Sends one part.
    pub(in super::super) async fn a_part(
        bucket: &Bucket<'_>,
        body: Vec<u8>,
    ) -> Result<CompletedPart, CallError> {
        upload(bucket).send(1, body).await
    }

    /// Begins an upload, sends a part of it and ends it, where nobody answers.
    pub(in super::super) async fn all_calls_of_an_upload(bucket: &Bucket<'_>) {
        assert!(bucket.begin("k", "text/csv").await.is_err());
        assert!(a_part(bucket, vec![1]).await.is_err());
        assert!(upload(bucket).complete(Vec::new()).await.is_err());
    }
}
