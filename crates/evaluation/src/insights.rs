//! Reads what Autopilot itself tells of a job's candidates: which came out best, what
//! moves the answers of the best, and how it did on the rows that training set aside.
//!
//! They are for people: a run goes on without what cannot be had of them.

use std::collections::BTreeMap;

use crosspilot_core::aws::sagemaker::types::{AutoMlCandidate, AutoMlSortOrder, CandidateSortBy};
use crosspilot_core::bucket::Bucket;
use crosspilot_core::error::{CallError, Coded, Named};
use crosspilot_core::layout;
use crosspilot_core::run::RunRef;
use crosspilot_core::sagemaker;
use crosspilot_core::session::CustomerSession;
use serde_json::Value;

/// Candidates on the leaderboard.
const LISTED: usize = 10;
/// Bytes of a document that is read: more are no document of these.
const MOST_BYTES: u64 = 4 << 20;

/// The insights into a job's candidates. Each part may be empty.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Insights {
    /// The best candidates by the objective, with its value, the best first.
    pub(crate) leaderboard: Vec<(String, f64)>,
    /// Each column's share in the answers, the largest first.
    pub(crate) importance: Vec<(String, f64)>,
    /// The confusion matrix of the best on the rows that training set aside.
    pub(crate) validation: Option<Confusion>,
}

/// Numbers of rows by true and predicted label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Confusion {
    pub(crate) labels: Vec<String>,
    /// `counts[true][predicted]`.
    pub(crate) counts: Vec<Vec<u64>>,
}

/// Reads all of it, as far as it can be had.
pub(crate) async fn of(
    session: &CustomerSession,
    bucket: &Bucket<'_>,
    run: &RunRef,
    job: &str,
    smaller_is_better: bool,
) -> Insights {
    let reading = Reading { session, bucket, run, job, smaller_is_better };
    let untold = |error: CallError| {
        tracing::warn!(tenant = %run.tenant, model = %run.model, run = %run.run_id, code = error.code().as_str(), "left out of the report: {error}");
    };
    let (leaderboard, artifacts) = tokio::join!(reading.leaderboard(), reading.artifacts());
    let mut insights = Insights {
        leaderboard: leaderboard.map_err(untold).unwrap_or_default(),
        ..Insights::default()
    };
    let artifacts = artifacts.map_err(untold).unwrap_or_default();
    let (explained, measured) = tokio::join!(
        reading.document(artifacts.explainability, "analysis.json"),
        reading.document(artifacts.insights, "statistics.json"),
    );
    if let Some(analysis) = explained.map_err(untold).ok().flatten() {
        insights.importance = importance(&analysis);
    }
    if let Some(statistics) = measured.map_err(untold).ok().flatten() {
        insights.validation = confusion(&statistics);
    }
    insights
}

struct Reading<'a> {
    session: &'a CustomerSession,
    bucket: &'a Bucket<'a>,
    run: &'a RunRef,
    job: &'a str,
    smaller_is_better: bool,
}

/// The addresses of the documents about the best candidate.
#[derive(Default)]
struct Artifacts {
    explainability: Option<String>,
    insights: Option<String>,
}

impl Reading<'_> {
    /// The best candidates.
    async fn leaderboard(&self) -> Result<Vec<(String, f64)>, CallError> {
        let list = self
            .session
            .sagemaker()
            .list_candidates_for_auto_ml_job()
            .auto_ml_job_name(self.job)
            .sort_by(CandidateSortBy::FinalObjectiveMetricValue)
            .sort_order(match self.smaller_is_better {
                true => AutoMlSortOrder::Ascending,
                false => AutoMlSortOrder::Descending,
            })
            .max_results(LISTED as i32)
            .send()
            .await
            .named("sagemaker:ListCandidatesForAutoMLJob", self.job)?;
        Ok(list.candidates().iter().filter_map(objective).collect())
    }

    async fn artifacts(&self) -> Result<Artifacts, CallError> {
        let found =
            self.session.sagemaker().describe_auto_ml_job_v2().auto_ml_job_name(self.job).send();
        let found = found.await.named("sagemaker:DescribeAutoMLJobV2", self.job)?;
        let best = found.best_candidate().and_then(AutoMlCandidate::candidate_properties);
        let Some(places) = best.and_then(|best| best.candidate_artifact_locations()) else {
            return Ok(Artifacts::default());
        };
        Ok(Artifacts {
            explainability: places.explainability().map(str::to_owned),
            insights: places.model_insights().map(str::to_owned),
        })
    }

    /// A document under such a place, if that is the run's own.
    async fn document(
        &self,
        place: Option<String>,
        name: &str,
    ) -> Result<Option<Value>, CallError> {
        let own = layout::automl_prefix(&self.bucket.tenant.prefix, self.run);
        let root = self.bucket.uri("");
        let key = place
            .as_deref()
            .and_then(|place| place.strip_prefix(&root))
            .filter(|key| key.starts_with(&own))
            .map(|key| format!("{}/{name}", key.trim_end_matches('/')));
        let Some(key) = key else { return Ok(None) };
        let text = self.bucket.head(&key, MOST_BYTES, MOST_BYTES).await?;
        Ok(serde_json::from_slice(&text).ok())
    }
}

