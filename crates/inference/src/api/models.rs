//! Lists a tenant's models and shows what each takes.

use crosspilot_core::ids::{ModelName, TenantId};
use crosspilot_core::lambda::App;
use crosspilot_core::registry::{Lineup, Serving, Standing, model_settings};
use crosspilot_core::settings::ModelSettings;
use crosspilot_metrics::PredictionKind;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;

use super::problem::Problem;
use crate::output::kind;

/// Lineups that are read at the same time.
const AT_ONCE: usize = 16;

/// The states of a model that a caller can tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    /// The model answers.
    Serving,
    /// The model's endpoint was removed since nobody asked it.
    AtRest,
    /// No run has brought the model to serve yet.
    NotReady,
}

/// A model as the list shows it.
#[derive(Debug, PartialEq, Serialize)]
struct Summary {
    model: ModelName,
    status: Status,
    /// The column that is predicted.
    target: String,
    /// The kind of prediction, where it is known: `classification` or `regression`.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    /// The run that trained the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// The day on which that run began, in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    trained: Option<String>,
    /// The objective metric, as SageMaker names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    metric: Option<String>,
    /// Its value on validation data.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<f64>,
}

/// A model with the columns that a prediction takes.
#[derive(Debug, PartialEq, Serialize)]
struct Description<'a> {
    #[serde(flatten)]
    summary: Summary,
    /// In the order of the training data; empty while nothing serves.
    columns: Vec<Column>,
    request_id: &'a str,
}

/// A column that a prediction takes.
#[derive(Debug, PartialEq, Serialize)]
struct Column {
    name: String,
    /// `number`, `boolean` or `text`.
    kind: &'static str,
}

#[derive(Serialize)]
struct List<'a> {
    models: Vec<Summary>,
    request_id: &'a str,
}

impl Summary {
    fn of(model: &ModelName, settings: &ModelSettings, lineup: &Lineup) -> Self {
        let champion = lineup.champion.as_ref();
        let status = match (champion, &lineup.previous) {
            (Some(_), _) => Status::Serving,
            (None, Some(_)) => Status::AtRest,
            (None, None) => Status::NotReady,
        };
        let metric = champion.and_then(|champion| champion.metric.clone());
        let kind = kind(settings, metric.as_deref()).map(|kind| match kind {
            PredictionKind::Labels => "classification",
            PredictionKind::Numbers => "regression",
        });
        let run = champion.map(|champion| champion.run.run_id.as_str());
        let day = |run: &str| format!("{}-{}-{}", &run[..4], &run[4..6], &run[6..8]);
        Self {
            model: model.clone(),
            status,
            target: settings.target.clone(),
            kind,
            version: run.map(str::to_owned),
            trained: run.map(day),
            value: champion.and_then(|champion| champion.value),
            metric,
        }
    }
}

/// The columns that a model takes, with their kinds as training read them.
fn columns(serving: &Serving) -> Vec<Column> {
    let kind = |name: &String| match name {
        name if serving.numeric.contains(name) => "number",
        name if serving.booleans.contains_key(name) => "boolean",
        _ => "text",
    };
    let column = |name: &String| Column { name: name.clone(), kind: kind(name) };
    serving.features.iter().map(column).collect()
}

/// Lists the models of a tenant, by name.
pub(super) async fn list(app: &App, id: &TenantId, request: &str) -> Result<String, Problem> {
    let tenant = app.registry.active_tenant(id).await.map_err(Problem::of_registry)?;
    let summary = async |(model, settings): (&ModelName, &ModelSettings)| {
        let lineup = app.registry.lineup(id, model).await?;
        Ok(Summary::of(model, settings, &lineup))
    };
    let models = stream::iter(tenant.models.iter().map(summary)).buffered(AT_ONCE);
    let models = models.try_collect().await.map_err(Problem::of_registry)?;
    to_json(&List { models, request_id: request })
}

