//! The model of a job's best candidate: created, or adopted when it exists.

use crosspilot_core::aws::sagemaker::Client;
use crosspilot_core::aws::sagemaker::operation::describe_model::DescribeModelOutput;
use crosspilot_core::aws::sagemaker::types::{ContainerDefinition, VpcConfig};
use crosspilot_core::decision::Score;
use crosspilot_core::error::Named;
use crosspilot_core::lambda::App;
use crosspilot_core::policy::Purpose;
use crosspilot_core::registry::model_settings;
use crosspilot_core::run::RunRef;
use crosspilot_core::sagemaker::{self, Ensured, ensure, tags};
use crosspilot_core::settings::{Deployment, Hosting};
use crosspilot_core::tenant::{Network, Tenant};
use serde::{Deserialize, Serialize};

use crate::HostingError;
use crate::response_keys::{self, Container, RESPONSE_KEYS, negotiate};

/// The run and the job to make a model of.
#[derive(Debug, Clone, Deserialize)]
pub struct Register {
    /// The run, as `assume` gave it.
    pub run: RunRef,
    /// Name of the AutoML job, as `start-job` gave it.
    pub job: String,
}

/// The challenger, as a model that does not serve yet.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Registered {
    /// The job's best candidate.
    pub candidate: String,
    /// The candidate's score on the validation data.
    pub score: Score,
    /// Name of the model.
    pub model: String,
}

/// Makes a model of the best candidate of the run's job, or adopts the one that is there.
pub async fn register(app: &App, request: Register) -> Result<Registered, HostingError> {
    let Register { run, job } = request;
    let tenant = app.registry.active_tenant(&run.tenant).await?;
    let settings = model_settings(&tenant, &run.model)?;
    if let Some(stop) = app.registry.run(&run).await?.stop {
        return Err(HostingError::Stopped(stop));
    }
    let session = app.sessions.open(&tenant, Purpose::RegisterModel(&run)).await?;
    let sagemaker = session.sagemaker();

    let found = sagemaker
        .describe_auto_ml_job_v2()
        .auto_ml_job_name(&job)
        .send()
        .await
        .named("sagemaker:DescribeAutoMLJobV2", &job)?;
    let no_candidate = |missing| HostingError::NoCandidate {
        job: job.clone(),
        status: found.auto_ml_job_status().map_or("Unknown", |s| s.as_str()).to_owned(),
        missing,
    };
    let best = found.best_candidate().ok_or_else(|| no_candidate("a best candidate"))?;
    let containers = response_keys::containers(best.inference_containers());
    let candidate = best.candidate_name().unwrap_or_default().to_owned();
    if containers.is_empty() {
        return Err(no_candidate("inference containers in its best candidate"));
    }
    let in_network = tenant.network.is_some();
    if let Some((what, remedy)) = unservable(&settings.deployment, in_network, containers.len()) {
        return Err(HostingError::Serverless { candidate, what, remedy });
    }
    let containers = negotiate(containers, &RESPONSE_KEYS);
    create_or_adopt(&sagemaker, &tenant, &run, &containers).await?;
    tracing::info!(tenant = %run.tenant, model = %run.model, run = %run.run_id, candidate, "registered");
    Ok(Registered { candidate, score: sagemaker::score(best), model: run.deployment_name() })
}

/// Says what keeps a serverless endpoint from serving this, and what to change
/// (SageMaker Developer Guide, "Serverless Inference: feature exclusions").
fn unservable(
    deployment: &Deployment,
    in_network: bool,
    containers: usize,
) -> Option<(&'static str, &'static str)> {
    match deployment.hosting {
        Hosting::Instance { .. } => None,
        Hosting::Serverless { .. } if containers > 1 => Some((
            "pipelines of several containers",
            "set training.mode of the model to ensembling, whose models have one",
        )),
        Hosting::Serverless { .. } if in_network => {
            Some(("VPC", "take the network off the tenant"))
        }
        Hosting::Serverless { .. } if deployment.data_capture_percent.is_some() => {
            Some(("data capture", "take deployment.data_capture_percent off the model"))
        }
        Hosting::Serverless { .. } => None,
    }
}

