//! Reads the rows of training files as they come, in bounded memory.

use crosspilot_core::aws::s3::primitives::ByteStream;
use crosspilot_core::bucket::Bucket;
use crosspilot_core::error::CallError;
use crosspilot_preflight::File;
use crosspilot_table::stream::{Row, Stream};
use sha2::{Digest as _, Sha256};

/// The reason why training rows cannot be read or copied.
#[derive(Debug, thiserror::Error)]
pub enum RowsError {
    /// A file that is not what the preflight saw any more.
    #[error(
        "{file} {what}: make sure that it is whole and stays as it is, then start the run again"
    )]
    File {
        /// The file's address.
        file: String,
        /// The fault of the file.
        what: String,
    },
    /// AWS refused or failed.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// Bytes of training data, unpacked, that the function copies in its time: reading them
/// twice and dividing them took 48 ms a MB of a busy core, unoptimized (measured without
/// S3), so some 15 s here, and a third of a core and S3 may take four times that.
pub(crate) const MOST_BYTES: u64 = 256 << 20;

/// The digest of the versions of these files, which stays the same while they do.
pub fn digest(files: &[File]) -> String {
    let mut digest = Sha256::new();
    for File { key, etag, .. } in files {
        for text in [key, etag] {
            digest.update((text.len() as u64).to_le_bytes());
            digest.update(text);
        }
    }
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Hands on the rows of all files, telling a file's header from the others. `false` where
/// they are more than [`MOST_BYTES`]: the rest is not read.
pub(crate) async fn read_all(
    bucket: &Bucket<'_>,
    files: &[File],
    mut each: impl FnMut(Row<'_>, bool),
) -> Result<bool, RowsError> {
    let mut bytes = 0;
    for file in files {
        let mut reading = Reading::open(bucket, &file.key, &file.etag).await?;
        let mut is_header = true;
        while reading.more(&mut |row| each(row, std::mem::take(&mut is_header))).await? {
            if bytes + reading.bytes > MOST_BYTES {
                return Ok(false);
            }
        }
        bytes += reading.bytes;
    }
    Ok(true)
}

/// A file whose rows are read as they come.
pub(crate) struct Reading {
    /// The file's address.
    pub(crate) file: String,
    body: ByteStream,
    stream: Stream,
    /// Bytes that were read, unpacked.
    pub(crate) bytes: u64,
}

impl Reading {
    /// Opens the file as it was listed.
    pub(crate) async fn open(
        bucket: &Bucket<'_>,
        key: &str,
        etag: &str,
    ) -> Result<Self, RowsError> {
        let file = bucket.uri(key);
        match bucket.open_listed(key, etag).await {
            Ok(object) => Ok(Self { file, body: object.body, stream: Stream::default(), bytes: 0 }),
            Err(error) if error.aws_code() == "PreconditionFailed" => {
                Err(RowsError::File { file, what: "was replaced while the run began".to_owned() })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Hands on the rows of the next part, the header first. `false` at the end.
    pub(crate) async fn more(&mut self, each: &mut impl FnMut(Row<'_>)) -> Result<bool, RowsError> {
        let part = self.body.next().await.transpose();
        let part = part.map_err(|e| CallError::broken_off("s3:GetObject", &self.file, e))?;
        let read = match &part {
            Some(part) => self.stream.take(part, each),
            None => std::mem::take(&mut self.stream).end(each),
        };
        read.map_err(|broken| RowsError::File {
            file: self.file.clone(),
            what: broken.to_string(),
        })?;
        self.bytes = self.bytes.max(self.stream.unpacked());
        Ok(part.is_some())
    }
}
