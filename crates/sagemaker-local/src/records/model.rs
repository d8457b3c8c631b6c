//! Models: which containers answer, with which artifacts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::records::resource::{Resource, as_asked};
use crate::wire::call::passed_role;
use crate::wire::error::ApiError;
use crate::wire::ids::now;
use crate::wire::paging::{ListingSpec, NEWEST_FIRST, Row};

/// A model: what its creator said, unchanged.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Model {
    name: String,
    pub(crate) arn: String,
    created: f64,
    request: Value,
}

/// `Environment` of a container definition.
pub(crate) type Environment = BTreeMap<String, String>;

/// One container as `CreateModel` and a candidate describe it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ContainerDefinition {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) image: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) model_data_url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) container_hostname: Option<String>,
    #[serde(default)]
    pub(crate) environment: Environment,
}

impl Model {
    pub(crate) fn new(name: &str, arn: &str, request: &Value) -> Self {
        Self { name: name.into(), arn: arn.into(), created: now(), request: request.clone() }
    }

    /// The execution role.
    pub(crate) fn role(&self) -> &str {
        passed_role(&self.request).unwrap_or_default()
    }

    /// The containers, in the order in which they serve.
    pub(crate) fn containers(&self) -> Vec<ContainerDefinition> {
        containers(&self.request)
    }
}

/// Reads the containers of a model's request, in the order in which they serve.
pub(crate) fn containers(request: &Value) -> Vec<ContainerDefinition> {
    let several = request.get("Containers").and_then(Value::as_array).into_iter().flatten();
    let all = request.get("PrimaryContainer").into_iter().chain(several);
    all.filter_map(|container| ContainerDefinition::deserialize(container).ok()).collect()
}

impl Resource for Model {
    const KIND: &'static str = "model";
    const NAMED_BY: &'static str = "ModelName";
    const LISTING: ListingSpec = ListingSpec::new("Models", NEWEST_FIRST);

    fn name(&self) -> &str {
        &self.name
    }

    fn arn(&self) -> &str {
        &self.arn
    }

    fn describe(&self) -> Value {
        let mut answer = as_asked(&self.request, "ModelArn", &self.arn, self.created);
        answer.entry("EnableNetworkIsolation").or_insert(json!(false));
        answer.into()
    }

    fn row(&self) -> Row {
        Row::new(
            &self.name,
            self.created,
            json!({ "ModelName": self.name, "ModelArn": self.arn, "CreationTime": self.created }),
        )
    }

    fn missing(_: &str, arn: &str) -> ApiError {
        ApiError::Validation(format!("Could not find model \"{arn}\"."))
    }

    fn taken(_: &str, arn: &str) -> ApiError {
        ApiError::Validation(format!("Cannot create already existing model \"{arn}\"."))
    }
}
