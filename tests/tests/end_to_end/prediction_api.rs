//! What the prediction API answers besides predictions: which models there are, where a path
//! or a method is none, and when a tenant has asked for enough.

use std::io::Write as _;

use crosspilot_core::aws::s3::Client;
use crosspilot_core::tenant::Tenant;
use crosspilot_local::accounts::SAAS_ACCOUNT;
use crosspilot_tests::data::request;
use crosspilot_tests::{Customer, http, on_local_cloud, until};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Map, Value, json};

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
        let registry = Client::new(&cloud.customer(&SAAS_ACCOUNT.parse().unwrap()));
        let usage = registry.list_objects_v2().bucket(&cloud.vendor().deployment.registry_bucket);
        let usage = usage.prefix(format!("usage/{}/", limited.tenant.tenant)).send().await.unwrap();
        assert!(usage.key_count() > Some(0));
    });
}

#[test]
fn models_are_listed_and_shown_to_whom_they_belong() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "listed").await;
        customer.give_training_data().await;
        customer.succeeded(&customer.first_execution().await).await;
        let other = cloud.signer().token("nobody").unwrap();
        let api = &cloud.endpoints().api;
        let get = async |path: &str, token: Option<&str>| {
            let request = http().get(format!("{api}{path}"));
            let request = match token {
                Some(token) => request.bearer_auth(token),
                None => request,
            };
            let answer = request.send().await.unwrap();
            (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
        };
        let token = customer.token();
        let (status, list) = get("/v1/models", Some(&token)).await;
        assert_eq!(status, 200, "{list}");
        let model = &list["models"][0];
        assert_eq!((&model["model"], &model["status"]), (&"churn".into(), &"serving".into()));
        let (status, shown) = get("/v1/models/churn", Some(&token)).await;
        assert_eq!(status, 200, "{shown}");
        assert_eq!(shown["version"], model["version"]);
        // A form that is made of the columns is one that the model takes.
        let record: Map<String, Value> = shown["columns"]
            .as_array()
            .unwrap()
            .iter()
            .map(|column| {
                let value = if column["kind"] == "number" { json!(3) } else { Value::Null };
                (column["name"].as_str().unwrap().to_owned(), value)
            })
            .collect();
        let body = json!({"records": [record]}).to_string();
        let (status, answer) = customer.ask(&token, "churn", &body).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(answer["version"], shown["version"]);

        // What is packed survives the gateway under a type that it does not take for text.
        let packed = |text: &str| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(text.as_bytes()).unwrap();
            encoder.finish().unwrap()
        };
        for (media_type, coding, text, status) in [
            ("application/json+gzip", None, body.as_str(), 200),
            ("application/csv+gzip", None, "Calls\n12\n", 200),
            ("text/csv", Some("gzip"), "Calls\n12\n", 415),
            ("application/json", Some("gzip"), body.as_str(), 415),
        ] {
            let request = http().post(format!("{api}/v1/models/churn/predictions"));
            let mut request = request.bearer_auth(&token).header("content-type", media_type);
            if let Some(coding) = coding {
                request = request.header("content-encoding", coding);
            }
            let answer = request.body(packed(text)).send().await.unwrap();
            assert_eq!(answer.status().as_u16(), status, "{media_type}");
        }

        for (path, token, status, kind) in [
            ("/v1/models/unheard-of", Some(token.as_str()), 404, "unknown-model"),
            ("/v1/models/churn", Some(other.as_str()), 403, "inactive"),
            ("/v1/models", Some(other.as_str()), 403, "inactive"),
            ("/v1/models/churn/predictions", Some(token.as_str()), 405, "method-not-allowed"),
            ("/v2/models", None, 404, "no-such-path"),
        ] {
            let (found, problem) = get(path, token).await;
            assert_eq!(found, status, "{path}: {problem}");
            assert_eq!(problem["type"], format!("urn:crosspilot:problem:{kind}"), "{path}");
            assert_eq!(problem["instance"], path);
        }
        for path in ["/v1/models", "/v1/models/churn"] {
            assert_eq!(get(path, None).await.0, 401, "{path}");
        }
        let (status, health) = get("/v1/health", None).await;
        assert_eq!((status, health), (200, json!({"status": "ok"})));
    });
}
