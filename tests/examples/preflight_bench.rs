//! The time and the memory that the preflight of a gigabyte takes on the local cloud: the
//! function's own code in a process of its own, against reading all of it in another.
//!
//! `cargo run -p crosspilot-tests --example preflight_bench [megabytes [files]]`
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement, run by hand")]

use std::path::Path;
use std::time::Instant;

use crosspilot_core::aws::s3::Client;
use crosspilot_core::bucket::Bucket;
use crosspilot_core::ids::ModelName;
use crosspilot_core::settings::ModelSettings;
use crosspilot_core::tenant::Tenant;
use crosspilot_local::state::Running;
use crosspilot_tests::{Customer, churn, home_of, on_local_cloud, onboarding};
use tokio::process::Command;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["measure", way, home, tenant] => measure(way, Path::new(home), tenant),
        sizes => {
            let number = |at: usize, default| sizes.get(at).map_or(default, |n| n.parse().unwrap());
            compare(number(0, 1000), number(1, 64));
        }
    }
}

/// Fills a customer's bucket and measures both ways, each in its own process.
fn compare(megabytes: usize, files: usize) {
    on_local_cloud(async |cloud| {
        let customer = Customer::with(cloud, onboarding("bench")).await;
        // Nothing shall start to train on it.
        let status = crosspilot_core::tenant::TenantStatus::Suspended;
        cloud.vendor().set_status(&customer.tenant.tenant, status).await.unwrap();
        let part = churn(megabytes * 1_000_000 / files / 67, 1);
        let started = Instant::now();
        for number in 0..files {
            let key = format!("crosspilot/churn/train/part-{number:04}.csv");
            customer.put(&key, part.clone()).await;
        }
        let total = part.len() * files / 1_000_000;
        println!(
            "{files} files of {total} MB in all, uploaded in {:.1} s",
            started.elapsed().as_secs_f64()
        );
        let home = home_of(cloud);
        let tenant = serde_json::to_string(&customer.tenant).unwrap();
        for way in ["preflight", "read everything"] {
            let program = std::env::current_exe().unwrap();
            let mut child = Command::new(program);
            child.args(["measure", way]).arg(&home).arg(&tenant);
            assert!(child.status().await.unwrap().success());
        }
    });
}

#[tokio::main(flavor = "current_thread")]
async fn measure(way: &str, home: &Path, tenant: &str) {
    let tenant: Tenant = serde_json::from_str(tenant).unwrap();
    let running = Running::find(home).await.unwrap().unwrap();
    let s3 = Client::new(&running.endpoints.administrator(tenant.account.as_str()));
    let before = peak_megabytes();
    let started = Instant::now();
    let rows = match way {
        "preflight" => {
            let bucket = Bucket { s3, tenant: &tenant };
            let model: ModelName = "churn".parse().unwrap();
            let settings = ModelSettings::predicting("Churn?");
            let (_, verdict) =
                crosspilot_preflight::inspect(&bucket, &model, &settings).await.unwrap();
            assert!(verdict.is_fit(), "{:?}", verdict.errors);
            verdict.training.rows.unwrap().count
        }
        _ => read_everything(&s3, &tenant).await,
    };
    let seconds = started.elapsed().as_secs_f64();
    let after = peak_megabytes();
    println!("{way:16} {seconds:6.2} s  peak {after:4} MB ({before} MB before)  {rows} rows");
}

/// Streams all files and counts line feeds.
async fn read_everything(s3: &Client, tenant: &Tenant) -> u64 {
    let bucket = tenant.bucket.as_str();
    let list = s3.list_objects_v2().bucket(bucket).prefix("crosspilot/churn/train/");
    let list = list.send().await.unwrap();
    let mut rows = 0;
    for object in list.contents() {
        let object = s3.get_object().bucket(bucket).key(object.key().unwrap()).send().await;
        let mut body = object.unwrap().body;
        while let Some(part) = body.next().await {
            rows += part.unwrap().iter().filter(|byte| **byte == b'\n').count() as u64;
        }
        // Its header is none.
        rows -= 1;
    }
    rows
}

/// The most memory that this process ever had.
fn peak_megabytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}
