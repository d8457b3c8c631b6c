//! The cards of what Autopilot itself tells.

use super::html::{bar, card, figure, table, text};
use super::sections::matrix;
use crate::insights::Insights;

/// Columns of which a share is shown.
const COLUMNS: usize = 15;

/// Tells what moves the model's answers, and what else was tried.
pub(super) fn cards(insights: &Insights, metric: Option<&str>, candidate: &str) -> String {
    importance(insights) + &leaderboard(insights, metric, candidate)
}

fn importance(insights: &Insights) -> String {
    if insights.importance.is_empty() {
        return String::new();
    }
    let shown = insights.importance.iter().take(COLUMNS);
    let row = |(column, share): &(String, f64)| vec![text(column), bar(*share)];
    let rows: Vec<_> = shown.map(row).collect();
    let mut sentence = "How much each column moves the model's answers, as a share of all of them (Shapley values, from Autopilot's explainability report). A column that moves answers need not be a cause.".to_owned();
    if let Some(more) = insights.importance.len().checked_sub(COLUMNS + 1) {
        sentence += &format!(" {} more columns move them less.", more + 1);
    }
    card(
        true,
        "What moves its answers",
        &sentence,
        &table(&["Column".into(), "Share".into()], &rows),
    )
}

fn leaderboard(insights: &Insights, metric: Option<&str>, candidate: &str) -> String {
    if insights.leaderboard.len() < 2 {
        return String::new();
    }
    let row = |(name, value): &(String, f64)| {
        let this = if name == candidate { "<span class=\"yes\">✓ this model</span>" } else { "" };
        vec![format!("<code>{}</code>", text(name)), figure(*value), this.to_owned()]
    };
    let rows: Vec<_> = insights.leaderboard.iter().map(row).collect();
    let heads = ["Candidate".to_owned(), text(metric.unwrap_or("Objective")), String::new()];
    let sentence = "The best that the job has tried, by the figure that it chooses by, on rows that training set aside.";
    card(true, "What else was tried", sentence, &table(&heads, &rows))
}

/// Tells how the model did on the rows that training set aside: shown where there are no
/// others, since a choice was made by these.
pub(super) fn validation(insights: &Insights) -> String {
    let Some(confusion) = &insights.validation else { return String::new() };
    let sentence = "On the rows that training set aside, by which this model was chosen: on new rows expect it to do no better. Each row is what was true, each column what the model said.";
    let wide = confusion.labels.len() > 4;
    card(
        wide,
        "What was true, what it said",
        sentence,
        &matrix(&confusion.labels, &confusion.counts).0,
    )
}
