//! The work of an AutoML job, from its data to its best candidate.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crosspilot_automl::{Analysis, Table};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::autopilot::artifacts::{Recipe, put_json};
use crate::autopilot::input::{assume_role, fetch};
use crate::autopilot::reports;
use crate::autopilot::request::{AutoMlPlan, Deploy, Mode};
use crate::autopilot::trainer::{Outcome, Progress, Trained, Training};
use crate::cloud::Cloud;
use crate::records::automl_job::AutoMlJob;
use crate::records::job::JobStatus;
use crate::services::s3::{RoleS3, S3Uri};
use crate::wire::ids::now;
use crate::wire::place::Place;

/// AUTO ensembles below this size, as Autopilot does.
const ENSEMBLING_BELOW: usize = 100 << 20;

/// The folder of a job's notebooks, in its output.
const NOTEBOOKS: &str = "sagemaker-automl-candidates/notebooks/SageMakerAutopilot";

/// The stage in which the best candidate gets its endpoint.
const DEPLOYING: &str = "DeployingModel";

/// A job at work.
pub(crate) struct Run {
    pub(crate) cloud: Arc<Cloud>,
    pub(crate) place: Place,
    /// As it was when the work began.
    pub(crate) job: AutoMlJob,
    stop: Arc<AtomicBool>,
}

/// A job whose candidates are trained, or that did not have to train any.
pub(crate) struct Finished {
    /// The secondary status of the completed job.
    pub(crate) secondary: &'static str,
    /// The endpoint that the best candidate is still to get.
    pub(crate) deploy: Option<Deploy>,
}

/// The results of a job's work before it trains.
struct Prepared {
    training: Training,
    analysis: Analysis,
    recipe: Recipe,
}

impl Run {
    /// Begins the work on a job, if it exists.
    pub(crate) fn begin(cloud: Arc<Cloud>, place: Place, name: &str) -> Option<Self> {
        let job: AutoMlJob = cloud.store.get(&place, name)?;
        let stop = cloud.stop_flag(&job.arn);
        Some(Self { cloud, place, job, stop })
    }

    /// Trains and explains; why not, in the words of a `FailureReason`.
    pub(crate) async fn work(&self) -> Result<Finished, String> {
        let plan = AutoMlPlan::read(&self.job.request)?;
        let deadline =
            plan.max_seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        self.pause().await;
        let Prepared { training, analysis, recipe } = self.prepare(&plan).await?;
        let without_endpoint = |secondary| Ok(Finished { secondary, deploy: None });
        if plan.definitions_only {
            return without_endpoint("CandidateDefinitionsGenerated");
        }
        self.stage(match recipe.mode {
            Mode::Ensembling => "TrainingModels",
            Mode::Tuning => "ModelTuning",
        })
        .await;
        let Outcome { best, training, out_of_time } =
            self.train(training, deadline, &plan, &recipe).await?;
        if self.stopped() {
            return without_endpoint("Stopped");
        }
        self.explain(&plan, &recipe, &best, training, &analysis).await?;
        let trained = self.now().map_or(0, |job| job.candidates.len());
        let secondary = match recipe.mode {
            _ if out_of_time => "MaxAutoMLJobRuntimeReached",
            Mode::Tuning if plan.max_candidates.is_some_and(|most| trained >= most as usize) => {
                "MaxCandidatesReached"
            }
            _ => "Completed",
        };
        Ok(Finished { secondary, deploy: plan.deploy })
    }

    /// Ends the job: with the secondary status of its completion, or why it failed.
    pub(crate) fn conclude(self, outcome: Result<&'static str, String>) {
        self.change(|job| match outcome {
            // Whatever came of it: who asks for a stop gets one.
            _ if self.stopped() => job.end(JobStatus::Stopped, "Stopped", None),
            Ok(secondary) => job.end(JobStatus::Completed, secondary, None),
            // The best candidate is there all the same.
            Err(reason) if job.secondary == DEPLOYING => {
                job.end(JobStatus::Failed, "ModelDeploymentError", Some(reason));
            }
            Err(reason) => {
                job.best = None;
                job.end(JobStatus::Failed, "Failed", Some(reason));
            }
        });
        self.cloud.forget_stop_flag(&self.job.arn);
    }