async fn create_or_adopt(
    sagemaker: &Client,
    tenant: &Tenant,
    run: &RunRef,
    containers: &[Container],
) -> Result<(), HostingError> {
    let name = run.deployment_name();
    let definitions = containers.iter().map(|container| {
        ContainerDefinition::builder()
            .image(&container.image)
            .set_model_data_url(container.model_data.clone())
            .set_environment(Some(container.environment.clone()))
            .build()
    });
    let created = sagemaker
        .create_model()
        .model_name(&name)
        .execution_role_arn(tenant.execution_role_arn.as_str())
        .set_containers(Some(definitions.collect()))
        .set_vpc_config(tenant.network.as_ref().map(vpc))
        .set_tags(Some(tags(tenant, run)))
        .send()
        .await
        .named("sagemaker:CreateModel", &name);
    let describe = async || {
        let found = sagemaker.describe_model().model_name(&name).send().await;
        found.named("sagemaker:DescribeModel", &name)
    };
    let ours: Vec<_> = containers.iter().map(|one| one.model_data.as_deref()).collect();
    let difference =
        |found: &DescribeModelOutput| (!model_data(found).eq(ours)).then_some("model data");
    match ensure(created, describe, difference).await? {
        Ensured::Created | Ensured::Adopted(_) => Ok(()),
        Ensured::Foreign(what) => {
            Err(HostingError::Foreign { resource: format!("model {name}"), what })
        }
    }
}

/// Lists where the data of a model's containers lie, in order. SageMaker may show a model
/// of one container as one with a primary container.
fn model_data(model: &DescribeModelOutput) -> impl Iterator<Item = Option<&str>> {
    let all = model.primary_container().into_iter().chain(model.containers());
    all.map(ContainerDefinition::model_data_url)
}

fn vpc(network: &Network) -> VpcConfig {
    VpcConfig::builder()
        .set_subnets(Some(network.subnets.clone()))
        .set_security_group_ids(Some(network.security_groups.clone()))
        .build()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use crosspilot_core::registry::Registry;
    use crosspilot_scripted::{Answer, Scripted};
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn nothing_is_made_of_a_run_that_is_to_stop() {
        let aws = Scripted::new(|call| match call.operation.as_str() {
            "GET /registry/tenants/acme.json" => Answer::json(&crosspilot_scripted::tenant("acme")),
            "GET /registry/runs/acme/churn/20260131-3f9a2c71b0.json" => Answer::json(&json!({
                "tenant": "acme", "model": "churn", "run_id": "20260131-3f9a2c71b0",
                "execution": "e", "trigger": {"type": "manual", "time": "2026-01-31T00:00:00Z", "request_id": "r"},
                "stop": {"by": "somebody", "time": "2026-01-31T00:00:00Z"},
            })),
            other => panic!("{other}"),
        });
        let config = aws.config();
        let app = App::new(config.clone(), Registry::new(&config, "registry"));
        let run = json!({"tenant": "acme", "model": "churn", "run_id": "20260131-3f9a2c71b0"});
        let request = serde_json::from_value(json!({"run": run, "job": "j"})).unwrap();
        let refused = register(&app, request).await.unwrap_err();
        assert!(matches!(refused, HostingError::Stopped(_)), "{refused}");
        assert!(!aws.operations().contains(&"AssumeRole".to_owned()));
    }

    #[test]
    fn one_container_is_the_same_in_either_form() {
        let container = |url: &str| ContainerDefinition::builder().model_data_url(url).build();
        let model = DescribeModelOutput::builder;
        for (found, expected) in [
            (model().containers(container("s3://a")), vec![Some("s3://a")]),
            (model().primary_container(container("s3://a")), vec![Some("s3://a")]),
            (
                model().containers(container("s3://a")).containers(container("s3://b")),
                vec![Some("s3://a"), Some("s3://b")],
            ),
            (model(), vec![]),
        ] {
            assert_eq!(model_data(&found.build()).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn a_serverless_endpoint_takes_one_container_and_no_frills() {
        let instance = Deployment { data_capture_percent: Some(10), ..Deployment::default() };
        assert_eq!(unservable(&instance, true, 3), None);
        let hosting = Hosting::Serverless { memory_mb: 2048, max_concurrency: 5 };
        let serverless = Deployment { hosting, ..Deployment::default() };
        let captured = Deployment { data_capture_percent: Some(10), ..serverless.clone() };
        for (deployment, in_network, containers, what) in [
            (&serverless, false, 1, None),
            (&serverless, false, 3, Some("pipelines of several containers")),
            (&serverless, true, 1, Some("VPC")),
            (&captured, false, 1, Some("data capture")),
        ] {
            let found = unservable(deployment, in_network, containers).map(|(what, _)| what);
            assert_eq!(found, what);
        }
    }
}
