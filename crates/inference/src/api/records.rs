//! Records as callers send them, turned into what an endpoint takes.

mod columns;
mod csv_body;
mod id;
mod json_body;

use crosspilot_core::registry::Serving;
use crosspilot_table::number::or_infinite;
use crosspilot_table::{Words, is_missing};
use serde::{Serialize, Serializer};

use super::content::{self, MAX_BYTES};
use super::event::Event;
use super::problem::Problem;
use crate::table::{csv_text, one_line};
use columns::{Columns, shortened};
pub(super) use id::Id;

/// Records in one call.
const MAX_RECORDS: usize = 1000;

/// Warnings in one answer.
const MAX_WARNINGS: usize = 100;

/// Records as an endpoint takes them.
#[derive(Debug)]
pub(super) struct Records {
    /// CSV, without a header.
    pub(super) text: Vec<u8>,
    /// The number of records.
    pub(super) count: usize,
    /// The callers' ids of the records.
    pub(super) ids: Vec<Option<Id>>,
    /// The records' cells, in the order of the model's columns.
    rows: Vec<Vec<String>>,
}

/// The remarks about records besides their predictions.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Remarks {
    /// The cells that the model did not understand. With many records, those of the first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) warnings: Vec<Warning>,
    /// The number of warnings beyond these.
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) more_warnings: usize,
    /// Warnings that were not looked for: nobody knows what training saw.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) unchecked: Vec<WarningCode>,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// A cell that the model does not understand, so that its answer is about less than
/// was sent.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Warning {
    /// The record's number, from 1.
    record: usize,
    /// The column's name.
    column: String,
    /// The reason: stable.
    code: WarningCode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WarningCode {
    /// The column held numbers in training, and this is none.
    NotANumber,
    /// The column held few words in training, and this is none of them.
    UnseenWord,
}

impl WarningCode {
    pub(super) fn name(self) -> &'static str {
        match self {
            WarningCode::NotANumber => "not_a_number",
            WarningCode::UnseenWord => "unseen_word",
        }
    }
}

impl Serialize for WarningCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// One record.
#[derive(Debug)]
struct Record {
    /// A cell for each feature.
    cells: Vec<String>,
    id: Option<Id>,
}

impl Record {
    /// A record without a value in any column.
    fn of(columns: &Columns<'_>) -> Self {
        Self { cells: vec![String::new(); columns.features.len()], id: None }
    }
}

/// The endpoint's request body and its number of records, in the columns and the
/// spelling that this model was trained on. CSV without a header has its cells in the `order`
/// of the model that serves, which may be another one.
pub(super) fn body(event: &Event, model: &Serving, order: &[String]) -> Result<Records, Problem> {
    let media_type = event.media_type();
    let body = content::body(event)?;
    let columns = Columns::of(model, event.ignores_unknown());
    let records = match media_type.as_deref() {
        Some("application/json" | "application/json+gzip") => json_body::records(&body, &columns)?,
        Some("text/csv" | "application/csv+gzip") => {
            csv_body::records(&body, &columns, (!event.has_header()).then_some(order))?
        }
        other => return Err(Problem::media_type(other)),
    };
    if records.is_empty() {
        return Err(Problem::bad_request("there are no records: send at least one"));
    }
    let (rows, ids): (Vec<_>, Vec<_>) =
        records.into_iter().map(|Record { cells, id }| (cells, id)).unzip();
    let text = csv_text(rows.iter().map(|cells| cells.iter().map(String::as_str)))
        .map_err(|e| Problem::internal(e.to_string()))?;
    if text.len() > MAX_BYTES {
        return Err(Problem::too_large(
            "the records have more than 2 MB as CSV: send fewer at a time",
        ));
    }
    Ok(Records { text, count: rows.len(), ids, rows })
}

