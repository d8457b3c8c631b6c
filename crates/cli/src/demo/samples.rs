//! A few of a run's predictions, read from the copy of its results.

use std::io::Read;

/// Rows that are shown.
const SHOWN: usize = 5;

/// A prediction and what was true.
#[derive(Debug, PartialEq)]
pub(super) struct Sample {
    pub(super) predicted: String,
    /// The probability that the model gives a label that it predicts.
    pub(super) probability: Option<f64>,
    pub(super) actual: String,
}

/// Reads the first rows of a `predictions.csv`; none if it lacks the target or the
/// predictions.
pub(super) fn read(predictions: impl Read, target: &str) -> Result<Vec<Sample>, csv::Error> {
    let mut reader = csv::Reader::from_reader(predictions);
    let header = reader.headers()?.clone();
    // What `predict` adds stands behind the columns of the customer.
    let last = |name: &str| {
        let columns: Vec<&str> = header.iter().collect();
        columns.iter().rposition(|column| *column == name)
    };
    let actual = header.iter().position(|column| column == target);
    let predicted = last("predicted_label").or_else(|| last("predicted_value"));
    let Some((actual, predicted)) = actual.zip(predicted) else { return Ok(Vec::new()) };
    let sample = |row: csv::StringRecord| {
        let cell = |column| row.get(column).unwrap_or_default().to_owned();
        let probability = last(&format!("probability_{}", cell(predicted)));
        Sample {
            predicted: cell(predicted),
            probability: probability.and_then(|column| cell(column).parse().ok()),
            actual: cell(actual),
        }
    };
    reader.records().take(SHOWN).map(|row| row.map(sample)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn labels_come_with_their_probability_and_values_without() {
        let labels = "a,y,predicted_label,probability_no,probability_yes\n\
                      1,yes,no,0.75,0.25\n2,yes,yes,0.1,0.9\n";
        let sample = |predicted: &str, probability, actual: &str| Sample {
            predicted: predicted.into(),
            probability,
            actual: actual.into(),
        };
        assert_eq!(
            read(labels.as_bytes(), "y").unwrap(),
            [sample("no", Some(0.75), "yes"), sample("yes", Some(0.9), "yes")]
        );
        let values = format!("a,y,predicted_value\n{}", "1,7,7.5\n".repeat(9));
        let read_values = read(values.as_bytes(), "y").unwrap();
        assert_eq!(read_values.len(), SHOWN);
        assert_eq!(read_values[0], sample("7.5", None, "7"));
        assert_eq!(read("a,y\n1,2\n".as_bytes(), "y").unwrap(), []);
    }
}
