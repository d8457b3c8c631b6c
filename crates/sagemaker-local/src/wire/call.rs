//! A call: which operation, where, and what it asks.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::wire::error::ApiError;
use crate::wire::place::Place;

/// An authorised request.
pub(crate) struct Call<'a> {
    pub(crate) operation: &'a str,
    pub(crate) place: Place,
    /// Checked against the service model.
    pub(crate) input: Value,
}

impl Call<'_> {
    /// Reads a string member; empty if it is optional and absent.
    pub(crate) fn text(&self, member: &str) -> &str {
        self.input.get(member).and_then(Value::as_str).unwrap_or_default()
    }

    /// Reads the members that an operation takes apart.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        T::deserialize(&self.input).map_err(|error| ApiError::Serialization(error.to_string()))
    }
}

/// The answer of an operation.
pub(crate) type Answer = Result<Value, ApiError>;

/// The tags of a resource or a request.
pub(crate) type Tags = BTreeMap<String, String>;

/// Reads the role that a request hands to SageMaker.
pub(crate) fn passed_role(request: &Value) -> Option<&str> {
    request.get("RoleArn").or_else(|| request.get("ExecutionRoleArn")).and_then(Value::as_str)
}

/// Reads the `Tags` of a request: SageMaker lists them, Application Auto Scaling maps
/// them.
pub(crate) fn tags_of(request: &Value) -> Tags {
    if let Some(Value::Object(tags)) = request.get("Tags") {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        return tags.iter().map(|(key, value)| (key.clone(), text(value))).collect();
    }
    let tags = request.get("Tags").and_then(Value::as_array).into_iter().flatten();
    let text = |tag: &Value, member: &str| {
        tag.get(member).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    tags.map(|tag| (text(tag, "Key"), text(tag, "Value"))).collect()
}
