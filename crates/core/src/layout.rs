//! The layout of the customer's bucket.
//!
//! ```text
//! <prefix>/<model>/train/             what the customer gives; an upload here starts a run
//! <prefix>/<model>/validation/        rows to validate candidates on, if the model is set so
//! <prefix>/<model>/test/              held-out rows with their labels, if any; an upload here evaluates the champion
//! <prefix>-results/<model>/<run>/     what a run leaves: predictions, evaluation, report
//! <prefix>-results/<model>/<run>/automl/  what Autopilot itself writes
//! <prefix>-results/<model>/<run>/words.json   the words that training saw in columns of words
//! <prefix>-results/<model>/<run>/evaluations/  what its model was worth on held-out rows that came while it served
//! <prefix>-results/problem.html           why the newest upload that could start nothing did not
//! <prefix>-results/<model>/latest/        the newest report, of a run or of an evaluation
//! <prefix>-results/<model>/capture/       requests that SageMaker keeps, if the model is set so
//! <prefix>-results/_rows/<model>/<run>/   rows that a run copies for itself, gone when it has ended well
//!     train/          the training rows without those that were set aside
//!     held-out.csv    the held-out rows as they were found
//!     first-row.csv   a training row for the first prediction
//!     verdict.json    the preflight's verdict, which a later attempt at the job reads
//!     input/ output/  the held-out rows as the model takes them, and its answers
//! ```
//! Results lie beside the prefix, not under it: the upload rule matches all that lies
//! under `<prefix>/`, so that a file in a wrong folder is answered, too. Copies of rows lie
//! beside documents, since a bucket's rules know prefixes only: one of
//! `infra/customer.yaml` takes away what failed runs leave.

use crate::ids::{InvalidId, ModelName, Prefix};
use crate::registry::EvaluationId;
use crate::run::RunRef;
use crate::tenant::Tenant;

/// Key prefix of all that a customer gives for a model, with its slash.
pub fn data_prefix(prefix: &Prefix, model: &ModelName) -> String {
    format!("{prefix}/{model}/")
}

/// Key prefix of a model's training data, with its slash.
pub fn train_prefix(prefix: &Prefix, model: &ModelName) -> String {
    format!("{prefix}/{model}/train/")
}

/// Key prefix of a model's held-out data, with its slash.
pub fn test_prefix(prefix: &Prefix, model: &ModelName) -> String {
    format!("{prefix}/{model}/test/")
}

/// Key prefix of the data that candidates are validated on, with its slash.
pub fn validation_prefix(prefix: &Prefix, model: &ModelName) -> String {
    format!("{prefix}/{model}/validation/")
}

/// Key prefix of the requests that SageMaker keeps of an endpoint, with its slash.
pub fn capture_prefix(prefix: &Prefix, model: &ModelName) -> String {
    format!("{prefix}-results/{model}/capture/")
}

/// Key prefixes of all that runs leave in the bucket, of one model or of all.
pub fn artifacts(prefix: &Prefix, model: Option<&ModelName>) -> Vec<String> {
    match model {
        Some(model) => vec![model_results_prefix(prefix, model), model_rows_prefix(prefix, model)],
        None => vec![all_results_prefix(prefix)],
    }
}

/// Key prefix of what all runs of all models leave, with its slash.
pub fn all_results_prefix(prefix: &Prefix) -> String {
    format!("{prefix}-results/")
}

/// Key prefix of what all runs of a model leave, with its slash.
pub fn model_results_prefix(prefix: &Prefix, model: &ModelName) -> String {
    format!("{prefix}-results/{model}/")
}

/// Key prefix of what a run leaves, with its slash.
pub fn results_prefix(prefix: &Prefix, run: &RunRef) -> String {
    format!("{prefix}-results/{}/{}/", run.model, run.run_id)
}

/// Key prefix of what Autopilot writes during a run, with its slash.
pub fn automl_prefix(prefix: &Prefix, run: &RunRef) -> String {
    format!("{}automl/", results_prefix(prefix, run))
}

/// Key prefix of the rows that all runs of a model copy, with its slash. No model has
/// such a name.
pub fn model_rows_prefix(prefix: &Prefix, model: &ModelName) -> String {
    format!("{prefix}-results/_rows/{model}/")
}

/// Key prefix of the rows that a run copies for itself, with its slash.
pub fn rows_prefix(prefix: &Prefix, run: &RunRef) -> String {
    format!("{}{}/", model_rows_prefix(prefix, &run.model), run.run_id)
}

/// Key prefix of the rows that a run trains on which sets others aside, with its slash.
pub fn split_training_prefix(prefix: &Prefix, run: &RunRef) -> String {
    format!("{}train/", rows_prefix(prefix, run))
}

