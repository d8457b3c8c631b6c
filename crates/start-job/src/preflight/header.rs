//! A table's header: names, once each, the same in every file.
//!
//! The first line of a file without a header is somebody's data. So a finding names
//! a column by a name that the settings or a file that was believed have given, and
//! by its place otherwise.

use std::collections::BTreeMap;

use crosspilot_table::shape::Shape;

use super::verdict::{Finding, Findings, Flaw, grouped, quoted};
use crosspilot_table::format::other_separator;
use crosspilot_table::number::number;

/// Columns that are looked at. More make no table but a mistake, and would make
/// the judgement's memory grow with them.
pub(super) const MOST: usize = 5000;

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
    if names.len() < 2 {
        error(
            Flaw::OneColumn,
            "has one column only (its first line has no comma): give the target and at least one column to predict it from".into(),
        );
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
    must_have_names(file, &names, findings);
    Some(names)
}

/// That every column has a name of its own.
pub(super) fn must_have_names(file: &str, names: &[String], findings: &mut Findings) {
    let mut error = |flaw, message: String| findings.error(Finding::in_file(file, flaw, message));
    let mut seen = BTreeMap::new();
    for (index, name) in names.iter().enumerate() {
        if name.trim().is_empty() {
            error(
                Flaw::UnnamedColumn,
                format!(
                    "has no name for column {} in its header: give every column a name of its own",
                    index + 1
                ),
            );
        } else if let Some(first) = seen.insert(name, index + 1) {
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

/// That no line has more fields than a table has columns, told before any reader
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

/// Names are words. A first line of which a third is numbers is a row.
fn looks_like_data(names: &[String]) -> bool {
    let numbers = names.iter().filter(|name| number(name.as_bytes()).is_some()).count();
    numbers * 3 >= names.len()
}

/// That the target is a column. Tells whether it is: only a line that names it is
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
    let alike = |name: &&String| name.trim().eq_ignore_ascii_case(target.trim());
    let hint = match names.iter().find(alike) {
        Some(name) => format!("; {} is another name, since case and spaces count", quoted(name)),
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

/// That a file has the same columns in the same order as the first.
pub(super) fn must_equal(
    first: (&str, &[String]),
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
