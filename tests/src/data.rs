//! Data of customers that do not exist. A word and digits stand in it that are nowhere
//! else: whatever a test does with it, none of them may come to the vendor's side, as
//! `whole_suite` looks for once all tests have ended.

use std::sync::LazyLock;

use serde_json::json;

/// Stands in cells, labels and requests: made up for this process.
pub fn canary() -> &'static str {
    static WORD: LazyLock<String> = LazyLock::new(word);
    &WORD
}

/// Makes a word up.
pub fn word() -> String {
    let mut rng = fastrand::Rng::new();
    (0..16).map(|_| rng.lowercase()).collect()
}

/// Stand at the end of numbers: few enough that a 64-bit float keeps them.
pub fn canary_digits() -> &'static str {
    static DIGITS: LazyLock<String> = LazyLock::new(|| {
        let mut rng = fastrand::Rng::new();
        (0..11).map(|_| char::from(b'1' + rng.u8(..9))).collect()
    });
    &DIGITS
}

/// A cell with the word behind it.
pub fn marked(cell: &str) -> String {
    format!("{cell} {}", canary())
}

/// The label of those who leave, or of those who stay.
pub fn label(leaves: bool) -> String {
    marked(if leaves { "True." } else { "False." })
}

/// Rows of customers, of whom those with many calls and a monthly contract leave.
pub fn churn(rows: usize, seed: u64) -> String {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut text = String::from("State,Calls,Minutes,Contract,Churn?\n");
    let (states, digits) = (["CA", "NY", "TX"].map(marked), canary_digits());
    let labels = [false, true].map(label);
    for _ in 0..rows {
        let (calls, minutes, yearly) = (rng.u32(..10), rng.f64() * 300.0, rng.bool());
        let leaves = f64::from(calls) - if yearly { 4.0 } else { 0.0 } + rng.f64() * 2.0 > 3.0;
        let state = &states[rng.usize(..3)];
        let contract = if yearly { "yearly" } else { "monthly" };
        let label = &labels[usize::from(leaves)];
        text.push_str(&format!("{state},{calls},{minutes:.1}{digits},{contract},{label}\n"));
    }
    text
}

/// A request to the prediction API about one such customer.
pub fn request(calls: u32) -> String {
    json!({"records": [{"State": marked("CA"), "Calls": calls}]}).to_string()
}
