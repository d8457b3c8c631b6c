//! The stages of the proof, in order, and the doubt that each step settles.

use crosspilot_core::aws::applicationautoscaling::types::{ScalableDimension, ServiceNamespace};
use crosspilot_core::aws::s3::primitives::ByteStream;
use crosspilot_core::aws::sagemaker::types::{
    AutoMlChannelType, AutoMlDataSource, AutoMlJobChannel, AutoMlOutputDataConfig,
    AutoMlProblemTypeConfig, AutoMls3DataSource, AutoMls3DataType, ProductionVariant,
    ProductionVariantServerlessConfig, TabularJobConfig,
};
use crosspilot_core::error::{CallError, Named};
use crosspilot_core::ids::ModelName;
use crosspilot_core::layout;
use crosspilot_core::listing::Listing;
use crosspilot_core::registry::{Outcome, model_settings};
use crosspilot_core::run::RunRef;
use crosspilot_core::settings::{Mode, ModelSettings, Objective, Scaling};
use crosspilot_core::stage::Stage;
use crosspilot_core::verification::Verification;
use crosspilot_local::CloudError;
use crosspilot_training::job_request::{self, JobPlan};
use serde_json::{Value, json};

use super::doubts::{DoubtVerdict, Findings};
use super::site::Site;
use super::{disproof, machines};
use crate::data::{self, Dataset};
use crate::failure::Failure;
use crate::output::Steps;
use crate::watch;

/// Seed of the data that is made.
const SEED: u64 = 7;

/// A model's name of as many characters as it may have.
const LONGEST_NAME: &str = "as-long-as-names-are";

/// Asks every doubt that can be asked. A failure ends it: what was found until then stands,
/// what it disproves fails, and the others are open because of it.
pub(super) async fn run(
    site: &Site<'_>,
    findings: &mut Findings,
    steps: &Steps,
) -> Result<(), Failure> {
    let asked = ask(site, findings, steps).await;
    if let Err(failure) = &asked {
        disproof::note(findings, failure);
    }
    asked
}

/// Asks the cheapest first: what costs nothing before what trains.
async fn ask(site: &Site<'_>, findings: &mut Findings, steps: &Steps) -> Result<(), Failure> {
    let data = data::prepare(None, SEED).await?;
    // Session policies name it, and STS's limit on them is of their packed size.
    let model: ModelName = LONGEST_NAME.parse().map_err(CloudError::from)?;

    steps.step("putting the state machines through Step Functions' own interpreter");
    machines::judge(site, findings).await?;

    steps.step("proving the trust");
    let (verdict, tenant) = site.vendor.verify_and_activate(&site.ground.tenant.tenant).await?;
    let proven = matches!(verdict, Verification::Proven { .. });
    findings.judge("trust-holds", proven, format!("the tenant is {}", tenant.status.as_str()));
    if let Verification::Refused { code, cause, .. } | Verification::Unproven { code, cause, .. } =
        &verdict
    {
        let said = format!("{code}: {cause}");
        for doubt in disproof::disproven(Stage::Verify.as_str(), code, cause) {
            findings.judge(doubt, false, said.clone());
        }
        findings.leave_open(&format!("not reached, since the trust is not proven: {said}"));
        return Ok(());
    }

    steps.step("asking what costs nothing");
    odd_key(site, findings).await?;
    unknown_target(site, findings, &data).await?;
    unknown_transform_job(site, findings).await;
    api_without_token(site, findings, &model).await?;

    site.vendor.set_model(&site.ground.tenant.tenant, &model, &settings(&data)).await?;
    steps.step("uploading the data to the customer's bucket");
    // One file: the run sets its held-out rows aside itself.
    let training = format!("{}data.csv", layout::train_prefix(&site.ground.tenant.prefix, &model));
    put(site, &training, &data.text).await?;

    steps.step("waiting for the upload to start a run");
    let first = first_run(site, findings, &model, steps).await?;
    let warnings = match site.vendor.registry.run(&first).await?.outcome {
        Some(Outcome::Completed { warnings, .. }) => warnings,
        _ => Vec::new(),
    };
    findings.note("session-policies", disproof::session_policies(&warnings, OF_THE_RUN));
    trained(site, findings, &first).await?;
    served(site, findings, &first).await?;
    api_with_token(site, findings, &model, &data).await?;

    steps.step("training again");
    let again = site.vendor.start_run(&site.ground.tenant.tenant, &model, "prove-again").await?;
    let ended = watch::follow(&site.vendor, &again, |now| steps.step(now)).await;
    let ended = ended.inspect_err(|failure| unmoved(findings, "retraining-moves", failure))?;
    let second = run_of(&ended.output)?;
    let serves = serving(site, &second).await?;
    findings.judge(
        "retraining-moves",
        serves.as_deref() == Some(second.deployment_name().as_str()),
        format!("the endpoint's config is {}", serves.unwrap_or_default()),
    );

    steps.step("rolling back");
    let back = site
        .vendor
        .roll_back(&site.ground.tenant.tenant, &model, |doing| steps.step(doing))
        .await
        .map_err(Failure::from);
    let (back, _) = back.inspect_err(|failure| unmoved(findings, "rollback", failure))?;
    let serves = serving(site, &first).await?;
    findings.judge(
        "rollback",
        back == first && serves.as_deref() == Some(first.deployment_name().as_str()),
        format!("the endpoint's config is {}", serves.unwrap_or_default()),
    );
    serverless_update(site, findings, &first).await?;

    steps.step("removing the model");
    site.vendor
        .remove_model(&site.ground.tenant.tenant, &model, true, |doing| steps.step(doing))
        .await?;
    nothing_left(site, findings, &first).await?;
    findings.note("session-policies", disproof::session_policies(&warnings, OF_ALL));
    Ok(())
}

