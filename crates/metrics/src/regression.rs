//! The metrics of predicted numbers.

use serde::{Deserialize, Serialize};

use crate::error::MetricsError;
use crate::metric::{Metric, ProblemType};

/// The errors of predicted numbers against the true ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RegressionReport {
    /// Number of rows compared; never zero.
    pub rows: usize,
    /// Mean absolute error, in units of the target.
    pub mae: f64,
    /// Mean squared error, in squared units of the target.
    pub mse: f64,
    /// Root of the mean squared error, in units of the target.
    pub rmse: f64,
    /// Share of variance explained; `None` when the truth is constant.
    pub r2: Option<f64>,
}

impl RegressionReport {
    /// Compares `predicted` with `truth`, row by row.
    ///
    /// # Errors
    /// When there are no rows, the lengths differ, or a value is not finite.
    pub fn new(truth: &[f64], predicted: &[f64]) -> Result<Self, MetricsError> {
        MetricsError::check_lengths(truth.len(), "predictions", predicted.len())?;
        if let Some(row) =
            truth.iter().zip(predicted).position(|(t, p)| !t.is_finite() || !p.is_finite())
        {
            return Err(MetricsError::NotFinite { row });
        }
        let rows = truth.len();
        let count = rows as f64;
        let mean = truth.iter().sum::<f64>() / count;
        let (mut absolute, mut squared, mut variance) = (0.0, 0.0, 0.0);
        for (t, p) in truth.iter().zip(predicted) {
            absolute += (t - p).abs();
            squared += (t - p) * (t - p);
            variance += (t - mean) * (t - mean);
        }
        let mse = squared / count;
        let r2 = (variance > 0.0).then(|| 1.0 - squared / variance).filter(|r2| r2.is_finite());
        Ok(Self { rows, mae: absolute / count, mse, rmse: mse.sqrt(), r2 })
    }

    /// Gives one metric by name; `None` when it is undefined here, beyond what a number
    /// holds, or not a regression metric.
    pub fn get(&self, metric: Metric) -> Option<f64> {
        let value = match metric {
            Metric::Mae => Some(self.mae),
            Metric::Mse => Some(self.mse),
            Metric::Rmse => Some(self.rmse),
            Metric::R2 => self.r2,
            _ => None,
        };
        value.filter(|value| value.is_finite())
    }

    /// Every regression metric that is defined here.
    pub fn metrics(&self) -> Vec<(Metric, f64)> {
        let all = ProblemType::Regression.metrics();
        all.into_iter().filter_map(|metric| Some((metric, self.get(metric)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn known_values() {
        let report = RegressionReport::new(&[3.0, -0.5, 2.0, 7.0], &[2.5, 0.0, 2.0, 8.0]).unwrap();
        assert_eq!(report.mae, 0.5);
        assert_eq!(report.mse, 0.375);
        assert!((report.r2.unwrap() - 0.948_608_137).abs() < 1e-9);
    }

    #[test]
    fn a_constant_truth_has_no_r2() {
        let report = RegressionReport::new(&[1.0, 1.0], &[1.0, 2.0]).unwrap();
        assert_eq!(report.get(Metric::R2), None);
        assert_eq!(report.metrics().len(), 3);
    }

    #[test]
    fn what_no_number_holds_is_left_out() {
        let report = RegressionReport::new(&[1e308, -1e308, 1.0], &[-1e308, 1e308, 2.0]).unwrap();
        assert_eq!(report.get(Metric::Mse), None);
        assert_eq!(report.get(Metric::R2), None);
        assert!(report.metrics().iter().all(|(_, value)| value.is_finite()));
        let overflowing = RegressionReport::new(&[1.7e308, 1.7e308], &[0.0, 0.0]).unwrap();
        assert!(overflowing.r2.is_none_or(f64::is_finite));
    }

    #[test]
    fn nothing_and_nonsense_are_refused() {
        assert!(RegressionReport::new(&[], &[]).is_err());
        assert!(RegressionReport::new(&[1.0], &[1.0, 2.0]).is_err());
        assert!(RegressionReport::new(&[f64::NAN], &[1.0]).is_err());
    }
}
