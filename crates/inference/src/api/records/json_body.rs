//! Records as JSON.

use std::collections::HashSet;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

use super::columns::{Columns, Place, shortened};
use super::id::{self, Id};
use super::{MAX_RECORDS, Record, too_many};
use crate::api::problem::Problem;

/// The two forms of records. Unknown fields beside them are ignored: nothing in a body can
/// say more than what to predict.
#[derive(Deserialize)]
struct Body {
    #[serde(default, deserialize_with = "present")]
    records: Option<Vec<Fields>>,
    #[serde(default, deserialize_with = "present")]
    columns: Option<Vec<String>>,
    #[serde(default, deserialize_with = "present")]
    rows: Option<Vec<Vec<Cell>>>,
}

/// Reads what stands there, of which a null is none.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// A record's fields as they stand, doubled ones too.
struct Fields(Vec<(String, Cell)>);

impl Fields {
    fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }
}

/// A value, as far as a cell can be made of it.
#[derive(Debug, PartialEq)]
pub(super) enum Cell {
    Null,
    Text(String),
    Number(Number),
    Flag(bool),
    /// A whole number whose digits JSON's numbers do not keep.
    Huge,
    /// A list or an object.
    Nested,
}

/// The whole numbers from which neighbours are the same number in JSON.
const EXACT: f64 = 9_007_199_254_740_992.0;

impl Cell {
    /// A whole number is written without a point, as in most files: Python sends a
    /// column of them as floats as soon as one of them is missing.
    fn of_number(number: f64) -> Self {
        if number.fract() != 0.0 {
            return Number::from_f64(number).map_or(Cell::Huge, Cell::Number);
        }
        if number.abs() >= EXACT { Cell::Huge } else { Cell::Number((number as i64).into()) }
    }

    /// Writes the cell as the training data's column does.
    fn text(self, name: &str, number: usize, columns: &Columns<'_>) -> Result<String, Problem> {
        let what = match self {
            Cell::Null => return Ok(String::new()),
            Cell::Text(text) => return Ok(text),
            Cell::Number(number) => return Ok(number.to_string()),
            Cell::Flag(flag) => match columns.booleans.get(name) {
                Some(booleans) => return Ok(booleans.text(flag).to_owned()),
                None => {
                    "is true or false, which the training data does not hold: send what stands there for it"
                }
            },
            Cell::Huge => "has more digits than a JSON number keeps: send it as a string",
            Cell::Nested => "is a list or an object: send a string, a number, a boolean or null",
        };
        Err(bad(name, number, what))
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfRecord;
        impl<'de> Visitor<'de> for OfRecord {
            type Value = Fields;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a record")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(OfRecord)
    }
}

impl<'de> Deserialize<'de> for Cell {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfValue;
        impl<'de> Visitor<'de> for OfValue {
            type Value = Cell;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a value")
            }

            fn visit_unit<E>(self) -> Result<Cell, E> {
                Ok(Cell::Null)
            }

            fn visit_bool<E>(self, flag: bool) -> Result<Cell, E> {
                Ok(Cell::Flag(flag))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Cell, E> {
                Ok(Cell::Number(number.into()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Cell, E> {
                Ok(Cell::Number(number.into()))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Cell, E> {
                Ok(Cell::of_number(number))
            }

            fn visit_str<E>(self, text: &str) -> Result<Cell, E> {
                Ok(Cell::Text(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Cell, A::Error> {
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Cell::Nested)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Cell, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Cell::Nested)
            }
        }
        deserializer.deserialize_any(OfValue)
    }
}

/// Reads records as objects of a value for each column, or as rows of values in the order of
/// columns that are named once.
pub(super) fn records(body: &[u8], columns: &Columns<'_>) -> Result<Vec<Record>, Problem> {
    // What stands there is the caller's data: only the place is told.
    let body: Body = serde_json::from_slice(body).map_err(|e| {
        Problem::bad_request(format!(
            "the body is not of the form {{\"records\": [{{\"column\": value}}]}} or {{\"columns\": [\"column\"], \"rows\": [[value]]}}: see line {}, column {}",
            e.line(),
            e.column()
        ))
    })?;
    match body {
        Body { records: Some(records), columns: None, rows: None } => of_objects(records, columns),
        Body { records: None, columns: Some(names), rows: Some(rows) } => {
            of_rows(&names, rows, columns)
        }
        _ => Err(Problem::bad_request(
            "the body is not of the form {\"records\": [{\"column\": value}]} or {\"columns\": [\"column\"], \"rows\": [[value]]}: send exactly one of the two",
        )),
    }
}

fn of_objects(records: Vec<Fields>, columns: &Columns<'_>) -> Result<Vec<Record>, Problem> {
    if records.len() > MAX_RECORDS {
        return Err(too_many());
    }
    columns.admit(records.iter().flat_map(Fields::names))?;
    let numbered = records.into_iter().zip(1..);
    numbered.map(|(record, number)| of_object(record, number, columns)).collect()
}

fn of_rows(
    names: &[String],
    rows: Vec<Vec<Cell>>,
    columns: &Columns<'_>,
) -> Result<Vec<Record>, Problem> {
    if rows.len() > MAX_RECORDS {
        return Err(too_many());
    }
    let places = columns.places(names.iter().map(String::as_str), "\"columns\" has")?;
    let mut records = Vec::with_capacity(rows.len());
    for (row, number) in rows.into_iter().zip(1..) {
        if row.len() != names.len() {
            return Err(Problem::bad_request(format!(
                "record {number} of \"rows\" has {} cells, and \"columns\" has {}: send a cell for each column, null where it has no value",
                row.len(),
                names.len()
            )));
        }
        let mut record = Record::of(columns);
        for ((place, name), cell) in places.iter().zip(names).zip(row) {
            match *place {
                Place::Cell(position) => {
                    record.cells[position] = cell.text(name, number, columns)?;
                }
                Place::Id => record.id = id_of(cell, number)?,
                Place::Nowhere => {}
            }
        }
        records.push(record);
    }
    Ok(records)
}

fn of_object(
    Fields(fields): Fields,
    number: usize,
    columns: &Columns<'_>,
) -> Result<Record, Problem> {
    let mut record = Record::of(columns);
    let mut seen = HashSet::new();
    for (name, cell) in fields {
        match columns.place(&name) {
            Place::Cell(position) => {
                record.cells[position] = cell.text(&name, number, columns)?;
            }
            Place::Id => record.id = id_of(cell, number)?,
            Place::Nowhere => continue,
        }
        if let Some(twice) = seen.replace(name) {
            return Err(bad(&twice, number, "is there twice: name each column once"));
        }
    }
    Ok(record)
}

fn bad(name: &str, number: usize, what: &str) -> Problem {
    let name = shortened(name);
    Problem::bad_request(format!("column {name:?} of record {number} {what}"))
}

/// Reads the id of a record. A null is none.
fn id_of(cell: Cell, record: usize) -> Result<Option<Id>, Problem> {
    match cell {
        Cell::Null => Ok(None),
        Cell::Text(text) => Id::of_text(text, record).map(Some),
        Cell::Number(number) if !number.is_f64() => Ok(Some(Id::Number(number))),
        Cell::Huge => {
            Err(id::bad(record, "has more digits than a JSON number keeps: send it as a string"))
        }
        Cell::Number(_) | Cell::Flag(_) | Cell::Nested => {
            Err(id::bad(record, "is no text and no whole number: send one of them"))
        }
    }
}
