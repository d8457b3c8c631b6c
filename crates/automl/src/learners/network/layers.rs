//! Dense layers: batches of rows forth, and gradients back.

use fearless_simd::{Simd, dispatch};
use serde::{Deserialize, Serialize};

use crate::learners::network::matrix::{
    BLOCK, LANES, add, multiply, multiply_transposed, transpose,
};
use crate::rng::Rng;
use crate::simd::level;

/// Marks a row without a one-hot input in a column.
pub(crate) const NO_CATEGORY: u32 = u32::MAX;

/// The layout of a network's parameters: layer after layer, the weights of each input in turn,
/// then the biases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Layout {
    /// Inputs that are numbers, padded.
    dense: u32,
    /// Inputs of which one for each column is 1 and all others are 0.
    categories: u32,
    /// Outputs of each layer, padded.
    widths: Vec<u32>,
}

/// One layer's place among the parameters.
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

impl Layout {
    pub(crate) fn new(dense: usize, categories: usize, hidden: &[usize], outputs: usize) -> Self {
        let widths = hidden.iter().copied().chain([outputs]);
        Self {
            dense: dense.next_multiple_of(BLOCK) as u32,
            categories: categories as u32,
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
        let mut inputs = self.dense as usize + self.categories as usize;
        let mut from = 0;
        let layer = |&width: &u32| {
            let layer = Layer { inputs, outputs: width as usize, from };
            (inputs, from) = (layer.outputs, layer.end());
            layer
        };
        self.widths.iter().map(layer).collect()
    }

    /// Counts the parameters of a network.
    pub(crate) fn size(&self) -> usize {
        self.layers().last().map_or(0, Layer::end)
    }

    /// Tells whether a stored layout can be computed with.
    pub(crate) fn is_sound(&self, dense: usize, categories: usize, outputs: usize) -> bool {
        const MOST: u32 = 1 << 20;
        !self.widths.is_empty()
            && self.widths.iter().all(|width| *width < MOST && width.is_multiple_of(LANES as u32))
            && *self
                == Self {
                    widths: self.widths.clone(),
                    ..Self::new(dense, categories, &[], outputs)
                }
            && self.outputs() == outputs.next_multiple_of(LANES)
    }

    /// Random weights to start from; what is padding stays zero for ever.
    pub(crate) fn start(&self, dense: usize, outputs: usize, rng: &mut Rng) -> Vec<f32> {
        let mut parameters = vec![0.0; self.size()];
        let layers = self.layers();
        for (depth, layer) in layers.iter().enumerate() {
            let used = if depth + 1 == layers.len() { outputs } else { layer.outputs };
            let limit = (6.0 / (layer.inputs + used) as f64).sqrt();
            for (input, row) in
                parameters[layer.from..layer.biases()].chunks_exact_mut(layer.outputs).enumerate()
            {
                if depth == 0 && (dense..self.dense()).contains(&input) {
                    continue;
                }
                row[..used]
                    .iter_mut()
                    .for_each(|weight| *weight = (limit * (2.0 * rng.unit() - 1.0)) as f32);
            }
        }
        parameters
    }

    /// Measures the influence of each input of the first layer on all outputs: the sum over all
    /// paths of the products of absolute weights.
    pub(crate) fn influence(&self, parameters: &[f32]) -> Vec<f64> {
        let mut influence = vec![1.0; self.outputs()];
        for layer in self.layers().iter().rev() {
            influence = parameters[layer.from..layer.biases()]
                .chunks_exact(layer.outputs)
                .map(|row| row.iter().zip(&influence).map(|(w, r)| f64::from(w.abs()) * r).sum())
                .collect();
        }
        influence
    }
}

/// Rows as a network reads them.
#[derive(Default)]
pub(crate) struct Rows {
    /// Numbers, row after row, each row as wide as [`Layout::dense`].
    pub(crate) dense: Vec<f32>,
    /// The input behind the dense ones that is 1, for each column of each row.
    pub(crate) categories: Vec<u32>,
    pub(crate) columns: usize,
}

/// Reusable memory of one thread.
pub(crate) struct Activations<'a> {
    layout: &'a Layout,
    layers: Vec<Layer>,
    /// Rows at hand, padded to whole blocks, and their categories.
    rows: usize,
    input: Vec<f32>,
    categories: Vec<u32>,
    /// The number of one-hot columns of each row.
    columns: usize,
    /// The factor of the values that were not left out (dropout).
    scale: f32,
    /// The values that each layer yields for each row.
    values: Vec<Vec<f32>>,
    /// The loss's gradient at what a layer yields: here and in the layer before.
    gradients: Vec<f32>,
    before: Vec<f32>,
    transposed: Vec<f32>,
}

