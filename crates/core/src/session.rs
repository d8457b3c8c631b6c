//! The one place that assumes customers' roles.
//!
//! Every handler opens its own session and keeps it to itself: credentials are
//! never returned, logged or put into state.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_config::{Region, SdkConfig};
use aws_sdk_s3::config::SharedCredentialsProvider;
use aws_sdk_sts::config::Credentials;

use crate::error::{CallError, Code};
use crate::ids::{ExternalId, RoleArn};
use crate::run::RunId;
use crate::tenant::Tenant;

/// A function's role that assumes another role is role chaining, which AWS
/// caps at an hour (IAM User Guide, "Role chaining").
const SESSION_SECONDS: i32 = 3600;
/// A session this close to its end is not used again: a handler never runs
/// longer.
const REFRESH_BEFORE_END: Duration = Duration::from_secs(300);
/// Sessions that a warm function keeps.
const CACHE_SIZE: usize = 64;

/// A session in a customer's account.
#[derive(Clone)]
pub struct CustomerSession {
    config: SdkConfig,
}

impl fmt::Debug for CustomerSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CustomerSession").finish_non_exhaustive()
    }
}

/// All that makes two sessions different. A session is never shared between
/// tenants, even if they name the same role.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    role: RoleArn,
    external_id: ExternalId,
    region: String,
    session_name: String,
}

struct Cached {
    config: SdkConfig,
    expires: SystemTime,
}

static SESSIONS: Mutex<Option<HashMap<Key, Cached>>> = Mutex::new(None);

impl CustomerSession {
    /// Assumes the tenant's role with its external ID. `base` holds the
    /// function's own identity. The session is named after the tenant and the
    /// run, which is what the customer reads in CloudTrail.
    pub async fn open(
        base: &SdkConfig,
        tenant: &Tenant,
        run: Option<&RunId>,
    ) -> Result<Self, CallError> {
        let key = Key {
            role: tenant.role_arn.clone(),
            external_id: tenant.external_id.clone(),
            region: tenant.region.to_string(),
            session_name: session_name(tenant, run),
        };
        if let Some(config) = cached(&key) {
            return Ok(Self { config });
        }
        let credentials =
            assume(base, &key.role, Some(&key.external_id), &key.session_name).await?;
        let expires = credentials.expiry().unwrap_or(SystemTime::UNIX_EPOCH);
        let config = base
            .clone()
            .into_builder()
            .region(Region::new(key.region.clone()))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .build();
        keep(key, Cached { config: config.clone(), expires });
        Ok(Self { config })
    }

    /// S3 in the customer's account.
    pub fn s3(&self) -> aws_sdk_s3::Client {
        aws_sdk_s3::Client::new(&self.config)
    }

    /// SageMaker in the customer's account.
    pub fn sagemaker(&self) -> aws_sdk_sagemaker::Client {
        aws_sdk_sagemaker::Client::new(&self.config)
    }

    /// SageMaker's inference API in the customer's account, with room for slow
    /// models.
    pub fn sagemaker_runtime(&self) -> aws_sdk_sagemakerruntime::Client {
        aws_sdk_sagemakerruntime::Client::new(&crate::aws::for_predictions(&self.config))
    }

    /// STS as the customer's role.
    pub fn sts(&self) -> aws_sdk_sts::Client {
        aws_sdk_sts::Client::new(&self.config)
    }
}

/// Asks STS for a session with the given external ID, or with none. Nothing is
/// cached: this is also how a trust is probed.
pub async fn assume(
    base: &SdkConfig,
    role: &RoleArn,
    external_id: Option<&ExternalId>,
    session_name: &str,
) -> Result<Credentials, CallError> {
    let answer = aws_sdk_sts::Client::new(base)
        .assume_role()
        .role_arn(role.as_str())
        .set_external_id(external_id.map(|id| id.as_str().to_owned()))
        .role_session_name(session_name)
        .duration_seconds(SESSION_SECONDS)
        .send()
        .await
        .map_err(|e| CallError::new("sts:AssumeRole", role, &e))?;
    let credentials = answer.credentials.ok_or_else(|| {
        CallError::refused(Code::Unavailable, "sts:AssumeRole", role, "BadAnswer", "no credentials")
    })?;
    Ok(Credentials::new(
        credentials.access_key_id,
        credentials.secret_access_key,
        Some(credentials.session_token),
        SystemTime::try_from(credentials.expiration).ok(),
        "customer role",
    ))
}

/// `crosspilot-<tenant>-<run>`: at most 64 characters, as STS wants it.
fn session_name(tenant: &Tenant, run: Option<&RunId>) -> String {
    match run {
        Some(run) => format!("crosspilot-{}-{run}", tenant.tenant),
        None => format!("crosspilot-{}", tenant.tenant),
    }
}

fn cached(key: &Key) -> Option<SdkConfig> {
    let mut sessions = SESSIONS.lock().unwrap_or_else(PoisonError::into_inner);
    let sessions = sessions.get_or_insert_default();
    sessions.retain(|_, session| session.expires > SystemTime::now() + REFRESH_BEFORE_END);
    sessions.get(key).map(|session| session.config.clone())
}

fn keep(key: Key, session: Cached) {
    let mut sessions = SESSIONS.lock().unwrap_or_else(PoisonError::into_inner);
    let sessions = sessions.get_or_insert_default();
    if sessions.len() >= CACHE_SIZE {
        sessions.clear();
    }
    sessions.insert(key, session);
}
