//! Trains on one CSV file, measures on another (or on a fifth of the first), and
//! prints the leaderboard and one line of JSON.
//!
//! `cargo run -p crosspilot-automl --example bench -- FILE TARGET
//! [--test FILE] [--metric NAME] [--budget SECONDS] [--candidates N] [--seed N]`
#![allow(clippy::print_stdout)]

use std::collections::HashMap;
use std::error::Error;
use std::fs::File;
use std::io::BufReader;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use crosspilot_automl::{Candidate, Event, Prediction, Settings, Table, train};
use crosspilot_metrics::{ClassificationReport, Metric, RegressionReport};
use rustix::time::{ClockId, clock_gettime};

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = Vec::new();
    let mut options = HashMap::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.strip_prefix("--") {
            Some(name) => _ = options.insert(name.to_owned(), arguments.next().unwrap_or_default()),
            None => words.push(argument),
        }
    }
    let [file, target] = words.as_slice() else {
        return Err("usage: bench FILE TARGET [--test FILE] ...".into());
    };
    let number =
        |name: &str, otherwise: u64| options.get(name).map_or(Ok(otherwise), |text| text.parse());
    let read = |file: &str| -> Result<Table, Box<dyn Error>> {
        Ok(Table::read_csv(BufReader::new(File::open(file)?), true)?)
    };
    let seed = number("seed", 0)?;
    let start = Instant::now();
    let table = read(file)?;
    let read_seconds = start.elapsed().as_secs_f64();
    let (table, test) = match options.get("test") {
        Some(file) => (table, read(file)?),
        None => {
            let held_out = |row: &usize| {
                (row.wrapping_mul(2_654_435_761) >> 7).wrapping_add(seed as usize).is_multiple_of(5)
            };
            let (test, rest): (Vec<usize>, Vec<usize>) = (0..table.rows()).partition(held_out);
            (table.take(&rest), table.take(&test))
        }
    };
    let settings = Settings {
        target: target.clone(),
        metric: options.get("metric").map(|name| name.parse()).transpose()?,
        max_candidates: number("candidates", 10)? as usize,
        time_budget: Duration::from_secs(number("budget", 600)?),
        seed,
        min_rows: 50,
        ..Settings::default()
    };
    let (start, cpu_start) = (Instant::now(), cpu_seconds());
    let mut observe = |event: Event<'_>| {
        if let (Event::Refitting(_), true) = (&event, options.contains_key("verbose")) {
            println!("refitting after {:.2} s", start.elapsed().as_secs_f64());
        }
    };
    let board = train(&table, None, &settings, &mut observe, &AtomicBool::new(false))?;
    let seconds = start.elapsed().as_secs_f64();
    let cpu_seconds = cpu_seconds() - cpu_start;
    println!(
        "read {} rows in {read_seconds:.2} s, {:?}",
        table.rows(),
        board.analysis.problem_type
    );
    for candidate in &board.candidates {
        let tested = score(candidate, &test)?;
        println!(
            "{:>2} {:<18} objective {:<9.5} fit {:>6.2} s | test {} | {}",
            candidate.number,
            candidate.algorithm.as_str(),
            candidate.objective,
            candidate.fit_seconds,
            tested
                .iter()
                .map(|(metric, value)| format!("{metric} {value:.4}"))
                .collect::<Vec<_>>()
                .join(" "),
            candidate.description
        );
    }
    let best = board.best().ok_or("no candidate")?;
    let start = Instant::now();
    let records = test.select(best.model.features())?;
    let mut scored = 0;
    while scored == 0 || start.elapsed().as_secs_f64() < 0.3 {
        scored += best.model.predict(&records)?.len();
    }
    let rate = scored as f64 / start.elapsed().as_secs_f64();
    let metrics: Vec<String> = score(best, &test)?
        .iter()
        .map(|(metric, value)| format!("\"{metric}\": {value}"))
        .collect();
    let first = board
        .candidates
        .iter()
        .find(|candidate| candidate.number == 1)
        .map_or(0.0, |first| first.fit_seconds);
    println!(
        "{{\"model\": \"crosspilot\", \"seconds\": {seconds:.4}, \"cpu_seconds\": {cpu_seconds:.4}, \"first_seconds\": {first:.4}, \"rows_per_second\": {rate:.0}, \"bytes\": {}, {}}}",
        best.model.save().len(),
        metrics.join(", ")
    );
    Ok(())
}

/// Processor time of all threads of this process.
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + 1e-9 * time.tv_nsec as f64
}

fn score(candidate: &Candidate, test: &Table) -> Result<Vec<(Metric, f64)>, Box<dyn Error>> {
    let model = &candidate.model;
    let target = test.position(model.target())?;
    let answers = model.predict(&test.select(model.features())?)?;
    let (mut labels, mut rows, mut truth, mut values) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut numbers, mut known) =
        (Vec::new(), model.labels().iter().map(String::as_str).collect::<Vec<_>>());
    for (row, answer) in answers.into_iter().enumerate() {
        let Some(cell) = test.cell(row, target) else {
            continue;
        };
        match answer {
            Prediction::Class { label, probabilities } => {
                labels.push(label);
                rows.push(probabilities);
                truth.push(known.iter().position(|label| *label == cell).unwrap_or_else(|| {
                    known.push(cell);
                    known.len() - 1
                }));
            }
            Prediction::Value(value) => {
                values.push(value);
                numbers.push(cell.trim().parse::<f64>()?);
            }
        }
    }
    if !values.is_empty() {
        return Ok(RegressionReport::new(&numbers, &values)?.metrics());
    }
    let names: Vec<String> = known.iter().map(|label| (*label).to_owned()).collect();
    rows.iter_mut().for_each(|row| row.resize(names.len(), 0.0));
    Ok(ClassificationReport::new(&names, None, &truth, &labels, Some(&rows))?.metrics())
}
