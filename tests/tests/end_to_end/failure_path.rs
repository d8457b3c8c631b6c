//! Runs that cannot succeed end in the failure path, which names stage, code
//! and cause.

use crosspilot_core::error::{Code, Coded};
use crosspilot_core::tenant::TenantStatus;
use crosspilot_sagemaker_local::{Effect, Fault};
use crosspilot_tests::data::request;
use crosspilot_tests::mishaps::Mishaps as _;
use crosspilot_tests::{Customer, TRUST, assert_failed, churn, on_local_cloud, onboarding};

use crate::operations::crosspilot;

#[test]
fn a_permission_missing_in_the_customers_template_is_named() {
    on_local_cloud(async |cloud| {
        let mut onboarding = onboarding("no-create-model");
        // The first is the access role's; the execution role has another.
        let actions = "- sagemaker:CreateModel\n                  - sagemaker:DescribeModel\n";
        assert!(onboarding.template.contains(actions));
        onboarding.template =
            onboarding.template.replacen(actions, "- sagemaker:DescribeModel\n", 1);
        let customer = Customer::with(cloud, onboarding).await;
        customer.give_training_data().await;
        let failure = customer.failed(&customer.first_execution().await).await;
        assert_failed(&failure, "register", "AccessDenied");
        let cause = failure["cause"].as_str().unwrap();
        assert!(cause.contains("is not authorized to perform: sagemaker:CreateModel"), "{cause}");
        assert!(cause.contains("customer_trusting_saas/crosspilot-no-create-model-"), "{cause}");
    });
}

#[test]
fn with_subnets_and_a_key_given_nothing_is_made_elsewhere() {
    on_local_cloud(async |cloud| {
        let mut onboarding = onboarding("in-vpc");
        let key = format!("arn:aws:kms:us-east-1:{}:key/0123", onboarding.account);
        let defaults = [
            ("Tell the vendor the same ones.", "subnet-0123abcd,subnet-4567abcd"),
            ("joined by commas. Needed with subnets.", "sg-0123abcd"),
            ("Its key policy must let this account's IAM decide.", key.as_str()),
        ];
        for (description, default) in defaults {
            let empty = format!("{description}\n    Default: \"\"\n");
            assert!(onboarding.template.contains(&empty), "{description}");
            let filled = format!("{description}\n    Default: \"{default}\"\n");
            onboarding.template = onboarding.template.replacen(&empty, &filled, 1);
        }
        // The vendor was not told of the subnets.
        let customer = Customer::with(cloud, onboarding).await;
        customer.give_training_data().await;
        let failure = customer.failed(&customer.first_execution().await).await;
        let cause = failure["cause"].as_str().unwrap();
        assert_eq!(failure["stage"], "start-job", "{cause}");
        assert!(cause.contains("CreateAutoMLJobV2") && cause.contains("explicit deny"), "{cause}");
    });
}

#[test]
fn an_execution_role_without_access_to_the_data_fails_the_job() {
    on_local_cloud(async |cloud| {
        let mut onboarding = onboarding("no-data-access");
        let statement = "              # Read the data and earlier output.\n              - Sid: ReadData\n                Effect: Allow\n";
        assert!(onboarding.template.contains(statement));
        onboarding.template =
            onboarding.template.replace(statement, &statement.replace("Allow", "Deny"));
        let customer = Customer::with(cloud, onboarding).await;
        customer.give_training_data().await;
        let failure = customer.failed(&customer.first_execution().await).await;
        assert_failed(&failure, "train", "NoCandidate");
    });
}

#[test]
fn a_role_that_does_not_demand_the_external_id_is_refused() {
    on_local_cloud(async |cloud| {
        let _alone = TRUST.lock().await;
        let mut onboarding = onboarding("too-open");
        let condition =
            "              StringEquals:\n                sts:ExternalId: !Ref ExternalId\n";
        assert!(onboarding.template.contains(condition));
        onboarding.template = onboarding.template.replace(condition, "");
        let customer = Customer::with(cloud, onboarding).await;
        customer.give_training_data().await;
        let failure = customer.failed(&customer.first_execution().await).await;
        assert_failed(&failure, "assume", "TrustTooOpen");
    });
}

