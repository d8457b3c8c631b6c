//! The questions about AWS that no document settles, each with a name, and what
//! came of asking them.

use serde::Serialize;

/// A question about AWS on which the product rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Doubt {
    /// The doubt's name, in `docs/aws-proving.md` as well.
    pub(crate) name: &'static str,
    /// The claim that has to hold.
    pub(crate) claim: &'static str,
    /// The command that settles it, if it is not `crosspilot prove`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) by_hand: Option<&'static str>,
}

/// The result of asking.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", content = "evidence", rename_all = "lowercase")]
pub(crate) enum DoubtVerdict {
    /// The claim holds, as this shows.
    Holds(String),
    /// The claim does not hold, as this shows.
    Fails(String),
    /// The question was not asked, for this reason.
    Open(String),
}

/// Every doubt, in the order in which the command comes to them.
pub(crate) const DOUBTS: &[Doubt] = &[
    asked("machines-run", "Step Functions' own interpreter takes every state, with its errors"),
    asked("trust-holds", "the role admits the functions with the external ID and nobody else"),
    asked("odd-key", "S3 lists a key with a control character if asked to encode keys"),
    asked("unknown-target", "CreateAutoMLJobV2 refuses a target that the header lacks"),
    asked("unknown-transform-job", "an unknown transform job is a ValidationException"),
    asked("upload-starts-run", "an upload in one account starts a run in the other"),
    asked("sets-aside", "Autopilot trains on the run's copy of the data without held-out rows"),
    asked("execution-role", "Autopilot takes the execution role and its SourceAccount condition"),
    asked("job-as-asked", "a described job shows what was asked for, so that it is adopted"),
    asked("one-container", "ENSEMBLING gives models of one container"),
    asked("container-form", "a described model is recognised in whichever form it is shown"),
    asked("instance-memory", "the default instance type loads the model and answers"),
    asked("session-policies", "STS packs the session policies of a run, also with long names"),
    asked("results-key", "results are encrypted as the bucket's default without a key says"),
    asked("scaling-registered", "the narrow permissions suffice to register a scalable target"),
    asked("api-token", "the API refuses a caller without a token"),
    asked("api-other-paths", "the API hands what no route takes, without a token, to the function"),
    asked("api-answers", "the API answers a caller with a token"),
    asked("retraining-moves", "a second run moves the endpoint while it serves"),
    asked("rollback", "a rollback moves the endpoint back"),
    asked("serverless-update", "an endpoint with instances is not updated to serverless"),
    asked("nothing-left", "a removal leaves no endpoint, config, model or scalable target"),
    by_hand(
        "denied-probes",
        "the customer's CloudTrail shows the trust's probes as denied",
        "aws cloudtrail lookup-events --lookup-attributes AttributeKey=EventName,AttributeValue=AssumeRole",
    ),
    by_hand(
        "training-metrics",
        "the training instances' metrics arrive in the customer's CloudWatch",
        "aws cloudwatch list-metrics --namespace /aws/sagemaker/TrainingJobs",
    ),
    by_hand(
        "volume-key",
        "training, transform and endpoint start with a customer-managed volume key",
        "crosspilot tenant set TENANT --volume-key KEY && crosspilot run start TENANT MODEL",
    ),
    by_hand(
        "one-instance-canary",
        "SageMaker refuses a canary on one instance, as Crosspilot does before it",
        "aws sagemaker update-endpoint --endpoint-name NAME --endpoint-config-name OTHER --deployment-config file://canary.json",
    ),
    by_hand(
        "function-time-out",
        "a function that times out is Lambda.Unknown with a cause that is no JSON",
        "aws lambda update-function-configuration --function-name crosspilot-check-status --timeout 1 && crosspilot run start TENANT MODEL",
    ),
    by_hand(
        "failed-children",
        "a child of a Distributed Map that timed out and is tolerated gives no result, or one of Step Functions' own, and never one that looks like an answer",
        "aws stepfunctions create-state-machine with a Distributed Map as in manage.asl.json, ToleratedFailurePercentage 100, whose express children wait 301 s for every other item, then start-execution and describe-execution",
    ),
    by_hand(
        "dead-run-event",
        "an execution that is aborted while uploads wait in it is followed by another one",
        "aws stepfunctions stop-execution --execution-arn ARN",
    ),
    by_hand(
        "bus-principals",
        "one statement of the event bus's policy takes some 600 accounts",
        "crosspilot tenant add NAME --account ACCOUNT --region REGION, until it says that the bus is full",
    ),
    by_hand(
        "insights-form",
        "Autopilot's analysis.json and statistics.json have the form that the report reads",
        "the report of a run with training.hold_out = 0 shows shares of columns and a confusion matrix",
    ),
    by_hand(
        "throttled-api",
        "an HTTP API answers 503 for a function above its reserved concurrency",
        "aws lambda put-function-concurrency --function-name crosspilot-predict --reserved-concurrent-executions 1, then two predictions at once",
    ),
    by_hand(
        "gzip-body",
        "an HTTP API hands a body of type application/json+gzip to the function in base64",
        "gzip < body.json | curl API/v1/models/MODEL/predictions -H 'Authorization: Bearer TOKEN' -H 'Content-Type: application/json+gzip' --data-binary @-",
    ),
    by_hand(
        "untyped-request",
        "Autopilot's containers refuse a request without a content type (415)",
        "aws sagemaker-runtime invoke-endpoint --endpoint-name NAME --body fileb://row.csv answer.csv",
    ),
    by_hand(
        "control-plane-type",
        "SageMaker answers a request that is not application/x-amz-json-1.1 with <UnknownOperationException/> and 404",
        "curl --aws-sigv4 aws:amz:REGION:sagemaker --user KEY:SECRET -H 'X-Amz-Target: SageMaker.ListModels' -H 'Content-Type: application/json' -d '{}' -i https://api.sagemaker.REGION.amazonaws.com/",
    ),
    by_hand(
        "unknown-account",
        "an account that does not exist is refused when it is admitted to the event bus",
        "crosspilot tenant add nobody --account 999999999999 --region REGION",
    ),
    by_hand(
        "results-key-kms",
        "where the bucket's default is a customer-managed key (KmsKeyArn), results are encrypted with it",
        "aws s3api head-object --bucket BUCKET --key KEY, of a result and of an upload",
    ),
    by_hand(
        "weighted-columns",
        "a model that was trained with sample weights or a choice of features is asked with all columns but the target",
        "crosspilot run start TENANT MODEL, with training.sample_weight and training.features in its settings",
    ),
    by_hand(
        "missing-data",
        "a job whose data is not there is made, and fails later",
        "aws sagemaker create-auto-ml-job-v2 with a training channel under which nothing lies",
    ),
];

