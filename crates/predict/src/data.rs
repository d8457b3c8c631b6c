//! The rows that a run is measured on.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crosspilot_core::aws::s3::primitives::ByteStream;
use crosspilot_core::aws::s3::types::Object;
use crosspilot_core::bucket::{Bucket, is_csv};
use crosspilot_core::error::CallError;
use crosspilot_core::ids::ModelName;
use crosspilot_core::layout;

use crate::Error;
use crate::table::{Table, Unfit};

/// Held-out data that is read. Of a larger file, the first rows speak for all.
const LIMIT: u64 = 64 << 20;
/// Read of the training data, for its first row.
const FIRST_ROW: u64 = 1 << 20;

/// What the copy of the held-out rows says of itself: where they come from, as
/// base64 since metadata is ASCII, and whether the file has more of them.
const SOURCE: &str = "source";
const TRUNCATED: &str = "truncated";

/// Rows to score.
#[derive(Debug)]
pub(crate) struct Source {
    /// Where they come from.
    pub(crate) uri: String,
    /// Whether they are held-out rows and not just one row of training data.
    pub(crate) held_out: bool,
    pub(crate) table: Table,
}

/// The newest held-out file, if there is one.
pub(crate) async fn newest(
    bucket: &Bucket<'_>,
    model: &ModelName,
) -> Result<Option<Source>, Error> {
    let Some(file) = bucket.held_out(model).await? else { return Ok(None) };
    let (uri, table) = read(bucket, &file, LIMIT).await?;
    Ok(Some(Source { uri, held_out: true, table }))
}

/// The first row of the training data, which shows no more than that the model
/// answers.
pub(crate) async fn first_row(
    bucket: &Bucket<'_>,
    model: &ModelName,
    target: &str,
) -> Result<Source, Error> {
    let prefix = layout::train_prefix(&bucket.tenant.prefix, model);
    let files = bucket.list(&prefix, usize::MAX).await?;
    let file = files.iter().find(|object| is_csv(object));
    let file = file.ok_or_else(|| Unfit::NoFiles { place: bucket.uri(&prefix) })?;
    let (uri, table) = read(bucket, file, FIRST_ROW).await?;
    Ok(Source { uri, held_out: false, table: table.first_row_without(target) })
}

/// Address of a file, and the rows in its first `limit` bytes.
async fn read(bucket: &Bucket<'_>, file: &Object, limit: u64) -> Result<(String, Table), Error> {
    let key = file.key().unwrap_or_default();
    let size = file.size().and_then(|size| u64::try_from(size).ok()).unwrap_or_default();
    let bytes = bucket.head(key, size, limit).await?;
    let uri = bucket.uri(key);
    let table = Table::read(&uri, &bytes, size <= limit)?;
    Ok((uri, table))
}

/// Copies the rows that a run is scored on, unless it was scored before: all
/// later steps judge by the same rows, whatever is uploaded meanwhile.
pub(crate) async fn keep_rows(
    bucket: &Bucket<'_>,
    key: &str,
    source: &Source,
) -> Result<(), Error> {
    let put = bucket
        .s3
        .put_object()
        .bucket(bucket.tenant.bucket.as_str())
        .expected_bucket_owner(bucket.tenant.account.as_str())
        .key(key)
        .if_none_match("*")
        .content_type("text/csv; charset=utf-8")
        .metadata(SOURCE, STANDARD.encode(&source.uri))
        .metadata(TRUNCATED, source.table.truncated.to_string())
        .body(ByteStream::from(source.table.csv().map_err(compose)?));
    let put = put.send().await;
    match put.map_err(|e| CallError::new("s3:PutObject", bucket.uri(key), &e)) {
        Err(error) if error.aws_code() != "PreconditionFailed" => Err(error.into()),
        _ => Ok(()),
    }
}

/// The rows that were copied.
pub(crate) async fn kept_rows(bucket: &Bucket<'_>, key: &str) -> Result<Source, Error> {
    let (bytes, object) = bucket.get(key).await?;
    let said = |name| object.metadata().and_then(|said| said.get(name)).cloned();
    let uri = said(SOURCE)
        .and_then(|text| String::from_utf8(STANDARD.decode(text).ok()?).ok())
        .unwrap_or_else(|| bucket.uri(key));
    let mut table = Table::read(&uri, &bytes, true)?;
    table.truncated = said(TRUNCATED).is_some_and(|text| text == "true");
    Ok(Source { uri, held_out: true, table })
}

fn compose(reason: csv::Error) -> Error {
    Error::Compose { what: "held-out rows", reason: reason.to_string() }
}
