//! The arithmetic of a small neural network: batches of rows through dense
//! layers, forth and back.

use fearless_simd::{Simd, dispatch};
use serde::{Deserialize, Serialize};

use crate::math::level;
use crate::product::{BLOCK, LANES, add, multiply, multiply_turned, turn};
use crate::rng::Rng;

/// Marks a row without a level in a column.
pub(crate) const NO_LEVEL: u32 = u32::MAX;

/// How the numbers of a network are laid out: layer after layer, the weights of
/// each input in turn, then the constants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shape {
    /// Inputs that are numbers, padded.
    dense: u32,
    /// Inputs of which one for each column is 1 and all others are 0.
    levels: u32,
    /// Outputs of each layer, padded.
    widths: Vec<u32>,
}

/// One layer's place among the numbers.
struct Layer {
    inputs: usize,
    outputs: usize,
    from: usize,
}

impl Layer {
    fn biases(&self) -> usize {
        self.from + self.inputs * self.outputs
    }

    fn end(&self) -> usize {
        self.biases() + self.outputs
    }
}

impl Shape {
    pub(crate) fn new(dense: usize, levels: usize, hidden: &[usize], outputs: usize) -> Self {
        let widths = hidden.iter().copied().chain([outputs]);
        Self {
            dense: dense.next_multiple_of(BLOCK) as u32,
            levels: levels as u32,
            widths: widths.map(|width| width.next_multiple_of(LANES) as u32).collect(),
        }
    }

    pub(crate) fn dense(&self) -> usize {
        self.dense as usize
    }

    /// Outputs with padding.
    pub(crate) fn outputs(&self) -> usize {
        self.widths.last().map_or(0, |width| *width as usize)
    }

    fn layers(&self) -> Vec<Layer> {
        let mut inputs = self.dense as usize + self.levels as usize;
        let mut from = 0;
        let layer = |&width: &u32| {
            let layer = Layer { inputs, outputs: width as usize, from };
            (inputs, from) = (layer.outputs, layer.end());
            layer
        };
        self.widths.iter().map(layer).collect()
    }

    /// How many numbers a network has.
    pub(crate) fn size(&self) -> usize {
        self.layers().last().map_or(0, Layer::end)
    }

    /// Whether a stored shape can be computed with.
    pub(crate) fn is_sound(&self, dense: usize, levels: usize, outputs: usize) -> bool {
        const MOST: u32 = 1 << 20;
        !self.widths.is_empty()
            && self.widths.iter().all(|width| *width < MOST && width.is_multiple_of(LANES as u32))
            && *self
                == Self { widths: self.widths.clone(), ..Self::new(dense, levels, &[], outputs) }
            && self.outputs() == outputs.next_multiple_of(LANES)
    }

    /// Random weights to start from; what is padding stays zero for ever.
    pub(crate) fn start(&self, dense: usize, outputs: usize, rng: &mut Rng) -> Vec<f32> {
        let mut numbers = vec![0.0; self.size()];
        let layers = self.layers();
        for (depth, layer) in layers.iter().enumerate() {
            let used = if depth + 1 == layers.len() { outputs } else { layer.outputs };
            let limit = (6.0 / (layer.inputs + used) as f64).sqrt();
            for (input, row) in
                numbers[layer.from..layer.biases()].chunks_exact_mut(layer.outputs).enumerate()
            {
                if depth == 0 && (dense..self.dense()).contains(&input) {
                    continue;
                }
                row[..used]
                    .iter_mut()
                    .for_each(|weight| *weight = (limit * (2.0 * rng.unit() - 1.0)) as f32);
            }
        }
        numbers
    }

    /// How much each input of the first layer moves any output: the sum over all
    /// paths of the products of absolute weights.
    pub(crate) fn reach(&self, numbers: &[f32]) -> Vec<f64> {
        let mut reach = vec![1.0; self.outputs()];
        for layer in self.layers().iter().rev() {
            reach = numbers[layer.from..layer.biases()]
                .chunks_exact(layer.outputs)
                .map(|row| row.iter().zip(&reach).map(|(w, r)| f64::from(w.abs()) * r).sum())
                .collect();
        }
        reach
    }
}

/// Rows as a network reads them.
#[derive(Default)]
pub(crate) struct Rows {
    /// Numbers, row after row, each row as wide as [`Shape::dense`].
    pub(crate) dense: Vec<f32>,
    /// Which input behind the dense ones is 1, for each column of each row.
    pub(crate) levels: Vec<u32>,
    pub(crate) columns: usize,
}

