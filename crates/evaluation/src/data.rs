//! The rows that a run is measured on.

use crosspilot_core::bucket::Bucket;
use crosspilot_core::error::{CallError, Code, Coded};
use crosspilot_core::ids::ModelName;
use crosspilot_inference::{Table, Unfit};
use crosspilot_table::unpack::{NotUnpacked, Unpack};

use crate::EvaluationError;

/// Held-out data that is read, as text. Of a larger file, the first rows speak for
/// all.
const LIMIT: usize = 64 << 20;

/// Rows to score.
#[derive(Debug)]
pub(crate) struct Source {
    /// The address of the rows.
    pub(crate) uri: String,
    /// `true` if they are held-out rows and not just one row of training data.
    pub(crate) held_out: bool,
    pub(crate) table: Table,
}

impl Source {
    /// Tells whether the rows were set aside of the training data, and not given as a file of
    /// their own: they come from the folder that all is uploaded to.
    pub(crate) fn is_set_aside(&self) -> bool {
        self.held_out && self.uri.ends_with('/')
    }
}

/// The newest held-out file, if there is one.
pub(crate) async fn newest(
    bucket: &Bucket<'_>,
    model: &ModelName,
) -> Result<Option<Source>, EvaluationError> {
    let Some(file) = bucket.held_out(model).await? else { return Ok(None) };
    held_out(bucket, file.key().unwrap_or_default()).await.map(Some)
}

/// A file of held-out rows.
pub(crate) async fn held_out(bucket: &Bucket<'_>, key: &str) -> Result<Source, EvaluationError> {
    let uri = bucket.uri(key);
    let mut body = bucket.open(key, None).await?.body;
    let mut text = Text::default();
    let mut whole = true;
    while let Some(part) = body.next().await {
        let part = part.map_err(|e| CallError::broken_off("s3:GetObject", &uri, e))?;
        text.take(&uri, &part)?;
        if text.is_full() {
            whole = false;
            break;
        }
    }
    let table = Table::read(&uri, text.end(&uri, whole)?, whole)?;
    Ok(Source { uri, held_out: true, table })
}

/// A file's text as its parts come in, recognised by its first bytes and never by
/// its name. One byte more than the limit is kept, which tells that there is more.
#[derive(Default)]
struct Text {
    unpack: Unpack,
    text: Vec<u8>,
}

impl Text {
    fn take(&mut self, file: &str, part: &[u8]) -> Result<(), Unfit> {
        let Self { unpack, text } = self;
        unpack.take(part, &mut |more| keep(text, more)).map_err(|error| unfit(file, error))
    }

    fn is_full(&self) -> bool {
        self.text.len() > LIMIT
    }

    /// No more than the limit. `whole` says that the file ends here.
    fn end(self, file: &str, whole: bool) -> Result<Vec<u8>, Unfit> {
        let Self { unpack, mut text } = self;
        if whole {
            let ended = unpack.end(&mut |more| keep(&mut text, more));
            ended.map_err(|error| unfit(file, error))?;
        }
        text.truncate(LIMIT);
        Ok(text)
    }
}

fn keep(text: &mut Vec<u8>, more: &[u8]) -> Result<(), NotUnpacked> {
    text.extend_from_slice(&more[..more.len().min(LIMIT + 1 - text.len())]);
    Ok(())
}

fn unfit(file: &str, error: NotUnpacked) -> Unfit {
    let file = file.to_owned();
    match error {
        NotUnpacked::NoText(what) => Unfit::NoText { file, what },
        NotUnpacked::Gzip(_) => Unfit::NotCsv { file, reason: format!("it {error}") },
    }
}

/// The row that the preflight kept, which shows no more than that the model
/// answers. Without one, it is asked about a row without values.
pub(crate) async fn first_row(
    bucket: &Bucket<'_>,
    key: &str,
    columns: &[String],
) -> Result<Source, EvaluationError> {
    let table = match bucket.get(key).await {
        Ok((text, _)) => Table::read(&bucket.uri(key), text, true)?,
        // Who may not list a bucket is not told that something is missing (API
        // reference, `GetObject`).
        Err(error) if matches!(error.code(), Code::NotFound | Code::AccessDenied) => {
            Table::blank(columns).map_err(compose)?
        }
        Err(error) => return Err(error.into()),
    };
    Ok(Source { uri: bucket.uri(key), held_out: false, table })
}

