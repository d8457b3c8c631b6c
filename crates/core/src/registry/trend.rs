//! The figures of a model's champions on held-out rows that were uploaded while they served:
//! one figure an upload, of which the report draws the trend.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Registry, RegistryError};
use crate::decision::FEWEST_ROWS;
use crate::ids::{ModelName, TenantId};
use crate::run::{DIGEST_LENGTH, RunId};

/// Figures that are kept of a model; the oldest go first.
const MOST: usize = 100;

/// Names an evaluation after the file that it is about: its day and a digest of its
/// key and content, such as `20260131-3f9a2c71b0`. The same file is the same evaluation,
/// however often S3 tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EvaluationId(String);

impl EvaluationId {
    /// Derives the id of an object's evaluation, uploaded at this RFC 3339 time.
    pub fn derive(key: &str, etag: &str, uploaded: &str) -> Self {
        let day: String = uploaded.chars().filter(char::is_ascii_digit).take(8).collect();
        let digest = Sha256::digest(format!("{key}\n{etag}\n{uploaded}"));
        Self(format!("{day}-{}", &crate::ids::hex(&digest)[..DIGEST_LENGTH]))
    }
}

impl fmt::Display for EvaluationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The figure of a champion on one file of held-out rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The evaluation.
    pub evaluation: EvaluationId,
    /// The champion's run.
    pub run: RunId,
    /// The time when the rows were uploaded, RFC 3339.
    pub uploaded: String,
    /// Rows with a true value, all of them compared.
    pub rows: u64,
    /// Name of the metric that the champion was chosen by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// The metric's value on the rows; absent where they do not give it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// `true` if a smaller value is the better one.
    #[serde(default)]
    pub smaller_is_better: bool,
    /// The reason why there is no value, as a sentence's end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Measured {
    /// Tells whether the model misses what any model must reach, on rows enough to tell.
    pub fn is_below(&self, minimum: Option<f64>) -> bool {
        let (Some(value), Some(minimum)) = (self.value, minimum) else { return false };
        let worse = if self.smaller_is_better { value > minimum } else { value < minimum };
        worse && self.rows >= FEWEST_ROWS
    }
}

/// The figures of a model's champions on later rows, in the order of their upload.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Trend {
    /// The last figures.
    pub measured: Vec<Measured>,
}

impl Trend {
    /// Adds a figure. The same evaluation of the same champion again changes nothing.
    pub fn note(&mut self, measured: Measured) {
        if self.find(&measured.run, &measured.evaluation).is_none() {
            self.measured.push(measured);
            self.measured.sort_by(|a, b| a.uploaded.cmp(&b.uploaded));
            self.measured.drain(..self.measured.len().saturating_sub(MOST));
        }
    }

    /// An evaluation of a run's model, if it was made before.
    pub fn find(&self, run: &RunId, evaluation: &EvaluationId) -> Option<&Measured> {
        self.of(run).find(|measured| measured.evaluation == *evaluation)
    }

    /// The figures of a run's model, in the order of their upload.
    pub fn of(&self, run: &RunId) -> impl Iterator<Item = &Measured> {
        self.measured.iter().filter(move |measured| measured.run == *run)
    }
}

impl Registry {
    /// Reads what a model's champions were worth on later rows.
    pub async fn trend(
        &self,
        tenant: &TenantId,
        model: &ModelName,
    ) -> Result<Trend, RegistryError> {
        let found = self.read(&trend_key(tenant, model)).await?;
        Ok(found.map(|versioned| versioned.document).unwrap_or_default())
    }

    /// Notes what a champion was worth, once; gives all that is known then.
    pub async fn note_measured(
        &self,
        tenant: &TenantId,
        model: &ModelName,
        measured: &Measured,
    ) -> Result<Trend, RegistryError> {
        self.change(&trend_key(tenant, model), |trend: &mut Trend| trend.note(measured.clone()))
            .await
    }
}

pub(super) fn trend_key(tenant: &TenantId, model: &ModelName) -> String {
    format!("serving/{tenant}/{model}/trend.json")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn measured(key: &str, run: &str, uploaded: &str) -> Measured {
        Measured {
            evaluation: EvaluationId::derive(key, "e", uploaded),
            run: run.parse().unwrap(),
            uploaded: uploaded.to_owned(),
            rows: 100,
            metric: Some("F1".into()),
            value: Some(0.9),
            smaller_is_better: false,
            reason: None,
        }
    }

    #[test]
    fn a_file_is_one_figure_of_a_champion_however_often_it_is_told_of() {
        let (first, second) = ("20260131-0123456789", "20260201-0123456789");
        let mut trend = Trend::default();
        for (key, run, uploaded) in [
            ("b.csv", first, "2026-02-03T12:00:00Z"),
            ("a.csv", first, "2026-02-02T12:00:00Z"),
            ("b.csv", first, "2026-02-03T12:00:00Z"),
            ("b.csv", second, "2026-02-03T12:00:00Z"),
        ] {
            trend.note(measured(key, run, uploaded));
        }
        let of = |run: &str| -> Vec<String> {
            trend.of(&run.parse().unwrap()).map(|measured| measured.uploaded.clone()).collect()
        };
        assert_eq!(of(first), ["2026-02-02T12:00:00Z", "2026-02-03T12:00:00Z"]);
        assert_eq!(of(second).len(), 1);
    }

    #[test]
    fn a_figure_on_a_few_rows_is_never_below_the_minimum() {
        let enough = measured("a.csv", "20260131-0123456789", "2026-02-03T12:00:00Z");
        assert!(enough.is_below(Some(0.91)) && !enough.is_below(Some(0.9)));
        assert!(!enough.is_below(None));
        assert!(!Measured { rows: 29, ..enough.clone() }.is_below(Some(0.91)));
        let error = Measured { smaller_is_better: true, ..enough.clone() };
        assert!(error.is_below(Some(0.89)) && !error.is_below(Some(0.91)));
        assert!(!Measured { value: None, ..enough }.is_below(Some(0.91)));
    }

    #[test]
    fn only_the_last_figures_are_kept() {
        let mut trend = Trend::default();
        for second in 0..150 {
            let uploaded = format!("2026-02-03T12:{:02}:{:02}Z", second / 60, second % 60);
            trend.note(measured("a.csv", "20260131-0123456789", &uploaded));
        }
        assert_eq!(trend.measured.len(), MOST);
        assert_eq!(trend.measured[0].uploaded, "2026-02-03T12:00:50Z");
    }

    #[test]
    fn an_evaluation_is_named_after_the_file_and_its_day() {
        let id = EvaluationId::derive("p/churn/test/a.csv", "\"e\"", "2026-01-31T12:00:00Z");
        assert!(id.to_string().starts_with("20260131-"), "{id}");
        assert_eq!(id.to_string().len(), 8 + 1 + DIGEST_LENGTH);
        let other = EvaluationId::derive("p/churn/test/a.csv", "\"f\"", "2026-01-31T12:00:00Z");
        assert_ne!(id, other);
    }
}
