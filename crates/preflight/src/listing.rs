//! Lists a model's files in a customer's bucket, and reads parts of them.

use std::ops::Range;

use crosspilot_core::aws::s3::types::{Object, ObjectStorageClass};
use crosspilot_core::bucket::Bucket;
use crosspilot_core::error::{CallError, Code};
use crosspilot_core::ids::ModelName;
use crosspilot_core::layout;
use crosspilot_core::settings::{ModelSettings, Validation};

use crate::{Data, File, MOST_FILES, Source, Verdict, judge};

/// Lists a model's data in its bucket, and judges it.
pub async fn inspect(
    bucket: &Bucket<'_>,
    model: &ModelName,
    settings: &ModelSettings,
) -> Result<(Data, Verdict), CallError> {
    let data = data(bucket, model, settings).await?;
    let verdict = judge(bucket, settings, data.clone()).await?;
    Ok((data, verdict))
}

/// Lists a model's data.
async fn data(
    bucket: &Bucket<'_>,
    model: &ModelName,
    settings: &ModelSettings,
) -> Result<Data, CallError> {
    let prefix = &bucket.tenant.prefix;
    let train = layout::train_prefix(prefix, model);
    let validation = layout::validation_prefix(prefix, model);
    let validates = settings.training.validation == Some(Validation::Channel);
    let files = async |prefix: &str| {
        let objects = bucket.list(prefix, MOST_FILES).await?;
        Ok::<Vec<File>, CallError>(
            objects.iter().filter_map(|object| file(bucket, object)).collect(),
        )
    };
    Ok(Data {
        place: bucket.uri(&train),
        training: files(&train).await?,
        validation_place: bucket.uri(&validation),
        validation: if validates { files(&validation).await? } else { Vec::new() },
        held_out: bucket.held_out(model).await?.and_then(|object| file(bucket, &object)),
    })
}

fn file(bucket: &Bucket<'_>, object: &Object) -> Option<File> {
    let key = object.key()?;
    let archived = matches!(
        object.storage_class(),
        Some(ObjectStorageClass::Glacier | ObjectStorageClass::DeepArchive)
    );
    Some(File {
        name: bucket.uri(key),
        key: key.to_owned(),
        size: u64::try_from(object.size()?).ok()?,
        archived,
        etag: object.e_tag().unwrap_or_default().to_owned(),
    })
}

impl Source for Bucket<'_> {
    type Error = CallError;

    async fn read(&self, file: &File, range: Range<u64>) -> Result<Vec<u8>, CallError> {
        let uri = &file.name;
        let part = format!("bytes={}-{}", range.start, range.end - 1);
        let mut object = self.open(&file.key, Some(part)).await?;
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
