//! The data of demo and proof: a file of yours, or a churn-like data set that is made.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crosspilot_core::settings::ModelSettings;
use crosspilot_preflight::{self as preflight, Data, File, Source};
use fastrand::Rng;
use serde_json::{Map, Value};

use crate::failure::Failure;

/// Rows of the made data set.
const MADE_ROWS: usize = 5000;

/// A table with its header, in one file.
pub(crate) struct Dataset {
    /// The name of the data, for people.
    pub(crate) name: String,
    /// Name of the model that is trained on it.
    pub(crate) model: String,
    /// The column to predict.
    pub(crate) target: String,
    pub(crate) header: Vec<String>,
    /// The file.
    pub(crate) text: Vec<u8>,
    pub(crate) rows: usize,
    /// A row of it, for one prediction through the API.
    pub(crate) example: Example,
}

/// A row by the names of its columns, in their order.
pub(crate) type Example = Vec<(String, String)>;

/// A row as a record for the prediction API, without its target.
pub(crate) fn record(row: &Example, target: &str) -> Map<String, Value> {
    row.iter()
        .filter(|(column, _)| column != target)
        .map(|(column, cell)| (column.clone(), Value::from(cell.as_str())))
        .collect()
}

/// Reads or makes the data, and checks that it can be trained on.
pub(crate) async fn prepare(data: Option<(&Path, &str)>, seed: u64) -> Result<Dataset, Failure> {
    let (name, target, model, bytes) = match data {
        Some((path, target)) => {
            let bytes = fs::read(path).map_err(|e| Failure::Unreadable(path.to_owned(), e))?;
            (path.display().to_string(), target.to_owned(), model_name(path), bytes)
        }
        None => {
            let made = make_churn(MADE_ROWS, seed);
            (format!("{MADE_ROWS} made rows"), "Churn?".to_owned(), "churn".to_owned(), made)
        }
    };
    must_be_fit(&name, &bytes, &target).await?;
    read(bytes, name, model, target, seed)
}

/// Data in memory.
struct Bytes<'a>(&'a [u8]);

impl Source for Bytes<'_> {
    type Error = Failure;

    async fn read(&self, _: &File, range: Range<u64>) -> Result<Vec<u8>, Failure> {
        let at = |offset| usize::try_from(offset).unwrap_or(usize::MAX).min(self.0.len());
        Ok(self.0[at(range.start)..at(range.end)].to_vec())
    }
}

async fn must_be_fit(name: &str, bytes: &[u8], target: &str) -> Result<(), Failure> {
    let file = File {
        name: name.to_owned(),
        key: "data".to_owned(),
        size: bytes.len() as u64,
        archived: false,
        etag: String::new(),
    };
    let data = Data { training: vec![file], ..Data::default() };
    let settings = ModelSettings::predicting(target);
    let verdict = preflight::judge(&Bytes(bytes), &settings, data).await?;
    if verdict.is_fit() {
        return Ok(());
    }
    let sentences = crosspilot_preflight::sentences(&verdict);
    Err(Failure::Unfit(match sentences.contains(name) {
        true => sentences,
        false => format!("{name}: {sentences}"),
    }))
}

/// The file's name as a model name, or `demo` if it cannot be one.
fn model_name(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let slug: String =
        stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(20).collect();
    let slug = slug.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-");
    if slug.parse::<crosspilot_core::ids::ModelName>().is_ok() { slug } else { "demo".to_owned() }
}

fn read(
    text: Vec<u8>,
    name: String,
    model: String,
    target: String,
    seed: u64,
) -> Result<Dataset, Failure> {
    let unreadable =
        |error: csv::Error| Failure::Unreadable(PathBuf::from(&name), std::io::Error::other(error));
    let mut reader = csv::Reader::from_reader(text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&text));
    let words = |row: &csv::StringRecord| row.iter().map(str::to_owned).collect::<Vec<_>>();
    let header = words(reader.headers().map_err(unreadable)?);
    let rows: Vec<csv::StringRecord> =
        reader.records().collect::<Result<_, _>>().map_err(unreadable)?;
    let row = Rng::with_seed(seed).choice(&rows).map(words).unwrap_or_default();
    let example = header.iter().cloned().zip(row).collect();
    Ok(Dataset { rows: rows.len(), name, model, target, header, text, example })
}

