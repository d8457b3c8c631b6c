//! `crosspilot demo`: the main job, end to end, on the local cloud.

mod samples;
mod summary;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crosspilot_core::aws::s3::Client as S3;
use crosspilot_core::aws::s3::primitives::ByteStream;
use crosspilot_core::aws::sagemaker::types::AutoMlCandidate;
use crosspilot_core::decision::Score;
use crosspilot_core::error::{CallError, Code, Named};
use crosspilot_core::ids::{InvalidId, ModelName};
use crosspilot_core::layout;
use crosspilot_core::run::RunRef;
use crosspilot_core::sagemaker;
use crosspilot_core::settings::ModelSettings;
use crosspilot_core::tenant::Tenant;
use crosspilot_local::accounts::SAAS_ACCOUNT;
use crosspilot_local::cloud::SAAS_STACK;
use crosspilot_local::identity::Signer;
use crosspilot_local::state::{Endpoints, Running};
use crosspilot_local::{CloudError, Options as CloudOptions};
use crosspilot_operator::Vendor;
use serde_json::{Value, json};

use crate::args::DemoOptions;
use crate::cost::OnAws;
use crate::data::{self, Dataset, Example};
use crate::failure::Failure;
use crate::output::Steps;
use crate::{local, watch};

/// The site that the demo works on: the local cloud that is up, or one of its own.
struct Site {
    endpoints: Endpoints,
    signer: Signer,
    vendor: Vendor,
}

