//! A model of the engine, as a container asks it.

use crosspilot_automl::{Model, Table};

/// A trained model that predicts records of text.
#[derive(Debug, Clone)]
pub(crate) struct Predictor(pub(crate) Model);

/// The prediction of a model for one record.
pub(crate) enum Prediction {
    /// The class it decides for, and the probability of each.
    Class {
        class: usize,
        probabilities: Vec<f64>,
    },
    Number(f64),
}

impl Predictor {
    pub(crate) fn load(bytes: &[u8]) -> Result<Self, String> {
        Model::load(bytes).map(Self).map_err(|error| error.to_string())
    }

    pub(crate) fn save(&self) -> Vec<u8> {
        self.0.save()
    }

    /// Counts the fields of a record.
    pub(crate) fn columns(&self) -> usize {
        self.0.features().len()
    }

    /// The classes' names; none for regression.
    pub(crate) fn labels(&self) -> &[String] {
        self.0.labels()
    }

    pub(crate) fn predict(&self, records: &[Vec<String>]) -> Result<Vec<Prediction>, String> {
        let mut table = Table::new(self.0.features()).map_err(|error| error.to_string())?;
        for record in records {
            table.push_row(record).map_err(|error| error.to_string())?;
        }
        let predictions = self.0.predict(&table).map_err(|error| error.to_string())?;
        Ok(predictions.into_iter().map(Prediction::from).collect())
    }

    /// Each column's share in the answers for training records, by Shapley values.
    pub(crate) fn importance(
        &self,
        training: &Table,
        seed: u64,
    ) -> Result<Vec<(String, f64)>, String> {
        // Some of them tell as much; copies of a million would only take memory.
        const ENOUGH: usize = 10_000;
        let stride = training.rows().div_ceil(ENOUGH).max(1);
        let rows: Vec<usize> = (0..training.rows()).step_by(stride).collect();
        let records = training.take(&rows).select(self.0.features());
        let records = records.map_err(|error| error.to_string())?;
        self.0.importance(&records, seed).map_err(|error| error.to_string())
    }
}

impl From<crosspilot_automl::Prediction> for Prediction {
    fn from(prediction: crosspilot_automl::Prediction) -> Self {
        match prediction {
            crosspilot_automl::Prediction::Class { label, probabilities } => {
                Self::Class { class: label, probabilities }
            }
            crosspilot_automl::Prediction::Value(number) => Self::Number(number),
        }
    }
}
