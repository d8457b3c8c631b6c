//! `crosspilot cost`: what a run may cost before it starts, and what bills now.

mod estimate;

use std::path::Path;

use crosspilot_core::ids::{ModelName, TenantId};
use crosspilot_core::manage::{Action, EndpointStock, ModelStock, Report, Stock};
use crosspilot_core::settings::{Hosting, Mode, ModelSettings};
use crosspilot_core::tenant::{Limits, Tenant};
use crosspilot_operator::Vendor;
use serde_json::{Value, json};

use crate::args::CostOptions;
use crate::failure::Failure;
use crate::output::Steps;
use crate::{connect, output};
use estimate::{Cost, EndpointCost, Estimate, HOURS_A_MONTH, NoPrice, Plan, Prices, dollars};

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
    let vendor = connect::vendor(home, aws).await?;
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
        output::json(&as_json(&tenant, &stock, &prices));
    } else {
        print(&tenant, &stock, &prices);
    }
    Ok(())
}

/// Estimates what `crosspilot prove` may cost: two of the smallest jobs, each with an
/// endpoint and a transform job on the default instance, for some hours together.
pub(crate) fn of_a_proof() -> Result<String, Failure> {
    const HOURS: f64 = 3.0;
    let prices = Prices::built_in()?;
    let mut settings = ModelSettings::predicting("y");
    settings.training.mode = Some(Mode::Ensembling);
    let limits = Limits { max_candidates: 1, max_runtime_seconds: 7200 };
    let plan = Plan { limits: &limits, settings: &settings, bytes: Some(1 << 20) };
    let estimate = prices.estimate(&plan);
    let Some((run, month)) = estimate.total.zip(estimate.month.cost) else {
        return Ok("it deploys both stacks, trains twice and serves for an hour or two; the prices that are known do not tell what that costs".to_owned());
    };
    let serving = HOURS * month.most / HOURS_A_MONTH;
    Ok(format!(
        "it deploys both stacks, trains twice, serves for an hour or two, and removes it all: {} typically, {} at most with the prices of {} ({})",
        dollars(2.0 * run.typical + serving),
        dollars(2.0 * (run.most + serving)),
        prices.region,
        prices.as_of
    ))
}

/// Writes one line of cost before a run starts. Whatever is in its way, the run is not.
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
    let estimate = estimate(&document, stock, &prices);
    Ok(match estimate.total {
        Some(Cost { typical, most }) => format!(
            "estimated cost on AWS: {} typically, {} at most, for training, scoring and moving the endpoint ({}; `crosspilot cost {tenant} {model}` lists it)",
            dollars(typical),
            dollars(most),
            size(stock.training_data.bytes)
        ),
        None => format!("no estimate of its cost: {}", unknown(&estimate)),
    })
}

/// Estimates in one line what these settings may cost, whatever the data.
pub(crate) fn of_settings(limits: &Limits, settings: &ModelSettings) -> Result<String, Failure> {
    let estimate = Prices::built_in()?.estimate(&Plan { limits, settings, bytes: None });
    let run = match estimate.total {
        Some(cost) => format!("a run {} at most", dollars(cost.most)),
        None => format!("a run: {}", unknown(&estimate)),
    };
    Ok(match estimate.month.cost {
        Some(month) => format!("{run}; serving {} a month", span(month)),
        None => run,
    })
}

/// The costs of a model on AWS, for the demo, where it costs nothing.
pub(crate) struct OnAws {
    prices: Prices,
    estimate: Estimate,
}

impl OnAws {
    pub(crate) fn new(
        tenant: &Tenant,
        settings: &ModelSettings,
        bytes: usize,
    ) -> Result<Self, Failure> {
        let prices = Prices::built_in()?;
        let bytes = u64::try_from(bytes).ok();
        let estimate = prices.estimate(&Plan { limits: &tenant.limits, settings, bytes });
        Ok(Self { prices, estimate })
    }

    pub(crate) fn as_json(&self) -> Value {
        json!(self.estimate)
    }

