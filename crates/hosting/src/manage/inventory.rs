//! The stock of a tenant's account: what there is, what of it bills, and what nobody asks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use crosspilot_core::aws::s3;
use crosspilot_core::aws::sagemaker::Client;
use crosspilot_core::aws::sagemaker::primitives::DateTime;
use crosspilot_core::aws::sagemaker::types::ProductionVariant;
use crosspilot_core::cloudwatch::Metric;
use crosspilot_core::error::{CallError, Named};
use crosspilot_core::events;
use crosspilot_core::ids::ModelName;
use crosspilot_core::lambda::App;
use crosspilot_core::layout;
use crosspilot_core::listing::Listing;
use crosspilot_core::manage::{
    DataStock, EndpointStock, Idle, JobStock, ModelStock, Progress, Report, Stock,
};
use crosspilot_core::policy::Purpose;
use crosspilot_core::registry::{Lineup, OwnCalls, RegistryError, seconds};
use crosspilot_core::sagemaker::found;
use crosspilot_core::session::CustomerSession;
use crosspilot_core::settings::Hosting;
use crosspilot_core::tenant::{Tenant, TenantStatus};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::json;

use super::account::{Resource, Search, moment};
use super::{done, open, removal};
use crate::HostingError;

/// CloudWatch keeps what happened for 455 days.
const MOST_DAYS: u16 = 455;
const DAY: u64 = 86_400;
/// The number of endpoints that are looked at at once: one after the other, a tenant of a
/// hundred models would take longer than the function may.
const LOOKS_AT_ONCE: usize = 8;

