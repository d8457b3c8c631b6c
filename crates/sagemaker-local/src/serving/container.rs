//! Inference containers: what an endpoint runs, and how its environment
//! decides what it answers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::autopilot::trainer::{Prediction, Predictor};
use crate::serving::artifact::{Artifact, ArtifactError};

/// The environment's part of the handshake between containers.
const INPUT: &str = "SAGEMAKER_INFERENCE_INPUT";
const OUTPUT: &str = "SAGEMAKER_INFERENCE_OUTPUT";
const TRANSFORM_MODE: &str = "AUTOML_TRANSFORM_MODE";
/// What a container emits when its environment does not say.
const DEFAULT_KEY: &str = "predicted_label";
/// What a request without a content type is taken for.
const UNTYPED: &str = "application/json";

/// `Environment` of a container definition.
pub(crate) type Environment = BTreeMap<String, String>;

/// One container as `CreateModel` and a candidate describe it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ContainerDefinition {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) image: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) model_data_url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) container_hostname: Option<String>,
    #[serde(default)]
    pub(crate) environment: Environment,
}

/// A container's own error answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct ContainerError {
    pub(crate) status: u16,
    pub(crate) message: String,
    /// Which container it was.
    pub(crate) container: String,
}

/// The containers behind one production variant, one feeding the next.
pub(crate) struct Pipeline(Vec<Container>);

struct Container {
    name: String,
    environment: Environment,
    work: Work,
}

enum Work {
    /// Ensembling: records in, answers with the labels as they are.
    Predictor(Predictor),
    /// Records in, numeric features out.
    FeatureTransform { columns: usize },
    /// Features in, answers with classes by number.
    Algorithm(Predictor),
    /// Classes by number in, labels out.
    InverseLabel { labels: Vec<String> },
}

/// What a pipeline answers.
#[derive(Debug, PartialEq)]
pub(crate) struct ContainerAnswer {
    pub(crate) body: Vec<u8>,
    pub(crate) content_type: &'static str,
}

/// How the last container writes its answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    Csv,
    Json,
    JsonLines,
}

/// Whether a pipeline answers an endpoint's caller or a transform job, which
/// its containers see in their environment (`SAGEMAKER_BATCH`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Online,
    InBatch,
}

impl Written {
    fn content_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8",
            Self::Json => JSON,
            Self::JsonLines => JSON_LINES,
        }
    }

    fn named(accept: &str) -> Option<Self> {
        match accept {
            "text/csv" => Some(Self::Csv),
            JSON => Some(Self::Json),
            JSON_LINES => Some(Self::JsonLines),
            _ => None,
        }
    }
}

const JSON: &str = "application/json";
const JSON_LINES: &str = "application/jsonlines";

/// What travels from one container to the next.
enum Payload {
    Csv(Vec<u8>),
    Features(Vec<Vec<String>>),
    Answers(Vec<Vec<String>>),
}

impl Pipeline {
    /// Start the containers, each with the artifact that its definition names.
    pub(crate) fn start(
        containers: impl IntoIterator<Item = (ContainerDefinition, Vec<u8>)>,
    ) -> Result<Self, ArtifactError> {
        let containers: Vec<_> = containers.into_iter().collect();
        let alone = containers.len() == 1;
        let start = |(i, (definition, archive)): (usize, (ContainerDefinition, Vec<u8>))| {
            let mode = definition.environment.get(TRANSFORM_MODE).map(String::as_str);
            let work = match (Artifact::unpack(&archive)?, mode) {
                (Artifact::Predictor(predictor), _) => Work::Predictor(predictor),
                (Artifact::Algorithm(predictor), _) => Work::Algorithm(predictor),
                (Artifact::Processor { labels, .. }, Some("inverse-label-transform")) => {
                    Work::InverseLabel { labels }
                }
                (Artifact::Processor { columns, .. }, _) => Work::FeatureTransform { columns },
            };
            let name = if alone { "primary".into() } else { format!("container-{}", i + 1) };
            let name = definition.container_hostname.unwrap_or(name);
            Ok(Container { name, environment: definition.environment, work })
        };
        containers.into_iter().enumerate().map(start).collect::<Result<_, _>>().map(Self)
    }

