//! The Lambda functions: the real binaries, packaged as AWS wants them.

use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fs, io};

use crosspilot_core::ids::hex;
use sha2::{Digest, Sha256};

/// Names of the functions, which are the names of their binaries.
pub const FUNCTIONS: [&str; 5] = ["assume", "start-job", "check-status", "deploy-best", "predict"];

/// The reason why there are no functions to deploy.
#[derive(Debug, thiserror::Error)]
pub enum FunctionsError {
    /// Cargo failed; it has said why on standard error.
    #[error("the functions could not be built: cargo {0}; see its messages above")]
    Build(String),
    /// A binary is missing.
    #[error("cannot read function {0}: {1}; build it with `cargo build --workspace`")]
    Missing(PathBuf, io::Error),
    /// A package could not be made.
    #[error("function {0} could not be packaged: {1}")]
    Package(&'static str, String),
}

/// A function as it is uploaded.
pub struct Package {
    pub(crate) function: &'static str,
    /// Changes when the binary does.
    pub(crate) key: String,
    pub(crate) zip: Vec<u8>,
}

/// Packages the binaries that lie beside this one.
pub(crate) fn package() -> Result<Vec<Package>, FunctionsError> {
    let directory = binaries()?;
    package_from(|function| directory.join(function))
}

/// Packages the binary of each function that lies where `path` says.
pub fn package_from(path: impl Fn(&str) -> PathBuf) -> Result<Vec<Package>, FunctionsError> {
    std::thread::scope(|scope| {
        let jobs: Vec<_> = FUNCTIONS
            .iter()
            .map(|function| {
                let path = path(function);
                scope.spawn(move || package_one(function, &path))
            })
            .collect();
        jobs.into_iter()
            .map(|job| job.join().unwrap_or(Err(FunctionsError::Build("thread panicked".into()))))
            .collect()
    })
}

/// The same profile and the same features as the rest of the workspace, so
/// that nothing is compiled twice.
fn build() -> Result<(), FunctionsError> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--workspace", "--bins", "--manifest-path"]);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml"));
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .map_err(|error| FunctionsError::Build(error.to_string()))?;
    if status.success() { Ok(()) } else { Err(FunctionsError::Build(status.to_string())) }
}

/// Finds the workspace's binaries: beside this one, or one up from a
/// test's or an example's. What has changed is built first, when run from the workspace (Cargo
/// says so).
pub fn binaries() -> Result<PathBuf, FunctionsError> {
    if std::env::var_os("CARGO_MANIFEST_DIR").is_some() {
        build()?;
    }
    let own = std::env::current_exe().unwrap_or_default();
    let directory = own.parent().unwrap_or(Path::new(".")).to_owned();
    Ok(match directory.file_name() {
        Some(name) if name == "deps" || name == "examples" => {
            directory.parent().unwrap_or(&directory).to_owned()
        }
        _ => directory,
    })
}

fn package_one(function: &'static str, path: &Path) -> Result<Package, FunctionsError> {
    let binary = fs::read(path).map_err(|error| FunctionsError::Missing(path.to_owned(), error))?;
    let digest = hex(&Sha256::digest(&binary)[..10]);
    let zip = zip(&binary).map_err(|error| FunctionsError::Package(function, error.to_string()))?;
    Ok(Package { function, key: format!("{function}-{digest}.zip"), zip })
}

fn zip(binary: &[u8]) -> zip::result::ZipResult<Vec<u8>> {
    // The fastest compression: it goes over loopback once.
    let options = zip::write::SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Deflated)
        .compression_level(Some(1))
        .unix_permissions(0o755);
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    archive.start_file("bootstrap", options)?;
    archive.write_all(binary)?;
    Ok(archive.finish()?.into_inner())
}
