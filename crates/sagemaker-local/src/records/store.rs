//! Every account's resources, in memory and, when asked, in a file.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

use crate::authority::ResourceTags;
use crate::lock::lock;
use crate::records::resources::{Kept, Resources};
use crate::wire::error::ApiError;
use crate::wire::place::Place;

/// The resources of all accounts.
pub(crate) struct Store {
    /// By account and region, `222222222222/eu-west-1`.
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

    /// Looks at or changes one account's resources.
    pub(crate) fn at<T>(&self, place: &Place, act: impl FnOnce(&mut Resources) -> T) -> T {
        let key = format!("{}/{}", place.account, place.region);
        let outcome = act(self.lock().entry(key).or_default());
        self.unsaved.store(true, Ordering::Release);
        outcome
    }

    /// Copies a resource, if it exists.
    pub(crate) fn get<R: Kept>(&self, place: &Place, name: &str) -> Option<R> {
        self.at(place, |here| here.get(name).cloned())
    }

    /// Copies a resource, or refuses in AWS's words.
    pub(crate) fn find<R: Kept>(&self, place: &Place, name: &str) -> Result<R, ApiError> {
        self.at(place, |here| here.find(place, name).cloned())
    }

    /// Changes a resource, if it exists.
    pub(crate) fn change<R: Kept, T>(
        &self,
        place: &Place,
        name: &str,
        change: impl FnOnce(&mut R) -> T,
    ) -> Option<T> {
        self.at(place, |here| here.get_mut(name).map(change))
    }

    /// Changes a resource or refuses to, in AWS's words.
    pub(crate) fn try_change<R: Kept, T>(
        &self,
        place: &Place,
        name: &str,
        change: impl FnOnce(&mut R) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        self.at(place, |here| match here.get_mut(name) {
            Some(resource) => change(resource),
            None => Err(R::missing(name, &place.arn(R::KIND, name))),
        })
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

    /// Every resource of a kind, with its place, for what goes on after a restart.
    pub(crate) fn everywhere<R: Kept>(&self) -> Vec<(Place, R)> {
        let all = |place: Place| {
            let own: Vec<R> = self.at(&place, |here| here.all().cloned().collect());
            own.into_iter().map(move |resource| (place.clone(), resource))
        };
        self.places().into_iter().flat_map(all).collect()
    }

    /// Writes what changed since the last time, if this store is kept at all.
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
        lock(&self.places)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

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
