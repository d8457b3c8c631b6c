//! The instance types that SageMaker hosts endpoints on.

use aws_sdk_sagemaker::types::ProductionVariantInstanceType;

/// The number of letters by which a suggested name may differ.
const LETTERS: usize = 2;

/// A name that is no instance type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoInstanceType {
    /// The one that was probably meant, if any is like it.
    pub meant: Option<&'static str>,
}

/// Checks that endpoints can run on it, by the list in the SDK's service model:
/// a job costs hours before an endpoint would tell. A type that AWS brought out
/// later needs a newer release of ours.
pub fn check(instance_type: &str) -> Result<(), NoInstanceType> {
    let known = ProductionVariantInstanceType::values();
    if known.contains(&instance_type) {
        return Ok(());
    }
    fn name(text: &str) -> &str {
        text.strip_prefix("ml.").unwrap_or(text)
    }
    let letters = |known: &&str| strsim::damerau_levenshtein(name(known), name(instance_type));
    let meant = known.iter().copied().min_by_key(|known| (letters(known), known.len()));
    Err(NoInstanceType { meant: meant.filter(|meant| letters(meant) <= LETTERS) })
}

/// Tells whether it has disks of its own, which encrypt themselves by their hardware
/// and take no key (EC2 User Guide, "Instance store volumes"): families with a
/// `d` after their generation, and those that never come without.
pub fn has_local_disk(instance_type: &str) -> bool {
    const ALWAYS: [&str; 7] = ["dl1", "g5", "g6", "g7", "p5", "p6", "trn"];
    let family = instance_type.strip_prefix("ml.").and_then(|rest| rest.split('.').next());
    let Some(family) = family else { return false };
    let generation = family.find(|c: char| c.is_ascii_digit()).unwrap_or(family.len());
    family[generation..].contains('d') || ALWAYS.iter().any(|always| family.starts_with(always))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_is_told_with_what_was_meant() {
        assert_eq!(check("ml.m5.large"), Ok(()));
        assert_eq!(check("ml.g5.xlarge"), Ok(()));
        for (typo, meant) in [
            ("m5.large", Some("ml.m5.large")),
            ("ml.m5.lage", Some("ml.m5.large")),
            ("ml.c55.xlarge", Some("ml.c5.xlarge")),
            ("t2", None),
            ("", None),
        ] {
            assert_eq!(check(typo), Err(NoInstanceType { meant }), "{typo}");
        }
        assert_eq!(check("ml.x9.huge"), Err(NoInstanceType { meant: None }));
    }

    #[test]
    fn local_disks_are_known_by_the_family() {
        for with in [
            "ml.c5d.large",
            "ml.m5d.large",
            "ml.r5d.large",
            "ml.g4dn.xlarge",
            "ml.g5.xlarge",
            "ml.g6.xlarge",
            "ml.p4d.24xlarge",
            "ml.p4de.24xlarge",
            "ml.p5.48xlarge",
            "ml.p5en.48xlarge",
            "ml.trn1.2xlarge",
            "ml.m6gd.large",
            "ml.p6-b200.48xlarge",
            "ml.dl1.24xlarge",
        ] {
            assert!(has_local_disk(with), "{with}");
        }
        for without in [
            "ml.m5.large",
            "ml.c5.xlarge",
            "ml.t2.medium",
            "ml.p3.2xlarge",
            "ml.inf1.xlarge",
            "ml.inf2.xlarge",
            "ml.m6g.large",
            "ml.c7i.large",
            "ml.r5.large",
            "",
            "ml.",
            "g5",
        ] {
            assert!(!has_local_disk(without), "{without}");
        }
    }
}
