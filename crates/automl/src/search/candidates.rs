//! The plan of candidates to train, in their order.

use crate::learners::boosting::settings::{BoostingSettings, TreeSettings};
use crate::learners::learner::Learner;
use crate::learners::linear::model::LinearSettings;
use crate::learners::network::model::NetworkSettings;
use crate::rng::Rng;
use crate::settings::Algorithm;

/// A candidate to be trained.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Spec {
    pub(crate) algorithm: Algorithm,
    pub(crate) description: String,
    pub(crate) learner: Learner,
}

/// From this many rows on, larger steps and fewer networks do as well.
const MANY_ROWS: usize = 50_000;

/// The size of what is learned from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// Rows, held-out ones among them.
    pub(crate) rows: usize,
    /// Features.
    pub(crate) features: usize,
    /// Numbers to predict for each row.
    pub(crate) outputs: usize,
}

/// `count` candidates: the most promising first, and really different ones
/// early, so that a small number is a good choice too. Beyond the hand-picked
/// ones, settings are drawn at random.
pub(crate) fn plan(count: usize, shape: Shape, seed: u64) -> Vec<Spec> {
    let base = base(shape.outputs);
    let mut specs = hand_picked(base, shape);
    let mut rng = Rng::new(seed, 3);
    while specs.len() < count {
        specs.push(drawn(base, &mut rng));
    }
    specs.truncate(count);
    specs
}

/// Gives the settings that those of every boosted candidate differ from.
fn base(outputs: usize) -> BoostingSettings {
    let tree = TreeSettings {
        max_leaves: 31,
        max_depth: 12,
        min_rows: 20.0,
        l2: 1.0,
        feature_share: 1.0,
        random_thresholds: false,
    };
    // A round costs a tree for each output: with several, larger steps have to do.
    let rounds = if outputs == 1 { 1_500 } else { (1_500 / outputs).clamp(40, 300) };
    BoostingSettings { learning_rate: 0.1, rounds, patience: 30, row_share: 1.0, tree }
}

/// Lists the candidates that every plan begins with.
fn hand_picked(base: BoostingSettings, shape: Shape) -> Vec<Spec> {
    let (many_rows, one_output) = (shape.rows >= MANY_ROWS, shape.outputs == 1);
    let [held_back, free] = networks(shape);
    let tree = base.tree;
    let quick = quick(base, many_rows);
    let slow = slow(base, many_rows, one_output);
    vec![
        boosted(
            &format!("{} leaves, learning rate {}", quick.tree.max_leaves, quick.learning_rate),
            quick,
        ),
        networked(held_back),
        networked(free),
        boosted(
            &format!(
                "15 leaves, learning rate {}, half of the features and 80 % of the rows each round",
                slow.learning_rate
            ),
            BoostingSettings {
                row_share: 0.8,
                tree: TreeSettings { max_leaves: 15, feature_share: 0.5, l2: 5.0, ..tree },
                ..slow
            },
        ),
        Spec {
            algorithm: Algorithm::Linear,
            description: "standardised numbers, one input a category, L2 strength by validation"
                .to_owned(),
            learner: Learner::Linear(LinearSettings { iterations: 60 }),
        },
        boosted(
            &format!("random thresholds, 63 leaves, learning rate {}", slow.learning_rate),
            BoostingSettings {
                tree: TreeSettings { max_leaves: 63, random_thresholds: true, ..tree },
                ..slow
            },
        ),
        boosted(
            &format!("4 leaves, learning rate {}", base.learning_rate),
            BoostingSettings { tree: TreeSettings { max_leaves: 4, ..tree }, ..base },
        ),
        boosted(
            &format!(
                "63 leaves of at least 8 rows, learning rate {}, 40 % of the features and 70 % of the rows each round",
                slow.learning_rate
            ),
            BoostingSettings {
                row_share: 0.7,
                tree: TreeSettings {
                    max_leaves: 63,
                    min_rows: 8.0,
                    feature_share: 0.4,
                    l2: 3.0,
                    ..tree
                },
                ..slow
            },
        ),
    ]
}

