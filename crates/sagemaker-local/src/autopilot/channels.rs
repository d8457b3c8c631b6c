//! The channels of an AutoML job's data.

use serde::Deserialize;

use crate::services::s3::S3Uri;
use crate::wire::data_source::DataSource;

/// `AutoMLJobChannel`, as far as anything depends on it.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct AutoMlJobChannel {
    channel_type: String,
    content_type: Option<String>,
    compression_type: String,
    data_source: DataSource,
}

/// The location and the format of one channel's data.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Channel {
    pub(crate) at: S3Uri,
    pub(crate) manifest: bool,
    pub(crate) content: Content,
}

/// The format of a channel's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// CSV with a header.
    Csv,
    /// The same, each file packed with gzip.
    GzippedCsv,
    /// Apache Parquet.
    Parquet,
}

impl Channel {
    fn read(given: &AutoMlJobChannel) -> Result<Self, String> {
        let source = &given.data_source.s3_data_source;
        let content_type = given.content_type.as_deref().unwrap_or("text/csv;header=present");
        let gzip = given.compression_type == "Gzip";
        let content = match (content_type.replace(' ', "").as_str(), gzip) {
            ("text/csv;header=present" | "text/csv", false) => Content::Csv,
            ("text/csv;header=present" | "text/csv", true) => Content::GzippedCsv,
            ("x-application/vnd.amazon+parquet", false) => Content::Parquet,
            // Its own pages are compressed.
            ("x-application/vnd.amazon+parquet", true) => {
                return Err(
                    "Parquet files packed with gzip are not offered by the local SageMaker.".into(),
                );
            }
            _ => {
                return Err(format!(
                    "The content type {content_type} is not offered by the local SageMaker."
                ));
            }
        };
        let manifest = match source.s3_data_type.as_str() {
            "ManifestFile" => true,
            "AugmentedManifestFile" => {
                return Err("AugmentedManifestFile is not supported for tabular data.".into());
            }
            _ => false,
        };
        let uri = &source.s3_uri;
        let at = S3Uri::parse(uri).ok_or_else(|| format!("{uri} is not an S3 location."))?;
        Ok(Self { at, manifest, content })
    }
}

/// Reads the training channel and, if there is one, the validation channel.
pub(crate) fn channels(given: &[AutoMlJobChannel]) -> Result<(Channel, Option<Channel>), String> {
    let mut training = None;
    let mut validation = None;
    for given in given {
        let channel = Channel::read(given)?;
        let kind = match given.channel_type.as_str() {
            "validation" => &mut validation,
            _ => &mut training,
        };
        if kind.replace(channel).is_some() {
            return Err("Each channel type can be given once.".into());
        }
    }
    training
        .map(|training| (training, validation))
        .ok_or_else(|| "A training channel is required.".into())
}
