//! The rules of Autopilot, and of good sense: from what was seen to a verdict.

use crosspilot_core::settings::{FeatureType, ModelSettings, Objective, Problem, Validation};
use crosspilot_table::{Kind, Words};

use super::MOST_FILES;
use super::column::{ENOUGH, Seen};
use super::compare;
use super::inspection::{Inspection, Wanted};
use super::readings::readings;
use super::table::Table;
use super::verdict::{Column, Finding, Findings, Flaw, Rows, Verdict, grouped, quoted};

/// Rows below which Autopilot refuses a training set (API reference,
/// `AutoMLJobInputDataConfig`).
pub const MINIMUM_ROWS: u64 = 500;

const GB: u64 = 1_000_000_000;
/// Limits of data (Autopilot quotas; API reference, `AutoMLJobChannel`).
const LARGEST_TABLE: u64 = 100 * GB;
const LARGEST_SERIES: u64 = 30 * GB;
const LARGEST_PARQUET_FILE: u64 = 2 * GB;
/// Size from which Autopilot takes a sample (Autopilot quotas).
const SUBSAMPLED: u64 = 5 * GB;
/// Characters that hardly any real cell has.
const LONG_CELL: usize = 32_767;

/// The parts of a data set, looked into.
pub(super) struct Parts<'a> {
    pub(super) training: Inspection<'a>,
    pub(super) validation: Option<Inspection<'a>>,
    pub(super) held_out: Option<Inspection<'a>>,
}

/// The columns that a model's settings need.
pub(super) fn wanted(settings: &ModelSettings) -> Wanted<'_> {
    Wanted {
        target: Some(settings.target.as_str()),
        weight: settings.training.sample_weight.as_deref(),
        unlabelled: false,
    }
}

/// The places of the parts, for messages.
pub(super) struct Places<'a> {
    pub(super) training: &'a str,
    pub(super) validation: &'a str,
}

pub(super) fn judge(settings: &ModelSettings, places: &Places<'_>, parts: Parts<'_>) -> Verdict {
    let Parts { mut training, validation, held_out } = parts;
    training.finish();
    let names = training.names();
    let mut findings = std::mem::take(&mut training.findings);
    if training.files().is_empty() && !findings.has_errors() {
        findings.error(Finding::new(
            Flaw::NoFiles,
            format!(
                "there is no training data under {}: upload a CSV file with a header there",
                places.training
            ),
        ));
    }
    if training.files().len() > MOST_FILES {
        findings.error(Finding::new(
            Flaw::TooLarge,
            format!(
                "there are more than {} files under {}: join them into fewer, larger ones",
                grouped(MOST_FILES as u64),
                places.training
            ),
        ));
    }
    sizes(settings, &training, &mut findings);
    let channel = training.channel();
    if let Some(names) = &names {
        named_columns(settings, names, training.first_file().unwrap_or_default(), &mut findings);
    }
    let readable = !findings.has_errors();
    if let (Some(rows), true) = (channel.rows, readable) {
        enough_rows(settings, &training, rows, &mut findings);
    }
    if let (Some(table), true) = (&training.table, readable) {
        table_columns(settings, table, training.is_exact(), &mut findings);
    }
    if let (Some(columns), true) = (&training.parquet, readable) {
        for column in columns {
            parquet_column(settings, column, channel.rows, &mut findings);
        }
    }
    let first = training.first_file().map(str::to_owned);
    let reference = first.as_deref().zip(names.as_deref());
    let validation = validation.map(|mut part| {
        part.finish();
        let channel = part.channel();
        compare::validation(settings, places.validation, &training, reference, part, &mut findings);
        channel
    });
    if let (Some(part), Some((_, names))) = (held_out, reference) {
        compare::held_out(settings, &training, names, part, &mut findings);
    }
    Verdict {
        format: training.format(),
        training: channel,
        validation,
        columns: columns(&training),
        row: row(&training),
        words: words(&mut training),
        target: training
            .table
            .as_ref()
            .filter(|table| table.target.is_some())
            .map(|table| table.labels.summary(settings.objective.as_ref())),
        ..findings.into_verdict()
    }
}

