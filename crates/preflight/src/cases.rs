//! Tables as people send them, each an instance of a kind that once went wrong: what
//! the preflight says of it.
#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::tests::inspect;
use super::{Flaw, Verdict};

/// 510 rows: a number, a plan, and whether the customer leaves.
fn base() -> String {
    table(|x, plan, leaves| format!("{x},{plan},{leaves}"))
}

/// A line for each row, below `x,plan,churn`.
fn table(line: impl Fn(usize, &str, &str) -> String) -> String {
    let mut text = "x,plan,churn\n".to_owned();
    for row in 0..510 {
        let x = 18 + row * 7919 % 61;
        let plan = ["basic", "pro", "max"][row * 31 % 3];
        let leaves = if (x + row % 20) % 80 > 48 { "yes" } else { "no" };
        text.push_str(&line(x, plan, leaves));
        text.push('\n');
    }
    text
}

fn judged(target: &str, files: Vec<(&str, Vec<u8>)>) -> Verdict {
    inspect(json!({"target": target}), files).0
}

fn trained(target: &str, text: impl Into<Vec<u8>>) -> Verdict {
    judged(target, vec![("train/data.csv", text.into())])
}

/// Asserts that one error of this code says so.
fn refused(verdict: &Verdict, code: Flaw, part: &str) {
    let errors: Vec<_> = verdict.errors.iter().map(|e| (e.code, e.message.as_str())).collect();
    assert!(
        errors.len() == 1 && errors[0].0 == code && errors[0].1.contains(part),
        "{code:?} {part:?}: {errors:?}"
    );
}

/// Asserts that the data is fit, and a warning of this code says so.
fn warned(verdict: &Verdict, code: Flaw, part: &str) {
    assert!(verdict.is_fit(), "{:?}", verdict.errors);
    let found = verdict.warnings.iter().find(|w| w.code == code);
    let found = found.unwrap_or_else(|| panic!("{code:?}: {:?}", verdict.warnings));
    assert!(found.message.contains(part), "{}", found.message);
}

#[test]
fn the_base_table_is_fit_without_a_word() {
    let verdict = trained("churn", base());
    assert_eq!((verdict.errors, verdict.warnings), (vec![], vec![]));
}

#[test]
fn held_out_labels_that_training_does_not_have_are_told() {
    let held = |from: &str, to: &str| base().replace(from, to).into_bytes();
    let with = |held_out: Vec<u8>| {
        judged("churn", vec![("train/a.csv", base().into()), ("test/h.csv", held_out)])
    };
    let other = held(",yes\n", ",Yes\n").into_iter().collect::<Vec<u8>>();
    warned(&with(other), Flaw::UnknownLabels, "that the training data does not have (1 of them)");
    let all = String::from_utf8(held(",yes\n", ",TRUE\n")).unwrap().replace(",no\n", ",FALSE\n");
    refused(&with(all.into_bytes()), Flaw::UnknownLabels, "510 of 510 rows");
    let stray = base().replacen(",yes\n", ",maybe\n", 1);
    warned(&with(stray.into_bytes()), Flaw::UnknownLabels, "has 1 of 510 rows");
}

#[test]
fn validation_labels_that_training_does_not_have_are_told() {
    let settings = json!({"target": "churn", "training": {"validation": "channel"}});
    let with = |validation: String| {
        let files = vec![
            ("train/a.csv", base().into_bytes()),
            ("validation/v.csv", validation.into_bytes()),
        ];
        inspect(settings.clone(), files).0
    };
    warned(
        &with(base().replace(",yes\n", ",YES\n")),
        Flaw::UnknownLabels,
        "nothing can be validated",
    );
    let all = base().replace(",yes\n", ",YES\n").replace(",no\n", ",NO\n");
    refused(&with(all), Flaw::UnknownLabels, "510 of 510 rows");
}

#[test]
fn held_out_categories_that_training_does_not_have_are_told() {
    let blank = table(|x, plan, leaves| format!("{x}, {plan},{leaves}"));
    let files = vec![("train/a.csv", base().into_bytes()), ("test/h.csv", blank.into_bytes())];
    let verdict = judged("churn", files);
    warned(
        &verdict,
        Flaw::UnknownValues,
        "in column \"plan\" that the training data does not have (510 begin or end with a blank)",
    );
}

