//! Neural networks: two hidden layers, several networks averaged.

use std::time::Instant;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::features::dataset::Data;
use crate::features::inputs::Input;
use crate::learners::fit::{Complexity, Fit, FitContext, Stopping};
use crate::learners::link::link;
use crate::learners::network::adam::Adam;
use crate::learners::network::layers::{Activations, Layout, NO_CATEGORY, Rows};
use crate::rng::Rng;

/// The settings of a network's training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct NetworkSettings {
    /// Units of each hidden layer.
    pub(crate) hidden: [usize; 2],
    /// Networks that differ by where they start and are averaged.
    pub(crate) networks: usize,
    /// The learning rate after warm-up; from there it follows half a cosine.
    pub(crate) learning_rate: f32,
    pub(crate) weight_decay: f32,
    /// Share of the hidden values left out in each step.
    pub(crate) dropout: f32,
    /// Most passes over the rows; of many rows, fewer are enough.
    pub(crate) epochs: usize,
}

/// Rows of one step.
const BATCH: usize = 64;
/// Rows of all epochs from which on there are fewer epochs, and the fewest.
const ENOUGH_ROWS: usize = 1_000_000;
const MIN_EPOCHS: usize = 8;
/// Epochs without a better held-out loss after which training ends.
const PATIENCE: usize = 8;
/// Held-out rows that are looked at after each epoch.
const MAX_HELD_OUT: usize = 20_000;
/// Share of the steps in which the learning rate grows from nothing.
const WARM_UP: f32 = 0.1;
/// Least share of the learning rate.
const MIN_SHARE: f32 = 0.02;
/// Rows that are predicted as one.
const CHUNK: usize = 64;

/// Trained networks of one shape.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Network {
    classes: u32,
    outputs: u32,
    inputs: Vec<Input>,
    layout: Layout,
    /// The parameters of each network.
    networks: Vec<Vec<f32>>,
}

/// The parameters of one network, and after how many epochs they were best.
struct Trained {
    parameters: Vec<f32>,
    epochs: usize,
}

/// The rows of one fit as the networks read them.
struct Batches {
    train: Rows,
    /// Held-out rows, some of very many.
    held_out: Option<(Vec<u32>, Rows)>,
}

impl Network {
    /// Trains several networks. Held-out rows, if there are any, pick the number of epochs;
    /// without them it is that of earlier fits.
    pub(crate) fn fit(settings: &NetworkSettings, context: &FitContext<'_>) -> Fit<Self> {
        let FitContext { data, train, seed, .. } = *context;
        let inputs: Vec<Input> = (0..data.bins.width)
            .into_par_iter()
            .map(|feature| Input::fit(data, feature, train))
            .collect();
        let outputs = data.target.outputs();
        let (dense, one_hot) = widths(&inputs);
        let layout = Layout::new(dense, one_hot, &settings.hidden, outputs);
        let mut model = Self {
            classes: data.target.classes() as u32,
            outputs: outputs as u32,
            inputs,
            layout,
            networks: Vec::new(),
        };
        let read = |rows: &[u32]| {
            model.rows(data.columns, data.encodings, rows.iter().map(|row| *row as usize))
        };
        let held_out = context.held_out().map(|rows| {
            let step = rows.len().div_ceil(MAX_HELD_OUT).max(1);
            let rows: Vec<u32> = rows.iter().copied().step_by(step).collect();
            let read = read(&rows);
            (rows, read)
        });
        let batches = Batches { train: read(train), held_out };
        let trained: Vec<Trained> = (0..settings.networks)
            .into_par_iter()
            .map(|number| {
                let rng = Rng::new(seed, 200 + number as u64);
                model.train(settings, context, &batches, rng)
            })
            .collect();
        let epochs =
            trained.iter().map(|one| one.epochs as f64).sum::<f64>() / trained.len() as f64;
        let mut importance = vec![0.0; data.bins.width];
        for Trained { parameters, .. } in trained {
            model.add_influence(&model.layout.influence(&parameters), &mut importance);
            model.networks.push(parameters);
        }
        Fit { model, complexity: Complexity::Epochs(epochs), importance }
    }

