//! Tests of what the preflight says to data that is broken in one way each.
#![allow(clippy::unwrap_used)]

use std::convert::Infallible;
use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use crosspilot_core::settings::ModelSettings;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// Files in memory that count what is read of them.
#[derive(Default)]
struct Memory {
    files: Vec<(String, Vec<u8>)>,
    read: AtomicU64,
}

impl Source for Memory {
    type Error = Infallible;

    async fn read(&self, file: &File, range: Range<u64>) -> Result<Vec<u8>, Infallible> {
        assert!(range.start < range.end && range.end <= file.size, "{range:?} of {file:?}");
        self.read.fetch_add(range.end - range.start, Ordering::Relaxed);
        let (_, bytes) = self.files.iter().find(|(name, _)| *name == file.key).unwrap();
        Ok(bytes[range.start as usize..range.end as usize].to_vec())
    }
}

/// A model's files by folder: `train/`, `validation/`, `test/`.
pub(super) fn inspect(settings: Value, files: Vec<(&str, Vec<u8>)>) -> (Verdict, u64) {
    let memory = Memory {
        files: files.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect(),
        ..Memory::default()
    };
    let of = |folder: &str| -> Vec<File> {
        let inside = memory.files.iter().filter(|(name, _)| name.starts_with(folder));
        let file = |(name, bytes): &(String, Vec<u8>)| File {
            name: name.strip_prefix(folder).unwrap().to_owned(),
            key: name.clone(),
            size: bytes.len() as u64,
            archived: name.contains("glacier"),
            etag: String::new(),
        };
        inside.map(file).collect()
    };
    let data = Data {
        place: "train/".into(),
        training: of("train/"),
        validation_place: "validation/".into(),
        validation: of("validation/"),
        held_out: of("test/").pop(),
    };
    let settings: ModelSettings = serde_json::from_value(settings).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let Ok(verdict) = runtime.block_on(judge(&memory, &settings, data));
    (verdict, memory.read.into_inner())
}

fn churn() -> Value {
    json!({"target": "Churn?"})
}

/// The verdict on one training file.
fn of(bytes: impl Into<Vec<u8>>) -> Verdict {
    inspect(churn(), vec![("train/data.csv", bytes.into())]).0
}

fn messages(findings: &[Finding]) -> Vec<&str> {
    findings.iter().map(|finding| finding.message.as_str()).collect()
}

const HEADER: &str = "age,plan,Churn?";

fn row(row: usize) -> String {
    let plan = ["basic", "plus", "pro"][row * 7 % 3];
    let label = if row * 31 % 10 < 4 { "True." } else { "False." };
    format!("{},{plan},{label}", 18 + row * 13 % 61)
}

