//! Disks under a key of the customer's: who must let SageMaker use it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::authority::Check;
use crate::cloud::Cloud;
use crate::records::endpoint_config::EndpointConfig;
use crate::records::model::Model;
use crate::records::resource::Resource;
use crate::services::s3::SERVICE;
use crate::wire::call::passed_role;
use crate::wire::place::Place;

/// A key that a request puts disks under.
#[derive(Debug, PartialEq)]
struct VolumeKey {
    /// By id, ARN or alias.
    key: String,
    /// The role that a job runs as. Endpoints are the caller's own affair.
    role: Option<String>,
}

/// Lists what the caller must be allowed to do with the key of the disks that it asks for: to
/// see it and to give SageMaker a grant. For a job it is enough that the job's role may
/// (Developer Guide, "SageMaker API permissions": the caller's is "required only if the
/// associated role does not have a policy that permits this action").
pub(crate) async fn checks(
    cloud: &Cloud,
    place: &Place,
    operation: &str,
    request: &Value,
) -> Vec<Check> {
    let asked = match operation {
        "CreateEndpoint" | "UpdateEndpoint" => of_endpoint(cloud, place, request),
        "CreateTransformJob" => of_transform_job(cloud, place, request),
        _ => of_automl_job(operation, request),
    };
    let Some(VolumeKey { key, role }) = asked else { return Vec::new() };
    // A key that does not exist is told by what comes of the request.
    let Ok(arn) = cloud.emulator.key_arn(place, &key).await else { return Vec::new() };
    let checks = vec![
        check(place, "kms:DescribeKey", &arn, None),
        check(place, "kms:CreateGrant", &arn, Some(("kms:GrantIsForAWSResource", "true"))),
    ];
    let authority = &cloud.emulator.authority;
    if let Some(role) = role
        && let Ok(session) = authority
            .service_session(&role, SERVICE, &place.account, &place.arn("job", ""), &place.region)
            .await
        && authority.session_may(&session, &place.region, &checks).await.is_ok()
    {
        return Vec::new();
    }
    checks
}

fn check(place: &Place, action: &str, key: &str, more: Option<(&str, &str)>) -> Check {
    let via = format!("sagemaker.{}.amazonaws.com", place.region);
    let context = [("kms:CallerAccount", place.account.as_str()), ("kms:ViaService", &via)];
    let context: BTreeMap<String, Value> = context
        .into_iter()
        .chain(more)
        .map(|(key, value)| (key.to_owned(), json!(value)))
        .collect();
    Check { action: action.into(), resource: key.into(), context }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn of_automl_job(operation: &str, request: &Value) -> Option<VolumeKey> {
    let security = match operation {
        "CreateAutoMLJobV2" => &request["SecurityConfig"],
        "CreateAutoMLJob" => &request["AutoMLJobConfig"]["SecurityConfig"],
        _ => return None,
    };
    let role = passed_role(request).map(str::to_owned);
    Some(VolumeKey { key: text(&security["VolumeKmsKeyId"])?, role })
}

fn of_transform_job(cloud: &Cloud, place: &Place, request: &Value) -> Option<VolumeKey> {
    let key = text(&request["TransformResources"]["VolumeKmsKeyId"])?;
    let model = request[Model::NAMED_BY].as_str().unwrap_or_default();
    let model: Option<Model> = cloud.store.get(place, model);
    Some(VolumeKey { key, role: model.map(|model| model.role().to_owned()) })
}

/// The key stands in the endpoint's configuration.
fn of_endpoint(cloud: &Cloud, place: &Place, request: &Value) -> Option<VolumeKey> {
    let name = request[EndpointConfig::NAMED_BY].as_str().unwrap_or_default();
    let config: EndpointConfig = cloud.store.get(place, name)?;
    let key = config.request().kms_key_id.filter(|key| !key.is_empty())?;
    Some(VolumeKey { key, role: None })
}
