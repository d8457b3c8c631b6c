//! Reads what an endpoint answers.
//!
//! One line a record. A classification answers up to four columns, in the order
//! that `deploy-best` agreed on with the containers: label, probability, the
//! probabilities of all labels, and those labels. A regression answers a number.

use std::sync::Arc;

use crosspilot_core::settings::ModelSettings;
use crosspilot_metrics::PredictionKind;
use csv::StringRecord;
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::python_repr;

/// An answer that is not one prediction for each record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerInvalid {
    /// Too few or too many lines.
    #[error(
        "the endpoint answered {got} predictions for {expected} records: look at the model's log in CloudWatch, or train again"
    )]
    Count {
        /// Lines in the answer.
        got: usize,
        /// Records that were sent.
        expected: usize,
    },
    /// More than is read.
    #[error(
        "the model's answers about the held-out rows are {} MB, and no more than {} MB of them are read: give it fewer held-out rows, or training.hold_out a smaller share", .bytes >> 20, .most >> 20
    )]
    TooLarge {
        /// The size of the answers, in bytes.
        bytes: u64,
        /// The most bytes that there may be.
        most: u64,
    },
    /// A line that cannot be read.
    #[error(
        "prediction {line} of the endpoint's answer has {problem}: look at the model's log in CloudWatch, or train again"
    )]
    Line {
        /// Counted from 1.
        line: usize,
        /// The fault of the line, as a phrase.
        problem: String,
    },
}

/// The prediction of a model for one record.
#[derive(Debug, Clone, PartialEq)]
pub enum Prediction {
    /// One of several labels.
    Label {
        /// The label, exactly as in the training data.
        label: String,
        /// The number that the endpoint calls its probability. Its meaning differs between
        /// training modes, so it is shown only where `probabilities` is empty.
        probability: Option<f64>,
        /// The labels that `probabilities` are about.
        labels: Arc<[String]>,
        /// The probability of each of `labels`.
        probabilities: Vec<f64>,
    },
    /// A number.
    Value(f64),
}

impl Prediction {
    /// The predicted label; nothing for a number.
    pub fn label(&self) -> &str {
        match self {
            Prediction::Label { label, .. } => label,
            Prediction::Value(_) => "",
        }
    }

    /// Tells whether two answers are the same, but for rounding.
    pub fn agrees_with(&self, other: &Prediction, tolerance: f64) -> bool {
        let close = |a: f64, b: f64| (a - b).abs() <= tolerance * a.abs().max(b.abs()).max(1.0);
        match (self, other) {
            (Prediction::Value(a), Prediction::Value(b)) => close(*a, *b),
            (
                Prediction::Label { label, probabilities, labels, .. },
                Prediction::Label {
                    label: other_label,
                    probabilities: other_probabilities,
                    labels: other_labels,
                    ..
                },
            ) => {
                // Two labels that are equally likely may change places.
                let same = probabilities.len() == other_probabilities.len()
                    && probabilities.iter().zip(other_probabilities).all(|(a, b)| close(*a, *b));
                labels == other_labels
                    && same
                    && (label == other_label || !probabilities.is_empty())
            }
            _ => false,
        }
    }

    /// The labels that have a probability.
    pub fn labels(&self) -> &[String] {
        match self {
            Prediction::Label { labels, .. } => labels,
            Prediction::Value(_) => &[],
        }
    }

    /// The probability of a label, where the endpoint gave one for each.
    pub fn probability_of(&self, wanted: &str) -> Option<f64> {
        match self {
            Prediction::Label { labels, probabilities, .. } => {
                let index = labels.iter().position(|label| label == wanted)?;
                probabilities.get(index).copied()
            }
            Prediction::Value(_) => None,
        }
    }
}

impl Serialize for Prediction {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self {
            Prediction::Value(value) => map.serialize_entry("value", value)?,
            Prediction::Label { label, probability, labels, probabilities } => {
                map.serialize_entry("label", label)?;
                if !probabilities.is_empty() {
                    map.serialize_entry("probabilities", &ByLabel(labels, probabilities))?;
                } else if let Some(probability) = probability {
                    map.serialize_entry("probability", probability)?;
                }
            }
        }
        map.end()
    }
}

struct ByLabel<'a>(&'a [String], &'a [f64]);