fn table(rows: usize) -> String {
    let mut text = format!("{HEADER}\n");
    (0..rows).for_each(|number| text.push_str(&format!("{}\n", row(number))));
    text
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn utf16(text: &str) -> Vec<u8> {
    let mut bytes = vec![0xFF, 0xFE];
    text.encode_utf16().for_each(|unit| bytes.extend(unit.to_le_bytes()));
    bytes
}

#[test]
fn a_fit_table_is_described_and_nothing_is_found() {
    let verdict = of(table(600));
    assert_eq!((messages(&verdict.errors), messages(&verdict.warnings)), (vec![], vec![]));
    assert_eq!(verdict.training.rows, Some(Rows { count: 600, exact: true, sampled: 600 }));
    assert_eq!(verdict.features("Churn?"), ["age", "plan"]);
    let kinds: Vec<_> = verdict.columns.iter().map(|column| column.kind.unwrap()).collect();
    assert_eq!(kinds, [Kind::Numeric, Kind::Categorical, Kind::Categorical]);
    assert_eq!(verdict.columns[0].distinct, Some(61));
    let target = verdict.target.unwrap();
    assert_eq!((target.usable, target.classes.len()), (600, 2));
    assert_eq!(target.classes[0], Class { label: "False.".into(), rows: 360 });
}

#[test]
fn line_ends_of_windows_and_gzip_make_no_difference() {
    let plain = of(table(600));
    let windows = of(table(600).replace('\n', "\r\n"));
    assert_eq!(
        (windows.columns, &windows.training.rows),
        (plain.columns.clone(), &plain.training.rows)
    );
    let zipped = of(gzip(table(600).as_bytes()));
    assert!(zipped.is_fit() && zipped.training.gzip);
    assert_eq!((zipped.columns, zipped.training.rows), (plain.columns, plain.training.rows));
}

/// Files that cannot be trained on, with the one sentence that each gets.
fn broken_files() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let good = table(600);
    let text = |text: String| text.into_bytes();
    let second = |line: &str| text(good.replacen("18,basic", &format!("{line}\n18,basic"), 1));
    vec![
        (
            "an old workbook",
            b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1....".to_vec(),
            "data.csv is an old Excel workbook: give comma-separated UTF-8 text with a header line, plain or in gzip, or Parquet",
        ),
        (
            "a workbook",
            b"PK\x03\x04....".to_vec(),
            "data.csv is an Excel workbook or another ZIP archive: give comma-separated UTF-8 text with a header line, plain or in gzip, or Parquet",
        ),
        (
            "a web page",
            b"<!DOCTYPE html><html></html>".to_vec(),
            "data.csv is a web page or another XML document: give comma-separated UTF-8 text with a header line, plain or in gzip, or Parquet",
        ),
        (
            "JSON lines",
            b"{\"a\": 1}\n{\"a\": 2}\n".to_vec(),
            "data.csv is JSON: give comma-separated UTF-8 text with a header line, plain or in gzip, or Parquet",
        ),
        (
            "PDF",
            b"%PDF-1.7".to_vec(),
            "data.csv is a PDF document: give comma-separated UTF-8 text with a header line, plain or in gzip, or Parquet",
        ),
        (
            "gzip twice",
            gzip(&gzip(good.as_bytes())),
            "data.csv is compressed twice: give comma-separated UTF-8 text with a header line, plain or in gzip, or Parquet",
        ),
        (
            "gzip cut off",
            {
                let zipped = gzip(good.as_bytes());
                zipped[..zipped.len() / 2].to_vec()
            },
            "data.csv is a gzip file that breaks off before its end: upload it again",
        ),
        (
            "gzip damaged",
            {
                let mut zipped = gzip(good.as_bytes());
                let end = zipped.len();
                zipped[end - 6] ^= 0xFF;
                zipped
            },
            "data.csv is a gzip file that is damaged: upload it again",
        ),
        (
            "UTF-16",
            utf16(&good),
            "data.csv is text in UTF-16, as Excel writes \"Unicode text\": save it as \"CSV UTF-8\"",
        ),
        (
            "UTF-16 without a mark",
            utf16(&good)[2..].to_vec(),
            "data.csv is text in UTF-16 or UTF-32 without a byte order mark: save it as UTF-8",
        ),
        (
            "Latin-1",
            {
                let mut bytes = text(good.replace("basic", "ba?ic"));
                let at = bytes.iter().rposition(|b| *b == b'?').unwrap();
                bytes[at] = 0xE9;
                bytes
            },
            "data.csv is not UTF-8 text (line 599); it may be Latin-1 or Windows-1252: save it as UTF-8",
        ),
        (
            "NUL bytes",
            text(good.replacen("plus", "pl\0us", 1)),
            "data.csv contains binary data (a NUL at byte 37): give comma-separated UTF-8 text with a header line",
        ),
        (
            "carriage returns",
            text(good.replace('\n', "\r")),
            "data.csv ends line 1 with a carriage return only, as old Macintosh computers did, and readers differ on that: save it with line feeds",
        ),
        (
            "semicolons",
            text(good.replace(',', ";")),
            "data.csv is separated by semicolons, and SageMaker Autopilot takes commas: save it as comma-separated text",
        ),
        (
            "tabs",
            text(good.replace(',', "\t")),
            "data.csv is separated by tabs, and SageMaker Autopilot takes commas: save it as comma-separated text",
        ),
        (
            "vertical bars",
            text(good.replace(',', "|")),
            "data.csv is separated by vertical bars, and SageMaker Autopilot takes commas: save it as comma-separated text",
        ),
        (
            "semicolons and decimal commas",
            text(good.replace(',', ";").replace("basic", "1,5").replace("age", "age, years")),
            "data.csv is separated by semicolons, and SageMaker Autopilot takes commas: save it as comma-separated text",
        ),
        (
            "prose",
            b"just some words\nand more\n".to_vec(),
            "data.csv has one column only (its first line has no comma): give the target and at least one column to predict it from",
        ),
        (
            "blank lines",
            b"\n\n\n".to_vec(),
            "data.csv holds nothing but empty lines: remove it, or upload it again",
        ),
        (
            "no header",
            text(good.replacen(&format!("{HEADER}\n"), "", 1)),
            "data.csv has no header: its first line holds numbers, not names; put a line with the columns' names first",
        ),
        (
            "no name",
            text(good.replacen("plan", " ", 1)),
            "data.csv has no name for column 2 in its header: give every column a name of its own",
        ),
        (
            "a name twice",
            text(good.replacen("plan", "age", 1)),
            "data.csv has the same name for columns 1 and 2 in its header: give every column a name of its own",
        ),
        (
            "no target",
            text(good.replacen("Churn?", "Left", 1)),
            "data.csv has no column \"Churn?\" to predict among the 3 that its first line names: name the target as it stands in the header, or put a line with the columns' names first",
        ),
        (
            "the target in other case",
            text(good.replacen("Churn?", "churn? ", 1)),
            "data.csv has no column \"Churn?\" to predict among the 3 that its first line names; that of column 3 is another, since case and spaces count: name the target as it stands in the header, or put a line with the columns' names first",
        ),
        (
            "too many columns",
            text(format!(
                "{},Churn?\n",
                (0..5000).map(|n| format!("c{n}")).collect::<Vec<_>>().join(",")
            )),
            "data.csv has 5,001 columns in line 1, and at most 5,000 are taken: leave out those that do not matter",
        ),
        (
            "a short row",
            second("33,True."),
            "data.csv has 2 fields in line 2, and its header has 3: put values that hold commas in double quotes",
        ),
        (
            "an open quote",
            second("33,\"basic,True."),
            "data.csv has a double quote in line 2 that is not closed there, and swallows the lines after it: close it, or write two for one that is meant",
        ),
        (
            "the header again",
            second(HEADER),
            "data.csv has its header again in line 2, where a row should be: remove that line (files that were joined keep one header only)",
        ),
        (
            "too few rows",
            text(table(499)),
            "data.csv has 499 rows with a value in \"Churn?\"; SageMaker Autopilot needs at least 500: give more",
        ),
        (
            "too few labels",
            text(table(400) + &"30,pro,\n".repeat(200)),
            "data.csv has 400 rows with a value in \"Churn?\"; SageMaker Autopilot needs at least 500: give more",
        ),
        (
            "one class",
            text(good.replace("False.", "True.")),
            "column \"Churn?\" has the same value in every row: at least two different values are needed to learn from",
        ),
        (
            "an identifier as target",
            text(
                format!("{HEADER}\n")
                    + &(0..600).map(|n| format!("{n},basic,C-{n}\n")).collect::<String>(),
            ),
            "column \"Churn?\" has 600 different values in 600 rows: it names rows instead of grouping them, so nothing can be learnt for new ones; name another column to predict",
        ),
        (
            "Parquet cut off",
            b"PAR1 and nothing more".to_vec(),
            "data.csv is a Parquet file that does not end as Parquet files do: it was cut off or is still being written: write it again",
        ),
        (
            "a Parquet footer that lies about its length",
            b"PAR1....\xFF\xFF\x00\x00PAR1".to_vec(),
            "data.csv is a Parquet file that names a footer longer than itself: write it again",
        ),
    ]
}

