//! An endpoint at work: its fleets, the course of an update, the way of an invocation. Uses
//! the [`crate::cloud`] and what that holds.

mod fleet;
pub(crate) mod invoke;
pub(crate) mod rollout;
pub(crate) mod scaling;
pub(crate) mod traffic_plan;
