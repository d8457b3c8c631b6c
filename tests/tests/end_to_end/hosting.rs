//! The hosting of endpoints: what they run on, how they scale, and under which keys.

use crosspilot_core::aws::applicationautoscaling::types::ServiceNamespace;
use crosspilot_core::layout;
use crosspilot_core::registry::Outcome;
use crosspilot_core::settings::{Hosting, Scaling};
use crosspilot_core::tenant::{Encryption, Network};
use crosspilot_local::LocalCloud;
use crosspilot_local::cloud::CUSTOMER_TEMPLATE;
use crosspilot_sagemaker_local::{Effect, Fault};
use crosspilot_tests::data::request;
use crosspilot_tests::mishaps::Mishaps as _;
use crosspilot_tests::{Customer, churn, on_local_cloud, onboarding, until};
use serde_json::{Value, json};

use crate::deployment::{Scene, auto_scaling, run_of};

const SERVERLESS: Hosting = Hosting::Serverless { memory_mb: 2048, max_concurrency: 5 };

async fn version(scene: &Scene) -> (u16, Value) {
    let (status, answer) = scene.ask(&request(9)).await;
    (status, answer["version"].clone())
}

impl Scene {
    async fn targets(&self) -> usize {
        let found = auto_scaling(self).describe_scalable_targets();
        let found = found.service_namespace(ServiceNamespace::Sagemaker).send().await.unwrap();
        found.scalable_targets().len()
    }

    /// Tells whether the endpoint that serves is serverless.
    async fn is_serverless(&self) -> bool {
        let (config, _) = self.serving().await;
        let config = self.sagemaker().describe_endpoint_config().endpoint_config_name(config);
        config.send().await.unwrap().production_variants()[0].serverless_config().is_some()
    }

    async fn host(&self, hosting: Hosting, replace: bool) {
        self.set(|settings| {
            settings.gate.margin = -10.0;
            settings.deployment.hosting = hosting;
            settings.deployment.replace_endpoint = replace;
        })
        .await;
    }
}

#[test]
fn scaling_that_is_not_allowed_is_a_warning_of_a_run_that_ended_well() {
    on_local_cloud(async |cloud| {
        let mut customer = onboarding("unscaled");
        // A stack of before the probe was known.
        let probe = "endpoint-config/*\"\n              # See what scales";
        assert!(customer.template.contains(probe));
        customer.template = customer.template.replace(probe, &probe.replace('*', "none"));
        let scene = Scene { customer: Customer::with(cloud, customer).await };
        scene
            .set(|settings| {
                settings.gate.margin = -10.0;
                let scaling = Scaling { min: 1, max: 2, invocations_per_instance: 100 };
                settings.deployment.scaling = Some(scaling);
            })
            .await;
        let mut runs = Vec::new();
        for seed in 1..3 {
            let run = scene.train(churn(700, seed)).await;
            let run = run_of(&scene.customer.succeeded(&run).await);
            let record = cloud.vendor().registry.run(&run).await.unwrap();
            let Some(Outcome::Completed { warnings, .. }) = record.outcome else {
                panic!("{:?}", record.outcome)
            };
            let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
            assert!(warning.contains("serves, but does not scale"), "{warning}");
            assert!(warning.contains("permissions: sagemaker:DescribeEndpointConfig"), "{warning}");
            assert_eq!(scene.champion().await, run.run_id.as_str());
            runs.push(run);
        }
        assert_eq!(scene.targets().await, 0);
        let told = cloud.authority().events("111111111111", "us-east-1").await.unwrap();
        let told = told.iter().filter(|event| event.detail_type == "Crosspilot Run Completed");
        let told = told.filter(|event| event.detail.contains("\"unscaled\""));
        assert_eq!(told.filter(|event| event.detail.contains("does not scale")).count(), 2);
        let (vendor, tenant) = (cloud.vendor(), &scene.customer.tenant.tenant);
        let (back, warning) =
            vendor.roll_back(tenant, &scene.customer.model, |_| {}).await.unwrap();
        assert_eq!(back, runs[0]);
        assert!(warning.unwrap().contains("does not scale"));
        assert_eq!(version(&scene).await, (200, json!(runs[0].run_id)));
    });
}

