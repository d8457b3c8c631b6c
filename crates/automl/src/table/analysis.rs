//! From a table to a training problem: what is to be predicted, from what.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crosspilot_metrics::{Metric, ProblemType};
use crosspilot_table::number::number;
use serde::{Deserialize, Serialize};

use crate::error::{TableError, TrainError};
use crate::rng::Rng;
use crate::settings::Settings;
use crate::table::cells::Table;
use crate::table::problem_type::{fits, infer};
use crate::table::schema::{ColumnKind, Schema};
use crate::table::target::Target;

/// More rows than this are sampled.
const MAX_ROWS: usize = 2_000_000;
/// The same for the numbers that are predicted, one a label, for all rows.
const MAX_NUMBERS: usize = 20_000_000;

/// The analysis of the data before training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Analysis {
    /// The problem type of the model.
    pub problem_type: ProblemType,
    /// The metric that candidates are ranked by.
    pub metric: Metric,
    /// Rows to learn from and to measure on; of millions of rows, a random part.
    pub rows: usize,
    /// Rows left out because their target is missing or, for regression, no number.
    pub dropped_rows: usize,
    /// Each label exactly as in the data, sorted, with its number of rows; empty
    /// for regression.
    pub labels: Vec<(String, usize)>,
    /// All columns but the target, in order.
    pub columns: Vec<ColumnSummary>,
}

/// One column, as the engine sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnSummary {
    /// The column's name.
    pub name: String,
    /// The kind that the column was taken for.
    pub kind: ColumnKind,
    /// Share of rows without a value, 0 to 1.
    pub missing: f64,
}

/// Looks at a table before training: the problem type, the metric, the labels
/// and what each column was taken for.
///
/// # Errors
/// When nothing can be trained on this table with these settings; the message
/// says why and what to do.
pub fn analyze(table: &Table, settings: &Settings) -> Result<Analysis, TrainError> {
    Ok(Prepared::new(table, settings)?.analysis)
}

/// A table that is ready to be learned from.
pub(crate) struct Prepared<'a> {
    pub(crate) analysis: Analysis,
    /// The rows whose target is known.
    pub(crate) table: Cow<'a, Table>,
    /// Positions in the table of the schema's columns.
    pub(crate) columns: Vec<usize>,
    pub(crate) schema: Schema,
    pub(crate) target: Target,
    /// Mean and deviation that a regression target was brought to 0 and 1 by.
    pub(crate) unit: (f64, f64),
    pub(crate) weights: Option<Vec<f32>>,
}

