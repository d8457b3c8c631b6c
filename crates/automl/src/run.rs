//! Training, measuring and refitting the candidates of one run.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use crosspilot_metrics::Direction;

use crate::analysis::Prepared;
use crate::budget::Limits;
use crate::calibrate::{power, sharpen};
use crate::dataset::Data;
use crate::ensemble::weigh;
use crate::learn::Part;
use crate::measure::{Measured, measure};
use crate::model::{Model, Shared, Voice};
use crate::plan::Spec;
use crate::settings::{Algorithm, Candidate, Event, Settings};
use crate::split::Split;

/// A candidate with what the ensemble and the last fit need.
pub(crate) struct Trained {
    pub(crate) candidate: Candidate,
    /// Its numbers for all held-out rows.
    pub(crate) outputs: Vec<f32>,
    /// How long or freely it learned, on average.
    pub(crate) effort: f64,
    /// Importance of each text column.
    pub(crate) gains: Vec<f64>,
    /// (number, weight) of each member; itself, unless it is an ensemble.
    pub(crate) members: Vec<(usize, f32)>,
}

/// Everything that does not change while candidates are trained.
pub(crate) struct Run<'a> {
    pub(crate) prepared: &'a Prepared<'a>,
    pub(crate) columns: &'a [Vec<f64>],
    pub(crate) shared: Arc<Shared>,
    pub(crate) splits: Vec<Split>,
    /// All rows, where candidates are measured by folds.
    pub(crate) whole: Option<Split>,
    /// The held-out rows of all splits.
    pub(crate) valid: Vec<u32>,
    pub(crate) settings: &'a Settings,
    pub(crate) stop: &'a AtomicBool,
    pub(crate) deadline: Option<Instant>,
}

