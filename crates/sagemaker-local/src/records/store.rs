//! Every account's resources, in memory and, when asked, in a file.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::authority::{Caller, ResourceTags};
use crate::operations::automl_job::AutoMlJob;
use crate::operations::endpoint::Endpoint;
use crate::operations::scaling::ScalableTarget;
use crate::operations::transform_job::TransformJob;

/// Where a resource lives: names are unique per account and region.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub(crate) account: String,
    pub(crate) region: String,
}

impl Place {
    /// The ARN of a resource here. AWS lowercases the name in it.
    pub(crate) fn arn(&self, kind: &str, name: &str) -> String {
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
pub(crate) struct Definition {
    pub(crate) name: String,
    pub(crate) arn: String,
    pub(crate) created: f64,
    pub(crate) request: Value,
}

/// The resources of one account in one region, by lowercased name: AWS keeps a
/// name's case but does not tell names apart by it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Resources {
    pub(crate) automl_jobs: BTreeMap<String, AutoMlJob>,
    pub(crate) models: BTreeMap<String, Definition>,
    pub(crate) endpoint_configs: BTreeMap<String, Definition>,
    pub(crate) endpoints: BTreeMap<String, Endpoint>,
    pub(crate) transform_jobs: BTreeMap<String, TransformJob>,
    pub(crate) scalable_targets: BTreeMap<String, ScalableTarget>,
    /// Whether the service-linked role of Application Auto Scaling exists.
    pub(crate) scaled_before: bool,
    pub(crate) tags: ResourceTags,
}

/// The resources of all accounts.
pub(crate) struct Store {
    places: Mutex<BTreeMap<String, Resources>>,
    file: Option<PathBuf>,
    unsaved: AtomicBool,
}

impl Store {
    /// An empty store, or the one that this file holds.
    pub(crate) fn open(file: Option<PathBuf>) -> io::Result<Self> {
        let places = match file.as_ref().map(std::fs::read) {
            Some(Ok(saved)) => serde_json::from_slice(&saved)?,
            Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => BTreeMap::new(),
        };
        Ok(Self { places: Mutex::new(places), file, unsaved: AtomicBool::new(false) })
    }

    /// Look at or change one account's resources.
    pub(crate) fn at<T>(&self, place: &Place, act: impl FnOnce(&mut Resources) -> T) -> T {
        let outcome = act(self.lock().entry(place.key()).or_default());
        self.unsaved.store(true, Ordering::Release);
        outcome
    }

    /// The tags of every resource whose ARN ends like this, whosever it is.
    pub(crate) fn tags_of(&self, arn_end: &str) -> ResourceTags {
        let places = self.lock();
        let all = places.values().flat_map(|resources| &resources.tags);
        all.filter(|(arn, _)| arn.ends_with(arn_end))
            .map(|(arn, tags)| (arn.clone(), tags.clone()))
            .collect()
    }

    /// Every place with something in it.
    pub(crate) fn places(&self) -> Vec<Place> {
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
    pub(crate) fn save(&self) -> io::Result<()> {
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
pub(crate) fn now() -> f64 {
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
