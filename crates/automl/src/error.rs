//! The errors, in words that a person can act on.

use crosspilot_metrics::{Metric, ProblemType};
use thiserror::Error;

/// The reason why a table could not be read or put together.
#[derive(Debug, Error)]
pub enum TableError {
    /// The input has no bytes, or only blank lines.
    #[error("the file is empty; give a CSV file with one record a line")]
    Empty,
    /// A header was announced, but the first line looks like none.
    #[error("the header has an empty name in column {column} (from 1); name every column")]
    UnnamedColumn {
        /// Position of the column, counted from 1.
        column: usize,
    },
    /// Two columns have one name.
    #[error("the header names two columns `{name}`; give every column its own name")]
    DuplicateColumn {
        /// The name that occurs twice.
        name: String,
    },
    /// A record is longer or shorter than the first line.
    #[error(
        "line {line} has {got} fields where {expected} are expected; quote fields that contain commas"
    )]
    Ragged {
        /// Line number in the file, counted from 1.
        line: u64,
        /// Number of fields on that line.
        got: usize,
        /// Number of fields on the first line.
        expected: usize,
    },
    /// A record is the header again.
    #[error(
        "line {line} repeats the header; remove it (files that were joined keep one header only)"
    )]
    RepeatedHeader {
        /// Line number in the file, counted from 1.
        line: u64,
    },
    /// A record is not UTF-8.
    #[error("line {line} is not UTF-8 text; save the file as UTF-8")]
    NotUtf8 {
        /// Line number in the file, counted from 1.
        line: u64,
    },
    /// Another file's columns differ.
    #[error(
        "the columns differ: column {column} (from 1) is `{got}` where `{expected}` is expected; give all files the same header"
    )]
    HeaderMismatch {
        /// Position of the first column that differs, counted from 1.
        column: usize,
        /// The column's name in the file that was added; empty when the file has fewer columns.
        got: String,
        /// The column's name in the table; empty when the table has fewer columns.
        expected: String,
    },
    /// There is no column of that name.
    #[error("there is no column `{name}`{}", suggestion(.near))]
    NoSuchColumn {
        /// The name that was asked for.
        name: String,
        /// Names in the table that look like it.
        near: Vec<String>,
    },
    /// One column holds more text than fits.
    #[error("column `{name}` holds more than 4 GiB of text; train on a sample of the rows")]
    TooLarge {
        /// The column's name.
        name: String,
    },
    /// The bytes could not be read.
    #[error("the file could not be read: {0}")]
    Io(#[from] std::io::Error),
}

/// The reason why nothing could be trained.
#[derive(Debug, Error)]
pub enum TrainError {
    /// The target column does not exist.
    #[error("there is no target column `{name}`{}", suggestion(.near))]
    NoTarget {
        /// The name that was asked for.
        name: String,
        /// Columns with a name like it.
        near: Vec<String>,
    },
    /// The weight column does not exist or is the target.
    #[error("`{name}` cannot be the sample weight column: {reason}")]
    Weight {
        /// The column's name.
        name: String,
        /// The fault of the column.
        reason: String,
    },
    /// Too few rows have a target.
    #[error(
        "{rows} rows have a value in `{target}`, but at least {minimum} are needed; add more data"
    )]
    TooFewRows {
        /// The target column.
        target: String,
        /// Rows whose target is present (and a number, for regression).
        rows: usize,
        /// Rows needed.
        minimum: usize,
    },
    /// Every row has one and the same label.
    #[error("every row has the same value in `{target}`; there is nothing to learn")]
    OneClass {
        /// The target column.
        target: String,
    },
    /// The target fits no problem type.
    #[error(
        "cannot tell what to predict: `{target}` has {distinct} different texts in {rows} rows; {hint}"
    )]
    CannotInfer {
        /// The target column.
        target: String,
        /// Number of different values.
        distinct: usize,
        /// Number of rows with a value.
        rows: usize,
        /// The next thing to do.
        hint: &'static str,
    },
    /// The target does not fit the problem type that was asked for.
    #[error("`{target}` does not fit {problem}: {reason}")]
    WrongProblem {
        /// The target column.
        target: String,
        /// The problem type that was asked for.
        problem: ProblemType,
        /// The values that do not fit.
        reason: String,
    },
    /// The metric is no objective of the problem type.
    #[error("{metric} is no objective for {problem}; use one of {}", names(.problem))]
    WrongMetric {
        /// The metric that was asked for.
        metric: Metric,
        /// The problem type, given or inferred.
        problem: ProblemType,
    },
    /// No column is left to learn from.
    #[error(
        "no column besides `{target}` can be learned from: all are constant, empty or identifiers"
    )]
    NoFeatures {
        /// The target column.
        target: String,
    },
    /// The validation table does not fit the training table.
    #[error("the validation data does not fit the training data: {0}")]
    Validation(#[source] TableError),
    /// The validation table has no usable row.
    #[error("no row of the validation data has a known value in `{target}`; check that column")]
    EmptyValidation {
        /// The target column.
        target: String,
    },
    /// A setting is out of its range.
    #[error("{name} is {value}; {hint}")]
    Setting {
        /// The setting's name.
        name: &'static str,
        /// The setting's value.
        value: String,
        /// The values that it may have.
        hint: &'static str,
    },
}

/// The reason why a model could not be read or could not predict.
#[derive(Debug, Error)]
pub enum ModelError {
    /// The bytes are no model.
    #[error("this is not a Crosspilot model; give the file that training wrote")]
    NotAModel,
    /// The model comes from another version.
    #[error(
        "the model has format {got}, this program reads format {expected}; train again or use the other version"
    )]
    Version {
        /// The model's format.
        got: u16,
        /// The format that is understood.
        expected: u16,
    },
    /// The model's bytes are damaged.
    #[error("the model is damaged ({0}); copy it again from where it was trained")]
    Damaged(String),
    /// The records have the wrong number of columns.
    #[error(
        "the records have {got} columns where the model expects {expected}; send the training columns in their order, without the target and without a header"
    )]
    Columns {
        /// Columns in the records.
        got: usize,
        /// Columns in training, the target excluded.
        expected: usize,
    },
}

fn names(problem: &ProblemType) -> String {
    problem.objectives().iter().map(|metric| metric.as_str()).collect::<Vec<_>>().join(", ")
}

fn suggestion(names: &[String]) -> String {
    if names.is_empty() {
        return "; names must match exactly".to_owned();
    }
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    format!("; did you mean {}?", quoted.join(" or "))
}
