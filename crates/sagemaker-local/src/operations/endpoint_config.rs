//! The operations on endpoint configurations.

use serde_json::json;

use crate::cloud::Cloud;
use crate::records::endpoint_config::{EndpointConfig, EndpointConfigRequest};
use crate::records::model::Model;
use crate::records::resource::Resource;
use crate::serving::capture::Capture;
use crate::wire::call::{Answer, Call, tags_of};
use crate::wire::error::ApiError;

pub(crate) fn create(cloud: &Cloud, call: &Call) -> Answer {
    let name = call.text(EndpointConfig::NAMED_BY);
    let arn = call.place.arn(EndpointConfig::KIND, name);
    let not_offered = ["AsyncInferenceConfig", "ExplainerConfig", "ShadowProductionVariants"];
    ApiError::unless_offered(&call.input, &not_offered)?;
    let request: EndpointConfigRequest = call.read()?;
    request.check_serverless().map_err(ApiError::Validation)?;
    if let Some(capture) = &request.data_capture_config {
        Capture::read(capture).map_err(ApiError::Validation)?;
    }
    cloud.store.at(&call.place, |here| {
        here.is_free::<EndpointConfig>(&call.place, name)?;
        for variant in &request.production_variants {
            let model: &Model = here.find(&call.place, &variant.model_name)?;
            variant.check(model.containers().len()).map_err(ApiError::Validation)?;
        }
        here.add(EndpointConfig::new(name, &arn, &call.input), tags_of(&call.input))
    })?;
    Ok(json!({ "EndpointConfigArn": arn }))
}
