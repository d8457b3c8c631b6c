//! `crosspilot cost`: what a run may cost before it starts, and what bills now.

mod estimate;

use std::path::Path;

use crosspilot_core::ids::{ModelName, TenantId};
use crosspilot_core::manage::{Action, EndpointStock, ModelStock, Report, Stock};
use crosspilot_core::settings::{Hosting, Mode};
use crosspilot_core::tenant::Tenant;
use crosspilot_core::vendor::Vendor;
use serde_json::{Value, json};

use crate::args::CostOptions;
use crate::failure::Failure;
use crate::show::Steps;
use crate::{place, show};
use estimate::{Bounds, EndpointCost, HOURS_A_MONTH, NoPrice, Prices, RunCost, dollars};

/// Days that predictions are counted in.
const DAYS: u16 = 30;

pub(crate) async fn run(
    home: &Path,
    aws: Option<String>,
    options: CostOptions,
) -> Result<(), Failure> {
    let prices = match &options.prices {
        Some(file) => {
            let text = std::fs::read_to_string(file)
                .map_err(|error| Failure::Unreadable(file.clone(), error))?;
            serde_json::from_str(&text).map_err(|error| Failure::Prices(file.clone(), error))?
        }
        None => Prices::built_in()?,
    };
    let vendor = place::vendor(home, aws).await?;
    let tenant = vendor.registry.tenant(&options.tenant).await?;
    let steps = Steps::new();
    steps.step("looking at what there is");
    let mut stock = take_stock(&vendor, &options.tenant, DAYS).await?;
    steps.done();
    if let Some(model) = &options.model {
        stock.models.retain(|stock| stock.model == *model);
        stock.jobs.retain(|job| job.model == *model);
        if stock.models.is_empty() {
            return Err(Failure::NothingOfModel(options.tenant, model.clone()));
        }
    }
    if options.json {
        show::json(&as_json(&tenant, &stock, &prices));
    } else {
        print(&tenant, &stock, &prices);
    }
    Ok(())
}

/// What `crosspilot prove` may cost: two of the smallest jobs, each with an
/// endpoint and a transform job on the default instance, for some hours together.
pub(crate) fn of_a_proof() -> Result<String, Failure> {
    const HOURS: f64 = 3.0;
    let prices = Prices::built_in()?;
    let bounds =
        Bounds { mode: Mode::Ensembling, bytes: 1 << 20, candidates: 1, runtime_seconds: 7200 };
    let unknown = |unknown: NoPrice| Failure::Unfit(unknown.to_string());
    let run = prices.run(bounds).map_err(unknown)?;
    let hosting = match prices.endpoint(&Hosting::default()).map_err(unknown)? {
        EndpointCost::Hour { hour, .. } => hour * HOURS,
        EndpointCost::Request { .. } => 0.0,
    };
    Ok(format!(
        "it deploys both stacks, trains twice, serves for an hour or two, and removes it all: {} typically, {} at most with the prices of {} ({})",
        dollars(2.0 * run.typical + hosting),
        dollars(2.0 * (run.most + hosting)),
        prices.region,
        prices.as_of
    ))
}

/// One line before a run starts. Whatever is in its way, the run is not.
pub(crate) async fn announce(vendor: &Vendor, tenant: &TenantId, model: &ModelName) {
    let said = match estimate_one(vendor, tenant, model).await {
        Ok(said) => said,
        Err(reason) => format!("no estimate of its cost: {reason}"),
    };
    eprintln!("{said}");
}

async fn estimate_one(
    vendor: &Vendor,
    tenant: &TenantId,
    model: &ModelName,
) -> Result<String, Failure> {
    let document = vendor.registry.tenant(tenant).await?;
    let stock = take_stock(vendor, tenant, 1).await?;
    let stock = stock.models.iter().find(|stock| stock.model == *model);
    let stock = stock.ok_or_else(|| Failure::NothingOfModel(tenant.clone(), model.clone()))?;
    let prices = Prices::built_in()?;
    Ok(match run_cost(&document, stock, &prices) {
        Ok(RunCost { typical, most, .. }) => format!(
            "estimated cost on AWS: {} typically, {} at most ({})",
            dollars(typical),
            dollars(most),
            size(stock.training_data.bytes)
        ),
        Err(unknown) => format!("no estimate of its cost: {unknown}"),
    })
}

/// What there is, with predictions counted in the last days.
pub(crate) async fn take_stock(
    vendor: &Vendor,
    tenant: &TenantId,
    days: u16,
) -> Result<Stock, Failure> {
    match vendor.manage(tenant, Action::TakeStock { days }, |_| {}).await? {
        Report::Stock(stock) => Ok(stock),
        _ => Ok(Stock::default()),
    }
}

/// The smaller of the tenant's and the model's limits bounds a run.
fn run_cost(tenant: &Tenant, stock: &ModelStock, prices: &Prices) -> Result<RunCost, NoPrice> {
    let settings = tenant.models.get(&stock.model);
    let limits = &tenant.limits;
    let candidates = settings.and_then(|s| s.training.max_candidates).unwrap_or(u16::MAX);
    let runtime = settings.and_then(|s| s.training.max_runtime_seconds).unwrap_or(u32::MAX);
    prices.run(Bounds {
        mode: settings.map_or(Mode::Auto, |settings| settings.mode()),
        bytes: stock.training_data.bytes,
        candidates: candidates.min(limits.max_candidates),
        runtime_seconds: runtime.min(limits.max_runtime_seconds),
    })
}

