//! Measures a warm prediction of the API against a bare InvokeEndpoint by the same SDK
//! on the same endpoint, with AWS at so many milliseconds a call.
//!
//! ```console
//! $ cargo run --release -p crosspilot-tests --example prediction_bench [milliseconds [pairs]]
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement prints, or fails by panic"
)]

use std::time::{Duration, Instant};

use crosspilot_core::aws::{for_predictions, sagemakerruntime};
use crosspilot_core::lambda::App;
use crosspilot_core::registry::Registry;
use crosspilot_inference::api;
use crosspilot_scripted::{Answer, Scripted, tenant};
use sagemakerruntime::primitives::Blob;
use serde_json::json;

const BODY: &str = "plan,age\npro,30\n";

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args().skip(1).map(|number| number.parse::<u32>().unwrap());
    let latency = Duration::from_millis(arguments.next().unwrap_or(15).into());
    let pairs = arguments.next().unwrap_or(200) as usize;
    let aws = Scripted::new(|call| match call.operation.as_str() {
        "GET /registry/tenants/acme.json" => Answer::json(&tenant("acme")),
        "GET /registry/serving/acme/churn.json" => Answer::json(&json!({"champion": {
            "tenant": "acme", "model": "churn", "run_id": "20260131-3f9a2c71b0", "job": "j",
            "candidate": "c", "endpoint": "e", "variant": "v", "metric": null, "value": null,
            "features": ["plan", "age"], "target": "Churn?",
        }})),
        call if call.ends_with("/invocations") => {
            Answer::good("yes").with("x-amzn-invoked-production-variant", "v")
        }
        _ => Answer::refused_by_s3(404, "NoSuchKey"),
    });
    // A process of its own, so to say: the one that is measured has its core.
    let (said, served) = std::sync::mpsc::channel();
    let of_server = aws.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            said.send(of_server.serve(latency).await).unwrap();
            std::future::pending::<()>().await;
        });
    });
    let served = served.recv().unwrap();
    let config = served.config(&aws);
    let app = App::new(config.clone(), Registry::new(&config, "registry"));
    let event = json!({
        "routeKey": "POST /v1/models/{model}/predictions",
        "requestContext": {"requestId": "r", "authorizer": {"jwt": {"claims": {"tenant": "acme"}}}},
        "pathParameters": {"model": "churn"}, "headers": {"content-type": "text/csv"}, "body": BODY,
    });
    let event: api::Event = serde_json::from_value(event).unwrap();
    let bare_config = for_predictions(&served.config(&aws));
    let bare = sagemakerruntime::Client::new(&bare_config);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    // The first of each opens its connections.
    for pair in 0..=pairs {
        let began = Instant::now();
        let body = Blob::new("pro,30\n");
        let asked = bare.invoke_endpoint().endpoint_name("e").content_type("text/csv").body(body);
        asked.send().await.unwrap();
        let bare_took = began.elapsed();
        let began = Instant::now();
        let answer = api::answer(&app, &event).await;
        assert_eq!(answer.status_code, 200, "{}", answer.body);
        if pair > 0 {
            theirs.push(bare_took);
            ours.push(began.elapsed());
        }
    }
    let median = |times: &mut Vec<Duration>| {
        times.sort();
        times[times.len() / 2].as_secs_f64() * 1000.0
    };
    let (ours, theirs) = (median(&mut ours), median(&mut theirs));
    println!("{pairs} pairs, AWS at {} ms a call", latency.as_millis());
    println!("bare InvokeEndpoint {theirs:8.2} ms (median)");
    println!("prediction API      {ours:8.2} ms, {:.3} times", ours / theirs);
    println!("{} connections in all", served.connections());
}
