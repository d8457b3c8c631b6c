//! What the `main.rs` of every handler wires: the process's configuration, the
//! registry, and the way errors reach the state machine.

use std::future::Future;
use std::pin::Pin;

use aws_config::SdkConfig;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Code, Coded};
use crate::failure;
use crate::registry::{Registry, RegistryError};
use crate::session::Sessions;

pub use lambda_runtime;

/// What a handler works with besides its request.
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
    /// From the function's environment.
    pub async fn from_env() -> Result<Self, RegistryError> {
        let config = crate::aws::config().await;
        let registry = Registry::from_env(&config)?;
        Ok(Self::new(config, registry))
    }

    /// Without sessions yet.
    pub fn new(config: SdkConfig, registry: Registry) -> Self {
        let sessions = Sessions::new(&config);
        Self { config, registry, sessions }
    }
}

type Boxed<Handled> = Pin<Box<dyn Future<Output = <Handled as Future>::Output>>>;

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
    let app = App::from_env().await?;
    let handle = &handle;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<serde_json::Value>| {
        // On the heap: the SDK's futures are large and deeply nested.
        let handled = serde_json::from_value(event.payload)
            .map(|request| -> Boxed<Handled> { Box::pin(handle(app.clone(), request)) });
        let sessions = app.sessions.clone();
        async move {
            let (code, message) = match handled {
                Ok(handled) => match handled.await {
                    Ok(response) => return Ok(response),
                    Err(error) => {
                        sessions.forget();
                        (error.code(), error.to_string())
                    }
                },
                Err(malformed) => {
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