/// Notes that an endpoint does not move, if the failure says so.
fn unmoved(findings: &mut Findings, doubt: &'static str, failure: &Failure) {
    if disproof::keeps_from_moving(failure) {
        findings.judge(doubt, false, disproof::in_one_line(failure));
    }
}

/// The sessions that a run opens.
const OF_THE_RUN: &str = "assumed, with a model's longest name: prove, start, check, register, score, deploy, conclude, settle";
/// Those, and the sessions of the removal.
const OF_ALL: &str = "assumed, with a model's longest name: prove, start, check, register, score, deploy, conclude, settle, stock, remove; not: evaluate, stop, tell";

/// The smallest job, and everything of the product that a doubt is about. A newer
/// model is preferred whatever its value, so that the endpoint moves.
fn settings(data: &Dataset) -> ModelSettings {
    let mut settings = ModelSettings::predicting(&data.target);
    settings.objective =
        Some(Objective { problem_type: "BinaryClassification".into(), metric: "F1".into() });
    settings.training.mode = Some(Mode::Ensembling);
    settings.training.max_candidates = Some(1);
    settings.gate.margin = -1.0;
    settings.deployment.scaling = Some(Scaling { min: 1, max: 2, invocations_per_instance: 1000 });
    settings
}

async fn put(site: &Site<'_>, key: &str, body: &[u8]) -> Result<(), Failure> {
    let put =
        site.ground.customer.s3.put_object().bucket(site.ground.tenant.bucket.as_str()).key(key);
    put.body(ByteStream::from(body.to_vec()))
        .send()
        .await
        .named("s3:PutObject", layout::uri(&site.ground.tenant, key))?;
    Ok(())
}

