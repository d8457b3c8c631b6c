//! The columns that records may name, and what is said of names that are none of them.

use std::collections::{BTreeMap, HashMap, HashSet};

use crosspilot_core::registry::Serving;
use crosspilot_table::Booleans;
use strsim::levenshtein;

use super::id;
use crate::api::problem::Problem;

/// The columns of the model that records are read for.
pub(super) struct Columns<'a> {
    pub(super) features: &'a [String],
    pub(super) booleans: &'a BTreeMap<String, Booleans>,
    target: &'a str,
    positions: HashMap<&'a str, usize>,
    ignores_unknown: bool,
}

/// The place of a value within a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The cell of the column at this position.
    Cell(usize),
    /// The caller's id.
    Id,
    /// No place: the model has no such column.
    Nowhere,
}

impl<'a> Columns<'a> {
    /// The columns of this model.
    pub(super) fn of(model: &'a Serving, ignores_unknown: bool) -> Self {
        let Serving { features, booleans, target, .. } = model;
        let positions =
            features.iter().enumerate().map(|(position, name)| (name.as_str(), position)).collect();
        Self { features, booleans, target, positions, ignores_unknown }
    }

    /// Finds where a value of this name belongs.
    pub(super) fn place(&self, name: &str) -> Place {
        match self.positions.get(name) {
            Some(&position) => Place::Cell(position),
            None if name == id::NAME && name != self.target => Place::Id,
            None => Place::Nowhere,
        }
    }

    /// Finds where the values below a header belong, of which no name may stand there twice.
    pub(super) fn places<'n>(
        &self,
        header: impl Iterator<Item = &'n str> + Clone,
        whose: &str,
    ) -> Result<Vec<Place>, Problem> {
        self.admit(header.clone())?;
        let mut seen = HashSet::new();
        let mut places = Vec::new();
        for name in header {
            let place = self.place(name);
            if place != Place::Nowhere && !seen.insert(name) {
                let name = shortened(name);
                let detail = format!("{whose} column {name:?} twice: name each column once");
                return Err(Problem::bad_request(detail));
            }
            places.push(place);
        }
        Ok(places)
    }

    /// Refuses the names that have no place, all at once and each once, unless the caller
    /// wants them ignored.
    pub(super) fn admit<'n>(&self, names: impl Iterator<Item = &'n str>) -> Result<(), Problem> {
        if self.ignores_unknown {
            return Ok(());
        }
        let mut seen = HashSet::new();
        let is_new = |name: &&'n str| self.place(name) == Place::Nowhere && seen.insert(*name);
        let unknown: Vec<&str> = names.filter(is_new).collect();
        match unknown[..] {
            [] => Ok(()),
            [name] => Err(Problem::bad_request(self.unknown(name))),
            _ => Err(Problem::bad_request(self.all_unknown(&unknown))),
        }
    }

    fn unknown(&self, name: &str) -> String {
        let shown = shortened(name);
        if name == self.target {
            format!("column {shown:?} is what the model predicts: leave it out")
        } else if let Some(nearest) = nearest(&shown, self.features) {
            format!("the model has no column {shown:?}: did you mean {nearest:?}?")
        } else {
            format!(
                "the model has no column {shown:?}: leave it out, or add ?ignore_unknown=true to the address"
            )
        }
    }

    /// What to do stands first, since a long list is cut.
    fn all_unknown(&self, names: &[&str]) -> String {
        let mut detail = format!(
            "the model does not take {} columns (leave them out, or add ?ignore_unknown=true)",
            names.len()
        );
        for (index, name) in names.iter().enumerate() {
            // What is cut off need not be compared with each column.
            if detail.len() > 800 {
                break;
            }
            let shown = shortened(name);
            detail += if index == 0 { ": " } else { ", " };
            detail += &format!("{shown:?}");
            if *name == self.target {
                detail += " (what it predicts)";
            } else if let Some(nearest) = nearest(&shown, self.features) {
                detail += &format!(" (or {nearest:?}?)");
            }
        }
        detail
    }
}

/// Cuts a text to what fits a sentence. Also bounds the search for the nearest column.
pub(super) fn shortened(name: &str) -> String {
    name.chars().take(80).collect()
}

/// The column whose name is nearly this one: of three letters, two are right.
fn nearest<'a>(name: &str, features: &'a [String]) -> Option<&'a String> {
    let folded = name.to_lowercase();
    let distances = features
        .iter()
        .map(|feature| (levenshtein(&folded, &shortened(feature).to_lowercase()), feature));
    let (distance, nearest) = distances.min_by_key(|(distance, _)| *distance)?;
    (3 * distance <= folded.chars().count()).then_some(nearest)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn refused(names: &[&str]) -> String {
        let serving = crosspilot_scripted::serving("20260131-0000000000");
        let features = ["age", "plan", "Day Mins"].map(str::to_owned).to_vec();
        let model = Serving { features, target: "Churn?".into(), ..serving };
        assert!(Columns::of(&model, true).admit(names.iter().copied()).is_ok());
        let admitted = Columns::of(&model, false).admit(names.iter().copied());
        admitted.err().map(|problem| problem.detail).unwrap_or_default()
    }

    #[test]
    fn an_unknown_column_is_named_with_the_nearest_if_it_is_near() {
        for (name, said) in [
            ("day_mins", "the model has no column \"day_mins\": did you mean \"Day Mins\"?"),
            ("Churn?", "column \"Churn?\" is what the model predicts: leave it out"),
            (
                "postcode",
                "the model has no column \"postcode\": leave it out, or add ?ignore_unknown=true to the address",
            ),
            ("plan", ""),
        ] {
            assert_eq!(refused(&[name]), said);
        }
    }

    #[test]
    fn unknown_columns_are_named_at_once_in_order_and_each_once() {
        assert_eq!(
            refused(&["zip", "plan", "plans", "zip", "Churn?", "a\nb"]),
            "the model does not take 4 columns (leave them out, or add ?ignore_unknown=true): \
             \"zip\", \"plans\" (or \"plan\"?), \"Churn?\" (what it predicts), \"a\\nb\""
        );
        let many: Vec<String> = (0..5000).map(|n| format!("{n} {}", "x".repeat(500))).collect();
        let said = refused(&many.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(said.starts_with("the model does not take 5000 columns"), "{said}");
        assert_eq!(said.chars().count(), 200);
    }
}
