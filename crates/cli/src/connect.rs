//! The cloud that a command works on: the local one that is up, or AWS.

use std::path::Path;

use crosspilot_core::aws;
use crosspilot_local::accounts::SAAS_ACCOUNT;
use crosspilot_local::cloud::SAAS_STACK;
use crosspilot_local::state::Running;
use crosspilot_operator::Vendor;

use crate::failure::Failure;

/// The vendor's side, on AWS with a named profile or on the local cloud.
pub(crate) async fn vendor(home: &Path, aws: Option<String>) -> Result<Vendor, Failure> {
    let config = match aws {
        Some(profile) => aws::loader().profile_name(profile).load().await,
        None => running(home).await?.endpoints.administrator(SAAS_ACCOUNT),
    };
    Ok(Vendor::connect(config, SAAS_STACK).await?)
}

/// The local cloud that is up.
pub(crate) async fn running(home: &Path) -> Result<Running, Failure> {
    Running::find(home).await?.ok_or_else(|| Failure::NotUp(home.to_owned()))
}
