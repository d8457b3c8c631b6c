//! Credentials never leave a handler.

use crosspilot_tests::data::request;
use crosspilot_tests::{Customer, churn, function_logs, on_local_cloud};

#[test]
fn no_state_log_or_error_of_a_run_holds_a_credential() {
    on_local_cloud(async |cloud| {
        let good = Customer::new(cloud, "secrets").await;
        good.put("crosspilot/churn/test/held-out.csv", churn(50, 2)).await;
        good.give_training_data().await;
        let run = good.first_execution().await;
        good.succeeded(&run).await;
        let record = request(1);
        let (_, answer) = good.ask(&good.token(), "churn", &record).await;
        // One that fails, for its errors.
        let bad = Customer::new(cloud, "secrets-failing").await;
        bad.put("crosspilot/churn/train/data.csv", churn(100, 1)).await;
        let failing = bad.first_execution().await;
        bad.failed(&failing).await;

        let mut places = vec![
            ("the run's history", good.history(&run).await),
            ("the failing run's history", bad.history(&failing).await),
            ("the emulator's log", std::fs::read_to_string(cloud.log()).unwrap()),
            ("the API's answer", answer.to_string()),
        ];
        assert!(places[0].1.contains("StartJob") && places[1].1.contains("DataUnfit"));
        for (function, log) in function_logs(cloud).await {
            let expected = if function == "start-job" { "DataUnfit" } else { "secrets" };
            assert!(log.contains(expected), "{function} logs what it does: {log}");
            places.push((function, log));
        }
        let mut secrets = cloud.authority().issued_secrets().await.unwrap();
        assert!(secrets.len() > 10, "sessions were issued");
        secrets.push(good.tenant.external_id.as_str().to_owned());
        secrets.push(bad.tenant.external_id.as_str().to_owned());
        for (place, text) in places {
            for secret in &secrets {
                assert!(!text.contains(secret.as_str()), "{place} holds a credential");
            }
        }
    });
}
