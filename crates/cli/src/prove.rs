//! `crosspilot prove`: the smallest real run on real accounts, which settles by
//! name what no document says about AWS.

mod disproof;
mod doubts;
mod machines;
mod site;
mod stages;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use crosspilot_core::ids::{ExternalId, TenantId};
use serde_json::json;

use crate::args::ProveOptions;
use crate::failure::Failure;
use crate::output::Steps;
use crate::{cost, local, output};
use doubts::{DOUBTS, Doubt, DoubtVerdict, Findings};
use site::Ground;

/// Environment variable with a token for the prediction API: an argument would show
/// in the list of processes.
const TOKEN_VARIABLE: &str = "CROSSPILOT_TOKEN";

/// The accounts, tokens and functions that a proof is asked for with.
struct Ask {
    tenant: TenantId,
    customer_profile: Option<String>,
    issuer: Option<String>,
    audience: Option<String>,
    token: Option<String>,
    functions: PathBuf,
}

/// Proves on AWS with a profile, on a local cloud of its own without one.
pub(crate) async fn run(
    home: &Path,
    profile: Option<String>,
    options: ProveOptions,
) -> Result<(), Failure> {
    if options.list {
        list(options.json);
        return Ok(());
    }
    if profile.is_some() {
        confirm(options.yes)?;
    }
    // A token names a tenant: it says nothing of a new one.
    let token = options.tenant.as_ref().and_then(|_| std::env::var(TOKEN_VARIABLE).ok());
    let ask = Ask {
        tenant: match options.tenant {
            Some(tenant) => tenant,
            None => new_tenant()?,
        },
        customer_profile: options.customer_profile,
        issuer: options.issuer,
        audience: options.audience,
        token,
        functions: options.functions,
    };
    let steps = Steps::new();
    let ground = Ground::find(home, profile.as_deref(), ask, &steps).await?;
    let mut findings = Findings::default();
    // Whatever ends it, what it made is cleared away.
    let ended = tokio::select! {
        ended = prove(&ground, &mut findings, &steps) => ended,
        () = local::interrupted() => Err(Failure::Interrupted),
    };
    let left = ground.clear_away(&steps).await;
    steps.done();
    let table = findings.table("not reached");
    print(&table, &left, options.json);
    match ended {
        Err(failure) if left.is_empty() => Err(failure),
        Err(failure) => Err(Failure::NotCleared { failure: Box::new(failure), left }),
        Ok(()) if !left.is_empty() => Err(Failure::Left(left)),
        Ok(()) => {
            match table
                .iter()
                .filter(|(_, verdict)| matches!(verdict, DoubtVerdict::Fails(_)))
                .count()
            {
                0 => Ok(()),
                failed => Err(Failure::Disproven(failed)),
            }
        }
    }
}

async fn prove(ground: &Ground, findings: &mut Findings, steps: &Steps) -> Result<(), Failure> {
    let site = ground.deploy(steps).await?;
    stages::run(&site, findings, steps).await
}

/// Says what it may cost, and asks on a terminal.
fn confirm(yes: bool) -> Result<(), Failure> {
    eprintln!("{}", cost::of_a_proof()?);
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::NotConfirmed);
    }
    eprint!("Deploy, run and remove all of it? Type yes: ");
    let mut answer = String::new();
    match std::io::stdin().read_line(&mut answer) {
        Ok(_) if answer.trim() == "yes" => Ok(()),
        _ => Err(Failure::NotConfirmed),
    }
}

/// A tenant that was never there: ids are used once.
fn new_tenant() -> Result<TenantId, Failure> {
    let random = ExternalId::generate().map_err(|_| crosspilot_local::CloudError::Random)?;
    let digits: String =
        random.as_str().chars().filter(char::is_ascii_hexdigit).rev().take(6).collect();
    Ok(format!("prove-{}", digits.to_lowercase())
        .parse()
        .map_err(crosspilot_local::CloudError::from)?)
}

fn list(json: bool) {
    if json {
        return output::json(&json!(DOUBTS));
    }
    let rows: Vec<Vec<String>> = DOUBTS
        .iter()
        .map(|doubt| {
            vec![
                doubt.name.to_owned(),
                doubt.claim.to_owned(),
                doubt.by_hand.unwrap_or("").to_owned(),
            ]
        })
        .collect();
    output::table(&["doubt", "what has to hold", "settled by hand"], &rows);
}

fn print(table: &[(Doubt, DoubtVerdict)], left: &[String], json: bool) {
    if json {
        let doubts: Vec<_> = table
            .iter()
            .map(|(doubt, verdict)| {
                let mut row = json!(verdict);
                row["doubt"] = doubt.name.into();
                row["claim"] = doubt.claim.into();
                row
            })
            .collect();
        return output::json(&json!({"doubts": doubts, "left": left}));
    }
    let rows: Vec<Vec<String>> = table
        .iter()
        .map(|(doubt, verdict)| {
            let (word, evidence) = match verdict {
                DoubtVerdict::Holds(evidence) => ("holds", evidence),
                DoubtVerdict::Fails(evidence) => ("FAILS", evidence),
                DoubtVerdict::Open(evidence) => ("open", evidence),
            };
            vec![doubt.name.to_owned(), word.to_owned(), evidence.clone()]
        })
        .collect();
    output::table(&["doubt", "verdict", "evidence"], &rows);
    output::line(&match left {
        [] => "\nNothing is left but ended jobs in SageMaker's list and log groups: AWS keeps both, and ended jobs cost nothing".to_owned(),
        some => format!("\nLeft behind, remove it by hand:\n  {}", some.join("\n  ")),
    });
}
