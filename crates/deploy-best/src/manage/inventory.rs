//! What a tenant has in its account, what of it bills, and what nobody asks.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use crosspilot_core::aws::s3;
use crosspilot_core::aws::sagemaker::Client;
use crosspilot_core::aws::sagemaker::types::ProductionVariant;
use crosspilot_core::error::CallError;
use crosspilot_core::events;
use crosspilot_core::ids::ModelName;
use crosspilot_core::lambda::App;
use crosspilot_core::layout;
use crosspilot_core::listing::Listing;
use crosspilot_core::manage::{
    DataStock, EndpointStock, Idle, JobStock, ModelStock, Progress, Report, Stock,
};
use crosspilot_core::metrics::Metric;
use crosspilot_core::policy::Purpose;
use crosspilot_core::session::CustomerSession;
use crosspilot_core::settings::Hosting;
use crosspilot_core::tenant::{Tenant, TenantStatus};
use serde_json::json;

use super::account::{Resource, Search, moment};
use super::{done, found, open, removal};
use crate::Error;

/// CloudWatch keeps what happened for 455 days.
const MOST_DAYS: u16 = 455;

/// Looks at everything, with predictions counted in the last days.
pub(super) async fn take_stock(app: &App, tenant: &Tenant, days: u16) -> Result<Progress, Error> {
    let session = open(app, tenant, Purpose::TakeStock).await?;
    let sagemaker = session.sagemaker();
    let search = Search { sagemaker: &sagemaker, tenant, model: None };
    let mut endpoints = BTreeMap::new();
    for endpoint in search.endpoints().await?.ours {
        let stock = look(&session, &sagemaker, &endpoint.name, days).await?;
        endpoints.insert(endpoint.model, stock);
    }
    let mut names: Vec<ModelName> = tenant.models.keys().chain(endpoints.keys()).cloned().collect();
    names.sort();
    names.dedup();
    let mut models = Vec::new();
    for model in names {
        let training_data = data(&session.s3(), tenant, &model).await?;
        let endpoint = endpoints.remove(&model).flatten();
        models.push(ModelStock { model, training_data, endpoint });
    }
    let jobs = search.jobs().await?.into_iter();
    let jobs = jobs
        .map(|job| JobStock { name: job.name, model: job.model, created: job.created })
        .collect();
    Ok(done(Report::Stock(Stock { models, jobs })))
}

/// Reports endpoints that nobody asks. Those whose model says so are removed:
/// the endpoint alone, which is what bills. Its config and model stay, so that
/// a rollback brings it back. A tenant that is not active is passed over.
pub(super) async fn tidy_up(app: &App, tenant: &Tenant, days: u16) -> Result<Progress, Error> {
    if tenant.status != TenantStatus::Active {
        return Ok(done(Report::Idle { endpoints: Vec::new() }));
    }
    let session = open(app, tenant, Purpose::TakeStock).await?;
    let sagemaker = session.sagemaker();
    let search = Search { sagemaker: &sagemaker, tenant, model: None };
    let mut idle = Vec::new();
    for endpoint in search.endpoints().await?.ours {
        let settings = tenant.models.get(&endpoint.model);
        let limit = settings.and_then(|settings| settings.deployment.remove_after_idle_days);
        // Whichever comes first is looked at: a model may be quicker than the report.
        let mut counts = vec![days];
        counts.extend(limit);
        counts.sort_unstable();
        let (mut found, mut in_service) = (None, false);
        for days in counts {
            let stock = look(&session, &sagemaker, &endpoint.name, days).await?;
            match stock.filter(EndpointStock::is_idle) {
                // One that moves is looked at again tomorrow.
                Some(stock) => {
                    (found, in_service) = (Some(stock.days), stock.status == "InService")
                }
                None => break,
            }
        }
        let Some(days) = found else { continue };
        let removed = in_service && limit.is_some_and(|limit| days >= limit);
        idle.push((
            endpoint.clone(),
            Idle { model: endpoint.model, endpoint: endpoint.name, days, removed },
        ));
    }
    let (found, endpoints): (Vec<Resource>, Vec<Idle>) = idle.into_iter().unzip();
    if !endpoints.is_empty() {
        // Before the removal, after which a repeated attempt finds nothing to tell of.
        let detail = json!({"tenant": tenant.tenant, "endpoints": endpoints});
        events::announce(app, "Crosspilot Endpoint Idle", &detail).await?;
    }
    for (endpoint, idle) in found.iter().zip(&endpoints) {
        if idle.removed {
            retire(app, tenant, endpoint).await?;
        }
    }
    Ok(done(Report::Idle { endpoints }))
}

