//! Records as CSV.

use crosspilot_table::{format, shape};

use super::columns::{Columns, Place};
use super::{MAX_RECORDS, Record, too_many};
use crate::api::problem::Problem;

/// Reads records below a header.
pub(super) fn records(body: &[u8], columns: &Columns<'_>) -> Result<Vec<Record>, Problem> {
    let bad = |e: csv::Error| Problem::bad_request(format!("the body is not CSV: {e}"));
    if let Some(line) = shape::shape(body).open_quote {
        let detail =
            format!("the double quote in line {line} is not closed: close it, or write two");
        return Err(Problem::bad_request(detail));
    }
    let mut head = csv::ReaderBuilder::new().has_headers(false).from_reader(body);
    let mut header = csv::StringRecord::new();
    head.read_record(&mut header).map_err(bad)?;
    let rows = &body[head.position().byte() as usize..];
    // A record of one column that is missing is an empty line, which readers skip.
    let rows = match header.len() {
        1 => shape::with_blank_lines(rows),
        _ => rows.to_vec(),
    };
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(&rows[..]);
    let is_known = |name: &str| columns.place(name) != Place::Nowhere;
    if let (Some(separator), false) =
        (format::other_separator(body, None), header.iter().any(is_known))
    {
        let detail = format!("the body is separated by {separator}: separate it by commas");
        return Err(Problem::bad_request(detail));
    }
    if body.windows(3).any(|bytes| bytes == "\u{fffd}".as_bytes()) {
        let detail = "the body was not UTF-8 when it was sent: its letters are lost; send UTF-8";
        return Err(Problem::bad_request(detail));
    }
    let places = columns.places(header.iter(), "the header has")?;
    let mut records = Vec::new();
    for row in reader.records() {
        let row = row.map_err(bad)?;
        if records.len() == MAX_RECORDS {
            return Err(too_many());
        }
        if row.len() != header.len() {
            let detail = format!(
                "the body is not CSV: record {} has {} fields, and the header has {}",
                records.len() + 1,
                row.len(),
                header.len()
            );
            return Err(Problem::bad_request(detail));
        }
        let mut record = vec![String::new(); columns.features.len()];
        for (place, cell) in places.iter().zip(&row) {
            if let Place::Cell(position) = *place {
                cell.clone_into(&mut record[position]);
            }
        }
        records.push(record);
    }
    Ok(records)
}
