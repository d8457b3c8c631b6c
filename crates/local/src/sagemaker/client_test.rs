//! An unmodified boto3 against the emulator and this server, over real sockets.

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

/// The Python that has the emulator, boto3 and botocore; installed once for all tests.
fn python() -> PathBuf {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.crosspilot");
    emulator_python(&home, |step| eprintln!("{step}")).unwrap()
}

fn source(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/sagemaker")
        .join(file)
}

#[tokio::test(flavor = "multi_thread")]
async fn boto3_cannot_tell_it_apart() {
    let directory = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let url = format!("http://127.0.0.1:{port}");
    let python = python();
    let launch = Launch {
        python: &python,
        directory: directory.path(),
        port,
        token: TOKEN,
        environment: &[],
    };
    let emulator = Emulator::start(launch).await.unwrap();
    let sagemaker = SageMaker::start(Options {
        endpoint_change: Duration::from_millis(200),
        stage: Duration::from_millis(50),
        ..Options::new(&url, Authority::new(&url, TOKEN))
    });
    let sagemaker = sagemaker.await.unwrap();
    // boto3 is told not to retry: this shows as the one throttled call it expects.
    sagemaker.inject(Fault {
        operation: "ListModels".into(),
        after: 0,
        times: 1,
        effect: Effect::Throttle,
    });

    let mut client = Command::new(python);
    client
        .arg(source("client_test.py"))
        .args([&url, &sagemaker.url()]);
    let output = tokio::task::spawn_blocking(move || client.output())
        .await
        .unwrap()
        .unwrap();
    sagemaker.stop().await;
    emulator.stop().await;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn the_service_model_is_botocores() {
    let python = python();
    let botocore = "import botocore, os; print(os.path.dirname(botocore.__file__))";
    let run = |command: &mut Command| {
        let output = command.output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    };
    let directory = run(Command::new(&python).args(["-c", botocore]));
    let model = Path::new(directory.trim()).join("data/sagemaker/2017-07-24/service-2.json.gz");
    let cut = run(Command::new(&python).arg(source("shapes.py")).arg(model));
    assert_eq!(cut, include_str!("shapes.json"), "run shapes.py again");
}
