//! The questions of who is calling and what they may do, which a server beside the emulator
//! asks the emulator: it holds every account's identities and policies (see
//! `emulator/authority.py`, the other end of this).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Fault;

/// The emulator as the judge of signatures, sessions and policies.
#[derive(Clone)]
pub struct Authority {
    client: reqwest::Client,
    url: String,
    token: String,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("url", &self.url).finish_non_exhaustive()
    }
}

/// A received request, as far as its signature covers it.
#[derive(Debug, Clone, Serialize)]
pub struct ReceivedRequest {
    /// The service that the credential scope must name.
    pub service: &'static str,
    /// HTTP method.
    pub method: String,
    /// The path as it was sent, percent-encoding included.
    pub path: String,
    /// The query string as it was sent.
    pub query: String,
    /// Every header line.
    pub headers: Vec<(String, String)>,
    /// SHA-256 of the body, in hex: all that a signature says about it.
    pub body_sha256: String,
}

/// One thing that the sender of a request wants to do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Check {
    /// The IAM action, such as `sagemaker:CreateModel`.
    pub action: String,
    /// The resource's ARN; `{account}` and `{region}` stand for the caller's.
    pub resource: String,
    /// Condition keys of this request.
    pub context: BTreeMap<String, Value>,
}

/// The tags of the resources that a request touches, by ARN.
pub type ResourceTags = BTreeMap<String, BTreeMap<String, String>>;

/// The caller of a request that may do what it asks.
#[derive(Debug, Clone, Deserialize)]
pub struct Caller {
    /// The caller's ARN, as IAM knows it.
    pub principal_arn: String,
    /// The caller's account, in which the request acts.
    pub account: String,
    /// The region that the request was signed for.
    pub region: String,
}

/// A role's temporary credentials, held by an AWS service.
#[derive(Clone, Deserialize)]
pub struct ServiceSession {
    /// Access key ID.
    pub access_key_id: String,
    /// Secret access key.
    pub secret_access_key: String,
    /// Session token.
    pub session_token: String,
}

impl std::fmt::Debug for ServiceSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServiceSession")
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

/// A call that was made with a session, whatever became of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Call {
    /// ARN of the session.
    pub principal: String,
    /// HTTP method.
    pub method: String,
    /// The path, or the IAM action of a SageMaker call.
    pub what: String,
    /// The resource of a SageMaker call; empty for others.
    pub resource: String,
}

/// An event that a bus was given.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Event {
    /// The event's detail type.
    pub detail_type: String,
    /// The event's detail, as JSON text.
    pub detail: String,
}

/// The reason why a question was not answered with yes.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AuthorityError {
    /// AWS would refuse this, with this code, message and HTTP status.
    #[error("{code}: {message}")]
    Refused {
        /// AWS's error code.
        code: String,
        /// AWS's message.
        message: String,
        /// HTTP status.
        status: u16,
    },
    /// The emulator could not be asked.
    #[error("the emulator cannot be asked who is calling: {0}")]
    Unavailable(String),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Answer<T> {
    No { error: Refusal },
    Yes(T),
}

#[derive(Deserialize)]
struct Refusal {
    code: String,
    message: String,
    status: u16,
}

impl Authority {
    /// An authority at the emulator's URL, which was started with this token.
    pub fn new(emulator_url: impl Into<String>, token: impl Into<String>) -> Self {
        Self { client: reqwest::Client::new(), url: emulator_url.into(), token: token.into() }
    }

    /// The token that the emulator was started with.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Tells whether this text is the token that the emulator was started with.
    pub fn is_token(&self, text: &str) -> bool {
        text == self.token
    }

