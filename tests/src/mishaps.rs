//! The mishaps on the local cloud that a test wants, and time that seems to have passed.

use std::time::Duration;

use crosspilot_core::ids::AccountId;
use crosspilot_local::LocalCloud;
use crosspilot_local::accounts::REGION;
use crosspilot_sagemaker_local::Fault;
use crosspilot_sagemaker_local::authority::AuthorityError;

/// The acts of tests on a local cloud that nobody else does.
#[allow(async_fn_in_trait, reason = "one type has it, whose futures are known")]
pub trait Mishaps {
    /// Makes calls go wrong: those of the emulator are named with their service, such
    /// as `s3:GetObject`.
    async fn inject(&self, fault: Fault) -> Result<(), AuthorityError>;

    /// Counts the faults about this text that have not struck yet.
    async fn faults_to_come(&self, about: &str) -> Result<u32, AuthorityError>;

    /// Lets an endpoint look as if all had happened so much earlier to it.
    async fn age_endpoint(
        &self,
        account: &AccountId,
        name: &str,
        by: Duration,
    ) -> Result<(), AuthorityError>;
}

impl Mishaps for LocalCloud {
    async fn inject(&self, fault: Fault) -> Result<(), AuthorityError> {
        if fault.operation.contains(':') {
            self.authority().inject(&fault).await?;
        } else {
            self.sagemaker().inject(fault);
        }
        Ok(())
    }

    async fn faults_to_come(&self, about: &str) -> Result<u32, AuthorityError> {
        let of_emulator = self.authority().faults_to_come(about).await?;
        Ok(of_emulator + self.sagemaker().faults_to_come(about))
    }

    async fn age_endpoint(
        &self,
        account: &AccountId,
        name: &str,
        by: Duration,
    ) -> Result<(), AuthorityError> {
        self.sagemaker().age_endpoint(account.as_str(), REGION, name, by);
        self.authority().age_metrics(account.as_str(), REGION, name, by).await
    }
}
