//! Events on the vendor's event bus, for whoever listens.

use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use serde_json::Value;

use crate::error::{CallError, Code, Named};
use crate::lambda::App;

/// Environment variable that names the bus.
pub const BUS_VARIABLE: &str = "EVENT_BUS";

const OPERATION: &str = "events:PutEvents";

/// Puts an event on the bus, such as `Crosspilot Tenant Suspended`.
pub async fn announce(app: &App, what: &str, detail: &Value) -> Result<(), CallError> {
    let bus = std::env::var(BUS_VARIABLE).unwrap_or_else(|_| "crosspilot".to_owned());
    let entry = PutEventsRequestEntry::builder()
        .event_bus_name(&bus)
        .source("crosspilot")
        .detail_type(what)
        .detail(detail.to_string())
        .build();
    let put = aws_sdk_eventbridge::Client::new(&app.config).put_events().entries(entry).send();
    let put = put.await.named(OPERATION, &bus)?;
    if put.failed_entry_count > 0 {
        let why = "the bus did not take the event";
        return Err(CallError::refused(Code::Unavailable, OPERATION, &bus, "Failed", why));
    }
    Ok(())
}
