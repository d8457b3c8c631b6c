//! Registering tenants: interrupted anywhere, done twice or by two people at
//! once, it ends with one whole tenant or a refusal that says what to do.

use std::collections::BTreeSet;

use crosspilot_core::aws::s3;
use crosspilot_core::aws::{eventbridge, scheduler};
use crosspilot_core::error::{Code, Coded};
use crosspilot_core::ids::ExternalId;
use crosspilot_core::registry::{OwnCalls, Registry, RegistryError, seconds};
use crosspilot_core::run::RunRef;
use crosspilot_core::tenant::Tenant;
use crosspilot_local::LocalCloud;
use crosspilot_local::accounts::SAAS_ACCOUNT;
use crosspilot_operator::{Removal, Vendor};
use crosspilot_sagemaker_local::{Effect, Fault};
use crosspilot_tests::mishaps::Mishaps as _;
use crosspilot_tests::{Customer, on_local_cloud, refusal};
use serde_json::{Value, json};

use crate::tenants::tenant;

/// A vendor with a registry and a bus of its own, whose calls nobody else makes.
async fn vendor_of_its_own(cloud: &LocalCloud, name: &str) -> Vendor {
    let config = cloud.endpoints().administrator(SAAS_ACCOUNT);
    s3::Client::new(&config).create_bucket().bucket(name).send().await.unwrap();
    let bus = eventbridge::Client::new(&config).create_event_bus().name(name).send().await.unwrap();
    let mut vendor = cloud.vendor().clone();
    vendor.deployment.registry_bucket = name.to_owned();
    vendor.deployment.event_bus = bus.event_bus_arn.unwrap();
    vendor.registry = Registry::new(&config, name);
    vendor
}

/// The statements of the bus's policy.
async fn statements(cloud: &LocalCloud, vendor: &Vendor) -> Vec<Value> {
    let client = eventbridge::Client::new(&cloud.endpoints().administrator(SAAS_ACCOUNT));
    let name = vendor.deployment.event_bus.rsplit('/').next().unwrap();
    let found = client.describe_event_bus().name(name).send().await.unwrap();
    let policy: Value = serde_json::from_str(found.policy().unwrap_or("{}")).unwrap();
    policy["Statement"].as_array().cloned().unwrap_or_default()
}

/// The accounts whose uploads the bus hears of, by the one statement for them.
async fn heard(cloud: &LocalCloud, vendor: &Vendor) -> BTreeSet<String> {
    let statements = statements(cloud, vendor).await;
    let ours: Vec<_> = statements.iter().filter(|s| s["Sid"] == "CrosspilotCustomers").collect();
    assert!(ours.len() <= 1, "{statements:?}");
    let accounts = ours.iter().flat_map(|s| s["Principal"]["AWS"].as_array().unwrap());
    accounts.map(|account| account.as_str().unwrap().to_owned()).collect()
}

/// Asserts that a tenant is registered whole: its document, all that is its alone, and that the
/// bus hears its account.
async fn whole(cloud: &LocalCloud, vendor: &Vendor, added: &Tenant, what: &str) {
    let found = vendor.registry.tenant(&added.tenant).await.unwrap();
    assert_eq!(found, *added, "{what}");
    let owner = vendor.registry.tenant_of_bucket(&added.account, &added.bucket).await.unwrap();
    assert_eq!(owner.tenant, added.tenant, "{what}");
    let thief = tenant("thief", "600000000399");
    for theft in [
        Tenant {
            account: added.account.clone(),
            role_arn: added.role_arn.clone(),
            execution_role_arn: added.execution_role_arn.clone(),
            ..thief.clone()
        },
        Tenant { bucket: added.bucket.clone(), ..thief.clone() },
        Tenant { external_id: added.external_id.clone(), ..thief },
    ] {
        let refused = vendor.add_tenant(&theft).await.unwrap_err();
        assert_eq!(refused.code(), Code::Conflict, "{what}: {refused}");
        assert!(refused.to_string().contains(added.tenant.as_str()), "{what}: {refused}");
    }
    assert!(heard(cloud, vendor).await.contains(added.account.as_str()), "{what}");
}

