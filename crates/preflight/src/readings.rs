//! Warns of values that are read otherwise than people mean them: words that look missing, and
//! numbers in the dress of money, shares or other lands.

use crosspilot_core::settings::{ModelSettings, Problem};
use crosspilot_table::Profile;

use super::table::Table;
use super::verdict::{Finding, Findings, Flaw, grouped};

/// Warns of values of other data than the training data that are read otherwise than people
/// mean them, in those columns that the training data has. `place` names that data.
pub(super) fn readings_of(
    settings: &ModelSettings,
    table: &Table,
    known: &[String],
    place: &str,
    findings: &mut Findings,
) {
    let weight = settings.training.sample_weight.as_deref();
    for (index, (name, seen)) in table.names.iter().zip(&table.columns).enumerate() {
        if Some(index) == table.target {
            readings(name, &table.labels.cells.profile, Some(place), findings);
        } else if settings.problem == Problem::Tabular
            && weight != Some(name)
            && known.contains(name)
        {
            readings(name, &seen.profile, Some(place), findings);
        }
    }
}

/// Warns of values that are read otherwise than people mean them. The words stand in
/// lists of our own: no cell is quoted. `place` names the data if it is not the training
/// data.
pub(super) fn readings(
    name: &str,
    profile: &Profile,
    place: Option<&str>,
    findings: &mut Findings,
) {
    let mut warn = |flaw, message: String| findings.warn(Finding::of_column(name, flaw, message));
    let of = place.map(|place| format!(" of {place}")).unwrap_or_default();
    let values = format!("{} values{of}", grouped(profile.values()));
    if profile.look_missing > 0 {
        let words: Vec<String> = profile
            .looks_missing
            .iter()
            .map(|(word, count)| format!("{word} {}", grouped(*count)))
            .collect();
        warn(
            Flaw::LooksMissing,
            format!(
                "has {} of {values} that look like missing ones ({}), and SageMaker Autopilot takes them for values: leave these cells empty",
                grouped(profile.look_missing),
                words.join(", ")
            ),
        );
    }
    if profile.dressed * 2 > profile.words() {
        let dress: Vec<&str> = profile.dress.iter().map(|(dress, _)| dress.remedy()).collect();
        warn(
            Flaw::DressedNumbers,
            format!(
                "has numbers in {} of {values} that SageMaker Autopilot takes for words, because of {}",
                grouped(profile.dressed),
                dress.join("; ")
            ),
        );
    }
}
