//! Models: which containers answer, with which artifacts.

use serde_json::{Value, json};

use crate::Cloud;
use crate::authority::AuthorityError;
use crate::operations::{Answer, Call, authorization, tags};
use crate::records::store::{Definition, Place, now};
use crate::services::s3::S3Uri;
use crate::serving::container::ContainerDefinition;
use crate::wire::error::ApiError;
use crate::wire::paging::{Row, page};

pub(crate) async fn create(cloud: &Cloud, call: &Call<'_>) -> Answer {
    let name = call.text("ModelName");
    let arn = call.place.arn("model", name);
    let input = &call.input;
    let containers = match (input.get("PrimaryContainer"), input.get("Containers")) {
        (Some(_), Some(_)) => Err("You cannot specify both PrimaryContainer and Containers."),
        (None, None) => Err("You must specify either a PrimaryContainer or Containers."),
        _ => Ok(containers(input)),
    };
    let containers = containers.map_err(|message| ApiError::Validation(message.into()))?;
    ApiError::unless_offered(input, &["InferenceExecutionConfig"])?;
    if containers
        .iter()
        .any(|container| container.image.is_none() || container.model_data_url.is_none())
    {
        return Err(ApiError::Validation(
            "The local SageMaker needs an Image and a ModelDataUrl for each container.".into(),
        ));
    }
    let role = authorization::passed_role(input).ok_or_else(|| {
        ApiError::Validation("ExecutionRoleArn is required to read model data.".into())
    })?;
    if cloud.store.at(&call.place, |here| here.models.contains_key(&name.to_lowercase())) {
        return Err(exists(&arn));
    }
    check_model_data(cloud, call, role, &arn, &containers).await?;

    cloud.store.at(&call.place, |here| {
        if here.models.contains_key(&name.to_lowercase()) {
            return Err(exists(&arn));
        }
        let request = call.input.clone();
        let model = Definition { name: name.into(), arn: arn.clone(), created: now(), request };
        here.models.insert(name.to_lowercase(), model);
        tags::put_on(here, &arn, &call.input);
        Ok(json!({ "ModelArn": arn }))
    })
}

/// The containers of a model's request, in the order in which they serve.
pub(crate) fn containers(request: &Value) -> Vec<ContainerDefinition> {
    let several = request.get("Containers").and_then(Value::as_array).into_iter().flatten();
    let all = request.get("PrimaryContainer").into_iter().chain(several);
    all.filter_map(|container| serde_json::from_value(container.clone()).ok()).collect()
}

/// The execution role of a model, if there is such a model.
pub(crate) fn role(cloud: &Cloud, place: &Place, name: &str) -> Option<String> {
    cloud.store.at(place, |here| {
        let model = here.models.get(&name.to_lowercase())?;
        authorization::passed_role(&model.request).map(str::to_owned)
    })
}

fn exists(arn: &str) -> ApiError {
    ApiError::Validation(format!("Cannot create already existing model \"{arn}\"."))
}

/// SageMaker looks for the model data with the execution role before it takes
/// the model.
async fn check_model_data(
    cloud: &Cloud,
    call: &Call<'_>,
    role: &str,
    arn: &str,
    containers: &[ContainerDefinition],
) -> Result<(), ApiError> {
    let region = &call.place.region;
    let urls: Vec<&str> =
        containers.iter().filter_map(|container| container.model_data_url.as_deref()).collect();
    let refuse = |url: &str| {
        ApiError::Validation(format!(
            "Could not access model data at {url}. Please ensure that the role \"{role}\" exists and that its trust \
             relationship policy allows the action \"sts:AssumeRole\" for the service principal \
             \"sagemaker.amazonaws.com\". Also ensure that the role has \"s3:GetObject\" permissions and that the \
             object is located in {region}."
        ))
    };
    let Some(first) = urls.first() else {
        return Ok(());
    };
    let s3 = match cloud.role_s3(&call.place, role, arn).await {
        Ok(s3) => s3,
        Err(AuthorityError::Refused { .. }) => return Err(refuse(first)),
        Err(error) => return Err(error.into()),
    };
    for url in urls {
        let at = S3Uri::parse(url).ok_or_else(|| refuse(url))?;
        s3.head(&at).await.map_err(|_| refuse(url))?;
    }
    Ok(())
}

pub(crate) fn describe(cloud: &Cloud, call: &Call) -> Answer {
    find(cloud, call).map(|model| {
        let mut answer = model.request;
        if let Some(answer) = answer.as_object_mut() {
            answer.remove("Tags");
            answer.insert("ModelArn".into(), json!(model.arn));
            answer.insert("CreationTime".into(), json!(model.created));
            answer.entry("EnableNetworkIsolation").or_insert(json!(false));
        }
        answer
    })
}

pub(crate) fn delete(cloud: &Cloud, call: &Call) -> Answer {
    let model = find(cloud, call)?;
    cloud.store.at(&call.place, |here| {
        here.models.remove(&model.name.to_lowercase());
        here.tags.remove(&model.arn);
    });
    Ok(json!({}))
}

pub(crate) fn list(cloud: &Cloud, call: &Call) -> Answer {
    let row = |model: &Definition| Row {
        name: model.name.clone(),
        created: model.created,
        modified: model.created,
        status: None,
        value: None,
        summary: json!({ "ModelName": model.name, "ModelArn": model.arn, "CreationTime": model.created }),
    };
    let rows = cloud.store.at(&call.place, |here| here.models.values().map(row).collect());
    page(&call.input, "Models", rows)
}

fn find(cloud: &Cloud, call: &Call) -> Result<Definition, ApiError> {
    let name = call.text("ModelName");
    let model = cloud.store.at(&call.place, |here| here.models.get(&name.to_lowercase()).cloned());
    model.ok_or_else(|| {
        ApiError::Validation(format!("Could not find model \"{}\".", call.place.arn("model", name)))
    })
}
