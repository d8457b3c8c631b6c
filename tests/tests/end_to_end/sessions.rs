//! The permissions of a session of each purpose in a customer's account: every action that a
//! role of ours knows and some that none may ever have, on what is its own, its neighbours' and
//! the customer's, by the evaluator that judges every call on this cloud.

use std::collections::BTreeMap;

use crosspilot_core::aws::sts::config::Credentials;
use crosspilot_core::ids::ModelName;
use crosspilot_core::layout;
use crosspilot_core::policy::Purpose;
use crosspilot_core::run::RunRef;
use crosspilot_core::session::{AssumeRole, assume};
use crosspilot_core::tenant::{Encryption, Network, Tenant};
use crosspilot_local::LocalCloud;
use crosspilot_local::accounts::REGION;
use crosspilot_sagemaker_local::authority::Check;
use crosspilot_tests::{Customer, on_local_cloud, onboarding, saas_user};
use serde_json::{Value, json};

use crate::hosting::kms;

/// Whoever changes a policy reads the difference, and writes the file anew with
/// CROSSPILOT_BLESS=1.
const ALLOWED: &str = include_str!("sessions.txt");

/// AWS knows no resource for these.
const LISTS: &str = "ListAutoMLJobs ListCandidatesForAutoMLJob ListEndpointConfigs ListEndpoints ListModels ListTransformJobs";
const SAGEMAKER: &str = "AddTags CreateAutoMLJob CreateAutoMLJobV2 CreateEndpoint CreateEndpointConfig CreateModel \
    CreateNotebookInstance CreatePresignedDomainUrl CreateProcessingJob CreateTrainingJob CreateTransformJob \
    DeleteEndpoint DeleteEndpointConfig DeleteModel DeleteTags DescribeAutoMLJob DescribeAutoMLJobV2 DescribeEndpoint \
    DescribeEndpointConfig DescribeModel DescribeTransformJob InvokeEndpoint InvokeEndpointAsync \
    ListTags StopAutoMLJob \
    StopTransformJob UpdateEndpoint UpdateEndpointWeightsAndCapacities";
const OBJECTS: &str = "AbortMultipartUpload DeleteObject DeleteObjectVersion GetObject GetObjectVersion PutObject PutObjectAcl";
const BUCKETS: &str = "DeleteBucket GetBucketPolicy ListBucket ListBucketVersions PutBucketNotification PutBucketPolicy";
const SCALING: &str = "DeleteScalingPolicy DeregisterScalableTarget DescribeScalableTargets PutScalingPolicy RegisterScalableTarget";
const KEYS: &str = "CreateGrant Decrypt DescribeKey Encrypt GenerateDataKey ListGrants PutKeyPolicy ReEncryptFrom \
    ReEncryptTo RevokeGrant ScheduleKeyDeletion Sign";
const ALARMS: &str = "DeleteAlarms DescribeAlarms PutMetricAlarm SetAlarmState";
const ROLES: &str = "iam:GetRole iam:PutRolePolicy iam:UpdateAssumeRolePolicy sts:AssumeRole";
/// The actions that nobody but the customer may do, and those that have no resource.
const OTHERS: &str = "cloudformation:UpdateStack cloudwatch:GetMetricStatistics cloudwatch:PutMetricData \
    ec2:RunInstances events:PutEvents events:PutRule iam:CreateAccessKey iam:CreateRole iam:GetRole iam:PutRolePolicy \
    iam:UpdateAssumeRolePolicy kms:CreateGrant kms:Decrypt kms:GenerateDataKey kms:ScheduleKeyDeletion \
    lambda:InvokeFunction logs:GetLogEvents s3:ListAllMyBuckets secretsmanager:GetSecretValue sts:AssumeRole \
    sts:GetCallerIdentity";

/// One thing that a session may or may not do.
struct Cell {
    /// The thing that it is done to, in words.
    to: String,
    check: Check,
}

struct Grid<'a> {
    tenant: &'a Tenant,
    run: &'a RunRef,
    cells: Vec<Cell>,
}

