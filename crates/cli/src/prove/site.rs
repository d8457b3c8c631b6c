//! The site of the proof: the vendor's and a customer's account, on AWS or on a local cloud of
//! its own, deployed for it and cleared away after it.

use std::path::{Path, PathBuf};

use crosspilot_core::aws::aws_config::SdkConfig;
use crosspilot_core::aws::s3::Client as S3;
use crosspilot_core::aws::s3::types::EncodingType;
use crosspilot_core::aws::{self, applicationautoscaling, sagemaker};
use crosspilot_core::error::{CallError, Code, Coded, Named};
use crosspilot_core::ids::{AccountId, ExternalId, RegionName, RoleArn, TenantId};
use crosspilot_core::listing::decoded;
use crosspilot_core::registry::RegistryError;
use crosspilot_core::tenant::{ACCESS_ROLE, EXECUTION_ROLE, Limits, Tenant, TenantStatus};
use crosspilot_core::{ids, session};
use crosspilot_local::accounts::{REGION, SAAS_ACCOUNT};
use crosspilot_local::cloud::{CUSTOMER_TEMPLATE, SAAS_STACK};
use crosspilot_local::functions::{self, FunctionsError};
use crosspilot_local::stacks::{self, Template};
use crosspilot_local::{CloudError, LocalCloud, Options};
use crosspilot_operator::{Deployment, Invitation, OperatorError, Removal, Vendor};

use super::Ask;
use crate::failure::Failure;
use crate::output::Steps;

/// Not the vendor's stack's name: one account may be both.
const CUSTOMER_STACK: &str = "crosspilot-prove-customer";
/// Account of the customer on a local cloud.
const LOCAL_CUSTOMER: &str = "299999999999";

/// Both accounts as they are before anything is made, and the names of all that
/// will be: so whatever an attempt made is found again, however it ended.
pub(super) struct Ground {
    pub(super) tenant: Tenant,
    pub(super) customer: Customer,
    vendor: SdkConfig,
    host: Host,
}

/// The cloud that the accounts are accounts of.
enum Host {
    Aws {
        issuer: String,
        audience: String,
        functions: PathBuf,
        /// The bucket that the functions' packages are uploaded to.
        packages: String,
        token: Option<String>,
    },
    Local(Box<LocalCloud>),
}

/// The vendor's side, deployed, with the tenant invited.
pub(super) struct Site<'a> {
    pub(super) ground: &'a Ground,
    pub(super) vendor: Vendor,
    /// Address of the prediction API.
    pub(super) api: String,
    /// A token for the prediction API that names the tenant, if there is one.
    pub(super) token: Option<String>,
}

/// The customer's account as its administrator, who looks at what the functions did.
pub(super) struct Customer {
    config: SdkConfig,
    pub(super) s3: S3,
    pub(super) sagemaker: sagemaker::Client,
    pub(super) scaling: applicationautoscaling::Client,
}

/// The resources that could not be cleared away, and why.
pub(super) type Left = Vec<String>;

impl Ground {
    /// Finds both accounts: on AWS with a profile, on a local cloud of its own
    /// without one. On AWS, nothing is made yet, and what would be in the way is said.
    pub(super) async fn find(
        home: &Path,
        profile: Option<&str>,
        ask: Ask,
        steps: &Steps,
    ) -> Result<Self, Failure> {
        match profile {
            Some(profile) => Self::on_aws(profile, ask).await,
            None => Self::on_local_cloud(home, ask, steps).await,
        }
    }

    async fn on_local_cloud(home: &Path, ask: Ask, steps: &Steps) -> Result<Self, Failure> {
        let cloud = LocalCloud::start(&Options::new(home), |step| steps.step(step)).await?;
        let account: AccountId = LOCAL_CUSTOMER.parse().map_err(CloudError::from)?;
        let region = RegionName::try_from(REGION.to_owned()).map_err(CloudError::from)?;
        let endpoints = cloud.endpoints();
        let config = cloud.customer(&account);
        let scaling = config.clone().into_builder();
        let scaling = scaling.endpoint_url(&endpoints.application_auto_scaling).build();
        let sagemaker = endpoints.sagemaker_of(account.as_str());
        let vendor = endpoints.administrator(SAAS_ACCOUNT);
        Ok(Self {
            tenant: tenant(ask.tenant, account, region)?,
            customer: Customer::new(config, sagemaker, &scaling),
            vendor,
            host: Host::Local(Box::new(cloud)),
        })
    }

