//! The behaviour that callers rely on: quality, order, determinism, limits, and errors.
#![allow(clippy::unwrap_used)]

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crosspilot_automl::{
    Algorithm, Ending, Event, Leaderboard, Model, ModelError, Prediction, Settings, Table,
    TrainError, analyze, train,
};
use crosspilot_metrics::{Direction, Metric, ProblemType};
use proptest::prelude::*;

/// Rows of mixed columns with a target made from them by `target`.
fn table(rows: usize, mut target: impl FnMut(f64, usize, &str) -> String) -> Table {
    let mut table = Table::new(["id", "amount", "plan", "since", "note", "gap", "label"]).unwrap();
    let mut state = 7u64;
    let mut random = move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    for row in 0..rows {
        let amount = (random() % 10_000) as f64 / 100.0;
        let (plan, month) = (["free", "basic", "plus"][random() % 3], random() % 12);
        let gap = if random() % 3 == 0 { String::new() } else { (random() % 50).to_string() };
        let cells = [
            format!("C-{:05}-{row}", random() % 100_000),
            amount.to_string(),
            plan.to_owned(),
            format!("2025-{:02}-{:02}", month + 1, random() % 28 + 1),
            format!(
                "customer {} said that the product is {}",
                random(),
                ["good", "bad"][random() % 2]
            ),
            gap,
            target(amount, month, plan),
        ];
        table.push_row(&cells).unwrap();
    }
    table
}

fn binary(rows: usize) -> Table {
    table(rows, |amount, month, plan| {
        let positive = amount > 60.0 || (plan == "plus" && month < 4);
        if positive { " >50K".to_owned() } else { " <=50K".to_owned() }
    })
}

fn settings(candidates: usize) -> Settings {
    Settings { target: "label".into(), max_candidates: candidates, seed: 3, ..Settings::default() }
}

fn run(table: &Table, settings: &Settings) -> Result<Leaderboard, TrainError> {
    train(table, None, settings, &mut |_| {}, &AtomicBool::new(false))
}

fn values(board: &Leaderboard) -> Vec<(usize, Vec<(Metric, f64)>)> {
    board.candidates.iter().map(|candidate| (candidate.number, candidate.metrics.clone())).collect()
}

#[test]
fn a_learnable_target_is_learned_and_labels_keep_their_spaces() {
    let data = binary(1_000);
    let board = run(&data, &settings(10)).unwrap();
    assert_eq!(board.analysis.problem_type, ProblemType::BinaryClassification);
    assert_eq!(board.analysis.metric, Metric::F1);
    assert_eq!(board.ending, Ending::Completed);
    assert_eq!(board.candidates.len(), 10);
    let best = board.best().unwrap();
    assert!(best.metric(Metric::Auc).unwrap() > 0.99, "{:?}", best.metrics);
    assert_eq!(best.model.labels(), [" <=50K", " >50K"]);
    assert_eq!(best.importance[0].0, "amount");
    assert!((best.importance.iter().map(|(_, share)| share).sum::<f64>() - 1.0).abs() < 1e-6);
    let kinds: Vec<Algorithm> =
        board.candidates.iter().map(|candidate| candidate.algorithm).collect();
    for wanted in [Algorithm::GradientBoosting, Algorithm::Linear, Algorithm::NeuralNetwork] {
        assert!(kinds.contains(&wanted));
    }
    let last = board.candidates.iter().find(|candidate| candidate.number == 10).unwrap();
    assert_eq!(last.algorithm, Algorithm::WeightedEnsemble);
    assert!(board.candidates.windows(2).all(|pair| pair[0].objective >= pair[1].objective));
}

