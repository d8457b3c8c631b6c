//! Finds and reads the rows that a run is measured on, and writes its results.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crosspilot_core::aws::s3::Client;
use crosspilot_core::aws::s3::operation::get_object::GetObjectOutput;
use crosspilot_core::aws::s3::primitives::ByteStream;
use crosspilot_core::error::{CallError, Code};
use crosspilot_core::ids::ModelName;
use crosspilot_core::layout;
use crosspilot_core::tenant::Tenant;

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

/// The customer's data bucket.
pub(crate) struct Bucket<'a> {
    pub(crate) s3: Client,
    pub(crate) tenant: &'a Tenant,
}

struct File {
    key: String,
    size: u64,
    modified: (i64, u32),
}

impl Bucket<'_> {
    /// The newest held-out file, if there is one.
    pub(crate) async fn newest(&self, model: &ModelName) -> Result<Option<Source>, Error> {
        let files = self.list(&layout::test_prefix(&self.tenant.prefix, model)).await?;
        let Some(file) = files.iter().max_by_key(|file| (file.modified, &file.key)) else {
            return Ok(None);
        };
        let table = self.read(file, LIMIT).await?;
        Ok(Some(Source { uri: self.uri(&file.key), held_out: true, table }))
    }

    /// Copies the rows that a run is scored on, unless it was scored before: all
    /// later steps judge by the same rows, whatever is uploaded meanwhile.
    pub(crate) async fn keep_rows(&self, key: &str, source: &Source) -> Result<(), Error> {
        let put = self
            .s3
            .put_object()
            .bucket(self.tenant.bucket.as_str())
            .key(key)
            .if_none_match("*")
            .content_type("text/csv; charset=utf-8")
            .metadata(SOURCE, STANDARD.encode(&source.uri))
            .metadata(TRUNCATED, source.table.truncated.to_string())
            .body(ByteStream::from(source.table.csv().map_err(compose)?));
        let put = put.send().await;
        match put.map_err(|e| CallError::new("s3:PutObject", self.uri(key), &e)) {
            Err(error) if error.aws_code() != "PreconditionFailed" => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// The rows that were copied.
    pub(crate) async fn kept_rows(&self, key: &str) -> Result<Source, Error> {
        let uri = self.uri(key);
        let object = self
            .s3
            .get_object()
            .bucket(self.tenant.bucket.as_str())
            .key(key)
            .send()
            .await
            .map_err(|e| CallError::new("s3:GetObject", &uri, &e))?;
        let said = |name| object.metadata().and_then(|said| said.get(name)).cloned();
        let truncated = said(TRUNCATED).is_some_and(|text| text == "true");
        let original = said(SOURCE)
            .and_then(|text| String::from_utf8(STANDARD.decode(text).ok()?).ok())
            .unwrap_or_else(|| uri.clone());
        let mut table = Table::read(&original, &body(object, &uri).await?, true)?;
        table.truncated = truncated;
        Ok(Source { uri: original, held_out: true, table })
    }

    /// A whole file.
    pub(crate) async fn get(&self, key: &str) -> Result<Vec<u8>, CallError> {
        let uri = self.uri(key);
        let get = self.s3.get_object().bucket(self.tenant.bucket.as_str()).key(key).send().await;
        body(get.map_err(|e| CallError::new("s3:GetObject", &uri, &e))?, &uri).await
    }

    /// The first row of the training data, which shows no more than that the
    /// model answers.
    pub(crate) async fn first_row(&self, model: &ModelName, target: &str) -> Result<Source, Error> {
        let prefix = layout::train_prefix(&self.tenant.prefix, model);
        let files = self.list(&prefix).await?;
        let file = files.first().ok_or_else(|| Unfit::NoFiles { place: self.uri(&prefix) })?;
        let table = self.read(file, FIRST_ROW).await?.first_row_without(target);
        Ok(Source { uri: self.uri(&file.key), held_out: false, table })
    }

    /// Writes a result and gives its address.
    pub(crate) async fn write(
        &self,
        key: &str,
        content_type: &str,
        body: Vec<u8>,
    ) -> Result<String, CallError> {
        let uri = self.uri(key);
        self.s3
            .put_object()
            .bucket(self.tenant.bucket.as_str())
            .key(key)
            .content_type(content_type)
            .body(ByteStream::from(body))
            .send()
            .await
            .map_err(|e| CallError::new("s3:PutObject", &uri, &e))?;
        Ok(uri)
    }

    pub(crate) fn uri(&self, key: &str) -> String {
        layout::uri(self.tenant, key)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<File>, CallError> {
        let mut files = Vec::new();
        let request = self.s3.list_objects_v2().bucket(self.tenant.bucket.as_str()).prefix(prefix);
        let mut pages = request.into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| CallError::new("s3:ListBucket", self.uri(prefix), &e))?;
            files.extend(page.contents().iter().filter_map(|object| {
                let key = object.key()?.to_owned();
                let size = u64::try_from(object.size()?).ok()?;
                let modified = object
                    .last_modified()
                    .map_or((0, 0), |time| (time.secs(), time.subsec_nanos()));
                let is_csv = key.to_ascii_lowercase().ends_with(".csv");
                (size > 0 && is_csv).then_some(File { key, size, modified })
            }));
        }
        Ok(files)
    }

    /// The rows in a file's first `limit` bytes.
    async fn read(&self, file: &File, limit: u64) -> Result<Table, Error> {
        let uri = self.uri(&file.key);
        let object = self
            .s3
            .get_object()
            .bucket(self.tenant.bucket.as_str())
            .key(&file.key)
            .range(format!("bytes=0-{}", file.size.min(limit) - 1))
            .send()
            .await
            .map_err(|e| CallError::new("s3:GetObject", &uri, &e))?;
        Ok(Table::read(&uri, &body(object, &uri).await?, file.size <= limit)?)
    }
}

async fn body(object: GetObjectOutput, uri: &str) -> Result<Vec<u8>, CallError> {
    let body = object.body.collect().await.map_err(|e| {
        CallError::refused(Code::Unavailable, "s3:GetObject", uri, "BadAnswer", e.to_string())
    })?;
    Ok(body.into_bytes().to_vec())
}

fn compose(reason: csv::Error) -> Error {
    Error::Compose { what: "held-out rows", reason: reason.to_string() }
}