    async fn on_aws(profile: &str, ask: Ask) -> Result<Self, Failure> {
        let (Some(issuer), Some(audience)) = (ask.issuer, ask.audience) else {
            return Err(Failure::NoIssuer);
        };
        crate::issuer::check(&issuer).await?;
        let load = async |name: &str| aws::loader().profile_name(name).load().await;
        let vendor = load(profile).await;
        let config = load(ask.customer_profile.as_deref().unwrap_or(profile)).await;
        let account = account_of(&config).await?;
        let region = config.region().map(|region| region.to_string()).unwrap_or_default();
        let region = RegionName::try_from(region).map_err(CloudError::from)?;
        if stack_exists(&vendor).await? {
            return Err(Failure::Occupied(SAAS_STACK));
        }
        let packages = format!("{SAAS_STACK}-{}-{}", ask.tenant, account_of(&vendor).await?);
        let sagemaker = sagemaker::Client::new(&config);
        let scaling = config.clone();
        Ok(Self {
            tenant: tenant(ask.tenant, account, region)?,
            customer: Customer::new(config, sagemaker, &scaling),
            vendor,
            host: Host::Aws {
                issuer,
                audience,
                functions: ask.functions,
                packages,
                token: ask.token,
            },
        })
    }

    /// Deploys what the proof needs: the vendor's stack, which a local cloud has
    /// already, and the customer's, as an invited customer does.
    pub(super) async fn deploy(&self, steps: &Steps) -> Result<Site<'_>, Failure> {
        let site = match &self.host {
            Host::Aws { issuer, audience, functions, packages, token } => {
                steps.step("uploading the functions");
                let zipped = tokio::task::block_in_place(|| zipped(functions))?;
                let template = stacks::package(&self.vendor, packages, zipped).await;
                let template = template.map_err(CloudError::from)?;
                steps.step("deploying infra/saas.yaml");
                let parameters = [("JwtIssuer", issuer.as_str()), ("JwtAudience", audience)];
                stacks::deploy(&self.vendor, SAAS_STACK, Template::Url(&template), &parameters)
                    .await
                    .map_err(CloudError::from)?;
                let vendor = Vendor::connect(self.vendor.clone(), SAAS_STACK).await?;
                let api = vendor.deployment.api_url.trim_end_matches('/').to_owned();
                Site { ground: self, vendor, api, token: token.clone() }
            }
            Host::Local(cloud) => Site {
                ground: self,
                vendor: cloud.vendor().clone(),
                api: cloud.endpoints().api.clone(),
                token: Some(cloud.signer().token(self.tenant.tenant.as_str())?),
            },
        };
        steps.step("deploying infra/customer.yaml");
        site.vendor.add_tenant(&self.tenant).await?;
        let invitation = Invitation::new(&self.tenant, &site.vendor.deployment.event_bus);
        let parameters: Vec<(&str, &str)> = invitation.parameters().collect();
        stacks::deploy(
            &self.customer.config,
            CUSTOMER_STACK,
            Template::Text(CUSTOMER_TEMPLATE),
            &parameters,
        )
        .await
        .map_err(CloudError::from)?;
        Ok(site)
    }

    /// Tells whether it is on this machine, where nothing costs anything.
    pub(super) fn is_local(&self) -> bool {
        matches!(self.host, Host::Local(_))
    }

    /// The vendor's account, as an operator reaches it.
    pub(super) fn vendor_config(&self) -> &SdkConfig {
        &self.vendor
    }

    /// Removes everything that was made, whatever that is, and says what could not be.
    pub(super) async fn clear_away(self, steps: &Steps) -> Left {
        let mut left = Left::new();
        let mut registry = None;
        // Without a whole stack of the vendor's, there is no tenant.
        if let Ok(vendor) = Vendor::connect(self.vendor.clone(), SAAS_STACK).await {
            steps.step("removing the tenant");
            left.extend(remove_tenant(&vendor, &self.tenant.tenant).await);
            registry = Some(vendor.deployment.registry_bucket);
        }
        let packages = match self.host {
            Host::Aws { packages, .. } => packages,
            Host::Local(cloud) => {
                cloud.stop().await;
                return left;
            }
        };
        let mut gone = |what: String, done: Result<(), Failure>| {
            if let Err(error) = done {
                left.push(format!("{what}: {error}"));
            }
        };
        let Tenant { account, bucket, .. } = &self.tenant;
        steps.step("deleting the customer's stack");
        let deleted = stacks::delete(&self.customer.config, CUSTOMER_STACK).await;
        let deleted = deleted.map_err(|error| CloudError::from(error).into());
        gone(format!("stack {CUSTOMER_STACK} in {account}"), deleted);
        let deleted = delete_bucket(&self.customer.s3, bucket.as_str()).await;
        gone(format!("bucket {bucket} in {account}"), deleted.map_err(Failure::from));
        steps.step("deleting the vendor's stack");
        let deleted = stacks::delete(&self.vendor, SAAS_STACK).await;
        let deleted = deleted.map_err(|error| CloudError::from(error).into());
        gone(format!("stack {SAAS_STACK}"), deleted);
        let s3 = S3::new(&self.vendor);
        for bucket in [Some(packages), registry].into_iter().flatten() {
            let deleted = delete_bucket(&s3, &bucket).await;
            gone(format!("bucket {bucket}"), deleted.map_err(Failure::from));
        }
        left
    }
}

