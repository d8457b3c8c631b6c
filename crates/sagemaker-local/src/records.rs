//! The records that are kept of every account: the resources, and what can be read from them
//! alone. Uses [`crate::wire`], and nothing that acts.

pub(crate) mod automl_job;
pub(crate) mod candidate;
pub(crate) mod capture_config;
pub(crate) mod deployment_config;
pub(crate) mod endpoint;
pub(crate) mod endpoint_config;
pub(crate) mod job;
pub(crate) mod model;
pub(crate) mod resource;
pub(crate) mod resources;
pub(crate) mod running_variant;
pub(crate) mod scalable_target;
pub(crate) mod store;
pub(crate) mod transform_job;
