//! The files that a running local cloud leaves on disk, so that other commands, the AWS CLI and
//! boto3 find it.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crosspilot_core::aws::aws_config::SdkConfig;
use serde::{Deserialize, Serialize};

use crate::accounts::{AccessKey, CUSTOMER_ACCOUNT, REGION, SAAS_ACCOUNT};
use crate::administrators::Administrators;
use crate::directory::create_private;
use crate::identity::Signer;

/// The reason why the state cannot be read or written.
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

/// The addresses that the local cloud listens on, and who comes in there with all rights.
#[derive(Debug, Clone, Serialize, Deserialize)]
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
    /// The accounts' administrators. Their keys are written nowhere with this.
    #[serde(skip)]
    pub administrators: Administrators,
}

impl Endpoints {
    /// An account as its administrator.
    pub fn administrator(&self, account: &str) -> SdkConfig {
        self.administrators.config(&self.default, account)
    }

    /// SageMaker in an account, as its administrator.
    pub fn sagemaker_of(&self, account: &str) -> crosspilot_core::aws::sagemaker::Client {
        crosspilot_core::aws::sagemaker::Client::new(
            &self.administrators.config(&self.sagemaker, account),
        )
    }
}

/// A local cloud that was brought up with `crosspilot local up`.
#[derive(Clone, Serialize, Deserialize)]
pub struct Running {
    /// The process that holds it.
    pub pid: u32,
    /// The addresses that it listens on.
    pub endpoints: Endpoints,
    /// The key that signs tokens for the prediction API.
    pub signer: Signer,
    /// Lets its holder make calls go wrong, and be the administrator of any account.
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
        let mut running: Self =
            serde_json::from_str(&text).map_err(|error| StateError::new(&path, error))?;
        running.endpoints.administrators = Administrators::of(&running.token);
        let health = format!("{}/_ministack/health", running.endpoints.default);
        if reqwest::get(health).await.is_ok_and(|answer| answer.status().is_success()) {
            return Ok(Some(running));
        }
        Self::clear(home)?;
        Ok(None)
    }

    /// Tells whether there is a state file, which is removed when a local cloud has ended.
    pub fn is_noted(home: &Path) -> bool {
        state_file(home).exists()
    }

    /// Writes the state file and the AWS profiles.
    pub fn save(&self, home: &Path, operator: &AccessKey) -> Result<(), StateError> {
        let text =
            serde_json::to_string_pretty(self).map_err(|error| StateError::new(home, error))?;
        write_private(&state_file(home), &text)?;
        let key = |account| self.endpoints.administrators.key(account);
        let mut config = services(&self.endpoints);
        let mut credentials = String::new();
        for (profile, key) in [
            ("saas_user", operator),
            ("saas_admin", &key(SAAS_ACCOUNT)),
            ("customer_admin", &key(CUSTOMER_ACCOUNT)),
        ] {
            let written = self.profile(profile, key);
            config.push_str(&written.0);
            credentials.push_str(&written.1);
        }
        write_private(&home.join("aws/config"), &config)?;
        write_private(&home.join("aws/credentials"), &credentials)
    }

    /// Writes a profile of a customer's administrator beside the others, unless
    /// there is one; its name.
    pub fn add_customer(
        &self,
        home: &Path,
        customer: &str,
        account: &str,
    ) -> Result<String, StateError> {
        let profile = format!("{customer}_admin");
        let key = self.endpoints.administrators.key(account);
        let (config, credentials) = self.profile(&profile, &key);
        for (file, added) in [("aws/config", config), ("aws/credentials", credentials)] {
            let path = home.join(file);
            let failed = |error| StateError::new(&path, error);
            let text = fs::read_to_string(&path).map_err(failed)?;
            if !text.contains(&added) {
                write_private(&path, &(text + &added))?;
            }
        }
        Ok(profile)
    }

    /// Writes a profile's part of the AWS configuration and of the credentials file.
    fn profile(&self, name: &str, AccessKey { id, secret }: &AccessKey) -> (String, String) {
        let url = &self.endpoints.default;
        (
            format!(
                "\n[profile {name}]\nregion = {REGION}\nendpoint_url = {url}\nservices = local\n"
            ),
            format!("[{name}]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n\n"),
        )
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
        create_private(directory).map_err(failed)?;
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

/// Writes the addresses of the services for the AWS configuration.
fn services(endpoints: &Endpoints) -> String {
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
    config
}
