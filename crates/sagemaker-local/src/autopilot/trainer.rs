//! The AutoML engine, as a job and a container use it.

use std::io::Read;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use crosspilot_automl::{Analysis, Ending, Event, Model, Settings, Table, TableError};
use crosspilot_metrics::Metric;
use flate2::read::MultiGzDecoder;

use crate::autopilot::parquet;
use crate::autopilot::request::{Content, Plan};

/// A trained model that predicts records of text.
#[derive(Debug, Clone)]
pub(crate) struct Predictor(Model);

/// What a model says about one record.
pub(crate) enum Prediction {
    /// The class it decides for, and the probability of each.
    Class {
        class: usize,
        probabilities: Vec<f64>,
    },
    Number(f64),
}

impl Predictor {
    pub(crate) fn load(bytes: &[u8]) -> Result<Self, String> {
        Model::load(bytes).map(Self).map_err(|error| error.to_string())
    }

    pub(crate) fn save(&self) -> Vec<u8> {
        self.0.save()
    }

    /// How many fields a record has.
    pub(crate) fn columns(&self) -> usize {
        self.0.features().len()
    }

    /// The classes' names; none for regression.
    pub(crate) fn labels(&self) -> &[String] {
        self.0.labels()
    }

    pub(crate) fn predict(&self, records: &[Vec<String>]) -> Result<Vec<Prediction>, String> {
        let mut table = Table::new(self.0.features()).map_err(|error| error.to_string())?;
        for record in records {
            table.push_row(record).map_err(|error| error.to_string())?;
        }
        let predictions = self.0.predict(&table).map_err(|error| error.to_string())?;
        Ok(predictions.into_iter().map(Prediction::from).collect())
    }

    /// Each column's share in the answers for training records, by Shapley values.
    pub(crate) fn importance(
        &self,
        training: &Table,
        seed: u64,
    ) -> Result<Vec<(String, f64)>, String> {
        // Some of them tell as much; copies of a million would only take memory.
        const ENOUGH: usize = 10_000;
        let stride = training.rows().div_ceil(ENOUGH).max(1);
        let rows: Vec<usize> = (0..training.rows()).step_by(stride).collect();
        let records = training.take(&rows).select(self.0.features());
        let records = records.map_err(|error| error.to_string())?;
        self.0.importance(&records, seed).map_err(|error| error.to_string())
    }
}

impl From<crosspilot_automl::Prediction> for Prediction {
    fn from(prediction: crosspilot_automl::Prediction) -> Self {
        match prediction {
            crosspilot_automl::Prediction::Class { label, probabilities } => {
                Self::Class { class: label, probabilities }
            }
            crosspilot_automl::Prediction::Value(number) => Self::Number(number),
        }
    }
}

/// The files of one channel.
pub(crate) struct Files {
    pub(crate) content: Content,
    /// Name and content of each.
    pub(crate) files: Vec<(String, Vec<u8>)>,
}

/// What a job trains on, and how.
pub(crate) struct Training {
    pub(crate) training: Table,
    pub(crate) validation: Option<Table>,
    settings: Settings,
}

/// A candidate that is trained.
#[derive(Debug, Clone)]
pub(crate) struct Trained {
    pub(crate) number: usize,
    pub(crate) algorithm: &'static str,
    pub(crate) objective: f64,
    pub(crate) metrics: Vec<(Metric, f64)>,
    /// Numbers of validation rows by true and predicted label; empty for numbers.
    pub(crate) confusion: Vec<Vec<u64>>,
    pub(crate) seconds: f64,
    pub(crate) predictor: Predictor,
}

/// What training tells on its way.
pub(crate) enum Progress {
    /// The candidate of this number is being trained.
    Started(usize),
    /// A candidate is trained.
    Trained(Box<Trained>),
}

/// How training ended, with the best candidate in its final form.
pub(crate) struct Outcome {
    pub(crate) best: Trained,
    /// What it was trained on.
    pub(crate) training: Table,
    pub(crate) out_of_time: bool,
}

impl Training {
    /// Read the files and find out what is to be predicted; why not, in words
    /// for a `FailureReason`.
    pub(crate) fn prepare(
        plan: &Plan,
        training: Files,
        validation: Option<Files>,
        max_candidates: u32,
        seed: u64,
    ) -> Result<(Self, Analysis), String> {
        let defaults = Settings::default();
        let settings = Settings {
            target: plan.target.clone(),
            problem_type: plan.objective.map(|(problem, _)| problem),
            metric: plan.objective.map(|(_, metric)| metric),
            max_candidates: usize::try_from(max_candidates).unwrap_or(usize::MAX),
            trial_budget: plan.max_seconds_per_candidate.map(Duration::from_secs),
            validation_fraction: plan.validation_fraction,
            weight_column: plan.weight.clone(),
            seed,
            ..defaults
        };
        let training = training.read()?;
        let validation = validation.map(Files::read).transpose()?;
        let analysis =
            crosspilot_automl::analyze(&training, &settings).map_err(|error| error.to_string())?;
        Ok((Self { training, validation, settings }, analysis))
    }