/// XML cannot carry a control character: a list that does not ask for encoded keys
/// cannot be read.
async fn odd_key(site: &Site<'_>, findings: &mut Findings) -> Result<(), Failure> {
    let bucket = site.ground.tenant.bucket.as_str();
    let key = "prove/odd\u{1b}[31m";
    put(site, key, b"x").await?;
    match Listing::under(&site.ground.customer.s3, bucket, "prove/").next().await {
        Some(Ok(listed)) => {
            let found = listed.iter().any(|object| object.key() == Some(key));
            findings.judge("odd-key", found, format!("{} keys are listed", listed.len()));
        }
        Some(Err(error)) => {
            let error = CallError::new("s3:ListBucket", bucket, &error);
            findings.judge("odd-key", false, error.to_string());
        }
        None => findings.judge("odd-key", false, "no answer"),
    }
    let gone = site.ground.customer.s3.delete_object().bucket(bucket).key(key).send().await;
    gone.named("s3:DeleteObject", bucket)?;
    Ok(())
}

/// A job that is taken all the same is stopped at once.
async fn unknown_target(
    site: &Site<'_>,
    findings: &mut Findings,
    data: &Dataset,
) -> Result<(), Failure> {
    // Where the execution role may read, and where no upload starts a run.
    let prefix = format!("{}/unknown-target/", site.ground.tenant.prefix);
    put(site, &format!("{prefix}data.csv"), &data.text).await?;
    let uri = |key: &str| layout::uri(&site.ground.tenant, key);
    let job = format!("{}-target", site.ground.tenant.tenant);
    let source = AutoMls3DataSource::builder()
        .s3_data_type(AutoMls3DataType::S3Prefix)
        .s3_uri(uri(&prefix))
        .build();
    let channel = AutoMlJobChannel::builder()
        .channel_type(AutoMlChannelType::Training)
        .data_source(AutoMlDataSource::builder().s3_data_source(source).build())
        .build();
    let problem = TabularJobConfig::builder().target_attribute_name("no such column").build();
    let created = site
        .ground
        .customer
        .sagemaker
        .create_auto_ml_job_v2()
        .auto_ml_job_name(&job)
        .auto_ml_job_input_data_config(channel)
        .output_data_config(
            AutoMlOutputDataConfig::builder()
                .s3_output_path(uri(&layout::all_results_prefix(&site.ground.tenant.prefix)))
                .build(),
        )
        .auto_ml_problem_type_config(AutoMlProblemTypeConfig::TabularJobConfig(problem))
        .role_arn(site.ground.tenant.execution_role_arn.to_string())
        .send()
        .await;
    match created {
        Err(error) => {
            let error = CallError::new("sagemaker:CreateAutoMLJobV2", &job, &error);
            let holds = error.aws_code() == "ValidationException"
                && error.message().contains("does not exist in header");
            findings.judge("unknown-target", holds, error.to_string());
        }
        Ok(_) => {
            let stopped = site
                .ground
                .customer
                .sagemaker
                .stop_auto_ml_job()
                .auto_ml_job_name(&job)
                .send()
                .await;
            stopped.named("sagemaker:StopAutoMLJob", &job)?;
            findings.judge("unknown-target", false, "the job was created; it is stopped again");
        }
    }
    Ok(())
}

async fn unknown_transform_job(site: &Site<'_>, findings: &mut Findings) {
    let name = "crosspilot-no-such-job";
    let found = site.ground.customer.sagemaker.describe_transform_job().transform_job_name(name);
    match found.send().await {
        Ok(_) => findings.judge("unknown-transform-job", false, "there is one"),
        Err(error) => {
            let error = CallError::new("sagemaker:DescribeTransformJob", name, &error);
            let holds = error.aws_code() == "ValidationException";
            findings.judge("unknown-transform-job", holds, error.to_string());
        }
    }
}

fn predictions(site: &Site<'_>, model: &ModelName) -> String {
    format!("{}/v1/models/{model}/predictions", site.api)
}

