//! What a running local cloud leaves on disk, so that other commands, the AWS
//! CLI and boto3 find it.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crosspilot_core::aws::aws_config::SdkConfig;
use serde::{Deserialize, Serialize};

use crate::cloud::{CUSTOMER_ACCOUNT, REGION, SAAS_ACCOUNT, root_config};
use crate::identity::Signer;

/// Why the state cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {path}: {reason}")]
pub struct StateError {
    path: PathBuf,
    reason: String,
}

impl StateError {
    pub(crate) fn new(path: &Path, reason: impl ToString) -> Self {
        Self { path: path.to_owned(), reason: reason.to_string() }
    }
}

/// Where the local cloud listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoints {
    /// All services but SageMaker.
    pub default: String,
    /// SageMaker.
    pub sagemaker: String,
    /// SageMaker's inference API.
    pub sagemaker_runtime: String,
    /// Application Auto Scaling, as far as it scales SageMaker's endpoints.
    pub application_auto_scaling: String,
    /// STS.
    pub sts: String,
    /// The prediction API.
    pub api: String,
}

impl Endpoints {
    /// An account as its administrator.
    pub fn administrator(&self, account: &str) -> SdkConfig {
        root_config(&self.default, account)
    }

    /// SageMaker in an account, as its administrator.
    pub fn sagemaker_of(&self, account: &str) -> crosspilot_core::aws::sagemaker::Client {
        crosspilot_core::aws::sagemaker::Client::new(&root_config(&self.sagemaker, account))
    }
}

/// A long-lived access key.
#[derive(Clone, Serialize, Deserialize)]
pub struct AccessKey {
    /// Its id.
    pub id: String,
    /// Its secret.
    pub secret: String,
}

impl std::fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A local cloud that was brought up with `crosspilot local up`.
#[derive(Clone, Serialize, Deserialize)]
pub struct Running {
    /// The process that holds it.
    pub pid: u32,
    /// Where it listens.
    pub endpoints: Endpoints,
    /// What signs tokens for the prediction API.
    pub signer: Signer,
    /// Lets its holder make calls of the local SageMaker go wrong.
    pub token: String,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running")
            .field("pid", &self.pid)
            .field("endpoints", &self.endpoints)
            .finish_non_exhaustive()
    }
}

fn state_file(home: &Path) -> PathBuf {
    home.join("local/state.json")
}

impl Running {
    /// The local cloud of this directory, if one is up. A state file whose
    /// process is gone is cleared away.
    pub async fn find(home: &Path) -> Result<Option<Self>, StateError> {
        let path = state_file(home);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StateError::new(&path, error)),
        };
        let running: Self =
            serde_json::from_str(&text).map_err(|error| StateError::new(&path, error))?;
        let health = format!("{}/_ministack/health", running.endpoints.default);
        if reqwest::get(health).await.is_ok_and(|answer| answer.status().is_success()) {
            return Ok(Some(running));
        }
        Self::clear(home)?;
        Ok(None)
    }

    /// Whether there is a state file, which is removed when a local cloud has ended.
    pub fn is_noted(home: &Path) -> bool {
        state_file(home).exists()
    }

    /// Writes the state file and the AWS profiles.
    pub fn save(&self, home: &Path, operator: &AccessKey) -> Result<(), StateError> {
        let text =
            serde_json::to_string_pretty(self).map_err(|error| StateError::new(home, error))?;
        write_private(&state_file(home), &text)?;
        let (config, credentials) = profiles(&self.endpoints, operator);
        write_private(&home.join("aws/config"), &config)?;
        write_private(&home.join("aws/credentials"), &credentials)
    }

    /// Removes the state file.
    pub fn clear(home: &Path) -> Result<(), StateError> {
        let path = state_file(home);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StateError::new(&path, error))
            }
            _ => Ok(()),
        }
    }
}

/// Keys are in these files: only their owner reads them.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<(), StateError> {
    let failed = |error| StateError::new(path, error);
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(failed)?;
    }
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}

/// The AWS configuration and credentials files.
fn profiles(endpoints: &Endpoints, operator: &AccessKey) -> (String, String) {
    // The AWS CLI writes the spaces of "SageMaker Runtime" as underscores, the SDK
    // for Rust as hyphens.
    let mut config = String::from("[services local]\n");
    for (service, url) in [
        ("sagemaker", &endpoints.sagemaker),
        ("sagemaker_runtime", &endpoints.sagemaker_runtime),
        ("sagemaker-runtime", &endpoints.sagemaker_runtime),
        ("application_auto_scaling", &endpoints.application_auto_scaling),
        ("application-auto-scaling", &endpoints.application_auto_scaling),
        ("sts", &endpoints.sts),
    ] {
        config.push_str(&format!("{service} =\n  endpoint_url = {url}\n"));
    }
    let mut credentials = String::new();
    let keys = [
        ("saas_user", operator.id.as_str(), operator.secret.as_str()),
        ("saas_admin", SAAS_ACCOUNT, "test"),
        ("customer_admin", CUSTOMER_ACCOUNT, "test"),
    ];
    for (profile, id, secret) in keys {
        config.push_str(&format!(
            "\n[profile {profile}]\nregion = {REGION}\nendpoint_url = {}\nservices = local\n",
            endpoints.default
        ));
        credentials.push_str(&format!(
            "[{profile}]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n\n"
        ));
    }
    (config, credentials)
}
