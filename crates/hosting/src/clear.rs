//! Takes objects away from a customer's bucket.

use std::time::{Duration, Instant};

use crosspilot_core::aws::s3::types::{Delete, ObjectIdentifier};
use crosspilot_core::bucket::Bucket;
use crosspilot_core::error::{CallError, Code, Named};
use crosspilot_core::layout;
use crosspilot_core::listing::{Listing, fits_xml};

/// Deletes what lies under a prefix, page by page, for so long. Whether all of it is
/// gone.
pub(crate) async fn clear(
    Bucket { s3, tenant }: &Bucket<'_>,
    prefix: &str,
    within: Duration,
) -> Result<bool, CallError> {
    let (bucket, place) = (tenant.bucket.as_str(), layout::uri(tenant, prefix));
    let owner = tenant.account.as_str();
    let started = Instant::now();
    while started.elapsed() < within {
        let mut listing = Listing::under(s3, bucket, prefix).owned_by(&tenant.account);
        let page = listing.next().await.transpose();
        let page = page.named("s3:ListBucket", &place)?;
        let keys = page.into_iter().flatten().filter_map(|object| object.key);
        let (plain, odd): (Vec<String>, Vec<String>) = keys.partition(|key| fits_xml(key));
        for key in &odd {
            let delete = s3.delete_object().bucket(bucket).expected_bucket_owner(owner);
            let deleted = delete.key(key).send().await;
            deleted.named("s3:DeleteObject", layout::uri(tenant, key))?;
        }
        if plain.is_empty() && !odd.is_empty() {
            continue;
        }
        let objects: Result<Vec<_>, _> =
            plain.iter().map(|key| ObjectIdentifier::builder().key(key).build()).collect();
        let refused = |message: String| {
            CallError::refused(Code::Internal, "s3:DeleteObjects", &place, "Invalid", message)
        };
        let objects = objects.map_err(|e| refused(e.to_string()))?;
        if objects.is_empty() {
            return Ok(true);
        }
        let batch = Delete::builder().set_objects(Some(objects)).quiet(true).build();
        let batch = batch.map_err(|e| refused(e.to_string()))?;
        let delete = s3.delete_objects().bucket(bucket).expected_bucket_owner(owner).delete(batch);
        let answer = delete.send().await;
        let answer = answer.named("s3:DeleteObjects", &place)?;
        if let Some(error) = answer.errors().first() {
            let code = match error.code() {
                Some("AccessDenied") => Code::AccessDenied,
                _ => Code::Unavailable,
            };
            let message = error.message().unwrap_or("S3 gave no message");
            let aws_code = error.code().unwrap_or("Unknown");
            let key = layout::uri(tenant, error.key().unwrap_or_default());
            return Err(CallError::refused(code, "s3:DeleteObject", key, aws_code, message));
        }
    }
    Ok(false)
}
