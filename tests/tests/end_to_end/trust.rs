//! The trust between the two accounts: who may assume a customer's role, what a
//! session of it can do, and what happens when it changes.

use std::pin::Pin;

use crosspilot_core::aws::aws_config::SdkConfig;
use crosspilot_core::aws::cloudformation;
use crosspilot_core::aws::cloudformation::types::{Capability, Parameter};
use crosspilot_core::aws::s3;
use crosspilot_core::aws::s3::primitives::ByteStream;
use crosspilot_core::aws::sfn::types::ExecutionStatus;
use crosspilot_core::error::{CallError, Code, Coded, Named};
use crosspilot_core::ids::ExternalId;
use crosspilot_core::lambda::App;
use crosspilot_core::policy::Purpose;
use crosspilot_core::registry::Registry;
use crosspilot_core::run::{RunRef, Trigger};
use crosspilot_core::session::{CustomerSession, Sessions};
use crosspilot_core::tenant::TenantStatus;
use crosspilot_core::verification::Verification;
use crosspilot_local::LocalCloud;
use crosspilot_local::accounts::{REGION, SAAS_ACCOUNT};
use crosspilot_local::cloud::CUSTOMER_TEMPLATE;
use crosspilot_tests::data::canary;
use crosspilot_tests::{
    Customer, TRUST, function_identity, on_local_cloud, onboarding, present, saas_user, until,
};
use crosspilot_trust::{Probed, Round};
use serde_json::{Value, json};

use crate::tenants::tenant;

const CONDITION: &str =
    "              StringEquals:\n                sts:ExternalId: !Ref ExternalId\n";

/// The customer template with its trust policy changed.
fn template(tenant: &str, condition: &str) -> crosspilot_local::Onboarding {
    let mut onboarding = onboarding(tenant);
    let own = onboarding.template.clone();
    assert_eq!(own.matches(CONDITION).count(), 1);
    onboarding.template = match condition {
        "exact" => own,
        "pattern" => own.replace(
            CONDITION,
            "              StringLike:\n                sts:ExternalId: cp-*\n",
        ),
        "missing" => own.replace(CONDITION, ""),
        "wrong principal" => own
            .replace("${SaasAccountId}:role/crosspilot-", "${SaasAccountId}:role/another-")
            .replace("${SaasAccountId}:user/saas_user", "${SaasAccountId}:user/another"),
        _ => panic!("{condition}"),
    };
    onboarding
}

fn code_of(verdict: &Verification) -> &str {
    match verdict {
        Verification::Proven { .. } => "proven",
        Verification::Refused { code, .. } | Verification::Unproven { code, .. } => code,
    }
}

#[test]
fn sixteen_cases_of_ids_and_conditions() {
    on_local_cloud(async |cloud| {
        let _alone = TRUST.lock().await;
        let user = saas_user(cloud).await;
        let other = Customer::new(cloud, "matrix-other").await;
        let wrong = ExternalId::generate().unwrap();
        // For no, a wrong, the right and another tenant's ID; then the verdict.
        let cases = [
            ("matrix-exact", "exact", [false, false, true, false], "proven"),
            ("matrix-pattern", "pattern", [false, true, true, true], "TrustTooOpen"),
            ("matrix-missing", "missing", [true, true, true, true], "TrustTooOpen"),
            ("matrix-principal", "wrong principal", [false; 4], "TrustRefused"),
        ];
        for (tenant, condition, expected, verdict) in cases {
            let customer = Customer::with(cloud, template(tenant, condition)).await;
            let right = &customer.tenant.external_id;
            let ids = [None, Some(&wrong), Some(right), Some(&other.tenant.external_id)];
            for (id, expected) in ids.into_iter().zip(expected) {
                let answer = present(&user, &customer.tenant.role_arn, id).await;
                match answer {
                    Ok(()) => assert!(expected, "{condition} takes {id:?}"),
                    Err(error) => {
                        assert_eq!(error.aws_code(), "AccessDenied", "{condition}");
                        assert!(!expected, "{condition} refuses {id:?}: {error}");
                    }
                }
            }
            let found = cloud.vendor().verify(&customer.tenant.tenant).await.unwrap();
            assert_eq!(code_of(&found), verdict, "{found:?}");
            // An operator's question changes nothing, whatever the answer.
            let after = cloud.vendor().registry.tenant(&customer.tenant.tenant).await.unwrap();
            assert_eq!(after.status, TenantStatus::Active, "{condition}");
            cloud.vendor().set_status(&after.tenant, TenantStatus::Suspended).await.unwrap();
        }
    });
}

