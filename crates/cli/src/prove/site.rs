//! Where the proof is made: the vendor's and a customer's account, on AWS or on
//! a local cloud of its own, deployed for it and cleared away after it.

use std::path::Path;

use crosspilot_core::aws::aws_config::SdkConfig;
use crosspilot_core::aws::s3::Client as S3;
use crosspilot_core::aws::s3::types::EncodingType;
use crosspilot_core::aws::{self, applicationautoscaling, sagemaker};
use crosspilot_core::error::{CallError, Code, Coded};
use crosspilot_core::ids::{AccountId, ExternalId, RegionName, RoleArn, TenantId};
use crosspilot_core::listing::decoded;
use crosspilot_core::tenant::{ACCESS_ROLE, EXECUTION_ROLE, Limits, Tenant, TenantStatus};
use crosspilot_core::vendor::{Deployment, Invitation, Removal, Vendor, VendorError};
use crosspilot_core::{ids, session};
use crosspilot_local::cloud::{CUSTOMER_TEMPLATE, SAAS_STACK};
use crosspilot_local::functions::{self, FunctionsError};
use crosspilot_local::{CloudError, LocalCloud, Options, stacks};

use super::Ask;
use crate::failure::Failure;
use crate::show::Steps;

/// Not the vendor's stack's name: one account may be both.
const CUSTOMER_STACK: &str = "crosspilot-prove-customer";
/// Account of the customer on a local cloud.
const LOCAL_CUSTOMER: &str = "299999999999";

/// Both accounts, with the stacks deployed.
pub(super) struct Site {
    pub(super) vendor: Vendor,
    pub(super) tenant: Tenant,
    pub(super) customer: Customer,
    /// Address of the prediction API.
    pub(super) api: String,
    /// A token for the prediction API that names the tenant, if there is one.
    pub(super) token: Option<String>,
    vendor_config: SdkConfig,
    /// The bucket that the functions' packages were uploaded to.
    packages: Option<String>,
    local: Option<LocalCloud>,
}

/// The customer's account as its administrator, who looks at what the functions did.
pub(super) struct Customer {
    config: SdkConfig,
    pub(super) s3: S3,
    pub(super) sagemaker: sagemaker::Client,
    pub(super) scaling: applicationautoscaling::Client,
}

/// What could not be cleared away, and why.
pub(super) type Left = Vec<String>;

impl Site {
    /// Deploys what the proof needs: on AWS both stacks, on a local cloud of its
    /// own the customer's beside the vendor's.
    pub(super) async fn deploy(
        home: &Path,
        profile: Option<&str>,
        ask: &Ask,
        steps: &Steps,
    ) -> Result<Self, Failure> {
        match profile {
            Some(profile) => Self::on_aws(profile, ask, steps).await,
            None => Self::on_local_cloud(home, ask, steps).await,
        }
    }

    async fn on_local_cloud(home: &Path, ask: &Ask, steps: &Steps) -> Result<Self, Failure> {
        let options = Options::new(home);
        let cloud = LocalCloud::start(&options, |step| steps.step(step)).await?;
        let account: AccountId = LOCAL_CUSTOMER.parse().map_err(CloudError::from)?;
        let config = cloud.customer(&account);
        let endpoints = cloud.endpoints();
        let scaling = config.clone().into_builder();
        let scaling = scaling.endpoint_url(&endpoints.application_auto_scaling).build();
        let customer = Customer {
            s3: S3::new(&config),
            sagemaker: endpoints.sagemaker_of(account.as_str()),
            scaling: applicationautoscaling::Client::new(&scaling),
            config,
        };
        let vendor = cloud.vendor().clone();
        let api = endpoints.api.clone();
        let token = Some(cloud.signer().token(ask.tenant.as_str())?);
        let region = RegionName::try_from(crosspilot_local::cloud::REGION.to_owned())
            .map_err(CloudError::from)?;
        let tenant = tenant(ask, account, region)?;
        let vendor_config = endpoints.administrator(crosspilot_local::cloud::SAAS_ACCOUNT);
        let site = Self {
            vendor,
            tenant,
            customer,
            api,
            token,
            vendor_config,
            packages: None,
            local: Some(cloud),
        };
        site.invite(steps).await
    }

    async fn on_aws(profile: &str, ask: &Ask, steps: &Steps) -> Result<Self, Failure> {
        let load = async |name: &str| aws::loader().profile_name(name).load().await;
        let vendor_config = load(profile).await;
        let config = load(ask.customer_profile.as_deref().unwrap_or(profile)).await;
        let account = account_of(&config).await?;
        let region = vendor_config.region().map(|region| region.to_string()).unwrap_or_default();
        let region = RegionName::try_from(region).map_err(CloudError::from)?;
        if stack_exists(&vendor_config).await? {
            return Err(Failure::Occupied(SAAS_STACK));
        }
        let tenant = tenant(ask, account, region)?;
        steps.step("uploading the functions");
        let packages = tokio::task::block_in_place(|| packages(&ask.functions))?;
        let bucket =
            format!("{SAAS_STACK}-{}-{}", tenant.tenant, account_of(&vendor_config).await?);
        let (issuer, audience) = (ask.issuer.as_deref(), ask.audience.as_deref());
        let (Some(issuer), Some(audience)) = (issuer, audience) else {
            return Err(Failure::NoIssuer);
        };
        let template = stacks::package(&vendor_config, &bucket, packages).await;
        let template = template.map_err(CloudError::from)?;
        steps.step("deploying infra/saas.yaml");
        let parameters = [("JwtIssuer", issuer), ("JwtAudience", audience)];
        let deployed = stacks::deploy(&vendor_config, SAAS_STACK, &template, &parameters).await;
        if let Err(error) = deployed {
            let left = clear_vendor(&vendor_config, Some(&bucket), None, steps).await;
            let failure = Box::new(CloudError::from(error).into());
            return Err(Failure::NotCleared { failure, left });
        }
        let vendor = Vendor::connect(vendor_config.clone(), SAAS_STACK).await?;
        let customer = Customer {
            s3: S3::new(&config),
            sagemaker: sagemaker::Client::new(&config),
            scaling: applicationautoscaling::Client::new(&config),
            config,
        };
        let api = vendor.deployment.api_url.trim_end_matches('/').to_owned();
        let token = ask.token.clone();
        let site = Self {
            vendor,
            tenant,
            customer,
            api,
            token,
            vendor_config,
            packages: Some(bucket),
            local: None,
        };
        site.invite(steps).await
    }

