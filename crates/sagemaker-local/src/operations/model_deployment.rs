//! `ModelDeployConfig`: an endpoint for the best candidate of an AutoML job, made with the
//! operations that any caller has.

use serde_json::json;

use crate::autopilot::job::Run;
use crate::autopilot::request::Deploy;
use crate::operations::{endpoint, endpoint_config, model};
use crate::records::endpoint::{Endpoint, EndpointStatus};
use crate::wire::call::{Call, passed_role};
use crate::wire::error::ApiError;
use crate::wire::ids::sha256;

/// Gives the best candidate an endpoint, with a model and a configuration that are named
/// as it is; why not, in the words of a `FailureReason`.
pub(crate) async fn deploy(run: &Run, deploy: &Deploy) -> Result<(), String> {
    run.begin_deployment().await;
    let job = run.now();
    let best = job.as_ref().and_then(|job| job.best_candidate());
    let best = best.ok_or("There is no best candidate to deploy.")?;
    let name = match deploy {
        Deploy::Named(name) => name.clone(),
        Deploy::Anonymous => format!("{}-{}", run.job.name, &sha256(&run.job.arn)[..8]),
    };
    let call = |operation, input| Call { operation, place: run.place.clone(), input };
    let failed = |error: ApiError| error.to_string();
    let request = &run.job.request;
    let mut model = json!({
        "ModelName": name, "ExecutionRoleArn": passed_role(request), "Containers": best.containers,
    });
    if let Some(network) = request["SecurityConfig"].get("VpcConfig") {
        model["VpcConfig"] = network.clone();
    }
    model::create(&run.cloud, &call("CreateModel", model)).await.map_err(failed)?;
    let config = json!({ "EndpointConfigName": name, "ProductionVariants": [{
        "VariantName": "AllTraffic", "ModelName": name,
        "InstanceType": "ml.m5.large", "InitialInstanceCount": 1,
    }]});
    endpoint_config::create(&run.cloud, &call("CreateEndpointConfig", config)).map_err(failed)?;
    let endpoint = json!({ "EndpointName": name, "EndpointConfigName": name });
    endpoint::create(&run.cloud, &call("CreateEndpoint", endpoint)).await.map_err(failed)?;
    run.change(|job| job.deployed = Some(name.clone()));
    loop {
        tokio::time::sleep(run.cloud.options.stage).await;
        match run.cloud.store.get::<Endpoint>(&run.place, &name) {
            Some(endpoint) if endpoint.status == EndpointStatus::Creating => {}
            Some(endpoint) if endpoint.status != EndpointStatus::Failed => return Ok(()),
            Some(endpoint) => return Err(endpoint.failure.unwrap_or_default()),
            None => return Err(format!("Endpoint {name} was deleted while it was created.")),
        }
    }
}