impl Serialize for ByLabel<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().zip(self.1))
    }
}

/// The answer of an endpoint or a transform job to so many records, as text: the lines of many
/// labels take several times the room.
#[derive(Debug, Clone)]
pub struct Answer {
    text: Vec<u8>,
    records: usize,
}

impl Answer {
    /// An answer of one line for each record.
    pub fn new(text: Vec<u8>, records: usize) -> Result<Self, AnswerInvalid> {
        let answer = Self { text, records };
        let mut lines = 0;
        for line in answer.lines() {
            line.map_err(|problem| AnswerInvalid::Line { line: lines + 1, problem })?;
            lines += 1;
            if lines > records {
                break;
            }
        }
        if lines == records {
            Ok(answer)
        } else if lines == 1
            && let Some(text) = answer.side_by_side()
        {
            Ok(Self { text, records })
        } else {
            Err(AnswerInvalid::Count { got: lines, expected: records })
        }
    }

    /// The numbers of an answer that is one line of nothing but numbers, each as
    /// a line of its own: SageMaker's XGBoost writes the answers of a tuned
    /// regression into one line (aws/sagemaker-xgboost-container,
    /// `algorithm_mode/serve.py`).
    fn side_by_side(&self) -> Option<Vec<u8>> {
        let line = self.lines().next()?.ok()?;
        let numbers = line.len() == self.records && line.iter().all(|it| number(it).is_some());
        numbers.then(|| line.iter().collect::<Vec<_>>().join("\n").into_bytes())
    }

    fn lines(&self) -> impl Iterator<Item = Result<StringRecord, String>> {
        let mut reader = csv::ReaderBuilder::new();
        let reader = reader.has_headers(false).flexible(true).from_reader(&self.text[..]);
        reader.into_records().map(|line| line.map_err(|e| format!("no CSV: {e}")))
    }
}

/// Reads all answers of one model as the same kind of prediction.
pub fn predictions(
    answers: &[Answer],
    expected: Option<PredictionKind>,
) -> Result<Vec<Prediction>, AnswerInvalid> {
    let lines = || answers.iter().flat_map(Answer::lines).enumerate();
    let all = |is: &dyn Fn(&StringRecord) -> bool| {
        lines().all(|(_, line)| line.is_ok_and(|line| is(&line)))
    };
    let kind = match expected {
        _ if !all(&|line| line.len() == 1) => PredictionKind::Labels,
        Some(kind) => kind,
        None if all(&|line| number(&line[0]).is_some()) => PredictionKind::Numbers,
        None => PredictionKind::Labels,
    };
    let mut names = Names::default();
    let mut predictions = Vec::with_capacity(answers.iter().map(|answer| answer.records).sum());
    for (index, line) in lines() {
        let read = line.and_then(|line| match kind {
            PredictionKind::Numbers => number(&line[0])
                .map(Prediction::Value)
                .ok_or_else(|| "a text where a number should be".to_owned()),
            PredictionKind::Labels => label(&line, &mut names),
        });
        let invalid = |problem| AnswerInvalid::Line { line: index + 1, problem };
        predictions.push(read.map_err(invalid)?);
    }
    Ok(predictions)
}

/// The list of labels is the same on every line: it is read once.
#[derive(Default)]
struct Names {
    text: String,
    labels: Arc<[String]>,
}

impl Names {
    fn read(&mut self, text: &str) -> Result<Arc<[String]>, String> {
        if self.text != text {
            let labels = python_repr::list(text)?;
            let mut sorted: Vec<&String> = labels.iter().collect();
            sorted.sort_unstable();
            if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
                return Err("one label twice".into());
            }
            self.labels = labels.into();
            text.clone_into(&mut self.text);
        }
        Ok(self.labels.clone())
    }
}

