//! Says how many labels can be told apart.

/// Labels that are told apart where nobody has said that the target is classes.
pub const MOST_GUESSED: u64 = 1000;
/// Labels that are told apart where the settings say that it is.
pub const MOST: u64 = 5000;
/// Rows that each label has on average at least, where nobody has said so.
const ROWS_EACH: u64 = 3;

/// Gives the most labels that so many rows can teach. `is_set` says that the settings
/// call the target classes.
pub fn most(rows: u64, is_set: bool) -> u64 {
    if is_set { MOST } else { MOST_GUESSED.min(rows / ROWS_EACH) }
}

/// Writes a label as people do who mean the same one: without blanks around it, and in
/// lower case.
pub fn alike(label: &str) -> String {
    label.trim().to_lowercase()
}
