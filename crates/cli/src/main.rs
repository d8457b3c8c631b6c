//! `crosspilot`: the command line of operators, and of everybody who wants to
//! see the whole thing run on their own machine.

mod args;
mod connect;
mod cost;
mod data;
mod demo;
mod failure;
mod issuer;
mod local;
mod manage;
mod models;
mod operate;
mod output;
mod preflight;
mod prove;
mod runs;
mod stack;
mod tenants;
mod watch;

use std::process::ExitCode;

use clap::Parser;

use args::{Arguments, Command};

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let home = arguments.home.clone();
    let done = match arguments.command {
        Command::Demo(options) => demo::run(&home, options).await,
        Command::Local(command) => local::run(&home, command).await,
        Command::Cost(options) => cost::run(&home, arguments.aws, options).await,
        Command::Idle(options) => manage::idle(&home, arguments.aws, options).await,
        Command::Remove(command) => manage::remove(&home, arguments.aws, command).await,
        Command::Rollback(asked) => manage::roll_back(&home, arguments.aws, asked).await,
        Command::Run(command) => runs::run(&home, arguments.aws, command).await,
        Command::Operate(options) => operate::run(&home, arguments.aws, options).await,
        Command::Preflight(options) => preflight::run(*options).await,
        Command::CheckIssuer { issuer, json } => {
            issuer::run(&issuer, json).await.map_err(failure::Failure::from)
        }
        Command::Prove(options) => prove::run(&home, arguments.aws, options).await,
        Command::Tenant(command) => tenants::run(&home, arguments.aws, command).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{} {failure}", console::style("error:").for_stderr().red().bold());
            failure.exit_code()
        }
    }
}
