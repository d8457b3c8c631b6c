//! The metrics of predicted labels and their probabilities.

use serde::{Deserialize, Serialize};

use crate::curves::auc;
use crate::error::MetricsError;
use crate::metric::{Metric, ProblemType};

/// Probabilities for each row, with the labels that their columns stand for.
#[derive(Debug, Clone, Copy)]
pub struct ProbabilityTable<'a> {
    /// The label of each column, in the order of the columns.
    pub labels: &'a [String],
    /// One probability for each label, for each row.
    pub rows: &'a [Vec<f64>],
}

/// Precision, recall and F1 of one label.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassReport {
    /// The label, exactly as in the data.
    pub label: String,
    /// Rows that truly have this label.
    pub support: u64,
    /// Share of the rows predicted so that are so; 0 when none is predicted so.
    pub precision: f64,
    /// Share of the rows that are so that are predicted so; 0 when none is so.
    pub recall: f64,
    /// Harmonic mean of both; 0 when both are 0.
    pub f1: f64,
}

/// Everything that is counted when labels are predicted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassificationReport {
    /// The labels, in the order of the confusion matrix.
    pub labels: Vec<String>,
    /// Index of the positive label; `None` unless there are exactly two labels.
    pub positive: Option<usize>,
    /// `confusion[true][predicted]`: numbers of rows.
    pub confusion: Vec<Vec<u64>>,
    /// Area under the ROC curve of the positive label, where it is defined.
    pub auc: Option<f64>,
    /// Mean negative log probability of the true label, where there are probabilities.
    pub log_loss: Option<f64>,
}

impl ClassificationReport {
    /// Compares label numbers. `labels` names them; with exactly two labels the
    /// second is positive unless `positive` says otherwise. `probabilities`
    /// holds one row of `labels.len()` numbers for each row.
    ///
    /// # Errors
    /// When there are no rows, lengths differ, or a number is beyond the labels.
    pub fn new(
        labels: &[String],
        positive: Option<usize>,
        truth: &[usize],
        predicted: &[usize],
        probabilities: Option<&[Vec<f64>]>,
    ) -> Result<Self, MetricsError> {
        MetricsError::check_lengths(truth.len(), "predictions", predicted.len())?;
        let count = labels.len();
        if let Some(&index) =
            truth.iter().chain(predicted).chain(&positive).find(|&&index| index >= count)
        {
            return Err(MetricsError::LabelIndex { index, labels: count });
        }
        let mut confusion = vec![vec![0u64; count]; count];
        for (&t, &p) in truth.iter().zip(predicted) {
            confusion[t][p] += 1;
        }
        let positive = (count == 2).then(|| positive.unwrap_or(1));
        let mut report =
            Self { labels: labels.to_vec(), positive, confusion, auc: None, log_loss: None };
        if let Some(rows) = probabilities {
            MetricsError::check_lengths(truth.len(), "rows of probabilities", rows.len())?;
            if let Some(row) =
                rows.iter().position(|row| row.len() != count || row.iter().any(|p| !p.is_finite()))
            {
                return Err(MetricsError::NotFinite { row });
            }
            let loss: f64 =
                truth.iter().zip(rows).map(|(&t, row)| -row[t].clamp(1e-15, 1.0).ln()).sum();
            report.log_loss = Some(loss / truth.len() as f64);
            if let Some(positive) = positive {
                let scores: Vec<f64> = rows.iter().map(|row| row[positive]).collect();
                let is_positive: Vec<bool> = truth.iter().map(|&t| t == positive).collect();
                report.auc = auc(&scores, &is_positive);
            }
        }
        Ok(report)
    }

