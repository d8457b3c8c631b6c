//! One model, three ways to ask it: a row's prediction is the same in batch scoring
//! (which the report shows), through the API as JSON, and as CSV, whatever its cells
//! look like.

use crosspilot_tests::data::marked;
use crosspilot_tests::{Customer, all, on_local_cloud};
use fastrand::Rng;
use serde_json::{Map, Value, json};

/// Rows that are held out, and asked about.
const ROWS: usize = 40;

/// A column: its name, a cell for a row whose hidden number is between 0 and 1, and the
/// JSON value that a product would send for the cell.
type Column = (&'static str, fn(f64, &mut Rng) -> String, fn(&str) -> Value);

fn text(cell: &str) -> Value {
    cell.into()
}

/// A number where the cell is one.
fn typed(cell: &str) -> Value {
    match cell.parse::<f64>() {
        Ok(number) if number.is_finite() => json!(number),
        _ if cell.is_empty() => Value::Null,
        _ => cell.into(),
    }
}

fn flag(cell: &str) -> Value {
    match cell {
        "TRUE" => true.into(),
        "FALSE" => false.into(),
        _ => Value::Null,
    }
}

fn one_of(list: &[&str], share: f64) -> String {
    list[((share * list.len() as f64) as usize).min(list.len() - 1)].to_owned()
}

/// A value that now and then is missing in one of these ways.
fn or(missing: &[&str], rng: &mut Rng, value: String) -> String {
    if rng.u32(..6) == 0 { missing[rng.usize(..missing.len())].to_owned() } else { value }
}

const COLUMNS: &[Column] = &[
    ("plain", |x, rng| format!("{:.3}", x * 90.0 + rng.f64() * 20.0), typed),
    (
        "whole, with gaps",
        |x, rng| or(&["", "NA", "null", "NaN"], rng, format!("{}", (x * 50.0) as u32)),
        typed,
    ),
    ("odd gaps", |x, rng| or(&["?", "-", "\\N", "n/a"], rng, format!("{:.1}", x * 9.0)), text),
    ("price", |x, rng| format!("${},{:03}.50", 1 + (x * 8.0) as u32, rng.u32(..999)), text),
    ("share", |x, rng| format!("{:.1}%", x * 80.0 + rng.f64() * 9.0), text),
    ("comma", |x, rng| format!("{},{}", (x * 30.0) as u32, rng.u32(1..9)), text),
    ("vip", |x, rng| or(&[""], rng, one_of(&["FALSE", "TRUE"], x)), flag),
    ("lines", |x, _| marked(&one_of(&["a\nb", "a, \"b\"", "naïve ☕", "O'Hara; x"], x)), text),
    ("padded", |x, _| one_of(&["red", " red", "red ", "Red"], x), text),
    ("day", |x, rng| format!("2026-{:02}-{:02}", 1 + (x * 11.9) as u32, rng.u32(1..29)), text),
    (
        "short year",
        |x, rng| format!("{}/{}/{:02}", rng.u32(1..13), rng.u32(13..29), 10 + (x * 15.0) as u32),
        text,
    ),
    ("clock", |x, rng| format!("{:02}:{:02}:00", (x * 23.9) as u32, rng.u32(..60)), text),
    ("zip", |x, rng| format!("{:05}", 10_000 + (x * 300.0) as u32 * 37 + rng.u32(..2)), text),
    ("endless", |x, rng| or(&["inf", "-inf"], rng, format!("{:.2}", x * 4.0)), text),
    (
        "said",
        |x, rng| {
            format!(
                "the customer says {} and {}",
                marked(&one_of(&["no", "maybe", "yes"], x)),
                rng.u32(..9)
            )
        },
        text,
    ),
    ("-1", |x, rng| format!("{:e}", x * 1e6 + rng.f64()), typed),
    ("=1+1", |x, _| one_of(&["=A1", "+1 more", "-", "@x"], x), text),
    ("empty ", |_, rng| or(&[" ", "", "\t"], rng, "same".into()), text),
];

/// The kind of value that a table predicts.
#[derive(Clone, Copy)]
enum Target {
    Two,
    Three,
    Number,
}

/// A table of some columns in some order, with its target somewhere among them.
fn table(seed: u64, rows: usize, draw: u64) -> (String, Vec<usize>, Target) {
    let mut rng = Rng::with_seed(seed);
    let mut columns: Vec<usize> = (0..COLUMNS.len()).collect();
    rng.shuffle(&mut columns);
    columns.truncate(7);
    let place = rng.usize(..=columns.len());
    let target = [Target::Two, Target::Three, Target::Number][rng.usize(..3)];
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut names: Vec<&str> = columns.iter().map(|column| COLUMNS[*column].0).collect();
    names.insert(place, "What?");
    writer.write_record(names).unwrap();
    let mut rng = Rng::with_seed(seed * 1000 + draw);
    for _ in 0..rows {
        let x = rng.f64();
        let answer = x + rng.f64() * 0.3;
        let mut row: Vec<String> =
            columns.iter().map(|column| COLUMNS[*column].1(x, &mut rng)).collect();
        let cell = match target {
            Target::Two => marked(&one_of(&["nö", "Ja, \"klar\""], answer / 1.3)),
            Target::Three => one_of(&["1", "2", " many"], answer / 1.3),
            Target::Number => format!("{:.4}", answer * 1000.0),
        };
        row.insert(place, cell);
        writer.write_record(row).unwrap();
    }
    (String::from_utf8(writer.into_inner().unwrap()).unwrap(), columns, target)
}

/// A prediction as numbers: the value, or the label and the probabilities.
fn same(batch: &Map<String, Value>, asked: &Value) -> bool {
    let near = |a: &Value, b: &Value| {
        let number = |value: &Value| value.as_f64().or_else(|| value.as_str()?.parse().ok());
        number(a).zip(number(b)).is_some_and(|(a, b)| (a - b).abs() <= 1e-6 * a.abs().max(1.0))
    };
    match asked.get("label") {
        Some(label) => {
            let probabilities = asked["probabilities"].as_object().unwrap();
            batch["predicted_label"] == *label
                && probabilities
                    .iter()
                    .all(|(name, p)| near(&batch[&format!("probability_{name}")], p))
        }
        None => near(&batch["predicted_value"], &asked["value"]),
    }
}

#[test]
fn a_prediction_is_the_same_in_batch_as_json_and_as_csv() {
    on_local_cloud(async |cloud| {
        let seeds = (0..30).map(|seed| async move {
            let customer = Customer::new(cloud, &format!("three-ways-{seed}")).await;
            let mut settings = crosspilot_tests::predicting("What?");
            settings.gate.allow_baseline = true;
            settings.training.max_candidates = Some(1);
            let (id, model) = (&customer.tenant.tenant, &customer.model);
            cloud.vendor().set_model(id, model, &settings).await.unwrap();
            let (training, ..) = table(seed, 600, 1);
            let (held_out, columns, _) = table(seed, ROWS, 2);
            customer.put("crosspilot/churn/test/held-out.csv", held_out.clone()).await;
            customer.put("crosspilot/churn/train/data.csv", training).await;
            let output = customer.succeeded(&customer.first_execution().await).await;
            let uri = output["prediction"]["predictions_uri"].as_str().unwrap();
            let key = uri.split_once(customer.tenant.bucket.as_str()).unwrap().1;
            let batch = customer.get(&key[1..]).await;
            let mut reader = csv::Reader::from_reader(batch.as_bytes());
            let header = reader.headers().unwrap().clone();
            let batch: Vec<Map<String, Value>> = reader
                .records()
                .map(|row| {
                    let row = row.unwrap();
                    header.iter().zip(row.iter()).map(|(n, c)| (n.to_owned(), c.into())).collect()
                })
                .collect();
            assert_eq!(batch.len(), ROWS);
            // Batch scoring was asked about the held-out file's own cells.
            let mut reader = csv::Reader::from_reader(held_out.as_bytes());
            let names = reader.headers().unwrap().clone();
            let line = |cell: &str| cell.replace("\r\n", " ").replace(['\r', '\n'], " ");
            for (row, given) in batch.iter().zip(reader.records()) {
                for (name, cell) in names.iter().zip(given.unwrap().iter()) {
                    let found = row.get(name).and_then(Value::as_str);
                    assert_eq!(found.map(line), Some(line(cell)), "{seed}: {name}");
                }
            }

            // As a product sends them: the values that a program holds.
            let record = |row: &Map<String, Value>, value: fn(&Column, &str) -> Value| -> Value {
                let of = |column: &usize| {
                    let column = &COLUMNS[*column];
                    (column.0.to_owned(), value(column, row[column.0].as_str().unwrap()))
                };
                Value::Object(columns.iter().map(of).collect())
            };
            let as_text = |_: &Column, cell: &str| Value::from(cell);
            let as_value = |column: &Column, cell: &str| column.2(cell);
            let token = customer.token();
            for (how, value) in
                [("text", as_text as fn(&Column, &str) -> Value), ("value", as_value)]
            {
                let records: Vec<Value> = batch.iter().map(|row| record(row, value)).collect();
                let body = json!({"records": records}).to_string();
                let (status, answer) = customer.ask(&token, "churn", &body).await;
                assert_eq!(status, 200, "{seed} {how}: {answer}");
                for (row, (batch, asked)) in
                    batch.iter().zip(answer["predictions"].as_array().unwrap()).enumerate()
                {
                    assert!(same(batch, asked), "{seed} {how} {row}: {batch:?} {asked}");
                }
            }
            let mut csv_body = csv::Writer::from_writer(Vec::new());
            csv_body.write_record(columns.iter().map(|column| COLUMNS[*column].0)).unwrap();
            for row in &batch {
                let cells = columns.iter().map(|column| row[COLUMNS[*column].0].as_str().unwrap());
                csv_body.write_record(cells).unwrap();
            }
            let body = String::from_utf8(csv_body.into_inner().unwrap()).unwrap();
            let (status, answer) = customer.ask_as(&token, "churn", "text/csv", &body).await;
            assert_eq!(status, 200, "{seed} csv: {answer}");
            for (row, (batch, asked)) in
                batch.iter().zip(answer["predictions"].as_array().unwrap()).enumerate()
            {
                assert!(same(batch, asked), "{seed} csv {row}: {batch:?} {asked}");
            }
        });
        all(seeds).await;
    });
}