    /// Answers a request, as the last container writes it.
    ///
    /// A request without a type is refused as JSON: `sagemaker_serve.py` would take
    /// it for CSV, but aws/sagemaker-containers, which calls it, has put
    /// `application/json` there before (`_worker.py`, `Request.content_type`). The
    /// ensemble's container is not published, and is held to be no kinder.
    pub(crate) fn invoke(
        &self,
        content_type: &str,
        accept: &str,
        asked: Asked,
        body: Vec<u8>,
    ) -> Result<ContainerAnswer, ContainerError> {
        let content_type = if content_type.is_empty() { UNTYPED } else { content_type };
        let mut payload = Payload::Csv(body);
        let mut written = Written::Csv;
        for (i, container) in self.0.iter().enumerate() {
            let fail = |(status, message)| ContainerError {
                status,
                message,
                container: container.name.clone(),
            };
            if i == 0 && media_type(content_type) != "text/csv" {
                return Err(fail((
                    415,
                    format!("'{content_type}' is an unsupported content type."),
                )));
            }
            if i + 1 == self.0.len() {
                written = container.written(accept).map_err(fail)?;
            }
            payload = container.serve(payload).map_err(fail)?;
        }
        let last = self.0.last();
        match (payload, last) {
            (Payload::Answers(rows), Some(last)) => Ok(ContainerAnswer {
                body: last.write(&rows, written, asked),
                content_type: written.content_type(),
            }),
            _ => Err(ContainerError {
                status: 406,
                message: "feature-transform answers application/x-recordio-protobuf only".into(),
                container: last.map(|container| container.name.clone()).unwrap_or_default(),
            }),
        }
    }
}

impl Container {
    /// Whether it was told which columns to answer.
    fn is_selectable(&self) -> bool {
        self.environment.contains_key(OUTPUT)
    }

    /// How it writes what is asked for with this `Accept`, as the containers'
    /// own code has it: `sagemaker_serve.py`, which Autopilot leaves beside its
    /// data processors, and aws/sagemaker-xgboost-container (`algorithm_mode/serve.py`).
    /// What the ensemble's container does with other types than CSV is not
    /// published: it refuses them here.
    fn written(&self, accept: &str) -> Result<Written, (u16, String)> {
        let refused = |message: String| Err((406, message));
        if matches!(accept, "" | "*/*") {
            return Ok(Written::Csv);
        }
        match &self.work {
            Work::Predictor(_) => {
                let csv = |accepted: &str| {
                    matches!(media_type(accepted).as_str(), "text/csv" | "text/*" | "*/*")
                };
                match accept.split(',').any(csv) {
                    true => Ok(Written::Csv),
                    false => {
                        refused(format!("Accept type {accept} is not supported; ask for text/csv"))
                    }
                }
            }
            // It looks the header up as it is.
            Work::InverseLabel { .. } => match Written::named(accept) {
                Some(written) if written == Written::Csv || self.is_selectable() => Ok(written),
                _ => refused(format!(
                    "Accept type '{accept}' is not supported during inverse label transformation."
                )),
            },
            // It always answers numbers as CSV.
            Work::Algorithm(_) if !self.is_selectable() => Ok(Written::Csv),
            Work::Algorithm(_) => match Written::named(&media_type(accept)) {
                Some(written) => Ok(written),
                None => refused(format!(
                    "Accept type {accept} is not supported. Please use supported accept types: \
                     ['application/json', 'application/jsonlines', 'application/x-recordio-protobuf', 'text/csv']."
                )),
            },
            Work::FeatureTransform { .. } => Ok(Written::Csv),
        }
    }

    fn write(&self, rows: &[Vec<String>], written: Written, asked: Asked) -> Vec<u8> {
        let keys = self.keys(OUTPUT);
        let object = |row: &Vec<String>| {
            let field = |(key, field): (&&str, &String)| ((*key).to_owned(), self.json(key, field));
            Value::Object(keys.iter().zip(row).map(field).collect())
        };
        match written {
            Written::Json => {
                let predictions: Vec<Value> = rows.iter().map(object).collect();
                json!({ "predictions": predictions }).to_string().into_bytes()
            }
            Written::JsonLines => {
                let lines = rows.iter().map(|row| format!("{}\n", object(row)));
                lines.collect::<String>().into_bytes()
            }
            // XGBoost answers numbers side by side, however many records there are.
            Written::Csv if self.answers_numbers() && asked == Asked::Online => {
                rows.iter().map(|row| row.join(",")).collect::<Vec<_>>().join(",").into_bytes()
            }
            Written::Csv => write_csv(rows),
        }
    }

    fn answers_numbers(&self) -> bool {
        matches!(&self.work, Work::Algorithm(predictor) if predictor.labels().is_empty())
    }

    /// A field in JSON. The algorithm has it as a number or a list; the inverse
    /// label transform has read it from CSV, and passes on a text.
    fn json(&self, key: &str, field: &str) -> Value {
        match (&self.work, key) {
            (Work::Algorithm(_), "predicted_label" | "probability" | "probabilities") => {
                serde_json::from_str(field).unwrap_or_else(|_| json!(field))
            }
            _ => json!(field),
        }
    }

    fn keys(&self, variable: &str) -> Vec<&str> {
        let keys = self.environment.get(variable).map_or(DEFAULT_KEY, String::as_str);
        keys.split(',').map(str::trim).filter(|key| !key.is_empty()).collect()
    }

