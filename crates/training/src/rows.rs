//! Reads the rows of training files as they come, in bounded memory.

use crosspilot_core::aws::s3::primitives::ByteStream;
use crosspilot_core::bucket::Bucket;
use crosspilot_core::error::CallError;
use crosspilot_core::ids::hex;
use crosspilot_preflight::File;
use crosspilot_table::format::{self, NoText};
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
    /// A file with a row that the preflight would refuse, too, had it read that far.
    #[error("{file} {what}, then start the run again")]
    Unfit {
        /// The file's address.
        file: String,
        /// The fault of the row, where it stands, and what to do about it.
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
pub fn files_digest(files: &[File]) -> String {
    let parts = files.iter().flat_map(|file| [file.key.as_bytes(), file.etag.as_bytes()]);
    hex(digest_of(parts).as_ref())
}

/// Digests parts, each with its length, so that none runs into the next.
pub(crate) fn digest_of<'a>(parts: impl Iterator<Item = &'a [u8]>) -> impl AsRef<[u8]> {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    digest.finalize()
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
        let mut judge = Judge::default();
        loop {
            let mut judged = |row: Row<'_>| {
                let is_header = judge.header.is_none();
                if judge.passes(row) {
                    each(row, is_header);
                }
            };
            let goes_on = reading.more(&mut judged).await;
            judge.verdict(&reading.file)?;
            if !goes_on? {
                break;
            }
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

/// Judges a file's rows by the rules of the preflight, which reads no more than pieces of
/// large files.
#[derive(Default)]
struct Judge {
    header: Option<Vec<Vec<u8>>>,
    /// Rows below the header.
    rows: u64,
    /// The first flaw: what, where, and what to do next.
    flaw: Option<String>,
}

impl Judge {
    /// Tells whether this row and all before it may be trained on.
    fn passes(&mut self, row: Row<'_>) -> bool {
        if self.flaw.is_none() {
            self.flaw = self.flaw_of(row);
        }
        self.flaw.is_none()
    }

    /// Refuses the file if one of its rows may not be trained on.
    fn verdict(&mut self, file: &str) -> Result<(), RowsError> {
        match self.flaw.take() {
            Some(what) => Err(RowsError::Unfit { file: file.to_owned(), what }),
            None => Ok(()),
        }
    }

    fn flaw_of(&mut self, row: Row<'_>) -> Option<String> {
        let no_text = row.cells().find_map(|cell| format::text(cell, true).err());
        let Some(header) = &self.header else {
            self.header = Some(row.cells().map(<[u8]>::to_vec).collect());
            return no_text.map(|no_text| said(no_text, "its header"));
        };
        self.rows += 1;
        let place = || format!("row {} below its header", self.rows);
        if let Some(no_text) = no_text {
            Some(said(no_text, &place()))
        } else if row.len() != header.len() {
            Some(format!(
                "has {} fields in {}, and its header has {}: put values that hold commas in double quotes",
                row.len(),
                place(),
                header.len()
            ))
        } else if row.cells().eq(header.iter().map(Vec::as_slice)) {
            Some(format!(
                "has its header again in {}: remove that line (files that were joined keep one header only)",
                place()
            ))
        } else {
            None
        }
    }
}

/// Says what is wrong with the bytes of a row, as the preflight says it of a file.
fn said(no_text: NoText, place: &str) -> String {
    match no_text {
        NoText::Nul { .. } => format!(
            "contains binary data (a NUL in {place}): give comma-separated UTF-8 text with a header line"
        ),
        NoText::NotUtf8 { .. } | NoText::Wide { .. } => format!(
            "is not UTF-8 text in {place}; it may be Latin-1 or Windows-1252: save it as UTF-8"
        ),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Counts the rows of a file, the header among them, or says why it cannot be used.
    fn read(text: &[u8]) -> Result<usize, String> {
        let (mut stream, mut judge, mut rows) = (Stream::default(), Judge::default(), 0);
        let mut judged = |row: Row<'_>| rows += usize::from(judge.passes(row));
        stream.take(text, &mut judged).unwrap();
        stream.end(&mut judged).unwrap();
        judge.verdict("s3://b/t.csv").map_err(|error| error.to_string())?;
        Ok(rows)
    }

    #[test]
    fn rows_that_the_preflight_refuses_are_refused_wherever_they_stand() {
        let good = b"x,plan\n1,\"a, b\"\n".to_vec();
        for (row, says) in [
            (&b"2,caf\xe9\n"[..], "is not UTF-8 text in row 2 below its header; "),
            (b"2,a\0b\n", "contains binary data (a NUL in row 2 below its header): "),
            (b"2\n", "has 1 fields in row 2 below its header, and its header has 2: "),
            (b"2,a,b\n", "has 3 fields in row 2 below its header, and its header has 2: "),
            (b"x,plan\n", "has its header again in row 2 below its header: "),
        ] {
            let said = read(&[good.as_slice(), row, b"3,c\n"].concat()).unwrap_err();
            assert!(said.starts_with(&format!("s3://b/t.csv {says}")), "{said}");
            assert!(said.ends_with(", then start the run again"), "{said}");
        }
        // Empty lines and line breaks in cells are what the preflight lets pass.
        let rest = b"\n\n2,\"two\nlines\"\r\n,\n".as_slice();
        assert_eq!(read(&[good.as_slice(), rest].concat()), Ok(4));
    }
}
