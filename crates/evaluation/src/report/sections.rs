//! The report's cards.

use crosspilot_core::decision::{Basis, Comparison, Decision, GateVerdict};
use crosspilot_core::registry::Measured;
use crosspilot_inference::Prediction;
use crosspilot_metrics::{Metric, calibration, roc_curve};
use crosspilot_table::is_missing;

use super::html::{bar, card, count, figure, key, percent, quoted, sentence, table, text};
use super::narrative::{held_up, shown};
use super::{Report, chart};
use crate::evaluation::{Classification, Evaluation, Regression};
use crate::request::Warned;

/// Labels in the confusion matrix: more do not fit a page.
const MATRIX_LABELS: usize = 8;
/// Rows in a table of examples, and columns of the data in it.
const EXAMPLES: usize = 6;
const EXAMPLE_COLUMNS: usize = 4;
/// Labels in the table of all answers.
const LISTED_LABELS: usize = 30;

fn classification(c: &Classification) -> String {
    let mut cards = vec![confusion(c)];
    match (&c.positive, c.report.positive_label()) {
        (Some((scores, truth)), Some(label)) => {
            let other = c
                .report
                .labels
                .iter()
                .find(|other| *other != label)
                .map_or(String::new(), |other| quoted(other));
            let label = quoted(label);
            if let Some(auc) = c.report.auc {
                let sentence = format!(
                    "Of a random {label} and a random {other}, the model ranks the right one higher in {} of 100 pairs. The dashed line is a coin toss.",
                    figure((auc * 100.0).round())
                );
                let content = chart::roc(&roc_curve(scores, truth, 200), auc);
                cards.push(card(
                    false,
                    "Finding more, at the price of false alarms",
                    &sentence,
                    &content,
                ));
            }
            let sentence = format!(
                "How probable {label} is to the model, in cases that truly are so and in those that are not. The further apart, the better."
            );
            let content = chart::two_histograms("predicted probability", scores, truth)
                + &key(&format!("truly {other}"), &format!("truly {label}"));
            cards.push(card(false, "Does it tell them apart?", &sentence, &content));
            let sentence = format!(
                "Where the model says 70%, about 70 of 100 cases should truly be {label}: the closer to the dashed line, the more its probabilities can be taken at their word."
            );
            cards.push(card(
                false,
                "Can its probabilities be trusted?",
                &sentence,
                &chart::calibration(&calibration(scores, truth, 10)),
            ));
        }
        _ => {
            cards.push(answers(c));
            if let Some((scores, right)) = &c.confidence {
                let sentence = "How sure the model is of its answers, when it is right and when it is wrong. Wrong answers should be the unsure ones.";
                let content = chart::two_histograms("probability of its answer", scores, right)
                    + &key("it is wrong", "it is right");
                cards.push(card(false, "Does it know when it does not know?", sentence, &content));
                let sentence = "Where the model is 70% sure, about 70 of 100 answers should be right: the closer to the dashed line, the better.";
                cards.push(card(
                    false,
                    "Can its probabilities be trusted?",
                    sentence,
                    &chart::calibration(&calibration(scores, right, 10)),
                ));
            }
        }
    }
    cards.concat()
}

/// The confusion matrix of held-out rows.
fn confusion(c: &Classification) -> String {
    let report = &c.report;
    let (html, kept) = matrix(&report.labels, &report.confusion);
    let mut sentence =
        "Each row is what was true, each column what the model said. The diagonal is right."
            .to_owned();
    if kept < report.labels.len() {
        sentence +=
            &format!(" These are the {kept} most frequent of {} answers.", report.labels.len());
    }
    card(report.labels.len() > 4, "What was true, what it said", &sentence, &html)
}

