//! Asks an endpoint: one request for the API's records, batches for a file.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use crosspilot_core::aws::sagemakerruntime::Client;
use crosspilot_core::aws::sagemakerruntime::primitives::Blob;
use crosspilot_core::error::{CallError, MODEL_ERROR, Named};
use crosspilot_core::lambda::App;
use crosspilot_core::registry::{OwnCall, OwnCalls, RegistryError, seconds};
use crosspilot_core::run::RunRef;
use csv::StringRecord;
use tokio::task::JoinSet;

use crate::InferenceError;
use crate::output::Answer;
use crate::table::{Table, csv_text};

/// Bytes of CSV in one request, far below SageMaker's 6 MB: smaller answers
/// come sooner, and a model has 60 s for each.
const BATCH_BYTES: usize = 1 << 20;
/// Rows in one request.
const BATCH_ROWS: usize = 1000;
/// Requests on their way at a time: enough to keep a small instance busy.
const CONCURRENT: usize = 4;

/// An endpoint in a customer's account.
#[derive(Clone)]
pub struct Endpoint {
    /// SageMaker Runtime in its account.
    pub runtime: Client,
    /// The endpoint's name.
    pub name: String,
    /// The variant that shall answer; whichever the traffic goes to if left out.
    pub variant: Option<String>,
    /// Counts what it is asked, if that is to be noted.
    pub calls: Calls,
}

/// Calls that reached a model.
#[derive(Clone, Default)]
pub struct Calls(Arc<AtomicU64>);

impl Calls {
    /// A run's own calls, as CloudWatch counts them: those that the model refused,
    /// too, but none that may not have come to it.
    fn count<T>(&self, answer: &Result<T, CallError>) {
        let reached = match answer {
            Ok(_) => true,
            Err(error) => error.aws_code() == MODEL_ERROR,
        };
        self.0.fetch_add(u64::from(reached), Ordering::Relaxed);
    }

    /// Notes that a run has asked a variant since `begun`.
    pub async fn note(
        &self,
        app: &App,
        run: &RunRef,
        variant: &str,
        begun: SystemTime,
    ) -> Result<(), RegistryError> {
        let note = OwnCall {
            variant: variant.to_owned(),
            begun: seconds(begun),
            ended: seconds(SystemTime::now()),
            calls: self.0.load(Ordering::Relaxed),
        };
        let change = |own: &mut OwnCalls| own.note(note.clone());
        app.registry.change_own_calls(&run.tenant, &run.model, change).await
    }
}

/// The answer of an endpoint.
pub struct Answered {
    /// The answer's text, one line a record.
    pub answer: Answer,
    /// The variant that answered.
    pub variant: Option<String>,
}

impl Endpoint {
    /// Sends one CSV body of so many records.
    pub async fn ask(&self, body: Vec<u8>, records: usize) -> Result<Answered, InferenceError> {
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
            .named("sagemaker:InvokeEndpoint", &self.name);
        self.calls.count(&answer);
        let answer = answer?;
        let body = answer.body.map(Blob::into_inner).unwrap_or_default();
        let variant = answer.invoked_production_variant;
        Ok(Answered { answer: Answer::new(body, records)?, variant })
    }

    /// Sends these columns of all rows, in batches. The answers come in the order of
    /// the rows.
    pub async fn ask_all(
        &self,
        table: &Table,
        columns: &[usize],
    ) -> Result<Vec<Answer>, InferenceError> {
        let mut batches = Batches::new(table.rows(), columns).enumerate();
        let mut answers = Vec::new();
        let mut asked = JoinSet::new();
        loop {
            while asked.len() < CONCURRENT
                && let Some((index, batch)) = batches.next()
            {
                let (body, records) = batch.map_err(compose)?;
                let endpoint = self.clone();
                asked.spawn(async move {
                    endpoint.ask(body, records).await.map(|answered| (index, answered.answer))
                });
            }
            match asked.join_next().await {
                // What a task that panicked says may quote its rows.
                Some(done) => answers.push(done.map_err(|_| compose("its task panicked"))??),
                None => break,
            }
        }
        answers.sort_by_key(|(index, _)| *index);
        Ok(answers.into_iter().map(|(_, answer)| answer).collect())
    }
}

/// Rows as CSV, a batch at a time. A row larger than a batch is one.
struct Batches<'a, Rows: Iterator<Item = StringRecord>> {
    rows: std::iter::Peekable<Rows>,
    columns: &'a [usize],
}

impl<'a, Rows: Iterator<Item = StringRecord>> Batches<'a, Rows> {
    fn new(rows: Rows, columns: &'a [usize]) -> Self {
        Self { rows: rows.peekable(), columns }
    }
}

impl<Rows: Iterator<Item = StringRecord>> Iterator for Batches<'_, Rows> {
    /// A request's body, and the records in it.
    type Item = Result<(Vec<u8>, usize), csv::Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let columns = self.columns;
        let mut batch = vec![self.rows.next()?];
        let mut bytes = size(&batch[0], columns);
        while batch.len() < BATCH_ROWS
            && let Some(row) = self.rows.next_if(|row| bytes + size(row, columns) <= BATCH_BYTES)
        {
            bytes += size(&row, columns);
            batch.push(row);
        }
        let cells = |row| columns.iter().map(move |&column| cell(row, column));
        let records = batch.len();
        Some(csv_text(batch.iter().map(cells)).map(|body| (body, records)))
    }
}

fn compose(reason: impl ToString) -> InferenceError {
    InferenceError::Compose { what: "request to the endpoint", reason: reason.to_string() }
}

fn cell(row: &StringRecord, column: usize) -> &str {
    row.get(column).unwrap_or_default()
}

/// Bytes of a row at most, but for quotes within its cells.
fn size(row: &StringRecord, columns: &[usize]) -> usize {
    columns.iter().map(|&column| cell(row, column).len() + 3).sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    /// Rows of one cell of these lengths, in batches: the records in each.
    fn batches(lengths: impl Iterator<Item = usize>) -> Vec<usize> {
        let rows = lengths.map(|length| StringRecord::from(vec!["x".repeat(length)]));
        Batches::new(rows, &[0]).map(|batch| batch.unwrap().1).collect()
    }

    #[test]
    fn a_batch_is_bounded_in_rows_and_bytes() {
        assert_eq!(batches((0..2500).map(|_| 10)), [1000, 1000, 500]);
        assert_eq!(batches([BATCH_BYTES, 1, BATCH_BYTES * 2, 1].into_iter()), [1, 1, 1, 1]);
        assert!(batches(std::iter::empty()).is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn every_row_is_in_one_batch(lengths in proptest::collection::vec(0_usize..600_000, 0..20)) {
            let rows = lengths.iter().map(|length| StringRecord::from(vec!["x".repeat(*length), "y".into()]));
            let mut seen = Vec::new();
            for batch in Batches::new(rows, &[0]) {
                let (body, records) = batch.unwrap();
                prop_assert!(records == 1 || body.len() <= BATCH_BYTES);
                let text = String::from_utf8(body).unwrap();
                seen.extend(text.lines().map(|line| line.trim_matches('"').len()));
            }
            prop_assert_eq!(seen, lengths);
        }
    }
}
