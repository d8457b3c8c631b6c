//! Models, endpoint configs and endpoints in a customer's account: made or adopted,
//! moved, scaled, rolled back, removed. Each thing goes under a name that follows from
//! its run, so that doing it twice is doing it once.

mod clear;
mod deploy;
mod endpoint;
mod endpoint_config;
mod error;
mod gate;
mod jobs;
mod manage;
mod mover;
mod register;
mod response_keys;
mod scaling;
mod settle;

pub use deploy::{Deploy, Deployed, Deployment, deploy};
pub use endpoint::{Action, Endpoint, EndpointStep, step};
pub use error::HostingError;
pub use gate::{Contest, decide};
pub use manage::manage;
pub use register::{Register, Registered, register};
pub use response_keys::{Container, RESPONSE_KEYS, negotiate};
pub use settle::{Settle, Settled, settle};
