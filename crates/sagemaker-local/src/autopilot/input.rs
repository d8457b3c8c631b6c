//! The data of an AutoML job: who may read it, where it is, what its files hold.

use std::io::Read;

use crosspilot_automl::{Table, TableError};
use flate2::read::MultiGzDecoder;
use serde_json::Value;

use crate::authority::AuthorityError;
use crate::autopilot::channels::{Channel, Content};
use crate::autopilot::parquet;
use crate::autopilot::request::AutoMlPlan;
use crate::services::emulator::Emulator;
use crate::services::s3::{RoleS3, S3Error, S3Uri};
use crate::wire::error::ApiError;
use crate::wire::place::Place;

/// The files of one channel.
pub(crate) struct Files {
    content: Content,
    /// Name and content of each.
    files: Vec<(String, Vec<u8>)>,
}

/// A session of the role, or the refusal of a role that SageMaker cannot assume.
pub(crate) async fn assume_role(
    emulator: &Emulator,
    place: &Place,
    role: &str,
    arn: &str,
) -> Result<RoleS3, ApiError> {
    RoleS3::open(emulator, place, role, arn).await.map_err(|error| match error {
        AuthorityError::Refused { .. } => ApiError::Validation(format!(
            "Could not assume role {role}. Please ensure that the role exists and allows principal \
             'sagemaker.amazonaws.com' to assume the role."
        )),
        error => error.into(),
    })
}

/// Tells whether the data has the target column. SageMaker looks when the job is
/// created; data that it cannot read then lets the job fail later.
pub(crate) async fn check_target(s3: &RoleS3, plan: &AutoMlPlan) -> Result<(), ApiError> {
    // Far more than any header.
    const BEGINNING: usize = 1 << 20;
    let Channel { at, manifest: listed, content } = &plan.training;
    let first = async {
        let objects = match listed {
            true => manifest(&s3.get(at).await.ok()?).ok()?,
            false => s3.list(at).await.ok()?,
        };
        s3.beginning(objects.first()?, BEGINNING).await.ok()
    };
    let header = first.await.and_then(|beginning| header(&beginning, *content));
    match header {
        Some(columns) if !columns.contains(&plan.target) => Err(ApiError::Validation(format!(
            "Target attribute name {} does not exist in header.",
            plan.target
        ))),
        _ => Ok(()),
    }
}

/// Reads the files of a channel.
pub(crate) async fn fetch(
    s3: &RoleS3,
    place: &Place,
    plan: &AutoMlPlan,
    channel: &Channel,
) -> Result<Files, String> {
    let failed = |error: S3Error| {
        let S3Uri { bucket, .. } = &channel.at;
        match error {
            S3Error::AccessDenied(at) => format!(
                "ClientError: Access denied (403 Forbidden) to {at}. Please ensure that the role \"{}\" has \
                 \"s3:GetObject\" permissions on the objects and \"s3:ListBucket\" permissions on bucket \"{bucket}\".",
                plan.role
            ),
            other => format!("ClientError: Failed to read the input data: {other}."),
        }
    };
    let objects = match channel.manifest {
        true => manifest(&s3.get(&channel.at).await.map_err(failed)?)?,
        false => s3.list(&channel.at).await.map_err(failed)?,
    };
    if objects.is_empty() {
        return Err(format!(
            "ClientError: No S3 objects found under S3 URL \"{}\" given in input data source. Please ensure that \
             the bucket exists in the selected region ({}), that objects exist under that S3 prefix, and that the \
             role \"{}\" has \"s3:ListBucket\" permissions on bucket \"{}\".",
            channel.at, place.region, plan.role, channel.at.bucket
        ));
    }
    let mut files = Vec::new();
    for object in objects {
        let content = s3.get(&object).await.map_err(failed)?;
        files.push((object.to_string(), content));
    }
    Ok(Files { content: channel.content, files })
}

/// The objects that a manifest file lists: a prefix, then what follows it.
fn manifest(text: &[u8]) -> Result<Vec<S3Uri>, String> {
    let malformed = || {
        "ClientError: The manifest file is not a JSON array of a prefix and its objects.".to_owned()
    };
    let entries: Vec<Value> = serde_json::from_slice(text).map_err(|_| malformed())?;
    let (first, rest) = entries.split_first().ok_or_else(malformed)?;
    let prefix = first.get("prefix").and_then(Value::as_str).ok_or_else(malformed)?;
    let object = |entry: &Value| S3Uri::parse(&format!("{prefix}{}", entry.as_str()?));
    rest.iter().map(|entry| object(entry).ok_or_else(malformed)).collect()
}

/// The names in the header of a file that begins like this; nothing if that
/// cannot be told, as of Parquet, which names its columns at the end.
fn header(beginning: &[u8], content: Content) -> Option<Vec<String>> {
    let mut text = Vec::new();
    match content {
        Content::Csv => text.extend_from_slice(beginning),
        // What is cut off ends in an error, after what was read.
        Content::GzippedCsv => drop(MultiGzDecoder::new(beginning).read_to_end(&mut text)),
        Content::Parquet => return None,
    }
    let mut reader = csv::ReaderBuilder::new().from_reader(text.as_slice());
    let header = reader.headers().ok()?.iter().map(str::to_owned).collect();
    // The header is whole if something follows it.
    (reader.position().byte() < text.len() as u64).then_some(header)
}

impl Files {
    /// The size of all files together, in bytes.
    pub(crate) fn size(&self) -> usize {
        self.files.iter().map(|(_, content)| content.len()).sum()
    }

    pub(crate) fn read(self) -> Result<Table, String> {
        let mut whole: Option<Table> = None;
        for (name, content) in self.files {
            let explain = |error: TableError| format!("{name} cannot be read as CSV: {error}");
            let table = match self.content {
                Content::Csv => Table::read_csv(content.as_slice(), true).map_err(explain)?,
                Content::GzippedCsv => {
                    let unpacked = MultiGzDecoder::new(content.as_slice());
                    Table::read_csv(unpacked, true).map_err(explain)?
                }
                Content::Parquet => parquet::read(content)
                    .map_err(|error| format!("{name} cannot be read as Parquet: {error}"))?,
            };
            match &mut whole {
                None => whole = Some(table),
                Some(whole) => whole.append(&table).map_err(|error| {
                    format!("{name} does not go with the files before it: {error}")
                })?,
            }
        }
        whole.ok_or_else(|| "There is no data.".into())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    #[test]
    fn a_header_is_told_from_the_beginning_of_its_file() {
        let names = |text: &str| header(text.as_bytes(), Content::Csv);
        assert_eq!(names("\u{feff}a,\"b, c\"\n1,2\n").unwrap(), ["a", "b, c"]);
        assert_eq!(names("a,b,and so on, to where it was cu"), None);
        assert_eq!(header(&[0xff, b',', b'a', b'\n', b'1'], Content::Csv), None);
        let mut zipped = GzEncoder::new(Vec::new(), Compression::fast());
        let rows: String = (0..9999).map(|i| format!("{i},{}\n", i * 7919 % 10007)).collect();
        zipped.write_all(format!("a,y\n{rows}").as_bytes()).unwrap();
        let zipped = zipped.finish().unwrap();
        assert_eq!(header(&zipped[..zipped.len() / 2], Content::GzippedCsv).unwrap(), ["a", "y"]);
        assert_eq!(header(b"a,y\n1,2\n", Content::GzippedCsv), None);
    }
}
