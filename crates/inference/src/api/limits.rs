//! Keeps a tenant within the predictions that it may ask for in a minute.

use std::time::Duration;

use crosspilot_core::lambda::App;
use crosspilot_core::registry::Allowance;
use crosspilot_core::tenant::Tenant;

use super::event::Event;
use super::problem::Problem;

/// The time that an answer waits for other processes' counts.
const PATIENCE: Duration = Duration::from_secs(2);

/// Counts a call of so many records, or refuses it.
pub(super) fn admit(
    app: &App,
    tenant: &Tenant,
    event: &Event,
    records: usize,
) -> Result<Allowance, Problem> {
    let (limits, records) = (tenant.predictions, records as u64);
    if records > u64::from(limits.records_per_minute) {
        return Err(Problem::too_large(format!(
            "this customer may predict {} records a minute: send fewer records a request",
            limits.records_per_minute
        )));
    }
    let allowance = app.registry.admit(&tenant.tenant, limits, records, event.second());
    if allowance.admitted {
        return Ok(allowance);
    }
    let problem = Problem::limited(limits, allowance.reset_seconds);
    let said = headers(&allowance).into_iter();
    Err(said.fold(problem, |problem, (name, value)| problem.with_header(name, value)))
}

/// Tells other processes what this one has let in, if it is time to. Predictions go on
/// where that fails: the limits are for the others' sake, and each process still keeps
/// them alone.
pub(super) async fn share(app: &App, tenant: &Tenant, event: &Event) {
    let shared = app.registry.share_usage(&tenant.tenant, event.request_id(), event.second());
    match tokio::time::timeout(PATIENCE, shared).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(tenant = %tenant.tenant, %error, "usage is not shared");
        }
        Err(_) => tracing::warn!(tenant = %tenant.tenant, "usage is not shared: no answer in time"),
    }
}

