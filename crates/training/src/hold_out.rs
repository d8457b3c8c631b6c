//! Sets rows aside before the job is made, so that a model is evaluated on rows that
//! it has not seen where the customer gave no held-out file.
//!
//! **Which rows** follows from their content alone: a row's digest is a number, and the
//! rows with the smallest numbers are set aside. So equal rows fall on one side, a run
//! that is repeated makes the same split, and the next run of a growing data set sets
//! (nearly) the same rows aside: the champion has not learned from what a challenger
//! is compared with it on.
//!
//! **How**: the files are read twice as they come, in bounded memory. The first time
//! counts; what follows is written down once, under the run, with the versions of the
//! files. The second time copies the other rows into the run's folder, where the job
//! reads them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crosspilot_core::bucket::Bucket;
use crosspilot_core::error::CallError;
use crosspilot_core::layout;
use crosspilot_core::run::RunRef;
use crosspilot_core::settings::{DEFAULT_HOLD_OUT, ModelSettings, Problem};
use crosspilot_preflight::{Data, File, Format, MINIMUM_ROWS, Verdict};
use crosspilot_table::stream::Row;
use crosspilot_table::{Words, is_missing, words};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::rows::{MOST_BYTES, Reading, RowsError, digest_of, read_all};

/// Rows that are set aside at most: more make an evaluation no truer.
const MOST_ROWS: u64 = 10_000;
/// Bytes of these at most, which are kept in memory.
const MOST_KEPT: u64 = 32 << 20;
/// Rows below which an evaluation says nothing.
const FEWEST_ROWS: u64 = 50;
/// Rows that a label must have for one of them to be set aside: the others are needed
/// to learn it.
const RARE: u64 = 10;
/// Labels that are counted. What has more is no class.
const MOST_LABELS: usize = 10_000;
/// Files of them.
const MOST_FILES: usize = 1000;
/// Bytes of a file that is written.
const PART: usize = 16 << 20;

/// The plan of a run for held-out rows, decided once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldOutPlan {
    /// The run sets rows aside.
    SetAside(Split),
    /// The run sets none aside, and why, as a sentence; without a word if nobody expects it.
    Keep(Option<String>),
}

/// The rows that are set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// The files that are read, in order, with their entity tags.
    files: Vec<(String, String)>,
    /// Rows with a smaller number are set aside.
    below: u64,
    /// Labels, by their number, no row of which is set aside.
    rare: BTreeSet<u64>,
}

/// Decides what the run does about held-out rows; the first decision stands. Files that
/// were `read` whole for it before are not read again.
pub async fn decide(
    bucket: &Bucket<'_>,
    run: &RunRef,
    settings: &ModelSettings,
    data: &Data,
    verdict: &Verdict,
    read: bool,
) -> Result<HoldOutPlan, RowsError> {
    let key = format!("{}plan.json", layout::rows_prefix(&bucket.tenant.prefix, run));
    let plan = match unfit(settings, data, verdict) {
        Some(why) => HoldOutPlan::Keep(why),
        None if read => return Ok(bucket.read_json(&key).await?),
        None => survey(bucket, settings, data).await?,
    };
    Ok(bucket.write_json_once(&key, plan).await?)
}

/// Says why the run sets nothing aside, as far as the data need not be read for it.
fn unfit(settings: &ModelSettings, data: &Data, verdict: &Verdict) -> Option<Option<String>> {
    let share = share(settings);
    let bytes: u64 = data.training.iter().map(|file| file.size).sum();
    if settings.problem != Problem::Tabular || data.held_out.is_some() || share == 0.0 {
        Some(None)
    } else if verdict.format != Some(Format::Csv) {
        Some(Some("no rows are set aside of Parquet files".to_owned()))
    } else if bytes > MOST_BYTES || data.training.len() > MOST_FILES {
        Some(Some(too_large()))
    } else {
        None
    }
}

fn too_large() -> String {
    format!("no rows are set aside of more than {} MB or {MOST_FILES} files", MOST_BYTES >> 20)
}

fn share(settings: &ModelSettings) -> f64 {
    match settings.problem {
        Problem::Tabular => settings.training.hold_out.unwrap_or(DEFAULT_HOLD_OUT),
        _ => 0.0,
    }
}