fn sizes(settings: &ModelSettings, training: &Inspection<'_>, findings: &mut Findings) {
    let bytes = training.bytes();
    let series = matches!(settings.problem, Problem::TimeSeriesForecasting { .. });
    let largest = if series { LARGEST_SERIES } else { LARGEST_TABLE };
    let gb = |bytes: u64| format!("{:.1} GB", bytes as f64 / GB as f64);
    if bytes > largest {
        let message = format!(
            "the training data has {}, and SageMaker Autopilot takes {}: leave out what matters least",
            gb(bytes),
            gb(largest)
        );
        findings.error(Finding::new(Flaw::TooLarge, message));
    } else if bytes > SUBSAMPLED {
        let message = format!(
            "the training data has {}, and SageMaker Autopilot draws a sample of about {} from it: choose what it should learn from if that matters",
            gb(bytes),
            gb(SUBSAMPLED)
        );
        findings.warn(Finding::new(Flaw::Subsampled, message));
    }
    if training.parquet.is_some() {
        for file in training.files().iter().filter(|file| file.size > LARGEST_PARQUET_FILE) {
            let message = format!(
                "has {}, and SageMaker Autopilot takes Parquet files of {}: write several",
                gb(file.size),
                gb(LARGEST_PARQUET_FILE)
            );
            findings.error(Finding::in_file(&file.name, Flaw::TooLarge, message));
        }
    }
}

/// The columns that the settings name, and what they are named for.
fn columns_in_use(settings: &ModelSettings) -> Vec<(&str, &'static str)> {
    let mut used = Vec::new();
    match &settings.problem {
        Problem::Tabular | Problem::ImageClassification => {}
        Problem::TimeSeriesForecasting {
            item_column, timestamp_column, grouping_columns, ..
        } => {
            used.push((item_column.as_str(), "the item column"));
            used.push((timestamp_column, "the timestamp column"));
            used.extend(grouping_columns.iter().map(|name| (name.as_str(), "a grouping column")));
        }
        Problem::TextClassification { content_column } => {
            used.push((content_column, "the column with the text"));
        }
    }
    let training = &settings.training;
    used.extend(training.sample_weight.as_deref().map(|name| (name, "the sample weight")));
    used.extend(training.features.keys().map(|name| (name.as_str(), "a feature")));
    let typed = training.feature_types.keys();
    used.extend(typed.map(|name| (name.as_str(), "a column with a type of its own")));
    used
}

fn named_columns(settings: &ModelSettings, names: &[String], file: &str, findings: &mut Findings) {
    for (name, what) in columns_in_use(settings) {
        if !names.iter().any(|known| known == name) {
            let message = format!(
                "is set as {what}, but {file} has no such column: correct the model's settings or the data"
            );
            findings.error(Finding::of_column(name, Flaw::UnknownColumn, message));
        } else if name == settings.target {
            let message =
                format!("is set as {what}, and it is the target: correct the model's settings");
            findings.error(Finding::of_column(name, Flaw::ColumnTwice, message));
        }
    }
}

