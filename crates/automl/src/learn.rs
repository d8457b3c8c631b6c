//! Fits any learner, and what all of them leave behind.

use serde::{Deserialize, Serialize};

use crate::boost::{Boost, BoostSettings};
use crate::budget::Limits;
use crate::dataset::Data;
use crate::encode::Bins;
use crate::linear::{Linear, LinearSettings};
use crate::network::{Network, NetworkSettings};
use crate::rng::Rng;

/// An algorithm with its settings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Learner {
    Boost(BoostSettings),
    Linear(LinearSettings),
    Network(NetworkSettings),
}

/// A trained learner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Part {
    Boost(Boost),
    Linear(Linear),
    Network(Network),
}

/// One fit and what it found out.
pub(crate) struct Fit {
    pub(crate) part: Part,
    /// What the validation rows decided: the rounds or the regularisation.
    pub(crate) effort: f64,
    /// How much each encoded feature matters, in any unit.
    pub(crate) gains: Vec<f64>,
}

impl Learner {
    /// Trains on `train`. `valid` rows decide how long or how freely to learn;
    /// without them, `effort` does: the result of earlier fits.
    pub(crate) fn fit(
        &self,
        data: &Data<'_>,
        train: &[u32],
        valid: Option<&[u32]>,
        effort: Option<f64>,
        limits: &Limits<'_>,
        seed: u64,
    ) -> Fit {
        // Only on a thread of the pool are the many small forks inside cheap.
        rayon::scope(|_| {
            let mut gains = vec![0.0; data.bins.width];
            let train = Rng::new(seed, 7).sample(train, self.most_rows(data));
            match self {
                Self::Boost(settings) => {
                    let mut settings = *settings;
                    if let Some(effort) = effort {
                        settings.rounds = (effort.round() as usize).max(1);
                    }
                    let (model, rounds) =
                        Boost::fit(data, &train, valid, &settings, limits, seed, &mut gains);
                    Fit { part: Part::Boost(model), effort: rounds as f64, gains }
                }
                Self::Linear(settings) => {
                    let (model, effort) =
                        Linear::fit(data, &train, valid, effort, settings, limits, &mut gains);
                    Fit { part: Part::Linear(model), effort, gains }
                }
                Self::Network(settings) => {
                    let (model, effort) = Network::fit(
                        data, &train, valid, effort, settings, limits, seed, &mut gains,
                    );
                    Fit { part: Part::Network(model), effort, gains }
                }
            }
        })
    }

    /// More rows than this cost more than they teach.
    fn most_rows(&self, data: &Data<'_>) -> usize {
        let outputs = data.target.outputs();
        match self {
            Self::Boost(_) => 2_000_000 / outputs.clamp(4, 40),
            Self::Network(_) => (60_000_000 / data.bins.width.max(10)).clamp(5_000, 200_000),
            Self::Linear(_) => {
                (40_000_000 / (data.bins.width.max(10) * outputs)).clamp(5_000, 100_000)
            }
        }
    }
}

impl Part {
    /// Predicts rows: one row of outputs for each.
    pub(crate) fn predict(
        &self,
        bins: &Bins,
        columns: &[Vec<f64>],
        extra: &[Vec<f64>],
        out: &mut [f32],
    ) {
        match self {
            Self::Boost(model) => model.predict(&bins.bytes, bins.width, out),
            Self::Linear(model) => model.predict(columns, extra, out),
            Self::Network(model) => model.predict(columns, extra, out),
        }
    }

    pub(crate) fn is_sound(&self, outputs: usize, classes: usize, width: usize) -> bool {
        match self {
            Self::Boost(model) => model.is_sound(outputs, classes, width),
            Self::Linear(model) => model.is_sound(outputs, classes, width),
            Self::Network(model) => model.is_sound(outputs, classes, width),
        }
    }
}