/// Gives the settings of the candidate that comes first: it takes large steps.
fn quick(base: BoostingSettings, many_rows: bool) -> BoostingSettings {
    match many_rows {
        true => BoostingSettings {
            learning_rate: 0.2,
            patience: 15,
            tree: TreeSettings { max_leaves: 63, ..base.tree },
            ..base
        },
        false => BoostingSettings { learning_rate: 0.15, patience: 20, ..base },
    }
}

/// Gives the settings of the candidates that take small steps, where there is time for them.
fn slow(base: BoostingSettings, many_rows: bool, one_output: bool) -> BoostingSettings {
    match one_output && !many_rows {
        true => BoostingSettings { learning_rate: 0.05, patience: 60, ..base },
        false => BoostingSettings { patience: if many_rows { 30 } else { 60 }, ..base },
    }
}

/// Gives the settings of two networks: one that is held back, for little data, and one that
/// is free.
fn networks(shape: Shape) -> [NetworkSettings; 2] {
    // Where rows are fewer than features, a network costs most and tells least: on six tables of
    // 600 rows and 2,000 columns none got a weight.
    let networks = match shape.rows {
        MANY_ROWS.. => 2,
        rows if shape.features > rows => 1,
        _ => 3,
    };
    let held_back = NetworkSettings {
        hidden: [64, 32],
        networks,
        learning_rate: 0.004,
        weight_decay: 0.5,
        dropout: 0.1,
        epochs: 30,
    };
    let free = NetworkSettings { hidden: [128, 64], weight_decay: 0.05, dropout: 0.0, ..held_back };
    [held_back, free]
}

/// Draws the settings of a boosted candidate at random.
fn drawn(base: BoostingSettings, rng: &mut Rng) -> Spec {
    let mut pick = |values: &[f64]| values[rng.below(values.len())];
    let (leaves, learning_rate) =
        (pick(&[6.0, 12.0, 24.0, 48.0, 96.0]), pick(&[0.03, 0.05, 0.08, 0.12]));
    let (feature_share, row_share) = (pick(&[0.3, 0.5, 0.7, 1.0]), pick(&[0.6, 0.8, 1.0]));
    let (min_rows, l2) = (pick(&[4.0, 10.0, 20.0, 40.0]), pick(&[0.1, 1.0, 5.0, 20.0]));
    let description = format!(
        "{leaves} leaves of at least {min_rows} rows, learning rate {learning_rate}, features {feature_share}, rows {row_share}, L2 {l2}"
    );
    let tree =
        TreeSettings { max_leaves: leaves as usize, min_rows, l2, feature_share, ..base.tree };
    boosted(
        &description,
        BoostingSettings {
            learning_rate,
            row_share,
            patience: (4.0 / learning_rate) as usize,
            tree,
            ..base
        },
    )
}

fn boosted(description: &str, settings: BoostingSettings) -> Spec {
    Spec {
        algorithm: Algorithm::GradientBoosting,
        description: description.to_owned(),
        learner: Learner::Boosting(settings),
    }
}

fn networked(settings: NetworkSettings) -> Spec {
    let [first, second] = settings.hidden;
    let description = format!(
        "{} networks of {first} and {second} units, averaged; learning rate {}, weight decay {}, dropout {}",
        settings.networks, settings.learning_rate, settings.weight_decay, settings.dropout
    );
    Spec { algorithm: Algorithm::NeuralNetwork, description, learner: Learner::Network(settings) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { rows: 1_000, features: 10, outputs: 1 };

    #[test]
    fn a_plan_has_as_many_candidates_as_asked_for_and_different_ones_first() {
        for count in [1, 4, 9, 30] {
            assert_eq!(plan(count, SHAPE, 5).len(), count);
        }
        let few = plan(3, SHAPE, 5);
        assert!(few[0].algorithm != few[1].algorithm && few[0].learner != few[2].learner);
        assert_eq!(plan(30, SHAPE, 5), plan(30, SHAPE, 5));
    }
}
