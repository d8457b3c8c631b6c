//! The description of itself that every kind of resource gives, so that each is described,
//! listed and deleted by the same code ([`crate::operations::resource`]).

use serde_json::{Map, Value, json};

use crate::wire::error::ApiError;
use crate::wire::paging::{ListingSpec, Row};

/// A kind of resource with a name and an ARN.
pub(crate) trait Resource: Clone {
    /// The kind in ARNs, such as `endpoint-config`.
    const KIND: &'static str;
    /// The member of requests that names one, such as `EndpointConfigName`.
    const NAMED_BY: &'static str;
    /// The listing of the kind.
    const LISTING: ListingSpec;

    /// The name, in the case that its creator gave it.
    fn name(&self) -> &str;

    fn arn(&self) -> &str;

    /// Answers `Describe*`.
    fn describe(&self) -> Value;

    /// Makes the row of a listing.
    fn row(&self) -> Row;

    /// Refuses a request about one that does not exist, in AWS's words.
    fn missing(name: &str, arn: &str) -> ApiError;

    /// Refuses to create one that exists already, in AWS's words.
    fn taken(name: &str, arn: &str) -> ApiError;
}

/// Describes what is shown as it was asked for, but for its tags, with its ARN and the
/// time of its creation.
pub(crate) fn as_asked(
    request: &Value,
    arn_member: &str,
    arn: &str,
    created: f64,
) -> Map<String, Value> {
    let mut answer = request.as_object().cloned().unwrap_or_default();
    answer.remove("Tags");
    answer.insert(arn_member.to_owned(), json!(arn));
    answer.insert("CreationTime".to_owned(), json!(created));
    answer
}
