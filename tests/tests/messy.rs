//! Whatever the preflight calls fit, the engine of the local cloud trains on and the
//! model answers; what it refuses, it refuses in a sentence. Random tables of every
//! awkward kind, the same ones each time.
#![allow(clippy::unwrap_used)]

use std::ops::Range;
use std::sync::atomic::AtomicBool;

use crosspilot_automl::{Settings, Table, train};
use crosspilot_core::settings::ModelSettings;
use crosspilot_preflight::{self as preflight, Data, File, Source};
use crosspilot_tests::messy::table;

/// Tables that are made.
const TABLES: u64 = 200;

struct Memory(Vec<u8>);

impl Source for Memory {
    type Error = std::convert::Infallible;

    async fn read(&self, _: &File, range: Range<u64>) -> Result<Vec<u8>, Self::Error> {
        Ok(self.0[range.start as usize..range.end as usize].to_vec())
    }
}

#[tokio::test]
async fn what_is_fit_is_trained_on_and_answered() {
    let mut fit = 0;
    let mut wrong = Vec::new();
    for seed in 0..TABLES {
        let bytes = table(seed, "word");
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
        let said = crosspilot_preflight::sentences(&verdict);
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
