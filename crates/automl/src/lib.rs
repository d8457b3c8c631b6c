//! A small AutoML engine for tables. No AWS, no network, no files.
//!
//! [`Table`] reads CSV; [`analyze`] says what a table could teach; [`train`]
//! trains really different algorithms, measures each on rows it has not seen and
//! ranks them; a [`Model`] predicts, and is saved and loaded as bytes.
//!
//! ```
//! use std::sync::atomic::AtomicBool;
//! use crosspilot_automl::{Model, Settings, Table, train};
//!
//! let mut csv = String::from("hours,plan,left\n");
//! for row in 0..600 {
//!     let hours = row * 37 % 100;
//!     csv += &format!("{hours},{},{}\n", ["basic", "plus"][row % 2], hours > 60);
//! }
//! let table = Table::read_csv(csv.as_bytes(), true)?;
//! let settings = Settings { target: "left".into(), max_candidates: 3, ..Settings::default() };
//! let board = train(&table, None, &settings, &mut |_| {}, &AtomicBool::new(false))?;
//! let best = board.best().ok_or("no candidate")?;
//! assert!(best.objective > 0.95);
//!
//! let model = Model::load(&best.model.save())?;
//! assert_eq!(model.features(), ["hours", "plan"]);
//! let answers = model.predict(&Table::read_csv("80,basic\n5,plus\n".as_bytes(), false)?)?;
//! assert_eq!(answers.len(), 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `table` reads text and finds out what is to be learned; `features` encodes it: a byte
//! for each value, where 0 is missing and categories keep a bin each, for trees, and
//! standardised numbers and one-hot categories for linear models and networks.
//! `learners` are the algorithms, each fitted to a `FitContext`; `search` plans,
//! measures, combines and ranks candidates. Inner loops are compiled for several kinds
//! of processors; see `simd`.

mod error;
mod explain;
mod features;
mod leaderboard;
mod learners;
mod model;
mod rng;
mod search;
mod settings;
mod simd;
mod table;
mod temperature;

pub use error::{ModelError, TableError, TrainError};
pub use leaderboard::{Candidate, Ending, Event, Leaderboard};
pub use model::{Model, Prediction};
pub use search::train::train;
pub use settings::{Algorithm, Settings};
pub use table::analysis::{Analysis, ColumnSummary, analyze};
pub use table::cells::Table;
pub use table::schema::ColumnKind;