impl Records {
    /// Warns of what training never saw the like of, as far as its words are known, and
    /// says so if they are not.
    pub(super) fn remarks(&self, model: &Serving, words: Option<&Words>) -> Remarks {
        let code = |name: &String, cell: &str| {
            if model.numeric.contains(name) {
                let odd = !is_missing(cell.as_bytes()) && or_infinite(cell.as_bytes()).is_none();
                odd.then_some(WarningCode::NotANumber)
            } else {
                // As the model is asked: a line break is a blank to it.
                let lacks = words.is_some_and(|words| words.lack(name, &one_line(cell)));
                lacks.then_some(WarningCode::UnseenWord)
            }
        };
        let (mut warnings, mut more_warnings) = (Vec::new(), 0);
        for (record, cells) in (1..).zip(&self.rows) {
            for (name, cell) in model.features.iter().zip(cells) {
                match code(name, cell) {
                    Some(_) if warnings.len() == MAX_WARNINGS => more_warnings += 1,
                    Some(code) => warnings.push(Warning { record, column: name.clone(), code }),
                    None => {}
                }
            }
        }
        // A cell that is missing is no word, and needs no look.
        let escapes = |words: &Words| {
            let mut cells = self.rows.iter().flat_map(|cells| model.features.iter().zip(cells));
            cells.any(|(name, cell)| words.gave_up(name) && !is_missing(cell.as_bytes()))
        };
        let unchecked = words.is_none_or(escapes).then_some(WarningCode::UnseenWord);
        Remarks { warnings, more_warnings, unchecked: unchecked.into_iter().collect() }
    }
}

impl Warning {
    /// The same as an error, for callers who want no answer then.
    pub(super) fn problem(&self) -> Problem {
        let Self { record, column, code } = self;
        let why = match code {
            WarningCode::NotANumber => {
                "is no number, and the model has learned from numbers there: write it as 1234.5"
            }
            WarningCode::UnseenWord => {
                "holds a word that the model has not learned from: write it as the training data does"
            }
        };
        let column = shortened(column);
        Problem::bad_request(format!("column {column:?} of record {record} {why}"))
    }
}