#[test]
fn what_is_read_otherwise_than_meant_is_told_of_validation_and_held_out_data_with_its_place() {
    let settings = json!({"target": "churn", "training": {"validation": "channel"}});
    let odd = base().replace(",basic,", ",?,").replace(",yes\n", ",none\n");
    let money = table(|x, plan, leaves| format!("${x},{plan},{leaves}"));
    let with = |validation: &str, held_out: &str| {
        let files = vec![
            ("train/a.csv", base().into_bytes()),
            ("validation/v.csv", validation.as_bytes().to_vec()),
            ("test/h.csv", held_out.as_bytes().to_vec()),
        ];
        let verdict = inspect(settings.clone(), files).0;
        assert!(verdict.is_fit(), "{:?}", verdict.errors);
        let warnings = verdict.warnings.into_iter();
        let read = [Flaw::LooksMissing, Flaw::DressedNumbers];
        let of_readings = warnings.filter(|warning| read.contains(&warning.code));
        of_readings.map(|warning| warning.message).collect::<Vec<_>>().join("\n")
    };
    let (validation, held_out) =
        ("the validation data under validation/", "the held-out file h.csv");
    for (messages, place) in [(with(&odd, &base()), validation), (with(&base(), &odd), held_out)] {
        let said =
            format!("has 170 of 510 values of {place} that look like missing ones (\"?\" 170)");
        assert!(messages.contains(&format!("column \"plan\" {said}")), "{messages}");
        assert!(messages.contains("column \"churn\" has"), "{messages}");
        assert_eq!(messages.matches(place).count(), 2, "{messages}");
    }
    for (messages, place) in
        [(with(&money, &base()), validation), (with(&base(), &money), held_out)]
    {
        let said =
            format!("column \"x\" has numbers in 510 of 510 values of {place} that SageMaker");
        assert!(messages.starts_with(&said), "{messages}");
        assert_eq!(messages.lines().count(), 1, "{messages}");
    }
    assert_eq!(with(&base(), &base()), "");
}

#[test]
fn held_out_rows_that_training_has_are_counted() {
    let wide = |from: usize| {
        let mut text = "a,b,churn\n".to_owned();
        (from..from + 600).for_each(|row| {
            text.push_str(&format!(
                "{}.5,{},{}\n",
                row * 7919 % 10_007,
                row * 31 % 997,
                ["yes", "no"][row % 2]
            ));
        });
        text.into_bytes()
    };
    let with = |from| judged("churn", vec![("train/a.csv", wide(0)), ("test/h.csv", wide(from))]);
    warned(
        &with(500),
        Flaw::HeldOutInTraining,
        "has 100 of 600 rows that stand in the training data",
    );
    assert!(with(600).warnings.iter().all(|w| w.code != Flaw::HeldOutInTraining));
    let doubled = String::from_utf8(wide(0)).unwrap();
    let copies: String = doubled.lines().skip(1).take(60).map(|line| format!("{line}\n")).collect();
    warned(
        &trained("churn", doubled + &copies),
        Flaw::RepeatedRows,
        "120 of 660 rows stand there more than once",
    );
}

#[test]
fn labels_that_differ_in_case_or_blanks_are_told() {
    for (from, to) in [(",yes\n", ",Yes\n"), (",no\n", ", no\n")] {
        let mut text = base();
        for _ in 0..100 {
            text = text.replacen(from, to, 1);
        }
        warned(&trained("churn", text), Flaw::SimilarLabels, "has 1 of 3 labels");
    }
}

#[test]
fn what_no_model_can_learn_is_refused_before_the_job() {
    let many = |row: usize| format!("{},{},label {}", row * 7919 % 613, row % 7, row % 200);
    let mut text = "x,z,label\n".to_owned();
    (0..510).for_each(|row| text.push_str(&format!("{}\n", many(row))));
    refused(&trained("label", text), Flaw::ManyClasses, "at most 170 classes can be learned");
    let mut text = "id,made,churn\n".to_owned();
    (0..510).for_each(|row| text.push_str(&format!("c-{row},2026,{}\n", ["yes", "no"][row % 2])));
    refused(&trained("churn", text), Flaw::NothingToLearn, "no column besides \"churn\"");
    let money =
        table(|x, plan, _| format!("{x},{plan},\"${},{:03}.50\"", x % 7 + 1, x * 7919 % 1000));
    let mut row = 0;
    let money: String = money
        .lines()
        .map(|line| {
            row += 1;
            format!("{}\n", line.replace(".50\"", &format!(".{row:03}\"")))
        })
        .collect();
    refused(&trained("churn", money), Flaw::DressedNumbers, "write the amount alone");
}