/// Looks at everything, with predictions counted in the last days.
pub(super) async fn take_stock(
    app: &App,
    tenant: &Tenant,
    days: u16,
) -> Result<Progress, HostingError> {
    let session = open(app, tenant, Purpose::TakeStock).await?;
    let sagemaker = session.sagemaker();
    let search = Search { sagemaker: &sagemaker, tenant, model: None };
    let stock = async |endpoint: Resource| {
        let own = own_calls(app, tenant, &endpoint.model).await?;
        let stock = look(&session, &sagemaker, &endpoint.name, &own, days).await?;
        Ok::<_, HostingError>((endpoint.model, stock))
    };
    let ours = stream::iter(search.endpoints().await?.ours);
    let mut endpoints: BTreeMap<ModelName, Option<EndpointStock>> =
        ours.map(stock).buffer_unordered(LOOKS_AT_ONCE).try_collect().await?;
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
pub(super) async fn tidy_up(
    app: &App,
    tenant: &Tenant,
    days: u16,
) -> Result<Progress, HostingError> {
    if tenant.status != TenantStatus::Active {
        return Ok(done(Report::Idle { endpoints: Vec::new() }));
    }
    let session = open(app, tenant, Purpose::TakeStock).await?;
    let sagemaker = session.sagemaker();
    let search = Search { sagemaker: &sagemaker, tenant, model: None };
    let look_at = async |endpoint: Resource| {
        let settings = tenant.models.get(&endpoint.model);
        let limit = settings.and_then(|settings| settings.deployment.remove_after_idle_days);
        // Whichever comes first is looked at: a model may be quicker than the report.
        let mut counts = vec![days];
        counts.extend(limit);
        counts.sort_unstable();
        let own = own_calls(app, tenant, &endpoint.model).await?;
        let mut idle_stock = None;
        for days in counts {
            let stock = look(&session, &sagemaker, &endpoint.name, &own, days).await?;
            match stock.filter(EndpointStock::is_idle) {
                Some(stock) => idle_stock = Some(stock),
                None => break,
            }
        }
        Ok::<_, HostingError>(idle_stock.map(|stock| {
            let removed = is_due(&stock, limit);
            let Resource { name, model, .. } = endpoint.clone();
            (endpoint, Idle { model, endpoint: name, days: stock.days, removed })
        }))
    };
    let ours = stream::iter(search.endpoints().await?.ours);
    let idle: Vec<_> = ours.map(look_at).buffered(LOOKS_AT_ONCE).try_collect().await?;
    let (found, mut endpoints): (Vec<Resource>, Vec<Idle>) = idle.into_iter().flatten().unzip();
    for (endpoint, idle) in found.iter().zip(&mut endpoints) {
        if idle.removed {
            idle.removed = retire(app, tenant, endpoint).await?;
        }
    }
    if !endpoints.is_empty() {
        // Only what was done is told. An attempt that is repeated finds the endpoint
        // being deleted, which takes SageMaker minutes, and tells of it then.
        let detail = json!({"tenant": tenant.tenant, "endpoints": endpoints});
        events::announce(app, "Crosspilot Endpoint Idle", &detail).await?;
    }
    Ok(done(Report::Idle { endpoints }))
}

/// The calls of a model that are ours. Where their document cannot be read, all calls
/// count as predictions: nothing is called idle for it, and the other models are seen.
async fn own_calls(
    app: &App,
    tenant: &Tenant,
    model: &ModelName,
) -> Result<OwnCalls, HostingError> {
    match app.registry.own_calls(&tenant.tenant, model).await {
        Err(error @ RegistryError::Broken { .. }) => {
            tracing::warn!(tenant = %tenant.tenant, %model, "own calls are not told apart: {error}");
            Ok(OwnCalls::default())
        }
        found => Ok(found?),
    }
}

/// Tells whether an idle endpoint is to be removed. One that moves is looked at again
/// tomorrow.
fn is_due(stock: &EndpointStock, limit: Option<u16>) -> bool {
    stock.is_idle() && limit.is_some_and(|limit| stock.days >= limit)
}

/// Removes an endpoint that nobody asks, and then says that nothing serves.
/// `false` for one that a run takes, or that began to move meanwhile: it stays, and
/// serves, until tomorrow.
async fn retire(app: &App, tenant: &Tenant, endpoint: &Resource) -> Result<bool, HostingError> {
    let (id, model) = (&tenant.tenant, &endpoint.model);
    let taken = app.registry.lineup(id, model).await?.challenger.is_some();
    if taken || !removal::take_down(app, tenant, endpoint).await? {
        return Ok(false);
    }
    let rest = |lineup: &mut Lineup| {
        if lineup.challenger.is_none() {
            lineup.rest();
        }
    };
    app.registry.change_lineup(id, model, rest).await?;
    Ok(true)
}

/// None if it is gone meanwhile.
async fn look(
    session: &CustomerSession,
    sagemaker: &Client,
    name: &str,
    own: &OwnCalls,
    days: u16,
) -> Result<Option<EndpointStock>, CallError> {
    let days = days.clamp(1, MOST_DAYS);
    let described = sagemaker.describe_endpoint().endpoint_name(name).send().await;
    let described = described.named("sagemaker:DescribeEndpoint", name);
    let Some(described) = found(described)? else { return Ok(None) };
    let at = |time: Option<&DateTime>| time.and_then(|time| u64::try_from(time.secs()).ok());
    let created = at(described.creation_time()).unwrap_or(0);
    let changed = at(described.last_modified_time()).unwrap_or(created);
    let now = seconds(SystemTime::now());
    let window = now.saturating_sub(DAY * u64::from(days))..now;
    let since = counted_since(created, changed, own);
    let mut instances = None;
    let mut variants = BTreeSet::new();
    for variant in described.production_variants() {
        instances = instances.or(variant.current_instance_count());
        variants.extend(variant.variant_name());
    }
    if changed > window.start && since <= window.start {
        variants.extend(own.variants_since(window.start));
    }
    let mut invocations = 0;
    for variant in variants {
        let metric = Metric {
            namespace: "AWS/SageMaker",
            name: "Invocations",
            dimensions: &[("EndpointName", name), ("VariantName", variant)],
        };
        let counted = session.metric_sum(metric, days).await?;
        invocations += own.others(counted as u64, variant, &window);
    }
    let config = described.endpoint_config_name().unwrap_or_default();
    Ok(Some(EndpointStock {
        name: name.to_owned(),
        status: described.endpoint_status().map_or("Unknown", |s| s.as_str()).to_owned(),
        hosting: hosting(sagemaker, config, instances).await?,
        created: moment(described.creation_time()),
        unchanged_days: now.saturating_sub(changed) / DAY,
        counted_days: now.saturating_sub(since) / DAY,
        invocations,
        days,
    }))
}

/// From when on all variants are known that an endpoint served: the present ones
/// since it was last changed, and those before since runs note what comes to serve.
fn counted_since(created: u64, changed: u64, own: &OwnCalls) -> u64 {
    own.since().map_or(changed, |noted| noted.min(changed)).max(created)
}

/// Reads what an endpoint runs on: its config, with as many instances as there are
/// now.
async fn hosting(
    sagemaker: &Client,
    config: &str,
    instances: Option<i32>,
) -> Result<Option<Hosting>, CallError> {
    let described = sagemaker.describe_endpoint_config().endpoint_config_name(config).send().await;
    let described = described.named("sagemaker:DescribeEndpointConfig", config);
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

/// Measures how much there is to train on.
async fn data(s3: &s3::Client, tenant: &Tenant, model: &ModelName) -> Result<DataStock, CallError> {
    let prefix = layout::train_prefix(&tenant.prefix, model);
    let listing = Listing::under(s3, tenant.bucket.as_str(), &prefix);
    let mut listing = listing.owned_by(&tenant.account);
    let mut stock = DataStock::default();
    while let Some(page) = listing.next().await {
        let page = page.named("s3:ListBucket", layout::uri(tenant, &prefix))?;
        for object in page {
            // A folder's marker has no bytes.
            let bytes = object.size().and_then(|size| u64::try_from(size).ok()).unwrap_or(0);
            stock.bytes += bytes;
            stock.files += u64::from(bytes > 0);
        }
    }
    Ok(stock)
}

#[cfg(test)]
mod tests {
    use crosspilot_core::registry::OwnCall;

    use super::*;

    #[test]
    fn new_models_reset_nothing_once_runs_note_them() {
        let noted = |ended| {
            let variant = "20260101-0000000001".to_owned();
            OwnCalls { notes: vec![OwnCall { variant, begun: ended, ended, calls: 1 }] }
        };
        for (created, changed, own, expected) in [
            (DAY, DAY, OwnCalls::default(), DAY),
            // Changed before anything was noted: what served until then is not known.
            (DAY, 9 * DAY, OwnCalls::default(), 9 * DAY),
            (DAY, 9 * DAY, noted(4 * DAY), 4 * DAY),
            (DAY, 9 * DAY, noted(10 * DAY), 9 * DAY),
            // Made anew since.
            (6 * DAY, 9 * DAY, noted(4 * DAY), 6 * DAY),
        ] {
            assert_eq!(counted_since(created, changed, &own), expected);
        }
    }

    #[test]
    fn an_idle_endpoint_is_removed_when_its_time_has_come_and_it_does_not_move() {
        for (status, days, limit, due) in [
            ("InService", 30, Some(30), true),
            ("InService", 29, Some(30), false),
            ("InService", 455, None, false),
            ("Updating", 30, Some(30), false),
            // An attempt that is repeated finds it so.
            ("Deleting", 30, Some(30), true),
            ("Failed", 30, Some(30), false),
        ] {
            let stock = EndpointStock {
                name: "e".into(),
                status: status.into(),
                hosting: None,
                created: String::new(),
                unchanged_days: 0,
                counted_days: 455,
                invocations: 0,
                days,
            };
            assert_eq!(is_due(&stock, limit), due, "{status} {days} {limit:?}");
        }
    }
}
