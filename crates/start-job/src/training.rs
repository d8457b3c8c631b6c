//! Reads just enough of the training data to judge it.

use crosspilot_core::aws::s3::Client;
use crosspilot_core::error::{CallError, Code};
use crosspilot_core::ids::ModelName;
use crosspilot_core::layout;
use crosspilot_core::tenant::Tenant;

use crate::Error;
use crate::preflight::{self, Sample, Shape, Unfit};

/// Read of the first file. A file this small is judged whole.
const SAMPLE_BYTES: u64 = 8 << 20;
/// Read of every other file: enough for its header.
const HEADER_BYTES: u64 = 64 << 10;

/// Judges all files of the training prefix.
pub(crate) async fn inspect(
    s3: &Client,
    tenant: &Tenant,
    model: &ModelName,
    target: &str,
) -> Result<Shape, Error> {
    let prefix = layout::train_prefix(&tenant.prefix, model);
    let place = layout::uri(tenant, &prefix);
    let files = list(s3, tenant, &prefix).await?;
    let Some(((first_key, first_size), others)) = files.split_first() else {
        return Err(Unfit::NoFiles { place }.into());
    };
    let bytes = read(s3, tenant, first_key, *first_size, SAMPLE_BYTES).await?;
    let total = files.iter().map(|(_, size)| size).sum();
    let first = Sample { name: layout::uri(tenant, first_key), bytes, size: *first_size };
    let shape = preflight::inspect(&first, total, target)?;
    for (key, size) in others {
        let bytes = read(s3, tenant, key, *size, HEADER_BYTES).await?;
        let other = Sample { name: layout::uri(tenant, key), bytes, size: *size };
        preflight::same_header(&first, &other)?;
    }
    Ok(shape)
}

/// Keys and sizes of the files under a prefix, without folder markers.
async fn list(s3: &Client, tenant: &Tenant, prefix: &str) -> Result<Vec<(String, u64)>, CallError> {
    let mut files = Vec::new();
    let bucket = tenant.bucket.as_str();
    let mut pages = s3.list_objects_v2().bucket(bucket).prefix(prefix).into_paginator().send();
    while let Some(page) = pages.next().await {
        let page =
            page.map_err(|e| CallError::new("s3:ListBucket", layout::uri(tenant, prefix), &e))?;
        files.extend(page.contents().iter().filter_map(|object| {
            let key = object.key()?.to_owned();
            let size = u64::try_from(object.size()?).ok()?;
            (size > 0 && !key.ends_with('/')).then_some((key, size))
        }));
    }
    Ok(files)
}

async fn read(
    s3: &Client,
    tenant: &Tenant,
    key: &str,
    size: u64,
    limit: u64,
) -> Result<Vec<u8>, CallError> {
    let uri = layout::uri(tenant, key);
    let last = size.min(limit) - 1;
    let object = s3
        .get_object()
        .bucket(tenant.bucket.as_str())
        .key(key)
        .range(format!("bytes=0-{last}"))
        .send()
        .await
        .map_err(|e| CallError::new("s3:GetObject", &uri, &e))?;
    let body = object.body.collect().await.map_err(|e| {
        CallError::refused(Code::Unavailable, "s3:GetObject", &uri, "BadAnswer", e.to_string())
    })?;
    Ok(body.into_bytes().to_vec())
}
