//! The importance of each column to a model's answers: sampled Shapley values.
//!
//! A walk begins at one record and takes over another's columns one by one, in
//! random order. What a column's turn changes in the answer, averaged over walks,
//! is its Shapley value for the record walked to, as Kernel SHAP estimates it:
//! the values of a record's columns add up to the distance of its answer from the
//! mean answer of the records walked from.

use rayon::prelude::*;

use crate::error::ModelError;
use crate::model::Model;
use crate::rng::Rng;
use crate::table::cells::Table;

/// Answers that an explanation may cost, unless the columns are so many that the
/// fewest walks cost more.
const MAX_ANSWERS: usize = 20_000;
const MIN_WALKS: usize = 32;
/// Most records that are explained.
const MAX_RECORDS: usize = 100;

impl Model {
    /// Share of each column in the model's answers for `records`, largest first:
    /// the mean absolute Shapley value, of probabilities or values, divided by the
    /// sum of all. Columns that never matter are left out. At most 100 random
    /// records are explained, at the cost of some 20,000 answers; the same `seed`
    /// gives the same shares. Columns are found as in [`Model::predict`].
    ///
    /// # Errors
    /// When the number of columns differs.
    pub fn importance(&self, records: &Table, seed: u64) -> Result<Vec<(String, f64)>, ModelError> {
        let columns = self.columns_of(records)?;
        let mut walks = Walks::new(self);
        if records.rows() == 0 || walks.columns.is_empty() {
            return Ok(Vec::new());
        }
        // Each walk is there and back again.
        let count = (MAX_ANSWERS / (walks.columns.len() + 1)).max(MIN_WALKS) / 2;
        let explained = records.rows().min(MAX_RECORDS).min(count);
        let mut rng = Rng::new(seed, 5);
        let mut draw = |count: usize| {
            let rows: Vec<usize> = (0..count).map(|_| rng.below(records.rows())).collect();
            self.shared.schema.read(&records.take(&rows), &columns, 0..count)
        };
        (walks.to, walks.from) = (draw(explained), draw(count));
        let values: Vec<Vec<f64>> = (0..explained)
            .into_par_iter()
            .map(|record| {
                let from: Vec<usize> = (record..count).step_by(explained).collect();
                walks.shapley(record, &from, &mut Rng::new(seed, 1_000 + record as u64))
            })
            .collect();
        let outputs = self.shared.outputs();
        let moved = |at: usize| -> f64 {
            values
                .iter()
                .flat_map(|all| &all[at * outputs..(at + 1) * outputs])
                .map(|v| v.abs())
                .sum()
        };
        let mut shares: Vec<(String, f64)> = walks
            .columns
            .iter()
            .enumerate()
            .map(|(at, &column)| (self.features()[column].clone(), moved(at)))
            .filter(|(_, moved)| *moved > 0.0)
            .collect();
        let total: f64 = shares.iter().map(|(_, moved)| moved).sum();
        shares.iter_mut().for_each(|(_, moved)| *moved /= total);
        shares.sort_by(|a, b| b.1.total_cmp(&a.1));
        Ok(shares)
    }
}

/// The records that are walked between, feature by feature.
struct Walks<'a> {
    model: &'a Model,
    /// Positions of the columns that are learned from.
    columns: Vec<usize>,
    /// The position in `columns` of the column that each feature is made from.
    sources: Vec<usize>,
    to: Vec<Vec<f64>>,
    from: Vec<Vec<f64>>,
}

impl<'a> Walks<'a> {
    fn new(model: &'a Model) -> Self {
        let features = model.shared.schema.features();
        let mut columns: Vec<usize> = features.iter().map(|feature| feature.source).collect();
        columns.dedup();
        let sources = features
            .iter()
            .map(|feature| columns.partition_point(|column| *column < feature.source))
            .collect();
        Self { model, columns, sources, to: Vec::new(), from: Vec::new() }
    }

    /// The Shapley values of one record: those of all outputs for each column.
    fn shapley(&self, record: usize, from: &[usize], rng: &mut Rng) -> Vec<f64> {
        let players = self.columns.len();
        let mut orders = Vec::with_capacity(2 * from.len());
        for &other in from {
            let mut order: Vec<u32> = (0..players as u32).collect();
            rng.shuffle(&mut order);
            orders.push((other, order.clone()));
            // The way back in the opposite order evens out much of the chance.
            order.reverse();
            orders.push((other, order));
        }
        let mut places = vec![0; players];
        let mut columns =
            vec![Vec::with_capacity(orders.len() * (players + 1)); self.sources.len()];
        for (other, order) in &orders {
            order.iter().enumerate().for_each(|(at, player)| places[*player as usize] = at);
            for (feature, (column, &source)) in columns.iter_mut().zip(&self.sources).enumerate() {
                let (before, after) = (self.from[feature][*other], self.to[feature][record]);
                column.extend(
                    (0..=players).map(|done| if places[source] < done { after } else { before }),
                );
            }
        }
        let answers = self.model.outputs(&columns);
        let outputs = self.model.shared.outputs();
        let mut values = vec![0.0; players * outputs];
        let share = 1.0 / orders.len() as f64;
        for ((_, order), walk) in orders.iter().zip(answers.chunks_exact((players + 1) * outputs)) {
            for (at, &player) in order.iter().enumerate() {
                for output in 0..outputs {
                    let (before, after) = (at * outputs + output, (at + 1) * outputs + output);
                    values[player as usize * outputs + output] +=
                        share * (walk[after] - walk[before]);
                }
            }
        }
        values
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::search::train::train;
    use crate::settings::Settings;

    #[test]
    fn values_add_up_and_shares_follow_the_effects() {
        let mut table = Table::new(["large", "none", "small", "y"]).unwrap();
        let mut rng = Rng::new(1, 1);
        for _ in 0..900 {
            let [a, b, c] = [(); 3].map(|()| rng.unit());
            let cells = [a, b, c, 3.0 * a + c].map(|number| number.to_string());
            table.push_row(&cells).unwrap();
        }
        let settings = Settings { target: "y".into(), max_candidates: 4, ..Settings::default() };
        let board = train(&table, None, &settings, &mut |_| {}, &AtomicBool::new(false)).unwrap();
        let model = &board.candidates[0].model;
        let records = table.select(model.features()).unwrap();
        let shares = model.importance(&records, 7).unwrap();
        assert_eq!(shares, model.importance(&records, 7).unwrap());
        assert_eq!((shares[0].0.as_str(), shares[1].0.as_str()), ("large", "small"));
        assert!(
            (shares[0].1 - 0.74).abs() < 0.06 && (shares[1].1 - 0.25).abs() < 0.06,
            "{shares:?}"
        );

        let mut walks = Walks::new(model);
        let read =
            |rows: std::ops::Range<usize>| model.shared.schema.read(&records, &[0, 1, 2], rows);
        (walks.to, walks.from) = (read(0..1), read(1..40));
        let from: Vec<usize> = (0..39).collect();
        let values = walks.shapley(0, &from, &mut Rng::new(1, 1));
        let start = model.outputs(&walks.from).iter().sum::<f64>() / 39.0;
        let end = model.outputs(&walks.to)[0];
        assert!((values.iter().sum::<f64>() - (end - start)).abs() < 1e-9);
    }
}
