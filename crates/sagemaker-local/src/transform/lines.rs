//! Batch transform's way with a file: split, filter, ask, join, assemble.

/// `DataProcessing` and the splitting of the input.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Processing {
    /// `true` if each line is a request, `false` if the whole file is one.
    pub(crate) by_line: bool,
    /// As many lines in a request as fit, or one.
    pub(crate) many: bool,
    pub(crate) max_payload: usize,
    pub(crate) input: Filter,
    pub(crate) output: Filter,
    /// `true` if the input's columns stand before the answer's.
    pub(crate) join: bool,
    /// `true` if each answer ends its line.
    pub(crate) assemble_lines: bool,
    /// `true` if answers are records of CSV, which can be filtered and joined.
    pub(crate) answers_csv: bool,
}

/// A JSONPath over the columns of a record, as far as CSV needs it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Filter {
    All,
    /// `$[i]`, `$[i,j]`: these columns; negative ones count from the end.
    Columns(Vec<i64>),
    /// `$[i:j]`: from, up to but without.
    Range(Option<i64>, Option<i64>),
}

impl Filter {
    /// Understands a filter such as `$[1:]`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text == "$" || text.is_empty() {
            return Some(Self::All);
        }
        let inside = text.strip_prefix("$[")?.strip_suffix(']')?;
        let bound = |text: &str| match text.trim() {
            "" => Some(None),
            number => number.parse().ok().map(Some),
        };
        match inside.split_once(':') {
            Some((from, to)) => Some(Self::Range(bound(from)?, bound(to)?)),
            None => {
                let columns = inside.split(',').map(|number| number.trim().parse().ok());
                columns.collect::<Option<Vec<_>>>().map(Self::Columns)
            }
        }
    }

    fn apply(&self, record: &csv::StringRecord) -> csv::StringRecord {
        let count = i64::try_from(record.len()).unwrap_or(i64::MAX);
        let at = |index: i64| {
            if index < 0 { index.saturating_add(count) } else { index }
        };
        let get = |index: i64| usize::try_from(index).ok().and_then(|index| record.get(index));
        match self {
            Self::All => record.clone(),
            Self::Columns(columns) => {
                columns.iter().filter_map(|column| get(at(*column))).collect()
            }
            Self::Range(from, to) => {
                let from = from.map_or(0, at).max(0);
                let to = to.map_or(count, at).min(count);
                (from..to).filter_map(get).collect()
            }
        }
    }

    fn is_all(&self) -> bool {
        *self == Self::All
    }
}

/// The output for one input file. `ask` answers one request's body.
pub(crate) fn transform(
    content: &[u8],
    processing: &Processing,
    mut ask: impl FnMut(Vec<u8>) -> Result<Vec<u8>, String>,
) -> Result<Vec<u8>, String> {
    if !processing.by_line {
        if content.len() > processing.max_payload {
            return Err("ClientError: Too much data for max payload size".into());
        }
        let mut answer = ask(content.to_vec())?;
        end_line(&mut answer, processing);
        return Ok(answer);
    }
    let mut assembled = Vec::new();
    for batch in batches(content, processing)? {
        let body = write(batch.iter().map(|record| processing.input.apply(record)));
        if body.len() > processing.max_payload {
            return Err("ClientError: Too much data for max payload size".into());
        }
        if !processing.answers_csv {
            let mut answer = ask(body)?;
            end_line(&mut answer, processing);
            assembled.extend(answer);
            continue;
        }
        let answers = read(&ask(body)?)?;
        if answers.len() != batch.len() {
            return Err(format!(
                "AlgorithmError: {} records in, {} answers out",
                batch.len(),
                answers.len()
            ));
        }
        let joined = batch.iter().zip(&answers).map(|(record, answer)| {
            let whole = match processing.join {
                true => record.iter().chain(answer.iter()).collect(),
                false => answer.clone(),
            };
            if processing.output.is_all() { whole } else { processing.output.apply(&whole) }
        });
        assembled.extend(write(joined));
        if !processing.assemble_lines {
            assembled.pop();
        }
    }
    Ok(assembled)
}

fn end_line(answer: &mut Vec<u8>, processing: &Processing) {
    if processing.assemble_lines && answer.last() != Some(&b'\n') {
        answer.push(b'\n');
    }
}

