//! Champion or challenger?

use crosspilot_core::decision::{
    Basis, Comparison, Decision, FEWEST_ROWS, Figures, GateVerdict, Score,
};
use crosspilot_core::registry::Serving;
use crosspilot_core::run::RunRef;
use crosspilot_core::settings::Gate;
use crosspilot_metrics::Metric;

/// All that is known about a challenger and the champion.
#[derive(Debug, Clone, Copy)]
pub struct Contest<'a> {
    /// The challenger's run.
    pub run: &'a RunRef,
    /// The gate that the challenger must pass.
    pub gate: Gate,
    /// The challenger's score on its own validation data.
    pub score: &'a Score,
    /// The comparison of both on the held-out rows.
    pub comparison: &'a Comparison,
    /// The champion that serves now; none if nothing does.
    pub champion: Option<&'a Serving>,
}

/// Decides on the held-out rows if both were scored on them, else on validation
/// data, and by the same metric only: numbers of different metrics say nothing
/// about each other, so then the champion stays. The minimum holds for every
/// model, also for the first.
pub fn decide(contest: &Contest<'_>) -> Decision {
    let Contest { run, gate, champion, .. } = *contest;
    if champion.is_some_and(|champion| champion.run == *run) {
        return decision(
            GateVerdict::Deploy,
            "this run's model serves already".to_owned(),
            None,
            None,
        );
    }
    let measured = contest.measured();
    let note = contest.note(&measured);
    let keep = |reason| decision(GateVerdict::Keep, reason, None, note.clone());
    let of_champion = match (&measured, champion) {
        (_, None) => None,
        (None, Some(_)) => {
            return keep("the challenger has no objective metric: the champion stays".to_owned());
        }
        (Some(measured), Some(champion)) => match measured.champion(contest.comparison, champion) {
            Ok(value) => Some(value),
            Err(reason) => return keep(reason),
        },
    };
    let Some(measured) = measured else {
        return match gate.minimum {
            Some(minimum) => keep(format!(
                "the challenger has no number to hold against the minimum of {minimum}: nothing is deployed"
            )),
            None => {
                let reason = "nothing serves yet: the first model is deployed".to_owned();
                decision(GateVerdict::Deploy, reason, None, note)
            }
        };
    };
    let figures = Figures {
        basis: measured.basis,
        metric: measured.metric.clone(),
        smaller_is_better: measured.smaller_is_better,
        challenger: measured.value,
        champion: of_champion,
        baseline: match measured.basis {
            Basis::HeldOut => finite(contest.comparison.baseline),
            Basis::Validation => constant(&measured.metric),
        },
        margin: gate.margin,
        minimum: gate.minimum,
    };
    let (verdict, reason) = verdict(&figures, gate.allow_baseline);
    decision(verdict, reason, Some(figures), note)
}

fn decision(
    verdict: GateVerdict,
    reason: String,
    figures: Option<Figures>,
    note: Option<String>,
) -> Decision {
    Decision { verdict, reason, figures, note }
}

fn verdict(figures: &Figures, allow_baseline: bool) -> (GateVerdict, String) {
    let Figures { metric, challenger: new, margin, smaller_is_better, .. } = figures;
    let rows = match figures.basis {
        Basis::HeldOut => " on the held-out rows",
        Basis::Validation => " on validation data",
    };
    let gain = |from: f64| difference(if *smaller_is_better { (from, *new) } else { (*new, from) });
    let stays = match figures.champion {
        Some(_) => "the champion stays",
        None => "nothing is deployed",
    };
    if let Some(minimum) = figures.minimum.filter(|minimum| gain(*minimum) < 0.0) {
        let reason = format!("{metric} {new:.4}{rows} misses the minimum of {minimum}: {stays}");
        return (GateVerdict::Keep, reason);
    }
    if let Some(baseline) = figures.baseline.filter(|b| !allow_baseline && gain(*b) <= 0.0) {
        let reason = format!(
            "{metric} {new:.4}{rows} is no better than always giving the same answer ({baseline:.4}): {stays}; give columns that tell more, or set gate.allow_baseline to deploy such a model"
        );
        return (GateVerdict::Keep, reason);
    }
    match figures.champion {
        None => {
            let reason = format!(
                "nothing serves yet: the first model is deployed, with {metric} {new:.4}{rows}"
            );
            (GateVerdict::Deploy, reason)
        }
        Some(old) => {
            let deploys = gain(old) > *margin;
            let comparison = match (*margin < 0.0, deploys) {
                (false, true) => format!("beats the champion's {old:.4} by more than {margin}"),
                (false, false) => {
                    format!("does not beat the champion's {old:.4} by more than {margin}")
                }
                (true, true) => format!("is within {} of the champion's {old:.4}", -margin),
                (true, false) => {
                    format!("is worse than the champion's {old:.4} by {} or more", -margin)
                }
            };
            if deploys {
                (GateVerdict::Deploy, format!("{metric} {new:.4}{rows} {comparison}"))
            } else {
                let reason = format!("{metric} {new:.4}{rows} {comparison}: the champion stays");
                (GateVerdict::Keep, reason)
            }
        }
    }
}

