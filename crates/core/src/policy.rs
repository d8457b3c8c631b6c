//! What each handler may do in a customer's account, as a session policy.
//!
//! The customer's role allows what all five handlers need together, for all of
//! the tenant's models. A session gets the part that one handler needs, for one
//! run or one endpoint: what the policy does not list is denied, whatever the
//! role allows (IAM User Guide, "Session policies").

use serde_json::{Value, json};

use crate::ids::ModelName;
use crate::layout;
use crate::run::{NAME_PREFIX, RunRef, endpoint_name, job_prefix};
use crate::tenant::Tenant;

/// What a session is opened for. One for each thing that a handler does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose<'a> {
    /// `assume` only asks who it has become, which needs no permission.
    ProveTrust,
    /// `start-job` reads the data, writes its verdict and creates the run's job.
    StartJob(&'a RunRef),
    /// `check-status` looks at the run's jobs and at its endpoint, and stops jobs.
    CheckStatus(&'a RunRef),
    /// `deploy-best` stops the run's jobs, also of a tenant that may not run.
    StopJobs(&'a RunRef),
    /// `deploy-best` reads the job and makes the model.
    RegisterModel(&'a RunRef),
    /// `deploy-best` makes the config, moves the endpoint to it and notes why.
    Deploy(&'a RunRef),
    /// `deploy-best` puts the endpoint back, lets it scale, and removes what
    /// serves no more.
    Settle(&'a RunRef),
    /// `predict` has the run's held-out rows scored, and asks the champion about
    /// them.
    Score(&'a RunRef),
    /// `predict` makes a first prediction and writes the run's results.
    Conclude(&'a RunRef),
    /// `predict` answers the API: it asks the model's endpoint.
    Answer(&'a ModelName),
    /// `deploy-best` removes a model, or all of the tenant's.
    Remove(Option<&'a ModelName>),
    /// `deploy-best` looks at all that the tenant has.
    TakeStock,
}

impl Purpose<'_> {
    /// The run that the session works for, which its name then carries.
    pub fn run(&self) -> Option<&RunRef> {
        match self {
            Purpose::StartJob(run)
            | Purpose::CheckStatus(run)
            | Purpose::StopJobs(run)
            | Purpose::RegisterModel(run)
            | Purpose::Deploy(run)
            | Purpose::Settle(run)
            | Purpose::Score(run)
            | Purpose::Conclude(run) => Some(run),
            Purpose::ProveTrust | Purpose::Answer(_) | Purpose::Remove(_) | Purpose::TakeStock => {
                None
            }
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
                    &["sagemaker:DescribeAutoMLJobV2", "sagemaker:StopAutoMLJob"],
                    json!(scope.sagemaker("automl-job", &run.job_name())),
                ),
                allow(
                    &["sagemaker:DescribeTransformJob", "sagemaker:StopTransformJob"],
                    json!(scope.scoring_jobs(run)),
                ),
                allow(
                    &["sagemaker:DescribeEndpoint"],
                    json!(scope.sagemaker("endpoint", &run.endpoint_name())),
                ),
                // AWS knows no resource for this action.
                allow(&["sagemaker:ListCandidatesForAutoMLJob"], json!("*")),
            ],
            Purpose::StopJobs(run) => vec![
                allow(
                    &[
                        "sagemaker:DescribeAutoMLJobV2",
                        "sagemaker:StopAutoMLJob",
                        "sagemaker:ListTags",
                    ],
                    json!(scope.sagemaker("automl-job", &run.job_name())),
                ),
                allow(
                    &[
                        "sagemaker:DescribeTransformJob",
                        "sagemaker:StopTransformJob",
                        "sagemaker:ListTags",
                    ],
                    json!(scope.scoring_jobs(run)),
                ),
            ],
            Purpose::RegisterModel(run) => vec![
                allow(
                    &["sagemaker:DescribeAutoMLJobV2"],
                    json!(scope.sagemaker("automl-job", &run.job_name())),
                ),
                allow(
                    &["sagemaker:CreateModel", "sagemaker:DescribeModel", "sagemaker:AddTags"],
                    json!(scope.sagemaker("model", &run.deployment_name())),
                ),
                scope.pass_role(),
            ],
            Purpose::Deploy(run) => {
                let results = layout::results_prefix(&tenant.prefix, run);
                vec![
                    allow(
                        &[
                            "sagemaker:CreateEndpointConfig",
                            "sagemaker:DescribeEndpointConfig",
                            "sagemaker:CreateEndpoint",
                            "sagemaker:DescribeEndpoint",
                            "sagemaker:UpdateEndpoint",
                            "sagemaker:DeleteEndpoint",
                            "sagemaker:AddTags",
                        ],
                        json!([
                            scope.sagemaker("endpoint-config", &run.deployment_name()),
                            scope.sagemaker("endpoint", &run.endpoint_name()),
                        ]),
                    ),
                    // Of what a moving endpoint no longer has.
                    allow(&["application-autoscaling:DescribeScalableTargets"], json!("*")),
                    scope.scaling(&["application-autoscaling:DeregisterScalableTarget"]),
                    scope.alarms(&["cloudwatch:DescribeAlarms"]),
                    allow(&["s3:PutObject"], json!(scope.objects(&results))),
                    scope.key_through_s3(),
                ]
            }
            Purpose::Settle(run) => vec![
                allow(
                    &[
                        "sagemaker:CreateEndpoint",
                        "sagemaker:DescribeEndpoint",
                        "sagemaker:UpdateEndpoint",
                        "sagemaker:DeleteEndpoint",
                        "sagemaker:DeleteEndpointConfig",
                        "sagemaker:DeleteModel",
                        "sagemaker:AddTags",
                    ],
                    json!([
                        scope.sagemaker("endpoint", &run.endpoint_name()),
                        scope.of_all_runs("endpoint-config", run),
                        scope.of_all_runs("model", run),
                    ]),
                ),
                allow(&["application-autoscaling:DescribeScalableTargets"], json!("*")),
                scope.scaling(&[
                    "application-autoscaling:RegisterScalableTarget",
                    "application-autoscaling:DeregisterScalableTarget",
                    "application-autoscaling:PutScalingPolicy",
                ]),
                // Application Auto Scaling does these as whoever asks it.
                allow(
                    &["sagemaker:UpdateEndpointWeightsAndCapacities"],
                    json!(scope.sagemaker("endpoint", &run.endpoint_name())),
                ),
                scope.alarms(&[
                    "cloudwatch:PutMetricAlarm",
                    "cloudwatch:DescribeAlarms",
                    "cloudwatch:DeleteAlarms",
                ]),
                scope.scaling_role(),
            ],
            Purpose::Score(run) => {
                let test = layout::test_prefix(&tenant.prefix, &run.model);
                let scoring = layout::scoring_prefix(&tenant.prefix, run);
                vec![
                    scope.list(&[&test]),
                    allow(
                        &["s3:GetObject"],
                        json!([scope.objects(&test), scope.objects(&scoring)]),
                    ),
                    allow(&["s3:PutObject"], json!(scope.objects(&scoring))),
                    scope.key_through_s3(),
                    allow(
                        &[
                            "sagemaker:CreateTransformJob",
                            "sagemaker:DescribeTransformJob",
                            "sagemaker:AddTags",
                        ],
                        json!(scope.scoring_jobs(run)),
                    ),
                    scope.invoke(&run.model),
                ]
            }
            Purpose::Conclude(run) => {
                let scoring = layout::scoring_prefix(&tenant.prefix, run);
                let results = layout::results_prefix(&tenant.prefix, run);
                vec![
                    allow(&["s3:GetObject"], json!(scope.objects(&scoring))),
                    allow(&["s3:PutObject"], json!(scope.objects(&results))),
                    scope.key_through_s3(),
                    scope.invoke(&run.model),
                ]
            }
            Purpose::Answer(model) => vec![scope.invoke(model)],
            Purpose::Remove(model) => {
                let results = match model {
                    Some(model) => layout::model_results_prefix(&tenant.prefix, model),
                    None => layout::all_results_prefix(&tenant.prefix),
                };
                vec![
                    // AWS knows no resource for lists.
                    allow(&LISTS, json!("*")),
                    allow(
                        &[
                            "sagemaker:ListTags",
                            "sagemaker:DescribeEndpoint",
                            "sagemaker:DeleteEndpoint",
                            "sagemaker:DeleteEndpointConfig",
                            "sagemaker:DeleteModel",
                        ],
                        json!(scope.named_after(*model)),
                    ),
                    allow(
                        &[
                            "sagemaker:ListTags",
                            "sagemaker:StopAutoMLJob",
                            "sagemaker:StopTransformJob",
                        ],
                        json!(scope.jobs(*model)),
                    ),
                    allow(&["application-autoscaling:DescribeScalableTargets"], json!("*")),
                    scope.scaling(&["application-autoscaling:DeregisterScalableTarget"]),
                    scope.list(&[&results]),
                    allow(&["s3:DeleteObject"], json!(scope.objects(&results))),
                ]
            }
            Purpose::TakeStock => {
                let mut list_data = scope.list(&[]);
                list_data["Condition"] =
                    json!({"StringLike": {"s3:prefix": format!("{}/*/train/", tenant.prefix)}});
                let mut tagged = scope.jobs(None).to_vec();
                tagged.extend(scope.named_after(None));
                vec![
                    // AWS knows no resource for lists and for metrics.
                    allow(&LISTS, json!("*")),
                    allow(&["cloudwatch:GetMetricStatistics"], json!("*")),
                    allow(&["sagemaker:ListTags"], json!(tagged)),
                    allow(
                        &["sagemaker:DescribeEndpoint", "sagemaker:DescribeEndpointConfig"],
                        json!(scope.named_after(None)),
                    ),
                    list_data,
                ]
            }
        };
        json!({"Version": "2012-10-17", "Statement": statements}).to_string()
    }
}

/// Lists, of which AWS lets nobody allow only a part. They show names.
const LISTS: [&str; 5] = [
    "sagemaker:ListEndpoints",
    "sagemaker:ListEndpointConfigs",
    "sagemaker:ListModels",
    "sagemaker:ListAutoMLJobs",
    "sagemaker:ListTransformJobs",
];

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

    /// The first attempt at scoring the run's rows, and later ones.
    fn scoring_jobs(&self, run: &RunRef) -> Value {
        let first = self.sagemaker("transform-job", &run.scoring_name(1));
        json!([format!("{first}-?"), first])
    }

    fn invoke(&self, model: &ModelName) -> Value {
        let endpoint = endpoint_name(&self.tenant.tenant, model);
        allow(&["sagemaker:InvokeEndpoint"], json!(self.sagemaker("endpoint", &endpoint)))
    }

    /// The models or configs of all runs of a model. Each name ends in ten
    /// characters of the run, so that no other model of the tenant matches.
    fn of_all_runs(&self, kind: &str, run: &RunRef) -> String {
        format!("{}-{}", self.sagemaker(kind, &run.endpoint_name()), "?".repeat(10))
    }

    /// Scalable targets have ids that nobody knows beforehand: what scales is
    /// bound instead (Service Authorization Reference, Application Auto Scaling).
    fn scaling(&self, actions: &[&str]) -> Value {
        let mut statement = allow(actions, json!("*"));
        statement["Condition"] =
            json!({"StringEquals": {"application-autoscaling:service-namespace": "sagemaker"}});
        statement
    }

    /// Alarms are the customer's own or made for a scaling policy.
    fn alarms(&self, actions: &[&str]) -> Value {
        let Tenant { region, account, .. } = self.tenant;
        allow(
            actions,
            json!(format!("arn:{}:cloudwatch:{region}:{account}:alarm:*", self.partition)),
        )
    }

    /// The role that Application Auto Scaling makes for itself at first use.
    fn scaling_role(&self) -> Value {
        const SERVICE: &str = "sagemaker.application-autoscaling.amazonaws.com";
        let account = &self.tenant.account;
        let role =
            format!("arn:{}:iam::{account}:role/aws-service-role/{SERVICE}/*", self.partition);
        let mut statement = allow(&["iam:CreateServiceLinkedRole"], json!(role));
        statement["Condition"] = json!({"StringEquals": {"iam:AWSServiceName": SERVICE}});
        statement
    }

    /// What serves a model, or any of the tenant's models, whichever run made it.
    fn named_after(&self, model: Option<&ModelName>) -> [String; 3] {
        let tenant = &self.tenant.tenant;
        let (endpoint, others) = match model {
            Some(model) => (endpoint_name(tenant, model), endpoint_name(tenant, model) + "-*"),
            None => (format!("{NAME_PREFIX}{tenant}-*"), format!("{NAME_PREFIX}{tenant}-*")),
        };
        [
            self.sagemaker("endpoint", &endpoint),
            self.sagemaker("endpoint-config", &others),
            self.sagemaker("model", &others),
        ]
    }

    /// Jobs of a model, or all of ours, whichever run made them.
    fn jobs(&self, model: Option<&ModelName>) -> [String; 2] {
        let prefix = model.map_or(NAME_PREFIX.to_owned(), job_prefix);
        ["automl-job", "transform-job"].map(|kind| self.sagemaker(kind, &format!("{prefix}*")))
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

    fn purposes(run: &RunRef) -> [Purpose<'_>; 13] {
        [
            Purpose::ProveTrust,
            Purpose::StartJob(run),
            Purpose::CheckStatus(run),
            Purpose::StopJobs(run),
            Purpose::RegisterModel(run),
            Purpose::Deploy(run),
            Purpose::Settle(run),
            Purpose::Score(run),
            Purpose::Conclude(run),
            Purpose::Answer(&run.model),
            Purpose::Remove(Some(&run.model)),
            Purpose::Remove(None),
            Purpose::TakeStock,
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
                        json!(["application-autoscaling:DescribeScalableTargets"]),
                        json!(["cloudwatch:GetMetricStatistics"]),
                        json!(LISTS),
                    ];
                    let bound = statement["Condition"]["StringEquals"]
                        .get("application-autoscaling:service-namespace");
                    assert!(known.contains(actions) || bound.is_some(), "{purpose:?} {actions}");
                }
                assert!(!actions.to_string().contains('*'), "{purpose:?} {actions}");
            }
        }
    }

    #[test]
    fn removing_one_model_touches_no_model_whose_name_begins_like_it() {
        let tenant = tenant("acme", "acme-ml", "p");
        let policy = Purpose::Remove(Some(&"churn".parse().unwrap())).policy(&tenant);
        let policy: Value = serde_json::from_str(&policy).unwrap();
        let ours = "arn:aws-us-gov:sagemaker:us-east-1:222222222222";
        let expected = json!([
            format!("{ours}:endpoint/crosspilot-acme-churn"),
            format!("{ours}:endpoint-config/crosspilot-acme-churn-*"),
            format!("{ours}:model/crosspilot-acme-churn-*"),
        ]);
        assert_eq!(policy["Statement"][1]["Resource"], expected);
        assert!(policy.to_string().contains("s3:::acme-ml/p-results/churn/*"), "{policy}");
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