#[test]
fn candidates_of_the_same_rank_are_ordered_by_log_loss() {
    let data = table(700, |amount, _, _| (amount > 50.0).to_string());
    let board = run(&data, &Settings { metric: Some(Metric::Accuracy), ..settings(10) }).unwrap();
    let key = |at: usize| {
        let candidate = &board.candidates[at];
        (candidate.objective, candidate.metric(Metric::LogLoss).unwrap())
    };
    let equal: Vec<usize> = (1..10).filter(|at| key(*at).0 == key(at - 1).0).collect();
    assert!(!equal.is_empty());
    assert!(equal.iter().all(|at| key(*at).1 >= key(at - 1).1));
}

#[test]
fn the_ensemble_wins_where_a_candidate_leads_by_chance() {
    // Noise enough that a few rows decide who is first.
    let mut random = 1u64;
    let data = table(600, |amount, _, _| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (amount + (random >> 33) as f64 / f64::from(1u32 << 31) * 60.0 > 80.0).to_string()
    });
    let board = run(&data, &Settings { metric: Some(Metric::Accuracy), ..settings(10) }).unwrap();
    let (first, best) = (&board.candidates[0], board.best().unwrap());
    assert!(first.algorithm != Algorithm::WeightedEnsemble && first.objective > best.objective);
    assert_eq!((best.algorithm, best.number), (Algorithm::WeightedEnsemble, board.winner));
}

#[test]
fn very_many_columns_are_learned_from() {
    // 300 rows would be hopeless for all pairs of 1,000 columns; three of them matter.
    let mut random = 5u64;
    let mut data =
        Table::new((0..1_000).map(|at| format!("x{at}")).chain(["label".into()])).unwrap();
    for _ in 0..400 {
        let mut row: Vec<f64> = Vec::new();
        for _ in 0..1_000 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            row.push((random >> 33) as f64 / f64::from(1u32 << 31));
        }
        let label = (row[700] + row[41] + row[999] > 1.5).to_string();
        let cells = row.iter().map(f64::to_string).chain([label]);
        data.push_row(&cells.collect::<Vec<_>>()).unwrap();
    }
    let settings = Settings { metric: Some(Metric::Auc), min_rows: 100, ..settings(10) };
    let board = run(&data, &settings).unwrap();
    let best = &board.candidates[0];
    assert!(best.objective > 0.88, "{}", best.objective);
    let mut first: Vec<&str> =
        best.importance.iter().take(3).map(|(name, _)| name.as_str()).collect();
    first.sort_unstable();
    assert_eq!(first, ["x41", "x700", "x999"]);
    let boosting = |candidate: &&crosspilot_automl::Candidate| {
        candidate.algorithm == Algorithm::GradientBoosting
    };
    assert!(board.candidates.iter().filter(boosting).all(|candidate| candidate.objective > 0.75));
}

#[test]
fn the_same_seed_gives_the_same_leaderboard() {
    let data = binary(700);
    let first = run(&data, &settings(10)).unwrap();
    let second = run(&data, &settings(10)).unwrap();
    assert_eq!(values(&first), values(&second));
    assert_eq!(first.candidates[0].model.save(), second.candidates[0].model.save());
}

#[test]
fn three_labels_and_numbers_work_too() {
    let three = table(900, |amount, _, plan| {
        if plan == "free" { "none".into() } else { format!("c{}", (amount / 50.0) as u8) }
    });
    let board = run(&three, &settings(10)).unwrap();
    assert_eq!(board.analysis.problem_type, ProblemType::MulticlassClassification);
    assert!(board.candidates[0].objective > 0.98);

    let numbers = table(900, |amount, month, plan| {
        format!("{}", 1e6 + 3.0 * amount + month as f64 + 40.0 * f64::from(plan == "plus"))
    });
    let board = run(&numbers, &settings(10)).unwrap();
    assert_eq!(
        (board.analysis.problem_type, board.analysis.metric),
        (ProblemType::Regression, Metric::Mse)
    );
    assert_eq!(board.analysis.metric.direction(), Direction::Minimize);
    let best = &board.candidates[0];
    assert!(best.metric(Metric::R2).unwrap() > 0.99, "{:?}", best.metrics);
    assert!(best.model.labels().is_empty());
    assert!(board.candidates.windows(2).all(|pair| pair[0].objective <= pair[1].objective));
}