#[test]
fn every_broken_file_gets_a_sentence_of_its_own() {
    let files = broken_files();
    assert!(files.len() >= 25);
    for (name, bytes, sentence) in files {
        let verdict = of(bytes);
        assert_eq!(messages(&verdict.errors), [sentence], "{name}");
    }
}

/// A cell that stands for a customer's data.
const CANARY: &str = "Jane Canary 555-0100";

#[test]
fn no_finding_shows_a_cell() {
    let row = |label: &str| format!("7,{CANARY},{label}\n");
    let rows = |label: fn(usize) -> String| -> String {
        (0..600).map(|n| format!("{n},plan {n},{}\n", label(n))).collect()
    };
    let header = format!("{HEADER}\n");
    let half = |n: usize| if n.is_multiple_of(2) { "True.".into() } else { "False.".to_owned() };
    let cases = [
        ("no header", row(CANARY).repeat(600)),
        ("no header, doubled", format!("{CANARY},{CANARY},Churn?\n") + &rows(half)),
        ("one class", header.clone() + &row(CANARY).repeat(600)),
        (
            "a rare class",
            header.clone() + &rows(|n| if n == 5 { CANARY.into() } else { format!("{}", n % 2) }),
        ),
        (
            "an imbalance",
            header.clone()
                + &(0..6000)
                    .map(|n| row(if n % 600 == 0 { CANARY } else { "no" }))
                    .collect::<String>(),
        ),
        ("an identifier", header.clone() + &rows(|n| format!("{CANARY} {n}"))),
        ("a ragged row", header.clone() + &rows(half) + &format!("1,{CANARY},{CANARY},x\n")),
        ("an open quote", header + &rows(half) + &format!("1,\"{CANARY},x\n")),
    ];
    for (name, text) in cases {
        let verdict = of(text);
        let findings: Vec<_> = verdict.errors.iter().chain(&verdict.warnings).collect();
        assert!(!findings.is_empty(), "{name}");
        assert!(!format!("{findings:?}").contains("Canary"), "{name}: {findings:?}");
    }
}

#[test]
fn a_first_line_without_the_target_lends_its_words_to_no_finding() {
    let words = format!("{CANARY},pro,True.\n").repeat(600).into_bytes();
    for other in ["train/b.csv", "test/h.csv", "validation/v.csv"] {
        let settings = json!({"target": "Churn?", "training": {"validation": "channel"}});
        let files = vec![("train/a.csv", words.clone()), (other, table(600).into_bytes())];
        let (verdict, _) = inspect(settings, files);
        assert!(verdict.errors.iter().any(|error| error.code == Flaw::NoTarget), "{other}");
        assert!(!format!("{verdict:?}").contains("Canary"), "{other}: {verdict:?}");
    }
}

/// The target's name may be a cell, too: its line is a row if its words come again
/// below it or in another file.
#[test]
fn a_first_line_that_comes_again_is_a_row() {
    let row = |n: usize| {
        let label = if n.is_multiple_of(3) { "Churn?" } else { "stays" };
        format!("{CANARY} {n},{}.5,plan {},{label}\n", n % 50, n % 4)
    };
    let rows: String = (0..600).map(row).collect();
    let good = || table(600).into_bytes();
    // Only the other files show that the first line is a row.
    let (first, rest) = rows.split_at(rows.find('\n').unwrap() + 1);
    let first = || (first.to_owned() + &format!("{CANARY},7,x,y\n")).into_bytes();
    let (rows, rest) = (|| rows.clone().into_bytes(), || rest.to_owned().into_bytes());
    let cases: Vec<Vec<(&str, Vec<u8>)>> = vec![
        vec![("train/a.csv", rows())],
        vec![("train/a.csv", rows()), ("train/b.csv", good())],
        vec![("train/a.csv", rows()), ("test/h.csv", good())],
        vec![("train/a.csv", rows()), ("validation/v.csv", good())],
        vec![("train/a.csv", first()), ("train/b.csv", rest())],
        vec![("train/a.csv", good()), ("test/h.csv", rows())],
        vec![("train/a.csv", good()), ("validation/v.csv", rows())],
    ];
    for files in cases {
        let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
        let with_channel = names.contains(&"validation/v.csv");
        let training = if with_channel { json!({"validation": "channel"}) } else { json!({}) };
        let settings = json!({"target": "Churn?", "training": training});
        let (verdict, _) = inspect(settings, files.clone());
        let told = format!("{:?} {:?}", verdict.errors, verdict.warnings);
        assert!(told.contains("has no header"), "{names:?}: {told}");
        assert!(!told.contains("Canary"), "{names:?}: {told}");
    }
    let verdict = of(rows());
    assert_eq!(
        messages(&verdict.errors),
        [
            "data.csv has no header: what its first line says for columns 2, 3, 4 comes again as a value there; put a line with the columns' names first, or, if that line is one, give these columns names that are no values of theirs"
        ]
    );
    assert_eq!((verdict.columns, verdict.row), (vec![], None));
}

/// A line that is believed to be a row must not be a header.
#[test]
fn a_header_is_no_row_for_numbers_or_a_chance() {
    let pixels: String = (0..600).map(|n| format!("{},{},{}\n", n % 2, n % 3, n % 7)).collect();
    let (verdict, _) = inspect(
        json!({"target": "label"}),
        vec![("train/a.csv", format!("label,0,1\n{pixels}").into())],
    );
    assert!(verdict.is_fit(), "{:?}", verdict.errors);
    let remarks = |n: usize| if n == 900 { "plan".into() } else { format!("it is {n}") };
    let rows = (0..2000).map(|n| format!("{},{},{}\n", n % 50, remarks(n), n % 2));
    let text = format!("{HEADER}\n{}", rows.collect::<String>());
    assert!(of(text.clone()).is_fit());
    // A held-out file with nothing of the training data.
    let other = b"Jane,Roe\n1,2\n".to_vec();
    let (verdict, _) = inspect(churn(), vec![("train/a.csv", text.into()), ("test/h.csv", other)]);
    assert_eq!(
        messages(&verdict.errors),
        [
            "h.csv has none of the training data's columns; the run ends with predictions for this held-out file: correct or remove it"
        ]
    );
}

