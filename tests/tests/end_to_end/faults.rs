//! Whatever call of a handler goes wrong, a run heals or ends in the failure
//! path, from where it can be redriven; in the end there is one of each resource.

use std::collections::BTreeSet;

use crosspilot_core::run::RunRef;
use crosspilot_core::tenant::TenantStatus;
use crosspilot_local::accounts::SAAS_ACCOUNT;
use crosspilot_sagemaker_local::authority::Call;
use crosspilot_sagemaker_local::{Effect, Fault};
use crosspilot_tests::data::request;
use crosspilot_tests::mishaps::Mishaps as _;
use crosspilot_tests::{Customer, all, churn, on_local_cloud, refusal, until};
use serde_json::Value;

/// A call that handlers make: its operation, and what tells this customer's
/// calls from those of others.
#[derive(Clone, Copy)]
struct Row {
    operation: &'static str,
    of: Of,
    /// `true` if the call changes something.
    changes: bool,
}

#[derive(Clone, Copy)]
enum Of {
    /// In the customer's account, with the customer's role.
    Account,
    /// An object of the customer's bucket under this folder.
    Data(&'static str),
    /// The run's copies of the customer's rows.
    Copies,
    /// A document of the registry that is about the tenant.
    Registry(&'static str),
}

const fn row(operation: &'static str, of: Of, changes: bool) -> Row {
    Row { operation, of, changes }
}

/// A call that only tells people how far a job is: nothing depends on it.
const COUNT: Row = row("ListCandidatesForAutoMLJob", Of::Account, false);

/// The deletion of the run's copies at its end; where that fails, they stay for a while.
const CLEAR: Row = row("s3:DeleteObject", Of::Copies, true);

/// Every call of a run that trains and deploys, in about the order of the run. How
/// its upload is let in before is another story: see `gathering`.
const CALLS: &[Row] = &[
    row("s3:GetObject", Of::Registry("tenants"), false),
    row("sts:AssumeRole", Of::Account, false),
    row("sts:GetCallerIdentity", Of::Account, false),
    row("s3:GetObject", Of::Registry("gathering"), false),
    row("s3:PutObject", Of::Registry("gathering"), true),
    row("s3:PutObject", Of::Registry("runs"), true),
    row("s3:PutObject", Of::Registry("unsettled"), true),
    row("s3:GetObject", Of::Registry("runs"), false),
    row("s3:ListBucket", Of::Data("train"), false),
    row("s3:GetObject", Of::Data("train"), false),
    row("CreateAutoMLJobV2", Of::Account, true),
    row("DescribeAutoMLJobV2", Of::Account, false),
    row("s3:GetObject", Of::Registry("serving"), false),
    row("CreateModel", Of::Account, true),
    row("s3:PutObject", Of::Data("-results"), true),
    row("CreateTransformJob", Of::Account, true),
    row("DescribeTransformJob", Of::Account, false),
    row("s3:GetObject", Of::Data("-results"), false),
    row("s3:PutObject", Of::Registry("serving"), true),
    row("CreateEndpointConfig", Of::Account, true),
    row("CreateEndpoint", Of::Account, true),
    row("DescribeEndpoint", Of::Account, false),
    row("s3:ListBucket", Of::Data("test"), false),
    row("s3:GetObject", Of::Data("test"), false),
    row("InvokeEndpoint", Of::Account, false),
    row("s3:DeleteObject", Of::Registry("unsettled"), true),
];

impl Row {
    /// Lists the texts that tell these calls apart; the first is the customer's alone.
    fn about(&self, customer: &Customer) -> Vec<String> {
        let tenant = &customer.tenant;
        let lists = self.operation == "s3:ListBucket";
        match self.of {
            Of::Account => vec![tenant.account.to_string()],
            // SageMaker writes there too, with another role.
            Of::Data("-results") => vec![
                format!("{}/crosspilot-results/", tenant.bucket),
                "customer_trusting_saas".into(),
            ],
            Of::Copies => vec![tenant.bucket.to_string(), "crosspilot-results/_rows/".into()],
            Of::Data(folder) if lists => {
                vec![tenant.bucket.to_string(), format!("prefix=crosspilot%2Fchurn%2F{folder}%2F")]
            }
            Of::Data(folder) => vec![format!("{}/crosspilot/churn/{folder}/", tenant.bucket)],
            Of::Registry("tenants") => vec![format!("tenants/{}.json", tenant.tenant)],
            Of::Registry(documents) => vec![format!("{documents}/{}/", tenant.tenant)],
        }
    }

    fn name(&self) -> String {
        let folder = match self.of {
            Of::Account | Of::Copies => "",
            Of::Data(folder) | Of::Registry(folder) => folder,
        };
        named(self.operation, folder)
    }

    /// Tells whether this is the last call of a run, after which nothing of its purpose is
    /// left.
    fn settles(&self) -> bool {
        self.operation == "s3:DeleteObject"
    }

    /// Calls of this kind that let the upload in, before its run begins.
    fn before_the_run(&self) -> u32 {
        u32::from(matches!(self.of, Of::Registry("tenants" | "gathering")))
    }

    fn fault(&self, customer: &Customer, effect: Effect, after: u32) -> Fault {
        Fault {
            operation: self.operation.into(),
            about: self.about(customer),
            after,
            times: 1,
            effect,
        }
    }
}

/// The name of a call as in the table: the operation, and the folder of an object.
fn named(operation: &str, folder: &str) -> String {
    format!("{operation} {folder}").trim_end().to_owned()
}

/// The S3 operation of a request to this path, and the key.
fn s3_call<'a>(call: &'a Call, bucket: &str) -> Option<(&'static str, &'a str)> {
    let key = call.what.strip_prefix(&format!("/{bucket}"))?.trim_start_matches('/');
    Some(match (call.method.as_str(), key) {
        ("GET", "") => ("s3:ListBucket", key),
        ("GET", _) => ("s3:GetObject", key),
        ("PUT", _) => ("s3:PutObject", key),
        ("DELETE", _) => ("s3:DeleteObject", key),
        // Several at once.
        ("POST", _) => ("s3:DeleteObject", key),
        _ => ("s3:other", key),
    })
}

/// A call with the customer's role. What is listed is in the query, which is not kept.
fn customers_call(call: &Call, customer: &Customer) -> Option<String> {
    if let Some(operation) = call.what.strip_prefix("sagemaker:") {
        return Some(operation.to_owned());
    }
    let (operation, key) = s3_call(call, customer.tenant.bucket.as_str())?;
    let folder = match key.strip_prefix("crosspilot/churn/") {
        Some(below) => below.split('/').next().unwrap_or_default(),
        None if key.starts_with("crosspilot-results/") => "-results",
        None => key,
    };
    (operation != "s3:ListBucket").then(|| named(operation, folder))
}

/// A call of a function's own role about this customer's documents.
fn registry_call(call: &Call, customer: &Customer) -> Option<String> {
    let bucket = &customer.cloud.vendor().deployment.registry_bucket;
    let (operation, key) = s3_call(call, bucket)?;
    let tenant = customer.tenant.tenant.as_str();
    let (folder, below) = key.split_once('/')?;
    let about = below == format!("{tenant}.json") || below.starts_with(&format!("{tenant}/"));
    about.then(|| named(operation, folder))
}

/// A customer whose upload has started a run, with these faults waiting for each of
/// these calls.
async fn struck(
    cloud: &'static crosspilot_local::LocalCloud,
    name: String,
    strikes: Vec<(&'static Row, Vec<Effect>)>,
) -> (Customer, String) {
    let customer = Customer::new(cloud, &name).await;
    customer.hold_out(churn(60, 2)).await;
    for (row, effects) in strikes {
        let mut after = row.before_the_run();
        for effect in effects {
            cloud.inject(row.fault(&customer, effect, after)).await.unwrap();
            after = 0;
        }
    }
    customer.give_training_data().await;
    let execution = customer.first_execution().await;
    (customer, execution)
}

/// Calls of the table in so many groups. Neighbours are in different ones: one
/// handler makes them, and a task is retried only so often.
fn groups(count: usize) -> Vec<Vec<&'static Row>> {
    (0..count).map(|first| CALLS.iter().skip(first).step_by(count).collect()).collect()
}

/// There is one job, one model, one endpoint config and one endpoint, and it serves.
async fn one_of_each(customer: &Customer, what: &str) {
    let client = customer.cloud.endpoints().sagemaker_of(customer.tenant.account.as_str());
    let jobs = client.list_auto_ml_jobs().send().await.unwrap().auto_ml_job_summaries().len();
    let models = client.list_models().send().await.unwrap().models().len();
    let configs = client.list_endpoint_configs().send().await.unwrap().endpoint_configs().len();
    let endpoints = client.list_endpoints().send().await.unwrap().endpoints().len();
    assert_eq!((jobs, models, configs, endpoints), (1, 1, 1, 1), "{what}");
    let record = request(9);
    let (status, answer) = customer.ask(&customer.token(), "churn", &record).await;
    assert_eq!(status, 200, "{what}: {answer}");
}

/// A table is worth nothing if its faults strike no call.
async fn all_struck(customer: &Customer, row: &Row) {
    let about = &row.about(customer)[0];
    let to_come = customer.cloud.faults_to_come(about).await.unwrap();
    assert_eq!(to_come, 0, "{} {about}", row.operation);
}

async fn run_of(customer: &Customer) -> RunRef {
    let registry = &customer.cloud.vendor().registry;
    let runs = registry.runs(&customer.tenant.tenant, &customer.model).await.unwrap();
    runs.into_iter().next().expect("the run was claimed").run
}

/// Starts again what a fault ended: the upload if the run was never claimed,
/// the run if it was. That its role refused us once has suspended no tenant.
async fn start_again(customer: &Customer) -> String {
    let vendor = customer.cloud.vendor();
    let tenant = vendor.registry.tenant(&customer.tenant.tenant).await.unwrap();
    assert_eq!(tenant.status, TenantStatus::Active);
    let runs = vendor.registry.runs(&customer.tenant.tenant, &customer.model).await.unwrap();
    match runs.first() {
        Some(record) => vendor.redrive(&record.run, false).await.unwrap(),
        None => customer.start("again").await,
    }
}

#[test]
fn what_heals_by_itself_does_so_without_a_trace() {
    on_local_cloud(async |cloud| {
        let groups = groups(6).into_iter().enumerate().map(|(number, rows)| async move {
            let strikes = rows.iter().map(|row| (*row, heals(row))).collect();
            let (customer, execution) = struck(cloud, format!("heals-{number}"), strikes).await;
            customer.succeeded(&execution).await;
            for row in rows {
                all_struck(&customer, row).await;
            }
            one_of_each(&customer, "what heals").await;
        });
        all(groups).await;
    });
}

/// Lists what a call may meet one after the other, and heals by itself.
fn heals(row: &Row) -> Vec<Effect> {
    let mut effects = vec![
        Effect::Throttle,
        refusal("InternalFailure", 500),
        Effect::Cut,
        refusal("ExpiredTokenException", 400),
        Effect::Garbage,
    ];
    // Objects and models may answer any bytes, and whoever puts an object
    // reads no body.
    if row.operation.starts_with("s3:") || row.operation == "InvokeEndpoint" {
        effects.pop();
    }
    effects.push(Effect::Lose);
    effects
}

#[test]
fn a_call_that_gets_no_answer_is_made_again() {
    on_local_cloud(async |cloud| {
        let groups = groups(9).into_iter().enumerate().map(|(number, mut rows)| async move {
            rows.retain(|row| row.operation != "InvokeEndpoint");
            let late = || vec![Effect::Delay(11_000)];
            let strikes = rows.iter().map(|row| (*row, late())).collect();
            let (customer, execution) = struck(cloud, format!("late-{number}"), strikes).await;
            customer.succeeded(&execution).await;
            for row in rows {
                all_struck(&customer, row).await;
            }
            one_of_each(&customer, "a late answer").await;
        });
        all(groups).await;
    });
}

#[test]
fn a_refusal_ends_in_the_failure_path_and_the_redriven_run_finds_what_is_there() {
    on_local_cloud(async |cloud| {
        let rows = CALLS.iter().enumerate().map(|(number, row)| async move {
            let code = if row.operation.starts_with("s3") {
                "AccessDenied"
            } else {
                "AccessDeniedException"
            };
            let name = format!("refused-{number}");
            let (customer, execution) =
                struck(cloud, name, vec![(row, vec![refusal(code, 403)])]).await;
            if row.settles() {
                // The model serves: what could not be cleared up is a warning.
                customer.succeeded(&execution).await;
                let record = crate::deaths::runs(&customer).await.pop().unwrap();
                let told = serde_json::to_string(&record.outcome).unwrap();
                assert!(told.contains("could not be settled"), "{told}");
                one_of_each(&customer, row.operation).await;
                return;
            }
            // Access to the registry or by the first probe of the trust tells its own story.
            let failure = customer.failed(&execution).await;
            let codes = ["AccessDenied", "TrustUnproven", "TrustRefused"];
            assert!(
                codes.contains(&failure["code"].as_str().unwrap()),
                "{} {failure}",
                row.operation
            );
            assert!(failure["cause"].as_str().unwrap().len() > 20, "{failure}");
            customer.succeeded(&start_again(&customer).await).await;
            one_of_each(&customer, row.operation).await;
        });
        all(rows).await;
    });
}

#[test]
fn what_no_run_needs_ends_no_run() {
    on_local_cloud(async |cloud| {
        let denied = vec![refusal("AccessDeniedException", 403)];
        // As often as a call is tried.
        let throttled = vec![Effect::Throttle; 3];
        let cases = [
            ("count-denied", &COUNT, denied.clone()),
            ("count-throttled", &COUNT, throttled.clone()),
            ("clear-denied", &CLEAR, denied),
            ("clear-throttled", &CLEAR, throttled),
        ];
        let cases = cases.map(|(name, row, effects)| async move {
            let (customer, execution) = struck(cloud, name.into(), vec![(row, effects)]).await;
            customer.succeeded(&execution).await;
            all_struck(&customer, row).await;
            one_of_each(&customer, row.operation).await;
        });
        all(cases).await;
    });
}

#[test]
fn a_function_killed_after_any_change_leaves_nothing_twice() {
    on_local_cloud(async |cloud| {
        let rows = CALLS.iter().enumerate().filter(|(_, row)| row.changes);
        let rows = rows.map(|(number, row)| async move {
            let name = format!("killed-{number}");
            let (customer, execution) = struck(cloud, name, vec![(row, vec![Effect::Kill])]).await;
            // Whoever was killed is asked again.
            customer.succeeded(&execution).await;
            all_struck(&customer, row).await;
            one_of_each(&customer, row.operation).await;
        });
        all(rows).await;
    });
}

#[test]
fn every_call_of_a_run_is_in_the_table() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "all-calls").await;
        customer.hold_out(churn(60, 2)).await;
        customer.give_training_data().await;
        customer.succeeded(&customer.first_execution().await).await;
        let account = &customer.tenant.account;
        let role = format!("arn:aws:sts::{account}:assumed-role/customer_trusting_saas/");
        let calls = cloud.authority().calls(&role).await.unwrap();
        let of_functions = format!("arn:aws:sts::{SAAS_ACCOUNT}:assumed-role/crosspilot-");
        let ours = cloud.authority().calls(&of_functions).await.unwrap();
        let ours = ours.iter().filter_map(|call| registry_call(call, &customer));
        let made = calls.iter().filter_map(|call| customers_call(call, &customer)).chain(ours);
        let made: BTreeSet<String> = made.collect();
        let known: BTreeSet<String> = CALLS.iter().chain([&COUNT, &CLEAR]).map(Row::name).collect();
        // Tags come with what they are put on, and a session with its purpose.
        let free = ["AddTags", "sts:AssumeRole", "sts:GetCallerIdentity"].map(str::to_owned);
        let unknown: Vec<&String> =
            made.difference(&known).filter(|name| !free.contains(name)).collect();
        assert_eq!(unknown, Vec::<&String>::new());
        assert!(made.contains("s3:GetObject train") && made.contains("s3:PutObject runs"));
    });
}

#[test]
fn sessions_that_end_early_are_replaced() {
    on_local_cloud(async |cloud| {
        let customer = Customer::new(cloud, "ended-early").await;
        customer.give_training_data().await;
        let execution = customer.first_execution().await;
        let account = &customer.tenant.account;
        let role = format!("arn:aws:sts::{account}:assumed-role/customer_trusting_saas/");
        // Again and again: more than one handler is struck.
        let mut expired = 0;
        until("the run ends although its sessions do", async || {
            if expired < 10 {
                expired += cloud.authority().expire_sessions(&role).await.unwrap();
            }
            let history = customer.history(&execution).await;
            history.contains("ExecutionSucceeded").then_some(())
        })
        .await;
        assert!(expired > 0);
        let output: Value = customer.succeeded(&execution).await;
        assert_eq!(output["run"], serde_json::to_value(run_of(&customer).await).unwrap());
    });
}
