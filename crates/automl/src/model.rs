//! A trained model: what it needs to know about a record, and the members of its mean.

use std::sync::Arc;

use crosspilot_metrics::ProblemType;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::ModelError;
use crate::features::encoder::Encoder;
use crate::learners::learner::Fitted;
use crate::table::cells::Table;
use crate::table::schema::Schema;
use crate::temperature;

/// First bytes of every stored model.
const MAGIC: &[u8; 4] = b"XPML";
/// Changes whenever stored models of before can no longer be read.
const FORMAT: u16 = 5;
/// Records predicted as one: small enough for a tree's rows to stay in cache.
const CHUNK: usize = 512;

/// The prediction of a model for one record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Prediction {
    /// A label and the probability of each.
    Class {
        /// Index of the predicted label in [`Model::labels`]. Not always the most
        /// probable one: a model may be tuned to find rare labels.
        label: usize,
        /// Probability of each label, in the order of [`Model::labels`]; they add up to 1.
        probabilities: Vec<f64>,
    },
    /// A number, in units of the target.
    Value(f64),
}

/// A trained model. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Model {
    pub(crate) shared: Arc<Shared>,
    /// The fitted learners whose mean the answer is.
    pub(crate) members: Vec<Member>,
    /// The exponent of the mean's probabilities.
    pub(crate) inverse_temperature: f64,
    /// The factor of each label's probability before the largest wins.
    pub(crate) decision: Vec<f64>,
}

/// One of the fitted learners that a model averages.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    /// The weights of a model's members add up to 1.
    pub(crate) weight: f32,
    /// The exponent of the member's own probabilities.
    pub(crate) inverse_temperature: f64,
    pub(crate) fitted: Arc<Fitted>,
}

/// The schema, encoder and target that all models of one training have in common.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Shared {
    pub(crate) problem_type: ProblemType,
    pub(crate) target: String,
    pub(crate) labels: Vec<String>,
    /// Mean and deviation of a regression target.
    pub(crate) unit: (f64, f64),
    pub(crate) schema: Schema,
    pub(crate) encoder: Encoder,
}

impl Shared {
    pub(crate) fn outputs(&self) -> usize {
        if self.labels.len() > 2 { self.labels.len() } else { 1 }
    }
}

impl Model {
    /// Names of the columns of a record, in order, without the target.
    pub fn features(&self) -> &[String] {
        &self.shared.schema.names
    }

    /// The labels exactly as in the training data, sorted; empty for regression.
    /// With two labels the second is the positive one.
    pub fn labels(&self) -> &[String] {
        &self.shared.labels
    }

    /// Names the kind of answer that the model gives.
    pub fn problem_type(&self) -> ProblemType {
        self.shared.problem_type
    }

    /// Name of the predicted column.
    pub fn target(&self) -> &str {
        &self.shared.target
    }

    /// Predicts every row of `records`, in order. The columns are those of
    /// [`Model::features`]: by name if all names occur, else by position. Unknown
    /// texts and missing values are fine.
    ///
    /// # Errors
    /// When the number of columns differs.
    pub fn predict(&self, records: &Table) -> Result<Vec<Prediction>, ModelError> {
        let columns = self.columns_of(records)?;
        let chunks: Vec<usize> = (0..records.rows()).step_by(CHUNK).collect();
        let predict = |&from: &usize| {
            self.predict_rows(records, &columns, from..(from + CHUNK).min(records.rows()))
        };
        Ok(match chunks.len() {
            0 | 1 => chunks.iter().flat_map(predict).collect(),
            _ => chunks.par_iter().flat_map_iter(predict).collect(),
        })
    }

    /// Positions of the model's columns in `records`.
    pub(crate) fn columns_of(&self, records: &Table) -> Result<Vec<usize>, ModelError> {
        let names = self.features();
        if records.width() != names.len() {
            return Err(ModelError::Columns { got: records.width(), expected: names.len() });
        }
        let by_name: Option<Vec<usize>> =
            names.iter().map(|name| records.position(name).ok()).collect();
        Ok(by_name.unwrap_or_else(|| (0..names.len()).collect()))
    }

    fn predict_rows(
        &self,
        records: &Table,
        columns: &[usize],
        rows: std::ops::Range<usize>,
    ) -> Vec<Prediction> {
        let columns = self.shared.schema.read(records, columns, rows);
        let outputs = self.outputs(&columns);
        outputs.chunks_exact(self.shared.outputs()).map(|row| self.prediction(row)).collect()
    }

