//! The problem type: inferred from the target, or checked against it.

use std::collections::BTreeMap;

use crosspilot_metrics::ProblemType;
use crosspilot_table::label;
use crosspilot_table::number::number;

use crate::error::TrainError;

/// Whole numbers with more values than this are amounts, not classes.
const MAX_CODES: usize = 20;
/// The same for numbers with a fraction.
const MAX_FRACTIONS: usize = 5;

/// Infers the problem type from the number of rows of each text in the target: two labels
/// are binary, amounts are regression, all else is multiclass.
pub(crate) fn infer(
    target: &str,
    counts: &BTreeMap<&str, usize>,
    rows: usize,
) -> Result<ProblemType, TrainError> {
    let cannot = |hint| {
        Err(TrainError::CannotInfer {
            target: target.to_owned(),
            distinct: counts.len(),
            rows,
            hint,
        })
    };
    if counts.len() <= 2 {
        return Ok(ProblemType::BinaryClassification);
    }
    let numbers: Vec<f64> = counts.keys().filter_map(|label| number(label.as_bytes())).collect();
    let numeric: usize = counts
        .iter()
        .filter(|(label, _)| number(label.as_bytes()).is_some())
        .map(|(_, count)| count)
        .sum();
    if numeric as f64 >= 0.99 * rows as f64 {
        let whole = numbers.iter().all(|number| number.fract() == 0.0);
        let most = if whole { MAX_CODES } else { MAX_FRACTIONS };
        return Ok(if numbers.len() > most {
            ProblemType::Regression
        } else {
            ProblemType::MulticlassClassification
        });
    }
    if numeric as f64 > 0.5 * rows as f64 && numbers.len() > MAX_CODES {
        return cannot("it mixes numbers and texts: correct the texts, or give the problem type");
    }
    if counts.len() as u64 > label::most(rows as u64, false) {
        return cannot(
            "that is too many labels to learn: choose another column, or give the problem type",
        );
    }
    Ok(ProblemType::MulticlassClassification)
}

/// Refuses a problem type that the target cannot be.
pub(crate) fn fits(
    target: &str,
    problem: ProblemType,
    counts: &BTreeMap<&str, usize>,
) -> Result<(), TrainError> {
    let wrong = |reason: String| {
        Err(TrainError::WrongProblem { target: target.to_owned(), problem, reason })
    };
    match problem {
        ProblemType::BinaryClassification if counts.len() != 2 => {
            wrong(format!("it has {} different values and needs exactly 2", counts.len()))
        }
        ProblemType::MulticlassClassification if counts.len() as u64 > label::MOST => {
            wrong(format!(
                "it has {} different values; at most {} are supported",
                counts.len(),
                label::MOST
            ))
        }
        ProblemType::Regression
            if !counts.keys().any(|label| number(label.as_bytes()).is_some()) =>
        {
            wrong("none of its values is a number".to_owned())
        }
        _ => Ok(()),
    }
}