/// What all endpoints together cost an hour, as far as prices are known.
fn an_hour(stock: &Stock, prices: &Prices) -> f64 {
    let endpoints = stock.models.iter().filter_map(|model| model.endpoint.as_ref());
    let costs = endpoints.filter_map(|endpoint| prices.endpoint(endpoint.hosting.as_ref()?).ok());
    costs
        .map(|cost| match cost {
            EndpointCost::Hour { hour, .. } => hour,
            EndpointCost::Request { .. } => 0.0,
        })
        .sum()
}

fn as_json(tenant: &Tenant, stock: &Stock, prices: &Prices) -> Value {
    let or_reason = |cost: Result<Value, NoPrice>| match cost {
        Ok(cost) => cost,
        Err(unknown) => json!({"unknown": unknown.to_string()}),
    };
    let models: Vec<Value> = stock
        .models
        .iter()
        .map(|model| {
            let endpoint = model.endpoint.as_ref().map(|endpoint| {
                let cost = endpoint
                    .hosting
                    .as_ref()
                    .map(|hosting| or_reason(prices.endpoint(hosting).map(|cost| json!(cost))));
                json!({"endpoint": endpoint, "cost": cost})
            });
            json!({
                "model": model.model, "training_data": model.training_data,
                "run": or_reason(run_cost(tenant, model, prices).map(|cost| json!(cost))),
                "serving": endpoint,
            })
        })
        .collect();
    let hour = an_hour(stock, prices);
    json!({
        "tenant": tenant.tenant, "currency": "USD",
        "prices": {"region": prices.region, "as_of": prices.as_of},
        "models": models, "jobs": stock.jobs,
        "now": {"hour": hour, "month": hour * HOURS_A_MONTH},
    })
}

fn print(tenant: &Tenant, stock: &Stock, prices: &Prices) {
    show::heading("a run, before it starts");
    let rows: Vec<Vec<String>> = stock
        .models
        .iter()
        .map(|model| {
            let data = size(model.training_data.bytes);
            let mut row = vec![model.model.to_string(), data];
            row.extend(match run_cost(tenant, model, prices) {
                Ok(cost) => [
                    dollars(cost.typical),
                    dollars(cost.most),
                    format!("{} x {}", cost.instances, cost.instance_type),
                ],
                Err(unknown) => ["-".to_owned(), "-".to_owned(), unknown.to_string()],
            });
            row
        })
        .collect();
    show::table(&["model", "data", "typically", "at most", "assumed to train on"], &rows);

    show::heading("what bills now");
    let rows: Vec<Vec<String>> = stock
        .models
        .iter()
        .filter_map(|model| {
            let endpoint = model.endpoint.as_ref()?;
            let mut row = vec![endpoint.name.clone(), endpoint.status.clone(), hosting(endpoint)];
            row.extend(match endpoint.hosting.as_ref().map(|hosting| prices.endpoint(hosting)) {
                Some(Ok(EndpointCost::Hour { hour, month })) => {
                    [format!("${hour:.3} an hour"), format!("{} a month", dollars(month))]
                }
                Some(Ok(EndpointCost::Request { second })) => {
                    [format!("${second:.6} a second of work"), "-".to_owned()]
                }
                Some(Err(unknown)) => [unknown.to_string(), "-".to_owned()],
                None => ["its config is gone".to_owned(), "-".to_owned()],
            });
            row.push(format!("{} in {} days", endpoint.invocations, endpoint.days));
            Some(row)
        })
        .collect();
    if rows.is_empty() {
        show::line("  no endpoint");
    } else {
        show::table(&["endpoint", "status", "runs on", "costs", "", "asked"], &rows);
    }
    for job in &stock.jobs {
        show::line(&format!("  job {} of model {} since {}", job.name, job.model, job.created));
    }
    let hour = an_hour(stock, prices);
    show::line(&format!(
        "\nendpoints together: ${hour:.3} an hour, {} a month; running jobs and requests come on top",
        dollars(hour * HOURS_A_MONTH)
    ));
    show::line(&format!(
        "An estimate with on-demand prices of {}, {}. What Autopilot trains on is assumed.",
        prices.region, prices.as_of
    ));
}

fn hosting(endpoint: &EndpointStock) -> String {
    match &endpoint.hosting {
        Some(Hosting::Instance { instance_type, count }) => format!("{count} x {instance_type}"),
        Some(Hosting::Serverless { memory_mb, .. }) => format!("serverless, {memory_mb} MB"),
        None => "-".to_owned(),
    }
}

fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["B", "KB", "MB", "GB"];
    let mut amount = bytes as f64;
    let mut unit = 0;
    while amount >= 1000.0 && unit + 1 < UNITS.len() {
        amount /= 1000.0;
        unit += 1;
    }
    format!("{amount:.*} {}", usize::from(unit > 0 && amount < 10.0), UNITS[unit])
}
