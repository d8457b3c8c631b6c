//! A table's header: names, once each, the same in every file.
//!
//! The first line of a file without a header is somebody's data. So a finding names
//! a column by a name that the settings or a file that was believed have given, and
//! by its place otherwise.

use std::collections::BTreeMap;

use crosspilot_table::format::other_separator;
use crosspilot_table::is_missing;
use crosspilot_table::number::number;
use crosspilot_table::shape::Shape;

use super::verdict::{Finding, Findings, Flaw, grouped, quoted};

/// Columns that are looked at. More make no table but a mistake, and would make
/// the judgement's memory grow with them.
pub(super) const MOST: usize = 5000;
/// Rows that are looked at to tell whether a first line is one of them.
const ROWS: u64 = 5000;
/// A name that comes once in more values than these may do so by chance.
const CHANCE: u64 = 1000;
/// Rows in which no name comes again, from which a first line is believed so far that
/// its words may stand in sentences about other files.
pub(super) const PROOF: u64 = 100;
/// Columns that a sentence lists.
const LISTED: usize = 5;

/// Reads the first line of a file as names. The findings say what is wrong with
/// it; nothing is returned if it cannot be a header at all.
pub(super) fn read(
    file: &str,
    record: &csv::StringRecord,
    text: &[u8],
    target: Option<&str>,
    findings: &mut Findings,
) -> Option<Vec<String>> {
    let mut error = |flaw, message: String| findings.error(Finding::in_file(file, flaw, message));
    if let Some(separator) = other_separator(text, target)
        && target.is_none_or(|target| !record.iter().any(|name| name == target))
    {
        error(
            Flaw::WrongSeparator,
            format!(
                "is separated by {separator}, and SageMaker Autopilot takes commas: save it as comma-separated text"
            ),
        );
        return None;
    }
    let names: Vec<String> = record.iter().map(str::to_owned).collect();
    let is_mark = names[0].trim().to_ascii_lowercase().starts_with("sep=");
    if names.len() < 2 || is_mark {
        let message = match later_header(text) {
            Some(line) => format!(
                "has no header in its first line; it seems to stand in line {line}: remove what is before it"
            ),
            None => "has one column only (its first line has no comma): give the target and at least one column to predict it from".to_owned(),
        };
        error(if is_mark { Flaw::NoHeader } else { Flaw::OneColumn }, message);
        return None;
    }
    if looks_like_data(&names) && target.is_none_or(|target| !names.iter().any(|n| n == target)) {
        // What stands there may be anybody's data: it is not shown.
        error(
            Flaw::NoHeader,
            "has no header: its first line holds numbers, not names; put a line with the columns' names first".into(),
        );
        return None;
    }
    if names[0].trim().is_empty() && counts_rows(text) {
        error(
            Flaw::UnnamedColumn,
            "has no name for its first column, which counts the rows, as pandas writes its index: write it with index=False".into(),
        );
        return Some(names);
    }
    must_have_names(file, &names, findings);
    Some(names)
}

/// Lines among which a header is looked for that is not the first.
const LINES_BEFORE: usize = 10;

