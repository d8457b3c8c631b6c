//! The proof of trust: AWS's own rule for vendors is to test that the role can
//! be assumed with the right external ID and cannot be without it. A role that
//! can is refused, since any other customer of ours could name it.

use crosspilot_core::error::{CallError, Code, Coded, Named};
use crosspilot_core::ids::{AccountId, ExternalId, RegionName, RoleArn};
use crosspilot_core::lambda::App;
use crosspilot_core::policy::Purpose;
use crosspilot_core::tenant::Tenant;

/// The reason why a customer's role is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// The role can be assumed without knowing the external ID.
    #[error(
        "role {role} can be assumed {how}: its trust policy must demand the external ID with StringEquals (see infra/customer.yaml)"
    )]
    TooOpen {
        /// The role.
        role: RoleArn,
        /// The words for what sufficed.
        how: &'static str,
    },
    /// The right external ID does not work.
    #[error(
        "role {role} does not take the tenant's external ID: the role or its stack is gone, or its trust policy was changed; its administrator deploys the customer template anew (print the line with `crosspilot tenant show --invitation`; where CloudFormation finds nothing to update, the stack is deleted first and made again with CreateBucket=false), then run `crosspilot tenant verify`"
    )]
    Refused {
        /// The role.
        role: RoleArn,
    },
    /// The customer's account has the region switched off.
    #[error(
        "region {region} is switched off in the account of role {role}: its administrator switches it on, or the tenant is registered in another region"
    )]
    Region {
        /// The role.
        role: RoleArn,
        /// The region.
        region: RegionName,
    },
    /// A probe was answered with something other than yes or no.
    #[error("the trust of role {role} could not be proven: {reason}")]
    Unproven {
        /// The role.
        role: RoleArn,
        /// The answer that came instead.
        reason: String,
        /// The code of a failure after which the same probe may be answered later.
        heals: Option<Code>,
    },
    /// The role is in another account than the tenant declared.
    #[error("role {role} is in account {found}, not in the declared {declared}")]
    WrongAccount {
        /// The role.
        role: RoleArn,
        /// The account that the role is in.
        found: String,
        /// The account that the tenant declared.
        declared: AccountId,
    },
}

impl TrustError {
    /// Tells whether the customer's side no longer is what was proven, as opposed to
    /// a question that was not answered.
    pub fn is_drift(&self) -> bool {
        match self {
            TrustError::TooOpen { .. }
            | TrustError::Refused { .. }
            | TrustError::WrongAccount { .. } => true,
            TrustError::Region { .. } | TrustError::Unproven { .. } => false,
        }
    }
}

impl Coded for TrustError {
    fn code(&self) -> Code {
        match self {
            TrustError::TooOpen { .. } => Code::TrustTooOpen,
            TrustError::Refused { .. } => Code::TrustRefused,
            TrustError::Region { .. } => Code::RegionDenied,
            TrustError::Unproven { heals: Some(code), .. } => *code,
            TrustError::Unproven { .. } | TrustError::WrongAccount { .. } => Code::TrustUnproven,
        }
    }
}

/// The answer of AWS to one probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// The role was assumed.
    Assumed,
    /// AccessDenied.
    Denied,
    /// Anything else: not a proof.
    Unclear(CallError),
}

impl ProbeOutcome {
    fn of(answer: Result<(), CallError>) -> Self {
        match answer {
            Ok(()) => ProbeOutcome::Assumed,
            Err(error) if error.aws_code() == "AccessDenied" => ProbeOutcome::Denied,
            Err(error) => ProbeOutcome::Unclear(error),
        }
    }
}