#[test]
fn no_finding_shows_a_cell_of_a_second_file_without_a_header() {
    let second = format!("7,{CANARY},True.\n").repeat(600);
    let files =
        vec![("train/a.csv", table(600).into_bytes()), ("train/b.csv", second.into_bytes())];
    let (verdict, _) = inspect(churn(), files);
    assert!(!verdict.errors.is_empty());
    assert!(!format!("{:?}", verdict.errors).contains("Canary"), "{:?}", verdict.errors);
}

#[test]
fn all_errors_are_told_and_not_only_the_first() {
    let verdict = of(table(600).replacen("age,plan", "age,age,,", 1));
    let flaws: Vec<Flaw> = verdict.errors.iter().map(|error| error.code).collect();
    assert_eq!(flaws, [Flaw::UnnamedColumn, Flaw::DuplicateColumn, Flaw::RaggedRow]);
}

#[test]
fn files_that_do_not_go_together_get_a_sentence_of_their_own() {
    let good = || table(600).into_bytes();
    let other = |header: &str| table(600).replacen(HEADER, header, 1).into_bytes();
    let same = "all files of a model must have the same columns in the same order";
    let cases: Vec<(&str, Vec<u8>, String)> = vec![
        ("train/b.csv", other("age,Churn?,plan"), format!("b.csv has another header than a.csv: \"plan\" stands at another place; {same}")),
        ("train/b.csv", other("years,plan,Churn?"), format!("b.csv has another header than a.csv: it lacks \"age\"; {same}")),
        ("train/b.csv", b"age,Churn?\n".to_vec(), format!("b.csv has another header than a.csv: it lacks \"plan\"; {same}")),
        ("train/b.csv", b"age,plan,more,Churn?\n".to_vec(), format!("b.csv has another header than a.csv: its column 3 is none of them; {same}")),
        ("train/b.csv", b"Jane,Roe,1 Elm Street\n".to_vec(), format!("b.csv has another header than a.csv: they have no name in common, so that one of the first lines may be none; {same}")),
        ("train/b.csv", row(1).into_bytes(), "b.csv has no header: its first line holds numbers, not names; put a line with the columns' names first".into()),
        ("train/b.csv", gzip(&good()), "b.csv is compressed with gzip, and a.csv is not: all files of a model must be of one form".into()),
        ("train/b.csv", vec![], "b.csv is empty: remove it, or upload it again".into()),
        ("train/.ipynb_checkpoints/a-checkpoint.csv", vec![1; 10], ".ipynb_checkpoints/a-checkpoint.csv is a leftover of another program, and SageMaker reads every file there as data: remove it".into()),
        ("train/.DS_Store", vec![1; 10], ".DS_Store is a leftover of another program, and SageMaker reads every file there as data: remove it".into()),
        ("train/glacier.csv", good(), "glacier.csv lies in an archive storage class and cannot be read now: restore it, or upload it again".into()),
        ("train/b.parquet", parquet_files::churn(600), "a.csv is CSV, and b.parquet is Parquet: all files of a model must be of one form".into()),
    ];
    for (name, bytes, sentence) in cases {
        let (verdict, _) = inspect(churn(), vec![("train/a.csv", good()), (name, bytes)]);
        assert_eq!(messages(&verdict.errors), [sentence.as_str()], "{name}");
    }
    let (verdict, _) = inspect(churn(), vec![]);
    assert_eq!(
        messages(&verdict.errors),
        ["there is no training data under train/: upload a CSV file with a header there"]
    );
    let leftovers =
        vec![("train/a.csv", good()), ("train/_SUCCESS", vec![]), ("train/sub/", vec![])];
    assert!(inspect(churn(), leftovers).0.is_fit());
}

#[test]
fn settings_that_the_data_denies_get_a_sentence_of_their_own() {
    let cases = [
        (
            json!({"objective": {"problem_type": "Regression", "metric": "MSE"}}),
            "column \"Churn?\" holds 600 values that are no numbers, but the model is set to Regression with metric MSE: set a classification, or clean the column",
        ),
        (
            json!({"target": "plan", "objective": {"problem_type": "BinaryClassification", "metric": "F1"}}),
            "column \"plan\" has 3 different values, but the model is set to BinaryClassification: set MulticlassClassification, or clean the column",
        ),
        (
            json!({"training": {"features": {"salary": "numeric"}}}),
            "column \"salary\" is set as a feature, but data.csv has no such column: correct the model's settings or the data",
        ),
        (
            json!({"training": {"mode": "ensembling", "sample_weight": "w"}}),
            "column \"w\" is set as the sample weight, but data.csv has no such column: correct the model's settings or the data",
        ),
        (
            json!({"training": {"mode": "ensembling", "sample_weight": "plan"}}),
            "column \"plan\" has weights that are missing, negative or no numbers in 600 of 600 rows: no row is left to learn from; give numbers from 0 on",
        ),
        (
            json!({"training": {"validation": "channel"}}),
            "there is no data under validation/, on which the model is set to validate candidates: upload a file there, or set a share of the training rows instead",
        ),
        (
            json!({"problem": {"text_classification": {"content_column": "body"}}}),
            "column \"body\" is set as the column with the text, but data.csv has no such column: correct the model's settings or the data",
        ),
        (
            json!({"problem": {"time_series_forecasting": {"frequency": "1D", "horizon": 3, "item_column": "plan", "timestamp_column": "day"}}, "target": "age"}),
            "column \"day\" is set as the timestamp column, but data.csv has no such column: correct the model's settings or the data",
        ),
    ];
    for (changes, sentence) in cases {
        let mut settings = churn();
        settings.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let (verdict, _) = inspect(settings, vec![("train/data.csv", table(600).into())]);
        assert_eq!(messages(&verdict.errors), [sentence], "{changes}");
    }
}