async fn survey(
    bucket: &Bucket<'_>,
    settings: &ModelSettings,
    data: &Data,
) -> Result<HoldOutPlan, RowsError> {
    let mut survey = Survey::new(share(settings));
    let mut columns = None;
    let count = |row: Row<'_>, is_header: bool| match &columns {
        Some(columns) if !is_header => survey.count(row, columns),
        _ => columns = Some(Columns::of(row, &settings.target)),
    };
    if !read_all(bucket, &data.training, count).await? {
        return Ok(HoldOutPlan::Keep(Some(too_large())));
    }
    Ok(match survey.end() {
        Some((below, rare)) => {
            let file = |file: &File| (file.key.clone(), file.etag.clone());
            HoldOutPlan::SetAside(Split {
                files: data.training.iter().map(file).collect(),
                below,
                rare,
            })
        }
        None => HoldOutPlan::Keep(Some(format!(
            "no rows are set aside of so few: {MINIMUM_ROWS} are needed to train on and {FEWEST_ROWS} to evaluate on"
        ))),
    })
}

/// Copies the rows to train on, and then those that are set aside, into the run's
/// folder, with the words that these columns hold in the rows to train on. Done again,
/// it writes the same. Gives how many were set aside.
pub async fn copy(
    bucket: &Bucket<'_>,
    run: &RunRef,
    settings: &ModelSettings,
    split: &Split,
    categories: &BTreeSet<String>,
) -> Result<u64, RowsError> {
    let prefix = &bucket.tenant.prefix;
    let training = layout::split_training_prefix(prefix, run);
    let mut divider = Divider::new(split, categories);
    for (key, etag) in &split.files {
        let mut reading = Reading::open(bucket, key, etag).await?;
        divider.begin_file();
        let mut goes_on = true;
        while goes_on {
            goes_on = reading.more(&mut |row| divider.take(row, &settings.target)).await?;
            divider.check(&reading.file)?;
            write_parts(bucket, &training, &mut divider).await?;
        }
    }
    divider.close_part();
    write_parts(bucket, &training, &mut divider).await?;
    let set_aside = divider.set_aside;
    let words = divider.take_words();
    bucket.write_json(&layout::words_key(prefix, run), &words).await?;
    let source = bucket.uri(&layout::train_prefix(prefix, &run.model));
    let key = layout::held_out_key(prefix, run);
    bucket.keep_held_out(&key, &source, false, divider.into_held_out()).await?;
    Ok(set_aside)
}

async fn write_parts(
    bucket: &Bucket<'_>,
    prefix: &str,
    divider: &mut Divider<'_>,
) -> Result<(), CallError> {
    for (number, text) in divider.take_parts() {
        let key = format!("{prefix}part-{number:05}.csv");
        bucket.write(&key, "text/csv; charset=utf-8", text).await?;
    }
    Ok(())
}

/// The place of a row among all rows that could be: a number that equal rows share.
fn number_of_row(row: Row<'_>) -> u64 {
    number(digest_of(row.cells()).as_ref())
}

fn number_of_label(label: &[u8]) -> u64 {
    number(&Sha256::digest(label))
}

fn number(digest: &[u8]) -> u64 {
    digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The columns of a file's header, as far as they have to be known.
struct Columns {
    count: usize,
    target: Option<usize>,
}

impl Columns {
    fn of(header: Row<'_>, target: &str) -> Self {
        let target = header.cells().position(|name| name == target.as_bytes());
        Self { count: header.len(), target }
    }

    /// The label of a row that can be evaluated on: whole, and with a label.
    fn label<'a>(&self, row: Row<'a>) -> Option<&'a [u8]> {
        let label = row.get(self.target?)?;
        (row.len() == self.count && !is_missing(label)).then_some(label)
    }
}

/// The first look at the rows.
struct Survey {
    /// Rows with a smaller number may be set aside.
    below: u64,
    /// Rows that may be set aside, by their number: how many, and their bytes.
    aside: BTreeMap<u64, (u64, u64)>,
    aside_rows: u64,
    aside_bytes: u64,
    /// Rows that can be learned from.
    labelled: u64,
    labels: Option<HashMap<u64, u64>>,
}

impl Survey {
    fn new(share: f64) -> Self {
        Self {
            below: (share * u64::MAX as f64) as u64,
            aside: BTreeMap::new(),
            aside_rows: 0,
            aside_bytes: 0,
            labelled: 0,
            labels: Some(HashMap::new()),
        }
    }

    fn count(&mut self, row: Row<'_>, columns: &Columns) {
        let Some(label) = columns.label(row) else { return };
        self.labelled += 1;
        if let Some(labels) = &mut self.labels {
            *labels.entry(number_of_label(label)).or_default() += 1;
            if labels.len() > MOST_LABELS {
                self.labels = None;
            }
        }
        let number = number_of_row(row);
        if number < self.below {
            let bytes = (row.bytes() + 3 * row.len()) as u64;
            let (rows, all) = self.aside.entry(number).or_default();
            (*rows, *all) = (*rows + 1, *all + bytes);
            self.aside_rows += 1;
            self.aside_bytes += bytes;
            while self.aside_rows > MOST_ROWS || self.aside_bytes > MOST_KEPT {
                self.give_back();
            }
        }
    }

