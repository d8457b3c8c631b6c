//! SageMaker's answers and how they are worded, in one place: that something is missing, is
//! there already, is busy, or is more than the account may have; and what a candidate is
//! worth.

use aws_sdk_sagemaker::types::{AutoMlCandidate, AutoMlJobObjectiveType, Tag};
use crosspilot_metrics::Direction;

use crate::decision::Score;
use crate::error::{CallError, Code, Coded};
use crate::run::RunRef;
use crate::tenant::Tenant;

impl CallError {
    /// Tells whether something does not exist: most operations say so with a
    /// ValidationException "Could not find ...".
    pub fn is_missing(&self) -> bool {
        self.code() == Code::NotFound || self.message().contains("ould not find")
    }

    /// Tells whether something of that name exists: for models, configs and endpoints it is a
    /// ValidationException "Cannot create already existing ...", for jobs ResourceInUse.
    pub fn exists_already(&self) -> bool {
        self.aws_code() == "ResourceInUse" || self.message().contains("already existing")
    }

    /// Tells whether it cannot be changed while it is still moving: "... in-progress ...".
    pub fn is_busy(&self) -> bool {
        self.code() == Code::RequestInvalid && self.message().contains("in-progress")
    }

    /// Tells whether an endpoint is not there that was invoked: "Endpoint x of account y not
    /// found." or "Could not find endpoint x", under a code that says other things, too.
    pub fn names_missing_endpoint(&self) -> bool {
        self.message().contains("not found") || self.message().contains("ould not find")
    }

    /// Tells whether the training data's header lacks the target: "Target attribute name y does
    /// not exist in header."
    pub fn lacks_target(&self) -> bool {
        self.message().contains("does not exist in header")
    }

    /// Tells whether a quota of the account is used up, which others may give back.
    pub fn is_over_quota(&self) -> bool {
        self.aws_code() == "ResourceLimitExceeded"
    }
}

/// Tags of what a run makes in the customer's account: ours, and the tenant's own.
pub fn tags(tenant: &Tenant, run: &RunRef) -> Vec<Tag> {
    let tags = tenant.tags_of(run).into_iter();
    tags.map(|(key, value)| Tag::builder().key(key).value(value).build()).collect()
}

/// `None` for what does not exist in the customer's account.
///
/// # Errors
///
/// What is wrong otherwise.
pub fn found<T>(answer: Result<T, CallError>) -> Result<Option<T>, CallError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads a candidate's objective metric on its validation data.
pub fn score(candidate: &AutoMlCandidate) -> Score {
    let objective = candidate.final_auto_ml_job_objective_metric();
    let metric = objective.and_then(|o| o.metric_name()).map(|name| name.as_str().to_owned());
    let value = objective.and_then(|o| o.value()).map(as_printed);
    let smaller_is_better = match objective.and_then(|o| o.r#type()) {
        Some(AutoMlJobObjectiveType::Minimize) => true,
        Some(AutoMlJobObjectiveType::Maximize) => false,
        // The type may be missing.
        _ => metric.as_deref().map(Direction::of_metric) == Some(Direction::Minimize),
    };
    Score { metric, value: value.filter(|value| value.is_finite()), smaller_is_better }
}