#[test]
fn a_pattern_around_the_right_id_is_too_open() {
    on_local_cloud(async |cloud| {
        let _alone = TRUST.lock().await;
        let mut onboarding = onboarding("trust-prefix");
        let pattern =
            "              StringLike:\n                sts:ExternalId: !Sub \"${ExternalId}*\"\n";
        onboarding.template = onboarding.template.replace(CONDITION, pattern);
        let customer = Customer::with(cloud, onboarding).await;
        let found = cloud.vendor().verify(&customer.tenant.tenant).await.unwrap();
        assert_eq!(code_of(&found), "TrustTooOpen", "{found:?}");
        cloud.vendor().set_status(&customer.tenant.tenant, TenantStatus::Suspended).await.unwrap();
    });
}

/// The round of the schedule: all active tenants, judged as a whole.
pub(crate) async fn round(cloud: &LocalCloud) -> Round {
    let vendor = cloud.vendor();
    let client = vendor.step_functions();
    let machine = &vendor.deployment.verify_state_machine;
    let round = client.start_execution().state_machine_arn(machine).input("{}");
    let arn = round.send().await.unwrap().execution_arn;
    let output = until("the round ends", async || {
        let found = client.describe_execution().execution_arn(&arn).send().await.unwrap();
        assert_ne!(*found.status(), ExecutionStatus::Failed, "{:?}", found.cause());
        found.output
    })
    .await;
    serde_json::from_str(&output).unwrap()
}

/// Deploys the customer's stack again with another template.
async fn redeploy(customer: &Customer, template: &str) {
    let client = cloudformation::Client::new(&customer.cloud.customer(&customer.tenant.account));
    let stack = "crosspilot-customer";
    let found = client.describe_stacks().stack_name(stack).send().await.unwrap();
    let parameters = found.stacks()[0].parameters().iter().map(|parameter| {
        Parameter::builder()
            .parameter_key(parameter.parameter_key().unwrap())
            .use_previous_value(true)
            .build()
    });
    client
        .update_stack()
        .stack_name(stack)
        .template_body(template)
        .set_parameters(Some(parameters.collect()))
        .capabilities(Capability::CapabilityNamedIam)
        .send()
        .await
        .unwrap();
    until("the stack is updated", async || {
        let found = client.describe_stacks().stack_name(stack).send().await.unwrap();
        let status = found.stacks()[0].stack_status().unwrap().as_str().to_owned();
        (status == "UPDATE_COMPLETE").then_some(())
    })
    .await;
}

