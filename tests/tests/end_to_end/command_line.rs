//! The command line, as a person or a script uses it.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crosspilot_local::functions;
use crosspilot_tests::home;
use serde_json::Value;

pub(crate) fn crosspilot(home: &Path) -> Command {
    let mut command = Command::new(functions::binaries().unwrap().join("crosspilot"));
    command.arg("--home").arg(home);
    command
}

/// A home of its own that shares the emulator's installation.
fn own_home(name: &str) -> std::path::PathBuf {
    let own = home().join(name);
    std::fs::create_dir_all(&own).unwrap();
    own
}

fn fails(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{text}");
    assert!(stdout.is_empty());
    text
}

#[test]
fn bad_data_is_one_clear_sentence_and_nothing_is_started() {
    let own = own_home("bad-data");
    let rows = |count: usize, label: fn(usize) -> &'static str| -> String {
        (0..count).map(|row| format!("{row},basic,{}\n", label(row))).collect()
    };
    let either = |row: usize| if row.is_multiple_of(2) { "yes" } else { "no" };
    let header = "age,plan,left\n";
    let cases = [
        ("few.csv", format!("{header}{}", rows(499, either)), "has 499 rows"),
        (
            "one-class.csv",
            format!("{header}{}", rows(600, |_| "yes")),
            "has the same value in every row",
        ),
        (
            "no-target.csv",
            format!("age,plan,gone\n{}", rows(600, either)),
            "has no column \"left\"",
        ),
        ("words.csv", "no table here\n".into(), "has one column only"),
        ("zip.csv", "PK\u{3}\u{4}\0\0".into(), "is an Excel workbook"),
    ];
    for (name, text, sentence) in cases {
        let file = own.join(name);
        std::fs::write(&file, text).unwrap();
        let error = fails(crosspilot(&own).args(["demo", "--target", "left", "--data"]).arg(&file));
        assert!(error.starts_with("error: ") && error.contains(sentence), "{error}");
        assert!(error.contains(name) && error.lines().count() == 1, "{error}");
    }
    let error = fails(crosspilot(&own).args(["demo", "--target", "left", "--data", "nowhere.csv"]));
    assert!(error.contains("cannot read nowhere.csv"), "{error}");
}

#[test]
fn a_port_in_use_is_named() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let error = fails(crosspilot(&own_home("port")).args(["local", "up", "--port", &port]));
    assert!(error.contains(&format!("port {port} is in use")), "{error}");
}

#[test]
fn without_python_or_network_it_says_what_to_do() {
    let own = own_home("no-python");
    let no_python = crosspilot(&own)
        .args(["local", "up"])
        .env("CROSSPILOT_PYTHON", "/nowhere/python3")
        .output()
        .unwrap();
    let text = String::from_utf8(no_python.stderr).unwrap();
    assert!(text.contains("the local cloud needs Python") && text.contains("install it"), "{text}");

    let no_network = crosspilot(&own)
        .args(["local", "up"])
        .envs([
            ("PIP_INDEX_URL", "http://127.0.0.1:9/simple"),
            ("PIP_RETRIES", "0"),
            ("PIP_NO_CACHE_DIR", "1"),
            ("PIP_FIND_LINKS", ""),
        ])
        .output()
        .unwrap();
    let text = String::from_utf8(no_network.stderr).unwrap();
    assert!(
        text.contains("could not be installed from PyPI") && text.contains("check the network"),
        "{text}"
    );
    assert_eq!(no_network.status.code(), Some(1));
    std::fs::remove_dir_all(&own).unwrap();
}

#[test]
fn commands_that_need_a_cloud_say_how_to_get_one() {
    let error = fails(crosspilot(&own_home("none")).args(["tenant", "show", "acme"]));
    assert!(
        error.contains("no local cloud is up") && error.contains("crosspilot local up"),
        "{error}"
    );
}