/// Copies the rows that a run is scored on, unless it was scored before: all
/// later steps judge by the same rows, whatever is uploaded meanwhile. Gives the
/// rows that count.
pub(crate) async fn keep_rows(
    bucket: &Bucket<'_>,
    key: &str,
    source: Source,
) -> Result<Source, EvaluationError> {
    let Source { uri, table, .. } = source;
    let truncated = table.truncated;
    let text = table.into_text();
    bucket.keep_held_out(key, &uri, truncated, text).await?;
    kept_rows(bucket, key).await
}

/// The rows that were kept.
pub(crate) async fn kept_rows(bucket: &Bucket<'_>, key: &str) -> Result<Source, EvaluationError> {
    let (text, uri, truncated) = bucket.kept_held_out(key).await?;
    let mut table = Table::read(&uri, text, true)?;
    table.truncated = truncated;
    Ok(Source { uri, held_out: true, table })
}

fn compose(reason: csv::Error) -> EvaluationError {
    EvaluationError::Compose { what: "first prediction", reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Write as _;

    use crosspilot_core::aws::s3::Client;
    use crosspilot_scripted::{Answer, Scripted};

    use super::*;

    fn text(parts: &[&[u8]], whole: bool) -> Result<Vec<u8>, Unfit> {
        let mut text = Text::default();
        for part in parts {
            text.take("h", part)?;
        }
        text.end("h", whole)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[tokio::test]
    async fn a_document_that_is_not_ours_is_named_by_its_place_and_not_quoted() {
        let aws = Scripted::new(|_| Answer::good("{\n\"rows\": \"Jane Roe\"}"));
        let tenant = serde_json::from_value(crosspilot_scripted::tenant("acme")).unwrap();
        let bucket = Bucket { s3: Client::new(&aws.config()), tenant: &tenant };
        let read = bucket.read_json::<std::collections::BTreeMap<String, u64>>("k").await;
        let refused = read.unwrap_err().to_string();
        assert!(refused.contains("line 2") && !refused.contains("Jane"), "{refused}");
    }

    #[tokio::test]
    async fn where_the_kept_row_is_gone_a_row_without_values_is_asked_about() {
        let first = async |answer: fn() -> Answer| {
            let aws = Scripted::new(move |_| answer());
            let tenant = serde_json::from_value(crosspilot_scripted::tenant("acme")).unwrap();
            let bucket = Bucket { s3: Client::new(&aws.config()), tenant: &tenant };
            let columns = ["plan".to_owned(), "age".to_owned()];
            first_row(&bucket, "k", &columns).await
        };
        let kept = first(|| Answer::good("plan,age\npro,30\n")).await.unwrap();
        assert_eq!(kept.table.into_text(), b"plan,age\npro,30\n");
        for gone in [
            || Answer::refused_by_s3(404, "NoSuchKey"),
            // Who may not list a bucket is told nothing else.
            || Answer::refused_by_s3(403, "AccessDenied"),
        ] {
            let blank = first(gone).await.unwrap();
            assert!(!blank.held_out);
            assert_eq!(blank.table.into_text(), b"plan,age\n,\n");
        }
        assert!(first(|| Answer::refused_by_s3(503, "SlowDown")).await.is_err());
    }

    #[test]
    fn a_file_is_what_it_begins_with() {
        let zipped = gzip(b"a,b\n1,2\n");
        let (head, tail) = zipped.split_at(9);
        assert_eq!(text(&[head, tail], true).unwrap(), b"a,b\n1,2\n");
        assert_eq!(text(&[b"a,b\n", b"1,2\n"], true).unwrap(), b"a,b\n1,2\n");
        assert_eq!(text(&[], true).unwrap(), b"");
        assert_eq!(text(&[b"PAR1,BZh\n1,2\n"], true).unwrap(), b"PAR1,BZh\n1,2\n");
        let parquet = text(&[b"PAR1...."], true).unwrap_err().to_string();
        assert!(
            parquet.starts_with("h is a Parquet file: give the held-out rows as CSV"),
            "{parquet}"
        );
    }

    #[test]
    fn a_gzip_file_that_breaks_off_or_swells_says_so() {
        let zipped = gzip(b"a,b\n1,2\n");
        let error = text(&[&zipped[..zipped.len() - 9]], true).unwrap_err().to_string();
        assert!(error.contains("damaged or breaks off"), "{error}");
        let bomb = gzip(&vec![b'x'; 2 * LIMIT]);
        let mut swelling = Text::default();
        swelling.take("h", &bomb).unwrap();
        assert!(swelling.is_full());
        assert_eq!(swelling.end("h", false).unwrap().len(), LIMIT);
    }
}