#[test]
fn every_model_predicts_the_same_after_a_round_trip() {
    let data = binary(600);
    let board = run(&data, &settings(10)).unwrap();
    for candidate in &board.candidates {
        let loaded = Model::load(&candidate.model.save()).unwrap();
        let records = data.select(loaded.features()).unwrap();
        let answers = loaded.predict(&records).unwrap();
        assert_eq!(answers, candidate.model.predict(&records).unwrap());
        for answer in answers {
            let Prediction::Class { label, probabilities } = answer else { panic!("a number") };
            assert!(label < 2 && (probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        }
    }
}

#[test]
fn records_may_be_strange_but_need_every_column() {
    let model = run(&binary(600), &settings(10)).unwrap().candidates.remove(0).model;
    let strange =
        Table::read_csv("x,not a number,martian,someday,,inf\n,,,,,\n".as_bytes(), false).unwrap();
    assert_eq!(model.predict(&strange).unwrap().len(), 2);
    let short = Table::read_csv("1,2\n".as_bytes(), false).unwrap();
    let error = model.predict(&short).unwrap_err();
    assert!(matches!(error, ModelError::Columns { got: 2, expected: 6 }));
    assert!(error.to_string().starts_with("the records have 2 columns where the model expects 6"));
    // Named columns may come in any order.
    let data = binary(600);
    let turned = data.select(&["gap", "note", "since", "plan", "amount", "id"]).unwrap();
    assert_eq!(
        model.predict(&turned).unwrap(),
        model.predict(&data.select(model.features()).unwrap()).unwrap()
    );
}

#[test]
fn damaged_models_are_refused_and_never_panic() {
    let bytes = run(&binary(600), &settings(3)).unwrap().candidates[0].model.save();
    assert!(matches!(Model::load(b"hello"), Err(ModelError::NotAModel)));
    assert!(matches!(Model::load(&bytes[..bytes.len() / 2]), Err(ModelError::Damaged(_))));
    let mut other = bytes.clone();
    other[4] = 99;
    assert!(matches!(Model::load(&other), Err(ModelError::Version { got: 99, .. })));
    let records = Table::read_csv("a,1,plus,2025-01-01,some words,3\n".as_bytes(), false).unwrap();
    for at in (6..bytes.len()).step_by(bytes.len() / 400) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x5a;
        if let Ok(model) = Model::load(&flipped) {
            let _ = model.predict(&records);
        }
    }
}

#[test]
fn unfit_data_is_refused_in_words() {
    let data = binary(600);
    let fails = |data: &Table, change: &dyn Fn(&mut Settings)| {
        let mut settings = settings(3);
        change(&mut settings);
        analyze(data, &settings).unwrap_err().to_string()
    };
    assert_eq!(
        fails(&data, &|settings| settings.target = "Label".into()),
        "there is no target column `Label`; did you mean `label`?"
    );
    assert!(
        fails(&binary(499), &|_| {})
            .contains("499 rows have a value in `label`, but at least 500 are needed")
    );
    let one = table(600, |_, _, _| "yes".into());
    assert!(fails(&one, &|_| {}).starts_with("every row has the same value in"));
    assert!(
        fails(&data, &|settings| settings.target = "id".into())
            .starts_with("cannot tell what to predict")
    );
    assert!(
        fails(&data, &|settings| settings.metric = Some(Metric::R2))
            .starts_with("R2 is no objective")
    );
    let regression =
        |settings: &mut Settings| settings.problem_type = Some(ProblemType::Regression);
    assert!(fails(&data, &regression).contains("none of its values is a number"));
    assert!(
        fails(&data, &|settings| settings.weight_column = Some("plan".into()))
            .contains("no record has a number of at least 0")
    );
    assert!(
        fails(&data, &|settings| settings.validation_fraction = 0.9)
            .starts_with("validation_fraction is 0.9")
    );
}

#[test]
fn rows_without_a_valid_weight_are_left_out() {
    let mut data = Table::new(["x", "weight", "y"]).unwrap();
    for row in 0..700 {
        let weight = ["1", "2.5", "none of them", "-1", ""][row % 5];
        let label = if row % 2 == 0 { "a" } else { "b" };
        data.push_row(&[&(row * 37 % 101).to_string()[..], weight, label]).unwrap();
    }
    let mut settings = settings(3);
    settings.target = "y".into();
    settings.weight_column = Some("weight".into());
    settings.problem_type = None;
    settings.metric = None;
    settings.min_rows = 100;
    let analysis = analyze(&data, &settings).unwrap();
    assert_eq!((analysis.rows, analysis.dropped_rows), (280, 420));
}

#[test]
fn rows_without_a_target_are_left_out() {
    let data = table(
        700,
        |amount, _, _| {
            if amount < 10.0 { String::new() } else { (amount > 50.0).to_string() }
        },
    );
    let analysis = analyze(&data, &settings(3)).unwrap();
    assert_eq!(analysis.rows + analysis.dropped_rows, 700);
    assert!(analysis.dropped_rows > 30);
}

#[test]
fn a_validation_table_is_what_candidates_are_measured_on() {
    let (data, other) = (binary(800), binary(300));
    let board =
        train(&data, Some(&other), &settings(4), &mut |_| {}, &AtomicBool::new(false)).unwrap();
    assert!(board.candidates[0].objective > 0.95);
    let short = other.select(&["id", "label"]).unwrap();
    let error =
        train(&data, Some(&short), &settings(4), &mut |_| {}, &AtomicBool::new(false)).unwrap_err();
    assert!(matches!(error, TrainError::Validation(_)));
}

#[test]
fn events_tell_the_story_in_order() {
    let mut story = Vec::new();
    let mut observe = |event: Event<'_>| {
        story.push(match event {
            Event::Analyzed(_) => "analyzed".to_owned(),
            Event::Started { number, .. } => format!("started {number}"),
            Event::Finished(candidate) => format!("finished {}", candidate.number),
            Event::Refitting(_) => "refitting".to_owned(),
        });
    };
    train(&binary(600), None, &settings(5), &mut observe, &AtomicBool::new(false)).unwrap();
    assert_eq!(story[0], "analyzed");
    assert_eq!(story.iter().filter(|line| line.starts_with("finished")).count(), 5);
    for number in 1..=5 {
        let at =
            |what: &str| story.iter().position(|line| *line == format!("{what} {number}")).unwrap();
        assert!(at("started") < at("finished"));
    }
    assert_eq!(story.last().unwrap(), "finished 5");
}