/// Reusable memory of one thread.
pub(crate) struct Workspace<'a> {
    shape: &'a Shape,
    layers: Vec<Layer>,
    /// Rows at hand, padded to whole blocks, and their levels.
    rows: usize,
    input: Vec<f32>,
    levels: Vec<u32>,
    /// Levels of each row.
    columns: usize,
    /// What the values that were not left out are multiplied by.
    scale: f32,
    /// What each layer yields for each row.
    values: Vec<Vec<f32>>,
    /// The loss's slope at what a layer yields: here and in the layer before.
    slopes: Vec<f32>,
    before: Vec<f32>,
    turned: Vec<f32>,
}

impl<'a> Workspace<'a> {
    pub(crate) fn new(shape: &'a Shape) -> Self {
        let layers = shape.layers();
        Self {
            shape,
            rows: 0,
            input: Vec::new(),
            levels: Vec::new(),
            columns: 0,
            scale: 1.0,
            values: vec![Vec::new(); layers.len()],
            layers,
            slopes: Vec::new(),
            before: Vec::new(),
            turned: Vec::new(),
        }
    }

    /// Sends rows through the network. The answer has [`Shape::outputs`] numbers
    /// for each row, and maybe some rows of padding. With `drop`, that share of
    /// the values inside is left out at random.
    pub(crate) fn forward(
        &mut self,
        numbers: &[f32],
        rows: &Rows,
        chosen: impl ExactSizeIterator<Item = usize>,
        drop: Option<(f32, &mut Rng)>,
    ) -> &mut [f32] {
        let dense = self.shape.dense();
        self.rows = chosen.len().next_multiple_of(BLOCK);
        self.columns = rows.columns;
        self.scale = 1.0;
        self.input.clear();
        self.levels.clear();
        for row in chosen {
            self.input.extend_from_slice(&rows.dense[row * dense..(row + 1) * dense]);
            self.levels
                .extend_from_slice(&rows.levels[row * rows.columns..(row + 1) * rows.columns]);
        }
        self.input.resize(self.rows * dense, 0.0);
        self.levels.resize(self.rows * rows.columns, NO_LEVEL);
        dispatch!(level(), simd => self.forward_in(simd, numbers, drop));
        self.values.last_mut().map_or(&mut [], Vec::as_mut_slice)
    }

    #[inline(always)]
    fn forward_in<S: Simd>(&mut self, simd: S, numbers: &[f32], mut drop: Option<(f32, &mut Rng)>) {
        let dense = self.shape.dense();
        for (depth, layer) in self.layers.iter().enumerate() {
            let (done, rest) = self.values.split_at_mut(depth);
            let (input, out) = (done.last().unwrap_or(&self.input), &mut rest[0]);
            let inputs = if depth == 0 { dense } else { layer.inputs };
            out.clear();
            for _ in 0..self.rows {
                out.extend_from_slice(&numbers[layer.biases()..layer.end()]);
            }
            let weights = &numbers[layer.from..layer.biases()];
            multiply(simd, out, layer.outputs, input, inputs, weights);
            if depth == 0 && self.columns > 0 {
                let weights = &weights[dense * layer.outputs..];
                for (out, levels) in
                    out.chunks_exact_mut(layer.outputs).zip(self.levels.chunks_exact(self.columns))
                {
                    for &level in levels.iter().filter(|level| **level != NO_LEVEL) {
                        let at = level as usize * layer.outputs;
                        add(out, &weights[at..at + layer.outputs]);
                    }
                }
            }
            if depth + 1 < self.layers.len() {
                out.iter_mut().for_each(|value| *value = value.max(0.0));
                if let Some((share, rng)) = &mut drop {
                    self.scale = drop_out(out, *share, rng);
                }
            }
        }
    }

    /// Turns the answer, which the caller has replaced by the loss's slope at it,
    /// into the slope at every number of the network.
    pub(crate) fn backward(&mut self, numbers: &[f32], out: &mut [f32]) {
        dispatch!(level(), simd => self.backward_in(simd, numbers, out));
    }

