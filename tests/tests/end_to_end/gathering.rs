//! Uploads gather: however many files, one run; one run trains, one more waits.

use crosspilot_core::aws::s3;
use crosspilot_core::aws::sagemaker::Client;
use crosspilot_core::aws::sfn::types::ExecutionStatus;
use crosspilot_core::gathering::Gathering;
use crosspilot_core::registry::RunRecord;
use crosspilot_core::run::RunRef;
use crosspilot_core::settings::ModelSettings;
use crosspilot_core::tenant::{Limits, Tenant};
use crosspilot_local::accounts::SAAS_ACCOUNT;
use crosspilot_operator::Stopping;
use crosspilot_sagemaker_local::{Effect, Fault};
use crosspilot_tests::mishaps::Mishaps as _;
use crosspilot_tests::{Customer, all, churn, on_local_cloud, onboarding, refusal, until};
use serde_json::{Value, json};

fn sagemaker(customer: &Customer) -> Client {
    customer.cloud.endpoints().sagemaker_of(customer.tenant.account.as_str())
}

async fn jobs(customer: &Customer) -> Vec<String> {
    let jobs = sagemaker(customer).list_auto_ml_jobs().send().await.unwrap();
    let names = jobs.auto_ml_job_summaries().iter();
    names.map(|job| job.auto_ml_job_name().unwrap().to_owned()).collect()
}

async fn runs(customer: &Customer) -> Vec<RunRecord> {
    let registry = &customer.cloud.vendor().registry;
    registry.runs(&customer.tenant.tenant, &customer.model).await.unwrap()
}

async fn gathering(customer: &Customer) -> Gathering {
    let registry = &customer.cloud.vendor().registry;
    registry.gathering(&customer.tenant.tenant, &customer.model).await.unwrap()
}

async fn set(customer: &Customer, change: impl FnOnce(&mut ModelSettings)) {
    let mut settings = crosspilot_tests::predicting("Churn?");
    change(&mut settings);
    let vendor = customer.cloud.vendor();
    vendor.set_model(&customer.tenant.tenant, &customer.model, &settings).await.unwrap();
}

/// Sets the model's quiet period.
async fn quiet(customer: &Customer, seconds: u32) {
    set(customer, |settings| settings.quiet_seconds = Some(seconds)).await;
}

/// Has the function `assume` take messages, as Lambda does that reads the queue.
async fn deliver(customer: &Customer, bodies: &[Value]) -> Value {
    let records: Vec<Value> = bodies
        .iter()
        .enumerate()
        .map(|(id, body)| json!({"messageId": id.to_string(), "body": body.to_string()}))
        .collect();
    let scope = format!("{SAAS_ACCOUNT}/20260101/us-east-1/lambda/aws4_request");
    let url = &customer.cloud.endpoints().default;
    let answer = crosspilot_tests::http()
        .post(format!("{url}/2015-03-31/functions/crosspilot-assume/invocations"))
        .header("x-crosspilot-token", customer.cloud.running().token)
        .header(
            "authorization",
            format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=none"),
        )
        .body(json!({"Records": records}).to_string())
        .send()
        .await
        .unwrap();
    answer.json().await.unwrap()
}

/// The event of an object that is there, as EventBridge wrote it when it came.
async fn event(customer: &Customer, key: &str) -> Value {
    let bucket = customer.tenant.bucket.as_str();
    let head = customer.s3().head_object().bucket(bucket).key(key).send().await.unwrap();
    let format = s3::primitives::DateTimeFormat::DateTime;
    json!({
        "version": "0", "id": "again", "detail-type": "Object Created", "source": "aws.s3",
        "account": customer.tenant.account, "region": "us-east-1",
        "time": head.last_modified().unwrap().fmt(format).unwrap(),
        "detail": {"bucket": {"name": bucket}, "object": {
            "key": key, "size": head.content_length(), "etag": head.e_tag(), "sequencer": "1",
        }},
    })
}

fn run_of(output: &Value) -> RunRef {
    serde_json::from_value(output["run"].clone()).unwrap()
}