#[test]
fn stopping_and_running_out_of_time_keep_what_is_done() {
    let data = binary(3_000);
    let stop = AtomicBool::new(false);
    let mut observe = |event: Event<'_>| {
        if matches!(event, Event::Finished(_)) {
            stop.store(true, Ordering::Relaxed);
        }
    };
    let board = train(&data, None, &settings(50), &mut observe, &stop).unwrap();
    assert_eq!(board.ending, Ending::Stopped);
    assert!(!board.candidates.is_empty() && board.candidates.len() < 10);

    let hurried = Settings { time_budget: Duration::from_millis(300), ..settings(200) };
    let start = Instant::now();
    let board = run(&data, &hurried).unwrap();
    assert_eq!(board.ending, Ending::OutOfTime);
    assert!(start.elapsed() < Duration::from_secs(10));
    assert!(board.candidates[0].objective > 0.5);
}

#[test]
fn no_candidate_takes_the_time_of_the_others() {
    let data = binary(40_000);
    let start = Instant::now();
    let board =
        run(&data, &Settings { time_budget: Duration::from_secs(4), ..settings(10) }).unwrap();
    assert!(start.elapsed() < Duration::from_secs(12));
    assert!(board.candidates.len() >= 4, "{}", board.candidates.len());
    assert!(board.candidates[0].objective > 0.95);
}

