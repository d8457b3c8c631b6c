//! What an AutoML job does, from its data to its best candidate.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use crate::Cloud;
use crate::authority::AuthorityError;
use crate::autopilot::artifacts::{Recipe, put_json};
use crate::autopilot::reports;
use crate::autopilot::request::{Channel, Deploy, Mode, Plan};
use crate::autopilot::trainer::{Files, Outcome, Progress, Training, header};
use crate::operations::automl_job::{AutoMlJob, Status};
use crate::operations::{Call, endpoint, endpoint_config, model};
use crate::records::candidate::Step;
use crate::records::store::{Place, now};
use crate::server::http::hex;
use crate::services::s3::{RoleS3, S3Error, S3Uri};
use crate::wire::error::ApiError;

/// AUTO ensembles below this size, as Autopilot does.
const ENSEMBLING_BELOW: usize = 100 << 20;

/// A session of the role, or the refusal of a role that SageMaker cannot assume.
pub(crate) async fn assume_role(
    cloud: &Cloud,
    place: &Place,
    role: &str,
    arn: &str,
) -> Result<RoleS3, ApiError> {
    cloud.role_s3(place, role, arn).await.map_err(|error| match error {
        AuthorityError::Refused { .. } => ApiError::Validation(format!(
            "Could not assume role {role}. Please ensure that the role exists and allows principal \
             'sagemaker.amazonaws.com' to assume the role."
        )),
        error => error.into(),
    })
}

/// Whether the data has the target column. SageMaker looks when the job is
/// created; data that it cannot read then lets the job fail later.
pub(crate) async fn check_target(s3: &RoleS3, plan: &Plan) -> Result<(), ApiError> {
    // Far more than any header.
    const BEGINNING: usize = 1 << 20;
    let Channel { at, manifest: listed, content } = &plan.training;
    let first = async {
        let objects = match listed {
            true => manifest(&s3.get(at).await.ok()?).ok()?,
            false => s3.list(at).await.ok()?,
        };
        s3.beginning(objects.first()?, BEGINNING).await.ok()
    };
    let header = first.await.and_then(|beginning| header(&beginning, *content));
    match header {
        Some(columns) if !columns.contains(&plan.target) => Err(ApiError::Validation(format!(
            "Target attribute name {} does not exist in header.",
            plan.target
        ))),
        _ => Ok(()),
    }
}

/// Work on a job until it ends, one way or another.
pub(crate) async fn run(cloud: Arc<Cloud>, place: Place, key: String) {
    let Some(job) = cloud.store.at(&place, |here| here.automl_jobs.get(&key).cloned()) else {
        return;
    };
    let stop = cloud.stop_flag(&job.arn);
    let run = Run { cloud: cloud.clone(), place, key, stop: stop.clone() };
    let outcome = match Plan::read(&job.request) {
        Ok(plan) => run.work(&job, &plan).await,
        Err(reason) => Err(reason),
    };
    run.change(|job| match outcome {
        // Whatever came of it: who asks for a stop gets one.
        _ if stop.load(Ordering::Acquire) => job.end(Status::Stopped, "Stopped", None),
        Ok(secondary) => job.end(Status::Completed, secondary, None),
        // The best candidate is there all the same.
        Err(reason) if job.secondary == DEPLOYING => {
            job.end(Status::Failed, "ModelDeploymentError", Some(reason));
        }
        Err(reason) => {
            job.best = None;
            job.end(Status::Failed, "Failed", Some(reason));
        }
    });
    cloud.forget_stop_flag(&job.arn);
}

/// The stage in which the best candidate gets its endpoint.
const DEPLOYING: &str = "DeployingModel";

struct Run {
    cloud: Arc<Cloud>,
    place: Place,
    key: String,
    stop: Arc<AtomicBool>,
}

