//! Training, evaluating and refitting the candidates of one search.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use crosspilot_metrics::Direction;

use crate::features::dataset::Data;
use crate::leaderboard::{Candidate, Event};
use crate::learners::fit::{Complexity, FitContext, Stopping};
use crate::learners::learner::Fitted;
use crate::learners::limits::Limits;
use crate::model::{Member, Model, Shared};
use crate::search::candidates::Spec;
use crate::search::ensemble::weigh;
use crate::search::evaluation::{Evaluation, evaluate};
use crate::search::folds::Fold;
use crate::settings::{Algorithm, Settings};
use crate::table::analysis::Prepared;
use crate::temperature;

/// A candidate with what the ensemble and the last fit need.
pub(crate) struct Trial {
    pub(crate) candidate: Candidate,
    /// The candidate's numbers for all held-out rows.
    pub(crate) outputs: Vec<f32>,
    /// The mean over its fits; `None` of an ensemble.
    complexity: Option<Complexity>,
    /// Importance of each text column.
    importance: Vec<f64>,
    /// (number, weight) of each member; itself, unless it is an ensemble.
    members: Vec<(usize, f32)>,
}

/// A candidate that is trained and not yet evaluated.
struct Draft {
    number: usize,
    algorithm: Algorithm,
    description: String,
    members: Vec<Member>,
    outputs: Vec<f32>,
    importance: Vec<f64>,
    took: Duration,
}

/// Everything that does not change while candidates are trained.
pub(crate) struct Trials<'a> {
    pub(crate) prepared: &'a Prepared<'a>,
    pub(crate) columns: &'a [Vec<f64>],
    pub(crate) shared: Arc<Shared>,
    pub(crate) folds: Vec<Fold>,
    /// All rows, where candidates are evaluated by folds.
    pub(crate) whole: Option<Fold>,
    /// The held-out rows of all folds.
    pub(crate) valid: Vec<u32>,
    pub(crate) settings: &'a Settings,
    pub(crate) stop: &'a AtomicBool,
    pub(crate) deadline: Option<Instant>,
}

