//! Reads Parquet files as text cells, so that the engine learns from them what it
//! learns from CSV.

use axum::body::Bytes;
use crosspilot_automl::Table;
use parquet::basic::Compression;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use time::format_description::well_known::Iso8601;
use time::{Date, Duration, OffsetDateTime};

/// Reads a file; why not, in words for a `FailureReason`.
pub(crate) fn read(content: Vec<u8>) -> Result<Table, String> {
    let explain = |error: parquet::errors::ParquetError| error.to_string();
    let reader = SerializedFileReader::new(Bytes::from(content)).map_err(explain)?;
    let groups = reader.metadata().row_groups();
    let codecs = groups.iter().flat_map(|group| group.columns()).map(|column| column.compression());
    for codec in codecs {
        // Each other one would bring a crate of its own.
        if !matches!(codec, Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::GZIP(_))
        {
            return Err(format!(
                "it is compressed with {codec}, and the local SageMaker reads no other codecs than snappy and gzip"
            ));
        }
    }
    let schema = reader.metadata().file_metadata().schema();
    let names: Vec<String> =
        schema.get_fields().iter().map(|field| field.name().to_owned()).collect();
    let mut table = Table::new(names).map_err(|error| error.to_string())?;
    for row in reader.get_row_iter(None).map_err(explain)? {
        let row = row.map_err(explain)?;
        let cells = row.get_column_iter().map(|(name, field)| cell(name, field));
        let cells = cells.collect::<Result<Vec<String>, String>>()?;
        table.push_row(&cells).map_err(|error| error.to_string())?;
    }
    Ok(table)
}

/// A value as a CSV file would have it, as pandas writes one.
fn cell(column: &str, field: &Field) -> Result<String, String> {
    Ok(match field {
        Field::Null => String::new(),
        Field::Bool(true) => "True".to_owned(),
        Field::Bool(false) => "False".to_owned(),
        Field::Float(value) if value.is_nan() => String::new(),
        Field::Double(value) if value.is_nan() => String::new(),
        Field::Float(value) => value.to_string(),
        Field::Double(value) => value.to_string(),
        Field::Str(text) => text.clone(),
        Field::Bytes(bytes) => String::from_utf8(bytes.data().to_vec())
            .map_err(|_| format!("column {column} holds bytes that are no text"))?,
        Field::Date(days) => date(*days).map_or_else(String::new, |date| date.to_string()),
        Field::TimestampMillis(millis) => moment(i128::from(*millis) * 1_000_000),
        Field::TimestampMicros(micros) => moment(i128::from(*micros) * 1000),
        Field::Group(_) | Field::ListInternal(_) | Field::MapInternal(_) => {
            return Err(format!("column {column} holds columns or lists"));
        }
        plain => plain.to_string(),
    })
}

fn date(days: i32) -> Option<Date> {
    OffsetDateTime::UNIX_EPOCH.date().checked_add(Duration::days(days.into()))
}

fn moment(nanoseconds: i128) -> String {
    let moment = OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).ok();
    moment.and_then(|moment| moment.format(&Iso8601::DATE_TIME).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int32Type};
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    use super::*;

    const SCHEMA: &str = "message rows {
        OPTIONAL DOUBLE minutes; OPTIONAL BYTE_ARRAY plan (UTF8); REQUIRED INT32 since (DATE); REQUIRED BOOLEAN vip;
    }";

    fn file(codec: Compression) -> Vec<u8> {
        let schema = Arc::new(parse_message_type(SCHEMA).unwrap());
        let properties = WriterProperties::builder().set_compression(codec).build();
        let mut content = Vec::new();
        let mut writer =
            SerializedFileWriter::new(&mut content, schema, Arc::new(properties)).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<DoubleType>().write_batch(&[1.5, f64::NAN], Some(&[1, 0, 1]), None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let plans = [ByteArray::from("a, b"), ByteArray::from("é")];
        column.typed::<ByteArrayType>().write_batch(&plans, Some(&[1, 1, 0]), None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int32Type>().write_batch(&[0, 20_484, -1], None, None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<BoolType>().write_batch(&[true, false, true], None, None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
        writer.close().unwrap();
        content
    }

    #[test]
    fn cells_are_what_a_csv_file_would_hold() {
        for codec in [Compression::UNCOMPRESSED, Compression::SNAPPY] {
            let table = read(file(codec)).unwrap();
            let csv = "minutes,plan,since,vip\n1.5,\"a, b\",1970-01-01,True\n,é,2026-01-31,False\n,,1969-12-31,True\n";
            let expected = Table::read_csv(csv.as_bytes(), true).unwrap();
            assert_eq!(table.rows(), 3);
            assert_eq!(format!("{table:?}"), format!("{expected:?}"), "{codec}");
        }
    }

    #[test]
    fn what_is_no_parquet_and_what_cannot_be_unpacked_is_told() {
        assert!(read(b"a,b\n1,2\n".to_vec()).is_err());
        let mut cut = file(Compression::SNAPPY);
        cut.truncate(cut.len() / 2);
        assert!(read(cut).is_err());
    }
}