    fn serve(&self, payload: Payload) -> Result<Payload, (u16, String)> {
        match (&self.work, payload) {
            (Work::Predictor(predictor), Payload::Csv(body)) => {
                let records = records(&body, predictor.columns())?;
                let name =
                    |class: usize| predictor.labels().get(class).cloned().unwrap_or_default();
                self.answer(predictor, &records, name, false)
            }
            (Work::FeatureTransform { columns }, Payload::Csv(body)) => {
                Ok(Payload::Features(records(&body, *columns)?))
            }
            (Work::Algorithm(predictor), Payload::Features(records)) => {
                // The algorithm knows classes only by number, and a binary
                // class's probability only as that of class 1.
                self.answer(
                    predictor,
                    &records,
                    |class| class.to_string(),
                    predictor.labels().len() == 2,
                )
            }
            (Work::InverseLabel { labels }, Payload::Answers(rows)) => {
                Ok(Payload::Answers(self.name_labels(labels, rows)))
            }
            (Work::Algorithm(_), _) => Err((
                400,
                "Unable to evaluate payload provided: could not convert to numbers".into(),
            )),
            _ => Err((415, "the container before sent what this one does not take".into())),
        }
    }

    fn answer(
        &self,
        predictor: &Predictor,
        records: &[Vec<String>],
        name: impl Fn(usize) -> String,
        probability_of_class_1: bool,
    ) -> Result<Payload, (u16, String)> {
        let keys = self.keys(OUTPUT);
        let labels = python_list(predictor.labels().iter().map(|label| python_text(label)));
        let predictions = predictor.predict(records).map_err(|error| (400, error))?;
        let row = |prediction: &Prediction| match prediction {
            // Regression has no response keys.
            Prediction::Number(number) => vec![python_number(*number)],
            Prediction::Class { class, probabilities } => {
                let probability = if probability_of_class_1 { 1 } else { *class };
                let column = |key: &&str| match *key {
                    "predicted_label" => name(*class),
                    "probability" => {
                        python_number(probabilities.get(probability).copied().unwrap_or(f64::NAN))
                    }
                    "probabilities" => python_list(probabilities.iter().map(|p| python_number(*p))),
                    "labels" if matches!(self.work, Work::Predictor(_)) => labels.clone(),
                    _ => "nan".into(),
                };
                keys.iter().map(column).collect()
            }
        };
        Ok(Payload::Answers(predictions.iter().map(row).collect()))
    }

    /// The inverse label transform: the columns it was told it would receive,
    /// rearranged into those it was told to send, classes by name.
    fn name_labels(&self, labels: &[String], rows: Vec<Vec<String>>) -> Vec<Vec<String>> {
        let (input, output) = (self.keys(INPUT), self.keys(OUTPUT));
        let list = python_list(labels.iter().map(|label| python_text(label)));
        let column = |row: &[String], key: &str| {
            let given = input.iter().position(|given| *given == key).and_then(|at| row.get(at));
            match key {
                "labels" => list.clone(),
                "predicted_label" => {
                    let class = given.and_then(|class| class.parse::<usize>().ok());
                    class
                        .and_then(|class| labels.get(class))
                        .cloned()
                        .unwrap_or_else(|| "nan".into())
                }
                _ => given.cloned().unwrap_or_else(|| "nan".into()),
            }
        };
        rows.iter().map(|row| output.iter().map(|key| column(row, key)).collect()).collect()
    }
}

/// What a `Content-Type` or `Accept` header says, without its parameters.
pub(crate) fn media_type(header: &str) -> String {
    header.split(';').next().unwrap_or_default().trim().to_lowercase()
}

/// The records of a CSV body: no header, no target, one field a feature.
fn records(body: &[u8], columns: usize) -> Result<Vec<Vec<String>>, (u16, String)> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(body);
    let mut records = Vec::new();
    for (i, record) in reader.records().enumerate() {
        let record = record.map_err(|error| (400, format!("the body is not CSV: {error}")))?;
        if record.len() != columns {
            return Err((
                400,
                format!(
                    "record {} has {} columns, but the model was trained with {columns}",
                    i + 1,
                    record.len()
                ),
            ));
        }
        records.push(record.iter().map(str::to_owned).collect());
    }
    if records.is_empty() { Err((400, "the body has no records".into())) } else { Ok(records) }
}

/// CSV as Python writes it, without the last newline.
fn write_csv(rows: &[Vec<String>]) -> Vec<u8> {
    let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
    for row in rows {
        // Writing into memory does not fail.
        let _ = writer.write_record(row);
    }
    let mut text = writer.into_inner().unwrap_or_default();
    text.pop();
    text
}