#[test]
fn drift_suspends_the_tenant_and_says_so() {
    on_local_cloud(async |cloud| {
        let _alone = TRUST.lock().await;
        let customer = Customer::new(cloud, "drifting").await;
        let vendor = cloud.vendor();
        let id = &customer.tenant.tenant;
        assert_eq!(code_of(&vendor.verify(id).await.unwrap()), "proven");

        redeploy(&customer, &template("drifting", "missing").template).await;
        // Whoever asks is told. Only a round suspends.
        let verdict = vendor.verify(id).await.unwrap();
        assert_eq!(code_of(&verdict), "TrustTooOpen", "{verdict:?}");
        assert_eq!(vendor.registry.tenant(id).await.unwrap().status, TenantStatus::Active);
        assert!(round(cloud).await.suspended.contains(id));
        let suspended = vendor.registry.tenant(id).await.unwrap();
        assert_eq!(suspended.status, TenantStatus::Suspended);
        let events = cloud.authority().events(SAAS_ACCOUNT, REGION).await.unwrap();
        let about = |event: &&crosspilot_sagemaker_local::authority::Event| {
            event.detail_type == "Crosspilot Tenant Suspended"
                && event.detail.contains("\"drifting\"")
        };
        assert_eq!(events.iter().filter(about).count(), 1, "{events:?}");
        let trail = vendor.registry.audit_trail(id).await.unwrap();
        let last = trail.entries.last().unwrap();
        assert_eq!(last.action, "suspend: TrustTooOpen");
        assert!(last.by.contains("assumed-role/crosspilot-assume/"), "{}", last.by);

        // It stays suspended until the customer repairs its side.
        let (verdict, tenant) = vendor.verify_and_activate(id).await.unwrap();
        assert_eq!((code_of(&verdict), tenant.status), ("TrustTooOpen", TenantStatus::Suspended));
        redeploy(&customer, crosspilot_local::cloud::CUSTOMER_TEMPLATE).await;
        let (verdict, tenant) = vendor.verify_and_activate(id).await.unwrap();
        assert_eq!((code_of(&verdict), tenant.status), ("proven", TenantStatus::Active));
    });
}

#[test]
fn a_deleted_role_suspends_only_its_own_tenant() {
    on_local_cloud(async |cloud| {
        let _alone = TRUST.lock().await;
        let gone = Customer::new(cloud, "role-gone").await;
        let stays = Customer::new(cloud, "role-stays").await;
        let client = cloudformation::Client::new(&cloud.customer(&gone.tenant.account));
        client.delete_stack().stack_name("crosspilot-customer").send().await.unwrap();
        let user = saas_user(cloud).await;
        let (role, id) = (&gone.tenant.role_arn, Some(&gone.tenant.external_id));
        until("the role is gone", async || present(&user, role, id).await.is_err().then_some(()))
            .await;

        let vendor = cloud.vendor();
        let round = round(cloud).await;
        let (gone, stays) = (&gone.tenant.tenant, &stays.tenant.tenant);
        assert!(round.suspended.contains(gone) && !round.suspended.contains(stays), "{round:?}");
        let status = async |id| vendor.registry.tenant(id).await.unwrap().status;
        assert_eq!(status(gone).await, TenantStatus::Suspended);
        assert_eq!(status(stays).await, TenantStatus::Active);
    });
}

/// A template of one role, which may assume any other.
fn role(name: &str, principal: Value, condition: Value) -> String {
    let statement = json!({
        "Sid": "Trust", "Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole",
        "Condition": condition,
    });
    let assume = json!({
        "Sid": "Assume", "Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*",
    });
    let document = |statement| json!({"Version": "2012-10-17", "Statement": [statement]});
    let policies = json!([{"PolicyName": "assume", "PolicyDocument": document(assume)}]);
    json!({"Resources": {"Role": {"Type": "AWS::IAM::Role", "Properties": {
        "RoleName": name, "AssumeRolePolicyDocument": document(statement), "Policies": policies,
    }}}})
    .to_string()
}

/// Creates a stack; if that fails, gives the reasons in its events.
pub(crate) async fn make_stack(
    account: &SdkConfig,
    stack: &str,
    template: &str,
) -> Result<(), String> {
    let client = cloudformation::Client::new(account);
    let create = client.create_stack().stack_name(stack).template_body(template);
    create.capabilities(Capability::CapabilityNamedIam).send().await.unwrap();
    let status = until("the stack is there or not", async || {
        let found = client.describe_stacks().stack_name(stack).send().await.unwrap();
        let status = found.stacks()[0].stack_status().unwrap().as_str().to_owned();
        (!status.ends_with("_IN_PROGRESS")).then_some(status)
    })
    .await;
    if status == "CREATE_COMPLETE" {
        return Ok(());
    }
    let events = client.describe_stack_events().stack_name(stack).send().await.unwrap();
    let reasons = events.stack_events().iter().filter_map(|event| event.resource_status_reason());
    Err(reasons.collect::<Vec<_>>().join("; "))
}