fn too_many() -> Problem {
    Problem::too_large(format!(
        "there are more than {MAX_RECORDS} records: send them in several calls"
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn model(features: &[&str]) -> Serving {
        serde_json::from_value(json!({
            "tenant": "acme", "model": "churn", "run_id": "20260131-0000000000", "job": "j",
            "candidate": "c", "endpoint": "e", "variant": "v", "metric": null, "value": null,
            "features": features, "booleans": {"vip": "title"}, "numeric": ["Day Mins"],
            "target": "Churn?",
        }))
        .unwrap()
    }

    /// Reads the event's records as those of this model, which serves.
    fn of(event: Value, model: &Serving) -> Result<Records, Problem> {
        body(&serde_json::from_value(event).unwrap(), model, &model.features)
    }

    fn read(media_type: &str, text: &str) -> Result<(String, usize), (u16, String)> {
        let event = json!({"headers": {"content-type": media_type}, "body": text});
        of(event, &model(&["age", "plan", "Day Mins", "vip"]))
            .map(|records| (String::from_utf8(records.text).unwrap(), records.count))
            .map_err(|problem| (problem.status, problem.detail))
    }

    fn json_records(text: &str) -> Result<(String, usize), (u16, String)> {
        read("application/json; charset=utf-8", text)
    }

    #[test]
    fn records_become_csv_in_the_order_of_training() {
        let text = r#"{"records":[{"plan":"a, \"b\"","age":7},{"Day Mins":1.10,"vip":true,"age":null},{}]}"#;
        assert_eq!(
            json_records(text).unwrap(),
            ("7,\"a, \"\"b\"\"\",,\n,,1.1,True\n,,,\n".into(), 3)
        );
        assert_eq!(
            read("text/csv", "plan,age\nbasic,7\n\" x\",\n").unwrap(),
            ("7,basic,,\n, x,,\n".into(), 2)
        );
    }

    #[test]
    fn rows_in_the_order_of_their_columns_are_the_same_records() {
        let text = r#"{"rows":[["a, \"b\"",7.0],["x\ny",null]],"columns":["plan","age"]}"#;
        assert_eq!(json_records(text).unwrap(), ("7,\"a, \"\"b\"\"\",,\n,x y,,\n".into(), 2));
        for (text, part) in [
            (r#"{"columns":["age"]}"#, "exactly one of the two"),
            (r#"{"rows":[[1]]}"#, "exactly one of the two"),
            (r#"{"records":[{}],"columns":["age"],"rows":[[1]]}"#, "exactly one of the two"),
            (r#"{"records":[{}],"rows":[[1]]}"#, "exactly one of the two"),
            (r#"{"records":null,"columns":["age"],"rows":[[1]]}"#, "not of the form"),
            (r#"{"columns":["age"],"rows":[1]}"#, "not of the form"),
            (r#"{"columns":[1],"rows":[[1]]}"#, "not of the form"),
            (r#"{"columns":["age"],"columns":["age"],"rows":[[1]]}"#, "not of the form"),
            (r#"{"columns":["age"],"rows":[]}"#, "no records"),
            (
                r#"{"columns":["age","plan"],"rows":[[1,"a"],[2]]}"#,
                "record 2 of \"rows\" has 1 cells, and \"columns\" has 2: send a cell",
            ),
            (r#"{"columns":[],"rows":[[1]]}"#, "record 1 of \"rows\" has 1 cells"),
            (r#"{"columns":["age","age"],"rows":[[1,2]]}"#, "has column \"age\" twice"),
            (r#"{"columns":["x","age","y"],"rows":[[1,2,3]]}"#, "\"x\", \"y\""),
            (r#"{"columns":["age"],"rows":[[1],[[2]]]}"#, "\"age\" of record 2 is a list"),
        ] {
            let (status, detail) = json_records(text).unwrap_err();
            assert!(status == 400 && detail.contains(part), "{text}: {status} {detail}");
        }
    }

    #[test]
    fn what_training_never_saw_the_like_of_is_a_warning_or_an_error_as_the_caller_wants() {
        let text = r#"{"records":[
            {"Day Mins":"70","plan":"basic"},{"Day Mins":"$70","plan":"gold"},
            {"Day Mins":null,"plan":null},{"age":"seventy"}]}"#;
        let model = model(&["age", "plan", "Day Mins", "vip"]);
        let event = json!({"headers": {"content-type": "application/json"}, "body": text});
        let records = of(event, &model).unwrap();
        let words: Words =
            serde_json::from_value(json!({"columns": {"plan": ["basic", "plus"]}})).unwrap();
        let warning =
            |record, column, code| json!({"record": record, "column": column, "code": code});
        let remarks = records.remarks(&model, Some(&words));
        let of_both = [warning(2, "plan", "unseen_word"), warning(2, "Day Mins", "not_a_number")];
        assert_eq!(serde_json::to_value(&remarks).unwrap(), json!({"warnings": of_both}));
        for (warning, said) in remarks.warnings.iter().zip(["holds a word", "is no number"]) {
            let problem = warning.problem();
            let detail = problem.detail;
            assert_eq!(problem.status, 400);
            assert!(detail.contains("of record 2") && detail.contains(said), "{detail}");
            assert!(!detail.contains("gold") && !detail.contains("$70"), "{detail}");
        }
        let broken = json!({"headers": {"content-type": "application/json"},
            "body": r#"{"records":[{"plan":"a\nb"}]}"#});
        let broken = of(broken, &model).unwrap();
        let lines: Words = serde_json::from_value(json!({"columns": {"plan": ["a\nb"]}})).unwrap();
        assert_eq!(broken.remarks(&model, Some(&lines)).warnings.len(), 1);
        let none = records.remarks(&model, Some(&Words::default()));
        assert_eq!(none.warnings.len(), 1);
        // Nobody knows the words: what was not looked for is said.
        let unknown = serde_json::to_value(records.remarks(&model, None)).unwrap();
        let numbers = [warning(2, "Day Mins", "not_a_number")];
        assert_eq!(unknown, json!({"warnings": numbers, "unchecked": ["unseen_word"]}));
        // Of one column there were too many, and what is known of another is told.
        let given_up = |name| {
            let words = json!({"columns": {"plan": ["basic", "plus"]}, "given_up": [name]});
            let words: Words = serde_json::from_value(words).unwrap();
            serde_json::to_value(records.remarks(&model, Some(&words))).unwrap()
        };
        let of_one = json!({"warnings": of_both, "unchecked": ["unseen_word"]});
        assert_eq!(given_up("age"), of_one);
        assert_eq!(given_up("no column of the model"), json!({"warnings": of_both}));
        // No record has a value there.
        assert_eq!(given_up("vip"), json!({"warnings": of_both}));
    }

    #[test]
    fn infinite_numbers_are_numbers_as_they_are_to_a_model() {
        let body = json!({"records": [{"Day Mins": "inf"}, {"Day Mins": "-Infinity"},
            {"Day Mins": "1e999"}]});
        let event = json!({"headers": {"content-type": "application/json"},
            "body": body.to_string()});
        let model = model(&["Day Mins"]);
        let remarks = of(event, &model).unwrap().remarks(&model, Some(&Words::default()));
        let odd: Vec<usize> = remarks.warnings.iter().map(|warning| warning.record).collect();
        assert_eq!(odd, [3]);
    }

    #[test]
    fn warnings_beyond_a_hundred_are_counted() {
        let told = |records: usize| {
            let body = json!({"records": vec![json!({"Day Mins": "$70"}); records]}).to_string();
            let event = json!({"headers": {"content-type": "application/json"}, "body": body});
            let model = model(&["age", "Day Mins"]);
            let remarks = of(event, &model).unwrap().remarks(&model, Some(&Words::default()));
            let remarks = serde_json::to_value(&remarks).unwrap();
            (remarks["warnings"].as_array().unwrap().len(), remarks["more_warnings"].clone())
        };
        assert_eq!(told(MAX_WARNINGS), (100, Value::Null));
        assert_eq!(told(MAX_WARNINGS + 7), (100, json!(7)));
    }

    #[test]
    fn an_id_is_read_as_it_was_sent_and_is_not_for_the_endpoint() {
        let ids = |media_type: &str, text: &str, features: &[&str]| {
            let event = json!({"headers": {"content-type": media_type}, "body": text});
            of(event, &model(features))
                .map(|read| {
                    let text = String::from_utf8(read.text).unwrap();
                    (text, serde_json::to_value(&read.ids).unwrap())
                })
                .map_err(|problem| (problem.status, problem.detail))
        };
        let longest = "\u{e9}".repeat(200);
        let objects = json!({"records": [{"id": "a\n", "age": 1}, {"id": 7.0}, {"id": u64::MAX},
            {"id": null}, {}, {"id": ""}, {"id": longest}]});
        let expected = json!(["a\n", 7, u64::MAX, null, null, "", longest]);
        let (text, read) = ids("application/json", &objects.to_string(), &["age"]).unwrap();
        assert_eq!((text.lines().next(), read), (Some("1"), expected));
        let rows = r#"{"columns":["age","id"],"rows":[[1,"x"],[2,3]]}"#;
        let read = ids("application/json", rows, &["age"]).unwrap();
        assert_eq!(read, ("1\n2\n".into(), json!(["x", 3])));
        let read = ids("text/csv", "id,age\n007,1\n,2\n", &["age"]).unwrap();
        assert_eq!(read, ("1\n2\n".into(), json!(["007", null])));
        // A column of the model's is what it was.
        let read = ids("text/csv", "id,age\n007,1\n", &["age", "id"]).unwrap();
        assert_eq!(read, ("1,007\n".into(), json!([null])));
        for (id, part) in [
            (json!("Jane".repeat(51)), "the id of record 2 has more than 200 characters"),
            (json!(1.5), "no text and no whole number"),
            (json!(1e300), "send it as a string"),
            (json!(true), "no text and no whole number"),
            (json!({"a": 1}), "no text and no whole number"),
        ] {
            let text = json!({"records": [{}, {"id": id}]}).to_string();
            let (status, detail) = ids("application/json", &text, &["age"]).unwrap_err();
            assert!(status == 400 && detail.contains(part), "{detail}");
            assert!(!detail.contains("Jane"), "{detail}");
        }
        let twice = r#"{"records":[{"id":1,"id":2}]}"#;
        let (_, detail) = ids("application/json", twice, &["age"]).unwrap_err();
        assert!(detail.contains("\"id\" of record 1 is there twice"), "{detail}");
        assert!(ids("text/csv", "id,id\n1,2\n", &["age"]).is_err());
    }

    #[test]
    fn a_line_break_is_a_blank_as_it_is_in_batch_scoring() {
        let (text, records) = json_records(r#"{"records":[{"plan":"a\nb"}]}"#).unwrap();
        assert_eq!((text.as_str(), records), (",a b,,\n", 1));
    }

    #[test]
    fn unknown_columns_of_all_records_are_refused_at_once_or_ignored() {
        let records = r#"{"records":[{"age":1,"x":[],"y":1},{"z":1,"y":2}]}"#;
        let asked = |media_type: &str, text: &str, ignore: &str| {
            let event = json!({"headers": {"content-type": media_type}, "body": text,
                "queryStringParameters": {"ignore_unknown": ignore}});
            of(event, &model(&["age", "plan"]))
                .map(|records| String::from_utf8(records.text).unwrap())
                .map_err(|problem| (problem.status, problem.detail))
        };
        for (media_type, text, names, ignored) in [
            ("application/json", records, r#""x", "y", "z""#, "1,\n,\n"),
            ("text/csv", "x,age,y,x,Churn?\n7,8,9,0,no\n", r#""x", "y", "Churn?""#, "8,\n"),
        ] {
            let (status, detail) = asked(media_type, text, "false").unwrap_err();
            assert!(status == 400 && detail.contains(names), "{detail}");
            assert_eq!(asked(media_type, text, "true").unwrap(), ignored);
        }
        // A column that the model has is still to be named once.
        assert!(asked("text/csv", "x,age,age\n1,2,3\n", "true").is_err());
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
            ("text/csv", "age;plan\n1;a\n", 400, "separated by semicolons"),
            ("text/csv", "age,plan\n1,caf\u{fffd}\n", 400, "not UTF-8"),
            ("text/csv", "age,plan\n1,\"a\n2,b\n", 400, "quote in line 2 is not closed"),
            (
                "application/json",
                r#"{"records":[{},{"age":1,"plan":"a","age":2}]}"#,
                400,
                "column \"age\" of record 2 is there twice",
            ),
            (
                "application/json",
                r#"{"records":[{"age":12345678901234567890123}]}"#,
                400,
                "has more digits than a JSON number keeps: send it as a string",
            ),
            (
                "application/json",
                r#"{"records":[{"plan":false}]}"#,
                400,
                "is true or false, which the training data does not hold",
            ),
            ("text/plain", "age\n1\n", 415, "application/json or text/csv"),
            ("application/x-www-form-urlencoded", "age=1", 415, "application/json or text/csv"),
        ] {
            let (got, detail) = read(media_type, text).unwrap_err();
            assert!(got == status && detail.contains(part), "{media_type} {text}: {got} {detail}");
        }
        assert_eq!(of(json!({"body": "x"}), &model(&[])).unwrap_err().status, 415);
    }

    #[test]
    fn numbers_are_written_as_files_write_them() {
        for (number, text) in [
            ("94107.0", "94107"),
            ("-3.0", "-3"),
            ("-0.0", "0"),
            ("1e3", "1000"),
            ("0.5", "0.5"),
            ("18446744073709551615", "18446744073709551615"),
        ] {
            let records = format!(r#"{{"records":[{{"age":{number}}}]}}"#);
            assert_eq!(json_records(&records).unwrap().0, format!("{text},,,\n"), "{number}");
        }
    }

    #[test]
    fn without_a_header_cells_are_in_the_order_of_the_columns() {
        let order = ["age", "plan"].map(str::to_owned);
        let asked = |text: &str, model: &Serving, order: &[String]| {
            let event = json!({"headers": {"content-type": "text/csv"}, "body": text,
                "queryStringParameters": {"header": "false"}});
            body(&serde_json::from_value(event).unwrap(), model, order)
                .map(|records| String::from_utf8(records.text).unwrap())
                .map_err(|problem| (problem.status, problem.detail))
        };
        let serves = model(&["age", "plan"]);
        for (text, read) in [
            ("7,basic\n,\n", "7,basic\n,\n"),
            ("\u{feff}\"7\",\"a\nb\"\r\n\r\n8,x", "7,a b\n8,x\n"),
            ("age,plan\n", "age,plan\n"),
        ] {
            assert_eq!(asked(text, &serves, &order).unwrap(), read);
        }
        // Another model that answers has its own order, and gets each cell by its name.
        let other = model(&["new", "plan", "age"]);
        assert_eq!(asked("7,basic\n", &other, &order).unwrap(), ",basic,7\n");
        let one = model(&["age"]);
        assert_eq!(asked("\n7;8\n\n", &one, &order[..1]).unwrap(), "\"\"\n7;8\n\"\"\n");
        for (text, part) in [
            ("", "no records"),
            ("1,a\n2\n", "record 2 has 1 cells, and the model has 2 columns"),
            ("1,a,b\n", "record 1 has 3 cells, and the model has 2 columns"),
            ("1;a\n2;b\n", "separated by semicolons"),
            ("1,\"a\n", "quote in line 1 is not closed"),
            ("\u{feff}\"1,a\n", "quote in line 1 is not closed"),
            ("1,caf\u{fffd}\n", "not UTF-8"),
        ] {
            let (status, detail) = asked(text, &serves, &order).unwrap_err();
            assert!(status == 400 && detail.contains(part), "{text}: {status} {detail}");
        }
    }

    #[test]
    fn an_empty_line_of_one_column_is_a_record() {
        let (text, records) = read("text/csv", "age\n1\n\n3\r\n\r\n").unwrap();
        assert_eq!((text.as_str(), records), ("1,,,\n,,,\n3,,,\n,,,\n", 4));
        // Of several columns, it is none.
        assert_eq!(read("text/csv", "age,plan\n1,a\n\n2,b\n").unwrap().1, 2);
    }

    #[test]
    fn no_answer_repeats_what_was_sent() {
        let secret = "x".repeat(100_000);
        let odd = "\u{200b}".repeat(100_000);
        for body in [
            format!(r#"{{"records":["{secret}"]}}"#),
            format!(r#"{{"records":[{{"age":"{secret}"#),
            format!(r#"{{"records":[{{"{odd}":1}}]}}"#),
            format!(r#"{{"records":[{{"{secret}":1}}]}}"#),
        ] {
            let (status, detail) = json_records(&body).unwrap_err();
            assert_eq!(status, 400);
            assert!(detail.chars().count() <= 200, "{detail}");
        }
        let (_, detail) = json_records(r#"{"records":["Jane Roe"]}"#).unwrap_err();
        assert!(!detail.contains("Jane"), "{detail}");
        let (_, detail) = read(&secret, "x").unwrap_err();
        assert!(detail.len() <= 200, "{detail}");
    }

    #[test]
    fn too_much_is_refused() {
        let many = format!("age\n{}", "1\n".repeat(MAX_RECORDS + 1));
        assert_eq!(read("text/csv", &many).unwrap_err().0, 413);
        let many = json!({"records": vec![json!({}); MAX_RECORDS + 1]}).to_string();
        assert_eq!(json_records(&many).unwrap_err().0, 413);
        let many = json!({"columns": [], "rows": vec![json!([]); MAX_RECORDS + 1]}).to_string();
        assert_eq!(json_records(&many).unwrap_err().0, 413);
        assert_eq!(read("text/csv", &"x".repeat(MAX_BYTES + 1)).unwrap_err().0, 413);
    }

    #[test]
    fn json_of_any_depth_and_text_that_is_not_utf_8_are_refused() {
        let deep = format!("{}{}", "[".repeat(500_000), "]".repeat(500_000));
        for text in [
            format!(r#"{{"records":[{{"age":{deep}}}]}}"#),
            format!(r#"{{"records":[{{"id":{deep}}}]}}"#),
            format!(r#"{{"columns":["age"],"rows":[[{deep}]]}}"#),
            format!(r#"{{"columns":{deep},"rows":{deep}}}"#),
            format!(r#"{{"records":{deep}}}"#),
        ] {
            assert_eq!(json_records(&text).unwrap_err().0, 400);
        }
        let sent = |media_type: &str, ignore: &str, bytes: &[u8]| {
            let event = json!({"headers": {"content-type": media_type}, "isBase64Encoded": true,
                "queryStringParameters": {"ignore_unknown": ignore},
                "body": base64::Engine::encode(&base64::prelude::BASE64_STANDARD, bytes)});
            of(event, &model(&["age"])).map(|records| records.count)
        };
        for ignore in ["true", "false"] {
            let json = b"{\"records\":[{\"x\":\"\xFF\"}]}";
            assert_eq!(sent("application/json", ignore, json).unwrap_err().status, 400);
            assert_eq!(sent("text/csv", ignore, b"age,x\n1,\xFF\n").unwrap_err().status, 400);
        }
    }

    proptest! {
        #[test]
        fn one_line_for_each_record_and_no_panic(cells in proptest::collection::vec("\\PC{0,10}", 1..20)) {
            let records: Vec<Value> = cells.iter().map(|cell| json!({"age": cell})).collect();
            let (text, count) = json_records(&json!({"records": records}).to_string()).unwrap();
            let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
            prop_assert_eq!(reader.records().filter(|row| row.as_ref().is_ok_and(|row| row.len() == 4)).count(), count);
        }

        #[test]
        fn no_body_makes_it_panic(text in "\\PC{0,60}") {
            let _ = json_records(&text);
            let _ = json_records(&format!("{{\"records\":{text}}}"));
            let _ = json_records(&format!("{{\"columns\":[\"age\"],\"rows\":{text}}}"));
            let _ = read("text/csv", &text);
        }

        #[test]
        fn both_forms_of_json_are_the_same_records(
            cells in proptest::collection::vec(("\\PC{0,5}", any::<i64>(), any::<f64>()), 1..10)
        ) {
            let object = |(text, whole, number): &(String, i64, f64)| json!({"plan": text, "age": whole, "Day Mins": number});
            let objects: Vec<Value> = cells.iter().map(object).collect();
            let rows: Vec<Value> = cells.iter().map(|cells| json!(cells)).collect();
            prop_assert_eq!(
                json_records(&json!({"records": objects}).to_string()),
                json_records(&json!({"columns": ["plan", "age", "Day Mins"], "rows": rows}).to_string())
            );
        }
    }
}
