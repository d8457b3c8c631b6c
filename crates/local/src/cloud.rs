//! Brings the local cloud up: emulator, SageMaker, both stacks, tenants.

mod saas;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use crosspilot_core::aws::aws_config::SdkConfig;
use crosspilot_core::error::CallError;
use crosspilot_core::ids::{AccountId, BucketName, ExternalId, InvalidId, Prefix, TenantId};
use crosspilot_core::tenant::{ACCESS_ROLE, Encryption, Limits, Network, Tenant, TenantStatus};
use crosspilot_operator::{OperatorError, Vendor};
use crosspilot_sagemaker_local::authority::{Authority, AuthorityError};
use crosspilot_sagemaker_local::{self as sagemaker, SageMaker};

use crate::accounts::{AccessKey, REGION, SAAS_ACCOUNT};
use crate::administrators::Administrators;
use crate::directory::OwnDirectory;
use crate::emulator::{Emulator, EmulatorError, Launch};
use crate::functions::{self, FunctionsError};
use crate::identity::{IdentityError, IdentityProvider, Signer};
use crate::install::{self, InstallError};
use crate::saved_state::{Ports, SavedState, SavedStateError};
use crate::stacks::{self, StackError, Template};
use crate::state::{Endpoints, Running, StateError};

/// Name of the vendor's stack.
pub const SAAS_STACK: &str = "crosspilot";
const CUSTOMER_STACK: &str = "crosspilot-customer";
/// Bucket that the template is uploaded to, with what it refers to.
pub const ARTIFACTS: &str = "crosspilot-artifacts-111111111111";

/// The template that customers deploy, as it is.
pub const CUSTOMER_TEMPLATE: &str = include_str!("../../../infra/customer.yaml");

