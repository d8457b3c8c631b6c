//! The findings of the preflight: errors that stop a run, warnings that do not, and what the
//! data looks like.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crosspilot_table::{Booleans, Kind, Words};
use serde::{Deserialize, Serialize};

/// Findings that a verdict lists of each severity; a thousand broken files need
/// no thousand sentences.
const LISTED: usize = 100;
/// Characters of a name that a message shows.
const SHOWN: usize = 80;

/// The preflight's answer. It is stored beside the run's results.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Errors: findings that stop training until the data or the settings change.
    pub errors: Vec<Finding>,
    /// Warnings: findings that should be looked at; training goes on.
    pub warnings: Vec<Finding>,
    /// Findings beyond the hundred that are listed of each.
    pub unlisted: usize,
    /// The format of the files; unknown if no file could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// The data that is trained on.
    pub training: Channel,
    /// The data that candidates are validated on, if the model has any for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<Channel>,
    /// The columns in order, with the target.
    pub columns: Vec<Column>,
    /// The column to be predicted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Cells of a row, one for each column, that a model can be asked about first:
    /// a row of the data, or each column's smallest value. It is data: it stays in
    /// the customer's bucket, and is no part of the answer.
    #[serde(skip)]
    pub row: Option<Vec<String>>,
    /// The words of the columns, if all rows were read. They are data, too.
    #[serde(skip)]
    pub words: Option<Words>,
}

impl Verdict {
    /// Tells whether training may go on.
    pub fn is_fit(&self) -> bool {
        self.errors.is_empty()
    }

    /// Adds a warning about the data as a whole.
    pub fn warn(&mut self, code: Flaw, message: String) {
        self.warnings.push(Finding::new(code, message));
    }

    /// The columns that say true and false, with the way in which they write it.
    pub fn booleans(&self, target: &str) -> BTreeMap<String, Booleans> {
        let features = self.columns.iter().filter(|column| column.name != target);
        features.filter_map(|column| Some((column.name.clone(), column.booleans?))).collect()
    }

    /// The columns that hold numbers.
    pub fn numeric(&self, target: &str) -> BTreeSet<String> {
        self.features_of(Kind::Numeric, target)
    }

    /// The columns besides the target that hold words of a limited set.
    pub fn categories(&self, target: &str) -> BTreeSet<String> {
        self.features_of(Kind::Categorical, target)
    }

    fn features_of(&self, kind: Kind, target: &str) -> BTreeSet<String> {
        let features = self.columns.iter().filter(|column| column.name != target);
        let of_kind = features.filter(|column| column.kind == Some(kind));
        of_kind.map(|column| column.name.clone()).collect()
    }

    /// The row that the model is asked about first, as CSV with its header and
    /// without the target.
    pub fn first_record(&self, target: &str) -> Option<Vec<u8>> {
        let row = self.row.as_ref()?;
        let kept = self.columns.iter().zip(row).filter(|(column, _)| column.name != target);
        let (names, cells): (Vec<&str>, Vec<&str>) =
            kept.map(|(column, cell)| (column.name.as_str(), cell.as_str())).unzip();
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(names).ok()?;
        writer.write_record(cells).ok()?;
        writer.into_inner().ok()
    }

    /// Names of the columns in order, without the target: what a record of a
    /// prediction consists of.
    pub fn features(&self, target: &str) -> Vec<String> {
        let names = self.columns.iter().map(|column| &column.name);
        names.filter(|name| *name != target).cloned().collect()
    }
}

/// The files of one channel, together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    /// The number of files.
    pub files: usize,
    /// The size of all files, in bytes.
    pub bytes: u64,
    /// `true` if the files are compressed with gzip.
    pub gzip: bool,
    /// The rows of all files; unknown if they could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<Rows>,
}

/// The format of a data set's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Comma-separated text with a header.
    Csv,
    /// Apache Parquet.
    Parquet,
    /// Pictures in one folder for each class.
    Images,
}

impl Format {
    /// `Content-Type` of a channel of such files (API reference, `AutoMLJobChannel`).
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Csv => "text/csv;header=present",
            Format::Parquet => "x-application/vnd.amazon+parquet",
            Format::Images => "image/png",
        }
    }

    /// The format of a channel with this `Content-Type`.
    pub fn of_content_type(content_type: &str) -> Option<Self> {
        let all = [Format::Csv, Format::Parquet, Format::Images];
        all.into_iter().find(|format| format.content_type() == content_type)
    }
}