impl Customer {
    fn new(config: SdkConfig, sagemaker: sagemaker::Client, scaling: &SdkConfig) -> Self {
        let scaling = applicationautoscaling::Client::new(scaling);
        Self { s3: S3::new(&config), sagemaker, scaling, config }
    }
}

/// Removes the tenant with all that its runs made, if there is one.
async fn remove_tenant(vendor: &Vendor, id: &TenantId) -> Option<String> {
    match vendor.registry.tenant(id).await {
        Ok(tenant) if tenant.status != TenantStatus::Deleted => {}
        Ok(_) | Err(RegistryError::UnknownTenant(_)) => return None,
        Err(error) => return Some(format!("tenant {id}: {error}")),
    }
    let removal = Removal { artifacts: true, force: false };
    let removed = vendor.remove_tenant(id, removal, |_| {}).await;
    removed.err().map(|error| format!("tenant {id}: {error}"))
}

fn tenant(id: TenantId, account: AccountId, region: RegionName) -> Result<Tenant, Failure> {
    let role = |name| RoleArn::new(&region, &account, name).map_err(CloudError::from);
    Ok(Tenant {
        role_arn: role(ACCESS_ROLE)?,
        execution_role_arn: role(EXECUTION_ROLE)?,
        external_id: ExternalId::generate().map_err(|_| CloudError::Random)?,
        bucket: format!("crosspilot-{id}-{account}").parse().map_err(CloudError::from)?,
        bucket_exists: false,
        prefix: "crosspilot".parse().map_err(CloudError::from)?,
        network: None,
        encryption: None,
        tags: Default::default(),
        status: TenantStatus::Pending,
        limits: Limits { max_candidates: 2, max_runtime_seconds: 7200 },
        predictions: Default::default(),
        models: Default::default(),
        tenant: id,
        account,
        region,
    })
}

async fn account_of(config: &SdkConfig) -> Result<AccountId, Failure> {
    let caller = session::caller(config).await?;
    let account = caller.split(':').nth(4).unwrap_or_default();
    Ok(account.parse().map_err(|error: ids::InvalidId| CloudError::from(error))?)
}

async fn stack_exists(config: &SdkConfig) -> Result<bool, Failure> {
    match Deployment::of_stack(config, SAAS_STACK).await {
        // Whatever it holds, it is not ours to replace.
        Ok(_) | Err(OperatorError::NoOutput { .. }) => Ok(true),
        Err(error) if error.to_string().contains("does not exist") => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The functions as `cargo lambda build` leaves them.
fn zipped(directory: &Path) -> Result<Vec<functions::Package>, Failure> {
    functions::package_from(|function| directory.join(function).join("bootstrap")).map_err(
        |error| match error {
            FunctionsError::Missing(path, reason) => Failure::NoFunctions(path, reason),
            other => CloudError::from(other).into(),
        },
    )
}

/// Deletes a bucket with all versions of all that it holds, one by one: what XML
/// cannot name is not deleted in bulk. A bucket that is gone is fine.
async fn delete_bucket(s3: &S3, bucket: &str) -> Result<(), CallError> {
    loop {
        let listed = s3.list_object_versions().bucket(bucket).encoding_type(EncodingType::Url);
        let listed = listed.send().await;
        let listed = match listed.named("s3:ListBucketVersions", bucket) {
            Ok(listed) => listed,
            Err(error) if error.code() == Code::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let versions = listed.versions().iter().map(|v| (v.key(), v.version_id()));
        let markers = listed.delete_markers().iter().map(|m| (m.key(), m.version_id()));
        let objects: Vec<_> = versions.chain(markers).collect();
        if objects.is_empty() {
            break;
        }
        for (key, version) in objects {
            let key = decoded(key.unwrap_or_default());
            let version = version.map(str::to_owned);
            let deleted = s3.delete_object().bucket(bucket).key(&key).set_version_id(version);
            let deleted = deleted.send().await;
            deleted.named("s3:DeleteObjectVersion", bucket)?;
        }
    }
    s3.delete_bucket().bucket(bucket).send().await.named("s3:DeleteBucket", bucket)?;
    Ok(())
}