impl Grid<'_> {
    fn add(&mut self, service: &str, actions: &str, to: &str, resource: &str, context: &Value) {
        let context = context.as_object().cloned().unwrap_or_default().into_iter().collect();
        for action in actions.split_whitespace() {
            let action =
                if service.is_empty() { action.into() } else { format!("{service}:{action}") };
            let check =
                Check { action, resource: resource.into(), context: BTreeMap::clone(&context) };
            self.cells.push(Cell { to: to.into(), check });
        }
    }

    /// Names that SageMaker's resources have or could have.
    fn sagemaker(&mut self, sibling: &RunRef, earlier: &RunRef) {
        let account = self.tenant.account.clone();
        let runs = [("own", self.run), ("earlier", earlier), ("sibling", sibling)];
        let mut names: Vec<(&str, String, String)> = vec![];
        for (whose, run) in runs {
            names.push(("automl-job", whose.into(), run.job_name()));
            names.push(("transform-job", whose.into(), run.scoring_name(1)));
            names.push(("model", whose.into(), run.deployment_name()));
            names.push(("endpoint-config", whose.into(), run.deployment_name()));
            if whose != "earlier" {
                names.push(("endpoint", whose.into(), run.endpoint_name()));
            }
        }
        names.push(("transform-job", "own later".into(), self.run.scoring_name(2)));
        for kind in ["automl-job", "transform-job", "model", "endpoint-config", "endpoint"] {
            names.push((kind, "theirs".into(), "fraud-detector".into()));
        }
        let tags = json!({"aws:ResourceTag/ManagedBy": "crosspilot", "aws:RequestTag/ManagedBy": "crosspilot"});
        for (kind, whose, name) in names {
            let name = name.to_ascii_lowercase();
            let tags = if whose == "theirs" { &json!({}) } else { &tags };
            for (place, account, region) in [
                ("", account.as_str(), REGION),
                (" elsewhere", "999999999999", REGION),
                (" elsewhere", account.as_str(), "eu-west-1"),
            ] {
                let arn = format!("arn:aws:sagemaker:{region}:{account}:{kind}/{name}");
                self.add("sagemaker", SAGEMAKER, &format!("{kind} {whose}{place}"), &arn, tags);
            }
        }
        self.add("sagemaker", SAGEMAKER, "*", "*", &json!({}));
        self.add("sagemaker", LISTS, "*", "*", &json!({}));
    }

    fn bucket(&mut self, sibling: &RunRef, earlier: &RunRef) {
        let (prefix, model) = (self.tenant.prefix.clone(), self.run.model.clone());
        let run = self.run.clone();
        let folders = [
            ("train", layout::train_prefix(&prefix, &model)),
            ("validation", layout::validation_prefix(&prefix, &model)),
            ("test", layout::test_prefix(&prefix, &model)),
            ("results", layout::results_prefix(&prefix, &run)),
            ("rows", layout::rows_prefix(&prefix, &run)),
            ("evaluations", layout::evaluations_prefix(&prefix, &run)),
            ("words", layout::words_key(&prefix, &run)),
            ("earlier results", layout::results_prefix(&prefix, earlier)),
            ("earlier rows", layout::rows_prefix(&prefix, earlier)),
            ("model results", layout::model_results_prefix(&prefix, &model)),
            ("model rows", layout::model_rows_prefix(&prefix, &model)),
            ("sibling train", layout::train_prefix(&prefix, &sibling.model)),
            ("sibling results", layout::results_prefix(&prefix, sibling)),
            ("sibling rows", layout::rows_prefix(&prefix, sibling)),
            ("all results", layout::all_results_prefix(&prefix)),
            ("theirs", "accounts/".to_owned()),
            ("beside", format!("{prefix}-else/")),
        ];
        for (whose, bucket) in [("", self.tenant.bucket.as_str()), (" elsewhere", "another-bucket")]
        {
            let arn = format!("arn:aws:s3:::{bucket}");
            for (folder, key) in &folders {
                let object = format!("{arn}/{key}x.csv");
                self.add("s3", OBJECTS, &format!("{folder}{whose}"), &object, &json!({}));
                let listed = json!({"s3:prefix": key});
                self.add("s3", BUCKETS, &format!("{folder}{whose}"), &arn, &listed);
            }
            self.add("s3", BUCKETS, &format!("all{whose}"), &arn, &json!({"s3:prefix": ""}));
            self.add("s3", BUCKETS, &format!("no prefix{whose}"), &arn, &json!({}));
        }
    }

    /// Adds the calls to keys: by whose key, for what, and through which service.
    fn keys(&mut self, keys: &Keys) {
        let elsewhere = format!("arn:aws:kms:{REGION}:999999999999:key/x");
        let s3 = json!({"kms:ViaService": format!("s3.{REGION}.amazonaws.com")});
        let other = json!({"kms:ViaService": format!("ebs.{REGION}.amazonaws.com")});
        for (whose, key) in [
            ("disks", &keys.disks),
            ("results", &keys.results),
            ("bucket", &keys.bucket),
            ("theirs", &keys.theirs),
            ("elsewhere", &elsewhere),
        ] {
            for (how, context) in [
                ("by itself", &json!({"kms:GrantIsForAWSResource": "false"})),
                ("for AWS", &json!({"kms:GrantIsForAWSResource": "true"})),
                ("through s3", &s3),
                ("through another service", &other),
            ] {
                self.add("kms", KEYS, &format!("{whose} {how}"), key, context);
            }
        }
    }

    fn others(&mut self) {
        let account = self.tenant.account.as_str();
        for namespace in ["sagemaker", "ecs"] {
            let context = json!({"application-autoscaling:service-namespace": namespace});
            self.add("application-autoscaling", SCALING, namespace, "*", &context);
        }
        let endpoint = self.run.endpoint_name();
        for (whose, name) in [
            ("scaling", format!("TargetTracking-endpoint/{endpoint}/x")),
            ("theirs", "budget".into()),
        ] {
            let arn = format!("arn:aws:cloudwatch:{REGION}:{account}:alarm:{name}");
            self.add("cloudwatch", ALARMS, whose, &arn, &json!({}));
        }
        let roles = [
            ("execution role", self.tenant.execution_role_arn.as_str().to_owned()),
            ("access role", self.tenant.role_arn.as_str().to_owned()),
            ("their admin", format!("arn:aws:iam::{account}:role/admin")),
        ];
        for (whose, role) in &roles {
            for service in ["sagemaker", "ec2"] {
                let context = json!({"iam:PassedToService": format!("{service}.amazonaws.com")});
                self.add("iam", "PassRole", &format!("{whose} to {service}"), role, &context);
            }
            self.add("", ROLES, whose, role, &json!({}));
        }
        const SERVICE: &str = "sagemaker.application-autoscaling.amazonaws.com";
        for service in [SERVICE, "ecs.amazonaws.com"] {
            let role = format!("arn:aws:iam::{account}:role/aws-service-role/{service}/x");
            let context = json!({"iam:AWSServiceName": service});
            self.add("iam", "CreateServiceLinkedRole", service, &role, &context);
        }
        self.add("", OTHERS, "*", "*", &json!({}));
    }
}

