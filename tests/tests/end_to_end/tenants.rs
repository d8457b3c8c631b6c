//! Tenants: how they come, change and go, and that none is ever taken for
//! another.

use std::process::Command;
use std::time::Duration;

use crosspilot_core::aws::eventbridge;
use crosspilot_core::aws::eventbridge::types::{PutEventsRequestEntry, Target};
use crosspilot_core::aws::s3;
use crosspilot_core::aws::s3::primitives::ByteStream;
use crosspilot_core::error::{CallError, Code, Coded};
use crosspilot_core::ids::{ExternalId, RoleArn};
use crosspilot_core::lambda::App;
use crosspilot_core::policy::Purpose;
use crosspilot_core::registry::{Registry, RegistryError};
use crosspilot_core::run::{RunId, RunRef, Trigger};
use crosspilot_core::session::Sessions;
use crosspilot_core::tenant::{Tenant, TenantStatus};
use crosspilot_local::accounts::{REGION, SAAS_ACCOUNT};
use crosspilot_local::cloud::CUSTOMER_TEMPLATE;
use crosspilot_local::stacks::{self, Template};
use crosspilot_local::{LocalCloud, functions};
use crosspilot_operator::{Removal, Removed};
use crosspilot_preflight::Flaw;
use crosspilot_tests::data::{canary, request};
use crosspilot_tests::{Customer, TRUST, function_identity, home_of, on_local_cloud, until};
use serde_json::{Value, json};

/// A tenant that is in the registry only.
pub(crate) fn tenant(id: &str, account: &str) -> Tenant {
    serde_json::from_value(json!({
        "tenant": id, "account": account, "region": REGION,
        "role_arn": format!("arn:aws:iam::{account}:role/customer_trusting_saas"),
        "execution_role_arn": format!("arn:aws:iam::{account}:role/crosspilot-execution"),
        "external_id": ExternalId::generate().unwrap(), "bucket": format!("{id}-data"),
        "prefix": "crosspilot", "status": "pending",
    }))
    .unwrap()
}

#[test]
fn a_role_a_bucket_and_an_id_belong_to_one_tenant_for_ever() {
    on_local_cloud(async |cloud| {
        let vendor = cloud.vendor();
        let first = tenant("claims-one", "600000000001");
        vendor.add_tenant(&first).await.unwrap();
        let code = async |tenant: &Tenant| vendor.add_tenant(tenant).await.unwrap_err().code();

        // The same tenant again is the same tenant, with the external ID that it has.
        let again = tenant("claims-one", "600000000001");
        assert_eq!(vendor.add_tenant(&again).await.unwrap(), first);
        let moved = Tenant { region: "eu-central-1".parse().unwrap(), ..again };
        let refused = vendor.add_tenant(&moved).await.unwrap_err().to_string();
        let sentence = "tenant claims-one exists already, with another region: ";
        assert!(refused.starts_with(sentence), "{refused}");
        let same_role =
            Tenant { bucket: "another".parse().unwrap(), ..tenant("claims-two", "600000000001") };
        assert_eq!(code(&same_role).await, Code::Conflict);
        let path: RoleArn = "arn:aws:iam::600000000001:role/path/other".parse().unwrap();
        let same_bucket = Tenant {
            role_arn: path,
            bucket: first.bucket.clone(),
            ..tenant("claims-two", "600000000001")
        };
        assert_eq!(code(&same_bucket).await, Code::Conflict);
        // Names of buckets are one in all accounts.
        let foreign_bucket =
            Tenant { bucket: first.bucket.clone(), ..tenant("claims-two", "600000000002") };
        assert_eq!(code(&foreign_bucket).await, Code::Conflict);
        let same_id = Tenant {
            external_id: first.external_id.clone(),
            ..tenant("claims-two", "600000000002")
        };
        assert_eq!(code(&same_id).await, Code::Conflict);
        // The refused attempts left nothing claimed.
        vendor.add_tenant(&tenant("claims-two", "600000000002")).await.unwrap();
        let freed = RoleArn::new(&first.region, &first.account, "other").unwrap();
        let third = Tenant { role_arn: freed, ..tenant("claims-three", "600000000001") };
        vendor.add_tenant(&third).await.unwrap();

        // Removed, it leaves a tombstone.
        let (removed, proof) =
            vendor.remove_tenant(&first.tenant, Removal::default(), |_| {}).await.unwrap();
        assert_eq!(removed.status, TenantStatus::Deleted);
        assert_eq!(proof, Removed::NeverUsed);
        assert_eq!(removed.external_id, first.external_id);
        assert_eq!(code(&first).await, Code::TenantInactive);
        let heir =
            Tenant { role_arn: first.role_arn.clone(), ..tenant("claims-heir", "600000000001") };
        assert_eq!(code(&heir).await, Code::Conflict);
    });
}