fn enough_rows(
    settings: &ModelSettings,
    training: &Inspection<'_>,
    rows: Rows,
    findings: &mut Findings,
) {
    let target = &settings.target;
    let usable = match &training.table {
        // The weights are told of by themselves.
        Some(table) if table.rows > 0 && table.bad_weights == table.rows => return,
        Some(table) => training.estimate(table.usable),
        None => {
            let column = training.parquet.iter().flatten().find(|column| column.name == *target);
            rows.count
                - column.and_then(|column| column.missing).unwrap_or_default().min(rows.count)
        }
    };
    let file = match training.files() {
        [only] => only.name.as_str(),
        _ => "the training data",
    };
    let what = match &settings.training.sample_weight {
        Some(weight) => format!("{} and a weight in {}", quoted(target), quoted(weight)),
        None => quoted(target),
    };
    // An estimate may be off by as much as rows differ in length.
    if rows.exact && usable < MINIMUM_ROWS || usable * 2 < MINIMUM_ROWS {
        let about = if rows.exact { "" } else { "about " };
        let message = format!(
            "{file} has {about}{usable} rows with a value in {what}; SageMaker Autopilot needs at least {MINIMUM_ROWS}: give more"
        );
        findings.error(Finding::new(Flaw::TooFewRows, message));
    } else if !rows.exact && usable < 2 * MINIMUM_ROWS {
        let message = format!(
            "{file} has about {usable} rows with a value in {what} by an estimate; SageMaker Autopilot needs at least {MINIMUM_ROWS}: make sure there are enough"
        );
        findings.warn(Finding::new(Flaw::RowsUncertain, message));
    }
}

fn table_columns(settings: &ModelSettings, table: &Table, exact: bool, findings: &mut Findings) {
    let tabular = settings.problem == Problem::Tabular;
    let forecast = Objective { problem_type: "Regression".into(), metric: "forecasting".into() };
    let objective = match &settings.problem {
        Problem::TimeSeriesForecasting { .. } => Some(&forecast),
        _ => settings.objective.as_ref(),
    };
    if table.target.is_some() {
        table.labels.judge(&settings.target, objective, exact, findings);
        readings(&settings.target, &table.labels.cells.profile, None, findings);
    }
    let weight = settings.training.sample_weight.as_deref();
    for (index, (name, seen)) in table.names.iter().zip(&table.columns).enumerate() {
        if Some(index) == table.target {
            continue;
        }
        if weight == Some(name) {
            weights(name, table, findings);
            continue;
        }
        if let Some(set) = settings.training.features.get(name) {
            other_kind(name, *set, seen, findings);
        }
        if tabular {
            feature(name, &settings.target, seen, findings);
        }
    }
    if tabular {
        features(settings, table, exact, findings);
    }
}

/// Share of rows with a twin from which it is told, in percent.
const REPEATED: u64 = 5;
/// Rows that could be, for each that is, from which twins are no accident.
const CROWDED: u64 = 100;

/// Judges all features together.
fn features(settings: &ModelSettings, table: &Table, exact: bool, findings: &mut Findings) {
    let weight = settings.training.sample_weight.as_deref();
    let features: Vec<(&str, &Seen)> = (0..table.names.len())
        .filter(|index| Some(*index) != table.target)
        .map(|index| (table.names[index].as_str(), &table.columns[index]))
        .filter(|(name, _)| weight != Some(*name))
        .collect();
    let readable = !findings.has_errors();
    if readable
        && exact
        && table.rows >= ENOUGH
        && features.iter().all(|(_, seen)| seen.tells_nothing())
    {
        let message = format!(
            "no column besides {} can be learned from: each is empty, has one value only, or another one in every row; give columns that say something",
            quoted(&settings.target)
        );
        findings.error(Finding::new(Flaw::NothingToLearn, message));
    }
    // Where there are few different rows that could be, twins are no copies.
    let possible =
        features.iter().map(|(_, seen)| seen.different().max(1)).fold(1, u64::saturating_mul);
    let mut known = std::collections::HashMap::new();
    if table.target.is_some() && table.rows >= ENOUGH {
        known.insert(table.labels.cells.digest(), settings.target.as_str());
    }
    for (name, seen) in features {
        if seen.values() < ENOUGH || seen.different() < 2 {
            continue;
        }
        if let Some(other) = known.get(&seen.digest()) {
            let about = |flaw, rest: &str| {
                let message =
                    format!("equals {} in all {} rows: {rest}", quoted(other), grouped(table.rows));
                Finding::of_column(name, flaw, message)
            };
            findings.warn(if *other == settings.target {
                about(Flaw::LeakyColumn, "leave it out, or the model learns nothing else")
            } else {
                about(Flaw::EqualColumns, "leave one of them out")
            });
        } else {
            known.insert(seen.digest(), name);
        }
    }
    let (all, repeated) = (table.repeats.all(), table.repeats.repeated());
    let unlikely = possible / CROWDED >= all;
    if all >= ENOUGH && unlikely && repeated * 100 >= all * REPEATED {
        let message = format!(
            "{} of {} rows stand there more than once without their target, the commonest {} times: they count that often, and a model may be judged on rows that it has learned; remove copies if they are some",
            grouped(repeated),
            grouped(all),
            grouped(table.repeats.most())
        );
        findings.warn(Finding::new(Flaw::RepeatedRows, message));
    }
}