fn purposes<'a>(run: &'a RunRef, model: &'a ModelName) -> [(&'static str, Purpose<'a>); 19] {
    [
        ("prove-trust", Purpose::ProveTrust),
        ("tell", Purpose::Tell),
        ("start-job", Purpose::StartJob(run)),
        ("check-status", Purpose::CheckStatus(run)),
        ("register-model", Purpose::RegisterModel(run)),
        ("deploy", Purpose::Deploy(run)),
        ("settle", Purpose::Settle(run)),
        ("stop-jobs", Purpose::StopJobs(run)),
        ("score", Purpose::Score(run)),
        ("conclude", Purpose::Conclude(run)),
        ("evaluate", Purpose::Evaluate(run)),
        ("clear-rows", Purpose::ClearRows(run)),
        ("answer", Purpose::Answer(model)),
        ("remove-model", Purpose::Remove(Some(model))),
        ("remove-all", Purpose::Remove(None)),
        ("take-down", Purpose::TakeDown(model)),
        ("clear-model", Purpose::ClearArtifacts(Some(model))),
        ("clear-all", Purpose::ClearArtifacts(None)),
        ("take-stock", Purpose::TakeStock),
    ]
}

/// A session of a customer's role that no policy of ours narrows.
async fn unbound(cloud: &LocalCloud, tenant: &Tenant) -> Credentials {
    let asked = AssumeRole {
        role: &tenant.role_arn,
        external_id: Some(&tenant.external_id),
        session_name: "unbound",
        policy: None,
    };
    assume(&saas_user(cloud).await, &asked).await.unwrap()
}

