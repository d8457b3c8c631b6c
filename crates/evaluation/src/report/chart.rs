//! Charts as inline SVG: numbers in, markup out. They hold no text but numbers
//! and the axis titles given here, so there is nothing to escape.

use std::fmt::Write;

use crosspilot_metrics::{CalibrationBin, RocPoint};

use super::html::figure;

const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 330.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 494.0;
const TOP: f64 = 32.0;
const BOTTOM: f64 = 282.0;

/// One direction of a chart.
struct Axis {
    title: &'static str,
    low: f64,
    high: f64,
    /// The positions of the grid lines, with their names.
    ticks: Vec<(f64, String)>,
}

impl Axis {
    /// From `low` to `high` in percent.
    fn percent(title: &'static str, high: f64) -> Self {
        let ticks = steps(0.0, high)
            .into_iter()
            .map(|tick| (tick, format!("{}%", name(tick * 100.0))))
            .collect();
        Self { title, low: 0.0, high, ticks }
    }

    /// In the data's own unit, with a little room at both ends.
    fn number(title: &'static str, low: f64, high: f64) -> Self {
        let room = if high > low { (high - low) * 0.03 } else { low.abs().max(1.0) * 0.1 };
        let (low, high) = ((low - room).max(f64::MIN), (high + room).min(f64::MAX));
        let ticks = steps(low, high).into_iter().map(|tick| (tick, name(tick))).collect();
        Self { title, low, high, ticks }
    }

    /// Places a value: 0 at the low end, 1 at the high one.
    fn place(&self, value: f64) -> f64 {
        // Halved first: the span of the largest numbers has no number itself.
        let place = (value / 2.0 - self.low / 2.0) / (self.high / 2.0 - self.low / 2.0);
        if place.is_finite() { place.clamp(0.0, 1.0) } else { 0.5 }
    }
}

/// A tick's name: without the zeros that other figures keep.
fn name(tick: f64) -> String {
    let name = figure(tick);
    match name.contains('.') && !name.contains('e') {
        true => name.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => name,
    }
}

/// Round numbers between two, about five of them.
fn steps(low: f64, high: f64) -> Vec<f64> {
    let span = high - low;
    if !span.is_finite() || span <= 0.0 {
        return vec![low];
    }
    let raw = span / 5.0;
    let power = 10_f64.powf(raw.log10().floor());
    let step =
        [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|m| m * power).find(|step| *step >= raw * 0.999);
    let step = step.unwrap_or(raw);
    let first = (low / step - 1e-9).ceil();
    (0..12)
        .map(|n| (first + f64::from(n)) * step)
        .take_while(|tick| *tick <= high + step * 1e-9)
        .map(|tick| tick + 0.0)
        .collect()
}

/// A chart under construction.
struct Chart {
    x: Axis,
    y: Axis,
    svg: String,
}