async fn delete_stack(account: &SdkConfig, stack: &str) {
    let client = cloudformation::Client::new(account);
    client.delete_stack().stack_name(stack).send().await.unwrap();
    until("the stack is gone", async || {
        client.describe_stacks().stack_name(stack).send().await.is_err().then_some(())
    })
    .await;
}

/// The function `assume` with its own role's session, as Lambda gives it.
async fn assume_function(cloud: &LocalCloud) -> App {
    let config = function_identity(cloud, "crosspilot-assume").await;
    let registry = Registry::new(&config, &cloud.vendor().deployment.registry_bucket);
    App::new(config, registry)
}

#[test]
fn a_round_in_which_most_refuse_suspends_nobody_and_says_so() {
    on_local_cloud(async |cloud| {
        let _alone = TRUST.lock().await;
        let vendor = cloud.vendor();
        // Active, and without a role that anybody could assume.
        let mut ids = Vec::new();
        for number in 1..=4 {
            let tenant = tenant(&format!("held-{number}"), &format!("60000000021{number}"));
            vendor.add_tenant(&tenant).await.unwrap();
            ids.push(vendor.set_status(&tenant.tenant, TenantStatus::Active).await.unwrap().tenant);
        }
        let app = assume_function(cloud).await;
        let seen: Vec<Probed> = ids.iter().cloned().map(Probed::Refused).collect();
        let mut round = seen.clone();
        round.extend([Probed::Proven, Probed::Unproven, Probed::Skipped]);
        let held = assume::handle(app.clone(), assume::Request::Judge(round)).await.unwrap_err();
        assert_eq!(held.code(), Code::TrustRoundHeld);
        assert!(held.to_string().starts_with("4 of 5 tenants refuse at once"), "{held}");
        for id in &ids {
            assert_eq!(vendor.registry.tenant(id).await.unwrap().status, TenantStatus::Active);
        }
        let events = cloud.authority().events(SAAS_ACCOUNT, REGION).await.unwrap();
        let about = |event: &&crosspilot_sagemaker_local::authority::Event| {
            event.detail_type == "Crosspilot Trust Round Held" && event.detail.contains("4 of 5")
        };
        assert_eq!(events.iter().filter(about).count(), 1, "{events:?}");

        // The same four among many: theirs is the fault. One that has come back
        // by the time it is asked again is spared.
        let back = Customer::new(cloud, "came-back").await.tenant.tenant;
        let mut round = seen;
        round.push(Probed::Refused(back.clone()));
        round.extend(vec![Probed::Proven; 6]);
        let judged = assume::handle(app, assume::Request::Judge(round)).await.unwrap();
        let expected = Round { answered: 11, suspended: ids.clone(), spared: vec![back.clone()] };
        assert_eq!(judged, assume::Response::Judged(expected));
        for id in &ids {
            assert_eq!(vendor.registry.tenant(id).await.unwrap().status, TenantStatus::Suspended);
        }
        assert_eq!(vendor.registry.tenant(&back).await.unwrap().status, TenantStatus::Active);
    });
}