/// Injects a fault, does something that it may end, and then does it again.
async fn interrupted<T>(
    cloud: &LocalCloud,
    (operation, about): &(&str, Vec<String>),
    effect: &Effect,
    work: impl AsyncFn() -> Result<T, crosspilot_operator::OperatorError>,
) -> (Option<T>, T) {
    // Whoever loses every answer is as good as killed after the call.
    let times = if *effect == Effect::Lose { 3 } else { 1 };
    let (about, effect) = (about.clone(), effect.clone());
    let fault =
        Fault { operation: (*operation).into(), about: about.clone(), after: 0, times, effect };
    cloud.inject(fault).await.unwrap();
    let first = work().await;
    let to_come = cloud.faults_to_come(&about[0]).await.unwrap();
    assert_eq!(to_come, 0, "{operation} {about:?} was never called: {:?}", first.err());
    let what = format!("{operation} {about:?}");
    (first.ok(), work().await.unwrap_or_else(|error| panic!("{what}: {error}")))
}

#[test]
fn a_tenant_is_added_whole_whichever_call_is_interrupted() {
    on_local_cloud(async |cloud| {
        let registry = "onboarding-faults";
        let vendor = vendor_of_its_own(cloud, registry).await;
        let mut number = 400;
        for effect in [refusal("AccessDenied", 403), Effect::Lose, Effect::Throttle] {
            for row in 0..11 {
                number += 1;
                let (id, account) = (format!("fault-{number}"), format!("600000000{number}"));
                let mut one = tenant(&id, &account);
                let digest = one.external_id.digest();
                let document = |key: String| vec![format!("{registry}/{key}")];
                let rows = [
                    ("s3:GetObject", document(format!("tenants/{id}.json"))),
                    ("s3:GetObject", document(format!("claims/roles/{account}/"))),
                    ("s3:GetObject", document(format!("claims/buckets/{}.json", one.bucket))),
                    ("s3:PutObject", document(format!("claims/roles/{account}/"))),
                    ("s3:PutObject", document(format!("claims/buckets/{}.json", one.bucket))),
                    ("s3:PutObject", document(format!("claims/external-ids/{digest}.json"))),
                    ("s3:PutObject", document(format!("audit/{id}/"))),
                    ("s3:PutObject", document(format!("tenants/{id}.json"))),
                    ("s3:ListBucket", vec![registry.into(), "prefix=claims%2Froles%2F".into()]),
                    ("events:DescribeEventBus", vec![format!("\"{registry}\"")]),
                    ("events:PutPermission", vec![format!("\"{registry}\"")]),
                ];
                let what = format!("{:?} {effect:?}", rows[row]);
                let first = one.external_id.clone();
                // Each attempt of the command makes an external ID of its own.
                let ids = std::cell::RefCell::new(vec![one.external_id.clone()]);
                let (before, after) = interrupted(cloud, &rows[row], &effect, async || {
                    let mut again = tenant(&id, &account);
                    if let Some(id) = ids.borrow_mut().pop() {
                        again.external_id = id;
                    }
                    vendor.add_tenant(&again).await
                })
                .await;
                if let Some(before) = before {
                    assert_eq!(before, after, "{what}");
                    assert_eq!(after.external_id, first, "{what}");
                }
                one.external_id = after.external_id.clone();
                assert_eq!(after, one, "{what}");
                whole(cloud, &vendor, &after, &what).await;
            }
        }
        // All of them by one statement, and who leaves is not heard any more.
        assert_eq!(heard(cloud, &vendor).await.len(), 33);
        let last = tenant(&format!("fault-{number}"), &format!("600000000{number}"));
        vendor.remove_tenant(&last.tenant, Removal::default(), |_| {}).await.unwrap();
        let heard = heard(cloud, &vendor).await;
        assert!(heard.len() == 32 && !heard.contains(last.account.as_str()));
        let gone = vendor.add_tenant(&last).await.unwrap_err();
        assert_eq!(gone.code(), Code::TenantInactive);
    });
}