/// The reason why the local cloud is not up.
#[derive(Debug, thiserror::Error)]
pub enum CloudError {
    /// A port is taken.
    #[error("port {0} is in use: stop what uses it, or give another one with --port")]
    PortTaken(u16),
    /// The home directory cannot be used.
    #[error("cannot keep files in {0}: {1}; name another directory with --home")]
    Home(PathBuf, std::io::Error),
    /// No port is free.
    #[error("no free port on 127.0.0.1: {0}")]
    NoPort(std::io::Error),
    /// The emulator could not be installed.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// There are no functions to deploy.
    #[error(transparent)]
    Functions(#[from] FunctionsError),
    /// The emulator does not run.
    #[error(transparent)]
    Emulator(#[from] EmulatorError),
    /// The local SageMaker does not run.
    #[error(transparent)]
    SageMaker(#[from] sagemaker::StartError),
    /// The local identity provider does not run.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The emulator does not say who may do what.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// A stack is not deployed.
    #[error(transparent)]
    Stack(#[from] StackError),
    /// A tenant is not registered.
    #[error(transparent)]
    Vendor(#[from] OperatorError),
    /// AWS refused or failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A name that cannot be one.
    #[error(transparent)]
    Id(#[from] InvalidId),
    /// The state that an earlier start kept cannot be used.
    #[error(transparent)]
    SavedState(#[from] SavedStateError),
    /// The state directory cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes")]
    Random,
}

/// The options of a local cloud.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder that the emulator is installed in, and where a local cloud keeps its files
    /// while it runs. Any number of them can share it.
    pub home: PathBuf,
    /// Port of the emulator; SageMaker takes the next one. Free ones if left out.
    pub port: Option<u16>,
    /// Seed of the AutoML engine.
    pub seed: u64,
    /// The folder in which everything is kept for the next start; nothing is if left out.
    pub keep: Option<PathBuf>,
    /// AutoML jobs that one account may run at a time in a region.
    pub concurrent_automl_jobs: usize,
}

impl Options {
    /// The defaults: free ports, and nothing is kept.
    pub fn new(home: impl Into<PathBuf>) -> Self {
        Self { home: home.into(), port: None, seed: 7, keep: None, concurrent_automl_jobs: 4 }
    }
}

/// A customer to take on.
#[derive(Debug, Clone)]
pub struct Onboarding {
    /// Tenant id.
    pub tenant: TenantId,
    /// The customer's account.
    pub account: AccountId,
    /// Name of the bucket that the customer's stack makes.
    pub bucket: BucketName,
    /// The prefix of the data in the bucket.
    pub prefix: Prefix,
    /// The template that the customer deploys: [`CUSTOMER_TEMPLATE`], or a copy with changes.
    pub template: String,
    /// The limits of its runs.
    pub limits: Limits,
    /// The customer's subnets, if everything has to run in them.
    pub network: Option<Network>,
    /// The customer's keys, by their ARNs, if disks and results are under some.
    pub encryption: Option<Encryption>,
    /// The ARN of the key that the customer's bucket is under, if it is: the vendor need
    /// not know it.
    pub bucket_key: Option<String>,
}

impl Onboarding {
    /// A customer that deploys our template as it is.
    pub fn new(tenant: &str, account: &str) -> Result<Self, InvalidId> {
        Ok(Self {
            tenant: tenant.parse()?,
            account: account.parse()?,
            bucket: format!("{tenant}-ml-{account}").parse()?,
            prefix: "crosspilot".parse()?,
            template: CUSTOMER_TEMPLATE.to_owned(),
            limits: Limits { max_candidates: 10, max_runtime_seconds: 900 },
            network: None,
            encryption: None,
            bucket_key: None,
        })
    }
}

/// A running local cloud. Dropping it ends everything it started.
pub struct LocalCloud {
    endpoints: Endpoints,
    operator: AccessKey,
    vendor: Vendor,
    identity: IdentityProvider,
    authority: Authority,
    sagemaker: SageMaker,
    emulator: Emulator,
    // Last, so that it goes when nothing writes into it any more.
    directory: OwnDirectory,
}

impl LocalCloud {
    /// Installs what is missing, starts everything, deploys both the vendor's
    /// stack and what it needs. `report` is told each step.
    pub async fn start(
        options: &Options,
        report: impl Fn(&str) + Send + Sync,
    ) -> Result<Self, CloudError> {
        let (directory, kept) = take_directory(options)?;
        let (ports, signer) = match kept {
            Some(SavedState { ports, signer, .. }) => (ports, Some(signer)),
            None => (choose_ports(options.port)?, None),
        };
        report("building the functions");
        let packages = tokio::task::block_in_place(functions::package)?;
        let python =
            tokio::task::block_in_place(|| install::emulator_python(&options.home, &report))?;

        report("starting the emulator");
        let url = format!("http://127.0.0.1:{}", ports.emulator);
        let sagemaker_url = format!("http://127.0.0.1:{}", ports.sagemaker);
        let token = ExternalId::generate().map_err(|_| CloudError::Random)?;
        let authority = Authority::new(&url, token.as_str());
        let identity = IdentityProvider::start(ports.identity, signer).await?;
        let state = options.keep.as_ref().map(|_| directory.path());
        if let Some(state) = state {
            // At once: what is cut off from here on starts again where it was.
            SavedState::new(ports, identity.signer.clone()).save(state)?;
        }
        let environment = environment(&url, &sagemaker_url, state);
        let emulator = Emulator::start(Launch {
            python: &python,
            directory: directory.path(),
            port: ports.emulator,
            token: token.as_str(),
            environment: &environment,
        })
        .await?;
        // It goes on with what an earlier run left, so its data must be there.
        let sagemaker = SageMaker::start(sagemaker::Options {
            bind: SocketAddr::from(([127, 0, 0, 1], ports.sagemaker)),
            seed: options.seed,
            concurrent_automl_jobs: options.concurrent_automl_jobs,
            state_dir: state.map(Path::to_owned),
            ..sagemaker::Options::new(&url, authority.clone())
        })
        .await?;

        report("deploying infra/saas.yaml");
        let administrators = Administrators::of(token.as_str());
        let administrator = administrators.config(&url, SAAS_ACCOUNT);
        let issuer = identity.signer.issuer();
        let saas = saas::deploy(&administrator, packages, issuer).await?;
        let endpoints = Endpoints {
            api: format!("{url}/_aws/execute-api/{}/$default", saas.api),
            sts: url.clone(),
            sagemaker: sagemaker_url.clone(),
            sagemaker_runtime: sagemaker_url.clone(),
            application_auto_scaling: sagemaker_url,
            default: url,
            administrators,
        };
        let vendor = Vendor::connect(administrator, SAAS_STACK).await?;
        Ok(Self {
            endpoints,
            operator: saas.operator,
            vendor,
            identity,
            authority,
            sagemaker,
            emulator,
            directory,
        })
    }

    /// Gives the addresses at which everything listens.
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// The vendor's side.
    pub fn vendor(&self) -> &Vendor {
        &self.vendor
    }

    /// Gives the key that signs tokens for the prediction API.
    pub fn signer(&self) -> &Signer {
        &self.identity.signer
    }

    /// Access key of the operator `saas_user`.
    pub fn operator(&self) -> &AccessKey {
        &self.operator
    }

    /// The emulator's identities and policies.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The stand-in for SageMaker.
    pub fn sagemaker(&self) -> &SageMaker {
        &self.sagemaker
    }

    /// Gives what other processes need to know of this one.
    pub fn running(&self) -> Running {
        Running {
            pid: std::process::id(),
            endpoints: self.endpoints.clone(),
            signer: self.identity.signer.clone(),
            token: self.authority.token().to_owned(),
        }
    }

    /// The emulator's log, with what the functions write.
    pub fn log(&self) -> PathBuf {
        self.directory.path().join("emulator.log")
    }

    /// A customer's account as its administrator.
    pub fn customer(&self, account: &AccountId) -> SdkConfig {
        self.endpoints.administrator(account.as_str())
    }

    /// Does what a customer and the vendor do together: the vendor makes an
    /// external ID, the customer deploys the template with it, the vendor
    /// registers the tenant.
    pub async fn onboard(&self, onboarding: &Onboarding) -> Result<Tenant, CloudError> {
        let Onboarding { tenant, account, bucket, prefix, template, limits, .. } = onboarding;
        let Onboarding { network, encryption, .. } = onboarding;
        let external_id = ExternalId::generate().map_err(|_| CloudError::Random)?;
        let mut parameters = vec![
            ("SaasAccountId", SAAS_ACCOUNT.to_owned()),
            ("TenantId", tenant.to_string()),
            ("ExternalId", external_id.as_str().to_owned()),
            ("VendorEventBusArn", self.vendor.deployment.event_bus.clone()),
            ("BucketName", bucket.to_string()),
            ("Prefix", prefix.to_string()),
            ("AllowVendorOperators", "true".to_owned()),
        ];
        if let Some(Network { subnets, security_groups }) = network {
            parameters.push(("SubnetIds", subnets.join(",")));
            parameters.push(("SecurityGroupIds", security_groups.join(",")));
        }
        let Encryption { volume_key, output_key, .. } = encryption.clone().unwrap_or_default();
        parameters.extend(volume_key.map(|key| ("VolumeKmsKeyArn", key)));
        parameters.extend(output_key.map(|key| ("OutputKmsKeyArn", key)));
        parameters.extend(onboarding.bucket_key.clone().map(|key| ("KmsKeyArn", key)));
        let parameters: Vec<(&str, &str)> =
            parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let outputs = stacks::deploy(
            &self.customer(account),
            CUSTOMER_STACK,
            Template::Text(template),
            &parameters,
        )
        .await?;
        let registered = Tenant {
            tenant: tenant.clone(),
            account: account.clone(),
            region: REGION.parse()?,
            role_arn: stacks::output(&outputs, ACCESS_ROLE, "RoleArn")?.parse()?,
            execution_role_arn: stacks::output(&outputs, CUSTOMER_STACK, "ExecutionRoleArn")?
                .parse()?,
            external_id,
            bucket: bucket.clone(),
            bucket_exists: false,
            prefix: prefix.clone(),
            network: network.clone(),
            encryption: encryption.clone(),
            tags: Default::default(),
            status: TenantStatus::Active,
            limits: *limits,
            predictions: Default::default(),
            models: Default::default(),
        };
        Ok(self.vendor.add_tenant(&registered).await?)
    }

    /// Ends everything, in order; what is kept is saved.
    pub async fn stop(self) {
        self.sagemaker.stop().await;
        self.emulator.stop().await;
    }
}

/// Takes the directory that the options name, with what an earlier start left in it; without
/// one, a new directory that goes with the local cloud.
fn take_directory(options: &Options) -> Result<(OwnDirectory, Option<SavedState>), CloudError> {
    let cannot_keep = |path: &Path, error| CloudError::Home(path.to_owned(), error);
    match &options.keep {
        Some(path) => {
            let directory = OwnDirectory::keep(path).map_err(|error| cannot_keep(path, error))?;
            let kept = SavedState::load(directory.path(), options.port)?;
            Ok((directory, kept))
        }
        None => {
            let home = &options.home;
            let directory = OwnDirectory::claim(home).map_err(|error| cannot_keep(home, error))?;
            Ok((directory, None))
        }
    }
}

/// Lists the variables of the emulator and of the functions in it: where the services are,
/// and the directory that their state is kept in, if it is.
fn environment(
    url: &str,
    sagemaker_url: &str,
    state: Option<&Path>,
) -> Vec<(&'static str, String)> {
    let mut variables = vec![
        ("AWS_ENDPOINT_URL", url.to_owned()),
        ("AWS_ENDPOINT_URL_SAGEMAKER", sagemaker_url.to_owned()),
        ("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", sagemaker_url.to_owned()),
        ("AWS_ENDPOINT_URL_APPLICATION_AUTO_SCALING", sagemaker_url.to_owned()),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        // Faster than on AWS, where a job takes hours.
        ("SFN_WAIT_SCALE", sagemaker::WAIT_SCALE.to_string()),
        // Requests without AWS credentials (the prediction API's) are for the vendor.
        ("MINISTACK_ACCOUNT_ID", SAAS_ACCOUNT.to_owned()),
        ("LOG_LEVEL", "WARNING".to_owned()),
    ];
    if let Some(state) = state {
        let path = |name: &str| state.join(name).display().to_string();
        variables.extend([
            ("PERSIST_STATE", "1".to_owned()),
            ("STATE_DIR", path("emulator")),
            ("S3_PERSIST", "1".to_owned()),
            ("S3_DATA_DIR", path("s3")),
        ]);
    }
    variables
}

/// Ports for a new local cloud: free ones, or those from `wanted` on.
fn choose_ports(wanted: Option<u16>) -> Result<Ports, CloudError> {
    let probe = |port: u16| TcpListener::bind(("127.0.0.1", port));
    // All are held until all are known, so that they differ.
    let free = || {
        let listener = probe(0).map_err(CloudError::NoPort)?;
        let port = listener.local_addr().map_err(CloudError::NoPort)?.port();
        Ok::<_, CloudError>((port, listener))
    };
    let taken = |port: u16| {
        probe(port).map(|listener| (port, listener)).map_err(|_| CloudError::PortTaken(port))
    };
    let (emulator, sagemaker) = match wanted {
        Some(port) => {
            let next = port.checked_add(1).ok_or(CloudError::PortTaken(port))?;
            (taken(port)?, taken(next)?)
        }
        None => (free()?, free()?),
    };
    Ok(Ports { emulator: emulator.0, sagemaker: sagemaker.0, identity: free()?.0 })
}