#[test]
fn a_status_changes_only_as_it_may_and_never_without_a_trace() {
    on_local_cloud(async |cloud| {
        let _alone = TRUST.lock().await;
        let vendor = cloud.vendor();
        let added = tenant("lifecycle", "600000000010");
        let id = &added.tenant;
        vendor.add_tenant(&added).await.unwrap();
        let refused = vendor.set_status(id, TenantStatus::Suspended).await.unwrap_err();
        assert_eq!(refused.code(), Code::TransitionRefused);
        assert_eq!(
            refused.to_string(),
            "tenant lifecycle is pending and cannot become suspended; it can become active or offboarding"
        );
        assert_eq!(vendor.registry.tenant(id).await.unwrap(), added, "it stays as it was");

        vendor.set_status(id, TenantStatus::Active).await.unwrap();
        let model = "churn".parse().unwrap();
        vendor.set_model(id, &model, &crosspilot_tests::predicting("Churn?")).await.unwrap();
        let unsound = vendor.set_model(id, &model, &crosspilot_tests::predicting("")).await;
        assert_eq!(unsound.unwrap_err().code(), Code::TenantInvalid);
        vendor.set_status(id, TenantStatus::Suspended).await.unwrap();
        // It was active, and its account cannot be looked at: it is not let go of
        // without somebody saying so.
        let unchecked = vendor.remove_tenant(id, Removal::default(), |_| {}).await.unwrap_err();
        assert!(unchecked.to_string().starts_with("TrustRefused: sts:AssumeRole"), "{unchecked}");
        assert_eq!(vendor.registry.tenant(id).await.unwrap().status, TenantStatus::Offboarding);
        let removal = Removal { force: true, ..Removal::default() };
        let (_, proof) = vendor.remove_tenant(id, removal, |_| {}).await.unwrap();
        assert!(matches!(proof, Removed::Unchecked(_)), "{proof:?}");
        assert!(vendor.set_status(id, TenantStatus::Active).await.is_err());

        let trail = vendor.registry.audit_trail(id).await.unwrap();
        let actions: Vec<&str> = trail.entries.iter().map(|entry| entry.action.as_str()).collect();
        let expected = ["add", "active", "set model churn", "suspended", "offboarding", "deleted"];
        assert_eq!(actions, expected);
        for entry in &trail.entries {
            assert_eq!(entry.by, format!("arn:aws:iam::{SAAS_ACCOUNT}:root"));
        }
        assert!(
            !serde_json::to_string(&trail.entries).unwrap().contains(added.external_id.as_str())
        );
    });
}

#[test]
fn two_writers_never_lose_each_others_change() {
    on_local_cloud(async |cloud| {
        let vendor = cloud.vendor();
        let added = tenant("writers", "600000000020");
        vendor.add_tenant(&added).await.unwrap();
        let mut writers = tokio::task::JoinSet::new();
        for number in 0..4 {
            let (vendor, id) = (vendor.clone(), added.tenant.clone());
            writers.spawn(async move {
                let model = format!("model-{number}").parse().unwrap();
                vendor.set_model(&id, &model, &crosspilot_tests::predicting("y")).await
            });
        }
        for written in writers.join_all().await {
            // Whoever loses a race has three others before it at most.
            written.unwrap();
        }
        let kept = vendor.registry.tenant(&added.tenant).await.unwrap().models;
        let names: Vec<&str> = kept.keys().map(|name| name.as_str()).collect();
        assert_eq!(names, ["model-0", "model-1", "model-2", "model-3"]);
    });
}

