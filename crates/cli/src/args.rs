//! What can be asked on the command line.

// Help texts are printed as they are.
#![allow(rustdoc::invalid_html_tags)]

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use crosspilot_core::ids::{
    AccountId, BucketName, InvalidId, ModelName, Prefix, RegionName, TenantId,
};
use crosspilot_core::run::RunId;
use crosspilot_core::settings::{FeatureType, Mode};
use serde::de::DeserializeOwned;

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
    /// Judge files on this machine before they are uploaded: what stops a run, and what is strange
    Preflight(Box<PreflightOptions>),
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
    /// Check, before the vendor's stack is made, that API Gateway can take an issuer's tokens
    CheckIssuer {
        /// The issuer, exactly as tokens name it
        #[arg(value_name = "URL")]
        issuer: String,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Settle on real accounts what no document says about AWS, and leave nothing
    #[command(
        long_about = "Settle on real accounts what no document says about AWS: deploy both stacks, run the smallest AutoML job, deploy, predict, scale, roll back and remove, and print what was found by name (docs/aws-proving.md). Says beforehand what it costs. Without --profile it runs on a local cloud of its own"
    )]
    Prove(ProveOptions),
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
        /// Go on with a run although a person stopped it
        #[arg(long)]
        force: bool,
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
    /// A tenant with all its models; its id, role and bucket are never another's
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
pub(crate) struct ProveOptions {
    /// Profile of the customer's account; the vendor's account is both if left out
    #[arg(long, value_name = "PROFILE")]
    pub(crate) customer_profile: Option<String>,
    /// Issuer of the API's tokens, which API Gateway must reach (on AWS)
    #[arg(long, value_name = "URL", requires = "audience")]
    pub(crate) issuer: Option<String>,
    /// Audience of the API's tokens (on AWS)
    #[arg(long, value_name = "TEXT", requires = "issuer")]
    pub(crate) audience: Option<String>,
    /// The tenant's id; a new one if left out. With it, CROSSPILOT_TOKEN may hold a token
    /// of the issuer that names it, and the API is asked with that, too
    #[arg(long, value_name = "ID")]
    pub(crate) tenant: Option<TenantId>,
    /// Where `cargo lambda build --release --arm64` left the functions (on AWS)
    #[arg(long, value_name = "DIR", default_value = "target/lambda")]
    pub(crate) functions: PathBuf,
    /// List the doubts and what settles each, and do nothing
    #[arg(long)]
    pub(crate) list: bool,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
    /// Print one JSON value
    #[arg(long)]
    pub(crate) json: bool,
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
    /// Register a tenant as pending, make its external ID, print what the customer deploys with; given again, it goes on where it was interrupted
    Add(NewTenant),
    /// Prove a tenant's trust now, and make a pending tenant active
    Verify(TenantAndForm),
    /// List all tenants
    List {
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Show a tenant, or what its administrator deploys with
    Show(ShowTenant),
    /// Show who changed a tenant, and how
    History(TenantAndForm),
    /// Stop a tenant's runs and predictions for now
    Suspend(TenantAndForm),
    /// Prove a suspended tenant's trust and let it run and predict again
    Resume(TenantAndForm),
    /// Remove a tenant: the same as `remove tenant`
    Remove(RemoveTenant),
    /// Take up a tenant that was removed again as pending, with another external ID and no models; print what the customer deploys with
    Readmit(ReadmitTenant),
    /// Change a tenant's limits, tags, keys and network
    Set(Box<TenantChanges>),
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
pub(crate) struct ShowTenant {
    #[command(flatten)]
    pub(crate) of: TenantAndForm,
    /// Print what the customer deploys with, as `tenant add` did, with what was set since
    #[arg(long)]
    pub(crate) invitation: bool,
    /// Where S3 serves infra/customer.yaml to the customer, for the quick-create link
    #[arg(long, value_name = "URL", env = "CROSSPILOT_TEMPLATE_URL")]
    pub(crate) template_url: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ReadmitTenant {
    #[command(flatten)]
    pub(crate) of: TenantAndForm,
    /// Where S3 serves infra/customer.yaml to the customer, for the quick-create link
    #[arg(long, value_name = "URL", env = "CROSSPILOT_TEMPLATE_URL")]
    pub(crate) template_url: Option<String>,
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

#[derive(Debug, Args)]
pub(crate) struct TenantChanges {
    /// Its id
    pub(crate) tenant: TenantId,
    /// Candidates that a job may train, 1 to 750
    #[arg(long, value_name = "NUMBER")]
    pub(crate) max_candidates: Option<u16>,
    /// Seconds that a run may take, 300 to 2592000
    #[arg(long, value_name = "SECONDS")]
    pub(crate) max_runtime: Option<u32>,
    /// Calls of the prediction API that its users may make in a minute
    #[arg(long, value_name = "NUMBER")]
    pub(crate) calls_per_minute: Option<u32>,
    /// Records that its users may have predicted in a minute
    #[arg(long, value_name = "NUMBER")]
    pub(crate) records_per_minute: Option<u32>,
    /// Tag of everything that its runs create; may be repeated, an empty value removes it
    #[arg(long = "tag", value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) tags: Vec<(String, String)>,
    /// What `aws cloudformation describe-stacks` prints of the customer's stack, or - for standard
    /// input: its keys, subnets and security groups are taken, once it is seen to be the tenant's
    #[arg(long, value_name = "FILE")]
    pub(crate) stack: Option<PathBuf>,
    /// KMS key of the disks that train and serve; empty for none
    #[arg(long, value_name = "KEY")]
    pub(crate) volume_key: Option<String>,
    /// KMS key of what training writes to the bucket; empty for none
    #[arg(long, value_name = "KEY")]
    pub(crate) output_key: Option<String>,
    /// Whether containers that train together encrypt what they tell each other
    #[arg(long, value_name = "true|false")]
    pub(crate) encrypt_between_containers: Option<bool>,
    /// Subnet that jobs and endpoints run in; may be repeated
    #[arg(long = "subnet", value_name = "ID", requires = "security_groups")]
    pub(crate) subnets: Vec<String>,
    /// Security group of jobs and endpoints; may be repeated
    #[arg(long = "security-group", value_name = "ID", requires = "subnets")]
    pub(crate) security_groups: Vec<String>,
    /// Run in no subnets of the customer any more
    #[arg(long, conflicts_with = "subnets")]
    pub(crate) no_network: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

impl TenantChanges {
    /// Whether the customer's stack grants what these are about.
    pub(crate) fn concern_the_stack(&self) -> bool {
        self.volume_key.is_some()
            || self.output_key.is_some()
            || self.no_network
            || !self.subnets.is_empty()
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum ModelCommand {
    /// Set up a model, and its schedule if it has one; what is not given is as by default
    Set(Box<ModelOptions>),
    /// Show a model's settings in full
    Show {
        /// The tenant's id
        tenant: TenantId,
        /// The model's name
        model: ModelName,
        /// Print the settings document, which `model set --settings` takes
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ModelOptions {
    /// The tenant's id
    pub(crate) tenant: TenantId,
    /// The model's name
    pub(crate) model: ModelName,
    #[command(flatten)]
    pub(crate) settings: SettingsOptions,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// A model's settings: a document, or options, or options that go before the document's.
#[derive(Debug, Default, Args)]
pub(crate) struct SettingsOptions {
    /// Document with all settings, as `model show --json` prints it
    #[arg(long, value_name = "FILE")]
    pub(crate) settings: Option<PathBuf>,
    /// The column to predict
    #[arg(long, value_name = "COLUMN", required_unless_present = "settings")]
    pub(crate) target: Option<String>,
    /// BinaryClassification, MulticlassClassification or Regression; inferred if left out
    #[arg(long, value_name = "TYPE", requires = "metric")]
    pub(crate) problem_type: Option<String>,
    /// Objective metric of the problem type, such as F1, AUC, Accuracy or MSE
    #[arg(long, value_name = "NAME", requires = "problem_type")]
    pub(crate) metric: Option<String>,
    /// How Autopilot searches: auto (the default: ensembling below 100 MB, tuning from there on), ensembling
    /// (the default for serverless endpoints, and all that they can serve) or hyperparameter_tuning
    #[arg(long, value_name = "MODE", value_parser = word::<Mode>)]
    pub(crate) mode: Option<Mode>,
    /// Candidates at most, never above the tenant's limit
    #[arg(long, value_name = "NUMBER")]
    pub(crate) max_candidates: Option<u16>,
    /// Seconds that the job may take, never above the tenant's limit
    #[arg(long, value_name = "SECONDS")]
    pub(crate) max_runtime: Option<u32>,
    /// Seconds that one candidate may take
    #[arg(long, value_name = "SECONDS")]
    pub(crate) max_trial: Option<u32>,
    /// Share of the training rows that candidates are validated on
    #[arg(long, value_name = "SHARE", conflicts_with = "validation_channel")]
    pub(crate) validation_fraction: Option<f64>,
    /// Validate candidates on the files under validation/
    #[arg(long)]
    pub(crate) validation_channel: bool,
    /// Share of the rows that are set aside to evaluate the model on where no held-out file
    /// is given; 0 sets none aside [default: 0.2, at most 10,000 rows]
    #[arg(long, value_name = "SHARE")]
    pub(crate) hold_out: Option<f64>,
    /// Column to learn from with its type: numeric, categorical, text or datetime; may be repeated.
    /// Only the columns named so are learned from
    #[arg(long = "feature", value_name = "COLUMN=TYPE", value_parser = feature)]
    pub(crate) features: Vec<(String, FeatureType)>,
    /// Type of a column while all columns are learned from; may be repeated
    #[arg(long = "feature-type", value_name = "COLUMN=TYPE", value_parser = feature, conflicts_with = "features")]
    pub(crate) feature_types: Vec<(String, FeatureType)>,
    /// Column that says how much a row counts; ensembling only
    #[arg(long, value_name = "COLUMN")]
    pub(crate) sample_weight: Option<String>,
    /// How much better a challenger must be, in the metric's own unit; below zero, how much worse it may be
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub(crate) margin: Option<f64>,
    /// How good any model must be to serve, in the metric's own unit
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub(crate) minimum: Option<f64>,
    /// Let a model serve although it is no better than always giving the same answer
    #[arg(long)]
    pub(crate) allow_baseline: bool,
    /// What serves it, such as ml.m5.large
    #[arg(long, value_name = "TYPE", conflicts_with = "serverless_memory")]
    pub(crate) instance_type: Option<String>,
    /// How many of these
    #[arg(long, value_name = "NUMBER", requires = "instance_type")]
    pub(crate) instances: Option<u16>,
    /// Serve it without instances of its own, with so much memory: 1024 to 6144 in steps of 1024
    #[arg(long, value_name = "MB")]
    pub(crate) serverless_memory: Option<u16>,
    /// Requests that a serverless endpoint answers at a time
    #[arg(long, value_name = "NUMBER", default_value_t = 5, requires = "serverless_memory")]
    pub(crate) serverless_concurrency: u16,
    /// When to retrain, such as 'rate(7 days)' or 'cron(0 3 ? * MON *)'
    #[arg(long, value_name = "EXPRESSION")]
    pub(crate) schedule: Option<String>,
    /// Seconds without an upload after which those that came are trained on, all in one run
    #[arg(long, value_name = "SECONDS")]
    pub(crate) quiet_seconds: Option<u32>,
    /// Let uploads start no run: only the schedule and people do
    #[arg(long, conflicts_with = "quiet_seconds")]
    pub(crate) no_train_on_upload: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PreflightOptions {
    /// Files of training data
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// File with held-out rows, which the run would predict in the end
    #[arg(long, value_name = "FILE")]
    pub(crate) held_out: Option<PathBuf>,
    /// File to validate candidates on; may be repeated
    #[arg(long, value_name = "FILE")]
    pub(crate) validation: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) settings: SettingsOptions,
    /// Print the verdict as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// `NAME=VALUE`; the name goes to the last equals sign, since columns may hold
/// some.
fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.rsplit_once('=').ok_or("give NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// A value by the word that stands for it in documents.
fn word<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(text.into()).map_err(|error| error.to_string())
}

fn feature(text: &str) -> Result<(String, FeatureType), String> {
    let (column, kind) = pair(text)?;
    Ok((column, word(&kind)?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_gates_numbers_may_be_below_zero() {
        let line = "crosspilot tenant model set acme churn --target y --margin -0.01 --minimum -2";
        let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
        let Command::Tenant(TenantCommand::Model(ModelCommand::Set(options))) = arguments.command
        else {
            panic!("{arguments:?}")
        };
        let SettingsOptions { margin, minimum, .. } = options.settings;
        assert_eq!((margin, minimum), (Some(-0.01), Some(-2.0)));
    }
}
