//! Tags, which IAM conditions and people's bills look at.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::cloud::Cloud;
use crate::records::resources::Resources;
use crate::wire::call::{Answer, Call, tags_of};
use crate::wire::error::ApiError;
use crate::wire::paging::{ListingSpec, NEWEST_FIRST, Row, page};

const MAX_TAGS: usize = 50;
/// A page holds all of them.
const LISTING: ListingSpec = ListingSpec { member: "Tags", order: NEWEST_FIRST, page: MAX_TAGS };

pub(crate) fn add(cloud: &Cloud, call: &Call) -> Answer {
    let arn = call.text("ResourceArn").to_lowercase();
    cloud.store.at(&call.place, |here| {
        exists(here, &arn)?;
        let mut tags = here.tags.get(&arn).cloned().unwrap_or_default();
        tags.extend(tags_of(&call.input));
        if tags.len() > MAX_TAGS {
            return Err(ApiError::ResourceLimitExceeded(format!(
                "A resource can have {MAX_TAGS} tags."
            )));
        }
        here.tags.insert(arn.clone(), tags.clone());
        Ok(json!({ "Tags": listed(&tags) }))
    })
}

pub(crate) fn list(cloud: &Cloud, call: &Call) -> Answer {
    let arn = call.text("ResourceArn").to_lowercase();
    cloud.store.at(&call.place, |here| {
        exists(here, &arn)?;
        let tags = here.tags.get(&arn).cloned().unwrap_or_default();
        let row = |(key, value): (&String, &String)| {
            Row::new(key, 0.0, json!({ "Key": key, "Value": value }))
        };
        page(LISTING, &call.input, tags.iter().map(row).collect())
    })
}

pub(crate) fn delete(cloud: &Cloud, call: &Call) -> Answer {
    let arn = call.text("ResourceArn").to_lowercase();
    let keys = call
        .input
        .get("TagKeys")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    cloud.store.at(&call.place, |here| {
        exists(here, &arn)?;
        if let Some(tags) = here.tags.get_mut(&arn) {
            keys.for_each(|key| drop(tags.remove(key)));
        }
        Ok(json!({}))
    })
}

fn listed(tags: &BTreeMap<String, String>) -> Vec<Value> {
    tags.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect()
}

fn exists(here: &Resources, arn: &str) -> Result<(), ApiError> {
    // Every resource has an entry, if an empty one.
    if here.tags.contains_key(arn) {
        return Ok(());
    }
    Err(ApiError::Validation(format!("Could not find resource \"{arn}\".")))
}
