//! The models and containers that answer records, and the captured data and metrics that tell
//! of it. Uses [`crate::wire`], [`crate::records`] and [`crate::services`].

pub(crate) mod artifact;
pub(crate) mod capture;
pub(crate) mod container;
pub(crate) mod launch;
pub(crate) mod metrics;
pub(crate) mod pipeline;
pub(crate) mod predictor;
pub(crate) mod text;
pub(crate) mod traffic;
