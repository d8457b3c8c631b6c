//! The session policies: what each handler may do in a customer's account.
//!
//! The customer's role allows what all five handlers need together, for all of
//! the tenant's models. A session gets the part that one handler needs, for one
//! run or one endpoint: what the policy does not list is denied, whatever the
//! role allows (IAM User Guide, "Session policies").

mod statements;

use serde_json::{Value, json};

use crate::ids::ModelName;
use crate::run::{DIGEST_LENGTH, NAME_PREFIX, RunRef, TAGS, endpoint_name, job_prefix};
use crate::tenant::Tenant;

/// The purpose that a session is opened for. One for each thing that a handler does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose<'a> {
    /// `assume` only asks who it has become, which needs no permission.
    ProveTrust,
    /// `assume` tells the customer why an upload can start no run.
    Tell,
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
    /// `predict` asks the champion about held-out rows that came while it serves, and
    /// writes what it is worth on them.
    Evaluate(&'a RunRef),
    /// `deploy-best` takes away the rows that the run copied.
    ClearRows(&'a RunRef),
    /// `predict` answers the API: it asks the model's endpoint.
    Answer(&'a ModelName),
    /// `deploy-best` removes a model, or all of the tenant's.
    Remove(Option<&'a ModelName>),
    /// `deploy-best` takes away what runs of a model, or of all, left in the bucket.
    ClearArtifacts(Option<&'a ModelName>),
    /// `deploy-best` takes the scaling off a model's endpoint and deletes it.
    TakeDown(&'a ModelName),
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
            | Purpose::Conclude(run)
            | Purpose::Evaluate(run)
            | Purpose::ClearRows(run) => Some(run),
            Purpose::ProveTrust
            | Purpose::Tell
            | Purpose::Answer(_)
            | Purpose::Remove(_)
            | Purpose::ClearArtifacts(_)
            | Purpose::TakeDown(_)
            | Purpose::TakeStock => None,
        }
    }

    /// The session policy: at most 2048 characters, as STS wants it.
    pub fn policy(&self, tenant: &Tenant) -> String {
        let scope = Scope::of(tenant);
        let statements = match self {
            Purpose::ProveTrust => statements::prove_trust(),
            Purpose::Tell => statements::tell(&scope),
            Purpose::StartJob(run) => statements::start_job(&scope, run),
            Purpose::CheckStatus(run) => statements::check_status(&scope, run),
            Purpose::StopJobs(run) => statements::stop_jobs(&scope, run),
            Purpose::RegisterModel(run) => statements::register_model(&scope, run),
            Purpose::Deploy(run) => statements::deploy(&scope, run),
            Purpose::Settle(run) => statements::settle(&scope, run),
            Purpose::Score(run) => statements::score(&scope, run),
            Purpose::Conclude(run) => statements::conclude(&scope, run),
            Purpose::Evaluate(run) => statements::evaluate(&scope, run),
            Purpose::ClearRows(run) => statements::clear_rows(&scope, run),
            Purpose::Answer(model) => statements::answer(&scope, model),
            Purpose::Remove(model) => statements::remove(&scope, *model),
            Purpose::ClearArtifacts(model) => statements::clear_artifacts(&scope, *model),
            Purpose::TakeDown(model) => statements::take_down(&scope, model),
            Purpose::TakeStock => statements::take_stock(&scope),
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
    fn of_all_runs(&self, kind: &str, model: &ModelName) -> String {
        let endpoint = endpoint_name(&self.tenant.tenant, model);
        format!("{}-{}", self.sagemaker(kind, &endpoint), "?".repeat(DIGEST_LENGTH))
    }

    /// Scalable targets have ids that nobody knows beforehand: what scales is
    /// bound instead (Service Authorization Reference, Application Auto Scaling).
    fn scaling(&self, actions: &[&str]) -> Value {
        let mut statement = allow(actions, json!("*"));
        statement["Condition"] =
            json!({"StringEquals": {"application-autoscaling:service-namespace": "sagemaker"}});
        statement
    }

    /// Any endpoint config, to read: before it registers or deregisters anything,
    /// Application Auto Scaling tries whether its caller may read one of a name
    /// that it invents (its User Guide, "Permissions validation").
    fn configs(&self) -> Value {
        allow(&["sagemaker:DescribeEndpointConfig"], json!(self.sagemaker("endpoint-config", "*")))
    }

    /// Alarms are the customer's own or made for a scaling policy. Which ones may
    /// be changed is the role's say.
    fn alarms(&self) -> Value {
        let Tenant { region, account, .. } = self.tenant;
        allow(
            &["cloudwatch:PutMetricAlarm", "cloudwatch:DescribeAlarms", "cloudwatch:DeleteAlarms"],
            json!(format!("arn:{}:cloudwatch:{region}:{account}:alarm:*", self.partition)),
        )
    }

    /// Allows disks under a key of the customer's: SageMaker is given a grant by whoever asks
    /// it (Developer Guide, "SageMaker API permissions"). Which key is the role's say, and
    /// that the grant is for an AWS service.
    fn volume_key(&self) -> Option<Value> {
        let region = &self.tenant.region;
        self.tenant.encryption.as_ref()?.volume_key.as_ref()?;
        let keys = format!("arn:{}:kms:{region}:*:key/*", self.partition);
        let mut statement = allow(&["kms:CreateGrant", "kms:DescribeKey"], json!(keys));
        // Reading a key makes no grant, and so has no such condition key.
        statement["Condition"] = json!({"BoolIfExists": {"kms:GrantIsForAWSResource": "true"}});
        Some(statement)
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

    /// Names the resources that serve a model, or any of the tenant's models, whichever run
    /// made them.
    fn named_after(&self, model: Option<&ModelName>) -> [String; 3] {
        let tenant = &self.tenant.tenant;
        match model {
            Some(model) => [
                self.sagemaker("endpoint", &endpoint_name(tenant, model)),
                self.of_all_runs("endpoint-config", model),
                self.of_all_runs("model", model),
            ],
            None => ["endpoint", "endpoint-config", "model"]
                .map(|kind| self.sagemaker(kind, &format!("{NAME_PREFIX}{tenant}-*"))),
        }
    }

    /// Jobs of a model, or all of ours, whichever run made them. Names have room
    /// for ten letters of the model only: its tags tell it from another one.
    fn jobs(&self, model: Option<&ModelName>) -> [String; 2] {
        let prefix = model.map_or(NAME_PREFIX.to_owned(), job_prefix);
        ["automl-job", "transform-job"].map(|kind| self.sagemaker(kind, &format!("{prefix}*")))
    }

    /// Stops them, if they carry the tags of the model, or of the tenant.
    fn stop_jobs(&self, model: Option<&ModelName>) -> Value {
        let actions = ["sagemaker:StopAutoMLJob", "sagemaker:StopTransformJob"];
        let mut statement = allow(&actions, json!(self.jobs(model)));
        let [_, of_tenant, of_model, _] = TAGS.map(|tag| format!("aws:ResourceTag/{tag}"));
        let mut tags = json!({of_tenant: self.tenant.tenant});
        if let Some(model) = model {
            tags[of_model] = json!(model);
        }
        statement["Condition"] = json!({"StringEquals": tags});
        statement
    }

    fn objects(&self, prefix: &str) -> String {
        format!("arn:{}:s3:::{}/{prefix}*", self.partition, self.tenant.bucket)
    }

    /// Allows finding and deleting what lies under these prefixes.
    fn clear(&self, prefixes: &[String]) -> [Value; 2] {
        let objects: Vec<String> = prefixes.iter().map(|prefix| self.objects(prefix)).collect();
        let listed: Vec<&str> = prefixes.iter().map(String::as_str).collect();
        [self.list(&listed), allow(&["s3:DeleteObject"], json!(objects))]
    }

    fn list(&self, prefixes: &[&str]) -> Value {
        let bucket = format!("arn:{}:s3:::{}", self.partition, self.tenant.bucket);
        let mut statement = allow(&["s3:ListBucket"], json!(bucket));
        statement["Condition"] = json!({"StringEquals": {"s3:prefix": prefixes}});
        statement
    }

    /// Allows use of a key of the customer's through S3, for buckets that have one. Which key
    /// is the role's say.
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
        tenant_in("us-east-1", id, bucket, prefix)
    }

    fn tenant_in(region: &str, id: &str, bucket: &str, prefix: &str) -> Tenant {
        serde_json::from_value(json!({
            "tenant": id, "account": "222222222222", "region": region,
            "role_arn": "arn:aws-us-gov:iam::222222222222:role/customer_trusting_saas",
            "execution_role_arn": "arn:aws-us-gov:iam::222222222222:role/crosspilot-execution",
            "external_id": "cp-0123", "bucket": bucket, "prefix": prefix, "status": "active",
            "encryption": {"volume_key": "alias/disks"},
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

    fn purposes(run: &RunRef) -> [Purpose<'_>; 19] {
        [
            Purpose::ProveTrust,
            Purpose::Tell,
            Purpose::StartJob(run),
            Purpose::CheckStatus(run),
            Purpose::StopJobs(run),
            Purpose::RegisterModel(run),
            Purpose::Deploy(run),
            Purpose::Settle(run),
            Purpose::Score(run),
            Purpose::Conclude(run),
            Purpose::Evaluate(run),
            Purpose::ClearRows(run),
            Purpose::Answer(&run.model),
            Purpose::Remove(Some(&run.model)),
            Purpose::Remove(None),
            Purpose::ClearArtifacts(Some(&run.model)),
            Purpose::ClearArtifacts(None),
            Purpose::TakeDown(&run.model),
            Purpose::TakeStock,
        ]
    }

    #[test]
    fn the_longest_names_fit_what_sts_takes() {
        let long = "a".repeat(20);
        let tenant = tenant_in("ap-southeast-1", &long, &"b".repeat(63), &"p".repeat(100));
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
                        json!(statements::LISTS),
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
            format!("{ours}:endpoint-config/crosspilot-acme-churn-??????????"),
            format!("{ours}:model/crosspilot-acme-churn-??????????"),
        ]);
        assert_eq!(policy["Statement"][1]["Resource"], expected);
        // Names of jobs have room for ten letters of the model only.
        let stop = &policy["Statement"][3];
        assert_eq!(
            stop["Action"],
            json!(["sagemaker:StopAutoMLJob", "sagemaker:StopTransformJob"])
        );
        assert_eq!(
            stop["Condition"],
            json!({"StringEquals": {"aws:ResourceTag/TenantId": "acme", "aws:ResourceTag/Model": "churn"}})
        );
        let policy = Purpose::ClearArtifacts(Some(&"churn".parse().unwrap())).policy(&tenant);
        let policy: Value = serde_json::from_str(&policy).unwrap();
        let objects = ["p-results/churn/*", "p-results/_rows/churn/*"];
        let objects = objects.map(|key| format!("arn:aws-us-gov:s3:::acme-ml/{key}"));
        assert_eq!(policy["Statement"][1]["Resource"], json!(objects));
    }

    #[test]
    fn keys_of_disks_are_granted_where_something_gets_a_disk_and_only_if_there_is_one() {
        let with = tenant("acme", "acme-ml", "p");
        let without = Tenant { encryption: None, ..with.clone() };
        let run = run("acme", "churn");
        for purpose in purposes(&run) {
            let gets_disks = matches!(
                purpose,
                Purpose::StartJob(_) | Purpose::Score(_) | Purpose::Deploy(_) | Purpose::Settle(_)
            );
            assert_eq!(
                purpose.policy(&with).contains("kms:CreateGrant"),
                gets_disks,
                "{purpose:?}"
            );
            assert!(!purpose.policy(&without).contains("kms:CreateGrant"), "{purpose:?}");
        }
    }

    #[test]
    fn the_api_may_ask_one_endpoint_and_read_which_words_its_models_know() {
        let tenant = tenant("acme", "acme-ml", "p");
        let policy = Purpose::Answer(&"churn".parse().unwrap()).policy(&tenant);
        let endpoint =
            "arn:aws-us-gov:sagemaker:us-east-1:222222222222:endpoint/crosspilot-acme-churn";
        let words = "arn:aws-us-gov:s3:::acme-ml/p-results/churn/*/words.json*";
        let expected = json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": ["sagemaker:InvokeEndpoint"], "Resource": endpoint},
            {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": words},
            Scope::of(&tenant).key_through_s3(),
        ]});
        assert_eq!(serde_json::from_str::<Value>(&policy).unwrap(), expected);
    }
}
