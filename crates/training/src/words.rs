//! Reads the words of category columns in training rows that no copy is made of, so that
//! the API can tell a word that training never saw.

use std::collections::BTreeSet;

use crosspilot_core::bucket::Bucket;
use crosspilot_core::layout;
use crosspilot_core::run::RunRef;
use crosspilot_preflight::{Data, Format, Verdict};
use crosspilot_table::stream::Row;
use crosspilot_table::{Words, words::Gathered};

use crate::rows::{MOST_BYTES, RowsError, read_all};

/// Writes down the words of these columns in all training rows, `null` where nobody knows
/// them.
pub async fn keep(
    bucket: &Bucket<'_>,
    run: &RunRef,
    data: &Data,
    verdict: &mut Verdict,
    categories: &BTreeSet<String>,
) -> Result<(), RowsError> {
    let words = match verdict.words.take() {
        Some(words) => Some(words.of(categories)),
        None => read(bucket, data, verdict, categories).await?,
    };
    bucket.write_json(&layout::words_key(&bucket.tenant.prefix, run), &words).await?;
    Ok(())
}

/// Reads the words; nothing where that takes too long or the data is not read as rows
/// here: of rows that were not read, nobody knows what they hold.
async fn read(
    bucket: &Bucket<'_>,
    data: &Data,
    verdict: &Verdict,
    categories: &BTreeSet<String>,
) -> Result<Option<Words>, RowsError> {
    let listed: u64 = data.training.iter().map(|file| file.size).sum();
    if categories.is_empty() {
        return Ok(Some(Words::default()));
    }
    if verdict.format != Some(Format::Csv) || listed > MOST_BYTES {
        return Ok(None);
    }
    let mut reader =
        Reader { categories, names: None, positions: Vec::new(), words: Gathered::default() };
    let whole =
        read_all(bucket, &data.training, |row, is_header| reader.take(row, is_header)).await?;
    Ok(whole.then(|| reader.end()))
}

/// The state of reading: the words so far.
struct Reader<'a> {
    categories: &'a BTreeSet<String>,
    /// The first file's column names; the preflight sees to it that they are those of all.
    names: Option<Vec<String>>,
    /// Positions of the categories.
    positions: Vec<usize>,
    words: Gathered,
}

impl Reader<'_> {
    fn take(&mut self, row: Row<'_>, is_header: bool) {
        if !is_header {
            for &position in &self.positions {
                if let Some(cell) = row.get(position) {
                    self.words.observe(position, cell);
                }
            }
        } else if self.names.is_none() {
            let names: Vec<String> =
                row.cells().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
            self.positions =
                (0..names.len()).filter(|&at| self.categories.contains(&names[at])).collect();
            self.names = Some(names);
        }
    }

    fn end(self) -> Words {
        let names = self.names.unwrap_or_default();
        self.words.named(names.iter().map(String::as_str)).of(self.categories)
    }
}