/// A policy of a session is the vendor's own choice; what the customer's roles
/// allow is not.
#[test]
fn the_customers_roles_know_no_other_way_to_train_and_put_metrics_as_sagemaker_spells_them() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "own-limits").await;
        let tenant = &customer.tenant;
        let account = tenant.account.as_str();
        let may = async |access_key_id: &str, action: &str, resource: &str, context: Value| {
            let context = context.as_object().cloned().unwrap().into_iter().collect();
            let check = Check { action: action.into(), resource: resource.into(), context };
            cloud.authority().decisions(access_key_id, REGION, &[check]).await.unwrap()[0]
        };
        let session = unbound(cloud, tenant).await;
        let job =
            format!("arn:aws:sagemaker:{REGION}:{account}:automl-job/crosspilot-own-limits-churn");
        for (action, expected) in [
            ("CreateAutoMLJobV2", true),
            ("DescribeAutoMLJobV2", true),
            // The customer's demands of subnets and keys name no other call.
            ("CreateAutoMLJob", false),
            ("DescribeAutoMLJob", false),
        ] {
            let action = format!("sagemaker:{action}");
            let found = may(session.access_key_id(), &action, &job, json!({})).await;
            assert_eq!(found, expected, "{action}");
        }

        let role = tenant.execution_role_arn.as_str();
        let sagemaker = cloud.authority().service_session(
            role,
            "sagemaker.amazonaws.com",
            account,
            &job,
            REGION,
        );
        let execution = sagemaker.await.unwrap().access_key_id;
        for (namespace, expected) in [
            ("/aws/sagemaker/TrainingJobs", true),
            ("/aws/sagemaker/TransformJobs", true),
            ("/aws/Sagemaker/Endpoints", true),
            ("AWS/SageMaker", true),
            ("AWS/EC2", false),
        ] {
            let context = json!({"cloudwatch:namespace": namespace});
            let found = may(&execution, "cloudwatch:PutMetricData", "*", context).await;
            assert_eq!(found, expected, "{namespace}");
        }
    });
}

#[test]
fn with_subnets_given_the_customers_own_role_refuses_what_would_run_outside_of_them() {
    on_local_cloud(async |cloud| {
        let mut onboarding = onboarding("own-subnets");
        onboarding.network = Some(Network {
            subnets: vec!["subnet-0123abcd".into(), "subnet-0123abce".into()],
            security_groups: vec!["sg-0123abcd".into()],
        });
        let customer = Customer::with(cloud, onboarding).await;
        let tenant = &customer.tenant;
        let session = unbound(cloud, tenant).await;
        let (own, groups) = (json!(["subnet-0123abcd", "subnet-0123abce"]), json!(["sg-0123abcd"]));
        for (action, kind) in [("CreateAutoMLJobV2", "automl-job"), ("CreateModel", "model")] {
            let name = "crosspilot-own-subnets-churn";
            let account = tenant.account.as_str();
            for (subnets, groups, expected) in [
                (&own, &groups, true),
                (&json!(null), &json!(null), false),
                (&json!(null), &groups, false),
                (&json!(["subnet-0123abcd", "subnet-99999999"]), &groups, false),
                (&own, &json!(["sg-0123abcd", "sg-99999999"]), false),
            ] {
                let keys =
                    [("sagemaker:VpcSubnets", subnets), ("sagemaker:VpcSecurityGroupIds", groups)];
                let keys = keys.into_iter().filter(|(_, value)| !value.is_null());
                let check = Check {
                    action: format!("sagemaker:{action}"),
                    resource: format!("arn:aws:sagemaker:{REGION}:{account}:{kind}/{name}"),
                    context: keys.map(|(key, value)| (key.to_owned(), value.clone())).collect(),
                };
                let authority = cloud.authority();
                let found = authority.decisions(session.access_key_id(), REGION, &[check]).await;
                assert_eq!(found.unwrap(), [expected], "{action} {subnets} {groups}");
            }
        }
    });
}

/// Keys of a customer's account.
struct Keys {
    disks: String,
    results: String,
    bucket: String,
    /// For what is none of ours.
    theirs: String,
}

