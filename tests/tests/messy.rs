//! Whatever the preflight calls fit, the engine of the local cloud trains on and the
//! model answers; what it refuses, it refuses in a sentence. Random tables of every
//! awkward kind, the same ones each time.
#![allow(clippy::unwrap_used)]

use std::ops::Range;
use std::sync::atomic::AtomicBool;

use crosspilot_automl::{Settings, Table, train};
use crosspilot_core::settings::ModelSettings;
use fastrand::Rng;
use start_job::preflight::{self, Data, File, Source};

/// Tables that are made.
const TABLES: u64 = 200;

struct Memory(Vec<u8>);

impl Source for Memory {
    type Error = std::convert::Infallible;

    async fn read(&self, _: &File, range: Range<u64>) -> Result<Vec<u8>, Self::Error> {
        Ok(self.0[range.start as usize..range.end as usize].to_vec())
    }
}

/// A cell of one of many kinds; `x` is what the target follows.
fn cell(kind: usize, x: f64, row: usize, rng: &mut Rng) -> String {
    let one =
        |list: &[&str]| list[((x * list.len() as f64) as usize).min(list.len() - 1)].to_owned();
    match kind {
        0 => format!("{:.3}", x * 10.0),
        1 => format!("{}", (x * 40.0) as i32),
        2 => one(&["red", "green", "blue", " red"]),
        3 => one(&["yes", "no"]),
        4 => format!("${},{:03}", (x * 9.0) as u32 + 1, rng.u32(..999)),
        5 => format!("{:.1} %", x * 100.0),
        6 => format!("{},{}", (x * 9.0) as u32, rng.u32(..9)),
        7 => format!("2026-{:02}-{:02}", (x * 11.0) as u32 + 1, rng.u32(1..28)),
        8 => format!("{:02}:{:02}:{:02}", (x * 23.0) as u32, rng.u32(..60), rng.u32(..60)),
        9 => format!("C-{row:06}"),
        10 => row.to_string(),
        11 => "same".to_owned(),
        12 => String::new(),
        13 => {
            if rng.u32(..9) == 0 {
                "inf".to_owned()
            } else {
                format!("{:.2}", x)
            }
        }
        14 => {
            if rng.u32(..5) == 0 {
                "?".to_owned()
            } else {
                format!("{:.2}", x * 7.0)
            }
        }
        15 => {
            if rng.u32(..5) == 0 {
                "\\N".to_owned()
            } else {
                one(&["a", "b"])
            }
        }
        16 => format!("the customer said {} and \"{}\", {row}", one(&["no", "yes"]), rng.u32(..99)),
        17 => one(&["a\nb", "c\r\nd", "e"]),
        18 => format!("{:05}", 10_000 + rng.u32(..400)),
        19 => format!("{:e}", x * 1e12),
        20 => one(&["TRUE", "FALSE"]),
        21 => format!("{}/{}/{:02}", rng.u32(1..13), rng.u32(1..29), rng.u32(10..30)),
        22 => {
            if rng.u32(..2) == 0 {
                "NaN".to_owned()
            } else {
                format!("{}", rng.u32(..5))
            }
        }
        23 => one(&["é", "日本", "🦀"]),
        24 => format!("{}", rng.u64(..)),
        _ => {
            if rng.u32(..3) == 0 {
                " ".to_owned()
            } else {
                format!(" {} ", rng.u32(..50))
            }
        }
    }
}

const KINDS: usize = 26;

/// A table as CSV, with a target of any of these kinds, too.
fn table(seed: u64) -> Vec<u8> {
    let mut rng = Rng::with_seed(seed);
    let columns: Vec<usize> = (0..rng.usize(1..8)).map(|_| rng.usize(..KINDS)).collect();
    let target = rng.usize(..KINDS);
    let rows = rng.usize(490..700);
    let missing = if rng.bool() { 0 } else { rng.u32(1..40) };
    let mut writer = csv::Writer::from_writer(Vec::new());
    let names = (0..columns.len()).map(|column| format!("c{column}")).chain(["y".to_owned()]);
    writer.write_record(names).unwrap();
    for row in 0..rows {
        let x = rng.f64();
        let mut cells: Vec<String> =
            columns.iter().map(|kind| cell(*kind, x, row, &mut rng)).collect();
        let noisy = (x + rng.f64() * 0.2) / 1.2;
        cells.push(cell(target, noisy, row, &mut rng));
        for cell in &mut cells {
            if missing > 0 && rng.u32(..100) < missing {
                cell.clear();
            }
        }
        writer.write_record(cells).unwrap();
    }
    writer.into_inner().unwrap()
}

#[tokio::test]
async fn what_is_fit_is_trained_on_and_answered() {
    let mut fit = 0;
    let mut wrong = Vec::new();
    for seed in 0..TABLES {
        let bytes = table(seed);
        let file = File {
            name: "data.csv".into(),
            key: "data.csv".into(),
            size: bytes.len() as u64,
            archived: false,
            etag: String::new(),
        };
        let data = Data { training: vec![file], ..Data::default() };
        let source = Memory(bytes);
        let Ok(verdict) = preflight::judge(&source, &ModelSettings::predicting("y"), data).await;
        let said = start_job::sentences(&verdict);
        if !verdict.is_fit() {
            assert!(!said.is_empty() && said.len() < 2000, "{seed}: {said}");
            continue;
        }
        fit += 1;
        let Memory(bytes) = source;
        let settings =
            Settings { target: "y".into(), max_candidates: 1, seed, ..Settings::default() };
        let rows = Table::read_csv(&bytes[..], true);
        let trained = rows.map_err(|e| e.to_string()).and_then(|rows| {
            let board = train(&rows, None, &settings, &mut |_| {}, &AtomicBool::new(false));
            let board = board.map_err(|e| e.to_string())?;
            let best = board.best().ok_or("no candidate")?;
            let records = rows.select(best.model.features()).map_err(|e| e.to_string())?;
            let answers = best.model.predict(&records.take(&[0, 1, 2]));
            answers.map(|answers| answers.len()).map_err(|e| e.to_string())
        });
        if trained != Ok(3) {
            wrong.push(format!("{seed}: {trained:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {fit}: {wrong:#?}", wrong.len());
    assert!(fit > TABLES / 4, "only {fit} of {TABLES} tables are fit: they show little");
}