#[test]
fn unfit_data_is_refused_before_a_job_is_made() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "unfit").await;
        customer.put("crosspilot/churn/train/data.csv", churn(100, 1)).await;
        let failure = customer.failed(&customer.first_execution().await).await;
        assert_failed(&failure, "start-job", "DataUnfit");
        assert!(failure["cause"].as_str().unwrap().contains("100 rows"), "{failure}");
        let sagemaker = cloud.endpoints().sagemaker_of(customer.tenant.account.as_str());
        let jobs = sagemaker.list_auto_ml_jobs().send().await.unwrap();
        assert!(jobs.auto_ml_job_summaries().is_empty());
    });
}

#[test]
fn only_active_tenants_run_and_predict() {
    on_local_cloud(async |cloud| {
        let vendor = cloud.vendor();
        for (name, ways) in [
            ("suspended", &[TenantStatus::Suspended][..]),
            ("offboarding", &[TenantStatus::Offboarding]),
            ("deleted", &[TenantStatus::Offboarding, TenantStatus::Deleted]),
        ] {
            let customer = Customer::new(cloud, name).await;
            for status in ways {
                vendor.set_status(&customer.tenant.tenant, *status).await.unwrap();
            }
            refused_as_inactive(&customer).await;
        }
        let mut pending = Customer::new(cloud, "was-active").await;
        pending.tenant.tenant = "pending".parse().unwrap();
        pending.tenant.account = "399999999999".parse().unwrap();
        let role = "arn:aws:iam::399999999999:role/customer_trusting_saas";
        pending.tenant.role_arn = role.parse().unwrap();
        let role = "arn:aws:iam::399999999999:role/crosspilot-execution";
        pending.tenant.execution_role_arn = role.parse().unwrap();
        pending.tenant.bucket = "pending-ml".parse().unwrap();
        pending.tenant.external_id = "cp-of-a-pending-tenant-0123456789".parse().unwrap();
        pending.tenant.status = TenantStatus::Pending;
        vendor.add_tenant(&pending.tenant).await.unwrap();
        refused_as_inactive(&pending).await;
    });
}

async fn refused_as_inactive(customer: &Customer) {
    let failure = customer.failed(&customer.start("x").await).await;
    assert_failed(&failure, "assume", "TenantInactive");
    let record = request(1);
    let (status, _) = customer.ask(&customer.token(), "churn", &record).await;
    assert_eq!(status, 403, "{}", customer.tenant.tenant);
}

#[test]
fn a_malformed_start_is_refused_by_name() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "malformed").await;
        let vendor = cloud.vendor();
        let start = vendor.step_functions().start_execution();
        let start = start.state_machine_arn(&vendor.deployment.state_machine);
        let arn = start.input(r#"{"tenant": "malformed"}"#).send().await.unwrap().execution_arn;
        let failure = customer.failed(&arn).await;
        assert_failed(&failure, "assume", "RequestInvalid");
    });
}

#[test]
fn a_run_that_failed_goes_on_in_another_execution() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "redriven").await;
        // The endpoint's config is refused: the job and the model are there by then.
        let no = Effect::Fail {
            code: "AccessDeniedException".into(),
            message: "not now".into(),
            status: 400,
        };
        let fault = Fault {
            operation: "CreateEndpointConfig".into(),
            about: vec![customer.tenant.account.to_string()],
            after: 0,
            times: 1,
            effect: no,
        };
        cloud.inject(fault).await.unwrap();
        customer.give_training_data().await;
        let failed = customer.first_execution().await;
        assert_eq!(customer.failed(&failed).await["stage"], "deploy");

        let redrive = ["run", "redrive", "redriven", "churn"];
        let redriven = crosspilot(&customer, &redrive).await;
        assert_eq!(redriven.code, Some(0), "{}", redriven.errors);
        assert_ne!(redriven.answer["execution"]["arn"], failed);
        assert_eq!(redriven.answer["execution"]["status"], "SUCCEEDED");
        let runs = cloud.vendor().registry.runs(&customer.tenant.tenant, &customer.model).await;
        let run = runs.unwrap().pop().unwrap().run;
        assert_eq!(redriven.answer["output"]["run"]["run_id"], run.run_id.as_str());
        let again = cloud.vendor().redrive(&run, false).await.unwrap_err();
        assert_eq!(again.code(), Code::Conflict);
        let again = crosspilot(&customer, &redrive).await;
        assert_eq!(again.code, Some(1), "{}", again.answer);
        assert!(again.errors.contains("the run ended well"), "{}", again.errors);
    });
}
