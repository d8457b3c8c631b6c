//! The agreement on what an endpoint answers, made through the environment of
//! its containers as the SageMaker Python SDK makes it.

use std::collections::HashMap;

use crosspilot_core::aws::sagemaker::types::AutoMlContainerDefinition;

const SUPPORTED: &str = "SAGEMAKER_INFERENCE_SUPPORTED";
const OUTPUT: &str = "SAGEMAKER_INFERENCE_OUTPUT";
const INPUT: &str = "SAGEMAKER_INFERENCE_INPUT";

/// The response keys that we ask for. `probability` alone means different things in different
/// training modes; with `probabilities` and `labels` every label has its own.
pub const RESPONSE_KEYS: [&str; 4] = ["predicted_label", "probability", "probabilities", "labels"];

/// One inference container of a candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// The container's image.
    pub image: String,
    /// The address of the container's model.
    pub model_data: Option<String>,
    /// The container's environment.
    pub environment: HashMap<String, String>,
}

pub(crate) fn containers(found: &[AutoMlContainerDefinition]) -> Vec<Container> {
    let container = |container: &AutoMlContainerDefinition| Container {
        image: container.image().unwrap_or_default().to_owned(),
        model_data: container.model_data_url().map(str::to_owned),
        environment: container.environment().cloned().unwrap_or_default(),
    };
    found.iter().map(container).collect()
}

/// Sets what each container emits and takes. Keys that the last container
/// cannot emit are not asked of any; containers that negotiate nothing, such as
/// those of a regression, are left alone.
pub fn negotiate(mut containers: Vec<Container>, wanted: &[&str]) -> Vec<Container> {
    let Some(last) = containers.last() else { return containers };
    let last_supports = supported(last);
    let wanted: Vec<&str> =
        wanted.iter().copied().filter(|key| last_supports.iter().any(|s| s == key)).collect();
    let mut previous_output: Option<String> = None;
    for container in &mut containers {
        let supports = supported(container);
        if supports.is_empty() {
            continue;
        }
        let output: Vec<&str> =
            wanted.iter().copied().filter(|key| supports.iter().any(|s| s == key)).collect();
        if output.is_empty() {
            continue;
        }
        if let Some(input) = previous_output {
            container.environment.insert(INPUT.into(), input);
        }
        let output = output.join(",");
        container.environment.insert(OUTPUT.into(), output.clone());
        previous_output = Some(output);
    }
    containers
}

fn supported(container: &Container) -> Vec<String> {
    let keys = container.environment.get(SUPPORTED).map_or("", String::as_str);
    keys.split(',').map(str::trim).filter(|key| !key.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(environment: &[(&str, &str)]) -> Container {
        let environment =
            environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Container { image: "image".into(), model_data: None, environment }
    }

    fn variable<'a>(container: &'a Container, name: &str) -> Option<&'a str> {
        container.environment.get(name).map(String::as_str)
    }

    #[test]
    fn an_ensembling_container_emits_all_it_supports_in_our_order() {
        let all = "predicted_label,probability,probabilities,labels";
        let hands = negotiate(
            vec![container(&[(SUPPORTED, "labels,probabilities,probability,predicted_label")])],
            &RESPONSE_KEYS,
        );
        assert_eq!(variable(&hands[0], OUTPUT), Some(all));
        assert_eq!(variable(&hands[0], INPUT), None);
    }

    #[test]
    fn a_pipeline_hands_on_from_container_to_container() {
        let hands = negotiate(
            vec![
                container(&[("AUTOML_TRANSFORM_MODE", "feature-transform")]),
                container(&[(SUPPORTED, "predicted_label,probability,probabilities")]),
                container(&[
                    (SUPPORTED, "predicted_label,probability,labels,probabilities"),
                    (INPUT, "predicted_label"),
                ]),
            ],
            &RESPONSE_KEYS,
        );
        assert_eq!(variable(&hands[0], OUTPUT), None);
        assert_eq!(variable(&hands[1], OUTPUT), Some("predicted_label,probability,probabilities"));
        assert_eq!(variable(&hands[2], INPUT), Some("predicted_label,probability,probabilities"));
        assert_eq!(
            variable(&hands[2], OUTPUT),
            Some("predicted_label,probability,probabilities,labels")
        );
    }

    #[test]
    fn a_regression_is_left_alone() {
        let regression = vec![container(&[("MODEL_NAME", "m")])];
        assert_eq!(negotiate(regression.clone(), &RESPONSE_KEYS), regression);
    }
}
