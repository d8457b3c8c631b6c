//! Evaluating a candidate on rows it was not trained on.

use crosspilot_metrics::{ClassificationReport, Metric, RegressionReport};

use crate::model::{Model, Prediction, decide};
use crate::table::analysis::Analysis;
use crate::table::target::Target;

/// A tuned decision has to gain this much, or the most probable label stays.
const WORTHWHILE: f64 = 0.003;

/// The metrics of a candidate on held-out rows.
#[derive(Default)]
pub(crate) struct Evaluation {
    /// Every metric of the problem that is defined.
    pub(crate) metrics: Vec<(Metric, f64)>,
    /// Numbers of rows by true and predicted label.
    pub(crate) confusion: Vec<Vec<u64>>,
}

/// Sets the model's decision weights for the wanted metric and measures it by every
/// metric of the problem. `outputs` are the model's numbers for `rows`.
pub(crate) fn evaluate(
    model: &mut Model,
    outputs: &[f32],
    rows: &[u32],
    target: &Target,
    analysis: &Analysis,
) -> Evaluation {
    let width = target.outputs();
    let numbers = |row: &[f32]| row.iter().map(|value| f64::from(*value)).collect::<Vec<f64>>();
    let predictions = outputs.chunks_exact(width).map(|row| model.prediction(&numbers(row)));
    match target {
        Target::Value(values) => {
            let (mean, deviation) = model.shared.unit;
            let truth: Vec<f64> =
                rows.iter().map(|&row| mean + deviation * values[row as usize]).collect();
            let predicted: Vec<f64> = predictions
                .map(|prediction| match prediction {
                    Prediction::Value(value) => value,
                    Prediction::Class { .. } => f64::NAN,
                })
                .collect();
            RegressionReport::new(&truth, &predicted)
                .map(|report| Evaluation { metrics: report.metrics(), confusion: Vec::new() })
                .unwrap_or_default()
        }
        Target::Class { labels, .. } => {
            let truth: Vec<usize> = rows.iter().map(|&row| labels[row as usize] as usize).collect();
            let probabilities: Vec<Vec<f64>> = predictions
                .map(|prediction| match prediction {
                    Prediction::Class { probabilities, .. } => probabilities,
                    Prediction::Value(_) => Vec::new(),
                })
                .collect();
            let names = model.labels().to_vec();
            let report = |decision: &[f64],
                          probabilities: Option<&[Vec<f64>]>,
                          all: &[Vec<f64>]| {
                let predicted: Vec<usize> = all.iter().map(|row| decide(row, decision)).collect();
                ClassificationReport::new(&names, None, &truth, &predicted, probabilities)
            };
            let score = |decision: &[f64]| {
                report(decision, None, &probabilities)
                    .ok()
                    .and_then(|report| report.get(analysis.metric))
            };
            model.decision = tune(analysis, score);
            report(&model.decision, Some(&probabilities), &probabilities)
                .map(|report| Evaluation { metrics: report.metrics(), confusion: report.confusion })
                .unwrap_or_default()
        }
    }
}

/// For metrics that reward finding rare labels: how much to favour them. One
/// number is tuned, so there is little to overfit.
fn tune(analysis: &Analysis, score: impl Fn(&[f64]) -> Option<f64>) -> Vec<f64> {
    let plain = vec![1.0; analysis.labels.len()];
    if !matches!(
        analysis.metric,
        Metric::F1 | Metric::F1Macro | Metric::BalancedAccuracy | Metric::RecallMacro
    ) {
        return plain;
    }
    let Some(before) = score(&plain) else {
        return plain;
    };
    let mut best = (before + WORTHWHILE, plain);
    for step in 1..=10 {
        let power = f64::from(step) / 10.0;
        let weights: Vec<f64> = analysis
            .labels
            .iter()
            .map(|(_, rows)| (analysis.rows as f64 / (*rows).max(1) as f64).powf(power))
            .collect();
        if let Some(value) = score(&weights)
            && value > best.0
        {
            best = (value, weights);
        }
    }
    best.1
}
