//! The context that every learner is fitted in, and the result of a fit.

use crate::features::dataset::Data;
use crate::learners::limits::Limits;

/// The rows, the limits and the seed of one fit.
#[derive(Clone, Copy)]
pub(crate) struct FitContext<'a> {
    pub(crate) data: &'a Data<'a>,
    /// Rows to learn from.
    pub(crate) train: &'a [u32],
    pub(crate) stopping: Stopping<'a>,
    pub(crate) limits: Limits<'a>,
    pub(crate) seed: u64,
}

/// The choice of a model's complexity.
#[derive(Clone, Copy)]
pub(crate) enum Stopping<'a> {
    /// The loss on these held-out rows.
    HeldOut(&'a [u32]),
    /// The result of earlier fits.
    Fixed(Complexity),
}

/// The complexity of a fitted model: how long or how freely its learner learned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Complexity {
    /// Rounds of boosting.
    Rounds(f64),
    /// Passes of a network over the rows.
    Epochs(f64),
    /// Strength of a linear model's L2 regularisation.
    Strength(f64),
}

impl Complexity {
    /// The mean over the fits of one learner; `None` without any.
    pub(crate) fn mean(all: &[Self]) -> Option<Self> {
        let number = |one: &Self| match *one {
            Self::Rounds(number) | Self::Epochs(number) | Self::Strength(number) => number,
        };
        let mean = all.iter().map(number).sum::<f64>() / all.len() as f64;
        all.first().map(|first| match first {
            Self::Rounds(_) => Self::Rounds(mean),
            Self::Epochs(_) => Self::Epochs(mean),
            Self::Strength(_) => Self::Strength(mean),
        })
    }
}

/// A fitted model and what was found out on the way.
pub(crate) struct Fit<M> {
    pub(crate) model: M,
    pub(crate) complexity: Complexity,
    /// The importance of each encoded feature, in any unit.
    pub(crate) importance: Vec<f64>,
}

impl<'a> FitContext<'a> {
    /// The rows that decide when to stop, if any do.
    pub(crate) fn held_out(&self) -> Option<&'a [u32]> {
        match self.stopping {
            Stopping::HeldOut(rows) => Some(rows),
            Stopping::Fixed(_) => None,
        }
    }
}

impl<M> Fit<M> {
    /// Changes the model's type and keeps the rest.
    pub(crate) fn map<N>(self, to: impl FnOnce(M) -> N) -> Fit<N> {
        let Self { model, complexity, importance } = self;
        Fit { model: to(model), complexity, importance }
    }
}