impl Chart {
    fn new(name: &str, x: Axis, y: Axis) -> Self {
        let mut chart = Self { x, y, svg: String::new() };
        let mut svg =
            format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{name}\">");
        for (tick, label) in &chart.y.ticks {
            let y = chart.py(*tick);
            let below = y + 4.0;
            let _ = write!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/><text x=\"{:.1}\" y=\"{below:.1}\" text-anchor=\"end\">{label}</text>",
                LEFT - 8.0
            );
        }
        for (tick, label) in &chart.x.ticks {
            let x = chart.px(*tick);
            let _ = write!(
                svg,
                "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{BOTTOM}\"/><text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
                BOTTOM + 18.0
            );
        }
        let _ = write!(
            svg,
            "<text class=\"title\" x=\"{RIGHT}\" y=\"{:.1}\" text-anchor=\"end\">{} →</text><text class=\"title\" x=\"{:.1}\" y=\"14\">↑ {}</text>",
            HEIGHT - 8.0,
            chart.x.title,
            LEFT - 8.0,
            chart.y.title
        );
        chart.svg = svg;
        chart
    }

    fn px(&self, x: f64) -> f64 {
        LEFT + self.x.place(x) * (RIGHT - LEFT)
    }

    fn py(&self, y: f64) -> f64 {
        BOTTOM - self.y.place(y) * (BOTTOM - TOP)
    }

    /// Points as SVG writes them.
    fn points(&self, points: impl IntoIterator<Item = (f64, f64)>) -> String {
        points.into_iter().map(|(x, y)| format!("{:.1},{:.1} ", self.px(x), self.py(y))).collect()
    }

    fn line(&mut self, class: &str, points: &[(f64, f64)]) {
        let points = self.points(points.iter().copied());
        let _ = write!(self.svg, "<polyline class=\"{class}\" points=\"{points}\"/>");
    }

    fn area(&mut self, points: &[(f64, f64)]) {
        let (Some(first), Some(last)) = (points.first(), points.last()) else { return };
        let closed = points.iter().copied().chain([(last.0, self.y.low), (first.0, self.y.low)]);
        let points = self.points(closed);
        let _ = write!(self.svg, "<polygon class=\"area\" points=\"{points}\"/>");
    }

    fn dot(&mut self, class: &str, radius: f64, x: f64, y: f64) {
        let (x, y) = (self.px(x), self.py(y));
        let _ = write!(
            self.svg,
            "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\"/>"
        );
    }

    /// Bars of equal width over the whole of x; `part` of `parts` beside each
    /// other.
    fn bars(&mut self, class: &str, heights: &[f64], part: usize, parts: usize) {
        let width = (RIGHT - LEFT) / heights.len().max(1) as f64;
        let bar = (width - 2.0) / parts as f64;
        for (index, height) in heights.iter().enumerate().filter(|(_, height)| **height > 0.0) {
            let x = LEFT + 1.0 + index as f64 * width + part as f64 * bar;
            let y = self.py(*height);
            let _ = write!(
                self.svg,
                "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{bar:.1}\" height=\"{:.1}\" rx=\"1.5\"/>",
                BOTTOM - y
            );
        }
    }

    fn done(mut self) -> String {
        self.svg.push_str("</svg>");
        self.svg
    }
}

/// The ROC curve over the diagonal of a coin toss, with its area.
pub(super) fn roc(points: &[RocPoint], auc: f64) -> String {
    let x = Axis::percent("false alarms, of all negatives", 1.0);
    let mut chart = Chart::new("ROC curve", x, Axis::percent("found, of all positives", 1.0));
    let points: Vec<_> =
        points.iter().map(|p| (p.false_positive_rate, p.true_positive_rate)).collect();
    chart.area(&points);
    chart.line("guide", &[(0.0, 0.0), (1.0, 1.0)]);
    chart.line("line", &points);
    let _ = write!(
        chart.svg,
        "<text class=\"big\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">AUC {}</text>",
        RIGHT - 14.0,
        BOTTOM - 18.0,
        figure(auc)
    );
    chart.done()
}

/// Predicted against observed shares.
pub(super) fn calibration(bins: &[CalibrationBin]) -> String {
    let x = Axis::percent("what the model says", 1.0);
    let mut chart = Chart::new("Calibration", x, Axis::percent("how often it is so", 1.0));
    chart.line("guide", &[(0.0, 0.0), (1.0, 1.0)]);
    let points: Vec<_> = bins.iter().map(|bin| (bin.predicted, bin.observed)).collect();
    chart.line("line", &points);
    for (x, y) in points {
        chart.dot("dot", 4.5, x, y);
    }
    chart.done()
}

/// Draws how scores from 0 to 1 spread, in two groups side by side: those where
/// `second` is false, then those where it is true.
pub(super) fn two_histograms(title: &'static str, scores: &[f64], second: &[bool]) -> String {
    const BINS: usize = 20;
    let shares = |wanted: bool| {
        let mut bins = [0.0; BINS];
        let mut total = 0.0;
        for (score, _) in scores.iter().zip(second).filter(|(_, second)| **second == wanted) {
            bins[((score * BINS as f64) as usize).min(BINS - 1)] += 1.0;
            total += 1.0;
        }
        bins.map(|bin| if total > 0.0 { bin / total } else { 0.0 })
    };
    let (first, second) = (shares(false), shares(true));
    let highest = first.iter().chain(&second).copied().fold(0.0, f64::max);
    let y = Axis::percent("share of its rows", (highest * 1.05).clamp(0.05, 1.0));
    let mut chart = Chart::new("Distribution of scores", Axis::percent(title, 1.0), y);
    chart.bars("b", &first, 0, 2);
    chart.bars("a", &second, 1, 2);
    chart.done()
}