#[test]
fn amounts_of_money_are_told_as_such_and_as_no_identifiers() {
    let mut prices = String::new();
    for (cents, line) in base().replacen("plan", "price", 1).lines().enumerate() {
        let cells: Vec<&str> = line.split(',').collect();
        match cents {
            0 => prices.push_str(line),
            _ => prices.push_str(&format!("{},\"$1,{cents:03}.50\",{}", cells[0], cells[2])),
        }
        prices.push('\n');
    }
    let verdict = trained("churn", prices);
    warned(&verdict, Flaw::DressedNumbers, "write the amount alone");
    assert_eq!(verdict.warnings.len(), 1, "{:?}", verdict.warnings);
}

#[test]
fn a_measure_with_words_in_it_is_told_by_their_number() {
    let words = table(|x, plan, leaves| match leaves {
        "yes" if x % 11 == 0 => format!("{x},{plan},unknown"),
        _ => format!("{x},{plan},{}.25", x * 7),
    });
    refused(
        &trained("churn", words),
        Flaw::MixedTarget,
        "values are none: correct these or leave them empty",
    );
}

#[test]
fn a_target_that_stands_there_twice_or_shows_in_what_is_filled_in_is_a_leak() {
    let twice = table(|x, plan, leaves| format!("{x},{plan} {leaves},{leaves}"));
    warned(&trained("churn", twice), Flaw::LeakyColumn, "gives \"churn\" away");
    let reason = table(|x, _, leaves| {
        format!(
            "{x},{},{leaves}",
            if leaves == "yes" { format!("said {x}") } else { String::new() }
        )
    });
    warned(&trained("churn", reason), Flaw::LeakyColumn, "gives \"churn\" away");
    let equal = base().replace("x,plan,churn", "x,y,plan,churn");
    let equal: String = equal
        .lines()
        .enumerate()
        .map(|(at, line)| match at {
            0 => format!("{line}\n"),
            _ => format!("{},{line}\n", line.split(',').next().unwrap()),
        })
        .collect();
    warned(&trained("churn", equal), Flaw::EqualColumns, "column \"y\" equals \"x\"");
}

#[test]
fn lines_before_the_header_are_named() {
    for (before, line) in [("Customers of 2026\n", 2), ("# made by us\n\n", 3), ("sep=,\n", 2)] {
        let verdict = trained("churn", format!("{before}{}", base()));
        let part = format!("it seems to stand in line {line}");
        assert_eq!(verdict.errors.len(), 1, "{:?}", verdict.errors);
        assert!(verdict.errors[0].message.contains(&part), "{}", verdict.errors[0].message);
    }
    // Nothing of the kind.
    refused(&trained("churn", "word\nword\nword\n"), Flaw::OneColumn, "one column only");
}

#[test]
fn what_programs_write_beside_the_data_is_told_by_its_name() {
    let mut row = 0_usize;
    let index: String = base()
        .lines()
        .enumerate()
        .map(|(at, line)| match at {
            0 => format!(",{line}\n"),
            _ => {
                row += 1;
                format!("{},{line}\n", row - 1)
            }
        })
        .collect();
    refused(&trained("churn", index), Flaw::UnnamedColumn, "write it with index=False");
    let ends = |header: &str, rows: &str| {
        let text = base();
        let (first, rest) = text.split_once('\n').unwrap();
        format!("{first}{header}\n{}", rest.replace('\n', &format!("{rows}\n")))
    };
    refused(&trained("churn", ends("", ",")), Flaw::RaggedRow, "it ends with a comma");
    refused(
        &trained("churn", ends(",,", ",,")),
        Flaw::UnnamedColumn,
        "ends its header with a comma",
    );
    refused(&trained("churn", ends(",", "")), Flaw::UnnamedColumn, "ends its header with a comma");
    let backslash = table(|x, plan, leaves| format!("{x},\"{plan} \\\"a, b\\\"\",{leaves}"));
    refused(&trained("churn", backslash), Flaw::RaggedRow, "escapes quotes with a backslash");
    let years = base().replacen("x,plan,churn", "1990,1991,name", 1);
    refused(&trained("Label", years), Flaw::NoTarget, "has no column \"Label\"");
}

