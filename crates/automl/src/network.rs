//! Neural networks: two hidden layers, several networks averaged.

use std::time::Instant;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::budget::Limits;
use crate::dataset::Data;
use crate::dense::{Adam, NO_LEVEL, Rows, Shape, Workspace};
use crate::inputs::Input;
use crate::link::link;
use crate::rng::Rng;

/// How networks are trained.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct NetworkSettings {
    /// Units of each hidden layer.
    pub(crate) hidden: [usize; 2],
    /// Networks that differ by where they start and are averaged.
    pub(crate) networks: usize,
    /// Size of the largest step.
    pub(crate) rate: f32,
    /// Pull of all weights towards zero.
    pub(crate) decay: f32,
    /// Share of the hidden values left out in each step.
    pub(crate) dropped: f32,
    /// Most passes over the rows; of many rows, fewer are enough.
    pub(crate) epochs: usize,
}

/// Rows of one step.
const BATCH: usize = 64;
/// Rows of all passes from which on there are fewer passes, and the fewest.
const ENOUGH_ROWS: usize = 1_000_000;
const MIN_EPOCHS: usize = 8;
/// Passes without a better held-out loss after which training ends.
const PATIENCE: usize = 8;
/// Held-out rows that are looked at after each pass.
const MAX_HELD_OUT: usize = 20_000;
/// Share of the steps in which the step size grows from nothing.
const WARM_UP: f32 = 0.1;
/// Rows that are predicted as one.
const CHUNK: usize = 64;

/// Trained networks of one shape.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Network {
    classes: u32,
    outputs: u32,
    inputs: Vec<Input>,
    shape: Shape,
    /// The numbers of each network.
    networks: Vec<Vec<f32>>,
}

/// One network's training, and when it was best.
struct Course {
    numbers: Vec<f32>,
    epochs: usize,
}