/// A confusion matrix as a heat map, row by row in percent, of the most frequent labels;
/// and how many these are.
pub(super) fn matrix(labels: &[String], counts: &[Vec<u64>]) -> (String, usize) {
    let support = |k: usize| counts[k].iter().sum::<u64>();
    let mut kept: Vec<usize> = (0..labels.len()).collect();
    kept.sort_by_key(|k| std::cmp::Reverse(support(*k)));
    kept.truncate(MATRIX_LABELS);
    kept.sort_unstable();
    let size = if kept.len() <= 3 { "heat roomy" } else { "heat" };
    let mut html = format!(
        "<div class=\"scroll\"><table class=\"{size}\"><thead><tr><th class=\"axis\">truly ↓ predicted →</th>"
    );
    for &k in &kept {
        html += &format!("<th>{}</th>", text(&labels[k]));
    }
    html += "</tr></thead><tbody>";
    for &row in &kept {
        html += &format!("<tr><th>{}</th>", text(&labels[row]));
        for &column in &kept {
            let cell = counts[row][column];
            let share = cell as f64 / support(row).max(1) as f64;
            let class = if share > 0.75 { " class=\"deep\"" } else { "" };
            html += &format!(
                "<td{class} style=\"--share:{share:.3}\"><b>{}</b><small>{}</small></td>",
                count(cell),
                percent(share)
            );
        }
        html += "</tr>";
    }
    html += "</tbody></table></div>";
    (html, kept.len())
}

/// Precision and recall of each answer.
fn answers(c: &Classification) -> String {
    let mut classes = c.report.classes();
    classes.sort_by_key(|class| std::cmp::Reverse(class.support));
    let rows = classes.iter().take(LISTED_LABELS).map(|class| {
        vec![
            text(&class.label),
            count(class.support),
            bar(class.recall),
            bar(class.precision),
            figure(class.f1),
        ]
    });
    let heads = ["Answer", "Cases", "Found (recall)", "Right when said (precision)", "F1"]
        .map(str::to_owned);
    let sentence = "How well each answer is found, the most frequent first.";
    card(true, "Answer by answer", sentence, &table(&heads, &rows.collect::<Vec<_>>()))
}

fn regression(r: &Regression) -> String {
    let close = card(
        false,
        "Predicted against true",
        "Each dot is a case. On the dashed line, the prediction is exactly right.",
        &chart::scatter(&r.truth, &r.predicted),
    );
    let errors = card(
        false,
        "How far off, and which way",
        "Errors should gather around zero. A lean to the left means that the model predicts too little, to the right too much.",
        &chart::residuals(&r.truth, &r.predicted),
    );
    close + &errors
}

/// A few rows with what the model says of them, evenly spread over the file.
pub(super) fn examples(report: &Report<'_>) -> String {
    let rows = report.predictions.len();
    let count = rows.min(EXAMPLES);
    let picked: Vec<usize> = (0..count).map(|n| n * rows / count).collect();
    let (title, sentence) = match rows {
        0 => return String::new(),
        1 => ("The first prediction", "The row, with some of its columns."),
        _ => ("A few predictions", "Rows spread evenly over the file, with some of their columns."),
    };
    card(true, title, sentence, &rows_table(report, &picked))
}

/// The wrong answers that the model was surest of: often it is the data.
pub(super) fn surest_mistakes(report: &Report<'_>) -> Option<String> {
    let truth = report.truth.as_ref()?;
    let sureness =
        |row: usize| report.predictions[row].probability_of(report.predictions[row].label());
    let mut wrong: Vec<(usize, f64)> = (0..report.predictions.len())
        .filter(|&row| {
            !is_missing(truth[row].as_bytes()) && truth[row] != report.predictions[row].label()
        })
        .filter_map(|row| Some((row, sureness(row)?)))
        .collect();
    if wrong.is_empty() {
        return None;
    }
    wrong.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let picked: Vec<usize> = wrong.iter().take(EXAMPLES).map(|(row, _)| *row).collect();
    let sentence = "Where the model was sure and the file says otherwise. Look here first: sometimes the data is wrong, sometimes a column is missing.";
    Some(card(true, "Its surest mistakes", sentence, &rows_table(report, &picked)))
}

