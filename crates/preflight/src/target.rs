//! The target's cells: classes and their balance, or a measure.

use std::collections::{BTreeSet, HashMap};

use crosspilot_core::settings::Objective;
use crosspilot_table::number::number;
use crosspilot_table::{is_missing, label};

use super::column::{Answer, CLASSES, ENOUGH, Seen};
use super::distinct::hash;
use super::verdict::{Class, Finding, Findings, Flaw, Target, cut, grouped};

/// Labels that are counted one by one.
const COUNTED: usize = 2000;
/// Labels that a verdict lists.
const LISTED: usize = 20;
/// Rows below which a class can hardly be learnt and validated: a fifth of the
/// rows is held back, and that part needs one, too.
const RARE: u64 = 5;
/// The factor by which the rarest class may be rarer than its fair share.
const SKEWED: u64 = 50;
/// Classes from which the target is doubted to be meant as classes.
const MANY: u64 = 100;
/// Different numbers up to which a numeric target may be meant as classes.
const FEW_NUMBERS: u64 = 20;

/// The target's cells so far.
#[derive(Debug, Default)]
pub(super) struct Labels {
    pub(super) cells: Seen,
    counts: HashMap<u64, (String, u64)>,
    /// Labels beyond those that are counted.
    too_many: bool,
    /// Hashes of the first classes, by which other columns are judged.
    first: Vec<u64>,
}

impl Labels {
    /// Takes a row's target and gives what the other columns are held against;
    /// nothing if the row cannot be learnt from.
    pub(super) fn observe(&mut self, cell: &[u8]) -> Option<Answer> {
        self.cells.observe(cell, Answer::default());
        if is_missing(cell) {
            return None;
        }
        let hash = hash(cell);
        let full = self.counts.len() >= COUNTED;
        match self.counts.get_mut(&hash) {
            Some((_, count)) => *count += 1,
            None if full => self.too_many = true,
            None => {
                let label = cut(&String::from_utf8_lossy(&cell[..cell.len().min(400)]));
                self.counts.insert(hash, (label, 1));
            }
        }
        let class = self.first.iter().position(|first| *first == hash).or_else(|| {
            let next = self.first.len();
            (next < CLASSES).then(|| {
                self.first.push(hash);
                next
            })
        });
        Some(Answer { class, number: number(cell) })
    }

    pub(super) fn usable(&self) -> u64 {
        self.cells.values()
    }

    /// Rows with a label that the training data does not have, and how many such labels;
    /// nothing where not all labels were counted.
    pub(super) fn unknown_to(&self, training: &Self) -> Option<(u64, u64)> {
        if self.too_many || training.too_many {
            return None;
        }
        let unknown = self.counts.iter().filter(|(hash, _)| !training.counts.contains_key(hash));
        Some(unknown.fold((0, 0), |(rows, labels), (_, (_, count))| (rows + count, labels + 1)))
    }

    /// Different labels that are numbers.
    fn measures(&self) -> u64 {
        let labels = self.counts.values();
        labels.filter(|(label, _)| number(label.as_bytes()).is_some()).count() as u64
    }

    fn different(&self) -> u64 {
        if self.too_many { self.cells.different() } else { self.counts.len() as u64 }
    }

    fn is_numeric(&self) -> bool {
        self.cells.profile.numbers == self.usable()
    }

    /// Tells whether it is meant as classes: the settings say so, or its values are
    /// words or few.
    pub(super) fn is_classes(&self, objective: Option<&Objective>) -> bool {
        match objective {
            Some(objective) => objective.problem_type != "Regression",
            None => !self.is_numeric() || self.different() <= FEW_NUMBERS,
        }
    }

    /// Classes by number of rows, the most frequent first.
    fn classes(&self) -> Vec<Class> {
        let mut classes: Vec<Class> = self
            .counts
            .values()
            .map(|(label, rows)| Class { label: label.clone(), rows: *rows })
            .collect();
        classes.sort_by(|a, b| b.rows.cmp(&a.rows).then_with(|| a.label.cmp(&b.label)));
        classes
    }

    pub(super) fn summary(&self, objective: Option<&Objective>) -> Target {
        let mut classes = if self.is_classes(objective) { self.classes() } else { Vec::new() };
        classes.truncate(LISTED);
        Target { usable: self.usable(), classes }
    }

