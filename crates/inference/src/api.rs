//! The prediction API, behind API Gateway: its routes are in `route.rs`.

mod answer;
mod content;
mod event;
mod invoke;
mod limits;
mod models;
mod problem;
mod records;
mod response;
mod route;
mod words;

use std::time::{Duration, Instant};

use crosspilot_core::failure::shown;
use crosspilot_core::ids::{ModelName, TenantId};
use crosspilot_core::lambda::App;
use crosspilot_core::policy::Purpose;
use crosspilot_core::registry::{Allowance, Standing, model_settings};

use crate::output::{self, kind};

use answer::{Form, Identified, Predictions};
pub use event::Event;
use problem::{Problem, Stage};
pub use response::HttpResponse;
use route::ApiRoute;

/// Names the token's claim that holds the tenant.
const CLAIM_VARIABLE: &str = "TENANT_CLAIM";
/// The gateway gives up after 30 s: our own answer says more than its 503.
const DEADLINE: Duration = Duration::from_secs(27);

/// A good answer, and of predictions their number and what the tenant may still ask for.
struct Reply {
    response: HttpResponse,
    predicted: Option<(usize, Allowance)>,
}

impl From<String> for Reply {
    fn from(body: String) -> Self {
        Self { response: HttpResponse::good("application/json", body), predicted: None }
    }
}

/// Answers an API call. Whatever goes wrong is a problem document.
pub async fn answer(app: &App, event: &Event) -> HttpResponse {
    let begun = Instant::now();
    let claim = std::env::var(CLAIM_VARIABLE).unwrap_or_else(|_| "tenant".to_owned());
    // On the heap: with the calls within it, it would take a large part of a thread's stack.
    let answered = Box::pin(route(app, event, &claim));
    let answered = match tokio::time::timeout(DEADLINE, answered).await {
        Ok(answered) => answered,
        Err(_) => Err(Problem::timeout()),
    };
    let request_id = event.request_id();
    // Who asks for how much is told by these lines: docs/operating.md has the question.
    let (tenant, model) = (event.tenant(&claim).ok(), event.model().ok());
    let (of, model) =
        (tenant.as_ref().map(TenantId::as_str), model.as_ref().map(ModelName::as_str));
    let milliseconds = begun.elapsed().as_millis() as u64;
    let response = match answered {
        Ok(Reply { mut response, predicted }) => {
            let records = predicted.as_ref().map(|(records, _)| *records);
            tracing::info!(
                tenant = of,
                model,
                request_id,
                status = 200,
                records,
                milliseconds,
                "answered {}",
                event.route_key()
            );
            let left = predicted.iter().flat_map(|(_, allowance)| limits::headers(allowance));
            response.headers.extend(left);
            response
        }
        Err(problem) => {
            if let (500.., Some(tenant)) = (problem.status, &tenant) {
                app.sessions.forget_tenant(tenant);
            }
            // The detail may name what the caller sent, and is the caller's alone.
            tracing::warn!(
                tenant = of,
                model,
                milliseconds,
                request_id,
                status = problem.status,
                cause = shown(&problem.cause),
                "{}",
                problem.title
            );
            problem.response(event.path(), request_id)
        }
    };
    response.with_header("x-request-id", request_id)
}