/// A number of SageMaker's as it prints it: 0.9, where the single precision that it
/// comes in says 0.8999999762.
fn as_printed(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

/// The result of making sure that a resource is there under a name that follows from its run.
#[derive(Debug, Clone, PartialEq)]
pub enum Ensured<D> {
    /// The resource was made now.
    Created,
    /// An earlier attempt of the same run made the resource.
    Adopted(D),
    /// Something else has the name: what differs.
    Foreign(&'static str),
}

/// Makes sure that something is there: takes what creating it said and, if it exists
/// already, describes and compares it.
///
/// # Errors
///
/// Those of creating or describing it.
pub async fn ensure<T, D>(
    created: Result<T, CallError>,
    describe: impl AsyncFnOnce() -> Result<D, CallError>,
    difference: impl FnOnce(&D) -> Option<&'static str>,
) -> Result<Ensured<D>, CallError> {
    match created {
        Ok(_) => return Ok(Ensured::Created),
        Err(error) if error.exists_already() => {}
        Err(error) => return Err(error),
    }
    let found = describe().await?;
    Ok(match difference(&found) {
        None => Ensured::Adopted(found),
        Some(what) => Ensured::Foreign(what),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use aws_sdk_sagemaker::types::{AutoMlMetricEnum, FinalAutoMlJobObjectiveMetric};

    use super::*;

    #[test]
    fn a_number_is_what_is_printed_of_it() {
        for (value, printed) in [(0.9, 0.9), (0.7, 0.7), (1e-7, 1e-7), (16_777_216.0, 16_777_216.0)]
        {
            assert_eq!(as_printed(value), printed);
        }
        assert!(as_printed(f32::NAN).is_nan() && as_printed(f32::INFINITY).is_infinite());
    }

    #[test]
    fn a_candidates_score_is_the_number_that_sagemaker_prints() {
        let scored = |name, kind: Option<AutoMlJobObjectiveType>, value: f32| {
            let metric = FinalAutoMlJobObjectiveMetric::builder()
                .metric_name(AutoMlMetricEnum::from(name))
                .set_type(kind)
                .value(value)
                .build();
            score(&AutoMlCandidate::builder().final_auto_ml_job_objective_metric(metric).build())
        };
        let f1 = Score { metric: Some("F1".into()), value: Some(0.9), smaller_is_better: false };
        assert_eq!(scored("F1", None, 0.9), f1);
        assert_eq!(scored("F1", None, f32::NAN), Score { value: None, ..f1 });
        // The type decides; without one, the name does.
        assert!(scored("odd", Some(AutoMlJobObjectiveType::Minimize), 1.0).smaller_is_better);
        assert!(!scored("MSE", Some(AutoMlJobObjectiveType::Maximize), 1.0).smaller_is_better);
        assert!(scored("validation:mae", None, 1.0).smaller_is_better);
        assert_eq!(score(&AutoMlCandidate::builder().build()), Score::default());
    }

    fn refused(aws_code: &str, message: &str) -> CallError {
        let code = match aws_code {
            "ResourceNotFound" => Code::NotFound,
            "ResourceInUse" => Code::Conflict,
            _ => Code::RequestInvalid,
        };
        CallError::refused(code, "sagemaker:CreateModel", "m", aws_code, message)
    }

    #[test]
    fn sagemakers_refusals_are_told_apart() {
        let told = |error: CallError| {
            (error.is_missing(), error.exists_already(), error.is_busy(), error.is_over_quota())
        };
        let validation = |message: &str| refused("ValidationException", message);
        assert_eq!(told(validation("Could not find model \"m\".")), (true, false, false, false));
        assert_eq!(told(refused("ResourceNotFound", "no job")), (true, false, false, false));
        let existing = "Cannot create already existing model \"m\".";
        assert_eq!(told(validation(existing)), (false, true, false, false));
        assert_eq!(told(refused("ResourceInUse", "it exists")), (false, true, false, false));
        let busy = "Cannot update in-progress endpoint \"e\".";
        assert_eq!(told(validation(busy)), (false, false, true, false));
        let full = refused("ResourceLimitExceeded", "0 of 0");
        assert_eq!(told(full), (false, false, false, true));
        assert_eq!(told(validation("no such type")), (false, false, false, false));
    }

    #[tokio::test]
    async fn what_exists_is_adopted_only_if_it_is_the_same() {
        let existing = || Err(refused("ResourceInUse", "it exists"));
        let same = |found: &u8| (*found != 7).then_some("model");
        let created: Result<(), _> = Ok(());
        let unasked = async || -> Result<u8, CallError> { panic!("it was just made") };
        assert_eq!(ensure(created, unasked, same).await.unwrap(), Ensured::Created);
        let ours = ensure::<(), _>(existing(), async || Ok(7), same).await.unwrap();
        assert_eq!(ours, Ensured::Adopted(7));
        let other = ensure::<(), _>(existing(), async || Ok(8), same).await.unwrap();
        assert_eq!(other, Ensured::Foreign("model"));
        let full: Result<(), _> = Err(refused("ResourceLimitExceeded", "0 of 0"));
        let error = ensure(full, async || Ok(7), same).await.unwrap_err();
        assert!(error.is_over_quota());
    }
}
