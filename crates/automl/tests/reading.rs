//! Columns as people send them are learned from: each test compares what a model knows with
//! the column and without it.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::AtomicBool;

use crosspilot_automl::{Settings, Table, train};
use crosspilot_metrics::Metric;

/// The same numbers in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

/// The AUC of the first candidate, on rows it was not trained on: of noise alone and of
/// noise beside a column whose cells `cell` gives, with how likely the row is a yes.
fn with_and_without(rows: usize, mut cell: impl FnMut(&mut Random) -> (String, f64)) -> [f64; 2] {
    let mut random = Random(11);
    let mut table = Table::new(["noise", "column", "label"]).unwrap();
    for _ in 0..rows {
        let (cell, likely) = cell(&mut random);
        let yes = (random.below(1_000) as f64) < 1_000.0 * likely;
        let noise = random.below(10_000) as f64 / 7.0;
        table.push_row(&[noise.to_string(), cell, yes.to_string()]).unwrap();
    }
    [&["noise", "column", "label"][..], &["noise", "label"]].map(|names| {
        let settings = Settings {
            target: "label".into(),
            metric: Some(Metric::Auc),
            max_candidates: 1,
            seed: 3,
            ..Settings::default()
        };
        let table = table.select(names).unwrap();
        let board = train(&table, None, &settings, &mut |_| {}, &AtomicBool::new(false)).unwrap();
        board.candidates[0].objective
    })
}

fn is_learned([with, without]: [f64; 2], floor: f64) {
    assert!(with > floor && without < 0.6, "AUC {with} with the column, {without} without");
}

#[test]
fn numbers_among_which_some_are_infinite() {
    let ratio = |random: &mut Random| {
        let (parts, whole) = (random.below(200) as f64 - 100.0, random.below(4) as f64);
        // As most programs write it: inf, -inf and nan.
        let text = format!("{}", parts / whole);
        (text, if parts / whole > 30.0 { 0.9 } else { 0.1 })
    };
    is_learned(with_and_without(2_000, ratio), 0.8);
}

#[test]
fn infinite_cells_are_above_all_others_and_not_missing() {
    let either = |random: &mut Random| match random.below(3) {
        0 => ("inf".to_owned(), 0.9),
        1 => ("-inf".to_owned(), 0.1),
        _ => (format!("{}.5", random.below(900)), 0.5),
    };
    is_learned(with_and_without(2_000, either), 0.75);
}

#[test]
fn times_of_day() {
    let time = |random: &mut Random| {
        let (hour, minute, second) = (random.below(24), random.below(60), random.below(60));
        let text = format!("{hour:02}:{minute:02}:{second:02}");
        (text, if (6..18).contains(&hour) { 0.05 } else { 0.95 })
    };
    is_learned(with_and_without(2_000, time), 0.9);
}

#[test]
fn amounts_of_money_shares_and_decimal_commas() {
    for dress in [
        |n: usize| format!("${},{:03}.50", n / 1_000 + 1, n % 1_000),
        |n: usize| format!("{}.{} %", n / 50, n % 10),
        |n: usize| format!("{},{:02}", n / 100, n % 100),
    ] {
        let amount = |random: &mut Random| {
            let amount = random.below(5_000);
            (dress(amount), if amount > 3_000 { 0.95 } else { 0.05 })
        };
        is_learned(with_and_without(1_000, amount), 0.85);
    }
}

#[test]
fn four_hundred_codes_that_look_like_numbers() {
    // Neighbours in number have nothing in common.
    let likely = |code: usize| if code * 7_919 % 1_009 < 500 { 0.9 } else { 0.1 };
    let number = |random: &mut Random| {
        let code = random.below(400);
        ((10_000 + 211 * code % 80_000).to_string(), likely(code))
    };
    let word = |random: &mut Random| {
        let code = random.below(400);
        (format!("code {code}"), likely(code))
    };
    let numbers = with_and_without(4_000, number);
    is_learned(numbers, 0.83);
    // As well as if they were words.
    let words = with_and_without(4_000, word);
    assert!(numbers[0] > words[0] - 0.015, "{numbers:?} {words:?}");
}