impl<'a> Prepared<'a> {
    pub(crate) fn new(table: &'a Table, settings: &Settings) -> Result<Self, TrainError> {
        check(settings)?;
        let name = settings.target.clone();
        let target = table.position(&name).map_err(|error| match error {
            TableError::NoSuchColumn { name, near } => TrainError::NoTarget { name, near },
            _ => TrainError::NoTarget { name: name.clone(), near: Vec::new() },
        })?;
        let weight = weight_column(table, target, settings)?;
        let counts = count(table, target);
        let present: usize = counts.values().sum();
        let too_few = |rows| TrainError::TooFewRows {
            target: name.clone(),
            rows,
            minimum: settings.min_rows.max(10),
        };
        if present < settings.min_rows.max(10) {
            return Err(too_few(present));
        }
        let problem_type = match settings.problem_type {
            Some(problem) => problem,
            None => infer(&name, &counts, present)?,
        };
        if counts.len() == 1 {
            return Err(TrainError::OneClass { target: name });
        }
        fits(&name, problem_type, &counts)?;
        let metric = settings.metric.unwrap_or(problem_type.default_metric());
        if !problem_type.objectives().contains(&metric) {
            return Err(TrainError::WrongMetric { metric, problem: problem_type });
        }
        let labels: Vec<(String, usize)> = match problem_type {
            ProblemType::Regression => Vec::new(),
            _ => counts.iter().map(|(label, count)| ((*label).to_owned(), *count)).collect(),
        };
        let is_valid = |row: &usize| match table.cell(*row, target) {
            Some(cell) => problem_type.is_classification() || number(cell.as_bytes()).is_some(),
            None => false,
        };
        let mut kept: Vec<usize> = (0..table.rows()).filter(is_valid).collect();
        if let Some(column) = weight {
            // Rows with an invalid weight or none are left out (API reference,
            // `TabularJobConfig`, `SampleWeightAttributeName`).
            kept.retain(|row| weight_of(table, *row, column).is_some());
            if kept.is_empty() {
                return Err(bad_weights(settings, "no record has a number of at least 0"));
            }
        }
        if kept.len() < settings.min_rows.max(10) {
            return Err(too_few(kept.len()));
        }
        let dropped_rows = table.rows() - kept.len();
        let kept = sample(kept, labels.len(), settings.seed);
        let table = if kept.len() == table.rows() {
            Cow::Borrowed(table)
        } else {
            Cow::Owned(table.take(&kept))
        };
        let columns: Vec<usize> = (0..table.width()).filter(|column| *column != target).collect();
        let (schema, kinds) = Schema::fit(&table, &columns, weight);
        if !kinds.iter().any(|kind| kind.is_used()) {
            return Err(TrainError::NoFeatures { target: name });
        }
        let summaries =
            schema.names.iter().zip(&columns).zip(&kinds).map(|((name, &column), &kind)| {
                let missing =
                    (0..table.rows()).filter(|&row| table.cell(row, column).is_none()).count();
                ColumnSummary {
                    name: name.clone(),
                    kind,
                    missing: missing as f64 / table.rows() as f64,
                }
            });
        let columns_seen = summaries.collect();
        let analysis = Analysis {
            problem_type,
            metric,
            rows: kept.len(),
            dropped_rows,
            labels,
            columns: columns_seen,
        };
        let weights = weight.map(|column| weights(&table, column, settings)).transpose()?;
        let (target, unit) = match problem_type {
            ProblemType::Regression => values(&table, target, &name)?,
            _ => (labels_of(&table, target, &analysis), (0.0, 1.0)),
        };
        Ok(Self { analysis, table, columns, schema, target, unit, weights })
    }

    /// The rows of a validation table that can be measured: their numbers and
    /// targets, in terms of this training problem.
    pub(crate) fn validation(
        &self,
        table: &Table,
        settings: &Settings,
    ) -> Result<(Vec<usize>, Target), TrainError> {
        let names = |table: &Table| table.names().map(str::to_owned).collect::<Vec<_>>();
        let (ours, theirs) = (names(&self.table), names(table));
        if let Some(column) =
            (0..ours.len().max(theirs.len())).find(|&at| ours.get(at) != theirs.get(at))
        {
            let name = |names: &[String]| names.get(column).cloned().unwrap_or_default();
            let (got, expected) = (name(&theirs), name(&ours));
            return Err(TrainError::Validation(TableError::HeaderMismatch {
                column: column + 1,
                got,
                expected,
            }));
        }
        let target = table.position(&settings.target).map_err(TrainError::Validation)?;
        let mut kept = Vec::new();
        let (mut classes, mut numbers) = (Vec::new(), Vec::new());
        for row in 0..table.rows() {
            let Some(cell) = table.cell(row, target) else {
                continue;
            };
            match &self.target {
                Target::Class { .. } => {
                    let known = self
                        .analysis
                        .labels
                        .binary_search_by(|(label, _)| label.as_str().cmp(cell));
                    let Ok(label) = known else { continue };
                    classes.push(label as u32);
                }
                Target::Value(_) => {
                    let Some(value) = number(cell.as_bytes()) else {
                        continue;
                    };
                    numbers.push((value - self.unit.0) / self.unit.1);
                }
            }
            kept.push(row);
        }
        if kept.is_empty() {
            return Err(TrainError::EmptyValidation { target: settings.target.clone() });
        }
        let target = match &self.target {
            Target::Class { count, .. } => Target::Class { labels: classes, count: *count },
            Target::Value(_) => Target::Value(numbers),
        };
        Ok((kept, target))
    }
}

