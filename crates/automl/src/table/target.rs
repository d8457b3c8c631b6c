//! The target, as numbers.

/// The target of each training row.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    /// The index of the row's label.
    Class { labels: Vec<u32>, count: usize },
    /// The value, brought to mean 0 and deviation 1.
    Value(Vec<f64>),
}

impl Target {
    /// Counts the numbers that a learner predicts for a row: the value, the
    /// probability of the second of two labels, or one probability a label.
    pub(crate) fn outputs(&self) -> usize {
        match self {
            Self::Class { count, .. } if *count > 2 => *count,
            _ => 1,
        }
    }

    /// Number of labels; 0 for values.
    pub(crate) fn classes(&self) -> usize {
        match self {
            Self::Class { count, .. } => *count,
            Self::Value(_) => 0,
        }
    }

    /// The row's number for one output: its value, or 1 if it has that label.
    pub(crate) fn output(&self, row: usize, output: usize) -> f64 {
        match self {
            Self::Class { labels, count } => {
                let wanted = if *count == 2 { 1 } else { output as u32 };
                f64::from(u8::from(labels[row] == wanted))
            }
            Self::Value(values) => values[row],
        }
    }

    /// Measures how wrong an output row is: log loss (nats) or squared error.
    pub(crate) fn loss(&self, row: usize, output: &[f32]) -> f64 {
        let log = |p: f32| -f64::from(p.clamp(1e-7, 1.0)).ln();
        match self {
            Self::Class { labels, count: 2 } => {
                log(if labels[row] == 1 { output[0] } else { 1.0 - output[0] })
            }
            Self::Class { labels, .. } => log(output[labels[row] as usize]),
            Self::Value(values) => (values[row] - f64::from(output[0])).powi(2),
        }
    }
}
