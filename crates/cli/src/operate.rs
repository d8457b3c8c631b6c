//! `crosspilot operate`: the path of the original system. An operator's own
//! identity, such as the profile `saas_user`, assumes the customer's role,
//! trains, deploys and predicts. It is the functions' code, run by hand in the
//! order of the state machine: the same proofs, the same session policies, the
//! same names and the same registry.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use assume::{Asking, Request, Response, Start, Started};
use check_status::Watched;
use crosspilot_core::error::{Code, Coded};
use crosspilot_core::ids::{ModelName, TenantId};
use crosspilot_core::lambda::App;
use crosspilot_core::registry::{Lineup, Outcome};
use crosspilot_core::run::{RunRef, Trigger};
use crosspilot_core::stage::Stage;
use crosspilot_intake::Input;
use crosspilot_training::Phase;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::args::OperateOptions;
use crate::failure::{Failure, StageFailure};
use crate::{connect, output};

pub(crate) async fn run(
    home: &Path,
    aws: Option<String>,
    options: OperateOptions,
) -> Result<(), Failure> {
    let app = connect::vendor(home, aws).await?.app();
    let steps = output::Steps::new();
    steps.step("proving the trust");
    let (run, limit) = begin(&app, options.tenant, options.model).await?;
    let hand = Hand { app, run, limit, steps };
    let outcome = hand.train_and_settle().await?;
    hand.steps.done();
    output::json(&outcome);
    Ok(())
}

/// The name that the run's record has in place of an execution.
const EXECUTION: &str = "crosspilot operate";

async fn begin(app: &App, tenant: TenantId, model: ModelName) -> Result<(RunRef, f64), Failure> {
    let time = OffsetDateTime::now_utc().format(&Rfc3339).map_err(|_| Failure::Clock)?;
    let trigger = Trigger::Manual { request_id: format!("operator at {time}"), time };
    let id = tenant.clone();
    let start =
        Start { execution: EXECUTION.to_owned(), input: Input::Named { tenant, model, trigger } };
    let begun = assume::handle(app.clone(), Request::Start(Box::new(start))).await;
    let begun = begun.map_err(|error| match error.code() {
        Code::TrustRefused => Failure::NoOperators(id),
        _ => at(Stage::Assume)(error).into(),
    });
    match begun? {
        Response::Started(Started::Run { run, max_runtime_seconds, .. }) => {
            Ok((run, f64::from(max_runtime_seconds) + 1800.0))
        }
        other => {
            let message = format!("the run was not begun: {other:?}");
            Err(StageFailure { stage: Stage::Assume, code: "Conflict".to_owned(), message }.into())
        }
    }
}

/// The work of the state machine, with an operator's hands.
struct Hand {
    app: App,
    run: RunRef,
    /// Seconds that a job may take.
    limit: f64,
    steps: output::Steps,
}

impl Hand {
    /// Whatever becomes of the run, it is settled and its outcome is noted, as the
    /// state machine does.
    async fn train_and_settle(&self) -> Result<Value, StageFailure> {
        let trained = self.train().await;
        self.steps.step("settling");
        let failed = trained.is_err();
        let settled = self
            .repeat(Stage::Settle, async |elapsed| {
                let settle = json!({"do": "settle", "elapsed_seconds": elapsed, "failed": failed});
                self.deploy_best(Stage::Settle, settle).await
            })
            .await;
        let outcome = match (trained, settled) {
            (Ok(mut outcome), Ok(settled)) => {
                outcome["remarks"] = settled.get("warnings").cloned().unwrap_or(json!([]));
                Ok(outcome)
            }
            (Err(failure), _) | (Ok(_), Err(failure)) => Err(failure),
        };
        // A run without its note is settled all the same.
        if let Err(failure) = self.note(&outcome).await {
            self.steps.step(&format!("the run's outcome was not noted: {failure}"));
        }
        outcome
    }

    /// Into the run's record.
    async fn note(&self, outcome: &Result<Value, StageFailure>) -> Result<(), Failure> {
        let time = OffsetDateTime::now_utc().format(&Rfc3339).map_err(|_| Failure::Clock)?;
        let outcome = match outcome {
            Ok(outcome) => Outcome::Completed {
                time,
                reason: text(&outcome["deployment"]["decision"], "reason"),
                candidate: outcome["deployment"]["candidate"].as_str().map(str::to_owned),
                report: outcome["prediction"]["report_uri"].as_str().map(str::to_owned),
                warnings: strings(&outcome["remarks"]),
            },
            Err(StageFailure { stage, code, message }) => Outcome::Failed {
                time,
                stage: stage.to_string(),
                code: code.clone(),
                cause: message.clone(),
            },
        };
        let (run, execution) = (Some(self.run.clone()), EXECUTION.to_owned());
        let note = assume::Note { run, input: Value::Null, execution, outcome };
        let noted = assume::handle(self.app.clone(), Request::Note(Box::new(note))).await;
        Ok(noted.map(drop).map_err(at(Stage::Report))?)
    }

