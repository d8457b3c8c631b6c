//! What each handler may do in a customer's account, as a session policy.
//!
//! The customer's role allows what all five handlers need together, for all of
//! the tenant's models. A session gets the part that one handler needs, for one
//! run or one endpoint: what the policy does not list is denied, whatever the
//! role allows (IAM User Guide, "Session policies").

use serde_json::{Value, json};

use crate::ids::ModelName;
use crate::layout;
use crate::run::{RunRef, endpoint_name};
use crate::tenant::Tenant;

/// What a session is opened for. One for each thing that a handler does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose<'a> {
    /// `assume` only asks who it has become, which needs no permission.
    ProveTrust,
    /// `start-job` reads the data, writes its verdict and creates the run's job.
    StartJob(&'a RunRef),
    /// `check-status` looks at the run's job and at its endpoint.
    CheckStatus(&'a RunRef),
    /// `deploy-best` reads the job and makes model, config and endpoint.
    DeployBest(&'a RunRef),
    /// `predict` scores the run's held-out rows and writes its results.
    ScoreRun(&'a RunRef),
    /// `predict` answers the API: it asks the model's endpoint.
    Answer(&'a ModelName),
}

impl Purpose<'_> {
    /// The run that the session works for, which its name then carries.
    pub fn run(&self) -> Option<&RunRef> {
        match self {
            Purpose::StartJob(run)
            | Purpose::CheckStatus(run)
            | Purpose::DeployBest(run)
            | Purpose::ScoreRun(run) => Some(run),
            Purpose::ProveTrust | Purpose::Answer(_) => None,
        }
    }

    /// The session policy: at most 2048 characters, as STS wants it.
    pub fn policy(&self, tenant: &Tenant) -> String {
        let scope = Scope::of(tenant);
        let statements = match self {
            // A policy must allow something. Everybody may do this anyway.
            Purpose::ProveTrust => vec![allow(&["sts:GetCallerIdentity"], json!("*"))],
            Purpose::StartJob(run) => {
                let train = layout::train_prefix(&tenant.prefix, &run.model);
                let validation = layout::validation_prefix(&tenant.prefix, &run.model);
                let test = layout::test_prefix(&tenant.prefix, &run.model);
                let data = layout::data_prefix(&tenant.prefix, &run.model);
                let results = layout::results_prefix(&tenant.prefix, run);
                let job = scope.sagemaker("automl-job", &run.job_name());
                vec![
                    scope.list(&[&train, &validation, &test]),
                    // Written as one, since STS takes 2048 characters.
                    allow(&["s3:GetObject"], json!(scope.objects(&data))),
                    // The verdict on the data, and the types of its columns.
                    allow(&["s3:PutObject"], json!(scope.objects(&results))),
                    scope.key_through_s3(),
                    allow(
                        &[
                            "sagemaker:CreateAutoMLJobV2",
                            "sagemaker:DescribeAutoMLJobV2",
                            "sagemaker:AddTags",
                        ],
                        json!(job),
                    ),
                    scope.pass_role(),
                ]
            }
            Purpose::CheckStatus(run) => vec![
                allow(
                    &["sagemaker:DescribeAutoMLJobV2", "sagemaker:DescribeEndpoint"],
                    json!([
                        scope.sagemaker("automl-job", &run.job_name()),
                        scope.sagemaker("endpoint", &run.endpoint_name()),
                    ]),
                ),
                // AWS knows no resource for this action.
                allow(&["sagemaker:ListCandidatesForAutoMLJob"], json!("*")),
            ],
            Purpose::DeployBest(run) => {
                let name = run.deployment_name();
                vec![
                    allow(
                        &["sagemaker:DescribeAutoMLJobV2"],
                        json!(scope.sagemaker("automl-job", &run.job_name())),
                    ),
                    allow(
                        &[
                            "sagemaker:CreateModel",
                            "sagemaker:DescribeModel",
                            "sagemaker:CreateEndpointConfig",
                            "sagemaker:DescribeEndpointConfig",
                            "sagemaker:CreateEndpoint",
                            "sagemaker:DescribeEndpoint",
                            "sagemaker:UpdateEndpoint",
                            "sagemaker:AddTags",
                        ],
                        json!([
                            scope.sagemaker("model", &name),
                            scope.sagemaker("endpoint-config", &name),
                            scope.sagemaker("endpoint", &run.endpoint_name()),
                        ]),
                    ),
                    scope.pass_role(),
                ]
            }
            Purpose::ScoreRun(run) => {
                let test = layout::test_prefix(&tenant.prefix, &run.model);
                let train = layout::train_prefix(&tenant.prefix, &run.model);
                let results = layout::results_prefix(&tenant.prefix, run);
                vec![
                    scope.list(&[&test, &train]),
                    allow(&["s3:GetObject"], json!([scope.objects(&test), scope.objects(&train)])),
                    allow(&["s3:PutObject"], json!(scope.objects(&results))),
                    scope.key_through_s3(),
                    allow(
                        &["sagemaker:InvokeEndpoint"],
                        json!(scope.sagemaker("endpoint", &run.endpoint_name())),
                    ),
                ]
            }
            Purpose::Answer(model) => vec![allow(
                &["sagemaker:InvokeEndpoint"],
                json!(scope.sagemaker("endpoint", &endpoint_name(&tenant.tenant, model))),
            )],
        };
        json!({"Version": "2012-10-17", "Statement": statements}).to_string()
    }
}

/// Names in the tenant's account. None of them can hold a wildcard or a policy
/// variable: the types of the tenant's fields refuse `*`, `?` and `$`.
struct Scope<'a> {
    tenant: &'a Tenant,
    partition: &'a str,
}

impl<'a> Scope<'a> {
    fn of(tenant: &'a Tenant) -> Self {
        Self { tenant, partition: tenant.role_arn.partition() }
    }

    /// IAM compares the lowercase of SageMaker's names.
    fn sagemaker(&self, kind: &str, name: &str) -> String {
        let Tenant { region, account, .. } = self.tenant;
        let name = name.to_ascii_lowercase();
        format!("arn:{}:sagemaker:{region}:{account}:{kind}/{name}", self.partition)
    }

    fn objects(&self, prefix: &str) -> String {
        format!("arn:{}:s3:::{}/{prefix}*", self.partition, self.tenant.bucket)
    }

    fn list(&self, prefixes: &[&str]) -> Value {
        let bucket = format!("arn:{}:s3:::{}", self.partition, self.tenant.bucket);
        let mut statement = allow(&["s3:ListBucket"], json!(bucket));
        statement["Condition"] = json!({"StringEquals": {"s3:prefix": prefixes}});
        statement
    }

    /// For buckets with a key of the customer's. Which key is the role's say.
    fn key_through_s3(&self) -> Value {
        let region = &self.tenant.region;
        let keys = format!("arn:{}:kms:{region}:*:key/*", self.partition);
        let mut statement = allow(&["kms:Decrypt", "kms:GenerateDataKey"], json!(keys));
        statement["Condition"] =
            json!({"StringLike": {"kms:ViaService": format!("s3.{region}.amazonaws.com*")}});
        statement
    }

    fn pass_role(&self) -> Value {
        let mut statement = allow(&["iam:PassRole"], json!(self.tenant.execution_role_arn));
        statement["Condition"] =
            json!({"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}});
        statement
    }
}

fn allow(actions: &[&str], resource: Value) -> Value {
    json!({"Effect": "Allow", "Action": actions, "Resource": resource})
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn tenant(id: &str, bucket: &str, prefix: &str) -> Tenant {
        serde_json::from_value(json!({
            "tenant": id, "account": "222222222222", "region": "us-east-1",
            "role_arn": "arn:aws-us-gov:iam::222222222222:role/customer_trusting_saas",
            "execution_role_arn": "arn:aws-us-gov:iam::222222222222:role/crosspilot-execution",
            "external_id": "cp-0123", "bucket": bucket, "prefix": prefix, "status": "active",
        }))
        .unwrap()
    }

    fn run(id: &str, model: &str) -> RunRef {
        RunRef {
            tenant: id.parse().unwrap(),
            model: model.parse().unwrap(),
            run_id: "20260131-0123456789".parse().unwrap(),
        }
    }

    fn purposes(run: &RunRef) -> [Purpose<'_>; 6] {
        [
            Purpose::ProveTrust,
            Purpose::StartJob(run),
            Purpose::CheckStatus(run),
            Purpose::DeployBest(run),
            Purpose::ScoreRun(run),
            Purpose::Answer(&run.model),
        ]
    }

    #[test]
    fn the_longest_names_fit_what_sts_takes() {
        let long = "a".repeat(20);
        let tenant = tenant(&long, &"b".repeat(63), &"p".repeat(100));
        let run = run(&long, &"m".repeat(20));
        for purpose in purposes(&run) {
            let policy = purpose.policy(&tenant);
            assert!(policy.len() <= 2048, "{purpose:?}: {}", policy.len());
        }
    }

    #[test]
    fn only_what_has_no_resource_is_allowed_on_everything() {
        let tenant = tenant("acme", "acme-ml", "p");
        let run = run("acme", "churn");
        for purpose in purposes(&run) {
            let policy: Value = serde_json::from_str(&purpose.policy(&tenant)).unwrap();
            for statement in policy["Statement"].as_array().unwrap() {
                let actions = &statement["Action"];
                if statement["Resource"] == "*" {
                    let known = [
                        json!(["sts:GetCallerIdentity"]),
                        json!(["sagemaker:ListCandidatesForAutoMLJob"]),
                    ];
                    assert!(known.contains(actions), "{purpose:?} {actions}");
                }
                assert!(!actions.to_string().contains('*'), "{purpose:?} {actions}");
            }
        }
    }

    #[test]
    fn the_api_may_ask_one_endpoint_and_nothing_else() {
        let tenant = tenant("acme", "acme-ml", "p");
        let policy = Purpose::Answer(&"churn".parse().unwrap()).policy(&tenant);
        let endpoint =
            "arn:aws-us-gov:sagemaker:us-east-1:222222222222:endpoint/crosspilot-acme-churn";
        let expected = json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": ["sagemaker:InvokeEndpoint"], "Resource": endpoint}
        ]});
        assert_eq!(serde_json::from_str::<Value>(&policy).unwrap(), expected);
    }
}
