//! The order of a leaderboard, and which of its candidates wins.

use crosspilot_metrics::{Direction, Metric};

use crate::leaderboard::Candidate;
use crate::settings::Algorithm;

/// Sorts candidates by the wanted metric, best first. Equals are told apart by how sure
/// they are of what is true.
pub(crate) fn order(a: &Candidate, b: &Candidate, metric: Metric) -> std::cmp::Ordering {
    let key = |candidate: &Candidate| match metric.direction() {
        Direction::Maximize => -candidate.objective,
        Direction::Minimize => candidate.objective,
    };
    let log_loss = |candidate: &Candidate| candidate.metric(Metric::LogLoss).unwrap_or(0.0);
    key(a).total_cmp(&key(b)).then_with(|| log_loss(a).total_cmp(&log_loss(b)))
}

/// Picks the winner of sorted (algorithm, objective) pairs, by its position: the ensemble,
/// unless the first is better by more than one standard error. The first of many is partly
/// lucky in the held-out rows; a weighted mean of several is less so.
pub(crate) fn winner(ranked: &[(Algorithm, f64)], metric: Metric, rows: usize) -> usize {
    let ensemble =
        ranked.iter().position(|(algorithm, _)| *algorithm == Algorithm::WeightedEnsemble);
    let (Some(at), Some((_, first))) = (ensemble, ranked.first()) else { return 0 };
    let own = ranked[at].1;
    let lead = metric.improvement(own, *first);
    if lead <= standard_error(metric, own, rows) { at } else { 0 }
}

/// The standard error of a metric measured on `rows` rows: of a share as of tosses of a
/// coin, of an error as of normally distributed ones.
fn standard_error(metric: Metric, value: f64, rows: usize) -> f64 {
    let rows = rows.max(1) as f64;
    match metric {
        Metric::R2 => (1.0 - value) * (2.0 / rows).sqrt(),
        _ if metric.direction() == Direction::Minimize => value * (2.0 / rows).sqrt(),
        _ => {
            let share = value.clamp(0.0, 1.0);
            (share * (1.0 - share) / rows).sqrt()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENSEMBLE: Algorithm = Algorithm::WeightedEnsemble;
    const BOOSTING: Algorithm = Algorithm::GradientBoosting;

    #[test]
    fn the_ensemble_wins_unless_a_candidate_is_clearly_better() {
        // The standard error of 90 % right in 900 rows is 1 %.
        let accuracy = |ensemble: f64, rows: usize| {
            let ranked = [(BOOSTING, 0.909), (BOOSTING, 0.905), (ENSEMBLE, ensemble)];
            winner(&ranked, Metric::Accuracy, rows)
        };
        assert_eq!(accuracy(0.9, 900), 2);
        assert_eq!(accuracy(0.895, 900), 0);
        // What may be luck in 900 rows is none in 90,000.
        assert_eq!(accuracy(0.9, 90_000), 0);
        assert_eq!(winner(&[(BOOSTING, 1.0), (ENSEMBLE, 1.0)], Metric::Accuracy, 500), 1);
    }

    #[test]
    fn errors_and_determination_have_standard_errors_of_their_own() {
        // 10 % of a mean squared error in 200 rows, and of what R2 leaves open.
        let mse = |first: f64| winner(&[(BOOSTING, first), (ENSEMBLE, 50.0)], Metric::Mse, 200);
        assert_eq!((mse(46.0), mse(44.0)), (1, 0));
        let r2 = |first: f64| winner(&[(BOOSTING, first), (ENSEMBLE, 0.5)], Metric::R2, 200);
        assert_eq!((r2(0.54), r2(0.56)), (1, 0));
    }

    #[test]
    fn without_an_ensemble_the_first_wins() {
        assert_eq!(winner(&[(BOOSTING, 0.9), (Algorithm::Linear, 0.8)], Metric::Auc, 100), 0);
    }
}
