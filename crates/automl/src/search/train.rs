//! Training candidates side by side and ranking them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::error::TrainError;
use crate::leaderboard::{Ending, Event, Leaderboard};
use crate::search::candidates::{Shape, plan};
use crate::search::folds::{Fold, stratify};
use crate::search::ranking::{order, winner};
use crate::search::trials::{Trials, shared};
use crate::settings::{Algorithm, Settings};
use crate::table::analysis::Prepared;
use crate::table::cells::Table;
use crate::table::target::Target;

/// Trains candidates on `table` and ranks them by the wanted metric.
///
/// Candidates are measured on rows they were not trained on: on `validation`, if
/// given (same columns), else on a part of `table`. The ensemble wins unless a candidate
/// is clearly better. Without `validation` the winner is then trained on all rows. `observe` sees each step as it happens, on
/// the calling thread. Setting `stop` ends training soon; what is done by then is
/// kept. At least one candidate is always trained.
///
/// # Errors
/// When nothing can be trained on this table with these settings; the message
/// says why and what to do.
pub fn train(
    table: &Table,
    validation: Option<&Table>,
    settings: &Settings,
    observe: &mut dyn FnMut(Event<'_>),
    stop: &AtomicBool,
) -> Result<Leaderboard, TrainError> {
    let start = Instant::now();
    let mut prepared = Prepared::new(table, settings)?;
    let features = prepared.schema.features();
    let rows = prepared.table.rows();
    let mut columns = prepared.schema.read(&prepared.table, &prepared.columns, 0..rows);
    let splits = match validation {
        Some(table) => {
            let (kept, target) = prepared.validation(table, settings)?;
            let kept = table.take(&kept);
            let more = prepared.schema.read(&kept, &prepared.columns, 0..kept.rows());
            columns.iter_mut().zip(more).for_each(|(column, more)| column.extend(more));
            prepared.add_validation(target);
            vec![((0..rows as u32).collect(), (rows as u32..(rows + kept.rows()) as u32).collect())]
        }
        // A single candidate is not compared with others.
        None => {
            let folds = settings.max_candidates > 1;
            let share = settings.validation_fraction;
            stratify(&prepared.target, rows, features.len(), share, folds, settings.seed)
        }
    };
    observe(Event::Analyzed(&prepared.analysis));
    let target = &prepared.target;
    let fold = |(train, valid)| Fold::new(&features, &columns, target, train, valid);
    let folds: Vec<Fold> = splits.into_iter().map(fold).collect();
    // Folds together have seen every row, so a model of all rows comes after them.
    let all = || Fold::new(&features, &columns, target, (0..rows as u32).collect(), Vec::new());
    let whole = (folds.len() > 1).then(all);
    let trials = Trials {
        prepared: &prepared,
        columns: &columns,
        shared: shared(&prepared, settings, whole.as_ref().unwrap_or(&folds[0])),
        valid: folds.iter().flat_map(|fold| fold.valid.iter().copied()).collect(),
        folds,
        whole,
        settings,
        stop,
        deadline: start.checked_add(settings.time_budget),
    };
    let ensemble = settings.max_candidates >= 3;
    let planned = settings.max_candidates - usize::from(ensemble);
    let shape = Shape { rows, features: features.len(), outputs: target.outputs() };
    let specs = plan(planned, shape, settings.seed);
    let mut trained = trials.candidates(&specs, observe);
    trained.sort_by_key(|trained| trained.candidate.number);
    if ensemble && trained.len() >= 2 {
        let number = specs.len() + 1;
        let description = "weighted mean of the candidates before";
        observe(Event::Started { number, algorithm: Algorithm::WeightedEnsemble, description });
        let last = trials.ensemble(number, &trained);
        observe(Event::Finished(&last.candidate));
        trained.push(last);
    }
    let metric = trials.prepared.analysis.metric;
    trained.sort_by(|a, b| order(&a.candidate, &b.candidate, metric));
    let ranked: Vec<(Algorithm, f64)> =
        trained.iter().map(|one| (one.candidate.algorithm, one.candidate.objective)).collect();
    let best = winner(&ranked, metric, trials.valid.len());
    if validation.is_none()
        && trials.whole.is_none()
        && trials.has_time_for(&trained[best], &trained)
    {
        observe(Event::Refitting(&trained[best].candidate));
        trials.refit(&specs, &mut trained, best, all());
    }
    let winner = trained[best].candidate.number;
    let ending = match () {
        () if stop.load(Ordering::Relaxed) => Ending::Stopped,
        () if trained.len() < specs.len() + usize::from(ensemble) => Ending::OutOfTime,
        () => Ending::Completed,
    };
    let candidates = trained.into_iter().map(|trained| trained.candidate).collect();
    Ok(Leaderboard { analysis: prepared.analysis, candidates, winner, ending })
}

impl Prepared<'_> {
    /// Puts the targets of validation rows behind those of the training rows.
    fn add_validation(&mut self, more: Target) {
        let before = match &mut self.target {
            Target::Class { labels, .. } => labels.len(),
            Target::Value(values) => values.len(),
        };
        let added = match (&mut self.target, more) {
            (Target::Class { labels, .. }, Target::Class { labels: more, .. }) => {
                labels.extend(more);
                labels.len() - before
            }
            (Target::Value(values), Target::Value(more)) => {
                values.extend(more);
                values.len() - before
            }
            _ => 0,
        };
        if let Some(weights) = &mut self.weights {
            // Held-out rows are measured one by one, so each counts the same.
            weights.resize(weights.len() + added, 1.0);
        }
    }
}