#[test]
fn an_endpoint_changes_between_instances_and_serverless_only_by_being_replaced() {
    on_local_cloud(async |cloud| {
        let scene = Scene::new(cloud, "kinds").await;
        let (tenant, model) = (&scene.customer.tenant.tenant, &scene.customer.model);
        let vendor = cloud.vendor();
        let first = scene.train(churn(700, 1)).await;
        let first = run_of(&scene.customer.succeeded(&first).await);

        // Not by itself: nothing changes, and it says what to set.
        scene.host(SERVERLESS, false).await;
        let refused = scene.train(churn(700, 2)).await;
        let failure = scene.customer.failed(&refused).await;
        assert_eq!(failure["code"], "RequestInvalid", "{failure}");
        // Before anything is paid for.
        assert_eq!(failure["stage"], "start-job", "{failure}");
        let cause = failure["cause"].as_str().unwrap();
        assert!(cause.contains("runs on instances and the model is set to serverless"), "{cause}");
        assert!(cause.contains("deployment.replace_endpoint"), "{cause}");
        assert_eq!(version(&scene).await, (200, json!(first.run_id)));
        assert_eq!(scene.left().await.0.len(), 1);

        scene.host(SERVERLESS, true).await;
        let second = scene.train(churn(700, 3)).await;
        let output = scene.customer.succeeded(&second).await;
        let second = run_of(&output);
        // It was compared with the champion, though that was gone in between.
        let reason = output["deployment"]["decision"]["reason"].as_str().unwrap();
        assert!(reason.contains("the champion's"), "{reason}");
        assert!(scene.is_serverless().await);
        assert_eq!(version(&scene).await, (200, json!(second.run_id)));

        // Back to instances is an update, and from there to serverless is none.
        assert_eq!(vendor.roll_back(tenant, model, |_| {}).await.unwrap(), (first.clone(), None));
        assert!(!scene.is_serverless().await);
        scene.host(SERVERLESS, false).await;
        let refused = vendor.roll_back(tenant, model, |_| {}).await.unwrap_err().to_string();
        assert!(refused.contains("SageMaker updates no endpoint so"), "{refused}");
        assert_eq!(version(&scene).await, (200, json!(first.run_id)));
        scene.host(SERVERLESS, true).await;
        assert_eq!(vendor.roll_back(tenant, model, |_| {}).await.unwrap(), (second.clone(), None));
        assert!(scene.is_serverless().await);

        // A bad challenger on instances goes back to a serverless champion.
        scene.host(Hosting::default(), true).await;
        let data = churn(700, 4);
        let row = data.lines().nth(1).and_then(|line| line.rsplit_once(',')).unwrap().0;
        let effect = Effect::Fail { code: "ModelError".into(), message: "no".into(), status: 424 };
        let about = vec![scene.customer.tenant.account.to_string(), row.to_owned()];
        let operation = "InvokeEndpoint".to_owned();
        cloud.inject(Fault { operation, about, after: 0, times: 1, effect }).await.unwrap();
        let bad = scene.train(data.clone()).await;
        assert_eq!(scene.customer.failed(&bad).await["code"], "PredictionInvalid");
        assert!(scene.is_serverless().await);
        assert_eq!(version(&scene).await, (200, json!(second.run_id)));
        assert_eq!(scene.left().await.0.len(), 2);
    });
}

/// Asks KMS as the account's administrator.
pub(crate) async fn kms(
    cloud: &LocalCloud,
    account: &str,
    operation: &str,
    request: Value,
) -> Value {
    let scope = format!("{account}/20260101/us-east-1/kms/aws4_request");
    let answer = crosspilot_tests::http()
        .post(&cloud.endpoints().default)
        .header("x-crosspilot-token", cloud.running().token)
        .header("x-amz-target", format!("TrentService.{operation}"))
        .header("content-type", "application/x-amz-json-1.1")
        .header(
            "authorization",
            format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=none"),
        )
        .body(request.to_string());
    let answer = answer.send().await.unwrap();
    assert!(answer.status().is_success(), "{operation}");
    answer.json().await.unwrap_or_default()
}