    /// Leaves the rows with the largest number to be trained on.
    fn give_back(&mut self) {
        if let Some((number, (rows, bytes))) = self.aside.pop_last() {
            self.below = number;
            self.aside_rows -= rows;
            self.aside_bytes -= bytes;
        }
    }

    /// The number that rows must have less than to be set aside, and the labels that
    /// have too few; nothing if there are too few rows.
    fn end(mut self) -> Option<(u64, BTreeSet<u64>)> {
        while self.aside_rows > 0 && self.labelled - self.aside_rows < MINIMUM_ROWS {
            self.give_back();
        }
        let rare = self.labels.unwrap_or_default().into_iter();
        let rare = rare.filter(|(_, rows)| *rows < RARE).map(|(label, _)| label);
        (self.aside_rows >= FEWEST_ROWS).then(|| (self.below, rare.collect()))
    }
}

/// The second look, which writes the rows down.
struct Divider<'a> {
    split: &'a Split,
    categories: &'a BTreeSet<String>,
    header: Option<Vec<Vec<u8>>>,
    columns: Option<Columns>,
    /// The file's header is not the first file's.
    differs: bool,
    part: csv::Writer<Vec<u8>>,
    number: usize,
    done: Vec<(usize, Vec<u8>)>,
    held_out: csv::Writer<Vec<u8>>,
    set_aside: u64,
    /// Positions of the categories.
    positions: Vec<usize>,
    words: words::Gathered,
}

impl<'a> Divider<'a> {
    fn new(split: &'a Split, categories: &'a BTreeSet<String>) -> Self {
        Self {
            split,
            categories,
            header: None,
            columns: None,
            differs: false,
            part: writer(),
            number: 0,
            done: Vec::new(),
            held_out: writer(),
            set_aside: 0,
            positions: Vec::new(),
            words: words::Gathered::default(),
        }
    }

    fn begin_file(&mut self) {
        self.columns = None;
    }

    fn take(&mut self, row: Row<'_>, target: &str) {
        let Some(columns) = &self.columns else {
            self.columns = Some(Columns::of(row, target));
            let names = || row.cells().map(<[u8]>::to_vec).collect();
            match &self.header {
                None => {
                    self.header = Some(names());
                    let names = row.cells().map(String::from_utf8_lossy).enumerate();
                    let names = names.filter(|(_, name)| self.categories.contains(&**name));
                    self.positions = names.map(|(position, _)| position).collect();
                    write(&mut self.part, row.cells());
                    write(&mut self.held_out, row.cells());
                }
                Some(header) => self.differs |= *header != names(),
            }
            return;
        };
        let is_aside = |label: &[u8]| {
            number_of_row(row) < self.split.below
                && !self.split.rare.contains(&number_of_label(label))
        };
        if columns.label(row).is_some_and(is_aside) {
            write(&mut self.held_out, row.cells());
            self.set_aside += 1;
            return;
        }
        for &position in &self.positions {
            if let Some(cell) = row.get(position) {
                self.words.observe(position, cell);
            }
        }
        write(&mut self.part, row.cells());
        if self.part.get_ref().len() >= PART {
            self.close_part();
            if let Some(header) = &self.header {
                write(&mut self.part, header.iter().map(Vec::as_slice));
            }
        }
    }

    fn check(&self, file: &str) -> Result<(), RowsError> {
        if !self.differs {
            return Ok(());
        }
        let what = "has another header than the first file".to_owned();
        Err(RowsError::File { file: file.to_owned(), what })
    }

    fn close_part(&mut self) {
        let part = std::mem::replace(&mut self.part, writer());
        self.done.push((self.number, text(part)));
        self.number += 1;
    }

    fn take_parts(&mut self) -> Vec<(usize, Vec<u8>)> {
        std::mem::take(&mut self.done)
    }

    /// The words of the categories in the rows to train on.
    fn take_words(&mut self) -> Words {
        let names: Vec<String> = self
            .header
            .iter()
            .flatten()
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect();
        std::mem::take(&mut self.words).named(names.iter().map(String::as_str)).of(self.categories)
    }

    fn into_held_out(self) -> Vec<u8> {
        text(self.held_out)
    }
}

fn writer() -> csv::Writer<Vec<u8>> {
    csv::WriterBuilder::new().flexible(true).from_writer(Vec::new())
}

/// Writes into memory, which does not fail.
fn write<'c>(writer: &mut csv::Writer<Vec<u8>>, cells: impl Iterator<Item = &'c [u8]>) {
    let _ = writer.write_record(cells);
}

fn text(writer: csv::Writer<Vec<u8>>) -> Vec<u8> {
    writer.into_inner().unwrap_or_default()
}

#[cfg(test)]
mod tests;
