//! What an AutoML job does, from its data to its best candidate.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crosspilot_metrics::{Metric, ProblemType};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::{
    Cloud,
    artifact::Artifact,
    automl_job::{AutoMlJob, Candidate, Objective, Status, Step},
    automl_request::{Channel, Mode, Plan},
    container::{ContainerDefinition, Environment},
    error::ApiError,
    http::hex,
    report,
    s3::{RoleS3, S3Error, S3Uri},
    store::{Place, now},
    trainer::{Files, Outcome, Trained, Training},
};
use crate::authority::AuthorityError;

/// AUTO ensembles below this size, as Autopilot does.
const ENSEMBLING_BELOW: usize = 100 << 20;
const CSV_KEYS: &str = "predicted_label,probability,probabilities,labels";

/// A session of the role, or the refusal of a role that SageMaker cannot assume.
pub(super) async fn assume_role(cloud: &Cloud, place: &Place, role: &str, arn: &str) -> Result<RoleS3, ApiError> {
    cloud.role_s3(place, role, arn).await.map_err(|error| match error {
        AuthorityError::Refused { .. } => ApiError::Validation(format!(
            "Could not assume role {role}. Please ensure that the role exists and allows principal \
             'sagemaker.amazonaws.com' to assume the role."
        )),
        error => error.into(),
    })
}

/// Work on a job until it ends, one way or another.
pub(super) async fn run(cloud: Arc<Cloud>, place: Place, key: String) {
    let Some(job) = cloud.store.at(&place, |here| here.automl_jobs.get(&key).cloned()) else { return };
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
        Err(reason) => {
            job.best = None;
            job.end(Status::Failed, "Failed", Some(reason));
        }
    });
    cloud.forget_stop_flag(&job.arn);
}

struct Run {
    cloud: Arc<Cloud>,
    place: Place,
    key: String,
    stop: Arc<AtomicBool>,
}

impl Run {
    /// The secondary status of a completed job, or why it failed.
    async fn work(&self, job: &AutoMlJob, plan: &Plan) -> Result<&'static str, String> {
        let deadline = plan.max_seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        self.pause().await;
        let s3 = self.s3(plan, job).await?;
        let training = self.fetch(&s3, plan, &plan.training).await?;
        let validation = match &plan.validation {
            Some(channel) => Some(self.fetch(&s3, plan, channel).await?),
            None => None,
        };
        let size: usize = training.files.iter().map(|(_, content)| content.len()).sum();
        let mode = plan.mode.unwrap_or(if size < ENSEMBLING_BELOW { Mode::Ensembling } else { Mode::Tuning });
        let options = &self.cloud.options;
        let (first, main, default_candidates) = match mode {
            Mode::Ensembling => ("PreTraining", "TrainingModels", options.default_candidates_ensembling),
            Mode::Tuning => ("AnalyzingData", "ModelTuning", options.default_candidates_tuning),
        };

        self.stage(first).await;
        let candidates = plan.max_candidates.unwrap_or(default_candidates);
        let (read, seed) = (plan.clone(), options.seed);
        let prepare = move || Training::prepare(&read, training, validation, candidates, seed);
        let prepared = tokio::task::spawn_blocking(prepare).await.map_err(|error| error.to_string())?;
        let (training, analysis) = prepared?;
        let output = plan.output.join(&job.name);
        let notebook = output
            .join("sagemaker-automl-candidates/notebooks/SageMakerAutopilotDataExplorationNotebook.ipynb");
        put_json(&s3, &notebook, &report::exploration(&job.name, &plan.target, &analysis)).await?;
        self.change(|job| {
            job.resolved = Some((analysis.problem_type, analysis.metric));
            job.notebook = Some(notebook.to_string());
        });
        self.stage("FeatureEngineering").await;

        self.stage(main).await;
        let recipe = Recipe {
            job: job.name.clone(),
            place: self.place.clone(),
            output,
            mode,
            problem: analysis.problem_type,
            metric: analysis.metric,
        };
        let Outcome { best, out_of_time } = self.train(training, deadline, plan, job, &recipe).await?;
        if self.stopped() {
            return Ok("Stopped");
        }

