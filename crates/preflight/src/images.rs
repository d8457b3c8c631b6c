//! Pictures to classify: a folder for each class, told from the files' names
//! alone.

use std::collections::BTreeMap;

use super::inspection::File;
use super::verdict::{Channel, Class, Finding, Findings, Flaw, Format, Target, Verdict, grouped};

/// Judges a set of pictures under `place`.
pub(super) fn judge(place: &str, files: &[File]) -> Verdict {
    let mut findings = Findings::default();
    let mut classes = BTreeMap::<&str, u64>::new();
    for file in files.iter().filter(|file| file.size > 0) {
        let name = file.name.strip_prefix(place).unwrap_or(&file.name);
        let ending = name.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
        match name.trim_start_matches('/').split_once('/') {
            _ if !matches!(ending.as_str(), "jpg" | "jpeg" | "png") => {
                findings.error(Finding::in_file(
                    &file.name,
                    Flaw::NotATable,
                    "is neither a JPEG nor a PNG picture by its name: remove it, or save it as one",
                ));
            }
            Some((class, _)) => *classes.entry(class).or_default() += 1,
            None => {
                findings.error(Finding::in_file(
                    &file.name,
                    Flaw::NoTarget,
                    "lies in no folder: put every picture into the folder of its class",
                ));
            }
        }
    }
    if files.iter().all(|file| file.size == 0) {
        let message = format!(
            "there are no pictures under {place}: upload them in one folder for each class"
        );
        findings.error(Finding::new(Flaw::NoFiles, message));
    } else if classes.len() == 1 {
        let message = format!(
            "all {} pictures are of one class: at least two folders are needed to learn from",
            grouped(files.len() as u64)
        );
        findings.error(Finding::new(Flaw::OneClass, message));
    }
    let usable = classes.values().sum();
    let class = |(label, rows): (&str, u64)| Class { label: label.to_owned(), rows };
    Verdict {
        format: Some(Format::Images),
        training: Channel {
            files: files.len(),
            bytes: files.iter().map(|file| file.size).sum(),
            ..Channel::default()
        },
        target: Some(Target { usable, classes: classes.into_iter().map(class).take(20).collect() }),
        ..findings.into_verdict()
    }
}