async fn api_without_token(
    site: &Site<'_>,
    findings: &mut Findings,
    model: &ModelName,
) -> Result<(), Failure> {
    let asked = reqwest::Client::new().post(predictions(site, model)).json(&json!({"records": []}));
    let status = asked.send().await?.status().as_u16();
    findings.judge("api-token", status == 401, format!("it answers {status}"));
    let asked = reqwest::Client::new().get(format!("{}/v1/nothing", site.api));
    let answer = asked.send().await?;
    let status = answer.status().as_u16();
    let kind = answer.headers().get("content-type").and_then(|kind| kind.to_str().ok());
    let holds = (status, kind) == (404, Some("application/problem+json"));
    findings.judge("api-other-paths", holds, format!("it answers {status}"));
    Ok(())
}

async fn api_with_token(
    site: &Site<'_>,
    findings: &mut Findings,
    model: &ModelName,
    data: &Dataset,
) -> Result<(), Failure> {
    let Some(token) = &site.token else {
        let reason = format!(
            "no token: set CROSSPILOT_TOKEN to one of the issuer whose tenant claim is {}, and give --tenant",
            site.ground.tenant.tenant
        );
        findings.note("api-answers", DoubtVerdict::Open(reason));
        return Ok(());
    };
    let asked = reqwest::Client::new()
        .post(predictions(site, model))
        .bearer_auth(token)
        .json(&json!({"records": [data::record(&data.example, &data.target)]}));
    let answer = asked.send().await?;
    let status = answer.status().as_u16();
    let body: Value = serde_json::from_str(&answer.text().await?).unwrap_or_default();
    let label = body.pointer("/predictions/0/label").and_then(Value::as_str);
    findings.judge(
        "api-answers",
        status == 200 && label.is_some(),
        format!("it answers {status} with {} label", if label.is_some() { "a" } else { "no" }),
    );
    Ok(())
}

fn run_of(output: &Value) -> Result<RunRef, Failure> {
    Ok(serde_json::from_value(output.get("run").cloned().unwrap_or_default())?)
}

async fn first_run(
    site: &Site<'_>,
    findings: &mut Findings,
    model: &ModelName,
    steps: &Steps,
) -> Result<RunRef, Failure> {
    let arn = match watch::first_run(&site.vendor, &site.ground.tenant.tenant, model).await {
        Ok(arn) => arn,
        Err(failure) => {
            findings.judge("upload-starts-run", false, failure.to_string());
            return Err(failure);
        }
    };
    findings.judge("upload-starts-run", true, &arn);
    match watch::follow(&site.vendor, &arn, |now| steps.step(now)).await {
        Ok(ended) => run_of(&ended.output),
        Err(failure) => {
            // Its job is there and ended well: it can be looked at all the same. The run's own
            // failure is the one to tell.
            if disproof::is_after_training(&failure)
                && let Ok(Some(run)) = watch::run_of(&site.vendor, &arn).await
            {
                let _ = trained(site, findings, &run).await;
            }
            Err(failure)
        }
    }
}

/// Settles the doubts about the first job.
async fn trained(site: &Site<'_>, findings: &mut Findings, run: &RunRef) -> Result<(), Failure> {
    let set_aside = site.vendor.registry.run(run).await?.set_aside;
    findings.judge(
        "sets-aside",
        set_aside.is_some_and(|rows| rows > 0),
        format!("{} rows were set aside, and the job ended well", set_aside.unwrap_or_default()),
    );
    let job = run.job_name();
    let found = site.ground.customer.sagemaker.describe_auto_ml_job_v2().auto_ml_job_name(&job);
    let found = found.send().await;
    let found = found.named("sagemaker:DescribeAutoMLJobV2", &job)?;
    let status = found.auto_ml_job_status().map_or("unknown", |status| status.as_str());
    findings.judge("execution-role", status == "Completed", format!("the job is {status}"));
    // As the product decides whether it adopts the job that it finds.
    let tenant = site.vendor.registry.tenant(&run.tenant).await?;
    let (training, files) =
        (job_request::training_of(&tenant, run, &found), job_request::files_of(&found));
    let settings = model_settings(&tenant, &run.model)?;
    let differs = JobPlan::new(&tenant, settings, run, &training, &files)?.difference(&found);
    let key = found.output_data_config().and_then(|output| output.kms_key_id());
    let evidence = differs.map_or_else(
        || format!("it would be adopted; output key as shown: {key:?}"),
        |what| format!("it shows another {what} than was asked for"),
    );
    findings.judge("job-as-asked", differs.is_none(), evidence);
    let containers = found.best_candidate().map_or(0, |best| best.inference_containers().len());
    findings.judge("one-container", containers == 1, format!("{containers} containers"));
    results_key(site, findings, run).await
}