        let s3 = self.s3(plan, job).await?;
        let name = recipe.candidate_name(best.number);
        self.stage("GeneratingExplainabilityReport").await;
        let explainability = recipe.output.join(&format!("documentation/explainability/output/{name}"));
        put_json(&s3, &explainability.join("analysis.json"), &report::explainability(&best, &analysis)).await?;
        self.stage("GeneratingModelInsightsReport").await;
        let insights = recipe.output.join(&format!("documentation/model_monitor/output/{name}"));
        put_json(&s3, &insights.join("statistics.json"), &report::insights(&best, &analysis)).await?;
        self.change(|job| {
            if let Some(best) = job.candidates.iter_mut().find(|candidate| candidate.name == name) {
                best.explainability = Some(explainability.to_string());
                best.insights = Some(insights.to_string());
            }
        });
        let trained = self.cloud.store.at(&self.place, |here| here.automl_jobs[&self.key].candidates.len());
        Ok(match mode {
            _ if out_of_time => "MaxAutoMLJobRuntimeReached",
            Mode::Tuning if plan.max_candidates.is_some_and(|most| trained >= most as usize) => "MaxCandidatesReached",
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
        let training = tokio::task::spawn_blocking(move || {
            // Nobody listens any more once the job is aborted.
            training.run(deadline, &stop, |candidate| drop(report.send((now(), candidate))))
        });
        while let Some((ended, candidate)) = trained.recv().await {
            // A session of a long job expires: each upload has its own.
            let s3 = self.s3(plan, job).await?;
            let containers = recipe.upload(&s3, &candidate).await?;
            let candidate = recipe.candidate(&candidate, containers, job, ended);
            self.change(|job| {
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

    async fn s3(&self, plan: &Plan, job: &AutoMlJob) -> Result<RoleS3, String> {
        assume_role(&self.cloud, &self.place, &plan.role, &job.arn).await.map_err(|error| error.to_string())
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
        Ok(Files { gzip: channel.gzip, files })
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

/// How a job's candidates are named, stored and served.
struct Recipe {
    job: String,
    place: Place,
    output: S3Uri,
    mode: Mode,
    problem: ProblemType,
    metric: Metric,
}

impl Recipe {
    fn candidate_name(&self, number: usize) -> String {
        match self.mode {
            Mode::Ensembling => format!("{}-trial-t{number}-1", self.job),
            Mode::Tuning => {
                let id = hex(&Sha256::digest(format!("{}-{number}", self.job)));
                format!("{}-dpp0-{number:03}-{}", self.job, &id[..8])
            }
        }
    }

    /// The name of the best of these.
    fn best_of(&self, candidates: &[Candidate]) -> Option<String> {
        let better = |a: &&Candidate, b: &&Candidate| {
            self.metric.improvement(a.objective.value, b.objective.value).total_cmp(&0.0).reverse()
        };
        candidates.iter().max_by(better).map(|best| best.name.clone())
    }

    /// Put the candidate's artifacts where its containers look for them.
    async fn upload(&self, s3: &RoleS3, trained: &Trained) -> Result<Vec<ContainerDefinition>, String> {
        let name = self.candidate_name(trained.number);
        let ensembling = self.mode == Mode::Ensembling;
        let at = match self.mode {
            Mode::Ensembling => format!("sagemaker-automl-candidates/model/{name}/model.tar.gz"),
            Mode::Tuning => format!("tuning/{}-dpp0/{name}/output/model.tar.gz", self.job),
        };
        let (model, predictor) = (self.output.join(&at), trained.predictor.clone());
        let pack = move || Artifact::pack_model(&predictor.save(), ensembling);
        let archive = tokio::task::spawn_blocking(pack).await.map_err(|error| error.to_string())?;
        put(s3, &model, "application/x-tar", archive.map_err(|error| error.to_string())?).await?;
        if ensembling {
            return Ok(vec![self.ensemble_container(&name, &model)]);
        }
        let processor = self.output.join(&format!("data-processor-models/{}-dpp0/output/model.tar.gz", self.job));
        let archive = Artifact::pack_processor(trained.predictor.columns(), trained.predictor.labels());
        put(s3, &processor, "application/x-tar", archive.map_err(|error| error.to_string())?).await?;
        Ok(self.pipeline(&processor, &model))
    }

    fn ensemble_container(&self, name: &str, model: &S3Uri) -> ContainerDefinition {
        let mut environment = environment(&[
            ("MODEL_NAME", name),
            ("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "text/csv"),
            ("SAGEMAKER_PROGRAM", "sagemaker_serve.py"),
            ("SAGEMAKER_SUBMIT_DIRECTORY", "/opt/ml/model/code"),
        ]);
        if self.problem.is_classification() {
            environment.extend(response_keys(CSV_KEYS, None));
        }
        let registry = format!("763104351884.dkr.ecr.{}.amazonaws.com", self.place.region);
        container(format!("{registry}/autogluon-inference:0.4.3-cpu-py38-ubuntu20.04"), model, environment)
    }

    /// Feature transform, algorithm and, for classes, the way back to labels.
    fn pipeline(&self, processor: &S3Uri, model: &S3Uri) -> Vec<ContainerDefinition> {
        let registry = format!("683313688378.dkr.ecr.{}.amazonaws.com", self.place.region);
        let sklearn = format!("{registry}/sagemaker-sklearn-automl:2.5-1-cpu-py3");
        let serve = [("SAGEMAKER_PROGRAM", "sagemaker_serve"), ("SAGEMAKER_SUBMIT_DIRECTORY", "/opt/ml/model/sagemaker_serve.py")];
        let mut transform = environment(&serve);
        transform.extend(environment(&[
            ("AUTOML_SPARSE_ENCODE_RECORDIO_PROTOBUF", "1"),
            ("AUTOML_TRANSFORM_MODE", "feature-transform"),
            ("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "application/x-recordio-protobuf"),
        ]));
        let mut algorithm =
            environment(&[("MAX_CONTENT_LENGTH", "20971520"), ("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "text/csv")]);
        let mut containers = vec![container(sklearn.clone(), processor, transform)];
        if self.problem.is_classification() {
            algorithm.extend(response_keys("predicted_label,probability,probabilities", None));
        }
        containers.push(container(format!("{registry}/sagemaker-xgboost:1.3-1-cpu-py3"), model, algorithm));
        if self.problem.is_classification() {
            let mut inverse = environment(&serve);
            inverse.extend(environment(&[
                ("AUTOML_TRANSFORM_MODE", "inverse-label-transform"),
                ("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "text/csv"),
            ]));
            inverse.extend(response_keys("predicted_label,probability,labels,probabilities", Some("predicted_label")));
            containers.push(container(sklearn, processor, inverse));
        }
        containers
    }

    fn candidate(
        &self,
        trained: &Trained,
        containers: Vec<ContainerDefinition>,
        job: &AutoMlJob,
        ended: f64,
    ) -> Candidate {
        let name = self.candidate_name(trained.number);
        let step = |kind: &str, resource: &str| Step {
            kind: format!("AWS::SageMaker::{kind}"),
            arn: self.place.arn(resource, &name),
            name: name.clone(),
        };
        let steps = match self.mode {
            Mode::Ensembling => vec![step("TrainingJob", "training-job")],
            Mode::Tuning => vec![
                step("ProcessingJob", "processing-job"),
                step("TrainingJob", "training-job"),
                step("TransformJob", "transform-job"),
            ],
        };
        Candidate {
            name: name.clone(),
            created: job.modified.min(ended),
            ended,
            objective: Objective {
                name: self.objective_name(trained.algorithm),
                standard: self.metric,
                value: trained.objective,
            },
            containers,
            metrics: trained.metrics.clone(),
            explainability: None,
            insights: None,
            steps,
        }
    }

    /// What Autopilot calls the objective: ensembling its standard name, tuning
    /// the name that the algorithm's own log has for it.
    fn objective_name(&self, algorithm: &str) -> String {
        if self.mode == Mode::Ensembling {
            return self.metric.to_string();
        }
        let log = match self.metric {
            Metric::F1 if algorithm == "linear" => "binary_f_beta",
            Metric::F1 => "f1_binary",
            Metric::F1Macro => "f1_macro",
            Metric::Auc => "auc",
            Metric::Accuracy => "accuracy",
            Metric::BalancedAccuracy => "balanced_accuracy",
            Metric::Precision => "precision",
            Metric::PrecisionMacro => "precision_macro",
            Metric::Recall => "recall",
            Metric::RecallMacro => "recall_macro",
            Metric::LogLoss => "logloss",
            Metric::Mae => "mae",
            Metric::Mse => "mse",
            Metric::Rmse => "rmse",
            Metric::R2 => "r2",
        };
        format!("validation:{log}")
    }
}

fn environment(pairs: &[(&str, &str)]) -> Environment {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn response_keys(supported: &str, input: Option<&str>) -> Environment {
    let mut keys =
        environment(&[("SAGEMAKER_INFERENCE_SUPPORTED", supported), ("SAGEMAKER_INFERENCE_OUTPUT", "predicted_label")]);
    keys.extend(input.map(|input| ("SAGEMAKER_INFERENCE_INPUT".to_owned(), input.to_owned())));
    keys
}

fn container(image: String, model: &S3Uri, environment: Environment) -> ContainerDefinition {
    ContainerDefinition {
        image: Some(image),
        model_data_url: Some(model.to_string()),
        container_hostname: None,
        environment,
    }
}

/// The objects that a manifest file lists: a prefix, then what follows it.
fn manifest(text: &[u8]) -> Result<Vec<S3Uri>, String> {
    let malformed = || "ClientError: The manifest file is not a JSON array of a prefix and its objects.".to_owned();
    let entries: Vec<Value> = serde_json::from_slice(text).map_err(|_| malformed())?;
    let (first, rest) = entries.split_first().ok_or_else(malformed)?;
    let prefix = first.get("prefix").and_then(Value::as_str).ok_or_else(malformed)?;
    let object = |entry: &Value| S3Uri::parse(&format!("{prefix}{}", entry.as_str()?));
    rest.iter().map(|entry| object(entry).ok_or_else(malformed)).collect()
}

async fn put_json(s3: &RoleS3, at: &S3Uri, document: &Value) -> Result<(), String> {
    put(s3, at, "application/json", document.to_string().into_bytes()).await
}

async fn put(s3: &RoleS3, at: &S3Uri, content_type: &str, body: Vec<u8>) -> Result<(), String> {
    let put = s3.put(at, content_type, body).await;
    put.map_err(|error| format!("ClientError: Failed to write to the S3 output path: {error}."))
}
