//! Bodies and headers as the containers' own code, which is Python, reads and writes them.

/// Reads the media type of a `Content-Type` or `Accept` header, without its parameters.
pub(crate) fn media_type(header: &str) -> String {
    header.split(';').next().unwrap_or_default().trim().to_lowercase()
}

/// The records of a CSV body: no header, no target, one field a feature.
pub(crate) fn records(body: &[u8], columns: usize) -> Result<Vec<Vec<String>>, (u16, String)> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(body);
    let mut records = Vec::new();
    for (i, record) in reader.records().enumerate() {
        let record = record.map_err(|error| (400, format!("the body is not CSV: {error}")))?;
        if record.len() != columns {
            return Err((
                400,
                format!(
                    "record {} has {} columns, but the model was trained with {columns}",
                    i + 1,
                    record.len()
                ),
            ));
        }
        records.push(record.iter().map(str::to_owned).collect());
    }
    if records.is_empty() { Err((400, "the body has no records".into())) } else { Ok(records) }
}

/// CSV as Python writes it, without the last newline.
pub(crate) fn write_csv(rows: &[Vec<String>]) -> Vec<u8> {
    let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
    for row in rows {
        // Writing into memory does not fail.
        let _ = writer.write_record(row);
    }
    let mut text = writer.into_inner().unwrap_or_default();
    text.pop();
    text
}

/// A float as Python shows it: its exponent has a sign and two digits.
pub(crate) fn python_number(number: f64) -> String {
    if number.is_nan() {
        return "nan".into();
    }
    let text = format!("{number:?}");
    match text
        .split_once('e')
        .and_then(|(mantissa, exponent)| Some((mantissa, exponent.parse::<i32>().ok()?)))
    {
        Some((mantissa, exponent)) => format!("{mantissa}e{exponent:+03}"),
        None => text,
    }
}

pub(crate) fn python_list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

/// A string as Python's `repr` shows it.
pub(crate) fn python_text(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut shown = String::from(quote);
    for char in text.chars() {
        match char {
            '\\' => shown.push_str("\\\\"),
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            char if char == quote => shown.extend(['\\', char]),
            char => shown.push(char),
        }
    }
    shown.push(quote);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_numbers_look_like_pythons() {
        assert_eq!(python_number(1.0428337478694307e-6), "1.0428337478694307e-06");
        assert_eq!(python_number(1.0), "1.0");
        assert_eq!(python_number(1e22), "1e+22");
        assert_eq!(python_number(f64::NAN), "nan");
        for (text, shown) in
            [("a", "'a'"), ("it's", "\"it's\""), ("'\"", "'\\'\"'"), ("a\\b\n", "'a\\\\b\\n'")]
        {
            assert_eq!(python_text(text), shown);
        }
    }
}