#[test]
fn a_bucket_that_is_not_there_is_no_unknown_tenant() {
    on_local_cloud(async |cloud| {
        let vendor = cloud.customer(&SAAS_ACCOUNT.parse().unwrap());
        let nowhere = Registry::new(&vendor, "nobodys-registry");
        let id = "acme".parse().unwrap();
        let found = [
            nowhere.tenant(&id).await.map(drop).unwrap_err(),
            nowhere.lineup(&id, &"churn".parse().unwrap()).await.map(drop).unwrap_err(),
        ];
        for error in found {
            assert!(matches!(&error, RegistryError::BucketGone(_)), "{error:?}");
            assert_eq!(error.code(), Code::Internal);
            assert!(error.to_string().contains("nobodys-registry"), "{error}");
        }
        // A tenant that is not there is one.
        let unknown = cloud.vendor().registry.tenant(&"nobody".parse().unwrap()).await.unwrap_err();
        assert_eq!(unknown.code(), Code::TenantUnknown, "{unknown}");
    });
}

#[test]
fn a_broken_document_is_an_error_of_its_own_tenant() {
    on_local_cloud(async |cloud| {
        let vendor = cloud.vendor();
        let (broken, whole) = (tenant("broken", "600000000030"), tenant("whole", "600000000031"));
        for tenant in [&broken, &whole] {
            vendor.add_tenant(tenant).await.unwrap();
        }
        let s3 = s3::Client::new(&cloud.endpoints().administrator(SAAS_ACCOUNT));
        let bodies = [
            "no json".to_owned(),
            "{}".to_owned(),
            // Another tenant's document under this name.
            serde_json::to_string(&whole).unwrap(),
            // A role in another account, and an unknown field.
            serde_json::to_string(&broken)
                .unwrap()
                .replace("600000000030:role", "600000000031:role"),
            serde_json::to_string(&broken).unwrap().replacen('{', "{\"admin\":true,", 1),
        ];
        for body in bodies {
            let put = s3.put_object().bucket(&vendor.deployment.registry_bucket);
            let put =
                put.key("tenants/broken.json").body(ByteStream::from(body.clone().into_bytes()));
            put.send().await.unwrap();
            let error = vendor.registry.tenant(&broken.tenant).await.unwrap_err();
            assert_eq!(error.code(), Code::RegistryBroken, "{body}");
            assert!(error.to_string().contains("tenants/broken.json"), "{error}");
            assert!(!error.to_string().contains(whole.external_id.as_str()), "{error}");
            assert_eq!(vendor.registry.tenant(&whole.tenant).await.unwrap(), whole);
        }
        // The same of what is written of its past.
        let put = s3.put_object().bucket(&vendor.deployment.registry_bucket);
        let put = put.key("audit/whole/0-broken.json");
        put.body(ByteStream::from_static(b"{")).send().await.unwrap();
        let trail = vendor.registry.audit_trail(&whole.tenant).await.unwrap();
        assert_eq!(trail.entries.len(), 1, "{trail:?}");
        assert_eq!(trail.broken.iter().map(|(key, _)| key).collect::<Vec<_>>(), ["0-broken"]);
        let ids = vendor.registry.tenants().await.unwrap();
        assert!(ids.contains(&broken.tenant) && ids.contains(&whole.tenant));
        // Off the scheduled rounds of other tests.
        let put = s3.put_object().bucket(&vendor.deployment.registry_bucket);
        let body = ByteStream::from(serde_json::to_vec(&broken).unwrap());
        put.key("tenants/broken.json").body(body).send().await.unwrap();
    });
}

