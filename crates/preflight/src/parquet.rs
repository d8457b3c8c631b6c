//! The footer of an Apache Parquet file: names, types, counts and extremes of
//! its columns, without its data.
//!
//! It is read by hand, as far as it is needed: the crate `parquet` brings 14
//! others for this (docs/architecture.md, "Built by hand, and why"). The
//! format is Thrift's compact protocol (parquet-format, `parquet.thrift`). The
//! fields are met by number, unknown ones are skipped, and what is kept is bounded
//! by the number of columns that are taken.

use std::ops::Range;

use crosspilot_table::Kind;

use super::header;

/// The largest footer that is read.
pub(super) const LARGEST: u64 = 4 << 20;
/// The columns and the root of the schema's tree. More are a mistake, and would
/// take a hundred times the footer's room.
const MOST_ELEMENTS: usize = header::MOST + 1;
/// Bytes after the footer: its length and the magic.
pub(super) const TAIL: u64 = 8;
/// Bytes of a text that is kept as a column's smallest value.
const LONGEST_VALUE: usize = 1000;
/// The depth to which structures may lie in each other.
const DEEPEST: u8 = 16;

/// The footer of a file, as far as it is needed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) rows: u64,
    pub(super) columns: Vec<ParquetColumn>,
    /// `true` if columns lie inside columns.
    pub(super) nested: bool,
}

/// A column, over all row groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ParquetColumn {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// Cells without a value; unknown if a row group does not say.
    pub(super) missing: Option<u64>,
    /// The column's smallest value, as far as the first row group says and it can be written
    /// as text.
    pub(super) smallest: Option<String>,
    plain: Plain,
    values: Values,
}

/// The plain encoding of a value, of those that are written plainly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plain {
    I32,
    I64,
    F32,
    F64,
    Text,
    /// Moments, decimals, bytes.
    Other,
}

impl Plain {
    /// A value as text.
    fn text(self, bytes: &[u8]) -> Option<String> {
        let finite = |value: f64, text: String| value.is_finite().then_some(text);
        match self {
            Plain::I32 => Some(i32::from_le_bytes(bytes.try_into().ok()?).to_string()),
            Plain::I64 => Some(i64::from_le_bytes(bytes.try_into().ok()?).to_string()),
            Plain::F32 => {
                let value = f32::from_le_bytes(bytes.try_into().ok()?);
                finite(value.into(), value.to_string())
            }
            Plain::F64 => {
                let value = f64::from_le_bytes(bytes.try_into().ok()?);
                finite(value, value.to_string())
            }
            Plain::Text if bytes.len() <= LONGEST_VALUE => String::from_utf8(bytes.to_vec()).ok(),
            Plain::Text | Plain::Other => None,
        }
    }
}

/// The values of a column, as far as the extremes of its row groups tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Values {
    #[default]
    Unseen,
    /// All are this one.
    One(Vec<u8>),
    Several,
    /// A row group does not say.
    Unknown,
}

impl Values {
    fn and(self, extremes: Option<(Vec<u8>, Vec<u8>)>) -> Self {
        let Some((low, high)) = extremes else { return Values::Unknown };
        match self {
            Values::Unknown => Values::Unknown,
            Values::Unseen if low == high => Values::One(low),
            Values::One(only) if only == low && low == high => Values::One(only),
            _ => Values::Several,
        }
    }
}

impl ParquetColumn {
    /// Adds what the same column of another file says.
    pub(super) fn add(&mut self, other: ParquetColumn) {
        self.missing = match (self.missing, other.missing) {
            (Some(sum), Some(missing)) => sum.checked_add(missing),
            _ => None,
        };
        self.values = match (std::mem::take(&mut self.values), other.values) {
            (values, Values::Unseen) => values,
            (values, Values::One(only)) => values.and(Some((only.clone(), only))),
            (Values::Unknown, _) | (_, Values::Unknown) => Values::Unknown,
            (_, Values::Several) => Values::Several,
        };
    }

    /// Tells whether every row has the same value, for certain.
    pub(super) fn is_constant(&self) -> bool {
        matches!(self.values, Values::One(_)) && self.missing == Some(0)
    }
}

/// The reason why a footer cannot be read, to stand after "the file".
pub(super) type Reason = &'static str;

/// Finds where the footer lies, by the file's size and its last eight bytes.
pub(super) fn place(size: u64, tail: &[u8]) -> Result<Range<u64>, Reason> {
    let [a, b, c, d, b'P', b'A', b'R', b'1'] = *tail else {
        return Err("does not end as Parquet files do: it was cut off or is still being written");
    };
    let length = u64::from(u32::from_le_bytes([a, b, c, d]));
    let end = size.checked_sub(TAIL).ok_or("is too short for a Parquet file")?;
    match end.checked_sub(length) {
        Some(start) if start >= 4 => Ok(start..end),
        _ => Err("names a footer longer than itself"),
    }
}

