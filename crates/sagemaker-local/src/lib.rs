//! A SageMaker that really trains, deploys and predicts, on this machine.
//!
//! One HTTP server speaks SageMaker (JSON 1.1), SageMaker Runtime (REST JSON) and
//! Application Auto Scaling (JSON 1.1) for every account at once. The account is the caller's, the region
//! that of the request's signature, and who may do what is the emulator's to
//! say (see [`crate::authority`]). Data and models stay where they are on AWS:
//! in the customer's bucket, reached with the execution role's own session.

pub mod authority;
mod autopilot;
pub mod doors;
mod endpoint;
mod faults;
mod operations;
mod records;
mod server;
mod services;
mod serving;
mod transform;
mod wire;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::serve::ListenerExt;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

pub use crate::faults::{Death, Effect, Fault};

use crate::authority::{Authority, AuthorityError};
use crate::endpoint::rollout;
use crate::endpoint::variants::Traffic;
use crate::faults::Faults;
use crate::operations::{automl_job, transform_job};
use crate::records::store::{Place, Store};
use crate::server::connections::Connections;
use crate::server::http;
use crate::services::emulator::Neighbours;
use crate::services::s3::RoleS3;
use crate::serving::capture::{self, Captured};
use crate::serving::metrics::{self, Metrics};

/// How a local SageMaker is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub bind: SocketAddr,
    /// Who says who is calling and what they may do.
    pub authority: Authority,
    /// The emulator, for S3.
    pub emulator_url: String,
    /// Where state is kept across restarts; nowhere if `None`.
    pub state_dir: Option<PathBuf>,
    /// Training is reproducible for the same seed and data.
    pub seed: u64,
    /// Candidates of an ensembling job that does not limit them.
    pub default_candidates_ensembling: u32,
    /// Candidates of a hyperparameter tuning job that does not limit them.
    pub default_candidates_tuning: u32,
    /// AutoML jobs that one account may run at a time in a region.
    pub concurrent_automl_jobs: usize,
    /// How long a job stays in a stage that takes no time here, so that it is seen.
    pub stage: Duration,
    /// How long an endpoint takes to start, change or go.
    pub endpoint_change: Duration,
    /// What a second of waiting in a deployment lasts here, in seconds.
    pub wait_scale: f64,
}

/// What a second of waiting lasts on the local cloud, in seconds.
pub const WAIT_SCALE: f64 = 0.1;

impl Options {
    /// The defaults, for an emulator at this URL.
    pub fn new(emulator_url: impl Into<String>, authority: Authority) -> Self {
        Self {
            bind: SocketAddr::from(([127, 0, 0, 1], 0)),
            authority,
            emulator_url: emulator_url.into(),
            state_dir: None,
            seed: 7,
            default_candidates_ensembling: 10,
            default_candidates_tuning: 24,
            concurrent_automl_jobs: 4,
            stage: Duration::from_millis(150),
            endpoint_change: Duration::from_millis(500),
            wait_scale: WAIT_SCALE,
        }
    }
}

/// Why a local SageMaker did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The port could not be had.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, io::Error),
    /// The state of an earlier run could not be read.
    #[error("cannot read the kept state in {0}: {1}")]
    State(PathBuf, io::Error),
}

/// A running local SageMaker. Dropping it ends it at once; [`Self::stop`] also
/// saves what it is to keep.
pub struct SageMaker {
    cloud: Arc<Cloud>,
    address: SocketAddr,
    server: JoinHandle<()>,
    /// Lets open connections finish what they are at, and closes the others.
    close: Option<oneshot::Sender<()>>,
}