/// A candidate's name and its value of the objective, if it has one.
fn objective(candidate: &AutoMlCandidate) -> Option<(String, f64)> {
    Some((candidate.candidate_name()?.to_owned(), sagemaker::score(candidate).value?))
}

/// Each column's share in the answers, over all labels. Source: SageMaker Developer
/// Guide, "Clarify: analysis results": mean absolute Shapley values by label and column.
fn importance(analysis: &Value) -> Vec<(String, f64)> {
    let by_label = analysis["explanations"]["kernel_shap"].as_object();
    let mut sums = BTreeMap::<&str, f64>::new();
    for values in by_label.into_iter().flat_map(|by_label| by_label.values()) {
        for (column, value) in values["global_shap_values"].as_object().into_iter().flatten() {
            *sums.entry(column).or_default() += value.as_f64().unwrap_or_default().abs();
        }
    }
    let all: f64 = sums.values().sum();
    let shares = sums.into_iter().filter(|(_, sum)| *sum > 0.0);
    let mut shares: Vec<_> = shares.map(|(column, sum)| (column.to_owned(), sum / all)).collect();
    shares.sort_by(|a, b| b.1.total_cmp(&a.1));
    shares
}

/// The confusion matrix. Source: SageMaker Developer Guide, "Model quality metrics":
/// numbers of rows by true and by predicted label.
fn confusion(statistics: &Value) -> Option<Confusion> {
    let sections = ["binary_classification_metrics", "multiclass_classification_metrics"];
    let matrix =
        sections.iter().find_map(|section| statistics[section]["confusion_matrix"].as_object())?;
    let labels: Vec<String> = matrix.keys().cloned().collect();
    let of_row = |row: &Value| -> Option<Vec<u64>> {
        labels.iter().map(|label| row.get(label).map_or(Some(0), count)).collect()
    };
    let counts = labels.iter().map(|label| of_row(&matrix[label])).collect::<Option<_>>()?;
    Some(Confusion { labels, counts })
}

/// A number of rows, which some writers of JSON give a point.
fn count(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_f64().filter(|rows| *rows >= 0.0).map(|rows| rows as u64))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn shares_are_of_all_labels_together_and_largest_first() {
        let analysis = json!({"version": "1.0", "explanations": {"kernel_shap": {
            "yes": {"global_shap_values": {"Calls": 0.2, "Plan": -0.3, "Id": 0}},
            "no": {"global_shap_values": {"Calls": 0.4, "Plan": 0.1}},
        }}});
        let shares = importance(&analysis);
        let names: Vec<&str> = shares.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["Calls", "Plan"]);
        assert!((shares[0].1 - 0.6).abs() < 1e-9 && (shares[1].1 - 0.4).abs() < 1e-9);
        for other in [json!({}), json!([1]), json!({"explanations": {"kernel_shap": 7}})] {
            assert!(importance(&other).is_empty(), "{other}");
        }
    }

    #[test]
    fn a_confusion_matrix_is_read_with_counts_of_either_spelling_and_gaps() {
        let matrix = json!({"no": {"no": 8, "yes": 2.0}, "yes": {"yes": 5}});
        let read =
            confusion(&json!({"binary_classification_metrics": {"confusion_matrix": matrix}}));
        let expected = vec![vec![8, 2], vec![0, 5]];
        assert_eq!(read.unwrap().counts, expected);
        for other in [
            json!({"regression_metrics": {"mse": {"value": 1.0}}}),
            json!({"binary_classification_metrics": {"confusion_matrix": {"a": {"a": "many"}}}}),
        ] {
            assert_eq!(confusion(&other), None, "{other}");
        }
    }
}
