#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use crosspilot_table::stream::Stream;

use super::*;

/// The text of the rows to train on and of those that are set aside.
fn divide(text: &str, share: f64) -> Option<(String, String)> {
    divide_words(text, share).map(|(training, held_out, _)| (training, held_out))
}

/// The text of the rows to train on and of those that are set aside, with the words of
/// column `x`.
fn divide_words(text: &str, share: f64) -> Option<(String, String, Words)> {
    let mut survey = Survey::new(share);
    let mut columns = None;
    let mut stream = Stream::default();
    let mut count = |row: Row<'_>| match &columns {
        None => columns = Some(Columns::of(row, "y")),
        Some(columns) => survey.count(row, columns),
    };
    stream.take(text.as_bytes(), &mut count).unwrap();
    stream.end(&mut count).unwrap();
    let (below, rare) = survey.end()?;
    let split = Split { files: Vec::new(), below, rare };
    let categories = BTreeSet::from(["x".to_owned()]);
    let mut divider = Divider::new(&split, &categories);
    let mut stream = Stream::default();
    stream.take(text.as_bytes(), &mut |row| divider.take(row, "y")).unwrap();
    stream.end(&mut |row| divider.take(row, "y")).unwrap();
    divider.close_part();
    let parts = divider.take_parts().into_iter().map(|(_, text)| text).collect::<Vec<_>>();
    let training = String::from_utf8(parts.concat()).unwrap();
    let words = divider.take_words();
    Some((training, String::from_utf8(divider.into_held_out()).unwrap(), words))
}

fn table(rows: impl Iterator<Item = (u64, &'static str)>) -> String {
    let mut text = "x,y\n".to_owned();
    rows.for_each(|(x, y)| text.push_str(&format!("{x},{y}\n")));
    text
}

fn two(x: u64) -> (u64, &'static str) {
    (x, if x.is_multiple_of(3) { "yes" } else { "no" })
}

fn lines(text: &str) -> BTreeSet<&str> {
    text.lines().skip(1).collect()
}

#[test]
fn a_share_is_set_aside_and_the_rest_is_trained_on() {
    let text = table((0..5000).map(two));
    let (training, held_out) = divide(&text, 0.2).unwrap();
    assert!(training.starts_with("x,y\n") && held_out.starts_with("x,y\n"));
    let (training, held_out) = (lines(&training), lines(&held_out));
    assert!((900..1100).contains(&held_out.len()), "{}", held_out.len());
    assert!(training.is_disjoint(&held_out));
    assert_eq!(training.union(&held_out).count(), 5000);
}

#[test]
fn equal_rows_fall_on_one_side_and_a_growing_table_sets_the_same_rows_aside() {
    let doubled = table((0..5000).map(|x| two(x / 5)));
    let (training, held_out) = divide(&doubled, 0.2).unwrap();
    assert!(lines(&training).is_disjoint(&lines(&held_out)));
    let (before, after) = (table((0..2000).map(two)), table((0..4000).map(two)));
    let (trained, _) = divide(&before, 0.2).unwrap();
    let (_, held_out) = divide(&after, 0.2).unwrap();
    assert!(lines(&trained).is_disjoint(&lines(&held_out)));
}

#[test]
fn words_of_a_category_are_those_of_the_rows_to_train_on() {
    let text = table((0..2000).map(|row| two(row % 300)));
    let (training, held_out, words) = divide_words(&text, 0.2).unwrap();
    let word = |line: &str| line.split(',').next().unwrap().to_owned();
    assert!(lines(&training).iter().all(|line| !words.lack("x", &word(line))));
    assert!(!held_out.is_empty());
    assert!(lines(&held_out).iter().all(|line| words.lack("x", &word(line))));
    assert!(!words.lack("y", "never seen"));
}

#[test]
fn never_more_than_ten_thousand_rows_are_set_aside() {
    let (training, held_out) = divide(&table((0..80_000).map(two)), 0.2).unwrap();
    assert_eq!(lines(&held_out).len(), 10_000);
    assert_eq!(lines(&training).len(), 70_000);
}

#[test]
fn what_is_needed_to_train_on_is_not_set_aside() {
    assert_eq!(divide(&table((0..540).map(two)), 0.2), None);
    let (training, held_out) = divide(&table((0..580).map(two)), 0.2).unwrap();
    assert_eq!((lines(&training).len(), lines(&held_out).len()), (500, 80));
    // A label of few rows is left to be learned.
    let rare = |x| if x < 9 { (x, "rare") } else { two(x) };
    let (training, held_out) = divide(&table((0..2000).map(rare)), 0.5).unwrap();
    assert!(!held_out.contains("rare"));
    assert_eq!(training.matches("rare").count(), 9);
}

#[test]
fn rows_without_a_label_or_of_another_length_are_not_evaluated_on() {
    let mut text = table((0..2000).map(two));
    for x in 0..500 {
        text.push_str(&format!("{x},\n{x},NA\n{x}\n{x},yes,more\n"));
    }
    let (training, held_out) = divide(&text, 0.5).unwrap();
    assert!(lines(&held_out).iter().all(|row| row.ends_with(",yes") || row.ends_with(",no")));
    assert_eq!(training.lines().count() + held_out.lines().count(), 2 + 2000 + 4 * 500);
}

#[test]
fn cells_are_written_as_they_are_read() {
    let mut text = table((0..1000).map(two));
    text.push_str("\"a\nb,\"\"c\"\"\",yes\n");
    let (training, held_out) = divide(&text, 0.2).unwrap();
    assert!((training + &held_out).contains("\"a\nb,\"\"c\"\"\",yes\n"));
}