fn weights(name: &str, table: &Table, findings: &mut Findings) {
    let message = |rest: &str| {
        format!(
            "has weights that are missing, negative or no numbers in {} of {} rows{rest}",
            grouped(table.bad_weights),
            grouped(table.rows)
        )
    };
    let about = |message: String| Finding::of_column(name, Flaw::BadWeights, message);
    if table.rows > 0 && table.bad_weights == table.rows {
        findings.error(about(message(": no row is left to learn from; give numbers from 0 on")));
    } else if table.bad_weights > 0 {
        findings
            .warn(about(message(": SageMaker Autopilot leaves these out; give numbers from 0 on")));
    }
}

fn other_kind(name: &str, set: FeatureType, seen: &Seen, findings: &mut Findings) {
    let fits = match set {
        FeatureType::Numeric => seen.kind() == Some(Kind::Numeric),
        FeatureType::Datetime => matches!(seen.kind(), Some(Kind::Datetime | Kind::Numeric)),
        FeatureType::Categorical | FeatureType::Text => true,
    };
    if let (Some(kind), false) = (seen.kind(), fits) {
        let set = if set == FeatureType::Numeric { "numeric" } else { "datetime" };
        let message = format!(
            "is set as {set}, but its values look {}: correct the model's settings or the data",
            kind.as_str()
        );
        findings.warn(Finding::of_column(name, Flaw::OtherKind, message));
    }
}

fn feature(name: &str, target: &str, seen: &Seen, findings: &mut Findings) {
    let mut warn = |flaw, message: String| findings.warn(Finding::of_column(name, flaw, message));
    let values = seen.values();
    let rows = grouped(seen.profile.rows);
    if values == 0 {
        if seen.profile.rows > 0 {
            warn(Flaw::EmptyColumn, format!("has no value in any of {rows} rows: leave it out"));
        }
        return;
    }
    if seen.tells_the_target() {
        warn(
            Flaw::LeakyColumn,
            format!(
                "gives {} away: it alone tells nearly all of it; leave it out if it is known only afterwards, or the model learns nothing else",
                quoted(target)
            ),
        );
    }
    if values >= ENOUGH && seen.profile.missing == 0 && seen.different() == 1 {
        warn(
            Flaw::ConstantColumn,
            format!(
                "has the same value in all {rows} rows: nothing can be learnt from it; leave it out"
            ),
        );
    } else if seen.is_identifier() {
        warn(
            Flaw::UniqueColumn,
            format!(
                "has another value in every one of {rows} rows, as identifiers do: leave it out unless it means something"
            ),
        );
    }
    readings(name, &seen.profile, None, findings);
    let mut warn = |flaw, message: String| findings.warn(Finding::of_column(name, flaw, message));
    let words = seen.profile.words();
    if seen.kind() == Some(Kind::Numeric) && words > 0 {
        warn(
            Flaw::MixedColumn,
            format!(
                "holds numbers, but {} of {} values are none: leave these empty, or the whole column may be taken for words",
                grouped(words),
                grouped(values)
            ),
        );
    }
    // Of language, the words between them count.
    if seen.kind() == Some(Kind::Categorical) && seen.profile.lines > 0 {
        warn(
            Flaw::LineBreaks,
            format!(
                "has line breaks in {} of {} values, and a model is asked about rows of one line, with blanks in their place, so that it does not know these values: write blanks in the training data, too",
                grouped(seen.profile.lines),
                grouped(values)
            ),
        );
    }
    if seen.profile.longest > LONG_CELL {
        warn(
            Flaw::LongCells,
            format!(
                "has a cell of {} bytes: check that no quote is missing, and shorten it",
                grouped(seen.profile.longest as u64)
            ),
        );
    }
}

