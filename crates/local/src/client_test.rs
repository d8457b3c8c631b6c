//! Unmodified Python clients against the emulator and this server.

#![allow(clippy::unwrap_used)]

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crosspilot_core::aws::{
    self,
    aws_config::{Region, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig},
    s3::config::Credentials,
    sagemaker::{
        self,
        error::{ProvideErrorMetadata, SdkError},
    },
    sts,
};
use crosspilot_sagemaker_local::authority::Authority;
use crosspilot_sagemaker_local::{Effect, Fault, Options, SageMaker};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    administrators::Administrators,
    emulator::{Emulator, Launch},
    install::emulator_python,
};

const TOKEN: &str = "a token of this test";

/// Gives the folder that the command line installs things in, too.
fn home() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.crosspilot")
}

/// The Python that has the emulator, boto3 and botocore.
fn emulator() -> PathBuf {
    emulator_python(&home(), |step| eprintln!("{step}")).unwrap()
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn source(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(file)
}

/// An emulator and a SageMaker of a test's own.
struct Local {
    url: String,
    authority: Authority,
    sagemaker: SageMaker,
    emulator: Emulator,
    directory: TempDir,
}

impl Local {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let url = format!("http://127.0.0.1:{port}");
        let python = self::emulator();
        let launch = Launch {
            python: &python,
            directory: directory.path(),
            port,
            token: TOKEN,
            environment: &[],
        };
        let emulator = Emulator::start(launch).await.unwrap();
        let authority = Authority::new(&url, TOKEN);
        let options = Options {
            endpoint_change: Duration::from_millis(200),
            stage: Duration::from_millis(50),
            ..Options::new(&url, authority.clone())
        };
        let sagemaker = SageMaker::start(options).await.unwrap();
        Self { url, authority, sagemaker, emulator, directory }
    }

    async fn stop(self) {
        self.sagemaker.stop().await;
        self.emulator.stop().await;
    }
}

