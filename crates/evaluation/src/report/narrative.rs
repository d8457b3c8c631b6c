//! The report's result in words, for people who do not know the metrics.

use crosspilot_core::registry::Measured;
use crosspilot_metrics::{Direction, Metric};

use super::html::{Tile, count, figure, percent, quoted, sentence};
use super::{Occasion, Report};
use crate::evaluation::{Classification, Evaluation, Regression};

/// Fewer held-out rows than this, and every figure is a rough one.
const FEW_ROWS: u64 = 100;

/// The result in one sentence, and in a few more.
pub(super) struct Narrative {
    pub(super) headline: String,
    pub(super) lead: String,
    /// The warning that should make the reader careful, if anything should.
    pub(super) warning: Option<String>,
}

pub(super) fn words(report: &Report<'_>) -> Narrative {
    let words = evaluated(report);
    let decision = match &report.occasion {
        Occasion::Run { decision, .. } if !decision.deploys() => decision,
        Occasion::Run { .. } => return words,
        Occasion::Upload { trend, minimum } => return later(words, trend, *minimum),
    };
    // Nobody may take this for the model that answers.
    let reason = sentence(&decision.reason);
    let notice = format!("This model was kept out and does not serve: {reason}.");
    let warning = words.warning.map_or(notice.clone(), |other| format!("{notice} {other}"));
    Narrative { warning: Some(warning), ..words }
}

/// Says of later rows whether the model is still as good as it must be.
fn later(words: Narrative, trend: &[&Measured], minimum: Option<f64>) -> Narrative {
    let newest = trend.last().filter(|measured| measured.is_below(minimum));
    let (Some(value), Some(minimum)) = (newest.and_then(|measured| measured.value), minimum) else {
        return words;
    };
    let notice = format!(
        "On these rows the model that serves is below the minimum of {}: {}. It goes on serving; train anew on newer data.",
        figure(minimum),
        figure(value)
    );
    let warning = words.warning.map_or(notice.clone(), |other| format!("{notice} {other}"));
    Narrative { warning: Some(warning), ..words }
}

fn evaluated(report: &Report<'_>) -> Narrative {
    let Some(evaluation) = report.evaluation else {
        return no_better(report, unevaluated(report));
    };
    let words = match evaluation {
        Evaluation::Classification(c) => classification(report.target, c),
        Evaluation::Regression(r) => regression(report.target, r),
    };
    let rows = evaluation.summary(false).rows;
    let words = no_better(report, words);
    let few = || {
        format!("Only {} held-out rows could be compared: all figures here are rough.", count(rows))
    };
    let warning = words.warning.or_else(|| (rows < FEW_ROWS).then(few));
    Narrative { warning, ..words }
}

/// Says in the headline that one answer for all would do as well, by the metric that
/// decides: on the held-out rows, else on those that the decision rests on.
fn no_better(report: &Report<'_>, words: Narrative) -> Narrative {
    let comparison = report.comparison;
    let measured = comparison.metric.as_deref().zip(comparison.challenger);
    let decided = || match &report.occasion {
        Occasion::Run { decision, .. } => {
            let figures = decision.figures.as_ref()?;
            Some(((figures.metric.as_str(), figures.challenger), figures.baseline?))
        }
        Occasion::Upload { .. } => None,
    };
    let figures = measured.zip(comparison.baseline).or_else(decided);
    let Some(((name, value), baseline)) = figures else { return words };
    let Some(metric) = Metric::named(name) else { return words };
    if metric.improvement(baseline, value) > 0.0 {
        return words;
    }
    let headline = format!(
        "It is no better than always giving the same answer: {} {} against {}. {}",
        metric.as_str(),
        shown(metric, value),
        shown(metric, baseline),
        words.headline
    );
    Narrative { headline, ..words }
}