/// Lists what each session of a tenant may do, a line for each action.
async fn allowed(customer: &Customer, keys: Option<&Keys>) -> String {
    let cloud = customer.cloud;
    let tenant = &customer.tenant;
    let run = |model: &str, id: &str| RunRef {
        tenant: tenant.tenant.clone(),
        model: model.parse().unwrap(),
        run_id: id.parse().unwrap(),
    };
    let (own, earlier) = (run("churn", "20260131-0123456789"), run("churn", "20260101-9876543210"));
    // A name that begins like the other.
    let sibling = run("churn-b", "20260131-0123456789");
    let mut grid = Grid { tenant, run: &own, cells: vec![] };
    grid.sagemaker(&sibling, &earlier);
    grid.bucket(&sibling, &earlier);
    grid.others();
    if let Some(keys) = keys {
        grid.keys(keys);
    }
    let checks: Vec<Check> = grid.cells.iter().map(|cell| cell.check.clone()).collect();

    let operator = saas_user(cloud).await;
    let mut found = String::new();
    for (name, purpose) in purposes(&own, &own.model) {
        let one_model = purpose.run().is_some() || matches!(name, "answer" | "take-down");
        let policy = purpose.policy(tenant);
        let asked = AssumeRole {
            role: &tenant.role_arn,
            external_id: Some(&tenant.external_id),
            session_name: "matrix",
            policy: Some(&policy),
        };
        let session = assume(&operator, &asked).await.unwrap();
        let decisions =
            cloud.authority().decisions(session.access_key_id(), REGION, &checks).await.unwrap();
        let mut allowed: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (cell, _) in grid.cells.iter().zip(decisions).filter(|(_, allowed)| *allowed) {
            let action = cell.check.action.as_str();
            let to = allowed.entry(action).or_default();
            if !to.contains(&cell.to.as_str()) {
                to.push(&cell.to);
            }
            // Whatever the file says: AWS has no resource for lists and metrics, and
            // alarms and configs of the customer's are read only.
            let reads =
                action.contains(":List") || action.contains(":Describe") || action.contains(":Get");
            // Application Auto Scaling asks, as the caller, for a config of an invented name.
            let probed = action == "sagemaker:DescribeEndpointConfig";
            let never = cell.to.contains("elsewhere")
                || cell.to.contains("admin")
                || cell.to.contains("beside")
                || (cell.to.contains("theirs") && (!reads || action.starts_with("s3:")))
                || (cell.to.contains("sibling") && one_model && !probed);
            assert!(!never, "{name} {action} on {}", cell.to);
        }
        for (action, to) in allowed {
            found.push_str(&format!("{name} {action}: {}\n", to.join(", ")));
        }
    }
    found
}

#[test]
fn each_session_may_do_exactly_what_it_is_for() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "matrix").await;
        let plain = allowed(&customer, None).await;
        // The same with keys of the customer's: all that is theirs is said of keys.
        let mut onboarding = onboarding("matrix-keys");
        let account = onboarding.account.to_string();
        let make = async || {
            let made = kms(cloud, &account, "CreateKey", json!({})).await;
            made["KeyMetadata"]["Arn"].as_str().unwrap().to_owned()
        };
        let keys = Keys {
            disks: make().await,
            results: make().await,
            bucket: make().await,
            theirs: make().await,
        };
        onboarding.encryption = Some(Encryption {
            volume_key: Some(keys.disks.clone()),
            output_key: Some(keys.results.clone()),
            between_containers: true,
        });
        onboarding.bucket_key = Some(keys.bucket.clone());
        let keyed = allowed(&Customer::with(cloud, onboarding).await, Some(&keys)).await;
        let (of_keys, others): (Vec<&str>, Vec<&str>) =
            keyed.lines().partition(|line| line.contains(" kms:"));
        assert_eq!(others, plain.lines().collect::<Vec<_>>());
        let mut found = plain;
        for line in of_keys {
            found.push_str(&format!("with keys, {line}\n"));
        }
        if std::env::var_os("CROSSPILOT_BLESS").is_some() {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/end_to_end/sessions.txt");
            std::fs::write(path, &found).unwrap();
            return;
        }
        let only = |one: &str, other: &str| -> Vec<String> {
            one.lines()
                .filter(|line| !other.lines().any(|other| other == *line))
                .map(str::to_owned)
                .collect()
        };
        let (more, less) = (only(&found, ALLOWED), only(ALLOWED, &found));
        assert!(more.is_empty() && less.is_empty(), "may now: {more:#?}\nmay no longer: {less:#?}");
    });
}
