//! One tenant's predictions leave room for the others'.

use std::time::SystemTime;

use crosspilot_core::tenant::Tenant;
use crosspilot_tests::data::request;
use crosspilot_tests::{Customer, on_local_cloud, until, vendor_side};

#[test]
fn a_tenant_beyond_its_limit_waits_and_its_neighbour_does_not() {
    on_local_cloud(async |cloud| {
        let customers =
            [Customer::new(cloud, "limited").await, Customer::new(cloud, "neighbour").await];
        for customer in &customers {
            customer.give_training_data().await;
            customer.succeeded(&customer.first_execution().await).await;
        }
        let [limited, neighbour] = &customers;
        let begun = SystemTime::now();
        let few = |tenant: &mut Tenant| tenant.predictions.calls_per_minute = 2;
        cloud.vendor().change_tenant(&limited.tenant.tenant, "set", few).await.unwrap();
        let body = request(9);
        // Whichever process answers, within a minute the limit is known to all.
        let refused = until("a call beyond the limit", async || {
            let (status, answer) = limited.ask(&limited.token(), "churn", &body).await;
            assert!(matches!(status, 200 | 429), "{status} {answer}");
            (status == 429).then_some(answer)
        })
        .await;
        assert_eq!(refused["type"], "urn:crosspilot:problem:limited");
        assert!(refused["detail"].as_str().unwrap().contains("2 calls"), "{refused}");
        let (status, answer) = neighbour.ask(&neighbour.token(), "churn", &body).await;
        assert_eq!(status, 200, "{answer}");
        // The function's own role lets it tell other processes.
        let place = format!("/usage/{}/", limited.tenant.tenant);
        let found = vendor_side::since(cloud, begun).await;
        assert!(found.iter().any(|found| found.place.contains(&place)));
    });
}
