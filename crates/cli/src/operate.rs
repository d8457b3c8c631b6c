//! `crosspilot operate`: the path of the original system. An operator's own
//! identity, such as the profile `saas_user`, assumes the customer's role,
//! trains, deploys and predicts. It is the functions' code, run by hand: the
//! same proofs, the same session policies, the same names and the same registry.

use std::path::Path;
use std::time::{Duration, Instant};

use assume::{Input, Request, Response, Start, Started};
use check_status::{Phase, Watched};
use crosspilot_core::error::Coded;
use crosspilot_core::ids::{ModelName, TenantId};
use crosspilot_core::lambda::App;
use crosspilot_core::run::{RunRef, Trigger};
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::args::OperateOptions;
use crate::failure::Failure;
use crate::{place, show};

pub(crate) async fn run(
    home: &Path,
    aws: Option<String>,
    options: OperateOptions,
) -> Result<(), Failure> {
    let app = place::vendor(home, aws).await?.app();
    let steps = show::Steps::new();
    steps.step("proving the trust");
    let run = begin(&app, options.tenant, options.model).await?;
    steps.step("starting the AutoML job");
    let job = start(&app, &run, |reason| steps.step(&format!("waiting: {reason}"))).await?;
    let watched = || Watched::Job { name: job.clone() };
    until_ready(&app, &run, watched, |status| steps.step(&format!("training: {status}"))).await?;

    steps.step("deploying the best candidate");
    let request = deploy_best::Request { run: run.clone(), job: job.clone() };
    let deployment = deploy_best::handle(app.clone(), request).await.map_err(at("deploy-best"))?;
    let Some(config) = &deployment.config else {
        // The endpoint still serves the champion: its answers would be taken for
        // the challenger's.
        steps.done();
        show::json(&json!({"run": run, "job": job, "deployment": deployment, "prediction": null}));
        return Ok(());
    };
    let watched =
        || Watched::Endpoint { name: deployment.endpoint.clone(), config: config.clone() };
    until_ready(&app, &run, watched, |status| steps.step(&format!("endpoint: {status}"))).await?;

    steps.step("predicting the held-out rows");
    let request = json!({
        "run": run, "job": job, "candidate": deployment.candidate,
        "endpoint": deployment.endpoint, "score": deployment.score,
        "decision": deployment.decision,
    });
    let request = serde_json::from_value(request)?;
    let prediction = predict::handle(app, request).await.map_err(at("predict"))?;
    steps.done();
    let outcome = json!({
        "run": run, "job": job, "deployment": deployment, "prediction": prediction,
    });
    show::json(&outcome);
    Ok(())
}

/// Starts the run's job, once it is its turn.
async fn start(app: &App, run: &RunRef, on_wait: impl Fn(&str)) -> Result<String, Failure> {
    let begun = Instant::now();
    loop {
        let elapsed_seconds = begun.elapsed().as_secs_f64();
        let request = start_job::Request { run: run.clone(), elapsed_seconds };
        match start_job::handle(app.clone(), request).await.map_err(at("start-job"))? {
            start_job::Response::Started(started) => return Ok(started.job),
            start_job::Response::Waiting { reason, wait_seconds } => {
                on_wait(&reason);
                tokio::time::sleep(Duration::from_secs(wait_seconds.into())).await;
            }
        }
    }
}

async fn begin(app: &App, tenant: TenantId, model: ModelName) -> Result<RunRef, Failure> {
    let time = OffsetDateTime::now_utc().format(&Rfc3339).map_err(|_| Failure::Clock)?;
    let trigger = Trigger::Manual { request_id: format!("operator at {time}"), time };
    let start = Start {
        execution: "crosspilot operate".to_owned(),
        input: Input::Named { tenant, model, trigger },
    };
    let begun = assume::handle(app.clone(), Request::Start(Box::new(start))).await;
    match begun.map_err(at("assume"))? {
        Response::Started(Started::Run { run, .. }) => Ok(run),
        other => Err(Failure::Handler {
            stage: "assume",
            code: "Conflict".to_owned(),
            message: format!("the run was not begun: {other:?}"),
        }),
    }
}

/// Looks until there is something to go on with. What SageMaker never ends, the
/// job's own time limit does.
async fn until_ready(
    app: &App,
    run: &RunRef,
    watched: impl Fn() -> Watched,
    report: impl Fn(&str),
) -> Result<(), Failure> {
    let started = Instant::now();
    loop {
        let request = check_status::Request {
            run: run.clone(),
            watch: watched(),
            elapsed_seconds: started.elapsed().as_secs_f64(),
        };
        let found = check_status::handle(app.clone(), request).await.map_err(at("check-status"))?;
        report(&found.status);
        match found.phase {
            Phase::Succeeded => return Ok(()),
            Phase::InProgress => {
                tokio::time::sleep(Duration::from_secs(found.wait_seconds.into())).await;
            }
            Phase::Failed => {
                let reason = found.failure_reason.unwrap_or_default();
                return Err(Failure::Handler {
                    stage: "check-status",
                    code: "ResourceFailed".to_owned(),
                    message: format!("it ended as {}: {reason}", found.status),
                });
            }
        }
    }
}

fn at<E: Coded>(stage: &'static str) -> impl Fn(E) -> Failure {
    move |error| Failure::Handler {
        stage,
        code: error.code().to_string(),
        message: error.to_string(),
    }
}
