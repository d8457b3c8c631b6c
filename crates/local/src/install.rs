//! Installs Python packages into private virtual environments, once: the pinned
//! emulator, and what tests compare it with.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crosspilot_core::ids::hex;
use sha2::{Digest, Sha256};

/// All packages of the emulator, pinned.
const REQUIREMENTS: &str = include_str!("../emulator/requirements.txt");

/// The reason why packages could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// There is no usable Python.
    #[error(
        "the local cloud needs Python 3.10 or newer as `{0}`, which could not be run: {1}; install it (Debian: apt-get install python3 python3-venv) or name it in CROSSPILOT_PYTHON"
    )]
    NoPython(String, String),
    /// pip did not succeed.
    #[error(
        "the {0} could not be installed from PyPI: {1}; check the network and pip's settings, then try again"
    )]
    Pip(String, String),
    /// The file system refused.
    #[error("cannot prepare {0}: {1}")]
    Files(PathBuf, io::Error),
}

/// Names the pinned emulator with all it needs.
pub(crate) fn release() -> String {
    digest(REQUIREMENTS)
}

fn digest(requirements: &str) -> String {
    hex(&Sha256::digest(requirements)[..6])
}

/// The Python of a virtual environment under `home` that holds the emulator.
/// Installs it if need be; several processes may ask at once.
pub fn emulator_python(home: &Path, report: impl FnOnce(&str)) -> Result<PathBuf, InstallError> {
    python_with(home, "emulator", REQUIREMENTS, report)
}

/// The Python of a virtual environment under `home` that holds these packages,
/// in the form of pip's requirements; `name` says what they are. Installs them if
/// need be; several processes may ask at once.
pub fn python_with(
    home: &Path,
    name: &str,
    requirements: &str,
    report: impl FnOnce(&str),
) -> Result<PathBuf, InstallError> {
    let files = |error| InstallError::Files(home.to_owned(), error);
    fs::create_dir_all(home).map_err(files)?;
    let environment = home.join(format!("{name}-{}", digest(requirements)));
    let python = environment.join("bin/python");
    let complete = environment.join("complete");
    let lock = File::create(home.join(format!("{name}.lock"))).map_err(files)?;
    lock.lock().map_err(files)?;
    if complete.exists() {
        return Ok(python);
    }
    report(&format!("installing the {name} (once)"));
    if environment.exists() {
        // An earlier attempt was interrupted.
        fs::remove_dir_all(&environment).map_err(files)?;
    }
    let base = std::env::var("CROSSPILOT_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let made = run(Command::new(&base).args(["-m", "venv"]).arg(&environment));
    made.map_err(|reason| InstallError::NoPython(base, reason))?;
    let list = environment.join("requirements.txt");
    fs::write(&list, requirements).map_err(files)?;
    run(Command::new(&python)
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-input",
            "--disable-pip-version-check",
            "-r",
        ])
        .arg(&list))
    .map_err(|reason| InstallError::Pip(name.to_owned(), reason))?;
    fs::write(&complete, "").map_err(files)?;
    Ok(python)
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no output");
    Err(last.trim().to_owned())
}