fn classification(target: &str, c: &Classification) -> Narrative {
    let report = &c.report;
    let accuracy = report.get(Metric::Accuracy).unwrap_or_default();
    let (rows, classes) = (report.rows(), report.classes());
    let headline = format!(
        "It predicts {} correctly in {} of {} cases that it had never seen.",
        quoted(target),
        percent(accuracy),
        count(rows)
    );
    let most = classes.iter().max_by_key(|class| class.support);
    let baseline = most.map_or(0.0, |class| class.support as f64 / rows.max(1) as f64);
    let always = most.map_or(String::new(), |class| quoted(&class.label));
    let mut lead = format!("Always answering {always} would be right in {}.", percent(baseline));
    let positive = report.positive.and_then(|index| classes.get(index));
    let hardest =
        classes.iter().filter(|class| class.support > 0).min_by(|a, b| a.f1.total_cmp(&b.f1));
    if let Some(class) = positive {
        lead += &format!(
            " Of the {} cases that truly are {}, the model finds {}; when it says so, it is right in {}.",
            count(class.support),
            quoted(&class.label),
            percent(class.recall),
            percent(class.precision)
        );
    } else if let Some(class) = hardest {
        lead += &format!(
            " It tells {} answers apart; {} is the hardest: the model finds {} of those.",
            report.labels.len(),
            quoted(&class.label),
            percent(class.recall)
        );
    }
    let warning = (accuracy <= baseline && baseline < 1.0).then(|| {
        format!("By share of right answers, the model is no better than always answering {always}: look at the charts before relying on it.")
    });
    Narrative { headline, lead, warning }
}

fn regression(target: &str, r: &Regression) -> Narrative {
    let report = &r.report;
    let off = match report.get(Metric::Mae) {
        Some(mae) => format!("to within {}", figure(mae)),
        None => "further off than a number can say".to_owned(),
    };
    let headline = format!(
        "It predicts {} {off} on average, over {} cases that it had never seen.",
        quoted(target),
        count(report.rows as u64)
    );
    // Of parts, whose sum no number is too small for.
    let mean: f64 = r.truth.iter().map(|value| value / report.rows as f64).sum();
    let lead = match report.r2 {
        Some(r2) if r2 > 0.0 => format!(
            "Always answering the average, {}, would leave all the differences between cases unexplained; the model explains {} of them.",
            figure(mean),
            percent(r2)
        ),
        _ => format!("The average of all true values is {}.", figure(mean)),
    };
    let warning = report.r2.filter(|r2| *r2 <= 0.0).map(|_| {
        "The model is no better than always answering the average: look at the charts before relying on it.".to_owned()
    });
    Narrative { headline, lead, warning }
}

fn unevaluated(report: &Report<'_>) -> Narrative {
    let target = quoted(report.target);
    let headline = match report.occasion.serves() {
        true => format!("The model for {target} is in service and answers."),
        false => format!("The new model for {target} was kept out."),
    };
    let lead = if report.predictions.is_empty() {
        let reason = report.comparison.reason.as_deref().unwrap_or("no rows were scored");
        format!("No rows were predicted for this report: {}.", sentence(reason))
    } else if report.source.held_out {
        format!(
            "The held-out file has no column {target} with true values, so its rows were predicted but not judged. Add the column, and the next run tells how good the model is."
        )
    } else {
        format!(
            "There was no held-out file, so one row of the training data was predicted to see that the model answers. Put a CSV file with true values of {target} into the model's test folder, or give enough rows to set some aside, and the next run tells how good the model is."
        )
    };
    Narrative { headline, lead, warning: None }
}

/// The figures, the one that the model was chosen by first.
pub(super) fn tiles(report: &Report<'_>, evaluation: &Evaluation) -> Vec<Tile> {
    let score = report.model.score;
    let objective = score.metric.as_deref().and_then(Metric::named);
    let mut metrics: Vec<Metric> = match evaluation {
        Evaluation::Classification(c) if c.report.positive.is_some() => vec![
            Metric::Accuracy,
            Metric::F1,
            Metric::Precision,
            Metric::Recall,
            Metric::Auc,
            Metric::BalancedAccuracy,
            Metric::LogLoss,
        ],
        Evaluation::Classification(_) => vec![
            Metric::Accuracy,
            Metric::BalancedAccuracy,
            Metric::F1Macro,
            Metric::PrecisionMacro,
            Metric::RecallMacro,
            Metric::LogLoss,
        ],
        Evaluation::Regression(_) => vec![Metric::Mae, Metric::Rmse, Metric::R2],
    };
    if let Some(objective) = objective {
        metrics.retain(|metric| *metric != objective);
        metrics.insert(0, objective);
    }
    let tile = |metric: Metric| {
        let (name, meaning) = meaning(metric);
        let mut meaning = meaning.to_owned();
        if let (true, Some(validation)) = (Some(metric) == objective, score.value) {
            meaning += &format!("; {} in training's own validation", shown(metric, validation));
        }
        Some(Tile { value: shown(metric, evaluation.get(metric)?), name, meaning })
    };
    metrics.into_iter().filter_map(tile).collect()
}

