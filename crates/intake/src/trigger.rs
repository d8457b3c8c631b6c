//! The run that an execution's input starts. A tenant is found by its bucket, never by a name
//! that an event brings along.

use crosspilot_core::ids::ModelName;
use crosspilot_core::lambda::App;
use crosspilot_core::layout::{self, Upload};
use crosspilot_core::registry::model_settings;
use crosspilot_core::run::Trigger;
use crosspilot_core::tenant::Tenant;

use crate::IntakeError;
use crate::events::Input;

/// Finds the tenant, the model and the trigger of the run that an input starts; none if
/// it is no training data.
pub async fn identify(
    app: &App,
    input: Input,
) -> Result<Option<(Tenant, ModelName, Trigger)>, IntakeError> {
    Ok(match input {
        Input::Upload(event) => {
            let tenant = app.registry.tenant_of_bucket(event.account(), event.bucket()).await?;
            match layout::parse_upload(&tenant.prefix, event.key()) {
                Ok(Upload::Training(model)) => Some((tenant, model, event.trigger())),
                Ok(Upload::Nothing) => None,
                Ok(Upload::Misplaced) => {
                    return Err(IntakeError::misplaced(&tenant.prefix, event.key()));
                }
                // Refused here only where no model of that name is set up.
                Ok(Upload::HeldOut(model)) => {
                    model_settings(&tenant, &model)?;
                    None
                }
                Err(reason) => return Err(IntakeError::key(event.key(), reason)),
            }
        }
        Input::Named { tenant, model, trigger } => {
            Some((app.registry.tenant(&tenant).await?, model, trigger))
        }
    })
}
