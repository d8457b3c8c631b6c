//! Filters, order and pages of the `List*` operations.

use std::cmp::Ordering;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::wire::error::ApiError;
use crate::wire::ids::sha256;

/// The order of a listing where the request does not say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order {
    pub(crate) by: &'static str,
    pub(crate) ascending: bool,
}

/// The order of most listings (API Reference, `SortBy` and `SortOrder`).
pub(crate) const NEWEST_FIRST: Order = Order { by: "CreationTime", ascending: false };
/// The order of training and processing jobs, and of candidates.
pub(crate) const OLDEST_FIRST: Order = Order { by: "CreationTime", ascending: true };

/// A listing: the member of its answer that holds the rows, their order, and how many of
/// them a page has where the request does not say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ListingSpec {
    pub(crate) member: &'static str,
    pub(crate) order: Order,
    pub(crate) page: usize,
}

impl ListingSpec {
    /// A listing with pages of ten.
    pub(crate) const fn new(member: &'static str, order: Order) -> Self {
        Self { member, order, page: 10 }
    }
}

/// The values that a listing may filter and sort by, and the summary that it shows.
pub(crate) struct Row {
    name: String,
    created: f64,
    modified: f64,
    status: Option<String>,
    /// The objective metric's value, for candidates.
    value: Option<f64>,
    summary: Value,
}

impl Row {
    /// A row of what never changes and has no status.
    pub(crate) fn new(name: &str, created: f64, summary: Value) -> Self {
        Self { name: name.into(), created, modified: created, status: None, value: None, summary }
    }

    pub(crate) fn modified(self, modified: f64) -> Self {
        Self { modified, ..self }
    }

    pub(crate) fn status(self, status: &str) -> Self {
        Self { status: Some(status.into()), ..self }
    }