/// Predicted against true numbers, thinned to what an eye can tell apart.
pub(super) fn scatter(truth: &[f64], predicted: &[f64]) -> String {
    const DOTS: usize = 1500;
    let (low, high) = bounds(truth.iter().chain(predicted));
    let (x, y) =
        (Axis::number("true value", low, high), Axis::number("predicted value", low, high));
    let mut chart = Chart::new("Predicted against true values", x, y);
    chart.line("guide", &[(low, low), (high, high)]);
    let stride = truth.len().div_ceil(DOTS).max(1);
    for (&truth, &predicted) in truth.iter().zip(predicted).step_by(stride) {
        chart.dot("faint", 3.0, truth, predicted);
    }
    chart.done()
}

/// Draws how far predictions are off. The rare ones beyond the edges are in the
/// outermost bars.
pub(super) fn residuals(truth: &[f64], predicted: &[f64]) -> String {
    const BINS: usize = 31;
    let errors: Vec<f64> = predicted.iter().zip(truth).map(|(p, t)| p - t).collect();
    let mut sizes: Vec<f64> = errors.iter().map(|error| error.abs()).collect();
    sizes.sort_unstable_by(f64::total_cmp);
    let reach = sizes.get(sizes.len().saturating_sub(1) * 99 / 100).copied().unwrap_or(1.0);
    let reach = if reach > 0.0 && reach < f64::MAX { reach } else { 1.0 };
    let mut bins = [0.0; BINS];
    for error in &errors {
        let place = (error / reach + 1.0) / 2.0;
        bins[((place.clamp(0.0, 1.0) * BINS as f64) as usize).min(BINS - 1)] +=
            1.0 / errors.len() as f64;
    }
    let highest = bins.iter().copied().fold(0.0, f64::max);
    let ticks = steps(-reach, reach).into_iter().map(|tick| (tick, name(tick))).collect();
    let x = Axis { title: "predicted − true", low: -reach, high: reach, ticks };
    let y = Axis::percent("share of rows", (highest * 1.05).clamp(0.01, 1.0));
    let top = y.high;
    let mut chart = Chart::new("Errors", x, y);
    chart.bars("a", &bins, 0, 1);
    chart.line("guide", &[(0.0, 0.0), (0.0, top)]);
    chart.done()
}

fn bounds<'a>(values: impl Iterator<Item = &'a f64>) -> (f64, f64) {
    let (low, high) =
        values.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(*value), high.max(*value)));
    if low <= high { (low, high) } else { (0.0, 1.0) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn steps_are_round() {
        assert_eq!(steps(0.0, 1.0), [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]);
        assert_eq!(steps(-7.0, 31.0), [0.0, 10.0, 20.0, 30.0]);
        assert_eq!(steps(3.0, 3.0), [3.0]);
    }

    #[test]
    fn the_largest_numbers_have_room() {
        let svg = scatter(&[f64::MIN], &[f64::MIN]);
        assert!(!svg.contains("inf") && !svg.contains("NaN"), "{svg}");
    }

    proptest! {
        #[test]
        fn every_chart_is_closed_and_finite(rows in proptest::collection::vec((any::<f64>(), 0.0..=1.0_f64, any::<bool>()), 0..40)) {
            let finite = |value: f64| if value.is_finite() { value } else { 0.0 };
            let truth: Vec<f64> = rows.iter().map(|row| finite(row.0)).collect();
            let scores: Vec<f64> = rows.iter().map(|row| row.1).collect();
            let flags: Vec<bool> = rows.iter().map(|row| row.2).collect();
            for svg in [
                scatter(&truth, &scores),
                residuals(&truth, &scores),
                two_histograms("x", &scores, &flags),
                roc(&crosspilot_metrics::roc_curve(&scores, &flags, 50), 0.5),
                calibration(&crosspilot_metrics::calibration(&scores, &flags, 10)),
            ] {
                prop_assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>"));
                prop_assert!(!svg.contains("NaN") && !svg.contains("inf"), "{}", svg);
            }
        }
    }
}
