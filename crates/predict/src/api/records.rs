//! Records as callers send them, turned into what an endpoint takes.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::event::Event;
use super::problem::Problem;
use crate::table::csv_text;

/// Records in one call.
const MAX_RECORDS: usize = 1000;
/// Bytes in one call, before and after the records became CSV.
const MAX_BYTES: usize = 2 << 20;

/// One record: a cell for each feature.
type Record = Vec<String>;

/// Unknown fields beside the records are ignored: nothing in a body can say
/// more than what to predict.
#[derive(Deserialize)]
struct Body {
    records: Vec<Map<String, Value>>,
}

/// The columns that a record may name.
struct Columns<'a> {
    features: &'a [String],
    target: &'a str,
    positions: HashMap<&'a str, usize>,
}

/// The endpoint's request body and its number of records. `features` are the
/// columns in the order of training; `target` is what the model predicts.
pub(super) fn body(
    event: &Event,
    features: &[String],
    target: &str,
) -> Result<(Vec<u8>, usize), Problem> {
    let media_type = event.media_type();
    let body = event.body()?;
    if body.len() > MAX_BYTES {
        return Err(Problem::too_large(
            "the body has more than 2 MB: send fewer records at a time",
        ));
    }
    let positions =
        features.iter().enumerate().map(|(position, name)| (name.as_str(), position)).collect();
    let columns = Columns { features, target, positions };
    let records = match media_type.as_deref() {
        Some("application/json") => of_json(&body, &columns)?,
        Some("text/csv") => of_csv(&body, &columns)?,
        other => return Err(Problem::media_type(other)),
    };
    if records.is_empty() {
        return Err(Problem::bad_request("there are no records: send at least one"));
    }
    let text = csv_text(records.iter().map(|record| record.iter().map(String::as_str)))
        .map_err(|e| Problem::internal(e.to_string()))?;
    if text.len() > MAX_BYTES {
        return Err(Problem::too_large(
            "the records have more than 2 MB as CSV: send fewer at a time",
        ));
    }
    Ok((text, records.len()))
}

fn too_many() -> Problem {
    Problem::too_large(format!(
        "there are more than {MAX_RECORDS} records: send them in several calls"
    ))
}

fn of_json(body: &[u8], columns: &Columns<'_>) -> Result<Vec<Record>, Problem> {
    let Body { records } = serde_json::from_slice(body).map_err(|e| {
        Problem::bad_request(format!(
            "the body is not of the form {{\"records\": [{{\"column\": value}}]}}: {e}"
        ))
    })?;
    if records.len() > MAX_RECORDS {
        return Err(too_many());
    }
    let numbered = records.into_iter().zip(1..);
    numbered.map(|(record, number)| of_object(record, number, columns)).collect()
}

fn of_object(
    object: Map<String, Value>,
    number: usize,
    columns: &Columns<'_>,
) -> Result<Record, Problem> {
    let mut record = vec![String::new(); columns.features.len()];
    for (name, value) in object {
        let position = columns.position(&name)?;
        record[position] = match value {
            Value::Null => String::new(),
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            Value::Array(_) | Value::Object(_) => {
                let detail = format!(
                    "column {:?} of record {number} is a list or an object: send a string, a number, a boolean or null",
                    shortened(&name)
                );
                return Err(Problem::bad_request(detail));
            }
        };
    }
    Ok(record)
}

fn of_csv(body: &[u8], columns: &Columns<'_>) -> Result<Vec<Record>, Problem> {
    let bad = |e: csv::Error| Problem::bad_request(format!("the body is not CSV: {e}"));
    let mut reader = csv::Reader::from_reader(body);
    let header = reader.headers().map_err(bad)?;
    let mut positions = Vec::with_capacity(header.len());
    for name in header {
        let position = columns.position(name)?;
        if positions.contains(&position) {
            let detail =
                format!("the header has column {:?} twice: name each column once", shortened(name));
            return Err(Problem::bad_request(detail));
        }
        positions.push(position);
    }
    let mut records = Vec::new();
    for row in reader.records() {
        let row = row.map_err(bad)?;
        if records.len() == MAX_RECORDS {
            return Err(too_many());
        }
        let mut record = vec![String::new(); columns.features.len()];
        for (&position, cell) in positions.iter().zip(&row) {
            cell.clone_into(&mut record[position]);
        }
        records.push(record);
    }
    Ok(records)
}

impl Columns<'_> {
    fn position(&self, name: &str) -> Result<usize, Problem> {
        if let Some(&position) = self.positions.get(name) {
            return Ok(position);
        }
        let shown = shortened(name);
        let detail = if name == self.target {
            format!("column {shown:?} is what the model predicts: leave it out")
        } else if let Some(nearest) = nearest(&shown, self.features) {
            format!("the model has no column {shown:?}: did you mean {nearest:?}?")
        } else {
            format!("the model has no column {shown:?}")
        };
        Err(Problem::bad_request(detail))
    }
}