#[test]
fn what_looks_strange_is_a_warning_with_a_sentence_of_its_own() {
    let with = |name: &str, cell: fn(usize) -> String| {
        let mut text = format!("{name},{HEADER}\n");
        (0..600).for_each(|n| text.push_str(&format!("{},{}\n", cell(n), row(n))));
        text
    };
    let cases = [
        (
            with("c", |_| String::new()),
            "column \"c\" has no value in any of 600 rows: leave it out",
        ),
        (
            with("c", |_| "x".into()),
            "column \"c\" has the same value in all 600 rows: nothing can be learnt from it; leave it out",
        ),
        (
            with("c", |n| format!("id{n}")),
            "column \"c\" has another value in every one of 600 rows, as identifiers do: leave it out unless it means something",
        ),
        (
            with("c", |n| if n * 31 % 10 < 4 { "left".into() } else { "here".into() }),
            "column \"c\" gives \"Churn?\" away: it alone tells nearly all of it; leave it out if it is known only afterwards, or the model learns nothing else",
        ),
        (
            with("c", |n| if n % 50 == 0 { "unknown".into() } else { (n % 7).to_string() }),
            "column \"c\" holds numbers, but 12 of 600 values are none: leave these empty, or the whole column may be taken for words",
        ),
        (
            with("c", |n| if n % 5 == 0 { "\\N".into() } else { (n % 7).to_string() }),
            "column \"c\" has 120 of 600 values that look like missing ones (\"\\N\" 120), and SageMaker Autopilot takes them for values: leave these cells empty",
        ),
        (
            with("c", |n| format!("\"${},00{}.50\"", n % 7 + 1, n % 9)),
            "column \"c\" has numbers in 600 of 600 values that SageMaker Autopilot takes for words, because of signs of a currency: write the amount alone; separators between thousands: write 1234567.8",
        ),
        (
            with("c", |n| if n == 3 { "x".repeat(40_000) } else { (n % 7).to_string() + "x" }),
            "column \"c\" has a cell of 40,000 bytes: check that no quote is missing, and shorten it",
        ),
        (
            format!("\u{FEFF}{}", table(600)),
            "data.csv begins with a byte order mark, which some readers take for a part of the first column's name: save it as UTF-8 without one",
        ),
        (
            table(600) + &"30,pro,\n".repeat(60),
            "column \"Churn?\" has no value in 60 of 660 rows (9.1 %): SageMaker Autopilot leaves them out; fill them in if they should count",
        ),
        (
            table(600) + &"30,pro,Maybe\n".repeat(3),
            "column \"Churn?\" has 1 of 3 classes with fewer than 5 rows, the rarest with 3: too few to learn and to validate; give more rows of them or join them",
        ),
        (
            table(2000).replace("False.", "True.") + &"30,pro,False.\n".repeat(6),
            "column \"Churn?\" has its commonest value in 99.7 % of the rows and its rarest in 0.3 %: set an objective metric such as F1 or AUC, since accuracy is high for always saying the same",
        ),
        (
            format!("{HEADER}\n")
                + &(0..3000)
                    .map(|n| format!("{},{},t{}\n", n % 60, n % 4, n * 7 % 150))
                    .collect::<String>(),
            "column \"Churn?\" has 150 different values: each is a class of its own; group them, or set problem type Regression if they are measures",
        ),
    ];
    for (text, sentence) in cases {
        let verdict = of(text);
        assert_eq!(messages(&verdict.errors), Vec::<&str>::new(), "{sentence}");
        assert_eq!(messages(&verdict.warnings), [sentence]);
    }
}

#[test]
fn kinds_and_weights_that_are_not_as_set_are_warnings() {
    let settings = json!({"target": "Churn?", "training": {
        "mode": "ensembling", "sample_weight": "age", "features": {"plan": "numeric"},
    }});
    let text = table(600) + "-1,pro,True.\n";
    let (verdict, _) = inspect(settings, vec![("train/data.csv", text.into())]);
    assert_eq!(
        messages(&verdict.warnings),
        [
            "column \"age\" has weights that are missing, negative or no numbers in 1 of 601 rows: SageMaker Autopilot leaves these out; give numbers from 0 on",
            "column \"plan\" is set as numeric, but its values look categorical: correct the model's settings or the data",
        ]
    );
}

#[test]
fn rows_without_a_weight_do_not_count() {
    let settings = json!({"target": "Churn?", "training": {
        "mode": "ensembling", "sample_weight": "age",
    }});
    let text = table(450) + &"-1,pro,True.\n".repeat(150);
    let (verdict, _) = inspect(settings, vec![("train/data.csv", text.into())]);
    assert_eq!(
        messages(&verdict.errors),
        [
            "data.csv has 450 rows with a value in \"Churn?\" and a weight in \"age\"; SageMaker Autopilot needs at least 500: give more"
        ]
    );
}

#[test]
fn a_numeric_target_that_another_column_repeats_is_given_away() {
    let mut text = String::from("size,price,price_in_cents\n");
    for n in 0_u64..700 {
        let price = n * 7919 % 101;
        text.push_str(&format!("{},{price},{}\n", n * 31 % 97, price * 100));
    }
    let (verdict, _) = inspect(json!({"target": "price"}), vec![("train/d.csv", text.into())]);
    assert!(verdict.is_fit(), "{:?}", verdict.errors);
    assert_eq!(
        messages(&verdict.warnings),
        [
            "column \"price_in_cents\" gives \"price\" away: it alone tells nearly all of it; leave it out if it is known only afterwards, or the model learns nothing else"
        ]
    );
    assert_eq!(verdict.target.unwrap().classes, []);
}

