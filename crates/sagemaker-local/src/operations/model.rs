//! The operations on models.

use serde_json::json;

use crate::authority::AuthorityError;
use crate::cloud::Cloud;
use crate::records::model::{ContainerDefinition, Model, containers};
use crate::records::resource::Resource;
use crate::services::s3::{RoleS3, S3Uri};
use crate::wire::call::{Answer, Call, passed_role, tags_of};
use crate::wire::error::ApiError;

pub(crate) async fn create(cloud: &Cloud, call: &Call<'_>) -> Answer {
    let name = call.text(Model::NAMED_BY);
    let arn = call.place.arn(Model::KIND, name);
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
    let role = passed_role(input).ok_or_else(|| {
        ApiError::Validation("ExecutionRoleArn is required to read model data.".into())
    })?;
    cloud.store.at(&call.place, |here| here.is_free::<Model>(&call.place, name))?;
    check_model_data(cloud, call, role, &arn, &containers).await?;

    let model = Model::new(name, &arn, input);
    cloud.store.at(&call.place, |here| here.add(model, tags_of(input)))?;
    Ok(json!({ "ModelArn": arn }))
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
    let s3 = match RoleS3::open(&cloud.emulator, &call.place, role, arn).await {
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
