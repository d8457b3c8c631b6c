//! Records as CSV.

use crosspilot_table::{format, shape};
use csv::StringRecord;

use super::columns::{Columns, Place};
use super::id::Id;
use super::{MAX_RECORDS, Record, too_many};
use crate::api::problem::Problem;

/// Reads records below a header, or below none if the caller has their cells in this order
/// of columns.
pub(super) fn records(
    body: &[u8],
    columns: &Columns<'_>,
    order: Option<&[String]>,
) -> Result<Vec<Record>, Problem> {
    let body = format::without_mark(body);
    if let Some(line) = shape::shape(body).open_quote {
        let detail =
            format!("the double quote in line {line} is not closed: close it, or write two");
        return Err(Problem::bad_request(detail));
    }
    let (header, rows) = match order {
        Some(order) => (StringRecord::from_iter(order), body),
        None => header(body)?,
    };
    let is_known = |name: &str| columns.place(name) != Place::Nowhere;
    let fits = match order {
        Some(order) => order.len() == 1,
        None => header.iter().any(is_known),
    };
    if let (Some(separator), false) = (format::other_separator(body, None), fits) {
        let detail = format!("the body is separated by {separator}: separate it by commas");
        return Err(Problem::bad_request(detail));
    }
    if body.windows(3).any(|bytes| bytes == "\u{fffd}".as_bytes()) {
        let detail = "the body was not UTF-8 when it was sent: its letters are lost; send UTF-8";
        return Err(Problem::bad_request(detail));
    }
    let places = columns.places(header.iter(), "the header has")?;
    // A record of one column that is missing is an empty line, which readers skip.
    let rows = match header.len() {
        1 => shape::with_blank_lines(rows),
        _ => rows.to_vec(),
    };
    let mut records = Vec::new();
    for row in crosspilot_table::reader(&rows).records() {
        let row = row.map_err(not_csv)?;
        if records.len() == MAX_RECORDS {
            return Err(too_many());
        }
        if row.len() != header.len() {
            let (record, found, expected) = (records.len() + 1, row.len(), header.len());
            return Err(Problem::bad_request(match order {
                Some(_) => format!(
                    "record {record} has {found} cells, and the model has {expected} columns: send a cell for each, in their order, or a header and no ?header=false"
                ),
                None => format!(
                    "the body is not CSV: record {record} has {found} fields, and the header has {expected}"
                ),
            }));
        }
        let mut record = Record::of(columns);
        for (place, cell) in places.iter().zip(&row) {
            match *place {
                Place::Cell(position) => cell.clone_into(&mut record.cells[position]),
                Place::Id => record.id = Id::of_field(cell, records.len() + 1)?,
                Place::Nowhere => {}
            }
        }
        records.push(record);
    }
    Ok(records)
}

/// The header, and the text below it.
fn header(body: &[u8]) -> Result<(StringRecord, &[u8]), Problem> {
    let mut reader = crosspilot_table::reader(body);
    let mut header = StringRecord::new();
    reader.read_record(&mut header).map_err(not_csv)?;
    Ok((header, &body[reader.position().byte() as usize..]))
}

fn not_csv(error: csv::Error) -> Problem {
    Problem::bad_request(format!("the body is not CSV: {error}"))
}
