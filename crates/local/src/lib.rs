//! The local cloud: two AWS accounts on this machine, in which the same
//! binaries, state machines and templates run as on AWS.
//!
//! - [`cloud`] brings it up and takes it down: the emulator (MiniStack) for all
//!   general AWS services, deployed to through CloudFormation.
//! - [`crosspilot_sagemaker_local`] is the one service that no emulator has: it really
//!   trains, ranks, deploys and predicts, and asks the emulator who is calling and what
//!   they may do, so the permissions that count are the ones deployed from our templates.
//! - [`administrators`] have keys of their own, and nobody is root without one.
//! - [`identity`] stands for the vendor's identity provider.
//! - [`stacks`] packages and deploys the templates, here and on AWS.
//! - [`state`] is what a running cloud leaves on disk for other commands.

pub mod accounts;
pub mod administrators;
#[cfg(test)]
mod client_test;
pub mod cloud;
mod directory;
mod emulator;
pub mod functions;
pub mod identity;
pub mod install;
mod saved_state;
pub mod stacks;
pub mod state;

pub use saved_state::SavedStateError;

pub use cloud::{CloudError, LocalCloud, Onboarding, Options};