/// The number of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rows {
    /// Rows of all files.
    pub count: u64,
    /// `true` if they were counted; otherwise it is an estimate from the sample.
    pub exact: bool,
    /// Rows whose cells were looked at.
    pub sampled: u64,
}

/// A column of the sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// The column's name.
    pub name: String,
    /// The kind of values that it seems to hold; nothing if it is empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// Cells without a value; unknown if a Parquet file does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<u64>,
    /// Different values, an estimate from about 500 on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distinct: Option<u64>,
    /// The spelling of true and false in it, if that is all it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub booleans: Option<Booleans>,
}

/// The column to be predicted, in the sample.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Rows that have a value to learn from.
    pub usable: u64,
    /// The most frequent values; none if it is a measure and not a class.
    pub classes: Vec<Class>,
}

/// A value of the target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Class {
    /// The value exactly as in the file, cut after 80 characters.
    pub label: String,
    /// Rows of the sample that have it.
    pub rows: u64,
}

/// A thing that is wrong or strange.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The kind of flaw; stable.
    pub code: Flaw,
    /// The column that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// The file it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The sentence: what, where, and what to do next.
    pub message: String,
}

impl Finding {
    pub(super) fn new(code: Flaw, message: impl Into<String>) -> Self {
        Self { code, column: None, file: None, message: message.into() }
    }

    /// About a file. Its message begins with the file's name.
    pub(super) fn in_file(file: &str, code: Flaw, message: impl fmt::Display) -> Self {
        Self { file: Some(cut(file)), ..Self::new(code, format!("{} {message}", cut_path(file))) }
    }

    /// About a column. Its message begins with the column's name.
    pub(super) fn of_column(column: &str, code: Flaw, message: impl fmt::Display) -> Self {
        Self {
            column: Some(cut(column)),
            ..Self::new(code, format!("column {} {message}", quoted(column)))
        }
    }