#[test]
fn no_event_of_a_customer_can_speak_for_another() {
    on_local_cloud(async |cloud| {
        let (acme, evil) =
            (Customer::new(cloud, "victim").await, Customer::new(cloud, "evil").await);
        // An object of S3's own form about the victim's bucket, put by hand.
        let detail = json!({
            "bucket": {"name": acme.tenant.bucket},
            "object": {"key": "crosspilot/churn/train/a.csv", "etag": "e", "sequencer": "1"},
            "tenant": "victim",
        });
        let client = eventbridge::Client::new(&cloud.customer(&evil.tenant.account));
        // Nobody but AWS sends what begins with aws., and the bus admits nothing else.
        for (source, refusal) in [
            ("aws.s3", "NotAuthorizedForSourceException"),
            ("crosspilot", "AccessDeniedException"),
            ("my.app", "AccessDeniedException"),
        ] {
            let entry = PutEventsRequestEntry::builder()
                .event_bus_name(&cloud.vendor().deployment.event_bus)
                .source(source)
                .detail_type("Object Created")
                .detail(detail.to_string())
                .build();
            let found = match client.put_events().entries(entry).send().await {
                Ok(answer) => answer.entries()[0].error_code().unwrap_or("taken").to_owned(),
                Err(error) => CallError::new("events:PutEvents", source, &error).aws_code().into(),
            };
            assert_eq!(found, refusal, "{source}");
        }
        // Nor does it by way of a rule of the customer's own.
        let put = client.put_rule().name("forged").event_pattern(r#"{"source": ["my.app"]}"#);
        put.send().await.unwrap();
        let account = &evil.tenant.account;
        let target = Target::builder()
            .id("vendor")
            .arn(&cloud.vendor().deployment.event_bus)
            .role_arn(format!("arn:aws:iam::{account}:role/crosspilot-upload-events"))
            .build()
            .unwrap();
        client.put_targets().rule("forged").targets(target).send().await.unwrap();
        let entry = PutEventsRequestEntry::builder()
            .source("my.app")
            .detail_type("Object Created")
            .detail(detail.to_string())
            .build();
        let put = client.put_events().entries(entry).send().await.unwrap();
        assert_eq!(put.failed_entry_count(), 0);
        until("the vendor's bus refuses it", async || {
            let log = std::fs::read_to_string(cloud.log()).unwrap();
            log.contains(&format!("does not admit account {account}")).then_some(())
        })
        .await;
        // A key that names the victim, in the own bucket, is the own business.
        evil.put("crosspilot/victim/train/data.csv", canary().to_owned()).await;
        let execution = evil.first_execution().await;
        let failure = evil.failed(&execution).await;
        assert_eq!(failure["code"], "ModelUnknown", "{failure}");
        assert!(failure["cause"].as_str().unwrap().contains("tenant evil"), "{failure}");
        // Its key holds the victim's name, so this one execution is found for both.
        assert_eq!(acme.executions().await, Vec::<String>::new());
        assert_eq!(evil.executions().await, [execution]);
        // The other door: a token of one tenant never reaches another's model.
        let vendor = cloud.vendor();
        let rent = "rent".parse().unwrap();
        vendor
            .set_model(&acme.tenant.tenant, &rent, &crosspilot_tests::predicting("y"))
            .await
            .unwrap();
        let body = request(1).replacen('{', r#"{"tenant": "victim", "#, 1);
        assert_eq!(evil.ask(&evil.token(), "rent", &body).await.0, 404);
    });
}

/// The function `start-job` with its own role's session, as Lambda gives it.
async fn start_job_function(cloud: &LocalCloud, refresh: Duration) -> App {
    let config = function_identity(cloud, "crosspilot-start-job").await;
    let registry = Registry::new(&config, &cloud.vendor().deployment.registry_bucket);
    let sessions = Sessions::refreshed(&config, refresh);
    App { sessions, ..App::new(config, registry) }
}

/// Starts a job in every tenant's account, interleaved. Whoever is served is
/// served from its own bucket; gives how many were.
async fn all_at_once(app: &App, tenants: &[Tenant], round: usize) -> usize {
    let mut calls = tokio::task::JoinSet::new();
    for step in 0..tenants.len() {
        // A prime step goes through all of them in an order of its own.
        let tenant = tenants[(step * [37, 71, 113][round % 3]) % tenants.len()].clone();
        let app = app.clone();
        calls.spawn(async move {
            let model = "churn".parse().unwrap();
            let time = "2026-01-31T12:00:00Z".to_owned();
            let trigger = Trigger::Manual { time, request_id: "x".to_owned() };
            let run_id = RunId::derive(&tenant.tenant, &model, &trigger).unwrap();
            let run = RunRef { tenant: tenant.tenant.clone(), model, run_id };
            let record = serde_json::json!({
                "tenant": run.tenant, "model": run.model, "run_id": run.run_id,
                "execution": "by hand", "trigger": trigger,
            });
            let record = serde_json::from_value(record).unwrap();
            app.registry.claim_run(&record).await.unwrap();
            let request = start_job::Request { run, elapsed_seconds: 0.0 };
            match start_job::handle(app, request).await.unwrap_err() {
                start_job::Error::Unfit(unfit) => {
                    let error = &unfit.verdict.errors[0];
                    let own = format!("s3://{}/crosspilot/churn/train/", tenant.bucket);
                    assert_eq!(error.code, Flaw::NoFiles);
                    assert!(error.message.contains(&own), "{error}");
                    1
                }
                // Its session ended under it.
                error => {
                    assert_eq!(error.code(), Code::Unavailable, "{error}");
                    0
                }
            }
        });
    }
    calls.join_all().await.into_iter().sum()
}

#[test]
fn however_many_wait_for_a_session_one_is_fetched() {
    on_local_cloud(async |cloud| {
        let tenant = Customer::new(cloud, "one-flight").await.tenant;
        let app = start_job_function(cloud, Duration::from_secs(300)).await;
        let run = RunRef {
            tenant: tenant.tenant.clone(),
            model: "churn".parse().unwrap(),
            run_id: "20260131-0123456789".parse().unwrap(),
        };
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let (app, tenant, run) = (app.clone(), tenant.clone(), run.clone());
            waiting.spawn(async move {
                app.sessions.open(&tenant, Purpose::StartJob(&run)).await.unwrap();
            });
        }
        waiting.join_all().await;
        let sessions =
            format!("arn:aws:sts::{}:assumed-role/customer_trusting_saas/", tenant.account);
        assert_eq!(cloud.authority().expire_sessions(&sessions).await.unwrap(), 1);
    });
}

#[test]
fn two_hundred_tenants_in_one_warm_process_never_share_a_session() {
    on_local_cloud(async |cloud| {
        let ids: Vec<String> = (0..200).map(|number| format!("many-{number}")).collect();
        let mut waiting = ids.into_iter();
        let mut deploying = tokio::task::JoinSet::new();
        let mut tenants = Vec::new();
        loop {
            while deploying.len() < 4
                && let Some(id) = waiting.next()
            {
                deploying.spawn(async move { Customer::new(cloud, &id).await.tenant });
            }
            match deploying.join_next().await {
                Some(tenant) => tenants.push(tenant.unwrap()),
                None => break,
            }
        }
        // Sessions count as ending three seconds after they were given.
        let app = start_job_function(cloud, Duration::from_secs(3597)).await;
        assert_eq!(all_at_once(&app, &tenants, 0).await, 200);
        for round in 0..3 {
            // All sessions end now; calls in between may fail, and only fail.
            // Only these tenants': other tests run beside this one.
            for tenant in &tenants {
                let sessions = format!("arn:aws:sts::{}:", tenant.account);
                let ended = cloud.authority().expire_sessions(&sessions).await.unwrap();
                assert!(ended >= 1, "{}", tenant.tenant);
            }
            all_at_once(&app, &tenants, round).await;
            until("the ended sessions have been replaced", async || {
                (all_at_once(&app, &tenants, round).await == 200).then_some(())
            })
            .await;
        }
        let calls = cloud.authority().calls("arn:aws:sts::3").await.unwrap();
        let mut checked = 0;
        for call in calls {
            let Some((_, named)) = call.principal.split_once("/crosspilot-many-") else { continue };
            let number = named.split('-').next().unwrap();
            let id = format!("many-{number}");
            let tenant = tenants.iter().find(|tenant| tenant.tenant.as_str() == id).unwrap();
            let account = format!("arn:aws:sts::{}:", tenant.account);
            assert!(call.principal.starts_with(&account), "{call:?}");
            if (call.method.as_str(), call.what.as_str()) == ("POST", "/") {
                // A round of probes asks STS who it has become.
                continue;
            }
            let bucket = format!("/{}/", tenant.bucket);
            assert!(format!("{}/", call.what).starts_with(&bucket), "{call:?}");
            checked += 1;
        }
        assert!(checked >= 600, "{checked}");
        // Off the rounds of other tests.
        for tenant in tenants {
            cloud.vendor().set_status(&tenant.tenant, TenantStatus::Suspended).await.unwrap();
        }
    });
}

/// Does what an invited customer does: deploys the template with the parameters of the
/// AWS CLI line that `crosspilot tenant add` printed.
async fn deploy_invitation(cloud: &LocalCloud, account: &str, command_line: &str) {
    let (_, parameters) = command_line.split_once("--parameter-overrides ").unwrap();
    let parameters: Vec<(&str, &str)> =
        parameters.split(' ').filter_map(|parameter| parameter.split_once('=')).collect();
    let config = cloud.customer(&account.parse().unwrap());
    let template = Template::Text(CUSTOMER_TEMPLATE);
    stacks::deploy(&config, "crosspilot-customer", template, &parameters).await.unwrap();
}

#[test]
fn the_command_line_takes_a_tenant_through_its_life() {
    on_local_cloud(async |cloud| {
        let home = home_of(cloud);
        let program = functions::binaries().unwrap().join("crosspilot");
        let said = async |arguments: &[&str]| -> (bool, String, String) {
            let mut command = Command::new(&program);
            command.arg("--home").arg(&home).arg("tenant").args(arguments);
            let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await;
            let output = output.unwrap();
            let text = |bytes| String::from_utf8(bytes).unwrap();
            (output.status.success(), text(output.stdout), text(output.stderr))
        };
        let run = async |arguments: &[&str]| -> (bool, Value, String) {
            let (done, answer, errors) = said(&[arguments, &["--json"]].concat()).await;
            (done, serde_json::from_str(&answer).unwrap_or_default(), errors)
        };
        let url = "https://templates.s3.amazonaws.com/customer.yaml";
        let account = "600000000100";
        let add =
            ["add", "by-hand", "--account", account, "--region", REGION, "--template-url", url];
        let (done, invitation, errors) = run(&add).await;
        assert!(done, "{errors}");
        let line = invitation["command_line"].as_str().unwrap();
        let link = invitation["quick_create_link"].as_str().unwrap();
        assert!(link.contains("param_ExternalId=cp-") && link.contains("param_SaasAccountId="));

        // Before the customer has deployed anything, there is nothing to trust.
        let (done, verdict, errors) = run(&["verify", "by-hand"]).await;
        assert!(!done && errors.contains("TrustRefused"), "{errors}");
        assert_eq!(
            (&verdict["code"], &verdict["status"]),
            (&json!("TrustRefused"), &json!("pending"))
        );

        deploy_invitation(cloud, account, line).await;
        let (done, verdict, errors) = run(&["verify", "by-hand"]).await;
        assert!(done, "{errors}");
        assert_eq!((&verdict["verdict"], &verdict["status"]), (&json!("proven"), &json!("active")));
        // No key is set, and what follows from that is told whoever reads it.
        let note = "`crosspilot tenant set by-hand --output-key ARN`";
        assert!(errors.contains(note), "{errors}");
        let (_, proven, errors) = said(&["verify", "by-hand"]).await;
        assert!(errors.contains(note), "{errors}");
        let words = "its role takes its external ID; none, a random and a similar one are refused";
        assert_eq!(proven.trim_end(), format!("tenant by-hand is active: {words}"));

        // What was printed can be printed again, with what was set since.
        let set =
            ["set", "by-hand", "--subnet", "subnet-01234567", "--security-group", "sg-01234567"];
        // What the customer's stack has to know of is said, and where it is to be had.
        let hint = "crosspilot tenant show by-hand --invitation";
        let (done, told, errors) = said(&set).await;
        assert!(done && told.contains(hint), "{told} {errors}");
        let (_, untold, _) = said(&["set", "by-hand", "--max-candidates", "200"]).await;
        assert!(untold.contains("200 candidates") && !untold.contains(hint), "{untold}");
        let (_, again, _) = run(&["show", "by-hand", "--invitation"]).await;
        let more = " SubnetIds=subnet-01234567 SecurityGroupIds=sg-01234567";
        assert_eq!(again["command_line"], format!("{line}{more}"));
        assert!(run(&["set", "by-hand", "--no-network"]).await.0);
        let (done, again, errors) = run(&add).await;
        assert!(done, "{errors}");
        assert_eq!((&again["command_line"], &again["status"]), (&json!(line), &json!("active")));

        let set = ["model", "set", "by-hand", "churn", "--target", "Churn?"];
        assert_eq!(run(&set).await.1["settings"]["target"], "Churn?");
        assert_eq!(run(&["suspend", "by-hand"]).await.1["status"], "suspended");
        // A proof alone does not bring back what an operator suspended.
        assert_eq!(run(&["verify", "by-hand"]).await.1["status"], "suspended");
        assert_eq!(run(&["resume", "by-hand"]).await.1["status"], "active");
        assert!(run(&["resume", "by-hand"]).await.2.contains("cannot become active"));
        let shown = run(&["show", "by-hand"]).await.1;
        assert_eq!(shown["models"]["churn"]["target"], "Churn?");
        assert_eq!(run(&["remove", "by-hand", "--yes"]).await.1["status"], "deleted");
        let history = run(&["history", "by-hand"]).await.1;
        assert_eq!(history.as_array().unwrap().len(), 10, "{history}");
        let list = run(&["list"]).await.1;
        let listed = list.as_array().unwrap().iter().find(|tenant| tenant["tenant"] == "by-hand");
        assert_eq!(listed.unwrap()["status"], "deleted");
        assert!(run(&add).await.2.contains("crosspilot tenant readmit by-hand"));

        // It comes back with another external ID, and proves its trust anew.
        let (done, back, errors) = run(&["readmit", "by-hand"]).await;
        assert!(done && back["status"] == "pending", "{back} {errors}");
        let anew = back["command_line"].as_str().unwrap();
        assert!(anew.contains("ExternalId=cp-") && anew != line, "{anew}");
        assert_eq!(run(&["readmit", "by-hand"]).await.1["command_line"], anew);
        assert!(!run(&["verify", "by-hand"]).await.0);
        assert_eq!(run(&["show", "by-hand"]).await.1["models"], json!({}));

        for (bad, what) in [
            (["show", "../by-hand"], "is not a tenant id"),
            (["show", "by-h\u{430}nd"], "is not a tenant id"),
            (["verify", "by-hand\u{7}"], "is not a tenant id"),
            (["verify", "nobody"], "there is no tenant nobody"),
        ] {
            let (done, _, errors) = run(&bad).await;
            assert!(!done && errors.contains(what), "{bad:?}: {errors}");
        }
    });
}
