//! The name, the artifacts and the containers of a trained candidate.

use crosspilot_metrics::{Metric, ProblemType};
use serde_json::Value;

use crate::autopilot::request::Mode;
use crate::autopilot::trainer::Trained;
use crate::records::candidate::{Candidate, CandidateStep, Objective, StepKind};
use crate::records::model::{ContainerDefinition, Environment};
use crate::services::s3::{RoleS3, S3Uri};
use crate::serving::artifact::Artifact;
use crate::wire::ids::sha256;
use crate::wire::place::Place;

/// The response keys of an ensemble's container.
const ENSEMBLE_KEYS: &str = "predicted_label,probability,probabilities,labels";

/// The naming, storage and serving of a job's candidates.
pub(crate) struct Recipe {
    pub(crate) job: String,
    pub(crate) place: Place,
    pub(crate) output: S3Uri,
    pub(crate) mode: Mode,
    pub(crate) problem: ProblemType,
    pub(crate) metric: Metric,
}

impl Recipe {
    pub(crate) fn candidate_name(&self, number: usize) -> String {
        match self.mode {
            Mode::Ensembling => format!("{}-trial-t{number}-1", self.job),
            Mode::Tuning => {
                let id = self.id(&number.to_string());
                format!("{}TA-{number:03}-{}", self.job, &id[..8])
            }
        }
    }

    /// The name of a child job that all candidates share; `infix` says which.
    pub(crate) fn child_name(&self, infix: &str) -> String {
        // The service model's limit for the name of a job.
        const LONGEST: usize = 63;
        let name = format!("{}-{infix}-1-{}", self.job, &self.id(infix)[..32]);
        name.chars().take(LONGEST).collect()
    }

    fn id(&self, of: &str) -> String {
        sha256(format!("{}-{of}", self.job))
    }

    /// The child jobs of a tuning job that come before its candidates: splitting
    /// the data, learning how to turn it into features, and doing so.
    pub(crate) fn shared_steps(
        &self,
        analysed: (f64, f64),
        featured: (f64, f64),
    ) -> Vec<CandidateStep> {
        if self.mode == Mode::Ensembling {
            return Vec::new();
        }
        vec![
            self.step(StepKind::Processing, self.child_name("db"), analysed),
            self.step(StepKind::Training, self.child_name("dpp0"), featured),
            self.step(StepKind::Transform, self.child_name("dpp0-csv"), featured),
        ]
    }

    fn step(&self, kind: StepKind, name: String, (created, ended): (f64, f64)) -> CandidateStep {
        let resource = match kind {
            StepKind::Processing => "processing-job",
            StepKind::Training => "training-job",
            StepKind::Transform => "transform-job",
        };
        CandidateStep { kind, arn: self.place.arn(resource, &name), name, created, ended }
    }

    /// The name of the best of these.
    pub(crate) fn best_of(&self, candidates: &[Candidate]) -> Option<String> {
        let better = |a: &&Candidate, b: &&Candidate| {
            self.metric.improvement(a.objective.value, b.objective.value).total_cmp(&0.0).reverse()
        };
        candidates.iter().max_by(better).map(|best| best.name.clone())
    }

    /// Puts the candidate's artifacts where its containers look for them.
    pub(crate) async fn upload(
        &self,
        s3: &RoleS3,
        trained: &Trained,
    ) -> Result<Vec<ContainerDefinition>, String> {
        let name = self.candidate_name(trained.number);
        let ensembling = self.mode == Mode::Ensembling;
        let at = match self.mode {
            Mode::Ensembling => format!("sagemaker-automl-candidates/model/{name}/model.tar.gz"),
            Mode::Tuning => format!("tuning/{}-dpp0-xgb/{name}/output/model.tar.gz", self.job),
        };
        let (model, predictor) = (self.output.join(&at), trained.predictor.clone());
        let pack = move || Artifact::pack_model(&predictor.save(), ensembling);
        let archive = tokio::task::spawn_blocking(pack).await.map_err(|error| error.to_string())?;
        put(s3, &model, "application/x-tar", archive.map_err(|error| error.to_string())?).await?;
        if ensembling {
            return Ok(vec![self.ensemble_container(trained.algorithm, &model)]);
        }
        let processor = self.output.join(&format!(
            "data-processor-models/{}/output/model.tar.gz",
            self.child_name("dpp0")
        ));
        let archive =
            Artifact::pack_processor(trained.predictor.columns(), trained.predictor.labels());
        put(s3, &processor, "application/x-tar", archive.map_err(|error| error.to_string())?)
            .await?;
        Ok(self.pipeline(&processor, &model))
    }