/// A float as Python shows it: its exponent has a sign and two digits.
fn python_number(number: f64) -> String {
    if number.is_nan() {
        return "nan".into();
    }
    let text = format!("{number:?}");
    match text
        .split_once('e')
        .and_then(|(mantissa, exponent)| Some((mantissa, exponent.parse::<i32>().ok()?)))
    {
        Some((mantissa, exponent)) => format!("{mantissa}e{exponent:+03}"),
        None => text,
    }
}

fn python_list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

/// A string as Python's `repr` shows it.
fn python_text(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut shown = String::from(quote);
    for char in text.chars() {
        match char {
            '\\' => shown.push_str("\\\\"),
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            char if char == quote => shown.extend(['\\', char]),
            char => shown.push(char),
        }
    }
    shown.push(quote);
    shown
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn inverse(environment: &[(&str, &str)]) -> Container {
        let environment =
            environment.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let labels = vec!["False.".to_owned(), "it's".to_owned()];
        Container { name: "container-3".into(), environment, work: Work::InverseLabel { labels } }
    }

    fn answer(container: &Container, row: &[&str]) -> String {
        let row = row.iter().map(|field| field.to_string()).collect();
        match container.serve(Payload::Answers(vec![row])).unwrap() {
            Payload::Answers(rows) => String::from_utf8(write_csv(&rows)).unwrap(),
            _ => panic!("no answers"),
        }
    }

    #[test]
    fn the_inverse_transform_acts_on_its_environment() {
        let all = inverse(&[
            (INPUT, "predicted_label,probability"),
            (OUTPUT, "labels,probability,predicted_label"),
        ]);
        assert_eq!(answer(&all, &["1", "0.9"]), "\"['False.', \"\"it's\"\"]\",0.9,it's");
        let default = inverse(&[]);
        assert_eq!(answer(&default, &["0"]), "False.");
        // What it was not told to receive, it cannot pass on.
        let deaf = inverse(&[(INPUT, "predicted_label"), (OUTPUT, "predicted_label,probability")]);
        assert_eq!(answer(&deaf, &["1", "0.9"]), "it's,nan");
    }

    #[test]
    fn the_inverse_transform_answers_in_json_what_it_was_told_to() {
        let keys =
            [(INPUT, "predicted_label,probability"), (OUTPUT, "predicted_label,probability")];
        let told = inverse(&keys);
        let rows = [vec!["it's".to_owned(), "0.9".to_owned()]];
        let written = |accept: &str| {
            let written = told.written(accept)?;
            Ok::<_, (u16, String)>(
                String::from_utf8(told.write(&rows, written, Asked::Online)).unwrap(),
            )
        };
        let line = r#"{"predicted_label":"it's","probability":"0.9"}"#;
        assert_eq!(written("application/json").unwrap(), format!(r#"{{"predictions":[{line}]}}"#));
        assert_eq!(written("application/jsonlines").unwrap(), format!("{line}\n"));
        assert_eq!(written("*/*").unwrap(), "it's,0.9");
        for refused in ["text/csv, application/json", "image/png", "Text/CSV"] {
            assert_eq!(written(refused).unwrap_err().0, 406, "{refused}");
        }
        assert_eq!(inverse(&[]).written("application/json").unwrap_err().0, 406);
        assert_eq!(inverse(&[]).written("text/csv"), Ok(Written::Csv));
    }

    #[test]
    fn a_pipeline_refuses_what_its_containers_do_not_take() {
        let transform = Container {
            name: "container-1".into(),
            environment: Environment::new(),
            work: Work::FeatureTransform { columns: 2 },
        };
        let pipeline = Pipeline(vec![transform]);
        let refused = |content_type: &str, accept: &str, body: &str| {
            let body = body.as_bytes().to_vec();
            pipeline.invoke(content_type, accept, Asked::Online, body).unwrap_err()
        };
        let status = |content_type, accept, body| refused(content_type, accept, body).status;
        assert_eq!(status("application/octet-stream", "text/csv", "1,2"), 415);
        let untyped = refused("", "text/csv", "1,2");
        assert_eq!(untyped.to_string(), "'application/json' is an unsupported content type.");
        assert_eq!(untyped.status, 415);
        assert_eq!(status("text/csv", "text/csv", "1,2,3"), 400);
        assert_eq!(status("text/csv", "text/csv", ""), 400);
        assert_eq!(status("text/csv; charset=utf-8", "", "1,2"), 406);
    }

    #[test]
    fn texts_and_numbers_look_like_pythons() {
        assert_eq!(python_number(1.0428337478694307e-6), "1.0428337478694307e-06");
        assert_eq!(python_number(1.0), "1.0");
        assert_eq!(python_number(1e22), "1e+22");
        assert_eq!(python_number(f64::NAN), "nan");
        for (text, shown) in
            [("a", "'a'"), ("it's", "\"it's\""), ("'\"", "'\\'\"'"), ("a\\b\n", "'a\\\\b\\n'")]
        {
            assert_eq!(python_text(text), shown);
        }
    }
}