fn label(line: &StringRecord, names: &mut Names) -> Result<Prediction, String> {
    let label = line.get(0).unwrap_or_default().to_owned();
    let mut probability = None;
    let mut lists = Vec::new();
    for field in line.iter().skip(1) {
        if field.trim_start().starts_with('[') {
            lists.push(field);
        } else if !field.trim().eq_ignore_ascii_case("nan") {
            // A container writes nan for a key that it cannot give.
            probability = Some(share(field)?);
        }
    }
    let (labels, probabilities) = match lists[..] {
        [probabilities, labels] => {
            let labels = names.read(labels)?;
            let items = python_repr::list(probabilities)?;
            let probabilities =
                items.iter().map(|item| share(item)).collect::<Result<Vec<_>, _>>()?;
            if labels.len() != probabilities.len() {
                return Err(format!(
                    "{} probabilities for {} labels",
                    probabilities.len(),
                    labels.len()
                ));
            }
            (labels, probabilities)
        }
        // Probabilities without names tell nobody anything.
        [] | [_] => Default::default(),
        _ => return Err("more than two lists".into()),
    };
    Ok(Prediction::Label { label, probability, labels, probabilities })
}

fn number(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|value: &f64| value.is_finite())
}

/// A probability. Softmax in single precision may miss the bounds by a hair.
fn share(text: &str) -> Result<f64, String> {
    match number(text) {
        Some(value) if (-1e-6..=1.0 + 1e-6).contains(&value) => Ok(value.clamp(0.0, 1.0)),
        _ => Err("a probability that is not a number from 0 to 1".into()),
    }
}

