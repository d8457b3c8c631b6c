//! The doubts that a failure disproves: what ends the proof is often what it was to find out.
//!
//! A failure that could as well be of something else (no instances, a quota, a fault of AWS's)
//! disproves nothing: then the doubt stays open, and its evidence is the failure.

use crosspilot_core::error::Code;
use crosspilot_core::stage::Stage;
use crosspilot_operator::OperatorError;

use super::doubts::{DoubtVerdict, Findings};
use crate::failure::Failure;

/// STS's error code for session policies and tags that are too large (API reference of STS,
/// AssumeRole, "Errors").
const TOO_LARGE: &str = "PackedPolicyTooLarge";

/// Codes of failures that a second attempt, a higher quota or more time may heal, or that are
/// nobody's word about AWS.
const PASSING: &[Code] = &[
    Code::Throttled,
    Code::Unavailable,
    Code::QuotaReached,
    Code::RunStopped,
    Code::RunTimedOut,
    Code::FunctionTimedOut,
    Code::FunctionDied,
    Code::Internal,
];

/// Kinds of SageMaker's reasons that say the same, as [`crosspilot_core::said::Said`] tells them.
const PASSING_KINDS: &[&str] = &[
    "CapacityError",
    "AWS has no such instances now",
    "ResourceLimitExceeded",
    "a quota is used up",
    "InternalServerError",
];

/// Notes what a failure that ended the proof says: the doubts that it disproves fail, those that
/// it kept from being asked are open because of it.
pub(super) fn note(findings: &mut Findings, failure: &Failure) {
    let (disproven, ended) = match failure {
        Failure::RunFailed { stage, code, cause, .. } => {
            (disproven(stage, code, cause), format!("a run failed at {stage} with {code}"))
        }
        Failure::Vendor(OperatorError::NotDone { code, cause, .. }) => {
            let at = Stage::Manage.as_str();
            (disproven(at, code, cause), format!("what was asked of a model failed with {code}"))
        }
        _ => (Vec::new(), in_one_line(failure)),
    };
    for doubt in disproven {
        findings.judge(doubt, false, in_one_line(failure));
    }
    findings.leave_open(&format!("not reached: {ended}"));
}

/// Gives what a failure says as evidence, which stands in one row of a table.
pub(super) fn in_one_line(failure: &Failure) -> String {
    failure.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Tells whether a run failed after its job had ended well.
pub(super) fn is_after_training(failure: &Failure) -> bool {
    let after = [Stage::Register, Stage::Score, Stage::Compare, Stage::Deploy, Stage::Predict];
    match failure {
        Failure::RunFailed { stage, .. } => after.iter().any(|known| known.as_str() == stage),
        _ => false,
    }
}

/// Gives the doubts that a failure of a run, or of something else that a state machine does,
/// disproves.
pub(super) fn disproven(stage: &str, code: &str, cause: &str) -> Vec<&'static str> {
    // One that died outside its failure path was in the midst of a stage: "train · InProgress".
    let stage = stage.split(" · ").next().unwrap_or_default();
    let is = |known: Code| code == known.as_str();
    let at = |known: Stage| stage == known.as_str();
    let says = |words: &str| cause.contains(words);
    let judged = [
        ("machines-run", ["States.QueryEvaluationError", "States.Runtime"].contains(&code)),
        (
            "trust-holds",
            is(Code::TrustRefused)
                || is(Code::TrustTooOpen)
                || is(Code::AccessDenied) && says("sts:AssumeRole on "),
        ),
        // The run's own data are known to be fit, and have a header.
        (
            "sets-aside",
            at(Stage::StartJob) && is(Code::DataUnfit) && says("SageMaker refuses the data"),
        ),
        (
            "execution-role",
            (at(Stage::StartJob) || at(Stage::Train))
                && (says("assume role")
                    || says("may not assume the execution role")
                    || says("a role may not do what is needed")),
        ),
        ("job-as-asked", at(Stage::StartJob) && is(Code::Conflict) && says("it is not this run's")),
        (
            "container-form",
            at(Stage::Register) && is(Code::Conflict) && says("it is not this run's"),
        ),
        (
            "instance-memory",
            at(Stage::Deploy) && says("ping health check")
                || at(Stage::Predict) && container_status(cause).is_some_and(is_fault),
        ),
        ("session-policies", says(TOO_LARGE)),
        ("scaling-registered", says("application-autoscaling:") && lasts(code, cause)),
    ];
    judged.into_iter().filter(|(_, disproven)| *disproven).map(|(doubt, _)| doubt).collect()
}

/// Tells whether an endpoint that was to move was kept from it by more than bad luck.
pub(super) fn keeps_from_moving(failure: &Failure) -> bool {
    match failure {
        Failure::RunFailed { stage, code, cause, .. } => {
            stage == Stage::Deploy.as_str() && lasts(code, cause)
        }
        Failure::Vendor(OperatorError::NotDone { code, cause, .. }) => lasts(code, cause),
        _ => false,
    }
}