#[test]
fn validation_and_held_out_data_are_judged_too() {
    let channel = json!({"target": "Churn?", "training": {"validation": "channel"}});
    let good = || table(600).into_bytes();
    let with = |name, bytes| {
        inspect(
            channel.clone(),
            vec![("train/a.csv", good()), ("validation/v.csv", good()), (name, bytes)],
        )
        .0
    };
    assert!(with("test/t.csv", good()).is_fit());
    let other = table(20).replacen("age", "years", 1).into_bytes();
    assert_eq!(
        messages(&with("validation/w.csv", other.clone()).errors),
        [
            "w.csv has another header than v.csv: it lacks \"age\"; all files of a model must have the same columns in the same order"
        ]
    );
    assert_eq!(
        messages(&with("test/t.csv", other).errors),
        [
            "t.csv lacks columns of the training data: \"age\"; the run ends with predictions for this held-out file: correct or remove it"
        ]
    );
    let semicolons = table(20).replace(',', ";").into_bytes();
    assert_eq!(
        messages(&with("test/t.csv", semicolons).errors),
        [
            "t.csv is separated by semicolons, and SageMaker Autopilot takes commas: save it as comma-separated text; the run ends with predictions for this held-out file: correct or remove it"
        ]
    );
    assert_eq!(
        messages(&with("test/t.parquet", parquet_files::churn(20)).errors),
        [
            "t.parquet is no CSV file, plain or in gzip; the run ends with predictions for this held-out file: correct or remove it"
        ]
    );
    let unlabelled = b"plan,age\npro,30\n".to_vec();
    assert_eq!(
        messages(&with("test/t.csv", unlabelled).warnings),
        [
            "t.csv has no values in \"Churn?\", so that the model's predictions for it cannot be evaluated: add that column if the truth is known"
        ]
    );
}

#[test]
fn pictures_lie_in_one_folder_for_each_class() {
    let settings = || json!({"target": "label", "problem": "image_classification"});
    let judge = |files: &[&'static str]| {
        let files = files.iter().map(|name| (*name, vec![1])).collect();
        inspect(settings(), files).0
    };
    assert!(judge(&["train/cat/1.png", "train/dog/2.JPG"]).is_fit());
    assert_eq!(
        messages(&judge(&["train/cat/1.png"]).errors),
        ["all 1 pictures are of one class: at least two folders are needed to learn from"]
    );
    assert_eq!(
        messages(&judge(&["train/cat/1.png", "train/dog/2.png", "train/3.png"]).errors),
        ["3.png lies in no folder: put every picture into the folder of its class"]
    );
}

/// A table of about this many bytes, in which quotes hold line feeds.
fn large(bytes: usize) -> Vec<u8> {
    let mut text = format!("note,{HEADER}\n");
    let mut number = 0;
    while text.len() < bytes {
        let note = ["plain", "\"two\nlines\"", "\"a, b\""][number % 3];
        text.push_str(&format!("{note},{}\n", row(number)));
        number += 1;
    }
    text.into_bytes()
}

#[test]
fn large_data_is_sampled_everywhere_and_its_rows_are_estimated() {
    let one = large(40 << 20);
    // Every row ends in a label.
    let rows = one.windows(2).filter(|pair| pair == b".\n").count() as f64;
    let (verdict, read) = inspect(churn(), vec![("train/a.csv", one)]);
    assert_eq!(messages(&verdict.errors), Vec::<&str>::new());
    let found = verdict.training.rows.unwrap();
    assert!(!found.exact && (found.count as f64 / rows - 1.0).abs() < 0.02, "{found:?} of {rows}");
    assert!(read <= 17 << 20, "{read}");
    assert!(found.sampled as f64 > rows / 4.0);
}

#[test]
fn what_is_wrong_in_the_middle_of_a_large_file_is_found() {
    let mut text = table(10).into_bytes();
    while text.len() < 20 << 20 {
        text.extend_from_slice(&table(4000).as_bytes()[HEADER.len() + 1..]);
        if text.len() > 9 << 20 {
            text.extend_from_slice(format!("{HEADER}\n").as_bytes());
        }
    }
    let (verdict, _) = inspect(churn(), vec![("train/a.csv", text)]);
    assert_eq!(verdict.errors[0].code, Flaw::RepeatedHeader, "{:?}", verdict.errors);
}

#[test]
fn many_files_are_looked_into_evenly_and_within_bounds() {
    let names: Vec<String> = (0..2500).map(|n| format!("train/part-{n:05}.csv")).collect();
    let files = names.iter().map(|name| (name.as_str(), table(2).into_bytes())).collect();
    let (verdict, read) = inspect(churn(), files);
    assert_eq!(messages(&verdict.errors), Vec::<&str>::new());
    assert_eq!(verdict.training.rows.unwrap().count, 5000);
    assert_eq!(
        verdict.warnings[0].message,
        "only 834 of 2,500 files were looked into: join them into fewer, larger ones to have all of them checked"
    );
    assert!(read < 1 << 20);
}

#[test]
fn a_gzip_bomb_is_left_alone_after_a_bounded_look() {
    let mut zeros = table(600).into_bytes();
    zeros.extend(std::iter::repeat_n(b'1', 60 << 20));
    let bomb = gzip(&zeros);
    assert!(bomb.len() < 2 << 20);
    let (verdict, _) = inspect(churn(), vec![("train/a.csv", bomb)]);
    assert!(!verdict.training.rows.unwrap().exact);
}

mod parquet_files {
    //! Footers as a writer makes them, in Thrift's compact protocol.

    /// A structure under construction: its fields' heads need the last id.
    #[derive(Default)]
    pub(super) struct Struct(Vec<u8>, i16);