#[test]
fn what_is_missing_in_the_target_is_left_out_and_a_word_for_it_is_told() {
    let with = |word: &str| {
        table(|x, plan, leaves| match x % 9 {
            0 => format!("{x},{plan},{word}"),
            _ => format!("{x},{plan},{leaves}"),
        })
    };
    let rows = with("@").matches('@').count();
    let more = |word| with(word) + base().split_once('\n').unwrap().1;
    for word in ["NULL", "NA", "n/a"] {
        let settings = json!({
            "target": "churn",
            "objective": {"problem_type": "BinaryClassification", "metric": "F1"},
        });
        let verdict = inspect(settings, vec![("train/data.csv", more(word).into())]).0;
        warned(&verdict, Flaw::MissingTargets, &format!("no value in {rows} of 1,020 rows"));
        assert_eq!(verdict.target.unwrap().classes.len(), 2, "{word}");
    }
    for (word, said) in [
        (" ", "blanks only"),
        ("?", "\"?\""),
        ("-", "\"-\""),
        ("\\N", "\"\\N\""),
        ("NaT", "\"nat\""),
        ("none", "\"none\""),
    ] {
        warned(&trained("churn", more(word)), Flaw::LooksMissing, &format!("({said} {rows})"));
    }
    // Numbers without some are a measure.
    let mut price = 0.0;
    let prices: String = more("NA")
        .lines()
        .map(|line| {
            price += 0.25;
            match line.ends_with("NA") || price == 0.25 {
                true => format!("{line}\n"),
                false => format!("{}{price}\n", &line[..=line.rfind(',').unwrap()]),
            }
        })
        .collect();
    let verdict = trained("churn", prices);
    warned(&verdict, Flaw::MissingTargets, "no value in");
    assert_eq!(verdict.target.unwrap().classes, []);
}

#[test]
fn csv_is_fit_whatever_it_begins_with_and_however_many_lines_a_cell_has() {
    for name in ["<UP>", "[x]", "ORC", "PAR1", "BZh_share"] {
        let verdict = trained("churn", base().replacen("x,", &format!("{name},"), 1));
        assert_eq!((verdict.errors, verdict.warnings), (vec![], vec![]), "{name}");
    }
    let letter = format!("\"Dear all,{}\"", "\nmore".repeat(101));
    let verdict = trained("churn", base().replacen("basic", &letter, 1));
    assert_eq!(verdict.errors, vec![]);
    // With carriage returns for line ends, one line feed within a cell makes no difference.
    let letters = base().replace('\n', "\r");
    let said = |text: String| {
        let errors = trained("churn", text).errors;
        errors.into_iter().map(|error| (error.code, error.message)).collect::<Vec<_>>()
    };
    let pure = said(letters.clone());
    assert!(pure.len() == 1 && pure[0].1.contains("with a carriage return only"), "{pure:?}");
    assert_eq!(said(letters.replacen("basic", "\"ba\nsic\"", 1)), pure);
}

#[test]
fn categories_of_several_lines_are_told_since_a_model_is_asked_in_one() {
    let lines = table(|x, plan, leaves| format!("{x},\"{plan}\nplan\",{leaves}"));
    warned(&trained("churn", lines), Flaw::LineBreaks, "line breaks in 510 of 510 values");
}

#[test]
fn the_first_file_with_a_row_gives_the_row_for_the_first_prediction() {
    let files =
        vec![("train/a.csv", b"x,plan,churn\n".to_vec()), ("train/b.csv", base().into_bytes())];
    let verdict = judged("churn", files);
    assert!(verdict.is_fit(), "{:?}", verdict.errors);
    assert_eq!(verdict.first_record("churn").unwrap(), b"x,plan\n18,basic\n");
}

#[test]
fn the_end_of_a_large_file_is_read_as_its_beginning_is() {
    let mut long = base();
    let rows = long.split_once('\n').unwrap().1.to_owned();
    while long.len() < 9 << 20 {
        long.push_str(&rows);
    }
    for (tail, code, part) in [
        (&b"1,caf\xe9,yes\n"[..], Flaw::NotUtf8, "is not UTF-8 text in its middle"),
        (b"1,a\0b,yes\n", Flaw::BinaryData, "a NUL in its middle"),
        (b"x,plan,churn\n", Flaw::RepeatedHeader, "has its header again"),
        (b"1,2\n", Flaw::RaggedRow, "has 2 fields in a row of its middle"),
        (b"1,\"a, b\",yes\n1,2\n", Flaw::RaggedRow, "has 2 fields in a row of its middle"),
        (b"1,\"basic,yes\n", Flaw::OpenQuote, "has a double quote in a row of its middle"),
    ] {
        let mut text = long.clone().into_bytes();
        text.extend_from_slice(tail);
        text.extend_from_slice(rows.as_bytes());
        refused(&trained("churn", text.clone()), code, part);
        // Of held-out rows as well.
        let files = vec![("train/a.csv", base().into_bytes()), ("test/h.csv", text)];
        refused(&judged("churn", files), Flaw::HeldOutUnfit, part);
    }
}
