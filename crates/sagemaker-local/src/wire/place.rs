//! The account and region of a resource.

/// An account and a region: the names of resources are unique in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub(crate) account: String,
    pub(crate) region: String,
}

impl Place {
    /// The ARN of a resource here. AWS lowercases the name in it.
    pub(crate) fn arn(&self, kind: &str, name: &str) -> String {
        format!("arn:aws:sagemaker:{}:{}:{kind}/{}", self.region, self.account, name.to_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_are_lowercased_and_names_are_not() {
        let place = Place { account: "222222222222".into(), region: "eu-west-1".into() };
        assert_eq!(
            place.arn("endpoint", "Crosspilot-Acme"),
            "arn:aws:sagemaker:eu-west-1:222222222222:endpoint/crosspilot-acme"
        );
    }
}