    /// Train candidates until the plan is done, `deadline` has come or `stop`
    /// is set; each is reported when it is begun and when it is trained.
    pub(crate) fn run(
        mut self,
        deadline: Option<Instant>,
        stop: &AtomicBool,
        mut report: impl FnMut(Progress),
    ) -> Result<Outcome, String> {
        const FOREVER: Duration = Duration::from_secs(30 * 24 * 3600);
        self.settings.time_budget =
            deadline.map_or(FOREVER, |deadline| deadline.saturating_duration_since(Instant::now()));
        let mut observe = |event: Event<'_>| match event {
            Event::Started { number, .. } => report(Progress::Started(number)),
            Event::Finished(candidate) => {
                report(Progress::Trained(Box::new(Trained::from(candidate))));
            }
            Event::Analyzed(_) | Event::Refitting(_) => {}
        };
        let board = crosspilot_automl::train(
            &self.training,
            self.validation.as_ref(),
            &self.settings,
            &mut observe,
            stop,
        );
        let board = board.map_err(|error| error.to_string())?;
        let best = board.best().ok_or("No candidate could be trained.")?;
        Ok(Outcome {
            best: Trained::from(best),
            training: self.training,
            out_of_time: board.ending == Ending::OutOfTime,
        })
    }
}

impl From<&crosspilot_automl::Candidate> for Trained {
    fn from(candidate: &crosspilot_automl::Candidate) -> Self {
        Self {
            number: candidate.number,
            algorithm: candidate.algorithm.as_str(),
            objective: candidate.objective,
            metrics: candidate.metrics.clone(),
            confusion: candidate.confusion.clone(),
            seconds: candidate.fit_seconds,
            predictor: Predictor(candidate.model.clone()),
        }
    }
}

/// The names in the header of a file that begins like this; nothing if that
/// cannot be told, as of Parquet, which names its columns at the end.
pub(crate) fn header(beginning: &[u8], content: Content) -> Option<Vec<String>> {
    let mut text = Vec::new();
    match content {
        Content::Csv => text.extend_from_slice(beginning),
        // What is cut off ends in an error, after what was read.
        Content::GzippedCsv => drop(MultiGzDecoder::new(beginning).read_to_end(&mut text)),
        Content::Parquet => return None,
    }
    let mut reader = csv::ReaderBuilder::new().from_reader(text.as_slice());
    let header = reader.headers().ok()?.iter().map(str::to_owned).collect();
    // The header is whole if something follows it.
    (reader.position().byte() < text.len() as u64).then_some(header)
}

impl Files {
    fn read(self) -> Result<Table, String> {
        let mut whole: Option<Table> = None;
        for (name, content) in self.files {
            let explain = |error: TableError| format!("{name} cannot be read as CSV: {error}");
            let table = match self.content {
                Content::Csv => Table::read_csv(content.as_slice(), true).map_err(explain)?,
                Content::GzippedCsv => {
                    let unpacked = MultiGzDecoder::new(content.as_slice());
                    Table::read_csv(unpacked, true).map_err(explain)?
                }
                Content::Parquet => parquet::read(content)
                    .map_err(|error| format!("{name} cannot be read as Parquet: {error}"))?,
            };
            match &mut whole {
                None => whole = Some(table),
                Some(whole) => whole.append(&table).map_err(|error| {
                    format!("{name} does not go with the files before it: {error}")
                })?,
            }
        }
        whole.ok_or_else(|| "There is no data.".into())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    #[test]
    fn a_header_is_told_from_the_beginning_of_its_file() {
        let names = |text: &str| header(text.as_bytes(), Content::Csv);
        assert_eq!(names("\u{feff}a,\"b, c\"\n1,2\n").unwrap(), ["a", "b, c"]);
        assert_eq!(names("a,b,and so on, to where it was cu"), None);
        assert_eq!(header(&[0xff, b',', b'a', b'\n', b'1'], Content::Csv), None);
        let mut zipped = GzEncoder::new(Vec::new(), Compression::fast());
        let rows: String = (0..9999).map(|i| format!("{i},{}\n", i * 7919 % 10007)).collect();
        zipped.write_all(format!("a,y\n{rows}").as_bytes()).unwrap();
        let zipped = zipped.finish().unwrap();
        assert_eq!(header(&zipped[..zipped.len() / 2], Content::GzippedCsv).unwrap(), ["a", "y"]);
        assert_eq!(header(b"a,y\n1,2\n", Content::GzippedCsv), None);
    }
}