    /// Compares raw labels, exactly as they are. The labels of the report are
    /// all that occur (in `truth`, `predicted` and `probabilities`), sorted; with
    /// exactly two the second is positive, unless `positive` names the other.
    ///
    /// # Errors
    /// When there are no rows, lengths differ, or `positive` does not occur.
    pub fn from_labels<T: AsRef<str>, P: AsRef<str>>(
        truth: &[T],
        predicted: &[P],
        probabilities: Option<ProbabilityTable<'_>>,
        positive: Option<&str>,
    ) -> Result<Self, MetricsError> {
        let listed = probabilities.map(|table| table.labels).unwrap_or_default();
        let mut labels: Vec<String> = truth
            .iter()
            .map(AsRef::as_ref)
            .chain(predicted.iter().map(AsRef::as_ref))
            .chain(listed.iter().map(String::as_str))
            .collect::<std::collections::BTreeSet<&str>>()
            .into_iter()
            .map(str::to_owned)
            .collect();
        labels.sort_unstable();
        let index = |label: &str| {
            labels
                .binary_search_by(|known| known.as_str().cmp(label))
                .map_err(|_| MetricsError::UnknownLabel(label.to_owned()))
        };
        let positive = positive.map(index).transpose()?;
        let truth: Vec<usize> =
            truth.iter().map(|label| index(label.as_ref())).collect::<Result<_, _>>()?;
        let predicted: Vec<usize> =
            predicted.iter().map(|label| index(label.as_ref())).collect::<Result<_, _>>()?;
        let rows = match probabilities {
            None => None,
            Some(table) => {
                let columns: Vec<usize> =
                    table.labels.iter().map(|label| index(label)).collect::<Result<_, _>>()?;
                let spread = |(number, row): (usize, &Vec<f64>)| {
                    let mut full = vec![0.0; labels.len()];
                    if row.len() != columns.len() {
                        return Err(MetricsError::NotFinite { row: number });
                    }
                    columns.iter().zip(row).for_each(|(&column, &p)| full[column] = p);
                    Ok(full)
                };
                Some(table.rows.iter().enumerate().map(spread).collect::<Result<Vec<_>, _>>()?)
            }
        };
        Self::new(&labels, positive, &truth, &predicted, rows.as_deref())
    }

    /// Number of rows compared.
    pub fn rows(&self) -> u64 {
        self.confusion.iter().flatten().sum()
    }

    /// The positive label, when there are exactly two labels.
    pub fn positive_label(&self) -> Option<&str> {
        self.positive.and_then(|index| self.labels.get(index)).map(String::as_str)
    }

    /// Precision, recall and F1 of each label, in the order of the labels.
    pub fn classes(&self) -> Vec<ClassReport> {
        let share = |part: u64, whole: u64| {
            if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
        };
        (0..self.labels.len())
            .map(|k| {
                let hit = self.confusion[k][k];
                let support: u64 = self.confusion[k].iter().sum();
                let called: u64 = self.confusion.iter().map(|row| row[k]).sum();
                ClassReport {
                    label: self.labels[k].clone(),
                    support,
                    precision: share(hit, called),
                    recall: share(hit, support),
                    f1: share(2 * hit, support + called),
                }
            })
            .collect()
    }

    /// Gives one metric by name; `None` when it is undefined here or not a
    /// classification metric. The plain names (`F1`, `Precision`, `Recall`,
    /// `AUC`) speak of the positive label and need exactly two labels.
    pub fn get(&self, metric: Metric) -> Option<f64> {
        let classes = self.classes();
        let positive = self.positive.and_then(|index| classes.get(index));
        // A label that neither occurs nor is predicted says nothing.
        let called = |k: usize| self.confusion.iter().any(|row| row[k] > 0);
        let seen: Vec<&ClassReport> = classes
            .iter()
            .enumerate()
            .filter(|(k, class)| class.support > 0 || called(*k))
            .map(|(_, c)| c)
            .collect();
        let mean = |of: &[&ClassReport], value: fn(&ClassReport) -> f64| {
            (!of.is_empty())
                .then(|| of.iter().map(|class| value(class)).sum::<f64>() / of.len() as f64)
        };
        match metric {
            Metric::Accuracy => {
                let hits: u64 = (0..self.labels.len()).map(|k| self.confusion[k][k]).sum();
                (self.rows() > 0).then(|| hits as f64 / self.rows() as f64)
            }
            Metric::BalancedAccuracy => {
                let present: Vec<&ClassReport> =
                    classes.iter().filter(|class| class.support > 0).collect();
                mean(&present, |class| class.recall)
            }
            Metric::F1 => positive.map(|class| class.f1),
            Metric::Precision => positive.map(|class| class.precision),
            Metric::Recall => positive.map(|class| class.recall),
            Metric::F1Macro => mean(&seen, |class| class.f1),
            Metric::PrecisionMacro => mean(&seen, |class| class.precision),
            Metric::RecallMacro => mean(&seen, |class| class.recall),
            Metric::Auc => self.auc,
            Metric::LogLoss => self.log_loss,
            Metric::Mae | Metric::Mse | Metric::Rmse | Metric::R2 => None,
        }
    }