/// Run a script that uses boto3 against an emulator and a SageMaker of its own.
async fn run(script: &str, faults: Vec<Fault>) {
    let local = Local::start().await;
    faults.into_iter().for_each(|fault| local.sagemaker.inject(fault));
    let mut client = Command::new(emulator());
    client.arg(source(script)).args([&local.url, &local.sagemaker.url()]);
    client.arg(local.directory.path()).env("CROSSPILOT_TOKEN", TOKEN);
    let output = tokio::task::spawn_blocking(move || client.output()).await.unwrap().unwrap();
    local.stop().await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn administrator(account: &str) -> Credentials {
    let key = Administrators::of(TOKEN).key(account);
    Credentials::new(key.id, key.secret, None, None, "test")
}

/// The SDK for Rust with these credentials. It tries three times, as it does
/// unless told otherwise, and waits a second for an answer.
async fn sdk(url: &str, credentials: Credentials) -> SdkConfig {
    let patience = Duration::from_millis(1000);
    aws::loader()
        .region(Region::new("us-east-1"))
        .endpoint_url(url)
        .credentials_provider(credentials)
        .retry_config(RetryConfig::standard().with_initial_backoff(Duration::from_millis(10)))
        .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(patience).build())
        .load()
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sdk_for_rust_tries_again_and_then_says_so() {
    let local = Local::start().await;
    let root = administrator("222222222222");
    let client = sagemaker::Client::new(&sdk(&local.sagemaker.url(), root).await);
    let list = async |effect: Value, times: u32| {
        let fault = json!({ "operation": "ListEndpoints", "times": times, "effect": effect });
        local.sagemaker.inject(serde_json::from_value(fault).unwrap());
        let answer = client.list_endpoints().send().await;
        // Faults that are left would meet the next call.
        let mut left = 0;
        while client.list_endpoints().customize().config_override(once()).send().await.is_err() {
            left += 1;
        }
        (answer.map(drop), left)
    };
    // What can heal is tried three times.
    for effect in [json!("cut"), json!("throttle"), json!({ "delay": 1500 })] {
        assert!(matches!(list(effect.clone(), 2).await, (Ok(()), 0)), "{effect}");
        assert!(matches!(list(effect.clone(), 3).await, (Err(_), 0)), "{effect}");
    }
    let (refused, left) =
        list(json!({ "fail": { "code": "InternalFailure", "message": "no", "status": 500 } }), 3)
            .await;
    assert_eq!((refused.unwrap_err().code(), left), (Some("InternalFailure"), 0));
    // What cannot is not, nor is an answer that makes no sense.
    let (refused, left) = list(
        json!({ "fail": { "code": "ValidationException", "message": "no", "status": 400 } }),
        2,
    )
    .await;
    assert_eq!((refused.unwrap_err().code(), left), (Some("ValidationException"), 1));
    let (garbled, left) = list(json!("garbage"), 3).await;
    assert!(matches!(garbled, Err(SdkError::ResponseError(_))) && left == 2, "{garbled:?} {left}");
    local.stop().await;
}

/// Configures one attempt only.
fn once() -> sagemaker::config::Builder {
    sagemaker::config::Builder::new().retry_config(RetryConfig::disabled())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_has_expired_is_refused_as_such() {
    let local = Local::start().await;
    let iam = |action: &str, more: &[(&str, &str)]| {
        let mut form = vec![("Action", action), ("Version", "2010-05-08"), ("RoleName", "r")];
        form.extend(more);
        let body: Vec<String> =
            form.iter().map(|(name, value)| format!("{name}={}", percent(value))).collect();
        reqwest::Client::new()
            .post(&local.url)
            .header("x-crosspilot-token", TOKEN)
            .header(
                "authorization",
                "AWS4-HMAC-SHA256 Credential=222222222222/20260101/us-east-1/iam/aws4_request, \
                 SignedHeaders=host, Signature=none",
            )
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body.join("&"))
            .send()
    };
    let policy =
        |effect: Value| json!({ "Version": "2012-10-17", "Statement": effect }).to_string();
    let trust = policy(json!({ "Effect": "Allow", "Action": "sts:AssumeRole",
        "Principal": { "AWS": "arn:aws:iam::111111111111:root" } }));
    let allow = policy(json!({ "Effect": "Allow", "Action": "sagemaker:*", "Resource": "*" }));
    iam("CreateRole", &[("AssumeRolePolicyDocument", &trust)]).await.unwrap();
    iam("PutRolePolicy", &[("PolicyName", "p"), ("PolicyDocument", &allow)]).await.unwrap();

    let vendor = administrator("111111111111");
    let assumed = sts::Client::new(&sdk(&local.url, vendor).await)
        .assume_role()
        .role_arn("arn:aws:iam::222222222222:role/r")
        .role_session_name("early")
        .send()
        .await
        .unwrap();
    let session = assumed.credentials().unwrap();
    let credentials = Credentials::new(
        session.access_key_id(),
        session.secret_access_key(),
        Some(session.session_token().to_owned()),
        None,
        "test",
    );
    let client = sagemaker::Client::new(&sdk(&local.sagemaker.url(), credentials).await);
    client.list_endpoints().send().await.unwrap();
    let ended =
        local.authority.expire_sessions("arn:aws:sts::222222222222:assumed-role/r/early").await;
    assert_eq!(ended.unwrap(), 1);
    let refused = client.list_endpoints().send().await.unwrap_err();
    assert_eq!(refused.code(), Some("ExpiredTokenException"), "{refused:?}");
    local.stop().await;
}

/// Percent-encoded, for a form.
fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn boto3_cannot_tell_it_apart() {
    // The client is told not to retry, and expects the one call that this throttles.
    let throttle = Fault {
        operation: "ListModels".into(),
        about: Vec::new(),
        after: 0,
        times: 1,
        effect: Effect::Throttle,
    };
    run("client_test.py", vec![throttle]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn boto3_deploys_with_guardrails() {
    run("deployment_test.py", vec![]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn boto3_trains_on_every_kind_of_input() {
    run("jobs_test.py", vec![]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn boto3_sees_all_of_a_tuning_job() {
    run("tuning_test.py", vec![]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn boto3_trains_and_serves_under_keys_and_in_networks() {
    run("security_test.py", vec![]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_signed_in_the_query_is_judged_like_what_is_signed_in_a_header() {
    run("presigned_test.py", vec![]).await;
}

#[test]
fn the_service_model_is_botocores() {
    let python = emulator();
    let botocore = "import botocore, os; print(os.path.dirname(botocore.__file__))";
    let directory = output(Command::new(&python).args(["-c", botocore]));
    let models = Path::new(directory.trim()).join("data");
    let shapes = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sagemaker-local/src/wire");
    let cut = output(Command::new(&python).arg(shapes.join("shapes.py")).arg(models));
    assert_eq!(
        cut,
        std::fs::read_to_string(shapes.join("shapes.json")).unwrap(),
        "run shapes.py again"
    );
}