impl<'a> Activations<'a> {
    pub(crate) fn new(layout: &'a Layout) -> Self {
        let layers = layout.layers();
        Self {
            layout,
            rows: 0,
            input: Vec::new(),
            categories: Vec::new(),
            columns: 0,
            scale: 1.0,
            values: vec![Vec::new(); layers.len()],
            layers,
            gradients: Vec::new(),
            before: Vec::new(),
            transposed: Vec::new(),
        }
    }

    /// Sends rows through the network. The answer has [`Layout::outputs`] numbers
    /// for each row, and maybe some rows of padding. With `drop`, that share of
    /// the hidden values is left out at random.
    pub(crate) fn forward(
        &mut self,
        parameters: &[f32],
        rows: &Rows,
        chosen: impl ExactSizeIterator<Item = usize>,
        drop: Option<(f32, &mut Rng)>,
    ) -> &mut [f32] {
        let dense = self.layout.dense();
        self.rows = chosen.len().next_multiple_of(BLOCK);
        self.columns = rows.columns;
        self.scale = 1.0;
        self.input.clear();
        self.categories.clear();
        for row in chosen {
            self.input.extend_from_slice(&rows.dense[row * dense..(row + 1) * dense]);
            self.categories
                .extend_from_slice(&rows.categories[row * rows.columns..(row + 1) * rows.columns]);
        }
        self.input.resize(self.rows * dense, 0.0);
        self.categories.resize(self.rows * rows.columns, NO_CATEGORY);
        dispatch!(level(), simd => self.forward_in(simd, parameters, drop));
        self.values.last_mut().map_or(&mut [], Vec::as_mut_slice)
    }

    #[inline(always)]
    fn forward_in<S: Simd>(
        &mut self,
        simd: S,
        parameters: &[f32],
        mut drop: Option<(f32, &mut Rng)>,
    ) {
        let dense = self.layout.dense();
        for (depth, layer) in self.layers.iter().enumerate() {
            let (done, rest) = self.values.split_at_mut(depth);
            let (input, out) = (done.last().unwrap_or(&self.input), &mut rest[0]);
            let inputs = if depth == 0 { dense } else { layer.inputs };
            out.clear();
            for _ in 0..self.rows {
                out.extend_from_slice(&parameters[layer.biases()..layer.end()]);
            }
            let weights = &parameters[layer.from..layer.biases()];
            multiply(simd, out, layer.outputs, input, inputs, weights);
            if depth == 0 && self.columns > 0 {
                let weights = &weights[dense * layer.outputs..];
                for (out, categories) in out
                    .chunks_exact_mut(layer.outputs)
                    .zip(self.categories.chunks_exact(self.columns))
                {
                    for &category in categories.iter().filter(|category| **category != NO_CATEGORY)
                    {
                        let at = category as usize * layer.outputs;
                        add(out, &weights[at..at + layer.outputs]);
                    }
                }
            }
            if depth + 1 < self.layers.len() {
                out.iter_mut().for_each(|value| *value = value.max(0.0));
                if let Some((share, rng)) = &mut drop {
                    self.scale = apply_dropout(out, *share, rng);
                }
            }
        }
    }

    /// Turns the answer, which the caller has replaced by the loss's gradient at it,
    /// into the gradient at every parameter of the network.
    pub(crate) fn backward(&mut self, parameters: &[f32], out: &mut [f32]) {
        dispatch!(level(), simd => self.backward_in(simd, parameters, out));
    }