fn rows_table(report: &Report<'_>, picked: &[usize]) -> String {
    let held = &report.source.table;
    let shown: Vec<usize> = (0..held.header.len())
        .filter(|&column| held.header.get(column) != Some(report.target))
        .take(EXAMPLE_COLUMNS)
        .collect();
    let cells = |row: &csv::StringRecord| -> Vec<String> {
        shown.iter().map(|&column| text(row.get(column).unwrap_or_default())).collect()
    };
    let mut heads = vec!["Row".to_owned()];
    heads.extend(cells(&held.header));
    heads.push("Predicted".into());
    if report.truth.is_some() {
        heads.push("Actually".into());
    }
    let row = |&index: &usize| {
        let prediction = &report.predictions[index];
        let mut row = vec![count(index as u64 + 1)];
        row.extend(cells(&held.row(index)));
        row.push(match prediction {
            Prediction::Value(value) => figure(*value),
            Prediction::Label { label, .. } => {
                let sure = prediction
                    .probability_of(label)
                    .map_or(String::new(), |p| format!("<br>{}", bar(p)));
                format!("{}{sure}", text(label))
            }
        });
        if let Some(truth) = &report.truth {
            let actual = truth[index].as_str();
            row.push(match prediction {
                _ if is_missing(actual.as_bytes()) => "–".to_owned(),
                Prediction::Value(_) => actual.trim().parse().map_or_else(|_| text(actual), figure),
                Prediction::Label { label, .. } if label == actual => {
                    format!("<span class=\"yes\">✓ {}</span>", text(actual))
                }
                Prediction::Label { .. } => format!("<span class=\"no\">✗ {}</span>", text(actual)),
            });
        }
        row
    };
    table(&heads, &picked.iter().map(row).collect::<Vec<_>>())
}

/// Champion against challenger: the figures, and what followed from them.
pub(super) fn decision(decision: &Decision, comparison: &Comparison) -> String {
    let verdict = match decision.verdict {
        GateVerdict::Deploy => "<span class=\"yes\">✓ deployed</span>",
        GateVerdict::Keep => "<span class=\"no\">✗ kept out</span>",
    };
    let mut facts =
        vec![("This model is", verdict.to_owned()), ("Because", sentence(&decision.reason))];
    if let Some(note) = &decision.note {
        facts.push(("Not on the held-out rows", sentence(note)));
    }
    if let Some(figures) = &decision.figures {
        let named = Metric::named(&figures.metric);
        let show = |value: f64| named.map_or_else(|| figure(value), |metric| shown(metric, value));
        let rows = match figures.basis {
            Basis::HeldOut => {
                format!("{} held-out rows, the same for both", count(comparison.rows))
            }
            Basis::Validation => "the rows that each training set aside".to_owned(),
        };
        let better = if figures.smaller_is_better { "smaller" } else { "larger" };
        facts.push(("Measured by", format!("{}; {better} is better", text(&figures.metric))));
        facts.push(("On", rows));
        facts.push(("This model", show(figures.challenger)));
        let champion = figures.champion.map_or_else(|| "nothing served".to_owned(), show);
        facts.push(("The champion before it", champion));
        facts.extend(figures.baseline.map(|same| ("Always the same answer", show(same))));
        facts.push(("It must be better by", show(figures.margin)));
        facts.extend(figures.minimum.map(|minimum| ("And reach at least", show(minimum))));
    }
    let facts: String =
        facts.iter().map(|(name, fact)| format!("<dt>{name}</dt><dd>{fact}</dd>")).collect();
    format!(
        "<section class=\"card wide\"><h2>Champion or challenger?</h2><dl>{facts}</dl></section>"
    )
}

