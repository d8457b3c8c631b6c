//! Unmodified Python clients of the customer's, against `crosspilot local up`.

use std::path::{Path, PathBuf};
use std::process::Command;

use crosspilot_tests::home;

use crate::command_line::{crosspilot, link_emulator};

const SDK: &str = "sagemaker==2.257.0";

fn succeeds(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A Python that has boto3 and the sagemaker SDK, installed once.
fn python() -> PathBuf {
    let environment = home().join(SDK.replace("==", "-sdk-"));
    let python = environment.join("bin/python");
    if !environment.join("complete").exists() {
        eprintln!("installing {SDK} (once)");
        let base = std::env::var("CROSSPILOT_PYTHON").unwrap_or_else(|_| "python3".to_owned());
        succeeds(Command::new(base).args(["-m", "venv", "--clear"]).arg(&environment));
        succeeds(Command::new(&python).args(["-m", "pip", "install", "--quiet", SDK]));
        std::fs::write(environment.join("complete"), "").unwrap();
    }
    python
}

#[test]
fn boto3_and_the_sagemaker_sdk_do_the_seeds_flow() {
    let home = home().join("python-clients");
    link_emulator(&home);
    succeeds(crosspilot(&home).args(["local", "up", "--detach"]));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/end_to_end/python_clients.py");
    let ended = Command::new(python())
        .arg(script)
        .arg(&home)
        .env("AWS_CONFIG_FILE", home.join("aws/config"))
        .env("AWS_SHARED_CREDENTIALS_FILE", home.join("aws/credentials"))
        .env("AWS_PROFILE", "customer_admin")
        .output()
        .unwrap();
    succeeds(crosspilot(&home).args(["local", "down"]));
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
}
