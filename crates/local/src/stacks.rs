//! Packages and deploys templates through CloudFormation, as a person would, on
//! the local cloud and on AWS alike.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crosspilot_core::aws::aws_config::SdkConfig;
use crosspilot_core::aws::cloudformation::Client;
use crosspilot_core::aws::cloudformation::error::ProvideErrorMetadata;
use crosspilot_core::aws::cloudformation::operation::create_stack::CreateStackError;
use crosspilot_core::aws::cloudformation::types::{Capability, Parameter};
use crosspilot_core::aws::s3;
use crosspilot_core::aws::s3::primitives::ByteStream;
use crosspilot_core::aws::s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
use crosspilot_core::error::{CallError, Named};

use crate::functions::Package;

/// The emulator takes a few seconds for the largest stack, AWS some minutes.
const LIMIT: Duration = Duration::from_secs(1800);
/// Looks at a stack: soon at first, for the emulator, then as AWS likes it.
const FIRST_LOOK: Duration = Duration::from_millis(100);
const LONGEST_LOOK: Duration = Duration::from_secs(5);

const SAAS_TEMPLATE: &str = include_str!("../../../infra/saas.yaml");
/// The state machines by the name of their file, as the vendor's template refers to them.
pub const DEFINITIONS: [(&str, &str); 4] = [
    ("train.asl.json", include_str!("../../../statemachine/train.asl.json")),
    ("evaluate.asl.json", include_str!("../../../statemachine/evaluate.asl.json")),
    ("verify.asl.json", include_str!("../../../statemachine/verify.asl.json")),
    ("manage.asl.json", include_str!("../../../statemachine/manage.asl.json")),
];

/// The reason why a stack is not deployed.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    /// CloudFormation refused or failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The stack ended otherwise than hoped.
    #[error("stack {stack} ended as {status}: {reasons}")]
    Failed {
        /// The stack.
        stack: String,
        /// The stack's status.
        status: String,
        /// The reasons that the stack's events give.
        reasons: String,
    },
    /// The stack lacks an output.
    #[error("stack {stack} has no output {output}")]
    NoOutput {
        /// The stack.
        stack: String,
        /// The output.
        output: String,
    },
    /// A template does not refer to what is to be uploaded for it.
    #[error(
        "infra/saas.yaml refers to {reference:?} {found} times instead of once: it cannot be packaged"
    )]
    Reference {
        /// The path in the template.
        reference: String,
        /// The number of times that it is there.
        found: usize,
    },
}

/// Replaces a local path in a template by where it was uploaded to, as
/// `sam package` does.
fn point_to(template: &str, reference: &str, uploaded: &str) -> Result<String, StackError> {
    match template.matches(reference).count() {
        1 => Ok(template.replace(reference, uploaded)),
        found => Err(StackError::Reference { reference: reference.to_owned(), found }),
    }
}

/// The errors of failed tasks as Step Functions sees them, with their causes: a JSON array of
/// objects with `Error`, `Cause` and how often the cause is repeated (`times`).
pub const ERRORS: &str = include_str!("../../../statemachine/errors.json");

/// A stack's template: as text, of at most 51,200 bytes, or uploaded, of at most a megabyte.
#[derive(Debug, Clone, Copy)]
pub enum Template<'a> {
    /// The template's text.
    Text(&'a str),
    /// The address at which CloudFormation finds the template in S3.
    Url(&'a str),
}

impl<'a> Template<'a> {
    fn body(self) -> Option<&'a str> {
        match self {
            Template::Text(text) => Some(text),
            Template::Url(_) => None,
        }
    }

    fn url(self) -> Option<&'a str> {
        match self {
            Template::Text(_) => None,
            Template::Url(url) => Some(url),
        }
    }
}

/// Packages the vendor's template as `sam deploy` does: makes the bucket, uploads the
/// functions, the state machines and the template that refers to them, and gives the
/// template's address.
pub async fn package(
    config: &SdkConfig,
    bucket: &str,
    packages: Vec<Package>,
) -> Result<String, StackError> {
    let client = s3::Client::new(config);
    let region = config.region().map_or("us-east-1", AsRef::as_ref);
    // S3 takes the region's name everywhere but in us-east-1 (API reference, CreateBucket).
    let place = Some(region).filter(|region| *region != "us-east-1").map(|region| {
        let place = BucketLocationConstraint::from(region);
        CreateBucketConfiguration::builder().location_constraint(place).build()
    });
    client
        .create_bucket()
        .bucket(bucket)
        .set_create_bucket_configuration(place)
        .send()
        .await
        .named("s3:CreateBucket", bucket)?;
    let put = async |key: &str, body: Vec<u8>| -> Result<String, StackError> {
        client
            .put_object()
            .bucket(bucket)
            .key(key)
            .body(ByteStream::from(body))
            .send()
            .await
            .named("s3:PutObject", key)?;
        Ok(format!("s3://{bucket}/{key}"))
    };
    let mut template = SAAS_TEMPLATE.to_owned();
    for (name, definition) in DEFINITIONS {
        let uploaded = put(name, definition.into()).await?;
        template = point_to(&template, &format!("../statemachine/{name}"), &uploaded)?;
    }
    for package in packages {
        let reference = format!("../target/lambda/{}/", package.function);
        let uploaded = put(&package.key, package.zip).await?;
        template = point_to(&template, &reference, &uploaded)?;
    }
    put("saas.yaml", template.into_bytes()).await?;
    let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
    Ok(format!("https://s3.{region}.amazonaws.com{suffix}/{bucket}/saas.yaml"))
}