/// The records, in requests of at most the size that is allowed.
fn batches(content: &[u8], processing: &Processing) -> Result<Vec<Vec<csv::StringRecord>>, String> {
    let mut batches: Vec<Vec<csv::StringRecord>> = Vec::new();
    let mut size = 0;
    for record in read(content)? {
        // Quotes may double a field; that is counted before it is known.
        let length = record.as_slice().len() * 2 + record.len() * 3 + 1;
        size += length;
        match batches.last_mut().filter(|_| processing.many && size <= processing.max_payload) {
            Some(batch) => batch.push(record),
            None => {
                size = length;
                batches.push(vec![record]);
            }
        }
    }
    Ok(batches)
}

fn read(content: &[u8]) -> Result<Vec<csv::StringRecord>, String> {
    let reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(content);
    let records = reader.into_records().collect::<Result<_, _>>();
    records.map_err(|error| format!("ClientError: the input is not CSV: {error}"))
}

fn write(records: impl Iterator<Item = csv::StringRecord>) -> Vec<u8> {
    let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
    for record in records {
        // Writing into memory does not fail.
        let _ = writer.write_record(&record);
    }
    writer.into_inner().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const LINES: Processing = Processing {
        by_line: true,
        many: true,
        max_payload: 1 << 20,
        input: Filter::All,
        output: Filter::All,
        join: false,
        assemble_lines: true,
        answers_csv: true,
    };

    fn run(processing: &Processing, content: &str) -> (String, usize) {
        let mut requests = 0;
        let answer = transform(content.as_bytes(), processing, |body| {
            requests += 1;
            let records = read(&body)?;
            let answers = records.iter().map(|record| {
                csv::StringRecord::from(vec![record.len().to_string(), "[0.1, 0.9]".into()])
            });
            let mut answer = write(answers);
            answer.pop();
            Ok(answer)
        });
        (String::from_utf8(answer.unwrap()).unwrap(), requests)
    }

    #[test]
    fn an_id_column_is_kept_out_of_the_model_and_joined_to_its_answer() {
        let processing = Processing { input: Filter::parse("$[1:]").unwrap(), join: true, ..LINES };
        assert_eq!(
            run(&processing, "id1,a,b\nid2,\"c,d\",e\n"),
            ("id1,a,b,2,\"[0.1, 0.9]\"\nid2,\"c,d\",e,2,\"[0.1, 0.9]\"\n".into(), 1)
        );
        let processing = Processing { output: Filter::parse("$[0,-2]").unwrap(), ..processing };
        assert_eq!(run(&processing, "id1,a,b\n").0, "id1,2\n");
    }

    #[test]
    fn requests_are_as_large_as_they_may_be() {
        let content = "a,b\n".repeat(100);
        assert_eq!(run(&LINES, &content).1, 1);
        assert_eq!(run(&Processing { many: false, ..LINES }, &content).1, 100);
        let small = Processing { max_payload: 110, ..LINES };
        assert_eq!(run(&small, &content).0, "2,\"[0.1, 0.9]\"\n".repeat(100));
        assert!((2..100).contains(&run(&small, &content).1));
    }

    #[test]
    fn a_record_that_is_too_large_fails() {
        let tiny = Processing { max_payload: 3, ..LINES };
        assert!(transform(b"aaaa,bbbb\n", &tiny, Ok).is_err());
        assert!(transform(b"aaaa,bbbb\n", &Processing { by_line: false, ..tiny }, Ok).is_err());
    }

    #[test]
    fn filters_parse_or_are_refused() {
        assert_eq!(Filter::parse("$"), Some(Filter::All));
        assert_eq!(Filter::parse("$[:-1]"), Some(Filter::Range(None, Some(-1))));
        assert_eq!(Filter::parse("$[0]"), Some(Filter::Columns(vec![0])));
        for bad in ["$[a]", "$.x", "[1:]", "$[1:2:3]", "$[]"] {
            assert_eq!(Filter::parse(bad), None, "{bad}");
        }
        let record = csv::StringRecord::from(vec!["a", "b"]);
        for filter in ["$[9]", "$[-9]", "$[5:]", "$[1:0]"] {
            assert!(Filter::parse(filter).unwrap().apply(&record).is_empty(), "{filter}");
        }
    }
}
