//! The evaluation of predictions of held-out rows.

use crosspilot_inference::Prediction;
use crosspilot_metrics::{
    ClassificationReport, Metric, MetricsError, ProbabilityTable, RegressionReport,
};
use crosspilot_table::is_missing;
use crosspilot_table::number::number;
use serde::Serialize;
use serde_json::{Value, json};

/// Predictions against the truth. Keeps what the report draws.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Evaluation {
    /// Labels.
    Classification(Classification),
    /// Numbers.
    Regression(Regression),
}

/// Predicted labels against the true ones.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Classification {
    pub(crate) report: ClassificationReport,
    /// Rows without a true label.
    pub(crate) unlabelled: usize,
    /// Rows whose label the model was never trained on: it cannot be right there.
    pub(crate) unknown: usize,
    /// For two labels with probabilities: that of the positive label, and
    /// whether the row is so.
    pub(crate) positive: Option<(Vec<f64>, Vec<bool>)>,
    /// For labels with probabilities: that of the predicted label, and whether
    /// it was right.
    pub(crate) confidence: Option<(Vec<f64>, Vec<bool>)>,
}

/// Predicted numbers against the true ones.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Regression {
    pub(crate) report: RegressionReport,
    /// Rows without a true number.
    pub(crate) unlabelled: usize,
    pub(crate) truth: Vec<f64>,
    pub(crate) predicted: Vec<f64>,
}

/// The figures of an evaluation. Those that are not defined are left out. With
/// more than two labels, `f1`, `precision` and `recall` are the unweighted means
/// over the labels.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Rows with a true value, all of them compared.
    pub rows: u64,
    /// Rows that were predicted but have no true value.
    pub unlabelled: usize,
    /// Rows whose true label the model was never trained on; left out.
    pub unknown_labels: usize,
    /// `true` if only the first rows of a large file were read.
    pub truncated: bool,
    /// With two labels, the one that `f1`, `precision`, `recall` and `auc` are
    /// about: the second in alphabetical order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub positive_label: Option<String>,
    /// Share of right labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// Mean recall over the labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub balanced_accuracy: Option<f64>,
    /// Harmonic mean of precision and recall.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub f1: Option<f64>,
    /// Share of right ones among those predicted so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision: Option<f64>,
    /// Share of those found among those that are so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recall: Option<f64>,
    /// Area under the ROC curve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auc: Option<f64>,
    /// Mean negative log probability of the true label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_loss: Option<f64>,
    /// Root mean squared error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rmse: Option<f64>,
    /// Mean absolute error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mae: Option<f64>,
    /// Share of variance explained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r2: Option<f64>,
}