    /// The caller, if the request is genuine and every check passes.
    pub async fn authorize(
        &self,
        request: &ReceivedRequest,
        checks: &[Check],
        resource_tags: &ResourceTags,
    ) -> Result<Caller, AuthorityError> {
        #[derive(Serialize)]
        struct Question<'a> {
            #[serde(flatten)]
            request: &'a ReceivedRequest,
            checks: &'a [Check],
            resource_tags: &'a ResourceTags,
        }
        self.ask("authorize", &Question { request, checks, resource_tags }).await
    }

    /// A session of `role_arn` for an AWS service that acts for `source_arn`,
    /// if the role's trust policy lets that service have one.
    pub async fn service_session(
        &self,
        role_arn: &str,
        service: &str,
        source_account: &str,
        source_arn: &str,
        region: &str,
    ) -> Result<ServiceSession, AuthorityError> {
        let question = serde_json::json!({
            "role_arn": role_arn, "service": service, "region": region,
            "source_account": source_account, "source_arn": source_arn,
        });
        self.ask("service-session", &question).await
    }

    /// Tells whether the holder of this session may do all this, where it is not the
    /// emulator itself that is asked to do it.
    pub async fn session_may(
        &self,
        session: &ServiceSession,
        region: &str,
        checks: &[Check],
    ) -> Result<(), AuthorityError> {
        #[derive(Deserialize)]
        struct Allowed {}
        let question = serde_json::json!({
            "access_key_id": session.access_key_id, "region": region, "checks": checks,
        });
        self.ask("session-may", &question).await.map(|Allowed {}| ())
    }

    /// Asks which of these checks the holder of the session with this access key
    /// passes, for tests.
    pub async fn decisions(
        &self,
        access_key_id: &str,
        region: &str,
        checks: &[Check],
    ) -> Result<Vec<bool>, AuthorityError> {
        #[derive(Deserialize)]
        struct Decided {
            decisions: Vec<bool>,
        }
        let question =
            serde_json::json!({"access_key_id": access_key_id, "region": region, "checks": checks});
        self.ask("decisions", &question).await.map(|answer: Decided| answer.decisions)
    }

    /// End every session whose principal ARN starts like this; how many there
    /// were. A fault for tests: sessions that expire early.
    pub async fn expire_sessions(&self, principal_prefix: &str) -> Result<u64, AuthorityError> {
        #[derive(Deserialize)]
        struct Expired {
            expired: u64,
        }
        let question = serde_json::json!({ "principal_prefix": principal_prefix });
        self.ask("expire-sessions", &question).await.map(|answer: Expired| answer.expired)
    }

    /// Makes calls to the emulator go wrong, for tests.
    pub async fn inject(&self, fault: &Fault) -> Result<(), AuthorityError> {
        self.ask("fault", fault).await.map(|_: Value| ())
    }

    /// Counts the faults about this that have not struck yet.
    pub async fn faults_to_come(&self, about: &str) -> Result<u32, AuthorityError> {
        #[derive(Deserialize)]
        struct Faults {
            to_come: u32,
        }
        let question = serde_json::json!({ "about": about });
        self.ask("faults", &question).await.map(|faults: Faults| faults.to_come)
    }

    /// Kills the process that holds a connection on the loopback from one port
    /// to another, as a crash would, for tests.
    pub async fn kill_sender(&self, from: u16, to: u16) -> Result<(), AuthorityError> {
        self.ask("kill", &serde_json::json!({"from": from, "to": to})).await.map(|_: Value| ())
    }

    /// Lists who called what so far, of the sessions whose principal ARN starts like
    /// this.
    pub async fn calls(&self, principal_prefix: &str) -> Result<Vec<Call>, AuthorityError> {
        #[derive(Deserialize)]
        struct Called {
            calls: Vec<Call>,
        }
        let question = serde_json::json!({ "principal_prefix": principal_prefix });
        self.ask("calls", &question).await.map(|answer: Called| answer.calls)
    }

    /// The events that an account's buses were given.
    pub async fn events(&self, account: &str, region: &str) -> Result<Vec<Event>, AuthorityError> {
        #[derive(Deserialize)]
        struct Given {
            events: Vec<Event>,
        }
        let question = serde_json::json!({"account": account, "region": region});
        self.ask("events", &question).await.map(|answer: Given| answer.events)
    }

    /// Makes every data point about an endpoint so far as much older.
    pub async fn age_metrics(
        &self,
        account: &str,
        region: &str,
        endpoint: &str,
        by: Duration,
    ) -> Result<(), AuthorityError> {
        let question = serde_json::json!({
            "account": account, "region": region, "endpoint": endpoint, "seconds": by.as_secs(),
        });
        self.ask("age-metrics", &question).await.map(|_: serde_json::Value| ())
    }

    /// The keys, secrets and tokens of all sessions so far, to search logs and
    /// state for.
    pub async fn issued_secrets(&self) -> Result<Vec<String>, AuthorityError> {
        #[derive(Deserialize)]
        struct Issued {
            secrets: Vec<String>,
        }
        let issued: Issued = self.ask("issued-secrets", &serde_json::json!({})).await?;
        Ok(issued.secrets)
    }

    async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        question: &str,
        body: &impl Serialize,
    ) -> Result<T, AuthorityError> {
        let unavailable = |error: reqwest::Error| AuthorityError::Unavailable(error.to_string());
        let answer = self
            .client
            .post(format!("{}/_crosspilot/{question}", self.url))
            .header("x-crosspilot-token", &self.token)
            .json(body)
            .send()
            .await
            .map_err(unavailable)?;
        if answer.status() != reqwest::StatusCode::OK {
            return Err(AuthorityError::Unavailable(format!(
                "{question} answered {}",
                answer.status()
            )));
        }
        match answer.json().await.map_err(unavailable)? {
            Answer::Yes(yes) => Ok(yes),
            Answer::No { error: Refusal { code, message, status } } => {
                Err(AuthorityError::Refused { code, message, status })
            }
        }
    }
}