/// Tells what the model was worth on held-out rows as they came, the newest last.
pub(super) fn trend(trend: &[&Measured], minimum: Option<f64>) -> String {
    let row = |measured: &&Measured| {
        let named = measured.metric.as_deref().and_then(Metric::named);
        let show = |value: f64| named.map_or_else(|| figure(value), |metric| shown(metric, value));
        let below = measured.is_below(minimum);
        let value = match (measured.value, &measured.reason) {
            (Some(value), _) if below => format!("<span class=\"no\">✗ {}</span>", show(value)),
            (Some(value), _) => show(value),
            (None, Some(reason)) => format!("– ({})", text(reason)),
            (None, None) => "–".to_owned(),
        };
        vec![text(&measured.uploaded), count(measured.rows), value]
    };
    let metric = trend.iter().rev().find_map(|measured| measured.metric.as_deref());
    let heads = ["Uploaded".to_owned(), "Rows".into(), text(metric.unwrap_or("Figure"))];
    let mut sentence = "The same model on each file of held-out rows that came while it served. A figure that falls says that the world has moved on: train anew on newer data.".to_owned();
    if let Some(minimum) = minimum {
        sentence += &format!(" No model of this name may fall below {}.", figure(minimum));
    }
    let rows: Vec<_> = trend.iter().map(row).collect();
    card(true, "Is it still as good?", &sentence, &table(&heads, &rows))
}

/// Tells what is strange of the data, as the preflight says; nothing if nothing is.
pub(super) fn data(warnings: &[Warned]) -> String {
    if warnings.is_empty() {
        return String::new();
    }
    let told: String =
        warnings.iter().map(|told| format!("<li>{}</li>", sentence(&told.message))).collect();
    format!(
        "<section class=\"card wide\"><h2>What is strange of the data</h2><p>The figures above are no better than the data. Nothing of this stopped the run.</p><ul>{told}</ul></section>"
    )
}

/// Tells which model this is, and what it was measured on.
pub(super) fn about(report: &Report<'_>) -> String {
    let model = &report.model;
    let code = |raw: &str| format!("<code>{}</code>", text(raw));
    let mut facts: Vec<(&str, String)> = vec![
        ("Model", code(model.run.model.as_str())),
        ("Version (run)", code(model.run.run_id.as_str())),
        ("Predicts", quoted(report.target)),
        ("Candidate", code(model.candidate)),
        ("AutoML job", code(model.job)),
        ("Endpoint", code(model.endpoint)),
    ];
    if let (Some(name), Some(value)) = (&model.score.metric, model.score.value) {
        facts.push((
            "Chosen by",
            format!("{} {} on the validation data", text(name), figure(value)),
        ));
        let metric = Metric::named(name);
        if let Some((metric, held_out)) = metric.and_then(|m| Some((m, report.evaluation?.get(m)?)))
        {
            let verdict = held_up(metric, value, held_out);
            facts.push((
                "On held-out rows",
                format!("{} {}: {verdict}", metric.as_str(), shown(metric, held_out)),
            ));
        }
    }
    let rows = match report.predictions.len() {
        0 => "no rows".to_owned(),
        1 => "1 row".to_owned(),
        rows => format!("{} rows", count(rows as u64)),
    };
    let measured = match report.evaluation.map(|evaluation| evaluation.summary(false)) {
        Some(summary) => {
            let left_out = [
                (summary.unlabelled, "without a true value"),
                (summary.unknown_labels, "with a label that the training data lacks"),
            ];
            let left_out = left_out.into_iter().filter(|(rows, _)| *rows > 0);
            let said = left_out.map(|(rows, why)| {
                format!(", {} of them {why} and not compared", count(rows as u64))
            });
            rows + &said.collect::<String>()
        }
        None => format!("{rows}, not compared"),
    };
    let cut = if report.source.table.truncated {
        "; the file is larger: these are its first rows"
    } else {
        ""
    };
    let place = match report.source.uri.as_str() {
        "" => String::new(),
        uri if report.source.is_set_aside() => {
            format!("rows of {} that were set aside before training<br>", code(uri))
        }
        uri => format!("{}<br>", code(uri)),
    };
    facts.push(("Measured on", format!("{place}{measured}{cut}")));
    let facts: String =
        facts.iter().map(|(name, fact)| format!("<dt>{name}</dt><dd>{fact}</dd>")).collect();
    format!("<section class=\"card wide\"><h2>About this model</h2><dl>{facts}</dl></section>")
}

pub(super) fn charts(evaluation: &Evaluation) -> String {
    match evaluation {
        Evaluation::Classification(c) => classification(c),
        Evaluation::Regression(r) => regression(r),
    }
}
