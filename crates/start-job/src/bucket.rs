//! The customer's bucket: what lies there, parts of it, and what start-job
//! leaves beside a run's results.

use std::ops::Range;

use crosspilot_core::aws::s3::Client;
use crosspilot_core::aws::s3::primitives::ByteStream;
use crosspilot_core::aws::s3::types::{Object, ObjectStorageClass};
use crosspilot_core::error::{CallError, Code};
use crosspilot_core::ids::ModelName;
use crosspilot_core::layout;
use crosspilot_core::settings::{ModelSettings, Validation};
use crosspilot_core::tenant::Tenant;

use crate::preflight::{Data, File, MOST_FILES, Source};

/// A tenant's bucket, in a session for one run.
#[derive(Debug)]
pub struct Bucket<'a> {
    /// S3, with a session that may list and read the model's data.
    pub s3: Client,
    /// Whose bucket it is.
    pub tenant: &'a Tenant,
}

impl Bucket<'_> {
    /// Lists a model's data.
    pub(crate) async fn data(
        &self,
        model: &ModelName,
        settings: &ModelSettings,
    ) -> Result<Data, CallError> {
        let prefix = &self.tenant.prefix;
        let train = layout::train_prefix(prefix, model);
        let validation = layout::validation_prefix(prefix, model);
        let validates = settings.training.validation == Some(Validation::Channel);
        let files = |objects: Vec<Object>| -> Vec<File> {
            objects.iter().filter_map(|object| self.file(object)).collect()
        };
        Ok(Data {
            place: self.uri(&train),
            training: files(self.list(&train).await?),
            validation_place: self.uri(&validation),
            validation: if validates { files(self.list(&validation).await?) } else { Vec::new() },
            held_out: self.held_out(&layout::test_prefix(prefix, model)).await?,
        })
    }

    /// The newest CSV file, which is the one that `predict` scores. The key
    /// decides between files of one second.
    async fn held_out(&self, prefix: &str) -> Result<Option<File>, CallError> {
        let objects = self.list(prefix).await?;
        let is_csv = |object: &&Object| {
            object.key().is_some_and(|key| key.to_ascii_lowercase().ends_with(".csv"))
                && object.size() > Some(0)
        };
        let age = |object: &&Object| {
            let time = object.last_modified();
            (time.map(|time| (time.secs(), time.subsec_nanos())), object.key().map(str::to_owned))
        };
        Ok(objects.iter().filter(is_csv).max_by_key(age).and_then(|object| self.file(object)))
    }

    fn file(&self, object: &Object) -> Option<File> {
        let key = object.key()?;
        let archived = matches!(
            object.storage_class(),
            Some(ObjectStorageClass::Glacier | ObjectStorageClass::DeepArchive)
        );
        Some(File {
            name: self.uri(key),
            key: key.to_owned(),
            size: u64::try_from(object.size()?).ok()?,
            archived,
        })
    }

    /// The objects under a prefix in S3's own order, no more than one beyond
    /// what is taken.
    async fn list(&self, prefix: &str) -> Result<Vec<Object>, CallError> {
        let mut objects = Vec::new();
        let request = self.s3.list_objects_v2().bucket(self.tenant.bucket.as_str()).prefix(prefix);
        let mut pages = request.into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| CallError::new("s3:ListBucket", self.uri(prefix), &e))?;
            objects.extend(page.contents.unwrap_or_default());
            if objects.len() > MOST_FILES {
                break;
            }
        }
        Ok(objects)
    }

    /// Writes a JSON document and gives its address.
    pub(crate) async fn write_json(&self, key: &str, body: Vec<u8>) -> Result<String, CallError> {
        let uri = self.uri(key);
        self.s3
            .put_object()
            .bucket(self.tenant.bucket.as_str())
            .key(key)
            .content_type("application/json")
            .body(ByteStream::from(body))
            .send()
            .await
            .map_err(|e| CallError::new("s3:PutObject", &uri, &e))?;
        Ok(uri)
    }

    pub(crate) fn uri(&self, key: &str) -> String {
        layout::uri(self.tenant, key)
    }
}

impl Source for Bucket<'_> {
    type Error = CallError;

    async fn read(&self, file: &File, range: Range<u64>) -> Result<Vec<u8>, CallError> {
        let uri = &file.name;
        let mut object = self
            .s3
            .get_object()
            .bucket(self.tenant.bucket.as_str())
            .key(&file.key)
            .range(format!("bytes={}-{}", range.start, range.end - 1))
            .send()
            .await
            .map_err(|e| CallError::new("s3:GetObject", uri, &e))?;
        let broken = |message: String| {
            CallError::refused(Code::Unavailable, "s3:GetObject", uri, "BadAnswer", message)
        };
        // No more than was asked for, whatever is answered.
        let wanted = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let mut bytes = Vec::with_capacity(wanted);
        while let Some(part) = object.body.next().await {
            let part = part.map_err(|e| broken(e.to_string()))?;
            bytes.extend_from_slice(&part[..part.len().min(wanted - bytes.len())]);
        }
        if bytes.len() == wanted {
            Ok(bytes)
        } else {
            Err(broken("the file is shorter than it was listed: it is being written".to_owned()))
        }
    }
}
