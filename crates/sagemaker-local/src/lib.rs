//! A SageMaker that really trains, deploys and predicts, on this machine.
//!
//! One HTTP server speaks SageMaker (JSON 1.1), SageMaker Runtime (REST JSON) and
//! Application Auto Scaling (JSON 1.1) for every account at once. The account is the
//! caller's, the region that of the request's signature, and who may do what is the
//! emulator's to say (see [`authority`]). Data and models stay where they are on AWS: in
//! the customer's bucket, reached with the execution role's own session.
//!
//! Each folder is a layer. It uses the layers below it, and never one beside or above it:
//!
//! ```text
//! server                                       connections, signatures, answers
//! operations                                   what each call does: a file a resource
//! endpoint | autopilot | transform | permissions   the work behind it; who may ask for it
//! cloud                                        what all of them share
//! serving                                      models, containers, captured data, metrics
//! records | services                           what is kept; S3, KMS, CloudWatch
//! wire                                         AWS's service model, refusals, names
//! ```
//!
//! `authority`, `doors`, `faults`, `lock` and `options` stand beside them.

pub mod authority;
mod autopilot;
mod cloud;
pub mod doors;
mod endpoint;
mod faults;
mod lock;
mod operations;
mod options;
mod permissions;
mod records;
mod server;
mod services;
mod serving;
mod transform;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::ListenerExt;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::cloud::Cloud;
use crate::endpoint::rollout;
use crate::operations::{automl_job, transform_job};
use crate::records::store::Store;
use crate::server::connections::Connections;
use crate::server::http;
use crate::serving::{capture, metrics};
use crate::wire::place::Place;

pub use crate::faults::{Death, Effect, Fault};
pub use crate::options::{Options, WAIT_SCALE};

/// The reason why a local SageMaker did not start.
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
    /// Starts listening, and goes on with what an earlier run left unfinished.
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
        let cloud = Arc::new(Cloud::new(options, store));
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
        cloud.spawn(metrics::publish(cloud.metrics.clone(), cloud.emulator.clone()));
        cloud.spawn(capture::write(cloud.captured.clone(), cloud.emulator.clone()));
        rollout::resume(&cloud);
        automl_job::resume(&cloud);
        transform_job::resume(&cloud);
        Ok(Self { cloud, address, server, close: Some(close) })
    }

    /// The endpoint URL for SageMaker, SageMaker Runtime and Application Auto Scaling.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Lets an endpoint look as if all had happened so much earlier to it, for
    /// tests of what happens after days.
    pub fn age_endpoint(&self, account: &str, region: &str, name: &str, by: Duration) {
        let place = Place { account: account.to_owned(), region: region.to_owned() };
        operations::endpoint::age(&self.cloud, &place, name, by);
    }

    /// Makes the calls of an operation go wrong, for tests.
    pub fn inject(&self, fault: Fault) {
        self.cloud.faults.add(fault);
    }

    /// Counts the faults about this that have not struck yet.
    pub fn faults_to_come(&self, about: &str) -> u32 {
        self.cloud.faults.to_come(about)
    }

    /// Stops serving and training, and saves what is to be kept.
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

async fn save_now_and_then(cloud: Arc<Cloud>) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if let Err(error) = cloud.store.save() {
            tracing::error!(%error, "the local SageMaker's state is not saved");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    /// From the lowest to the highest; those of a row do not use one another.
    const LAYERS: [&[&str]; 7] = [
        &["wire"],
        &["records", "services"],
        &["serving"],
        &["cloud"],
        &["endpoint", "autopilot", "transform", "permissions"],
        &["operations"],
        &["server"],
    ];

    #[test]
    fn layers_use_only_what_is_below_them() {
        let rank = |name: &str| LAYERS.iter().position(|row| row.contains(&name));
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        for (layer, own) in LAYERS.iter().flat_map(|row| row.iter()).map(|it| (it, rank(it))) {
            let folder = std::fs::read_dir(src.join(layer)).into_iter().flatten();
            let files = folder.map(|file| file.unwrap().path());
            for file in files.chain([src.join(layer).with_extension("rs")]) {
                if file.extension().is_none_or(|extension| extension != "rs") {
                    continue;
                }
                let text = std::fs::read_to_string(&file).unwrap();
                let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
                for used in code.flat_map(|line| line.split("crate::").skip(1)) {
                    // One layer, or several in braces.
                    let names = used.split("::").next().unwrap_or_default();
                    for name in names.split(|c: char| !c.is_alphanumeric() && c != '_') {
                        assert!(
                            name == *layer || rank(name).is_none_or(|rank| Some(rank) < own),
                            "{}: {layer} uses {name}",
                            file.display()
                        );
                    }
                }
            }
        }
    }
}