    /// Every metric of this problem (binary with two labels, else multiclass)
    /// that is defined here.
    pub fn metrics(&self) -> Vec<(Metric, f64)> {
        let problem = match self.positive {
            Some(_) => ProblemType::BinaryClassification,
            None => ProblemType::MulticlassClassification,
        };
        problem
            .metrics()
            .into_iter()
            .filter_map(|metric| Some((metric, self.get(metric)?)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    const TRUTH: [&str; 6] = ["a", "b", "b", "a", "b", "b"];
    const PREDICTED: [&str; 6] = ["a", "b", "a", "b", "b", "b"];

    #[test]
    fn the_second_sorted_label_is_positive_unless_told() {
        let report = ClassificationReport::from_labels(&TRUTH, &PREDICTED, None, None).unwrap();
        assert_eq!(report.positive_label(), Some("b"));
        assert_eq!(report.get(Metric::Recall), Some(0.75));
        let report =
            ClassificationReport::from_labels(&TRUTH, &PREDICTED, None, Some("a")).unwrap();
        assert_eq!(report.get(Metric::Recall), Some(0.5));
        assert_eq!(report.get(Metric::BalancedAccuracy), Some(0.625));
    }

    #[test]
    fn labels_keep_their_spaces() {
        let report = ClassificationReport::from_labels(
            &[" <=50K", "<=50K"],
            &["<=50K", "<=50K"],
            None,
            None,
        )
        .unwrap();
        assert_eq!(report.labels, [" <=50K", "<=50K"]);
        assert_eq!(report.get(Metric::Accuracy), Some(0.5));
    }

    #[test]
    fn probabilities_follow_their_own_label_order() {
        let labels = ["b".to_owned(), "a".to_owned()];
        let rows: Vec<Vec<f64>> =
            TRUTH.iter().map(|t| if *t == "b" { vec![0.9, 0.1] } else { vec![0.2, 0.8] }).collect();
        let table = ProbabilityTable { labels: &labels, rows: &rows };
        let report =
            ClassificationReport::from_labels(&TRUTH, &PREDICTED, Some(table), None).unwrap();
        assert_eq!(report.auc, Some(1.0));
        assert!(
            (report.log_loss.unwrap() + (4.0 * 0.9f64.ln() + 2.0 * 0.8f64.ln()) / 6.0).abs()
                < 1e-12
        );
    }

    #[test]
    fn a_class_that_is_never_predicted_counts_in_the_means() {
        // Recall: a 1, b 1, c 0; precision: a 1/2, b 1, c 0, which nobody predicted.
        let report =
            ClassificationReport::from_labels(&["a", "b", "c"], &["a", "b", "a"], None, None);
        let report = report.unwrap();
        let close = |metric, expected: f64| {
            let value: f64 = report.get(metric).unwrap();
            assert!((value - expected).abs() < 1e-12, "{value} {expected}");
        };
        close(Metric::RecallMacro, 2.0 / 3.0);
        close(Metric::PrecisionMacro, 0.5);
        close(Metric::F1Macro, (2.0 / 3.0 + 1.0) / 3.0);
    }

    #[test]
    fn one_class_is_fine_and_has_no_auc() {
        let report =
            ClassificationReport::from_labels(&["x", "x"], &["x", "x"], None, None).unwrap();
        assert_eq!(report.get(Metric::Accuracy), Some(1.0));
        assert_eq!(report.get(Metric::Auc), None);
        assert_eq!(report.get(Metric::F1), None);
    }

    #[test]
    fn hostile_input_is_an_error() {
        let labels = ["a".to_owned(), "b".to_owned()];
        assert!(ClassificationReport::new(&labels, None, &[], &[], None).is_err());
        assert!(ClassificationReport::new(&labels, None, &[2], &[0], None).is_err());
        assert!(ClassificationReport::new(&labels, Some(7), &[1], &[0], None).is_err());
        assert!(ClassificationReport::new(&labels, None, &[1], &[0], Some(&[vec![0.1]])).is_err());
        assert!(ClassificationReport::from_labels(&["a"], &["b"], None, Some("c")).is_err());
    }

    proptest! {
        #[test]
        fn every_metric_is_finite_and_bounded(rows in proptest::collection::vec((0usize..4, 0usize..4), 1..50)) {
            let labels: Vec<String> = (0..4).map(|k| k.to_string()).collect();
            let truth: Vec<usize> = rows.iter().map(|row| row.0).collect();
            let predicted: Vec<usize> = rows.iter().map(|row| row.1).collect();
            let report = ClassificationReport::new(&labels, None, &truth, &predicted, None).unwrap();
            for (_, value) in report.metrics() {
                prop_assert!((0.0..=1.0).contains(&value));
            }
            prop_assert_eq!(report.rows(), rows.len() as u64);
        }
    }
}