    pub(super) fn varint(mut value: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while value >= 0x80 {
            bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
        bytes
    }

    impl Struct {
        pub(super) fn field(mut self, id: i16, kind: u8, value: &[u8]) -> Self {
            self.0.push(((id - self.1) as u8) << 4 | kind);
            self.0.extend_from_slice(value);
            self.1 = id;
            self
        }

        pub(super) fn number(self, id: i16, kind: u8, value: i64) -> Self {
            self.field(id, kind, &varint(((value << 1) ^ (value >> 63)) as u64))
        }

        pub(super) fn text(self, id: i16, text: &[u8]) -> Self {
            let value = [varint(text.len() as u64), text.to_vec()].concat();
            self.field(id, 8, &value)
        }

        pub(super) fn list(self, id: i16, items: &[Vec<u8>]) -> Self {
            let head = [vec![0xFC], varint(items.len() as u64), items.concat()].concat();
            self.field(id, 9, &head)
        }

        pub(super) fn end(mut self) -> Vec<u8> {
            self.0.push(0);
            self.0
        }
    }

    /// Name, physical type, missing values, smallest and largest value.
    pub(super) type Column<'a> = (&'a str, i64, i64, &'a [u8], &'a [u8]);

    pub(super) fn footer(rows: i64, columns: &[Column<'_>]) -> Vec<u8> {
        let root = Struct::default().text(4, b"schema").number(5, 5, columns.len() as i64).end();
        let element = |(name, kind, ..): &Column<'_>| {
            Struct::default().number(1, 5, *kind).number(3, 5, 1).text(4, name.as_bytes()).end()
        };
        let chunk = |(_, _, missing, low, high): &Column<'_>| {
            let statistics =
                Struct::default().number(3, 6, *missing).text(5, high).text(6, low).end();
            let metadata = Struct::default().number(5, 6, rows).field(12, 12, &statistics).end();
            Struct::default().number(2, 6, 4).field(3, 12, &metadata).end()
        };
        let elements: Vec<Vec<u8>> =
            std::iter::once(root).chain(columns.iter().map(element)).collect();
        let group = Struct::default()
            .list(1, &columns.iter().map(chunk).collect::<Vec<_>>())
            .number(3, 6, rows)
            .end();
        Struct::default()
            .number(1, 5, 2)
            .list(2, &elements)
            .number(3, 6, rows)
            .list(4, &[group])
            .text(6, b"test")
            .end()
    }

    pub(super) fn file(footer: &[u8]) -> Vec<u8> {
        let length = (footer.len() as u32).to_le_bytes();
        [b"PAR1data".as_slice(), footer, &length, b"PAR1"].concat()
    }

    pub(super) fn churn(rows: i64) -> Vec<u8> {
        file(&footer(
            rows,
            &[
                ("age", 1, 3, b"18", b"99"),
                ("plan", 6, 0, b"a", b"z"),
                ("Churn?", 6, 0, b"F", b"T"),
            ],
        ))
    }
}

#[test]
fn parquet_is_judged_by_its_footer_alone() {
    let judge = |bytes| inspect(churn(), vec![("train/a.parquet", bytes)]).0;
    let verdict = judge(parquet_files::churn(600));
    assert_eq!((messages(&verdict.errors), messages(&verdict.warnings)), (vec![], vec![]));
    assert_eq!(verdict.format, Some(Format::Parquet));
    assert_eq!(verdict.training.rows, Some(Rows { count: 600, exact: true, sampled: 0 }));
    assert_eq!(verdict.columns[0].missing, Some(3));
    assert_eq!(verdict.columns[0].kind, Some(Kind::Numeric));

    let with = |rows, columns: &[parquet_files::Column<'_>]| {
        judge(parquet_files::file(&parquet_files::footer(rows, columns)))
    };
    let few = with(600, &[("age", 1, 0, b"1", b"2"), ("Churn?", 6, 200, b"F", b"T")]);
    assert_eq!(
        messages(&few.errors),
        [
            "a.parquet has 400 rows with a value in \"Churn?\"; SageMaker Autopilot needs at least 500: give more"
        ]
    );
    let one = with(600, &[("age", 1, 600, b"", b""), ("Churn?", 6, 0, b"T", b"T")]);
    assert_eq!(
        messages(&one.errors),
        [
            "column \"Churn?\" has the same value in every row: at least two different values are needed to learn from"
        ]
    );
    assert_eq!(
        messages(&one.warnings),
        ["column \"age\" has no value in any of 600 rows: leave it out"]
    );
    let no_target = with(600, &[("age", 1, 0, b"1", b"2")]);
    assert_eq!(no_target.errors[0].code, Flaw::NoTarget);
    let nameless = with(600, &[(" ", 1, 0, b"1", b"2"), ("Churn?", 6, 0, b"F", b"T")]);
    assert_eq!(
        messages(&nameless.errors),
        ["a.parquet has no name for column 1 in its header: give every column a name of its own"]
    );
    let age: parquet_files::Column<'_> = ("age", 1, 0, b"1", b"2");
    let doubled = with(600, &[age, age, ("Churn?", 6, 0, b"F", b"T")]);
    assert_eq!(
        messages(&doubled.errors),
        [
            "a.parquet has the same name for columns 1 and 2 in its header: give every column a name of its own"
        ]
    );
    let lying = with(600, &[("age", 1, 0, b"1", b"2"), ("Churn?", 6, 601, b"F", b"T")]);
    assert_eq!(
        messages(&lying.errors),
        [
            "a.parquet is a Parquet file that has a footer that counts more missing values than rows: write it again"
        ]
    );
}

