//! The proof of trust: AWS's own rule for vendors is to test that the role can
//! be assumed with the right external ID and cannot be without it. A role that
//! can is refused, since any other customer of ours could name it.

use crosspilot_core::aws::aws_config::SdkConfig;
use crosspilot_core::error::{CallError, Code, Coded};
use crosspilot_core::ids::{AccountId, ExternalId, RoleArn};
use crosspilot_core::run::RunId;
use crosspilot_core::session::{self, CustomerSession};
use crosspilot_core::tenant::Tenant;

/// Why a customer's role is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// It can be assumed without knowing the external ID.
    #[error(
        "role {role} can be assumed {how}: its trust policy must demand the external ID with StringEquals (see infra/customer.yaml)"
    )]
    TooOpen {
        /// The role.
        role: RoleArn,
        /// What sufficed.
        how: &'static str,
    },
    /// A probe was answered with something other than yes or no.
    #[error("the trust of role {role} could not be proven: {reason}")]
    Unproven {
        /// The role.
        role: RoleArn,
        /// What came instead.
        reason: String,
    },
    /// The role is in another account than the tenant declared.
    #[error("role {role} is in account {found}, not in the declared {declared}")]
    WrongAccount {
        /// The role.
        role: RoleArn,
        /// Where it is.
        found: String,
        /// Where it should be.
        declared: AccountId,
    },
}

impl Coded for TrustError {
    fn code(&self) -> Code {
        match self {
            TrustError::TooOpen { .. } => Code::TrustTooOpen,
            TrustError::Unproven { .. } | TrustError::WrongAccount { .. } => Code::TrustUnproven,
        }
    }
}

/// How AWS answered one probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The role was assumed.
    Assumed,
    /// AccessDenied.
    Denied,
    /// Anything else: not a proof.
    Unclear(String),
}

impl Verdict {
    fn of<T>(answer: Result<T, CallError>) -> Self {
        match answer {
            Ok(_) => Verdict::Assumed,
            Err(error) if error.aws_code() == "AccessDenied" => Verdict::Denied,
            Err(error) => Verdict::Unclear(error.to_string()),
        }
    }
}

/// Judges the two probes that must be refused.
pub fn judge(
    role: &RoleArn,
    without_id: Verdict,
    with_random_id: Verdict,
) -> Result<(), TrustError> {
    for (verdict, how) in
        [(without_id, "without an external ID"), (with_random_id, "with any external ID")]
    {
        match verdict {
            Verdict::Denied => {}
            Verdict::Assumed => return Err(TrustError::TooOpen { role: role.clone(), how }),
            Verdict::Unclear(reason) => {
                return Err(TrustError::Unproven { role: role.clone(), reason });
            }
        }
    }
    Ok(())
}

/// Opens a session with the right ID and probes that no other way works.
pub(crate) async fn prove(
    base: &SdkConfig,
    tenant: &Tenant,
    run: &RunId,
) -> Result<(), crate::Error> {
    let role = &tenant.role_arn;
    let random = ExternalId::generate()
        .map_err(|e| TrustError::Unproven { role: role.clone(), reason: e.to_string() })?;
    let probe = |id| session::assume(base, role, id, "crosspilot-trust-probe");
    let (session, without_id, with_random_id) = tokio::join!(
        CustomerSession::open(base, tenant, Some(run)),
        probe(None),
        probe(Some(&random)),
    );
    let session = session?;
    judge(role, Verdict::of(without_id), Verdict::of(with_random_id))?;

    let identity = session
        .sts()
        .get_caller_identity()
        .send()
        .await
        .map_err(|e| CallError::new("sts:GetCallerIdentity", role, &e))?;
    match identity.account {
        Some(found) if found == tenant.account.as_str() => Ok(()),
        found => Err(TrustError::WrongAccount {
            role: role.clone(),
            found: found.unwrap_or_default(),
            declared: tenant.account.clone(),
        }
        .into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn only_two_denials_prove_the_trust() {
        let role: RoleArn = "arn:aws:iam::222222222222:role/r".parse().unwrap();
        let unclear = || Verdict::Unclear("Throttling".into());
        assert_eq!(judge(&role, Verdict::Denied, Verdict::Denied), Ok(()));
        for (none, random, code) in [
            (Verdict::Assumed, Verdict::Denied, Code::TrustTooOpen),
            (Verdict::Denied, Verdict::Assumed, Code::TrustTooOpen),
            (Verdict::Denied, unclear(), Code::TrustUnproven),
            (unclear(), Verdict::Denied, Code::TrustUnproven),
        ] {
            assert_eq!(judge(&role, none, random).unwrap_err().code(), code);
        }
    }
}