#[test]
fn a_tenant_that_was_removed_is_taken_up_again_whichever_call_is_interrupted() {
    on_local_cloud(async |cloud| {
        let registry = "onboarding-returns";
        let vendor = vendor_of_its_own(cloud, registry).await;
        let mut number = 500;
        for effect in [refusal("AccessDenied", 403), Effect::Lose, Effect::Throttle] {
            for row in 0..6 {
                number += 1;
                let (id, account) = (format!("back-{number}"), format!("600000000{number}"));
                let before = vendor.add_tenant(&tenant(&id, &account)).await.unwrap();
                let of = &before.tenant;
                vendor.remove_tenant(of, Removal::default(), |_| {}).await.unwrap();
                let external_id = ExternalId::generate().unwrap();
                let digest = external_id.digest();
                let document = |key: String| vec![format!("{registry}/{key}")];
                let rows = [
                    ("s3:GetObject", document(format!("tenants/{id}.json"))),
                    ("s3:PutObject", document(format!("claims/external-ids/{digest}.json"))),
                    ("s3:PutObject", document(format!("audit/{id}/"))),
                    ("s3:PutObject", document(format!("back/claims/roles/{account}/"))),
                    ("s3:PutObject", document(format!("tenants/{id}.json"))),
                    ("events:PutPermission", vec![format!("\"{registry}\"")]),
                ];
                let what = format!("{:?} {effect:?}", rows[row]);
                let (_, after) = interrupted(cloud, &rows[row], &effect, async || {
                    vendor.readmit_tenant(of, &external_id).await
                })
                .await;
                assert_ne!(after.external_id, before.external_id, "{what}");
                assert_eq!(after, Tenant { external_id, ..before.clone() }, "{what}");
                whole(cloud, &vendor, &after, &what).await;
                // It may leave once more, and come back once more.
                vendor.remove_tenant(of, Removal::default(), |_| {}).await.unwrap();
                assert!(!heard(cloud, &vendor).await.contains(account.as_str()), "{what}");
                let again = ExternalId::generate().unwrap();
                let after = vendor.readmit_tenant(of, &again).await.unwrap();
                whole(cloud, &vendor, &after, &what).await;
            }
        }
    });
}

#[test]
fn people_who_add_the_same_tenant_at_once_get_the_same_one() {
    on_local_cloud(async |cloud| {
        let vendor = vendor_of_its_own(cloud, "onboarding-crowd").await;
        let mut adding = tokio::task::JoinSet::new();
        for _ in 0..6 {
            let vendor = vendor.clone();
            adding.spawn(async move { vendor.add_tenant(&tenant("crowd", "600000000310")).await });
        }
        let added: Vec<Tenant> =
            adding.join_all().await.into_iter().map(|added| added.unwrap()).collect();
        assert!(added.iter().all(|one| *one == added[0]), "{added:?}");
        whole(cloud, &vendor, &added[0], "crowd").await;

        // Different ones under one id: one is registered, and the others' buckets are free.
        let mut adding = tokio::task::JoinSet::new();
        for number in 0..4 {
            let vendor = vendor.clone();
            adding.spawn(async move {
                let mut one = tenant("rivals", "600000000311");
                one.bucket = format!("rivals-{number}").parse().unwrap();
                vendor.add_tenant(&one).await
            });
        }
        let (mut added, mut refused) = (Vec::new(), Vec::new());
        for result in adding.join_all().await {
            match result {
                Ok(one) => added.push(one),
                Err(error) => refused.push(error),
            }
        }
        assert_eq!((added.len(), refused.len()), (1, 3), "{refused:?}");
        for error in refused {
            assert_eq!(error.code(), Code::Conflict);
            assert!(error.to_string().contains("exists already, with another bucket"), "{error}");
        }
        whole(cloud, &vendor, &added[0], "rivals").await;
        let free = (0..4).find(|number| added[0].bucket.as_str() != format!("rivals-{number}"));
        let mut heir = tenant("heir", "600000000312");
        heir.bucket = format!("rivals-{}", free.unwrap()).parse().unwrap();
        whole(cloud, &vendor, &vendor.add_tenant(&heir).await.unwrap(), "heir").await;

        // Tenants of different people at once: the bus hears all of them.
        let mut adding = tokio::task::JoinSet::new();
        for number in 320..332 {
            let vendor = vendor.clone();
            adding.spawn(async move {
                let one = tenant(&format!("many-at-once-{number}"), &format!("600000000{number}"));
                vendor.add_tenant(&one).await
            });
        }
        for added in adding.join_all().await {
            added.unwrap();
        }
        assert_eq!(heard(cloud, &vendor).await.len(), 15);
    });
}

