//! Tags, which IAM conditions and people's bills look at.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::Cloud;
use crate::operations::{Answer, Call, authorization};
use crate::records::store::Resources;
use crate::wire::error::ApiError;

const MAX_TAGS: usize = 50;

pub(crate) fn add(cloud: &Cloud, call: &Call) -> Answer {
    let arn = call.text("ResourceArn").to_lowercase();
    cloud.store.at(&call.place, |here| {
        exists(here, &arn)?;
        let mut tags = here.tags.get(&arn).cloned().unwrap_or_default();
        tags.extend(authorization::tags_of(&call.input));
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
        let rows = tags.iter().rev().map(|(key, value)| crate::wire::paging::Row {
            name: key.clone(),
            created: 0.0,
            modified: 0.0,
            status: None,
            value: None,
            summary: json!({ "Key": key, "Value": value }),
        });
        crate::wire::paging::page(&paged(&call.input), "Tags", rows.collect())
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

/// The tags of a request, put on a new resource.
pub(crate) fn put_on(here: &mut Resources, arn: &str, request: &Value) {
    here.tags.insert(arn.to_owned(), authorization::tags_of(request));
}

fn listed(tags: &BTreeMap<String, String>) -> Vec<Value> {
    tags.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect()
}

/// A page of tags has 50 unless asked otherwise, where other pages have 10.
fn paged(request: &Value) -> Value {
    let mut request = request.clone();
    if request.get("MaxResults").is_none() {
        request["MaxResults"] = json!(MAX_TAGS);
    }
    request
}

fn exists(here: &Resources, arn: &str) -> Result<(), ApiError> {
    // Every resource has an entry, if an empty one.
    if here.tags.contains_key(arn) {
        return Ok(());
    }
    Err(ApiError::Validation(format!("Could not find resource \"{arn}\".")))
}