const fn asked(name: &'static str, claim: &'static str) -> Doubt {
    Doubt { name, claim, by_hand: None }
}

const fn by_hand(name: &'static str, claim: &'static str, command: &'static str) -> Doubt {
    Doubt { name, claim, by_hand: Some(command) }
}

/// The verdicts on the doubts so far.
#[derive(Debug, Default)]
pub(crate) struct Findings(Vec<(&'static str, DoubtVerdict)>);

impl Findings {
    /// Notes what came of asking. The name is one of [`DOUBTS`].
    pub(crate) fn note(&mut self, name: &'static str, verdict: DoubtVerdict) {
        debug_assert!(DOUBTS.iter().any(|doubt| doubt.name == name), "{name} is no doubt");
        self.0.push((name, verdict));
    }

    /// Notes that it holds, or that it does not.
    pub(crate) fn judge(&mut self, name: &'static str, holds: bool, evidence: impl Into<String>) {
        let evidence = evidence.into();
        self.note(
            name,
            if holds { DoubtVerdict::Holds(evidence) } else { DoubtVerdict::Fails(evidence) },
        );
    }

    /// Notes every doubt that has no verdict yet as open, for this reason.
    pub(crate) fn leave_open(&mut self, reason: &str) {
        for doubt in DOUBTS.iter().filter(|doubt| doubt.by_hand.is_none()) {
            if !self.0.iter().any(|(name, _)| *name == doubt.name) {
                self.note(doubt.name, DoubtVerdict::Open(reason.to_owned()));
            }
        }
    }

    /// Every doubt with its verdict. One that was not reached is open: `stopped`
    /// says why.
    pub(crate) fn table(&self, stopped: &str) -> Vec<(Doubt, DoubtVerdict)> {
        let verdict = |doubt: &Doubt| {
            if let Some(command) = doubt.by_hand {
                return DoubtVerdict::Open(format!("by hand: {command}"));
            }
            let found = self.0.iter().rev().find(|(name, _)| *name == doubt.name);
            found.map_or_else(
                || DoubtVerdict::Open(stopped.to_owned()),
                |(_, verdict)| verdict.clone(),
            )
        };
        DOUBTS.iter().map(|doubt| (*doubt, verdict(doubt))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = include_str!("../../../../docs/aws-proving.md");

    #[test]
    fn the_page_lists_every_doubt_and_no_other() {
        let listed: Vec<&str> = PAGE
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split_once('`').map(|(name, _)| name))
            .collect();
        let known: Vec<&str> = DOUBTS.iter().map(|doubt| doubt.name).collect();
        assert_eq!(listed, known, "docs/aws-proving.md and DOUBTS differ");
    }

    #[test]
    fn a_doubt_that_was_not_reached_stays_open() {
        let mut findings = Findings::default();
        findings.judge("rollback", true, "serves");
        let table = findings.table("the run failed");
        let of = |name: &str| &table.iter().find(|(doubt, _)| doubt.name == name).expect("known").1;
        assert_eq!(of("rollback"), &DoubtVerdict::Holds("serves".into()));
        assert_eq!(of("one-container"), &DoubtVerdict::Open("the run failed".into()));
        assert!(
            matches!(of("volume-key"), DoubtVerdict::Open(text) if text.starts_with("by hand: "))
        );
    }
}