    /// The outputs of each row of the schema's features.
    pub(crate) fn outputs(&self, columns: &[Vec<f64>]) -> Vec<f64> {
        let encoder = &self.shared.encoder;
        let count = columns.first().map_or(0, Vec::len);
        let encodings = encoder.encodings(columns);
        let bins = encoder.bins(columns, &encodings);
        let outputs = self.shared.outputs();
        let mut sums = vec![0.0f64; count * outputs];
        let mut out = vec![0.0f32; count * outputs];
        let mut row = vec![0.0; outputs];
        for Member { weight, inverse_temperature, fitted } in &self.members {
            fitted.predict(&bins, columns, &encodings, &mut out);
            for (sums, out) in sums.chunks_exact_mut(outputs).zip(out.chunks_exact(outputs)) {
                row.iter_mut().zip(out).for_each(|(value, out)| *value = f64::from(*out));
                temperature::scale(&mut row, *inverse_temperature);
                sums.iter_mut()
                    .zip(&row)
                    .for_each(|(sum, value)| *sum += f64::from(*weight) * value);
            }
        }
        sums.chunks_exact_mut(outputs)
            .for_each(|row| temperature::scale(row, self.inverse_temperature));
        sums
    }

    /// Turns a row of outputs into an answer.
    pub(crate) fn prediction(&self, outputs: &[f64]) -> Prediction {
        let probabilities = match (self.shared.labels.len(), outputs) {
            (0, values) => {
                let (mean, deviation) = self.shared.unit;
                return Prediction::Value(
                    mean + deviation * values.first().copied().unwrap_or_default(),
                );
            }
            (_, &[positive]) => {
                let positive = positive.clamp(0.0, 1.0);
                vec![1.0 - positive, positive]
            }
            (_, many) => {
                let sum: f64 = many.iter().sum::<f64>().max(1e-300);
                many.iter().map(|p| p / sum).collect()
            }
        };
        Prediction::Class { label: decide(&probabilities, &self.decision), probabilities }
    }

    /// The model as bytes: compact, and exact to the last bit.
    pub fn save(&self) -> Vec<u8> {
        let members: Vec<(f32, f64, &Fitted)> = self
            .members
            .iter()
            .map(|member| (member.weight, member.inverse_temperature, &*member.fitted))
            .collect();
        let mut bytes = MAGIC.to_vec();
        bytes.extend(FORMAT.to_le_bytes());
        // Plain data into memory cannot fail; an empty body would not load.
        bytes.extend(
            postcard::to_allocvec(&(
                &*self.shared,
                members,
                self.inverse_temperature,
                &self.decision,
            ))
            .unwrap_or_default(),
        );
        bytes
    }

    /// Reads what [`Model::save`] wrote.
    ///
    /// # Errors
    /// When the bytes are no model, of another format, or damaged.
    pub fn load(bytes: &[u8]) -> Result<Self, ModelError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(ModelError::NotAModel)?;
        let (format, body) = rest.split_first_chunk::<2>().ok_or(ModelError::NotAModel)?;
        let got = u16::from_le_bytes(*format);
        if got != FORMAT {
            return Err(ModelError::Version { got, expected: FORMAT });
        }
        type Stored = (Shared, Vec<(f32, f64, Fitted)>, f64, Vec<f64>);
        let damaged = |error: postcard::Error| ModelError::Damaged(error.to_string());
        let ((shared, members, inverse_temperature, decision), left): (Stored, _) =
            postcard::take_from_bytes(body).map_err(damaged)?;
        let member = |(weight, inverse_temperature, fitted)| Member {
            weight,
            inverse_temperature,
            fitted: Arc::new(fitted),
        };
        let members = members.into_iter().map(member).collect();
        let model = Self { shared: Arc::new(shared), members, inverse_temperature, decision };
        match left.is_empty() && model.is_sound() {
            true => Ok(model),
            false => Err(ModelError::Damaged("its parts do not fit together".to_owned())),
        }
    }

    /// Tells whether predicting cannot go out of bounds, whatever the bytes said.
    fn is_sound(&self) -> bool {
        let Shared { problem_type, labels, schema, encoder, unit, .. } = &*self.shared;
        let classes = match problem_type {
            ProblemType::Regression => labels.is_empty(),
            ProblemType::BinaryClassification => labels.len() == 2,
            ProblemType::MulticlassClassification => labels.len() >= 2,
        };
        let outputs = self.shared.outputs();
        classes
            && unit.0.is_finite()
            && unit.1.is_finite()
            && self.decision.len() == labels.len()
            && self.decision.iter().all(|weight| weight.is_finite())
            && schema.is_sound()
            && !schema.features().is_empty()
            && encoder.is_sound(&schema.features(), schema.names.len())
            && self.inverse_temperature.is_finite()
            && !self.members.is_empty()
            && self.members.iter().all(|Member { weight, inverse_temperature, fitted }| {
                weight.is_finite()
                    && inverse_temperature.is_finite()
                    && fitted.is_sound(outputs, labels.len(), encoder.width())
            })
    }
}

/// The label whose weighted probability is largest.
pub(crate) fn decide(probabilities: &[f64], decision: &[f64]) -> usize {
    let weighted = probabilities.iter().zip(decision).map(|(p, weight)| p * weight);
    weighted
        .enumerate()
        .fold((0, f64::NEG_INFINITY), |best, (k, p)| if p > best.1 { (k, p) } else { best })
        .0
}
