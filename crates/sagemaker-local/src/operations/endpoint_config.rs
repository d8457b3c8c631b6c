//! Endpoint configurations: which model runs on what.

use serde_json::{Value, json};

use crate::Cloud;
use crate::endpoint::traffic_plan::Fleet;
use crate::operations::{Answer, Call, model, tags};
use crate::records::store::{Definition, now};
use crate::serving::capture::Capture;
use crate::wire::error::ApiError;
use crate::wire::paging::{Row, page};

pub(crate) fn create(cloud: &Cloud, call: &Call) -> Answer {
    let name = call.text("EndpointConfigName");
    let arn = call.place.arn("endpoint-config", name);
    let not_offered = ["AsyncInferenceConfig", "ExplainerConfig", "ShadowProductionVariants"];
    ApiError::unless_offered(&call.input, &not_offered)?;
    check_serverless(&call.input).map_err(ApiError::Validation)?;
    if let Some(capture) = capture(&call.input) {
        Capture::read(capture).map_err(ApiError::Validation)?;
    }
    cloud.store.at(&call.place, |here| {
        if here.endpoint_configs.contains_key(&name.to_lowercase()) {
            return Err(ApiError::Validation(format!(
                "Cannot create already existing endpoint configuration \"{arn}\"."
            )));
        }
        for variant in variants(&call.input) {
            let model_name = variant.get("ModelName").and_then(Value::as_str).unwrap_or_default();
            let model = here.models.get(&model_name.to_lowercase()).ok_or_else(|| {
                ApiError::Validation(format!(
                    "Could not find model \"{}\".",
                    call.place.arn("model", model_name)
                ))
            })?;
            check_variant(variant, model::containers(&model.request).len())
                .map_err(ApiError::Validation)?;
        }
        let request = call.input.clone();
        let config = Definition { name: name.into(), arn: arn.clone(), created: now(), request };
        here.endpoint_configs.insert(name.to_lowercase(), config);
        tags::put_on(here, &arn, &call.input);
        Ok(json!({ "EndpointConfigArn": arn }))
    })
}

/// The production variants of a configuration's request.
pub(crate) fn variants(request: &Value) -> impl Iterator<Item = &Value> {
    request.get("ProductionVariants").and_then(Value::as_array).into_iter().flatten()
}

/// What a configuration says about data capture.
pub(crate) fn capture(request: &Value) -> Option<&Value> {
    request.get("DataCaptureConfig")
}

/// The variants as DescribeEndpoint first shows them.
pub(crate) fn initial(request: &Value) -> Vec<Value> {
    let summary = |variant: &Value| {
        let weight = variant.get("InitialVariantWeight").and_then(Value::as_f64).unwrap_or(1.0);
        let mut summary = json!({
            "VariantName": variant["VariantName"], "CurrentWeight": weight, "DesiredWeight": weight,
        });
        if let Some(count) = variant.get("InitialInstanceCount") {
            summary["CurrentInstanceCount"] = count.clone();
            summary["DesiredInstanceCount"] = count.clone();
        }
        if let Some(serverless) = variant.get("ServerlessConfig") {
            summary["CurrentServerlessConfig"] = serverless.clone();
        }
        summary
    };
    variants(request).map(summary).collect()
}

/// The fleet of a configuration with these variants at work.
pub(crate) fn fleet(summaries: &[Value]) -> Fleet {
    let text = |summary: &Value| summary["VariantName"].as_str().map(str::to_owned);
    let count = |summary: &Value| summary["DesiredInstanceCount"].as_u64();
    Fleet {
        variants: summaries.iter().filter_map(text).collect(),
        instances: summaries.iter().filter_map(count).sum(),
        serverless: summaries
            .iter()
            .any(|summary| summary.get("CurrentServerlessConfig").is_some()),
    }
}

/// What serverless endpoints do not have (Developer Guide, "Deploy models with
/// Amazon SageMaker Serverless Inference", feature exclusions).
fn check_serverless(request: &Value) -> Result<(), String> {
    if !variants(request).any(|variant| variant.get("ServerlessConfig").is_some()) {
        return Ok(());
    }
    if variants(request).count() > 1 {
        return Err("Serverless inference does not support multiple production variants.".into());
    }
    if capture(request).is_some() {
        return Err("Serverless inference does not support data capture.".into());
    }
    Ok(())
}

