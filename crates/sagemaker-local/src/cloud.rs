//! Everything that operations and workers share. Uses what it holds: [`crate::records`],
//! [`crate::services`], [`crate::serving`].

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::task::JoinSet;

use crate::faults::Faults;
use crate::lock::lock;
use crate::options::Options;
use crate::records::store::Store;
use crate::services::emulator::Emulator;
use crate::serving::capture::Captured;
use crate::serving::metrics::Metrics;
use crate::serving::traffic::Traffic;

/// Everything that operations and workers share.
pub(crate) struct Cloud {
    pub(crate) options: Options,
    pub(crate) store: Store,
    pub(crate) emulator: Emulator,
    pub(crate) faults: Faults,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) captured: Arc<Captured>,
    /// The fleets that answer for endpoints right now, by ARN.
    pub(crate) serving: Mutex<HashMap<String, Traffic>>,
    /// The stop flags of running jobs, by ARN.
    stops: Mutex<HashMap<String, Arc<AtomicBool>>>,
    tasks: Mutex<JoinSet<()>>,
}

impl Cloud {
    pub(crate) fn new(options: Options, store: Store) -> Self {
        Self {
            emulator: Emulator::new(&options.emulator_url, options.authority.clone()),
            options,
            store,
            faults: Faults::default(),
            metrics: Arc::default(),
            captured: Arc::default(),
            serving: Mutex::default(),
            stops: Mutex::default(),
            tasks: Mutex::new(JoinSet::new()),
        }
    }

    /// Starts a task that ends with this.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = lock(&self.tasks);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    /// The flag that ends the job `arn` when it is set.
    pub(crate) fn stop_flag(&self, arn: &str) -> Arc<AtomicBool> {
        lock(&self.stops).entry(arn.to_owned()).or_default().clone()
    }

    pub(crate) fn forget_stop_flag(&self, arn: &str) {
        lock(&self.stops).remove(arn);
    }

    /// Ends every task; training that runs on a thread of its own sees its flag.
    pub(crate) fn end(&self) {
        lock(&self.tasks).abort_all();
        for stop in lock(&self.stops).values() {
            stop.store(true, Ordering::Release);
        }
    }
}
