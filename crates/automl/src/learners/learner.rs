//! One type for all algorithms with their settings, and one for all fitted models.

use serde::{Deserialize, Serialize};

use crate::features::binning::Bins;
use crate::features::dataset::Data;
use crate::learners::boosting::booster::Booster;
use crate::learners::boosting::settings::BoostingSettings;
use crate::learners::fit::{Fit, FitContext};
use crate::learners::linear::model::{Linear, LinearSettings};
use crate::learners::network::model::{Network, NetworkSettings};
use crate::rng::Rng;

/// An algorithm with its settings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Learner {
    Boosting(BoostingSettings),
    Linear(LinearSettings),
    Network(NetworkSettings),
}

/// A fitted learner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Fitted {
    Boosting(Booster),
    Linear(Linear),
    Network(Network),
}

impl Learner {
    /// Fits the algorithm, of very many rows to some.
    pub(crate) fn fit(&self, context: &FitContext<'_>) -> Fit<Fitted> {
        // Only on a thread of the pool are the many small forks inside cheap.
        rayon::scope(|_| {
            let most = self.most_rows(context.data);
            let train = Rng::new(context.seed, 7).sample(context.train, most);
            let context = &FitContext { train: &train, ..*context };
            match self {
                Self::Boosting(settings) => Booster::fit(settings, context).map(Fitted::Boosting),
                Self::Linear(settings) => Linear::fit(settings, context).map(Fitted::Linear),
                Self::Network(settings) => Network::fit(settings, context).map(Fitted::Network),
            }
        })
    }

    /// More rows than this cost more than they teach.
    fn most_rows(&self, data: &Data<'_>) -> usize {
        let outputs = data.target.outputs();
        match self {
            Self::Boosting(_) => 2_000_000 / outputs.clamp(4, 40),
            Self::Network(_) => (60_000_000 / data.bins.width.max(10)).clamp(5_000, 200_000),
            Self::Linear(_) => {
                (40_000_000 / (data.bins.width.max(10) * outputs)).clamp(5_000, 100_000)
            }
        }
    }
}

impl Fitted {
    /// Predicts rows: one row of outputs for each.
    pub(crate) fn predict(
        &self,
        bins: &Bins,
        columns: &[Vec<f64>],
        encodings: &[Vec<f64>],
        out: &mut [f32],
    ) {
        match self {
            Self::Boosting(model) => model.predict(&bins.bytes, bins.width, out),
            Self::Linear(model) => model.predict(columns, encodings, out),
            Self::Network(model) => model.predict(columns, encodings, out),
        }
    }

    pub(crate) fn is_sound(&self, outputs: usize, classes: usize, width: usize) -> bool {
        match self {
            Self::Boosting(model) => model.is_sound(outputs, classes, width),
            Self::Linear(model) => model.is_sound(outputs, classes, width),
            Self::Network(model) => model.is_sound(outputs, classes, width),
        }
    }
}