/// All that a demo shows at its end.
struct Outcome {
    tenant: Tenant,
    model: ModelName,
    /// The cost that the demo would have had on AWS.
    cost: OnAws,
    data: Dataset,
    ended: watch::Ended,
    job: String,
    seen: Seen,
    /// The results of the run, as `predict` gives them.
    prediction: Value,
    /// Rows that the run set aside.
    set_aside: Option<u64>,
    /// A row, by the names of its columns.
    example: Example,
    /// The API's answer for it.
    answer: Value,
    /// The folder of the results on this machine; none if the champion stayed.
    files: Option<PathBuf>,
    /// A few of the predictions, from there.
    samples: Vec<samples::Sample>,
    seconds: Vec<(&'static str, f64)>,
}

/// The job and endpoint as the customer's administrator sees them in SageMaker.
struct Seen {
    job_status: String,
    candidates: Vec<Candidate>,
    endpoint_status: String,
}

struct Candidate {
    name: String,
    algorithm: Option<String>,
    metric: Option<String>,
    value: Option<f64>,
    seconds: Option<f64>,
}

pub(crate) async fn run(home: &Path, options: DemoOptions) -> Result<(), Failure> {
    let file = options.data.as_deref().zip(options.target.as_deref());
    let data = data::prepare(file, options.seed).await?;
    let started = Instant::now();
    let cloud_options = CloudOptions { seed: options.seed, ..CloudOptions::new(home) };
    if options.keep && Running::find(home).await?.is_none() {
        local::up_detached(&cloud_options, true).await?;
    }
    let steps = Steps::new();
    let work = async {
        let running = Running::find(home).await?;
        let (site, own) = match running {
            Some(running) => {
                let config = running.endpoints.administrator(SAAS_ACCOUNT);
                let vendor = Vendor::connect(config, SAAS_STACK).await?;
                (Site { endpoints: running.endpoints, signer: running.signer, vendor }, None)
            }
            None => {
                let cloud = local::start(&cloud_options, |step| steps.step(step)).await?;
                let site = Site {
                    endpoints: cloud.endpoints().clone(),
                    signer: cloud.signer().clone(),
                    vendor: cloud.vendor().clone(),
                };
                (site, Some(cloud))
            }
        };
        let up = started.elapsed().as_secs_f64();
        let outcome = main_job(home, &site, data, up, &steps).await;
        if let Some(cloud) = own {
            cloud.stop().await;
        }
        outcome
    };
    let outcome = tokio::select! {
        outcome = work => outcome?,
        () = local::interrupted() => return Err(Failure::Interrupted),
    };
    steps.done();
    if options.json {
        summary::print_json(&outcome);
    } else {
        summary::print(&outcome, options.keep);
    }
    Ok(())
}

async fn main_job(
    home: &Path,
    site: &Site,
    data: Dataset,
    up: f64,
    steps: &Steps,
) -> Result<Outcome, Failure> {
    let began = Instant::now();
    let id = local::TENANT.parse().map_err(CloudError::from)?;
    let model: ModelName = data.model.parse().map_err(CloudError::from)?;
    let tenant = site.vendor.registry.tenant(&id).await?;
    let settings = ModelSettings::predicting(&data.target);
    site.vendor.set_model(&id, &model, &settings).await?;

    let cost = OnAws::new(&tenant, &settings, data.text.len())?;

    steps.step("uploading the data to the customer's bucket");
    let s3 = S3::new(&site.endpoints.administrator(tenant.account.as_str()));
    let training = format!("{}data.csv", layout::train_prefix(&tenant.prefix, &model));
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    upload(&s3, &tenant, &training, &data.text).await?;

    steps.step("waiting for the upload to start a run");
    let is_ours = |input: &Value| {
        let field = |pointer: &str| input.pointer(pointer).and_then(Value::as_str);
        field("/trigger/bucket") == Some(tenant.bucket.as_str())
            && field("/trigger/key") == Some(&training)
    };
    let arn = watch::find(&site.vendor, since, is_ours).await?;
    let ended = watch::follow(&site.vendor, &arn, |now| steps.step(now)).await?;

    steps.step("asking the prediction API");
    let part = |pointer: &str| ended.output.pointer(pointer).cloned().unwrap_or_default();
    let run: RunRef = serde_json::from_value(part("/run"))?;
    let job = run.job_name();
    let seen = look(site, &tenant, &run).await?;
    let prediction = part("/prediction");
    let files = match prediction.get("predictions_uri") {
        Some(_) => {
            let files = home.join("demo").join(run.run_id.as_str());
            let results = layout::results_prefix(&tenant.prefix, &run);
            download(&s3, &tenant, &results, &files).await?;
            Some(files)
        }
        None => None,
    };
    let samples = match &files {
        Some(files) => few(&files.join("predictions.csv"), &data.target)?,
        None => Vec::new(),
    };
    // A row that the model has not learned from, if there is one.
    let example = match &files {
        Some(files) => first(&files.join("predictions.csv"), &data.header)?,
        None => data.example.clone(),
    };
    let answer = ask(site, &tenant, &model, &data.target, &example).await?;
    let set_aside = site.vendor.registry.run(&run).await?.set_aside;

    let mut seconds = vec![("local cloud", up)];
    seconds.extend(&ended.seconds);
    seconds.push(("total", up + began.elapsed().as_secs_f64()));
    Ok(Outcome {
        tenant,
        model,
        cost,
        data,
        ended,
        job,
        seen,
        set_aside,
        prediction,
        example,
        answer,
        files,
        samples,
        seconds,
    })
}

/// A few of the predictions in this file.
fn few(file: &Path, target: &str) -> Result<Vec<samples::Sample>, Failure> {
    let unreadable = |error| Failure::Unreadable(file.to_owned(), error);
    let predictions = fs::File::open(file).map_err(unreadable)?;
    samples::read(predictions, target).map_err(|error| unreadable(std::io::Error::other(error)))
}

/// The first row of these predictions, without the columns that `predict` has added
/// behind the customer's.
fn first(file: &Path, header: &[String]) -> Result<Example, Failure> {
    let unreadable =
        |error: csv::Error| Failure::Unreadable(file.to_owned(), std::io::Error::other(error));
    let mut reader = csv::Reader::from_path(file).map_err(unreadable)?;
    let row = reader.records().next().transpose().map_err(unreadable)?.unwrap_or_default();
    Ok(header.iter().cloned().zip(row.iter().map(str::to_owned)).collect())
}

async fn upload(s3: &S3, tenant: &Tenant, key: &str, body: &[u8]) -> Result<(), CallError> {
    s3.put_object()
        .bucket(tenant.bucket.as_str())
        .key(key)
        .content_type("text/csv")
        .body(ByteStream::from(body.to_vec()))
        .send()
        .await
        .named("s3:PutObject", layout::uri(tenant, key))?;
    Ok(())
}

/// The leaderboard and the endpoint, as the customer's administrator sees them.
async fn look(site: &Site, tenant: &Tenant, run: &RunRef) -> Result<Seen, Failure> {
    let sagemaker = site.endpoints.sagemaker_of(tenant.account.as_str());
    let job = run.job_name();
    let mut candidates = Vec::new();
    let mut pages =
        sagemaker.list_candidates_for_auto_ml_job().auto_ml_job_name(&job).into_paginator().send();
    while let Some(page) = pages.next().await {
        let page = page.named("sagemaker:ListCandidatesForAutoMLJob", &job)?;
        candidates.extend(page.candidates().iter().map(candidate));
    }
    let name = run.endpoint_name();
    let endpoint = sagemaker
        .describe_endpoint()
        .endpoint_name(&name)
        .send()
        .await
        .named("sagemaker:DescribeEndpoint", &name)?;
    let found = sagemaker
        .describe_auto_ml_job_v2()
        .auto_ml_job_name(&job)
        .send()
        .await
        .named("sagemaker:DescribeAutoMLJobV2", &job)?;
    let unknown = || "Unknown".to_owned();
    Ok(Seen {
        job_status: found.auto_ml_job_status().map_or_else(unknown, |s| s.as_str().to_owned()),
        endpoint_status: endpoint.endpoint_status().map_or_else(unknown, |s| s.as_str().to_owned()),
        candidates,
    })
}

fn candidate(found: &AutoMlCandidate) -> Candidate {
    let Score { metric, value, .. } = sagemaker::score(found);
    let start = found.creation_time().map(|t| t.as_secs_f64());
    let end = found.end_time().map(|t| t.as_secs_f64());
    let environment = found.inference_containers().first().and_then(|c| c.environment());
    Candidate {
        name: found.candidate_name().unwrap_or_default().to_owned(),
        algorithm: environment.and_then(|e| e.get("MODEL_NAME")).cloned(),
        metric,
        value,
        seconds: start.zip(end).map(|(start, end)| end - start),
    }
}

/// Asks for one prediction the way a product does: JSON by column name, with a token.
async fn ask(
    site: &Site,
    tenant: &Tenant,
    model: &ModelName,
    target: &str,
    example: &Example,
) -> Result<Value, Failure> {
    let record = data::record(example, target);
    let token = site.signer.token(tenant.tenant.as_str())?;
    let answer = reqwest::Client::new()
        .post(format!("{}/v1/models/{model}/predictions", site.endpoints.api))
        .bearer_auth(token)
        .json(&json!({"records": [record]}))
        .send()
        .await?;
    let status = answer.status().as_u16();
    let body = answer.text().await?;
    if status == 200 {
        Ok(serde_json::from_str(&body)?)
    } else {
        Err(Failure::Api { status, body })
    }
}

/// Copies what the run left to this machine: the cloud may be gone soon.
async fn download(s3: &S3, tenant: &Tenant, prefix: &str, to: &Path) -> Result<(), Failure> {
    let unwritable = |error| Failure::Unwritable(to.to_owned(), error);
    fs::create_dir_all(to).map_err(unwritable)?;
    for file in ["predictions.csv", "evaluation.json", "report.html"] {
        let key = format!("{prefix}{file}");
        let uri = layout::uri(tenant, &key);
        let object = s3.get_object().bucket(tenant.bucket.as_str()).key(&key).send().await;
        let object = object.named("s3:GetObject", &uri)?;
        let body = object.body.collect().await.map_err(|e| {
            CallError::refused(Code::Unavailable, "s3:GetObject", &uri, "BadAnswer", e.to_string())
        })?;
        fs::write(to.join(file), body.into_bytes()).map_err(unwritable)?;
    }
    Ok(())
}

impl From<InvalidId> for Failure {
    fn from(error: InvalidId) -> Self {
        Failure::Cloud(CloudError::from(error))
    }
}

#[cfg(test)]
mod tests {
    use crosspilot_core::aws::sagemaker::types::{AutoMlMetricEnum, FinalAutoMlJobObjectiveMetric};

    use super::*;

    #[test]
    fn a_candidates_figure_is_the_one_that_sagemaker_prints() {
        let metric = FinalAutoMlJobObjectiveMetric::builder()
            .metric_name(AutoMlMetricEnum::F1)
            .value(0.9_f32)
            .build();
        let found = AutoMlCandidate::builder().final_auto_ml_job_objective_metric(metric).build();
        assert_eq!(candidate(&found).value, Some(0.9));
    }
}
