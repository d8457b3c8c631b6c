//! Unmodified Python clients against the emulator and this server.

#![allow(clippy::unwrap_used)]

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use super::{Effect, Fault, Options, SageMaker};
use crate::{
    authority::Authority,
    emulator::{Emulator, Launch},
    install::emulator_python,
};

const TOKEN: &str = "a token of this test";

/// Where the command line installs things, too.
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
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sagemaker").join(file)
}

/// Run a Python client against an emulator and a SageMaker of its own.
async fn run(python: &Path, script: &str, faults: Vec<Fault>) {
    let directory = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    let emulator_python = emulator();
    let launch = Launch {
        python: &emulator_python,
        directory: directory.path(),
        port,
        token: TOKEN,
        environment: &[],
    };
    let emulator = Emulator::start(launch).await.unwrap();
    let options = Options {
        endpoint_change: Duration::from_millis(200),
        stage: Duration::from_millis(50),
        ..Options::new(&url, Authority::new(&url, TOKEN))
    };
    let sagemaker = SageMaker::start(options).await.unwrap();
    faults.into_iter().for_each(|fault| sagemaker.inject(fault));

    let mut client = Command::new(python);
    client.arg(source(script)).args([&url, &sagemaker.url()]).arg(directory.path());
    let output = tokio::task::spawn_blocking(move || client.output()).await.unwrap().unwrap();
    sagemaker.stop().await;
    emulator.stop().await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
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
    run(&emulator(), "client_test.py", vec![throttle]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn boto3_deploys_with_guardrails() {
    run(&emulator(), "deployment_test.py", vec![]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn boto3_trains_on_every_kind_of_input() {
    run(&emulator(), "jobs_test.py", vec![]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn boto3_trains_and_serves_under_keys_and_in_networks() {
    run(&emulator(), "security_test.py", vec![]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sagemaker_sdk_runs_the_seeds_flow() {
    let home = home().join("sagemaker-sdk-2.257.0");
    let python = home.join("bin/python");
    if !home.join("complete").exists() {
        eprintln!("installing the sagemaker SDK (once)");
        let base = std::env::var("CROSSPILOT_PYTHON").unwrap_or_else(|_| "python3".to_owned());
        output(Command::new(base).args(["-m", "venv", "--clear"]).arg(&home));
        output(Command::new(&python).args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "sagemaker==2.257.0",
        ]));
        std::fs::write(home.join("complete"), "").unwrap();
    }
    run(&python, "sdk_test.py", vec![]).await;
}

#[test]
fn the_service_model_is_botocores() {
    let python = emulator();
    let botocore = "import botocore, os; print(os.path.dirname(botocore.__file__))";
    let directory = output(Command::new(&python).args(["-c", botocore]));
    let models = Path::new(directory.trim()).join("data");
    let cut = output(Command::new(&python).arg(source("shapes.py")).arg(models));
    assert_eq!(cut, include_str!("shapes.json"), "run shapes.py again");
}