/// Tells whether what Autopilot wrote has the bucket's own encryption.
async fn results_key(
    site: &Site<'_>,
    findings: &mut Findings,
    run: &RunRef,
) -> Result<(), Failure> {
    let bucket = site.ground.tenant.bucket.as_str();
    let prefix = layout::automl_prefix(&site.ground.tenant.prefix, run);
    let mut listing = Listing::under(&site.ground.customer.s3, bucket, &prefix);
    let listed = listing.next().await.transpose();
    let listed = listed.named("s3:ListBucket", bucket)?;
    let listed = listed.unwrap_or_default();
    let Some(key) = listed.first().and_then(|object| object.key()) else {
        findings.judge("results-key", false, format!("nothing lies under {prefix}"));
        return Ok(());
    };
    let of = async |key: &str| -> Result<String, CallError> {
        let head = site.ground.customer.s3.head_object().bucket(bucket).key(key).send().await;
        let head = head.named("s3:GetObject", key)?;
        let algorithm =
            head.server_side_encryption().map_or("none", |algorithm| algorithm.as_str());
        Ok(format!("{algorithm} {}", head.ssekms_key_id().unwrap_or_default()).trim().to_owned())
    };
    let ours = format!("{}data.csv", layout::train_prefix(&site.ground.tenant.prefix, &run.model));
    let (theirs, ours) = (of(key).await?, of(&ours).await?);
    findings.judge("results-key", theirs == ours, format!("results {theirs}, uploads {ours}"));
    Ok(())
}

/// Settles the doubts about the endpoint after the first run.
async fn served(site: &Site<'_>, findings: &mut Findings, run: &RunRef) -> Result<(), Failure> {
    let name = run.deployment_name();
    let found = site.ground.customer.sagemaker.describe_model().model_name(&name).send().await;
    let found = found.named("sagemaker:DescribeModel", &name)?;
    let form = match (found.primary_container(), found.containers()) {
        (Some(_), _) => "PrimaryContainer",
        (None, [_, ..]) => "Containers",
        _ => "no container",
    };
    findings.judge("container-form", form != "no container", format!("it shows {form}"));
    let serves = serving(site, run).await?;
    findings.judge(
        "instance-memory",
        serves.as_deref() == Some(name.as_str()),
        format!("the endpoint's config is {}", serves.unwrap_or_default()),
    );
    let targets = scalable_targets(site, run).await?;
    findings.judge("scaling-registered", targets == 1, format!("{targets} scalable targets"));
    Ok(())
}

async fn scalable_targets(site: &Site<'_>, run: &RunRef) -> Result<usize, Failure> {
    let endpoint = run.endpoint_name();
    let found = site
        .ground
        .customer
        .scaling
        .describe_scalable_targets()
        .service_namespace(ServiceNamespace::Sagemaker)
        .send()
        .await
        .named("application-autoscaling:DescribeScalableTargets", &endpoint)?;
    let of = format!("endpoint/{endpoint}/variant/");
    let targets = found.scalable_targets().iter();
    Ok(targets.filter(|target| target.resource_id().starts_with(&of)).count())
}