#[test]
fn roles_made_anew_are_trusted_by_their_name_and_not_where_they_were_named_as_principals() {
    on_local_cloud(async |cloud| {
        let _alone = TRUST.lock().await;
        let customer = Customer::new(cloud, "rebuilt").await;
        let vendor = &cloud.endpoints().administrator(SAAS_ACCOUNT);
        let theirs = &cloud.customer(&customer.tenant.account);
        let account = &customer.tenant.account;
        let caller = format!("arn:aws:iam::{SAAS_ACCOUNT}:role/rebuilt-caller");
        // A customer of before, whose policy names a role of the vendor as principal.
        let id: ExternalId = "cp-rebuilt".parse().unwrap();
        let mut condition = json!({"StringEquals": {"sts:ExternalId": id}});
        let by_principal = role("by-principal", json!({"AWS": caller}), condition.clone());
        let refused = make_stack(theirs, "by-principal", &by_principal).await.unwrap_err();
        assert!(refused.contains("Invalid principal in policy"), "{refused}");
        delete_stack(theirs, "by-principal").await;
        // By name, it can even be trusted before it is there.
        condition["ArnEquals"] = json!({"aws:PrincipalArn": caller});
        let root = json!({"AWS": format!("arn:aws:iam::{SAAS_ACCOUNT}:root")});
        let by_name = role("by-name", root, condition);
        make_stack(theirs, "by-name", &by_name).await.unwrap();

        let function =
            role("rebuilt-caller", json!({"Service": "lambda.amazonaws.com"}), json!({}));
        make_stack(vendor, "rebuilt-caller", &function).await.unwrap();
        make_stack(theirs, "by-principal", &by_principal).await.unwrap();
        let takes = async |name: &str| {
            let session = function_identity(cloud, "rebuilt-caller").await;
            let role = format!("arn:aws:iam::{account}:role/{name}").parse().unwrap();
            present(&session, &role, Some(&id)).await
        };
        assert!(takes("by-principal").await.is_ok());
        assert!(takes("by-name").await.is_ok());

        // Deleted and made again under the same name.
        delete_stack(vendor, "rebuilt-caller").await;
        make_stack(vendor, "rebuilt-caller", &function).await.unwrap();
        assert_eq!(takes("by-principal").await.unwrap_err().aws_code(), "AccessDenied");
        takes("by-name").await.unwrap();
        // The template trusts the five functions so, and no other role of the vendor.
        assert!(CUSTOMER_TEMPLATE.contains("aws:PrincipalArn"));
        let stranger = function_identity(cloud, "rebuilt-caller").await;
        let (role, id) = (&customer.tenant.role_arn, Some(&customer.tenant.external_id));
        assert_eq!(present(&stranger, role, id).await.unwrap_err().aws_code(), "AccessDenied");
    });
}

#[test]
fn a_customers_stack_that_failed_can_be_made_again() {
    on_local_cloud(async |cloud| {
        let mut broken = onboarding("tried-twice");
        let root = "${SaasAccountId}:root";
        assert!(broken.template.contains(root));
        broken.template = broken.template.replace(root, "${SaasAccountId}:role/not-there");
        let failed = cloud.onboard(&broken).await.unwrap_err().to_string();
        assert!(failed.contains("Invalid principal in policy"), "{failed}");
        // Nothing is left of it that would be in the way.
        let account = cloud.customer(&broken.account);
        let bucket = s3::Client::new(&account).head_bucket().bucket(broken.bucket.as_str());
        assert!(bucket.send().await.is_err());
        delete_stack(&account, "crosspilot-customer").await;
        let customer = Customer::new(cloud, "tried-twice").await;
        let verdict = cloud.vendor().verify(&customer.tenant.tenant).await.unwrap();
        assert_eq!(code_of(&verdict), "proven");
    });
}

#[test]
fn entries_of_the_audit_trail_are_never_overwritten() {
    on_local_cloud(async |cloud| {
        let s3 = s3::Client::new(&function_identity(cloud, "crosspilot-assume").await);
        let bucket = &cloud.vendor().deployment.registry_bucket;
        let put = || {
            let body = ByteStream::from_static(b"{}");
            s3.put_object().bucket(bucket).key("audit/overwrite/1.json").body(body)
        };
        put().if_none_match("*").send().await.unwrap();
        for write in [put(), put().if_none_match("*")] {
            let error = write.send().await.unwrap_err();
            let error = CallError::new("s3:PutObject", "audit", &error);
            assert!(["AccessDenied", "PreconditionFailed"].contains(&error.aws_code()), "{error}");
        }
    });
}