    /// `MODEL_NAME` tells AutoGluon which of its models serves; here, the algorithm.
    fn ensemble_container(&self, algorithm: &str, model: &S3Uri) -> ContainerDefinition {
        let mut environment = environment(&[
            ("MODEL_NAME", algorithm),
            ("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "text/csv"),
            ("SAGEMAKER_PROGRAM", "sagemaker_serve.py"),
            ("SAGEMAKER_SUBMIT_DIRECTORY", "/opt/ml/model/code"),
        ]);
        if self.problem.is_classification() {
            environment.extend(response_keys(ENSEMBLE_KEYS, None));
        }
        let registry = format!("763104351884.dkr.ecr.{}.amazonaws.com", self.place.region);
        container(
            format!("{registry}/autogluon-inference:0.4.3-cpu-py38-ubuntu20.04"),
            model,
            environment,
        )
    }

    /// Feature transform, algorithm and, for classes, the way back to labels.
    fn pipeline(&self, processor: &S3Uri, model: &S3Uri) -> Vec<ContainerDefinition> {
        let registry = format!("683313688378.dkr.ecr.{}.amazonaws.com", self.place.region);
        let sklearn = format!("{registry}/sagemaker-sklearn-automl:2.5-1-cpu-py3");
        let serve = [
            ("SAGEMAKER_PROGRAM", "sagemaker_serve"),
            ("SAGEMAKER_SUBMIT_DIRECTORY", "/opt/ml/model/sagemaker_serve.py"),
        ];
        let mut transform = environment(&serve);
        transform.extend(environment(&[
            ("AUTOML_SPARSE_ENCODE_RECORDIO_PROTOBUF", "1"),
            ("AUTOML_TRANSFORM_MODE", "feature-transform"),
            ("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "application/x-recordio-protobuf"),
        ]));
        let mut algorithm = environment(&[
            ("MAX_CONTENT_LENGTH", "20971520"),
            ("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "text/csv"),
        ]);
        let mut containers = vec![container(sklearn.clone(), processor, transform)];
        if self.problem.is_classification() {
            algorithm.extend(response_keys("predicted_label,probability,probabilities", None));
        }
        containers.push(container(
            format!("{registry}/sagemaker-xgboost:1.3-1-cpu-py3"),
            model,
            algorithm,
        ));
        if self.problem.is_classification() {
            let mut inverse = environment(&serve);
            inverse.extend(environment(&[
                ("AUTOML_TRANSFORM_MODE", "inverse-label-transform"),
                ("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "text/csv"),
            ]));
            inverse.extend(response_keys(
                "predicted_label,probability,labels,probabilities",
                Some("predicted_label"),
            ));
            containers.push(container(sklearn, processor, inverse));
        }
        containers
    }

    pub(crate) fn candidate(
        &self,
        trained: &Trained,
        containers: Vec<ContainerDefinition>,
        shared: &[CandidateStep],
        ended: f64,
    ) -> Candidate {
        let name = self.candidate_name(trained.number);
        let created = ended - trained.seconds;
        let mut steps = shared.to_vec();
        // Its own training job has the candidate's name.
        steps.push(self.step(StepKind::Training, name.clone(), (created, ended)));
        Candidate {
            name: name.clone(),
            created,
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

    /// Gives Autopilot's name of the objective: ensembling its standard name, tuning the name
    /// that the algorithm's own log has for it.
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
    let mut keys = environment(&[
        ("SAGEMAKER_INFERENCE_SUPPORTED", supported),
        ("SAGEMAKER_INFERENCE_OUTPUT", "predicted_label"),
    ]);
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

/// Writes a document for people and programs.
pub(crate) async fn put_json(s3: &RoleS3, at: &S3Uri, document: &Value) -> Result<(), String> {
    put(s3, at, "application/json", document.to_string().into_bytes()).await
}

async fn put(s3: &RoleS3, at: &S3Uri, content_type: &str, body: Vec<u8>) -> Result<(), String> {
    let put = s3.put(at, content_type, body).await;
    put.map_err(|error| format!("ClientError: Failed to write to the S3 output path: {error}."))
}
