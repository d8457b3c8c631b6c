//! The identities of the original system exist and work as they should.

use std::process::Command;

use crosspilot_core::ids::ExternalId;
use crosspilot_core::tenant::TenantStatus;
use crosspilot_core::verification::Verification;
use crosspilot_local::functions;
use crosspilot_tests::{Customer, churn, home_of, on_local_cloud, onboarding, present, saas_user};

#[test]
fn saas_user_assumes_the_customers_role_only_with_its_external_id() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "operator").await;
        let other = Customer::new(cloud, "other-customer").await;
        let (user, role) = (saas_user(cloud).await, &customer.tenant.role_arn);
        let right = present(&user, role, Some(&customer.tenant.external_id)).await;
        assert!(right.is_ok(), "{right:?}");
        let random = ExternalId::generate().unwrap();
        for wrong in [None, Some(&random), Some(&other.tenant.external_id)] {
            let error = present(&user, role, wrong).await.unwrap_err();
            assert_eq!(error.aws_code(), "AccessDenied", "{wrong:?}");
        }
    });
}

#[test]
fn saas_user_trains_deploys_and_predicts_by_hand() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "seed").await;
        customer.put("crosspilot/churn/test/held-out.csv", churn(200, 2)).await;
        let home = home_of(cloud);
        let mut command = Command::new(functions::binaries().unwrap().join("crosspilot"));
        command.args(["--profile", "saas_user", "operate", "seed", "churn"]);
        command.env("AWS_CONFIG_FILE", home.join("aws/config"));
        command.env("AWS_SHARED_CREDENTIALS_FILE", home.join("aws/credentials"));
        // The upload starts a run of its own, which must not deploy first.
        let set = async |status| cloud.vendor().set_status(&customer.tenant.tenant, status).await;
        set(TenantStatus::Suspended).await.unwrap();
        customer.give_training_data().await;
        let by_upload = customer.first_execution().await;
        assert_eq!(customer.failed(&by_upload).await["code"], "TenantInactive");
        set(TenantStatus::Active).await.unwrap();
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        let outcome: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(outcome["deployment"]["decision"]["verdict"], "deploy", "{outcome}");
        assert_eq!(outcome["prediction"]["evaluation"]["rows"], 200, "{outcome}");
        let run = outcome["run"]["run_id"].as_str().unwrap();
        let job = outcome["job"].as_str().unwrap().to_owned();
        let sagemaker = cloud.endpoints().sagemaker_of(customer.tenant.account.as_str());
        let found = sagemaker.describe_auto_ml_job_v2().auto_ml_job_name(job).send().await.unwrap();
        assert_eq!(found.auto_ml_job_status().unwrap().as_str(), "Completed");
        let calls = cloud
            .authority()
            .calls(&format!("arn:aws:sts::{}", customer.tenant.account))
            .await
            .unwrap();
        assert!(calls.iter().any(|call| call.principal.contains(run)));
    });
}

#[test]
fn an_operator_who_is_not_let_in_is_told_so_and_suspends_nobody() {
    on_local_cloud(async |cloud| {
        let mut onboarding = onboarding("no-operators");
        let operators = "WithOperators: !Equals [!Ref AllowVendorOperators, \"true\"]";
        assert!(onboarding.template.contains(operators));
        let nobody = "WithOperators: !Equals [!Ref AllowVendorOperators, \"never\"]";
        onboarding.template = onboarding.template.replace(operators, nobody);
        let customer = Customer::with(cloud, onboarding).await;
        let home = home_of(cloud);
        let mut command = Command::new(functions::binaries().unwrap().join("crosspilot"));
        command.args(["--profile", "saas_user", "operate", "no-operators", "churn"]);
        command.env("AWS_CONFIG_FILE", home.join("aws/config"));
        command.env("AWS_SHARED_CREDENTIALS_FILE", home.join("aws/credentials"));
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{errors}");
        assert!(errors.contains("tenant no-operators does not let operators in"), "{errors}");
        let id = &customer.tenant.tenant;
        let tenant = cloud.vendor().registry.tenant(id).await.unwrap();
        assert_eq!(tenant.status, TenantStatus::Active);
        let verdict = cloud.vendor().verify(id).await.unwrap();
        assert!(matches!(verdict, Verification::Proven { .. }), "{verdict:?}");
    });
}

#[test]
fn nobody_else_assumes_the_customers_roles() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "stranger").await;
        let id = Some(&customer.tenant.external_id);
        let stranger = cloud.endpoints().administrator("444444444444");
        let error = present(&stranger, &customer.tenant.role_arn, id).await.unwrap_err();
        assert_eq!(error.aws_code(), "AccessDenied");
        // The execution role is SageMaker's alone, not even the vendor's.
        let user = saas_user(cloud).await;
        let error = present(&user, &customer.tenant.execution_role_arn, id).await.unwrap_err();
        assert_eq!(error.aws_code(), "AccessDenied");
    });
}

#[test]
fn sagemaker_takes_the_execution_role_for_its_own_account_only() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "confused").await;
        let role = customer.tenant.execution_role_arn.as_str();
        let job = "arn:aws:sagemaker:us-east-1:444444444444:automl-job/x";
        let (service, region) = ("sagemaker.amazonaws.com", "us-east-1");
        let own = customer.tenant.account.as_str();
        let authority = cloud.authority();
        assert!(authority.service_session(role, service, own, job, region).await.is_ok());
        assert!(
            authority.service_session(role, service, "444444444444", job, region).await.is_err()
        );
        assert!(
            authority.service_session(role, "ec2.amazonaws.com", own, job, region).await.is_err()
        );
        // AWS does not say that Autopilot names the account that it works for.
        assert!(authority.service_session(role, service, "", "", region).await.is_ok());
        assert!(
            authority.service_session(role, "ec2.amazonaws.com", "", "", region).await.is_err()
        );
    });
}
