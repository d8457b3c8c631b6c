//! The meaning of a metric's name. SageMaker's own names fall outside its list:
//! `validation:f1_binary`, `validation:rmse`, and whatever an algorithm calls its loss.

use crate::metric::{Direction, Metric, ProblemType};

/// The kind of a model's answers: labels or numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PredictionKind {
    /// Labels, with a probability each.
    Labels,
    /// Numbers.
    Numbers,
}

impl PredictionKind {
    /// The kind that a model of this problem type answers.
    pub fn of_problem(problem: ProblemType) -> Self {
        if problem.is_classification() { Self::Labels } else { Self::Numbers }
    }

    /// The kind that a model measured by a metric of this name answers; none where the
    /// name does not tell.
    pub fn of_metric(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let names = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
        if names(&["mse", "mae", "r2"]) {
            Some(Self::Numbers)
        } else if names(&[
            "f1",
            "f_beta",
            "accuracy",
            "auc",
            "precision",
            "recall",
            "logloss",
            "cross_entropy",
        ]) {
            Some(Self::Labels)
        } else {
            None
        }
    }
}

impl Metric {
    /// Finds the metric behind a name as SageMaker gives it, which may be one of its
    /// list, in any spelling, or an algorithm's own.
    pub fn named(name: &str) -> Option<Self> {
        let plain = |name: &str| -> String {
            let plain = name.chars().filter(char::is_ascii_alphanumeric);
            plain.map(|c| c.to_ascii_lowercase()).collect()
        };
        let name = plain(name.rsplit(':').next().unwrap_or(name));
        match name.as_str() {
            "f1binary" | "binaryfbeta" => Some(Self::F1),
            "multiclassfbeta" => Some(Self::F1Macro),
            _ => Self::ALL.iter().copied().find(|metric| plain(metric.as_str()) == name),
        }
    }
}

impl Direction {
    /// The direction of a metric of this name: errors are what one minimises.
    pub fn of_metric(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        if ["mse", "mae", "loss", "error"].iter().any(|part| name.contains(part)) {
            Self::Minimize
        } else {
            Self::Maximize
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_found_behind_their_many_names() {
        assert_eq!(Metric::named("validation:f1_binary"), Some(Metric::F1));
        assert_eq!(Metric::named("F1macro"), Some(Metric::F1Macro));
        assert_eq!(Metric::named("validation:rmse"), Some(Metric::Rmse));
        assert_eq!(Metric::named("validation:odd"), None);
    }

    #[test]
    fn a_name_tells_the_direction() {
        for (name, direction) in [
            ("MSE", Direction::Minimize),
            ("validation:mae", Direction::Minimize),
            ("F1", Direction::Maximize),
            ("AUC", Direction::Maximize),
        ] {
            assert_eq!(Direction::of_metric(name), direction, "{name}");
        }
        for &metric in Metric::ALL {
            assert_eq!(Direction::of_metric(metric.as_str()), metric.direction(), "{metric}");
        }
    }

    #[test]
    fn a_name_tells_labels_from_numbers() {
        for &problem in ProblemType::ALL {
            for metric in problem.metrics() {
                let kind = PredictionKind::of_metric(metric.as_str());
                assert_eq!(kind, Some(PredictionKind::of_problem(problem)), "{metric}");
            }
        }
        assert_eq!(PredictionKind::of_metric("odd"), None);
    }
}