impl Run<'_> {
    fn data<'a>(&'a self, split: &'a Split) -> Data<'a> {
        split.data(self.columns, &self.prepared.target, self.prepared.weights.as_deref())
    }

    fn is_over(&self) -> bool {
        Limits { deadline: self.deadline, stop: self.stop }.is_over()
    }

    /// Trains candidates on as many threads as there are cores. Events reach the
    /// caller's thread through a channel.
    pub(crate) fn candidates(
        &self,
        specs: &[Spec],
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Vec<Trained> {
        enum Message {
            Started(usize),
            Finished(Box<Trained>),
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
                        let trained = self.candidate(position + 1, spec, specs.len());
                        let _ = sender.send(Message::Finished(Box::new(trained)));
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
                    Message::Finished(trained) => {
                        observe(Event::Finished(&trained.candidate));
                        all.push(*trained);
                    }
                }
            }
        });
        all
    }

    /// How long a candidate may take. Without a budget of its own, none may take
    /// the time of those that follow, or of the last fit on all rows.
    fn trial(&self, start: Instant, number: usize, planned: usize) -> Option<Duration> {
        if self.settings.trial_budget.is_some() {
            return self.settings.trial_budget;
        }
        let left = self.deadline?.saturating_duration_since(start);
        let turns = (planned + 1).saturating_sub(number).div_ceil(threads(planned)) + 1;
        Some(left.mul_f64(1.6 / turns as f64).min(left.mul_f64(0.6)))
    }

    fn candidate(&self, number: usize, spec: &Spec, planned: usize) -> Trained {
        let start = Instant::now();
        let trial = self.trial(start, number, planned);
        let seed = self.settings.seed.wrapping_add(1_000 * number as u64);
        let mut outputs = Vec::with_capacity(self.valid.len() * self.prepared.target.outputs());
        let mut gains = vec![0.0; self.prepared.columns.len()];
        let mut efforts = Vec::new();
        let mut last = None;
        for (fold, split) in self.splits.iter().enumerate() {
            // Folds and the last fit share the time; what one leaves the next may use.
            let fits = self.splits.len() + usize::from(self.whole.is_some());
            let share = (fold + 1) as f64 / fits as f64;
            let trial = trial.and_then(|trial| start.checked_add(trial.mul_f64(share)));
            let deadline = [self.deadline, trial].into_iter().flatten().min();
            let limits = Limits { deadline, stop: self.stop };
            let fit = spec.learner.fit(
                &self.data(split),
                &split.train,
                Some(&split.valid),
                None,
                &limits,
                seed,
            );
            outputs.extend(self.predict(&fit.part, split));
            efforts.push(fit.effort);
            for (gain, source) in fit.gains.iter().zip(&split.encoder.sources) {
                gains[*source as usize] += gain;
            }
            last = Some(fit.part);
        }
        let effort = efforts.iter().sum::<f64>() / efforts.len().max(1) as f64;
        let part = match &self.whole {
            // Its length is known, so it needs no limit but the caller's.
            Some(whole) => {
                let limits = Limits { deadline: None, stop: self.stop };
                Some(
                    spec.learner
                        .fit(&self.data(whole), &whole.train, None, Some(effort), &limits, seed)
                        .part,
                )
            }
            None => last,
        };
        let voices = part
            .into_iter()
            .map(|part| Voice { weight: 1.0, power: 1.0, part: Arc::new(part) })
            .collect();
        let total: f64 = gains.iter().sum();
        gains.iter_mut().for_each(|gain| *gain /= total.max(1e-300));
        let (algorithm, description) = (spec.algorithm, spec.description.clone());
        let mut trained =
            self.finish(number, algorithm, description, voices, outputs, gains, start.elapsed());
        trained.effort = effort;
        trained
    }

    /// The part's numbers for the held-out rows of a split.
    fn predict(&self, part: &Part, split: &Split) -> Vec<f32> {
        let mut out = vec![0.0; split.valid.len() * self.prepared.target.outputs()];
        part.predict(&split.valid_bins, &split.valid_columns, &split.valid_extra, &mut out);
        out
    }

    #[allow(clippy::too_many_arguments)]
    fn finish(
        &self,
        number: usize,
        algorithm: Algorithm,
        description: String,
        voices: Vec<Voice>,
        mut outputs: Vec<f32>,
        gains: Vec<f64>,
        took: Duration,
    ) -> Trained {
        let Prepared { analysis, target, schema, weights, .. } = self.prepared;
        let mut model = Model {
            shared: self.shared.clone(),
            voices,
            power: power(&outputs, &self.valid, target, weights.as_deref()),
            decision: vec![1.0; analysis.labels.len()],
        };
        let mut row = vec![0.0; target.outputs()];
        for outputs in outputs.chunks_exact_mut(row.len()) {
            row.iter_mut().zip(&*outputs).for_each(|(p, output)| *p = f64::from(*output));
            sharpen(&mut row, model.power);
            outputs.iter_mut().zip(&row).for_each(|(output, p)| *output = *p as f32);
        }
        let Measured { metrics, confusion } =
            measure(&mut model, &outputs, &self.valid, target, analysis);
        let objective =
            metrics.iter().find(|(metric, _)| *metric == analysis.metric).map(|(_, value)| *value);
        let worst = match analysis.metric.direction() {
            Direction::Maximize => 0.0,
            Direction::Minimize => f64::MAX,
        };
        let mut importance: Vec<(String, f64)> =
            schema.names.iter().cloned().zip(gains.iter().copied()).collect();
        importance.retain(|(_, share)| *share > 0.0);
        importance.sort_by(|a, b| b.1.total_cmp(&a.1));
        let candidate = Candidate {
            number,
            algorithm,
            description,
            objective: objective.unwrap_or(worst),
            metrics,
            confusion,
            fit_seconds: took.as_secs_f64(),
            importance,
            model,
        };
        Trained { candidate, outputs, effort: 0.0, gains, members: vec![(number, 1.0)] }
    }

    pub(crate) fn ensemble(&self, number: usize, trained: &[Trained]) -> Trained {
        let start = Instant::now();
        let outputs: Vec<&[f32]> =
            trained.iter().map(|trained| trained.outputs.as_slice()).collect();
        let weights = weigh(&outputs, &self.valid, &self.prepared.target);
        let mut mean = vec![0.0; outputs[0].len()];
        let mut gains = vec![0.0; self.prepared.columns.len()];
        let (mut voices, mut members, mut words) = (Vec::new(), Vec::new(), Vec::new());
        for (member, &weight) in trained.iter().zip(&weights).filter(|(_, weight)| **weight > 0.0) {
            mean.iter_mut().zip(&member.outputs).for_each(|(sum, value)| *sum += weight * value);
            gains
                .iter_mut()
                .zip(&member.gains)
                .for_each(|(sum, gain)| *sum += f64::from(weight) * gain);
            let Model { voices: own, power, .. } = &member.candidate.model;
            voices.extend(own.iter().map(|voice| Voice {
                weight,
                power: *power,
                part: voice.part.clone(),
            }));
            members.push((member.candidate.number, weight));
            words.push(format!("{:.0} % of candidate {}", 100.0 * weight, member.candidate.number));
        }
        let description = format!("weighted mean: {}", words.join(", "));
        let algorithm = Algorithm::WeightedEnsemble;
        let mut out =
            self.finish(number, algorithm, description, voices, mean, gains, start.elapsed());
        out.members = members;
        out
    }

    /// Whether the winner can be trained again within the budget.
    pub(crate) fn has_time_for(&self, best: &Trained, all: &[Trained]) -> bool {
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
    pub(crate) fn refit(&self, specs: &[Spec], trained: &mut [Trained], best: usize, whole: Split) {
        let limits = Limits { deadline: None, stop: self.stop };
        let old = trained[best].candidate.model.clone();
        let fit = |(&(number, _), voice): (&(usize, f32), &Voice)| {
            let member = trained.iter().find(|one| one.candidate.number == number)?;
            let seed = self.settings.seed.wrapping_add(1_000 * number as u64);
            let learner = &specs.get(number - 1)?.learner;
            let fit = learner.fit(
                &self.data(&whole),
                &whole.train,
                None,
                Some(member.effort),
                &limits,
                seed,
            );
            Some(Voice { part: Arc::new(fit.part), ..voice.clone() })
        };
        let voices: Option<Vec<_>> =
            trained[best].members.iter().zip(&old.voices).map(fit).collect();
        // A fit that was cut short is worse than the model that is there.
        if let Some(voices) = voices.filter(|_| !self.stop.load(Ordering::Relaxed)) {
            let shared = self.prepared.shared(self.settings, &whole);
            trained[best].candidate.model = Model { shared, voices, ..old };
        }
    }
}

/// How many candidates are trained at the same time.
fn threads(candidates: usize) -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(4).min(candidates).max(1)
}
