//! A good answer, in the form that the caller accepts: JSON or CSV.

use std::collections::HashMap;

use crosspilot_core::ids::ModelName;
use serde::Serialize;

use super::problem::Problem;
use super::records::{Id, Remarks};
use super::response::HttpResponse;
use crate::output::Prediction;

/// A Lambda's answer may have 6 MB, in which the body is a string.
const ANSWER_BYTES: usize = 6_000_000;

/// The form of a good answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `application/json`.
    Json,
    /// `text/csv` with a header.
    Csv,
}

impl Form {
    /// Chooses the form by the caller's Accept: the one of more weight, of equal weights
    /// the one that is named more exactly, and JSON otherwise.
    pub(super) fn accepted(accept: Option<&str>) -> Result<Self, Problem> {
        let accept = accept.unwrap_or_default();
        if accept.trim().is_empty() {
            return Ok(Form::Json);
        }
        let ranges: Vec<(String, u16)> = accept.split(',').filter_map(range).collect();
        // The most exact range that a form is in tells its weight (RFC 9110, 12.5.1).
        let rank = |names: [&str; 3]| {
            let weight = |wanted: &str| {
                let of_name = ranges.iter().filter(|(name, _)| name == wanted);
                of_name.map(|(_, weight)| *weight).max()
            };
            let exactness = [2, 1, 0];
            let known = names.into_iter().zip(exactness);
            let found = known.filter_map(|(name, exactness)| Some((weight(name)?, exactness)));
            found.max_by_key(|(_, exactness)| *exactness).filter(|(weight, _)| *weight > 0)
        };
        let json = rank(["application/json", "application/*", "*/*"]);
        let csv = rank(["text/csv", "text/*", "*/*"]);
        match (json, csv) {
            (None, None) => Err(Problem::not_acceptable()),
            _ if csv > json => Ok(Form::Csv),
            _ => Ok(Form::Json),
        }
    }
}

/// A media range and its weight in thousandths. One that cannot be read is none.
fn range(text: &str) -> Option<(String, u16)> {
    let mut parts = text.split(';').map(|part| part.trim().to_ascii_lowercase());
    let name = parts.next()?;
    let weight = match parts.find_map(|part| part.strip_prefix("q=").map(str::to_owned)) {
        Some(weight) => weight.parse().ok().filter(|weight| (0.0..=1.0).contains(weight))?,
        None => 1.0_f64,
    };
    Some((name, (weight * 1000.0).round() as u16))
}

/// The content of a good answer.
#[derive(Serialize)]
pub(super) struct Predictions<'a> {
    pub(super) model: &'a ModelName,
    /// The run that trained the model.
    pub(super) version: &'a str,
    pub(super) request_id: &'a str,
    pub(super) predictions: Vec<Identified<'a>>,
    #[serde(flatten)]
    pub(super) remarks: &'a Remarks,
}

/// A prediction, with the caller's id of its record.
#[derive(Serialize)]
pub(super) struct Identified<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: &'a Option<Id>,
    #[serde(flatten)]
    pub(super) prediction: &'a Prediction,
}

impl Predictions<'_> {
    /// Writes it, if it fits.
    pub(super) fn response(&self, form: Form) -> Result<HttpResponse, Problem> {
        let (media_type, body) = match form {
            Form::Json => ("application/json", serde_json::to_string(self).map_err(broken)?),
            Form::Csv => ("text/csv; charset=utf-8", self.csv()?),
        };
        if quoted_len(&body) > ANSWER_BYTES {
            return Err(too_large());
        }
        let response = HttpResponse::good(media_type, body);
        Ok(match form {
            Form::Json => response,
            Form::Csv => response
                .with_header("x-crosspilot-version", self.version)
                .with_remarks(self.remarks),
        })
    }

    /// CSV with a header. What is no number of this record's is an empty cell.
    fn csv(&self) -> Result<String, Problem> {
        let predictions = || self.predictions.iter().map(|identified| identified.prediction);
        let has_ids = self.predictions.iter().any(|identified| identified.id.is_some());
        let has_values = predictions().any(|it| matches!(it, Prediction::Value(_)));
        let has_bare = predictions().any(|it| bare_probability(it).is_some());
        let mut labels = Vec::new();
        let mut positions = HashMap::new();
        for label in predictions().flat_map(Prediction::labels) {
            positions.entry(label.as_str()).or_insert_with(|| {
                labels.push(label);
                labels.len() - 1
            });
        }
        let mut writer = csv::Writer::from_writer(Vec::new());
        let mut header: Vec<String> = Vec::new();
        header.extend(has_ids.then(|| "id".into()));
        header.push(if has_values { "value" } else { "label" }.into());
        header.extend(has_bare.then(|| "probability".into()));
        header.extend(labels.iter().map(|label| format!("probability:{label}")));
        writer.write_record(&header).map_err(broken)?;
        let mut row = Vec::with_capacity(header.len());
        for Identified { id, prediction } in &self.predictions {
            // Each record has a cell for the labels of all.
            if writer.get_ref().len() > ANSWER_BYTES {
                return Err(too_large());
            }
            row.clear();
            if has_ids {
                row.push(id.as_ref().map(Id::to_string).unwrap_or_default());
            }
            match prediction {
                Prediction::Value(value) => row.push(number(*value)),
                Prediction::Label { label, labels: own, probabilities, .. } => {
                    row.push(label.clone());
                    if has_bare {
                        row.push(bare_probability(prediction).map(number).unwrap_or_default());
                    }
                    let first = row.len();
                    row.resize(header.len(), String::new());
                    for (label, probability) in own.iter().zip(probabilities) {
                        row[first + positions[label.as_str()]] = number(*probability);
                    }
                }
            }
            writer.write_record(&row).map_err(broken)?;
        }
        let text = writer.into_inner().map_err(|e| broken(e.into_error()))?;
        String::from_utf8(text).map_err(broken)
    }
}