impl Run {
    /// The secondary status of a completed job, or why it failed.
    async fn work(&self, job: &AutoMlJob, plan: &Plan) -> Result<&'static str, String> {
        let deadline =
            plan.max_seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        self.pause().await;
        let s3 = self.s3(plan, job).await?;
        s3.check_volume_key(plan.volume_key.as_deref())
            .await
            .map_err(|error| format!("ClientError: {error}"))?;
        let training = self.fetch(&s3, plan, &plan.training).await?;
        let validation = match &plan.validation {
            Some(channel) => Some(self.fetch(&s3, plan, channel).await?),
            None => None,
        };
        let size: usize = training.files.iter().map(|(_, content)| content.len()).sum();
        let mode = plan.mode.unwrap_or(if size < ENSEMBLING_BELOW {
            Mode::Ensembling
        } else {
            Mode::Tuning
        });
        let options = &self.cloud.options;
        let (first, main, default_candidates) = match mode {
            Mode::Ensembling => {
                ("PreTraining", "TrainingModels", options.default_candidates_ensembling)
            }
            Mode::Tuning => ("AnalyzingData", "ModelTuning", options.default_candidates_tuning),
        };

        let analysed = now();
        self.stage(first).await;
        let candidates = plan.max_candidates.unwrap_or(default_candidates);
        let (read, seed) = (plan.clone(), options.seed);
        let prepare = move || Training::prepare(&read, training, validation, candidates, seed);
        let prepared =
            tokio::task::spawn_blocking(prepare).await.map_err(|error| error.to_string())?;
        let (training, analysis) = prepared?;
        let output = plan.output.join(&job.name);
        let notebook = output.join(
            "sagemaker-automl-candidates/notebooks/SageMakerAutopilotDataExplorationNotebook.ipynb",
        );
        put_json(&s3, &notebook, &reports::exploration(&job.name, &plan.target, &analysis)).await?;
        self.change(|job| {
            job.resolved = Some((analysis.problem_type, analysis.metric));
            job.notebook = Some(notebook.to_string());
        });
        let featured = now();
        self.stage("FeatureEngineering").await;
        let recipe = Recipe {
            job: job.name.clone(),
            place: self.place.clone(),
            output,
            mode,
            problem: analysis.problem_type,
            metric: analysis.metric,
        };
        if mode == Mode::Tuning {
            let definitions = recipe.output.join(
                "sagemaker-automl-candidates/notebooks/SageMakerAutopilotCandidateDefinitionNotebook.ipynb",
            );
            let text = reports::definitions(&job.name, &plan.target, &analysis, candidates);
            put_json(&s3, &definitions, &text).await?;
            let steps = recipe.shared_steps((analysed, featured), (featured, now()));
            self.change(|job| {
                job.definitions = Some(definitions.to_string());
                job.steps = steps;
            });
        }
        if plan.definitions_only {
            return Ok("CandidateDefinitionsGenerated");
        }

        self.stage(main).await;
        let Outcome { best, training, out_of_time } =
            self.train(training, deadline, plan, job, &recipe).await?;
        if self.stopped() {
            return Ok("Stopped");
        }