#[test]
fn sixty_four_files_at_once_are_one_job_on_all_of_them() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "crowd").await;
        quiet(&customer, 5).await;
        let keys: Vec<String> =
            (0..64).map(|n| format!("crosspilot/churn/train/part-{n:02}.csv")).collect();
        let (s3, bucket) = (customer.s3(), customer.tenant.bucket.as_str().to_owned());
        let puts = keys.clone().into_iter().zip(0..).map(|(key, seed)| {
            let put = s3.put_object().bucket(&bucket).key(key);
            let put = put.body(s3::primitives::ByteStream::from(churn(20, seed).into_bytes()));
            async move { drop(put.send().await.unwrap()) }
        });
        all(puts).await;
        let execution = customer.first_execution().await;
        let output = customer.succeeded(&execution).await;
        let run = run_of(&output);
        assert_eq!(jobs(&customer).await, [run.job_name()]);
        let key = format!("crosspilot-results/churn/{}/preflight.json", run.run_id);
        let verdict: Value = serde_json::from_str(&customer.get(&key).await).unwrap();
        assert_eq!(verdict["training"]["files"], 64, "{verdict}");
        assert_eq!(verdict["training"]["rows"]["count"], 64 * 20, "{verdict}");

        // All of them come again: nothing more is started.
        let mut again = Vec::new();
        for key in &keys {
            again.push(event(&customer, key).await);
        }
        assert_eq!(deliver(&customer, &again).await, json!({"batchItemFailures": []}));
        assert_eq!(customer.executions().await, [execution]);
        let Gathering { training, waiting, .. } = gathering(&customer).await;
        assert_eq!((training, waiting), (None, None));
    });
}

#[test]
fn one_trains_one_waits_and_what_comes_then_joins_it() {
    on_local_cloud(async |cloud| {
        let limits = Limits { max_candidates: 250, max_runtime_seconds: 3600 };
        let onboarding = onboarding("queued");
        let onboarding = crosspilot_local::Onboarding { limits, ..onboarding };
        let customer = Customer::with(cloud, onboarding).await;
        customer.give_training_data().await;
        let first = customer.first_execution().await;
        until("the first job runs", async || jobs(&customer).await.pop()).await;
        set(&customer, |settings| settings.training.max_candidates = Some(2)).await;

        // Three more files while it trains are one more run, which a person joins.
        for number in 0..3 {
            let key = format!("crosspilot/churn/train/more-{number}.csv");
            customer.put(&key, churn(100, 10 + number)).await;
        }
        let second = until("a second run waits", async || {
            let waiting = gathering(&customer).await.waiting?;
            (runs(&customer).await.len() == 2).then_some(waiting.place)
        })
        .await;
        let joined = customer.succeeded(&customer.start("now").await).await;
        assert_eq!(joined["decision"], "joined", "{joined}");
        assert_eq!(joined["run"]["run_id"], second.run.as_str());
        assert_eq!(joined["execution"], second.execution);
        assert_eq!(runs(&customer).await.len(), 2);
        assert_eq!(jobs(&customer).await.len(), 1);

        let trains = gathering(&customer).await.training.unwrap();
        let run = RunRef { run_id: trains.run, ..runs(&customer).await[0].run.clone() };
        let stopping = cloud.vendor().stop_run(&run).await.unwrap();
        assert!(matches!(stopping, Stopping::Job { .. }), "{stopping:?}");
        assert_eq!(customer.failed(&first).await["code"], "RunStopped");
        let output = customer.succeeded(&second.execution).await;
        assert_eq!(run_of(&output).run_id, second.run);
        assert_eq!(jobs(&customer).await.len(), 2);
        // The three files, and the person: no run is left for them.
        assert_eq!(customer.executions().await.len(), 3);
    });
}

#[test]
fn a_leader_that_dies_is_replaced_without_another_upload() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "leaderless").await;
        quiet(&customer, 3600).await;
        customer.put("crosspilot/churn/train/a.csv", churn(600, 1)).await;
        let leader = customer.first_execution().await;
        until("the run was claimed", async || runs(&customer).await.pop()).await;
        let client = cloud.vendor().step_functions();
        client.stop_execution().execution_arn(&leader).send().await.unwrap();
        let next = until("another execution takes over", async || {
            customer.executions().await.into_iter().find(|arn| *arn != leader)
        })
        .await;
        quiet(&customer, 1).await;
        // It asks again when an hour is over: the one that follows it does not wait.
        client.stop_execution().execution_arn(&next).send().await.unwrap();
        let last = until("a third one takes over", async || {
            let all = customer.executions().await;
            all.into_iter().find(|arn| *arn != leader && *arn != next)
        })
        .await;
        let output = customer.succeeded(&last).await;
        assert_eq!(output["deployment"]["decision"]["verdict"], "deploy", "{output}");
        assert_eq!(jobs(&customer).await, [run_of(&output).job_name()]);
        assert_eq!(runs(&customer).await.len(), 1);
        // One that ended well is followed by none.
        assert_eq!(customer.executions().await.len(), 3);
    });
}