/// A variant runs on instances or serverless, and a pipeline only on instances.
fn check_variant(variant: &Value, containers: usize) -> Result<(), String> {
    let name = variant.get("VariantName").and_then(Value::as_str).unwrap_or_default();
    let instances =
        variant.get("InstanceType").is_some() || variant.get("InitialInstanceCount").is_some();
    match variant.get("ServerlessConfig") {
        Some(_) if instances => Err(format!(
            "Production variant {name} has both a ServerlessConfig and an InstanceType or InitialInstanceCount."
        )),
        Some(_) if containers > 1 => {
            Err("Serverless inference does not support models with multiple containers.".into())
        }
        Some(serverless) => match serverless.get("MemorySizeInMB").and_then(Value::as_u64) {
            Some(memory) if memory.is_multiple_of(1024) => Ok(()),
            _ => Err("MemorySizeInMB must be one of 1024, 2048, 3072, 4096, 5120 or 6144.".into()),
        },
        None if variant.get("InstanceType").is_none() => {
            Err(format!("Production variant {name} needs an InstanceType or a ServerlessConfig."))
        }
        None if variant.get("InitialInstanceCount").is_none() => {
            Err(format!("Production variant {name} needs an InitialInstanceCount."))
        }
        None => Ok(()),
    }
}

pub(crate) fn describe(cloud: &Cloud, call: &Call) -> Answer {
    find(cloud, call).map(|config| {
        let mut answer = config.request;
        if let Some(answer) = answer.as_object_mut() {
            answer.remove("Tags");
            answer.insert("EndpointConfigArn".into(), json!(config.arn));
            answer.insert("CreationTime".into(), json!(config.created));
        }
        answer
    })
}

pub(crate) fn delete(cloud: &Cloud, call: &Call) -> Answer {
    let config = find(cloud, call)?;
    cloud.store.at(&call.place, |here| {
        here.endpoint_configs.remove(&config.name.to_lowercase());
        here.tags.remove(&config.arn);
    });
    Ok(json!({}))
}

pub(crate) fn list(cloud: &Cloud, call: &Call) -> Answer {
    let row = |config: &Definition| Row {
        name: config.name.clone(),
        created: config.created,
        modified: config.created,
        status: None,
        value: None,
        summary: json!({
            "EndpointConfigName": config.name, "EndpointConfigArn": config.arn, "CreationTime": config.created,
        }),
    };
    let rows =
        cloud.store.at(&call.place, |here| here.endpoint_configs.values().map(row).collect());
    page(&call.input, "EndpointConfigs", rows)
}

fn find(cloud: &Cloud, call: &Call) -> Result<Definition, ApiError> {
    let name = call.text("EndpointConfigName");
    let config = cloud
        .store
        .at(&call.place, |here| here.endpoint_configs.get(&name.to_lowercase()).cloned());
    config.ok_or_else(|| {
        let arn = call.place.arn("endpoint-config", name);
        ApiError::Validation(format!("Could not find endpoint configuration \"{arn}\"."))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_variant_runs_on_instances_or_serverless() {
        let instances =
            json!({ "VariantName": "v", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1 });
        let serverless = |memory: u64| json!({ "VariantName": "v", "ServerlessConfig": { "MemorySizeInMB": memory, "MaxConcurrency": 5 } });
        assert_eq!(check_variant(&instances, 3), Ok(()));
        assert_eq!(check_variant(&serverless(2048), 1), Ok(()));
        assert!(check_variant(&serverless(2048), 3).unwrap_err().contains("multiple containers"));
        assert!(check_variant(&serverless(1500), 1).is_err());
        assert!(check_variant(&json!({ "VariantName": "v" }), 1).is_err());
        let mut both = serverless(2048);
        both["InstanceType"] = json!("ml.m5.large");
        assert!(check_variant(&both, 1).is_err());
    }
}
