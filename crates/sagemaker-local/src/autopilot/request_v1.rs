//! Requests of CreateAutoMLJob, in the form of CreateAutoMLJobV2.

use serde_json::{Map, Value, json};

/// The V2 form of a V1 request: what it says, in the newer members.
pub(crate) fn v2_of_v1(request: &Value) -> Value {
    let mut tabular = Map::new();
    let config = &request["AutoMLJobConfig"];
    let channels = request["InputDataConfig"].as_array().cloned().unwrap_or_default();
    let take =
        |from: &Value, member: &str| from.get(member).filter(|value| !value.is_null()).cloned();
    let target = channels.first().and_then(|channel| take(channel, "TargetAttributeName"));
    let generation = &config["CandidateGenerationConfig"];
    for (member, value) in [
        ("TargetAttributeName", target),
        ("ProblemType", take(request, "ProblemType")),
        ("GenerateCandidateDefinitionsOnly", take(request, "GenerateCandidateDefinitionsOnly")),
        ("CompletionCriteria", take(config, "CompletionCriteria")),
        ("Mode", take(config, "Mode")),
        ("FeatureSpecificationS3Uri", take(generation, "FeatureSpecificationS3Uri")),
        (
            "SampleWeightAttributeName",
            channels.first().and_then(|first| take(first, "SampleWeightAttributeName")),
        ),
    ] {
        tabular.extend(value.map(|value| (member.to_owned(), value)));
    }
    let channels: Vec<Value> = channels
        .into_iter()
        .map(|mut channel| {
            if let Some(members) = channel.as_object_mut() {
                members.retain(|name, _| {
                    !matches!(name.as_str(), "TargetAttributeName" | "SampleWeightAttributeName")
                });
            }
            channel
        })
        .collect();
    let mut v2 = json!({ "AutoMLJobInputDataConfig": channels, "AutoMLProblemTypeConfig": { "TabularJobConfig": tabular } });
    for member in
        ["AutoMLJobName", "OutputDataConfig", "RoleArn", "AutoMLJobObjective", "ModelDeployConfig"]
    {
        if let Some(value) = take(request, member) {
            v2[member] = value;
        }
    }
    for member in ["SecurityConfig", "DataSplitConfig"] {
        if let Some(value) = take(config, member) {
            v2[member] = value;
        }
    }
    v2
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::autopilot::request::{AutoMlPlan, Mode};

    #[test]
    fn a_v1_request_means_the_same() {
        let v1 = json!({
            "AutoMLJobName": "j",
            "InputDataConfig": [{ "TargetAttributeName": "Churn?", "DataSource": { "S3DataSource": { "S3DataType": "S3Prefix", "S3Uri": "s3://b/t" } } }],
            "OutputDataConfig": { "S3OutputPath": "s3://b/out" },
            "RoleArn": "arn:aws:iam::222222222222:role/exec",
            "AutoMLJobConfig": { "CompletionCriteria": { "MaxCandidates": 3 }, "Mode": "ENSEMBLING" },
        });
        let plan = AutoMlPlan::read(&v2_of_v1(&v1)).unwrap();
        assert_eq!(
            (plan.target.as_str(), plan.max_candidates, plan.mode),
            ("Churn?", Some(3), Some(Mode::Ensembling))
        );
    }
}
