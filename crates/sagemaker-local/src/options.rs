//! The options of a local SageMaker.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::authority::Authority;

/// The options of a local SageMaker.
#[derive(Debug, Clone)]
pub struct Options {
    /// The address to listen on; port 0 takes a free one.
    pub bind: SocketAddr,
    /// The emulator as the judge of who is calling and what they may do.
    pub authority: Authority,
    /// The emulator, for S3.
    pub emulator_url: String,
    /// The folder that keeps state across restarts; none is kept if `None`.
    pub state_dir: Option<PathBuf>,
    /// Training is reproducible for the same seed and data.
    pub seed: u64,
    /// Candidates of an ensembling job that does not limit them.
    pub default_candidates_ensembling: u32,
    /// Candidates of a hyperparameter tuning job that does not limit them.
    pub default_candidates_tuning: u32,
    /// AutoML jobs that one account may run at a time in a region.
    pub concurrent_automl_jobs: usize,
    /// The time that a job stays in a stage that takes none here, so that it is seen.
    pub stage: Duration,
    /// The time that an endpoint takes to start, change or go.
    pub endpoint_change: Duration,
    /// The seconds that a second of waiting in a deployment lasts here.
    pub wait_scale: f64,
}

/// The seconds that a second of waiting lasts on the local cloud.
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