/// Removes an endpoint that nobody asks. First it does not serve any more, then
/// it is gone: an attempt that ends between the two is repeated whole.
async fn retire(app: &App, tenant: &Tenant, endpoint: &Resource) -> Result<(), Error> {
    app.registry.change_lineup(&tenant.tenant, &endpoint.model, |lineup| lineup.rest()).await?;
    removal::take_down(app, tenant, endpoint).await.map(drop)
}

/// None if it is gone meanwhile.
async fn look(
    session: &CustomerSession,
    sagemaker: &Client,
    name: &str,
    days: u16,
) -> Result<Option<EndpointStock>, CallError> {
    let days = days.clamp(1, MOST_DAYS);
    let described = sagemaker.describe_endpoint().endpoint_name(name).send().await;
    let described = described.map_err(|e| CallError::new("sagemaker:DescribeEndpoint", name, &e));
    let Some(described) = found(described)? else { return Ok(None) };
    let mut invocations = 0.0;
    let mut instances = None;
    for variant in described.production_variants() {
        let variant_name = variant.variant_name().unwrap_or_default();
        instances = instances.or(variant.current_instance_count());
        let metric = Metric {
            namespace: "AWS/SageMaker",
            name: "Invocations",
            dimensions: &[("EndpointName", name), ("VariantName", variant_name)],
        };
        invocations += session.metric_sum(metric, days).await?;
    }
    let changed = described.last_modified_time().or(described.creation_time());
    let changed = changed.map_or(0, |time| u64::try_from(time.secs()).unwrap_or(0));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let config = described.endpoint_config_name().unwrap_or_default();
    Ok(Some(EndpointStock {
        name: name.to_owned(),
        status: described.endpoint_status().map_or("Unknown", |s| s.as_str()).to_owned(),
        hosting: hosting(sagemaker, config, instances).await?,
        created: moment(described.creation_time()),
        unchanged_days: now.saturating_sub(changed) / 86_400,
        invocations: invocations as u64,
        days,
    }))
}

/// What an endpoint runs on: its config, with as many instances as there are
/// now.
async fn hosting(
    sagemaker: &Client,
    config: &str,
    instances: Option<i32>,
) -> Result<Option<Hosting>, CallError> {
    let described = sagemaker.describe_endpoint_config().endpoint_config_name(config).send().await;
    let described =
        described.map_err(|e| CallError::new("sagemaker:DescribeEndpointConfig", config, &e));
    let Some(described) = found(described)? else { return Ok(None) };
    Ok(described.production_variants().first().and_then(|variant| hosted(variant, instances)))
}

fn hosted(variant: &ProductionVariant, instances: Option<i32>) -> Option<Hosting> {
    let small = |number: Option<i32>| u16::try_from(number?).ok();
    if let Some(serverless) = variant.serverless_config() {
        return Some(Hosting::Serverless {
            memory_mb: small(serverless.memory_size_in_mb())?,
            max_concurrency: small(serverless.max_concurrency())?,
        });
    }
    Some(Hosting::Instance {
        instance_type: variant.instance_type()?.as_str().to_owned(),
        count: small(instances.or(variant.initial_instance_count()))?,
    })
}

/// How much there is to train on.
async fn data(s3: &s3::Client, tenant: &Tenant, model: &ModelName) -> Result<DataStock, CallError> {
    let prefix = layout::train_prefix(&tenant.prefix, model);
    let list = s3.list_objects_v2().bucket(tenant.bucket.as_str()).prefix(&prefix);
    let list = list.expected_bucket_owner(tenant.account.as_str());
    let mut listing = Listing::of(list);
    let mut stock = DataStock::default();
    while let Some(page) = listing.next().await {
        let page =
            page.map_err(|e| CallError::new("s3:ListBucket", layout::uri(tenant, &prefix), &e))?;
        for object in page {
            // A folder's marker has no bytes.
            let bytes = object.size().and_then(|size| u64::try_from(size).ok()).unwrap_or(0);
            stock.bytes += bytes;
            stock.files += u64::from(bytes > 0);
        }
    }
    Ok(stock)
}
