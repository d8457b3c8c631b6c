//! Judges validation and held-out data against the training data.

use crosspilot_core::settings::ModelSettings;
use crosspilot_table::Kind;

use super::header;
use super::inspection::Inspection;
use super::readings::readings_of;
use super::table::Table;
use super::verdict::{Finding, Findings, Flaw, Format, grouped, listed, quoted};

const GB: u64 = 1_000_000_000;
/// Validation data that SageMaker takes (API reference, `AutoMLJobChannel`).
const LARGEST_VALIDATION: u64 = 2 * GB;

/// Labels of other data that training does not have: a model cannot be right there.
fn labels_of(
    settings: &ModelSettings,
    training: &Inspection<'_>,
    file: &str,
    other: &Table,
    harm: &str,
    findings: &mut Findings,
) {
    let Some(table) = training.table.as_ref().filter(|table| table.target.is_some()) else {
        return;
    };
    if other.target.is_none() || !table.labels.is_classes(settings.objective.as_ref()) {
        return;
    }
    let Some((rows, labels)) = other.labels.unknown_to(&table.labels) else { return };
    if rows == 0 {
        return;
    }
    let usable = other.labels.usable();
    let message = format!(
        "has {} of {} rows with labels in {} that the training data does not have ({labels} of them): {harm}; case and blanks count, so write them as they are there",
        grouped(rows),
        grouped(usable),
        quoted(&settings.target)
    );
    let finding = Finding::in_file(file, Flaw::UnknownLabels, message).column(&settings.target);
    // A sample may have missed a label, but not all of them.
    if rows == usable {
        findings.error(finding);
    } else {
        findings.warn(finding);
    }
}

pub(super) fn validation(
    settings: &ModelSettings,
    place: &str,
    training: &Inspection<'_>,
    reference: Option<(&str, &[String])>,
    mut part: Inspection<'_>,
    findings: &mut Findings,
) {
    let own = std::mem::take(&mut part.findings);
    if part.files().is_empty() && !own.has_errors() {
        let message = format!(
            "there is no data under {place}, on which the model is set to validate candidates: upload a file there, or set a share of the training rows instead"
        );
        findings.error(Finding::new(Flaw::NoValidation, message));
        return;
    }
    if part.bytes() > LARGEST_VALIDATION {
        let message = format!(
            "the validation data has {:.1} GB, and SageMaker Autopilot takes 2.0 GB: give less",
            part.bytes() as f64 / GB as f64
        );
        findings.error(Finding::new(Flaw::TooLarge, message));
    }
    let readable = !own.has_errors();
    findings.add(own);
    let (Some(names), Some(reference), Some(file), true) =
        (part.names(), reference, part.first_file(), readable)
    else {
        return;
    };
    if part.format() != training.format() {
        let message = format!(
            "is of another format than {}: training and validation data must be of one",
            reference.0
        );
        findings.error(Finding::in_file(file, Flaw::MixedFormats, message));
    } else {
        header::must_equal(reference, training.lends_names(), (file, &names), findings);
    }
    if part.table.as_ref().is_some_and(|table| table.target.is_some() && table.usable == 0) {
        let message = "has no row with a target: nothing can be validated on it";
        findings.error(Finding::in_file(file, Flaw::MissingTargets, message));
    } else if let Some(table) = &part.table {
        labels_of(settings, training, file, table, "nothing can be validated on them", findings);
        let data = format!("the validation data under {place}");
        readings_of(settings, table, reference.1, &data, findings);
    }
}

/// The run ends with predictions for the held-out file: what would fail then is
/// told before it costs anything.
pub(super) fn held_out(
    settings: &ModelSettings,
    training: &Inspection<'_>,
    names: &[String],
    mut part: Inspection<'_>,
    findings: &mut Findings,
) {
    let target = settings.target.as_str();
    let Some(file) = part.files().first().map(|file| file.name.clone()) else { return };
    let own = std::mem::take(&mut part.findings).into_verdict();
    let cannot = "; the run ends with predictions for this held-out file: correct or remove it";
    let unfit = |message: String| Finding {
        file: Some(file.clone()),
        ..Finding::new(Flaw::HeldOutUnfit, message + cannot)
    };
    if let Some(error) = own.errors.first() {
        findings.error(unfit(error.message.clone()));
        return;
    }
    if part.format() != Some(Format::Csv) {
        findings.error(unfit(format!("{file} is no CSV file, plain or in gzip")));
        return;
    }
    let Some(held) = &part.names() else { return };
    let missing: Vec<&String> =
        names.iter().filter(|name| *name != target && !held.contains(name)).collect();
    if !header::share_a_name(names, held) {
        let message = format!("{file} has none of the training data's columns");
        findings.error(unfit(message));
    } else if !missing.is_empty() {
        let listed = match training.lends_names() {
            true => listed(&missing),
            false => grouped(missing.len() as u64),
        };
        let message = format!("{file} lacks columns of the training data: {listed}");
        findings.error(unfit(message));
    } else if part.table.as_ref().is_none_or(|table| table.labels.usable() == 0) {
        let message = format!(
            "has no values in {}, so that the model's predictions for it cannot be evaluated: add that column if the truth is known",
            quoted(target)
        );
        findings.warn(Finding::in_file(&file, Flaw::HeldOutUnlabelled, message).column(target));
    } else if let Some(table) = &part.table {
        let harm = "the model cannot be right there, and they are left out of the evaluation";
        labels_of(settings, training, &file, table, harm, findings);
    }
    if let Some(table) = &part.table {
        readings_of(settings, table, names, &format!("the held-out file {file}"), findings);
    }
    if let (Some(held), Some(table)) = (&part.table, &training.table) {
        held_out_values(&file, held, table, target, findings);
    }
}

/// Held-out rows that training has, too, and columns whose values it has not.
fn held_out_values(
    file: &str,
    held: &Table,
    training: &Table,
    target: &str,
    findings: &mut Findings,
) {
    for (name, seen) in held.names.iter().zip(&held.columns) {
        let known = training.names.iter().position(|known| known == name && name != target);
        let Some(known) = known.map(|index| &training.columns[index]) else { continue };
        let values = seen.values();
        let Some(unknown) = seen.unknown_to(known) else { continue };
        if known.kind() != Some(Kind::Categorical) || unknown * 2 <= values {
            continue;
        }
        let padded = match seen.profile.padded {
            0 => String::new(),
            padded => format!(" ({} begin or end with a blank)", grouped(padded)),
        };
        let message = format!(
            "has {} of {} values in column {} that the training data does not have{padded}: the model takes them for unknown; case and blanks count, so write them as they are there",
            grouped(unknown),
            grouped(values),
            quoted(name)
        );
        findings.warn(Finding::in_file(file, Flaw::UnknownValues, message).column(name));
    }
    // As many as have a twin in the training data itself are no wonder.
    let (rows, shared) = (held.repeats.all(), held.repeats.also_in(&training.repeats));
    let usual = training.repeats.repeated() as f64 / training.repeats.all().max(1) as f64;
    if shared as f64 > (usual + 0.05) * rows as f64 && shared > 1 {
        let message = format!(
            "has {} of {} rows that stand in the training data, too (as far as it was read, and whatever their target): the model has learned them, and its figures flatter; take them out of one of the two",
            grouped(shared),
            grouped(rows)
        );
        findings.warn(Finding::in_file(file, Flaw::HeldOutInTraining, message));
    }
}
