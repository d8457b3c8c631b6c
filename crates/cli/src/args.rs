//! What can be asked on the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use crosspilot_core::ids::{
    AccountId, BucketName, InvalidId, ModelName, Prefix, RegionName, TenantId,
};
use crosspilot_core::run::RunId;

const EXIT_CODES: &str = "Exit codes: 0 done; 1 not done, and why is on standard error; 2 the command line makes no sense; 3 the run that was followed failed or was stopped; 130 interrupted, while what was started goes on.";

/// AutoML for your customers, in their own AWS accounts.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, after_help = EXIT_CODES)]
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
    /// Runs: start one by hand, watch, stop, show and redrive them
    #[command(subcommand)]
    Run(RunCommand),
    /// Let a model's endpoint serve the champion's predecessor again
    #[command(
        long_about = "Let a model's endpoint serve the champion's predecessor again, or bring back an endpoint that was removed as idle. The champion becomes the predecessor: a second rollback undoes the first"
    )]
    Rollback(ModelAndForm),
    /// Remove a model or a tenant, and prove that nothing of it is left that bills
    #[command(subcommand)]
    Remove(RemoveCommand),
    /// Estimate what a run costs, and show what bills now
    Cost(CostOptions),
    /// Show endpoints that nobody asks
    Idle(IdleOptions),
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
    /// Follow a run to its end
    Watch(RunAndForm),
    /// Stop a run: its job is stopped in the customer's account and nothing is deployed
    Stop(RunAndForm),
    /// Show everything about one run
    Show(RunAndForm),
    /// Let a run that failed go on where it stopped, and watch
    Redrive {
        #[command(flatten)]
        run: RunAndForm,
        /// Print the execution and do not wait for it
        #[arg(long)]
        detach: bool,
    },
    /// List a model's runs, newest first
    List {
        /// The tenant's id
        tenant: TenantId,
        /// The model's name
        model: ModelName,
        /// How many at most
        #[arg(long, default_value_t = 20, value_name = "N")]
        limit: usize,
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
}

/// Which run: the newest of a model if only that is named.
#[derive(Debug, Args)]
pub(crate) struct RunAndForm {
    /// The tenant's id; or an execution's ARN, and nothing else
    #[arg(value_name = "TENANT|EXECUTION")]
    pub(crate) of: TenantOrExecution,
    /// The model's name
    pub(crate) model: Option<ModelName>,
    /// The run's id [default: the newest]
    pub(crate) run: Option<RunId>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Where to look for a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TenantOrExecution {
    Tenant(TenantId),
    Execution(String),
}

impl std::str::FromStr for TenantOrExecution {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if text.starts_with("arn:") {
            Ok(Self::Execution(text.to_owned()))
        } else {
            text.parse().map(Self::Tenant)
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct ModelAndForm {
    /// The tenant's id
    pub(crate) tenant: TenantId,
    /// The model's name
    pub(crate) model: ModelName,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RemoveCommand {
    /// A model: its endpoint, configs, models, schedule and settings
    Model {
        #[command(flatten)]
        of: ModelAndForm,
        #[command(flatten)]
        how: RemoveOptions,
    },
    /// A tenant for good, with all its models; its id, role, bucket and external ID are not used again
    Tenant(RemoveTenant),
}

#[derive(Debug, Args)]
pub(crate) struct RemoveTenant {
    #[command(flatten)]
    pub(crate) of: TenantAndForm,
    #[command(flatten)]
    pub(crate) how: RemoveOptions,
    /// Go on although the customer's account cannot be reached
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct RemoveOptions {
    /// Delete what runs left in the customer's bucket, too; its earlier versions stay
    #[arg(long)]
    pub(crate) artifacts: bool,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CostOptions {
    /// The tenant's id
    pub(crate) tenant: TenantId,
    /// The model's name; all of the tenant's if left out
    pub(crate) model: Option<ModelName>,
    /// Prices of your own, in the form of crates/cli/prices.json
    #[arg(long, value_name = "FILE")]
    pub(crate) prices: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct IdleOptions {
    /// The tenant's id; all active tenants if left out
    pub(crate) tenant: Option<TenantId>,
    /// Days without a prediction from which an endpoint is idle
    #[arg(long, default_value_t = 14, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=455))]
    pub(crate) days: u16,
    /// Print a JSON array
    #[arg(long)]
    pub(crate) json: bool,
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
    /// Remove a tenant for good: the same as `remove tenant`
    Remove(RemoveTenant),
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