type Answer<'a> = Pin<Box<dyn Future<Output = Result<(), CallError>> + 'a>>;

/// A call in the customer's account, by name.
struct Attempt<'a> {
    name: &'static str,
    make: Box<dyn Fn(&CustomerSession) -> Answer<'a> + 'a>,
}

fn attempts<'a>(customer: &'a Customer, run: &'a RunRef, other: &'a RunRef) -> Vec<Attempt<'a>> {
    let bucket = customer.tenant.bucket.as_str();
    let mut attempts = Vec::new();
    macro_rules! attempt {
        ($name:expr, $client:ident, $operation:ident $(, $setter:ident ( $value:expr ))*) => {
            attempts.push(Attempt {
                name: $name,
                make: Box::new(move |session| {
                    let request = session.$client().$operation()$(.$setter($value))*;
                    Box::pin(async move {
                        let answer = request.send().await;
                        answer.map(drop).named($name, "x")
                    })
                }),
            });
        };
    }
    let report = |run: &RunRef| format!("crosspilot-results/churn/{}/report.html", run.run_id);
    let body = || ByteStream::from_static(b"x");
    attempt!("list train", s3, list_objects_v2, bucket(bucket), prefix("crosspilot/churn/train/"));
    attempt!("list test", s3, list_objects_v2, bucket(bucket), prefix("crosspilot/churn/test/"));
    attempt!("list all", s3, list_objects_v2, bucket(bucket));
    attempt!(
        "list other model",
        s3,
        list_objects_v2,
        bucket(bucket),
        prefix("crosspilot/rent/train/")
    );
    attempt!("get train", s3, get_object, bucket(bucket), key("crosspilot/churn/train/a.csv"));
    attempt!("get test", s3, get_object, bucket(bucket), key("crosspilot/churn/test/a.csv"));
    attempt!("get other model", s3, get_object, bucket(bucket), key("crosspilot/rent/train/a.csv"));
    attempt!("get results", s3, get_object, bucket(bucket), key(report(run)));
    attempt!("put results", s3, put_object, bucket(bucket), key(report(run)), body(body()));
    attempt!("put other run", s3, put_object, bucket(bucket), key(report(other)), body(body()));
    attempt!(
        "put train",
        s3,
        put_object,
        bucket(bucket),
        key("crosspilot/churn/train/a.csv"),
        body(body())
    );
    attempt!("delete results", s3, delete_object, bucket(bucket), key(report(run)));
    let (job, other_job) = (run.job_name(), other.job_name());
    attempt!("describe job", sagemaker, describe_auto_ml_job_v2, auto_ml_job_name(&job));
    attempt!(
        "describe other job",
        sagemaker,
        describe_auto_ml_job_v2,
        auto_ml_job_name(&other_job)
    );
    attempt!("stop job", sagemaker, stop_auto_ml_job, auto_ml_job_name(run.job_name()));
    attempt!(
        "list candidates",
        sagemaker,
        list_candidates_for_auto_ml_job,
        auto_ml_job_name(run.job_name())
    );
    let (name, other_name) = (run.deployment_name(), other.deployment_name());
    attempt!("describe model", sagemaker, describe_model, model_name(&name));
    attempt!("describe other model", sagemaker, describe_model, model_name(&other_name));
    attempt!("delete model", sagemaker, delete_model, model_name(run.deployment_name()));
    attempt!(
        "describe config",
        sagemaker,
        describe_endpoint_config,
        endpoint_config_name(run.deployment_name())
    );
    attempt!("describe endpoint", sagemaker, describe_endpoint, endpoint_name(run.endpoint_name()));
    attempt!(
        "describe other endpoint",
        sagemaker,
        describe_endpoint,
        endpoint_name("crosspilot-other-churn")
    );
    attempt!("delete endpoint", sagemaker, delete_endpoint, endpoint_name(run.endpoint_name()));
    let blob = || crosspilot_core::aws::sagemakerruntime::primitives::Blob::new("1");
    attempt!(
        "invoke endpoint",
        sagemaker_runtime,
        invoke_endpoint,
        endpoint_name(run.endpoint_name()),
        body(blob())
    );
    attempt!(
        "invoke other endpoint",
        sagemaker_runtime,
        invoke_endpoint,
        endpoint_name("crosspilot-other-churn"),
        body(blob())
    );
    attempts
}

