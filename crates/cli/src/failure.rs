//! The reason why a command did not succeed, in one sentence a person can act on.

use std::path::PathBuf;
use std::process::ExitCode;

use crosspilot_core::error::CallError;
use crosspilot_core::ids::{ModelName, TenantId};
use crosspilot_core::registry::RegistryError;
use crosspilot_core::run::RunId;
use crosspilot_core::settings::SettingsInvalid;
use crosspilot_core::stage::Stage;
use crosspilot_local::CloudError;
use crosspilot_local::identity::IdentityError;
use crosspilot_local::state::StateError;
use crosspilot_operator::OperatorError;
use crosspilot_training::JobError;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("cannot read {0}: {1}")]
    Unreadable(PathBuf, std::io::Error),
    #[error("cannot write {0}: {1}")]
    Unwritable(PathBuf, std::io::Error),
    #[error("{0}")]
    Unfit(String),
    #[error("{0} holds no settings of a model: {1}")]
    NoSettings(PathBuf, serde_json::Error),
    #[error("the settings are not taken: {0}")]
    Settings(#[from] SettingsInvalid),
    #[error(transparent)]
    Cloud(#[from] CloudError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Vendor(#[from] OperatorError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Job(#[from] JobError),
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(
        "no local cloud is up under {0}: bring it up with `crosspilot local up`, or name an AWS profile with --profile"
    )]
    NotUp(PathBuf),
    #[error(
        "a local cloud is up already at {0}: use it, or take it down with `crosspilot local down`"
    )]
    AlreadyUp(String),
    #[error("the local cloud did not come up; the end of {0}:\n{1}")]
    Detached(PathBuf, String),
    #[error("process {0} cannot be ended: {1}")]
    Unstoppable(u32, String),
    #[error("the upload started no run within {0} s: the event did not arrive")]
    NoRun(u64),
    #[error("the run {status} at {stage}: {code}: {cause}\n       execution {arn}")]
    RunFailed { status: String, stage: String, code: String, cause: String, arn: String },
    #[error("the prediction API answered {status}: {body}")]
    Api { status: u16, body: String },
    #[error("the prediction API cannot be reached: {0}")]
    Unreachable(#[from] reqwest::Error),
    #[error("the run's output is not what the state machine promises: {0}")]
    Output(#[from] serde_json::Error),
    #[error("tenant {tenant} is {status}: {code}: {cause}")]
    Trust { tenant: TenantId, status: &'static str, code: String, cause: String },
    #[error(transparent)]
    Stage(#[from] StageFailure),
    #[error(
        "tenant {0} does not let operators in: its stack is deployed with AllowVendorOperators=true, or the functions do it: `crosspilot run start {0}`. Nothing was changed; see with `crosspilot tenant verify {0}` whether it lets the functions in"
    )]
    NoOperators(TenantId),
    #[error("{0} has not begun a run: watch it with `crosspilot run watch`")]
    NotBegun(String),
    #[error(
        "Step Functions does not know execution {0}: it is older than 90 days, or was never started"
    )]
    UnknownExecution(String),
    #[error("name the model, too: `crosspilot tenant show {0}` lists the tenant's models")]
    NoModel(TenantId),
    #[error("tenant {tenant} has no run {} of model {model}: see `crosspilot run list {tenant} {model}`", run.as_ref().map_or("yet", RunId::as_str))]
    UnknownRun { tenant: TenantId, model: ModelName, run: Option<RunId> },
    #[error("tenant {0} has no model {1} and no endpoint of one: see `crosspilot tenant show {0}`")]
    NothingOfModel(TenantId, ModelName),
    #[error("{0}: {1}; the form is that of crates/cli/prices.json")]
    Prices(PathBuf, serde_json::Error),
    #[error("nothing was removed or begun: say yes, or give --yes where nobody can be asked")]
    NotConfirmed,
    #[error(
        "stack {0} is deployed there already: prove in an account that nobody uses, since the proof removes what it deploys"
    )]
    Occupied(&'static str),
    #[error(
        "name an issuer that API Gateway can reach: --issuer URL --audience TEXT; `crosspilot check-issuer URL` tells whether it can"
    )]
    NoIssuer,
    #[error(
        "cannot read function {0}: {1}; build it with `cargo lambda build --release --arm64`, or name its place with --functions"
    )]
    NoFunctions(PathBuf, std::io::Error),
    #[error(transparent)]
    Stack(#[from] crate::stack::StackFlaw),
    #[error(transparent)]
    Issuer(#[from] crate::issuer::IssuerFlaw),
    #[error("{0} of the doubts turned out as feared: see the table, and docs/aws-proving.md")]
    Disproven(usize),
    #[error("all was asked, but something is left that may bill: {}", .0.join("; "))]
    Left(Vec<String>),
    #[error("{failure}{}", left_behind(.left))]
    NotCleared { failure: Box<Failure>, left: Vec<String> },
    #[error("the system clock shows a time that RFC 3339 cannot hold")]
    Clock,
    #[error("interrupted")]
    Interrupted,
}

/// The failure of a stage of a run that is done by hand.
#[derive(Debug, thiserror::Error)]
#[error("{stage}: {code}: {message}")]
pub(crate) struct StageFailure {
    pub(crate) stage: Stage,
    pub(crate) code: String,
    pub(crate) message: String,
}

fn left_behind(left: &[String]) -> String {
    match left {
        [] => String::new(),
        some => format!("\n       left behind, remove it by hand: {}", some.join("; ")),
    }
}

impl Failure {
    /// As `crosspilot --help` lists them; 130 for Ctrl-C as shells have it.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Failure::NoModel(_) => ExitCode::from(2),
            Failure::RunFailed { .. } => ExitCode::from(3),
            Failure::Interrupted => ExitCode::from(130),
            Failure::NotCleared { failure, .. } => failure.exit_code(),
            _ => ExitCode::FAILURE,
        }
    }
}
