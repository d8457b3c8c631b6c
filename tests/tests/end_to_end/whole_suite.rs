//! The remains of all tests on the vendor's side. Tests begin in the order of their names, and
//! no other module's name comes after this one's.

use std::collections::BTreeSet;
use std::time::SystemTime;

use crosspilot_core::aws::eventbridge::types::PutEventsRequestEntry;
use crosspilot_core::aws::{eventbridge, s3, sfn};
use crosspilot_local::LocalCloud;
use crosspilot_local::accounts::SAAS_ACCOUNT;
use crosspilot_tests::data::word;
use crosspilot_tests::vendor_side;
use crosspilot_tests::{alone, home_of, on_local_cloud, until};
use serde_json::json;

/// Has a word stand in an object, an execution, an event, a file and a log.
async fn plant(cloud: &LocalCloud, word: &str) {
    let config = cloud.customer(&SAAS_ACCOUNT.parse().unwrap());
    let deployment = &cloud.vendor().deployment;
    let put = s3::Client::new(&config).put_object().bucket(&deployment.registry_bucket);
    put.key("planted.txt").body(word.as_bytes().to_vec().into()).send().await.unwrap();
    // No run is asked for so: it ends at its first state.
    let sfn = sfn::Client::new(&config);
    let start = sfn.start_execution().state_machine_arn(&deployment.state_machine);
    let arn = start.input(json!({"planted": word}).to_string()).send().await.unwrap().execution_arn;
    until("the execution ends", async || {
        let found = sfn.describe_execution().execution_arn(&arn).send().await.unwrap();
        (found.status().as_str() != "RUNNING").then_some(())
    })
    .await;
    let event = PutEventsRequestEntry::builder().source("planted").detail_type("Planted");
    let event = event.detail(json!({"planted": word}).to_string()).build();
    let put = eventbridge::Client::new(&config).put_events().entries(event);
    assert_eq!(put.send().await.unwrap().failed_entry_count(), 0);
    std::fs::write(home_of(cloud).join("planted.txt"), word).unwrap();
}

#[test]
fn no_cell_of_any_tests_data_is_on_the_vendors_side() {
    on_local_cloud(async |cloud| {
        alone().await;
        let planted = word();
        plant(cloud, &planted).await;
        let found = vendor_side::since(cloud, SystemTime::UNIX_EPOCH).await;
        // The search finds what is there.
        let seen = vendor_side::places(&found, &[&planted]);
        for place in ["object ", "execution ", "history of ", "event ", "file "] {
            assert!(seen.iter().any(|seen| seen.starts_with(place)), "{place} is not in {seen:?}");
        }
        assert_eq!(vendor_side::cells(&found), BTreeSet::new());
    });
}