/// Shows one model of a tenant.
pub(super) async fn show(
    app: &App,
    id: &TenantId,
    model: &ModelName,
    request: &str,
) -> Result<String, Problem> {
    let standing = app.registry.standing(id, model).await.map_err(Problem::of_registry)?;
    let Standing { tenant, lineup, .. } = &*standing;
    let settings = model_settings(tenant, model).map_err(Problem::of_registry)?;
    to_json(&Description {
        summary: Summary::of(model, settings, lineup),
        columns: lineup.champion.as_ref().map(columns).unwrap_or_default(),
        request_id: request,
    })
}

fn to_json(document: &impl Serialize) -> Result<String, Problem> {
    serde_json::to_string(document).map_err(Problem::internal)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use crosspilot_core::registry::Registry;
    use crosspilot_scripted::{Answer, Scripted, serving, tenant};
    use serde_json::{Value, json};

    use super::super::answer;
    use super::*;

    /// A customer with a model that serves, one that rests and one that has not served yet.
    fn app() -> App {
        let aws = Scripted::new(|call| match call.operation.as_str() {
            "GET /registry/tenants/acme.json" => {
                let mut tenant = tenant("acme");
                for model in ["new", "old"] {
                    tenant["models"][model] = json!({"target": "y"});
                }
                Answer::json(&tenant)
            }
            "GET /registry/serving/acme/churn.json" => {
                let mut champion = serde_json::to_value(serving("20260131-3f9a2c71b0")).unwrap();
                champion["features"] = json!(["plan", "age", "vip"]);
                champion["numeric"] = json!(["age"]);
                champion["booleans"] = json!({"vip": "lower"});
                champion["metric"] = "AUC".into();
                champion["value"] = json!(0.9);
                Answer::json(&json!({"champion": champion}))
            }
            "GET /registry/serving/acme/old.json" => {
                Answer::json(&json!({"previous": serving("20260130-3f9a2c71b0")}))
            }
            _ => Answer::refused_by_s3(404, "NoSuchKey"),
        });
        let config = aws.config();
        App::new(config.clone(), Registry::new(&config, "registry"))
    }

    async fn get(route: &str, model: Option<&str>) -> (u16, Value) {
        let event = json!({
            "routeKey": format!("GET {route}"), "pathParameters": {"model": model},
            "requestContext": {"requestId": "r", "authorizer": {"jwt": {"claims": {"tenant": "acme"}}}},
        });
        let mut event = event;
        if model.is_none() {
            event["pathParameters"] = Value::Null;
        }
        let response = answer(&app(), &serde_json::from_value(event).unwrap()).await;
        (response.status_code, serde_json::from_str(&response.body).unwrap())
    }

    #[tokio::test]
    async fn the_list_tells_what_serves() {
        let (status, list) = get("/v1/models", None).await;
        assert_eq!(status, 200, "{list}");
        let found: Vec<_> = list["models"]
            .as_array()
            .unwrap()
            .iter()
            .map(|model| (model["model"].as_str().unwrap(), model["status"].as_str().unwrap()))
            .collect();
        assert_eq!(found, [("churn", "serving"), ("new", "not_ready"), ("old", "at_rest")]);
    }

    #[tokio::test]
    async fn a_model_is_shown_with_its_columns_and_what_it_is_worth() {
        let (status, model) = get("/v1/models/{model}", Some("churn")).await;
        assert_eq!(status, 200, "{model}");
        assert_eq!(
            model,
            json!({
                "model": "churn", "status": "serving", "target": tenant("acme")["models"]["churn"]["target"],
                "kind": "classification", "version": "20260131-3f9a2c71b0", "trained": "2026-01-31",
                "metric": "AUC", "value": 0.9, "request_id": "r",
                "columns": [
                    {"name": "plan", "kind": "text"},
                    {"name": "age", "kind": "number"},
                    {"name": "vip", "kind": "boolean"},
                ],
            })
        );
        let (_, model) = get("/v1/models/{model}", Some("new")).await;
        assert_eq!((&model["status"], &model["columns"]), (&"not_ready".into(), &json!([])));
        assert_eq!(get("/v1/models/{model}", Some("unheard-of")).await.0, 404);
    }
}