/// Tells whether a model answers labels or numbers, as far as its settings and its
/// objective metric do. The labels `0` and `1` look like numbers, so the answer alone
/// cannot always tell.
pub fn kind(settings: &ModelSettings, metric: Option<&str>) -> Option<PredictionKind> {
    let problem = settings.objective.as_ref().and_then(|o| o.problem_type.parse().ok());
    problem.map(PredictionKind::of_problem).or_else(|| PredictionKind::of_metric(metric?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(
        body: &str,
        records: usize,
        expected: Option<PredictionKind>,
    ) -> Result<Vec<Prediction>, AnswerInvalid> {
        predictions(&[Answer::new(body.as_bytes().to_vec(), records)?], expected)
    }

    fn json(body: &str) -> String {
        serde_json::to_string(&read(body, 1, None).unwrap()[0]).unwrap()
    }

    #[test]
    fn all_four_keys_give_a_probability_for_each_label() {
        let body = "True.,0.91,\"[0.09, 0.91]\",\"['False.', 'True.']\"\n";
        assert_eq!(json(body), r#"{"label":"True.","probabilities":{"False.":0.09,"True.":0.91}}"#);
    }

    #[test]
    fn fewer_keys_give_less() {
        assert_eq!(json("True.,0.91"), r#"{"label":"True.","probability":0.91}"#);
        assert_eq!(json("True.,0.91,\"[0.09, 0.91]\""), r#"{"label":"True.","probability":0.91}"#);
        assert_eq!(
            json("True.,0.91,nan,\"['False.', 'True.']\""),
            r#"{"label":"True.","probability":0.91}"#
        );
        assert_eq!(json("True.,nan"), r#"{"label":"True."}"#);
        assert_eq!(json("True."), r#"{"label":"True."}"#);
    }

    #[test]
    fn numbers_may_stand_side_by_side() {
        let numbers = |body: &str, records| read(body, records, Some(PredictionKind::Numbers));
        let two = vec![Prediction::Value(1.5), Prediction::Value(-2.0)];
        assert_eq!(numbers("1.5,-2.0", 2).unwrap(), two);
        assert_eq!(numbers("1.5\n-2.0\n", 2).unwrap(), two);
        assert!(numbers("1.5,-2.0", 3).is_err() && numbers("1.5,x", 2).is_err());
        // One record of a classification has several columns, too.
        assert_eq!(json("1,0.91"), r#"{"label":"1","probability":0.91}"#);
    }

    #[test]
    fn labels_are_raw_strings() {
        let body = "\" <=50K\",0.8,\"[0.8, 0.2]\",\"[' <=50K', ' >50K']\"";
        assert_eq!(json(body), r#"{"label":" <=50K","probabilities":{" <=50K":0.8," >50K":0.2}}"#);
        assert_eq!(json("[odd],0.5"), r#"{"label":"[odd]","probability":0.5}"#);
    }

    #[test]
    fn numbers_are_values_unless_the_model_is_known_to_answer_labels() {
        let values = [Prediction::Value(123.4), Prediction::Value(-5e-7)];
        assert_eq!(read("123.4\n-5e-7", 2, None).unwrap(), values);
        let labels = read("1\n0\n", 2, Some(PredictionKind::Labels)).unwrap();
        assert!(matches!(&labels[0], Prediction::Label { label, .. } if label == "1"));
        assert!(read("1\nNaN\n", 2, Some(PredictionKind::Numbers)).is_err());
    }

    #[test]
    fn settings_come_before_the_metric_in_telling_the_kind() {
        let settings = |objective: Option<_>| -> ModelSettings {
            serde_json::from_value(json!({"target": "y", "objective": objective})).unwrap()
        };
        let unset = settings(None);
        let regression = settings(Some(json!({"problem_type": "Regression", "metric": "MSE"})));
        let told = |metric| kind(&unset, metric);
        assert_eq!(told(Some("validation:f1_binary")), Some(PredictionKind::Labels));
        assert_eq!(told(Some("validation:rmse")), Some(PredictionKind::Numbers));
        assert_eq!(kind(&regression, Some("odd")), Some(PredictionKind::Numbers));
        assert_eq!(kind(&regression, Some("F1")), Some(PredictionKind::Numbers));
        assert_eq!((told(Some("odd")), told(None)), (None, None));
    }

    #[test]
    fn answers_agree_but_for_rounding() {
        let one = |body: &str| read(body, 1, None).unwrap().remove(0);
        let likely = "a,0.6,\"[0.6, 0.4]\",\"['a', 'b']\"";
        for (left, right, agree) in [
            ("1.0", "1.0000001", true),
            ("1.0", "1.1", false),
            ("1e9", "1.0000001e9", true),
            ("a", "a", true),
            ("a", "b", false),
            ("a", "1.0", false),
            (likely, "a,0.6,\"[0.60001, 0.39999]\",\"['a', 'b']\"", true),
            (likely, "a,0.7,\"[0.7, 0.3]\",\"['a', 'b']\"", false),
            (likely, "a,0.6,\"[0.6, 0.4]\",\"['b', 'a']\"", false),
        ] {
            assert_eq!(one(left).agrees_with(&one(right), 1e-3), agree, "{left} {right}");
        }
    }

    #[test]
    fn every_record_has_exactly_one_prediction() {
        assert_eq!(read("a\nb\n", 3, None), Err(AnswerInvalid::Count { got: 2, expected: 3 }));
        assert_eq!(read("a\nb\n", 1, None), Err(AnswerInvalid::Count { got: 2, expected: 1 }));
    }

    #[test]
    fn answers_that_came_in_parts_are_one() {
        let part = |text: &str, records| Answer::new(text.as_bytes().to_vec(), records).unwrap();
        // Numbers up to where a label says what they are.
        let parts = [part("1\n2\n", 2), part("maybe\n", 1)];
        let labels: Vec<String> =
            predictions(&parts, None).unwrap().iter().map(|p| p.label().to_owned()).collect();
        assert_eq!(labels, ["1", "2", "maybe"]);
        let error = predictions(&parts, Some(PredictionKind::Numbers)).unwrap_err();
        assert!(error.to_string().starts_with("prediction 3 of"), "{error}");
    }

    #[test]
    fn nonsense_is_named_with_its_line() {
        let fine = "a,0.5,\"[0.5, 0.5]\",\"['a', 'b']\"\n";
        for (line, problem) in [
            ("a,2.0", "not a number from 0 to 1"),
            ("a,inf", "not a number from 0 to 1"),
            ("a,0.5,\"[0.5]\",\"['a', 'b']\"", "1 probabilities for 2 labels"),
            ("a,0.5,\"[0.5, 0.5]\",\"['a', 'a']\"", "one label twice"),
            ("a,0.5,\"[0.5, 0.5]\",\"['a', 'b\"", "a string without its end"),
        ] {
            let error = read(&format!("{fine}{line}"), 2, None).unwrap_err().to_string();
            assert!(error.starts_with("prediction 2 of") && error.contains(problem), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(body in proptest::collection::vec(any::<u8>(), 0..200), records in 0_usize..5) {
            for kind in [None, Some(PredictionKind::Labels), Some(PredictionKind::Numbers)] {
                let _ = Answer::new(body.clone(), records).and_then(|answer| predictions(&[answer], kind));
            }
        }
    }
}