impl SageMaker {
    /// Start listening, and go on with what an earlier run left unfinished.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let file = match &options.state_dir {
            Some(dir) => {
                std::fs::create_dir_all(dir)
                    .map_err(|error| StartError::State(dir.clone(), error))?;
                Some(dir.join("sagemaker.json"))
            }
            None => None,
        };
        let store = Store::open(file.clone())
            .map_err(|error| StartError::State(file.unwrap_or_default(), error))?;
        let bind = options.bind;
        let listener = tokio::net::TcpListener::bind(bind)
            .await
            .map_err(|error| StartError::Listen(bind, error))?;
        let address = listener.local_addr().map_err(|error| StartError::Listen(bind, error))?;
        let cloud = Arc::new(Cloud {
            neighbours: Neighbours::new(&options.emulator_url, options.authority.clone()),
            options,
            store,
            faults: Faults::default(),
            metrics: Metrics::default(),
            captured: Captured::default(),
            serving: Mutex::default(),
            stops: Mutex::default(),
            tasks: Mutex::new(JoinSet::new()),
        });
        let router = http::router(cloud.clone());
        let (close, closed) = oneshot::channel::<()>();
        let server = tokio::spawn(async move {
            let service = router.into_make_service_with_connect_info::<SocketAddr>();
            // What is tapped tells its sender's address.
            let listener = Connections::new(listener).tap_io(|_| ());
            let server = axum::serve(listener, service).with_graceful_shutdown(async {
                // A dropped handle closes as well.
                let _ = closed.await;
            });
            if let Err(error) = server.await {
                tracing::error!(%error, "the local SageMaker stopped listening");
            }
        });
        cloud.spawn(save_now_and_then(cloud.clone()));
        cloud.spawn(metrics::publish(cloud.clone()));
        cloud.spawn(capture::write(cloud.clone()));
        rollout::resume(&cloud);
        automl_job::resume(&cloud);
        transform_job::resume(&cloud);
        Ok(Self { cloud, address, server, close: Some(close) })
    }

    /// The endpoint URL for SageMaker, SageMaker Runtime and Application Auto Scaling.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Let an endpoint look as if all had happened so much earlier to it, for
    /// tests of what happens after days.
    pub fn age_endpoint(&self, account: &str, region: &str, name: &str, by: Duration) {
        let place = Place { account: account.to_owned(), region: region.to_owned() };
        operations::endpoint::age(&self.cloud, &place, name, by);
    }

    /// Make the calls of an operation go wrong, for tests.
    pub fn inject(&self, fault: Fault) {
        self.cloud.faults.add(fault);
    }

    /// How many faults about this have not struck yet.
    pub fn faults_to_come(&self, about: &str) -> u32 {
        self.cloud.faults.to_come(about)
    }

    /// Stop serving and training, and save what is to be kept.
    pub async fn stop(mut self) {
        const PATIENCE: Duration = Duration::from_secs(2);
        drop(self.close.take());
        if tokio::time::timeout(PATIENCE, &mut self.server).await.is_err() {
            tracing::warn!("a request to the local SageMaker was cut off");
        }
        self.cloud.end();
        if let Err(error) = self.cloud.store.save() {
            tracing::error!(%error, "the local SageMaker's state is not saved");
        }
    }
}

impl Drop for SageMaker {
    fn drop(&mut self) {
        self.server.abort();
        self.cloud.end();
    }
}

/// Everything that the handlers share.
struct Cloud {
    options: Options,
    store: Store,
    neighbours: Neighbours,
    faults: Faults,
    metrics: Metrics,
    captured: Captured,
    /// What answers for endpoints right now, by ARN.
    serving: Mutex<HashMap<String, Traffic>>,
    /// The stop flags of running jobs, by ARN.
    stops: Mutex<HashMap<String, Arc<AtomicBool>>>,
    tasks: Mutex<JoinSet<()>>,
}

impl Cloud {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = lock(&self.tasks);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    /// S3 with a session of this role, for the resource `arn`.
    async fn role_s3(
        &self,
        place: &Place,
        role_arn: &str,
        arn: &str,
    ) -> Result<RoleS3, AuthorityError> {
        let Options { authority, emulator_url, .. } = &self.options;
        RoleS3::open(authority, &self.neighbours, emulator_url, place, role_arn, arn).await
    }

    /// A flag that ends the job `arn` when it is set.
    fn stop_flag(&self, arn: &str) -> Arc<AtomicBool> {
        lock(&self.stops).entry(arn.to_owned()).or_default().clone()
    }

    fn forget_stop_flag(&self, arn: &str) {
        lock(&self.stops).remove(arn);
    }

    /// End every task; training that runs on a thread of its own sees its flag.
    fn end(&self) {
        lock(&self.tasks).abort_all();
        for stop in lock(&self.stops).values() {
            stop.store(true, Ordering::Release);
        }
    }
}

async fn save_now_and_then(cloud: Arc<Cloud>) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if let Err(error) = cloud.store.save() {
            tracing::error!(%error, "the local SageMaker's state is not saved");
        }
    }
}

/// A panic while a map is locked leaves it whole: every change is one insertion.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
