//! AWS's service model: what a request must look like, and what an answer may.
//!
//! `shapes.json` is cut out of botocore by `shapes.py`. Requests are checked
//! against it as the service's front end does, with its wording; answers are
//! checked against it so that no client's parser ever meets a surprise.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::wire::error::ApiError;

static MODEL: LazyLock<Model> = LazyLock::new(|| {
    // The file is part of this crate: `tests::the_model_loads` reads all of it.
    serde_json::from_str(include_str!("shapes.json")).unwrap_or_default()
});

/// Autopilot reports metrics under names that its own model does not list
/// (`validation:f1_binary`), so answers are not held to this list.
const OPEN_ENUM: &str = "AutoMLMetricEnum";

#[derive(Default, Deserialize)]
struct Model {
    operations: BTreeMap<String, Operation>,
    shapes: BTreeMap<String, Shape>,
}

#[derive(Deserialize)]
struct Operation {
    input: Option<String>,
    output: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Structure,
    List,
    Map,
    #[default]
    String,
    Integer,
    Float,
    Boolean,
    Timestamp,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Shape {
    #[serde(rename = "type")]
    kind: Kind,
    required: Vec<String>,
    members: BTreeMap<String, String>,
    member: Option<String>,
    key: Option<String>,
    value: Option<String>,
    min: Option<f64>,
    max: Option<f64>,
    #[serde(rename = "enum")]
    allowed: Vec<String>,
    pattern: Option<Pattern>,
}

/// A pattern of the model; the whole text has to match.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Pattern {
    text: String,
    regex: Regex,
}

impl TryFrom<String> for Pattern {
    type Error = regex::Error;

    fn try_from(text: String) -> Result<Self, regex::Error> {
        Ok(Self { regex: Regex::new(&format!("^(?:{text})$"))?, text })
    }
}

/// The request as the service's front end hands it on: known members only,
/// nulls dropped. Every broken rule is named in one message, as AWS does it.
pub(crate) fn accept(operation: &str, request: Value) -> Result<Value, ApiError> {
    let Some(shape) =
        MODEL.operations.get(operation).and_then(|operation| operation.input.as_deref())
    else {
        return Err(ApiError::NotOffered(format!(
            "{operation} is not offered by the local SageMaker"
        )));
    };
    let mut check = Check { answer: false, broken: Vec::new() };
    let accepted = check.value(shape, request, "")?;
    match check.broken.len() {
        0 => Ok(accepted),
        count => Err(ApiError::Validation(format!(
            "{count} validation error{} detected: {}",
            if count == 1 { "" } else { "s" },
            check.broken.join("; ")
        ))),
    }
}

/// Tells whether an answer is one that the model allows; what is wrong with it if not.
pub(crate) fn answer_is_sound(operation: &str, answer: &Value) -> Result<(), String> {
    let Some(shape) =
        MODEL.operations.get(operation).and_then(|operation| operation.output.as_deref())
    else {
        return match answer {
            Value::Object(members) if members.is_empty() => Ok(()),
            _ => Err(format!("{operation} has no answer")),
        };
    };
    let mut check = Check { answer: true, broken: Vec::new() };
    check.value(shape, answer.clone(), "").map_err(|error| error.to_string())?;
    if check.broken.is_empty() { Ok(()) } else { Err(check.broken.join("; ")) }
}

struct Check {
    /// An answer must not have members that the model lacks; a request may.
    answer: bool,
    broken: Vec<String>,
}

impl Check {
    fn broke(&mut self, value: &str, path: &str, rule: &str) {
        self.broken.push(format!(
            "Value {value} at '{path}' failed to satisfy constraint: Member must {rule}"
        ));
    }