impl Evaluation {
    /// Compares predictions with the raw cells of the target column. Rows
    /// without a true value are left out; without any, there is no evaluation.
    pub(crate) fn new(
        truth: &[impl AsRef<str>],
        predictions: &[Prediction],
    ) -> Result<Option<Self>, MetricsError> {
        let evaluated = match predictions.first() {
            Some(Prediction::Value(_)) => regression(truth, predictions).map(Self::Regression),
            _ => classification(truth, predictions).map(Self::Classification),
        };
        match evaluated {
            Ok(evaluation) => Ok(Some(evaluation)),
            Err(MetricsError::Empty) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The figures alone.
    pub(crate) fn summary(&self, truncated: bool) -> Summary {
        let get = |metric| self.get(metric);
        let either = |binary, multiclass| get(binary).or_else(|| get(multiclass));
        let (rows, unlabelled, unknown_labels, positive) = match self {
            Self::Classification(c) => {
                (c.report.rows(), c.unlabelled, c.unknown, c.report.positive_label())
            }
            Self::Regression(r) => (r.report.rows as u64, r.unlabelled, 0, None),
        };
        Summary {
            rows,
            unlabelled,
            unknown_labels,
            truncated,
            positive_label: positive.map(str::to_owned),
            accuracy: get(Metric::Accuracy),
            balanced_accuracy: get(Metric::BalancedAccuracy),
            f1: either(Metric::F1, Metric::F1Macro),
            precision: either(Metric::Precision, Metric::PrecisionMacro),
            recall: either(Metric::Recall, Metric::RecallMacro),
            auc: get(Metric::Auc),
            log_loss: get(Metric::LogLoss),
            rmse: get(Metric::Rmse),
            mae: get(Metric::Mae),
            r2: get(Metric::R2),
        }
    }

    /// Gives one metric, where it is defined.
    pub(crate) fn get(&self, metric: Metric) -> Option<f64> {
        match self {
            Self::Classification(c) => c.report.get(metric),
            Self::Regression(r) => r.report.get(metric),
        }
    }

    /// Tells whether all rows have the same true value, so that nothing can be told of how
    /// well a model tells them apart.
    pub(crate) fn is_of_one_value(&self) -> bool {
        match self {
            Self::Classification(c) => {
                c.report.classes().iter().filter(|class| class.support > 0).count() < 2
            }
            Self::Regression(r) => r.truth.windows(2).all(|pair| pair[0] == pair[1]),
        }
    }

    /// Gives one metric of always giving the same answer on the same rows: the label that does
    /// best by it, with the shares of all labels as its probabilities; or the mean. Of the
    /// positive label's recall there is none: always saying yes finds all, so that this metric
    /// alone cannot tell a model from nothing.
    pub(crate) fn baseline(&self, metric: Metric) -> Option<f64> {
        match self {
            Self::Classification(c) => {
                let supports: Vec<u64> =
                    c.report.confusion.iter().map(|row| row.iter().sum()).collect();
                let commonest = (0..supports.len()).max_by_key(|label| supports[*label])?;
                let (rows, labels) = (c.report.rows() as f64, supports.len());
                // Of the same probabilities for all rows, without a table of them.
                match metric {
                    Metric::Auc => return c.report.auc.map(|_| 0.5),
                    Metric::LogLoss => {
                        let shares = supports.iter().map(|rows_of| *rows_of as f64 / rows);
                        let present = shares.filter(|share| *share > 0.0);
                        return Some(present.map(|share| -share * share.ln()).sum());
                    }
                    Metric::Recall => return None,
                    _ => {}
                }
                let always = |answer: usize| {
                    let counted = |rows_of: &u64| {
                        let mut row = vec![0; labels];
                        row[answer] = *rows_of;
                        row
                    };
                    let confusion = supports.iter().map(counted).collect();
                    ClassificationReport { confusion, ..c.report.clone() }.get(metric)
                };
                // Where no label is the positive one, the commonest does best.
                let answers = std::iter::once(commonest).chain(c.report.positive);
                answers.filter_map(always).reduce(f64::max)
            }
            Self::Regression(r) => {
                let mean = r.truth.iter().sum::<f64>() / r.truth.len() as f64;
                let predicted = vec![mean; r.truth.len()];
                RegressionReport::new(&r.truth, &predicted).ok()?.get(metric)
            }
        }
    }

    /// Everything beyond the figures, for `evaluation.json`.
    pub(crate) fn details(&self) -> Value {
        match self {
            Self::Classification(c) => json!({
                "labels": c.report.labels,
                "confusion_matrix": c.report.confusion,
                "by_label": c.report.classes(),
            }),
            Self::Regression(_) => json!({}),
        }
    }
}

fn classification(
    truth: &[impl AsRef<str>],
    predictions: &[Prediction],
) -> Result<Classification, MetricsError> {
    let truth = truth.iter().map(AsRef::as_ref);
    let labels = predictions.first().map(Prediction::labels).unwrap_or_default();
    let labelled: Vec<(&str, &Prediction)> =
        truth.zip(predictions).filter(|(actual, _)| !is_missing(actual.as_bytes())).collect();
    let unlabelled = predictions.len() - labelled.len();
    // A model that gives no probabilities does not say which labels it knows.
    let knows = |label: &str| labels.is_empty() || labels.iter().any(|known| known == label);
    let (rows, unknown): (Vec<_>, Vec<_>) =
        labelled.into_iter().partition(|(actual, _)| knows(actual));
    let unknown = unknown.len();
    let actual: Vec<&str> = rows.iter().map(|(actual, _)| *actual).collect();
    let predicted: Vec<&str> = rows.iter().map(|(_, prediction)| prediction.label()).collect();
    let probabilities: Option<Vec<Vec<f64>>> = (!labels.is_empty())
        .then(|| {
            let of_row = |prediction: &Prediction| {
                labels.iter().map(|label| prediction.probability_of(label)).collect()
            };
            rows.iter().map(|(_, prediction)| of_row(prediction)).collect()
        })
        .flatten();
    let table = probabilities.as_ref().map(|rows| ProbabilityTable { labels, rows });
    let report = ClassificationReport::from_labels(&actual, &predicted, table, None)?;
    let scored = |score: &dyn Fn(&Prediction) -> Option<f64>, hit: &dyn Fn(&str, &str) -> bool| {
        let scores: Option<Vec<f64>> =
            rows.iter().map(|(_, prediction)| score(prediction)).collect();
        let hits = actual
            .iter()
            .zip(&predicted)
            .map(|(actual, predicted)| hit(actual, predicted))
            .collect();
        scores.map(|scores| (scores, hits))
    };
    let positive = report.positive_label().and_then(|positive| {
        scored(&|prediction| prediction.probability_of(positive), &|actual, _| actual == positive)
    });
    let confidence = scored(
        &|prediction| prediction.probability_of(prediction.label()),
        &|actual, predicted| actual == predicted,
    );
    Ok(Classification { report, unlabelled, unknown, positive, confidence })
}

fn regression(
    truth: &[impl AsRef<str>],
    predictions: &[Prediction],
) -> Result<Regression, MetricsError> {
    let pairs = truth.iter().zip(predictions).filter_map(|(actual, prediction)| {
        let actual = number(actual.as_ref().as_bytes())?;
        match prediction {
            Prediction::Value(value) => Some((actual, *value)),
            Prediction::Label { .. } => None,
        }
    });
    let (truth, predicted): (Vec<f64>, Vec<f64>) = pairs.unzip();
    let report = RegressionReport::new(&truth, &predicted)?;
    let unlabelled = predictions.len() - truth.len();
    Ok(Regression { report, unlabelled, truth, predicted })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn label(label: &str, probability: f64) -> Prediction {
        let labels = vec!["False.".to_owned(), "True.".to_owned()].into();
        Prediction::Label {
            label: label.into(),
            probability: None,
            labels,
            probabilities: vec![1.0 - probability, probability],
        }
    }

    #[test]
    fn two_labels_are_judged_by_the_second() {
        let predictions =
            [label("True.", 0.9), label("False.", 0.2), label("True.", 0.6), label("False.", 0.1)];
        let evaluation =
            Evaluation::new(&["True.", "False.", "False.", ""], &predictions).unwrap().unwrap();
        let summary = evaluation.summary(false);
        assert_eq!((summary.rows, summary.unlabelled), (3, 1));
        assert_eq!(summary.positive_label.as_deref(), Some("True."));
        assert_eq!(
            (summary.precision, summary.recall, summary.auc),
            (Some(0.5), Some(1.0), Some(1.0))
        );
        assert_eq!(evaluation.details()["confusion_matrix"], json!([[1, 1], [0, 1]]));
        assert!(!serde_json::to_string(&summary).unwrap().contains("rmse"));
    }

    #[test]
    fn a_row_whose_label_is_missing_is_no_class_of_its_own() {
        let predictions = [label("True.", 0.9), label("False.", 0.2), label("True.", 0.6)];
        for missing in ["NA", "", "null", "None"] {
            let evaluation = Evaluation::new(&["True.", "False.", missing], &predictions);
            let summary = evaluation.unwrap().unwrap().summary(false);
            assert_eq!((summary.rows, summary.unlabelled), (2, 1), "{missing:?}");
            assert_eq!((summary.f1, summary.accuracy), (Some(1.0), Some(1.0)), "{missing:?}");
        }
    }

    #[test]
    fn a_label_that_the_model_never_saw_is_left_out_and_counted() {
        let predictions = [label("True.", 0.9), label("False.", 0.2), label("True.", 0.6)];
        let evaluation = Evaluation::new(&["True.", "False.", "maybe"], &predictions);
        let summary = evaluation.unwrap().unwrap().summary(false);
        assert_eq!((summary.rows, summary.unlabelled, summary.unknown_labels), (2, 0, 1));
        assert_eq!((summary.f1, summary.accuracy), (Some(1.0), Some(1.0)));
        assert_eq!(Evaluation::new(&["maybe"], &predictions[..1]), Ok(None));
    }

    #[test]
    fn the_baseline_is_one_answer_for_all_rows() {
        let predictions =
            [label("True.", 0.9), label("False.", 0.2), label("True.", 0.6), label("False.", 0.1)];
        let truth = ["True.", "False.", "False.", "False."];
        let evaluation = Evaluation::new(&truth, &predictions).unwrap().unwrap();
        assert_eq!(evaluation.baseline(Metric::Accuracy), Some(0.75));
        assert_eq!(evaluation.baseline(Metric::Auc), Some(0.5));
        // Always saying yes: 2p / (1 + p) for the share p of those that are so.
        assert_eq!(evaluation.baseline(Metric::F1), Some(0.4));
        assert_eq!(evaluation.baseline(Metric::Precision), Some(0.25));
        assert_eq!(evaluation.baseline(Metric::Recall), None);
        assert_eq!(evaluation.baseline(Metric::BalancedAccuracy), Some(0.5));
        let entropy = -(0.75_f64 * 0.75_f64.ln() + 0.25 * 0.25_f64.ln());
        assert!((evaluation.baseline(Metric::LogLoss).unwrap() - entropy).abs() < 1e-12);
        assert!(!evaluation.is_of_one_value());
        let numbers = [Prediction::Value(1.0), Prediction::Value(3.0)];
        let evaluation = Evaluation::new(&["1", "3"], &numbers).unwrap().unwrap();
        assert_eq!(evaluation.baseline(Metric::Rmse), Some(1.0));
        let one = Evaluation::new(&["2", "2"], &numbers).unwrap().unwrap();
        assert!(one.is_of_one_value());
    }

    #[test]
    fn labels_without_probabilities_have_no_auc() {
        let bare = |label: &str| Prediction::Label {
            label: label.into(),
            probability: Some(0.7),
            labels: Default::default(),
            probabilities: vec![],
        };
        let evaluation = Evaluation::new(&["a", "b"], &[bare("a"), bare("a")]).unwrap().unwrap();
        let summary = evaluation.summary(false);
        assert_eq!((summary.accuracy, summary.auc, summary.log_loss), (Some(0.5), None, None));
    }

    #[test]
    fn many_labels_get_means() {
        let bare = |label: &str| Prediction::Label {
            label: label.into(),
            probability: None,
            labels: Default::default(),
            probabilities: vec![],
        };
        let evaluation =
            Evaluation::new(&["a", "b", "c"], &[bare("a"), bare("b"), bare("a")]).unwrap().unwrap();
        let summary = evaluation.summary(false);
        assert_eq!(summary.positive_label, None);
        assert!(summary.f1.is_some() && summary.recall == Some(2.0 / 3.0));
    }

    #[test]
    fn numbers_are_judged_where_the_truth_is_one() {
        let values = [Prediction::Value(1.0), Prediction::Value(2.0), Prediction::Value(9.0)];
        let evaluation = Evaluation::new(&["1", " 3 ", "n/a"], &values).unwrap().unwrap();
        let summary = evaluation.summary(true);
        assert_eq!((summary.rows, summary.unlabelled, summary.mae), (2, 1, Some(0.5)));
        assert!(summary.truncated);
    }

    #[test]
    fn a_number_between_blanks_that_do_not_break_is_none_as_in_training() {
        let values = [Prediction::Value(1.0), Prediction::Value(9.0)];
        let evaluation = Evaluation::new(&["1", "\u{a0}3"], &values).unwrap().unwrap();
        let summary = evaluation.summary(false);
        assert_eq!((summary.rows, summary.unlabelled, summary.mae), (1, 1, Some(0.0)));
    }

    #[test]
    fn no_truth_no_evaluation() {
        assert_eq!(
            Evaluation::new(&["", "NA"], &[Prediction::Value(1.0), Prediction::Value(1.0)]),
            Ok(None)
        );
        assert_eq!(Evaluation::new(&[""], &[label("True.", 0.9)]), Ok(None));
    }
}