/// What fits a sentence. Also bounds the search for the nearest column.
fn shortened(name: &str) -> String {
    name.chars().take(80).collect()
}

fn nearest<'a>(name: &str, features: &'a [String]) -> Option<&'a String> {
    let folded = name.to_lowercase();
    features.iter().min_by_key(|feature| distance(&folded, &shortened(feature).to_lowercase()))
}

/// Levenshtein's: letters to add, drop or change.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, &b) in to.iter().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn read(media_type: &str, text: &str) -> Result<(String, usize), (u16, String)> {
        let event: Event =
            serde_json::from_value(json!({"headers": {"content-type": media_type}, "body": text}))
                .unwrap();
        let features = ["age", "plan", "Day Mins"].map(str::to_owned);
        body(&event, &features, "Churn?")
            .map(|(text, records)| (String::from_utf8(text).unwrap(), records))
            .map_err(|problem| (problem.status, problem.detail))
    }

    fn json_records(text: &str) -> Result<(String, usize), (u16, String)> {
        read("application/json; charset=utf-8", text)
    }

    #[test]
    fn records_become_csv_in_the_order_of_training() {
        let text = r#"{"records":[{"plan":"a, \"b\"","age":7},{"Day Mins":1.10,"plan":true,"age":null},{}]}"#;
        assert_eq!(json_records(text).unwrap(), ("7,\"a, \"\"b\"\"\",\n,true,1.1\n,,\n".into(), 3));
        assert_eq!(
            read("text/csv", "plan,age\nbasic,7\n\" x\",\n").unwrap(),
            ("7,basic,\n, x,\n".into(), 2)
        );
    }

    #[test]
    fn an_unknown_column_is_named_with_the_nearest() {
        let (status, detail) = json_records(r#"{"records":[{"day_mins":1}]}"#).unwrap_err();
        assert_eq!(
            (status, detail.as_str()),
            (400, "the model has no column \"day_mins\": did you mean \"Day Mins\"?")
        );
        assert_eq!(read("text/csv", "plans\nx\n").unwrap_err().0, 400);
        let (_, detail) = read("text/csv", "age,Churn?\n7,True.\n").unwrap_err();
        assert_eq!(detail, "column \"Churn?\" is what the model predicts: leave it out");
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        for (media_type, text, status, part) in [
            ("application/json", "", 400, "not of the form"),
            ("application/json", "age,plan", 400, "not of the form"),
            ("application/json", r#"{"records":[]}"#, 400, "no records"),
            (
                "application/json",
                r#"{"records":[{"age":[1]}]}"#,
                400,
                "column \"age\" of record 1 is a list",
            ),
            ("application/json", r#"[{"age":1}]"#, 400, "not of the form"),
            ("text/csv", "", 400, "no records"),
            ("text/csv", "age,plan\n", 400, "no records"),
            ("text/csv", "age,plan\n1\n", 400, "not CSV"),
            ("text/csv", "age,age\n1,2\n", 400, "\"age\" twice"),
            ("text/plain", "age\n1\n", 415, "application/json or text/csv"),
            ("application/x-www-form-urlencoded", "age=1", 415, "application/json or text/csv"),
        ] {
            let (got, detail) = read(media_type, text).unwrap_err();
            assert!(got == status && detail.contains(part), "{media_type} {text}: {got} {detail}");
        }
        let event: Event = serde_json::from_value(json!({"body": "x"})).unwrap();
        assert_eq!(body(&event, &[], "y").unwrap_err().status, 415);
    }

    #[test]
    fn too_much_is_refused() {
        let many = format!("age\n{}", "1\n".repeat(MAX_RECORDS + 1));
        assert_eq!(read("text/csv", &many).unwrap_err().0, 413);
        let many = json!({"records": vec![json!({}); MAX_RECORDS + 1]}).to_string();
        assert_eq!(json_records(&many).unwrap_err().0, 413);
        assert_eq!(read("text/csv", &"x".repeat(MAX_BYTES + 1)).unwrap_err().0, 413);
    }

    proptest! {
        #[test]
        fn one_line_for_each_record_and_no_panic(cells in proptest::collection::vec("\\PC{0,10}", 1..20)) {
            let records: Vec<Value> = cells.iter().map(|cell| json!({"age": cell})).collect();
            let (text, count) = json_records(&json!({"records": records}).to_string()).unwrap();
            let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
            prop_assert_eq!(reader.records().filter(|row| row.as_ref().is_ok_and(|row| row.len() == 3)).count(), count);
        }

        #[test]
        fn no_body_makes_it_panic(text in "\\PC{0,60}") {
            let _ = json_records(&text);
            let _ = json_records(&format!("{{\"records\":{text}}}"));
            let _ = read("text/csv", &text);
        }

        #[test]
        fn distance_is_symmetric_and_zero_only_for_equals(a in "\\PC{0,8}", b in "\\PC{0,8}") {
            prop_assert_eq!(distance(&a, &b), distance(&b, &a));
            prop_assert_eq!(distance(&a, &b) == 0, a == b);
        }
    }
}