impl Network {
    /// Trains on `train`; `valid` picks the number of passes, or `epochs` gives
    /// it. Returns that number as well.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn fit(
        data: &Data<'_>,
        train: &[u32],
        valid: Option<&[u32]>,
        epochs: Option<f64>,
        settings: &NetworkSettings,
        limits: &Limits<'_>,
        seed: u64,
        gains: &mut [f64],
    ) -> (Self, f64) {
        let inputs: Vec<Input> = (0..data.bins.width)
            .into_par_iter()
            .map(|feature| Input::fit(data, feature, train))
            .collect();
        let outputs = data.target.outputs();
        let (dense, levels) = widths(&inputs);
        let shape = Shape::new(dense, levels, &settings.hidden, outputs);
        let mut model = Self {
            classes: data.target.classes() as u32,
            outputs: outputs as u32,
            inputs,
            shape,
            networks: Vec::new(),
        };
        let rows = model.rows(data.columns, data.extra, train.iter().map(|row| *row as usize));
        let held_out = valid.map(|valid| {
            let step = valid.len().div_ceil(MAX_HELD_OUT).max(1);
            let valid: Vec<u32> = valid.iter().copied().step_by(step).collect();
            let rows = model.rows(data.columns, data.extra, valid.iter().map(|row| *row as usize));
            (valid, rows)
        });
        let held_out = held_out.as_ref().map(|(valid, rows)| (valid.as_slice(), rows));
        let courses: Vec<Course> = (0..settings.networks)
            .into_par_iter()
            .map(|number| {
                let rng = Rng::new(seed, 200 + number as u64);
                model.course(data, (train, &rows), held_out, epochs, settings, limits, rng)
            })
            .collect();
        let mean =
            courses.iter().map(|course| course.epochs as f64).sum::<f64>() / courses.len() as f64;
        for course in courses {
            model.add_reach(&model.shape.reach(&course.numbers), gains);
            model.networks.push(course.numbers);
        }
        (model, mean)
    }

    #[allow(clippy::too_many_arguments)]
    fn course(
        &self,
        data: &Data<'_>,
        (train, rows): (&[u32], &Rows),
        held_out: Option<(&[u32], &Rows)>,
        wanted: Option<f64>,
        settings: &NetworkSettings,
        limits: &Limits<'_>,
        mut rng: Rng,
    ) -> Course {
        let (shape, outputs) = (&self.shape, self.outputs as usize);
        let mut numbers = shape.start(widths(&self.inputs).0, outputs, &mut rng);
        let mut adam = Adam::new(numbers.len());
        let mut slopes = vec![0.0; numbers.len()];
        let mut work = Workspace::new(shape);
        let mut order: Vec<u32> = (0..train.len() as u32).collect();
        let most = settings.epochs.min((ENOUGH_ROWS / train.len().max(1)).max(MIN_EPOCHS));
        let mut last = wanted.map_or(most, |wanted| (wanted.round() as usize).max(1));
        let mut steps = (train.len().div_ceil(BATCH) * most.max(last)) as f32;
        let start = Instant::now();
        let mut best = (f64::INFINITY, Course { numbers: numbers.clone(), epochs: 1 });
        let mut step = 0.0f32;
        let mut epoch = 0;
        'training: while epoch < last {
            epoch += 1;
            rng.shuffle(&mut order);
            for batch in order.chunks(BATCH) {
                if step > 0.0 && limits.is_over() {
                    break 'training;
                }
                let drop = (settings.dropped > 0.0).then_some((settings.dropped, &mut rng));
                let chosen = batch.iter().map(|at| *at as usize);
                let out = work.forward(&numbers, rows, chosen, drop);
                self.slopes(data, batch.iter().map(|at| train[*at as usize]), out);
                work.backward(&numbers, &mut slopes);
                step += 1.0;
                let part = step / steps;
                let rate = match part < WARM_UP {
                    true => part / WARM_UP,
                    false => {
                        0.5 + 0.5
                            * (std::f32::consts::PI * (part - WARM_UP) / (1.0 - WARM_UP)).cos()
                    }
                };
                adam.step(&mut numbers, &slopes, settings.rate * rate.max(0.02), settings.decay);
            }
            if let (1, Some(deadline)) = (epoch, limits.deadline) {
                // Rather a few passes with small steps at the end than many without.
                let left = deadline.saturating_duration_since(Instant::now()).as_secs_f64();
                let fit = 1 + (left / start.elapsed().as_secs_f64().max(1e-9)) as usize;
                if fit < last {
                    steps *= fit as f32 / last as f32;
                    last = fit;
                }
            }
            let Some((valid, rows)) = held_out else { continue };
            let loss = self.loss(data, valid, rows, &numbers, &mut work);
            if loss < best.0 {
                best = (loss, Course { numbers: numbers.clone(), epochs: epoch });
            } else if epoch >= best.1.epochs + PATIENCE {
                break;
            }
        }
        if best.0.is_finite() { best.1 } else { Course { numbers, epochs: last } }
    }

    /// Replaces answers by the slope of the batch's mean loss.
    fn slopes(&self, data: &Data<'_>, rows: impl ExactSizeIterator<Item = u32>, out: &mut [f32]) {
        let outputs = self.outputs as usize;
        let share = 1.0 / rows.len() as f32;
        let (used, padding) = out.split_at_mut(rows.len() * self.shape.outputs());
        padding.fill(0.0);
        for (row, out) in rows.zip(used.chunks_exact_mut(self.shape.outputs())) {
            let (out, padding) = out.split_at_mut(outputs);
            padding.fill(0.0);
            link(self.classes as usize, out);
            let weight = share * data.weight(row) as f32;
            for (output, value) in out.iter_mut().enumerate() {
                *value = weight * (*value - data.target.output(row as usize, output) as f32);
            }
        }
    }

    /// Mean loss of held-out rows.
    fn loss(
        &self,
        data: &Data<'_>,
        valid: &[u32],
        rows: &Rows,
        numbers: &[f32],
        work: &mut Workspace<'_>,
    ) -> f64 {
        let (mut loss, mut total) = (0.0, 0.0);
        for (chunk, valid) in valid.chunks(CHUNK).enumerate() {
            let chosen = (0..valid.len()).map(|at| chunk * CHUNK + at);
            let out = work.forward(numbers, rows, chosen, None);
            for (&row, out) in valid.iter().zip(out.chunks_exact_mut(self.shape.outputs())) {
                let out = &mut out[..self.outputs as usize];
                link(self.classes as usize, out);
                loss += data.weight(row) * data.target.loss(row as usize, out);
                total += data.weight(row);
            }
        }
        if total > 0.0 { loss / total } else { 0.0 }
    }

    /// The inputs of some rows.
    fn rows(
        &self,
        columns: &[Vec<f64>],
        extra: &[Vec<f64>],
        chosen: impl ExactSizeIterator<Item = usize>,
    ) -> Rows {
        let width = self.shape.dense();
        let mut rows = Rows { dense: vec![0.0; chosen.len() * width], ..Rows::default() };
        rows.columns =
            self.inputs.iter().filter(|input| matches!(input, Input::Levels { .. })).count();
        rows.levels.reserve(chosen.len() * rows.columns);
        for (number, row) in chosen.enumerate() {
            let (mut at, mut level) = (number * width, 0);
            for (input, column) in self.inputs.iter().zip(columns.iter().chain(extra)) {
                let value = column[row];
                match input {
                    Input::Number { .. } => {
                        input.write(value, &mut rows.dense[at..at + input.width()]);
                        at += input.width();
                    }
                    Input::Levels { .. } => {
                        rows.levels.push(
                            input.level(value).map_or(NO_LEVEL, |input| level + u32::from(input)),
                        );
                        level += input.width() as u32;
                    }
                }
            }
        }
        rows
    }

    pub(crate) fn predict(&self, columns: &[Vec<f64>], extra: &[Vec<f64>], out: &mut [f32]) {
        let outputs = self.outputs as usize;
        out.fill(0.0);
        let share = 1.0 / self.networks.len() as f32;
        let mut work = Workspace::new(&self.shape);
        for (chunk, out) in out.chunks_mut(CHUNK * outputs).enumerate() {
            let count = out.len() / outputs;
            let rows = self.rows(columns, extra, (0..count).map(|at| chunk * CHUNK + at));
            for numbers in &self.networks {
                let answers = work.forward(numbers, &rows, 0..count, None);
                for (out, answer) in out
                    .chunks_exact_mut(outputs)
                    .zip(answers.chunks_exact_mut(self.shape.outputs()))
                {
                    let answer = &mut answer[..outputs];
                    link(self.classes as usize, answer);
                    out.iter_mut().zip(answer).for_each(|(sum, value)| *sum += share * *value);
                }
            }
        }
    }

    /// Adds what each input can do to the gain of its feature.
    fn add_reach(&self, reach: &[f64], gains: &mut [f64]) {
        let (mut dense, mut level) = (0, self.shape.dense());
        for (gain, input) in gains.iter_mut().zip(&self.inputs) {
            let (at, share) = match input {
                Input::Number { .. } => (&mut dense, 1.0),
                // One of many is 1 in a row.
                Input::Levels { .. } => (&mut level, 1.0 / (input.width().max(1) as f64).sqrt()),
            };
            *gain += share * reach[*at..*at + input.width()].iter().sum::<f64>();
            *at += input.width();
        }
    }

    pub(crate) fn is_sound(&self, outputs: usize, classes: usize, width: usize) -> bool {
        let (dense, levels) = widths(&self.inputs);
        self.classes as usize == classes
            && self.outputs as usize == outputs
            && self.inputs.len() == width
            && self.inputs.iter().all(Input::is_sound)
            && self.shape.is_sound(dense, levels, outputs)
            && !self.networks.is_empty()
            && self.networks.iter().all(|numbers| {
                numbers.len() == self.shape.size() && numbers.iter().all(|w| w.is_finite())
            })
    }
}