    fn value(&mut self, name: &str, value: Value, path: &str) -> Result<Value, ApiError> {
        let Some(shape) = MODEL.shapes.get(name) else {
            return Err(ApiError::Internal(format!("the model has no shape {name}")));
        };
        match (&shape.kind, value) {
            (Kind::Structure, Value::Object(members)) => self.structure(shape, members, path),
            (Kind::List, Value::Array(items)) => {
                self.length(shape, items.len(), None, path);
                let member = shape.member.as_deref().unwrap_or_default();
                let items = items.into_iter().enumerate();
                let items = items
                    .map(|(i, item)| self.value(member, item, &format!("{path}.{}.member", i + 1)));
                items.collect::<Result<Vec<_>, _>>().map(Value::Array)
            }
            (Kind::Map, Value::Object(entries)) => {
                self.length(shape, entries.len(), None, path);
                let (key, value) =
                    (shape.key.as_deref().unwrap_or_default(), shape.value.as_deref());
                let mut kept = Map::new();
                for (name, entry) in entries {
                    self.value(key, Value::String(name.clone()), &format!("{path}.{name}.key"))?;
                    let entry = self.value(
                        value.unwrap_or_default(),
                        entry,
                        &format!("{path}.{name}.member"),
                    )?;
                    kept.insert(name, entry);
                }
                Ok(Value::Object(kept))
            }
            (Kind::String, Value::String(text)) => {
                self.text(name, shape, &text, path);
                Ok(Value::String(text))
            }
            (Kind::Integer, Value::Number(number)) if number.is_i64() || number.is_u64() => {
                self.range(shape, number.as_f64().unwrap_or_default(), path);
                Ok(Value::Number(number))
            }
            (Kind::Float, Value::Number(number)) => {
                self.range(shape, number.as_f64().unwrap_or_default(), path);
                Ok(Value::Number(number))
            }
            (Kind::Timestamp, Value::Number(number)) => Ok(Value::Number(number)),
            (Kind::Boolean, Value::Bool(flag)) => Ok(Value::Bool(flag)),
            (kind, value) => Err(ApiError::Serialization(format!(
                "{} can not be converted to {} (at '{path}')",
                describe(&value),
                kind.java_name()
            ))),
        }
    }

    fn structure(
        &mut self,
        shape: &Shape,
        mut members: Map<String, Value>,
        path: &str,
    ) -> Result<Value, ApiError> {
        members.retain(|_, value| !value.is_null());
        let at = |member: &str| {
            if path.is_empty() {
                lower_first(member)
            } else {
                format!("{path}.{}", lower_first(member))
            }
        };
        for required in &shape.required {
            if !members.contains_key(required) {
                self.broke("null", &at(required), "not be null");
            }
        }
        let mut kept = Map::new();
        for (name, value) in members {
            match shape.members.get(&name) {
                Some(target) => {
                    let value = self.value(target, value, &at(&name))?;
                    kept.insert(name, value);
                }
                None if self.answer => self.broken.push(format!("'{}' is not a member", at(&name))),
                None => {}
            }
        }
        Ok(Value::Object(kept))
    }

    fn text(&mut self, name: &str, shape: &Shape, text: &str, path: &str) {
        let quoted = format!("'{text}'");
        self.length(shape, text.chars().count(), Some(&quoted), path);
        if let Some(pattern) = &shape.pattern
            && !pattern.regex.is_match(text)
        {
            self.broke(
                &quoted,
                path,
                &format!("satisfy regular expression pattern: {}", pattern.text),
            );
        }
        let open = self.answer && name == OPEN_ENUM;
        if !shape.allowed.is_empty()
            && !open
            && !shape.allowed.iter().any(|allowed| allowed == text)
        {
            self.broke(
                &quoted,
                path,
                &format!("satisfy enum value set: [{}]", shape.allowed.join(", ")),
            );
        }
    }

    fn length(&mut self, shape: &Shape, length: usize, value: Option<&str>, path: &str) {
        let value = value.unwrap_or("'[...]'");
        if let Some(min) = shape.min.filter(|min| (length as f64) < *min) {
            self.broke(value, path, &format!("have length greater than or equal to {min}"));
        }
        if let Some(max) = shape.max.filter(|max| length as f64 > *max) {
            self.broke(value, path, &format!("have length less than or equal to {max}"));
        }
    }

    fn range(&mut self, shape: &Shape, number: f64, path: &str) {
        if let Some(min) = shape.min.filter(|min| number < *min) {
            self.broke(
                &format!("'{number}'"),
                path,
                &format!("have value greater than or equal to {min}"),
            );
        }
        if let Some(max) = shape.max.filter(|max| number > *max) {
            self.broke(
                &format!("'{number}'"),
                path,
                &format!("have value less than or equal to {max}"),
            );
        }
    }
}

