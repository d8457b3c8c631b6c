//! The one place that assumes customers' roles.
//!
//! Every handler opens its own session and keeps it to itself: credentials are
//! never returned, logged or put into state. The SDK wipes them from memory
//! when the last copy is dropped.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use aws_config::{Region, SdkConfig};
use aws_sdk_s3::config::SharedCredentialsProvider;
use aws_sdk_sts::config::Credentials;

use crate::cloudwatch::Metric;
use crate::error::{CallError, Code, Named};
use crate::ids::{ExternalId, RoleArn, TenantId};
use crate::policy::Purpose;
use crate::tenant::Tenant;

/// A function's role that assumes another role is role chaining, which AWS
/// caps at an hour (IAM User Guide, "Role chaining").
const SESSION_SECONDS: i32 = 3600;
/// A session this close to its end is not used again: a handler never runs
/// longer.
const REFRESH_BEFORE_END: Duration = Duration::from_secs(300);
/// Sessions that a warm function keeps.
const CACHE_SIZE: usize = 256;

/// A session in a customer's account. Its clients live as long as it does, and so do
/// their connections.
#[derive(Clone)]
pub struct CustomerSession {
    config: SdkConfig,
    clients: Arc<Clients>,
}

/// The clients of a session, each made when it is asked for first.
#[derive(Default)]
struct Clients {
    s3: OnceLock<aws_sdk_s3::Client>,
    sagemaker: OnceLock<aws_sdk_sagemaker::Client>,
    sagemaker_runtime: OnceLock<aws_sdk_sagemakerruntime::Client>,
    auto_scaling: OnceLock<aws_sdk_applicationautoscaling::Client>,
}

impl fmt::Debug for CustomerSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CustomerSession").finish_non_exhaustive()
    }
}

impl CustomerSession {
    /// S3 in the customer's account.
    pub fn s3(&self) -> aws_sdk_s3::Client {
        self.clients.s3.get_or_init(|| aws_sdk_s3::Client::new(&self.config)).clone()
    }

    /// SageMaker in the customer's account.
    pub fn sagemaker(&self) -> aws_sdk_sagemaker::Client {
        let make = || aws_sdk_sagemaker::Client::new(&self.config);
        self.clients.sagemaker.get_or_init(make).clone()
    }

    /// SageMaker's inference API in the customer's account, with room for slow
    /// models.
    pub fn sagemaker_runtime(&self) -> aws_sdk_sagemakerruntime::Client {
        let config = || crate::aws::for_predictions(&self.config);
        let make = || aws_sdk_sagemakerruntime::Client::new(&config());
        self.clients.sagemaker_runtime.get_or_init(make).clone()
    }

    /// Sum of a metric of the customer's account over the last days, at most 455.
    pub async fn metric_sum(&self, metric: Metric<'_>, days: u16) -> Result<f64, CallError> {
        crate::cloudwatch::sum(&self.config, metric, days).await
    }

    /// Application Auto Scaling in the customer's account.
    pub fn auto_scaling(&self) -> aws_sdk_applicationautoscaling::Client {
        let make = || aws_sdk_applicationautoscaling::Client::new(&self.config);
        self.clients.auto_scaling.get_or_init(make).clone()
    }

    /// STS as the customer's role.
    pub fn sts(&self) -> aws_sdk_sts::Client {
        aws_sdk_sts::Client::new(&self.config)
    }
}

/// All that makes two sessions different. A session is never shared between
/// tenants, even if they name the same role, nor between purposes.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    tenant: TenantId,
    role: RoleArn,
    external_id: ExternalId,
    policy: String,
    region: String,
    session_name: String,
}

impl Key {
    fn new(tenant: &Tenant, purpose: Purpose<'_>) -> Self {
        Self {
            tenant: tenant.tenant.clone(),
            role: tenant.role_arn.clone(),
            external_id: tenant.external_id.clone(),
            policy: purpose.policy(tenant),
            region: tenant.region.to_string(),
            session_name: session_name(tenant, purpose),
        }
    }
}

struct Cached {
    session: CustomerSession,
    expires: SystemTime,
}

/// The slot of one session, or the flight that fetches it: whoever holds the lock fetches,
/// all others wait and find it there.
type Slot = Arc<tokio::sync::Mutex<Option<Cached>>>;

/// The sessions of a warm process, on the identity that assumes them.
#[derive(Clone)]
pub struct Sessions {
    base: SdkConfig,
    refresh_before_end: Duration,
    slots: Arc<Mutex<HashMap<Key, Slot>>>,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").finish_non_exhaustive()
    }
}

impl Sessions {
    /// Begins without a session. `base` holds the identity that customers' roles trust.
    pub fn new(base: &SdkConfig) -> Self {
        Self::refreshed(base, REFRESH_BEFORE_END)
    }

    /// Begins without a session; sessions are replaced so long before they end.
    pub fn refreshed(base: &SdkConfig, before_end: Duration) -> Self {
        Self { base: base.clone(), refresh_before_end: before_end, slots: Arc::default() }
    }