/// Judges the session policies of a run that ended well, by what it warns of.
pub(super) fn session_policies(warnings: &[String], assumed: &str) -> DoubtVerdict {
    let warning = |words: &str| warnings.iter().find(|warning| warning.contains(words)).cloned();
    // Settling is tried again after the run: why it failed is not in the warning.
    match (warning(TOO_LARGE), warning("could not be settled")) {
        (Some(warning), _) => DoubtVerdict::Fails(warning),
        (None, Some(warning)) => DoubtVerdict::Open(warning),
        (None, None) => DoubtVerdict::Holds(assumed.to_owned()),
    }
}

fn lasts(code: &str, cause: &str) -> bool {
    !PASSING.iter().any(|passing| passing.as_str() == code)
        && !PASSING_KINDS.iter().any(|kind| cause.contains(*kind))
}

/// The status with which a model's container refused a request, as
/// [`crosspilot_core::said::Said`] tells it.
fn container_status(cause: &str) -> Option<u16> {
    let (_, rest) = cause.split_once("container refused the request with status ")?;
    rest.split(|next: char| !next.is_ascii_digit()).next()?.parse().ok()
}

/// Status 0 is SageMaker's for a container that gives no answer, as one that was killed.
fn is_fault(status: u16) -> bool {
    status == 0 || status >= 500
}

#[cfg(test)]
mod tests {
    use crosspilot_core::error::CallError;
    use crosspilot_core::said::Said;

    use super::*;

    const NONE: [&str; 0] = [];