/// The probability of the label, where that is all that the endpoint gave.
fn bare_probability(prediction: &Prediction) -> Option<f64> {
    match prediction {
        Prediction::Label { probability, probabilities, .. } if probabilities.is_empty() => {
            *probability
        }
        _ => None,
    }
}

/// A number as JSON has it.
fn number(number: f64) -> String {
    serde_json::Number::from_f64(number).map(|number| number.to_string()).unwrap_or_default()
}

impl HttpResponse {
    /// Says in headers what has no place in CSV.
    fn with_remarks(mut self, remarks: &Remarks) -> Self {
        if !remarks.warnings.is_empty() {
            let count = remarks.warnings.len() + remarks.more_warnings;
            self = self.with_header("x-crosspilot-warnings", &count.to_string());
        }
        let unchecked: Vec<&str> = remarks.unchecked.iter().map(|code| code.name()).collect();
        if !unchecked.is_empty() {
            self = self.with_header("x-crosspilot-unchecked", &unchecked.join(", "));
        }
        self
    }
}

fn too_large() -> Problem {
    Problem::too_large(
        "the predictions for these records do not fit one answer: send fewer records at a time",
    )
}

fn broken(error: impl ToString) -> Problem {
    Problem::internal(error)
}

/// Bytes of a text as a string within JSON.
fn quoted_len(text: &str) -> usize {
    let len = |byte| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0C => 2,
        0..0x20 => 6,
        _ => 1,
    };
    text.bytes().map(len).sum::<usize>() + 2
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::output;

    /// The answer to records with these ids, of which the endpoint says this.
    fn written(form: Form, said: &str, ids: &[Option<Id>]) -> Result<HttpResponse, Problem> {
        let answer = output::Answer::new(said.as_bytes().to_vec(), ids.len()).unwrap();
        let predictions = output::predictions(&[answer], None).unwrap();
        let predictions = ids.iter().zip(&predictions);
        let remarks = Remarks { warnings: Vec::new(), more_warnings: 0, unchecked: Vec::new() };
        let answer = Predictions {
            model: &"churn".parse().unwrap(),
            version: "20260131-0000000000",
            request_id: "r",
            predictions: predictions
                .map(|(id, prediction)| Identified { id, prediction })
                .collect(),
            remarks: &remarks,
        };
        answer.response(form)
    }

    fn csv(said: &str, ids: &[Option<Id>]) -> String {
        written(Form::Csv, said, ids).unwrap().body
    }

    fn text(id: &str) -> Option<Id> {
        Some(Id::Text(id.to_owned()))
    }

    #[test]
    fn the_form_is_the_one_of_more_weight() {
        use Form::{Csv, Json};
        for (accept, form) in [
            (None, Some(Json)),
            (Some(" "), Some(Json)),
            (Some("*/*"), Some(Json)),
            (Some("application/json"), Some(Json)),
            (Some("application/*;q=0.1"), Some(Json)),
            (Some("text/csv"), Some(Csv)),
            (Some("Text/CSV; header=present"), Some(Csv)),
            (Some("text/*"), Some(Csv)),
            (Some("text/csv, */*"), Some(Csv)),
            (Some("text/csv, application/json"), Some(Json)),
            (Some("text/csv;q=0.9, application/json;q=0.8"), Some(Csv)),
            (Some("text/csv; Q=0.5,application/json ; q=0.51"), Some(Json)),
            (Some("text/csv;q=0.5, */*;q=0.8"), Some(Json)),
            (Some("application/json;q=0, */*;q=0.1"), Some(Csv)),
            (Some("text/html,application/xhtml+xml,*/*;q=0.8"), Some(Json)),
            (Some("text/csv;q=0"), None),
            (Some("text/csv;q=2"), None),
            (Some("text/csv;q=NaN"), None),
            (Some("text/html, image/*"), None),
            (Some("garbage"), None),
            (Some(";,;,"), None),
        ] {
            let got = Form::accepted(accept);
            assert_eq!(got.as_ref().ok().copied(), form, "{accept:?}");
            if let Err(problem) = got {
                assert_eq!(problem.status, 406);
                let both = ["application/json", "text/csv"];
                assert!(both.iter().all(|name| problem.detail.contains(name)));
            }
        }
    }

    #[test]
    fn csv_has_a_column_for_each_label_that_occurs() {
        let said = "b,0.9,\"[0.1, 0.9]\",\"['a', 'b']\"\nc,0.5,\"[0.5, 0.5]\",\"['c', 'b']\"\n";
        assert_eq!(
            csv(said, &[None, None]),
            "label,probability:a,probability:b,probability:c\nb,0.1,0.9,\nc,,0.5,0.5\n"
        );
        assert_eq!(
            csv("\"x\"\"\ny\",1.0,\"[1.0]\",\"['a,b']\"\n", &[text("7,\"\n")]),
            "id,label,\"probability:a,b\"\n\"7,\"\"\n\",\"x\"\"\ny\",1.0\n"
        );
        assert_eq!(csv("yes,0.5\nno,nan\n", &[None, None]), "label,probability\nyes,0.5\nno,\n");
        assert_eq!(csv("\"\"\n", &[None]), "label\n\"\"\n");
        let ids = [Some(Id::Number(8.into())), None];
        let large = json!(1e300);
        assert_eq!(csv("1e300\n7\n", &ids), format!("id,value\n8,{large}\n,7.0\n"));
    }

    #[test]
    fn an_answer_that_does_not_fit_is_refused_in_both_forms_and_is_not_written_to_its_end() {
        for form in [Form::Json, Form::Csv] {
            assert!(written(form, &"x".repeat(5_900_000), &[None]).is_ok());
            let problem = written(form, &"x".repeat(6_000_000), &[None]).unwrap_err();
            assert_eq!(problem.status, 413);
            // A quote takes two bytes in either form, and each of them two in the function's answer.
            let quotes = |many: usize| format!("\"{}\"", "\"\"".repeat(many));
            assert!(written(form, &quotes(1_400_000), &[None]).is_ok());
            assert_eq!(written(form, &quotes(1_600_000), &[None]).unwrap_err().status, 413);
        }
        // Each of these lines has labels of its own: that would be 27 million cells.
        let line = |n: usize| {
            let labels: Vec<String> = (0..300).map(|label| format!("'{n} {label}'")).collect();
            let shares = vec!["0"; 300].join(", ");
            format!("a,0.5,\"[{shares}]\",\"[{}]\"\n", labels.join(", "))
        };
        let said: String = (0..300).map(line).collect();
        assert_eq!(written(Form::Csv, &said, &vec![None; 300]).unwrap_err().status, 413);
    }

    proptest! {
        #[test]
        fn a_text_is_as_long_as_it_is_within_the_functions_answer(text in any::<String>()) {
            prop_assert_eq!(quoted_len(&text), Value::from(text.as_str()).to_string().len());
        }

        #[test]
        fn no_accept_makes_it_panic(accept in "[a-z*/;=,q0-9. ]{0,60}") {
            let _ = Form::accepted(Some(&accept));
        }

        #[test]
        fn csv_reads_back(ids in proptest::collection::vec(any::<Option<String>>(), 1..5)) {
            let said = "yes,0.5\n".repeat(ids.len());
            let sent: Vec<Option<Id>> = ids.iter().cloned().map(|id| id.map(Id::Text)).collect();
            let text = csv(&said, &sent);
            let mut reader = csv::Reader::from_reader(text.as_bytes());
            let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
            prop_assert_eq!(rows.len(), ids.len());
            for (row, id) in rows.iter().zip(&ids).filter(|_| ids.iter().any(Option::is_some)) {
                prop_assert_eq!(&row[0], id.as_deref().unwrap_or_default());
            }
        }
    }
}