/// Judges the probes that must be refused, each with the words for what it
/// presented.
pub fn judge(role: &RoleArn, probes: [(ProbeOutcome, &'static str); 3]) -> Result<(), TrustError> {
    let mut proven = Ok(());
    for (verdict, how) in probes {
        match verdict {
            ProbeOutcome::Denied => {}
            ProbeOutcome::Assumed => return Err(TrustError::TooOpen { role: role.clone(), how }),
            ProbeOutcome::Unclear(error) => proven = Err(unproven(role, &error)),
        }
    }
    proven
}

fn unproven(role: &RoleArn, error: &CallError) -> TrustError {
    let heals = Some(error.code()).filter(|c| matches!(c, Code::Throttled | Code::Unavailable));
    TrustError::Unproven { role: role.clone(), reason: error.to_string(), heals }
}

/// Reads what it means that the right ID did not work.
fn refusal(tenant: &Tenant, error: CallError) -> crate::VerificationError {
    let role = tenant.role_arn.clone();
    match error.code() {
        // These heal, and say nothing about the trust.
        Code::Throttled | Code::Unavailable => error.into(),
        // Other refusals, such as SignatureDoesNotMatch, are of the vendor's own
        // credentials or clock.
        Code::AccessDenied if error.aws_code() == "AccessDenied" => {
            TrustError::Refused { role }.into()
        }
        Code::RegionDenied => TrustError::Region { role, region: tenant.region.clone() }.into(),
        _ => unproven(&role, &error).into(),
    }
}

/// Probes that the right ID works, that no other way does, and that the role is
/// where the tenant says. Every call is bounded by the SDK's time limits.
pub(crate) async fn probe(app: &App, tenant: &Tenant) -> Result<(), crate::VerificationError> {
    let role = &tenant.role_arn;
    let random = ExternalId::generate().map_err(|error| TrustError::Unproven {
        role: role.clone(),
        reason: error.to_string(),
        heals: None,
    })?;
    let near_miss = tenant.external_id.near_miss();
    let present = async |external_id| {
        ProbeOutcome::of(app.sessions.probe(tenant, Purpose::ProveTrust, external_id).await)
    };
    let (session, none, any, similar) = tokio::join!(
        app.sessions.open_anew(tenant, Purpose::ProveTrust),
        present(None),
        present(Some(&random)),
        present(Some(&near_miss)),
    );
    // Too open is worse than closed, so it is said first.
    let verdict = judge(
        role,
        [
            (none, "without an external ID"),
            (any, "with any external ID"),
            (similar, "with an external ID that only begins like the tenant's"),
        ],
    );
    if matches!(verdict, Err(TrustError::TooOpen { .. })) {
        return Ok(verdict?);
    }
    let session = session.map_err(|error| refusal(tenant, error))?;
    verdict?;

    let identity =
        session.sts().get_caller_identity().send().await.named("sts:GetCallerIdentity", role)?;
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
    fn only_denials_prove_the_trust() {
        let role: RoleArn = "arn:aws:iam::222222222222:role/r".parse().unwrap();
        let denied = || (ProbeOutcome::Denied, "a");
        let unclear = |code| {
            let error = CallError::refused(code, "sts:AssumeRole", &role, "X", "y");
            (ProbeOutcome::Unclear(error), "b")
        };
        let (odd, late) = (|| unclear(Code::RequestInvalid), || unclear(Code::Unavailable));
        let assumed = || (ProbeOutcome::Assumed, "c");
        assert_eq!(judge(&role, [denied(), denied(), denied()]), Ok(()));
        for (probes, code) in [
            ([assumed(), denied(), denied()], Code::TrustTooOpen),
            ([denied(), assumed(), denied()], Code::TrustTooOpen),
            ([denied(), denied(), assumed()], Code::TrustTooOpen),
            ([odd(), denied(), assumed()], Code::TrustTooOpen),
            ([denied(), odd(), denied()], Code::TrustUnproven),
            ([odd(), denied(), denied()], Code::TrustUnproven),
            ([denied(), late(), denied()], Code::Unavailable),
        ] {
            assert_eq!(judge(&role, probes).unwrap_err().code(), code);
        }
    }

    #[test]
    fn a_role_that_is_gone_is_made_again_also_where_its_stack_knows_of_no_change() {
        let role: RoleArn = "arn:aws:iam::222222222222:role/r".parse().unwrap();
        let said = TrustError::Refused { role }.to_string();
        let way = "where CloudFormation finds nothing to update, the stack is deleted first and made again with CreateBucket=false";
        assert!(said.contains(way), "{said}");
        assert!(include_str!("../../../infra/customer.yaml").contains("\n  CreateBucket:\n"));
    }

    #[test]
    fn each_answer_to_the_right_id_has_its_own_code() {
        let tenant: Tenant = serde_json::from_value(serde_json::json!({
            "tenant": "acme", "account": "222222222222", "region": "us-east-1",
            "role_arn": "arn:aws:iam::222222222222:role/r",
            "execution_role_arn": "arn:aws:iam::222222222222:role/e",
            "external_id": "cp-0123", "bucket": "acme-ml", "prefix": "p", "status": "active",
        }))
        .unwrap();
        for (answered, aws_code, code, drifted) in [
            (Code::AccessDenied, "AccessDenied", Code::TrustRefused, true),
            // The vendor's own credentials or clock.
            (Code::AccessDenied, "InvalidClientTokenId", Code::TrustUnproven, false),
            (Code::AccessDenied, "SignatureDoesNotMatch", Code::TrustUnproven, false),
            (Code::RegionDenied, "RegionDisabledException", Code::RegionDenied, false),
            (Code::RequestInvalid, "ValidationError", Code::TrustUnproven, false),
            // These heal: they are retried and never taken for drift.
            (Code::Throttled, "Throttling", Code::Throttled, false),
            (Code::Unavailable, "Timeout", Code::Unavailable, false),
        ] {
            let error = CallError::refused(answered, "sts:AssumeRole", "r", aws_code, "y");
            let found = refusal(&tenant, error);
            assert_eq!(found.code(), code);
            let drift =
                matches!(&found, crate::VerificationError::Trust(trust) if trust.is_drift());
            assert_eq!(drift, drifted, "{found}");
            assert!(!found.to_string().contains("cp-0123"), "{found}");
        }
    }
}