    /// The job as it is now.
    pub(crate) fn now(&self) -> Option<AutoMlJob> {
        self.cloud.store.get(&self.place, &self.job.name)
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut AutoMlJob)) {
        self.cloud.store.change(&self.place, &self.job.name, |job: &mut AutoMlJob| {
            change(job);
            job.modified = now();
        });
    }

    /// Enters the stage in which the best candidate gets its endpoint.
    pub(crate) async fn begin_deployment(&self) {
        self.stage(DEPLOYING).await;
    }

    /// Reads the data, finds out what is to be predicted and writes the notebooks.
    async fn prepare(&self, plan: &AutoMlPlan) -> Result<Prepared, String> {
        let s3 = self.s3(plan).await?;
        s3.check_volume_key(plan.volume_key.as_deref())
            .await
            .map_err(|error| format!("ClientError: {error}"))?;
        let training = fetch(&s3, &self.place, plan, &plan.training).await?;
        let validation = match &plan.validation {
            Some(channel) => Some(fetch(&s3, &self.place, plan, channel).await?),
            None => None,
        };
        let small = training.size() < ENSEMBLING_BELOW;
        let mode = plan.mode.unwrap_or(if small { Mode::Ensembling } else { Mode::Tuning });
        let options = &self.cloud.options;
        let (first, default_candidates) = match mode {
            Mode::Ensembling => ("PreTraining", options.default_candidates_ensembling),
            Mode::Tuning => ("AnalyzingData", options.default_candidates_tuning),
        };

        let analysed = now();
        self.stage(first).await;
        let candidates = plan.max_candidates.unwrap_or(default_candidates);
        let (read, seed) = (plan.clone(), options.seed);
        let prepare = move || Training::prepare(&read, training, validation, candidates, seed);
        let prepared = spawn_blocking(prepare).await.map_err(|error| error.to_string())?;
        let (training, analysis) = prepared?;
        let job = &self.job.name;
        let recipe = Recipe {
            job: job.clone(),
            place: self.place.clone(),
            output: plan.output.join(job),
            mode,
            problem: analysis.problem_type,
            metric: analysis.metric,
        };
        let notebook = |name: &str| -> S3Uri {
            recipe.output.join(&format!("{NOTEBOOKS}{name}Notebook.ipynb"))
        };
        let exploration = notebook("DataExploration");
        put_json(&s3, &exploration, &reports::exploration(job, &plan.target, &analysis)).await?;
        self.change(|job| {
            job.resolved = Some((analysis.problem_type, analysis.metric));
            job.notebook = Some(exploration.to_string());
        });
        let featured = now();
        self.stage("FeatureEngineering").await;
        if mode == Mode::Tuning {
            let definitions = notebook("CandidateDefinition");
            let text = reports::definitions(job, &plan.target, &analysis, candidates);
            put_json(&s3, &definitions, &text).await?;
            let steps = recipe.shared_steps((analysed, featured), (featured, now()));
            self.change(|job| {
                job.definitions = Some(definitions.to_string());
                job.steps = steps;
            });
        }
        Ok(Prepared { training, analysis, recipe })
    }

    /// Trains on a thread of its own; candidates go to S3 and to the job as they finish,
    /// the best one once more in its final form.
    async fn train(
        &self,
        training: Training,
        deadline: Option<Instant>,
        plan: &AutoMlPlan,
        recipe: &Recipe,
    ) -> Result<Outcome, String> {
        let (report, mut trained) = mpsc::unbounded_channel();
        let stop = self.stop.clone();
        let shared = self.now().map(|job| job.steps).unwrap_or_default();
        let training = spawn_blocking(move || {
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
            let s3 = self.s3(plan).await?;
            let containers = recipe.upload(&s3, &candidate).await?;
            let candidate = recipe.candidate(&candidate, containers, &shared, at);
            self.change(|job| {
                job.unfinished.retain(|begun| begun.name != candidate.name);
                job.candidates.push(candidate);
                job.best = recipe.best_of(&job.candidates);
            });
        }
        let outcome = training.await.map_err(|error| error.to_string())??;
        let s3 = self.s3(plan).await?;
        recipe.upload(&s3, &outcome.best).await?;
        let name = recipe.candidate_name(outcome.best.number);
        self.change(|job| job.best = Some(name));
        Ok(outcome)
    }

    /// Writes the explainability report and the model insights of the best candidate.
    async fn explain(
        &self,
        plan: &AutoMlPlan,
        recipe: &Recipe,
        best: &Trained,
        training: Table,
        analysis: &Analysis,
    ) -> Result<(), String> {
        let s3 = self.s3(plan).await?;
        let name = recipe.candidate_name(best.number);
        self.stage("GeneratingExplainabilityReport").await;
        let explainability =
            recipe.output.join(&format!("documentation/explainability/output/{name}"));
        let (predictor, seed) = (best.predictor.clone(), self.cloud.options.seed);
        let shares = spawn_blocking(move || predictor.importance(&training, seed))
            .await
            .map_err(|error| error.to_string())??;
        let analysis_file = explainability.join("analysis.json");
        put_json(&s3, &analysis_file, &reports::explainability(&shares, analysis)).await?;
        self.stage("GeneratingModelInsightsReport").await;
        let insights = recipe.output.join(&format!("documentation/model_monitor/output/{name}"));
        put_json(&s3, &insights.join("statistics.json"), &reports::insights(best, analysis))
            .await?;
        self.change(|job| {
            if let Some(best) = job.candidates.iter_mut().find(|candidate| candidate.name == name) {
                best.explainability = Some(explainability.to_string());
                best.insights = Some(insights.to_string());
            }
        });
        Ok(())
    }

    async fn s3(&self, plan: &AutoMlPlan) -> Result<RoleS3, String> {
        let s3 = assume_role(&self.cloud.emulator, &self.place, &plan.role, &self.job.arn)
            .await
            .map_err(|error| error.to_string())?;
        let key = plan.output_key.as_deref();
        s3.encrypting(key).await.map_err(|error| format!("ClientError: {error}"))
    }

    /// Enters the next stage, and stays long enough to be seen there.
    async fn stage(&self, secondary: &str) {
        self.change(|job| {
            if job.status == JobStatus::InProgress {
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
