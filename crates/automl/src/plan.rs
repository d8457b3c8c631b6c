//! Which candidates are trained, in which order.

use crate::boost::BoostSettings;
use crate::learn::Learner;
use crate::linear::LinearSettings;
use crate::network::NetworkSettings;
use crate::rng::Rng;
use crate::settings::Algorithm;
use crate::tree::Shape;

/// A candidate to be trained.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Spec {
    pub(crate) algorithm: Algorithm,
    pub(crate) description: String,
    pub(crate) learner: Learner,
}

/// From this many rows on, larger steps and fewer networks do as well.
const MANY_ROWS: usize = 50_000;

/// `count` candidates: the most promising first, and really different ones
/// early, so that a small number is a good choice too. Beyond the hand-picked
/// ones, settings are drawn at random.
pub(crate) fn plan(count: usize, rows: usize, outputs: usize, seed: u64) -> Vec<Spec> {
    let many = rows >= MANY_ROWS;
    let shape = Shape {
        leaves: 31,
        depth: 12,
        min_rows: 20.0,
        l2: 1.0,
        features: 1.0,
        random_limits: false,
    };
    // A round costs a tree for each output: with several, larger steps have to do.
    let rounds = if outputs == 1 { 1_500 } else { (1_500 / outputs).clamp(40, 300) };
    let boost = BoostSettings { rate: 0.1, rounds, patience: 30, rows: 1.0, shape };
    let quick = match many {
        true => {
            BoostSettings { rate: 0.2, patience: 15, shape: Shape { leaves: 63, ..shape }, ..boost }
        }
        false => BoostSettings { rate: 0.15, patience: 20, ..boost },
    };
    let slow = match outputs == 1 && !many {
        true => BoostSettings { rate: 0.05, patience: 60, ..boost },
        false => BoostSettings { patience: if many { 30 } else { 60 }, ..boost },
    };
    // One that is held back, for little data, and one that is free.
    let network = NetworkSettings {
        hidden: [64, 32],
        networks: if many { 2 } else { 3 },
        rate: 0.004,
        decay: 0.5,
        dropped: 0.1,
        epochs: 30,
    };
    let free = NetworkSettings { hidden: [128, 64], decay: 0.05, dropped: 0.0, ..network };
    let mut specs = vec![
        boosted(&format!("{} leaves, rate {}", quick.shape.leaves, quick.rate), quick),
        networked(network),
        networked(free),
        boosted(
            &format!(
                "15 leaves, rate {}, half of the features and 80 % of the rows each round",
                slow.rate
            ),
            BoostSettings {
                rows: 0.8,
                shape: Shape { leaves: 15, features: 0.5, l2: 5.0, ..shape },
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
            &format!("random limits, 63 leaves, rate {}", slow.rate),
            BoostSettings { shape: Shape { leaves: 63, random_limits: true, ..shape }, ..slow },
        ),
        boosted(
            &format!("4 leaves, rate {}", boost.rate),
            BoostSettings { shape: Shape { leaves: 4, ..shape }, ..boost },
        ),
        boosted(
            &format!(
                "63 leaves of at least 8 rows, rate {}, 40 % of the features and 70 % of the rows each round",
                slow.rate
            ),
            BoostSettings {
                rows: 0.7,
                shape: Shape { leaves: 63, min_rows: 8.0, features: 0.4, l2: 3.0, ..shape },
                ..slow
            },
        ),
    ];
    let mut rng = Rng::new(seed, 3);
    while specs.len() < count {
        let mut pick = |values: &[f64]| values[rng.below(values.len())];
        let (leaves, rate) =
            (pick(&[6.0, 12.0, 24.0, 48.0, 96.0]), pick(&[0.03, 0.05, 0.08, 0.12]));
        let (features, rows) = (pick(&[0.3, 0.5, 0.7, 1.0]), pick(&[0.6, 0.8, 1.0]));
        let (min_rows, l2) = (pick(&[4.0, 10.0, 20.0, 40.0]), pick(&[0.1, 1.0, 5.0, 20.0]));
        let description = format!(
            "{leaves} leaves of at least {min_rows} rows, rate {rate}, features {features}, rows {rows}, L2 {l2}"
        );
        let shape = Shape { leaves: leaves as usize, min_rows, l2, features, ..shape };
        specs.push(boosted(
            &description,
            BoostSettings { rate, rows, patience: (4.0 / rate) as usize, shape, ..boost },
        ));
    }
    specs.truncate(count);
    specs
}

fn boosted(description: &str, settings: BoostSettings) -> Spec {
    Spec {
        algorithm: Algorithm::GradientBoosting,
        description: description.to_owned(),
        learner: Learner::Boost(settings),
    }
}

fn networked(settings: NetworkSettings) -> Spec {
    let [first, second] = settings.hidden;
    let description = format!(
        "{} networks of {first} and {second} units, averaged; steps of {}, decay {}, dropout {}",
        settings.networks, settings.rate, settings.decay, settings.dropped
    );
    Spec { algorithm: Algorithm::NeuralNetwork, description, learner: Learner::Network(settings) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_has_as_many_candidates_as_asked_for_and_different_ones_first() {
        for count in [1, 4, 9, 30] {
            assert_eq!(plan(count, 1_000, 1, 5).len(), count);
        }
        let few = plan(3, 1_000, 1, 5);
        assert!(few[0].algorithm != few[1].algorithm && few[0].learner != few[2].learner);
        assert_eq!(plan(30, 1_000, 1, 5), plan(30, 1_000, 1, 5));
    }
}