    pub(crate) fn value(self, value: f64) -> Self {
        Self { value: Some(value), ..self }
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Query {
    name_contains: Option<String>,
    candidate_name_equals: Option<String>,
    status_equals: Option<String>,
    creation_time_after: Option<f64>,
    creation_time_before: Option<f64>,
    last_modified_time_after: Option<f64>,
    last_modified_time_before: Option<f64>,
    sort_by: Option<String>,
    sort_order: Option<String>,
    max_results: Option<usize>,
    next_token: Option<String>,
}

/// Makes one page of the rows that the request asks for.
pub(crate) fn page(
    listing: ListingSpec,
    request: &Value,
    rows: Vec<Row>,
) -> Result<Value, ApiError> {
    let ListingSpec { member, order: default, page } = listing;
    let query =
        Query::deserialize(request).map_err(|error| ApiError::Serialization(error.to_string()))?;
    let order = |a: &Row, b: &Row| query.order(default, a, b);
    let mut rows: Vec<Row> = rows.into_iter().filter(|row| query.wants(row)).collect();
    rows.sort_by(order);
    let listing = fingerprint(request, member);
    if let Some(token) = &query.next_token {
        let last = Token::read(token).filter(|token| token.listing == listing);
        let last = last.ok_or_else(|| ApiError::Validation("The NextToken is invalid.".into()))?;
        let last = last.row();
        rows.retain(|row| order(row, &last) == Ordering::Greater);
    }

    let count = query.max_results.unwrap_or(page).min(rows.len());
    let mut answer = Map::new();
    if let Some(last) = rows.get(..count).and_then(<[Row]>::last).filter(|_| count < rows.len()) {
        answer.insert("NextToken".into(), json!(Token::of(listing, last).write()));
    }
    let page = rows.into_iter().take(count).map(|row| row.summary).collect();
    answer.insert(member.into(), Value::Array(page));
    Ok(Value::Object(answer))
}

/// Gives the digest of what the pages of one listing have in common: all of the request but
/// which page it asks for.
fn fingerprint(request: &Value, member: &str) -> String {
    let mut asked = request.clone();
    if let Some(asked) = asked.as_object_mut() {
        asked.retain(|name, _| name != "NextToken" && name != "MaxResults");
    }
    sha256(format!("{member} {asked}"))
}

/// A `NextToken`: the listing that it goes on with, and the last row that was
/// shown. What is made or deleted meanwhile shifts nothing.
#[derive(Serialize, Deserialize)]
struct Token {
    listing: String,
    name: String,
    created: f64,
    modified: f64,
    status: Option<String>,
    value: Option<f64>,
}

impl Token {
    fn of(listing: String, last: &Row) -> Self {
        let Row { name, created, modified, status, value, .. } = last;
        Self {
            listing,
            name: name.clone(),
            created: *created,
            modified: *modified,
            status: status.clone(),
            value: *value,
        }
    }

    fn row(self) -> Row {
        let Self { name, created, modified, status, value, .. } = self;
        Row { name, created, modified, status, value, summary: Value::Null }
    }

    fn write(&self) -> String {
        BASE64_STANDARD.encode(json!(self).to_string())
    }

    fn read(token: &str) -> Option<Self> {
        serde_json::from_slice(&BASE64_STANDARD.decode(token).ok()?).ok()
    }
}

impl Query {
    fn wants(&self, row: &Row) -> bool {
        let after = |limit: Option<f64>, time: f64| limit.is_none_or(|limit| time > limit);
        let before = |limit: Option<f64>, time: f64| limit.is_none_or(|limit| time < limit);
        self.name_contains.as_ref().is_none_or(|part| row.name.contains(part.as_str()))
            && self.candidate_name_equals.as_ref().is_none_or(|name| row.name == *name)
            && self.status_equals.as_ref().is_none_or(|status| row.status.as_ref() == Some(status))
            && after(self.creation_time_after, row.created)
            && before(self.creation_time_before, row.created)
            && after(self.last_modified_time_after, row.modified)
            && before(self.last_modified_time_before, row.modified)
    }

    /// Rows that are equal in what is asked for are in the order of their names.
    fn order(&self, default: Order, a: &Row, b: &Row) -> Ordering {
        let ascending = match self.sort_by.as_deref().unwrap_or(default.by) {
            "Name" => a.name.cmp(&b.name),
            "Status" => a.status.cmp(&b.status),
            "LastModifiedTime" => a.modified.total_cmp(&b.modified),
            "FinalObjectiveMetricValue" => {
                let value = |row: &Row| row.value.unwrap_or(f64::NEG_INFINITY);
                value(a).total_cmp(&value(b))
            }
            _ => a.created.total_cmp(&b.created),
        };
        let wanted = match self.sort_order.as_deref() {
            Some(order) => order == "Ascending",
            None => default.ascending,
        };
        let ordered = if wanted { ascending } else { ascending.reverse() };
        ordered.then_with(|| a.name.cmp(&b.name))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ROWS: ListingSpec = ListingSpec::new("Rows", NEWEST_FIRST);

    fn names(request: Value) -> (Vec<String>, Option<String>) {
        let row = |i: usize| {
            let name = format!("job-{i:02}");
            Row::new(&name, i as f64, json!(name))
                .status(if i.is_multiple_of(2) { "Completed" } else { "Failed" })
                .value(-(i as f64))
        };
        let answer = page(ROWS, &request, (0..25).map(row).collect()).unwrap();
        let token = answer.get("NextToken").map(|token| token.as_str().unwrap().to_owned());
        (serde_json::from_value(answer["Rows"].clone()).unwrap(), token)
    }

    #[test]
    fn pages_cover_every_row_once() {
        let (mut all, mut token) = names(json!({ "SortOrder": "Ascending" }));
        while let Some(next) = token {
            let (more, after) = names(json!({ "SortOrder": "Ascending", "NextToken": next }));
            all.extend(more);
            token = after;
        }
        assert_eq!(all.len(), 25);
        assert!(all.is_sorted());
    }

    #[test]
    fn newest_first_unless_asked_otherwise() {
        assert_eq!(names(json!({ "MaxResults": 2 })).0, ["job-24", "job-23"]);
        assert_eq!(
            names(json!({ "MaxResults": 1, "SortBy": "FinalObjectiveMetricValue" })).0,
            ["job-00"]
        );
    }

    #[test]
    fn filters_narrow() {
        let (rows, token) =
            names(json!({ "StatusEquals": "Failed", "NameContains": "-1", "MaxResults": 100 }));
        assert_eq!((rows.len(), token), (5, None));
        assert_eq!(
            names(json!({ "CreationTimeAfter": 22, "CreationTimeBefore": 24 })).0,
            ["job-23"]
        );
    }

    #[test]
    fn a_token_is_of_one_listing_only() {
        let (_, token) = names(json!({ "MaxResults": 2 }));
        let go_on = |request: Value, member: &'static str| {
            page(ListingSpec::new(member, NEWEST_FIRST), &request, vec![]).is_ok()
        };
        assert!(go_on(json!({ "NextToken": token, "MaxResults": 5 }), "Rows"));
        assert!(!go_on(json!({ "NextToken": token, "NameContains": "1" }), "Rows"));
        assert!(!go_on(json!({ "NextToken": token }), "Others"));
        for made_up in ["x", "page-10", ""] {
            assert!(!go_on(json!({ "NextToken": made_up }), "Rows"));
        }
    }

    #[test]
    fn what_is_made_or_deleted_between_two_pages_shifts_nothing() {
        let row = |i: usize| Row::new(&format!("job-{i}"), i as f64, json!(i));
        let first = page(ROWS, &json!({ "MaxResults": 3 }), (0..6).map(row).collect()).unwrap();
        assert_eq!(first["Rows"], json!([5, 4, 3]));
        // 6 is new; 3, where the first page ended, is gone.
        let now = [0, 1, 2, 4, 5, 6].into_iter().map(row).collect();
        let next = page(ROWS, &json!({ "NextToken": first["NextToken"] }), now).unwrap();
        assert_eq!(next, json!({ "Rows": [2, 1, 0] }));
    }

    #[test]
    fn each_listing_has_its_own_order() {
        let by_name = Order { by: "Name", ascending: false };
        let row = |name: &str, created: f64| Row::new(name, created, json!(name));
        let rows = || vec![row("cli", 3.0), row("js", 1.0), row("core", 2.0)];
        let shown = |order: Order, request: Value| {
            page(ListingSpec::new("Rows", order), &request, rows()).unwrap()["Rows"].clone()
        };
        assert_eq!(shown(by_name, json!({})), json!(["js", "core", "cli"]));
        assert_eq!(shown(OLDEST_FIRST, json!({})), json!(["js", "core", "cli"]));
        assert_eq!(
            shown(by_name, json!({ "SortOrder": "Ascending" })),
            json!(["cli", "core", "js"])
        );
        let by_time = json!({ "SortBy": "CreationTime", "SortOrder": "Descending" });
        assert_eq!(shown(by_name, by_time), json!(["cli", "core", "js"]));
    }
}