#[test]
fn rare_labels_are_found_when_the_metric_asks_for_them() {
    let data =
        table(
            2_000,
            |amount, month, _| {
                if amount > 93.0 && month < 9 { "rare".into() } else { "common".into() }
            },
        );
    let board = run(&data, &settings(5)).unwrap();
    assert!(board.candidates[0].metric(Metric::F1).unwrap() > 0.9);
}

#[test]
fn hundreds_of_labels_end_in_time() {
    let data = table(3_000, |amount, _, _| format!("label {}", (amount * 2.0) as usize));
    let start = Instant::now();
    let board =
        run(&data, &Settings { time_budget: Duration::from_secs(20), ..settings(6) }).unwrap();
    assert!(board.analysis.labels.len() > 150);
    assert!(board.candidates[0].objective > 0.5);
    assert!(start.elapsed() < Duration::from_secs(60));
}

#[test]
fn weights_count() {
    // The same rows twice with opposite labels: the heavier say wins.
    let mut data = Table::new(["x", "w", "label"]).unwrap();
    for row in 0..1_000 {
        let x = row / 2;
        let (heavy, side) = (row % 2 == 0, x % 10 < 5);
        let cells = [
            (x % 10).to_string(),
            if heavy { "9" } else { "1" }.to_owned(),
            (side == heavy).to_string(),
        ];
        data.push_row(&cells).unwrap();
    }
    let settings =
        Settings { weight_column: Some("w".into()), metric: Some(Metric::Auc), ..settings(1) };
    let model = run(&data, &settings).unwrap().candidates.remove(0).model;
    let answers = model.predict(&Table::read_csv("1,1\n8,1\n".as_bytes(), false).unwrap()).unwrap();
    let positive = |answer: &Prediction| match answer {
        Prediction::Class { probabilities, .. } => probabilities[1],
        Prediction::Value(_) => f64::NAN,
    };
    assert!(positive(&answers[0]) > 0.8 && positive(&answers[1]) < 0.2, "{answers:?}");
}

#[test]
fn a_million_rows_end_in_time_and_fit_into_memory() {
    // In a process of its own, since it looks at the memory of the whole process.
    const ALONE: &str = "CROSSPILOT_TEST_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let name = "a_million_rows_end_in_time_and_fit_into_memory";
        let mut alone = Command::new(std::env::current_exe().unwrap());
        let ended = alone.args(["--exact", name]).env(ALONE, "1").output().unwrap();
        let said = String::from_utf8_lossy(&ended.stdout);
        assert!(ended.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let data = binary(1_000_000);
    let start = Instant::now();
    let budget = Duration::from_secs(40);
    let board = run(&data, &Settings { time_budget: budget, ..settings(10) }).unwrap();
    assert!(start.elapsed() < budget * 3 / 2, "{:?}", start.elapsed());
    assert!(board.candidates.len() >= 5, "{}", board.candidates.len());
    assert!(board.candidates[0].metric(Metric::Auc).unwrap() > 0.99);
    assert!(board.candidates[0].model.save().len() < 10_000_000);
    // Linux says what a process took at most.
    if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        let kilobytes: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        assert!(kilobytes < 2_000_000, "{kilobytes} kB");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn any_table_trains_or_is_refused(cells in proptest::collection::vec(".{0,3}", 60..240), width in 2usize..5) {
        let mut table = Table::new((0..width).map(|number| format!("c{number}"))).unwrap();
        for row in cells.chunks_exact(width) {
            table.push_row(row).unwrap();
        }
        let settings = Settings { target: "c0".into(), min_rows: 10, max_candidates: 4, ..Settings::default() };
        if let Ok(board) = run(&table, &settings) {
            for candidate in &board.candidates {
                prop_assert!(candidate.objective.is_finite());
                prop_assert!(Model::load(&candidate.model.save()).is_ok());
            }
        }
    }
}