    /// Judges the target by itself. `exact` says whether all rows were seen: a
    /// class that is missing in a sample proves nothing.
    pub(super) fn judge(
        &self,
        target: &str,
        objective: Option<&Objective>,
        exact: bool,
        findings: &mut Findings,
    ) {
        let usable = self.usable();
        if usable == 0 {
            return;
        }
        let about = |flaw, message: String| Finding::of_column(target, flaw, message);
        let missing = self.cells.profile.missing;
        if missing > 0 {
            let share = missing as f64 / self.cells.profile.rows as f64 * 100.0;
            findings.warn(about(
                Flaw::MissingTargets,
                format!("has no value in {} of {} rows ({share:.1} %): SageMaker Autopilot leaves them out; fill them in if they should count", grouped(missing), grouped(self.cells.profile.rows)),
            ));
        }
        let different = self.different();
        if different == 1 {
            if exact {
                let message = "has the same value in every row: at least two different values are needed to learn from";
                findings.error(about(Flaw::OneClass, message.to_owned()));
            } else {
                let message = format!(
                    "has one value in all {} rows that were looked at: check that the data holds others, too",
                    grouped(usable)
                );
                findings.warn(about(Flaw::OneClass, message));
            }
            return;
        }
        self.contradictions(target, objective, findings);
        if !self.is_classes(objective) {
            return;
        }
        let profile = &self.cells.profile;
        if profile.dressed * 2 > usable && different > FEW_NUMBERS {
            let dress: Vec<&str> = profile.dress.iter().map(|(dress, _)| dress.remedy()).collect();
            findings.error(about(
                Flaw::DressedNumbers,
                format!("has numbers in {} of {} values that SageMaker Autopilot takes for words, so that each would be a class of its own: {}", grouped(profile.dressed), grouped(usable), dress.join("; ")),
            ));
            return;
        }
        let (numbers, words) = (profile.numbers, usable - profile.numbers);
        if objective.is_none() && words > 0 && numbers > words && self.measures() > FEW_NUMBERS {
            findings.error(about(
                Flaw::MixedTarget,
                format!("holds numbers, but {} of {} values are none: correct these or leave them empty, or set a problem type", grouped(words), grouped(usable)),
            ));
            return;
        }
        if usable >= ENOUGH && different * 2 > usable {
            findings.error(about(
                Flaw::TargetIsIdentifier,
                format!("has {} different values in {} rows: it names rows instead of grouping them, so nothing can be learnt for new ones; name another column to predict", grouped(different), grouped(usable)),
            ));
            return;
        }
        let most = label::most(usable, objective.is_some());
        if usable >= ENOUGH && different > most {
            findings.error(about(
                Flaw::ManyClasses,
                format!("has {} different values, and of {} rows at most {} classes can be learned: group them, or set problem type Regression if they are measures", grouped(different), grouped(usable), grouped(most)),
            ));
            return;
        }
        if different > MANY {
            findings.warn(about(
                Flaw::ManyClasses,
                format!("has {} different values: each is a class of its own; group them, or set problem type Regression if they are measures", grouped(different)),
            ));
        }
        let alike: BTreeSet<String> =
            self.counts.values().map(|(text, _)| label::alike(text)).collect();
        let doubled = self.counts.len() - alike.len();
        if doubled > 0 {
            findings.warn(about(
                Flaw::SimilarLabels,
                format!("has {doubled} of {} labels that differ from another one only in blanks or case: each is a class of its own; write them alike if they mean the same", grouped(different)),
            ));
        }
        self.balance(target, usable, findings);
    }

    /// Finds what the settings say of the target and its values deny.
    fn contradictions(&self, target: &str, objective: Option<&Objective>, findings: &mut Findings) {
        let Some(Objective { problem_type, metric }) = objective else { return };
        let words = self.usable() - self.cells.profile.numbers;
        let different = self.different();
        let message = match problem_type.as_str() {
            "Regression" if words > 0 => format!(
                "holds {} values that are no numbers, but the model is set to Regression with metric {metric}: set a classification, or clean the column",
                grouped(words)
            ),
            "BinaryClassification" if different > 2 => format!(
                "has {} different values, but the model is set to BinaryClassification: set MulticlassClassification, or clean the column",
                grouped(different)
            ),
            _ => return,
        };
        findings.error(Finding::of_column(target, Flaw::ObjectiveContradicts, message));
    }

    fn balance(&self, target: &str, usable: u64, findings: &mut Findings) {
        if self.too_many {
            return;
        }
        let classes = self.classes();
        let about = |flaw, message: String| Finding::of_column(target, flaw, message);
        let rare: Vec<&Class> = classes.iter().filter(|class| class.rows < RARE).collect();
        if let Some(rarest) = rare.last() {
            findings.warn(about(
                Flaw::RareClasses,
                format!("has {} of {} classes with fewer than {RARE} rows, the rarest with {}: too few to learn and to validate; give more rows of them or join them", rare.len(), classes.len(), rarest.rows),
            ));
        } else if let (Some(most), Some(least)) = (classes.first(), classes.last())
            && least.rows * classes.len() as u64 * SKEWED < usable
        {
            findings.warn(about(
                Flaw::Imbalance,
                format!("has its commonest value in {:.1} % of the rows and its rarest in {:.1} %: set an objective metric such as F1 or AUC, since accuracy is high for always saying the same", most.rows as f64 / usable as f64 * 100.0, least.rows as f64 / usable as f64 * 100.0),
            ));
        }
    }
}
