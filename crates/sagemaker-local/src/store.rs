//! Every account's resources, in memory and, when asked, in a file.

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    automl_job::AutoMlJob, autoscaling::ScalableTarget, endpoint::Endpoint,
    transform_job::TransformJob,
};
use crate::authority::{Caller, ResourceTags};

/// Where a resource lives: names are unique per account and region.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    pub(super) account: String,
    pub(super) region: String,
}

impl Place {
    /// The ARN of a resource here. AWS lowercases the name in it.
    pub(super) fn arn(&self, kind: &str, name: &str) -> String {
        format!("arn:aws:sagemaker:{}:{}:{kind}/{}", self.region, self.account, name.to_lowercase())
    }

    fn key(&self) -> String {
        format!("{}/{}", self.account, self.region)
    }
}

impl From<&Caller> for Place {
    fn from(caller: &Caller) -> Self {
        Self { account: caller.account.clone(), region: caller.region.clone() }
    }
}

/// A model or an endpoint configuration: what its creator said, unchanged.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Definition {
    pub(super) name: String,
    pub(super) arn: String,
    pub(super) created: f64,
    pub(super) request: Value,
}

/// The resources of one account in one region, by lowercased name: AWS keeps a
/// name's case but does not tell names apart by it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Resources {
    pub(super) automl_jobs: BTreeMap<String, AutoMlJob>,
    pub(super) models: BTreeMap<String, Definition>,
    pub(super) endpoint_configs: BTreeMap<String, Definition>,
    pub(super) endpoints: BTreeMap<String, Endpoint>,
    pub(super) transform_jobs: BTreeMap<String, TransformJob>,
    pub(super) scalable_targets: BTreeMap<String, ScalableTarget>,
    /// Whether the service-linked role of Application Auto Scaling exists.
    pub(super) scaled_before: bool,
    pub(super) tags: ResourceTags,
}

/// The resources of all accounts.
pub(super) struct Store {
    places: Mutex<BTreeMap<String, Resources>>,
    file: Option<PathBuf>,
    unsaved: AtomicBool,
}

impl Store {
    /// An empty store, or the one that this file holds.
    pub(super) fn open(file: Option<PathBuf>) -> io::Result<Self> {
        let places = match file.as_ref().map(std::fs::read) {
            Some(Ok(saved)) => serde_json::from_slice(&saved)?,
            Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => BTreeMap::new(),
        };
        Ok(Self { places: Mutex::new(places), file, unsaved: AtomicBool::new(false) })
    }

    /// Look at or change one account's resources.
    pub(super) fn at<T>(&self, place: &Place, act: impl FnOnce(&mut Resources) -> T) -> T {
        let outcome = act(self.lock().entry(place.key()).or_default());
        self.unsaved.store(true, Ordering::Release);
        outcome
    }

    /// The tags of every resource whose ARN ends like this, whosever it is.
    pub(super) fn tags_of(&self, arn_end: &str) -> ResourceTags {
        let places = self.lock();
        let all = places.values().flat_map(|resources| &resources.tags);
        all.filter(|(arn, _)| arn.ends_with(arn_end))
            .map(|(arn, tags)| (arn.clone(), tags.clone()))
            .collect()
    }

    /// Every place with something in it.
    pub(super) fn places(&self) -> Vec<Place> {
        let split = |key: &String| {
            key.split_once('/').map(|(account, region)| (account.into(), region.into()))
        };
        self.lock()
            .keys()
            .filter_map(split)
            .map(|(account, region)| Place { account, region })
            .collect()
    }

    /// Write what changed since the last time, if this store is kept at all.
    pub(super) fn save(&self) -> io::Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        if !self.unsaved.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let text = serde_json::to_vec(&*self.lock())?;
        let partial = file.with_extension("partial");
        std::fs::write(&partial, text)?;
        std::fs::rename(partial, file)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Resources>> {
        // A panic elsewhere leaves whole records: every change is one assignment.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Now, as AWS writes times: seconds since 1970, with milliseconds.
pub(super) fn now() -> f64 {
    (time::OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000) as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn arns_are_lowercased_and_names_are_not() {
        let place = Place { account: "222222222222".into(), region: "eu-west-1".into() };
        assert_eq!(
            place.arn("endpoint", "Crosspilot-Acme"),
            "arn:aws:sagemaker:eu-west-1:222222222222:endpoint/crosspilot-acme"
        );
    }

    #[test]
    fn a_kept_store_comes_back() {
        let file =
            std::env::temp_dir().join(format!("crosspilot-store-{}.json", std::process::id()));
        let place = Place { account: "222222222222".into(), region: "us-east-1".into() };
        let store = Store::open(Some(file.clone())).unwrap();
        store.at(&place, |here| {
            here.tags.insert("arn".into(), BTreeMap::from([("k".into(), "v".into())]))
        });
        store.save().unwrap();
        let again = Store::open(Some(file.clone())).unwrap();
        assert_eq!(again.places(), [place]);
        assert_eq!(again.tags_of("rn")["arn"]["k"], "v");
        std::fs::remove_file(file).unwrap();
    }
}