/// Does what the route is for.
async fn route(app: &App, event: &Event, claim: &str) -> Result<Reply, Problem> {
    let request = event.request_id();
    match ApiRoute::of(event)? {
        ApiRoute::Health => Ok(r#"{"status":"ok"}"#.to_owned().into()),
        ApiRoute::Models => Ok(models::list(app, &event.tenant(claim)?, request).await?.into()),
        ApiRoute::Model => {
            let tenant = event.tenant(claim)?;
            let model = named(app, &tenant, event.model()).await?;
            Ok(models::show(app, &tenant, &model, request).await?.into())
        }
        ApiRoute::Predictions => predict(app, event, claim).await,
    }
}

/// The model that a path names. Who may not predict at all learns nothing of models.
async fn named(
    app: &App,
    tenant: &TenantId,
    model: Result<ModelName, Problem>,
) -> Result<ModelName, Problem> {
    if model.is_err() {
        app.registry.active_tenant(tenant).await.map_err(Problem::of_registry)?;
    }
    model
}

/// Predicts with what is known of the tenant and its model, and asks meanwhile whether
/// that still holds: if it does not, the answer counts for nothing.
async fn predict(app: &App, event: &Event, claim: &str) -> Result<Reply, Problem> {
    let id: TenantId = event.tenant(claim)?;
    let registry = &app.registry;
    let model = named(app, &id, event.model()).await?;
    let Some(known) = registry.kept_standing(&id, &model) else {
        let standing = registry.standing(&id, &model).await.map_err(Problem::of_registry)?;
        return predict_by(app, event, &model, &standing).await;
    };
    let predicted = async { Ok(predict_by(app, event, &model, &known).await) };
    let still_holds = async {
        match registry.changed_since(&known).await.map_err(Problem::of_registry) {
            Ok(None) => Ok(()),
            Ok(Some(now)) => Err(Ok(now)),
            Err(problem) => Err(Err(problem)),
        }
    };
    match tokio::try_join!(predicted, still_holds) {
        Ok((predicted, ())) => predicted,
        Err(now) => predict_by(app, event, &model, &*now?).await,
    }
}

/// Predicts as a tenant's model stands.
async fn predict_by(
    app: &App,
    event: &Event,
    model: &ModelName,
    standing: &Standing,
) -> Result<Reply, Problem> {
    let Standing { tenant, lineup, .. } = standing;
    let settings = model_settings(tenant, model).map_err(Problem::of_registry)?;
    let champion = lineup.champion.clone().ok_or_else(|| match &lineup.previous {
        Some(_) => Problem::at_rest(model),
        None => Problem::not_ready(model),
    })?;
    let form = Form::accepted(event.accept())?;
    // Records that cannot be read need no session.
    let records = records::body(event, &champion, &champion.features)?;
    let count = records.count;
    let allowance = limits::admit(app, tenant, event, count)?;
    let session = app
        .sessions
        .open(tenant, Purpose::Answer(model))
        .await
        .map_err(|error| Problem::of_call(&error, Stage::Session))?;
    let switch = invoke::Switch { app, event, session, tenant };
    let asked = switch.ask(lineup.clone(), champion, records);
    let (asked, ()) = tokio::join!(asked, limits::share(app, tenant, event));
    let invoke::Scored { answer, by, remarks, ids } = asked?;

    let predictions = output::predictions(&[answer], kind(settings, by.metric.as_deref()))
        .map_err(|e| Problem::of_endpoint(e.into()))?;
    let predictions = ids.iter().zip(&predictions);
    let version = by.run.run_id.as_str();
    let answer = Predictions {
        model,
        version,
        request_id: event.request_id(),
        predictions: predictions.map(|(id, prediction)| Identified { id, prediction }).collect(),
        remarks: &remarks,
    };
    Ok(Reply { response: answer.response(form)?, predicted: Some((count, allowance)) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::{Arc, Mutex};

    use crosspilot_core::registry::Registry;
    use crosspilot_scripted as aws;
    use crosspilot_scripted::Scripted;
    use serde_json::json;

    use super::*;

    /// Two customers whose champions answer as `endpoint` says at that moment.
    fn customers(endpoint: &Arc<Mutex<aws::Answer>>) -> (Scripted, App) {
        let endpoint = endpoint.clone();
        let scripted = Scripted::new(move |call| {
            let document = call.operation.strip_prefix("GET /registry/").unwrap_or_default();
            match document.split_once('/') {
                Some(("tenants", file)) => {
                    aws::Answer::json(&aws::tenant(file.strip_suffix(".json").unwrap()))
                }
                Some(("serving", place)) => {
                    champion(place.split_once('/').unwrap().0, "20260131-3f9a2c71b0")
                }
                _ if call.operation.ends_with("/invocations") => endpoint.lock().unwrap().clone(),
                _ => aws::Answer::refused_by_s3(404, "NoSuchKey"),
            }
        });
        let config = scripted.config();
        let app = App::new(config.clone(), Registry::new(&config, "registry"));
        (scripted, app)
    }

    /// The lineup in which this run's model serves.
    fn champion(tenant: &str, run: &str) -> aws::Answer {
        aws::Answer::json(&json!({"champion": {
            "tenant": tenant, "model": "churn", "run_id": run, "job": "j", "candidate": "c",
            "endpoint": "e", "variant": "v", "metric": null, "value": null,
            "features": ["plan", "age"], "target": "Churn?",
        }}))
    }

    fn label(label: &str) -> aws::Answer {
        aws::Answer::good(label).with("x-amzn-invoked-production-variant", "v")
    }

    async fn asked(app: &App, tenant: &str) -> HttpResponse {
        let event = json!({
            "routeKey": "POST /v1/models/{model}/predictions",
            "requestContext": {
                "requestId": "r", "timeEpoch": 1_700_000_040_000_u64,
                "authorizer": {"jwt": {"claims": {"tenant": tenant}}},
            },
            "pathParameters": {"model": "churn"}, "headers": {"content-type": "text/csv"},
            "body": "plan,age\npro,30\n",
        });
        answer(app, &serde_json::from_value(event).unwrap()).await
    }

    #[tokio::test]
    async fn a_customer_whose_account_fails_gets_a_new_session_and_others_keep_theirs() {
        let endpoint = Arc::new(Mutex::new(label("yes")));
        let (aws, app) = customers(&endpoint);
        let sessions = || aws.operations().iter().filter(|call| *call == "AssumeRole").count();
        for tenant in ["acme", "globex", "acme", "globex"] {
            let answer = asked(&app, tenant).await;
            assert_eq!(answer.status_code, 200, "{} {:?}", answer.body, aws.operations());
        }
        assert_eq!(sessions(), 2);
        let denied = aws::Answer::refused(403, "AccessDeniedException", "no");
        *endpoint.lock().unwrap() = denied;
        assert_eq!(asked(&app, "acme").await.status_code, 502);
        *endpoint.lock().unwrap() = label("yes");
        for tenant in ["globex", "acme"] {
            assert_eq!(asked(&app, tenant).await.status_code, 200);
        }
        assert_eq!(sessions(), 3);
    }

    #[tokio::test]
    async fn a_warm_prediction_is_one_round_trip_over_connections_that_stay() {
        let (aws, _) = customers(&Arc::new(Mutex::new(label("yes"))));
        let served = aws.serve(Duration::from_millis(50)).await;
        let config = served.config(&aws);
        let app = App::new(config.clone(), Registry::new(&config, "registry"));
        assert_eq!(asked(&app, "acme").await.status_code, 200);
        let before = aws.operations().len();
        for _ in 0..10 {
            assert_eq!(asked(&app, "acme").await.status_code, 200);
        }
        let mut calls = aws.operations().split_off(before);
        calls.sort();
        calls.dedup();
        let each = [
            "GET /registry/serving/acme/churn.json",
            "GET /registry/tenants/acme.json",
            "POST /endpoints/e/invocations",
        ];
        assert_eq!(calls, each);
        assert_eq!(aws.operations().len() - before, 10 * each.len());
        assert_eq!((served.most_at_once(), served.connections()), (3, 3));
    }

    #[tokio::test]
    async fn a_suspension_and_a_promotion_count_from_the_next_prediction_on() {
        let state = Arc::new(Mutex::new(("active", "20260131-3f9a2c71b0")));
        let of_script = state.clone();
        let aws = Scripted::new(move |call| {
            let (status, run) = *of_script.lock().unwrap();
            match call.operation.as_str() {
                "GET /registry/tenants/acme.json" => {
                    let mut tenant = aws::tenant("acme");
                    tenant["status"] = status.into();
                    aws::Answer::json(&tenant)
                }
                "GET /registry/serving/acme/churn.json" => champion("acme", run),
                call if call.ends_with("/invocations") => label("yes"),
                _ => aws::Answer::refused_by_s3(404, "NoSuchKey"),
            }
        });
        let config = aws.config();
        let app = App::new(config.clone(), Registry::new(&config, "registry"));
        let version = |answer: &HttpResponse| {
            let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
            body["version"].as_str().map(str::to_owned)
        };
        for (status, run, expected) in [
            ("active", "20260131-3f9a2c71b0", 200),
            ("active", "20260201-0000000001", 200),
            ("suspended", "20260201-0000000001", 403),
            ("active", "20260201-0000000001", 200),
        ] {
            *state.lock().unwrap() = (status, run);
            let answer = asked(&app, "acme").await;
            assert_eq!(answer.status_code, expected, "{}", answer.body);
            let served = (expected == 200).then(|| run.to_owned());
            assert_eq!(version(&answer), served);
        }
    }

    #[tokio::test]
    async fn predictions_that_fit_no_answer_are_too_large() {
        let endpoint = Arc::new(Mutex::new(label(&"x".repeat(5_900_000))));
        let (_, app) = customers(&endpoint);
        assert_eq!(asked(&app, "acme").await.status_code, 200);
        *endpoint.lock().unwrap() = label(&"x".repeat(6_000_000));
        let answer = asked(&app, "acme").await;
        assert_eq!(answer.status_code, 413);
        assert!(answer.body.contains("send fewer records at a time"), "{}", answer.body);
    }
}