#[test]
fn keys_subnets_and_capture_hold_from_training_to_prediction() {
    on_local_cloud(async |cloud| {
        let mut customer = onboarding("locked-in");
        let account = customer.account.to_string();
        let make = async || {
            let made = kms(cloud, &account, "CreateKey", json!({})).await;
            made["KeyMetadata"]["Arn"].as_str().unwrap().to_owned()
        };
        let (disks, results) = (make().await, make().await);
        customer.encryption = Some(Encryption {
            volume_key: Some(disks.clone()),
            output_key: Some(results.clone()),
            between_containers: true,
        });
        let network = Network {
            subnets: vec!["subnet-0123abcd".into(), "subnet-0123abce".into()],
            security_groups: vec!["sg-0123abcd".into()],
        };
        customer.network = Some(network.clone());
        assert_eq!(customer.template, CUSTOMER_TEMPLATE);
        let scene = Scene { customer: Customer::with(cloud, customer).await };
        scene
            .set(|settings| {
                settings.gate.margin = -10.0;
                settings.deployment.data_capture_percent = Some(100);
                let scaling = Scaling { min: 2, max: 3, invocations_per_instance: 100 };
                settings.deployment.scaling = Some(scaling);
            })
            .await;
        scene.hold_out(churn(60, 9)).await;
        // The second run updates the endpoint of the first.
        for seed in 1..3 {
            let run = scene.train(churn(700, seed)).await;
            let output = scene.customer.succeeded(&run).await;
            assert_eq!(output["comparison"]["rows"], 60, "{output}");
            let run = run_of(&output);
            let client = scene.sagemaker();
            let job = client.describe_auto_ml_job_v2().auto_ml_job_name(run.job_name());
            let job = job.send().await.unwrap();
            let security = job.security_config().unwrap();
            assert_eq!(security.volume_kms_key_id(), Some(disks.as_str()));
            assert_eq!(security.vpc_config().unwrap().subnets(), network.subnets);
            let model = client.describe_model().model_name(run.deployment_name());
            let model = model.send().await.unwrap();
            assert_eq!(model.vpc_config().unwrap().subnets(), network.subnets);
            let config = client.describe_endpoint_config();
            let config = config.endpoint_config_name(run.deployment_name()).send().await.unwrap();
            assert_eq!(config.kms_key_id(), Some(disks.as_str()));
            let transform = client.describe_transform_job();
            let transform = transform.transform_job_name(run.scoring_name(1)).send().await.unwrap();
            let resources = transform.transform_resources().unwrap();
            assert_eq!(resources.volume_kms_key_id(), Some(disks.as_str()));
            assert_eq!(version(&scene).await, (200, json!(run.run_id)));
            assert_eq!(scene.targets().await, 1);
        }
        let captured = layout::capture_prefix(&scene.customer.tenant.prefix, &scene.customer.model);
        let bucket = scene.customer.tenant.bucket.as_str();
        let kept = until("a prediction is captured", async || {
            let list = scene.customer.s3().list_objects_v2().bucket(bucket).prefix(&captured);
            list.send().await.unwrap().contents().first().and_then(|o| o.key().map(str::to_owned))
        })
        .await;
        let kept = scene.customer.s3().head_object().bucket(bucket).key(kept).send().await.unwrap();
        assert_eq!(kept.ssekms_key_id(), Some(results.as_str()));

        // The customer's key policy has the last word.
        let before = scene.champion().await;
        let policy = json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Action": "kms:*", "Resource": "*",
            "Principal": {"AWS": format!("arn:aws:iam::{account}:role/nobody")},
        }]});
        let request =
            json!({"KeyId": disks, "PolicyName": "default", "Policy": policy.to_string()});
        kms(cloud, &account, "PutKeyPolicy", request).await;
        let run = scene.train(churn(700, 3)).await;
        let failure = scene.customer.failed(&run).await;
        assert_eq!(
            (&failure["stage"], &failure["code"]),
            (&json!("start-job"), &json!("AccessDenied")),
            "{failure}"
        );
        let cause = failure["cause"].as_str().unwrap();
        assert!(cause.contains(&format!("kms:DescribeKey on resource: {disks}")), "{cause}");
        assert!(cause.contains("the key's policy"), "{cause}");
        assert_eq!(scene.champion().await, before);
    });
}