    /// Trains one network.
    fn train(
        &self,
        settings: &NetworkSettings,
        context: &FitContext<'_>,
        batches: &Batches,
        mut rng: Rng,
    ) -> Trained {
        let FitContext { data, train, limits, .. } = *context;
        let (layout, outputs) = (&self.layout, self.outputs as usize);
        let mut parameters = layout.start(widths(&self.inputs).0, outputs, &mut rng);
        let mut adam = Adam::new(parameters.len());
        let mut gradients = vec![0.0; parameters.len()];
        let mut activations = Activations::new(layout);
        let mut order: Vec<u32> = (0..train.len() as u32).collect();
        let most = settings.epochs.min((ENOUGH_ROWS / train.len().max(1)).max(MIN_EPOCHS));
        let mut last = match context.stopping {
            Stopping::Fixed(Complexity::Epochs(epochs)) => (epochs.round() as usize).max(1),
            _ => most,
        };
        let mut steps = (train.len().div_ceil(BATCH) * most.max(last)) as f32;
        let start = Instant::now();
        let mut best = (f64::INFINITY, Trained { parameters: parameters.clone(), epochs: 1 });
        let mut step = 0.0f32;
        let mut epoch = 0;
        'training: while epoch < last {
            epoch += 1;
            rng.shuffle(&mut order);
            for batch in order.chunks(BATCH) {
                if step > 0.0 && limits.is_over() {
                    break 'training;
                }
                let dropout = (settings.dropout > 0.0).then_some((settings.dropout, &mut rng));
                let chosen = batch.iter().map(|at| *at as usize);
                let out = activations.forward(&parameters, &batches.train, chosen, dropout);
                self.loss_gradients(data, batch.iter().map(|at| train[*at as usize]), out);
                activations.backward(&parameters, &mut gradients);
                step += 1.0;
                let learning_rate = settings.learning_rate * schedule(step / steps);
                adam.step(&mut parameters, &gradients, learning_rate, settings.weight_decay);
            }
            if let (1, Some(deadline)) = (epoch, limits.deadline) {
                // Rather a few epochs with small steps at the end than many without.
                let left = deadline.saturating_duration_since(Instant::now()).as_secs_f64();
                let fit = 1 + (left / start.elapsed().as_secs_f64().max(1e-9)) as usize;
                if fit < last {
                    steps *= fit as f32 / last as f32;
                    last = fit;
                }
            }
            let Some((held_out, rows)) = &batches.held_out else { continue };
            let loss = self.loss(data, held_out, rows, &parameters, &mut activations);
            if loss < best.0 {
                best = (loss, Trained { parameters: parameters.clone(), epochs: epoch });
            } else if epoch >= best.1.epochs + PATIENCE {
                break;
            }
        }
        if best.0.is_finite() { best.1 } else { Trained { parameters, epochs: last } }
    }

    /// Replaces answers by the gradient of the batch's mean loss.
    fn loss_gradients(
        &self,
        data: &Data<'_>,
        rows: impl ExactSizeIterator<Item = u32>,
        out: &mut [f32],
    ) {
        let outputs = self.outputs as usize;
        let share = 1.0 / rows.len() as f32;
        let (used, padding) = out.split_at_mut(rows.len() * self.layout.outputs());
        padding.fill(0.0);
        for (row, out) in rows.zip(used.chunks_exact_mut(self.layout.outputs())) {
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
        parameters: &[f32],
        activations: &mut Activations<'_>,
    ) -> f64 {
        let (mut loss, mut total) = (0.0, 0.0);
        for (chunk, valid) in valid.chunks(CHUNK).enumerate() {
            let chosen = (0..valid.len()).map(|at| chunk * CHUNK + at);
            let out = activations.forward(parameters, rows, chosen, None);
            for (&row, out) in valid.iter().zip(out.chunks_exact_mut(self.layout.outputs())) {
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
        encodings: &[Vec<f64>],
        chosen: impl ExactSizeIterator<Item = usize>,
    ) -> Rows {
        let width = self.layout.dense();
        let mut rows = Rows { dense: vec![0.0; chosen.len() * width], ..Rows::default() };
        rows.columns =
            self.inputs.iter().filter(|input| matches!(input, Input::OneHot { .. })).count();
        rows.categories.reserve(chosen.len() * rows.columns);
        for (number, row) in chosen.enumerate() {
            let (mut at, mut offset) = (number * width, 0);
            for (input, column) in self.inputs.iter().zip(columns.iter().chain(encodings)) {
                let value = column[row];
                match input {
                    Input::Standardized { .. } => {
                        input.write(value, &mut rows.dense[at..at + input.width()]);
                        at += input.width();
                    }
                    Input::OneHot { .. } => {
                        rows.categories.push(
                            input
                                .category(value)
                                .map_or(NO_CATEGORY, |input| offset + u32::from(input)),
                        );
                        offset += input.width() as u32;
                    }
                }
            }
        }
        rows
    }

    pub(crate) fn predict(&self, columns: &[Vec<f64>], encodings: &[Vec<f64>], out: &mut [f32]) {
        let outputs = self.outputs as usize;
        out.fill(0.0);
        let share = 1.0 / self.networks.len() as f32;
        let mut activations = Activations::new(&self.layout);
        for (chunk, out) in out.chunks_mut(CHUNK * outputs).enumerate() {
            let count = out.len() / outputs;
            let rows = self.rows(columns, encodings, (0..count).map(|at| chunk * CHUNK + at));
            for parameters in &self.networks {
                let answers = activations.forward(parameters, &rows, 0..count, None);
                for (out, answer) in out
                    .chunks_exact_mut(outputs)
                    .zip(answers.chunks_exact_mut(self.layout.outputs()))
                {
                    let answer = &mut answer[..outputs];
                    link(self.classes as usize, answer);
                    out.iter_mut().zip(answer).for_each(|(sum, value)| *sum += share * *value);
                }
            }
        }
    }

    /// Adds the influence of each input to the importance of its feature.
    fn add_influence(&self, influence: &[f64], importance: &mut [f64]) {
        let (mut dense, mut one_hot) = (0, self.layout.dense());
        for (sum, input) in importance.iter_mut().zip(&self.inputs) {
            let (at, share) = match input {
                Input::Standardized { .. } => (&mut dense, 1.0),
                // One of many is 1 in a row.
                Input::OneHot { .. } => (&mut one_hot, 1.0 / (input.width().max(1) as f64).sqrt()),
            };
            *sum += share * influence[*at..*at + input.width()].iter().sum::<f64>();
            *at += input.width();
        }
    }

    pub(crate) fn is_sound(&self, outputs: usize, classes: usize, width: usize) -> bool {
        let (dense, one_hot) = widths(&self.inputs);
        self.classes as usize == classes
            && self.outputs as usize == outputs
            && self.inputs.len() == width
            && self.inputs.iter().all(Input::is_sound)
            && self.layout.is_sound(dense, one_hot, outputs)
            && !self.networks.is_empty()
            && self.networks.iter().all(|parameters| {
                parameters.len() == self.layout.size() && parameters.iter().all(|w| w.is_finite())
            })
    }
}

/// The share of the learning rate at a part of all steps: it warms up, then follows half
/// a cosine down.
fn schedule(part: f32) -> f32 {
    let share = match part < WARM_UP {
        true => part / WARM_UP,
        false => 0.5 + 0.5 * (std::f32::consts::PI * (part - WARM_UP) / (1.0 - WARM_UP)).cos(),
    };
    share.max(MIN_SHARE)
}

/// Counts the inputs that are numbers, and those that are one-hot.
fn widths(inputs: &[Input]) -> (usize, usize) {
    inputs.iter().fold((0, 0), |(dense, one_hot), input| match input {
        Input::Standardized { .. } => (dense + input.width(), one_hot),
        Input::OneHot { .. } => (dense, one_hot + input.width()),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::features::binning::MaxBins;
    use crate::features::encoder::Encoder;
    use crate::learners::limits::Limits;
    use crate::table::schema::Feature;
    use crate::table::target::Target;

    const FINE: MaxBins = MaxBins { numbers: 255, categories: 255 };
    const SETTINGS: NetworkSettings = NetworkSettings {
        hidden: [16, 8],
        networks: 2,
        learning_rate: 0.01,
        weight_decay: 0.01,
        dropout: 0.1,
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
        let feature = |source| Feature { source, categories: (source == 2).then_some(4) };
        let features: Vec<Feature> = (0..3).map(feature).collect();
        let target = Target::Class { count: 3, labels: labels.clone() };
        let (encoder, encodings, bins) = Encoder::fit(&features, &columns, &target, &rows, FINE);
        let data = Data {
            bins: &bins,
            is_categorical: &encoder.is_categorical(),
            columns: &columns,
            encodings: &encodings,
            target: &target,
            weights: None,
        };
        let stop = AtomicBool::new(false);
        let (train, valid) = rows.split_at(450);
        let context = FitContext {
            data: &data,
            train,
            stopping: Stopping::HeldOut(valid),
            limits: Limits { deadline: None, stop: &stop },
            seed: 5,
        };
        let Fit { model, complexity, importance } = Network::fit(&SETTINGS, &context);
        assert!(matches!(complexity, Complexity::Epochs(epochs) if epochs >= 1.0));
        assert!(importance.iter().all(|feature| *feature > 0.0));
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
