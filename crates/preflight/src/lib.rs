//! Is the data fit to train on? Decided in seconds and before anything costs
//! money, from the files' names, their heads and some pieces of their middle.
//!
//! What is read, and what follows from it, is plain code: [`judge`] only carries
//! bytes from a [`Source`] to it. Memory is bounded whatever the files hold.

mod column;
mod compare;
mod distinct;
mod header;
mod images;
mod inspection;
mod listing;
mod parquet;
mod readings;
mod repeats;
mod rules;
mod table;
mod target;
mod verdict;

use std::fmt::Write as _;
use std::future::Future;
use std::ops::Range;

use crosspilot_core::settings::{ModelSettings, Problem};
use futures_util::stream::{self, StreamExt as _};

use inspection::{Inspection, Wanted};
use rules::{Parts, Places};

pub use crosspilot_table::Kind;
pub use inspection::File;
pub use listing::inspect;
pub use rules::MINIMUM_ROWS;
pub use verdict::{Channel, Class, Column, Finding, Flaw, Format, Rows, Target, Verdict};

/// Files that are taken. More could not be listed in the time there is.
pub const MOST_FILES: usize = 100_000;
/// Errors in a message; all of them are in the verdict.
const ERRORS: usize = 3;
/// Reads that are under way at a time.
const AT_ONCE: usize = 16;

/// The source that files are read from.
pub trait Source {
    /// The error of a read that did not succeed.
    type Error;

    /// Reads a part of a file, which is not empty and lies within it.
    fn read(
        &self,
        file: &File,
        range: Range<u64>,
    ) -> impl Future<Output = Result<Vec<u8>, Self::Error>> + Send;
}

/// A model's data, as it is listed.
#[derive(Debug, Clone, Default)]
pub struct Data {
    /// The place of the training data, for messages.
    pub place: String,
    /// Files of training data.
    pub training: Vec<File>,
    /// The place of the validation data, for messages.
    pub validation_place: String,
    /// Files of validation data; not looked at unless the settings use them.
    pub validation: Vec<File>,
    /// The file whose rows the run predicts in the end.
    pub held_out: Option<File>,
}

/// Judges a model's data.
pub async fn judge<S: Source>(
    source: &S,
    settings: &ModelSettings,
    data: Data,
) -> Result<Verdict, S::Error> {
    if settings.problem == Problem::ImageClassification {
        return Ok(images::judge(&data.place, &data.training));
    }
    let wanted = rules::wanted(settings);
    let mut training = Inspection::of(data.training, wanted);
    look(source, &mut training).await?;
    let mut validation = None;
    if rules::validates_on_channel(settings) {
        let part = validation.insert(Inspection::of(data.validation, wanted));
        look(source, part).await?;
    }
    let mut held_out = None;
    if let Some(file) = data.held_out {
        let wanted = Wanted { unlabelled: true, weight: None, ..wanted };
        let part = held_out.insert(Inspection::of(vec![file], wanted));
        look(source, part).await?;
    }
    let places = Places { training: &data.place, validation: &data.validation_place };
    Ok(rules::judge(settings, &places, Parts { training, validation, held_out }))
}

/// Reads what an inspection asks for until it asks for nothing more. Answers
/// are taken in the order of the questions, so that the same data always gets
/// the same verdict.
async fn look<S: Source>(source: &S, inspection: &mut Inspection<'_>) -> Result<(), S::Error> {
    loop {
        let reads = inspection.reads();
        if reads.is_empty() && inspection.is_done() {
            return Ok(());
        }
        let files = inspection.files().to_vec();
        // Nothing is read before it is its turn.
        let questions: Vec<_> =
            reads.iter().map(|read| source.read(&files[read.file], read.range.clone())).collect();
        let mut answers = stream::iter(questions).buffered(AT_ONCE);
        let mut next = reads.iter();
        while let (Some(bytes), Some(read)) = (answers.next().await, next.next()) {
            inspection.take(read, &bytes?);
        }
    }
}

/// The first errors of a verdict, and how many more there are.
pub fn sentences(verdict: &Verdict) -> String {
    let mut text = String::new();
    for error in verdict.errors.iter().take(ERRORS) {
        let separator = if text.is_empty() { "" } else { "; " };
        let _ = write!(text, "{separator}{error}");
    }
    let more = verdict.errors.len().saturating_sub(ERRORS);
    if more > 0 {
        let _ = write!(text, "; and {more} more");
    }
    text
}

#[cfg(test)]
mod canaries;
#[cfg(test)]
mod cases;
#[cfg(test)]
mod tests;
