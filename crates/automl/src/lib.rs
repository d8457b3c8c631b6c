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
//! Trees share one encoding: a byte for each value, learned from training
//! rows only, where 0 is missing and categories keep a bin each. That is what
//! makes them fast; see `encode` and `grow` (boosting). Linear models
//! and neural networks read standardised numbers, ranks where there are outliers,
//! and an input for each category; see `inputs`, `linear` and `network`. Inner loops
//! are compiled for several kinds of processors; see `math`.

mod analysis;
mod boost;
mod budget;
mod calibrate;
mod dataset;
mod dense;
mod encode;
mod ensemble;
mod error;
mod explain;
mod find;
mod goal;
mod gradients;
mod grow;
mod inputs;
mod learn;
mod linear;
mod link;
mod math;
mod measure;
mod model;
mod network;
mod partition;
mod plan;
mod problem;
mod product;
mod rank;
mod rates;
mod rng;
mod run;
mod schema;
mod settings;
mod split;
mod table;
mod target;
mod train;
mod tree;

pub use analysis::analyze;
pub use error::{ModelError, TableError, TrainError};
pub use model::{Model, Prediction};
pub use schema::ColumnKind;
pub use settings::{
    Algorithm, Analysis, Candidate, ColumnSummary, Ending, Event, Leaderboard, Settings,
};
pub use table::Table;
pub use train::train;
