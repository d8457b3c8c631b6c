//! An endpoint at work: its variants, the course of an update, the way of an invocation.
//! Uses all below: [`crate::serving`], [`crate::services`], [`crate::records`],
//! [`crate::wire`], in the [`crate::Cloud`] that holds them.

pub(crate) mod invoke;
pub(crate) mod rollout;
pub(crate) mod traffic_plan;
pub(crate) mod variants;