    #[inline(always)]
    fn backward_in<S: Simd>(&mut self, simd: S, numbers: &[f32], out: &mut [f32]) {
        out.fill(0.0);
        let dense = self.shape.dense();
        self.slopes.clear();
        if let Some(last) = self.values.last() {
            self.slopes.extend_from_slice(last);
        }
        for (depth, layer) in self.layers.iter().enumerate().rev() {
            let input = if depth == 0 { &self.input } else { &self.values[depth - 1] };
            let inputs = if depth == 0 { dense } else { layer.inputs };
            let (weights, biases) =
                out[layer.from..layer.end()].split_at_mut(layer.inputs * layer.outputs);
            let (first, second) = weights.split_at_mut(inputs * layer.outputs);
            multiply_turned(simd, first, layer.outputs, input, inputs, &self.slopes);
            self.slopes.chunks_exact(layer.outputs).for_each(|slopes| add(biases, slopes));
            if depth == 0 {
                if self.columns > 0 {
                    for (slopes, levels) in self
                        .slopes
                        .chunks_exact(layer.outputs)
                        .zip(self.levels.chunks_exact(self.columns))
                    {
                        for &level in levels.iter().filter(|level| **level != NO_LEVEL) {
                            let at = level as usize * layer.outputs;
                            add(&mut second[at..at + layer.outputs], slopes);
                        }
                    }
                }
                break;
            }
            turn(&numbers[layer.from..layer.biases()], layer.outputs, &mut self.turned);
            self.before.clear();
            self.before.resize(self.rows * inputs, 0.0);
            multiply(simd, &mut self.before, inputs, &self.slopes, layer.outputs, &self.turned);
            let scale = self.scale;
            self.before.iter_mut().zip(input).for_each(|(slope, value)| {
                *slope = if *value > 0.0 { *slope * scale } else { 0.0 }
            });
            std::mem::swap(&mut self.slopes, &mut self.before);
        }
    }
}

/// Sets a share of the values to zero and scales the rest up; returns by how much.
#[inline(always)]
fn drop_out(values: &mut [f32], share: f32, rng: &mut Rng) -> f32 {
    let limit = (share * 256.0) as u8;
    let scale = 1.0 / (1.0 - f32::from(limit) / 256.0);
    for values in values.chunks_mut(8) {
        let bits = rng.next().to_le_bytes();
        for (value, bits) in values.iter_mut().zip(bits) {
            *value = if bits < limit { 0.0 } else { *value * scale };
        }
    }
    scale
}

/// Steps that adapt to each number (Adam), with decay towards zero.
pub(crate) struct Adam {
    mean: Vec<f32>,
    square: Vec<f32>,
    steps: i32,
}

/// How slowly the means follow the slopes and their squares.
const A: f32 = 0.9;
const B: f32 = 0.999;

impl Adam {
    pub(crate) fn new(size: usize) -> Self {
        Self { mean: vec![0.0; size], square: vec![0.0; size], steps: 0 }
    }

    pub(crate) fn step(&mut self, numbers: &mut [f32], slopes: &[f32], rate: f32, decay: f32) {
        self.steps += 1;
        let rate_now = rate / (1.0 - A.powi(self.steps));
        let scale = 1.0 / (1.0 - B.powi(self.steps));
        let shrink = 1.0 - rate * decay;
        dispatch!(level(), simd => self.step_in(simd, numbers, slopes, [rate_now, scale, shrink]));
    }

    #[inline(always)]
    fn step_in<S: Simd>(
        &mut self,
        _: S,
        numbers: &mut [f32],
        slopes: &[f32],
        [rate, scale, shrink]: [f32; 3],
    ) {
        let moments = self.mean.iter_mut().zip(&mut self.square);
        for ((number, slope), (mean, square)) in numbers.iter_mut().zip(slopes).zip(moments) {
            *mean = A * *mean + (1.0 - A) * slope;
            *square = B * *square + (1.0 - B) * slope * slope;
            *number = *number * shrink - rate * *mean / ((*square * scale).sqrt() + 1e-8);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_are_what_small_steps_say() {
        let shape = Shape::new(3, 2, &[8, 8], 1);
        let mut numbers = shape.start(3, 1, &mut Rng::new(1, 1));
        let rows = Rows {
            dense: vec![0.5, -1.0, 2.0, 0.0, 1.5, 0.3, -0.7, 0.0, -0.1, 0.9, 0.4, 0.0],
            levels: vec![1, NO_LEVEL, 0],
            columns: 1,
        };
        // Half the sum of squares of the outputs: its slope is the output itself.
        let loss = |numbers: &[f32]| -> f64 {
            let mut work = Workspace::new(&shape);
            let out = work.forward(numbers, &rows, 0..3, None);
            out.chunks(8).take(3).map(|row| 0.5 * f64::from(row[0]).powi(2)).sum()
        };
        let mut slopes = vec![0.0; numbers.len()];
        let mut work = Workspace::new(&shape);
        let out = work.forward(&numbers, &rows, 0..3, None);
        out[3 * 8..].fill(0.0);
        work.backward(&numbers, &mut slopes);
        let mut moved = 0;
        for at in 0..numbers.len() {
            let (old, step) = (numbers[at], 1e-3);
            numbers[at] = old + step;
            let above = loss(&numbers);
            numbers[at] = old - step;
            let below = loss(&numbers);
            numbers[at] = old;
            let wanted = (above - below) / (2.0 * f64::from(step));
            assert!((wanted - f64::from(slopes[at])).abs() < 5e-3, "{at}: {wanted} {}", slopes[at]);
            moved += usize::from(slopes[at] != 0.0);
        }
        assert!(moved > 40);
    }
}
