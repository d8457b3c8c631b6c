//! The helpers that the end-to-end tests share: one local cloud for all of them, a tenant in an
//! account of its own for each, and plain ways to do what users do.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panic")]

pub mod data;
pub mod fleet;
pub mod messy;
pub mod mishaps;
pub mod vendor_side;

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, OnceLock};
use std::time::{Duration, Instant};

use crate::mishaps::Mishaps as _;
use crosspilot_core::aws;
#[allow(deprecated, reason = "the SDK has no other public way to name the files")]
use crosspilot_core::aws::aws_config::profile::profile_file::{ProfileFileKind, ProfileFiles};
use crosspilot_core::aws::aws_config::{Region, SdkConfig};
use crosspilot_core::aws::s3;
use crosspilot_core::aws::s3::config::{Credentials, SharedCredentialsProvider};
use crosspilot_core::aws::s3::primitives::ByteStream;
use crosspilot_core::aws::sfn::operation::describe_execution::DescribeExecutionOutput;
use crosspilot_core::aws::sfn::types::ExecutionStatus;
use crosspilot_core::error::CallError;
use crosspilot_core::ids::{ExternalId, ModelName, RoleArn};
use crosspilot_core::session::{self, AssumeRole};
use crosspilot_core::settings::ModelSettings;
use crosspilot_core::tenant::{Limits, Tenant};
use crosspilot_local::accounts::{REGION, SAAS_ACCOUNT};
use crosspilot_local::{LocalCloud, Onboarding, Options};
use crosspilot_sagemaker_local::{Effect, Fault};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

pub use crate::data::churn;

/// The cloud's servers live in this runtime, which outlasts every test.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
static CLOUD: OnceLock<LocalCloud> = OnceLock::new();
/// Tests that are on the cloud now.
static TESTS: AtomicUsize = AtomicUsize::new(0);

/// Gives the folder that the tests keep the emulator's installation and the cloud's files in.
pub fn home() -> PathBuf {
    let target = crosspilot_local::functions::binaries().unwrap();
    target.parent().unwrap().join("end-to-end")
}

