//! The AutoML engine, as a job uses it.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use crosspilot_automl::{Analysis, Ending, Event, Settings, Table};
use crosspilot_metrics::Metric;

use crate::autopilot::input::Files;
use crate::autopilot::request::AutoMlPlan;
use crate::serving::predictor::Predictor;

/// The tables that a job trains on, and the settings.
pub(crate) struct Training {
    pub(crate) training: Table,
    pub(crate) validation: Option<Table>,
    settings: Settings,
}

/// A candidate that is trained.
#[derive(Debug, Clone)]
pub(crate) struct Trained {
    pub(crate) number: usize,
    pub(crate) algorithm: &'static str,
    pub(crate) objective: f64,
    pub(crate) metrics: Vec<(Metric, f64)>,
    /// Numbers of validation rows by true and predicted label; empty for numbers.
    pub(crate) confusion: Vec<Vec<u64>>,
    pub(crate) seconds: f64,
    pub(crate) predictor: Predictor,
}

/// The news that training gives on its way.
pub(crate) enum Progress {
    /// The candidate of this number is being trained.
    Started(usize),
    /// A candidate is trained.
    Trained(Box<Trained>),
}

/// The end of training, with the best candidate in its final form.
pub(crate) struct Outcome {
    pub(crate) best: Trained,
    /// The table that the best candidate was trained on.
    pub(crate) training: Table,
    pub(crate) out_of_time: bool,
}

impl Training {
    /// Reads the files and finds out what is to be predicted; why not, in words
    /// for a `FailureReason`.
    pub(crate) fn prepare(
        plan: &AutoMlPlan,
        training: Files,
        validation: Option<Files>,
        max_candidates: u32,
        seed: u64,
    ) -> Result<(Self, Analysis), String> {
        let defaults = Settings::default();
        let settings = Settings {
            target: plan.target.clone(),
            problem_type: plan.objective.map(|(problem, _)| problem),
            metric: plan.objective.map(|(_, metric)| metric),
            max_candidates: usize::try_from(max_candidates).unwrap_or(usize::MAX),
            trial_budget: plan.max_seconds_per_candidate.map(Duration::from_secs),
            validation_fraction: plan.validation_fraction,
            weight_column: plan.weight.clone(),
            seed,
            ..defaults
        };
        let training = training.read()?;
        let validation = validation.map(Files::read).transpose()?;
        let analysis =
            crosspilot_automl::analyze(&training, &settings).map_err(|error| error.to_string())?;
        Ok((Self { training, validation, settings }, analysis))
    }

    /// Trains candidates until the plan is done, `deadline` has come or `stop`
    /// is set; each is reported when it is begun and when it is trained.
    pub(crate) fn run(
        mut self,
        deadline: Option<Instant>,
        stop: &AtomicBool,
        mut report: impl FnMut(Progress),
    ) -> Result<Outcome, String> {
        const FOREVER: Duration = Duration::from_secs(30 * 24 * 3600);
        self.settings.time_budget =
            deadline.map_or(FOREVER, |deadline| deadline.saturating_duration_since(Instant::now()));
        let mut observe = |event: Event<'_>| match event {
            Event::Started { number, .. } => report(Progress::Started(number)),
            Event::Finished(candidate) => {
                report(Progress::Trained(Box::new(Trained::from(candidate))));
            }
            Event::Analyzed(_) | Event::Refitting(_) => {}
        };
        let board = crosspilot_automl::train(
            &self.training,
            self.validation.as_ref(),
            &self.settings,
            &mut observe,
            stop,
        );
        let board = board.map_err(|error| error.to_string())?;
        let best = board.best().ok_or("No candidate could be trained.")?;
        Ok(Outcome {
            best: Trained::from(best),
            training: self.training,
            out_of_time: board.ending == Ending::OutOfTime,
        })
    }
}

impl From<&crosspilot_automl::Candidate> for Trained {
    fn from(candidate: &crosspilot_automl::Candidate) -> Self {
        Self {
            number: candidate.number,
            algorithm: candidate.algorithm.as_str(),
            objective: candidate.objective,
            metrics: candidate.metrics.clone(),
            confusion: candidate.confusion.clone(),
            seconds: candidate.fit_seconds,
            predictor: Predictor(candidate.model.clone()),
        }
    }
}