#[test]
fn a_file_of_the_rust_parquet_writer_is_read() {
    // Two row groups of 300 rows: age (a tenth missing), plan, joined, spend,
    // constant, Churn (a twentieth missing).
    let file = include_bytes!("testdata/two-groups.parquet").to_vec();
    let (verdict, _) = inspect(json!({"target": "Churn"}), vec![("train/a.parquet", file)]);
    assert!(verdict.is_fit(), "{:?}", verdict.errors);
    assert_eq!(verdict.training.rows.unwrap().count, 600);
    let column =
        |column: &Column| (column.name.clone(), column.kind.unwrap(), column.missing.unwrap());
    let columns: Vec<_> = verdict.columns.iter().map(column).collect();
    let expected = [
        ("age", Kind::Numeric, 60),
        ("plan", Kind::Categorical, 0),
        ("joined", Kind::Datetime, 0),
        ("spend", Kind::Numeric, 0),
        ("constant", Kind::Categorical, 0),
        ("Churn", Kind::Categorical, 30),
    ];
    assert_eq!(columns, expected.map(|(name, kind, missing)| (name.to_owned(), kind, missing)));
    let warned: Vec<Flaw> = verdict.warnings.iter().map(|warning| warning.code).collect();
    assert_eq!(warned, [Flaw::ConstantColumn, Flaw::MissingTargets]);
}

#[test]
fn a_row_is_kept_for_the_first_prediction_whatever_the_files_are() {
    let record = |bytes: Vec<u8>, target: &str| {
        let (verdict, _) = inspect(json!({"target": target}), vec![("train/part-0000", bytes)]);
        String::from_utf8(verdict.first_record(target).unwrap()).unwrap()
    };
    assert_eq!(record(table(600).into(), "Churn?"), "age,plan\n18,basic\n");
    assert_eq!(record(gzip(table(600).as_bytes()), "Churn?"), "age,plan\n18,basic\n");
    // A row that no endpoint would take is passed by.
    let long = table(600).replacen("18,basic", &format!("18,{}", "x".repeat(1 << 20)), 1);
    assert_eq!(record(long.into(), "Churn?"), "age,plan\n31,plus\n");
    // Of Parquet, each column's smallest value.
    let file = include_bytes!("testdata/two-groups.parquet").to_vec();
    let (verdict, _) = inspect(json!({"target": "Churn"}), vec![("train/a.parquet", file)]);
    let row = verdict.row.clone().unwrap();
    assert_eq!(row.len(), verdict.columns.len());
    assert!(row.iter().any(|cell| cell.parse::<f64>().is_ok()), "{row:?}");
    // It is data, and no part of what is told.
    assert!(serde_json::to_value(&verdict).unwrap().get("row").is_none());
}

/// Files that promise more than a function holds end in a sentence.
#[test]
fn bombs_are_told_and_not_swallowed() {
    let commas = vec![b','; 8 << 20];
    let second = [b"a,b,Churn?\n".to_vec(), commas.clone()].concat();
    for (bytes, line) in [(gzip(&commas), 1), (commas, 1), (gzip(&second), 2)] {
        let verdict = of(bytes);
        let expected = format!("columns in line {line}, and at most 5,000 are taken");
        assert!(messages(&verdict.errors)[0].contains(&expected), "{:?}", verdict.errors);
    }
    // A schema of four million elements of one byte each.
    let elements = 4_000_000_u64;
    let mut footer = vec![0x29, 0xFC];
    footer.extend(parquet_files::varint(elements));
    footer.extend(vec![0; elements as usize]);
    footer.extend([0x16, 2, 0]);
    let verdict = inspect(churn(), vec![("train/a.parquet", parquet_files::file(&footer))]).0;
    assert!(
        messages(&verdict.errors)[0].contains("more than 5,000 columns"),
        "{:?}",
        verdict.errors
    );
}

#[test]
fn a_thousand_small_gzip_files_are_not_unpacked_to_gigabytes() {
    let rows = format!("{HEADER}\n{}", "18,basic,True.\n19,plus,False.\n".repeat(100_000));
    let zipped = gzip(rows.as_bytes());
    let names: Vec<String> = (0..200).map(|file| format!("train/{file}.gz")).collect();
    let files = names.iter().map(|name| (name.as_str(), zipped.clone())).collect();
    let (verdict, _) = inspect(churn(), files);
    assert!(verdict.is_fit(), "{:?}", verdict.errors);
    let sampled = verdict.training.rows.unwrap().sampled;
    // 64 MB, and the least of each file beyond.
    assert!(sampled * 15 < (64 << 20) + 200 * (160 << 10), "{sampled}");
}

#[test]
fn rows_of_several_parquet_files_are_added_up() {
    let files = vec![
        ("train/a.parquet", parquet_files::churn(300)),
        ("train/b.parquet", parquet_files::churn(300)),
    ];
    let (verdict, _) = inspect(churn(), files);
    assert!(verdict.is_fit(), "{:?}", verdict.errors);
    assert_eq!(verdict.training.rows.unwrap().count, 600);
    assert_eq!(verdict.columns[0].missing, Some(6));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        of(bytes);
    }

    #[test]
    fn no_table_makes_it_panic(text in "([a-c0-9\"\\n\\r,;. ]{0,300})") {
        of(text.clone());
        of(format!("a,b,Churn?\n{text}"));
        of(gzip(text.as_bytes()));
    }

    #[test]
    fn no_parquet_footer_makes_it_panic(footer in proptest::collection::vec(any::<u8>(), 0..300)) {
        inspect(churn(), vec![("train/a.parquet", parquet_files::file(&footer))]);
    }

    #[test]
    fn no_lie_in_a_good_footer_makes_it_panic(at in 0_usize..200, byte in any::<u8>(), cut in 0_usize..200) {
        let mut bytes = parquet_files::churn(600);
        let length = bytes.len();
        bytes[8 + at % (length - 16)] = byte;
        inspect(churn(), vec![("train/a.parquet", bytes.clone())]);
        inspect(churn(), vec![("train/a.parquet", bytes[..length - cut.min(length)].to_vec())]);
    }

    #[test]
    fn gzip_that_is_damaged_anywhere_makes_it_no_panic(at in 0_usize..5000, byte in any::<u8>()) {
        let mut bytes = gzip(table(600).as_bytes());
        let length = bytes.len();
        bytes[at % length] = byte;
        of(bytes);
    }
}