#[test]
fn what_is_not_ended_yet_belongs_to_nobody_else() {
    on_local_cloud(async |cloud| {
        let vendor = vendor_of_its_own(cloud, "onboarding-typo").await;
        let (typo, meant) = (tenant("acmee", "600000000340"), tenant("acme", "600000000340"));
        let about = vec!["onboarding-typo/tenants/acmee.json".to_owned()];
        let fault = Fault {
            operation: "s3:PutObject".into(),
            about,
            after: 0,
            times: 1,
            effect: refusal("AccessDenied", 403),
        };
        cloud.inject(fault).await.unwrap();
        vendor.add_tenant(&typo).await.unwrap_err();
        let refused = vendor.add_tenant(&meant).await.unwrap_err();
        assert_eq!(refused.code(), Code::Conflict);
        let sentence = "is being registered for tenant acmee, which is not there yet: end that";
        assert!(refused.to_string().contains(sentence), "{refused}");
        whole(cloud, &vendor, &vendor.add_tenant(&typo).await.unwrap(), "typo").await;
        let refused = vendor.add_tenant(&meant).await.unwrap_err();
        assert!(refused.to_string().contains("belongs to tenant acmee already"), "{refused}");
    });
}

#[test]
fn a_full_bus_says_so_and_admits_once_there_is_room() {
    on_local_cloud(async |cloud| {
        let vendor = vendor_of_its_own(cloud, "onboarding-full").await;
        let config = cloud.endpoints().administrator(SAAS_ACCOUNT);
        let client = eventbridge::Client::new(&config);
        // A statement of somebody else's, which must stay as it is.
        let other = |words: usize| {
            json!({"Sid": "Others", "Effect": "Allow", "Action": "events:PutEvents",
                   "Principal": {"AWS": "999999999999"}, "Resource": vendor.deployment.event_bus,
                   "Condition": {"StringEquals": {"events:source": "x".repeat(words)}}})
        };
        let put = async |words: usize| {
            let policy = json!({"Version": "2012-10-17", "Statement": [other(words)]});
            let put = client.put_permission().event_bus_name("onboarding-full");
            put.policy(policy.to_string()).send().await
        };
        put(11_000).await.unwrap_err();
        put(9_900).await.unwrap();
        let one = tenant("no-room", "600000000350");
        let full = vendor.add_tenant(&one).await.unwrap_err();
        assert_eq!(full.code(), Code::QuotaReached);
        assert!(full.to_string().contains("ask AWS for a higher quota"), "{full}");
        assert_eq!(statements(cloud, &vendor).await, [other(9_900)]);
        put(100).await.unwrap();
        // As `tenant verify` does it.
        let one = vendor.registry.tenant(&one.tenant).await.unwrap();
        vendor.repair(&one).await.unwrap();
        whole(cloud, &vendor, &one, "full").await;
        assert_eq!(statements(cloud, &vendor).await[0], other(100));
    });
}

#[test]
fn a_model_is_set_up_whole_whichever_call_is_interrupted() {
    on_local_cloud(async |cloud| {
        let vendor = cloud.vendor();
        let client = scheduler::Client::new(&cloud.endpoints().administrator(SAAS_ACCOUNT));
        let added = tenant("set-again", "600000000360");
        let id = &vendor.add_tenant(&added).await.unwrap().tenant;
        for (number, effect) in
            [refusal("AccessDenied", 403), Effect::Lose, Effect::Throttle].iter().enumerate()
        {
            for row in 0..4 {
                let model = format!("model-{number}-{row}").parse().unwrap();
                let rows = [
                    ("s3:GetObject", vec!["tenants/set-again.json".to_owned()]),
                    ("s3:PutObject", vec!["audit/set-again/".to_owned()]),
                    ("s3:PutObject", vec!["tenants/set-again.json".to_owned()]),
                    ("scheduler:CreateSchedule", vec![format!("set-again.{model}")]),
                ];
                let mut settings = crosspilot_tests::predicting("y");
                settings.schedule = Some("rate(7 days)".into());
                interrupted(cloud, &rows[row], effect, async || {
                    vendor.set_model(id, &model, &settings).await
                })
                .await;
                let found = vendor.registry.tenant(id).await.unwrap();
                assert_eq!(found.models.get(&model), Some(&settings), "{:?}", rows[row]);
                let schedule = client.get_schedule().group_name("crosspilot");
                let schedule = schedule.name(format!("set-again.{model}")).send().await.unwrap();
                assert_eq!(schedule.schedule_expression(), Some("rate(7 days)"));
            }
        }
        // What is being removed gets no model, and so no schedule, any more.
        let (_, later) =
            (vendor.remove_tenant(id, Removal::default(), |_| {}).await.unwrap(), "later");
        let settings = crosspilot_tests::predicting("y");
        let refused = vendor.set_model(id, &later.parse().unwrap(), &settings).await.unwrap_err();
        assert_eq!(refused.code(), Code::TenantInactive, "{refused}");
        let schedules = client.list_schedules().group_name("crosspilot").name_prefix("set-again.");
        assert_eq!(schedules.send().await.unwrap().schedules().len(), 0);
    });
}

