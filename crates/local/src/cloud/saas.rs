//! The vendor's account in the local cloud: its stack, and an access key of its operator.

use crosspilot_core::aws::aws_config::SdkConfig;

use super::{ARTIFACTS, SAAS_STACK};
use crate::accounts::AccessKey;
use crate::functions::Package;
use crate::identity;
use crate::stacks::{self, StackError, Template};

const OPERATOR_KEY_TEMPLATE: &str = include_str!("../../emulator/operator-key.yaml");

/// The parts of the vendor's account that the local cloud hands on.
pub(super) struct Saas {
    /// The id of the prediction API.
    pub(super) api: String,
    /// The access key of the operator `saas_user`.
    pub(super) operator: AccessKey,
}

/// Deploys `infra/saas.yaml` with these functions, and then the operator's access key. The
/// prediction API takes the tokens of this issuer.
pub(super) async fn deploy(
    administrator: &SdkConfig,
    packages: Vec<Package>,
    issuer: &str,
) -> Result<Saas, StackError> {
    let template = stacks::package(administrator, ARTIFACTS, packages).await?;
    let outputs = stacks::deploy(
        administrator,
        SAAS_STACK,
        Template::Url(&template),
        &[
            ("JwtIssuer", issuer),
            ("JwtAudience", identity::AUDIENCE),
            ("CreateOperators", "true"),
            // The product's default is a minute.
            ("QuietSeconds", "1"),
        ],
    )
    .await?;
    let operator_key = Template::Text(OPERATOR_KEY_TEMPLATE);
    let key = stacks::deploy(administrator, "operator-key", operator_key, &[]).await?;
    let operator = AccessKey {
        id: stacks::output(&key, "operator-key", "Id")?,
        secret: stacks::output(&key, "operator-key", "Secret")?,
    };
    Ok(Saas { api: stacks::output(&outputs, SAAS_STACK, "ApiId")?, operator })
}