/// The line, from 1, in which the header stands if something else stands before it: the
/// first of several fields that the next line has, too.
fn later_header(text: &[u8]) -> Option<usize> {
    let mut reader = crosspilot_table::reader(text);
    let rows: Vec<csv::ByteRecord> =
        reader.byte_records().take(LINES_BEFORE + 1).map_while(Result::ok).collect();
    let found =
        rows.windows(2).skip(1).find(|pair| pair[0].len() > 1 && pair[0].len() == pair[1].len())?;
    let begin = found[0].position()?.byte() as usize;
    let blank = text[begin..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    Some(1 + text[..begin + blank].iter().filter(|byte| **byte == b'\n').count())
}

/// Tells whether the first fields of the rows below the header count from 0 or 1.
fn counts_rows(text: &[u8]) -> bool {
    let mut reader = crosspilot_table::reader(text);
    let rows = reader.byte_records().skip(1).take(3).map_while(Result::ok);
    let first: Vec<f64> = rows.filter_map(|row| number(row.get(0)?)).collect();
    first.len() == 3 && first[0] <= 1.0 && first.windows(2).all(|pair| pair[1] == pair[0] + 1.0)
}

/// Demands that every column has a name of its own.
pub(super) fn must_have_names(file: &str, names: &[String], findings: &mut Findings) {
    let mut error = |flaw, message: String| findings.error(Finding::in_file(file, flaw, message));
    let mut seen = BTreeMap::new();
    let nameless: Vec<usize> =
        (0..names.len()).filter(|index| names[*index].trim().is_empty()).collect();
    let named = names.len() - nameless.len();
    if nameless.first().is_some_and(|first| *first == named) {
        // All of them stand at the end.
        let message =
            "ends its header with a comma, or with several: leave them out, in every line";
        error(Flaw::UnnamedColumn, message.to_owned());
    } else if !nameless.is_empty() {
        let places: Vec<String> =
            nameless.iter().take(10).map(|index| (index + 1).to_string()).collect();
        let plural = if nameless.len() > 1 { "s" } else { "" };
        error(
            Flaw::UnnamedColumn,
            format!(
                "has no name for column{plural} {} in its header: give every column a name of its own",
                places.join(", ")
            ),
        );
    }
    for (index, name) in names.iter().enumerate() {
        if name.trim().is_empty() {
            continue;
        }
        if let Some(first) = seen.insert(name, index + 1) {
            error(
                Flaw::DuplicateColumn,
                format!(
                    "has the same name for columns {first} and {} in its header: give every column a name of its own",
                    index + 1
                ),
            );
        }
    }
}

/// Demands that no line has more fields than a table has columns, told before any reader
/// keeps them.
pub(super) fn must_be_narrow(file: &str, shape: &Shape, findings: &mut Findings) {
    let Shape { widest, widest_line: line, .. } = *shape;
    if widest <= MOST {
        return;
    }
    let (widest, most) = (grouped(widest as u64), grouped(MOST as u64));
    let message = format!(
        "has {widest} columns in line {line}, and at most {most} are taken: leave out those that do not matter"
    );
    findings.error(Finding::in_file(file, Flaw::TooManyColumns, message));
}

/// Names are words. A first line of which a third is numbers is a row, but for years
/// that are there once each.
fn looks_like_data(names: &[String]) -> bool {
    let numbers: Vec<f64> =
        names.iter().filter_map(|name| number(name.trim().as_bytes())).collect();
    let is_year = |number: &f64| number.fract() == 0.0 && (1900.0..2100.0).contains(number);
    let years = numbers.iter().all(is_year)
        && numbers.windows(2).all(|pair| (pair[1] - pair[0]).abs() == 1.0);
    numbers.len() * 3 >= names.len() && !(years && numbers.len() > 1)
}

/// Demands that a first line names the columns, and is no row itself: what it says for a
/// column does not come again as a value of that column. Its words may be anybody's
/// data, so that columns are told by their places. `text` is the file's own or that of
/// another file with the same columns. Gives the rows that were looked at, if it is none.
pub(super) fn must_be_no_row(
    file: &str,
    names: &[String],
    text: &[u8],
    findings: &mut Findings,
) -> Option<u64> {
    let (again, rows) = come_again(names, text);
    if again.is_empty() {
        return Some(rows);
    }
    let places: Vec<String> = again.iter().take(LISTED).map(ToString::to_string).collect();
    let more = match again.len().saturating_sub(LISTED) {
        0 => String::new(),
        more => format!(" and {} more", grouped(more as u64)),
    };
    let column = if places.len() == 1 { "column" } else { "columns" };
    let message = format!(
        "has no header: what its first line says for {column} {}{more} comes again as a value there; put a line with the columns' names first, or, if that line is one, give these columns names that are no values of theirs",
        places.join(", ")
    );
    findings.error(Finding::in_file(file, Flaw::NoHeader, message));
    None
}

/// The places, from 1, of the columns whose names are values of theirs, and the rows
/// that show that there are none. A line that comes again as a whole may be a header of
/// files that were joined, or a row: nothing is shown then. Whole numbers do not count:
/// columns are often called by them, and hold them.
fn come_again(names: &[String], text: &[u8]) -> (Vec<usize>, u64) {
    let tells = |name: &str| {
        !is_missing(name.as_bytes())
            && !name.trim().is_empty()
            && !name.bytes().all(|byte| byte.is_ascii_digit())
    };
    let telling: Vec<usize> = (0..names.len()).filter(|&index| tells(&names[index])).collect();
    let mut counts = vec![0_u64; names.len()];
    let (mut rows, mut is_doubled) = (0, false);
    let mut reader = crosspilot_table::reader(text);
    let mut row = csv::StringRecord::new();
    // The first line may be a header, and name the same columns in another order.
    let _ = reader.read_record(&mut row);
    while rows < ROWS
        && let Ok(true) = reader.read_record(&mut row)
    {
        is_doubled |= row.iter().eq(names);
        if row.len() != names.len() || row.iter().eq(names) {
            continue;
        }
        rows += 1;
        for &index in &telling {
            counts[index] += u64::from(row[index] == *names[index]);
        }
    }
    let again = |&&index: &&usize| counts[index] > 0 && counts[index] * CHANCE >= rows;
    (
        telling.iter().filter(again).map(|index| index + 1).collect(),
        if is_doubled { 0 } else { rows },
    )
}

/// Tells whether two first lines have a name in common. If they have none, one of them may
/// be a row, and lends its words to no sentence.
pub(super) fn share_a_name(first: &[String], other: &[String]) -> bool {
    first.iter().any(|name| other.contains(name))
}

/// Demands that the target is a column. Tells whether it is: only a line that names it is
/// believed to be a header, whose names other findings may show.
pub(super) fn must_have_target(
    file: &str,
    names: &[String],
    target: &str,
    findings: &mut Findings,
) -> bool {
    if names.iter().any(|name| name == target) {
        return true;
    }
    let alike = |name: &String| name.trim().eq_ignore_ascii_case(target.trim());
    let hint = match names.iter().position(alike) {
        Some(index) => {
            format!("; that of column {} is another, since case and spaces count", index + 1)
        }
        None => String::new(),
    };
    let message = format!(
        "has no column {} to predict among the {} that its first line names{hint}: name the target as it stands in the header, or put a line with the columns' names first",
        quoted(target),
        grouped(names.len() as u64),
    );
    findings.error(Finding::in_file(file, Flaw::NoTarget, message).column(target));
    false
}

/// Demands that a file has the same columns in the same order as the first. The first line of
/// the first is believed to be a header, or lends no words.
pub(super) fn must_equal(
    first: (&str, &[String]),
    is_believed: bool,
    other: (&str, &[String]),
    findings: &mut Findings,
) {
    let ((first_file, first), (file, names)) = (first, other);
    if first == names {
        return;
    }
    let missing = first.iter().find(|name| !names.contains(name));
    let added = names.iter().find(|name| !first.contains(name));
    let (column, difference) = match (missing, added) {
        _ if !is_believed => {
            let differs = |index: &usize| first.get(*index) != names.get(*index);
            let place = (0..).find(differs).unwrap_or_default() + 1;
            (None, format!("they differ in column {place}"))
        }
        _ if !share_a_name(first, names) => {
            (None, "they have no name in common, so that one of the first lines may be none".into())
        }
        (Some(missing), _) => (Some(missing), format!("it lacks {}", quoted(missing))),
        (None, Some(added)) => {
            let place = names.iter().position(|name| name == added).unwrap_or_default() + 1;
            (None, format!("its column {place} is none of them"))
        }
        (None, None) => match first.iter().zip(names).find(|(a, b)| a != b) {
            Some((name, _)) => (Some(name), format!("{} stands at another place", quoted(name))),
            None => return,
        },
    };
    let message = format!(
        "has another header than {first_file}: {difference}; all files of a model must have the same columns in the same order"
    );
    let finding = Finding::in_file(file, Flaw::HeadersDiffer, message);
    findings.error(match column {
        Some(column) => finding.column(column),
        None => finding,
    });
}
