//! The emulator's process: started, watched, and ended with whoever started it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::{Child, ChildStdin, Command};

use crate::directory::create_private;

const LAUNCHER: &str = include_str!("../emulator/launch.py");
const DOORS: &str = include_str!("../emulator/doors.py");
const AUTHORITY: &str = include_str!("../emulator/authority.py");
const PRINCIPALS: &str = include_str!("../emulator/principals.py");
const RESOURCES: &str = include_str!("../emulator/resources.py");
const FAULTS: &str = include_str!("../emulator/faults.py");
const CONCURRENCY: &str = include_str!("../emulator/concurrency.py");
const QUEUES: &str = include_str!("../emulator/queues.py");
const FAILURES: &str = include_str!("../emulator/failures.py");
const MACHINES: &str = include_str!("../emulator/machines.py");

/// A start takes about two seconds; this long means that it never will.
const START_LIMIT: Duration = Duration::from_secs(60);

/// The time that the emulator has to end: it does in a moment, or when it has saved its state
/// (see `launch.py`).
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// The reason why the emulator does not run.
#[derive(Debug, thiserror::Error)]
pub enum EmulatorError {
    /// The emulator could not be started.
    #[error("the emulator could not be started: {0}")]
    Start(#[from] io::Error),
    /// The emulator ended or never answered.
    #[error("the emulator {what}; the end of its log {log}:\n{tail}")]
    Died {
        /// The thing that it did instead of answering.
        what: &'static str,
        /// The path of its log.
        log: PathBuf,
        /// The last lines of it.
        tail: String,
    },
}

/// A running emulator. Dropping it ends it and all its functions, which share
/// its process group: it ends the group when its lifeline closes.
#[derive(Debug)]
pub struct Emulator {
    child: Child,
    /// The emulator ends when this closes, even if this process is killed.
    _lifeline: Option<ChildStdin>,
}

/// The options of an emulator's start.
pub(crate) struct Launch<'a> {
    /// The Python that has it installed.
    pub(crate) python: &'a Path,
    /// The folder of its files and its log.
    pub(crate) directory: &'a Path,
    pub(crate) port: u16,
    /// Lets this process, and nobody else, ask its authority.
    pub(crate) token: &'a str,
    /// The variables that the functions inherit besides.
    pub(crate) environment: &'a [(&'a str, String)],
}

impl Emulator {
    pub(crate) async fn start(launch: Launch<'_>) -> Result<Self, EmulatorError> {
        let directory = launch.directory;
        let temporary = directory.join("tmp");
        create_private(&temporary)?;
        fs::write(directory.join("launch.py"), LAUNCHER)?;
        fs::write(directory.join("doors.py"), DOORS)?;
        fs::write(directory.join("authority.py"), AUTHORITY)?;
        fs::write(directory.join("principals.py"), PRINCIPALS)?;
        fs::write(directory.join("resources.py"), RESOURCES)?;
        fs::write(directory.join("faults.py"), FAULTS)?;
        fs::write(directory.join("concurrency.py"), CONCURRENCY)?;
        fs::write(directory.join("queues.py"), QUEUES)?;
        fs::write(directory.join("failures.py"), FAILURES)?;
        fs::write(directory.join("machines.py"), MACHINES)?;
        let log = directory.join("emulator.log");
        // Appended to: what grows too long is cut (see `doors.py`).
        let output = File::options().create(true).append(true).mode(0o600).open(&log)?;
        output.set_len(0)?;
        let mut child = Command::new(launch.python)
            .arg(directory.join("launch.py"))
            .env_clear()
            .envs(
                ["PATH", "HOME", "LANG"]
                    .iter()
                    .filter_map(|name| Some((*name, std::env::var(name).ok()?))),
            )
            .env("TMPDIR", &temporary)
            .env("AUTH", "true")
            .env("BIND_HOST", "127.0.0.1")
            // They would listen on every interface.
            .env("IOT_MTLS_ENABLED", "0")
            .env("SFTP_ENABLED", "0")
            .env("GATEWAY_PORT", launch.port.to_string())
            .env("CROSSPILOT_AUTHORITY_TOKEN", launch.token)
            .envs(launch.environment.iter().map(|(name, value)| (*name, value)))
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            // A group of its own: Ctrl-C reaches us only, and its functions end with it.
            .process_group(0)
            .spawn()?;
        let lifeline = child.stdin.take();
        let mut emulator = Self { child, _lifeline: lifeline };
        match emulator.answers(launch.port).await {
            Ok(()) => Ok(emulator),
            Err(what) => Err(EmulatorError::Died { what, tail: tail(&log), log }),
        }
    }

    async fn answers(&mut self, port: u16) -> Result<(), &'static str> {
        let url = format!("http://127.0.0.1:{port}/_ministack/health");
        let client = reqwest::Client::new();
        let started = Instant::now();
        while started.elapsed() < START_LIMIT {
            if let Ok(Some(_)) = self.child.try_wait() {
                return Err("ended at its start");
            }
            if client.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err("did not answer in a minute")
    }

    /// Ends it and waits until it has ended.
    pub async fn stop(mut self) {
        self._lifeline = None;
        if tokio::time::timeout(STOP_LIMIT, self.child.wait()).await.is_err() {
            // It no longer reads its standard input.
            let _ = self.child.kill().await;
        }
    }
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    /// Runs a script beside the emulator with the emulator's own Python.
    fn succeeds(script: &str) {
        let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let home = here.join("../../.crosspilot");
        let python = crate::install::emulator_python(&home, |step| eprintln!("{step}")).unwrap();
        let mut test = std::process::Command::new(python);
        let script = here.join("emulator").join(script);
        let output = test.env("PYTHONDONTWRITEBYTECODE", "1").arg(script).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    #[test]
    fn a_connection_ends_with_its_client() {
        succeeds("connections_test.py");
    }

    #[test]
    fn no_more_functions_are_at_work_than_there_are_files_for() {
        succeeds("processes_test.py");
    }

    #[test]
    fn limits_are_raised_said_and_kept() {
        let script =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("emulator/doors_test.py");
        let scratch = tempfile::tempdir().unwrap();
        let mut python = std::process::Command::new("python3");
        let output =
            python.env("PYTHONDONTWRITEBYTECODE", "1").arg(script).arg(scratch.path()).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
