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
    Up {
        /// Port of the emulator; SageMaker takes the next one
        #[arg(long)]
        port: Option<u16>,
        /// Leave it running in the background
        #[arg(long)]
        detach: bool,
        /// Seed of the training
        #[arg(long, default_value_t = 7)]
        seed: u64,
    },
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

#[derive(Debug, Subcommand)]
pub(crate) enum TenantCommand {
    /// Register a tenant as pending and make its external ID
    Add {
        /// Its id
        tenant: TenantId,
        /// The customer's AWS account
        #[arg(long)]
        account: AccountId,
        /// The customer's region
        #[arg(long, default_value = "us-east-1")]
        region: RegionName,
        /// The customer's data bucket
        #[arg(long)]
        bucket: BucketName,
        /// Where in the bucket the data lies
        #[arg(long, default_value = "crosspilot")]
        prefix: Prefix,
    },
    /// Let a tenant run and predict, once its stack is deployed
    Activate {
        /// Its id
        tenant: TenantId,
    },
    /// List all tenants
    List {
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Show a tenant
    Show {
        /// Its id
        tenant: TenantId,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Set up a tenant's model, and its schedule if it has one
    Model {
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
    },
}
