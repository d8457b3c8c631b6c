//! What can be asked on the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use crosspilot_core::ids::{AccountId, BucketName, ModelName, Prefix, RegionName, TenantId};

/// AutoML for your customers, in their own AWS accounts.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
pub(crate) struct Arguments {
    /// Where the local cloud keeps its files
    #[arg(
        long,
        global = true,
        env = "CROSSPILOT_HOME",
        default_value = ".crosspilot",
        value_name = "DIR"
    )]
    pub(crate) home: PathBuf,
    /// Work on AWS with this profile instead of the local cloud
    #[arg(long = "profile", global = true, value_name = "PROFILE")]
    pub(crate) aws: Option<String>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the main job on the local cloud: train, deploy, evaluate, predict
    Demo(DemoOptions),
    /// The local cloud, for longer work
    #[command(subcommand)]
    Local(LocalCommand),
    /// Tenants and their models
    #[command(subcommand)]
    Tenant(TenantCommand),
    /// Runs: start one by hand, watch it, list them
    #[command(subcommand)]
    Run(RunCommand),
    /// Train, deploy and predict by hand, with an operator's own identity instead of the functions
    Operate(OperateOptions),
}

#[derive(Debug, Subcommand)]
pub(crate) enum RunCommand {
    /// Train on what lies in the customer's bucket now, and watch
    Start {
        /// The tenant's id
        tenant: TenantId,
        /// The model's name
        model: ModelName,
        /// Makes repeated requests one run; a new one each time if left out
        #[arg(long, value_name = "ID")]
        request_id: Option<String>,
        /// Print the execution and do not wait for it
        #[arg(long)]
        detach: bool,
        /// Print the run's output as JSON
        #[arg(long)]
        json: bool,
    },
    /// Follow an execution to its end
    Watch {
        /// Its ARN
        execution: String,
        /// Print the run's output as JSON
        #[arg(long)]
        json: bool,
    },
    /// List a model's runs, newest first
    List {
        /// The tenant's id
        tenant: TenantId,
        /// The model's name
        model: ModelName,
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct OperateOptions {
    /// The tenant's id
    pub(crate) tenant: TenantId,
    /// The model's name
    pub(crate) model: ModelName,
}

#[derive(Debug, Args)]
pub(crate) struct DemoOptions {
    /// A CSV file with a header; left out, a churn-like data set is made
    #[arg(long, value_name = "FILE", requires = "target")]
    pub(crate) data: Option<PathBuf>,
    /// The column to predict
    #[arg(long, value_name = "COLUMN", requires = "data")]
    pub(crate) target: Option<String>,
    /// Seed of the made data, of the split and of the training
    #[arg(long, default_value_t = 7)]
    pub(crate) seed: u64,
    /// Leave the local cloud up afterwards
    #[arg(long)]
    pub(crate) keep: bool,
    /// Print one JSON object on standard output
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LocalCommand {
    /// Bring it up, with tenant acme registered
    Up(UpOptions),
    /// Whether it is up, and where it listens
    Status {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Take it down
    Down,
    /// Print a token for the prediction API
    Token {
        /// The tenant that the token is for
        #[arg(default_value = "acme")]
        tenant: TenantId,
    },
}

#[derive(Debug, Args)]
pub(crate) struct UpOptions {
    /// Port of the emulator; SageMaker takes the next one
    #[arg(long)]
    pub(crate) port: Option<u16>,
    /// Leave it running in the background
    #[arg(long)]
    pub(crate) detach: bool,
    /// Seed of the training
    #[arg(long, default_value_t = 7)]
    pub(crate) seed: u64,
    /// Keep everything for the next start with this option [default directory: kept, beside the other files]
    #[arg(long, value_name = "DIR")]
    pub(crate) keep_state: Option<Option<PathBuf>>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TenantCommand {
    /// Register a tenant as pending, make its external ID, print what the customer deploys with
    Add(NewTenant),
    /// Prove a tenant's trust now, and make a pending tenant active
    Verify(TenantAndForm),
    /// List all tenants
    List {
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Show a tenant
    Show(TenantAndForm),
    /// Show who changed a tenant, and how
    History(TenantAndForm),
    /// Stop a tenant's runs and predictions for now
    Suspend(TenantAndForm),
    /// Prove a suspended tenant's trust and let it run and predict again
    Resume(TenantAndForm),
    /// Remove a tenant for good; its id, role, bucket and external ID are not used again
    Remove(TenantAndForm),
    /// A tenant's models
    #[command(subcommand)]
    Model(ModelCommand),
}

#[derive(Debug, Args)]
pub(crate) struct TenantAndForm {
    /// The tenant's id
    pub(crate) tenant: TenantId,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct NewTenant {
    /// Its id
    pub(crate) tenant: TenantId,
    /// The customer's AWS account
    #[arg(long)]
    pub(crate) account: AccountId,
    /// The customer's region
    #[arg(long)]
    pub(crate) region: RegionName,
    /// The customer's data bucket [default: crosspilot-<tenant>-<account>, made by its stack]
    #[arg(long)]
    pub(crate) bucket: Option<BucketName>,
    /// The bucket exists already: the customer's stack does not make it
    #[arg(long, requires = "bucket")]
    pub(crate) bucket_exists: bool,
    /// Where in the bucket the data lies
    #[arg(long, default_value = "crosspilot")]
    pub(crate) prefix: Prefix,
    /// Subnet that jobs and endpoints run in; may be repeated
    #[arg(long = "subnet", value_name = "ID", requires = "security_groups")]
    pub(crate) subnets: Vec<String>,
    /// Security group of jobs and endpoints; may be repeated
    #[arg(long = "security-group", value_name = "ID", requires = "subnets")]
    pub(crate) security_groups: Vec<String>,
    /// Where S3 serves infra/customer.yaml to the customer, for the quick-create link
    #[arg(long, value_name = "URL", env = "CROSSPILOT_TEMPLATE_URL")]
    pub(crate) template_url: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ModelCommand {
    /// Set up a model, and its schedule if it has one
    Set {
        /// The tenant's id
        tenant: TenantId,
        /// The model's name
        model: ModelName,
        /// The column to predict
        #[arg(long, value_name = "COLUMN")]
        target: String,
        /// When to retrain, such as 'rate(7 days)' or 'cron(0 3 ? * MON *)'
        #[arg(long, value_name = "EXPRESSION")]
        schedule: Option<String>,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}