impl Trials<'_> {
    fn data<'a>(&'a self, fold: &'a Fold) -> Data<'a> {
        fold.data(self.columns, &self.prepared.target, self.prepared.weights.as_deref())
    }

    fn is_over(&self) -> bool {
        Limits { deadline: self.deadline, stop: self.stop }.is_over()
    }

    /// The seed of a candidate.
    fn seed(&self, number: usize) -> u64 {
        self.settings.seed.wrapping_add(1_000 * number as u64)
    }

    /// Trains candidates on as many threads as there are cores. Events reach the
    /// caller's thread through a channel.
    pub(crate) fn candidates(
        &self,
        specs: &[Spec],
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Vec<Trial> {
        enum Message {
            Started(usize),
            Finished(Box<Trial>),
        }
        let threads = threads(specs.len());
        let next = AtomicUsize::new(0);
        let (sender, receiver) = mpsc::channel();
        let mut all = Vec::with_capacity(specs.len());
        std::thread::scope(|scope| {
            for _ in 0..threads {
                let (sender, next) = (sender.clone(), &next);
                scope.spawn(move || {
                    loop {
                        let position = next.fetch_add(1, Ordering::Relaxed);
                        let Some(spec) = specs.get(position) else {
                            break;
                        };
                        if position > 0 && self.is_over() {
                            break;
                        }
                        // The receiver outlives this scope; a failed send loses an event only.
                        let _ = sender.send(Message::Started(position));
                        let trial = self.candidate(position + 1, spec, specs.len());
                        let _ = sender.send(Message::Finished(Box::new(trial)));
                    }
                });
            }
            drop(sender);
            for message in receiver {
                match message {
                    Message::Started(position) => {
                        let Spec { algorithm, description, .. } = &specs[position];
                        observe(Event::Started {
                            number: position + 1,
                            algorithm: *algorithm,
                            description,
                        });
                    }
                    Message::Finished(trial) => {
                        observe(Event::Finished(&trial.candidate));
                        all.push(*trial);
                    }
                }
            }
        });
        all
    }

    /// Gives the seconds that a candidate may take. Without a budget of its own, none may take
    /// the time of those that follow, or of the last fit on all rows.
    fn budget(&self, start: Instant, number: usize, planned: usize) -> Option<Duration> {
        if self.settings.trial_budget.is_some() {
            return self.settings.trial_budget;
        }
        let left = self.deadline?.saturating_duration_since(start);
        let turns = (planned + 1).saturating_sub(number).div_ceil(threads(planned)) + 1;
        Some(left.mul_f64(1.6 / turns as f64).min(left.mul_f64(0.6)))
    }

    fn candidate(&self, number: usize, spec: &Spec, planned: usize) -> Trial {
        let start = Instant::now();
        let budget = self.budget(start, number, planned);
        let seed = self.seed(number);
        let mut outputs = Vec::with_capacity(self.valid.len() * self.prepared.target.outputs());
        let mut importance = vec![0.0; self.prepared.columns.len()];
        let mut complexities = Vec::new();
        let mut last = None;
        for (at, fold) in self.folds.iter().enumerate() {
            // Folds and the last fit share the time; what one leaves the next may use.
            let fits = self.folds.len() + usize::from(self.whole.is_some());
            let share = (at + 1) as f64 / fits as f64;
            let until = budget.and_then(|budget| start.checked_add(budget.mul_f64(share)));
            let deadline = [self.deadline, until].into_iter().flatten().min();
            let fit = spec.learner.fit(&FitContext {
                data: &self.data(fold),
                train: &fold.train,
                stopping: Stopping::HeldOut(&fold.valid),
                limits: Limits { deadline, stop: self.stop },
                seed,
            });
            outputs.extend(self.predict(&fit.model, fold));
            complexities.push(fit.complexity);
            for (feature, source) in fit.importance.iter().zip(&fold.encoder.sources) {
                importance[*source as usize] += feature;
            }
            last = Some(fit.model);
        }
        let complexity = Complexity::mean(&complexities);
        let fitted = match (&self.whole, complexity) {
            (Some(whole), Some(complexity)) => Some(self.fit_all(spec, complexity, whole, seed)),
            _ => last,
        };
        let member =
            |fitted| Member { weight: 1.0, inverse_temperature: 1.0, fitted: Arc::new(fitted) };
        let total: f64 = importance.iter().sum();
        importance.iter_mut().for_each(|column| *column /= total.max(1e-300));
        let draft = Draft {
            number,
            algorithm: spec.algorithm,
            description: spec.description.clone(),
            members: fitted.into_iter().map(member).collect(),
            outputs,
            importance,
            took: start.elapsed(),
        };
        Trial { complexity, ..self.evaluate(draft) }
    }

    /// Fits a candidate to all rows, as complex as it was on the folds. Its length is known,
    /// so it needs no limit but the caller's.
    fn fit_all(&self, spec: &Spec, complexity: Complexity, whole: &Fold, seed: u64) -> Fitted {
        let context = FitContext {
            data: &self.data(whole),
            train: &whole.train,
            stopping: Stopping::Fixed(complexity),
            limits: Limits { deadline: None, stop: self.stop },
            seed,
        };
        spec.learner.fit(&context).model
    }

    /// The numbers for the held-out rows of a fold.
    fn predict(&self, fitted: &Fitted, fold: &Fold) -> Vec<f32> {
        let mut out = vec![0.0; fold.valid.len() * self.prepared.target.outputs()];
        fitted.predict(&fold.valid_bins, &fold.valid_columns, &fold.valid_encodings, &mut out);
        out
    }

    fn evaluate(&self, draft: Draft) -> Trial {
        let Draft { number, algorithm, description, members, mut outputs, importance, took } =
            draft;
        let Prepared { analysis, target, schema, weights, .. } = self.prepared;
        let mut model = Model {
            shared: self.shared.clone(),
            members,
            inverse_temperature: temperature::fit(
                &outputs,
                &self.valid,
                target,
                weights.as_deref(),
            ),
            decision: vec![1.0; analysis.labels.len()],
        };
        let mut row = vec![0.0; target.outputs()];
        for outputs in outputs.chunks_exact_mut(row.len()) {
            row.iter_mut().zip(&*outputs).for_each(|(p, output)| *p = f64::from(*output));
            temperature::scale(&mut row, model.inverse_temperature);
            outputs.iter_mut().zip(&row).for_each(|(output, p)| *output = *p as f32);
        }
        let Evaluation { metrics, confusion } =
            evaluate(&mut model, &outputs, &self.valid, target, analysis);
        let objective =
            metrics.iter().find(|(metric, _)| *metric == analysis.metric).map(|(_, value)| *value);
        let worst = match analysis.metric.direction() {
            Direction::Maximize => 0.0,
            Direction::Minimize => f64::MAX,
        };
        let mut by_name: Vec<(String, f64)> =
            schema.names.iter().cloned().zip(importance.iter().copied()).collect();
        by_name.retain(|(_, share)| *share > 0.0);
        by_name.sort_by(|a, b| b.1.total_cmp(&a.1));
        let candidate = Candidate {
            number,
            algorithm,
            description,
            objective: objective.unwrap_or(worst),
            metrics,
            confusion,
            fit_seconds: took.as_secs_f64(),
            importance: by_name,
            model,
        };
        Trial { candidate, outputs, complexity: None, importance, members: vec![(number, 1.0)] }
    }

    /// The weighted mean of the trials before.
    pub(crate) fn ensemble(&self, number: usize, trials: &[Trial]) -> Trial {
        let start = Instant::now();
        let outputs: Vec<&[f32]> = trials.iter().map(|trial| trial.outputs.as_slice()).collect();
        let weights = weigh(&outputs, &self.valid, &self.prepared.target);
        let mut mean = vec![0.0; outputs[0].len()];
        let mut importance = vec![0.0; self.prepared.columns.len()];
        let (mut members, mut numbers, mut words) = (Vec::new(), Vec::new(), Vec::new());
        for (trial, &weight) in trials.iter().zip(&weights).filter(|(_, weight)| **weight > 0.0) {
            mean.iter_mut().zip(&trial.outputs).for_each(|(sum, value)| *sum += weight * value);
            importance
                .iter_mut()
                .zip(&trial.importance)
                .for_each(|(sum, column)| *sum += f64::from(weight) * column);
            let Model { members: own, inverse_temperature, .. } = &trial.candidate.model;
            members.extend(own.iter().map(|member| Member {
                weight,
                inverse_temperature: *inverse_temperature,
                fitted: member.fitted.clone(),
            }));
            numbers.push((trial.candidate.number, weight));
            words.push(format!("{:.0} % of candidate {}", 100.0 * weight, trial.candidate.number));
        }
        let draft = Draft {
            number,
            algorithm: Algorithm::WeightedEnsemble,
            description: format!("weighted mean: {}", words.join(", ")),
            members,
            outputs: mean,
            importance,
            took: start.elapsed(),
        };
        Trial { members: numbers, ..self.evaluate(draft) }
    }

    /// Tells whether the winner can be trained again within the budget.
    pub(crate) fn has_time_for(&self, best: &Trial, all: &[Trial]) -> bool {
        let seconds: f64 = all
            .iter()
            .filter(|one| best.members.iter().any(|(number, _)| *number == one.candidate.number))
            .map(|one| one.candidate.fit_seconds)
            .sum();
        let needed = Duration::try_from_secs_f64(1.5 * seconds).unwrap_or(Duration::MAX);
        let end = Instant::now().checked_add(needed);
        !self.stop.load(Ordering::Relaxed)
            && end.is_some_and(|end| self.deadline.is_none_or(|deadline| end < deadline))
    }

    /// Trains the candidate at `best` on all rows and puts the model in its place.
    pub(crate) fn refit(&self, specs: &[Spec], trials: &mut [Trial], best: usize, whole: Fold) {
        let old = trials[best].candidate.model.clone();
        let fit = |(&(number, _), member): (&(usize, f32), &Member)| {
            let trial = trials.iter().find(|one| one.candidate.number == number)?;
            let spec = specs.get(number - 1)?;
            let fitted = self.fit_all(spec, trial.complexity?, &whole, self.seed(number));
            Some(Member { fitted: Arc::new(fitted), ..member.clone() })
        };
        let members: Option<Vec<_>> =
            trials[best].members.iter().zip(&old.members).map(fit).collect();
        // A fit that was cut short is worse than the model that is there.
        if let Some(members) = members.filter(|_| !self.stop.load(Ordering::Relaxed)) {
            let shared = shared(self.prepared, self.settings, &whole);
            trials[best].candidate.model = Model { shared, members, ..old };
        }
    }
}

/// Gives what all models of one search have in common, if they are trained on this fold.
pub(crate) fn shared(prepared: &Prepared<'_>, settings: &Settings, fold: &Fold) -> Arc<Shared> {
    Arc::new(Shared {
        problem_type: prepared.analysis.problem_type,
        target: settings.target.clone(),
        labels: prepared.analysis.labels.iter().map(|(label, _)| label.clone()).collect(),
        unit: prepared.unit,
        schema: prepared.schema.clone(),
        encoder: fold.encoder.clone(),
    })
}

/// Counts the candidates that are trained at the same time.
fn threads(candidates: usize) -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(4).min(candidates).max(1)
}
