//! The location of a job's data, as requests of every kind of job say it.

use serde::Deserialize;

/// `AutoMLDataSource`, `TransformDataSource`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct DataSource {
    pub(crate) s3_data_source: S3DataSource,
}

/// Objects in S3.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct S3DataSource {
    pub(crate) s3_data_type: String,
    pub(crate) s3_uri: String,
}

/// `AutoMLOutputDataConfig`, and what `TransformOutput` has of it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct OutputDataConfig {
    pub(crate) s3_output_path: String,
    pub(crate) kms_key_id: Option<String>,
}
