//! Objects may have any key, also one that XML cannot carry: it stops nothing.

use crosspilot_core::layout;
use crosspilot_core::run::RunRef;
use crosspilot_core::tenant::TenantStatus;
use crosspilot_local::functions;
use crosspilot_tests::{Customer, churn, home_of, on_local_cloud};

/// A key as a program made it, one as people do, and one that says other things
/// to whoever decodes it once too often.
const ODD: [&str; 3] = ["a\u{1b}[31m\n.csv", "b c + d.csv", "e%41+%zz.csv"];

#[test]
fn keys_that_xml_cannot_carry_stop_no_run_no_account_and_no_removal() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "odd-keys").await;
        let (vendor, id) = (cloud.vendor(), &customer.tenant.tenant);
        // No upload shall start a run before all is there.
        vendor.set_status(id, TenantStatus::Suspended).await.unwrap();
        for (number, name) in (1..).zip(ODD) {
            customer.put(&format!("crosspilot/churn/train/{name}"), churn(300, number)).await;
            customer.put(&format!("crosspilot/churn/test/{name}"), churn(40, 9)).await;
        }
        customer.failed(&customer.first_execution().await).await;
        vendor.set_status(id, TenantStatus::Active).await.unwrap();

        let output = customer.succeeded(&customer.start("odd").await).await;
        let run: RunRef = serde_json::from_value(output["run"].clone()).unwrap();
        assert_eq!(output["prediction"]["evaluation"]["rows"], 40, "{output}");
        let results = layout::results_prefix(&customer.tenant.prefix, &run);
        let verdict = customer.get(&format!("{results}preflight.json")).await;
        assert!(verdict.contains("900"), "all three files were read: {verdict}");

        // A customer's own file among the results, and what is counted and removed.
        let own = customer.s3().put_object().bucket(customer.tenant.bucket.as_str());
        own.key(format!("{results}{}", ODD[0])).send().await.unwrap();
        let home = home_of(cloud);
        let crosspilot = |arguments: &[&str]| {
            let mut command =
                std::process::Command::new(functions::binaries().unwrap().join("crosspilot"));
            let output = command.arg("--home").arg(&home).args(arguments).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        };
        tokio::task::block_in_place(|| {
            crosspilot(&["cost", "odd-keys", "churn", "--json"]);
            crosspilot(&["remove", "model", "odd-keys", "churn", "--artifacts", "--yes", "--json"]);
        });
        let left = customer.s3().list_objects_v2().bucket(customer.tenant.bucket.as_str());
        let left = left.prefix("crosspilot-results/churn/").send().await.unwrap();
        assert_eq!(left.key_count(), Some(0), "{:?}", left.contents());
    });
}