/// Key of the held-out rows that a run was scored on, as they were found.
pub fn held_out_key(prefix: &Prefix, run: &RunRef) -> String {
    format!("{}held-out.csv", rows_prefix(prefix, run))
}

/// Key of what is told of an upload that can start no run.
pub fn problem_key(prefix: &Prefix) -> String {
    format!("{}problem.html", all_results_prefix(prefix))
}

/// Key of what a run tells people.
pub fn report_key(prefix: &Prefix, run: &RunRef) -> String {
    format!("{}report.html", results_prefix(prefix, run))
}

/// Key of what the newest run of a model tells people.
pub fn latest_report_key(prefix: &Prefix, model: &ModelName) -> String {
    format!("{}latest/report.html", model_results_prefix(prefix, model))
}

/// Key prefix of what a champion's evaluation on later held-out rows leaves, with its
/// slash.
pub fn evaluation_prefix(prefix: &Prefix, run: &RunRef, evaluation: &EvaluationId) -> String {
    format!("{}{evaluation}/", evaluations_prefix(prefix, run))
}

/// Key prefix of all such evaluations of a run's model, with its slash.
pub fn evaluations_prefix(prefix: &Prefix, run: &RunRef) -> String {
    format!("{}evaluations/", results_prefix(prefix, run))
}

/// Key of the words that a run's training rows hold, for those columns that have few.
pub fn words_key(prefix: &Prefix, run: &RunRef) -> String {
    format!("{}words.json", results_prefix(prefix, run))
}

/// Key of the words of any run of a model, as a pattern of a policy.
pub fn words_keys(prefix: &Prefix, model: &ModelName) -> String {
    format!("{}*/words.json", model_results_prefix(prefix, model))
}

/// Key of the row of training data that a run's model is asked about first, if
/// there are no held-out rows.
pub fn first_row_key(prefix: &Prefix, run: &RunRef) -> String {
    format!("{}first-row.csv", rows_prefix(prefix, run))
}

/// Key of the verdict on a run's data where its later attempts may read it: of the results,
/// they may read none.
pub fn kept_verdict_key(prefix: &Prefix, run: &RunRef) -> String {
    format!("{}verdict.json", rows_prefix(prefix, run))
}

/// An `s3://` address in a tenant's bucket.
pub fn uri(tenant: &Tenant, key: &str) -> String {
    format!("s3://{}/{key}", tenant.bucket)
}

/// Tells whether what lies under this path is what a program left behind and nobody means as
/// data: hidden files, checkpoints, markers, locks, backups, files in progress. The path
/// begins below a model's folder; any part of it may say so, as Hadoop and Spark read
/// folders.
pub fn is_leftover(path: &str) -> bool {
    path.is_empty() || path.ends_with('/') || path.split('/').any(is_left)
}

/// Endings of names that programs give to what they lock, back up or have not finished.
const LEFTOVER_ENDINGS: [&str; 13] = [
    "~",
    "_$folder$",
    ".tmp",
    ".crc",
    ".part",
    ".filepart",
    ".partial",
    ".crdownload",
    ".download",
    ".bak",
    ".orig",
    ".swp",
    ".swo",
];

/// Tells whether a part of a path is such a name.
fn is_left(part: &str) -> bool {
    let is_locked = part.len() > 1 && part.starts_with('#') && part.ends_with('#');
    let is_named = ["thumbs.db", "desktop.ini", "@eadir", "$recycle.bin"]
        .iter()
        .any(|name| part.eq_ignore_ascii_case(name));
    part.starts_with(['.', '_'])
        || part.starts_with("~$")
        || LEFTOVER_ENDINGS.iter().any(|ending| part.ends_with(ending))
        || is_locked
        || is_named
        || part.contains(".sync-conflict-")
}

/// The meaning of an uploaded key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upload {
    /// Training data for this model.
    Training(ModelName),
    /// Held-out rows, on which this model's champion is evaluated.
    HeldOut(ModelName),
    /// A file under the prefix that lies in no folder that is read: whoever put it
    /// there waits for something.
    Misplaced,
    /// Rows to validate candidates on, a folder marker, a leftover or a key outside
    /// the prefix: nothing to do.
    Nothing,
}

