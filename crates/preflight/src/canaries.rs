//! Whatever the data is like, no cell of it stands in what the preflight tells outside
//! the customer's account.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::Verdict;
use super::tests::inspect;
use crate::sentences;

/// A word that stands for a cell of a customer's.
const CANARY: &str = "quokka";

/// The kind of a column's cells.
#[derive(Debug, Clone, Copy)]
enum Cells {
    Words,
    Unique,
    Constant,
    Numbers,
    Mixed,
    Money,
    Missing,
    Dates,
    Lines,
    Commas,
    Long,
}

impl Cells {
    fn cell(self, row: usize) -> String {
        match self {
            Cells::Words => format!("{CANARY} {}", row % 3),
            Cells::Unique => format!("{CANARY}{row}@example.com"),
            Cells::Constant => CANARY.into(),
            Cells::Numbers => (row * 7919 % 613).to_string(),
            Cells::Mixed if row % 9 == 1 => CANARY.into(),
            Cells::Mixed => row.to_string(),
            Cells::Money => format!("\"${},{:03}.50 {CANARY}\"", row % 7, row % 999),
            Cells::Missing if row % 5 == 1 => format!(" {CANARY}"),
            Cells::Missing => ["", "\\N", "?", " "][row % 4].into(),
            Cells::Dates => format!("{:02}/{:02}/26", row % 12 + 1, row % 28 + 1),
            Cells::Lines => format!("\"{CANARY}\n{}\"", row % 4),
            Cells::Commas => format!("\"{CANARY}, {}\"", row % 11),
            Cells::Long if row == 3 => CANARY.repeat(7000),
            Cells::Long => (row % 13).to_string(),
        }
    }
}

/// The damage to a file as a whole.
#[derive(Debug, Clone, Copy)]
enum Damage {
    None,
    Ragged,
    OpenQuote,
    Semicolons,
    Tabs,
    CarriageReturns,
    Latin1,
    Nul,
    FirstLineAgain,
    TrailingCommas,
    TitleLine,
    Mark,
}

impl Damage {
    fn done_to(self, text: String) -> Vec<u8> {
        let first = text.lines().next().unwrap_or_default().to_owned();
        let mut bytes = match self {
            Damage::None | Damage::Latin1 | Damage::Nul => text,
            Damage::Ragged => format!("{text}{CANARY},{CANARY}\n{text}"),
            Damage::OpenQuote => format!("{text}\"{CANARY},{CANARY}\n"),
            Damage::Semicolons => text.replace(',', ";"),
            Damage::Tabs => text.replace(',', "\t"),
            Damage::CarriageReturns => text.replace('\n', "\r"),
            Damage::FirstLineAgain => format!("{text}{first}\n"),
            Damage::TrailingCommas => text.replace('\n', ",\n"),
            Damage::TitleLine => format!("{CANARY} of 2026\n\n{text}"),
            Damage::Mark => format!("\u{FEFF}{text}"),
        }
        .into_bytes();
        let end = bytes.len().saturating_sub(2);
        match self {
            Damage::Latin1 => bytes.insert(end, 0xE9),
            Damage::Nul => bytes.insert(end, 0),
            _ => {}
        }
        bytes
    }
}

/// A table of columns `c0`, `c1` ... and, unless it is left out, `churn`: with a header,
/// or with a first row that holds the target's name.
#[derive(Debug, Clone)]
struct Sheet {
    columns: Vec<Cells>,
    labels: Cells,
    rows: usize,
    has_header: bool,
    damage: Damage,
}

impl Sheet {
    fn text(&self) -> Vec<u8> {
        let mut text = String::new();
        if self.has_header {
            (0..self.columns.len()).for_each(|index| text.push_str(&format!("c{index},")));
            text.push_str("churn\n");
        }
        for row in 0..self.rows {
            self.columns.iter().for_each(|cells| text.push_str(&(cells.cell(row) + ",")));
            let label = match self.has_header || row % 4 > 0 {
                true => self.labels.cell(row),
                false => "churn".into(),
            };
            text.push_str(&(label + "\n"));
        }
        self.damage.done_to(text)
    }
}

fn cells() -> impl Strategy<Value = Cells> {
    use Cells::*;
    prop::sample::select(vec![
        Words, Unique, Constant, Numbers, Mixed, Money, Missing, Dates, Lines, Commas, Long,
    ])
}

fn sheet() -> impl Strategy<Value = Sheet> {
    use Damage::*;
    let damages = vec![
        Ragged,
        OpenQuote,
        Semicolons,
        Tabs,
        CarriageReturns,
        Latin1,
        Nul,
        FirstLineAgain,
        TrailingCommas,
        TitleLine,
        Mark,
    ];
    let damage = prop_oneof![3 => Just(None), 2 => prop::sample::select(damages)];
    let columns = prop::collection::vec(cells(), 1..5);
    let rows = prop::sample::select(vec![3_usize, 60, 700]);
    (columns, cells(), rows, any::<bool>(), damage).prop_map(
        |(columns, labels, rows, has_header, damage)| Sheet {
            columns,
            labels,
            rows,
            has_header,
            damage,
        },
    )
}

fn settings() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        json!({}),
        json!({"objective": {"problem_type": "Regression", "metric": "MSE"}}),
        json!({"objective": {"problem_type": "BinaryClassification", "metric": "F1"}}),
        json!({"training": {"mode": "ensembling", "sample_weight": "c0"}}),
        json!({"training": {"features": {"c0": "numeric"}}}),
    ])
}

/// All that a run tells outside the customer's account of a verdict: why it ends, or
/// what it goes on with.
fn told(verdict: &Verdict) -> String {
    match verdict.is_fit() {
        false => sentences(verdict),
        true => format!(
            "{:?} {:?} {:?}",
            verdict.warnings,
            verdict.features("churn"),
            verdict.booleans("churn")
        ),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn no_cell_is_told(
        settings in settings(),
        training in sheet(),
        second in proptest::option::of(sheet()),
        validation in proptest::option::of(sheet()),
        held_out in proptest::option::of(sheet()),
    ) {
        let mut settings = settings;
        settings["target"] = "churn".into();
        let others =
            [("train/b.csv", second), ("validation/v.csv", validation), ("test/h.csv", held_out)];
        if others[1].1.is_some() {
            settings["training"]["validation"] = "channel".into();
        }
        let mut files = vec![("train/a.csv", training.text())];
        files.extend(others.iter().filter_map(|(name, sheet)| Some((*name, sheet.as_ref()?.text()))));
        let told = told(&inspect(settings, files).0);
        prop_assert!(!told.contains(CANARY), "{told}");
    }
}