#[test]
fn a_bucket_that_became_somebody_elses_is_neither_read_nor_written() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "gave-up-bucket").await;
        let bucket = customer.tenant.bucket.as_str();
        customer.s3().delete_bucket().bucket(bucket).send().await.unwrap();
        // Whoever makes one of that name lets the customer's role do everything.
        let stranger = s3::Client::new(&cloud.endpoints().administrator("777777777777"));
        stranger.create_bucket().bucket(bucket).send().await.unwrap();
        let policy = json!({"Version": "2012-10-17", "Statement": [{
            "Sid": "Lure", "Effect": "Allow", "Action": "s3:*",
            "Principal": {"AWS": customer.tenant.role_arn},
            "Resource": [format!("arn:aws:s3:::{bucket}"), format!("arn:aws:s3:::{bucket}/*")],
        }]});
        let put = stranger.put_bucket_policy().bucket(bucket).policy(policy.to_string());
        put.send().await.unwrap();
        let data = crosspilot_tests::churn(700, 1).into_bytes().into();
        let put = stranger.put_object().bucket(bucket).key("crosspilot/churn/train/data.csv");
        put.body(data).send().await.unwrap();
        let failure = customer.failed(&customer.start("lured").await).await;
        assert_eq!(failure["code"], "AccessDenied", "{failure}");
        let found = stranger.list_objects_v2().bucket(bucket).send().await.unwrap();
        assert_eq!(found.contents().len(), 1, "nothing was written: {found:?}");
    });
}

#[test]
fn a_registry_that_became_somebody_elses_is_neither_read_nor_written() {
    on_local_cloud(async |cloud| {
        // The account that the name tells has given it up, and a stranger lets the vendor in.
        let bucket = "crosspilot-registry-888888888888-us-east-1";
        let stranger = s3::Client::new(&cloud.endpoints().administrator("777777777777"));
        stranger.create_bucket().bucket(bucket).send().await.unwrap();
        let policy = json!({"Version": "2012-10-17", "Statement": [{
            "Sid": "Lure", "Effect": "Allow", "Action": "s3:*",
            "Principal": {"AWS": format!("arn:aws:iam::{SAAS_ACCOUNT}:root")},
            "Resource": [format!("arn:aws:s3:::{bucket}"), format!("arn:aws:s3:::{bucket}/*")],
        }]});
        let put = stranger.put_bucket_policy().bucket(bucket).policy(policy.to_string());
        put.send().await.unwrap();
        let customer = Customer::new(cloud, "lured-registry").await;
        let tenant = &customer.tenant;
        let key = format!("tenants/{}.json", tenant.tenant);
        let lure = serde_json::to_vec(tenant).unwrap();
        let put = stranger.put_object().bucket(bucket).key(&key).body(lure.into());
        put.send().await.unwrap();

        let vendor = cloud.customer(&SAAS_ACCOUNT.parse().unwrap());
        let registry = Registry::new(&vendor, bucket);
        let denied = |error: RegistryError| assert_eq!(error.code(), Code::AccessDenied, "{error}");
        denied(registry.tenant(&tenant.tenant).await.unwrap_err());
        denied(registry.runs(&tenant.tenant, &customer.model).await.unwrap_err());
        let change = |_: &mut OwnCalls| {};
        let own_calls = registry.change_own_calls(&tenant.tenant, &customer.model, change);
        denied(own_calls.await.unwrap_err());
        let now = std::time::SystemTime::now();
        denied(registry.share_usage(&tenant.tenant, "r", seconds(now)).await.unwrap_err());
        let run = RunRef {
            tenant: tenant.tenant.clone(),
            model: customer.model.clone(),
            run_id: "20260131-0123456789".parse().unwrap(),
        };
        denied(registry.note_settled(&run).await.unwrap_err());
        let found = stranger.list_objects_v2().bucket(bucket).send().await.unwrap();
        assert_eq!(found.contents().len(), 1, "nothing was written: {found:?}");
    });
}