    async fn train(&self) -> Result<Value, StageFailure> {
        self.steps.step("waiting for its turn");
        self.repeat(Stage::Gather, async |_| self.gather().await).await?;
        self.steps.step("starting the AutoML job");
        let started =
            self.repeat(Stage::StartJob, async |elapsed| self.start_job(elapsed).await).await?;
        let job = text(&started, "job");
        self.watch(Stage::Train, "training", || Watched::Job { name: job.clone() }).await?;
        let registered =
            self.deploy_best(Stage::Register, json!({"do": "register", "job": job})).await?;
        self.deploy(&started, &registered).await
    }

    async fn deploy(&self, started: &Value, registered: &Value) -> Result<Value, StageFailure> {
        self.steps.step("scoring the held-out rows");
        let (job, model, score) = (&started["job"], &registered["model"], &registered["score"]);
        let mut comparison = self.score(model, score).await?;
        self.steps.step("deploying the best candidate");
        let deployment = loop {
            let deployed = self
                .repeat(Stage::Deploy, async |elapsed| {
                    let deploy = json!({
                        "do": "deploy", "job": job, "candidate": registered["candidate"],
                        "score": score, "comparison": comparison, "elapsed_seconds": elapsed,
                    });
                    self.deploy_best(Stage::Deploy, deploy).await
                })
                .await?;
            if deployed["state"] != "outdated" {
                break deployed;
            }
            comparison =
                self.predict(Stage::Compare, json!({"do": "compare", "score": score})).await?;
        };
        if deployment["state"] == "deploying" {
            let (name, config) = (text(&deployment, "endpoint"), text(&deployment, "config"));
            let watched = || Watched::Endpoint { name: name.clone(), config: config.clone() };
            self.watch(Stage::Deploy, "endpoint", watched).await?;
        }
        self.steps.step("predicting the held-out rows");
        let conclude = conclude(started, registered, &comparison, &deployment);
        let prediction = self.predict(Stage::Predict, conclude).await?;
        Ok(json!({
            "run": self.run, "job": job, "warnings": started["warnings"],
            "comparison": comparison, "deployment": deployment, "prediction": prediction,
        }))
    }

    /// Has the model scored, and compared with the champion.
    async fn score(&self, model: &Value, score: &Value) -> Result<Value, StageFailure> {
        let scored = self
            .repeat(Stage::Score, async |elapsed| {
                let request = json!({"do": "score", "model": model, "elapsed_seconds": elapsed});
                self.predict(Stage::Score, request).await
            })
            .await?;
        if scored["state"] == "unscored" {
            return Ok(scored["comparison"].clone());
        }
        let name = text(&scored, "transform");
        match self
            .watch(Stage::Score, "scoring", || Watched::Transform { name: name.clone() })
            .await
        {
            // The validation data decides then.
            Err(StageFailure { code, message, .. }) if code == "ResourceFailed" => {
                return Ok(json!({"reason": message}));
            }
            watched => watched?,
        }
        self.predict(Stage::Compare, json!({"do": "compare", "score": score})).await
    }

    async fn gather(&self) -> Result<Value, StageFailure> {
        let asking = Asking { run: self.run.clone(), execution: EXECUTION.to_owned() };
        let asked = assume::handle(self.app.clone(), Request::Gather(Box::new(asking))).await;
        answer(Stage::Gather, asked)
    }

    async fn start_job(&self, elapsed: f64) -> Result<Value, StageFailure> {
        let request = self.request(Stage::StartJob, json!({"elapsed_seconds": elapsed}))?;
        answer(Stage::StartJob, start_job::handle(self.app.clone(), request).await)
    }

    async fn deploy_best(&self, stage: Stage, request: Value) -> Result<Value, StageFailure> {
        let request = self.request(stage, request)?;
        answer(stage, deploy_best::handle(self.app.clone(), request).await)
    }

    async fn predict(&self, stage: Stage, request: Value) -> Result<Value, StageFailure> {
        let request = self.request(stage, request)?;
        answer(stage, predict::handle(self.app.clone(), request).await)
    }

