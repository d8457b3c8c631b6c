//! KMS, as far as SageMaker needs it.

use serde_json::json;

use crate::services::emulator::{Emulator, ServiceError};
use crate::wire::place::Place;

impl Emulator {
    /// The ARN of a key that is given by id, ARN or alias.
    pub(crate) async fn key_arn(&self, place: &Place, key: &str) -> Result<String, ServiceError> {
        let answer =
            self.call(place, "kms", "TrentService.DescribeKey", &json!({ "KeyId": key })).await?;
        let arn = answer["KeyMetadata"]["Arn"].as_str().map(str::to_owned);
        arn.ok_or_else(|| ServiceError {
            service: "kms",
            code: None,
            reason: format!("the key {key} has no ARN"),
        })
    }
}