    pub(super) fn column(self, column: &str) -> Self {
        Self { column: Some(cut(column)), ..self }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The stable name of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Flaw {
    /// There are no files.
    NoFiles,
    /// A file has no bytes.
    EmptyFile,
    /// A file lies in an archive and cannot be read now.
    Archived,
    /// A file that a computer left there and that SageMaker would read as data.
    StrayFile,
    /// A file of another format altogether, such as a workbook.
    NotATable,
    /// Files of several formats, or compressed and plain ones, together.
    MixedFormats,
    /// Text in UTF-16 or UTF-32.
    WideText,
    /// Text in another encoding than UTF-8.
    NotUtf8,
    /// A mark at the beginning that may end up in the first column's name.
    ByteOrderMark,
    /// NUL bytes in text.
    BinaryData,
    /// Lines that end as on old Macintosh computers.
    CarriageReturns,
    /// Another separator than the comma.
    WrongSeparator,
    /// A file of one column only.
    OneColumn,
    /// A quote that is never closed.
    OpenQuote,
    /// A row with more or fewer fields than the header.
    RaggedRow,
    /// A gzip file that breaks off or is damaged.
    BrokenGzip,
    /// A Parquet file whose footer cannot be read.
    BrokenParquet,
    /// A Parquet file with columns inside columns.
    NestedColumns,
    /// The first line is data, not names.
    NoHeader,
    /// The header is longer than what is read of a file.
    LongHeader,
    /// The header comes again among the rows.
    RepeatedHeader,
    /// A column without a name.
    UnnamedColumn,
    /// Two columns of one name.
    DuplicateColumn,
    /// More columns than are checked.
    TooManyColumns,
    /// Files with different headers.
    HeadersDiffer,
    /// The column to predict is not there.
    NoTarget,
    /// A column that the settings name is not there.
    UnknownColumn,
    /// A column that the settings use in two ways.
    ColumnTwice,
    /// A column holds something else than the settings say.
    OtherKind,
    /// Weights that are no numbers, negative or missing.
    BadWeights,
    /// Too little to learn from.
    TooFewRows,
    /// The number of rows is uncertain and might be too small.
    RowsUncertain,
    /// Rows without a target.
    MissingTargets,
    /// A target with nothing to tell apart.
    OneClass,
    /// Classes with very few rows.
    RareClasses,
    /// A class that has nearly all rows.
    Imbalance,
    /// More classes than anybody would want to tell apart.
    ManyClasses,
    /// The target holds many numbers, and words.
    MixedTarget,
    /// The target names rows instead of grouping them.
    TargetIsIdentifier,
    /// The settings' problem type does not fit the target.
    ObjectiveContradicts,
    /// A column without any value.
    EmptyColumn,
    /// A column with one value only.
    ConstantColumn,
    /// A column with another value in every row.
    UniqueColumn,
    /// A column that gives the answer away.
    LeakyColumn,
    /// Two columns that are equal in every row.
    EqualColumns,
    /// No column that anything can be learned from.
    NothingToLearn,
    /// Labels that differ only in blanks or case.
    SimilarLabels,
    /// Labels of other data that the training data does not have.
    UnknownLabels,
    /// Values of a held-out column that the training data does not have.
    UnknownValues,
    /// Rows that stand there more than once.
    RepeatedRows,
    /// Held-out rows that the model learns from, too.
    HeldOutInTraining,
    /// Numbers with a few words in between.
    MixedColumn,
    /// Values that people mean as missing and pandas does not read so.
    LooksMissing,
    /// Numbers with signs or separators, which are read as words.
    DressedNumbers,
    /// Values of several lines, which a model is asked about in one.
    LineBreaks,
    /// Cells of extraordinary length.
    LongCells,
    /// More data than SageMaker takes.
    TooLarge,
    /// More data than SageMaker uses.
    Subsampled,
    /// Not all files were looked into.
    NotAllFiles,
    /// The data that candidates are validated on is not there.
    NoValidation,
    /// The held-out file cannot be scored.
    HeldOutUnfit,
    /// The held-out file has no labels.
    HeldOutUnlabelled,
    /// There is no held-out file, and no rows are set aside for one.
    NothingSetAside,
}

/// Findings as they come in, in order and bounded.
#[derive(Debug, Default)]
pub(super) struct Findings {
    errors: Vec<Finding>,
    warnings: Vec<Finding>,
    unlisted: usize,
}

impl Findings {
    pub(super) fn error(&mut self, finding: Finding) {
        Self::push(&mut self.errors, &mut self.unlisted, finding);
    }

    pub(super) fn warn(&mut self, finding: Finding) {
        Self::push(&mut self.warnings, &mut self.unlisted, finding);
    }

    fn push(list: &mut Vec<Finding>, unlisted: &mut usize, finding: Finding) {
        if list.len() < LISTED {
            list.push(finding);
        } else {
            *unlisted += 1;
        }
    }

    pub(super) fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    pub(super) fn add(&mut self, other: Findings) {
        other.errors.into_iter().for_each(|finding| self.error(finding));
        other.warnings.into_iter().for_each(|finding| self.warn(finding));
        self.unlisted += other.unlisted;
    }

    pub(super) fn into_verdict(self) -> Verdict {
        let Findings { errors, warnings, unlisted } = self;
        Verdict { errors, warnings, unlisted, ..Verdict::default() }
    }
}

/// A name for a message: in quotes and not endless.
pub(super) fn quoted(name: &str) -> String {
    format!("{:?}", cut(name))
}

/// Names for a message, at most twenty.
pub(super) fn listed<S: AsRef<str>>(names: &[S]) -> String {
    let mut text =
        names.iter().take(20).map(|name| quoted(name.as_ref())).collect::<Vec<_>>().join(", ");
    if names.len() > 20 {
        text.push_str(&format!(" and {} more", names.len() - 20));
    }
    text
}

/// A number with separators between thousands, for people.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub(super) fn cut(name: &str) -> String {
    match name.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}

/// Addresses of files are told in full as far as anybody reads: S3's keys have
/// at most 1024 bytes.
fn cut_path(name: &str) -> String {
    match name.char_indices().nth(300) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_lists_a_hundred_findings_and_counts_the_rest() {
        let mut findings = Findings::default();
        for number in 0..150 {
            findings.error(Finding::new(Flaw::EmptyFile, number.to_string()));
        }
        let verdict = findings.into_verdict();
        assert_eq!((verdict.errors.len(), verdict.unlisted), (100, 50));
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let shown: Vec<String> = [0, 999, 1000, 1_234_567].into_iter().map(grouped).collect();
        assert_eq!(shown, ["0", "999", "1,000", "1,234,567"]);
    }
}