#[test]
fn a_run_that_died_while_it_trained_keeps_no_other_waiting() {
    on_local_cloud(async |cloud| {
        // Its first job takes long enough to be seen at work.
        let mut onboarding = onboarding("dead");
        onboarding.limits = Limits { max_candidates: 100, max_runtime_seconds: 600 };
        let customer = Customer::with(cloud, onboarding).await;
        customer.put("crosspilot/churn/train/data.csv", churn(30_000, 1)).await;
        let training = until("it trains", async || gathering(&customer).await.training).await;
        let first = training.execution;
        let client = cloud.vendor().step_functions();
        client.stop_execution().execution_arn(&first).send().await.unwrap();
        assert!(gathering(&customer).await.training.is_some());
        let few = |tenant: &mut Tenant| tenant.limits.max_candidates = 2;
        cloud.vendor().change_tenant(&customer.tenant.tenant, "set", few).await.unwrap();
        let second = customer.start("next").await;
        let output = customer.succeeded(&second).await;
        assert_eq!(output["deployment"]["decision"]["verdict"], "deploy", "{output}");
        assert_eq!(gathering(&customer).await.training, None);
        let first = client.describe_execution().execution_arn(&first).send().await.unwrap();
        assert_eq!(first.status, ExecutionStatus::Aborted);
    });
}

/// Step Functions tells of an execution a while after it was started.
#[test]
fn a_run_that_does_not_show_yet_is_not_taken_for_dead() {
    on_local_cloud(async |cloud| {
        // Its job takes long enough that the second run comes while it trains.
        let mut onboarding = onboarding("unseen");
        onboarding.limits = Limits { max_candidates: 250, max_runtime_seconds: 3600 };
        let customer = Customer::with(cloud, onboarding).await;
        customer.put("crosspilot/churn/train/data.csv", churn(3000, 1)).await;
        let training = until("it trains", async || gathering(&customer).await.training).await;
        // Whoever asks is the function: the tests see it.
        let about = ["assumed-role/crosspilot-assume/", training.execution.as_str()];
        let unseen = refusal("ExecutionDoesNotExist", 400);
        customer.strike("states:DescribeExecution", &about, 1, unseen).await;
        let second = customer.start("second").await;
        let waits = until("the second one has a place", async || {
            let Gathering { training, waiting, .. } = gathering(&customer).await;
            let ended = customer.end_of(&second).await.map(|end| (end.cause, end.output));
            assert!(ended.is_none(), "{ended:?}");
            waiting.map(|waiting| (training, waiting.place.execution))
        })
        .await;
        assert_eq!(waits, (Some(training.clone()), second.clone()));
        assert_eq!(cloud.faults_to_come(&training.execution).await.unwrap(), 0);
        for execution in [&second, &training.execution] {
            let stop = cloud.vendor().step_functions().stop_execution().execution_arn(execution);
            stop.send().await.unwrap();
        }
    });
}

#[test]
fn uploads_start_no_run_of_a_model_that_is_set_so_and_a_person_does() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "no-upload-run").await;
        set(&customer, |settings| settings.train_on_upload = false).await;
        let key = "crosspilot/churn/train/a.csv";
        customer.put(key, churn(600, 1)).await;
        let taken = deliver(&customer, &[event(&customer, key).await]).await;
        assert_eq!(taken, json!({"batchItemFailures": []}));
        assert_eq!(gathering(&customer).await, Gathering::default());
        assert!(customer.executions().await.is_empty());
        customer.succeeded(&customer.start("by-hand").await).await;
        assert_eq!(runs(&customer).await.len(), 1);
    });
}

