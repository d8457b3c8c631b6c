//! `crosspilot local`: the same cloud for longer work.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crosspilot_local::cloud::CUSTOMER_ACCOUNT;
use crosspilot_local::state::Running;
use crosspilot_local::{LocalCloud, Onboarding, Options};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::args::LocalCommand;
use crate::failure::Failure;
use crate::place;
use crate::show;

/// The tenant that every local cloud has.
pub(crate) const TENANT: &str = "acme";

pub(crate) async fn run(home: &Path, command: LocalCommand) -> Result<(), Failure> {
    match command {
        LocalCommand::Up { port, detach, seed } => {
            if let Some(running) = Running::find(home).await? {
                return Err(Failure::AlreadyUp(running.endpoints.default));
            }
            if detach {
                up_detached(home, port, seed, false).await
            } else {
                up(home, port, seed).await
            }
        }
        LocalCommand::Status { json } => status(home, json).await,
        LocalCommand::Down => down(home).await,
        LocalCommand::Token { tenant } => {
            show::line(&place::running(home).await?.signer.token(tenant.as_str())?);
            Ok(())
        }
    }
}

/// Starts a local cloud of this process, with tenant acme.
pub(crate) async fn start(
    home: &Path,
    port: Option<u16>,
    seed: u64,
    report: impl Fn(&str) + Send + Sync,
) -> Result<LocalCloud, Failure> {
    let options = Options { home: home.to_owned(), port, seed };
    let cloud = LocalCloud::start(&options, &report).await?;
    report("deploying infra/customer.yaml");
    let acme =
        Onboarding::new(TENANT, CUSTOMER_ACCOUNT).map_err(crosspilot_local::CloudError::from)?;
    cloud.onboard(&acme).await?;
    Ok(cloud)
}

async fn up(home: &Path, port: Option<u16>, seed: u64) -> Result<(), Failure> {
    let steps = show::Steps::new();
    let cloud = tokio::select! {
        cloud = start(home, port, seed, |step| steps.step(step)) => cloud?,
        () = interrupted() => return Err(Failure::Interrupted),
    };
    steps.done();
    let running = running(&cloud);
    running.save(home, cloud.operator())?;
    eprintln!("the local cloud is up; Ctrl-C takes it down\n");
    print_status(home, &running);
    interrupted().await;
    Running::clear(home)?;
    cloud.stop().await;
    Ok(())
}

fn running(cloud: &LocalCloud) -> Running {
    Running {
        pid: std::process::id(),
        endpoints: cloud.endpoints().clone(),
        signer: cloud.signer().clone(),
    }
}

/// Ctrl-C, or the signal that `local down` sends.
pub(crate) async fn interrupted() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

/// Starts this program again, in the background, and waits until it is up.
pub(crate) async fn up_detached(
    home: &Path,
    port: Option<u16>,
    seed: u64,
    quiet: bool,
) -> Result<(), Failure> {
    let log = home.join("local/up.log");
    let unwritable = |error| Failure::Unwritable(log.clone(), error);
    fs::create_dir_all(home.join("local")).map_err(unwritable)?;
    let output = fs::File::create(&log).map_err(unwritable)?;
    let program = std::env::current_exe().map_err(unwritable)?;
    let mut command = tokio::process::Command::new(program);
    command.arg("--home").arg(home).args(["local", "up", "--seed", &seed.to_string()]);
    if let Some(port) = port {
        command.args(["--port", &port.to_string()]);
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(output.try_clone().map_err(unwritable)?)
        .stderr(output)
        .process_group(0)
        .spawn()
        .map_err(unwritable)?;
    let steps = show::Steps::new();
    steps.step("bringing the local cloud up");
    let running = loop {
        if let Some(running) = Running::find(home).await? {
            break running;
        }
        if child.try_wait().map_err(unwritable)?.is_some() {
            let text = fs::read_to_string(&log).unwrap_or_default();
            let last: Vec<&str> = text.lines().rev().take(5).collect();
            let tail = last.into_iter().rev().collect::<Vec<_>>().join("\n");
            return Err(Failure::Detached(log, tail));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    steps.done();
    if !quiet {
        print_status(home, &running);
    }
    Ok(())
}

async fn status(home: &Path, json: bool) -> Result<(), Failure> {
    match Running::find(home).await? {
        Some(running) if json => {
            show::json(&json!({"up": true, "pid": running.pid, "endpoints": running.endpoints}))
        }
        None if json => show::json(&json!({"up": false})),
        Some(running) => print_status(home, &running),
        None => show::line("no local cloud is up"),
    }
    Ok(())
}

fn print_status(home: &Path, running: &Running) {
    let aws = fs::canonicalize(home.join("aws")).unwrap_or_else(|_| home.join("aws"));
    let endpoints = &running.endpoints;
    show::pairs(&[
        ("AWS", &endpoints.default),
        ("SageMaker", &endpoints.sagemaker),
        ("API", &endpoints.api),
        ("process", &running.pid.to_string()),
    ]);
    show::line("\nFor the AWS CLI and boto3 (profiles saas_user, saas_admin, customer_admin):");
    show::line(&format!("  export AWS_CONFIG_FILE={}", aws.join("config").display()));
    show::line(&format!(
        "  export AWS_SHARED_CREDENTIALS_FILE={}",
        aws.join("credentials").display()
    ));
}

async fn down(home: &Path) -> Result<(), Failure> {
    let running = place::running(home).await?;
    let unstoppable = |reason: String| Failure::Unstoppable(running.pid, reason);
    let pid = i32::try_from(running.pid)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(|| unstoppable("not a process id".into()))?;
    kill_process(pid, Signal::TERM).map_err(|error| unstoppable(error.to_string()))?;
    for _ in 0..100 {
        if Running::find(home).await?.is_none() {
            show::line("the local cloud is down");
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(unstoppable("it still answers after 10 s".into()))
}