/// Reads an uploaded key. Only `<prefix>/<model>/train/<file>` is training
/// data and `<prefix>/<model>/test/<file>` held-out rows, unless it is a leftover
/// of another program; a key of that form whose model is no model name is an error.
pub fn parse_upload(prefix: &Prefix, key: &str) -> Result<Upload, InvalidId> {
    let under = key.strip_prefix(prefix.as_str()).and_then(|rest| rest.strip_prefix('/'));
    let Some(under) = under.filter(|under| !is_leftover(under)) else {
        return Ok(Upload::Nothing);
    };
    let mut parts = under.splitn(3, '/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(model), Some("train"), Some(_)) => Ok(Upload::Training(model.parse()?)),
        (Some(model), Some("test"), Some(_)) => Ok(Upload::HeldOut(model.parse()?)),
        (_, Some("validation"), Some(_)) => Ok(Upload::Nothing),
        _ => Ok(Upload::Misplaced),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn leftovers_are_known_by_any_part_of_their_path() {
        for path in [
            "",
            "2026/",
            "._h.csv",
            ".ipynb_checkpoints/h-checkpoint.csv",
            "_SUCCESS",
            "_temporary/0/part-0000",
            "x_$folder$",
            "~$h.csv",
            "h.csv~",
            "h.csv.bak",
            "h.csv.orig",
            "h.csv.swp",
            "h.csv.swo",
            "h.csv.filepart",
            "h.csv.partial",
            "h.csv.download",
            "h.csv.download/h.csv",
            "2026.tmp/h.csv",
            "#h.csv#",
            "@eaDir/h.csv/x",
            "$RECYCLE.BIN/h.csv",
            "h.sync-conflict-20260131-101112-ABCDEFG.csv",
        ] {
            assert!(is_leftover(path), "{path}");
        }
        for path in [
            "h.csv",
            "part-0000",
            "2026/01/h_1.csv",
            "a.b/c_d",
            "#1.csv",
            "#",
            "bak/orig",
            "a.bak.csv",
            "eaDir/h.csv",
            "sync-conflict-h.csv",
        ] {
            assert!(!is_leftover(path), "{path}");
        }
    }

    #[test]
    fn only_files_in_a_models_train_folder_start_a_run() {
        let prefix: Prefix = "team/ml".parse().unwrap();
        let churn = Upload::Training("churn".parse().unwrap());
        assert_eq!(parse_upload(&prefix, "team/ml/churn/train/a.csv"), Ok(churn.clone()));
        assert_eq!(parse_upload(&prefix, "team/ml/churn/train/2026/a.csv"), Ok(churn));
        let held_out = Upload::HeldOut("churn".parse().unwrap());
        assert_eq!(parse_upload(&prefix, "team/ml/churn/test/2026/a.csv"), Ok(held_out));
        for key in [
            "team/ml/churn/train/",
            "team/ml/churn/test/_SUCCESS",
            "team/ml/churn/validation/a.csv",
            "team/ml/.trash/churn/a.csv",
            "team/ml-results/churn/20260131-0123456789/automl/x/train/chunk_0.csv",
            "other/churn/train/a.csv",
            "team/mlchurn/train/a.csv",
            "",
        ] {
            assert_eq!(parse_upload(&prefix, key), Ok(Upload::Nothing), "{key}");
        }
        for key in [
            "team/ml/a.csv",
            "team/ml/train/a.csv",
            "team/ml/churn/a.csv",
            "team/ml/churn/train",
            "team/ml/churn/Train/a.csv",
            "team/ml/churn/data/train/a.csv",
        ] {
            assert_eq!(parse_upload(&prefix, key), Ok(Upload::Misplaced), "{key}");
        }
        assert!(parse_upload(&prefix, "team/ml/No Name/train/a.csv").is_err());
    }

    #[test]
    fn what_other_programs_leave_is_no_data() {
        for name in [
            "_SUCCESS",
            ".DS_Store",
            ".ipynb_checkpoints/t-checkpoint.csv",
            "t.csv~",
            "~$t.csv",
            ".git/t.csv",
            "_temporary/0/t.csv",
            "2026/_SUCCESS",
            "day_$folder$",
            "t.csv.crc",
            "t.csv.part",
            "Thumbs.db",
            "2026/",
            "",
            "._h.csv",
        ] {
            assert!(is_leftover(name), "{name}");
            let key = format!("p/churn/train/{name}");
            assert_eq!(parse_upload(&"p".parse().unwrap(), &key), Ok(Upload::Nothing), "{name}");
        }
        for name in [
            "t.csv",
            "0000_part_00",
            "part-00000-c000.snappy.parquet",
            "day=2026-01-31/t.csv",
            "a~b.csv",
            "my.data/t.csv.gz",
            "a_b/t",
            "t",
        ] {
            assert!(!is_leftover(name), "{name}");
        }
    }

    proptest! {
        #[test]
        fn keys_are_read_without_panic(key in "\\PC{0,60}") {
            let _ = parse_upload(&"p".parse().unwrap(), &key);
            let _ = parse_upload(&"p".parse().unwrap(), &format!("p/{key}"));
        }

        #[test]
        fn results_never_start_a_run(file in "\\PC{0,40}") {
            let prefix: Prefix = "p".parse().unwrap();
            prop_assert_eq!(parse_upload(&prefix, &format!("p-results/m1/r/{file}")), Ok(Upload::Nothing));
        }
    }
}