/// The difference of two decimal numbers: 0.8 is 0.1 more than 0.7, and not a
/// binary fraction's leftover more than that.
fn difference((from, less): (f64, f64)) -> f64 {
    let plain = from - less;
    // Twelve digits of the larger one: more than any metric is printed with.
    let places = 12_i32.saturating_sub(from.abs().max(less.abs()).log10().floor() as i32);
    match usize::try_from(places) {
        Ok(places @ ..300) => format!("{plain:.places$}").parse().unwrap_or(plain),
        _ => plain,
    }
}

/// A figure of the challenger that can decide.
struct Measured {
    basis: Basis,
    metric: String,
    smaller_is_better: bool,
    value: f64,
}

impl Contest<'_> {
    /// Picks what the challenger is measured by: the held-out rows, unless the champion
    /// was not measured on them.
    fn measured(&self) -> Option<Measured> {
        let Comparison { metric, smaller_is_better, challenger, champion, .. } = self.comparison;
        let both = self.champion.is_none() || finite(*champion).is_some();
        let enough = self.comparison.rows >= FEWEST_ROWS;
        if let (Some(metric), Some(value), true) = (metric, finite(*challenger), both && enough) {
            return Some(Measured {
                basis: Basis::HeldOut,
                metric: metric.clone(),
                smaller_is_better: *smaller_is_better,
                value,
            });
        }
        Some(Measured {
            basis: Basis::Validation,
            metric: self.score.metric.clone()?,
            smaller_is_better: self.score.smaller_is_better,
            value: finite(self.score.value)?,
        })
    }

    /// Says why the held-out rows do not decide.
    fn note(&self, measured: &Option<Measured>) -> Option<String> {
        let by_held_out = measured.as_ref().is_some_and(|m| m.basis == Basis::HeldOut);
        if by_held_out {
            return None;
        }
        let Comparison { metric, rows, reason, .. } = self.comparison;
        if metric.is_some() && *rows < FEWEST_ROWS {
            return Some(format!(
                "only {rows} held-out rows have a true value to compare with, and fewer than {FEWEST_ROWS} decide nothing: give more"
            ));
        }
        reason.clone()
    }
}

impl Measured {
    /// The champion's figure of the same kind.
    fn champion(&self, comparison: &Comparison, champion: &Serving) -> Result<f64, String> {
        let value = match self.basis {
            Basis::HeldOut => comparison.champion,
            Basis::Validation if champion.metric.as_ref() == Some(&self.metric) => champion.value,
            Basis::Validation => {
                let other = champion.metric.as_deref().unwrap_or("no metric");
                return Err(format!(
                    "the challenger was measured by {}, the champion by {other}: the champion stays",
                    self.metric
                ));
            }
        };
        finite(value)
            .ok_or_else(|| format!("{} is not a number for both: the champion stays", self.metric))
    }
}

/// The figure of always giving the same answer, of metrics where it is the same on all rows.
fn constant(metric: &str) -> Option<f64> {
    match Metric::named(metric)? {
        Metric::Auc => Some(0.5),
        Metric::R2 => Some(0.0),
        _ => None,
    }
}

fn finite(value: Option<f64>) -> Option<f64> {
    value.filter(|value| value.is_finite())
}

#[cfg(test)]
mod tests;