/// Runs a test on the one local cloud, which the first test starts. It ends
/// with the test process: the emulator lives as long as its lifeline.
pub fn on_local_cloud<F: Future>(test: impl FnOnce(&'static LocalCloud) -> F) -> F::Output {
    let cloud = CLOUD.get_or_init(|| {
        let options = Options::new(home());
        RUNTIME.block_on(async {
            tokio::spawn(async move { LocalCloud::start(&options, |_| {}).await })
                .await
                .unwrap()
                .expect("the local cloud starts")
        })
    });
    let _here = Here::new();
    RUNTIME.block_on(test(cloud))
}

/// A test that is on the cloud, until it ends in whichever way.
struct Here;

impl Here {
    fn new() -> Self {
        TESTS.fetch_add(1, Ordering::AcqRel);
        Self
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        TESTS.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Waits until no other test is on the cloud, for as long as one is.
pub async fn alone() {
    while TESTS.load(Ordering::Acquire) > 1 {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Held by tests in which a trust is broken, and by those that probe all
/// tenants: a round of probes suspends whatever it finds broken.
pub static TRUST: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The command line's home for this cloud: its state file, and the AWS profiles
/// that reach it.
pub fn home_of(cloud: &LocalCloud) -> PathBuf {
    let home = home().join(format!("home-{}", std::process::id()));
    cloud.running().save(&home, cloud.operator()).unwrap();
    home
}

/// The operator `saas_user`, through its named profile.
#[allow(deprecated, reason = "the SDK has no other public way to name the files")]
pub async fn saas_user(cloud: &LocalCloud) -> SdkConfig {
    let home = home_of(cloud);
    let files = ProfileFiles::builder()
        .with_file(ProfileFileKind::Config, home.join("aws/config"))
        .with_file(ProfileFileKind::Credentials, home.join("aws/credentials"))
        .build();
    aws::loader().profile_files(files).profile_name("saas_user").load().await
}

/// A session of one of the vendor's roles, as Lambda gives it to a function.
pub async fn function_identity(cloud: &LocalCloud, role: &str) -> SdkConfig {
    let function = format!("arn:aws:lambda:{REGION}:{SAAS_ACCOUNT}:function:{role}");
    let role = format!("arn:aws:iam::{SAAS_ACCOUNT}:role/{role}");
    let session = cloud
        .authority()
        .service_session(&role, "lambda.amazonaws.com", SAAS_ACCOUNT, &function, REGION)
        .await
        .unwrap();
    let token = Some(session.session_token);
    let keys =
        Credentials::new(session.access_key_id, session.secret_access_key, token, None, "lambda");
    aws::loader()
        .endpoint_url(&cloud.endpoints().default)
        .region(Region::new(REGION))
        .credentials_provider(SharedCredentialsProvider::new(keys))
        .load()
        .await
}

/// A refusal with this code and HTTP status.
pub fn refusal(code: &str, status: u16) -> Effect {
    Effect::Fail { code: code.to_owned(), message: "a fault on demand".to_owned(), status }
}

/// Asks for a session of a role as nobody of ours would: with this ID or none.
pub async fn present(
    caller: &SdkConfig,
    role: &RoleArn,
    external_id: Option<&ExternalId>,
) -> Result<(), CallError> {
    let asked = AssumeRole { role, external_id, session_name: "operator", policy: None };
    session::assume(caller, &asked).await.map(drop)
}

/// A customer of its own for one test, with model `churn`.
pub struct Customer {
    /// The cloud it lives in.
    pub cloud: &'static LocalCloud,
    /// The tenant as it is registered.
    pub tenant: Tenant,
    /// The customer's model.
    pub model: ModelName,
}

/// An account that no other test uses, made from the tenant's name.
fn account(tenant: &str) -> String {
    let sum =
        tenant.bytes().fold(7_u64, |sum, byte| sum.wrapping_mul(131).wrapping_add(byte.into()));
    format!("3{:011}", sum % 100_000_000_000)
}

/// Gives how a test's customer is taken on, before anything is changed about it.
pub fn onboarding(tenant: &str) -> Onboarding {
    Onboarding {
        limits: Limits { max_candidates: 2, max_runtime_seconds: 600 },
        ..Onboarding::new(tenant, &account(tenant)).unwrap()
    }
}

/// The settings that most tests use: defaults, and nothing is set aside, so that a run
/// without a held-out file has no evaluation to wait for.
pub fn predicting(target: &str) -> ModelSettings {
    let mut settings = ModelSettings::predicting(target);
    settings.training.hold_out = Some(0.0);
    settings
}

impl Customer {
    /// A customer that deployed our template as it is.
    pub async fn new(cloud: &'static LocalCloud, tenant: &str) -> Self {
        Self::with(cloud, onboarding(tenant)).await
    }

    /// A customer that was taken on in a special way.
    pub async fn with(cloud: &'static LocalCloud, onboarding: Onboarding) -> Self {
        let tenant = cloud.onboard(&onboarding).await.expect("the customer's stack deploys");
        let model: ModelName = "churn".parse().unwrap();
        let settings = predicting("Churn?");
        cloud.vendor().set_model(&tenant.tenant, &model, &settings).await.unwrap();
        Self { cloud, tenant, model }
    }

    /// S3 as the customer's administrator.
    pub fn s3(&self) -> s3::Client {
        s3::Client::new(&self.cloud.customer(&self.tenant.account))
    }

    /// Puts a file into the customer's bucket.
    pub async fn put(&self, key: &str, body: String) {
        self.put_bytes(key, body.into_bytes()).await;
    }

    /// Puts a file that is no text into the customer's bucket.
    pub async fn put_bytes(&self, key: &str, body: Vec<u8>) {
        let body = ByteStream::from(body);
        let put = self.s3().put_object().bucket(self.tenant.bucket.as_str()).key(key).body(body);
        put.send().await.unwrap();
    }

    /// Reads a file from the customer's bucket.
    pub async fn get(&self, key: &str) -> String {
        let get = self.s3().get_object().bucket(self.tenant.bucket.as_str()).key(key);
        let body = get.send().await.unwrap().body.collect().await.unwrap();
        String::from_utf8(body.into_bytes().to_vec()).unwrap()
    }

    /// Puts a held-out file before anything serves, and waits for the end of the
    /// evaluation that it starts, which finds no champion: what it reads would
    /// otherwise come between the calls of the test's run.
    pub async fn hold_out(&self, rows: String) {
        self.put("crosspilot/churn/test/held-out.csv", rows).await;
        let machine = self.cloud.vendor().deployment.state_machine.replace("-train", "-evaluate");
        let evaluation =
            until("an evaluation starts", async || self.executions_of(&machine).await.pop()).await;
        self.succeeded(&evaluation).await;
    }

    /// Uploads a small training set, which starts a run.
    pub async fn give_training_data(&self) {
        self.put("crosspilot/churn/train/data.csv", churn(700, 1)).await;
    }

    /// All executions that were started for this customer's bucket or by its
    /// name, newest first.
    pub async fn executions(&self) -> Vec<String> {
        self.executions_of(&self.cloud.vendor().deployment.state_machine).await
    }

    /// The same of another of the vendor's state machines.
    async fn executions_of(&self, machine: &str) -> Vec<String> {
        let client = self.cloud.vendor().step_functions();
        let list = client.list_executions().state_machine_arn(machine).send().await.unwrap();
        let bucket = format!("\"{}\"", self.tenant.bucket);
        let tenant = format!("\"{}\"", self.tenant.tenant);
        let mut found = Vec::new();
        for execution in list.executions() {
            let arn = execution.execution_arn();
            let input = self.input_of(arn).await;
            if input.contains(&bucket) || input.contains(&tenant) {
                found.push(arn.to_owned());
            }
        }
        found
    }

    /// The input of an execution: asked for once, since every test asks for those of all.
    async fn input_of(&self, arn: &str) -> String {
        static INPUTS: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());
        let known = INPUTS.lock().unwrap().get(arn).cloned();
        if let Some(input) = known {
            return input;
        }
        let input = self.describe(arn).await.input.unwrap_or_default();
        INPUTS.lock().unwrap().insert(arn.to_owned(), input.clone());
        input
    }

    /// Waits until an execution for this customer has been started.
    pub async fn first_execution(&self) -> String {
        until("an execution starts", async || self.executions().await.pop()).await
    }

    async fn describe(&self, arn: &str) -> DescribeExecutionOutput {
        let client = self.cloud.vendor().step_functions();
        // As on AWS, it need not show yet.
        until("the execution shows", async || {
            match client.describe_execution().execution_arn(arn).send().await {
                Ok(found) => Some(found),
                Err(error)
                    if error
                        .as_service_error()
                        .is_some_and(|it| it.is_execution_does_not_exist()) =>
                {
                    None
                }
                Err(error) => panic!("{error:?}"),
            }
        })
        .await
    }

    /// Waits until an execution has ended.
    pub async fn ended(&self, arn: &str) -> DescribeExecutionOutput {
        until("the execution ends", async || self.end_of(arn).await).await
    }

    /// Describes an execution that is over; `None` while it runs.
    pub async fn end_of(&self, arn: &str) -> Option<DescribeExecutionOutput> {
        let found = self.describe(arn).await;
        (*found.status() != ExecutionStatus::Running).then_some(found)
    }

    /// Waits until an execution has ended well. Gives its output.
    pub async fn succeeded(&self, arn: &str) -> Value {
        let ended = self.ended(arn).await;
        assert_eq!(
            *ended.status(),
            ExecutionStatus::Succeeded,
            "{:?}: {:?}",
            ended.error(),
            ended.cause()
        );
        serde_json::from_str(ended.output().unwrap()).unwrap()
    }

    /// Waits until an execution has ended in the failure path. Gives the stage,
    /// code and cause that it names.
    pub async fn failed(&self, arn: &str) -> Value {
        let ended = self.ended(arn).await;
        assert_eq!(*ended.status(), ExecutionStatus::Failed, "{:?}", ended.output());
        let failure: Value = serde_json::from_str(ended.cause().unwrap()).unwrap();
        assert_eq!(failure["code"].as_str(), ended.error());
        failure
    }

    /// Lets the next calls of an operation go wrong that have all these texts in what they
    /// ask.
    pub async fn strike(&self, operation: &str, about: &[&str], times: u32, effect: Effect) {
        let about = about.iter().map(|&text| text.to_owned()).collect();
        let fault = Fault { operation: operation.to_owned(), about, after: 0, times, effect };
        self.cloud.inject(fault).await.unwrap();
    }

    /// Starts a run by hand. Gives the ARN of its execution.
    pub async fn start(&self, request: &str) -> String {
        let vendor = self.cloud.vendor();
        vendor.start_run(&self.tenant.tenant, &self.model, request).await.unwrap()
    }

    /// The whole history of an execution, as AWS sends it.
    pub async fn history(&self, arn: &str) -> String {
        history_of(self.cloud, arn).await
    }

    /// Asks the prediction API with a token.
    pub async fn ask(&self, token: &str, model: &str, body: &str) -> (u16, Value) {
        self.ask_as(token, model, "application/json", body).await
    }

    /// The same with a body of this media type.
    pub async fn ask_as(
        &self,
        token: &str,
        model: &str,
        media_type: &str,
        body: &str,
    ) -> (u16, Value) {
        let url = format!("{}/v1/models/{model}/predictions", self.cloud.endpoints().api);
        let request = http().post(url).bearer_auth(token);
        let answer = request.header("content-type", media_type).body(body.to_owned());
        let answer = answer.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or_default())
    }

    /// A token for this customer's users.
    pub fn token(&self) -> String {
        self.cloud.signer().token(self.tenant.tenant.as_str()).unwrap()
    }
}

/// Asserts at which stage and with which code a run failed.
#[track_caller]
pub fn assert_failed(failure: &Value, stage: &str, code: &str) {
    assert_eq!((&failure["stage"], &failure["code"]), (&stage.into(), &code.into()), "{failure}");
}

/// The HTTP client of all tests: a new one would read the root certificates again.
pub fn http() -> reqwest::Client {
    static CLIENT: LazyLock<reqwest::Client> = LazyLock::new(reqwest::Client::new);
    CLIENT.clone()
}

/// Waits for a condition: there is no fixed time that would be right on every
/// machine. Looks more and more seldom, since all tests' looks load the one local
/// cloud. Gives up after eight minutes: the whole suite shares it.
pub async fn until<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    let mut pause = Duration::from_millis(50);
    while began.elapsed() < Duration::from_secs(480) {
        if let Some(value) = condition().await {
            return value;
        }
        tokio::time::sleep(pause).await;
        pause = pause.mul_f64(1.2).min(Duration::from_millis(500));
    }
    panic!("gave up waiting until {what}");
}

/// Asks CloudWatch in an account, as its administrator does: there is no client of it here.
pub async fn cloudwatch(cloud: &LocalCloud, account: &str, query: &str) -> String {
    let scope = format!("{account}/20260101/{REGION}/monitoring/aws4_request");
    let answer = http()
        .post(&cloud.endpoints().default)
        .header("x-crosspilot-token", cloud.running().token)
        .header("content-type", "application/x-www-form-urlencoded")
        .header(
            "authorization",
            format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=none"),
        )
        .body(format!("{query}&Version=2010-08-01"));
    let answer = answer.send().await.unwrap();
    let status = answer.status();
    let text = answer.text().await.unwrap();
    assert!(status.is_success(), "{text}");
    text
}

/// Does all of these, a few at a time: what fails, fails the test.
pub async fn all<F: Future<Output = ()> + 'static>(tasks: impl IntoIterator<Item = F>) {
    let mut waiting = tasks.into_iter();
    let here = tokio::task::LocalSet::new();
    here.run_until(async {
        let mut running = tokio::task::JoinSet::new();
        loop {
            while running.len() < 6
                && let Some(task) = waiting.next()
            {
                running.spawn_local(task);
            }
            match running.join_next().await {
                Some(done) => done.unwrap(),
                None => break,
            }
        }
    })
    .await;
}

/// Asks the emulator for all pages of an answer.
pub(crate) async fn pages(
    cloud: &LocalCloud,
    target: &str,
    service: &str,
    mut question: Value,
) -> Vec<String> {
    let mut pages = Vec::new();
    loop {
        let page = ask_emulator(cloud, target, service, &question).await;
        let read: Value = serde_json::from_str(&page).unwrap();
        pages.push(page);
        match read.get("nextToken") {
            Some(token) if token.is_string() => question["nextToken"] = token.clone(),
            _ => return pages,
        }
    }
}

/// The whole history of an execution, as it is on the wire: the SDK's own types hide states'
/// inputs and outputs in Debug.
pub(crate) async fn history_of(cloud: &LocalCloud, arn: &str) -> String {
    let question = json!({"executionArn": arn, "includeExecutionData": true, "maxResults": 1000});
    pages(cloud, "AWSStepFunctions.GetExecutionHistory", "states", question).await.concat()
}

/// Everything that each function has logged so far.
pub async fn function_logs(cloud: &LocalCloud) -> Vec<(&'static str, String)> {
    let mut logs = Vec::new();
    for function in crosspilot_local::functions::FUNCTIONS {
        let question = json!({"logGroupName": format!("/crosspilot/{function}")});
        let pages = pages(cloud, "Logs_20140328.FilterLogEvents", "logs", question).await;
        logs.push((function, pages.concat()));
    }
    logs
}

/// An answer of the emulator as it is on the wire, to the vendor's root: with the
/// local cloud's token, an account's number is its root's key, unsigned.
async fn ask_emulator(cloud: &LocalCloud, target: &str, service: &str, question: &Value) -> String {
    let scope = format!("{SAAS_ACCOUNT}/20260101/us-east-1/{service}/aws4_request");
    let answer = http()
        .post(&cloud.endpoints().default)
        .header("x-crosspilot-token", cloud.running().token)
        .header("x-amz-target", target)
        .header("content-type", "application/x-amz-json-1.1")
        .header(
            "authorization",
            format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=none"),
        )
        .body(question.to_string())
        .send()
        .await
        .unwrap();
    answer.text().await.unwrap()
}