        let s3 = self.s3(plan, job).await?;
        let name = recipe.candidate_name(best.number);
        self.stage("GeneratingExplainabilityReport").await;
        let explainability =
            recipe.output.join(&format!("documentation/explainability/output/{name}"));
        let predictor = best.predictor.clone();
        let shares = tokio::task::spawn_blocking(move || predictor.importance(&training, seed))
            .await
            .map_err(|error| error.to_string())??;
        let analysis_file = explainability.join("analysis.json");
        put_json(&s3, &analysis_file, &reports::explainability(&shares, &analysis)).await?;
        self.stage("GeneratingModelInsightsReport").await;
        let insights = recipe.output.join(&format!("documentation/model_monitor/output/{name}"));
        put_json(&s3, &insights.join("statistics.json"), &reports::insights(&best, &analysis))
            .await?;
        self.change(|job| {
            if let Some(best) = job.candidates.iter_mut().find(|candidate| candidate.name == name) {
                best.explainability = Some(explainability.to_string());
                best.insights = Some(insights.to_string());
            }
        });
        if let Some(deploy) = &plan.deploy {
            self.deploy(plan, job, deploy).await?;
        }
        let trained =
            self.cloud.store.at(&self.place, |here| here.automl_jobs[&self.key].candidates.len());
        Ok(match mode {
            _ if out_of_time => "MaxAutoMLJobRuntimeReached",
            Mode::Tuning if plan.max_candidates.is_some_and(|most| trained >= most as usize) => {
                "MaxCandidatesReached"
            }
            _ => "Completed",
        })
    }

    /// Train on a thread of its own; candidates go to S3 and to the job as
    /// they finish, the best one once more in its final form.
    async fn train(
        &self,
        training: Training,
        deadline: Option<Instant>,
        plan: &Plan,
        job: &AutoMlJob,
        recipe: &Recipe,
    ) -> Result<Outcome, String> {
        let (report, mut trained) = mpsc::unbounded_channel();
        let stop = self.stop.clone();
        let shared: Vec<Step> = self.cloud.store.at(&self.place, |here| {
            here.automl_jobs.get(&self.key).map(|job| job.steps.clone()).unwrap_or_default()
        });
        let training = tokio::task::spawn_blocking(move || {
            // Nobody listens any more once the job is aborted.
            training.run(deadline, &stop, |progress| drop(report.send((now(), progress))))
        });
        while let Some((at, progress)) = trained.recv().await {
            let candidate = match progress {
                Progress::Started(number) => {
                    let name = recipe.candidate_name(number);
                    self.change(|job| job.begin(name, at));
                    continue;
                }
                Progress::Trained(candidate) => candidate,
            };
            // A session of a long job expires: each upload has its own.
            let s3 = self.s3(plan, job).await?;
            let containers = recipe.upload(&s3, &candidate).await?;
            let candidate = recipe.candidate(&candidate, containers, &shared, at);
            self.change(|job| {
                job.unfinished.retain(|begun| begun.name != candidate.name);
                job.candidates.push(candidate);
                job.best = recipe.best_of(&job.candidates);
            });
        }
        let outcome = training.await.map_err(|error| error.to_string())??;
        let s3 = self.s3(plan, job).await?;
        recipe.upload(&s3, &outcome.best).await?;
        let name = recipe.candidate_name(outcome.best.number);
        self.change(|job| job.best = Some(name));
        Ok(outcome)
    }

    /// Give the best candidate an endpoint, with models and configurations that
    /// are named as it is.
    async fn deploy(&self, plan: &Plan, job: &AutoMlJob, deploy: &Deploy) -> Result<(), String> {
        self.stage(DEPLOYING).await;
        let best = self.cloud.store.at(&self.place, |here| {
            let job = here.automl_jobs.get(&self.key)?;
            job.candidates.iter().find(|it| Some(&it.name) == job.best.as_ref()).cloned()
        });
        let best = best.ok_or("There is no best candidate to deploy.")?;
        let name = match deploy {
            Deploy::Named(name) => name.clone(),
            Deploy::Anonymous => {
                format!("{}-{}", job.name, &hex(&Sha256::digest(&job.arn))[..8])
            }
        };
        let call = |operation, input| Call { operation, place: self.place.clone(), input };
        let failed = |error: ApiError| error.to_string();
        let mut model = json!({
            "ModelName": name, "ExecutionRoleArn": plan.role, "Containers": best.containers,
        });
        if let Some(network) = job.request["SecurityConfig"].get("VpcConfig") {
            model["VpcConfig"] = network.clone();
        }
        model::create(&self.cloud, &call("CreateModel", model)).await.map_err(failed)?;
        let config = json!({ "EndpointConfigName": name, "ProductionVariants": [{
            "VariantName": "AllTraffic", "ModelName": name,
            "InstanceType": "ml.m5.large", "InitialInstanceCount": 1,
        }]});
        endpoint_config::create(&self.cloud, &call("CreateEndpointConfig", config))
            .map_err(failed)?;
        let endpoint = json!({ "EndpointName": name, "EndpointConfigName": name });
        endpoint::create(&self.cloud, &call("CreateEndpoint", endpoint)).await.map_err(failed)?;
        self.change(|job| job.deployed = Some(name.clone()));
        loop {
            tokio::time::sleep(self.cloud.options.stage).await;
            let endpoint = self
                .cloud
                .store
                .at(&self.place, |here| here.endpoints.get(&name.to_lowercase()).cloned());
            match endpoint {
                Some(endpoint) if endpoint.status == endpoint::Status::Creating => {}
                Some(endpoint) if endpoint.status != endpoint::Status::Failed => return Ok(()),
                Some(endpoint) => return Err(endpoint.failure.unwrap_or_default()),
                None => return Err(format!("Endpoint {name} was deleted while it was created.")),
            }
        }
    }

    async fn s3(&self, plan: &Plan, job: &AutoMlJob) -> Result<RoleS3, String> {
        let s3 = assume_role(&self.cloud, &self.place, &plan.role, &job.arn)
            .await
            .map_err(|error| error.to_string())?;
        let key = plan.output_key.as_deref();
        s3.encrypting(key).await.map_err(|error| format!("ClientError: {error}"))
    }

    /// The files of a channel.
    async fn fetch(&self, s3: &RoleS3, plan: &Plan, channel: &Channel) -> Result<Files, String> {
        let failed = |error: S3Error| {
            let S3Uri { bucket, .. } = &channel.at;
            match error {
                S3Error::AccessDenied(at) => format!(
                    "ClientError: Access denied (403 Forbidden) to {at}. Please ensure that the role \"{}\" has \
                     \"s3:GetObject\" permissions on the objects and \"s3:ListBucket\" permissions on bucket \"{bucket}\".",
                    plan.role
                ),
                other => format!("ClientError: Failed to read the input data: {other}."),
            }
        };
        let objects = match channel.manifest {
            true => manifest(&s3.get(&channel.at).await.map_err(failed)?)?,
            false => s3.list(&channel.at).await.map_err(failed)?,
        };
        if objects.is_empty() {
            return Err(format!(
                "ClientError: No S3 objects found under S3 URL \"{}\" given in input data source. Please ensure that \
                 the bucket exists in the selected region ({}), that objects exist under that S3 prefix, and that the \
                 role \"{}\" has \"s3:ListBucket\" permissions on bucket \"{}\".",
                channel.at, self.place.region, plan.role, channel.at.bucket
            ));
        }
        let mut files = Vec::new();
        for object in objects {
            let content = s3.get(&object).await.map_err(failed)?;
            files.push((object.to_string(), content));
        }
        Ok(Files { content: channel.content, files })
    }

    fn change(&self, change: impl FnOnce(&mut AutoMlJob)) {
        self.cloud.store.at(&self.place, |here| {
            if let Some(job) = here.automl_jobs.get_mut(&self.key) {
                change(job);
                job.modified = now();
            }
        });
    }

    /// Enter the next stage, and stay long enough to be seen there.
    async fn stage(&self, secondary: &str) {
        self.change(|job| {
            if job.status == Status::InProgress {
                job.secondary = secondary.into();
            }
        });
        self.pause().await;
    }

    async fn pause(&self) {
        if !self.stopped() {
            tokio::time::sleep(self.cloud.options.stage).await;
        }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }
}

/// The objects that a manifest file lists: a prefix, then what follows it.
fn manifest(text: &[u8]) -> Result<Vec<S3Uri>, String> {
    let malformed = || {
        "ClientError: The manifest file is not a JSON array of a prefix and its objects.".to_owned()
    };
    let entries: Vec<Value> = serde_json::from_slice(text).map_err(|_| malformed())?;
    let (first, rest) = entries.split_first().ok_or_else(malformed)?;
    let prefix = first.get("prefix").and_then(Value::as_str).ok_or_else(malformed)?;
    let object = |entry: &Value| S3Uri::parse(&format!("{prefix}{}", entry.as_str()?));
    rest.iter().map(|entry| object(entry).ok_or_else(malformed)).collect()
}
