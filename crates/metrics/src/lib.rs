//! Autopilot's metrics: their exact names, and the arithmetic behind them.
//!
//! The AutoML engine ranks candidates with these functions and the `predict`
//! Lambda evaluates held-out predictions with them, so a figure in a report
//! means the same wherever it was computed. There is no I/O here and no state.
//!
//! A metric that is not defined for the data at hand (AUC of one class, R2 of a
//! constant) is `None`, never NaN.
//!
//! ```
//! use crosspilot_metrics::{ClassificationReport, Metric};
//!
//! let truth = ["True.", "False.", "True.", "False."];
//! let predicted = ["True.", "False.", "False.", "False."];
//! let report = ClassificationReport::from_labels(&truth, &predicted, None, None)?;
//! assert_eq!(report.positive_label(), Some("True."));
//! assert_eq!(report.get(Metric::Accuracy), Some(0.75));
//! # Ok::<(), crosspilot_metrics::MetricsError>(())
//! ```

mod classification;
mod curves;
mod error;
mod metric;
mod names;
mod regression;

pub use classification::{ClassReport, ClassificationReport, ProbabilityTable};
pub use curves::{CalibrationBin, LiftBin, RocPoint, auc, calibration, lift, roc_curve};
pub use error::MetricsError;
pub use metric::{Direction, Metric, ProblemType, UnknownName};
pub use names::PredictionKind;
pub use regression::RegressionReport;