fn parquet_column(
    settings: &ModelSettings,
    column: &super::parquet::ParquetColumn,
    rows: Option<Rows>,
    findings: &mut Findings,
) {
    let rows = rows.map_or(0, |rows| rows.count);
    let about = |flaw, message: String| Finding::of_column(&column.name, flaw, message);
    let is_target = column.name == settings.target;
    let missing = column.missing.unwrap_or_default();
    if is_target {
        let objective = settings.objective.as_ref();
        if column.is_constant() {
            findings.error(about(Flaw::OneClass, "has the same value in every row: at least two different values are needed to learn from".into()));
        } else if objective.is_some_and(|objective| objective.problem_type == "Regression")
            && column.kind != Kind::Numeric
        {
            findings.error(about(Flaw::ObjectiveContradicts, format!("is {}, but the model is set to Regression: set a classification, or write numbers", column.kind.as_str())));
        } else if missing > 0 {
            findings.warn(about(Flaw::MissingTargets, format!("has no value in {} of {} rows: SageMaker Autopilot leaves them out; fill them in if they should count", grouped(missing), grouped(rows))));
        }
    } else if rows > 0 && missing >= rows {
        findings.warn(about(
            Flaw::EmptyColumn,
            format!("has no value in any of {} rows: leave it out", grouped(rows)),
        ));
    } else if column.is_constant() {
        findings.warn(about(
            Flaw::ConstantColumn,
            format!(
                "has the same value in all {} rows: nothing can be learnt from it; leave it out",
                grouped(rows)
            ),
        ));
    }
}

/// The words of the columns, where every row was read: of rows that were not, nobody
/// knows what they hold.
fn words(training: &mut Inspection<'_>) -> Option<Words> {
    let all = training.is_exact();
    let table = training.table.as_mut().filter(|_| all)?;
    Some(std::mem::take(&mut table.words).named(table.names.iter().map(String::as_str)))
}

/// A row of the data, or, of Parquet, of which no rows are read, each column's
/// smallest value.
fn row(training: &Inspection<'_>) -> Option<Vec<String>> {
    if let Some(table) = &training.table {
        return Some(table.first.as_ref()?.iter().map(str::to_owned).collect());
    }
    let smallest = |column: &super::parquet::ParquetColumn| column.smallest.clone();
    Some(
        training
            .parquet
            .as_ref()?
            .iter()
            .map(|column| smallest(column).unwrap_or_default())
            .collect(),
    )
}

fn columns(training: &Inspection<'_>) -> Vec<Column> {
    if let Some(table) = &training.table {
        let column = |(index, (name, seen)): (usize, (&String, &Seen))| {
            let seen = if Some(index) == table.target { &table.labels.cells } else { seen };
            Column {
                name: name.clone(),
                kind: seen.kind(),
                missing: Some(seen.profile.missing),
                distinct: Some(seen.different()),
                booleans: seen.profile.booleans(),
            }
        };
        return table.names.iter().zip(&table.columns).enumerate().map(column).collect();
    }
    let column = |column: &super::parquet::ParquetColumn| Column {
        name: column.name.clone(),
        kind: Some(column.kind),
        missing: column.missing,
        distinct: None,
        booleans: None,
    };
    training.parquet.iter().flatten().map(column).collect()
}

/// Tells whether candidates are validated on data of their own.
pub(super) fn validates_on_channel(settings: &ModelSettings) -> bool {
    settings.training.validation == Some(Validation::Channel)
}
