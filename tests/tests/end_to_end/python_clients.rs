//! Unmodified Python clients of the customer's, against `crosspilot local up`.

use std::path::Path;
use std::process::Command;

use crosspilot_local::install::python_with;
use crosspilot_tests::home;

use crate::command_line::{crosspilot, link_emulator};

fn succeeds(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn boto3_and_the_sagemaker_sdk_do_the_seeds_flow() {
    let home = home().join("python-clients");
    link_emulator(&home);
    succeeds(crosspilot(&home).args(["local", "up", "--detach"]));
    // It brings boto3 along.
    let report = |step: &str| eprintln!("{step}");
    let python =
        python_with(&crosspilot_tests::home(), "sagemaker-sdk", "sagemaker==2.257.0", report);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/end_to_end/python_clients.py");
    let ended = Command::new(python.unwrap())
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
