//! The wiring of every handler's `main.rs`: the process's configuration, the registry, and
//! the way errors reach the state machine.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;

use aws_config::SdkConfig;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Code, Coded};
use crate::failure;
use crate::ids::TenantId;
use crate::registry::{Registry, RegistryError};
use crate::session::Sessions;

pub use lambda_runtime;

/// The application of a handler: all that it works with besides its request.
#[derive(Debug, Clone)]
pub struct App {
    /// The function's own identity and region.
    pub config: SdkConfig,
    /// The tenant registry.
    pub registry: Registry,
    /// The sessions in customers' accounts that this process has open.
    pub sessions: Sessions,
}

impl App {
    /// Makes the application from the function's environment.
    pub async fn from_env() -> Result<Self, RegistryError> {
        let config = crate::aws::config().await;
        let registry = Registry::from_env(&config)?;
        Ok(Self::new(config, registry))
    }

    /// Makes the application without sessions yet.
    pub fn new(config: SdkConfig, registry: Registry) -> Self {
        let sessions = Sessions::new(&config);
        Self { config, registry, sessions }
    }
}

type Boxed<Handled> = Pin<Box<dyn Future<Output = <Handled as Future>::Output>>>;

const PANICKED: &str =
    "the function panicked: a fault in Crosspilot, report it with the place that its log names";

/// Awaits a handler and gives what it comes to; nothing if it panics. A panic's message may
/// quote what was being read, such as a text cut within a character: it is neither logged nor
/// told.
async fn unless_it_panics<T>(mut handled: Pin<Box<dyn Future<Output = T>>>) -> Option<T> {
    poll_fn(|context| {
        let polled = catch_unwind(AssertUnwindSafe(|| handled.as_mut().poll(context)));
        polled.map_or(Poll::Ready(None), |polled| polled.map(Some))
    })
    .await
}

/// The tenant that a request is about, if it is about one: what fails for it ends no
/// session of another.
fn tenant_of(payload: &serde_json::Value) -> Option<TenantId> {
    let named = payload.get("run").unwrap_or(payload).get("tenant")?;
    named.as_str()?.parse().ok()
}

/// Answers invocations with `handle` until the sandbox ends. An error reaches
/// the caller under its stable code, and the log with its message.
pub async fn serve<Request, Response, Error, Handled>(
    handle: impl Fn(App, Request) -> Handled,
) -> Result<(), lambda_runtime::Error>
where
    Request: DeserializeOwned,
    Response: Serialize,
    Error: Coded,
    Handled: Future<Output = Result<Response, Error>> + 'static,
{
    lambda_runtime::tracing::init_default_subscriber();
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "the function panicked");
    }));
    let app = App::from_env().await?;
    let handle = &handle;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<serde_json::Value>| {
        let tenant = tenant_of(&event.payload);
        // On the heap: the SDK's futures are large and deeply nested.
        let handled = serde_json::from_value(event.payload)
            .map(|request| -> Boxed<Handled> { Box::pin(handle(app.clone(), request)) });
        let sessions = app.sessions.clone();
        async move {
            let (code, message) = match handled {
                Ok(handled) => match unless_it_panics(handled).await {
                    Some(Ok(response)) => return Ok(response),
                    Some(Err(error)) => {
                        // The next attempt opens them anew.
                        match &tenant {
                            Some(tenant) => sessions.forget_tenant(tenant),
                            None => sessions.forget(),
                        }
                        (error.code(), error.to_string())
                    }
                    None => (Code::Internal, PANICKED.to_owned()),
                },
                // What serde quotes of it is the caller's.
                Err(malformed) => {
                    let malformed = failure::shown(&malformed.to_string());
                    (Code::RequestInvalid, format!("the request is malformed: {malformed}"))
                }
            };
            tracing::warn!(
                code = code.as_str(),
                request_id = event.context.request_id,
                "{message}"
            );
            Err(Diagnostic {
                error_type: code.as_str().to_owned(),
                error_message: failure::bounded(&message),
            })
        }
    }))
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_of_the_tenant_that_the_request_names() {
        use serde_json::json;
        for (payload, tenant) in [
            (json!({"run": {"tenant": "acme", "model": "churn"}, "do": "score"}), Some("acme")),
            (json!({"tenant": "acme", "action": "take_stock"}), Some("acme")),
            (json!({"tenant": "../x"}), None),
            (json!({"Records": []}), None),
            (json!(7), None),
        ] {
            let found = tenant_of(&payload);
            assert_eq!(found.as_ref().map(TenantId::as_str), tenant, "{payload}");
        }
    }

    #[tokio::test]
    async fn a_panic_is_told_without_its_message() {
        let well: Boxed<std::future::Ready<u8>> = Box::pin(async { 7 });
        assert_eq!(unless_it_panics(well).await, Some(7));
        let badly: Boxed<std::future::Ready<u8>> = Box::pin(async {
            tokio::task::yield_now().await;
            panic!("Jane Roe 555-0100")
        });
        assert_eq!(unless_it_panics(badly).await, None);
    }
}