/// How many inputs are numbers, and how many are levels.
fn widths(inputs: &[Input]) -> (usize, usize) {
    inputs.iter().fold((0, 0), |(dense, levels), input| match input {
        Input::Number { .. } => (dense + input.width(), levels),
        Input::Levels { .. } => (dense, levels + input.width()),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::encode::{Encoder, Fineness};
    use crate::schema::Feature;
    use crate::target::Target;

    const FINE: Fineness = Fineness { numbers: 255, levels: 255 };
    const SETTINGS: NetworkSettings = NetworkSettings {
        hidden: [16, 8],
        networks: 2,
        rate: 0.01,
        decay: 0.01,
        dropped: 0.1,
        epochs: 40,
    };

    /// Fits on 600 rows of two numbers, with gaps, and a category.
    fn fit(target: impl Fn(f64, f64, usize) -> u32) -> (Network, Vec<Vec<f64>>, Vec<u32>) {
        let mut rng = Rng::new(1, 1);
        let (mut columns, mut labels) = (vec![Vec::new(); 3], Vec::new());
        for _ in 0..600 {
            let (a, b) = (2.0 * rng.unit() - 1.0, 2.0 * rng.unit() - 1.0);
            let level = rng.below(4);
            labels.push(target(a, b, level));
            columns[0].push(a);
            columns[1].push(if rng.below(10) == 0 { f64::NAN } else { 1e6 * b });
            columns[2].push(level as f64);
        }
        let rows: Vec<u32> = (0..600).collect();
        let feature = |source| Feature { source, levels: (source == 2).then_some(4) };
        let features: Vec<Feature> = (0..3).map(feature).collect();
        let target = Target::Class { count: 3, labels: labels.clone() };
        let (encoder, extra, bins) = Encoder::fit(&features, &columns, &target, &rows, FINE);
        let data = Data {
            bins: &bins,
            is_level: &encoder.is_level(),
            columns: &columns,
            extra: &extra,
            target: &target,
            weights: None,
        };
        let (stop, mut gains) = (AtomicBool::new(false), vec![0.0; 3]);
        let limits = Limits { deadline: None, stop: &stop };
        let (train, valid) = rows.split_at(450);
        let (model, epochs) =
            Network::fit(&data, train, Some(valid), None, &SETTINGS, &limits, 5, &mut gains);
        assert!(epochs >= 1.0 && gains.iter().all(|gain| *gain > 0.0));
        (model, columns, labels)
    }

    #[test]
    fn what_no_line_can_tell_apart_is_learned() {
        // The sign of a product, and one level that settles everything.
        let (model, columns, labels) =
            fit(|a, b, level| if level == 3 { 2 } else { u32::from(a * b > 0.0) });
        assert!(model.is_sound(3, 3, 3) && !model.is_sound(1, 2, 3));
        let mut out = vec![0.0; 3 * labels.len()];
        model.predict(&columns, &[], &mut out);
        let right = out.chunks_exact(3).zip(&labels).filter(|(row, label)| {
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-4);
            row.iter().all(|p| *p <= row[**label as usize])
        });
        assert!(right.count() > 530);
    }

    #[test]
    fn an_answer_does_not_depend_on_the_rows_around_it() {
        let (model, columns, _) = fit(|a, _, level| u32::from(a > 0.2) + u32::from(level == 1));
        let mut all = vec![0.0; 3 * 600];
        model.predict(&columns, &[], &mut all);
        let one: Vec<Vec<f64>> = columns.iter().map(|column| vec![column[417]]).collect();
        let mut alone = [0.0; 3];
        model.predict(&one, &[], &mut alone);
        assert_eq!(alone, all[3 * 417..3 * 418]);
    }
}