    /// Makes a handler's own request, for this run.
    fn request<T: DeserializeOwned>(
        &self,
        stage: Stage,
        mut request: Value,
    ) -> Result<T, StageFailure> {
        request["run"] = json!(self.run);
        serde_json::from_value(request).map_err(|error| unreadable(stage, &error))
    }

    /// Asks a handler until it need not wait for anything any more.
    async fn repeat(
        &self,
        stage: Stage,
        ask: impl AsyncFn(f64) -> Result<Value, StageFailure>,
    ) -> Result<Value, StageFailure> {
        let started = Instant::now();
        loop {
            let elapsed = started.elapsed().as_secs_f64();
            let answer = ask(elapsed).await?;
            if answer["state"] != "waiting" {
                return Ok(answer);
            }
            let reason = text(&answer, "reason");
            if elapsed > self.limit {
                let message = format!("it waited for {elapsed:.0} s: {reason}");
                let code = "RunTimedOut".to_owned();
                return Err(StageFailure { stage, code, message });
            }
            self.steps.step(&format!("waiting: {reason}"));
            let seconds = answer["wait_seconds"].as_u64().unwrap_or(5);
            tokio::time::sleep(Duration::from_secs(seconds)).await;
        }
    }

    /// Looks until there is something to go on with.
    async fn watch(
        &self,
        stage: Stage,
        what: &str,
        watched: impl Fn() -> Watched,
    ) -> Result<(), StageFailure> {
        let started = Instant::now();
        loop {
            if stage == Stage::Deploy {
                // No execution vouches for its challenger: one that is not renewed is given up.
                let RunRef { tenant, model, .. } = &self.run;
                let renew = |lineup: &mut Lineup| lineup.renew(&self.run, SystemTime::now());
                let renewed = self.app.registry.change_lineup(tenant, model, renew).await;
                renewed.map_err(at(stage))?;
            }
            let request = check_status::Request {
                run: self.run.clone(),
                watch: watched(),
                elapsed_seconds: started.elapsed().as_secs_f64(),
                limit_seconds: Some(self.limit),
            };
            let found = check_status::handle(self.app.clone(), request).await;
            let found = found.map_err(at(stage))?;
            self.steps.step(&format!("{what}: {}", found.status));
            match (found.phase, found.failure) {
                (Phase::Succeeded, _) => return Ok(()),
                (_, Some(failure)) => {
                    let (code, message) = (failure.code, failure.cause);
                    return Err(StageFailure { stage, code, message });
                }
                _ => tokio::time::sleep(Duration::from_secs(found.wait_seconds.into())).await,
            }
        }
    }
}

/// The request to a run's last step, but for the run.
fn conclude(started: &Value, registered: &Value, comparison: &Value, deployment: &Value) -> Value {
    json!({
        "do": "conclude", "job": started["job"], "candidate": registered["candidate"],
        "endpoint": deployment["endpoint"], "score": registered["score"],
        "comparison": comparison, "decision": deployment["decision"],
        "warnings": started["warnings"],
    })
}

fn strings(value: &Value) -> Vec<String> {
    let texts = value.as_array().into_iter().flatten();
    texts.filter_map(|text| text.as_str().map(str::to_owned)).collect()
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_default().to_owned()
}

/// A handler's answer as the state machine sees it.
fn answer<T: Serialize, E: Coded>(
    stage: Stage,
    answered: Result<T, E>,
) -> Result<Value, StageFailure> {
    let answer = answered.map_err(at(stage))?;
    serde_json::to_value(answer).map_err(|error| unreadable(stage, &error))
}

fn at<E: Coded>(stage: Stage) -> impl Fn(E) -> StageFailure {
    move |error| StageFailure { stage, code: error.code().to_string(), message: error.to_string() }
}

/// A request or an answer that is not what the other side takes.
fn unreadable(stage: Stage, error: &serde_json::Error) -> StageFailure {
    StageFailure { stage, code: Code::Internal.to_string(), message: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_step_is_told_the_warnings_of_the_data() {
        let started = json!({"job": "j", "warnings": [{"code": "LongCells", "message": "so"}]});
        let asked = conclude(&started, &json!({"candidate": "c"}), &json!({}), &json!({}));
        assert_eq!((&asked["job"], &asked["candidate"]), (&json!("j"), &json!("c")));
        assert_eq!(asked["warnings"], started["warnings"]);
    }
}