    /// A session in the tenant's account that can do what `purpose` needs and
    /// no more. It is named after the tenant and the run, which is what the
    /// customer reads in CloudTrail.
    pub async fn open(
        &self,
        tenant: &Tenant,
        purpose: Purpose<'_>,
    ) -> Result<CustomerSession, CallError> {
        let key = Key::new(tenant, purpose);
        let slot = self.slot(&key);
        let mut slot = slot.lock().await;
        if let Some(cached) = slot.as_ref()
            && cached.expires > SystemTime::now() + self.refresh_before_end
        {
            return Ok(cached.session.clone());
        }
        let fetched = self.fetch(&key).await?;
        let session = fetched.session.clone();
        *slot = Some(fetched);
        Ok(session)
    }

    /// Keeps no session any longer: after a call that failed, the next attempt
    /// begins with new ones. A customer may have ended the old ones.
    pub fn forget(&self) {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Keeps no session of one tenant any longer: what fails in its account says nothing
    /// about the sessions of others.
    pub fn forget_tenant(&self, tenant: &TenantId) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|key, _| key.tenant != *tenant);
    }

    /// A session that was not there before, which is what proves that the role
    /// can be assumed now. It is not kept.
    pub async fn open_anew(
        &self,
        tenant: &Tenant,
        purpose: Purpose<'_>,
    ) -> Result<CustomerSession, CallError> {
        Ok(self.fetch(&Key::new(tenant, purpose)).await?.session)
    }

    /// Tells whether the same session would also be given to somebody who presents
    /// another external ID, or none. It is thrown away: nothing but the ID
    /// differs from [`Sessions::open_anew`], so that nothing else can be what
    /// the customer's role refuses.
    pub async fn probe(
        &self,
        tenant: &Tenant,
        purpose: Purpose<'_>,
        external_id: Option<&ExternalId>,
    ) -> Result<(), CallError> {
        let asked = AssumeRole {
            role: &tenant.role_arn,
            external_id,
            session_name: &session_name(tenant, purpose),
            policy: Some(&purpose.policy(tenant)),
        };
        assume(&self.base, &asked).await.map(drop)
    }

    async fn fetch(&self, key: &Key) -> Result<Cached, CallError> {
        let asked = AssumeRole {
            role: &key.role,
            external_id: Some(&key.external_id),
            session_name: &key.session_name,
            policy: Some(&key.policy),
        };
        let credentials = assume(&self.base, &asked).await?;
        let expires = credentials.expiry().unwrap_or(SystemTime::UNIX_EPOCH);
        let config = self
            .base
            .clone()
            .into_builder()
            .region(Region::new(key.region.clone()))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .build();
        Ok(Cached { session: CustomerSession { config, clients: Arc::default() }, expires })
    }

    fn slot(&self, key: &Key) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= CACHE_SIZE && !slots.contains_key(key) {
            // Those that somebody waits for stay.
            slots.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        slots.entry(key.clone()).or_default().clone()
    }
}

/// The parameters of a request to STS for a session.
#[derive(Debug, Clone, Copy)]
pub struct AssumeRole<'a> {
    /// The role.
    pub role: &'a RoleArn,
    /// The external ID to present, if any.
    pub external_id: Option<&'a ExternalId>,
    /// The name of the session in the customer's CloudTrail.
    pub session_name: &'a str,
    /// The session policy, if the session may do less than the role.
    pub policy: Option<&'a str>,
}

/// Asks STS for a session. Nothing is cached: this is also how a trust is
/// probed.
pub async fn assume(base: &SdkConfig, asked: &AssumeRole<'_>) -> Result<Credentials, CallError> {
    let role = asked.role;
    let answer = aws_sdk_sts::Client::new(base)
        .assume_role()
        .role_arn(role.as_str())
        .set_external_id(asked.external_id.map(|id| id.as_str().to_owned()))
        .role_session_name(asked.session_name)
        .set_policy(asked.policy.map(str::to_owned))
        .duration_seconds(SESSION_SECONDS)
        .send()
        .await
        .named("sts:AssumeRole", role)?;
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

/// ARN of the identity in `config`, as STS knows it.
pub async fn caller(config: &SdkConfig) -> Result<String, CallError> {
    let answer = aws_sdk_sts::Client::new(config)
        .get_caller_identity()
        .send()
        .await
        .named("sts:GetCallerIdentity", "the caller")?;
    Ok(answer.arn.unwrap_or_default())
}

/// `crosspilot-<tenant>-<run>`: at most 64 characters, as STS wants it.
fn session_name(tenant: &Tenant, purpose: Purpose<'_>) -> String {
    match purpose.run() {
        Some(run) => format!("crosspilot-{}-{}", tenant.tenant, run.run_id),
        None => format!("crosspilot-{}", tenant.tenant),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::example::tenant;

    #[test]
    fn what_fails_for_one_tenant_ends_no_session_of_another() {
        let sessions = Sessions::new(&SdkConfig::builder().build());
        // Tenants of one account and role, with two sessions each.
        for id in ["acme", "globex"] {
            for purpose in [Purpose::ProveTrust, Purpose::TakeStock] {
                sessions.slot(&Key::new(&tenant(id), purpose));
            }
        }
        sessions.forget_tenant(&"acme".parse().unwrap());
        let left = sessions.slots.lock().unwrap();
        assert_eq!(left.len(), 2);
        assert!(left.keys().all(|key| key.tenant.as_str() == "globex"));
    }
}
