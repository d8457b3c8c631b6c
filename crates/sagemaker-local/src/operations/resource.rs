//! The operations that are alike for resources of every kind: describe, list, delete.

use serde_json::json;

use crate::cloud::Cloud;
use crate::records::resource::Resource;
use crate::records::resources::{Kept, Resources};
use crate::wire::call::{Answer, Call};
use crate::wire::paging::{Row, page};

/// Does `Describe*`.
pub(crate) fn describe<R: Kept>(cloud: &Cloud, call: &Call) -> Answer {
    let resource: R = cloud.store.find(&call.place, call.text(R::NAMED_BY))?;
    Ok(resource.describe())
}

/// Does `List*`.
pub(crate) fn list<R: Kept>(cloud: &Cloud, call: &Call) -> Answer {
    list_with::<R>(cloud, call, |_| Vec::new())
}

/// Does `List*` where some of the rows are not of resources of this kind.
pub(crate) fn list_with<R: Kept>(
    cloud: &Cloud,
    call: &Call,
    more: impl FnOnce(&Resources) -> Vec<Row>,
) -> Answer {
    let rows = cloud.store.at(&call.place, |here| {
        let mut rows = more(here);
        rows.extend(here.all::<R>().map(Resource::row));
        rows
    });
    page(R::LISTING, &call.input, rows)
}

/// Does `Delete*` of what is gone at once.
pub(crate) fn delete<R: Kept>(cloud: &Cloud, call: &Call) -> Answer {
    let name = call.text(R::NAMED_BY);
    cloud.store.at(&call.place, |here| {
        here.find::<R>(&call.place, name)?;
        here.remove::<R>(name);
        Ok(json!({}))
    })
}
