//! The core that every part of Crosspilot shares: the types that cannot be wrong, the
//! tenant registry, the session into a customer's account, names, errors.
//!
//! Nothing here knows that a local cloud exists: only the SDK's standard
//! `AWS_ENDPOINT_URL*` variables differ there.

pub mod aws;
pub mod bucket;
pub mod cloudwatch;
pub mod decision;
pub mod error;
pub mod events;
#[cfg(test)]
mod example;
pub mod execution;
pub mod failure;
pub mod failure_page;
pub mod gathering;
pub mod html;
pub mod ids;
pub mod instances;
pub mod lambda;
pub mod layout;
pub mod listing;
pub mod manage;
pub mod policy;
pub mod polling;
pub mod registry;
pub mod run;
pub mod sagemaker;
pub mod said;
pub mod session;
pub mod settings;
pub mod stage;
pub mod tenant;
pub mod verification;