#[test]
fn every_session_policy_is_narrow() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "narrow").await;
        for key in ["crosspilot/churn/test/a.csv", "crosspilot/rent/train/a.csv"] {
            customer.put(key, canary().to_owned()).await;
        }
        let run = |request: &str| {
            let time = "2026-01-31T12:00:00Z".to_owned();
            let trigger = Trigger::Manual { time, request_id: request.to_owned() };
            let (tenant, model) = (customer.tenant.tenant.clone(), customer.model.clone());
            let run_id = crosspilot_core::run::RunId::derive(&tenant, &model, &trigger).unwrap();
            RunRef { tenant, model, run_id }
        };
        let (run, other) = (run("one"), run("two"));
        let allowed: [(Purpose<'_>, &[&str]); 16] = [
            (Purpose::ProveTrust, &[]),
            (Purpose::Tell, &[]),
            (
                Purpose::StartJob(&run),
                &[
                    "list train",
                    "list test",
                    "get train",
                    "get test",
                    "put results",
                    "describe job",
                ],
            ),
            (
                Purpose::CheckStatus(&run),
                &["describe job", "stop job", "list candidates", "describe endpoint"],
            ),
            (Purpose::StopJobs(&run), &["describe job", "stop job"]),
            (Purpose::RegisterModel(&run), &["describe job", "describe model"]),
            (
                Purpose::Deploy(&run),
                &["describe config", "describe endpoint", "delete endpoint", "put results"],
            ),
            (
                Purpose::Settle(&run),
                &["describe config", "describe endpoint", "delete endpoint", "delete model"],
            ),
            (Purpose::Score(&run), &["list test", "get test", "invoke endpoint"]),
            // The first prediction's row is the run's own copy: no data is read. Of the job,
            // what it tells of its candidates.
            (
                Purpose::Conclude(&run),
                &[
                    "get results",
                    "put results",
                    "describe job",
                    "list candidates",
                    "invoke endpoint",
                ],
            ),
            (Purpose::Answer(&run.model), &["invoke endpoint"]),
            (
                Purpose::TakeStock,
                &["list train", "list other model", "describe config", "describe endpoint"],
            ),
            (
                // The job carries no tags of the model.
                Purpose::Remove(Some(&run.model)),
                &["delete model"],
            ),
            (Purpose::ClearArtifacts(Some(&run.model)), &["delete results"]),
            // Nothing but its own copies of rows.
            (Purpose::ClearRows(&run), &[]),
            (
                Purpose::TakeDown(&run.model),
                &["describe config", "describe endpoint", "delete endpoint"],
            ),
        ];
        let sessions = Sessions::new(&saas_user(cloud).await);
        let attempts = attempts(&customer, &run, &other);
        for (purpose, allowed) in allowed {
            let session = sessions.open(&customer.tenant, purpose).await.unwrap();
            for name in allowed {
                assert!(attempts.iter().any(|attempt| attempt.name == *name), "{name}");
            }
            for attempt in &attempts {
                let answer = (attempt.make)(&session).await;
                let denied = matches!(&answer, Err(error) if error.code() == Code::AccessDenied);
                let expected = !allowed.contains(&attempt.name);
                assert_eq!(denied, expected, "{purpose:?}: {}: {answer:?}", attempt.name);
            }
        }
    });
}