    #[inline(always)]
    fn backward_in<S: Simd>(&mut self, simd: S, parameters: &[f32], out: &mut [f32]) {
        out.fill(0.0);
        let dense = self.layout.dense();
        self.gradients.clear();
        if let Some(last) = self.values.last() {
            self.gradients.extend_from_slice(last);
        }
        for (depth, layer) in self.layers.iter().enumerate().rev() {
            let input = if depth == 0 { &self.input } else { &self.values[depth - 1] };
            let inputs = if depth == 0 { dense } else { layer.inputs };
            let (weights, biases) =
                out[layer.from..layer.end()].split_at_mut(layer.inputs * layer.outputs);
            let (first, second) = weights.split_at_mut(inputs * layer.outputs);
            multiply_transposed(simd, first, layer.outputs, input, inputs, &self.gradients);
            self.gradients.chunks_exact(layer.outputs).for_each(|gradients| add(biases, gradients));
            if depth == 0 {
                if self.columns > 0 {
                    for (gradients, categories) in self
                        .gradients
                        .chunks_exact(layer.outputs)
                        .zip(self.categories.chunks_exact(self.columns))
                    {
                        for &category in
                            categories.iter().filter(|category| **category != NO_CATEGORY)
                        {
                            let at = category as usize * layer.outputs;
                            add(&mut second[at..at + layer.outputs], gradients);
                        }
                    }
                }
                break;
            }
            transpose(&parameters[layer.from..layer.biases()], layer.outputs, &mut self.transposed);
            self.before.clear();
            self.before.resize(self.rows * inputs, 0.0);
            multiply(
                simd,
                &mut self.before,
                inputs,
                &self.gradients,
                layer.outputs,
                &self.transposed,
            );
            let scale = self.scale;
            self.before.iter_mut().zip(input).for_each(|(gradient, value)| {
                *gradient = if *value > 0.0 { *gradient * scale } else { 0.0 }
            });
            std::mem::swap(&mut self.gradients, &mut self.before);
        }
    }
}

/// Sets a share of the values to zero and scales the rest up; returns by how much.
#[inline(always)]
fn apply_dropout(values: &mut [f32], share: f32, rng: &mut Rng) -> f32 {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_are_what_small_steps_say() {
        let layout = Layout::new(3, 2, &[8, 8], 1);
        let mut parameters = layout.start(3, 1, &mut Rng::new(1, 1));
        let rows = Rows {
            dense: vec![0.5, -1.0, 2.0, 0.0, 1.5, 0.3, -0.7, 0.0, -0.1, 0.9, 0.4, 0.0],
            categories: vec![1, NO_CATEGORY, 0],
            columns: 1,
        };
        // Half the sum of squares of the outputs: its gradient is the output itself.
        let loss = |parameters: &[f32]| -> f64 {
            let mut work = Activations::new(&layout);
            let out = work.forward(parameters, &rows, 0..3, None);
            out.chunks(8).take(3).map(|row| 0.5 * f64::from(row[0]).powi(2)).sum()
        };
        let mut gradients = vec![0.0; parameters.len()];
        let mut work = Activations::new(&layout);
        let out = work.forward(&parameters, &rows, 0..3, None);
        out[3 * 8..].fill(0.0);
        work.backward(&parameters, &mut gradients);
        let mut moved = 0;
        for at in 0..parameters.len() {
            let (old, step) = (parameters[at], 1e-3);
            parameters[at] = old + step;
            let above = loss(&parameters);
            parameters[at] = old - step;
            let below = loss(&parameters);
            parameters[at] = old;
            let wanted = (above - below) / (2.0 * f64::from(step));
            assert!(
                (wanted - f64::from(gradients[at])).abs() < 5e-3,
                "{at}: {wanted} {}",
                gradients[at]
            );
            moved += usize::from(gradients[at] != 0.0);
        }
        assert!(moved > 40);
    }
}
