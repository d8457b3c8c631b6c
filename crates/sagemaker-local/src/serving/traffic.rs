//! The fleets behind an endpoint, and the part of the traffic that each variant gets.

use std::sync::Arc;

use crate::serving::capture::Capture;
use crate::serving::pipeline::Pipeline;

/// The variants that one configuration of an endpoint runs.
pub(crate) type Serving = Vec<Arc<Variant>>;

/// A production variant at work.
#[derive(Clone)]
pub(crate) struct Variant {
    pub(crate) name: String,
    pub(crate) weight: f64,
    pub(crate) serverless: bool,
    /// The model's execution role.
    pub(crate) role: String,
    pub(crate) capture: Option<Arc<Capture>>,
    pub(crate) pipeline: Arc<Pipeline>,
}

/// The fleets that answer for an endpoint: one or, during an update, two.
#[derive(Clone)]
pub(crate) struct Traffic {
    pub(crate) old: Serving,
    /// The new fleet and its share of the traffic, between 0 and 1.
    pub(crate) new: Option<(Serving, f64)>,
}

impl Traffic {
    /// Gives one fleet everything.
    pub(crate) fn whole(serving: Serving) -> Self {
        Self { old: serving, new: None }
    }

    /// Every variant of both fleets with its part of the traffic.
    pub(crate) fn weighted(&self) -> Vec<(Arc<Variant>, f64)> {
        let (new, share) = self.new.as_ref().map_or((&[][..], 0.0), |(new, share)| (new, *share));
        let part = |fleet: &[Arc<Variant>], share: f64| {
            let total: f64 = fleet.iter().map(|variant| variant.weight).sum();
            let weight = |weight: f64| if total > 0.0 { weight / total * share } else { 0.0 };
            fleet
                .iter()
                .map(|variant| (variant.clone(), weight(variant.weight)))
                .collect::<Vec<_>>()
        };
        let mut all = part(&self.old, 1.0 - share);
        all.extend(part(new, share));
        all
    }
}