/// The config of the endpoint if it is in service; none if it is gone.
async fn serving(site: &Site<'_>, run: &RunRef) -> Result<Option<String>, Failure> {
    let name = run.endpoint_name();
    match site.ground.customer.sagemaker.describe_endpoint().endpoint_name(&name).send().await {
        Ok(found) => {
            let status = found.endpoint_status().map_or("", |status| status.as_str());
            let config = found.endpoint_config_name().unwrap_or_default();
            Ok(Some(if status == "InService" {
                config.to_owned()
            } else {
                format!("{config}, but it is {status}")
            }))
        }
        Err(error) => {
            let error = CallError::new("sagemaker:DescribeEndpoint", &name, &error);
            if error.is_missing() { Ok(None) } else { Err(error.into()) }
        }
    }
}

/// The last thing before the removal: were it taken, the endpoint goes anyway.
async fn serverless_update(
    site: &Site<'_>,
    findings: &mut Findings,
    run: &RunRef,
) -> Result<(), Failure> {
    let sagemaker = &site.ground.customer.sagemaker;
    let config = format!("{}-serverless", site.ground.tenant.tenant);
    let serverless = ProductionVariantServerlessConfig::builder()
        .memory_size_in_mb(2048)
        .max_concurrency(1)
        .build();
    let variant = ProductionVariant::builder()
        .variant_name("serverless")
        .model_name(run.deployment_name())
        .serverless_config(serverless)
        .build();
    let made = sagemaker
        .create_endpoint_config()
        .endpoint_config_name(&config)
        .production_variants(variant)
        .send()
        .await;
    made.named("sagemaker:CreateEndpointConfig", &config)?;
    let endpoint = run.endpoint_name();
    // A scalable target is a refusal of its own, which would hide this one.
    let target = format!("endpoint/{endpoint}/variant/{}", run.variant_name());
    let scaling = site.ground.customer.scaling.deregister_scalable_target();
    let scaling = scaling.service_namespace(ServiceNamespace::Sagemaker).resource_id(&target);
    let gone = scaling
        .scalable_dimension(ScalableDimension::SageMakerVariantDesiredInstanceCount)
        .send()
        .await;
    gone.named("application-autoscaling:DeregisterScalableTarget", &target)?;
    let updated =
        sagemaker.update_endpoint().endpoint_name(&endpoint).endpoint_config_name(&config);
    match updated.send().await {
        Ok(_) => findings.judge("serverless-update", false, "the update was taken"),
        Err(error) => {
            let error = CallError::new("sagemaker:UpdateEndpoint", &endpoint, &error);
            let holds = error.aws_code() == "ValidationException"
                && !error.message().contains("scalable target");
            findings.judge("serverless-update", holds, error.to_string());
        }
    }
    let gone = sagemaker.delete_endpoint_config().endpoint_config_name(&config).send().await;
    gone.named("sagemaker:DeleteEndpointConfig", &config)?;
    Ok(())
}

async fn nothing_left(
    site: &Site<'_>,
    findings: &mut Findings,
    run: &RunRef,
) -> Result<(), Failure> {
    let sagemaker = &site.ground.customer.sagemaker;
    let name = run.endpoint_name();
    let mut left = Vec::new();
    let endpoints = sagemaker.list_endpoints().name_contains(&name).send().await;
    let endpoints = endpoints.named("sagemaker:ListEndpoints", &name)?;
    left.extend(endpoints.endpoints().iter().filter_map(|found| found.endpoint_name()));
    let configs = sagemaker.list_endpoint_configs().name_contains(&name).send().await;
    let configs = configs.named("sagemaker:ListEndpointConfigs", &name)?;
    left.extend(configs.endpoint_configs().iter().filter_map(|found| found.endpoint_config_name()));
    let models = sagemaker.list_models().name_contains(&name).send().await;
    let models = models.named("sagemaker:ListModels", &name)?;
    left.extend(models.models().iter().filter_map(|found| found.model_name()));
    let targets = scalable_targets(site, run).await?;
    findings.judge(
        "nothing-left",
        left.is_empty() && targets == 0,
        if left.is_empty() {
            format!("{targets} scalable targets, nothing else")
        } else {
            left.join(", ")
        },
    );
    Ok(())
}
