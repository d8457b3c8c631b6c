//! Whatever call fails for a while of an evaluation, of a probe or of what an operator
//! manages: the machine tries again, and it is done once. A run's calls are in [`faults`].
//!
//! [`faults`]: crate::faults

use std::collections::BTreeSet;

use crosspilot_core::manage::{Action, Report};
use crosspilot_core::verification::Verification;
use crosspilot_tests::mishaps::Mishaps as _;
use crosspilot_tests::{Customer, churn, on_local_cloud, refusal, until};

/// The number of times that the SDK tries a call: what fails as often fails for the function,
/// too.
const ATTEMPTS: u32 = 3;
/// The same of a call to an endpoint, which may take long.
const OF_AN_ENDPOINT: u32 = 2;

/// Lets the next calls of an operation fail that have all these texts in them.
async fn fails(customer: &Customer, operation: &str, about: &[&str], times: u32) {
    customer.strike(operation, about, times, refusal("InternalFailure", 500)).await;
}

/// Asserts that all of the faults have struck.
async fn struck(customer: &Customer, operation: &str, about: &str) {
    let left = customer.cloud.faults_to_come(about).await.unwrap();
    assert_eq!(left, 0, "{operation} of {about} did not fail");
}

/// Lists what SageMaker was asked by the functions, for this customer.
async fn asked(customer: &Customer) -> Vec<String> {
    let account = &customer.tenant.account;
    let role = format!("arn:aws:sts::{account}:assumed-role/customer_trusting_saas/");
    let calls = customer.cloud.authority().calls(&role).await.unwrap();
    let calls = calls.iter().filter_map(|call| call.what.strip_prefix("sagemaker:"));
    calls.map(str::to_owned).collect()
}

async fn trained(customer: &Customer) {
    customer.give_training_data().await;
    customer.succeeded(&customer.first_execution().await).await;
}

#[test]
fn an_evaluation_heals_whichever_of_its_calls_fails() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "evaluated-faults").await;
        trained(&customer).await;
        let tenant = &customer.tenant;
        let (document, serving) =
            (format!("tenants/{}.json", tenant.tenant), format!("serving/{}/", tenant.tenant));
        let test = format!("{}/crosspilot/churn/test/", tenant.bucket);
        let results = format!("{}/crosspilot-results/", tenant.bucket);
        let rows: [(&str, &[&str], u32); 7] = [
            ("s3:GetObject", &[&document], ATTEMPTS),
            ("s3:GetObject", &[&serving], ATTEMPTS),
            ("s3:ListBucket", &[tenant.bucket.as_str(), "churn%2Ftest%2F"], ATTEMPTS),
            ("s3:GetObject", &[&test], ATTEMPTS),
            ("InvokeEndpoint", &[tenant.account.as_str()], OF_AN_ENDPOINT),
            ("s3:PutObject", &[&results], ATTEMPTS),
            ("s3:PutObject", &[&serving], ATTEMPTS),
        ];
        let registry = &cloud.vendor().registry;
        for (number, (operation, about, times)) in rows.into_iter().enumerate() {
            fails(&customer, operation, about, times).await;
            let key = format!("crosspilot/churn/test/{number}.csv");
            customer.put(&key, churn(60, number as u64)).await;
            let trend = until("the champion is evaluated", async || {
                let trend = registry.trend(&tenant.tenant, &customer.model).await.ok()?;
                (trend.measured.len() > number).then_some(trend.measured)
            })
            .await;
            assert_eq!(trend.len(), number + 1, "{operation} {about:?} {trend:?}");
            struck(&customer, operation, about[0]).await;
        }
    });
}

#[test]
fn what_is_managed_heals_whichever_of_its_calls_fails() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "managed-faults").await;
        trained(&customer).await;
        let (vendor, id) = (cloud.vendor(), &customer.tenant.tenant);
        let account = customer.tenant.account.as_str();
        let stock = async || vendor.manage(id, Action::TakeStock { days: 3 }, |_| {}).await;
        let before = asked(&customer).await.len();
        stock().await.unwrap();
        let calls: BTreeSet<String> =
            asked(&customer).await.split_off(before).into_iter().collect();
        assert!(calls.contains("DescribeEndpoint") && calls.len() > 3, "{calls:?}");
        for operation in &calls {
            fails(&customer, operation, &[account], ATTEMPTS).await;
            let Report::Stock(found) = stock().await.unwrap() else { panic!("{operation}") };
            assert!(found.models[0].endpoint.is_some(), "{operation} {found:?}");
            struck(&customer, operation, account).await;
        }

        // And what removes: each call fails once in all that is done.
        let before = asked(&customer).await.len();
        for operation in ["DeleteEndpoint", "DeleteEndpointConfig", "DeleteModel", "ListModels"] {
            fails(&customer, operation, &[account], ATTEMPTS).await;
        }
        vendor.remove_model(id, &customer.model, false, |_| {}).await.unwrap();
        struck(&customer, "a call of the removal", account).await;
        let removed = asked(&customer).await.split_off(before);
        assert!(removed.contains(&"DeleteModel".to_owned()), "{removed:?}");
        let sagemaker = cloud.endpoints().sagemaker_of(account);
        let left = sagemaker.list_endpoints().send().await.unwrap();
        assert!(left.endpoints().is_empty(), "{left:?}");
    });
}

#[test]
fn a_probe_heals_whichever_of_its_calls_fails() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "probed-faults").await;
        let tenant = &customer.tenant;
        let document = format!("tenants/{}.json", tenant.tenant);
        let account = tenant.account.as_str();
        for (operation, about) in [
            ("s3:GetObject", document.as_str()),
            ("sts:AssumeRole", account),
            ("sts:GetCallerIdentity", account),
        ] {
            fails(&customer, operation, &[about], ATTEMPTS).await;
            let verdict = cloud.vendor().verify(&tenant.tenant).await.unwrap();
            assert!(matches!(verdict, Verification::Proven { .. }), "{operation} {verdict:?}");
            struck(&customer, operation, about).await;
        }
    });
}
