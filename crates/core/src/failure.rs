//! The errors of failed tasks as Step Functions hands them on, read once and for people.
//!
//! The state machines carry an error as it came and never look into it: an
//! expression that failed there would end the execution outside its failure
//! path. What can come, in AWS's own texts:
//!
//! ```text
//! AccessDenied             {"errorType":"AccessDenied","errorMessage":"..."}    a handler's own
//! Lambda.Unknown           The cause could not be determined because Lambda did not return an error
//!                          type. Returned payload: {"errorMessage":"<time> <id> Task timed out after 60.15 seconds"}
//! Sandbox.Timedout         {"errorType":"Sandbox.Timedout","errorMessage":"RequestId: <id> Error: Task timed out ..."}
//! Runtime.ExitError        {"errorType":"Runtime.ExitError","errorMessage":"RequestId: <id> Error: Runtime exited with error: signal: killed"}
//! States.Timeout           nothing
//! ```

use serde::{Deserialize, Serialize};

use crate::error::Code;

/// Characters that a cause may have, so that it fits every state, event and
/// document.
pub const CAUSE_CHARACTERS: usize = 4000;

/// The failure of a run, or of something else that a state machine does: where and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The stage that failed.
    pub stage: String,
    /// The error code, ours or AWS's.
    pub code: String,
    /// The cause: a sentence.
    pub cause: String,
}

impl Failure {
    /// Reads an error and its cause as a catcher hands them on. What was read
    /// before stays as it is, and whatever it is, something comes of it.
    pub fn read(stage: &str, error: &str, cause: &str) -> Self {
        let said = message(cause);
        let code = match error {
            "States.Timeout" | "Sandbox.Timedout" => Code::FunctionTimedOut.as_str(),
            "Lambda.Unknown" if said.contains("Task timed out after") => {
                Code::FunctionTimedOut.as_str()
            }
            "Lambda.Unknown" | "Runtime.ExitError" => Code::FunctionDied.as_str(),
            "" => Code::Internal.as_str(),
            other => other,
        };
        let cause = if code == error {
            said
        } else {
            let what = if code == Code::FunctionTimedOut.as_str() {
                "took longer than it may"
            } else {
                "ended without an answer"
            };
            let said = if said.is_empty() { String::new() } else { format!(": {said}") };
            format!(
                "the function {what}, at each of several attempts ({error}{said}); its log tells more"
            )
        };
        let cause = if cause.is_empty() { format!("AWS gave no cause of {code}") } else { cause };
        Self { stage: stage.to_owned(), code: code.to_owned(), cause: bounded(&cause) }
    }
}

/// Gives at most [`CAUSE_CHARACTERS`] of a text.
pub fn bounded(text: &str) -> String {
    match text.char_indices().nth(CAUSE_CHARACTERS) {
        None => text.to_owned(),
        Some(_) => text.chars().take(CAUSE_CHARACTERS - 1).chain(['…']).collect(),
    }
}

/// Cuts somebody else's words to what a message or a line of the log repeats of them: 200
/// characters.
pub fn shown(words: &str) -> String {
    words.chars().take(200).collect()
}