    pub(crate) fn print(&self) {
        print_estimate(&self.estimate);
        print_footing(&self.prices);
    }
}

/// Says why there is no total.
fn unknown(estimate: &Estimate) -> &str {
    let unknown = estimate.lines.iter().find(|line| line.cost.is_none());
    unknown.map_or("a price is not known", |line| &line.assumes)
}

/// From what to what.
fn span(Cost { typical, most }: Cost) -> String {
    if typical < most {
        format!("{} to {}", dollars(typical), dollars(most))
    } else {
        dollars(most)
    }
}

/// Takes stock, with predictions counted in the last days.
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

/// Estimates what a model's things cost; one that nobody has set up, by the defaults.
fn estimate(tenant: &Tenant, stock: &ModelStock, prices: &Prices) -> Estimate {
    let defaults = ModelSettings::predicting("");
    let settings = tenant.models.get(&stock.model).unwrap_or(&defaults);
    let bytes = Some(stock.training_data.bytes);
    prices.estimate(&Plan { limits: &tenant.limits, settings, bytes })
}

/// Adds up what all endpoints cost an hour, as far as prices are known.
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
            let Estimate { lines, total, month } = estimate(tenant, model, prices);
            json!({
                "model": model.model, "training_data": model.training_data,
                "run": {"lines": lines, "total": total},
                "month": month, "serving": endpoint,
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
    for model in &stock.models {
        let data = size(model.training_data.bytes);
        output::heading(&format!("model {}: a run on {data}, and serving", model.model));
        print_estimate(&estimate(tenant, model, prices));
    }
    output::heading("what bills now");
    let endpoints = stock.models.iter().filter_map(|model| Some((model, model.endpoint.as_ref()?)));
    let rows: Vec<Vec<String>> = endpoints
        .map(|(model, endpoint)| {
            let costs = match endpoint.hosting.as_ref().map(|hosting| prices.endpoint(hosting)) {
                Some(Ok(EndpointCost::Hour { hour, .. })) => format!("${hour:.3} an hour"),
                Some(Ok(EndpointCost::Request { second })) => format!("${second:.6} a second"),
                Some(Err(_)) => "no price".to_owned(),
                None => "its config is gone".to_owned(),
            };
            vec![
                model.model.to_string(),
                hosting(endpoint),
                costs,
                endpoint.invocations.to_string(),
            ]
        })
        .collect();
    if rows.is_empty() {
        output::line("  no endpoint");
    } else {
        output::table(&["endpoint of", "runs on", "costs", "asked"], &rows);
    }
    for job in &stock.jobs {
        output::line(&format!(
            "  job {}\n    of model {} since {}",
            job.name, job.model, job.created
        ));
    }
    let hour = an_hour(stock, prices);
    output::paragraph(&format!(
        "Endpoints together: ${hour:.3} an hour, {} a month. Running jobs and requests come on top. Asked within {DAYS} days.",
        dollars(hour * HOURS_A_MONTH)
    ));
    print_footing(prices);
}

fn print_estimate(estimate: &Estimate) {
    let row = |what: &str, cost: Option<Cost>| {
        let cells = cost.map_or(["-".to_owned(), "-".to_owned()], |Cost { typical, most }| {
            [dollars(typical), dollars(most)]
        });
        [what.to_owned()].into_iter().chain(cells).collect::<Vec<_>>()
    };
    let lines = estimate.lines.iter().map(|line| row(line.what, line.cost));
    let rows = lines
        .chain([row("a run", estimate.total), row(estimate.month.what, estimate.month.cost)])
        .collect::<Vec<_>>();
    output::table(&["", "typically", "at most"], &rows);
    for line in estimate.lines.iter().chain([&estimate.month]) {
        output::paragraph(&format!("{}: {}.", line.what, line.assumes));
    }
}

fn print_footing(prices: &Prices) {
    output::paragraph(&format!(
        "An estimate with on-demand prices of {}, {}, for the machines named. At most is what they cost if every stage takes as long as it may; a redrive pays again for what it repeats. Storage, requests, keys and data through the endpoint come on top.",
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