/// The headers that say what is left of the limits, as
/// draft-ietf-httpapi-ratelimit-headers-10 has them.
pub(super) fn headers(allowance: &Allowance) -> [(&'static str, String); 2] {
    let Allowance { limits, left, reset_seconds: reset, .. } = allowance;
    let policy = format!(
        "\"calls\";q={};w=60, \"records\";q={};w=60",
        limits.calls_per_minute, limits.records_per_minute
    );
    let left =
        format!("\"calls\";r={};t={reset}, \"records\";r={};t={reset}", left.calls, left.records);
    [("ratelimit-policy", policy), ("ratelimit", left)]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;
    use std::sync::{Arc, Mutex};

    use crosspilot_core::registry::Registry;
    use crosspilot_scripted::{Answer, Scripted, tenant};
    use serde_json::json;

    use super::super::{HttpResponse, answer};
    use super::*;

    /// The begin of a minute, in seconds since 1970.
    const NOW: u64 = 1_700_000_040;

    /// A cloud in which tenants may make four calls a minute and have five records
    /// predicted in it, and in which processes share their usage, or cannot.
    fn cloud(shares: bool) -> Scripted {
        let shared = Arc::new(Mutex::new(BTreeSet::new()));
        Scripted::new(move |call| {
            match call.operation.split_once(" /registry").unwrap_or_default() {
                ("PUT", key) if shares => {
                    shared.lock().unwrap().insert(key.trim_start_matches('/').to_owned());
                    Answer::good("")
                }
                ("GET", "" | "/") if shares => {
                    let keys = shared.lock().unwrap();
                    let keys =
                        keys.iter().map(|key| format!("<Contents><Key>{key}</Key></Contents>"));
                    let keys: String = keys.collect();
                    Answer::good(format!("<ListBucketResult>{keys}</ListBucketResult>"))
                }
                ("GET", key) if key.starts_with("/tenants/") => {
                    let mut tenant =
                        tenant(key.trim_start_matches("/tenants/").trim_end_matches(".json"));
                    tenant["predictions"] = json!({"calls_per_minute": 4, "records_per_minute": 5});
                    Answer::json(&tenant)
                }
                ("GET", key) if key.starts_with("/serving/") => {
                    let mut serving =
                        serde_json::to_value(crosspilot_scripted::serving("20260131-3f9a2c71b0"))
                            .unwrap();
                    serving["tenant"] = key.split('/').nth(2).unwrap().into();
                    serving["features"] = json!(["plan"]);
                    Answer::json(&json!({"champion": serving}))
                }
                _ if call.operation.ends_with("/invocations") => {
                    let rows = call.body.lines().count();
                    let variant = crosspilot_scripted::serving("20260131-3f9a2c71b0").variant;
                    Answer::good("yes\n".repeat(rows))
                        .with("x-amzn-invoked-production-variant", &variant)
                }
                _ => Answer::refused_by_s3(403, "AccessDenied"),
            }
        })
    }

    fn process(aws: &Scripted) -> App {
        let config = aws.config();
        App::new(config.clone(), Registry::new(&config, "registry"))
    }

    async fn ask(
        app: &App,
        tenant: &str,
        request: &str,
        second: u64,
        records: usize,
    ) -> HttpResponse {
        let event = json!({
            "routeKey": "POST /v1/models/{model}/predictions",
            "requestContext": {
                "requestId": request, "timeEpoch": 1000 * second,
                "authorizer": {"jwt": {"claims": {"tenant": tenant}}},
            },
            "pathParameters": {"model": "churn"}, "headers": {"content-type": "text/csv"},
            "body": format!("plan\n{}", "pro\n".repeat(records)),
        });
        answer(app, &serde_json::from_value(event).unwrap()).await
    }

    #[tokio::test]
    async fn beyond_its_limits_a_tenant_waits_for_the_next_minute_and_others_do_not() {
        let app = process(&cloud(true));
        for (tenant, second, records, status, left) in [
            ("acme", NOW, 2, 200, "\"calls\";r=3;t=60, \"records\";r=3;t=60"),
            ("acme", NOW + 1, 3, 200, "\"calls\";r=2;t=59, \"records\";r=0;t=59"),
            ("acme", NOW + 2, 1, 429, "\"calls\";r=2;t=58, \"records\";r=0;t=58"),
            ("globex", NOW + 2, 1, 200, "\"calls\";r=3;t=58, \"records\";r=4;t=58"),
            ("acme", NOW + 60, 1, 200, "\"calls\";r=3;t=60, \"records\";r=4;t=60"),
        ] {
            let answer = ask(&app, tenant, "r", second, records).await;
            assert_eq!(answer.status_code, status, "{}", answer.body);
            assert_eq!(answer.headers["ratelimit"], left);
            let policy = "\"calls\";q=4;w=60, \"records\";q=5;w=60";
            assert_eq!(answer.headers["ratelimit-policy"], policy);
            let wait = answer.headers.get("retry-after").map(String::as_str);
            assert_eq!(wait, (status == 429).then_some("58"));
        }
    }

    #[tokio::test]
    async fn more_records_than_a_minute_takes_are_too_large_for_ever() {
        let answer = ask(&process(&cloud(true)), "acme", "r", NOW, 6).await;
        assert_eq!(answer.status_code, 413);
        assert!(answer.body.contains("may predict 5 records a minute"), "{}", answer.body);
    }

    #[tokio::test]
    async fn processes_count_what_the_others_let_in() {
        let aws = cloud(true);
        let (one, other) = (process(&aws), process(&aws));
        for (app, request, second, status) in [
            (&one, "1", NOW, 200),
            (&one, "2", NOW + 1, 200),
            // Knows of the first call after its own first one.
            (&other, "3", NOW + 2, 200),
            (&other, "4", NOW + 2, 200),
            // Seconds later each hears of the others' with its next call.
            (&one, "5", NOW + 6, 200),
            (&one, "6", NOW + 6, 429),
            (&other, "7", NOW + 6, 200),
            (&other, "8", NOW + 6, 429),
        ] {
            let answer = ask(app, "acme", request, second, 1).await;
            assert_eq!(answer.status_code, status, "{request}: {}", answer.body);
        }
    }

    #[tokio::test]
    async fn where_usage_cannot_be_shared_predictions_go_on_within_the_process_own_count() {
        let app = process(&cloud(false));
        for (call, status) in [(0, 200), (1, 200), (2, 200), (3, 200), (4, 429)] {
            let answer = ask(&app, "acme", "r", NOW + call, 1).await;
            assert_eq!(answer.status_code, status, "{}", answer.body);
        }
    }
}
