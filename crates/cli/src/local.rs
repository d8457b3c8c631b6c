//! `crosspilot local`: the same cloud for longer work.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crosspilot_core::registry::RegistryError;
use crosspilot_local::accounts::CUSTOMER_ACCOUNT;
use crosspilot_local::state::Running;
use crosspilot_local::{LocalCloud, Onboarding, Options};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::args::{LocalCommand, UpOptions};
use crate::connect;
use crate::failure::Failure;
use crate::output;

/// The tenant that every local cloud has.
pub(crate) const TENANT: &str = "acme";

pub(crate) async fn run(home: &Path, command: LocalCommand) -> Result<(), Failure> {
    match command {
        LocalCommand::Up(UpOptions { port, detach, seed, keep_state }) => {
            if let Some(running) = Running::find(home).await? {
                return Err(Failure::AlreadyUp(running.endpoints.default));
            }
            let keep = keep_state.map(|named| named.unwrap_or_else(|| home.join("kept")));
            let options = Options { port, seed, keep, ..Options::new(home) };
            if detach { up_detached(&options, false).await } else { up(&options).await }
        }
        LocalCommand::Status { json } => status(home, json).await,
        LocalCommand::Down => down(home).await,
        LocalCommand::Token { tenant } => {
            output::line(&connect::running(home).await?.signer.token(tenant.as_str())?);
            Ok(())
        }
    }
}

/// Starts a local cloud of this process, with tenant acme.
pub(crate) async fn start(
    options: &Options,
    report: impl Fn(&str) + Send + Sync,
) -> Result<LocalCloud, Failure> {
    let cloud = LocalCloud::start(options, &report).await?;
    let acme =
        Onboarding::new(TENANT, CUSTOMER_ACCOUNT).map_err(crosspilot_local::CloudError::from)?;
    match cloud.vendor().registry.tenant(&acme.tenant).await {
        // Kept from an earlier start.
        Ok(_) => {}
        Err(RegistryError::UnknownTenant(_)) => {
            report("deploying infra/customer.yaml");
            cloud.onboard(&acme).await?;
        }
        Err(error) => return Err(error.into()),
    }
    Ok(cloud)
}

async fn up(options: &Options) -> Result<(), Failure> {
    let home = &options.home;
    let steps = output::Steps::new();
    let cloud = tokio::select! {
        cloud = start(options, |step| steps.step(step)) => cloud?,
        () = interrupted() => return Err(Failure::Interrupted),
    };
    steps.done();
    let running = cloud.running();
    running.save(home, cloud.operator())?;
    let registry = &cloud.vendor().registry;
    for id in registry.tenants().await? {
        let tenant = registry.tenant(&id).await?;
        running.add_customer(home, id.as_str(), tenant.account.as_str())?;
    }
    eprintln!("the local cloud is up; Ctrl-C takes it down\n");
    print_status(home, &running);
    interrupted().await;
    cloud.stop().await;
    // Whoever waits for its end may start it again at once.
    Running::clear(home)?;
    Ok(())
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
pub(crate) async fn up_detached(options: &Options, quiet: bool) -> Result<(), Failure> {
    let home = &options.home;
    let log = home.join("local/up.log");
    let unwritable = |error| Failure::Unwritable(log.clone(), error);
    fs::create_dir_all(home.join("local")).map_err(unwritable)?;
    let output = fs::File::create(&log).map_err(unwritable)?;
    let program = std::env::current_exe().map_err(unwritable)?;
    let mut command = tokio::process::Command::new(program);
    command.arg("--home").arg(home).args(["local", "up", "--seed", &options.seed.to_string()]);
    if let Some(port) = options.port {
        command.args(["--port", &port.to_string()]);
    }
    if let Some(keep) = &options.keep {
        command.arg("--keep-state").arg(keep);
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(output.try_clone().map_err(unwritable)?)
        .stderr(output)
        .process_group(0)
        .spawn()
        .map_err(unwritable)?;
    let steps = output::Steps::new();
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
            output::json(&json!({"up": true, "pid": running.pid, "endpoints": running.endpoints}))
        }
        None if json => output::json(&json!({"up": false})),
        Some(running) => print_status(home, &running),
        None => output::line("no local cloud is up"),
    }
    Ok(())
}

fn print_status(home: &Path, running: &Running) {
    let aws = fs::canonicalize(home.join("aws")).unwrap_or_else(|_| home.join("aws"));
    let endpoints = &running.endpoints;
    output::pairs(&[
        ("AWS", &endpoints.default),
        ("SageMaker", &endpoints.sagemaker),
        ("API", &endpoints.api),
        ("process", &running.pid.to_string()),
    ]);
    output::line(
        "\nFor the AWS CLI and boto3 (profiles saas_user, saas_admin, customer_admin and <tenant>_admin):",
    );
    output::line(&format!("  export AWS_CONFIG_FILE={}", aws.join("config").display()));
    output::line(&format!(
        "  export AWS_SHARED_CREDENTIALS_FILE={}",
        aws.join("credentials").display()
    ));
}

async fn down(home: &Path) -> Result<(), Failure> {
    let running = connect::running(home).await?;
    let unstoppable = |reason: String| Failure::Unstoppable(running.pid, reason);
    let pid = i32::try_from(running.pid)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(|| unstoppable("not a process id".into()))?;
    kill_process(pid, Signal::TERM).map_err(|error| unstoppable(error.to_string()))?;
    for _ in 0..400 {
        // It stops answering before it has saved what it keeps.
        if !Running::is_noted(home) {
            output::line("the local cloud is down");
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(unstoppable("it has not ended after 40 s".into()))
}