#[test]
fn the_demo_prints_one_json_object() {
    let home = home();
    let output = crosspilot(&home).args(["demo", "--json"]).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let demo: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(demo["tenant"], "acme");
    assert_eq!(demo["execution"]["status"], "SUCCEEDED");
    assert_eq!(demo["job"]["status"], "Completed");
    assert!(demo["job"]["candidates"].as_array().unwrap().len() >= 5);
    // The one that serves, as its report names it: a close second may be first.
    let best = &demo["job"]["best"];
    assert!(demo["job"]["candidates"].as_array().unwrap().contains(best), "{best}");
    let files = std::path::Path::new(demo["files"].as_str().unwrap());
    let report = std::fs::read_to_string(files.join("report.html")).unwrap();
    let named = format!("Candidate</dt><dd><code><bdi>{}</bdi>", best["name"].as_str().unwrap());
    assert!(report.contains(&named), "{best}");
    assert_eq!(demo["endpoint"]["status"], "InService");
    // One file was uploaded: the run set the rows aside itself.
    let set_aside = demo["set_aside"].as_u64().unwrap();
    assert!((900..1100).contains(&set_aside), "{set_aside}");
    assert_eq!(demo["evaluation"]["rows"], set_aside);
    assert!(demo["evaluation"]["auc"].as_f64().unwrap() > 0.9, "{}", demo["evaluation"]);
    assert!(demo["predictions_uri"].as_str().unwrap().starts_with("s3://"));
    assert!(demo["api"]["predictions"][0]["label"].is_string());
    assert!(demo["seconds"]["total"].is_f64());
}

#[test]
fn a_detached_cloud_is_shown_used_and_taken_down() {
    let home = home().join("detached");
    link_emulator(&home);
    let run = |arguments: &[&str]| -> Value {
        let output = crosspilot(&home).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    };
    run(&["local", "up", "--detach"]);
    let status = run(&["local", "status", "--json"]);
    for endpoint in ["default", "sagemaker", "sagemaker_runtime", "sts"] {
        assert!(
            status["endpoints"][endpoint].as_str().unwrap().starts_with("http://127.0.0.1:"),
            "{status}"
        );
    }
    let acme = run(&["tenant", "show", "acme", "--json"]);
    for field in
        ["role_arn", "execution_role_arn", "external_id", "account", "region", "bucket", "prefix"]
    {
        assert!(acme[field].is_string(), "{field}: {acme}");
    }
    let config = std::fs::read_to_string(home.join("aws/config")).unwrap();
    for profile in ["saas_user", "saas_admin", "customer_admin"] {
        assert!(config.contains(&format!("[profile {profile}]")));
    }
    run(&["local", "down"]);
    assert_eq!(run(&["local", "status", "--json"])["up"], false);
}

#[test]
fn a_killed_cloud_takes_its_emulator_with_it() {
    let home = home().join("killed");
    link_emulator(&home);
    let mut cloud = crosspilot(&home)
        .args(["local", "up"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let state = home.join("local/state.json");
    let port = wait(|| {
        let state: Value = serde_json::from_str(&std::fs::read_to_string(&state).ok()?).ok()?;
        state["endpoints"]["default"].as_str()?.rsplit(':').next()?.parse::<u16>().ok()
    });
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    // SIGKILL: nothing of ours gets to run any more.
    cloud.kill().unwrap();
    cloud.wait().unwrap();
    wait(|| std::net::TcpStream::connect(("127.0.0.1", port)).is_err().then_some(()));
    std::fs::remove_dir_all(&home).unwrap();
}

/// Asks again and again, for at most two minutes.
fn wait<T>(mut condition: impl FnMut() -> Option<T>) -> T {
    for _ in 0..1200 {
        if let Some(value) = condition() {
            return value;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("gave up waiting");
}

/// Another home that uses the emulator that the shared one has installed.
pub(crate) fn link_emulator(home: &Path) {
    std::fs::create_dir_all(home).unwrap();
    let shared = crosspilot_tests::home();
    crosspilot_local::install::emulator_python(&shared, |_| {}).unwrap();
    for entry in std::fs::read_dir(&shared).unwrap() {
        let entry = entry.unwrap();
        let link = home.join(entry.file_name());
        if entry.file_name().to_string_lossy().starts_with("emulator-") && !link.exists() {
            std::os::unix::fs::symlink(entry.path(), link).unwrap();
        }
    }
}
