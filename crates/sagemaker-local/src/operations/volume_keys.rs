//! Disks under a key of the customer's: who must let SageMaker use it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::Cloud;
use crate::authority::Check;
use crate::operations::{authorization, model};
use crate::records::store::{Place, Resources};
use crate::services::s3::SERVICE;

/// A key that a request puts disks under.
#[derive(Debug, PartialEq)]
struct VolumeKey {
    /// By id, ARN or alias.
    key: String,
    /// The role that a job runs as. Endpoints are the caller's own affair.
    role: Option<String>,
}

/// What the caller must be allowed to do with the key of the disks that it asks
/// for: to see it and to give SageMaker a grant. For a job it is enough that the
/// job's role may (Developer Guide, "SageMaker API permissions": the caller's is
/// "required only if the associated role does not have a policy that permits
/// this action").
pub(crate) async fn checks(
    cloud: &Cloud,
    place: &Place,
    operation: &str,
    request: &Value,
) -> Vec<Check> {
    let asked = match operation {
        "CreateEndpoint" | "UpdateEndpoint" => {
            cloud.store.at(place, |here| of_endpoint(here, request))
        }
        "CreateTransformJob" => of_transform_job(cloud, place, request),
        _ => of_automl_job(operation, request),
    };
    let Some(VolumeKey { key, role }) = asked else { return Vec::new() };
    // A key that does not exist is told by what comes of the request.
    let Ok(arn) = cloud.neighbours.key_arn(place, &key).await else { return Vec::new() };
    let checks = vec![
        check(place, "kms:DescribeKey", &arn, None),
        check(place, "kms:CreateGrant", &arn, Some(("kms:GrantIsForAWSResource", "true"))),
    ];
    let authority = &cloud.options.authority;
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
    let role = authorization::passed_role(request).map(str::to_owned);
    Some(VolumeKey { key: text(&security["VolumeKmsKeyId"])?, role })
}

fn of_transform_job(cloud: &Cloud, place: &Place, request: &Value) -> Option<VolumeKey> {
    let key = text(&request["TransformResources"]["VolumeKmsKeyId"])?;
    let role = model::role(cloud, place, request["ModelName"].as_str().unwrap_or_default());
    Some(VolumeKey { key, role })
}

/// The key stands in the endpoint's configuration.
fn of_endpoint(here: &Resources, request: &Value) -> Option<VolumeKey> {
    let name = request["EndpointConfigName"].as_str().unwrap_or_default().to_lowercase();
    let key = text(&here.endpoint_configs.get(&name)?.request["KmsKeyId"])?;
    Some(VolumeKey { key, role: None })
}