#[test]
fn what_can_start_no_run_costs_at_most_one_execution_a_minute() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "flood").await;
        let s3 = customer.s3();
        for name in ["_SUCCESS", ".ipynb_checkpoints/a.csv", "a.csv~", "_temporary/0/a.csv"] {
            customer.put(&format!("crosspilot/churn/train/{name}"), churn(10, 1)).await;
        }
        customer.put("crosspilot/churn/train/empty.csv", String::new()).await;
        // Models of whose names nobody has heard, and one that is no name.
        for number in 0..30 {
            customer.put(&format!("crosspilot/rent-{number}/train/a.csv"), churn(10, 1)).await;
        }
        customer.put("crosspilot/No Name/train/a.csv", churn(10, 1)).await;
        let failure = customer.failed(&customer.first_execution().await).await;
        assert_eq!(failure["stage"], "assume", "{failure}");
        // The customer finds why in the bucket.
        let page = customer.get("crosspilot-results/problem.html").await;
        assert!(page.contains("What was uploaded started nothing."), "{page}");
        assert!(page.contains("/&lt;model&gt;/train/"), "{page}");
        // Nobody's bucket: counted, and no execution.
        let mut foreign = event(&customer, "crosspilot/rent-0/train/a.csv").await;
        foreign["account"] = "999999999999".into();
        let taken = deliver(&customer, &[foreign, json!({"source": "aws.s3"})]).await;
        assert_eq!(taken, json!({"batchItemFailures": []}));

        // What came before it has been read, once the last upload's run has ended.
        let bucket = customer.tenant.bucket.as_str();
        for key in
            ["_SUCCESS", ".ipynb_checkpoints/a.csv", "a.csv~", "_temporary/0/a.csv", "empty.csv"]
        {
            let key = format!("crosspilot/churn/train/{key}");
            s3.delete_object().bucket(bucket).key(key).send().await.unwrap();
        }
        customer.give_training_data().await;
        let trained = until("the run begins", async || runs(&customer).await.pop()).await;
        customer.succeeded(&trained.execution).await;
        assert_eq!(runs(&customer).await.len(), 1);
        // A minute may have begun meanwhile, or two.
        let executions = customer.executions().await.len();
        assert!((2..=4).contains(&executions), "{executions}");
        let logs = crosspilot_tests::function_logs(cloud).await;
        let (_, log) = logs.iter().find(|(function, _)| *function == "assume").unwrap();
        for reason in ["UnknownBucket", "Malformed"] {
            let counted = format!(r#"\"Reason\":\"{reason}\",\"UploadsDropped\":"#);
            assert!(log.contains(&counted), "{reason} is not counted");
        }
    });
}

#[test]
fn a_file_in_a_wrong_folder_starts_nothing_and_is_answered_in_the_bucket() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "wrong-folder").await;
        customer.put("crosspilot/churn/validation/data.csv", churn(10, 1)).await;
        customer.put("crosspilot/.DS_Store", "x".into()).await;
        customer.put("crosspilot/churn/Training/data.csv", churn(10, 1)).await;
        let failure = customer.failed(&customer.first_execution().await).await;
        assert_eq!(failure["code"], "TriggerInvalid", "{failure}");
        let page = customer.get("crosspilot-results/problem.html").await;
        assert!(page.contains("What was uploaded started nothing."), "{page}");
        assert!(page.contains("crosspilot/churn/Training/data.csv"), "{page}");
        assert!(page.contains("crosspilot/&lt;model&gt;/train/"), "{page}");
        assert!(runs(&customer).await.is_empty());
    });
}

#[test]
fn an_upload_that_could_not_be_let_in_comes_again() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "again-later").await;
        let tenant = &customer.tenant;
        let refused = Effect::Fail {
            code: "AccessDenied".into(),
            message: "a fault on demand".into(),
            status: 403,
        };
        let faults = [
            ("s3:GetObject", format!("claims/buckets/{}.json", tenant.bucket), refused),
            ("s3:PutObject", format!("gathering/{}/", tenant.tenant), Effect::Kill),
        ];
        let abouts = faults.clone().map(|(_, about, _)| about);
        for (operation, about, effect) in faults {
            let (operation, about) = (operation.to_owned(), vec![about]);
            cloud.inject(Fault { operation, about, after: 0, times: 1, effect }).await.unwrap();
        }
        customer.give_training_data().await;
        let execution = customer.first_execution().await;
        customer.succeeded(&execution).await;
        assert_eq!(customer.executions().await, [execution]);
        for about in abouts {
            assert_eq!(cloud.faults_to_come(&about).await.unwrap(), 0, "{about}");
        }
    });
}