/// Makes customers of a telephone company, half of whom leave.
///
/// Each gets a tenure, a plan, a contract and usage. A customer's inclination to
/// leave grows with support calls (steeply from the fourth on), with a bill out
/// of proportion to the usage, with international use without the plan for it,
/// and with dropped calls; it falls with tenure and with a yearly contract.
/// Noise is added, and the upper half of inclinations leaves. Some cells are
/// missing, phone numbers identify, and the state means nothing.
fn make_churn(rows: usize, seed: u64) -> Vec<u8> {
    const STATES: [&str; 8] = ["CA", "IL", "MA", "NJ", "NY", "OH", "TX", "WA"];
    let mut rng = Rng::with_seed(seed);
    let mut customers: Vec<(f64, String)> = (0..rows)
        .map(|_| {
            let tenure = rng.u32(1..=72);
            let yearly = rng.f64() < 0.4;
            let intl_plan = rng.f64() < 0.3;
            let day_minutes = (normal(&mut rng) * 55.0 + 180.0).max(0.0);
            let night_minutes = (normal(&mut rng) * 50.0 + 200.0).max(0.0);
            let intl_minutes = (normal(&mut rng) * 3.0 + 9.0).max(0.0);
            let calls = (rng.f64() * rng.f64() * 9.0) as u32;
            let dropped = (rng.f64() * rng.f64() * 12.0) as u32;
            let fair = day_minutes * 0.17 + night_minutes * 0.045 + intl_minutes * 0.27;
            let bill = fair * (0.75 + 0.6 * rng.f64());
            let inclination = if calls > 3 { 1.6 + 0.35 * f64::from(calls) } else { 0.15 * f64::from(calls) }
                + 4.0 * (bill / fair.max(1.0) - 1.0)
                + if intl_plan { -0.4 } else { 0.16 * (intl_minutes - 9.0) }
                + if dropped > 5 { 1.2 } else { 0.0 }
                - 0.022 * f64::from(tenure)
                - if yearly { 1.1 } else { 0.0 }
                + 0.35 * normal(&mut rng);
            let tenure = if rng.f64() < 0.02 { String::new() } else { tenure.to_string() };
            let dropped = if rng.f64() < 0.03 { String::new() } else { dropped.to_string() };
            let row = format!(
                "{},{tenure},{:03}-{:04},{},{},{day_minutes:.1},{night_minutes:.1},{intl_minutes:.1},{calls},{dropped},{bill:.2}",
                STATES[rng.usize(..STATES.len())],
                rng.u32(200..1000),
                rng.u32(0..10_000),
                if yearly { "yearly" } else { "monthly" },
                if intl_plan { "yes" } else { "no" },
            );
            (inclination, row)
        })
        .collect();
    let mut inclinations: Vec<f64> =
        customers.iter().map(|(inclination, _)| *inclination).collect();
    inclinations.sort_by(f64::total_cmp);
    let median = inclinations.get(rows / 2).copied().unwrap_or_default();
    let mut text = String::from(
        "State,Tenure,Phone,Contract,Int'l Plan,Day Mins,Night Mins,Intl Mins,CustServ Calls,Dropped Calls,Bill,Churn?\n",
    );
    for (inclination, row) in customers.drain(..) {
        text.push_str(&row);
        text.push_str(if inclination > median { ",True.\n" } else { ",False.\n" });
    }
    text.into_bytes()
}

/// A standard normal number, by Box and Muller.
fn normal(rng: &mut Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.f64()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.f64()).cos()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_made_data_is_the_same_for_a_seed_and_half_of_it_leaves() {
        let made = String::from_utf8(make_churn(1000, 3)).unwrap();
        assert_eq!(made.as_bytes(), make_churn(1000, 3));
        assert_ne!(made.as_bytes(), make_churn(1000, 4));
        assert_eq!(made.lines().filter(|line| line.ends_with(",True.")).count(), 499);
    }

    #[tokio::test]
    async fn the_made_data_is_one_file_with_an_example_of_its_rows() {
        let data = prepare(None, 3).await.unwrap();
        assert_eq!((data.rows, data.example.len()), (MADE_ROWS, data.header.len()));
        let text = String::from_utf8(data.text).unwrap();
        assert_eq!(text.lines().count(), MADE_ROWS + 1);
        let cells: Vec<&str> = data.example.iter().map(|(_, cell)| cell.as_str()).collect();
        assert!(text.contains(&cells.join(",")));
    }

    #[test]
    fn a_file_names_its_model() {
        assert_eq!(model_name(Path::new("x/Telco Churn (1).csv")), "telco-churn-1");
        assert_eq!(model_name(Path::new("2024.csv")), "demo");
    }
}