impl Kind {
    fn java_name(&self) -> &'static str {
        match self {
            Self::Structure => "a Structure",
            Self::List => "a List",
            Self::Map => "a Map",
            Self::String => "a String",
            Self::Integer => "an Integer",
            Self::Float => "a Float",
            Self::Boolean => "a Boolean",
            Self::Timestamp => "a Timestamp",
        }
    }
}

fn describe(value: &Value) -> &'static str {
    match value {
        Value::Null => "NULL_VALUE",
        Value::Bool(_) => "BOOLEAN_VALUE",
        Value::Number(_) => "NUMBER_VALUE",
        Value::String(_) => "STRING_VALUE",
        Value::Array(_) => "ARRAY_VALUE",
        Value::Object(_) => "OBJECT_VALUE",
    }
}

/// `AutoMLJobName` is `autoMLJobName` in the service's messages.
fn lower_first(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn refusal(operation: &str, request: Value) -> String {
        accept(operation, request).unwrap_err().to_string()
    }

    #[test]
    fn the_model_loads() {
        let model: Model = serde_json::from_str(include_str!("shapes.json")).unwrap();
        assert!(model.operations.len() > 20);
        for operation in model.operations.values() {
            for shape in [&operation.input, &operation.output].into_iter().flatten() {
                assert!(model.shapes.contains_key(shape), "{shape}");
            }
        }
    }

    #[test]
    fn names_every_broken_rule_in_the_words_of_aws() {
        assert_eq!(
            refusal("DescribeAutoMLJobV2", json!({ "AutoMLJobName": "under_score" })),
            "1 validation error detected: Value 'under_score' at 'autoMLJobName' failed to satisfy constraint: \
             Member must satisfy regular expression pattern: [a-zA-Z0-9](-*[a-zA-Z0-9]){0,31}"
        );
        let message =
            refusal("CreateEndpoint", json!({ "EndpointName": "", "EndpointConfigName": null }));
        assert!(message.starts_with("2 validation errors detected: "), "{message}");
        assert!(message.contains("Value null at 'endpointConfigName' failed to satisfy constraint: Member must not be null"));
        assert!(message.contains("at 'endpointName' failed"), "{message}");
    }

    #[test]
    fn a_pattern_holds_for_the_whole_name() {
        assert!(accept("DescribeEndpoint", json!({ "EndpointName": "fine" })).is_ok());
        for bad in ["fine\n", " fine", "fine!", "-fine", "fine-"] {
            assert!(accept("DescribeEndpoint", json!({ "EndpointName": bad })).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn limits_and_enums_hold_inside_lists() {
        let message = refusal(
            "CreateEndpointConfig",
            json!({ "EndpointConfigName": "c", "ProductionVariants": [
                { "VariantName": "v", "ModelName": "m", "InstanceType": "ml.toaster", "InitialInstanceCount": 0 }] }),
        );
        assert!(
            message.contains("'productionVariants.1.member.initialInstanceCount'"),
            "{message}"
        );
        assert!(message.contains("Member must satisfy enum value set: ["), "{message}");
    }

    #[test]
    fn unknown_members_and_nulls_of_a_request_are_dropped() {
        let accepted =
            accept("DescribeEndpoint", json!({ "EndpointName": "e", "Extra": 1, "Other": null }))
                .unwrap();
        assert_eq!(accepted, json!({ "EndpointName": "e" }));
    }

    #[test]
    fn a_wrong_type_is_a_serialization_error() {
        let error = accept("DescribeEndpoint", json!({ "EndpointName": 5 })).unwrap_err();
        assert!(matches!(error, ApiError::Serialization(_)), "{error:?}");
        assert!(matches!(accept("DescribeEndpoint", json!([])), Err(ApiError::Serialization(_))));
    }

    #[test]
    fn an_answer_with_a_stray_or_missing_member_is_not_sound() {
        let arn = "arn:aws:sagemaker:us-east-1:222222222222:endpoint/e";
        assert_eq!(answer_is_sound("CreateEndpoint", &json!({ "EndpointArn": arn })), Ok(()));
        assert!(answer_is_sound("CreateEndpoint", &json!({})).is_err());
        assert!(
            answer_is_sound("CreateEndpoint", &json!({ "EndpointArn": arn, "Arn": arn })).is_err()
        );
        assert_eq!(answer_is_sound("DeleteEndpoint", &json!({})), Ok(()));
    }
}
