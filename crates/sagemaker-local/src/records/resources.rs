//! The resources of one account in one region.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::authority::ResourceTags;
use crate::records::automl_job::AutoMlJob;
use crate::records::endpoint::Endpoint;
use crate::records::endpoint_config::EndpointConfig;
use crate::records::model::Model;
use crate::records::resource::Resource;
use crate::records::scalable_target::{ScalableTarget, VariantId};
use crate::records::transform_job::TransformJob;
use crate::wire::call::Tags;
use crate::wire::error::ApiError;
use crate::wire::place::Place;

/// Resources of a kind by lowercased name: AWS keeps a name's case but does not tell names
/// apart by it.
pub(crate) type Shelf<R> = BTreeMap<String, R>;

/// The resources of one account in one region.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Resources {
    automl_jobs: Shelf<AutoMlJob>,
    models: Shelf<Model>,
    endpoint_configs: Shelf<EndpointConfig>,
    endpoints: Shelf<Endpoint>,
    transform_jobs: Shelf<TransformJob>,
    /// By [`VariantId::key`].
    pub(crate) scalable_targets: BTreeMap<String, ScalableTarget>,
    /// `true` if the service-linked role of Application Auto Scaling exists.
    pub(crate) scaled_before: bool,
    /// Every resource has an entry, if an empty one.
    pub(crate) tags: ResourceTags,
}

/// A resource that has a shelf.
pub(crate) trait Kept: Resource {
    fn shelf(resources: &Resources) -> &Shelf<Self>;
    fn shelf_mut(resources: &mut Resources) -> &mut Shelf<Self>;
}

macro_rules! kept {
    ($($resource:ty: $shelf:ident,)*) => {$(
        impl Kept for $resource {
            fn shelf(resources: &Resources) -> &Shelf<Self> {
                &resources.$shelf
            }

            fn shelf_mut(resources: &mut Resources) -> &mut Shelf<Self> {
                &mut resources.$shelf
            }
        }
    )*};
}

kept! {
    AutoMlJob: automl_jobs,
    Model: models,
    EndpointConfig: endpoint_configs,
    Endpoint: endpoints,
    TransformJob: transform_jobs,
}

impl Resources {
    pub(crate) fn all<'a, R: Kept + 'a>(&'a self) -> impl Iterator<Item = &'a R> {
        R::shelf(self).values()
    }

    pub(crate) fn get<R: Kept>(&self, name: &str) -> Option<&R> {
        R::shelf(self).get(&name.to_lowercase())
    }

    pub(crate) fn get_mut<R: Kept>(&mut self, name: &str) -> Option<&mut R> {
        R::shelf_mut(self).get_mut(&name.to_lowercase())
    }

    /// Finds a resource, or refuses in AWS's words.
    pub(crate) fn find<R: Kept>(&self, place: &Place, name: &str) -> Result<&R, ApiError> {
        self.get(name).ok_or_else(|| R::missing(name, &place.arn(R::KIND, name)))
    }

    /// Refuses a name that is taken, in AWS's words.
    pub(crate) fn is_free<R: Kept>(&self, place: &Place, name: &str) -> Result<(), ApiError> {
        match self.get::<R>(name) {
            Some(_) => Err(R::taken(name, &place.arn(R::KIND, name))),
            None => Ok(()),
        }
    }

    /// Adds a resource, or refuses a name that is taken.
    pub(crate) fn add<R: Kept>(&mut self, resource: R, tags: Tags) -> Result<(), ApiError> {
        if self.get::<R>(resource.name()).is_some() {
            return Err(R::taken(resource.name(), resource.arn()));
        }
        self.tags.insert(resource.arn().to_owned(), tags);
        R::shelf_mut(self).insert(resource.name().to_lowercase(), resource);
        Ok(())
    }

    /// Removes a resource and its tags.
    pub(crate) fn remove<R: Kept>(&mut self, name: &str) -> Option<R> {
        let removed = R::shelf_mut(self).remove(&name.to_lowercase())?;
        self.tags.remove(removed.arn());
        Some(removed)
    }

    /// The variants of an endpoint that are scalable targets.
    pub(crate) fn scalable_targets_of(
        &self,
        endpoint: &str,
    ) -> impl Iterator<Item = (VariantId<'_>, &ScalableTarget)> {
        let targets = self.scalable_targets.values();
        targets
            .filter_map(|target| Some((VariantId::parse(&target.resource)?, target)))
            .filter(move |(id, _)| id.endpoint.eq_ignore_ascii_case(endpoint))
    }

    /// The scalable variants of an endpoint, with their least and most instances.
    pub(crate) fn scaling_limits(&self, endpoint: &str) -> Vec<(String, u64, u64)> {
        let targets = self.scalable_targets_of(endpoint);
        targets.map(|(id, target)| (id.variant.to_owned(), target.min, target.max)).collect()
    }

    /// Removes the scalable targets of an endpoint that is gone.
    pub(crate) fn remove_scalable_targets_of(&mut self, endpoint: &str) {
        let prefix = format!("{}/", endpoint.to_lowercase());
        self.scalable_targets.retain(|key, _| !key.starts_with(&prefix));
    }
}