/// Some of the rows, in order, where all of them would not fit into memory.
fn sample(rows: Vec<usize>, labels: usize, seed: u64) -> Vec<usize> {
    let most = (MAX_NUMBERS / labels.max(1)).min(MAX_ROWS);
    if rows.len() <= most {
        return rows;
    }
    let mut rng = Rng::new(seed, 4);
    let mut left = rows.len();
    let mut wanted = most;
    rows.into_iter()
        .filter(|_| {
            let take = rng.below(left) < wanted;
            left -= 1;
            wanted -= usize::from(take);
            take
        })
        .collect()
}

fn check(settings: &Settings) -> Result<(), TrainError> {
    let fraction = settings.validation_fraction;
    if !(fraction > 0.0 && fraction <= 0.5) {
        let hint = "the share of rows to validate on must be above 0 and at most 0.5";
        return Err(TrainError::Setting {
            name: "validation_fraction",
            value: fraction.to_string(),
            hint,
        });
    }
    if settings.max_candidates == 0 {
        let hint = "train at least one candidate";
        return Err(TrainError::Setting { name: "max_candidates", value: "0".to_owned(), hint });
    }
    Ok(())
}

/// Number of rows of each text in the target column.
fn count(table: &Table, target: usize) -> BTreeMap<&str, usize> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for cell in (0..table.rows()).filter_map(|row| table.cell(row, target)) {
        *counts.entry(cell).or_default() += 1;
    }
    counts
}

fn labels_of(table: &Table, target: usize, analysis: &Analysis) -> Target {
    let index = |row| {
        let cell = table.cell(row, target).unwrap_or_default();
        // Every cell was counted, so every cell is found.
        analysis.labels.binary_search_by(|(label, _)| label.as_str().cmp(cell)).unwrap_or_default()
            as u32
    };
    Target::Class { labels: (0..table.rows()).map(index).collect(), count: analysis.labels.len() }
}

fn values(table: &Table, target: usize, name: &str) -> Result<(Target, (f64, f64)), TrainError> {
    let mut values: Vec<f64> = (0..table.rows())
        .filter_map(|row| table.cell(row, target).and_then(|cell| number(cell.as_bytes())))
        .collect();
    let count = values.len().max(1) as f64;
    let mean = values.iter().map(|value| value / count).sum::<f64>();
    let deviation = values.iter().map(|value| (value - mean).powi(2) / count).sum::<f64>().sqrt();
    if !mean.is_finite() || !deviation.is_finite() {
        let reason = "its values are too large to compute with".to_owned();
        return Err(TrainError::WrongProblem {
            target: name.to_owned(),
            problem: ProblemType::Regression,
            reason,
        });
    }
    if deviation == 0.0 {
        return Err(TrainError::OneClass { target: name.to_owned() });
    }
    values.iter_mut().for_each(|value| *value = (*value - mean) / deviation);
    Ok((Target::Value(values), (mean, deviation)))
}

fn weight_column(
    table: &Table,
    target: usize,
    settings: &Settings,
) -> Result<Option<usize>, TrainError> {
    let Some(name) = &settings.weight_column else {
        return Ok(None);
    };
    match table.position(name) {
        Err(error) => Err(bad_weights(settings, error)),
        Ok(column) if column == target => Err(bad_weights(settings, "it is the target")),
        Ok(column) => Ok(Some(column)),
    }
}

fn bad_weights(settings: &Settings, reason: impl ToString) -> TrainError {
    let name = settings.weight_column.clone().unwrap_or_default();
    TrainError::Weight { name, reason: reason.to_string() }
}

/// A row's weight, if it is one.
fn weight_of(table: &Table, row: usize, column: usize) -> Option<f64> {
    number(table.cell(row, column)?.as_bytes()).filter(|weight| *weight >= 0.0)
}

/// The weights of rows that have one, brought to a mean of 1.
fn weights(table: &Table, column: usize, settings: &Settings) -> Result<Vec<f32>, TrainError> {
    let weights: Vec<f64> =
        (0..table.rows()).filter_map(|row| weight_of(table, row, column)).collect();
    let mean = weights.iter().map(|weight| weight / weights.len() as f64).sum::<f64>();
    if mean <= 0.0 || !mean.is_finite() {
        return Err(bad_weights(settings, "its sum is zero or too large"));
    }
    Ok(weights.iter().map(|weight| (weight / mean) as f32).collect())
}