/// Creates a stack, or updates the one that is there, and waits for it. Gives
/// its outputs.
pub async fn deploy(
    config: &SdkConfig,
    stack: &str,
    template: Template<'_>,
    parameters: &[(&str, &str)],
) -> Result<HashMap<String, String>, StackError> {
    let client = Client::new(config);
    let parameters: Vec<Parameter> = parameters
        .iter()
        .map(|(key, value)| {
            Parameter::builder().parameter_key(*key).parameter_value(*value).build()
        })
        .collect();
    let capabilities = [Capability::CapabilityNamedIam, Capability::CapabilityAutoExpand];
    let created = client
        .create_stack()
        .stack_name(stack)
        .set_template_body(template.body().map(str::to_owned))
        .set_template_url(template.url().map(str::to_owned))
        .set_parameters(Some(parameters.clone()))
        .set_capabilities(Some(capabilities.to_vec()))
        .send()
        .await;
    if let Err(error) = created {
        if !error.as_service_error().is_some_and(CreateStackError::is_already_exists_exception) {
            return Err(CallError::new("cloudformation:CreateStack", stack, &error).into());
        }
        let updated = client
            .update_stack()
            .stack_name(stack)
            .set_template_body(template.body().map(str::to_owned))
            .set_template_url(template.url().map(str::to_owned))
            .set_parameters(Some(parameters))
            .set_capabilities(Some(capabilities.to_vec()))
            .send()
            .await;
        if let Err(error) = updated
            && error.message() != Some("No updates are to be performed.")
        {
            return Err(CallError::new("cloudformation:UpdateStack", stack, &error).into());
        }
    }
    settled(&client, stack).await
}

/// Waits until nothing happens to a stack any more. Gives its outputs.
async fn settled(client: &Client, stack: &str) -> Result<HashMap<String, String>, StackError> {
    let started = Instant::now();
    let mut pause = FIRST_LOOK;
    loop {
        let answer = client
            .describe_stacks()
            .stack_name(stack)
            .send()
            .await
            .named("cloudformation:DescribeStacks", stack)?;
        let found = answer.stacks.unwrap_or_default().into_iter().next();
        let status =
            found.as_ref().and_then(|s| s.stack_status()).map_or("missing", |s| s.as_str());
        match status {
            "CREATE_COMPLETE" | "UPDATE_COMPLETE" => {
                return Ok(found
                    .and_then(|s| s.outputs)
                    .unwrap_or_default()
                    .into_iter()
                    .filter_map(|output| Some((output.output_key?, output.output_value?)))
                    .collect());
            }
            "CREATE_IN_PROGRESS" | "UPDATE_IN_PROGRESS" | "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"
                if started.elapsed() < LIMIT =>
            {
                tokio::time::sleep(pause).await;
                pause = (pause * 3 / 2).min(LONGEST_LOOK);
            }
            _ => {
                let reasons = failures(client, stack).await;
                return Err(StackError::Failed {
                    stack: stack.to_owned(),
                    status: status.to_owned(),
                    reasons,
                });
            }
        }
    }
}

/// Deletes a stack and waits until it is gone; one that is gone already is fine.
pub async fn delete(config: &SdkConfig, stack: &str) -> Result<(), StackError> {
    let client = Client::new(config);
    let deleted = client.delete_stack().stack_name(stack).send().await;
    deleted.named("cloudformation:DeleteStack", stack)?;
    let started = Instant::now();
    let mut pause = FIRST_LOOK;
    loop {
        let found = match client.describe_stacks().stack_name(stack).send().await {
            Ok(answer) => answer.stacks.unwrap_or_default().into_iter().next(),
            // A stack that was deleted is known by its id only.
            Err(error) if error.message().is_some_and(|text| text.contains("does not exist")) => {
                return Ok(());
            }
            Err(error) => {
                return Err(CallError::new("cloudformation:DescribeStacks", stack, &error).into());
            }
        };
        let status = found.as_ref().and_then(|s| s.stack_status()).map_or("", |s| s.as_str());
        match status {
            "" | "DELETE_COMPLETE" => return Ok(()),
            "DELETE_FAILED" => {
                let reasons = failures(&client, stack).await;
                let status = status.to_owned();
                return Err(StackError::Failed { stack: stack.to_owned(), status, reasons });
            }
            _ if started.elapsed() > LIMIT => {
                let reasons = "it takes too long".to_owned();
                let status = status.to_owned();
                return Err(StackError::Failed { stack: stack.to_owned(), status, reasons });
            }
            _ => {
                tokio::time::sleep(pause).await;
                pause = (pause * 3 / 2).min(LONGEST_LOOK);
            }
        }
    }
}

/// An output that must be there.
pub(crate) fn output(
    outputs: &HashMap<String, String>,
    stack: &str,
    output: &str,
) -> Result<String, StackError> {
    outputs
        .get(output)
        .cloned()
        .ok_or_else(|| StackError::NoOutput { stack: stack.to_owned(), output: output.to_owned() })
}

async fn failures(client: &Client, stack: &str) -> String {
    let events = client.describe_stack_events().stack_name(stack).send().await;
    let reasons: Vec<String> = events
        .ok()
        .and_then(|answer| answer.stack_events)
        .unwrap_or_default()
        .iter()
        .filter(|event| event.resource_status().is_some_and(|s| s.as_str().ends_with("FAILED")))
        .filter_map(|event| {
            Some(format!("{}: {}", event.logical_resource_id()?, event.resource_status_reason()?))
        })
        .collect();
    if reasons.is_empty() { "its events give no reason".into() } else { reasons.join("; ") }
}