/// Reads a footer.
pub(super) fn read(footer: &[u8]) -> Result<Footer, Reason> {
    let mut reader = Thrift { rest: footer };
    let mut found = Footer::default();
    let mut elements = Vec::new();
    let mut rows = None;
    reader.fields(0, &mut |reader, id, kind| {
        match (id, kind) {
            (2, LIST) => {
                let announced = reader.list(STRUCT)?;
                if announced > MOST_ELEMENTS {
                    return Err("has a footer with more than 5,000 columns, which are too many");
                }
                for _ in 0..announced {
                    elements.push(element(reader)?);
                }
            }
            (3, I64) => rows = Some(reader.integer()?),
            (4, LIST) => {
                found.columns = columns(&elements, &mut found.nested)?;
                for _ in 0..reader.list(STRUCT)? {
                    row_group(reader, &mut found.columns)?;
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    if found.columns.is_empty() {
        found.columns = columns(&elements, &mut found.nested)?;
    }
    let rows = rows.ok_or("has a footer without a number of rows")?;
    found.rows = u64::try_from(rows).map_err(|_| "has a footer with a negative number of rows")?;
    if found.columns.iter().any(|column| column.missing > Some(found.rows)) {
        return Err("has a footer that counts more missing values than rows");
    }
    Ok(found)
}

/// A `SchemaElement`.
#[derive(Default)]
struct Element {
    name: String,
    physical: Option<i64>,
    converted: Option<i64>,
    /// Field of the union `LogicalType`.
    logical: Option<i16>,
    children: i64,
}

impl Element {
    fn plain(&self) -> Plain {
        match (self.physical, self.kind()) {
            (Some(1), Kind::Numeric) if self.logical != Some(5) && self.converted != Some(5) => {
                Plain::I32
            }
            (Some(2), Kind::Numeric) if self.logical != Some(5) && self.converted != Some(5) => {
                Plain::I64
            }
            (Some(4), _) => Plain::F32,
            (Some(5), _) => Plain::F64,
            (Some(6), Kind::Categorical) => Plain::Text,
            _ => Plain::Other,
        }
    }

    fn kind(&self) -> Kind {
        const DATE: i64 = 6;
        const TIMESTAMPS: Range<i64> = 9..11;
        const DECIMAL: i64 = 5;
        let moment = self.converted.is_some_and(|c| c == DATE || TIMESTAMPS.contains(&c))
            || matches!(self.logical, Some(6 | 8))
            || self.physical == Some(3);
        let number = matches!(self.physical, Some(1 | 2 | 4 | 5))
            || self.converted == Some(DECIMAL)
            || self.logical == Some(5);
        if moment {
            Kind::Datetime
        } else if number {
            Kind::Numeric
        } else {
            Kind::Categorical
        }
    }
}

fn element(reader: &mut Thrift<'_>) -> Result<Element, Reason> {
    let mut element = Element::default();
    reader.fields(1, &mut |reader, id, kind| {
        match (id, kind) {
            (1, I32) => element.physical = Some(reader.integer()?),
            (4, BINARY) => {
                element.name = String::from_utf8(reader.bytes()?.to_vec())
                    .map_err(|_| "has a column whose name is not UTF-8")?;
            }
            (5, I32) => element.children = reader.integer()?,
            (6, I32) => element.converted = Some(reader.integer()?),
            (10, STRUCT) => reader.fields(2, &mut |_, id, _| {
                element.logical = Some(id);
                Ok(false)
            })?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(element)
}

/// The columns of a schema, which is a tree written down from its root.
fn columns(elements: &[Element], nested: &mut bool) -> Result<Vec<ParquetColumn>, Reason> {
    let (_, rest) = elements.split_first().ok_or("has a footer without columns")?;
    *nested = rest.iter().any(|element| element.children > 0);
    let leaves = rest.iter().filter(|element| element.children <= 0);
    Ok(leaves
        .map(|element| ParquetColumn {
            name: element.name.clone(),
            kind: element.kind(),
            missing: Some(0),
            smallest: None,
            plain: element.plain(),
            values: Values::Unseen,
        })
        .collect())
}

fn row_group(reader: &mut Thrift<'_>, columns: &mut [ParquetColumn]) -> Result<(), Reason> {
    reader.fields(1, &mut |reader, id, kind| {
        if (id, kind) != (1, LIST) {
            return Ok(false);
        }
        let chunks = reader.list(STRUCT)?;
        if chunks != columns.len() {
            return Err("has a footer whose row groups have other columns than its schema");
        }
        for column in columns.iter_mut() {
            let statistics = chunk(reader)?;
            column.missing = match (column.missing, statistics.missing) {
                (Some(sum), Some(missing)) => sum.checked_add(missing),
                _ => None,
            };
            if let (Values::Unseen, Some((low, _))) = (&column.values, &statistics.extremes) {
                column.smallest = column.plain.text(low);
            }
            column.values = std::mem::take(&mut column.values).and(statistics.extremes);
        }
        Ok(true)
    })
}

#[derive(Default)]
struct Statistics {
    missing: Option<u64>,
    extremes: Option<(Vec<u8>, Vec<u8>)>,
}

/// Reads one `ColumnChunk`, of which the statistics in its metadata matter.
fn chunk(reader: &mut Thrift<'_>) -> Result<Statistics, Reason> {
    let mut statistics = Statistics::default();
    reader.fields(2, &mut |reader, id, kind| {
        if (id, kind) != (3, STRUCT) {
            return Ok(false);
        }
        reader.fields(3, &mut |reader, id, kind| {
            if (id, kind) != (12, STRUCT) {
                return Ok(false);
            }
            let (mut low, mut high) = (None, None);
            reader.fields(4, &mut |reader, id, kind| {
                match (id, kind) {
                    (3, I64) => {
                        let missing = u64::try_from(reader.integer()?)
                            .map_err(|_| "has a footer with a negative count")?;
                        statistics.missing = Some(missing);
                    }
                    (5, BINARY) => high = Some(reader.bytes()?.to_vec()),
                    (6, BINARY) => low = Some(reader.bytes()?.to_vec()),
                    _ => return Ok(false),
                }
                Ok(true)
            })?;
            statistics.extremes = low.zip(high);
            Ok(true)
        })?;
        Ok(true)
    })?;
    Ok(statistics)
}

/// Wire types of the compact protocol.
const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const I16: u8 = 4;
const I32: u8 = 5;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
const STRUCT: u8 = 12;

const CUT: Reason = "has a footer that breaks off";

/// The rest of a message.
struct Thrift<'a> {
    rest: &'a [u8],
}

/// Takes a field, or says that it is not wanted.
type OnField<'f> = dyn FnMut(&mut Thrift<'_>, i16, u8) -> Result<bool, Reason> + 'f;

impl Thrift<'_> {
    /// Goes through a structure's fields.
    fn fields(&mut self, depth: u8, on_field: &mut OnField<'_>) -> Result<(), Reason> {
        let mut id = 0_i16;
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Ok(());
            }
            let kind = head & 0x0F;
            id = match head >> 4 {
                0 => i16::try_from(self.integer()?).map_err(|_| CUT)?,
                delta => id.checked_add(i16::from(delta)).ok_or(CUT)?,
            };
            if !on_field(self, id, kind)? {
                self.skip(kind, depth)?;
            }
        }
    }

    /// Begins a list of elements of this type; gives their number, which is
    /// never more than what is left could hold.
    fn list(&mut self, of: u8) -> Result<usize, Reason> {
        let (count, kind) = self.list_head()?;
        if count > 0 && kind != of {
            return Err("has a footer with a list of the wrong kind");
        }
        Ok(count)
    }

    fn list_head(&mut self) -> Result<(usize, u8), Reason> {
        let head = self.byte()?;
        let count = match head >> 4 {
            15 => self.varint()?,
            count => u64::from(count),
        };
        let count = usize::try_from(count).map_err(|_| CUT)?;
        if count > self.rest.len() {
            return Err("has a footer that announces more than it holds");
        }
        Ok((count, head & 0x0F))
    }

    fn byte(&mut self) -> Result<u8, Reason> {
        let (byte, rest) = self.rest.split_first().ok_or(CUT)?;
        self.rest = rest;
        Ok(*byte)
    }

    fn varint(&mut self) -> Result<u64, Reason> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("has a footer with an endless number")
    }

    /// A whole number, in zigzag order.
    fn integer(&mut self) -> Result<i64, Reason> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    fn bytes(&mut self) -> Result<&[u8], Reason> {
        let length = usize::try_from(self.varint()?).map_err(|_| CUT)?;
        if length > self.rest.len() {
            return Err(CUT);
        }
        let (bytes, rest) = self.rest.split_at(length);
        self.rest = rest;
        Ok(bytes)
    }

    fn skip(&mut self, kind: u8, depth: u8) -> Result<(), Reason> {
        if depth > DEEPEST {
            return Err("has a footer with structures too deep to be true");
        }
        match kind {
            TRUE | FALSE => Ok(()),
            BYTE => self.byte().map(drop),
            I16 | I32 | I64 => self.varint().map(drop),
            DOUBLE => (0..8).try_for_each(|_| self.byte().map(drop)),
            BINARY => self.bytes().map(drop),
            LIST | SET => {
                let (count, kind) = self.list_head()?;
                (0..count).try_for_each(|_| self.element(kind, depth + 1))
            }
            MAP => {
                let count = usize::try_from(self.varint()?).map_err(|_| CUT)?;
                if count > self.rest.len() {
                    return Err(CUT);
                }
                let kinds = if count > 0 { self.byte()? } else { 0 };
                (0..count).try_for_each(|_| {
                    self.element(kinds >> 4, depth + 1)?;
                    self.element(kinds & 0x0F, depth + 1)
                })
            }
            STRUCT => self.fields(depth + 1, &mut |_, _, _| Ok(false)),
            _ => Err("has a footer with a type that does not exist"),
        }
    }

    /// An element of a collection, in which a truth value takes a byte.
    fn element(&mut self, kind: u8, depth: u8) -> Result<(), Reason> {
        match kind {
            TRUE | FALSE => self.byte().map(drop),
            kind => self.skip(kind, depth),
        }
    }
}
