//! The identities of the original system exist and work as they should.

use crosspilot_core::ids::ExternalId;
use crosspilot_tests::{Customer, on_local_cloud, present, saas_user};

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
    });
}
