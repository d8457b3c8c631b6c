//! An inference container: how its environment decides what it answers.

use serde_json::{Value, json};

use crate::records::model::{ContainerDefinition, Environment};
use crate::serving::artifact::{Artifact, ArtifactError};
use crate::serving::predictor::{Prediction, Predictor};
use crate::serving::text::{
    media_type, python_list, python_number, python_text, records, write_csv,
};

/// The environment's part of the handshake between containers.
const INPUT: &str = "SAGEMAKER_INFERENCE_INPUT";
const OUTPUT: &str = "SAGEMAKER_INFERENCE_OUTPUT";
const TRANSFORM_MODE: &str = "AUTOML_TRANSFORM_MODE";
/// The key that a container emits when its environment does not say.
const DEFAULT_KEY: &str = "predicted_label";

/// A container at work.
pub(crate) struct Container {
    pub(crate) name: String,
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

/// The format in which the last container writes its answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    Csv,
    Json,
    JsonLines,
}

/// The asker of a pipeline, an endpoint's caller or a transform job, which its containers see
/// in their environment (`SAGEMAKER_BATCH`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Online,
    InBatch,
}

impl Written {
    pub(crate) fn content_type(self) -> &'static str {
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

/// The content that travels from one container to the next.
pub(crate) enum Payload {
    Csv(Vec<u8>),
    Features(Vec<Vec<String>>),
    Answers(Vec<Vec<String>>),
}

impl Container {
    /// Starts a container with the artifact that its definition names; `name` is its name if
    /// the definition has none.
    pub(crate) fn start(
        name: String,
        definition: ContainerDefinition,
        archive: &[u8],
    ) -> Result<Self, ArtifactError> {
        let mode = definition.environment.get(TRANSFORM_MODE).map(String::as_str);
        let work = match (Artifact::unpack(archive)?, mode) {
            (Artifact::Predictor(predictor), _) => Work::Predictor(predictor),
            (Artifact::Algorithm(predictor), _) => Work::Algorithm(predictor),
            (Artifact::Processor { labels, .. }, Some("inverse-label-transform")) => {
                Work::InverseLabel { labels }
            }
            (Artifact::Processor { columns, .. }, _) => Work::FeatureTransform { columns },
        };
        let name = definition.container_hostname.unwrap_or(name);
        Ok(Self { name, environment: definition.environment, work })
    }

    /// Tells whether it was told which columns to answer.
    fn is_selectable(&self) -> bool {
        self.environment.contains_key(OUTPUT)
    }

    /// Gives the format of the answer to this `Accept`, as the containers' own code has it:
    /// `sagemaker_serve.py`, which Autopilot leaves beside its data processors, and
    /// aws/sagemaker-xgboost-container (`algorithm_mode/serve.py`). What the ensemble's
    /// container does with other types than CSV is not published: it refuses them here.
    pub(crate) fn written(&self, accept: &str) -> Result<Written, (u16, String)> {
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

    pub(crate) fn write(&self, rows: &[Vec<String>], written: Written, asked: Asked) -> Vec<u8> {
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

    pub(crate) fn serve(&self, payload: Payload) -> Result<Payload, (u16, String)> {
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
}