    fn of(stage: Stage, code: Code, cause: &str) -> Vec<&'static str> {
        disproven(stage.as_str(), code.as_str(), cause)
    }

    /// As `check-status` tells of a job or an endpoint that failed.
    fn ended(reason: &str) -> String {
        format!("endpoint e ended as Failed: {}", Said::new(reason).reason("describe-it"))
    }

    fn refused(code: Code, operation: &'static str, aws_code: &str, message: &str) -> String {
        CallError::refused(code, operation, "it", aws_code, message).to_string()
    }

    #[test]
    fn an_expression_that_throws_disproves_that_the_machines_run() {
        let found = disproven("train · InProgress", "States.QueryEvaluationError", "no value");
        assert_eq!(found, ["machines-run"]);
        assert_eq!(disproven("train", "States.Timeout", "no value"), NONE);
    }

    #[test]
    fn a_function_that_may_not_assume_the_role_disproves_the_trust() {
        let denied = |operation| refused(Code::AccessDenied, operation, "AccessDenied", "no");
        let at = |operation| of(Stage::Score, Code::AccessDenied, &denied(operation));
        assert_eq!(at("sts:AssumeRole"), ["trust-holds"]);
        assert_eq!(at("sagemaker:CreateTransformJob"), NONE);
        assert_eq!(of(Stage::Assume, Code::TrustRefused, "no"), ["trust-holds"]);
        assert_eq!(of(Stage::Assume, Code::TrustTooOpen, "no"), ["trust-holds"]);
    }

    #[test]
    fn a_copy_of_the_data_that_is_refused_disproves_that_it_is_trained_on() {
        let cause = "SageMaker refuses the data under s3://b/p: no such column";
        assert_eq!(of(Stage::StartJob, Code::DataUnfit, cause), ["sets-aside"]);
        assert_eq!(of(Stage::StartJob, Code::DataUnfit, "too few rows"), NONE);
    }

    #[test]
    fn a_role_that_autopilot_does_not_take_is_disproven_at_once_or_by_the_job() {
        let at_once = refused(
            Code::RequestInvalid,
            "sagemaker:CreateAutoMLJobV2",
            "ValidationException",
            "Could not assume role r.",
        );
        assert_eq!(of(Stage::StartJob, Code::RequestInvalid, &at_once), ["execution-role"]);
        for reason in ["SageMaker could not assume role r", "AccessDenied when calling GetObject"] {
            assert_eq!(of(Stage::Train, Code::NoCandidate, &ended(reason)), ["execution-role"]);
        }
        for reason in ["AlgorithmError: 1", "CapacityError: none", "something new"] {
            assert_eq!(of(Stage::Train, Code::NoCandidate, &ended(reason)), NONE, "{reason}");
        }
    }

    #[test]
    fn what_is_not_known_again_disproves_how_it_is_described() {
        let cause = "it exists with another target; it is not this run's: remove it";
        assert_eq!(of(Stage::StartJob, Code::Conflict, cause), ["job-as-asked"]);
        assert_eq!(of(Stage::Register, Code::Conflict, cause), ["container-form"]);
        assert_eq!(of(Stage::Deploy, Code::Conflict, cause), NONE);
    }

    #[test]
    fn an_endpoint_that_does_not_load_or_answer_disproves_the_instances_memory() {
        let ping = ended("The primary container did not pass the ping health check.");
        assert_eq!(of(Stage::Deploy, Code::ResourceFailed, &ping), ["instance-memory"]);
        for reason in ["CapacityError: none", "something new"] {
            assert_eq!(of(Stage::Deploy, Code::ResourceFailed, &ended(reason)), NONE, "{reason}");
        }
        for (status, expected) in [
            ("server error (500)", true),
            ("server error (0)", true),
            ("client error (400)", false),
        ] {
            let words = format!("Received {status} from primary with message \"x\".");
            let cause = Said::new(words).model_error("e");
            let found = of(Stage::Predict, Code::RequestInvalid, &cause);
            assert_eq!(found == ["instance-memory"], expected, "{status}: {found:?}");
        }
    }

    #[test]
    fn a_session_that_is_too_large_disproves_the_session_policies_wherever_it_is_opened() {
        for aws_code in ["PackedPolicyTooLarge", "PackedPolicyTooLargeException"] {
            let cause = refused(Code::RequestInvalid, "sts:AssumeRole", aws_code, "101 %");
            for stage in [Stage::StartJob, Stage::Deploy, Stage::Manage] {
                assert_eq!(of(stage, Code::RequestInvalid, &cause), ["session-policies"]);
            }
        }
    }

    #[test]
    fn a_refusal_of_auto_scalings_disproves_that_its_permissions_suffice() {
        let cause =
            |code| refused(code, "application-autoscaling:DeregisterScalableTarget", "X", "no");
        for (code, expected) in [(Code::AccessDenied, true), (Code::Throttled, false)] {
            let found = of(Stage::Deploy, code, &cause(code));
            assert_eq!(found == ["scaling-registered"], expected, "{code}: {found:?}");
        }
    }

    #[test]
    fn a_run_that_could_not_settle_leaves_its_session_open() {
        let judged = |warning: &str| session_policies(&[warning.to_owned()], "all");
        assert_eq!(session_policies(&[], "all"), DoubtVerdict::Holds("all".into()));
        assert_eq!(judged("e does not scale"), DoubtVerdict::Holds("all".into()));
        let unsettled = "what the run leaves behind could not be settled (RequestInvalid)";
        assert_eq!(judged(unsettled), DoubtVerdict::Open(unsettled.into()));
        assert!(matches!(judged("PackedPolicyTooLarge: 101 %"), DoubtVerdict::Fails(_)));
    }

    fn failed(stage: Stage, code: Code, cause: String) -> Failure {
        let (status, arn) = ("FAILED".to_owned(), "arn".to_owned());
        Failure::RunFailed { status, stage: stage.to_string(), code: code.to_string(), cause, arn }
    }

    #[test]
    fn a_run_that_failed_later_has_a_job_to_look_at() {
        let after = |stage| is_after_training(&failed(stage, Code::Internal, String::new()));
        assert!(after(Stage::Register) && after(Stage::Predict));
        assert!(!after(Stage::StartJob) && !after(Stage::Train));
        assert!(!is_after_training(&Failure::NoRun(1)));
    }

    #[test]
    fn an_endpoint_without_instances_to_move_to_leaves_the_move_open() {
        let (code, why) = (Code::ResourceFailed, "CloudWatch alarms went off");
        assert!(keeps_from_moving(&failed(Stage::Deploy, code, ended(why))));
        assert!(!keeps_from_moving(&failed(Stage::Deploy, code, ended("CapacityError: none"))));
        assert!(!keeps_from_moving(&failed(Stage::Deploy, Code::RunTimedOut, ended(why))));
        assert!(!keeps_from_moving(&failed(Stage::Train, code, ended(why))));
    }

    #[test]
    fn what_ended_the_proof_is_the_evidence_of_what_it_disproves_and_of_what_is_open() {
        let mut findings = Findings::default();
        findings.judge("trust-holds", true, "active");
        let cause = ended("The primary container did not pass the ping health check.");
        note(&mut findings, &failed(Stage::Deploy, Code::ResourceFailed, cause));
        let table = findings.table("never");
        let of = |name: &str| table.iter().find(|(doubt, _)| doubt.name == name).map(|(_, it)| it);
        assert_eq!(of("trust-holds"), Some(&DoubtVerdict::Holds("active".into())));
        let Some(DoubtVerdict::Fails(evidence)) = of("instance-memory") else {
            panic!("{table:?}");
        };
        assert!(evidence.contains("ping health check") && !evidence.contains('\n'), "{evidence}");
        let open = "not reached: a run failed at deploy with ResourceFailed";
        assert_eq!(of("rollback"), Some(&DoubtVerdict::Open(open.into())));
    }
}