/// Tells how the objective held up on rows that training had not seen.
pub(super) fn held_up(metric: Metric, validation: f64, held_out: f64) -> &'static str {
    let loss = metric.improvement(held_out, validation);
    let scale = match metric.direction() {
        Direction::Maximize => 1.0,
        Direction::Minimize => validation.abs(),
    };
    if loss > 0.06 * scale {
        "clearly worse than in training: the held-out rows may differ from the training data"
    } else if loss > 0.02 * scale {
        "a little worse than in training, as one expects"
    } else if -loss > 0.06 * scale {
        "suspiciously better than in training: look whether the held-out rows are easier, or also stand in the training data"
    } else {
        "as good as in training"
    }
}

/// Shares in percent; what has a unit or no upper bound as a plain number.
pub(super) fn shown(metric: Metric, value: f64) -> String {
    match metric {
        Metric::Accuracy
        | Metric::BalancedAccuracy
        | Metric::Precision
        | Metric::PrecisionMacro
        | Metric::Recall
        | Metric::RecallMacro => percent(value),
        _ => figure(value),
    }
}

fn meaning(metric: Metric) -> (&'static str, &'static str) {
    match metric {
        Metric::Accuracy => ("Accuracy", "right answers, of all"),
        Metric::BalancedAccuracy => {
            ("Balanced accuracy", "as if all answers were equally frequent")
        }
        Metric::F1 => ("F1", "precision and recall in one; 1 is perfect"),
        Metric::F1Macro => {
            ("F1, mean", "precision and recall in one, over all answers; 1 is perfect")
        }
        Metric::Auc => ("AUC", "how well it ranks; 0.5 is a coin toss, 1 perfect"),
        Metric::Precision => ("Precision", "right, when it says yes"),
        Metric::PrecisionMacro => ("Precision, mean", "right when it says so, over all answers"),
        Metric::Recall => ("Recall", "found, of all that are so"),
        Metric::RecallMacro => ("Recall, mean", "found, over all answers"),
        Metric::LogLoss => ("Log loss", "how honest its probabilities are; 0 is perfect"),
        Metric::Mae => ("Mean error", "how far off it is on average"),
        Metric::Mse => ("Mean squared error", "weighs large errors most"),
        Metric::Rmse => ("Typical error (RMSE)", "weighs large errors more"),
        Metric::R2 => ("R²", "share of the differences explained; 1 is perfect"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use crosspilot_metrics::RegressionReport;

    use super::*;

    #[test]
    fn errors_beyond_what_a_number_holds_are_said_in_words() {
        let said = |truth: &[f64], predicted: &[f64]| {
            let report = RegressionReport::new(truth, predicted).unwrap();
            let (truth, predicted) = (truth.to_vec(), predicted.to_vec());
            let Narrative { headline, lead, .. } =
                regression("price", &Regression { report, unlabelled: 0, truth, predicted });
            format!("{headline} {lead}")
        };
        let far = said(&[1.5e308, 1.5e308], &[-1.5e308, -1.5e308]);
        assert!(far.contains("further off than a number can say on average"), "{far}");
        assert!(far.contains("1.50e308"), "{far}");
        assert!(!far.contains("inf") && !far.contains("NaN"), "{far}");
        let near = said(&[10.0, 20.0], &[12.0, 18.0]);
        assert!(near.contains("to within 2 on average") && near.contains("average, 15,"), "{near}");
    }

    #[test]
    fn a_loss_is_measured_in_the_metrics_own_direction() {
        assert_eq!(held_up(Metric::F1, 0.90, 0.91), "as good as in training");
        assert!(held_up(Metric::F1, 0.90, 0.86).starts_with("a little worse"));
        assert!(held_up(Metric::F1, 0.90, 0.70).starts_with("clearly worse"));
        assert!(held_up(Metric::F1, 0.80, 0.95).starts_with("suspiciously better"));
        assert_eq!(held_up(Metric::Rmse, 100.0, 95.0), "as good as in training");
        assert!(held_up(Metric::Rmse, 100.0, 150.0).starts_with("clearly worse"));
    }
}
