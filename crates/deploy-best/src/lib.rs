//! `deploy-best`: the model of the best candidate, the gate, the endpoint, and
//! what is left when a run has ended. Each thing goes under a name that follows
//! from the run, so that doing it twice is doing it once.

use crosspilot_core::lambda::App;
use crosspilot_core::manage::{ManageRequest, Progress};
use crosspilot_hosting::{Deploy, Deployed, HostingError, Register, Registered, Settle, Settled};
use serde::{Deserialize, Serialize};

/// The request to the function.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Request {
    /// Make a model of the job's best candidate.
    Register(Register),
    /// Deploy the model if it is good enough.
    Deploy(Box<Deploy>),
    /// Leave the account as the lineup says.
    Settle(Settle),
    /// Do what else a tenant's models need.
    Manage(ManageRequest),
}

/// The answer of the function.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Response {
    /// The model.
    Registered(Registered),
    /// The decision and the endpoint.
    Deployed(Box<Deployed>),
    /// The state of the account after the run.
    Settled(Settled),
    /// The progress of the request.
    Managed(Progress),
}

/// Does what is asked.
pub async fn handle(app: App, request: Request) -> Result<Response, HostingError> {
    Ok(match request {
        Request::Register(request) => {
            Response::Registered(crosspilot_hosting::register(&app, request).await?)
        }
        Request::Deploy(request) => {
            Response::Deployed(Box::new(crosspilot_hosting::deploy(&app, *request).await?))
        }
        Request::Settle(request) => {
            Response::Settled(crosspilot_hosting::settle(&app, request).await?)
        }
        Request::Manage(ask) => Response::Managed(crosspilot_hosting::manage(&app, ask).await?),
    })
}
