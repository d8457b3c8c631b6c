//! The names of metrics and problem types, exactly as SageMaker spells them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text that names no metric or problem type that this crate knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownName {
    /// The kind of name that was expected: `metric` or `problem type`.
    pub what: &'static str,
    /// The text that was given.
    pub name: String,
    /// The names that would have been accepted.
    pub known: Vec<&'static str>,
}

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, name, known } = self;
        write!(f, "`{name}` is no known {what}; use one of {}", known.join(", "))
    }
}

impl std::error::Error for UnknownName {}

/// Declares an enum with its AWS names, so that a name is written down once.
macro_rules! named {
    ($(#[$doc:meta])* $type:ident, $what:literal, { $($(#[$variant_doc:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $type {
            $($(#[$variant_doc])* #[serde(rename = $name)] $variant,)*
        }

        impl $type {
            /// Every value, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The exact name that SageMaker uses.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $type {
            type Err = UnknownName;

            /// Reads SageMaker's exact name; upper and lower case matter, as in AWS.
            fn from_str(text: &str) -> Result<Self, UnknownName> {
                Self::ALL.iter().copied().find(|value| value.as_str() == text).ok_or_else(|| UnknownName {
                    what: $what,
                    name: text.to_owned(),
                    known: Self::ALL.iter().map(|value| value.as_str()).collect(),
                })
            }
        }
    };
}

named! {
    /// The problem type: the kind of answer that a model gives.
    ProblemType, "problem type", {
        /// One of two labels.
        BinaryClassification = "BinaryClassification",
        /// One of three or more labels.
        MulticlassClassification = "MulticlassClassification",
        /// A number.
        Regression = "Regression",
    }
}

named! {
    /// A measure of how good predictions are.
    Metric, "metric", {
        /// Share of rows whose label was predicted exactly.
        Accuracy = "Accuracy",
        /// Mean recall over the labels that occur in the truth.
        BalancedAccuracy = "BalancedAccuracy",
        /// Harmonic mean of precision and recall of the positive label.
        F1 = "F1",
        /// Unweighted mean of the F1 of each label.
        F1Macro = "F1macro",
        /// Area under the ROC curve of the positive label; ties count half.
        Auc = "AUC",
        /// Share of the rows predicted positive that are positive.
        Precision = "Precision",
        /// Unweighted mean of the precision of each label.
        PrecisionMacro = "PrecisionMacro",
        /// Share of the positive rows that were predicted positive.
        Recall = "Recall",
        /// Unweighted mean of the recall of each label.
        RecallMacro = "RecallMacro",
        /// Mean negative log probability of the true label, in nats.
        LogLoss = "LogLoss",
        /// Mean absolute error, in units of the target.
        Mae = "MAE",
        /// Mean squared error, in squared units of the target.
        Mse = "MSE",
        /// Square root of the mean squared error, in units of the target.
        Rmse = "RMSE",
        /// Share of the target's variance that is explained; 1 is perfect.
        R2 = "R2",
    }
}

/// The direction in which values of a metric are better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Direction {
    /// Larger is better.
    Maximize,
    /// Smaller is better.
    Minimize,
}

impl Direction {
    /// SageMaker's name: `Maximize` or `Minimize`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Maximize => "Maximize",
            Self::Minimize => "Minimize",
        }
    }
}

impl Metric {
    /// Tells which way is better.
    pub fn direction(self) -> Direction {
        match self {
            Self::LogLoss | Self::Mae | Self::Mse | Self::Rmse => Direction::Minimize,
            _ => Direction::Maximize,
        }
    }

    /// Measures how much better `challenger` is than `champion`: positive when better,
    /// whatever the metric's direction.
    pub fn improvement(self, champion: f64, challenger: f64) -> f64 {
        match self.direction() {
            Direction::Maximize => challenger - champion,
            Direction::Minimize => champion - challenger,
        }
    }
}

impl ProblemType {
    /// The metric that Autopilot optimises when none is asked for.
    pub fn default_metric(self) -> Metric {
        match self {
            Self::BinaryClassification => Metric::F1,
            Self::MulticlassClassification => Metric::Accuracy,
            Self::Regression => Metric::Mse,
        }
    }

    /// The metrics that can be the objective of a job of this type.
    pub fn objectives(self) -> &'static [Metric] {
        match self {
            Self::BinaryClassification => &[
                Metric::Accuracy,
                Metric::Auc,
                Metric::BalancedAccuracy,
                Metric::F1,
                Metric::Precision,
                Metric::Recall,
            ],
            Self::MulticlassClassification => &[
                Metric::Accuracy,
                Metric::BalancedAccuracy,
                Metric::F1Macro,
                Metric::PrecisionMacro,
                Metric::RecallMacro,
            ],
            Self::Regression => &[Metric::Mae, Metric::Mse, Metric::R2, Metric::Rmse],
        }
    }

    /// Every metric that is reported for this type: the objectives and, for
    /// classification, `LogLoss`.
    pub fn metrics(self) -> Vec<Metric> {
        let mut metrics = self.objectives().to_vec();
        if self.is_classification() {
            metrics.push(Metric::LogLoss);
        }
        metrics
    }

    /// Tells whether predictions are labels and not numbers.
    pub fn is_classification(self) -> bool {
        self != Self::Regression
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_round_trip_through_text_and_json() {
        for &metric in Metric::ALL {
            assert_eq!(metric.as_str().parse::<Metric>().unwrap(), metric);
            let json = serde_json::to_string(&metric).unwrap();
            assert_eq!(json, format!("\"{metric}\""));
            assert_eq!(serde_json::from_str::<Metric>(&json).unwrap(), metric);
        }
        for &problem in ProblemType::ALL {
            assert_eq!(problem.as_str().parse::<ProblemType>().unwrap(), problem);
        }
    }

    #[test]
    fn an_unknown_name_lists_what_is_known() {
        let error = "f1".parse::<Metric>().unwrap_err().to_string();
        assert!(error.starts_with("`f1` is no known metric; use one of Accuracy, "), "{error}");
    }

    #[test]
    fn each_default_is_an_objective_of_its_type() {
        for &problem in ProblemType::ALL {
            assert!(problem.objectives().contains(&problem.default_metric()));
        }
    }

    #[test]
    fn improvement_is_positive_when_better() {
        assert!(Metric::Auc.improvement(0.8, 0.9) > 0.0);
        assert!(Metric::Mse.improvement(0.8, 0.9) < 0.0);
    }
}