/// The sentence in what a function, or Lambda in its place, has said.
fn message(cause: &str) -> String {
    let cause = cause.trim();
    let payload = match cause.split_once("Returned payload: ") {
        Some((_, payload)) => payload,
        None => cause,
    };
    if !payload.starts_with('{') {
        return cause.to_owned();
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Said {
        error_message: String,
    }
    match serde_json::from_str::<Said>(payload) {
        Ok(said) => said.error_message,
        // It was cut on its way.
        Err(error) if error.is_eof() => beginning(payload).unwrap_or_else(|| cause.to_owned()),
        Err(_) => cause.to_owned(),
    }
}

/// Gives what there is of the message in a JSON text that was cut somewhere in it.
fn beginning(cut: &str) -> Option<String> {
    let (_, rest) = cut.split_once("\"errorMessage\"")?;
    let rest = rest.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?;
    // A cut may have left a part of an escape: six characters at most, or twelve
    // of a pair.
    let ends = rest.char_indices().map(|(at, _)| at).chain([rest.len()]).rev().take(13);
    ends.into_iter().find_map(|end| serde_json::from_str(&format!("\"{}\"", &rest[..end])).ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(error: &str, cause: &str) -> (String, String) {
        let failure = Failure::read("train", error, cause);
        assert_eq!(failure.stage, "train");
        (failure.code, failure.cause)
    }

    #[test]
    fn a_handlers_own_words_stay_as_they_are() {
        let cause = json!({"errorType": "DataUnfit", "errorMessage": "column \"a\" is empty"});
        let expected = ("DataUnfit".to_owned(), "column \"a\" is empty".to_owned());
        assert_eq!(read("DataUnfit", &cause.to_string()), expected);
        // Read again, as a choice hands it on.
        assert_eq!(read(&expected.0, &expected.1), expected);
        let sentence = "it is {no} JSON";
        assert_eq!(read("NoCandidate", sentence).1, sentence);
    }

    #[test]
    fn a_function_that_took_too_long_is_named_so_however_lambda_says_it() {
        for (error, cause) in [
            (
                "Lambda.Unknown",
                r#"The cause could not be determined because Lambda did not return an error type. Returned payload: {"errorMessage":"2026-01-31T12:00:00.604Z 5b1c368c Task timed out after 60.15 seconds"}"#,
            ),
            (
                "Sandbox.Timedout",
                r#"{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: 5b1c368c Error: Task timed out after 60.15 seconds"}"#,
            ),
            ("States.Timeout", ""),
        ] {
            let (code, cause) = read(error, cause);
            assert_eq!(code, "FunctionTimedOut", "{error}");
            assert!(cause.starts_with("the function took longer than it may"), "{cause}");
            assert!(!cause.contains('{'), "{cause}");
        }
    }

    #[test]
    fn a_function_that_was_killed_or_gave_no_answer_is_named_so() {
        let killed = r#"{"errorType":"Runtime.ExitError","errorMessage":"RequestId: 5b1c368c Error: Runtime exited with error: signal: killed"}"#;
        let (code, cause) = read("Runtime.ExitError", killed);
        assert_eq!(code, "FunctionDied");
        assert!(cause.contains("signal: killed") && cause.contains("its log"), "{cause}");
        assert_eq!(read("Lambda.Unknown", "").0, "FunctionDied");
    }

    #[test]
    fn what_says_nothing_still_gives_a_code_and_a_sentence() {
        assert_eq!(read("", "").0, "Internal");
        let (code, cause) = read("States.QueryEvaluationError", "");
        assert_eq!(code, "States.QueryEvaluationError");
        assert_eq!(cause, "AWS gave no cause of States.QueryEvaluationError");
    }

    #[test]
    fn a_cause_of_32_kb_is_cut_to_what_fits() {
        let long = "é".repeat(32 * 1024);
        for cause in [long.clone(), json!({"errorMessage": long}).to_string()] {
            let (_, cause) = read("Internal", &cause);
            assert_eq!(cause.chars().count(), CAUSE_CHARACTERS);
            assert!(cause.starts_with("éé") && cause.ends_with('…'));
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_something_short_comes_of_it(error in "\\PC{0,30}", cause in "(?s).{0,200}") {
            let (code, cause) = read(&error, &cause);
            prop_assert!(!code.is_empty() && !cause.is_empty());
            prop_assert!(cause.chars().count() <= CAUSE_CHARACTERS);
        }

        #[test]
        fn a_message_is_found_also_where_it_was_cut(said in "(?s).{1,60}", type_first: bool, keep in 0.0..1.0_f64) {
            let quoted = serde_json::to_string(&said).unwrap();
            let whole = if type_first {
                format!("{{\"errorType\":\"Conflict\",\"errorMessage\":{quoted}}}")
            } else {
                format!("{{\"errorMessage\":{quoted},\"errorType\":\"Conflict\"}}")
            };
            prop_assert_eq!(message(&whole), said.clone());
            let key = "\"errorMessage\":";
            let begins = whole.find(key).unwrap() + key.len() + 1;
            let mut end = begins + ((quoted.len() - 2) as f64 * keep) as usize;
            while !whole.is_char_boundary(end) {
                end += 1;
            }
            let found = message(&whole[..end]);
            prop_assert!(said.starts_with(&found), "{found:?} of {said:?}");
        }
    }
}
