//! Filters, order and pages of the `List*` operations.

use std::cmp::Ordering;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::error::ApiError;

/// What a listing may filter and sort by, and what it shows.
pub(super) struct Row {
    pub(super) name: String,
    pub(super) created: f64,
    pub(super) modified: f64,
    pub(super) status: Option<String>,
    /// The objective metric's value, for candidates.
    pub(super) value: Option<f64>,
    pub(super) summary: Value,
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

/// One page of the rows that the request asks for, under the answer's `member`.
pub(super) fn page(request: &Value, member: &str, rows: Vec<Row>) -> Result<Value, ApiError> {
    const PAGE: usize = 10;
    let query: Query = serde_json::from_value(request.clone())
        .map_err(|error| ApiError::Serialization(error.to_string()))?;
    let mut rows: Vec<Row> = rows.into_iter().filter(|row| query.wants(row)).collect();
    // By name first: rows that are equal in what is asked for keep one order.
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    rows.sort_by(|a, b| query.order(a, b));

    let start: usize = query.next_token.as_deref().map_or(Ok(0), |token| {
        let offset = token.strip_prefix("page-").and_then(|offset| offset.parse().ok());
        offset.ok_or_else(|| ApiError::Validation("The NextToken is invalid.".into()))
    })?;
    let end = start.saturating_add(query.max_results.unwrap_or(PAGE)).min(rows.len());
    let mut answer = Map::new();
    if end < rows.len() {
        answer.insert("NextToken".into(), json!(format!("page-{end}")));
    }
    let page = rows.into_iter().take(end).skip(start).map(|row| row.summary).collect();
    answer.insert(member.into(), Value::Array(page));
    Ok(Value::Object(answer))
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

    fn order(&self, a: &Row, b: &Row) -> Ordering {
        let ascending = match self.sort_by.as_deref() {
            Some("Name") => a.name.cmp(&b.name),
            Some("Status") => a.status.cmp(&b.status),
            Some("LastModifiedTime") => a.modified.total_cmp(&b.modified),
            Some("FinalObjectiveMetricValue") => {
                let value = |row: &Row| row.value.unwrap_or(f64::NEG_INFINITY);
                value(a).total_cmp(&value(b))
            }
            _ => a.created.total_cmp(&b.created),
        };
        if self.sort_order.as_deref() == Some("Ascending") {
            ascending
        } else {
            ascending.reverse()
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn names(request: Value) -> (Vec<String>, Option<String>) {
        let row = |i: usize| Row {
            name: format!("job-{i:02}"),
            created: i as f64,
            modified: 0.0,
            status: Some(if i.is_multiple_of(2) { "Completed" } else { "Failed" }.into()),
            value: Some(-(i as f64)),
            summary: json!(format!("job-{i:02}")),
        };
        let answer = page(&request, "Rows", (0..25).map(row).collect()).unwrap();
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
    fn a_made_up_token_is_refused() {
        assert!(matches!(
            page(&json!({ "NextToken": "x" }), "Rows", vec![]),
            Err(ApiError::Validation(_))
        ));
        let past_the_end = page(&json!({ "NextToken": "page-99" }), "Rows", vec![]).unwrap();
        assert_eq!(past_the_end, json!({ "Rows": [] }));
    }
}
