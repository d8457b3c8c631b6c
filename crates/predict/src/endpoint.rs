//! Asks an endpoint: one request for the API's records, batches for a file.

use std::ops::Range;

use crosspilot_core::aws::sagemakerruntime::Client;
use crosspilot_core::aws::sagemakerruntime::primitives::Blob;
use crosspilot_core::error::CallError;
use csv::StringRecord;
use tokio::task::JoinSet;

use crate::Error;
use crate::answer;
use crate::table::csv_text;

/// Bytes of CSV in one request, far below SageMaker's 6 MB: smaller answers
/// come sooner, and a model has 60 s for each.
const BATCH_BYTES: usize = 1 << 20;
/// Rows in one request.
const BATCH_ROWS: usize = 1000;
/// Requests on their way at a time: enough to keep a small instance busy.
const CONCURRENT: usize = 4;

/// An endpoint in a customer's account.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) runtime: Client,
    pub(crate) name: String,
    /// The variant that shall answer; whichever the traffic goes to if left out.
    pub(crate) variant: Option<String>,
}

/// What an endpoint answered.
pub(crate) struct Answered {
    /// The lines, one a record.
    pub(crate) lines: Vec<StringRecord>,
    /// Which variant it was.
    pub(crate) variant: Option<String>,
}

impl Endpoint {
    /// Sends one CSV body of so many records.
    pub(crate) async fn ask(&self, body: Vec<u8>, records: usize) -> Result<Answered, Error> {
        let answer = self
            .runtime
            .invoke_endpoint()
            .endpoint_name(&self.name)
            .set_target_variant(self.variant.clone())
            .content_type("text/csv")
            // Some containers refuse the JSON that SageMaker would ask for.
            .accept("text/csv")
            .body(Blob::new(body))
            .send()
            .await
            .map_err(|e| CallError::new("sagemaker:InvokeEndpoint", &self.name, &e))?;
        let body = answer.body.map(Blob::into_inner).unwrap_or_default();
        let lines = answer::lines(&body, records)?;
        Ok(Answered { lines, variant: answer.invoked_production_variant })
    }

    /// Sends these columns of all rows, in batches. The lines come in the order
    /// of the rows.
    pub(crate) async fn ask_all(
        &self,
        rows: &[StringRecord],
        columns: &[usize],
    ) -> Result<Vec<StringRecord>, Error> {
        let batches = batches(rows.iter().map(|row| size(row, columns)));
        let mut answers = vec![Vec::new(); batches.len()];
        let mut waiting = batches.into_iter().enumerate();
        let mut asked = JoinSet::new();
        loop {
            while asked.len() < CONCURRENT
                && let Some((index, range)) = waiting.next()
            {
                let records = range.len();
                let cells = |row| columns.iter().map(move |&column| cell(row, column));
                let body = csv_text(rows[range].iter().map(cells)).map_err(compose)?;
                let endpoint = self.clone();
                asked.spawn(async move {
                    endpoint.ask(body, records).await.map(|answered| (index, answered.lines))
                });
            }
            match asked.join_next().await {
                Some(done) => {
                    let (index, lines) = done.map_err(compose)??;
                    answers[index] = lines;
                }
                None => return Ok(answers.concat()),
            }
        }
    }
}

fn compose(reason: impl ToString) -> Error {
    Error::Compose { what: "request to the endpoint", reason: reason.to_string() }
}

fn cell(row: &StringRecord, column: usize) -> &str {
    row.get(column).unwrap_or_default()
}

/// Bytes of a row at most, but for quotes within its cells.
fn size(row: &StringRecord, columns: &[usize]) -> usize {
    columns.iter().map(|&column| cell(row, column).len() + 3).sum()
}

/// Cuts rows of these sizes into batches. A row larger than a batch is one.
fn batches(sizes: impl Iterator<Item = usize>) -> Vec<Range<usize>> {
    let mut batches: Vec<Range<usize>> = Vec::new();
    let mut bytes = 0;
    for (row, size) in sizes.enumerate() {
        bytes += size;
        match batches.last_mut() {
            Some(batch) if bytes <= BATCH_BYTES && batch.len() < BATCH_ROWS => batch.end = row + 1,
            _ => {
                batches.push(row..row + 1);
                bytes = size;
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_batch_is_bounded_in_rows_and_bytes() {
        assert_eq!(batches((0..2500).map(|_| 10)), [0..1000, 1000..2000, 2000..2500]);
        assert_eq!(
            batches([BATCH_BYTES, 1, BATCH_BYTES * 9, 1].into_iter()),
            [0..1, 1..2, 2..3, 3..4]
        );
        assert!(batches(std::iter::empty()).is_empty());
    }

    proptest! {
        #[test]
        fn every_row_is_in_one_batch(sizes in proptest::collection::vec(0_usize..600_000, 0..50)) {
            let batches = batches(sizes.iter().copied());
            prop_assert_eq!(batches.iter().cloned().flatten().collect::<Vec<_>>(), (0..sizes.len()).collect::<Vec<_>>());
            for batch in batches {
                prop_assert!(batch.len() == 1 || sizes[batch].iter().sum::<usize>() <= BATCH_BYTES);
            }
        }
    }
}