    /// Does what vendor and customer do together; what fails is cleared away.
    async fn invite(self, steps: &Steps) -> Result<Self, Failure> {
        steps.step("deploying infra/customer.yaml");
        let invited = async {
            self.vendor.add_tenant(&self.tenant).await?;
            let bus = &self.vendor.deployment.event_bus;
            let invitation = Invitation::new(&self.tenant, bus);
            let parameters: Vec<(&str, &str)> = invitation.parameters().collect();
            let config = &self.customer.config;
            stacks::deploy(config, CUSTOMER_STACK, CUSTOMER_TEMPLATE, &parameters)
                .await
                .map_err(CloudError::from)?;
            Ok::<_, Failure>(())
        };
        match invited.await {
            Ok(()) => Ok(self),
            Err(error) => {
                let left = self.clear_away(steps).await;
                Err(Failure::NotCleared { failure: Box::new(error), left })
            }
        }
    }

    /// Whether it is on this machine, where nothing costs anything.
    pub(super) fn is_local(&self) -> bool {
        self.local.is_some()
    }

    /// The vendor's account, as an operator reaches it.
    pub(super) fn vendor_config(&self) -> &SdkConfig {
        &self.vendor_config
    }

    /// Removes everything that was made, and says what could not be.
    pub(super) async fn clear_away(self, steps: &Steps) -> Left {
        let mut left = Left::new();
        steps.step("removing the tenant");
        let removal = Removal { artifacts: true, force: false };
        let known = self.vendor.registry.tenant(&self.tenant.tenant).await;
        if known.is_ok_and(|tenant| tenant.status != TenantStatus::Deleted)
            && let Err(error) =
                self.vendor.remove_tenant(&self.tenant.tenant, removal, |_| {}).await
        {
            left.push(format!("tenant {}: {error}", self.tenant.tenant));
        }
        if let Some(cloud) = self.local {
            cloud.stop().await;
            return left;
        }
        steps.step("deleting the customer's stack");
        if let Err(error) = stacks::delete(&self.customer.config, CUSTOMER_STACK).await {
            left.push(format!("stack {CUSTOMER_STACK} in {}: {error}", self.tenant.account));
        }
        let bucket = self.tenant.bucket.as_str();
        if let Err(error) = delete_bucket(&self.customer.s3, bucket).await {
            left.push(format!("bucket {bucket} in {}: {error}", self.tenant.account));
        }
        let registry = &self.vendor.deployment.registry_bucket;
        let packages = self.packages.as_deref();
        left.extend(clear_vendor(&self.vendor_config, packages, Some(registry), steps).await);
        left
    }
}

fn tenant(ask: &Ask, account: AccountId, region: RegionName) -> Result<Tenant, Failure> {
    let role = |name| RoleArn::new(&region, &account, name).map_err(CloudError::from);
    let id: TenantId = ask.tenant.clone();
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
        Ok(_) | Err(VendorError::NoOutput { .. }) => Ok(true),
        Err(error) if error.to_string().contains("does not exist") => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The functions as `cargo lambda build` leaves them.
fn packages(directory: &Path) -> Result<Vec<functions::Package>, Failure> {
    functions::package_from(|function| directory.join(function).join("bootstrap")).map_err(
        |error| match error {
            FunctionsError::Missing(path, reason) => Failure::NoFunctions(path, reason),
            other => CloudError::from(other).into(),
        },
    )
}

async fn clear_vendor(
    config: &SdkConfig,
    packages: Option<&str>,
    registry: Option<&String>,
    steps: &Steps,
) -> Left {
    let mut left = Left::new();
    steps.step("deleting the vendor's stack");
    if let Err(error) = stacks::delete(config, SAAS_STACK).await {
        left.push(format!("stack {SAAS_STACK}: {error}"));
    }
    let s3 = S3::new(config);
    for bucket in [packages, registry.map(String::as_str)].into_iter().flatten() {
        if let Err(error) = delete_bucket(&s3, bucket).await {
            left.push(format!("bucket {bucket}: {error}"));
        }
    }
    left
}

/// Deletes a bucket with all versions of all that it holds, one by one: what XML
/// cannot name is not deleted in bulk. A bucket that is gone is fine.
async fn delete_bucket(s3: &S3, bucket: &str) -> Result<(), CallError> {
    loop {
        let listed = s3.list_object_versions().bucket(bucket).encoding_type(EncodingType::Url);
        let listed = listed.send().await;
        let listed = match listed.map_err(|e| CallError::new("s3:ListBucketVersions", bucket, &e)) {
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
            deleted.map_err(|e| CallError::new("s3:DeleteObjectVersion", bucket, &e))?;
        }
    }
    s3.delete_bucket()
        .bucket(bucket)
        .send()
        .await
        .map_err(|e| CallError::new("s3:DeleteBucket", bucket, &e))?;
    Ok(())
}
